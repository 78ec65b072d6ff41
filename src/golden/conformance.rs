//! Runs golden cases on a device.

use super::case::{Case, DeltaCase, DeltaInputs, ExpectedLayer, NetworkCase};
use super::compare::{Check, Measure, count, exact, length, relative};
use crate::engine::{ActiveEntry, Engine, Inspection, LayerInspection, StepReport, TrainingState};
use crate::error::Result;
use crate::network::Network;
use crate::weights::{TensorPart, Weights, file_tensors};
use std::fmt;
use std::path::Path;

/// Maximum relative error of potentials, logits, losses, updated weights and the δ recurrence.
const FORWARD_LIMIT: f64 = 1e-5;
/// Maximum relative error of gradients. It is larger because the slope of the surrogate near the threshold amplifies
/// rounding of V by 2β.
const GRADIENT_LIMIT: f64 = 1e-4;
/// Maximum number of failures listed in a report's line.
const SHOWN_FAILURES: usize = 6;

/// A device that can run golden cases.
pub trait ConformanceDevice {
    /// Opens the device with `network` and these weights.
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>>;

    /// Computes the δ recurrence, `δ_j[t] = Σ_{k>t} e_j[k] α^(k-t-1)`, where needed and exactly 0 elsewhere; [J, T].
    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>>;
}

/// The result of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseReport {
    /// The case's name.
    pub name: String,
    /// The checks, those of spikes and active entries first.
    pub checks: Vec<Check>,
}

impl CaseReport {
    /// Whether all checks passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(Check::passed)
    }

    /// The check of numbers with the largest ratio of value to limit.
    pub fn worst(&self) -> Option<&Check> {
        let near = |check: &&Check| check.measure == Measure::Error && check.limit > 0.0;
        let share = |check: &Check| check.value / check.limit;
        self.checks.iter().filter(near).max_by(|a, b| share(a).total_cmp(&share(b)))
    }
}

/// One line: `PASS tiny  (28 checks, worst dw.0 3.1e-7 of 1e-4)` or `FAIL tiny: s.0 12 mismatches; dw.1 3.0e-2 > 1e-4`.
impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures: Vec<String> = self.checks.iter().filter(|c| !c.passed()).map(Check::to_string).collect();
        if failures.is_empty() {
            write!(f, "PASS {}  ({} checks, ", self.name, self.checks.len())?;
            return match self.worst() {
                Some(check) => write!(f, "worst {check})"),
                None => write!(f, "all exact)"),
            };
        }
        write!(f, "FAIL {}: {}", self.name, failures[..failures.len().min(SHOWN_FAILURES)].join("; "))?;
        match failures.len().checked_sub(SHOWN_FAILURES) {
            Some(more @ 1..) => write!(f, "; and {more} more"),
            _ => Ok(()),
        }
    }
}

/// Reads the golden case at `path` and runs it on `device`.
///
/// # Errors
/// An invalid file, an unsupported case, or a device error. Wrong results are not an error; they are in the report.
pub fn run(path: &Path, device: &mut dyn ConformanceDevice) -> Result<CaseReport> {
    run_case(&Case::read(path)?, device)
}

/// Runs a golden case on `device`.
///
/// # Errors
/// A device error.
pub fn run_case(case: &Case, device: &mut dyn ConformanceDevice) -> Result<CaseReport> {
    let checks = match case {
        Case::Network(case) => network_checks(case, &mut *device.engine(&case.network, &case.weights)?)?,
        Case::Delta(case) => delta_checks(case, device)?,
    };
    Ok(CaseReport { name: case.name().to_owned(), checks })
}

fn delta_checks(case: &DeltaCase, device: &mut dyn ConformanceDevice) -> Result<Vec<Check>> {
    let delta = device.delta(&case.inputs)?;
    let outside = delta.iter().zip(&case.inputs.needed).filter(|&(&delta, &needed)| !needed && delta != 0.0).count();
    let everywhere = DeltaInputs { needed: vec![true; case.inputs.needed.len()], ..case.inputs.clone() };
    let delta_all = device.delta(&everywhere)?;
    Ok(vec![
        count("delta not needed", outside),
        relative("delta", &delta, &case.delta, FORWARD_LIMIT),
        relative("delta_all", &delta_all, &case.delta_all, FORWARD_LIMIT),
    ])
}

