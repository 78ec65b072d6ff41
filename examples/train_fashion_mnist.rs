//! Trains the paper's network, 784-200-200-10, on Fashion-MNIST with a custom training loop.
//!
//!     cargo run --release --example train_fashion_mnist [-- auto|cpu|gpu|gpu:N]
//!
//! Finds the images as `spikegrad train fmnist` does; if there are none, it uses the subset built into the library.
//! `spikegrad::train` has this loop with checkpoints, resuming, metrics, and detection of dead layers.

use spikegrad::data::order::{batches, order};
use spikegrad::device::Device;
use spikegrad::events::EventSet;
use spikegrad::optimiser::Adam;
use spikegrad::weights::Weights;
use spikegrad::{data, presets, train};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let device: Device = std::env::args().nth(1).as_deref().unwrap_or("auto").parse()?;
    let config = presets::ours("fmnist")?;
    let data = data::load(&config.preset, None, &config.network)?;

    let weights = Weights::init(&config.network, config.seed);
    let mut engine = device.open(&config.network, config.method, &weights)?;
    println!("{}\non {} ({})", data.origin, engine.info().name, engine.info().detail);

    // An epoch of the subset has a twentieth of the steps, so train for more epochs; this still takes seconds on the CPU.
    let epochs = if data.subset { 20 } else { 3 };
    let steps = epochs * data.train.len().div_ceil(config.batch) as u64;
    let mut step = 0;
    let mut batch = EventSet::new(0, 0);
    for epoch in 1..=epochs {
        let clock = Instant::now();
        for samples in batches(&order(config.seed, epoch, data.train.len()), config.batch) {
            batch.gather(&data.train, samples);
            let lr = config.adam.lr * config.schedule.factor(step, steps);
            // Queued: the next batch is gathered while the device works on this one.
            engine.train(&batch, &Adam { lr, ..config.adam })?;
            step += 1;
        }
        let reports = engine.reports(true)?;
        let seconds = clock.elapsed().as_secs_f64();
        let samples = data.train.len() as f64;
        let loss: f64 = reports.iter().map(|report| report.loss.total()).sum();
        let correct: usize = reports.iter().map(|report| report.correct).sum();
        let test = train::evaluate(engine.as_mut(), &data.test, config.batch)?;
        println!(
            "epoch {epoch}: loss {:.3}, training accuracy {:.1} %, test accuracy {:.1} %, trained in {seconds:.1} s",
            loss / samples,
            100.0 * correct as f64 / samples,
            100.0 * test.accuracy(),
        );
    }
    Ok(())
}
