//! Measures how the time of a step grows with one parameter, and fits power laws.

use super::least::Facts;
use super::measure::{median, step};
use super::{MeasurementPlan, random_spikes, scaled_weights};
use crate::device::Device;
use crate::engine::{Method, TrainingState};
use crate::error::{Error, Result};
use crate::memory::{self, Densities};
use crate::network::Network;
use crate::optimiser::Adam;
use crate::system::available_memory;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Minimum ratio between the largest and smallest abscissa of a fit.
const LEAST_RANGE: f64 = 2.0;

/// The parameter that changes from point to point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepAxis {
    /// Spike density of the input and of the hidden layers.
    Density,
    /// Neurons per hidden layer.
    Neurons,
    /// Time steps T, with constant density.
    Steps,
    /// Time steps T, with a constant number of spikes per sample, i.e. decreasing density.
    EmptySteps,
    /// Samples per batch, B.
    Batch,
    /// Number of hidden layers.
    Depth,
}

impl SweepAxis {
    /// The axis as a word of the command line.
    pub fn name(self) -> &'static str {
        match self {
            SweepAxis::Density => "density",
            SweepAxis::Neurons => "neurons",
            SweepAxis::Steps => "steps",
            SweepAxis::EmptySteps => "empty-steps",
            SweepAxis::Batch => "batch",
            SweepAxis::Depth => "depth",
        }
    }

    /// The default points.
    pub fn usual_points(self) -> &'static [f64] {
        match self {
            SweepAxis::Density => &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3],
            SweepAxis::Neurons => &[64.0, 256.0, 1024.0, 4096.0, 16384.0],
            SweepAxis::Steps | SweepAxis::EmptySteps => &[50.0, 150.0, 500.0, 1500.0, 5000.0],
            SweepAxis::Batch => &[4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0],
            SweepAxis::Depth => &[1.0, 2.0, 3.0, 5.0, 7.0, 10.0],
        }
    }
}

/// The values of all parameters except the one that changes.
#[derive(Debug, Clone)]
pub struct SweepBase {
    /// The network.
    pub network: Network,
    /// Samples per batch.
    pub batch: usize,
    /// Spike density of the input.
    pub input_density: f64,
    /// Spike density to which the hidden layers are scaled.
    pub hidden_density: f64,
    /// The optimiser.
    pub adam: Adam,
    /// Seed of input and weights.
    pub seed: u64,
}

/// Limits per point.
#[derive(Debug, Clone, Copy)]
pub struct PointBudget {
    /// Maximum number of measured steps.
    pub repeat: usize,
    /// Maximum time including preparation. A point that is expected to exceed it is skipped, and measuring stops when it
    /// is reached.
    pub time: Duration,
    /// Maximum memory in bytes; `None` is the available memory.
    pub bytes: Option<u64>,
}

/// A measured point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Value on the axis.
    pub at: f64,
    /// Median time of a step, ms.
    pub step_ms: f64,
    /// Minimum and maximum time, ms.
    pub step_ms_min_max: [f64; 2],
    /// Number of measured steps.
    pub steps: usize,
    /// Number of spikes that are input of weights, plus the number of active entries.
    pub events: f64,
    /// Multiply-adds of the sparse products.
    pub synaptic_operations: f64,
    /// B · T · N summed over the hidden layers.
    pub slots: f64,
    /// Memory that the step requires in addition to weights, moments and input, bytes.
    pub state_bytes: u64,
    /// Spike density of each hidden layer.
    pub spike_density: Vec<f64>,
    /// Active entries / (B · T · N) of each hidden layer.
    pub activity: Vec<f64>,
}

/// A point that was not measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    /// Value on the axis.
    pub at: f64,
    /// Why it was skipped.
    pub reason: String,
}

/// y = c xᵖ through points, by least squares of the logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fit {
    /// p.
    pub exponent: f64,
    /// Fraction of the variance of ln y that the fit explains.
    pub r_squared: f64,
}

