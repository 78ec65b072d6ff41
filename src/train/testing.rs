//! A fake device for tests. Its weights depend on every batch, step, moment and learning rate, so that a run that is not
//! continued exactly gives other weights.

use super::RunConfig;
use crate::engine::*;
use crate::error::{Error, Result};
use crate::events::{Event, EventSet};
use crate::network::Network;
use crate::optimiser::Adam;
use crate::presets;
use crate::weights::Weights;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Number of steps by which the fake device's reports are delayed.
const LAG: usize = 2;

/// 5-4-3-2 neurons, 6 time steps, 3 epochs of batches of 4.
pub(super) fn config() -> RunConfig {
    let mut config = presets::paper("fmnist").unwrap();
    config.network.inputs = 5;
    config.network.time_steps = 6;
    config.network.hidden[0].neurons = 4;
    config.network.hidden[1].neurons = 3;
    config.network.integrator_mut().unwrap().classes = 2;
    config.method = Method::Sparse;
    config.epochs = 3;
    config.batch = 4;
    config.seed = 11;
    config
}

/// `n` samples for the network of [`config`], determined by `seed`.
pub(super) fn events(n: usize, seed: u64) -> EventSet {
    let mut set = EventSet::new(5, 6);
    for sample in 0..n as u64 {
        let h = mix(seed.wrapping_mul(1000) + sample);
        let spikes = (0..4).map(|k| ((h >> (8 * k)) as usize % 6, (h >> (8 * k + 4)) as usize % 5));
        set.push(spikes, (h >> 60) as u32 % 2).unwrap();
    }
    set
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 31)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 32)
}

fn hash(set: &EventSet, seed: u64) -> u64 {
    let words =
        set.events().iter().map(|e| e.0).chain(set.labels().iter().copied()).chain(set.starts().iter().copied());
    words.fold(seed, |h, word| mix(h ^ u64::from(word)))
}

/// The fake device.
pub(super) struct FakeEngine {
    network: Network,
    pub(super) name: String,
    pub(super) state: TrainingState,
    /// Sizes of the batches trained, in order.
    pub(super) trained: Vec<usize>,
    /// The samples trained, in order.
    pub(super) samples: Vec<Vec<Event>>,
    /// The learning rate of each step.
    pub(super) rates: Vec<f64>,
    pub(super) evaluations: usize,
    /// Sets the flag after this many calls of `train` and `predict`.
    pub(super) stop_after: Option<(usize, Arc<AtomicBool>)>,
    /// The step whose loss is NaN.
    pub(super) nan_loss_at: Option<u64>,
    /// The step after which a weight is NaN.
    pub(super) nan_weight_at: Option<u64>,
    /// A layer that is dead and silent unless its sum of absolute weights reaches the given number.
    pub(super) dead: Option<(usize, f32)>,
    /// The last layer methods set.
    pub(super) layer_methods: Vec<LayerMethod>,
    pub(super) crossover: f64,
    pub(super) held: Option<Arc<EventSet>>,
    queued: Vec<StepReport>,
}

impl FakeEngine {
    pub(super) fn new(network: &Network) -> Self {
        FakeEngine {
            network: network.clone(),
            name: "fake".into(),
            state: TrainingState::new(Weights::init(network, 1)),
            trained: Vec::new(),
            samples: Vec::new(),
            rates: Vec::new(),
            evaluations: 0,
            stop_after: None,
            nan_loss_at: None,
            nan_weight_at: None,
            dead: None,
            layer_methods: Vec::new(),
            crossover: 1.0,
            held: None,
            queued: Vec::new(),
        }
    }

    fn count_call(&self) {
        if let Some((calls, flag)) = &self.stop_after
            && self.trained.len() + self.evaluations >= *calls
        {
            flag.store(true, Ordering::Relaxed);
        }
    }

    fn active(&self, layer: usize) -> u64 {
        let norm: f32 = self.state.weights.layers[layer].data.iter().map(|w| w.abs()).sum();
        match self.dead {
            Some((dead, wakes)) if dead == layer && norm < wakes => 0,
            _ => 1 + self.state.step % 3,
        }
    }
}

