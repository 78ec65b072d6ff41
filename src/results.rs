//! Files for other programs: predictions as CSV or JSON, all values of one sample as safetensors, and weights from safetensors.

use crate::engine::Inspection;
use crate::error::{Error, Result, shown};
use crate::events::EventSet;
use crate::files::write_atomically;
use crate::network::Network;
use crate::tensor_file::{MAX_HEADER_BYTES, TensorFile};
use crate::weights::{FileTensor, Matrix, Weights, file_tensors, from_file};
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// The prediction for a sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SamplePrediction {
    /// Number of the sample in its set; of a test set, in its file or folder, where damaged samples count.
    pub sample: usize,
    /// Its label; `None` if it has none.
    pub label: Option<u32>,
    /// The predicted class.
    pub class: usize,
    /// Name of the predicted class; empty if classes have no names.
    pub name: String,
    /// \[C\].
    pub logits: Vec<f32>,
    /// Its file, if it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Writes predictions to a `.csv` or `.json` file, atomically.
///
/// CSV: a header, then a line for each sample: `sample`, `label` (empty if it has none), `class`, `name`, `logit_0` to
/// `logit_{C-1}`, and `file` if the samples have files of their own. JSON: an array of objects with the fields of [`SamplePrediction`].
///
/// # Errors
/// [`Error::Config`] for another ending, [`Error::Io`].
pub fn save_predictions(path: &Path, predictions: &[SamplePrediction]) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::format(path, format!("cannot be written: {e}"));
    let bytes = match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => to_csv(predictions).map_err(|e| failed(&e))?,
        Some("json") => serde_json::to_vec(predictions).map_err(|e| failed(&e))?,
        _ => return Err(Error::Config(format!("{}: must end in .csv or .json", shown(path)))),
    };
    write_atomically(path, &bytes)
}

/// Checks that a file can be written, before the work that it is the result of.
///
/// # Errors
/// [`Error::Io`] if `path` is a folder, or its folder does not exist or cannot be written to.
pub fn check_writable(path: &Path) -> Result<()> {
    crate::files::check_writable(path)
}

/// Checks that a folder can be written to, or created with those above it. Creates nothing.
///
/// # Errors
/// [`Error::Io`] if `path` or one above it is a file, or the folder cannot be written to.
pub fn check_folder(path: &Path) -> Result<()> {
    crate::files::check_folder(path)
}

/// Writes a text, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn save_text(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes())
}

fn to_csv(predictions: &[SamplePrediction]) -> std::result::Result<Vec<u8>, csv::Error> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let classes = predictions.first().map_or(0, |first| first.logits.len());
    let head = ["sample", "label", "class", "name"].map(String::from).into_iter();
    let files = predictions.iter().any(|prediction| prediction.file.is_some());
    let last = files.then(|| "file".to_string());
    csv.write_record(head.chain((0..classes).map(|c| format!("logit_{c}"))).chain(last))?;
    for SamplePrediction { sample, label, class, name, logits, file } in predictions {
        let label = label.map_or(String::new(), |label| label.to_string());
        let first = [sample.to_string(), label, class.to_string(), name.clone()].into_iter();
        let last = files.then(|| file.clone().unwrap_or_default());
        csv.write_record(first.chain(logits.iter().map(f32::to_string)).chain(last))?;
    }
    csv.into_inner().map_err(|e| e.into_error().into())
}

/// A tensor before it is written.
struct Tensor {
    name: String,
    dtype: Dtype,
    extents: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn floats(name: impl Into<String>, extents: &[usize], data: &[f32]) -> Self {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        Tensor { name: name.into(), dtype: Dtype::F32, extents: extents.to_vec(), bytes }
    }

    fn integers(name: impl Into<String>, extents: &[usize], data: impl Iterator<Item = usize>) -> Self {
        let bytes = data.flat_map(|n| (n as i32).to_le_bytes()).collect();
        Tensor { name: name.into(), dtype: Dtype::I32, extents: extents.to_vec(), bytes }
    }

    fn pairs(name: impl Into<String>, pairs: &[(usize, usize)]) -> Self {
        Tensor::integers(name, &[pairs.len(), 2], pairs.iter().flat_map(|&(t, i)| [t, i]))
    }
}

