//! Reads golden cases.

use super::file::{Fields, Tensors, bad, read_limited};
use crate::engine::LossTerms;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::{Connection, Convolution, Integrator, Loss, Network, Readout, Regulariser, SpikingLayer};
use crate::optimiser::Adam;
use crate::weights::{Matrix, Weights, from_file};
use std::path::Path;

/// The supported version of the format.
const FORMAT: u64 = 1;

/// Maximum number of updates, since cases should be quick.
const MAX_ADAM_STEPS: usize = 1000;

/// The contents of a golden file.
#[derive(Debug, Clone, PartialEq)]
pub enum Case {
    /// A network and all intermediate values of a training step.
    Network(Box<NetworkCase>),
    /// The δ recurrence alone.
    Delta(DeltaCase),
}

/// A network, a batch, and the expected results.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkCase {
    /// The case's name.
    pub name: String,
    /// What the case tests.
    pub purpose: String,
    /// The network. Its initialisation is ignored, since the weights are given.
    pub network: Network,
    /// The optimiser of [`Expected::adam_weights`].
    pub adam: Adam,
    /// Weights before the first step; exact in f32.
    pub weights: Weights,
    /// The samples.
    pub batch: EventSet,
    /// The expected results.
    pub expected: Expected,
}

/// Expected values of a network case, in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The spiking layers: the hidden layers, then a readout that counts spikes.
    pub spiking: Vec<ExpectedLayer>,
    /// Potentials of the readout's integrators, [B, T, C]; empty if it counts spikes.
    pub readout_v: Vec<f64>,
    /// [B, C].
    pub logits: Vec<f64>,
    /// Loss terms; means over the batch, unlike a device's sums.
    pub loss: LossTerms,
    /// The total loss; a mean over the batch.
    pub total: f64,
    /// ∇W of every layer in the layout of the weights, the readout's last.
    pub gradient: Vec<Vec<f64>>,
    /// Weights after `adam_loss.len()` Adam steps on the same batch.
    pub adam_weights: Vec<Vec<f64>>,
    /// The total loss (a mean over the batch) before each Adam step.
    pub adam_loss: Vec<f64>,
}

/// Expected values of a spiking layer; arrays are [B, T, N].
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedLayer {
    /// Membrane potentials.
    pub v: Vec<f64>,
    /// Spikes.
    pub spikes: Vec<bool>,
    /// Active entries.
    pub active: Vec<bool>,
    /// ∇S at active entries, 0 elsewhere.
    pub ds: Vec<f64>,
    /// e = ∇S g(V) of the active entries, in (b, t, neuron) order.
    pub e: Vec<f64>,
}

/// Input of the δ recurrence, and the expected results.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaCase {
    /// The case's name.
    pub name: String,
    /// What the case tests.
    pub purpose: String,
    /// The input.
    pub inputs: DeltaInputs,
    /// δ at the needed times, 0 elsewhere, [J, T].
    pub delta: Vec<f64>,
    /// δ at every time, [J, T].
    pub delta_all: Vec<f64>,
}

/// Input of the δ recurrence; arrays are [J, T], neuron-major.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaInputs {
    /// Decay per time step.
    pub alpha: f64,
    /// Postsynaptic neurons, J.
    pub neurons: usize,
    /// Time steps, T.
    pub time_steps: usize,
    /// Active entries.
    pub active: Vec<bool>,
    /// The error e, 0 at inactive entries.
    pub error: Vec<f32>,
    /// Entries at which δ is required.
    pub needed: Vec<bool>,
}

impl Case {
    /// Reads a golden case.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`], naming the tensor or field, if the file is not a golden case or is inconsistent;
    /// [`Error::Unsupported`] for initial potentials other than 0, or another version of the format.
    pub fn read(path: &Path) -> Result<Case> {
        Self::parse(path, &read_limited(path)?)
    }

