//! The comparator is worth what it catches: the reference passes every case, and each single mistake fails.

use super::conformance::{CaseReport, ConformanceDevice, run};
use super::reference::{Reference, ReferenceDevice};
use super::{Case, Check, DeltaInputs};
use crate::engine::{
    DeviceInfo, Engine, Forward, Inspection, LayerMethod, Prediction, Profile, StepReport, TrainingState,
};
use crate::error::Result;
use crate::events::{Event, EventSet};
use crate::network::{Network, ReadoutGain, Reset};
use crate::optimiser::Adam;
use crate::weights::Weights;
use std::path::PathBuf;
use std::sync::Arc;

/// Cases of kind "cells".
const CELLS: [&str; 24] = [
    "tiny",
    "hard_reset",
    "cuba",
    "cuba_hard",
    "bias",
    "silent_bias",
    "count_ce",
    "mse_last",
    "taus",
    "ties",
    "rec_lif",
    "rec_cuba_hard",
    "rec_deep",
    "rec_67",
    "rec_130",
    "rec_257",
    "spike_count",
    "conv_rec",
    "rec_saturated",
    "rec_late",
    "rec_dense",
    "t2",
    "one",
    "long",
];

const CASES: [&str; 16] = [
    "tiny",
    "conv",
    "medium_max",
    "medium_sum",
    "late_post",
    "silent",
    "saturated",
    "odd_sizes",
    "one",
    "t2",
    "deep",
    "vrest",
    "gain",
    "dense_surrogate",
    "ties",
    "appendix_c",
];

fn path(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{case}.safetensors"))
}

/// A mistake of a device.
#[derive(Clone, Copy)]
enum Mistake {
    /// Computes a different network.
    Network(fn(&mut Network)),
    Engine(fn(&mut Reference)),
    Inspection(fn(&mut Inspection)),
    /// Changes the result of `store`. The flag says whether training has begun.
    Store(fn(&mut TrainingState, bool)),
    Reports(fn(&mut Vec<StepReport>)),
    Delta(fn(&mut Vec<f32>)),
}

struct Broken(Mistake);

struct BrokenEngine {
    inner: Reference,
    mistake: Mistake,
    trained: bool,
}

impl ConformanceDevice for Broken {
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>> {
        let mut network = network.clone();
        if let Mistake::Network(alter) = self.0 {
            alter(&mut network);
        }
        let mut inner = Reference::new(&network, weights)?;
        if let Mistake::Engine(alter) = self.0 {
            alter(&mut inner);
        }
        Ok(Box::new(BrokenEngine { inner, mistake: self.0, trained: false }))
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>> {
        let mut delta = ReferenceDevice.delta(inputs)?;
        if let Mistake::Delta(alter) = self.0 {
            alter(&mut delta);
        }
        Ok(delta)
    }
}

impl Engine for BrokenEngine {
    fn info(&self) -> DeviceInfo {
        self.inner.info()
    }

    fn network(&self) -> &Network {
        self.inner.network()
    }

    fn load(&mut self, state: &TrainingState) -> Result<()> {
        self.inner.load(state)
    }

    fn store(&mut self) -> Result<TrainingState> {
        let mut state = self.inner.store()?;
        if let Mistake::Store(alter) = self.mistake {
            alter(&mut state, self.trained);
        }
        Ok(state)
    }

    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        self.inner.set_layer_methods(methods)
    }

    fn hold(&mut self, set: Arc<EventSet>) -> Result<()> {
        self.inner.hold(set)
    }

    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()> {
        self.trained = true;
        self.inner.train_held(samples, adam)
    }

    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()> {
        self.trained = true;
        self.inner.train(batch, adam)
    }

    fn reports(&mut self, wait: bool) -> Result<Vec<StepReport>> {
        let mut reports = self.inner.reports(wait)?;
        if let Mistake::Reports(alter) = self.mistake {
            alter(&mut reports);
        }
        Ok(reports)
    }

    fn predict(&mut self, batch: &EventSet) -> Result<Prediction> {
        self.inner.predict(batch)
    }

    fn forward(&mut self, batch: &EventSet) -> Result<Forward> {
        self.inner.forward(batch)
    }

    fn backward(&mut self, pass: Forward, logit_gradient: &[f32]) -> Result<Weights> {
        self.inner.backward(pass, logit_gradient)
    }

