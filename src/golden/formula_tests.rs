//! Compares both devices with the reference implementation in f64: convolutions, and all cells, resets, surrogates,
//! biases, readouts and losses.

use super::reference::{Reference, random_cells, random_conv, random_recurrent};
use crate::cpu::CpuEngine;
use crate::engine::{Engine, Inspection, Method};
use crate::events::EventSet;
use crate::gpu::{GpuEngine, GpuOptions};
use crate::network::{Cell, Logits, Network, Surrogate};
use crate::optimiser::Adam;
use crate::weights::Weights;
use std::collections::BTreeSet;

/// Distance of potentials from thresholds at which the devices must agree.
const MARGIN: f64 = 1e-5;

/// Whether no potential is closer than `margin` to a threshold, or so large that rounding matters.
pub(super) fn clear(network: &Network, seen: &Inspection, margin: f64) -> bool {
    network.spiking().zip(&seen.spiking).all(|(layer, seen)| {
        let band = f64::from(layer.constants(network.dt_ms).band);
        seen.v.iter().filter(|&&v| v != 0.0).all(|&v| {
            let distance = (f64::from(v) - layer.v_th).abs();
            v.abs() < 16.0 && distance > margin && (distance - band).abs() > margin
        })
    })
}

fn close(what: &str, got: &[f32], expected: &[f32], limit: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let size = norm(&mut expected.iter().map(|&x| f64::from(x)));
    let distance = norm(&mut got.iter().zip(expected).map(|(&x, &y)| f64::from(x) - f64::from(y)));
    assert!(distance <= limit * size + 1e-12, "{what}: {distance:e} of {size:e}");
}

pub(super) fn same(got: &Inspection, expected: &Inspection, of: &str) {
    for (l, (a, b)) in got.spiking.iter().zip(&expected.spiking).enumerate() {
        let mut spikes = a.spikes.clone();
        spikes.sort_unstable();
        assert_eq!(spikes, b.spikes, "{of}: spikes of {l}");
        assert_eq!(a.spikes, spikes, "{of}: order of the spikes of {l}");
        let keys = |seen: &Inspection| seen.spiking[l].active.iter().map(|e| (e.b, e.t, e.j)).collect::<Vec<_>>();
        assert_eq!(keys(got), keys(expected), "{of}: active entries of {l}");
        let errors = |seen: &Inspection| seen.spiking[l].active.iter().map(|e| e.e).collect::<Vec<_>>();
        close(&format!("{of}: V of {l}"), &a.v, &b.v, 1e-5);
        close(&format!("{of}: e of {l}"), &errors(got), &errors(expected), 1e-3);
    }
    close(&format!("{of}: logits"), &got.logits, &expected.logits, 1e-5);
    let loss = |seen: &Inspection| [seen.loss.task as f32, seen.loss.upper as f32, seen.loss.lower as f32];
    close(&format!("{of}: loss"), &loss(got), &loss(expected), 1e-5);
    for (l, (a, b)) in got.gradient.layers.iter().zip(&expected.gradient.layers).enumerate() {
        close(&format!("{of}: gradient of {l}"), &a.data, &b.data, 1e-3);
    }
}

/// Whether the two largest potentials of each class are so far apart that rounding cannot change the time of the maximum.
pub(super) fn single_maxima(network: &Network, seen: &Inspection) -> bool {
    let (steps, classes) = (network.time_steps, network.classes());
    network.integrator().is_none_or(|readout| readout.logits != Logits::Max)
        || seen.readout_v.chunks_exact(steps * classes).all(|v| {
            (0..classes).all(|c| {
                let mut of_class: Vec<f32> = v.iter().skip(c).step_by(classes).copied().collect();
                of_class.sort_by(f32::total_cmp);
                let (last, before) = (of_class[steps - 1], of_class[steps.saturating_sub(2)]);
                steps < 2 || last - before > 1e-5 || last == 0.0
            })
        })
}