/// Writes all values of one sample to a safetensors file, atomically. `sample` is the batch of one sample that `inspection` is of.
///
/// | tensor | type, shape | |
/// |---|---|---|
/// | `input` | i32 \[events, 2\] | time step and input neuron of each event |
/// | `spikes.l` | i32 \[spikes, 2\] | time step and neuron of each spike of spiking layer l |
/// | `v.l` | f32 \[T, N\] | membrane potentials |
/// | `active.l` | i32 \[active, 2\] | time step and neuron of each active entry |
/// | `surrogate.l` | f32 \[active\] | surrogate gradient g(V) of each active entry |
/// | `error.l` | f32 \[active\] | ∇S g(V) of each active entry |
/// | `readout_v` | f32 \[T, C\] | potentials of the readout; absent if it counts spikes |
/// | `logits` | f32 \[C\] | |
/// | `gradient.w.l`, `gradient.r.l`, `gradient.b.l` | f32, as `w.l`, `r.l` and `b.l` of a checkpoint | gradient of the loss of this sample |
///
/// The metadata have `label` (-1 without one), `inputs`, `time_steps` and `dt_ms`.
///
/// # Errors
/// [`Error::Io`].
pub fn save_inspection(path: &Path, network: &Network, sample: &EventSet, inspection: &Inspection) -> Result<()> {
    let steps = network.time_steps;
    let input: Vec<_> = sample.sample(0).iter().map(|event| (event.t(), event.i())).collect();
    let mut tensors = vec![Tensor::pairs("input", &input)];
    for (l, (layer, seen)) in network.spiking().zip(&inspection.spiking).enumerate() {
        let spikes: Vec<_> = seen.spikes.iter().map(|(_, event)| (event.t(), event.i())).collect();
        let active: Vec<_> = seen.active.iter().map(|entry| (entry.t as usize, entry.j as usize)).collect();
        let of_active =
            |value: fn(&crate::engine::ActiveEntry) -> f32| seen.active.iter().map(value).collect::<Vec<_>>();
        tensors.push(Tensor::pairs(format!("spikes.{l}"), &spikes));
        tensors.push(Tensor::floats(format!("v.{l}"), &[steps, layer.neurons], &seen.v));
        tensors.push(Tensor::pairs(format!("active.{l}"), &active));
        tensors.push(Tensor::floats(format!("surrogate.{l}"), &[active.len()], &of_active(|entry| entry.g)));
        tensors.push(Tensor::floats(format!("error.{l}"), &[active.len()], &of_active(|entry| entry.e)));
    }
    if network.integrator().is_some() {
        tensors.push(Tensor::floats("readout_v", &[steps, network.classes()], &inspection.readout_v));
    }
    tensors.push(Tensor::floats("logits", &[network.classes()], &inspection.logits));
    for (l, part, FileTensor { extents, data }) in inspection.gradient.to_file(network) {
        tensors.push(Tensor::floats(format!("gradient.{}.{l}", part.letter()), &extents, &data));
    }
    let label =
        sample.labels().first().filter(|&&label| label != EventSet::UNLABELLED).map_or(-1, |&label| i64::from(label));
    let metadata = HashMap::from([
        ("label".to_string(), label.to_string()),
        ("inputs".to_string(), network.inputs.to_string()),
        ("time_steps".to_string(), steps.to_string()),
        ("dt_ms".to_string(), network.dt_ms.to_string()),
    ]);
    save_tensors(path, &tensors, metadata)
}

fn save_tensors(path: &Path, tensors: &[Tensor], metadata: HashMap<String, String>) -> Result<()> {
    let failed = |e: safetensors::SafeTensorError| Error::format(path, format!("cannot be written: {e}"));
    let views = tensors
        .iter()
        .map(|t| Ok((&t.name, TensorView::new(t.dtype, t.extents.clone(), &t.bytes)?)))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(failed)?;
    write_atomically(path, &safetensors::serialize(views, Some(metadata)).map_err(failed)?)
}

/// Writes weights to a safetensors file that [`load_weights`] reads, atomically. Its metadata have the `network` as TOML.
///
/// # Errors
/// [`Error::Config`] if the shapes are not the network's, [`Error::NotFinite`], [`Error::Io`].
pub fn save_weights(path: &Path, network: &Network, weights: &Weights) -> Result<()> {
    weights.check(network)?;
    let tensors: Vec<Tensor> =
        weights.tensors(network).iter().map(|t| Tensor::floats(t.name.as_str(), &t.extents, &t.data)).collect();
    let description =
        toml::to_string(network).map_err(|e| Error::format(path, format!("the network cannot be written: {e}")))?;
    save_tensors(path, &tensors, HashMap::from([(NETWORK_KEY.to_string(), description)]))
}

