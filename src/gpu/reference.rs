//! The reference baseline as dispatches: a loop over time with separate passes over the [B, N] slices of each time step.
//! `src/cpu/reference.rs` explains it.

use super::params::Params;
use super::recording::Recorder;
use super::region::Region;
use super::shaders as k;
use super::sparse::groups;
use crate::error::{Error, Result};
use crate::network::Network;

/// Most dispatches of the time loops of one step, each of which has a bind group and parameters.
const MOST_PASSES: usize = 16_384;

/// Refuses time loops that are too long to be recorded.
///
/// # Errors
/// More passes than [`MOST_PASSES`].
pub fn check(network: &Network) -> Result<()> {
    let passes = 3 * network.hidden.len() * network.time_steps;
    if passes > MOST_PASSES {
        return Err(Error::Config(format!(
            "the reference method takes {passes} passes for {} time steps and {} hidden layers, the gpu device records at \
             most {MOST_PASSES}; use fewer time steps, the dense method, or the cpu device",
            network.time_steps,
            network.hidden.len()
        )));
    }
    Ok(())
}

/// Buffers of a hidden layer.
pub struct Layer<'a> {
    /// Input currents, then V.
    pub v: &'a Region,
    /// S.
    pub spikes: &'a Region,
    /// ζ.
    pub counts: &'a Region,
    /// Regularisers of each sample.
    pub activity: &'a Region,
    /// Counts for the host.
    pub report: &'a Region,
    /// Flags.
    pub status: &'a Region,
}

/// Buffers of the backward pass of a hidden layer.
#[derive(Clone, Copy)]
pub struct Gradients<'a> {
    /// ∇S.
    pub ds: &'a Region,
    /// δ of one time step.
    pub now: &'a Region,
    /// δ.
    pub delta: &'a Region,
    /// e, if it is recorded.
    pub recorded_e: Option<&'a Region>,
}

impl<'a> Layer<'a> {
    /// Integrates layer `l` step by step.
    pub fn forward(&self, r: &mut Recorder<'a>, l: usize, p: Params) {
        let lanes = || groups((p.batch * p.quads) as usize);
        for time in 0..p.steps - 1 {
            let bindings = [("v", self.v), ("spikes", self.spikes), ("status", self.status)];
            r.add(format!("reference_lif.{l}"), k::REFERENCE_LIF, Params { time, ..p }, &bindings, lanes());
        }
        let bindings = [("spikes", self.spikes), ("counts", self.counts), ("report", self.report)];
        r.add(format!("reference_count.{l}"), k::REFERENCE_COUNT, p, &bindings, lanes());
    }

    /// δ of layer `l` from ∇S, step by step.
    pub fn backward(&self, r: &mut Recorder<'a>, l: usize, p: Params, gradients: Gradients<'a>) {
        let Gradients { ds, now, delta, recorded_e } = gradients;
        // One label for both passes, so that a profile shows the loop as a whole.
        let label = format!("reference_delta.{l}");
        let variant: &[&'static str] = if recorded_e.is_some() { &["RECORD"] } else { &[] };
        let mut bindings =
            vec![("v", self.v), ("counts", self.counts), ("activity", self.activity), ("ds", ds), ("now", now)];
        bindings.extend(recorded_e.map(|buffer| ("recorded_e", buffer)));
        let accumulate = |r: &mut Recorder<'a>, time: u32| {
            let lanes = groups((p.batch * p.steps * p.quads) as usize);
            let bindings = [("now", now), ("gradient", delta)];
            r.add(&*label, k::REFERENCE_ACCUMULATE, Params { time, ..p }, &bindings, lanes);
        };
        if p.steps == 1 {
            accumulate(r, u32::MAX);
        }
        // The error at 0 reaches no δ.
        let first = u32::from(recorded_e.is_none());
        for time in (first..p.steps).rev() {
            let lanes = groups((p.batch * p.quads) as usize);
            r.add(&*label, k::REFERENCE_DELTA.with(variant), Params { time, ..p }, &bindings, lanes);
            if time > 0 {
                accumulate(r, time - 1);
            }
        }
    }
}
