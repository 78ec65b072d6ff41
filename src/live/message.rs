//! Messages to pages: JSON objects with a `type`, each complete in itself. docs/demo.md lists them.

use crate::data::DataSet;
use crate::engine::{DeviceInfo, LayerInspection, Profile};
use crate::events::Event;
use crate::network::{Cell, Logits, Network, Readout, SpikingLayer, Surrogate};
use crate::train::{EpochRecord, RunConfig};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Serialize, Serializer};

/// What a page is told.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// The run; a page forgets what it knew before.
    Hello(Box<Hello>),
    /// What the run is doing.
    State {
        /// In one word.
        state: State,
        /// In a sentence.
        text: String,
    },
    /// The epochs so far.
    Epochs {
        /// At most [`MOST_EPOCHS`].
        records: Vec<Epoch>,
    },
    /// A sample in the network.
    Sample(Box<Sample>),
    /// Times of the kernels in a step.
    Kernels(Kernels),
    /// Progress of an epoch.
    Step(Step),
    /// Two methods on the same batches.
    Race {
        /// The method `sparse`.
        sparse: Runner,
        /// The method `dense`.
        dense: Runner,
    },
    /// The incoming weights of a neuron.
    Weights(NeuronWeights),
    /// A sentence for the user.
    Note {
        /// How bad it is.
        level: Level,
        /// The sentence.
        text: String,
    },
}

/// Most epochs in a message; of longer runs, as many evenly spaced ones.
pub const MOST_EPOCHS: usize = 2000;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum State {
    Starting,
    Running,
    Paused,
    Ended,
    Interrupted,
    Failed,
}

/// How bad a `Message::Note` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// Where messages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A run that trains in this process, the program.
    Native,
    /// A run that trains in this process, the worker of a page.
    Browser,
    /// The folder of a run.
    Watch,
}

/// A run and its device.
#[derive(Debug, Clone, Serialize)]
pub struct Hello {
    version: &'static str,
    source: Source,
    title: String,
    device: DeviceInfo,
    data: Data,
    network: NetworkFacts,
    settings: SettingsNow,
    surrogates: Vec<&'static str>,
    can: Vec<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
struct Data {
    name: String,
    class_names: Vec<String>,
    shape: Option<[usize; 3]>,
    train: usize,
    test: usize,
}

#[derive(Debug, Clone, Serialize)]
struct NetworkFacts {
    inputs: usize,
    time_steps: usize,
    dt_ms: f64,
    layers: Vec<LayerFacts>,
    readout: ReadoutFacts,
}

#[derive(Debug, Clone, Serialize)]
struct LayerFacts {
    name: String,
    neurons: usize,
    maps: Option<[usize; 3]>,
    cell: &'static str,
    v_th: f64,
    b_th: Finite,
    surrogate: &'static str,
    beta: f64,
}

#[derive(Debug, Clone, Serialize)]
struct ReadoutFacts {
    kind: &'static str,
    logits: Option<Logits>,
    classes: usize,
}

#[derive(Debug, Clone, Serialize)]
struct SettingsNow {
    lr: f64,
    b_th: Finite,
    surrogate: &'static str,
    hidden: Vec<usize>,
    batch: usize,
    epochs: u64,
    seed: u64,
}

/// A number that may be infinite, which JSON cannot say: it becomes null.
#[derive(Debug, Clone, Copy)]
struct Finite(f64);

impl Serialize for Finite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.is_finite().then_some(self.0).serialize(serializer)
    }
}

