//! Recurrent layers on the cpu device: wide layers and long samples compared with the reference in f64, and results that must be
//! equal to the last bit.

use super::formula_tests::{clear, same, single_maxima};
use super::reference::{Reference, excited, random_recurrent};
use crate::cpu::CpuEngine;
use crate::engine::{Engine, Inspection, Method};
use crate::events::EventSet;
use crate::network::{Cell, Network, Readout, SpikingLayer, Surrogate};
use crate::optimiser::Adam;
use crate::weights::Weights;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

fn sparse_batch(network: &Network, samples: usize, rng: &mut ChaCha8Rng) -> EventSet {
    let mut batch = EventSet::new(network.inputs, network.time_steps);
    for _ in 0..samples {
        let slots = (0..network.time_steps).flat_map(|t| (0..network.inputs).map(move |i| (t, i)));
        let density = rng.random_range(0.002..0.05);
        let spikes: Vec<_> = slots.filter(|_| rng.random_bool(density)).collect();
        batch.push(spikes, rng.random_range(0..network.classes() as u32)).unwrap();
    }
    batch
}

/// Up to 300 neurons in a layer and 600 time steps: on both sides of the width of a column tile, of its words of spike bits, and of
/// a block of time steps.
fn wide_and_long(seed: u64) -> (Network, Weights, EventSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x300);
    let (mut network, ..) = random_recurrent(seed, false);
    network.hidden.truncate(2);
    for layer in &mut network.hidden {
        layer.neurons = rng.random_range(1..=300);
        layer.b_th = layer.b_th.min(0.5);
        layer.recurrent = true;
    }
    (network.inputs, network.time_steps) = (rng.random_range(1..60), rng.random_range(2..=600));
    let mut weights = excited(&network, seed, &mut rng);
    for (l, (matrix, bias)) in weights.layers.iter_mut().zip(network.biases()).enumerate() {
        let biases = if bias { matrix.cols } else { 0 };
        // Larger ones would make most neurons spike at most time steps.
        matrix.data.iter_mut().rev().take(biases).for_each(|b| *b *= 0.1);
        // A current adds up over its time constant.
        let synapse = network.spiking_layer(l).and_then(|layer| layer.constants(network.dt_ms).synapse);
        matrix.data.iter_mut().for_each(|w| *w *= 1.0 - synapse.unwrap_or(0.0));
    }
    let batch = sparse_batch(&network, 1, &mut rng);
    (network, weights, batch)
}

#[test]
fn wide_layers_and_long_samples_equal_the_formulas() {
    let (mut compared, mut widest, mut longest, mut kinds) = (0, 0, 0, BTreeSet::new());
    for seed in 0..160 {
        let (network, weights, batch) = wide_and_long(seed);
        let expected = Reference::new(&network, &weights).unwrap().inspect(&batch).unwrap();
        // Gradients may explode over hundreds of steps, and rounding errors with them.
        let errors = expected.spiking.iter().flat_map(|layer| &layer.active);
        let explode = errors.fold(0.0, |largest: f32, entry| largest.max(entry.e.abs())) > 1e3;
        if explode || !clear(&network, &expected, 3e-6) || !single_maxima(&network, &expected) {
            continue;
        }
        compared += 1;
        for (layer, _) in network.hidden.iter().zip(&expected.spiking).filter(|(_, seen)| seen.spikes.len() > 100) {
            widest = widest.max(layer.neurons);
            longest = longest.max(network.time_steps);
            let cell = if layer.cell == Cell::Lif { "lif" } else { "cuba_lif" };
            kinds.insert(format!("{cell} {:?}", layer.reset));
        }
        let mut engine = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
        same(&engine.inspect(&batch).unwrap(), &expected, &format!("seed {seed}"));
    }
    assert!(
        compared > 30 && widest > 256 && longest > 400 && kinds.len() == 4,
        "{compared} compared, up to {widest} neurons and {longest} steps: {kinds:?}"
    );
}