    fn update(&mut self, gradient: &Weights, adam: &Adam) -> Result<()> {
        self.inner.update(gradient, adam)
    }

    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection> {
        let mut inspection = self.inner.inspect(batch)?;
        if let Mistake::Inspection(alter) = self.mistake {
            alter(&mut inspection);
        }
        Ok(inspection)
    }

    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile> {
        self.inner.profile(batch, adam)
    }

    fn state_bytes(&self) -> Vec<(String, u64)> {
        self.inner.state_bytes()
    }
}

/// Names of the failed checks.
fn failures(case: &str, mistake: Mistake) -> Vec<String> {
    let report = run(&path(case), &mut Broken(mistake)).unwrap();
    let line = report.to_string();
    assert_eq!(line.starts_with("FAIL"), !report.passed(), "{line}");
    assert!(!line.contains('\n'), "{line}");
    report.checks.into_iter().filter(|check| !check.passed()).map(|check| check.name).collect()
}

/// Alters an inspection; exactly the expected checks must fail.
fn inspecting(alter: fn(&mut Inspection), expected: &[&str]) {
    assert_eq!(failures("medium_max", Mistake::Inspection(alter)), expected);
}

#[test]
fn the_reference_passes_every_case() {
    let cells = CELLS.map(|case| format!("../golden_cells/{case}"));
    for case in CASES.into_iter().chain(cells.iter().map(String::as_str)) {
        let report: CaseReport = run(&path(case), &mut ReferenceDevice).unwrap();
        assert!(report.passed(), "{report}");
        let value = |check: &Check| check.value;
        let worst = report.checks.iter().filter(|check| check.limit < 1.0).map(value).fold(0.0, f64::max);
        // Computed in f64 and rounded once on output.
        assert!(worst < 2e-7, "{report}");
        println!("{report}");
    }
}

#[test]
fn every_golden_file_is_a_case_of_this_test() {
    for (folder, cases) in [("golden", &CASES[..]), ("golden_cells", &CELLS)] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let mut found: Vec<PathBuf> = files.filter(|file| file.extension() == Some("safetensors".as_ref())).collect();
        let mut listed: Vec<PathBuf> = cases.iter().map(|case| folder.join(format!("{case}.safetensors"))).collect();
        found.sort();
        listed.sort();
        assert_eq!(found, listed);
    }
}

#[test]
fn a_case_holds_what_the_file_says() {
    let Case::Network(case) = Case::read(&path("vrest")).unwrap() else { panic!("kind") };
    assert_eq!((case.name.as_str(), case.batch.len(), case.network.sizes()), ("vrest", 4, vec![16, 12, 10, 4]));
    let layer = &case.network.hidden[1];
    assert_eq!((layer.v_th, layer.v_r, layer.v_rest, layer.beta, layer.b_th), (1.25, -0.2, 0.3, 40.0, 0.35));
    let Case::Network(case) = Case::read(&path("dense_surrogate")).unwrap() else { panic!("kind") };
    assert_eq!(case.network.hidden[0].b_th, f64::INFINITY);
    let Case::Delta(case) = Case::read(&path("appendix_c")).unwrap() else { panic!("kind") };
    let times = |mask: &[bool]| (0..10).filter(|&t| mask[t]).collect::<Vec<_>>();
    assert_eq!((times(&case.inputs.active), times(&case.inputs.needed)), (vec![1, 3, 6, 8], vec![3, 5, 6]));
}

#[test]
fn one_wrong_spike_or_active_entry_fails() {
    inspecting(|seen| seen.spiking[0].spikes.truncate(50), &["s.0"]);
    inspecting(|seen| seen.spiking[1].spikes[3].1.0 += 1, &["s.1"]);
    inspecting(|seen| seen.spiking[1].spikes.insert(0, (0, Event::new(0, 0))), &["s.1"]);
    inspecting(|seen| seen.spiking[0].spikes.push((99, Event::new(0, 0))), &["s.0"]);
    inspecting(|seen| seen.spiking[0].spikes.swap(0, 1), &["s.0"]);
    // The Frobenius norm may not notice that the ∇S of one entry is missing, but the mask does.
    inspecting(|seen| _ = seen.spiking[1].active.remove(5), &["active.1", "e.1"]);
    inspecting(|seen| seen.spiking[0].active.extend_from_within(..1), &["active.0", "e.0"]);
    inspecting(|seen| seen.spiking[0].active.last_mut().unwrap().j = 999, &["active.0", "ds.0"]);
}