impl Engine for FakeEngine {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { kind: "cpu", name: self.name.clone(), detail: String::new() }
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn load(&mut self, state: &TrainingState) -> Result<()> {
        state.weights.check(&self.network)?;
        self.state = state.clone();
        Ok(())
    }

    fn store(&mut self) -> Result<TrainingState> {
        Ok(self.state.clone())
    }

    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        self.layer_methods = methods.to_vec();
        Ok(())
    }

    fn crossover(&self) -> f64 {
        self.crossover
    }

    fn hold(&mut self, set: Arc<EventSet>) -> Result<()> {
        self.held = Some(set);
        Ok(())
    }

    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()> {
        let set = check_samples(self.held.as_ref(), samples)?;
        let mut batch = EventSet::new(0, 0);
        batch.gather(&set, samples);
        self.train(&batch, adam)
    }

    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()> {
        self.state.step += 1;
        let step = self.state.step;
        let h = hash(batch, step);
        let TrainingState { weights, first, second, .. } = &mut self.state;
        for l in 0..weights.layers.len() {
            for (k, w) in weights.layers[l].data.iter_mut().enumerate() {
                let gradient = (mix(h ^ (l * 1000 + k) as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
                let m = &mut first.layers[l].data[k];
                let v = &mut second.layers[l].data[k];
                *m = 0.9 * *m + 0.1 * gradient;
                *v = 0.99 * *v + 0.01 * gradient * gradient;
                *w -= adam.lr as f32 * *m / (v.sqrt() + 1e-8);
            }
        }
        if self.nan_weight_at == Some(step) {
            self.state.weights.layers[1].data[0] = f32::NAN;
        }
        let cross_entropy = if self.nan_loss_at == Some(step) { f64::NAN } else { (h >> 11) as f64 * 1e-15 };
        let active: Vec<u64> = (0..2).map(|l| self.active(l)).collect();
        let spikes = |l: usize, n| if active[l] > 0 { n } else { 0 };
        self.queued.push(StepReport {
            step,
            samples: batch.len(),
            loss: LossTerms { task: cross_entropy, upper: 0.1 / step as f64, lower: 0.0 },
            correct: batch.len() / 2,
            spikes: vec![batch.events().len() as u64, spikes(0, step % 5 + 1), spikes(1, 2)],
            active,
            not_finite: None,
        });
        self.trained.push(batch.len());
        self.samples.extend((0..batch.len()).map(|b| batch.sample(b).to_vec()));
        self.rates.push(adam.lr);
        self.count_call();
        Ok(())
    }

    fn reports(&mut self, wait: bool) -> Result<Vec<StepReport>> {
        let ready = if wait { self.queued.len() } else { self.queued.len().saturating_sub(LAG) };
        Ok(self.queued.drain(..ready).collect())
    }

    fn predict(&mut self, batch: &EventSet) -> Result<Prediction> {
        let n = batch.len();
        let logits = (0..n).flat_map(|b| {
            let bits = batch.sample(b).iter().fold(self.state.step, |h, e| mix(h ^ u64::from(e.0)));
            [(bits >> 40) as f32 + self.state.weights.layers[0].data[0] * 0.0, (1 << 23) as f32]
        });
        let logits = logits.collect();
        self.evaluations += 1;
        self.count_call();
        Ok(Prediction::new(logits, 2, vec![n as u64; 2]))
    }

    fn forward(&mut self, _batch: &EventSet) -> Result<Forward> {
        Err(Error::Unsupported("the fake device takes no gradients from outside".into()))
    }

    fn backward(&mut self, _pass: Forward, _logit_gradient: &[f32]) -> Result<Weights> {
        Err(Error::Unsupported("the fake device takes no gradients from outside".into()))
    }

    fn update(&mut self, _gradient: &Weights, _adam: &Adam) -> Result<()> {
        Err(Error::Unsupported("the fake device takes no gradients from outside".into()))
    }

    fn inspect(&mut self, _: &EventSet) -> Result<Inspection> {
        Err(Error::Unsupported("the fake device cannot inspect".into()))
    }

    fn profile(&mut self, _: &EventSet, _: &Adam) -> Result<Profile> {
        Err(Error::Unsupported("the fake device cannot profile".into()))
    }

    fn state_bytes(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}
