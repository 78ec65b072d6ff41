//! The reference as an engine, and as a device for golden cases.

use super::Reference;
use super::formulas::{recurrence, widen};
use crate::engine::{
    DeviceInfo, Engine, Forward, Inspection, LayerInspection, LayerMethod, Prediction, Profile, StepReport,
    TrainingState, check_batch, check_held, check_layer_methods, check_samples,
};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::golden::case::DeltaInputs;
use crate::golden::conformance::ConformanceDevice;
use crate::network::Network;
use crate::optimiser::Adam;
use crate::weights::Weights;
use std::sync::Arc;

impl Engine for Reference {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { kind: "cpu", name: "reference".into(), detail: "dense, f64".into() }
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn load(&mut self, state: &TrainingState) -> Result<()> {
        for weights in [&state.weights, &state.first, &state.second] {
            weights.check(&self.network)?;
        }
        self.step = state.step;
        (self.weights, self.first, self.second) = (widen(&state.weights), widen(&state.first), widen(&state.second));
        Ok(())
    }

    fn store(&mut self) -> Result<TrainingState> {
        let [weights, first, second] = [&self.weights, &self.first, &self.second].map(|layers| self.weights_of(layers));
        Ok(TrainingState { step: self.step, weights, first, second })
    }

    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        check_layer_methods(&self.network, self.method(), methods)
    }

    fn hold(&mut self, set: Arc<EventSet>) -> Result<()> {
        check_held(&self.network, &set)?;
        self.held = Some(set);
        Ok(())
    }

    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()> {
        let mut batch = EventSet::new(0, 0);
        batch.gather(&*check_samples(self.held.as_ref(), samples)?, samples);
        self.train(&batch, adam)
    }

    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()> {
        check_batch(&self.network, batch)?;
        let (seen, gradient, correct) = self.pass(batch);
        self.step += 1;
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        let (correction1, correction2) = (correction(adam.beta1), correction(adam.beta2));
        let moments = self.first.iter_mut().flatten().zip(self.second.iter_mut().flatten());
        let all = self.weights.iter_mut().flatten().zip(moments).zip(gradient.iter().flatten());
        for ((w, (m, v)), g) in all {
            *m = adam.beta1 * *m + (1.0 - adam.beta1) * g;
            *v = adam.beta2 * *v + (1.0 - adam.beta2) * g * g;
            let step = (*m / correction1) / ((*v / correction2).sqrt() + adam.epsilon);
            *w -= adam.lr * (step + adam.weight_decay * *w);
        }
        let counts = |count: fn(&LayerInspection) -> usize| seen.spiking.iter().map(move |layer| count(layer) as u64);
        self.reports.push(StepReport {
            step: self.step,
            samples: batch.len(),
            loss: seen.loss,
            correct,
            spikes: [batch.events().len() as u64].into_iter().chain(counts(|layer| layer.spikes.len())).collect(),
            active: counts(|layer| layer.active.len()).collect(),
            not_finite: None,
        });
        Ok(())
    }

    fn reports(&mut self, _wait: bool) -> Result<Vec<StepReport>> {
        Ok(std::mem::take(&mut self.reports))
    }

    fn predict(&mut self, batch: &EventSet) -> Result<Prediction> {
        let seen = self.inspect(&batch.labelled())?;
        let spikes = seen.spiking.iter().map(|layer| layer.spikes.len() as u64).collect();
        Ok(Prediction::new(seen.logits, self.network.classes(), spikes))
    }

    fn forward(&mut self, _batch: &EventSet) -> Result<Forward> {
        Err(Error::Unsupported("the reference takes no gradients from outside".into()))
    }

    fn backward(&mut self, _pass: Forward, _logit_gradient: &[f32]) -> Result<Weights> {
        Err(Error::Unsupported("the reference takes no gradients from outside".into()))
    }

    fn update(&mut self, _gradient: &Weights, _adam: &Adam) -> Result<()> {
        Err(Error::Unsupported("the reference takes no gradients from outside".into()))
    }

    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection> {
        check_batch(&self.network, batch)?;
        Ok(self.pass(batch).0)
    }

    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile> {
        self.train(batch, adam)?;
        Ok(Profile::default())
    }

    fn state_bytes(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// The reference engine as a device for golden cases.
pub(crate) struct ReferenceDevice;

impl ConformanceDevice for ReferenceDevice {
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>> {
        Ok(Box::new(Reference::new(network, weights)?))
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>> {
        let neurons = inputs.error.chunks_exact(inputs.time_steps);
        let error = neurons.map(|row| row.iter().map(|&e| f64::from(e)).collect::<Vec<_>>());
        let delta = error.flat_map(|error| recurrence(inputs.alpha, &error, 1));
        Ok(delta.zip(&inputs.needed).map(|(delta, &needed)| if needed { delta as f32 } else { 0.0 }).collect())
    }
}
