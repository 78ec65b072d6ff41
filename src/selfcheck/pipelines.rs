//! Section `pipelines`: compile times of the pipelines of training steps.

use super::task::Task;
use super::workloads::small_conv;
use crate::bench::random_spikes;
use crate::engine::Engine;
use crate::error::Result;
use crate::gpu::{GpuOptions, VARIANTS};
use crate::optimiser::Adam;
use crate::weights::Weights;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;

/// Runs the section for all variants, with and without bounds checks.
pub fn run(task: &mut Task) -> Result<()> {
    let (mut kernels, mut total) = (0, 0.0);
    let mut slowest: (String, f64) = (String::new(), 0.0);
    for checked in [false, true] {
        for &variant in &VARIANTS {
            let name = format!("{variant}, {}", if checked { "checked" } else { "unchecked" });
            let options = GpuOptions { variant: Some(variant), checked: Some(checked), ..task.options() };
            let Some(times) = task.item(&name, |task| compile(task, &options)) else { continue };
            let ms: f64 = times.iter().map(|(_, ms)| ms).sum();
            (kernels, total) = (kernels + times.len(), total + ms);
            if let Some(longest) = times.iter().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, ms)| *ms > slowest.1) {
                slowest = longest.clone();
            }
            let rounded = |(kernel, ms): &(String, f64)| json!([kernel, (ms * 1e3).round() / 1e3]);
            let times: Vec<_> = times.iter().map(rounded).collect();
            task.found(json!({ "variant": variant, "checked": checked, "total_ms": ms, "compile_ms": times }));
        }
    }
    let (kernel, ms) = slowest;
    task.headline(format!("{kernels} in {:.1} s, the slowest {kernel} {ms:.0} ms", total / 1e3));
    Ok(())
}

/// Runs steps of a network with a convolution and of one without, from a batch and from a set on the device, which compiles
/// every pipeline once.
fn compile(task: &Task, options: &GpuOptions) -> Result<Vec<(String, f64)>> {
    let mut linear = small_conv()?;
    linear.hidden.remove(0);
    let mut times: Vec<(String, f64)> = Vec::new();
    let mut seen = HashSet::new();
    for network in [linear, small_conv()?] {
        let set = random_spikes(&network, 4, 0.05, 1)?;
        let mut engine = task.open(&network, &Weights::init(&network, 1), options.clone())?;
        engine.train(&set, &Adam::with_lr(1e-3))?;
        engine.hold(Arc::new(set))?;
        engine.train_held(&[0, 1, 2], &Adam::with_lr(1e-3))?;
        engine.reports(true)?;
        times.extend(engine.compile_times().iter().filter(|(kernel, _)| seen.insert(kernel.clone())).cloned());
    }
    Ok(times)
}