fn network_checks(case: &NetworkCase, engine: &mut dyn Engine) -> Result<Vec<Check>> {
    let inspection = engine.inspect(&case.batch)?;
    let mut checks = inspection_checks(case, &inspection);
    let start = TrainingState::new(case.weights.clone());
    checks.push(count("weights after inspect", differences(&start, &engine.store()?)));
    for _ in &case.expected.adam_loss {
        engine.train(&case.batch, &case.adam)?;
    }
    checks.extend(report_checks(case, &engine.reports(true)?));
    checks.extend(update_checks(case, &engine.store()?));
    Ok(checks)
}

fn inspection_checks(case: &NetworkCase, inspection: &Inspection) -> Vec<Check> {
    let expected = &case.expected;
    let mut checks = vec![length("spiking layers", inspection.spiking.len(), expected.spiking.len())];
    let layers = || inspection.spiking.iter().zip(&expected.spiking).enumerate();
    // A wrong spike changes everything computed from it, so spikes and active entries of all layers come first.
    for (l, (actual, expected)) in layers() {
        let extents = extents(case, l);
        let spikes = actual.spikes.iter().map(|&(b, event)| [b as usize, event.t(), event.i()]);
        let active = actual.active.iter().map(position);
        checks.push(entries(format!("s.{l}"), spikes, extents, &expected.spikes));
        checks.push(entries(format!("active.{l}"), active, extents, &expected.active));
    }
    for (l, (actual, expected)) in layers() {
        checks.push(relative(format!("v.{l}"), &actual.v, &expected.v, FORWARD_LIMIT));
    }
    let readout = case.network.hidden.len();
    if case.network.integrator().is_some() {
        checks.push(relative(format!("v.{readout}"), &inspection.readout_v, &expected.readout_v, FORWARD_LIMIT));
    } else {
        checks.push(length(format!("v.{readout}"), inspection.readout_v.len(), 0));
    }
    checks.push(relative("logits", &inspection.logits, &expected.logits, FORWARD_LIMIT));
    let mean = inspection.loss.divided(case.batch.len() as f64);
    for (name, actual, expected) in [
        ("loss.ce", mean.task, expected.loss.task),
        ("loss.up", mean.upper, expected.loss.upper),
        ("loss.low", mean.lower, expected.loss.lower),
        ("loss.total", mean.total(), expected.total),
    ] {
        checks.push(relative(name, &[actual], &[expected], FORWARD_LIMIT));
    }
    for (l, (actual, expected)) in layers() {
        let extents = extents(case, l);
        let e: Vec<f32> = actual.active.iter().map(|entry| entry.e).collect();
        checks.push(relative(format!("ds.{l}"), &spread_ds(actual, expected, extents), &expected.ds, GRADIENT_LIMIT));
        checks.push(relative(format!("e.{l}"), &e, &expected.e, GRADIENT_LIMIT));
    }
    let gradient = &inspection.gradient.layers;
    checks.push(length("gradient layers", gradient.len(), expected.gradient.len()));
    for (l, (actual, expected)) in gradient.iter().zip(&expected.gradient).enumerate() {
        checks.extend(layer_checks(case, l, ("d", GRADIENT_LIMIT), &actual.data, expected));
    }
    checks
}

/// Samples, time steps and neurons of spiking layer `l`.
fn extents(case: &NetworkCase, l: usize) -> [usize; 3] {
    let neurons = case.network.spiking_layer(l).map_or(0, |layer| layer.neurons);
    [case.batch.len(), case.network.time_steps, neurons]
}

/// Compares a layer's matrix. Weights, recurrent weights and biases are separate checks, since any may be all zeros. Names are
/// prefixed with `prefix`.
fn layer_checks(
    case: &NetworkCase,
    l: usize,
    (prefix, limit): (&str, f64),
    mut actual: &[f32],
    mut expected: &[f64],
) -> Vec<Check> {
    let parts = file_tensors(&case.network).filter(|(layer, ..)| *layer == l);
    let check = |(_, part, extents): (usize, TensorPart, Vec<usize>)| {
        let n = extents.iter().product::<usize>().min(expected.len());
        // The last part takes what is left, so that additional numbers are noticed.
        let own = if n == expected.len() { actual.len() } else { n.min(actual.len()) };
        let (of_part, rest) = actual.split_at(own);
        let (expected_of_part, expected_rest) = expected.split_at(n);
        (actual, expected) = (rest, expected_rest);
        relative(format!("{prefix}{}.{l}", part.letter()), of_part, expected_of_part, limit)
    };
    parts.map(check).collect()
}

