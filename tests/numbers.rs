//! Extreme numbers: NaN and infinity are reported by layer in the step in which they arise, and unusual constants give the
//! same spikes and masks on both devices.

mod common;

use common::*;
use spikegrad::engine::{Engine, Method, NotFinite, Quantity, StepReport, TrainingState};
use spikegrad::gpu::GpuOptions;
use spikegrad::network::{Initialisation, Network, SpikingLayer};
use spikegrad::optimiser::Adam;
use spikegrad::weights::Weights;

const METHODS: [Method; 3] = [Method::Sparse, Method::Dense, Method::Reference];

fn on_both(network: &Network, method: Method, state: &TrainingState, mut look: impl FnMut(&mut dyn Engine)) {
    look(&mut cpu(network, method, state));
    if spikegrad::device::Device::Gpu(None).resolve_for(network, method) != spikegrad::device::Device::Cpu {
        look(&mut gpu(network, method, state, GpuOptions::default()));
    }
}

/// Two steps, the first by `adam`.
fn steps(network: &Network, weights: Weights, method: Method, adam: &Adam, mut look: impl FnMut(&str, &[StepReport])) {
    let batch = batch(network.inputs, network.time_steps, network.classes(), 9, 0.1, 5);
    on_both(network, method, &TrainingState::new(weights), |engine| {
        engine.train(&batch, adam).unwrap();
        engine.train(&batch, &Adam::with_lr(1e-3)).unwrap();
        let reports = engine.reports(true).unwrap();
        look(&format!("{} {method:?}", engine.info().kind), &reports);
    });
}

fn networks() -> [Network; 4] {
    [network(30, &[40, 20, 33], 6, 40), stacked_convs(20), other_cells(40), biased(40)]
}

fn methods_of(network: &Network) -> impl Iterator<Item = Method> {
    let conv = network.hidden.iter().any(|layer| layer.conv().is_some());
    let sparse = conv || network.beyond_paper().is_some();
    METHODS.into_iter().filter(move |method| !(sparse && *method != Method::Sparse))
}

#[test]
fn finite_numbers_are_not_reported() {
    for network in networks() {
        for method in methods_of(&network) {
            steps(&network, strong_weights(&network, 1), method, &Adam::with_lr(1e-3), |device, reports| {
                assert!(reports.iter().all(|report| report.not_finite.is_none()), "{device}: {reports:?}");
            });
        }
    }
}

/// Sums of very large weights overflow f32, in any layer.
#[test]
fn potentials_beyond_f32_are_reported_with_their_layer_and_step() {
    for network in networks() {
        for (layer, sign) in (0..=network.hidden.len()).zip([1.0f32, -1.0].into_iter().cycle()) {
            let mut weights = strong_weights(&network, 1);
            weights.layers[layer].data.iter_mut().for_each(|w| *w = sign * 3e38);
            for method in methods_of(&network) {
                steps(&network, weights.clone(), method, &Adam::with_lr(1e-3), |device, reports| {
                    let expected = Some(NotFinite { layer, what: Quantity::Potential });
                    assert_eq!(reports[0].not_finite, expected, "{device}, layer {layer}");
                });
            }
        }
    }
}

/// A regulariser with gradients whose squares overflow f32.
#[test]
fn gradients_beyond_f32_are_reported_where_they_begin() {
    for mut network in networks() {
        (network.regulariser.lambda_up, network.regulariser.nu_up) = (1e30, 0.0);
        let layer = network.hidden.len() - 1;
        for method in methods_of(&network) {
            steps(&network, strong_weights(&network, 1), method, &Adam::with_lr(1e-3), |device, reports| {
                let expected = Some(NotFinite { layer, what: Quantity::Gradient });
                assert_eq!(reports[0].not_finite, expected, "{device}");
            });
        }
    }
}

/// A learning rate so large that weights overflow f32 is reported in that step, and not again after weights are restored.
#[test]
fn weights_beyond_f32_are_reported_in_the_step_that_makes_them() {
    for network in networks() {
        for method in methods_of(&network) {
            let long = Adam { weight_decay: 0.0, ..Adam::with_lr(3e38) };
            steps(&network, strong_weights(&network, 1), method, &long, |device, reports| {
                let said = reports[0].not_finite.map(|found| found.what);
                assert_eq!(said, Some(Quantity::Gradient), "{device}");
                assert!(reports[1].not_finite.is_some(), "{device}");
            });
        }
    }
    let network = network(30, &[40], 6, 40);
    let good = TrainingState::new(strong_weights(&network, 1));
    let batch = batch(30, 40, 6, 9, 0.1, 5);
    on_both(&network, Method::Sparse, &good, |engine| {
        engine.train(&batch, &Adam::with_lr(3e38)).unwrap();
        assert!(engine.reports(true).unwrap()[0].not_finite.is_some());
        engine.load(&good).unwrap();
        engine.train(&batch, &Adam::with_lr(1e-3)).unwrap();
        assert!(engine.reports(true).unwrap()[0].not_finite.is_none(), "{}", engine.info().kind);
    });
}

