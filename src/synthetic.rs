//! Input for measurements: random spikes, and weights that give a chosen spike density.

use crate::cpu::CpuEngine;
use crate::engine::{Engine, Method, TrainingState};
use crate::error::{Error, Result};
use crate::events::{Event, EventSet};
use crate::network::{Logits, Network};
use crate::weights::{Matrix, Weights};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Spike density of hidden layers to which weights are scaled: that of the paper's trained networks.
pub const TARGET_DENSITY: f64 = 0.015;

/// Number of samples on which weights are scaled.
const SCALING_SAMPLES: usize = 32;
/// Maximum number of potentials stored during scaling. Large layers are scaled on fewer samples.
const SCALING_POTENTIALS: usize = 1 << 26;
/// Random number stream, distinct from those of [`Weights::init`] and of the sample order.
const SPIKES_STREAM: u64 = 1 << 62;
const WEIGHTS_STREAM: u64 = SPIKES_STREAM + 1;

fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// `samples` samples in which each (time step, input neuron) of `network` has a spike with probability `density`. Labels
/// are random. The same seed gives the same samples on every machine.
///
/// # Errors
/// A density outside 0 to 1, or more than 2³² - 1 events in total.
pub fn random_spikes(network: &Network, samples: usize, density: f64, seed: u64) -> Result<EventSet> {
    if !(0.0..=1.0).contains(&density) {
        return Err(Error::field("density", density, "0 to 1"));
    }
    let mut rng = random(seed, SPIKES_STREAM);
    let (neurons, slots) = (network.inputs, network.inputs * network.time_steps);
    let mut set = EventSet::new(neurons, network.time_steps);
    // The gap to the next spike is geometrically distributed, so one random number per spike suffices.
    let none = (-density).ln_1p();
    for _ in 0..samples {
        let mut spikes = Vec::new();
        let mut slot = 0;
        while slot < slots && density > 0.0 {
            let u: f64 = rng.random();
            // The cast saturates, so a gap beyond the end stays beyond the end.
            slot += (((-u).ln_1p() / none) as usize).min(slots);
            if slot < slots {
                spikes.push((slot / neurons, slot % neurons));
            }
            slot += 1;
        }
        let label = rng.random_range(0..network.classes() as u32);
        set.push(spikes, label)?;
    }
    Ok(set)
}

/// Normal weights. Each hidden layer is scaled by bisection until its spike density on the first samples of `batch` is
/// `density`; the readout is scaled until the standard deviation of its potentials is 0.5 (2/T if the logits are sums).
/// They are computed on the CPU, so that all devices are measured with the same weights.
///
/// # Errors
/// An invalid network, or a batch that does not fit it.
pub fn scaled_weights(network: &Network, batch: &EventSet, density: f64, seed: u64) -> Result<Weights> {
    network.check()?;
    let widest = network.sizes()[1..].iter().copied().max().unwrap_or(1);
    let most = SCALING_POTENTIALS / (widest * network.time_steps);
    let mut input = batch.head(SCALING_SAMPLES.min(most.max(1)));
    let mut rng = random(seed, WEIGHTS_STREAM);
    let mut weights = Weights { layers: Vec::new() };
    let hidden = network.hidden.len();
    for (l, (rows, cols)) in network.weight_shapes().into_iter().enumerate() {
        let root = (rows as f64).sqrt();
        let normal: Vec<f64> = (0..rows * cols)
            .map(|_| {
                let x: f64 = StandardNormal.sample(&mut rng);
                x / root
            })
            .collect();
        let scaled = |scale: f64| Matrix { rows, cols, data: normal.iter().map(|w| (w * scale) as f32).collect() };
        // A network of this layer alone. A hidden layer gets a readout whose output is ignored.
        let alone = Network {
            inputs: network.fan_in()[l],
            hidden: network.hidden.iter().skip(l).take(1).cloned().collect(),
            ..network.clone()
        };
        if l == hidden {
            let mut engine = CpuEngine::new(&alone, Method::Sparse, &Weights { layers: vec![scaled(1.0)] })?;
            let target = match network.integrator().map(|readout| readout.logits) {
                Some(Logits::Sum | Logits::Mean) => 2.0 / network.time_steps as f64,
                _ => 0.5,
            };
            let deviation = deviation(&engine.inspect(&input)?.readout_v).max(1e-6);
            weights.layers.push(scaled(target / deviation));
            break;
        }
        let layer = &network.hidden[l];
        let readout = Matrix::zeros(layer.outputs(), network.classes());
        let weights_of = |scale: f64| Weights { layers: vec![scaled(scale), readout.clone()] };
        let mut engine = CpuEngine::new(&alone, Method::Sparse, &weights_of(1.0))?;
        let slots = (input.len() * network.time_steps * layer.neurons) as f64;
        let (mut low, mut high) = (1e-2, 1e3);
        for _ in 0..24 {
            let scale = f64::sqrt(low * high);
            engine.load(&TrainingState::new(weights_of(scale)))?;
            let spikes = engine.predict(&input)?.spikes[0] as f64;
            if spikes < density * slots { low = scale } else { high = scale }
        }
        // The last scale tried.
        let scale = f64::sqrt(low * high);
        engine.load(&TrainingState::new(weights_of(scale)))?;
        let seen = engine.inspect(&input)?;
        let mut spikes = EventSet::new(layer.outputs(), network.time_steps);
        let mut events = seen.spiking[0].spikes.iter().peekable();
        for (b, &label) in input.labels().iter().enumerate() {
            let own = std::iter::from_fn(|| events.next_if(|(sample, _)| *sample as usize == b));
            let pooled = |event: Event| Some((event.t(), layer.output_of(event.i())?));
            spikes.push(own.filter_map(|&(_, event)| pooled(event)), label)?;
        }
        weights.layers.push(scaled(scale));
        input = spikes;
    }
    Ok(weights)
}