/// Without B_th the sparse gradient is that of dense backpropagation through time, which the reference computes: all entries are
/// active that the surrogate reaches.
#[test]
fn an_infinite_b_th_gives_the_dense_gradient() {
    let (mut compared, mut masked, mut whole) = (0, 0, 0);
    for seed in 0..150 {
        let (mut network, weights, batch) = random_recurrent(seed, false);
        let bounded = CpuEngine::new(&network, Method::Sparse, &weights).unwrap().inspect(&batch).unwrap();
        let open = |layer: &mut SpikingLayer| {
            layer.b_th = f64::INFINITY;
            // Far from the threshold, exponentials are 0 in the reference.
            if matches!(layer.surrogate, Surrogate::Sigmoid | Surrogate::Gaussian) {
                layer.surrogate = Surrogate::Arctan;
            }
        };
        network.hidden.iter_mut().for_each(open);
        if let Readout::SpikeCount(layer) = &mut network.readout {
            open(layer);
        }
        let expected = Reference::new(&network, &weights).unwrap().inspect(&batch).unwrap();
        if !clear(&network, &expected, 1e-5) || !single_maxima(&network, &expected) {
            continue;
        }
        compared += 1;
        let seen = CpuEngine::new(&network, Method::Sparse, &weights).unwrap().inspect(&batch).unwrap();
        same(&seen, &expected, &format!("seed {seed}"));
        for ((layer, seen), bounded) in network.spiking().zip(&seen.spiking).zip(&bounded.spiking) {
            let all = batch.len() * network.time_steps * layer.neurons;
            if layer.surrogate.reach(layer.beta) == f64::INFINITY {
                assert_eq!(seen.active.len(), all, "seed {seed}");
                whole += 1;
            }
            masked += usize::from(bounded.active.len() < all / 2);
        }
    }
    assert!(compared > 40 && masked > 40 && whole > 40, "{compared} compared, {masked} masked before, {whole} whole");
}

/// Several groups of samples, the last of which is not full.
fn several_groups(seed: u64) -> (Network, Weights, EventSet) {
    let (mut network, weights, _) = wide_and_long(seed);
    network.time_steps = 2 + network.time_steps % 60;
    let batch = sparse_batch(&network, 19, &mut ChaCha8Rng::seed_from_u64(seed));
    (network, weights, batch)
}

#[test]
fn bits_do_not_depend_on_threads_or_on_who_looks() {
    for seed in 0..12 {
        let (network, weights, batch) = several_groups(seed);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut engine = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
                let seen = engine.inspect(&batch).unwrap();
                engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
                let first = engine.store().unwrap();
                engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
                let reports = engine.reports(true).unwrap();
                (seen, first, reports, engine.store().unwrap(), engine.predict(&batch).unwrap())
            })
        };
        let (seen, first, reports, last, prediction) = run(1);
        let again = run(2);
        assert_eq!((&seen, &first, &reports, &last, &prediction), (&again.0, &again.1, &again.2, &again.3, &again.4));
        for (l, layer) in seen.spiking.iter().enumerate() {
            let counts = (layer.spikes.len() as u64, layer.active.len() as u64);
            assert_eq!((reports[0].spikes[l + 1], reports[0].active[l]), counts, "seed {seed}, layer {l}");
        }
        // First moments are (1 - β₁) ∇W: the same gradient.
        for (m, g) in first.first.layers.iter().zip(&seen.gradient.layers) {
            assert!(m.data.iter().zip(&g.data).all(|(m, g)| *m == (1.0 - 0.9f32) * g), "seed {seed}");
        }
        // A step in three calls.
        let mut engine = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
        let pass = engine.forward(&batch).unwrap();
        assert_eq!(pass.logits, seen.logits);
        assert_eq!(engine.predict(&batch).unwrap().logits, seen.logits);
    }
}

/// With weights of 0 a recurrent layer is as one without, and all sums are the same to the last bit.
#[test]
fn recurrent_weights_of_zero_change_nothing() {
    let mut active = 0;
    for seed in 0..12 {
        let (network, mut weights, batch) = several_groups(seed);
        let (mut plain, mut without) = (network.clone(), weights.clone());
        let own = network.recurrent_inputs();
        plain.hidden.iter_mut().for_each(|layer| layer.recurrent = false);
        if let Readout::SpikeCount(layer) = &mut plain.readout {
            layer.recurrent = false;
        }
        // The rows of recurrent weights of each layer.
        let rows = |l: usize| network.fan_in()[l]..network.fan_in()[l] + own[l];
        for (l, (matrix, less)) in weights.layers.iter_mut().zip(&mut without.layers).enumerate() {
            let numbers = rows(l).start * matrix.cols..rows(l).end * matrix.cols;
            matrix.data[numbers.clone()].fill(0.0);
            less.data.drain(numbers);
            less.rows -= own[l];
        }
        let seen = |network: &Network, weights: &Weights| -> Inspection {
            CpuEngine::new(network, Method::Sparse, weights).unwrap().inspect(&batch).unwrap()
        };
        let (mut recurrent, plain) = (seen(&network, &weights), seen(&plain, &without));
        for (l, matrix) in recurrent.gradient.layers.iter_mut().enumerate() {
            matrix.data.drain(rows(l).start * matrix.cols..rows(l).end * matrix.cols);
            matrix.rows -= own[l];
        }
        assert_eq!(recurrent, plain, "seed {seed}");
        active += plain.spiking.iter().map(|layer| layer.active.len()).sum::<usize>();
    }
    assert!(active > 10_000, "{active} active entries");
}
