//! Counting what kernels execute does not change their results, and agrees with counts by hand.

mod common;

use common::*;
use spikegrad::Error;
use spikegrad::bench::{Facts, least_among};
use spikegrad::engine::{Engine, Method, TrainingState};
use spikegrad::gpu::count::KernelCount;
use spikegrad::gpu::{GpuEngine, GpuOptions, Instrument, Tier};
use spikegrad::optimiser::Adam;

fn options(count: bool, tier: Tier) -> GpuOptions {
    // Lists too small at first, so that a step is run again; several chunks.
    let instrument = count.then_some(Instrument::Count);
    GpuOptions {
        instrument,
        tier: Some(tier),
        delta_bytes: Some(8192),
        density_guess: Some(0.001),
        ..GpuOptions::default()
    }
}

fn of<'a>(kernels: &'a [KernelCount], name: &str) -> &'a KernelCount {
    kernels.iter().find(|k| k.name == name).unwrap_or_else(|| panic!("no {name} in {kernels:?}"))
}

#[test]
fn a_counted_step_has_the_bits_of_a_plain_one() {
    let network = network(30, &[40, 20], 5, 50);
    let state = TrainingState::new(strong_weights(&network, 3));
    let batch = batch(30, 50, 5, 9, 0.06, 3);
    for (method, tier) in
        [(Method::Sparse, Tier::Software), (Method::Sparse, Tier::Hardware), (Method::Dense, Tier::Software)]
    {
        let run = |count: bool| {
            let mut engine = gpu(&network, method, &state, options(count, tier));
            for _ in 0..3 {
                engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
            }
            let reports = engine.reports(true).unwrap();
            (reports, engine.store().unwrap())
        };
        assert_eq!(run(true), run(false), "{method:?} {tier:?}");
    }
}

#[test]
fn counts_are_those_of_the_step_and_never_below_its_least() {
    let network = network(30, &[40, 20], 5, 50);
    let weights = strong_weights(&network, 3);
    let batch = batch(30, 50, 5, 9, 0.06, 3);
    let facts = Facts::exact(&network, &weights, &batch).unwrap();
    let state = TrainingState::new(weights);
    for tier in [Tier::Software, Tier::Hardware] {
        for method in [Method::Sparse, Method::Dense] {
            let mut engine = gpu(&network, method, &state, options(true, tier));
            assert!(matches!(engine.counted(), Err(Error::Device(_))), "nothing was trained yet");
            engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
            let first = engine.counted().unwrap();
            assert!(first.len() > 5);
            for kernel in &first {
                let all = first.iter().map(|k| k.name.as_str());
                let Some(least) = least_among(&kernel.name, all, &facts) else { continue };
                let (issued, least_bytes) = (kernel.work.bytes() as f64, least.least_bytes);
                assert!(issued >= 0.99 * least_bytes, "{method:?} {tier:?} {}: {issued} < {least_bytes}", kernel.name);
                let (done, needed) = (kernel.work.multiply_adds as f64, least.least_multiply_adds);
                assert!(done >= 0.99 * needed, "{method:?} {tier:?} {}: {done} < {needed} multiply-adds", kernel.name);
            }
            // Counters start at 0 in each step, and a repeated step with restored weights has the same counts.
            engine.load(&state).unwrap();
            engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
            assert_eq!(engine.counted().unwrap(), first);
        }
    }
}

#[test]
fn the_weight_gradient_adds_a_row_for_every_spike() {
    let network = network(24, &[32], 4, 40);
    let state = TrainingState::new(strong_weights(&network, 5));
    let batch = batch(24, 40, 4, 6, 0.1, 5);
    let mut engine = gpu(&network, Method::Sparse, &state, options(true, Tier::Software));
    engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
    let spikes = batch.events().len() as u64;
    let gradient = of(&engine.counted().unwrap(), "weight_gradient.0").work;
    // 32 neurons: an addition for each spike and neuron, and no other float operation but Adam's, if that is fused.
    assert!(gradient.multiply_adds >= 32 * spikes, "{gradient:?} {spikes}");
    assert!(gradient.multiply_adds <= 32 * spikes + 24 * 32 * 16, "{gradient:?} {spikes}");
}

#[test]
fn an_engine_that_does_not_count_says_so() {
    let network = network(10, &[8], 3, 20);
    let mut engine =
        GpuEngine::new(&network, Method::Sparse, &strong_weights(&network, 3), GpuOptions::default()).unwrap();
    engine.train(&batch(10, 20, 3, 2, 0.1, 1), &Adam::with_lr(1e-3)).unwrap();
    assert!(engine.counted().is_err());
}