/// Every cell, reset, surrogate, bias, readout and loss, linear and convolutional.
#[test]
fn both_devices_equal_the_generalised_formulas() {
    let (mut compared, mut spikes, mut seen_kinds) = (0, 0, BTreeSet::new());
    for seed in 0..300 {
        let (network, weights, batch) = random_cells(seed, seed % 3 == 0);
        let expected = Reference::new(&network, &weights).unwrap().inspect(&batch).unwrap();
        if !clear(&network, &expected, MARGIN) || !single_maxima(&network, &expected) {
            continue;
        }
        compared += 1;
        spikes += expected.spiking.iter().map(|layer| layer.spikes.len()).sum::<usize>();
        for layer in network.spiking() {
            let cell = if layer.cell == Cell::Lif { "lif" } else { "cuba_lif" };
            seen_kinds.insert(format!("{cell} {:?}", layer.reset));
            seen_kinds.insert(format!("{:?}", layer.surrogate));
        }
        let mut engine = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
        same(&engine.inspect(&batch).unwrap(), &expected, &format!("seed {seed}, cpu"));
        // The gpu device takes longer to open.
        if compared <= 40 {
            let mut engine = GpuEngine::new(&network, Method::Sparse, &weights, GpuOptions::default()).unwrap();
            same(&engine.inspect(&batch).unwrap(), &expected, &format!("seed {seed}, gpu"));
        }
    }
    assert_eq!(seen_kinds.len(), Surrogate::ALL.len() + 4, "{seen_kinds:?}");
    assert!(compared > 100 && spikes > 10_000, "{compared} compared, {spikes} spikes");
}

/// Recurrent layers of any cell, several in a row, above convolutions and as readouts that count spikes.
#[test]
fn recurrent_layers_equal_the_formulas() {
    let (mut compared, mut above_convs, mut counting, mut several) = (0, 0, 0, 0);
    let mut seen_kinds = BTreeSet::new();
    for seed in 0..400 {
        let (network, weights, batch) = random_recurrent(seed, seed % 3 == 0);
        let expected = Reference::new(&network, &weights).unwrap().inspect(&batch).unwrap();
        let recurrent: Vec<usize> =
            (0..network.weight_layers()).filter(|&l| network.recurrent_inputs()[l] > 0).collect();
        let spike = recurrent.iter().all(|&l| !expected.spiking[l].spikes.is_empty());
        if !spike || !clear(&network, &expected, MARGIN) || !single_maxima(&network, &expected) {
            continue;
        }
        compared += 1;
        above_convs += usize::from(network.first_conv().is_some());
        counting += usize::from(recurrent.last() == Some(&network.hidden.len()));
        several += usize::from(recurrent.len() > 1);
        for layer in network.spiking().filter(|layer| layer.recurrent) {
            let cell = if layer.cell == Cell::Lif { "lif" } else { "cuba_lif" };
            seen_kinds.insert(format!("{cell} {:?} {}", layer.reset, layer.bias));
            seen_kinds.insert(format!("{:?}", layer.surrogate));
        }
        let mut engine = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
        same(&engine.inspect(&batch).unwrap(), &expected, &format!("seed {seed}"));
    }
    assert_eq!(seen_kinds.len(), Surrogate::ALL.len() + 8, "{seen_kinds:?}");
    assert!(
        compared > 80 && above_convs > 10 && counting > 15 && several > 30,
        "{compared} compared, {above_convs} above convolutions, {counting} counting, {several} with several"
    );
}

#[test]
fn both_devices_equal_the_formulas() {
    let (mut compared, mut spikes, mut stacked, mut filters) = (0, 0, 0, [0; 6]);
    for seed in 0..120 {
        let (network, weights, batch) = random_conv(seed);
        let expected = Reference::new(&network, &weights).unwrap().inspect(&batch).unwrap();
        if !clear(&network, &expected, MARGIN) {
            continue;
        }
        compared += 1;
        stacked += usize::from(network.hidden.iter().filter(|layer| layer.conv().is_some()).count() == 2);
        spikes += expected.spiking.iter().map(|layer| layer.spikes.len()).sum::<usize>();
        for method in [Method::Sparse, Method::Dense] {
            let mut engine = CpuEngine::new(&network, method, &weights).unwrap();
            same(&engine.inspect(&batch).unwrap(), &expected, &format!("seed {seed}, {method:?}"));
        }
        // The gpu device takes longer to open.
        if compared <= 25 {
            network.hidden.iter().filter_map(|layer| layer.conv()).for_each(|conv| filters[conv.filters] += 1);
            let mut engine = GpuEngine::new(&network, Method::Sparse, &weights, GpuOptions::default()).unwrap();
            same(&engine.inspect(&batch).unwrap(), &expected, &format!("seed {seed}, gpu"));
        }
    }
    assert!(filters[1..].iter().all(|&n| n > 2), "{filters:?} convolutions of so many filters on the gpu device");
    assert!(
        compared > 40 && stacked > 10 && spikes > 10_000,
        "{compared} compared, {stacked} stacked, {spikes} spikes"
    );
}