/// A finished sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// The axis.
    pub axis: SweepAxis,
    /// The method.
    pub method: Method,
    /// The measured points.
    pub points: Vec<Point>,
    /// The points that were not measured.
    pub skipped: Vec<Skipped>,
    /// Time as a power of [`Point::events`]; `None` if these change by less than a factor of two.
    pub in_events: Option<Fit>,
    /// Time as a power of [`Point::synaptic_operations`].
    pub in_synaptic_operations: Option<Fit>,
    /// Time as a power of [`Point::slots`].
    pub in_slots: Option<Fit>,
}

/// Fits a power law; `None` if fewer than two different x are positive.
pub fn fit(points: impl IntoIterator<Item = (f64, f64)>) -> Option<Fit> {
    let logs: Vec<(f64, f64)> =
        points.into_iter().filter(|&(x, y)| x > 0.0 && y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let sum = |of: fn(f64, f64) -> f64| logs.iter().map(|&(x, y)| of(x - mx, y - my)).sum::<f64>();
    let (xx, xy, yy) = (sum(|x, _| x * x), sum(|x, y| x * y), sum(|_, y| y * y));
    if logs.len() < 2 || xx <= 1e-9 {
        return None;
    }
    Some(Fit { exponent: xy / xx, r_squared: if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 } })
}

/// The widths of the fully connected hidden layers. Convolutions stay as they are.
fn widths(network: &Network) -> Vec<usize> {
    network.hidden.iter().filter(|layer| layer.conv().is_none()).map(|layer| layer.neurons).collect()
}

/// The base with the parameter of `axis` replaced by `at`.
fn place(base: &SweepBase, axis: SweepAxis, at: f64) -> Result<SweepBase> {
    let mut here = base.clone();
    let whole = at.round() as usize;
    let widths = widths(&base.network);
    match axis {
        SweepAxis::Density => (here.input_density, here.hidden_density) = (at, at),
        SweepAxis::Neurons => {
            here.network.set_hidden(&vec![whole; widths.len()])?;
        }
        SweepAxis::Steps => here.network.time_steps = whole,
        SweepAxis::EmptySteps => {
            let thinner = base.network.time_steps as f64 / at;
            here.network.time_steps = whole;
            here.input_density = (base.input_density * thinner).min(1.0);
            here.hidden_density = (base.hidden_density * thinner).min(1.0);
        }
        SweepAxis::Batch => here.batch = whole,
        SweepAxis::Depth => {
            let width = widths.first().copied().unwrap_or_default();
            here.network.set_hidden(&vec![width; whole])?;
        }
    }
    here.network.check()?;
    if whole == 0 && axis != SweepAxis::Density {
        return Err(Error::field(axis.name(), at, "1 or more"));
    }
    Ok(here)
}

/// Measures `points` in order; `tell` is called before each.
///
/// # Errors
/// A device error, or no hidden layer whose width or number could vary. Points that exceed the budget are skipped, which is not
/// an error.
pub fn sweep(
    device: Device,
    method: Method,
    base: &SweepBase,
    axis: SweepAxis,
    points: &[f64],
    budget: &PointBudget,
    tell: &mut dyn FnMut(f64),
) -> Result<Sweep> {
    if widths(&base.network).is_empty() && matches!(axis, SweepAxis::Neurons | SweepAxis::Depth) {
        return Err(Error::Config(format!(
            "--sweep {}: the network has no fully connected hidden layer; choose another axis or network",
            axis.name()
        )));
    }
    let mut done = Sweep {
        axis,
        method,
        points: Vec::new(),
        skipped: Vec::new(),
        in_events: None,
        in_synaptic_operations: None,
        in_slots: None,
    };
    // Time in s of the last point, and its expected work.
    let mut last: Option<(f64, f64)> = None;
    for &at in points {
        tell(at);
        let here = match place(base, axis, at) {
            Ok(here) => here,
            Err(e) => {
                done.skipped.push(Skipped { at, reason: e.to_string() });
                continue;
            }
        };
        match measure_point(device, method, &here, at, budget, &mut last)? {
            Ok(point) => done.points.push(point),
            Err(reason) => done.skipped.push(Skipped { at, reason }),
        }
    }
    let fit_in = |of: fn(&Point) -> f64| {
        let (least, most) =
            done.points.iter().map(of).fold((f64::INFINITY, 0.0f64), |(least, most), x| (least.min(x), most.max(x)));
        // A fit over a small range would be meaningless.
        fit(done.points.iter().map(|p| (of(p), p.step_ms))).filter(|_| most >= LEAST_RANGE * least)
    };
    (done.in_events, done.in_synaptic_operations, done.in_slots) =
        (fit_in(|p| p.events), fit_in(|p| p.synaptic_operations), fit_in(|p| p.slots));
    Ok(done)
}

