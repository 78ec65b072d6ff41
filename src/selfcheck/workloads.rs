//! Section `workloads`: times of steps of four networks on random spikes, for all variants and several sizes of the δ
//! scratch, and times of their kernels.

use super::task::Task;
use crate::bench::{
    Measurement, MeasurementPlan, TARGET_DENSITY, measure, random_spikes, scaled_weights, steady_after,
};
use crate::engine::{Engine, KernelTime};
use crate::error::Result;
use crate::events::EventSet;
use crate::gpu::{DELTA_SIZES, DeltaScratch, GpuOptions, VARIANTS, Variant, cuts};
use crate::network::{Connection, Convolution, Network};
use crate::optimiser::Adam;
use crate::presets;
use crate::weights::Weights;
use serde_json::{Value, json};
use std::time::Duration;

/// Durations in s: warm-up of the first measurement, warm-up of later measurements, measurement.
const FIRST_WARM_UP: f64 = 1.0;
const WARM_UP: f64 = 0.15;
const MEASURED: f64 = 0.35;
/// Minimum number of measured groups of steps.
const FEWEST_GROUPS: usize = 2;
/// Number of profiled steps.
const PROFILED: usize = 5;
/// If a step takes longer than this many ms, all batches are reduced by the factor below.
const SLOW_MS: f64 = 150.0;
const SMALLER: usize = 8;
/// Maximum plausible ratio of the sum of kernel times to the time of an unprofiled step. It is above 1 because each
/// profiled kernel has its own barrier.
const PLAUSIBLE: f64 = 1.5;

/// A network to measure.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name in the report.
    pub name: &'static str,
    network: Network,
    batch: usize,
    density: f64,
}

/// A workload with batch and weights.
pub struct Prepared {
    /// Its name, with the batch size if it was reduced.
    pub name: String,
    /// Its network.
    pub network: Network,
    /// Random spikes.
    pub batch: EventSet,
    /// Weights with which layers have the spike density of trained networks.
    pub weights: Weights,
}

impl Workload {
    /// The workload that is measured with all variants and sizes.
    pub fn first(quick: bool) -> Result<Self> {
        Ok(Self::all(quick)?.swap_remove(0))
    }

    /// All four workloads, with the sizes and densities of the data sets.
    fn all(quick: bool) -> Result<Vec<Self>> {
        let small = |n: usize| if quick { n.div_ceil(10) } else { n };
        let of = |name, preset, width, batch, density| -> Result<Workload> {
            let mut network = presets::paper(preset)?.network;
            network.inputs = small(network.inputs);
            network.time_steps = small(network.time_steps);
            network.set_hidden(&[small(width), small(width)])?;
            Ok(Workload { name, network, batch: small(batch), density })
        };
        Ok(vec![
            of("fmnist", "fmnist", 200, 256, 0.0043)?,
            of("fmnist-1000", "fmnist", 1000, 256, 0.0043)?,
            of("nmnist", "nmnist", 200, 256, 0.012)?,
            of("shd", "shd", 200, 64, 0.016)?,
        ])
    }

    /// Creates batch and weights.
    ///
    /// # Errors
    /// An invalid network.
    pub fn prepare(self) -> Result<Prepared> {
        let batch = random_spikes(&self.network, self.batch, self.density, 1)?;
        let weights = scaled_weights(&self.network, &batch, TARGET_DENSITY, 1)?;
        Ok(Prepared { name: self.name.into(), network: self.network, batch, weights })
    }

    /// As [`prepare`](Self::prepare) with fewer samples, for slow devices.
    ///
    /// # Errors
    /// An invalid network.
    pub fn smaller(self) -> Result<Prepared> {
        let batch = self.batch.div_ceil(SMALLER);
        let prepared = Workload { batch, ..self }.prepare()?;
        Ok(Prepared { name: format!("{} (B = {batch})", prepared.name), ..prepared })
    }
}

/// A small network with a convolution and a hidden layer.
pub fn small_conv() -> Result<Network> {
    let mut network = presets::ours("fmnist")?.network;
    let conv = Convolution { channels: 1, height: 8, width: 8, filters: 4, kernel: 3, stride: 1, padding: 1, pool: 2 };
    (network.inputs, network.time_steps) = (64, 20);
    network.set_hidden(&[conv.neurons(), 12])?;
    network.hidden[0].connection = Connection::Conv(conv);
    network.check()?;
    Ok(network)
}

impl Prepared {
    fn plan(&self) -> MeasurementPlan<'_> {
        MeasurementPlan { batch: &self.batch, weights: &self.weights, adam: Adam::with_lr(1e-3), repeat: PROFILED }
    }
}

