//! Measuring whole training steps: random input, weights of a known activity, and medians over repeats.
//!
//! What a step costs follows its spikes and active entries, so figures mean something only at a known activity. Batch
//! and weights are therefore made the same way for every device and method: [`scaled_weights`] lets each hidden layer
//! spike at [`TARGET_DENSITY`], and [`measure`] puts the weights back before every measured step.

use crate::cpu::CpuEngine;
use crate::engine::{Engine, KernelTime, Method, Profile, StepReport, TrainingState};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::model::{Adam, Logits, Network};
use crate::weights::{Matrix, Weights};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;
use std::time::Instant;

/// Spikes / (B · T · N) of every hidden layer that weights are scaled for: that of the paper's trained networks.
pub const TARGET_DENSITY: f64 = 0.015;

/// Samples that weights are scaled on.
const SCALING_SAMPLES: usize = 32;
/// Steps before the first that is measured.
const WARM_UP: usize = 3;
/// Streams of the seed, apart from those of [`Weights::init`] and of the order of samples.
const SPIKES_STREAM: u64 = 1 << 62;
const WEIGHTS_STREAM: u64 = SPIKES_STREAM + 1;

fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// `samples` samples in which each (time step, input) slot of `network` has a spike with probability `density`; labels
/// are random. The same seed gives the same samples on every machine.
///
/// # Errors
/// A density outside 0..=1, or more than 2³² - 1 events in all.
pub fn random_spikes(network: &Network, samples: usize, density: f64, seed: u64) -> Result<EventSet> {
    if !(0.0..=1.0).contains(&density) {
        return Err(Error::Config(format!("density = {density}: must be 0 to 1")));
    }
    let mut rng = random(seed, SPIKES_STREAM);
    let (neurons, slots) = (network.inputs, network.inputs * network.time_steps);
    let mut set = EventSet::new(neurons, network.time_steps);
    // The gap to the next spike is geometric: as many random numbers as spikes, not as slots.
    let none = (-density).ln_1p();
    for _ in 0..samples {
        let mut spikes = Vec::new();
        let mut slot = 0;
        while slot < slots && density > 0.0 {
            let u: f64 = rng.random();
            // The cast saturates; a gap beyond all slots stays beyond them.
            slot += (((-u).ln_1p() / none) as usize).min(slots);
            if slot < slots {
                spikes.push((slot / neurons, slot % neurons));
            }
            slot += 1;
        }
        let label = rng.random_range(0..network.readout.classes as u32);
        set.push(spikes, label)?;
    }
    Ok(set)
}

/// Normal weights, each hidden layer scaled by bisection until it spikes at `density` on the first samples of `batch`,
/// the readout until its potentials deviate by 0.5 (for maxima; 2/T for sums). Computed on the CPU, so that every
/// device is measured with the same weights.
///
/// # Errors
/// A network that cannot work, or a batch that does not fit it.
pub fn scaled_weights(network: &Network, batch: &EventSet, density: f64, seed: u64) -> Result<Weights> {
    let mut engine = CpuEngine::new(network, Method::Sparse)?;
    let batch = batch.head(SCALING_SAMPLES);
    let mut rng = random(seed, WEIGHTS_STREAM);
    let mut weights = Weights::zeros_of(network);
    let hidden = network.hidden.len();
    for l in 0..=hidden {
        let Matrix { rows, cols, .. } = weights.layers[l];
        let root = (rows as f64).sqrt();
        let normal: Vec<f64> = (0..rows * cols)
            .map(|_| {
                let x: f64 = StandardNormal.sample(&mut rng);
                x / root
            })
            .collect();
        let mut load = |engine: &mut CpuEngine, scale: f64| -> Result<()> {
            weights.layers[l].data = normal.iter().map(|w| (w * scale) as f32).collect();
            engine.load(&TrainingState::new(weights.clone()))
        };
        if l == hidden {
            load(&mut engine, 1.0)?;
            let target = match network.readout.logits {
                Logits::Max => 0.5,
                Logits::Sum => 2.0 / network.time_steps as f64,
            };
            let deviation = deviation(&engine.inspect(&batch)?.readout_v).max(1e-6);
            load(&mut engine, target / deviation)?;
            break;
        }
        let slots = (batch.len() * network.time_steps * network.hidden[l].neurons) as f64;
        // The layers above have no weights yet and are silent: they cost nothing.
        let (mut low, mut high) = (1e-2, 1e3);
        for _ in 0..24 {
            let scale = f64::sqrt(low * high);
            load(&mut engine, scale)?;
            let spikes = engine.evaluate(&batch)?.spikes[l] as f64;
            if spikes < density * slots { low = scale } else { high = scale }
        }
    }
    Ok(weights)
}