fn position(entry: &ActiveEntry) -> [usize; 3] {
    [entry.b as usize, entry.t as usize, entry.j as usize]
}

/// The index into an array [B, T, N]; `None` if out of range.
fn index([b, t, j]: [usize; 3], [samples, time_steps, neurons]: [usize; 3]) -> Option<usize> {
    (b < samples && t < time_steps && j < neurons).then_some((b * time_steps + t) * neurons + j)
}

/// Compares a list of entries with a mask. Counts entries that are missing, additional, out of range, or not in (b, t, j)
/// order.
fn entries(name: String, list: impl Iterator<Item = [usize; 3]>, extents: [usize; 3], expected: &[bool]) -> Check {
    let mut mask = vec![false; expected.len()];
    let mut misplaced = 0;
    let mut last = None;
    for at in list {
        match index(at, extents).and_then(|k| mask.get_mut(k)) {
            Some(entry) => *entry = true,
            None => misplaced += 1,
        }
        misplaced += usize::from(last.replace(at) >= Some(at));
    }
    let mut check = exact(name, &mask, expected);
    check.value += misplaced as f64;
    check
}

/// ∇S of the listed entries as an array [B, T, N].
fn spread_ds(actual: &LayerInspection, expected: &ExpectedLayer, extents: [usize; 3]) -> Vec<f32> {
    let mut ds = vec![0.0; expected.ds.len()];
    for entry in &actual.active {
        if let Some(ds) = index(position(entry), extents).and_then(|k| ds.get_mut(k)) {
            *ds = entry.ds();
        }
    }
    ds
}

/// Counts the numbers that differ between two states.
fn differences(a: &TrainingState, b: &TrainingState) -> usize {
    let numbers = |state: &TrainingState| -> Vec<f32> {
        let parts = [&state.weights, &state.first, &state.second];
        parts.iter().flat_map(|part| &part.layers).flat_map(|matrix| matrix.data.iter().copied()).collect()
    };
    let (x, y) = (numbers(a), numbers(b));
    let differing = x.iter().zip(&y).filter(|(x, y)| x != y).count();
    differing + x.len().abs_diff(y.len()) + usize::from(a.step != b.step)
}

fn report_checks(case: &NetworkCase, reports: &[StepReport]) -> Vec<Check> {
    let expected = &case.expected;
    let samples = case.batch.len();
    let wrong = |(k, report): (usize, &StepReport)| report.step != k as u64 + 1 || report.samples != samples;
    let loss: Vec<f64> = reports.iter().map(|report| report.loss.total() / samples as f64).collect();
    let mut checks = vec![
        count("reports", reports.iter().enumerate().filter(|&report| wrong(report)).count()),
        relative("adam.loss", &loss, &expected.adam_loss, FORWARD_LIMIT),
    ];
    // On some devices training and inspection use different code, so the counts of the first step are compared.
    if let Some(first) = reports.first() {
        let total = |mask: &[bool]| mask.iter().filter(|&&set| set).count() as u64;
        let spikes: Vec<u64> = expected.spiking.iter().map(|layer| total(&layer.spikes)).collect();
        let active: Vec<u64> = expected.spiking.iter().map(|layer| total(&layer.active)).collect();
        let hidden_spikes = first.spikes.get(1..).unwrap_or_default();
        for (name, actual, expected) in
            [("reported spikes", hidden_spikes, spikes), ("reported active entries", &first.active, active)]
        {
            let differing = actual.iter().zip(&expected).filter(|(a, e)| a != e).count();
            checks.push(count(name, differing + actual.len().abs_diff(expected.len())));
        }
    }
    checks
}

fn update_checks(case: &NetworkCase, state: &TrainingState) -> Vec<Check> {
    let expected = &case.expected;
    let layers = &state.weights.layers;
    let mut checks = vec![length("weight layers", layers.len(), expected.adam_weights.len())];
    for (l, (actual, after)) in layers.iter().zip(&expected.adam_weights).enumerate() {
        checks.extend(layer_checks(case, l, ("adam.", FORWARD_LIMIT), &actual.data, after));
        let before = &case.weights.layers[l].data;
        // Weights without a gradient in the first step may have one later; they are not checked.
        let still = |k: &usize| expected.gradient[l][*k] == 0.0 && after[*k] == f64::from(before[*k]);
        let moved = (0..before.len()).filter(still).filter(|&k| actual.data.get(k) != Some(&before[k])).count();
        checks.push(count(format!("moved without gradient.{l}"), moved));
    }
    checks
}