/// The best time of a workload so far, with its variant and δ scratch.
type Best = Option<(f64, Variant, DeltaScratch)>;

/// Runs the section: the first workload with all variants and sizes, and its kernels; then the others with the fastest
/// variant and size of the first, and their kernels; then, if there is time, other combinations.
pub fn run(task: &mut Task) -> Result<()> {
    let every = |size: &DeltaScratch| !task.quick || [DeltaScratch::mib(8), DeltaScratch::WHOLE].contains(size);
    // All variants come first, so that sizes are skipped if time is short.
    let ways: Vec<(Variant, DeltaScratch)> = DELTA_SIZES
        .into_iter()
        .filter(every)
        .flat_map(|size| VARIANTS.iter().map(move |&variant| (variant, size)))
        .collect();
    let mut measured: Vec<(Prepared, Best)> = Vec::new();
    let mut fastest: Option<(Variant, DeltaScratch)> = None;
    let (mut done, mut slow) = (0, false);
    for workload in Workload::all(task.quick)? {
        let item = format!("{}: batch and weights", workload.name);
        let prepare = |workload: Workload, slow: bool| if slow { workload.smaller() } else { workload.prepare() };
        let Some(mut prepared) = task.item(&item, |_| prepare(workload.clone(), slow)) else { continue };
        if measured.is_empty() {
            slow = probe_ms(task, &prepared).is_some_and(|ms| ms > SLOW_MS);
            if slow {
                task.cut(format!("batches are smaller by a factor of {SMALLER}: a step takes too long here"));
                let Some(smaller) = task.item(&item, |_| prepare(workload, slow)) else { continue };
                prepared = smaller;
            }
        }
        let mut best: Best = None;
        for way in fastest.map_or_else(|| ways.clone(), |way| vec![way]) {
            done += usize::from(time(task, &prepared, way, done == 0, &mut best));
        }
        if let Some((ms, variant, size)) = best {
            task.step_ms(prepared.name.clone(), ms);
            if fastest.is_none() {
                kernels(task, &prepared, (variant, size), true);
                fastest = Some((variant, size));
            }
        }
        measured.push((prepared, best));
    }
    let Some(fastest) = fastest else { return Ok(()) };
    let said = |done: usize| {
        let (variant, size) = fastest;
        format!("{done} combinations of network, variant and delta scratch; fastest: {variant}, delta {}", shown(size))
    };
    task.headline(said(done));
    // If there is time: kernels of the other workloads, other combinations, kernels of other variants.
    for (workload, _) in measured.iter().skip(1).filter(|(_, best)| best.is_some()) {
        kernels(task, workload, fastest, false);
    }
    for (workload, best) in measured.iter_mut().skip(1) {
        for way in ways.iter().filter(|way| **way != fastest) {
            done += usize::from(time(task, workload, *way, false, best));
        }
    }
    for &variant in VARIANTS.iter().filter(|variant| **variant != fastest.0) {
        if let Some((workload, _)) = measured.first() {
            kernels(task, workload, (variant, fastest.1), false);
        }
    }
    task.headline(said(done));
    Ok(())
}

/// The approximate time of a step with default kernels: that of the second of two steps.
fn probe_ms(task: &mut Task, workload: &Prepared) -> Option<f64> {
    task.item(&format!("{}: a step", workload.name), |task| {
        let mut engine = task.open(&workload.network, &workload.weights, task.options())?;
        Ok(steady_after(&mut engine, &workload.plan(), 0.0, 1, 1e-3)?.ms)
    })
}

fn shown(size: DeltaScratch) -> String {
    if size == DeltaScratch::WHOLE { "for the whole batch".into() } else { format!("of {size} MiB") }
}

fn options(task: &Task, (variant, size): (Variant, DeltaScratch)) -> GpuOptions {
    GpuOptions { variant: Some(variant), delta_bytes: Some(size.bytes()), ..task.options() }
}

/// Measures queued steps and updates `least`; returns whether they were measured.
fn time(task: &mut Task, workload: &Prepared, way: (Variant, DeltaScratch), first: bool, least: &mut Best) -> bool {
    let (variant, size) = way;
    let item = format!("{}, {variant}, delta {}", workload.name, shown(size));
    let (warm_up, measured) =
        if task.quick { (0.02, 0.05) } else { (if first { FIRST_WARM_UP } else { WARM_UP }, MEASURED) };
    let steady = task.item(&item, |task| {
        let mut engine = task.open(&workload.network, &workload.weights, options(task, way))?;
        steady_after(&mut engine, &workload.plan(), warm_up, FEWEST_GROUPS, measured)
    });
    let Some(steady) = steady else { return false };
    if least.is_none_or(|(ms, ..)| steady.ms < ms) {
        *least = Some((steady.ms, variant, size));
    }
    task.found(json!({ "workload": workload.name, "variant": variant, "delta_mib": size, "steady": steady }));
    true
}