/// A rough measure of a point's time: its entries, weights and products.
fn expected_work(here: &SweepBase, method: Method) -> f64 {
    let sizes: Vec<f64> = here.network.sizes().iter().map(|&n| n as f64).collect();
    let rows = (here.batch * here.network.time_steps) as f64;
    let density = |l: usize| match method {
        Method::Dense | Method::Reference => 1.0,
        _ if l == 0 => here.input_density,
        _ => 2.0 * here.hidden_density,
    };
    (0..sizes.len() - 1).map(|l| (rows * (3.0 * density(l) * sizes[l] + 1.0) + 10.0 * sizes[l]) * sizes[l + 1]).sum()
}

/// Measures a point, or returns why it was skipped.
fn measure_point(
    device: Device,
    method: Method,
    here: &SweepBase,
    at: f64,
    budget: &PointBudget,
    last: &mut Option<(f64, f64)>,
) -> Result<std::result::Result<Point, String>> {
    let densities = Densities {
        input: here.input_density,
        spikes: here.hidden_density,
        // An estimate: twice as many active entries as spikes.
        active: (2.0 * here.hidden_density).min(1.0),
    };
    let needs = memory::estimate(&here.network, method, here.batch, device, &densities);
    if let Err(e) = needs.and_then(|needs| needs.check(budget.bytes.or_else(available_memory))) {
        return Ok(Err(e.to_string()));
    }
    let work = expected_work(here, method);
    if let Some((seconds, before)) = *last {
        let expected = seconds * work / before;
        if expected > budget.time.as_secs_f64() {
            return Ok(Err(format!(
                "would take about {expected:.0} s, judging by the previous point; the limit is {} s",
                budget.time.as_secs()
            )));
        }
    }
    let clock = Instant::now();
    let batch = random_spikes(&here.network, here.batch, here.input_density, here.seed)?;
    let weights = scaled_weights(&here.network, &batch, here.hidden_density, here.seed)?;
    let plan = MeasurementPlan { batch: &batch, weights: &weights, adam: here.adam, repeat: budget.repeat };
    let mut engine = device.open(&here.network, method, &weights)?;
    let state = TrainingState::new(weights.clone());
    step(engine.as_mut(), &plan)?;
    let (mut times, mut report) = (Vec::new(), None);
    // At least one step, even if it exceeds the budget.
    while times.len() < budget.repeat && (times.is_empty() || clock.elapsed() < budget.time) {
        engine.load(&state)?;
        let (ms, this) = step(engine.as_mut(), &plan)?;
        times.push(ms);
        report = Some(this);
    }
    *last = Some((clock.elapsed().as_secs_f64(), work));
    let Some(report) = report else { return Ok(Err("no step was measured".into())) };
    let facts = Facts::estimated(&here.network, &report);
    let densities = |counts: &[u64]| {
        let rows = (report.samples * here.network.time_steps) as f64;
        here.network.hidden.iter().zip(counts).map(|(layer, &n)| n as f64 / (rows * layer.neurons as f64)).collect()
    };
    Ok(Ok(Point {
        at,
        step_ms: median(times.iter().copied().map(Some)).unwrap_or(f64::NAN),
        step_ms_min_max: [
            times.iter().copied().fold(f64::INFINITY, f64::min),
            times.iter().copied().fold(0.0, f64::max),
        ],
        steps: times.len(),
        events: facts.events(),
        synaptic_operations: facts.synaptic_operations(),
        slots: facts.slots(),
        state_bytes: engine.state_bytes().iter().map(|(_, bytes)| bytes).sum(),
        spike_density: densities(report.spikes.get(1..).unwrap_or_default()),
        activity: densities(&report.active),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    fn base() -> SweepBase {
        let mut network = presets::paper("nmnist").unwrap().network;
        (network.inputs, network.time_steps) = (40, 30);
        network.set_hidden(&[30, 30]).unwrap();
        SweepBase { network, batch: 8, input_density: 0.03, hidden_density: 0.02, adam: Adam::with_lr(1e-3), seed: 1 }
    }

    fn budget(seconds: u64) -> PointBudget {
        PointBudget { repeat: 2, time: Duration::from_secs(seconds), bytes: Some(1 << 30) }
    }

    #[test]
    fn a_power_law_is_found() {
        let law = [1.0, 10.0, 100.0].map(|x: f64| (x, 3.0 * x.powf(1.5)));
        let Fit { exponent, r_squared } = fit(law).unwrap();
        assert!((exponent - 1.5).abs() < 1e-12 && (r_squared - 1.0).abs() < 1e-12);
        assert_eq!(fit([(1.0, 2.0)]), None);
        assert_eq!(fit([(2.0, 2.0), (2.0, 3.0)]), None, "one x has no slope");
    }

    #[test]
    fn every_axis_moves_what_it_names_and_counts_it() {
        let cases = [
            (SweepAxis::Density, [0.01, 0.1]),
            (SweepAxis::Neurons, [20.0, 80.0]),
            (SweepAxis::Steps, [20.0, 80.0]),
            (SweepAxis::EmptySteps, [30.0, 240.0]),
            (SweepAxis::Batch, [4.0, 16.0]),
            (SweepAxis::Depth, [1.0, 3.0]),
        ];
        for (axis, points) in cases {
            let mut told = Vec::new();
            let done = sweep(Device::Cpu, Method::Sparse, &base(), axis, &points, &budget(60), &mut |at| told.push(at))
                .unwrap();
            assert_eq!((told, done.points.len(), done.skipped.len()), (points.to_vec(), 2, 0), "{axis:?}: {done:?}");
            let [first, second] = &done.points[..] else { panic!() };
            assert!(first.step_ms > 0.0 && first.steps == 2, "{axis:?}");
            let events = second.events / first.events;
            let slots = second.slots / first.slots;
            match axis {
                SweepAxis::Density => assert!(events > 5.0 && slots == 1.0, "{events}"),
                SweepAxis::EmptySteps => assert!((0.5..2.0).contains(&events) && slots == 8.0, "{events}"),
                _ => assert!(events > 1.5 && slots > 1.5, "{axis:?}: {events} {slots}"),
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_the_rest_goes_on() {
        let small = PointBudget { bytes: Some(8 << 20), ..budget(60) };
        let points = [8.0, 60000.0, 0.0];
        let done = sweep(Device::Cpu, Method::Sparse, &base(), SweepAxis::Batch, &points, &small, &mut |_| {}).unwrap();
        assert_eq!((done.points.len(), done.skipped.len()), (1, 2), "{done:?}");
        assert!(done.skipped[0].reason.contains("MiB") && done.skipped[1].reason.contains("1 or more"), "{done:?}");
        // The second point has a thousand times the work of the first, which uses up the budget.
        let mut hurried = budget(60);
        hurried.time = Duration::from_micros(1);
        hurried.bytes = Some(1 << 40);
        let done = sweep(Device::Cpu, Method::Sparse, &base(), SweepAxis::Batch, &[8.0, 8000.0], &hurried, &mut |_| {})
            .unwrap();
        assert_eq!((done.points[0].steps, done.skipped[0].at), (1, 8000.0), "{done:?}");
        assert!(done.skipped[0].reason.contains("would take"), "{done:?}");
    }
}
