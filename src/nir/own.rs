//! What our exports note in the file's metadata, so that an import gives the same network to the last bit.
//!
//! The nodes count: the note is used only if an export of its network gives the file's nodes.

use super::graph::{Array, Fields, Graph, Node, Numbers, Value};
use super::{Export, ExportReadout, Import, ImportReport, Imported, export, file};
use crate::error::{Error, Result};
use crate::network::{Cell, Network, Readout, SpikingLayer};
use crate::weights::{Matrix, TensorPart, Weights, file_tensors, transposed};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The entry of the metadata with the time step, s, which others write too.
const DT: &str = "dt";
/// The entry of the metadata with our note.
const NOTE: &str = "spikegrad";
const VERSION: i64 = 1;
/// Maximum size of a note in bytes: a thousand layers.
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    version: i64,
    fold_gain: bool,
    readout: ExportReadout,
    #[serde(default)]
    preset: Option<String>,
    network: Network,
}

/// The metadata of an export.
pub(super) fn metadata(network: &Network, options: &Export, dt: f64) -> Result<Fields> {
    let note = Note {
        version: VERSION,
        fold_gain: options.fold_gain,
        readout: options.readout,
        preset: options.preset.clone(),
        network: network.clone(),
    };
    let note =
        toml::to_string(&note).map_err(|e| Error::Config(format!("the network cannot be noted as TOML: {e}")))?;
    let dt = Value::Array(Array { shape: vec![], numbers: Numbers::F64(vec![dt]) });
    Ok(Fields::from([(DT.into(), dt), (NOTE.into(), Value::Text(note))]))
}

/// The time step in the metadata, s.
pub(super) fn noted_dt(graph: &Graph) -> Option<f64> {
    match graph.metadata.get(DT) {
        Some(Value::Array(array)) if array.numbers.len() == 1 => array.numbers.floats().pop(),
        _ => None,
    }
}

/// Whether the file has a note of ours.
pub(super) fn has_note(graph: &Graph) -> bool {
    graph.metadata.contains_key(NOTE)
}

/// The network of the note; `None` without one, and if it does not describe the nodes.
///
/// # Errors
/// Options that the network cannot have.
pub(super) fn restore(contents: &file::Contents, path: &Path, options: &Import) -> Result<Option<Imported>> {
    let Some(dt) = noted_dt(&contents.graph).filter(|dt| options.dt.is_none_or(|given| given == *dt)) else {
        return Ok(None);
    };
    let note = match contents.graph.metadata.get(NOTE) {
        Some(Value::Text(text)) if text.len() <= MAX_BYTES => toml::from_str::<Note>(text).ok(),
        _ => None,
    };
    let Some(note) = note.filter(|note| note.version == VERSION && note.network.check().is_ok()) else {
        return Ok(None);
    };
    let Some(weights) = weights(&note.network, &contents.graph) else { return Ok(None) };
    let Some(changes) = described(&note, dt, &weights, &contents.graph) else { return Ok(None) };
    let changed =
        |change: String| format!("the exported network was taken, which the file's nodes differ from: {change}");
    let weights = unfolded(weights, &export::folded_gains(&note.network, note.fold_gain, note.readout));
    let mut network = note.network;
    if let Some(dt_ms) = options.dt_ms {
        rescale(&mut network, dt_ms);
    }
    network.time_steps = options.time_steps.unwrap_or(network.time_steps);
    if let (Some(readout), Some(logits)) = (network.integrator_mut(), options.logits) {
        readout.logits = logits;
    }
    network.check().map_err(|e| Error::format(path, format!("cannot be imported: {e}")))?;
    let names = weight_nodes(&network).into_iter().enumerate();
    let report = ImportReport {
        version: contents.version.clone(),
        dt,
        nodes: names.map(|(l, name)| format!("{name}: {}", network.layer_name(l))).collect(),
        warnings: changes.into_iter().map(changed).collect(),
        own: true,
        preset: note.preset,
    };
    Ok(Some(Imported { network, weights, report }))
}

/// The same dynamics per step with another length of the time step.
fn rescale(network: &mut Network, dt_ms: f64) {
    let factor = dt_ms / network.dt_ms;
    if factor == 1.0 {
        return;
    }
    network.dt_ms = dt_ms;
    let layer = |layer: &mut SpikingLayer| {
        layer.tau_ms *= factor;
        if let Cell::CubaLif { tau_syn_ms } = &mut layer.cell {
            *tau_syn_ms *= factor;
        }
    };
    network.hidden.iter_mut().for_each(layer);
    match &mut network.readout {
        Readout::Integrator(readout) => readout.tau_ms *= factor,
        Readout::SpikeCount(counting) => layer(counting),
    }
}