/// Reads the network and its weights from a file of [`save_weights`].
///
/// # Errors
/// [`Error::Format`] if the file has no network or an invalid one; those of [`load_weights`].
pub fn load_network(path: &Path) -> Result<(Network, Weights)> {
    let format = |what: String| Error::format(path, what);
    let numbers = 32 * crate::network::MAX_WEIGHTS as u64;
    let file = TensorFile::open(path, MAX_HEADER_BYTES + numbers, "weights")?;
    let Some(description) = file.entry(NETWORK_KEY) else {
        return Err(format(format!(
            "its metadata have no entry `{NETWORK_KEY}`; give the network to load weights alone"
        )));
    };
    let network: Network = toml::from_str(description)
        .map_err(|e| format(format!("its network is invalid: {}", e.to_string().trim_end())))?;
    network.check().map_err(|e| format(format!("its network is invalid: {e}")))?;
    let weights = load_weights(path, &network)?;
    Ok((network, weights))
}

/// The entry in the metadata of weights that describes their network.
const NETWORK_KEY: &str = "network";

/// Reads the weights of `network` from a safetensors file: `w.l` of each layer, \[N_in, N_out\] (a convolution: \[filters, channels,
/// kernel, kernel\]), `r.l`, \[N_out, N_out\], where the layer is recurrent, and `b.l`, \[N_out\], where it has biases. Other
/// tensors, such as the moments in a checkpoint, are ignored.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] naming a tensor that is missing, is no f32, has another shape, or a value that is not finite.
pub fn load_weights(path: &Path, network: &Network) -> Result<Weights> {
    let format = |what: String| Error::format(path, what);
    let numbers: u64 = network.weight_shapes().iter().map(|&(rows, cols)| rows as u64 * cols as u64).sum();
    let file = TensorFile::open(path, MAX_HEADER_BYTES + 32 * numbers, "weights of this network")?;
    let data = from_file(network, |l, part, extents| {
        let name = format!("{}.{l}", part.letter());
        let data = file.read(&name, extents)?;
        match data.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(format!("tensor {name}: value {at} is {}, must be finite", data[at])),
            None => Ok(data),
        }
    });
    // A layer that the network does not have would be dropped silently.
    let layers = file_tensors(network).map(|(l, part, _)| format!("{}.{l}", part.letter())).collect::<Vec<_>>();
    let foreign = file.names().into_iter().find(|name| {
        let own = ["w.", "r.", "b."].iter().find_map(|part| name.strip_prefix(part));
        own.is_some_and(|l| l.parse::<usize>().is_ok()) && !layers.contains(name)
    });
    let data = data.map_err(format)?;
    if let Some(name) = foreign {
        return Err(format(format!(
            "has a tensor {name}, but the network has {} weight layers, with biases in {} and recurrent weights in {}",
            data.len(),
            listed(network.biases()),
            listed(network.recurrent_inputs().into_iter().map(|own| own > 0))
        )));
    }
    let shapes = network.weight_shapes().into_iter().zip(data);
    Ok(Weights { layers: shapes.map(|((rows, cols), data)| Matrix { rows, cols, data }).collect() })
}

/// The layers for which `which` is true, in words.
fn listed(which: impl IntoIterator<Item = bool>) -> String {
    let layers: Vec<String> =
        which.into_iter().enumerate().filter(|(_, which)| *which).map(|(l, _)| l.to_string()).collect();
    if layers.is_empty() { "none".into() } else { format!("layers {}", layers.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Readout, SpikingLayer};

    #[test]
    fn a_network_is_read_with_its_weights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let layer = SpikingLayer::cuba_lif(4, 5.0).b_th(f64::INFINITY).bias();
        let network =
            Network::new(3, 9).layer(layer).readout(Readout::spike_count(SpikingLayer::lif(2))).build().unwrap();
        let weights = Weights::init(&network, 1);
        save_weights(&path, &network, &weights).unwrap();
        assert_eq!(load_network(&path).unwrap(), (network.clone(), weights.clone()));
        assert_eq!(load_weights(&path, &network).unwrap(), weights);

        let mut unfit = weights.clone();
        unfit.layers[0].data[0] = f32::NAN;
        assert!(matches!(save_weights(&path, &network, &unfit), Err(Error::NotFinite(_))));
        assert_eq!(load_network(&path).unwrap().1, weights);
        let refused = |metadata: HashMap<String, String>, part: &str| {
            save_tensors(&path, &[Tensor::floats("x", &[1], &[0.0])], metadata).unwrap();
            let error = load_network(&path).unwrap_err().to_string();
            assert!(error.contains("net.safetensors") && error.contains(part), "{error}");
        };
        refused(HashMap::new(), "no entry `network`");
        refused(HashMap::from([(NETWORK_KEY.into(), "inputs = 3".into())]), "time_steps");
        let text = toml::to_string(&network).unwrap();
        refused(HashMap::from([(NETWORK_KEY.into(), text.replace("inputs = 3", "inputs = 0"))]), "inputs = 0");
        refused(HashMap::from([(NETWORK_KEY.into(), text)]), "w.0");
    }
}
