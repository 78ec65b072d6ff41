//! Section `determinism`: whether the same seed gives the same bits. Compares weights and moments after some steps,
//! computed with all options that must not change the results or only their rounding, and repeats one of them, which
//! reveals races.

use super::task::Task;
use crate::bench::{random_spikes, scaled_weights};
use crate::cpu::CpuEngine;
use crate::engine::{Engine, Method, TrainingState};
use crate::error::Result;
use crate::events::EventSet;
use crate::gpu::{GpuOptions, VARIANTS, Variant};
use crate::network::{Logits, Network};
use crate::optimiser::Adam;
use crate::presets;
use crate::weights::Weights;
use serde_json::json;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Number of steps of a run.
const STEPS: usize = 20;
/// Number of repetitions of one run.
const REPEATS: usize = 200;
const QUICK_REPEATS: usize = 10;
/// Fraction of the section's time that is reserved for repetitions.
const FOR_REPEATS: f64 = 0.4;
/// Number of samples in the set and in a batch.
const SAMPLES: usize = 96;
const BATCH: usize = 32;
/// Sizes of the δ scratch in bytes: chunks of one sample, of several, of all.
const DELTA_BYTES: [u64; 3] = [16 << 10, 128 << 10, 256 << 20];
/// Maximum relative difference of weights (Frobenius) that can be explained by rounding: a spike that depends on the last
/// bit of V changes some weights by some steps of Adam.
const ROUNDING: f64 = 1e-2;

/// A short run.
struct ShortRun {
    network: Network,
    set: Arc<EventSet>,
    state: TrainingState,
}

/// Options with which it is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    variant: Variant,
    checked: bool,
    delta_bytes: u64,
    held: bool,
}

impl Way {
    fn name(&self) -> String {
        format!(
            "{}, {}, delta {} KiB, {}",
            self.variant,
            if self.checked { "checked" } else { "unchecked" },
            self.delta_bytes >> 10,
            if self.held { "held" } else { "uploaded" }
        )
    }

    fn options(&self, task: &Task) -> GpuOptions {
        GpuOptions {
            variant: Some(self.variant),
            checked: Some(self.checked),
            delta_bytes: Some(self.delta_bytes),
            ..task.options()
        }
    }
}

/// All combinations of options, the defaults first.
fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for checked in [false, true] {
        for held in [true, false] {
            for variant in VARIANTS {
                // One size suffices with bounds checks, which change the kernels in the same way for all sizes.
                let sizes = if checked { &DELTA_BYTES[..1] } else { &DELTA_BYTES[..] };
                ways.extend(sizes.iter().map(|&delta_bytes| Way { variant, checked, delta_bytes, held }));
            }
        }
    }
    ways
}

impl ShortRun {
    fn new() -> Result<Self> {
        let mut network = presets::ours("fmnist")?.network;
        (network.inputs, network.time_steps) = (70, 60);
        network.integrator_mut().into_iter().for_each(|readout| readout.logits = Logits::Sum);
        network.set_hidden(&[48, 36])?;
        let set = random_spikes(&network, SAMPLES, 0.03, 1)?;
        let weights = scaled_weights(&network, &set, 0.03, 1)?;
        Ok(ShortRun { network, set: Arc::new(set), state: TrainingState::new(weights) })
    }

    /// Trains from the initial weights; returns the final state.
    fn run(&self, engine: &mut dyn Engine, held: bool) -> Result<TrainingState> {
        engine.load(&self.state)?;
        let adam = Adam::with_lr(1e-3);
        for step in 0..STEPS {
            let samples: Vec<u32> = (0..BATCH).map(|b| ((step * 41 + b * 7) % SAMPLES) as u32).collect();
            if held {
                engine.train_held(&samples, &adam)?;
            } else {
                let mut batch = EventSet::new(self.network.inputs, self.network.time_steps);
                batch.gather(&self.set, &samples);
                engine.train(&batch, &adam)?;
            }
        }
        engine.store()
    }
}

/// Hash of the bits of weights and moments.
fn hash(state: &TrainingState) -> String {
    let parts = [&state.weights, &state.first, &state.second];
    let words: Vec<u8> = parts
        .iter()
        .flat_map(|part| &part.layers)
        .flat_map(|matrix| matrix.data.iter().flat_map(|x| x.to_bits().to_le_bytes()))
        .collect();
    format!("{:016x}", xxh3_64(&words))
}