fn deviation(values: &[f32]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    fn network(inputs: usize, hidden: &[usize], steps: usize) -> Network {
        let mut network = presets::paper("nmnist").unwrap().network;
        (network.inputs, network.time_steps) = (inputs, steps);
        network.set_hidden(hidden).unwrap();
        network
    }

    fn density(set: &EventSet) -> f64 {
        set.events().len() as f64 / (set.len() * set.neurons() * set.time_steps()) as f64
    }

    #[test]
    fn random_spikes_have_the_density_asked_for() {
        let network = network(120, &[4], 50);
        for wanted in [0.0, 0.012, 0.3, 1.0] {
            let set = random_spikes(&network, 40, wanted, 3).unwrap();
            let deviation = (wanted * (1.0 - wanted) / (40.0 * 6000.0)).sqrt();
            assert!((density(&set) - wanted).abs() <= 5.0 * deviation, "{wanted}: {}", density(&set));
            assert_eq!((set.len(), set.neurons(), set.time_steps()), (40, 120, 50));
            assert_eq!(set, random_spikes(&network, 40, wanted, 3).unwrap());
        }
        let set = random_spikes(&network, 40, 0.1, 3).unwrap();
        assert_ne!(set, random_spikes(&network, 40, 0.1, 4).unwrap());
        assert!(set.labels().iter().any(|&l| l > 4) && set.labels().iter().all(|&l| l < 10));
        for wrong in [-0.1, 1.5, f64::NAN] {
            assert!(matches!(random_spikes(&network, 1, wrong, 3), Err(Error::Field { .. })));
        }
    }

    #[test]
    fn every_hidden_layer_spikes_as_asked() {
        let network = network(100, &[60, 50], 60);
        let batch = random_spikes(&network, 16, 0.03, 1).unwrap();
        let weights = scaled_weights(&network, &batch, 0.02, 1).unwrap();
        let mut engine = CpuEngine::new(&network, Method::Sparse, &weights).unwrap();
        let spikes = engine.predict(&batch).unwrap().spikes;
        for (layer, n) in network.hidden.iter().zip(spikes) {
            let density = n as f64 / (16 * 60 * layer.neurons) as f64;
            assert!((density - 0.02).abs() < 0.001, "{density}");
        }
        let deviation = deviation(&engine.inspect(&batch).unwrap().readout_v);
        assert!((deviation - 0.5).abs() < 0.01, "{deviation}");
        assert_eq!(weights, scaled_weights(&network, &batch, 0.02, 1).unwrap());
    }
}