fn deviation(values: &[f32]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The batch of every step.
    pub batch: &'a EventSet,
    /// The weights before every measured step.
    pub weights: &'a Weights,
    /// The optimiser.
    pub adam: Adam,
    /// Measured steps of each engine.
    pub repeat: usize,
}

/// Figures of one engine; times are medians over the repeats, in ms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// Forward, loss included; `None` where the platform has no timestamps.
    pub forward_ms: Option<f64>,
    /// Backward, as in [`Profile::backward_ms`].
    pub backward_ms: Option<f64>,
    /// A whole training step as the clock on the wall sees it, waiting for the device included.
    pub step_ms: f64,
    /// The fastest and the slowest of these steps.
    pub step_ms_min_max: [f64; 2],
    /// What a step needs beyond weights, moments and input, bytes.
    pub state_bytes: u64,
    /// The same by name.
    pub memory: Vec<Memory>,
    /// Spikes / (B · T · N) of each hidden layer.
    pub spike_density: Vec<f64>,
    /// Active entries / (B · T · N) of each hidden layer.
    pub activity: Vec<f64>,
    /// Mean loss of a sample.
    pub loss: f64,
    /// Each kernel, or phase on the CPU.
    pub kernels: Vec<KernelTime>,
}

/// A named piece of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What it holds.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// Measures training steps of all `engines`, in turn within each repeat, so that a machine which slows down for a
/// while slows all of them. `on_repeat` is told how many repeats are done.
///
/// A repeat of an engine is: weights put back, a profiled step, then the step whose whole time is taken. The profiled
/// step moves no weights, as the learning rate is vanishing; the other one does everything that training does.
///
/// # Errors
/// A device that fails, or a loss that is no number; 0 repeats.
pub fn measure(
    engines: &mut [Box<dyn Engine>],
    plan: &Plan,
    on_repeat: &mut dyn FnMut(usize),
) -> Result<Vec<Measurement>> {
    if plan.repeat == 0 {
        return Err(Error::Config("repeat = 0: must be 1 or more".into()));
    }
    let state = TrainingState::new(plan.weights.clone());
    for engine in engines.iter_mut() {
        engine.load(&state)?;
        for _ in 0..WARM_UP {
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
fn step(engine: &mut dyn Engine, plan: &Plan) -> Result<(f64, StepReport)> {
    let clock = Instant::now();
    engine.train(plan.batch, &plan.adam)?;
    let report = engine.reports(true)?.pop();
    let ms = clock.elapsed().as_secs_f64() * 1e3;
    let report = report.ok_or_else(|| Error::Device("a step was trained, but never reported".into()))?;
    if !report.loss.total().is_finite() {
        return Err(Error::NotFinite(format!("the loss of the measured step is {}", report.loss.total())));
    }
    Ok((ms, report))
}

fn summarise(engine: &dyn Engine, repeats: &[Repeat]) -> Result<Measurement> {
    let Some(Repeat { report, profile: Profile { kernels, .. }, .. }) = repeats.last() else {
        return Err(Error::Config("nothing was measured".into()));
    };
    let network = engine.network();
    let rows = (report.samples * network.time_steps) as f64;
    let densities = |counts: &[u64]| {
        network.hidden.iter().zip(counts).map(|(layer, &n)| n as f64 / (rows * layer.neurons as f64)).collect()
    };
    let memory: Vec<Memory> = engine.state_bytes().into_iter().map(|(name, bytes)| Memory { name, bytes }).collect();
    let steps = || repeats.iter().map(|r| r.step_ms);
    let of_all = |time: &dyn Fn(&Profile) -> Option<f64>| median(repeats.iter().map(|r| time(&r.profile)));
    let time_of = |name: &str| of_all(&|p| p.kernels.iter().find(|k| k.name == name).and_then(|k| k.ms));
    Ok(Measurement {
        forward_ms: of_all(&|p| p.forward_ms),
        backward_ms: of_all(&|p| p.backward_ms),
        step_ms: median(steps().map(Some)).unwrap_or(f64::NAN),
        step_ms_min_max: [steps().fold(f64::INFINITY, f64::min), steps().fold(0.0, f64::max)],
        state_bytes: memory.iter().map(|m| m.bytes).sum(),
        memory,
        spike_density: densities(report.spikes.get(1..).unwrap_or_default()),
        activity: densities(&report.active),
        loss: report.loss.total() / report.samples as f64,
        kernels: kernels.iter().map(|k| KernelTime { ms: time_of(&k.name), ..k.clone() }).collect(),
    })
}

/// The median; `None` where one is missing or there is none.
fn median(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect::<Option<_>>()?;
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { 0.5 * (values[values.len() / 2 - 1] + upper) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    fn network(inputs: usize, hidden: &[usize], steps: usize) -> Network {
        let mut network = presets::paper("nmnist").unwrap().network;
        (network.inputs, network.time_steps) = (inputs, steps);
        network.set_hidden(hidden).unwrap();
        network
    }

    fn density(set: &EventSet) -> f64 {
        set.events().len() as f64 / (set.len() * set.neurons() * set.time_steps()) as f64
    }

    #[test]
    fn random_spikes_have_the_density_asked_for() {
        let network = network(120, &[4], 50);
        for wanted in [0.0, 0.012, 0.3, 1.0] {
            let set = random_spikes(&network, 40, wanted, 3).unwrap();
            let deviation = (wanted * (1.0 - wanted) / (40.0 * 6000.0)).sqrt();
            assert!((density(&set) - wanted).abs() <= 5.0 * deviation, "{wanted}: {}", density(&set));
            assert_eq!((set.len(), set.neurons(), set.time_steps()), (40, 120, 50));
            assert_eq!(set, random_spikes(&network, 40, wanted, 3).unwrap());
        }
        let set = random_spikes(&network, 40, 0.1, 3).unwrap();
        assert_ne!(set, random_spikes(&network, 40, 0.1, 4).unwrap());
        assert!(set.labels().iter().any(|&l| l > 4) && set.labels().iter().all(|&l| l < 10));
        for wrong in [-0.1, 1.5, f64::NAN] {
            assert!(matches!(random_spikes(&network, 1, wrong, 3), Err(Error::Config(_))));
        }
    }

    #[test]
    fn every_hidden_layer_spikes_as_asked() {
        let network = network(100, &[60, 50], 60);
        let batch = random_spikes(&network, 16, 0.03, 1).unwrap();
        let weights = scaled_weights(&network, &batch, 0.02, 1).unwrap();
        let mut engine = CpuEngine::new(&network, Method::Sparse).unwrap();
        engine.load(&TrainingState::new(weights.clone())).unwrap();
        let spikes = engine.evaluate(&batch).unwrap().spikes;
        for (layer, n) in network.hidden.iter().zip(spikes) {
            let density = n as f64 / (16 * 60 * layer.neurons) as f64;
            assert!((density - 0.02).abs() < 0.001, "{density}");
        }
        let deviation = deviation(&engine.inspect(&batch).unwrap().readout_v);
        assert!((deviation - 0.5).abs() < 0.01, "{deviation}");
        assert_eq!(weights, scaled_weights(&network, &batch, 0.02, 1).unwrap());
    }

    #[test]
    fn every_method_is_measured_at_the_same_weights() {
        let network = network(40, &[30, 30], 30);
        let batch = random_spikes(&network, 8, 0.03, 1).unwrap();
        let weights = scaled_weights(&network, &batch, TARGET_DENSITY, 1).unwrap();
        let mut engines: Vec<Box<dyn Engine>> = [Method::Sparse, Method::Dense]
            .map(|method| Box::new(CpuEngine::new(&network, method).unwrap()) as Box<dyn Engine>)
            .into();
        let plan = Plan { batch: &batch, weights: &weights, adam: Adam::with_lr(0.1), repeat: 3 };
        let mut repeats = Vec::new();
        let measured = measure(&mut engines, &plan, &mut |done| repeats.push(done)).unwrap();
        assert_eq!(repeats, [1, 2, 3]);
        let mut fresh = CpuEngine::new(&network, Method::Sparse).unwrap();
        fresh.load(&TrainingState::new(weights.clone())).unwrap();
        fresh.train(&batch, &plan.adam).unwrap();
        let first = fresh.reports(true).unwrap().remove(0);
        for m in &measured {
            // A rate of 0.1 would have moved the spikes of any later step.
            assert_eq!(m.spike_density[1], first.spikes[2] as f64 / (8.0 * 30.0 * 30.0));
            assert!((m.loss - first.loss.total() / 8.0).abs() < 1e-5, "{m:?}");
            assert!(m.step_ms > 0.0 && m.step_ms_min_max[0] <= m.step_ms && m.step_ms <= m.step_ms_min_max[1]);
            assert!(m.forward_ms.is_some() && m.kernels.len() >= 3 && m.kernels.iter().all(|k| k.ms.is_some()));
            assert_eq!(m.state_bytes, m.memory.iter().map(|m| m.bytes).sum::<u64>());
        }
        assert_ne!(measured[0].kernels[0].name, measured[1].kernels[0].name);
        assert!(measure(&mut engines, &Plan { repeat: 0, ..plan }, &mut |_| {}).is_err());
    }

    #[test]
    fn a_missing_time_stays_missing() {
        assert_eq!(median([Some(3.0), Some(1.0), Some(2.0)].into_iter()), Some(2.0));
        assert_eq!(median([Some(4.0), Some(1.0)].into_iter()), Some(2.5));
        assert_eq!(median([Some(4.0), None].into_iter()), None);
        assert_eq!(median(std::iter::empty()), None);
    }
}