/// Relative difference of weights, Frobenius.
fn difference(a: &Weights, b: &Weights) -> f64 {
    let pairs = || {
        let layers = a.layers.iter().zip(&b.layers);
        layers.flat_map(|(a, b)| a.data.iter().zip(&b.data)).map(|(&a, &b)| (f64::from(a), f64::from(b)))
    };
    let square = |of: fn((f64, f64)) -> f64| pairs().map(of).map(|x| x * x).sum::<f64>().sqrt();
    square(|(a, b)| a - b) / square(|(_, b)| b)
}

/// Runs the section.
pub fn run(task: &mut Task) -> Result<()> {
    task.doing("making the training");
    let training = ShortRun::new()?;
    let mut cpu = CpuEngine::new(&training.network, Method::Sparse, &training.state.weights)?;
    cpu.hold(Arc::clone(&training.set))?;
    let reference = training.run(&mut cpu, true)?;
    let mut first: Option<(Way, TrainingState)> = None;
    let (mut same, mut computed) = (0, 0);
    task.reserve(FOR_REPEATS);
    for way in ways() {
        let Some(state) = task.item(&way.name(), |task| {
            let mut engine = task.open(&training.network, &training.state.weights, way.options(task))?;
            engine.hold(Arc::clone(&training.set))?;
            training.run(&mut engine, way.held)
        }) else {
            continue;
        };
        let from_cpu = difference(&state.weights, &reference.weights);
        let (first_way, first_state) = first.get_or_insert_with(|| (way, state.clone()));
        let from_first = difference(&state.weights, &first_state.weights);
        let equal = hash(&state) == hash(first_state);
        (same, computed) = (same + usize::from(equal), computed + 1);
        task.found(json!({
            "variant": way.variant,
            "checked": way.checked,
            "delta_bytes": way.delta_bytes,
            "held": way.held,
            "hash": hash(&state),
            "difference_from_first": from_first,
            "difference_from_cpu": from_cpu,
        }));
        let largest = from_cpu.max(from_first);
        if largest.is_nan() || largest > ROUNDING {
            task.failed(format!("{}: weights differ by {largest:.1e}, more than rounding explains", way.name()));
        } else if !equal {
            task.differs(format!("{}: other bits than {} (by {from_first:.1e})", way.name(), first_way.name()));
        }
    }
    task.reserve(0.0);
    let Some((way, state)) = first else { return Ok(()) };
    let repeats = if task.quick { QUICK_REPEATS } else { REPEATS };
    let repeated = repeat(task, &training, way, &state, repeats)?;
    task.headline(format!("{same} of {computed} ways give the same bits, {repeated} repetitions"));
    Ok(())
}

/// Repeats one run as often as there is time; different bits are a failure.
fn repeat(task: &mut Task, training: &ShortRun, way: Way, state: &TrainingState, repeats: usize) -> Result<usize> {
    let mut engine = task.open(&training.network, &training.state.weights, way.options(task))?;
    engine.hold(Arc::clone(&training.set))?;
    let (mut done, mut other) = (0, Vec::new());
    for k in 0..repeats {
        let Some(again) = task.item(&format!("repetition {}", k + 1), |_| training.run(&mut engine, way.held)) else {
            break;
        };
        done += 1;
        if hash(&again) != hash(state) {
            other.push(json!({ "repetition": k + 1, "hash": hash(&again), "difference": difference(&again.weights, &state.weights) }));
        }
    }
    if !other.is_empty() {
        task.failed(format!("{}: {} of {done} repetitions ended in other bits", way.name(), other.len()));
    }
    task.found(json!({ "repeated": way.name(), "repetitions": done, "asked": repeats, "other_bits": other }));
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_differences() {
        let training = ShortRun::new().unwrap();
        let mut cpu = CpuEngine::new(&training.network, Method::Sparse, &training.state.weights).unwrap();
        cpu.hold(Arc::clone(&training.set)).unwrap();
        let held = training.run(&mut cpu, true).unwrap();
        let uploaded = training.run(&mut cpu, false).unwrap();
        assert_eq!(hash(&held), hash(&uploaded));
        assert_eq!(difference(&held.weights, &uploaded.weights), 0.0);
        // Training changes the weights, so that differences are visible.
        let moved = difference(&held.weights, &training.state.weights);
        assert!(moved > 1e-3, "{moved}");
        let mut other = held.clone();
        let moment = &mut other.second.layers[0].data[3];
        *moment = f32::from_bits(moment.to_bits() ^ 1);
        assert_ne!(hash(&held), hash(&other));
    }

    #[test]
    fn ways_are_all_different() {
        let ways = ways();
        assert_eq!(ways.len(), VARIANTS.len() * 2 * 4);
        let names: std::collections::HashSet<String> = ways.iter().map(Way::name).collect();
        assert_eq!(names.len(), ways.len());
        assert!(!ways[0].checked && ways[0].held);
    }
}