/// Measures the kernels of a step with timestamps. If these are missing or implausible and `by_cuts` is set, measures them
/// by cuts instead.
fn kernels(task: &mut Task, workload: &Prepared, way: (Variant, DeltaScratch), by_cuts: bool) {
    let (variant, size) = way;
    let item = format!("{}, {variant}: kernels", workload.name);
    let measured = task.item(&item, |task| {
        let mut engines: [Box<dyn Engine>; 1] =
            [Box::new(task.open(&workload.network, &workload.weights, options(task, way))?)];
        Ok(measure(&mut engines, &workload.plan(), &mut |_| {})?.swap_remove(0))
    });
    let Some(measured) = measured else { return };
    let verdict = timestamps(&measured);
    task.found(table(workload, way, &measured, verdict));
    if verdict != "ok" && by_cuts {
        let most = Duration::from_secs(6).min(task.left());
        let cut = task.item(&format!("{item} by cuts"), |task| {
            let mut engine = task.open(&workload.network, &workload.weights, options(task, way))?;
            cuts(&mut engine, &workload.batch, &Adam::with_lr(1e-30), most)
        });
        if let Some(cut) = cut {
            task.found(json!({ "workload": workload.name, "variant": variant, "delta_mib": size, "cuts": cut }));
        }
    }
}

/// `ok`, or why the kernels' times are implausible.
fn timestamps(measured: &Measurement) -> &'static str {
    match measured.kernels.iter().map(|kernel| kernel.ms).sum::<Option<f64>>() {
        None => "missing, zero or backwards",
        Some(0.0) => "zero",
        Some(sum) if sum > PLAUSIBLE * measured.step_ms => "longer than the step",
        Some(_) => "ok",
    }
}

fn table(
    workload: &Prepared,
    (variant, size): (Variant, DeltaScratch),
    measured: &Measurement,
    verdict: &str,
) -> Value {
    let kernels: Vec<KernelTime> = measured
        .kernels
        .iter()
        .map(|kernel| KernelTime { name: kernel.name.clone(), calls: kernel.calls, ms: kernel.ms })
        .collect();
    json!({
        "workload": workload.name,
        "variant": variant,
        "delta_mib": size,
        "timestamps": verdict,
        "step_ms": measured.step_ms,
        "forward_ms": measured.forward_ms,
        "backward_ms": measured.backward_ms,
        "state_bytes": measured.state_bytes,
        "spike_density": measured.spike_density,
        "activity": measured.activity,
        "kernels": kernels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_those_of_the_benchmarks() {
        let sizes: Vec<Vec<usize>> = Workload::all(false).unwrap().iter().map(|w| w.network.sizes()).collect();
        assert_eq!(sizes[0], [784, 200, 200, 10]);
        assert_eq!(sizes[1], [784, 1000, 1000, 10]);
        assert_eq!(sizes[2], [1156, 200, 200, 10]);
        assert_eq!(sizes[3], [700, 200, 200, 20]);
        let quick = Workload::first(true).unwrap().prepare().unwrap();
        assert_eq!((quick.network.sizes(), quick.batch.len()), (vec![79, 20, 20, 10], 26));
        small_conv().unwrap();
    }

    fn measured(kernels: &[Option<f64>]) -> Measurement {
        let workload = Workload::first(true).unwrap().prepare().unwrap();
        let method = crate::engine::Method::Sparse;
        let engine = crate::cpu::CpuEngine::new(&workload.network, method, &workload.weights).unwrap();
        let mut measured = measure(&mut [Box::new(engine)], &workload.plan(), &mut |_| {}).unwrap().swap_remove(0);
        let kernel = measured.kernels[0].clone();
        measured.kernels = kernels.iter().map(|&ms| crate::bench::KernelFigures { ms, ..kernel.clone() }).collect();
        measured.step_ms = 1.0;
        measured
    }

    #[test]
    fn timestamps_that_lie_are_noticed() {
        assert_eq!(timestamps(&measured(&[Some(0.4), Some(0.5)])), "ok");
        assert_eq!(timestamps(&measured(&[Some(0.4), None])), "missing, zero or backwards");
        assert_eq!(timestamps(&measured(&[Some(0.0), Some(0.0)])), "zero");
        assert_eq!(timestamps(&measured(&[Some(1.4), Some(0.5)])), "longer than the step");
    }
}