fn weight_nodes(network: &Network) -> Vec<String> {
    (0..network.weight_layers()).map(|l| export::weight_node(network, l)).collect()
}

/// The weights in the nodes of our export of `network`, without the gain; `None` if there are none of these shapes.
fn weights(network: &Network, graph: &Graph) -> Option<Weights> {
    let field = |node: &str, name: &str| match graph.nodes.get(node)?.fields.get(name)? {
        Value::Array(Array { shape, numbers: Numbers::F32(numbers) }) => Some((shape, numbers)),
        _ => None,
    };
    let names = weight_nodes(network);
    let mut layers: Vec<Matrix> = Vec::new();
    for (l, part, extents) in file_tensors(network) {
        match (part, extents.as_slice()) {
            (TensorPart::Biases, _) => {
                let (shape, numbers) = field(&names[l], "bias")?;
                let matrix = layers.last_mut().filter(|matrix| shape.as_slice() == [matrix.cols])?;
                matrix.data.extend(numbers);
                matrix.rows += 1;
            }
            (TensorPart::Recurrent, &[rows, cols]) => {
                let (shape, numbers) = field(&export::recurrent_node(l), "weight")?;
                let matrix = layers.last_mut().filter(|_| shape.as_slice() == [cols, rows])?;
                matrix.data.extend(transposed(numbers, cols, rows));
                matrix.rows += rows;
            }
            (TensorPart::Weights, &[rows, cols]) => {
                let (shape, numbers) = field(&names[l], "weight")?;
                (shape.as_slice() == [cols, rows]).then_some(())?;
                layers.push(Matrix { rows, cols, data: transposed(numbers, cols, rows) });
            }
            (TensorPart::Weights, &[filters, ..]) => {
                let (shape, numbers) = field(&names[l], "weight")?;
                (*shape == extents).then_some(())?;
                // Its biases are zeros or are read; others were written by another program.
                let (_, biases) = field(&names[l], "bias")?;
                (network.biases()[l] || biases.iter().all(|&b| b == 0.0)).then_some(())?;
                let rows = extents[1..].iter().product();
                layers.push(Matrix { rows, cols: filters, data: transposed(numbers, filters, rows) });
            }
            _ => return None,
        }
    }
    // What the export would repeat for each neuron must be in the file.
    for (l, layer) in network.spiking().enumerate() {
        let (_, numbers) = field(&export::neuron_node(l), "v_threshold")?;
        (numbers.len() == layer.neurons).then_some(())?;
    }
    let weights = Weights { layers };
    weights.check(network).ok()?;
    Some(weights)
}

/// The weights without the gains that were multiplied into them. The last bit may differ.
fn unfolded(mut weights: Weights, gains: &[f64]) -> Weights {
    for (matrix, &gain) in weights.layers.iter_mut().zip(gains).filter(|(_, gain)| **gain != 1.0) {
        matrix.data.iter_mut().for_each(|w| *w = (f64::from(*w) / gain) as f32);
    }
    weights
}

/// If an export of the note's network gives the nodes and edges of `graph`, apart from weights and biases: in what they differ from
/// the network.
fn described(note: &Note, dt: f64, weights: &Weights, graph: &Graph) -> Option<Vec<String>> {
    let options = Export {
        dt: Some(dt),
        fold_gain: note.fold_gain,
        readout: note.readout,
        force: true,
        preset: note.preset.clone(),
    };
    let (written, report) = export::graph(&note.network, weights, &options).ok()?;
    let sorted = |graph: &Graph| {
        let mut edges = graph.edges.clone();
        edges.sort();
        edges
    };
    let same = |(name, node): (&String, &Node)| graph.nodes.get(name).is_some_and(|found| alike(node, found));
    let equal = written.nodes.len() == graph.nodes.len() && sorted(&written) == sorted(graph);
    (equal && written.nodes.iter().all(same)).then_some(report.changes)
}

/// Whether two nodes are equal, apart from weights, biases and the types of numbers.
fn alike(written: &Node, found: &Node) -> bool {
    let others = |node: &Node| {
        let mut fields = node.fields.clone();
        fields.retain(|name, _| name != "weight" && name != "bias");
        fields
    };
    let (written_fields, found_fields) = (others(written), others(found));
    let same = |(a, b): ((&String, &Value), (&String, &Value))| match (a, b) {
        ((a, Value::Array(x)), (b, Value::Array(y))) => {
            a == b && x.shape == y.shape && x.numbers.floats() == y.numbers.floats()
        }
        (a, b) => a == b,
    };
    written.kind == found.kind
        && found.graph.is_none()
        && written_fields.len() == found_fields.len()
        && written_fields.iter().zip(&found_fields).all(same)
}
