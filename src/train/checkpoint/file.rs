//! Checkpoint files: safetensors, readable from Python. A run continued from one gives the same bits as if it had not
//! been interrupted.
//!
//! All tensors are f32. Each weight layer l has `w.l` (weights), `adam.m.l` and `adam.v.l` (moments) of shape [N_in,
//! N_out], or [filters, channels, kernel, kernel] for a convolution, and, if it has biases, `b.l`, `adam.m.b.l` and
//! `adam.v.b.l` of shape [N_out]. The metadata have one entry, `spikegrad`: a TOML document with `version`, `config`
//! ([`RunConfig`]) and `progress` ([`Progress`]). TOML preserves every f64 and the infinity of an unmasked b_th.

use super::{Checkpoint, FIRST_MOMENTS, SECOND_MOMENTS, name, tensors, unusable, unusable_progress};
use crate::engine::TrainingState;
use crate::error::{Error, Result};
use crate::files::write_parts_atomically;
use crate::network::Network;
use crate::tensor_file::{MAX_HEADER_BYTES, TensorFile};
use crate::train::{Progress, RunConfig, network_differences};
use crate::weights::{Matrix, Weights, file_tensors, from_file};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

const VERSION: i64 = 1;
const METADATA_KEY: &str = "spikegrad";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: i64,
    config: RunConfig,
    progress: Progress,
}

impl Checkpoint {
    /// Writes the checkpoint. A file at `path` is replaced atomically.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the tensor or the sum (nothing is written), [`Error::Config`] if shapes are not the
    /// network's, [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_after(path, || Ok(()))
    }

    /// [`save`](Self::save), with a last check before the file is replaced. Tensors are written from where they are, since a
    /// copy of a wide network's weights and moments would take more memory than its training.
    pub(crate) fn save_after(&self, path: &Path, last_check: impl FnOnce() -> Result<()>) -> Result<()> {
        self.check()?;
        let header = Header { version: VERSION, config: self.config.clone(), progress: self.progress.clone() };
        let header = toml::to_string(&header).map_err(|e| Error::format(path, format!("cannot be written: {e}")))?;
        let mut tensors = tensors(&self.state, &self.config.network);
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut end = 0;
        let infos = tensors.iter().map(|(name, tensor)| {
            let begin = end;
            end += 4 * tensor.data.len();
            let info = TensorInfo { dtype: Dtype::F32, shape: tensor.extents.clone(), data_offsets: (begin, end) };
            (name.clone(), info)
        });
        let failed = |e: &dyn std::fmt::Display| Error::format(path, format!("cannot be written: {e}"));
        let metadata = HashMap::from([(METADATA_KEY.to_string(), header)]);
        let metadata = Metadata::new(Some(metadata), infos.collect()).map_err(|e| failed(&e))?;
        let mut head = serde_json::to_vec(&metadata).map_err(|e| failed(&e))?;
        // Tensors begin at a multiple of 8 bytes.
        head.resize(head.len().next_multiple_of(8), b' ');
        let length = (head.len() as u64).to_le_bytes();
        let data: Vec<Cow<[u8]>> = tensors.iter().map(|(_, tensor)| little_endian(&tensor.data)).collect();
        let parts: Vec<&[u8]> = [&length[..], &head].into_iter().chain(data.iter().map(|data| &**data)).collect();
        last_check()?;
        write_parts_atomically(path, &parts)
    }

    /// Reads a checkpoint of `network`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if the file is truncated, of another version or network, or has tensors with
    /// unexpected names, types, shapes, or values that are not finite.
    pub fn load(path: &Path, network: &Network) -> Result<Self> {
        let format = |what: String| Error::format(path, what);
        let file = TensorFile::open(path, most_bytes(network), "a checkpoint of this network")?;
        let header = file.entry(METADATA_KEY).ok_or_else(|| {
            format(format!("not a checkpoint of spikegrad: its metadata have no entry `{METADATA_KEY}`"))
        })?;
        let Header { config, progress, .. } = read_header(header).map_err(format)?;
        config.check().map_err(|e| format(format!("its configuration is invalid: {e}")))?;

        let differences = network_differences(&config.network, network)?;
        if !differences.is_empty() {
            let list: Vec<String> = differences.iter().map(ToString::to_string).collect();
            return Err(format(format!(
                "is a checkpoint of another network (checkpoint, here): {}; use the config.toml it was trained with",
                list.join("; ")
            )));
        }
        if let Some(what) = unusable_progress(&progress) {
            return Err(format(format!("its progress has the invalid value {what}; use another checkpoint")));
        }
        if !progress.fits(network) {
            return Err(format("its progress does not match the network's layers".into()));
        }

        let shapes = network.weight_shapes();
        let read = |moments: &str| -> Result<Weights> {
            let data = from_file(network, |l, part, extents| read_tensor(&file, &name(moments, l, part), extents));
            let layers = shapes.iter().zip(data.map_err(format)?);
            Ok(Weights { layers: layers.map(|(&(rows, cols), data)| Matrix { rows, cols, data }).collect() })
        };
        let state = TrainingState {
            step: progress.step,
            weights: read("")?,
            first: read(FIRST_MOMENTS)?,
            second: read(SECOND_MOMENTS)?,
        };
        let expected = 3 * file_tensors(network).count();
        if file.names().len() != expected {
            return Err(format(format!(
                "has {} tensors, a checkpoint of this network has {expected}",
                file.names().len()
            )));
        }
        Ok(Checkpoint { config, progress, state })
    }
}