/// A report that was never written, as with a driver that aborts a pass and reports success.
#[test]
fn a_pass_that_did_not_run_is_an_error() {
    let network = network(30, &[40], 6, 40);
    let batch = batch(30, 40, 6, 9, 0.1, 5);
    let folder = tempfile::tempdir().unwrap();
    let report = include_str!("../shaders/report.wgsl");
    let silent = report.replace("report[0] = step[0];", "report[0] = min(step[0], 0u);");
    assert_ne!(silent, report);
    std::fs::write(folder.path().join("report.wgsl"), silent).unwrap();
    let options = GpuOptions { shaders: Some(folder.path().into()), ..GpuOptions::default() };
    let mut engine = gpu(&network, Method::Sparse, &TrainingState::new(strong_weights(&network, 1)), options);
    let cut_short = |error: spikegrad::Error| assert!(error.to_string().contains("did not run to its end"), "{error}");
    cut_short(engine.predict(&batch).map(drop).unwrap_err());
    cut_short(engine.inspect(&batch).map(drop).unwrap_err());
    cut_short(engine.profile(&batch, &Adam::with_lr(1e-3)).map(drop).unwrap_err());
    engine.train(&batch, &Adam::with_lr(1e-3)).unwrap();
    cut_short(engine.reports(true).map(drop).unwrap_err());
}

/// Constants for which a formula might fail, in each hidden layer and in all at once.
#[test]
fn odd_constants_give_the_same_spikes_on_both_devices() {
    type Set = fn(&mut SpikingLayer);
    let odd: [(&str, Set); 13] = [
        ("subnormal threshold", |layer| layer.v_th = 1e-42),
        ("huge threshold", |layer| layer.v_th = 1e38),
        ("threshold 0", |layer| layer.v_th = 0.0),
        ("negative threshold", |layer| layer.v_th = -0.7),
        ("negative threshold, active everywhere", |layer| (layer.v_th, layer.b_th) = (-0.7, f64::INFINITY)),
        ("tau towards 0", |layer| layer.tau_ms = 1e-300),
        ("short tau", |layer| layer.tau_ms = 0.01),
        ("tau infinite", |layer| {
            (layer.tau_ms, layer.init) = (f64::INFINITY, Initialisation::Uniform { scale: 1.0 });
        }),
        ("B_th = 0", |layer| layer.b_th = 0.0),
        ("B_th infinite", |layer| layer.b_th = f64::INFINITY),
        ("beta = 0", |layer| layer.beta = 0.0),
        ("huge beta", |layer| layer.beta = 1e38),
        ("reset above the threshold", |layer| layer.v_r = 1.7),
    ];
    for (name, set) in odd {
        let mut compared = 0;
        for which in [Some(0), Some(1), None] {
            for method in METHODS {
                let mut network = network(30, &[24, 17], 5, 33);
                for (l, layer) in network.hidden.iter_mut().enumerate() {
                    if which.is_none_or(|which| which == l) {
                        set(layer);
                    }
                }
                // Sums of few terms do not depend on their order: potentials are near no threshold but by chance.
                for seed in 0..4 {
                    let batch = batch(30, 33, 5, 3, 0.05, seed);
                    let state = TrainingState::new(strong_weights(&network, seed));
                    let expected = cpu(&network, method, &state).inspect(&batch).unwrap();
                    if !comparable(&network, &batch, &expected) {
                        continue;
                    }
                    let got = gpu(&network, method, &state, GpuOptions::default()).inspect(&batch).unwrap();
                    assert_eq!(got.spiking.len(), 2, "{name} in {which:?}, {method:?}, seed {seed}");
                    assert_same(&got, &expected);
                    compared += 1;
                    break;
                }
            }
        }
        assert!(compared >= 3, "{name}: {compared} of 9 compared");
    }
}
