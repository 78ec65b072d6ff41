//! A custom network and custom data: spatio-temporal spike patterns that differ only in *when* neurons spike.
//!
//!     cargo run --release --example custom_network [-- auto|cpu|gpu|gpu:N]
//!
//! In each class, each of 60 input neurons spikes once, at a time that depends on the class, so spike counts carry no
//! information. Samples are noisy: spikes are shifted by up to 6 ms, one in four is missing, and ten random ones are added.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spikegrad::data::order::{batches, order};
use spikegrad::device::Device;
use spikegrad::engine::Method;
use spikegrad::events::EventSet;
use spikegrad::network::{Initialisation, Network, Readout, Regulariser, SpikingLayer, Surrogate};
use spikegrad::optimiser::Adam;
use spikegrad::train::evaluate;
use spikegrad::weights::Weights;
use std::error::Error;

const INPUTS: usize = 60;
const STEPS: usize = 80;
const CLASSES: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let device: Device = std::env::args().nth(1).as_deref().unwrap_or("auto").parse()?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let patterns: Vec<Pattern> = (0..CLASSES).map(|_| Pattern::random(&mut random)).collect();
    let training = samples(&patterns, 4000, &mut random)?;
    let test = samples(&patterns, 1000, &mut random)?;

    let network = network()?;
    let mut engine = device.open(&network, Method::Sparse, &Weights::init(&network, 0))?;
    println!("{:?} on {} ({})", network.sizes(), engine.info().name, engine.info().detail);

    let adam = Adam::with_lr(5e-3);
    let mut batch = EventSet::new(0, 0);
    for epoch in 1..=6 {
        for chosen in batches(&order(0, epoch, training.len()), 50) {
            batch.gather(&training, chosen);
            engine.train(&batch, &adam)?;
        }
        let reports = engine.reports(true)?;
        let loss: f64 = reports.iter().map(|report| report.loss.total()).sum();
        let spikes: u64 = reports.iter().flat_map(|report| &report.spikes[1..]).sum();
        let accuracy = evaluate(engine.as_mut(), &test, 250)?.accuracy();
        println!(
            "epoch {epoch}: loss {:.3}, {:.0} hidden spikes a sample, test accuracy {:.1} %",
            loss / training.len() as f64,
            spikes as f64 / training.len() as f64,
            100.0 * accuracy
        );
    }
    Ok(())
}

/// Every constant may differ from layer to layer: here a fast layer below a slow one.
fn network() -> spikegrad::Result<Network> {
    let init = Initialisation::Normal { scale: 20.0 };
    // The surrogate gradient 1 / (beta |V - V_th| + 1)², taken as 0 where V is b_th or more away from V_th.
    let fast = SpikingLayer::lif(100).tau_ms(5.0).surrogate(Surrogate::FastSigmoid, 20.0).b_th(0.3).init(init);
    let slow =
        SpikingLayer::lif(50).tau_ms(20.0).v_th(1.2).surrogate(Surrogate::FastSigmoid, 20.0).b_th(0.4).init(init);
    Network::new(INPUTS, STEPS)
        .layer(fast)
        .layer(slow)
        .readout(Readout::max(CLASSES).tau_ms(20.0).init(init))
        // Penalises neurons that spike much more than twice per sample, or never.
        .regulariser(Regulariser { lambda_up: 0.05, nu_up: 2.0, lambda_low: 1.0, nu_low: 0.01 })
        .build()
}

/// The spike time of each input neuron.
struct Pattern(Vec<f64>);

impl Pattern {
    fn random(random: &mut ChaCha8Rng) -> Self {
        Pattern((0..INPUTS).map(|_| random.random_range(6.0..65.0)).collect())
    }

    /// A noisy sample, as (time step, neuron) pairs in any order.
    fn copy(&self, random: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
        let mut spikes = Vec::new();
        for (i, time) in self.0.iter().enumerate() {
            if random.random::<f64>() < 0.75 {
                spikes.push(((time + random.random_range(-6.0..6.0)) as usize, i));
            }
        }
        for _ in 0..10 {
            spikes.push((random.random_range(0..STEPS), random.random_range(0..INPUTS)));
        }
        spikes
    }
}

fn samples(patterns: &[Pattern], n: usize, random: &mut ChaCha8Rng) -> Result<EventSet, Box<dyn Error>> {
    let mut set = EventSet::new(INPUTS, STEPS);
    for k in 0..n {
        let label = k % patterns.len();
        // Sorts the spikes, removes duplicates, and returns an error for spikes outside of INPUTS × STEPS.
        set.push(patterns[label].copy(random), label as u32)?;
    }
    Ok(set)
}