    /// [`read`](Self::read) from a file's contents. `path` is only used in errors.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Case> {
        let tensors = Tensors::new(path, bytes)?;
        let config = Fields::config(path, bytes)?;
        let format: u64 = config.get("format")?;
        if format != FORMAT {
            let what = format!("{}: golden format {format} is not supported; expected format {FORMAT}", path.display());
            return Err(Error::Unsupported(what));
        }
        match config.get::<String>("kind")?.as_str() {
            "network" => {
                let network = read_network(path, &config.text("case")?, &config)?;
                Ok(Case::Network(Box::new(read_network_case(path, network, &config, &tensors)?)))
            }
            "cells" => {
                let network = super::cells::read_network(path, &config)?;
                Ok(Case::Network(Box::new(read_network_case(path, network, &config, &tensors)?)))
            }
            "delta" => Ok(Case::Delta(read_delta_case(&config, &tensors)?)),
            other => Err(config.wrong("kind", format!("{other:?}, expected \"network\", \"cells\" or \"delta\""))),
        }
    }

    /// The case's name.
    pub fn name(&self) -> &str {
        match self {
            Case::Network(case) => &case.name,
            Case::Delta(case) => &case.name,
        }
    }
}

fn read_network_case(path: &Path, network: Network, config: &Fields, tensors: &Tensors) -> Result<NetworkCase> {
    let name = config.text("case")?;
    let [beta1, beta2] = config.get("adam_betas")?;
    let adam = Adam { lr: config.get("lr")?, beta1, beta2, epsilon: config.get("adam_eps")?, weight_decay: 0.0 };
    adam.check().map_err(|what| bad(path, format!("config: {what}")))?;
    let samples: usize = config.get("batch")?;
    if samples == 0 {
        return Err(config.wrong("batch", "0, expected at least one sample"));
    }
    let batch = read_batch(&network, samples, tensors)?;
    let data = read_layers(&network, "", |name, extents| tensors.f32(name, extents))?;
    let matrices = network.weight_shapes().into_iter().zip(data);
    let weights = Weights { layers: matrices.map(|((rows, cols), data)| Matrix { rows, cols, data }).collect() };
    let steps: usize = config.get("adam_steps")?;
    if !(1..=MAX_ADAM_STEPS).contains(&steps) {
        return Err(config.wrong("adam_steps", format!("{steps}, expected 1 to {MAX_ADAM_STEPS}")));
    }
    let expected = read_expected(&network, samples, steps, tensors)?;
    Ok(NetworkCase { name, purpose: config.text("purpose")?, network, adam, weights, batch, expected })
}

fn read_network(path: &Path, case: &str, config: &Fields) -> Result<Network> {
    let v_init: f64 = config.get("v_init")?;
    let unsupported = |what| Error::Unsupported(format!("{}: case {case}: {what}", path.display()));
    if v_init != 0.0 {
        return Err(unsupported(format!("v_init = {v_init} is not supported; expected 0")));
    }
    let layers = config.list("layers")?;
    let Some((readout, hidden)) = layers.split_last() else {
        return Err(config.wrong("layers", "empty, expected hidden layers and a readout"));
    };
    let (mut inputs, mut below, mut shapes) = (None, None, Vec::new());
    for layer in hidden {
        let (reads, neurons, connection) = read_layer(layer, below)?;
        inputs = inputs.or(Some(reads));
        below = Some(if let Connection::Conv(conv) = connection { conv.outputs() } else { neurons });
        shapes.push((neurons, connection));
    }
    let (reads, classes, connection) = read_layer(readout, below)?;
    if connection != Connection::Linear {
        return Err(readout.wrong("kind", "\"conv2d\", expected \"linear\": the last layer is the readout"));
    }
    // A constant of the layer takes precedence over that of the network.
    let own = |layer: &Fields, field: &str, common: &str| match layer.has(field) {
        true => layer.get(field),
        false => config.get::<Option<f64>>(common),
    };
    let number = |layer: &Fields, field: &str, common: &str| {
        own(layer, field, common)?.ok_or_else(|| config.wrong(common, "null, expected a number"))
    };
    let hidden = hidden.iter().zip(shapes).map(|(layer, (neurons, connection))| {
        let extents: &[&str] = match connection {
            Connection::Linear => &["n_in", "n_out"],
            Connection::Conv(_) => &["c_in", "height", "width", "c_out", "kernel", "stride", "padding", "pool"],
        };
        layer.only(&[&["kind", "tau", "v_th", "v_r", "v_rest", "beta", "b_th"], extents].concat())?;
        Ok(SpikingLayer {
            tau_ms: number(layer, "tau", "tau_hidden")?,
            v_th: number(layer, "v_th", "v_th")?,
            v_r: number(layer, "v_r", "v_r")?,
            v_rest: number(layer, "v_rest", "v_rest")?,
            beta: number(layer, "beta", "beta")?,
            b_th: own(layer, "b_th", "b_th")?.unwrap_or(f64::INFINITY),
            connection,
            ..SpikingLayer::lif(neurons)
        })
    });
    let hidden = hidden.collect::<Result<_>>()?;
    readout.only(&["kind", "n_in", "n_out", "tau"])?;
    let network = Network {
        inputs: inputs.unwrap_or(reads),
        time_steps: config.get("time_steps")?,
        dt_ms: config.get("dt")?,
        hidden,
        readout: Readout::Integrator(Integrator {
            tau_ms: number(readout, "tau", "tau_readout")?,
            gain: config.get("readout_gain")?,
            logits: config.get("logits")?,
            ..Readout::max(classes)
        }),
        loss: Loss::default(),
        regulariser: regulariser(config)?,
    };
    network.check().map_err(|what| bad(path, format!("config: {what}")))?;
    Ok(network)
}