impl Hello {
    /// Describes a run of `config` on `data`, whose page may use the commands `can`.
    pub fn new(source: Source, config: &RunConfig, data: &DataSet, device: DeviceInfo, can: Vec<&'static str>) -> Self {
        let Network { inputs, time_steps, dt_ms, hidden, readout, .. } = &config.network;
        let layer = |(l, layer): (usize, &SpikingLayer)| LayerFacts {
            name: config.network.layer_name(l),
            neurons: layer.neurons,
            maps: layer.conv().map(|conv| [conv.filters, conv.rows(), conv.columns()]),
            cell: match layer.cell {
                Cell::Lif => "lif",
                Cell::CubaLif { .. } => "cuba_lif",
            },
            v_th: layer.v_th,
            b_th: Finite(layer.b_th),
            surrogate: layer.surrogate.name(),
            beta: layer.beta,
        };
        let (kind, logits) = match readout {
            Readout::Integrator(readout) => ("integrator", Some(readout.logits)),
            Readout::SpikeCount(_) => ("spike_count", None),
        };
        let first = hidden.first();
        Hello {
            version: env!("CARGO_PKG_VERSION"),
            source,
            title: data.name.clone(),
            device,
            data: Data {
                name: data.name.clone(),
                class_names: data.class_names.clone(),
                shape: data.shape.map(Into::into),
                train: config.limit.unwrap_or(usize::MAX).min(data.train.len()),
                test: data.measured().len(),
            },
            network: NetworkFacts {
                inputs: *inputs,
                time_steps: *time_steps,
                dt_ms: *dt_ms,
                layers: hidden.iter().enumerate().map(layer).collect(),
                readout: ReadoutFacts { kind, logits, classes: config.network.classes() },
            },
            settings: SettingsNow {
                lr: config.adam.lr,
                b_th: Finite(first.map_or(f64::INFINITY, |layer| layer.b_th)),
                surrogate: first.map_or("", |layer| layer.surrogate.name()),
                hidden: hidden.iter().filter(|layer| layer.conv().is_none()).map(|layer| layer.neurons).collect(),
                batch: config.batch,
                epochs: config.epochs,
                seed: config.seed,
            },
            surrogates: Surrogate::ALL.iter().map(|surrogate| surrogate.name()).collect(),
            can,
        }
    }
}

/// An epoch.
#[derive(Debug, Clone, Serialize)]
pub struct Epoch {
    epoch: u64,
    loss: f64,
    train_accuracy: f64,
    test_accuracy: f64,
    activity: Vec<f64>,
    spike_density: Vec<f64>,
}

impl From<&EpochRecord> for Epoch {
    fn from(record: &EpochRecord) -> Self {
        Epoch {
            epoch: record.epoch,
            loss: record.loss,
            train_accuracy: record.train_accuracy,
            test_accuracy: record.test_accuracy,
            activity: record.activity.clone(),
            spike_density: record.spike_density.clone(),
        }
    }
}

impl Message {
    /// The epochs of `records`, thinned out to [`MOST_EPOCHS`]; the last is always there.
    pub fn epochs(records: &[EpochRecord]) -> Self {
        let every = records.len().div_ceil(MOST_EPOCHS).max(1);
        let last = records.len().saturating_sub(1);
        let kept = records.iter().enumerate().filter(|(k, _)| (last - k).is_multiple_of(every));
        Message::Epochs { records: kept.map(|(_, record)| record.into()).collect() }
    }

    /// A sentence for the user.
    pub fn note(level: Level, text: impl ToString) -> Self {
        Message::Note { level, text: text.to_string() }
    }
}

/// Progress of an epoch.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs)]
pub struct Step {
    pub step: u64,
    pub epoch: u64,
    pub epochs: u64,
    pub batch: u64,
    pub batches: u64,
    /// Mean of the epoch so far, as `accuracy`.
    pub loss: f64,
    pub accuracy: f64,
    /// Median time of the last steps.
    pub ms: f64,
    /// The learning rate, before the schedule's factor.
    pub lr: f64,
}

/// Times of the kernels in a step.
#[derive(Debug, Clone, Serialize)]
pub struct Kernels {
    timed_by: &'static str,
    kernels: Vec<Kernel>,
    step_ms: f64,
}

#[derive(Debug, Clone, Serialize)]
struct Kernel {
    name: String,
    ms: f64,
}

impl Kernels {
    /// The times of a step on a device of this kind; `None` if it has no timestamps.
    pub fn of(profile: Profile, kind: &str) -> Option<Self> {
        let timed = |kernel: crate::engine::KernelTime| Some(Kernel { name: kernel.name, ms: kernel.ms? });
        let kernels: Vec<Kernel> = profile.kernels.into_iter().filter_map(timed).collect();
        let step_ms = kernels.iter().map(|kernel| kernel.ms).sum();
        let timed_by = if kind == "gpu" { "timestamps" } else { "clock" };
        (!kernels.is_empty()).then_some(Kernels { timed_by, kernels, step_ms })
    }
}

