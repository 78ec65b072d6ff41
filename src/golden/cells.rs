//! Reads the networks of golden cases of kind "cells": all cells, resets, surrogates, recurrent
//! weights, biases, readouts and losses.

use super::case::{read_layer, regulariser};
use super::file::{Fields, bad};
use crate::error::Result;
use crate::network::{
    Cell, Connection, Integrator, Logits, Loss, Network, Readout, ReadoutGain, SpikingLayer, Surrogate,
};
use std::path::Path;

/// The fields that describe a layer's neurons.
const NEURON: &[&str] = &["cell", "reset", "v_th", "v_r", "v_rest", "b_th", "surrogate", "recurrent", "bias"];

/// The network of a case. Its initialisation is ignored, since the weights are given.
pub(super) fn read_network(path: &Path, config: &Fields) -> Result<Network> {
    let layers = config.list("layers")?;
    let Some((last, hidden)) = layers.split_last() else {
        return Err(config.wrong("layers", "empty, expected at least a readout"));
    };
    let (mut inputs, mut below, mut spiking) = (None, None, Vec::new());
    for layer in hidden {
        let (reads, neurons, connection) = read_layer(layer, below)?;
        let layer = SpikingLayer { connection, ..read_neurons(layer, neurons)? };
        inputs = inputs.or(Some(reads));
        below = Some(layer.outputs());
        spiking.push(layer);
    }
    let (reads, classes, connection) = read_layer(last, below)?;
    if connection != Connection::Linear {
        return Err(last.wrong("kind", "\"conv2d\", expected \"linear\": the last layer is the readout"));
    }
    let network = Network {
        inputs: inputs.unwrap_or(reads),
        time_steps: config.get("time_steps")?,
        dt_ms: config.get("dt")?,
        hidden: spiking,
        readout: read_readout(config, last, classes)?,
        loss: read_loss(&config.object("loss")?)?,
        regulariser: regulariser(config)?,
    };
    network.check().map_err(|what| bad(path, format!("config: {what}")))?;
    Ok(network)
}

fn read_neurons(layer: &Fields, neurons: usize) -> Result<SpikingLayer> {
    let extents: &[&str] = match layer.get::<String>("kind")?.as_str() {
        "linear" => &["kind", "n_in", "n_out"],
        _ => &["kind", "c_in", "height", "width", "c_out", "kernel", "stride", "padding", "pool"],
    };
    layer.only(&[NEURON, extents].concat())?;
    let cell = layer.object("cell")?;
    let surrogate = layer.object("surrogate")?;
    surrogate.only(&["kind", "beta", "scale"])?;
    let base = match cell.get::<String>("kind")?.as_str() {
        "lif" => {
            cell.only(&["kind", "tau_mem", "alpha_mem"])?;
            SpikingLayer::lif(neurons)
        }
        "cuba_lif" => {
            cell.only(&["kind", "tau_mem", "alpha_mem", "tau_syn", "alpha_syn"])?;
            SpikingLayer { cell: Cell::CubaLif { tau_syn_ms: cell.get("tau_syn")? }, ..SpikingLayer::lif(neurons) }
        }
        other => return Err(cell.wrong("kind", format!("{other:?}, expected \"lif\" or \"cuba_lif\""))),
    };
    Ok(SpikingLayer {
        tau_ms: cell.get("tau_mem")?,
        reset: layer.get("reset")?,
        v_th: layer.get("v_th")?,
        v_r: layer.get("v_r")?,
        v_rest: layer.get("v_rest")?,
        b_th: layer.get::<Option<f64>>("b_th")?.unwrap_or(f64::INFINITY),
        surrogate: surrogate.get::<Surrogate>("kind")?,
        beta: surrogate.get("beta")?,
        surrogate_scale: if surrogate.has("scale") { surrogate.get("scale")? } else { 1.0 },
        bias: layer.get("bias")?,
        recurrent: layer.get("recurrent")?,
        ..base
    })
}

fn read_readout(config: &Fields, last: &Fields, classes: usize) -> Result<Readout> {
    let readout = config.object("readout")?;
    match readout.get::<String>("kind")?.as_str() {
        "li" => {
            last.only(&["kind", "n_in", "n_out"])?;
            readout.only(&["kind", "tau", "gain", "bias", "logits", "alpha", "gain_value"])?;
            Ok(Readout::Integrator(Integrator {
                tau_ms: readout.get("tau")?,
                gain: readout.get::<ReadoutGain>("gain")?,
                logits: readout.get::<Logits>("logits")?,
                bias: readout.get("bias")?,
                ..Readout::max(classes)
            }))
        }
        "spike_count" => {
            readout.only(&["kind"])?;
            Ok(Readout::SpikeCount(read_neurons(last, classes)?))
        }
        other => Err(readout.wrong("kind", format!("{other:?}, expected \"li\" or \"spike_count\""))),
    }
}

fn read_loss(loss: &Fields) -> Result<Loss> {
    match loss.get::<String>("kind")?.as_str() {
        "cross_entropy" => {
            loss.only(&["kind", "label_smoothing"])?;
            Ok(Loss::CrossEntropy { label_smoothing: loss.get("label_smoothing")? })
        }
        "mse" => {
            loss.only(&["kind", "on", "off"])?;
            Ok(Loss::MeanSquaredError { on: loss.get("on")?, off: loss.get("off")? })
        }
        other => Err(loss.wrong("kind", format!("{other:?}, expected \"cross_entropy\" or \"mse\""))),
    }
}
