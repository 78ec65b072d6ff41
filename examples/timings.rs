//! Prints the times of the kernels of a training step, for the sparse and the dense method.
//!
//!     cargo run --release --example timings [-- auto|cpu|gpu|gpu:N]
//!
//! `Engine::profile` runs one step and measures each kernel. On the gpu device it uses the GPU's timestamps, so gaps
//! between kernels are not included; times are n/a if the platform has no timestamps.

use spikegrad::device::Device;
use spikegrad::engine::{Engine, KernelTime, Method};
use spikegrad::events::EventSet;
use spikegrad::optimiser::Adam;
use spikegrad::weights::Weights;
use spikegrad::{data, presets};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

const BATCH: usize = 64;
/// Number of measured steps: five, or fewer if they take more than two seconds.
const STEPS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let device: Device = std::env::args().nth(1).as_deref().unwrap_or("auto").parse()?;
    let config = presets::ours("fmnist")?;
    let batch = data::load(&config.preset, None, &config.network)?.train.head(BATCH);
    for method in [Method::Sparse, Method::Dense] {
        let weights = Weights::init(&config.network, config.seed);
        let mut engine = device.open(&config.network, method, &weights)?;
        let info = engine.info();
        println!("{method:?}: {:?}, batch {BATCH}, on {} ({})", config.network.sizes(), info.name, info.detail);
        table(engine.as_mut(), &batch, &config.adam)?;
        println!();
    }
    Ok(())
}

fn table(engine: &mut dyn Engine, batch: &EventSet, adam: &Adam) -> Result<(), Box<dyn Error>> {
    // The first step compiles pipelines and determines the sizes of lists.
    engine.train(batch, adam)?;
    engine.reports(true)?;
    let mut steps = 0;
    let clock = Instant::now();
    while steps < STEPS && clock.elapsed() < PATIENCE {
        engine.train(batch, adam)?;
        // Waits for each step. Training does not, so it is slightly faster.
        engine.reports(true)?;
        steps += 1;
    }
    let step_ms = 1e3 * clock.elapsed().as_secs_f64() / f64::from(steps);

    // The minimum of a few runs of each kernel, since other programs can only make it slower.
    let mut kernels: BTreeMap<String, KernelTime> = BTreeMap::new();
    let clock = Instant::now();
    for _ in 0..steps {
        if !kernels.is_empty() && clock.elapsed() > PATIENCE {
            break;
        }
        for kernel in engine.profile(batch, adam)?.kernels {
            let best = kernels.entry(kernel.name.clone()).or_insert_with(|| kernel.clone());
            best.ms = best.ms.zip(kernel.ms).map(|(a, b)| a.min(b));
        }
    }
    let mut kernels: Vec<KernelTime> = kernels.into_values().collect();
    kernels.sort_by(|a, b| b.ms.unwrap_or(0.0).total_cmp(&a.ms.unwrap_or(0.0)));

    let ms = |ms: Option<f64>| ms.map_or("n/a".into(), |ms| format!("{ms:.3}"));
    println!("  {:<26} {:>5} {:>10}", "kernel", "calls", "ms");
    for kernel in &kernels {
        println!("  {:<26} {:>5} {:>10}", kernel.name, kernel.calls, ms(kernel.ms));
    }
    println!("  {:<26} {:>5} {:>10}", "sum", "", ms(kernels.iter().map(|kernel| kernel.ms).sum()));
    println!("  {:<26} {:>5} {step_ms:>10.3}", "whole step, by the wall", "");
    let bytes: u64 = engine.state_bytes().iter().map(|(_, bytes)| bytes).sum();
    println!("  {:<26} {:>5} {:>6.1} MiB", "state of a step", "", bytes as f64 / f64::from(1 << 20));
    Ok(())
}
