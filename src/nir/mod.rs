//! Networks to and from files in the [Neuromorphic Intermediate Representation](https://neuroir.org) (NIR), which snnTorch, Norse,
//! Spyx, Sinabs and others read and write.
//!
//! [`from_nir`] takes chains of weights and neurons that we can compute exactly, up to rounding, and refuses others by the name of
//! the node. [`to_nir`] writes a network such that forward Euler computes what we do; [`from_nir`] of that file gives the same
//! bits. docs/nir.md compares the conventions of the programs.
//!
//! ```no_run
//! use spikegrad::nir::{Export, Import, from_nir, to_nir};
//!
//! let imported = from_nir("snntorch.nir".as_ref(), &Import { dt: Some(1e-4), ..Import::default() })?;
//! imported.report.warnings.iter().for_each(|warning| eprintln!("{warning}"));
//! to_nir(&imported.network, &imported.weights, "copy.nir".as_ref(), &Export::default())?;
//! # Ok::<(), spikegrad::Error>(())
//! ```

mod export;
mod file;
mod graph;
mod import;
mod linear;
mod neurons;
mod own;
mod parameters;

use crate::error::Result;
use crate::files::write_atomically;
use crate::network::{Logits, Network, Reset};
use crate::weights::Weights;
use std::path::Path;

/// What the programs take for the time step of a file that does not say it.
const DT_OF_PEERS: &str = "snnTorch means 1e-4, Norse 1e-3 unless told otherwise, Spyx and Sinabs 1";

/// What a file does not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Import {
    /// Length of the time step that the file's time constants refer to, s; by default that of its metadata.
    pub dt: Option<f64>,
    /// Length of the network's time step, ms, if it is to differ from the file's. The dynamics per step stay the same.
    pub dt_ms: Option<f64>,
    /// Time steps of the network; by default 100, or those of our own export.
    pub time_steps: Option<usize>,
    /// How neurons without `v_reset` are reset: files of nir before 1.0.6 meant a subtraction, all programs now set the potential
    /// to 0, which is the default.
    pub missing_reset: Option<Reset>,
    /// How the logits follow from the potentials of a readout of integrators; by default the maximum, or as in our own export.
    pub logits: Option<Logits>,
}

/// A network from a file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// The network. Surrogates, loss and initialisation are our defaults, except after our own export.
    pub network: Network,
    /// Its weights.
    pub weights: Weights,
    /// What became of the file's nodes.
    pub report: ImportReport,
}

/// What became of a file's nodes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImportReport {
    /// The version of nir that wrote the file; empty if it does not say.
    pub version: String,
    /// The time step that the time constants refer to, s.
    pub dt: f64,
    /// A line for each layer: the node and what it became.
    pub nodes: Vec<String>,
    /// What was assumed.
    pub warnings: Vec<String>,
    /// Whether the network is the one that was exported here, time steps included.
    pub own: bool,
    /// The preset of the run that was exported ([`Export::preset`]).
    pub preset: Option<String>,
}

/// How an exported network ends if its readout has integrators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportReadout {
    /// In a LI node, which snnTorch refuses and Norse leaves out.
    #[default]
    Li,
    /// In its weights.
    None,
}

/// How a network is written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Export {
    /// Length of the time step that the file's time constants refer to, s; by default the network's. The dynamics per step are the
    /// same. snnTorch always takes 1e-4.
    pub dt: Option<f64>,
    /// Multiply weights and biases by the gain 1/(1 - α) of LIF nodes, so that their r is 1, in place of r = 1/(1 - α). Norse
    /// takes every r for 1. An import of the file then gives weights that may differ in the last bit.
    pub fold_gain: bool,
    /// How a readout of integrators is written.
    pub readout: ExportReadout,
    /// Write a network that NIR cannot hold exactly, with the changes of [`ExportReport::changes`].
    pub force: bool,
    /// The preset of the run, a note for our own import.
    pub preset: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ExportReport {
    /// Length of the time step that the time constants refer to, s.
    pub dt: f64,
    /// A line for each node.
    pub nodes: Vec<String>,
    /// In what the written network differs from the given one; empty without [`Export::force`].
    pub changes: Vec<String>,
    /// What other programs make of the file.
    pub notes: Vec<String>,
}

/// Reads a network from a NIR file.
///
/// Delays differ: here a layer of neurons passes its spikes on in the next time step, in NIR in the same one. Layer l (from 1) has
/// at step t + l the spikes that it has in NIR at step t; with biases or leak potentials behind the first layer, layers integrate
/// these from step 0 on.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Format`](crate::Error::Format) naming the node and the reason if the file is damaged,
/// or its graph is none that we can compute; [`Error::Field`](crate::Error::Field) for an invalid option.
pub fn from_nir(path: &Path, options: &Import) -> Result<Imported> {
    let contents = file::read(path)?;
    let every_reset_is_known = contents.graph.every_reset_is_known();
    let mut imported = imported(contents, path, options)?;
    let warnings = &mut imported.report.warnings;
    if options.missing_reset.is_some() && every_reset_is_known {
        warnings.push("option missing_reset has no effect: every neuron node has a v_reset".into());
    }
    if options.logits.is_some() && imported.network.integrator().is_none() {
        warnings.push("option logits has no effect: the last layer spikes, and its spikes are counted".into());
    }
    Ok(imported)
}

fn imported(contents: file::Contents, path: &Path, options: &Import) -> Result<Imported> {
    if let Some(imported) = own::restore(&contents, path, options)? {
        return Ok(imported);
    }
    let dt = options.dt.or_else(|| own::noted_dt(&contents.graph));
    let had_note = own::has_note(&contents.graph);
    let mut imported = import::import(contents, path, dt, options)?;
    if had_note {
        imported.report.warnings.push(
            "the file was exported from spikegrad and then changed, or is read with another dt: only its nodes count, and \
             surrogates, loss and regularisers are the defaults"
                .into(),
        );
    }
    Ok(imported)
}

/// Writes a network as a NIR file. A file at `path` is replaced atomically.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if NIR cannot hold the network, or, without [`Export::force`], holds it only with
/// changes, naming the layer, the change and the remedy; [`Error::Io`](crate::Error::Io).
pub fn to_nir(network: &Network, weights: &Weights, path: &Path, options: &Export) -> Result<ExportReport> {
    let (graph, report) = export::graph(network, weights, options)?;
    write_atomically(path, &file::encode(export::VERSION, &graph)?)?;
    Ok(report)
}

#[cfg(test)]
mod tests;
