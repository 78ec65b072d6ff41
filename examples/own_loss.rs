//! Trains a network with a custom loss: a hinge loss on the logits.
//!
//!     cargo run --release --example own_loss [-- auto|cpu|gpu|gpu:N]
//!
//! `Engine::train` computes the losses in `network::Loss`. For any other loss, call the parts of a step: `forward` returns
//! the logits, you compute the gradient of your loss with respect to them, `backward` returns the gradient of the weights,
//! and `update` makes a step of Adam. On the cpu device this takes about as long as `train`; the gpu device computes the
//! forward pass twice.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spikegrad::Result;
use spikegrad::device::Device;
use spikegrad::engine::{Engine, Method};
use spikegrad::events::EventSet;
use spikegrad::network::{Initialisation, Network, Readout, SpikingLayer};
use spikegrad::optimiser::Adam;
use spikegrad::weights::Weights;

const INPUTS: usize = 40;
const STEPS: usize = 50;
const CLASSES: usize = 4;
/// The logit of the correct class should exceed all others by this much.
const MARGIN: f32 = 1.0;

fn main() -> Result<()> {
    let device: Device = std::env::args().nth(1).as_deref().unwrap_or("auto").parse()?;
    let network = network()?;
    let mut engine = device.open(&network, Method::Sparse, &Weights::init(&network, 1))?;
    println!("{:?} on {} ({})", network.sizes(), engine.info().name, engine.info().detail);
    let batch = samples(256, 1)?;
    for (step, loss) in train(engine.as_mut(), &batch, 100)?.into_iter().enumerate() {
        if step % 10 == 0 {
            println!("step {step}: hinge loss {loss:.3}");
        }
    }
    println!("accuracy on other samples: {:.1} %", 100.0 * accuracy(engine.as_mut(), &samples(256, 2)?)?);
    Ok(())
}

fn network() -> Result<Network> {
    let init = Initialisation::Normal { scale: 20.0 };
    let layer = SpikingLayer::lif(50).tau_ms(10.0).init(init);
    Network::new(INPUTS, STEPS).layer(layer).readout(Readout::max(CLASSES).tau_ms(20.0).init(init)).build()
}

/// Trains and returns the loss before each step.
fn train(engine: &mut dyn Engine, batch: &EventSet, steps: usize) -> Result<Vec<f32>> {
    let adam = Adam::with_lr(2e-2);
    let mut losses = Vec::new();
    for _ in 0..steps {
        let pass = engine.forward(batch)?;
        let (loss, logit_gradient) = hinge(&pass.logits, batch.labels());
        let gradient = engine.backward(pass, &logit_gradient)?;
        engine.update(&gradient, &adam)?;
        losses.push(loss);
    }
    Ok(losses)
}

/// The mean over the batch of Σ_{c ≠ label} max(0, margin + logit_c - logit_label), and its gradient with respect to the logits.
fn hinge(logits: &[f32], labels: &[u32]) -> (f32, Vec<f32>) {
    let share = 1.0 / labels.len() as f32;
    let mut loss = 0.0;
    let mut gradient = vec![0.0; logits.len()];
    for ((logits, gradient), &label) in logits.chunks(CLASSES).zip(gradient.chunks_mut(CLASSES)).zip(labels) {
        let label = label as usize;
        for c in (0..CLASSES).filter(|&c| c != label) {
            let short = MARGIN + logits[c] - logits[label];
            if short > 0.0 {
                loss += share * short;
                gradient[c] += share;
                gradient[label] -= share;
            }
        }
    }
    (loss, gradient)
}

/// The fraction of samples whose predicted class is their label.
fn accuracy(engine: &mut dyn Engine, set: &EventSet) -> Result<f64> {
    let prediction = engine.predict(set)?;
    let right = prediction.predicted().zip(set.labels()).filter(|&(class, &label)| class == label as usize).count();
    Ok(right as f64 / set.len() as f64)
}

/// Each class is a wave that travels over the inputs with its own speed and direction. Spikes are shifted by up to two time
/// steps, and one in five is missing.
fn samples(n: usize, seed: u64) -> Result<EventSet> {
    const SPEEDS: [f64; CLASSES] = [1.0, 0.5, -1.0, -0.5];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut set = EventSet::new(INPUTS, STEPS);
    for k in 0..n {
        let mut spikes = Vec::new();
        for i in 0..INPUTS {
            let time = 25.0 + SPEEDS[k % CLASSES] * (i as f64 - 20.0) + random.random_range(-2.0..2.0);
            if random.random::<f64>() < 0.8 {
                spikes.push((time.clamp(0.0, STEPS as f64 - 1.0) as usize, i));
            }
        }
        set.push(spikes, (k % CLASSES) as u32)?;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (logits, labels) = ([0.3, 0.9, -1.5, 0.1, 4.0, 2.0, 3.5, -2.0], [1, 0]);
        let (_, gradient) = hinge(&logits, &labels);
        assert!(gradient.iter().any(|&g| g > 0.0) && gradient.contains(&0.0));
        for (k, g) in gradient.iter().enumerate() {
            let loss_at = |by: f32| {
                let mut logits = logits;
                logits[k] += by;
                hinge(&logits, &labels).0
            };
            assert!(((loss_at(0.01) - loss_at(-0.01)) / 0.02 - g).abs() < 1e-3, "logit {k}: {g}");
        }
    }

    #[test]
    fn the_loss_falls_and_other_samples_are_recognised() {
        let network = network().unwrap();
        let mut engine = Device::Cpu.open(&network, Method::Sparse, &Weights::init(&network, 1)).unwrap();
        let losses = train(engine.as_mut(), &samples(64, 1).unwrap(), 100).unwrap();
        assert!(losses[99] < 0.2 * losses[0], "{losses:?}");
        let accuracy = accuracy(engine.as_mut(), &samples(64, 2).unwrap()).unwrap();
        assert!(accuracy > 0.9, "{accuracy}");
    }
}
