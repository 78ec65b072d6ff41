//! Measures single training steps: medians over repeats, with engines taking turns.

use super::least::{Facts, Least, least_among};
use crate::auto::{choose, densities};
use crate::engine::{Engine, LayerMethod, Method, Profile, Slice, StepReport, TrainingState};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::optimiser::Adam;
use crate::weights::Weights;
use serde::Serialize;
use std::time::Instant;

/// Number of warm-up steps before the first measured step.
const WARM_UP: usize = 3;

/// The steps to measure.
#[derive(Debug, Clone, Copy)]
pub struct MeasurementPlan<'a> {
    /// The batch of every step.
    pub batch: &'a EventSet,
    /// The weights before every measured step.
    pub weights: &'a Weights,
    /// The optimiser.
    pub adam: Adam,
    /// Number of measured steps per engine.
    pub repeat: usize,
}

/// Results of one engine; times are medians over the repeats, in ms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// Forward pass and loss; `None` if the platform has no timestamps.
    pub forward_ms: Option<f64>,
    /// Backward pass, as in [`Profile::backward_ms`].
    pub backward_ms: Option<f64>,
    /// Wall-clock time of a training step, including waiting for the device.
    pub step_ms: f64,
    /// The fastest and the slowest of these steps.
    pub step_ms_min_max: [f64; 2],
    /// Memory that a step requires in addition to weights, moments and input, bytes.
    pub state_bytes: u64,
    /// The same memory by name.
    pub memory: Vec<Memory>,
    /// Spikes / (B · T · N) of each hidden layer.
    pub spike_density: Vec<f64>,
    /// Active entries / (B · T · N) of each hidden layer.
    pub activity: Vec<f64>,
    /// Mean loss per sample.
    pub loss: f64,
    /// Results per kernel, or per phase on the CPU.
    pub kernels: Vec<KernelFigures>,
    /// Time of the step of each repeat, ms.
    #[serde(skip)]
    pub steps_ms: Vec<f64>,
    /// When each dispatch of the last profiled step ran.
    #[serde(skip)]
    pub slices: Vec<Slice>,
}

/// Results of one kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelFigures {
    /// The operation, with its layer.
    pub name: String,
    /// Dispatches (or calls) in the step.
    pub calls: u32,
    /// Total time in a step, ms; `None` if the platform has no timestamps.
    pub ms: Option<f64>,
    /// Minimum and maximum of the time over the repeats.
    pub ms_min_max: Option<[f64; 2]>,
    /// The theoretical minimum for the step's spikes and active entries; `None` if [`least`](super::least::least) does
    /// not know the kernel.
    #[serde(flatten)]
    pub least: Option<Least>,
    /// Minimum bytes / time. May exceed [`Ceilings`](super::Ceilings), which are measured outside of caches.
    pub bytes_per_second: Option<f64>,
    /// Minimum multiply-adds / time.
    pub multiply_adds_per_second: Option<f64>,
}

/// A named part of the memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Its contents.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Measures training steps of all `engines`. They take turns within each repeat, so that a temporary slowdown of the
/// machine affects all of them. `on_repeat` is called with the number of finished repeats.
///
/// In each repeat, an engine's weights are restored, then a step is profiled with a learning rate so small that weights do
/// not change, then the wall-clock time of an ordinary step is measured.
///
/// # Errors
/// A device error, a loss that is not finite, or 0 repeats.
pub fn measure(
    engines: &mut [Box<dyn Engine>],
    plan: &MeasurementPlan,
    on_repeat: &mut dyn FnMut(usize),
) -> Result<Vec<Measurement>> {
    if plan.repeat == 0 {
        return Err(Error::field("repeat", 0, "1 or more"));
    }
    let state = TrainingState::new(plan.weights.clone());
    for engine in engines.iter_mut() {
        engine.load(&state)?;
        let (_, report) = step(engine.as_mut(), plan)?;
        if engine.method() == Method::Auto {
            let sparse = vec![LayerMethod::Sparse; engine.network().weight_layers()];
            let densities = densities(engine.network(), report.samples as u64, &report.spikes, &report.active);
            engine.set_layer_methods(&choose(&sparse, &densities, engine.crossover()))?;
        }
        for _ in 1..WARM_UP {
            step(engine.as_mut(), plan)?;
        }
    }
    let still = Adam { lr: 1e-30, ..plan.adam };
    let mut repeats: Vec<Vec<Repeat>> = engines.iter().map(|_| Vec::new()).collect();
    for done in 1..=plan.repeat {
        for (engine, repeats) in engines.iter_mut().zip(&mut repeats) {
            engine.load(&state)?;
            let profile = engine.profile(plan.batch, &still)?;
            let (step_ms, report) = step(engine.as_mut(), plan)?;
            repeats.push(Repeat { profile, step_ms, report });
        }
        on_repeat(done);
    }
    engines.iter().zip(&repeats).map(|(engine, repeats)| summarise(engine.as_ref(), repeats)).collect()
}

struct Repeat {
    profile: Profile,
    step_ms: f64,
    report: StepReport,
}

/// One training step and its time in ms.
pub(super) fn step(engine: &mut dyn Engine, plan: &MeasurementPlan) -> Result<(f64, StepReport)> {
    let clock = Instant::now();
    engine.train(plan.batch, &plan.adam)?;
    let report = engine.reports(true)?.pop();
    let ms = clock.elapsed().as_secs_f64() * 1e3;
    let report = report.ok_or_else(|| Error::Device("the device did not report a training step".into()))?;
    if !report.loss.total().is_finite() {
        return Err(Error::NotFinite(format!("the loss of the measured step is {}", report.loss.total())));
    }
    Ok((ms, report))
}