/// Training does not record the values that inspection does, so the results of both are compared bit by bit.
#[test]
fn training_computes_what_an_inspection_shows_whatever_the_threads() {
    for seed in 0..40 {
        let (network, weights, batch) = random_conv(seed);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut engine = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
                let seen = engine.inspect(&batch).unwrap();
                engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
                let report = engine.reports(true).unwrap().remove(0);
                (seen, report, engine.store().unwrap(), engine.predict(&batch).unwrap())
            })
        };
        let (seen, report, state, evaluation) = run(1);
        assert_eq!((seen.clone(), report.clone(), state.clone(), evaluation), run(3), "seed {seed}");
        assert_eq!(seen.loss, report.loss);
        let of = |l: usize| (seen.spiking[l].spikes.len() as u64, seen.spiking[l].active.len() as u64);
        for l in 0..network.hidden.len() {
            assert_eq!((report.spikes[l + 1], report.active[l]), of(l), "seed {seed}, layer {l}");
        }
        // First moments are (1 - β₁) ∇W: the same gradient.
        for (m, g) in state.first.layers.iter().zip(&seen.gradient.layers) {
            assert!(m.data.iter().zip(&g.data).all(|(m, g)| *m == (1.0 - 0.9f32) * g), "seed {seed}");
        }
    }
}

#[test]
fn the_reference_method_refuses_convolutions() {
    let (network, weights, _) = random_conv(1);
    let error = CpuEngine::new(&network, Method::Reference, &weights).err().unwrap().to_string();
    assert!(error.contains("hidden[0]") && error.contains("dense"), "{error}");
}

/// Layers wider than a column tile of the cpu device.
#[test]
fn wide_layers_on_the_cpu_equal_the_generalised_formulas() {
    let (mut compared, mut seen_kinds) = (0, BTreeSet::new());
    for seed in 0..120 {
        let (mut network, _, all) = random_cells(seed, false);
        network.hidden.iter_mut().for_each(|layer| layer.neurons = 129 + 6 * layer.neurons);
        // So that no surrogate gradient underflows, and not every entry is active.
        network.hidden.iter_mut().for_each(|layer| layer.b_th = layer.b_th.min(0.5));
        let mut weights = Weights::init(&network, seed);
        for (matrix, bias) in weights.layers.iter_mut().zip(network.biases()) {
            matrix.data.iter_mut().for_each(|w| *w += 0.2 * w.abs());
            let biases = if bias { matrix.cols } else { 0 };
            matrix.data.iter_mut().rev().take(biases).enumerate().for_each(|(k, b)| *b = 0.002 * (k % 50) as f32);
        }
        let mut batch = EventSet::new(0, 0);
        batch.gather(&all, &[0]);
        let expected = Reference::new(&network, &weights).unwrap().inspect(&batch).unwrap();
        if !clear(&network, &expected, MARGIN) || !single_maxima(&network, &expected) {
            continue;
        }
        compared += 1;
        for layer in network.hidden.iter().zip(&expected.spiking).filter(|(_, seen)| seen.spikes.len() > 50) {
            let cell = if layer.0.cell == Cell::Lif { "lif" } else { "cuba_lif" };
            seen_kinds.insert(format!("{cell} {:?} {}", layer.0.reset, layer.0.bias));
        }
        let mut engine = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
        same(&engine.inspect(&batch).unwrap(), &expected, &format!("seed {seed}"));
    }
    assert!(compared > 20 && seen_kinds.len() == 8, "{compared} compared: {seen_kinds:?}");
}
