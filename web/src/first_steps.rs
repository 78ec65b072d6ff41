//! The first steps of a run, to be compared with those of another build on the same adapter.

use serde_json::{Value, json};
use spikegrad::data::load;
use spikegrad::device::Device;
use spikegrad::engine::Method;
use spikegrad::error::Result;
use spikegrad::gpu::GpuOptions;
use spikegrad::presets::ours;
use spikegrad::weights::Weights;
use std::time::Duration;

/// Trains this many batches; returns loss and spikes of each, the weights' bits afterwards, and, by `clock`, the median time of
/// a step.
///
/// # Errors
/// No such device or variant, and errors of the device.
pub fn first_steps(device: &str, variant: &str, steps: usize, clock: impl Fn() -> Duration) -> Result<Value> {
    let config = ours("fmnist")?;
    let data = load("fmnist", None, &config.network)?;
    let variant = if variant.is_empty() { None } else { Some(variant.parse()?) };
    // Bounds checks are the browser's affair.
    let options = GpuOptions { variant, checked: Some(false), ..GpuOptions::default() };
    let device: Device = device.parse()?;
    let weights = Weights::init(&config.network, config.seed);
    let mut engine = device.open_with(&config.network, Method::Sparse, &weights, options)?;
    engine.hold(data.train.clone())?;
    let (mut reports, mut times) = (Vec::new(), Vec::new());
    for step in 0..steps {
        let first = step * config.batch % data.train.len();
        let last = (first + config.batch).min(data.train.len());
        let samples: Vec<u32> = (first..last).map(|k| k as u32).collect();
        let begun = clock();
        engine.train_held(&samples, &config.adam)?;
        for report in engine.reports(true)? {
            reports.push(json!({ "loss": report.loss.total(), "spikes": report.spikes, "active": report.active }));
        }
        times.push(1e3 * (clock() - begun).as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let checksums: Vec<String> = engine.store()?.weights.layers.iter().map(|matrix| checksum(&matrix.data)).collect();
    Ok(
        json!({ "device": engine.info(), "kernels": engine.kernels(), "reports": reports, "weights": checksums, "ms": times[times.len() / 2] }),
    )
}

/// Fowler-Noll-Vo (FNV-1a) of the bits, as digits, since numbers of JavaScript have 53 bits.
fn checksum(numbers: &[f32]) -> String {
    let bytes = numbers.iter().flat_map(|x| x.to_bits().to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3_u64));
    format!("{hash:016x}")
}