#[test]
fn one_wrong_number_fails() {
    inspecting(|seen| seen.spiking[0].v[700] += 1.0, &["v.0"]);
    inspecting(|seen| seen.readout_v[3] = f32::NAN, &["v.2"]);
    inspecting(|seen| seen.logits[7] *= 1.001, &["logits"]);
    inspecting(|seen| seen.logits.swap(0, 1), &["logits"]);
    inspecting(|seen| seen.loss.lower *= 1.001, &["loss.low"]);
    inspecting(|seen| seen.loss.upper = 0.0, &["loss.up", "loss.total"]);
    inspecting(|seen| seen.loss.task /= 8.0, &["loss.ce", "loss.total"]);
    inspecting(|seen| seen.gradient.layers[0].data.iter_mut().for_each(|w| *w *= 1.001), &["dw.0"]);
    inspecting(|seen| *largest(&mut seen.gradient.layers[2].data) *= 1.001, &["dw.2"]);
    inspecting(|seen| seen.gradient.layers[1].data[0] = f32::NAN, &["dw.1"]);
    inspecting(|seen| seen.spiking[1].active[2].e = f32::INFINITY, &["ds.1", "e.1"]);
    inspecting(|seen| seen.spiking[1].active.iter_mut().for_each(|entry| entry.g *= 1.001), &["ds.1"]);
    let swap = |seen: &mut Inspection| {
        let active = &mut seen.spiking[1].active;
        (active[0].e, active[1].e, active[0].g, active[1].g) = (active[1].e, active[0].e, active[1].g, active[0].g);
    };
    inspecting(swap, &["ds.1", "e.1"]);
}

fn largest(values: &mut [f32]) -> &mut f32 {
    values.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap()
}

/// Transposes a square matrix.
fn transpose<T: Copy>(matrix: &mut [T]) {
    let n = matrix.len().isqrt();
    (0..n).for_each(|i| (0..i).for_each(|j| matrix.swap(i * n + j, j * n + i)));
}

#[test]
fn missing_parts_fail_instead_of_being_passed_over() {
    inspecting(|seen| seen.logits.truncate(10), &["logits"]);
    inspecting(|seen| seen.spiking[0].v.clear(), &["v.0"]);
    inspecting(|seen| seen.gradient.layers.truncate(1), &["gradient layers"]);
    inspecting(|seen| seen.spiking.truncate(1), &["spiking layers"]);
    inspecting(|seen| seen.spiking.push(seen.spiking[0].clone()), &["spiking layers"]);
    let nothing = Mistake::Reports(|reports| reports.clear());
    assert_eq!(failures("tiny", nothing), ["adam.loss"]);
}

#[test]
fn anything_but_zeros_fails_where_zeros_are_expected() {
    let small = |seen: &mut Inspection| seen.gradient.layers[0].data[0] = 1e-12;
    assert_eq!(failures("silent", Mistake::Inspection(small)), ["dw.0"]);
    let nan = |seen: &mut Inspection| seen.gradient.layers[2].data[0] = f32::NAN;
    assert_eq!(failures("silent", Mistake::Inspection(nan)), ["dw.2"]);
}

#[test]
fn a_weight_without_gradient_must_not_move() {
    let moved = Mistake::Store(|state, trained| {
        if trained {
            state.weights.layers[0].data[0] += 1e-7;
        }
    });
    assert_eq!(failures("silent", moved), ["moved without gradient.0"]);
    // Weight decay changes weights without a gradient, too.
    let decayed = Mistake::Store(|state, trained| {
        if trained {
            state.weights.layers.iter_mut().flat_map(|m| &mut m.data).for_each(|w| *w *= 1.0 - 1e-6);
        }
    });
    let moved = [0, 1, 2].map(|l| format!("moved without gradient.{l}"));
    assert_eq!(failures("medium_max", decayed), moved);
}