fn summarise(engine: &dyn Engine, repeats: &[Repeat]) -> Result<Measurement> {
    let Some(Repeat { report, profile, .. }) = repeats.last() else {
        return Err(Error::Config("nothing was measured".into()));
    };
    let network = engine.network();
    let rows = (report.samples * network.time_steps) as f64;
    let densities = |counts: &[u64]| {
        network.hidden.iter().zip(counts).map(|(layer, &n)| n as f64 / (rows * layer.neurons as f64)).collect()
    };
    let memory: Vec<Memory> = engine.state_bytes().into_iter().map(|(name, bytes)| Memory { name, bytes }).collect();
    let steps_ms: Vec<f64> = repeats.iter().map(|r| r.step_ms).collect();
    let of_all = |time: &dyn Fn(&Profile) -> Option<f64>| median(repeats.iter().map(|r| time(&r.profile)));
    let facts = Facts::estimated(network, report);
    let kernel = |name: &String, calls: u32| {
        let time_of = |r: &Repeat| r.profile.kernels.iter().find(|k| k.name == *name).and_then(|k| k.ms);
        let ms = median(repeats.iter().map(time_of));
        let least = least_among(name, profile.kernels.iter().map(|k| k.name.as_str()), &facts);
        let rate = |of: fn(&Least) -> f64| match (least.as_ref().map(of), ms) {
            (Some(n), Some(ms)) if ms > 0.0 && n > 0.0 => Some(n / (1e-3 * ms)),
            _ => None,
        };
        KernelFigures {
            name: name.clone(),
            calls,
            ms,
            ms_min_max: min_max(repeats.iter().map(time_of)),
            bytes_per_second: rate(|least| least.least_bytes),
            multiply_adds_per_second: rate(|least| least.least_multiply_adds),
            least,
        }
    };
    Ok(Measurement {
        forward_ms: of_all(&|p| p.forward_ms),
        backward_ms: of_all(&|p| p.backward_ms),
        step_ms: median(steps_ms.iter().copied().map(Some)).unwrap_or(f64::NAN),
        step_ms_min_max: min_max(steps_ms.iter().copied().map(Some)).unwrap_or([f64::NAN; 2]),
        state_bytes: memory.iter().map(|m| m.bytes).sum(),
        memory,
        spike_density: densities(report.spikes.get(1..).unwrap_or_default()),
        activity: densities(&report.active),
        loss: report.loss.total() / report.samples as f64,
        kernels: profile.kernels.iter().map(|k| kernel(&k.name, k.calls)).collect(),
        steps_ms,
        slices: profile.slices.clone(),
    })
}

/// The median; `None` if there are no values or one is missing.
pub(super) fn median(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect::<Option<_>>()?;
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { 0.5 * (values[values.len() / 2 - 1] + upper) })
}

/// Minimum and maximum; `None` if there are no values or one is missing.
pub(super) fn min_max(values: impl Iterator<Item = Option<f64>>) -> Option<[f64; 2]> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    Some([least, values.iter().copied().max_by(f64::total_cmp)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{TARGET_DENSITY, random_spikes, scaled_weights};
    use crate::cpu::CpuEngine;
    use crate::engine::Method;
    use crate::network::Network;
    use crate::presets;

    fn network(inputs: usize, hidden: &[usize], steps: usize) -> Network {
        let mut network = presets::paper("nmnist").unwrap().network;
        (network.inputs, network.time_steps) = (inputs, steps);
        network.set_hidden(hidden).unwrap();
        network
    }

    #[test]
    fn every_method_is_measured_at_the_same_weights() {
        let network = network(40, &[30, 30], 30);
        let batch = random_spikes(&network, 8, 0.03, 1).unwrap();
        let weights = scaled_weights(&network, &batch, TARGET_DENSITY, 1).unwrap();
        let mut engines: Vec<Box<dyn Engine>> = [Method::Sparse, Method::Dense]
            .map(|method| Box::new(CpuEngine::new(&network, method, &weights).unwrap()) as Box<dyn Engine>)
            .into();
        let plan = MeasurementPlan { batch: &batch, weights: &weights, adam: Adam::with_lr(0.1), repeat: 3 };
        let mut repeats = Vec::new();
        let measured = measure(&mut engines, &plan, &mut |done| repeats.push(done)).unwrap();
        assert_eq!(repeats, [1, 2, 3]);
        let mut fresh = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
        fresh.train(&batch, &plan.adam).unwrap();
        let first = fresh.reports(true).unwrap().remove(0);
        for m in &measured {
            // With the learning rate of 0.1, spikes would change if weights were not restored.
            assert_eq!(m.spike_density[1], first.spikes[2] as f64 / (8.0 * 30.0 * 30.0));
            assert!((m.loss - first.loss.total() / 8.0).abs() < 1e-5, "{m:?}");
            assert!(m.step_ms > 0.0 && m.step_ms_min_max[0] <= m.step_ms && m.step_ms <= m.step_ms_min_max[1]);
            assert!(m.forward_ms.is_some() && m.kernels.len() >= 3 && m.kernels.iter().all(|k| k.ms.is_some()));
            assert_eq!(m.state_bytes, m.memory.iter().map(|m| m.bytes).sum::<u64>());
        }
        assert_ne!(measured[0].kernels[0].name, measured[1].kernels[0].name);
        assert!(measure(&mut engines, &MeasurementPlan { repeat: 0, ..plan }, &mut |_| {}).is_err());
    }

    #[test]
    fn a_missing_time_stays_missing() {
        assert_eq!(median([Some(3.0), Some(1.0), Some(2.0)].into_iter()), Some(2.0));
        assert_eq!(median([Some(4.0), Some(1.0)].into_iter()), Some(2.5));
        assert_eq!(median([Some(4.0), None].into_iter()), None);
        assert_eq!(median(std::iter::empty()), None);
    }
}
