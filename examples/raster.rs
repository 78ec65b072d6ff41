//! Draws a sample's spikes in the input and all hidden layers, and the readout's potentials.
//!
//!     cargo run --release --example raster [-- --untrained] [auto|cpu|gpu|gpu:N] [SAMPLE] [FILE.png]
//!
//! The network is trained for a few seconds first, except with `--untrained`. `Engine::inspect` returns everything that a
//! step computes, here for a batch of one sample.

use spikegrad::data::order::{batches, order};
use spikegrad::device::Device;
use spikegrad::engine::Engine;
use spikegrad::events::EventSet;
use spikegrad::plot::{Raster, save_raster};
use spikegrad::weights::Weights;
use spikegrad::{data, presets};
use std::error::Error;

/// Number of training samples, enough to recognise most images.
const SAMPLES: usize = 6000;
/// The default test image.
const SAMPLE: usize = 96;

const CLASSES: [&str; 10] =
    ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

fn main() -> Result<(), Box<dyn Error>> {
    let (mut untrained, mut device) = (false, Device::Auto);
    let (mut sample, mut file) = (SAMPLE, "raster.png".to_string());
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), argument.parse()) {
            ("--untrained", _) => untrained = true,
            (_, Ok(number)) => sample = number,
            (name, _) if name.ends_with(".png") => file = argument,
            (name, _) => device = name.parse()?,
        }
    }

    let config = presets::ours("fmnist")?;
    let data = data::load(&config.preset, None, &config.network)?;
    println!("{}", data.origin);
    let weights = Weights::init(&config.network, config.seed);
    let mut engine = device.open(&config.network, config.method, &weights)?;
    if !untrained {
        let mut batch = EventSet::new(0, 0);
        for samples in batches(&order(config.seed, 1, data.train.len().min(SAMPLES)), 64) {
            batch.gather(&data.train, samples);
            engine.train(&batch, &config.adam)?;
        }
        println!("trained on {} images", data.train.len().min(SAMPLES));
    }

    if sample >= data.test.len() {
        return Err(format!("sample {sample}: the test set has {} (0 is the first)", data.test.len()).into());
    }
    let mut batch = EventSet::new(0, 0);
    batch.gather(&data.test, &[sample as u32]);
    let sizes: Vec<String> = config.network.sizes().iter().map(usize::to_string).collect();
    let title = format!("Test image {sample} of Fashion-MNIST through {}", sizes.join("-"));
    let raster = look(engine.as_mut(), &batch, title)?;
    save_raster(&file, &raster)?;
    println!("{file}: test image {sample}, {}, taken for {}", CLASSES[raster.label], CLASSES[raster.predicted]);
    Ok(())
}

/// The contents of the plot, for a batch of one sample.
fn look(engine: &mut dyn Engine, sample: &EventSet, title: String) -> Result<Raster, Box<dyn Error>> {
    let seen = engine.inspect(sample)?;
    let class_names = Some(CLASSES.map(String::from).to_vec());
    Ok(Raster { class_names, ..Raster::of(engine.network(), sample, &seen, title) })
}