/// A sample in the network.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// `test` or `validation`.
    pub set: &'static str,
    /// Its number in the set; -1 for an image that the user drew.
    pub index: i64,
    /// Samples in the set.
    pub of: usize,
    /// `None` if it has none.
    pub label: Option<u32>,
    /// The class with the largest logit.
    pub predicted: usize,
    /// \[C\].
    pub logits: Vec<f32>,
    /// Its place, from 0, among the wrongly classified samples of the last test; `None` if it is none of them, whatever the network,
    /// trained since, makes of it now.
    pub position: Option<usize>,
    /// Wrongly classified samples of the last test.
    pub wrong_count: usize,
    /// The sample as an image, if its inputs are pixels.
    pub image: Option<Picture>,
    /// Spikes of the input.
    pub input: Spikes,
    /// Spikes of each spiking layer.
    pub layers: Vec<NamedSpikes>,
    /// What the logits are made of.
    pub readout: Potentials,
}

/// A grey image.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Picture {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// [`bytes`] of \[channels, height, width\].
    pub pixels: String,
}

/// Spikes of a layer: `i[k]` spikes at `t[k]`, in the order of time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Spikes {
    neurons: usize,
    t: Vec<usize>,
    i: Vec<usize>,
}

impl Spikes {
    /// The spikes of a layer of `neurons`.
    pub fn new(neurons: usize, events: impl Iterator<Item = Event>) -> Self {
        let (t, i) = events.map(|event| (event.t(), event.i())).unzip();
        Spikes { neurons, t, i }
    }
}

/// [`Spikes`] of a named layer.
#[derive(Debug, Clone, Serialize)]
pub struct NamedSpikes {
    name: String,
    #[serde(flatten)]
    spikes: Spikes,
}

impl NamedSpikes {
    /// The spikes of the only sample that was inspected, in layer `l`.
    pub fn of(network: &Network, l: usize, layer: &LayerInspection) -> Self {
        let neurons = network.spiking_layer(l).map_or(0, |layer| layer.neurons);
        NamedSpikes {
            name: network.layer_name(l),
            spikes: Spikes::new(neurons, layer.spikes.iter().map(|&(_, event)| event)),
        }
    }
}

/// Potentials of the readout.
#[derive(Debug, Clone, Serialize)]
pub struct Potentials {
    /// [`floats`] of \[T, C\]; `None` if it counts spikes.
    pub v: Option<String>,
}

/// The incoming weights of a neuron.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct NeuronWeights {
    pub layer: usize,
    pub neuron: usize,
    /// Channels, height and width of the inputs.
    pub shape: [usize; 3],
    /// [`floats`] of `shape`.
    pub values: String,
}

/// One of two methods in a race.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs)]
pub struct Runner {
    pub steps: u64,
    /// Median time of a step.
    pub ms: f64,
    pub loss: f64,
}

/// Numbers as `f32:` and base64 of their little-endian bytes.
pub fn floats(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    format!("f32:{}", BASE64.encode(bytes))
}

/// Bytes as `u8:` and base64.
pub fn bytes(numbers: &[u8]) -> String {
    format!("u8:{}", BASE64.encode(numbers))
}

/// The inverse of [`bytes`].
pub fn read_bytes(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.strip_prefix("u8:")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian_base64() {
        assert_eq!(floats(&[1.0, -2.0]), "f32:AACAPwAAAMA=");
        assert_eq!(bytes(&[0, 255]), "u8:AP8=");
        assert_eq!(read_bytes("u8:AP8="), Some(vec![0, 255]));
        assert_eq!((read_bytes("AP8="), read_bytes("u8:A")), (None, None));
    }

    #[test]
    fn a_message_names_its_type_and_infinity_is_null() {
        let json = |message: &Message| serde_json::to_value(message).unwrap();
        let state = json(&Message::State { state: State::Paused, text: "Paused.".into() });
        assert_eq!(state, serde_json::json!({"type": "state", "state": "paused", "text": "Paused."}));
        assert!(serde_json::to_value(Finite(f64::INFINITY)).unwrap().is_null());
    }
}