/// The bytes of the numbers in a file.
fn little_endian(data: &[f32]) -> Cow<'_, [u8]> {
    match cfg!(target_endian = "little") {
        true => Cow::Borrowed(bytemuck::cast_slice(data)),
        false => Cow::Owned(data.iter().flat_map(|x| x.to_le_bytes()).collect()),
    }
}

/// Maximum size of a checkpoint in bytes: header, weights and moments.
fn most_bytes(network: &Network) -> u64 {
    let weights: u64 = network.weight_shapes().iter().map(|&(rows, cols)| rows as u64 * cols as u64).sum();
    MAX_HEADER_BYTES + 12 * weights
}

fn read_header(text: &str) -> Result<Header, String> {
    let table: toml::Table = toml::from_str(text).map_err(|e| format!("its metadata are damaged: {e}"))?;
    // Checked first, since other fields may differ in another version.
    match table.get("version").and_then(toml::Value::as_integer) {
        Some(VERSION) => {}
        Some(other) => {
            return Err(format!(
                "is a checkpoint of format {other}, but this version reads {VERSION}; use the version that wrote it"
            ));
        }
        None => return Err("its metadata have no version".into()),
    }
    table.try_into().map_err(|e| format!("its metadata are damaged: {e}"))
}

fn read_tensor(file: &TensorFile, name: &str, extents: &[usize]) -> Result<Vec<f32>, String> {
    let data = file.read(name, extents)?;
    match unusable(name, extents, &data) {
        Some(what) => Err(format!("{what}; use another checkpoint")),
        None => Ok(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Connection, Convolution};
    use crate::train::progress::{Best, DataMark, EpochSums};
    use crate::train::testing;
    use safetensors::tensor::{SafeTensors, TensorView};

    fn checkpoint() -> Checkpoint {
        let mut config = testing::config();
        config.network.hidden[0].b_th = f64::INFINITY;
        let weights = Weights::init(&config.network, 3);
        let mut state = TrainingState { step: 7, ..TrainingState::new(weights.clone()) };
        state.first = weights;
        state.second.layers[1].data[2] = f32::MIN_POSITIVE / 4.0;
        let data = DataMark::new(&testing::events(3, 0), &testing::events(2, 1));
        let mut progress = Progress::new(&config.network, data, "fake".into());
        progress.step = 7;
        progress.best = Some(Best { epoch: 1, test_accuracy: 1.0 / 3.0 });
        progress.sums = EpochSums { seconds: 0.1 + 0.2, ..EpochSums::new(&config.network) };
        progress.sums.loss.task = 5e-324;
        Checkpoint { config, progress, state }
    }

    #[test]
    fn a_convolution_is_stored_as_others_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let mut checkpoint = checkpoint();
        let network = &mut checkpoint.config.network;
        let shape = Convolution {
            channels: 1,
            height: 1,
            width: network.inputs,
            filters: 2,
            kernel: 2,
            stride: 1,
            padding: 1,
            pool: 1,
        };
        network.hidden.truncate(1);
        network.hidden[0].neurons = shape.neurons();
        network.hidden[0].connection = Connection::Conv(shape);
        let data = DataMark::new(&testing::events(3, 0), &testing::events(2, 1));
        checkpoint.progress = Progress { step: 7, ..Progress::new(network, data, "fake".into()) };
        checkpoint.state = TrainingState { step: 7, ..TrainingState::new(Weights::init(network, 3)) };
        checkpoint.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path, &checkpoint.config.network).unwrap(), checkpoint);
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("w.0").unwrap().shape(), [2, 1, 2, 2]);
        // The second entry of the first filter's kernel.
        assert_eq!(
            file.tensor("w.0").unwrap().data()[4..8],
            checkpoint.state.weights.layers[0].row(1)[0].to_le_bytes()
        );
        assert_eq!(file.tensor("adam.v.1").unwrap().shape().len(), 2);
    }

    #[test]
    fn recurrent_weights_and_biases_are_tensors_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let mut checkpoint = checkpoint();
        let network = &mut checkpoint.config.network;
        (network.hidden[0].bias, network.hidden[0].recurrent) = (true, true);
        let neurons = network.hidden[0].neurons;
        let mut weights = Weights::init(network, 3);
        weights.layers[0].data.iter_mut().rev().take(neurons).for_each(|b| *b = 0.25);
        checkpoint.state = TrainingState { step: 7, ..TrainingState::new(weights) };
        checkpoint.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path, &checkpoint.config.network).unwrap(), checkpoint);
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("b.0").unwrap().data(), 0.25f32.to_le_bytes().repeat(neurons));
        assert_eq!(file.tensor("adam.m.b.0").unwrap().shape(), [neurons]);
        let (inputs, layer) = (checkpoint.config.network.inputs, &checkpoint.state.weights.layers[0]);
        let recurrent: Vec<u8> =
            layer.data[inputs * neurons..][..neurons * neurons].iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(file.tensor("r.0").unwrap().data(), recurrent);
        assert_eq!(file.tensor("adam.v.r.0").unwrap().shape(), [neurons, neurons]);
        assert_eq!(file.tensor("w.0").unwrap().shape(), [checkpoint.config.network.inputs, neurons]);
    }

    fn saved() -> (tempfile::TempDir, std::path::PathBuf, Checkpoint) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let checkpoint = checkpoint();
        checkpoint.save(&path).unwrap();
        (folder, path, checkpoint)
    }

    fn refused(path: &Path, network: &Network, parts: &[&str]) {
        let error = Checkpoint::load(path, network).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        let error = error.to_string();
        for part in parts.iter().chain(&["c.safetensors"]) {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }

    /// Writes `checkpoint` unchecked, with one tensor's bytes and type replaced.
    fn forge(path: &Path, checkpoint: &Checkpoint, replaced: &str, dtype: Dtype, bytes: &[u8], shape: &[usize]) {
        let header = Header { version: 1, config: checkpoint.config.clone(), progress: checkpoint.progress.clone() };
        let metadata = HashMap::from([(METADATA_KEY.to_string(), toml::to_string(&header).unwrap())]);
        let tensors = tensors(&checkpoint.state, &checkpoint.config.network);
        let data: Vec<Vec<u8>> =
            tensors.iter().map(|(_, m)| m.data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let views = tensors.iter().zip(&data).map(|((name, m), data)| match name == replaced {
            true => (name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap()),
            false => (name, TensorView::new(Dtype::F32, m.extents.clone(), data).unwrap()),
        });
        std::fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
    }

    #[test]
    fn what_is_saved_loads_to_the_last_bit() {
        let (_folder, path, checkpoint) = saved();
        assert_eq!(Checkpoint::load(&path, &checkpoint.config.network).unwrap(), checkpoint);
        let first = std::fs::read(&path).unwrap();
        checkpoint.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first, "the same checkpoint is the same bytes");
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let (_folder, path, checkpoint) = saved();
        let bytes = std::fs::read(&path).unwrap();
        for n in (0..bytes.len()).step_by(37).chain([bytes.len() - 1]) {
            std::fs::write(&path, &bytes[..n]).unwrap();
            refused(&path, &checkpoint.config.network, &["truncated"]);
        }
        std::fs::write(&path, [bytes, vec![0]].concat()).unwrap();
        refused(&path, &checkpoint.config.network, &[]);
    }

    #[test]
    fn a_damaged_header_is_refused_and_never_panics() {
        let (_folder, path, checkpoint) = saved();
        let bytes = std::fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(5) {
            for flip in [0x01, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                std::fs::write(&path, &damaged).unwrap();
                // A flipped bit in a number may give another valid number, so only panics are errors.
                let _ = Checkpoint::load(&path, &checkpoint.config.network);
            }
        }
    }

    #[test]
    fn another_network_is_refused_by_name() {
        let (_folder, path, checkpoint) = saved();
        let mut network = checkpoint.config.network.clone();
        network.hidden[1].neurons += 1;
        network.integrator_mut().unwrap().tau_ms = 11.0;
        refused(&path, &network, &["another network", "hidden[1].neurons", "readout.tau_ms", "11.0"]);
    }

    #[test]
    fn strange_tensors_are_refused_by_name() {
        let (_folder, path, checkpoint) = saved();
        let network = &checkpoint.config.network;
        let m = &checkpoint.state.weights.layers[1];
        let bytes = |value: f32| {
            let mut data = m.data.clone();
            data[m.cols + 2] = value;
            data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()
        };
        forge(&path, &checkpoint, "w.1", Dtype::F32, &bytes(f32::NAN), &[m.rows, m.cols]);
        refused(&path, network, &["w.1", "NaN at [1, 2]"]);
        forge(&path, &checkpoint, "adam.m.1", Dtype::F32, &bytes(f32::INFINITY), &[m.rows, m.cols]);
        refused(&path, network, &["adam.m.1", "inf"]);
        forge(&path, &checkpoint, "adam.v.1", Dtype::F32, &bytes(-1.0), &[m.rows, m.cols]);
        refused(&path, network, &["adam.v.1", "contains -"]);
        forge(&path, &checkpoint, "w.1", Dtype::I32, &bytes(0.0), &[m.rows, m.cols]);
        refused(&path, network, &["w.1", "I32", "expected F32"]);
        forge(&path, &checkpoint, "w.1", Dtype::F32, &bytes(0.0), &[m.cols, m.rows]);
        refused(&path, network, &["w.1", "expected F32"]);
    }

    #[test]
    fn files_of_other_programs_and_versions_are_refused() {
        let (_folder, path, checkpoint) = saved();
        let network = &checkpoint.config.network;
        let write = |metadata: Option<HashMap<String, String>>| {
            let data = [0; 4];
            let view = TensorView::new(Dtype::F32, vec![1], &data).unwrap();
            std::fs::write(&path, safetensors::serialize([("x", view)], metadata).unwrap()).unwrap();
        };
        let ours = |text: &str| Some(HashMap::from([(METADATA_KEY.to_string(), text.to_string())]));
        write(None);
        refused(&path, network, &["not a checkpoint of spikegrad"]);
        write(ours("version = 2\nnew = true"));
        refused(&path, network, &["format 2"]);
        write(ours("version = 1"));
        refused(&path, network, &["damaged", "config"]);
    }

    #[test]
    fn nothing_is_written_where_a_weight_is_not_finite() {
        let (_folder, path, mut checkpoint) = saved();
        let before = std::fs::read(&path).unwrap();
        checkpoint.state.weights.layers[2].data[0] = f32::NAN;
        let error = checkpoint.save(&path).unwrap_err();
        assert!(matches!(error, Error::NotFinite(_)), "{error:?}");
        assert!(error.to_string().contains("w.2") && error.to_string().contains("step 7"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