#[test]
fn wrong_updates_and_reports_fail() {
    let inspect_trains = Mistake::Store(|state, trained| {
        if !trained {
            state.weights.layers[1].data[0] += 1e-6;
        }
    });
    assert_eq!(failures("tiny", inspect_trains), ["weights after inspect"]);
    let inspect_counts = Mistake::Store(|state, trained| state.step += u64::from(!trained));
    assert_eq!(failures("tiny", inspect_counts), ["weights after inspect"]);
    let updated = Mistake::Store(|state, trained| {
        if trained {
            *largest(&mut state.weights.layers[0].data) *= 1.0001;
        }
    });
    assert_eq!(failures("tiny", updated), ["adam.w.0"]);
    let reported = |alter: fn(&mut Vec<StepReport>)| failures("tiny", Mistake::Reports(alter));
    assert_eq!(reported(|reports| reports.swap(0, 2)), ["reports", "adam.loss"]);
    assert_eq!(reported(|reports| reports.truncate(2)), ["adam.loss"]);
    assert_eq!(reported(|reports| reports[1].loss.task *= 1.001), ["adam.loss"]);
    assert_eq!(reported(|reports| reports[2].loss.task = f64::NAN), ["adam.loss"]);
    assert_eq!(reported(|reports| reports[0].spikes[1] += 1), ["reported spikes"]);
    assert_eq!(reported(|reports| reports[0].active.clear()), ["reported active entries"]);
}

#[test]
fn known_mistakes_of_implementations_fail() {
    let fails = |case: &str, check: &str, mistake: Mistake| {
        let failed = failures(case, mistake);
        assert!(failed.iter().any(|name| name == check), "{case}: {failed:?}");
    };
    fails("ties", "dw.1", Mistake::Engine(|engine| engine.last_on_ties = true));
    fails("ties", "s.0", Mistake::Network(|network| network.hidden[0].v_th -= 1e-7));
    fails("ties", "active.0", Mistake::Network(|network| network.hidden[0].b_th += 1e-7));
    fails("vrest", "v.0", Mistake::Network(|network| network.hidden[0].v_rest = 0.0));
    fails("gain", "logits", Mistake::Network(|network| network.integrator_mut().unwrap().gain = ReadoutGain::One));
    fails("medium_sum", "logits", Mistake::Network(|network| network.integrator_mut().unwrap().tau_ms = 10.0));
    fails("dense_surrogate", "active.0", Mistake::Network(|network| network.hidden[0].b_th = 0.2));
    fails("t2", "loss.low", Mistake::Network(|network| network.regulariser.lambda_low = 0.0));
    fails("medium_max", "dw.1", Mistake::Network(|network| network.hidden[1].beta = 101.0));
    let fails = |case: &str, check: &str, mistake: Mistake| fails(&format!("../golden_cells/{case}"), check, mistake);
    fails("rec_lif", "dr.0", Mistake::Inspection(|seen| *largest(&mut seen.gradient.layers[0].data[30..]) *= 1.001));
    fails("rec_lif", "v.0", Mistake::Engine(|engine| engine.recurrent_mut(0).reverse()));
    let apart = |engine: &mut Reference| engine.recurrent_mut(0).iter_mut().step_by(6).for_each(|r| *r = 0.0);
    fails("rec_lif", "v.0", Mistake::Engine(apart));
    // R and its transpose, forward and as a gradient.
    fails("rec_67", "v.0", Mistake::Engine(|engine| transpose(engine.recurrent_mut(0))));
    fails("rec_130", "v.0", Mistake::Engine(|engine| transpose(engine.recurrent_mut(0))));
    fails("rec_lif", "dr.0", Mistake::Inspection(|seen| transpose(&mut seen.gradient.layers[0].data[30..])));
    // A layer with a current whose own spikes subtract.
    fails("rec_cuba_hard", "v.0", Mistake::Network(|network| network.hidden[0].reset = Reset::Subtract));
    for (case, check) in [("rec_lif", "dw.0"), ("rec_deep", "e.1"), ("spike_count", "dr.1"), ("conv_rec", "dw.0")] {
        fails(case, check, Mistake::Engine(|engine| engine.detached = true));
    }
}

#[test]
fn a_wrong_delta_fails() {
    let wrong = |alter: fn(&mut Vec<f32>)| failures("appendix_c", Mistake::Delta(alter));
    assert_eq!(wrong(|delta| delta[5] *= 1.001), ["delta", "delta_all"]);
    assert_eq!(wrong(|delta| delta[5] = f32::NAN), ["delta", "delta_all"]);
    assert_eq!(wrong(|delta| delta[9] = 1e-9), ["delta not needed"]);
    assert_eq!(wrong(|delta| delta.truncate(9)), ["delta", "delta_all"]);
}