/// The regularisers of a case.
pub(super) fn regulariser(config: &Fields) -> Result<Regulariser> {
    Ok(Regulariser {
        lambda_up: config.get("lambda_up")?,
        nu_up: config.get("nu_up")?,
        lambda_low: config.get("lambda_low")?,
        nu_low: config.get("nu_low")?,
    })
}

/// The network's matrices from the tensors `w.l` and, for layers that have them, `r.l` and `b.l`. Names are prefixed with
/// `prefix`.
fn read_layers<T: Copy>(
    network: &Network,
    prefix: &str,
    read: impl Fn(&str, &[usize]) -> Result<Vec<T>>,
) -> Result<Vec<Vec<T>>> {
    from_file(network, |l, part, extents| read(&format!("{prefix}{}.{l}", part.letter()), extents))
}

/// Inputs, neurons and connection of a weight layer. `below` is the number of neurons of the layer below.
pub(super) fn read_layer(layer: &Fields, below: Option<usize>) -> Result<(usize, usize, Connection)> {
    let (inputs, neurons, connection, field) = match layer.get::<String>("kind")?.as_str() {
        "linear" => (layer.get("n_in")?, layer.get("n_out")?, Connection::Linear, "n_in"),
        "conv2d" => {
            let conv = Convolution {
                channels: layer.get("c_in")?,
                height: layer.get("height")?,
                width: layer.get("width")?,
                filters: layer.get("c_out")?,
                kernel: layer.get("kernel")?,
                stride: layer.get("stride")?,
                padding: layer.get("padding")?,
                pool: layer.get("pool")?,
            };
            (conv.inputs(), conv.neurons(), Connection::Conv(conv), "c_in")
        }
        other => return Err(layer.wrong("kind", format!("{other:?}, expected \"linear\" or \"conv2d\""))),
    };
    match below {
        Some(below) if below != inputs => {
            let what = if field == "n_in" { inputs.to_string() } else { format!("{inputs} with height and width") };
            Err(layer.wrong(field, format!("{what}, expected {below}, the number of neurons of the layer below")))
        }
        _ => Ok((inputs, neurons, connection)),
    }
}

fn read_batch(network: &Network, samples: usize, tensors: &Tensors) -> Result<EventSet> {
    let (time_steps, inputs, classes) = (network.time_steps, network.inputs, network.classes());
    let spikes = tensors.flags("spikes", &[samples, time_steps, inputs])?;
    let labels = tensors.i64("labels", &[samples])?;
    let mut batch = EventSet::new(inputs, time_steps);
    for (b, (sample, &label)) in spikes.chunks_exact(time_steps * inputs).zip(&labels).enumerate() {
        let label = u32::try_from(label).ok().filter(|&label| (label as usize) < classes).ok_or_else(|| {
            tensors.wrong("labels", format!("label {label} of sample {b}, expected 0 to {}", classes - 1))
        })?;
        let events = sample.iter().enumerate().filter(|&(_, &spike)| spike);
        batch.push(events.map(|(k, _)| (k / inputs, k % inputs)), label)?;
    }
    Ok(batch)
}

fn read_expected(network: &Network, samples: usize, steps: usize, tensors: &Tensors) -> Result<Expected> {
    let per_layer = |l: usize, neurons: usize| -> Result<ExpectedLayer> {
        let shape = [samples, network.time_steps, neurons];
        let active = tensors.flags(&format!("active.{l}"), &shape)?;
        let ds = tensors.f64(&format!("ds.{l}"), &shape)?;
        if let Some(at) = active.iter().zip(&ds).position(|(&active, &ds)| !active && ds != 0.0) {
            return Err(tensors.wrong(&format!("ds.{l}"), format!("{} at the inactive entry {at}, expected 0", ds[at])));
        }
        let count = active.iter().filter(|&&active| active).count();
        Ok(ExpectedLayer {
            v: tensors.f64(&format!("v.{l}"), &shape)?,
            spikes: tensors.flags(&format!("s.{l}"), &shape)?,
            e: tensors.f64(&format!("e.{l}"), &[count])?,
            active,
            ds,
        })
    };
    let matrices = |prefix: &str| read_layers(network, prefix, |name, extents| tensors.f64(name, extents));
    let classes = network.classes();
    let spiking = network.spiking().enumerate();
    let readout = || tensors.f64(&format!("v.{}", network.hidden.len()), &[samples, network.time_steps, classes]);
    Ok(Expected {
        spiking: spiking.map(|(l, layer)| per_layer(l, layer.neurons)).collect::<Result<_>>()?,
        readout_v: network.integrator().map_or(Ok(Vec::new()), |_| readout())?,
        logits: tensors.f64("logits", &[samples, classes])?,
        loss: LossTerms {
            task: tensors.scalar("loss.ce")?,
            upper: tensors.scalar("loss.up")?,
            lower: tensors.scalar("loss.low")?,
        },
        total: tensors.scalar("loss.total")?,
        gradient: matrices("d")?,
        adam_weights: matrices("adam.")?,
        adam_loss: tensors.f64("adam.loss", &[steps])?,
    })
}

fn read_delta_case(config: &Fields, tensors: &Tensors) -> Result<DeltaCase> {
    let (neurons, time_steps) = (config.get("neurons")?, config.get("time_steps")?);
    let alpha: f64 = config.get("alpha")?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(config.wrong("alpha", format!("{alpha}, expected 0 to 1")));
    }
    let shape = [neurons, time_steps];
    let active = tensors.flags("active", &shape)?;
    let error = tensors.f32("error", &shape)?;
    if let Some(at) = active.iter().zip(&error).position(|(&active, &e)| !active && e != 0.0) {
        return Err(tensors.wrong("error", format!("{} at the inactive entry {at}, expected 0", error[at])));
    }
    let needed = tensors.flags("needed", &shape)?;
    let delta = tensors.f64("delta", &shape)?;
    if let Some(at) = needed.iter().zip(&delta).position(|(&needed, &delta)| !needed && delta != 0.0) {
        return Err(tensors.wrong("delta", format!("{} at {at}, which is not needed; expected 0", delta[at])));
    }
    if delta.is_empty() {
        return Err(tensors.wrong("delta", format!("no entries, shape {shape:?}; expected at least one")));
    }
    Ok(DeltaCase {
        name: config.text("case")?,
        purpose: config.text("purpose")?,
        inputs: DeltaInputs { alpha, neurons, time_steps, active, error, needed },
        delta,
        delta_all: tensors.f64("delta_all", &shape)?,
    })
}
