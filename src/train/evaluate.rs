//! Evaluation on a test set.

use super::Confusion;
use crate::engine::{Engine, first_largest};
use crate::error::{Error, Result};
use crate::events::EventSet;

/// Results on a test set.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TestResult {
    /// Number of samples.
    pub samples: u64,
    /// Number of correctly classified samples: the first largest logit is that of the label.
    pub correct: u64,
    /// Mean task loss of a sample, without regularisers.
    pub loss: f64,
    /// Spikes of each spiking layer.
    pub spikes: Vec<u64>,
    /// Samples by label and predicted class.
    pub confusion: Confusion,
    /// The numbers of the wrongly classified samples, ascending.
    pub wrong: Vec<u32>,
}

impl TestResult {
    /// Fraction of correctly classified samples.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.samples as f64
    }
}

/// Classifies all samples of `set` in batches of `batch` samples.
///
/// # Errors
/// [`Error::Data`] for an empty set, [`Error::Field`] if `batch` is 0, [`Error::NotFinite`] naming a sample with a logit
/// that is not finite, and errors of the device.
pub fn evaluate(engine: &mut dyn Engine, set: &EventSet, batch: usize) -> Result<TestResult> {
    evaluate_while(engine, set, batch, &mut || true)
}

/// [`evaluate`], which asks before each batch whether to go on, and otherwise returns the result so far.
pub(super) fn evaluate_while(
    engine: &mut dyn Engine,
    set: &EventSet,
    batch: usize,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<TestResult> {
    let (mut correct, mut samples, mut loss) = (0, 0, 0.0);
    let task = engine.network().loss;
    let mut confusion = Confusion::new(engine.network().classes());
    let mut wrong = Vec::new();
    let spikes = classify_while(engine, set, batch, go_on, |sample| {
        samples += 1;
        match sample.class == sample.label as usize {
            true => correct += 1,
            false => wrong.push(sample.sample as u32),
        }
        confusion.add(sample.label as usize, sample.class);
        loss += task.of(sample.logits, sample.label as usize);
        Ok(())
    })?;
    Ok(TestResult { samples, correct, loss: loss / samples as f64, spikes, confusion, wrong })
}

/// A classified sample.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Classified<'a> {
    /// Its number in the set.
    pub sample: usize,
    /// Its label; [`EventSet::UNLABELLED`] if it has none.
    pub label: u32,
    /// The predicted class: that of the first largest logit.
    pub class: usize,
    /// \[C\].
    pub logits: &'a [f32],
}

/// Classifies all samples of `set` in batches of `batch` samples and passes them to `take`, in order. Returns the spikes of each
/// spiking layer.
///
/// # Errors
/// Those of [`evaluate`] and of `take`.
pub fn classify(
    engine: &mut dyn Engine,
    set: &EventSet,
    batch: usize,
    take: impl FnMut(Classified) -> Result<()>,
) -> Result<Vec<u64>> {
    classify_while(engine, set, batch, &mut || true, take)
}

/// [`classify`], which asks before each batch whether to go on.
fn classify_while(
    engine: &mut dyn Engine,
    set: &EventSet,
    batch: usize,
    go_on: &mut dyn FnMut() -> bool,
    mut take: impl FnMut(Classified) -> Result<()>,
) -> Result<Vec<u64>> {
    if set.is_empty() {
        return Err(Error::Data("the test set has no samples".into()));
    }
    if batch == 0 {
        return Err(Error::field("batch", 0, "1 or more"));
    }
    let classes = engine.network().classes();
    let mut spikes = vec![0; engine.network().spiking().count()];
    let samples: Vec<u32> = (0..set.len() as u32).collect();
    let mut part = EventSet::new(0, 0);
    for chunk in samples.chunks(batch) {
        if !go_on() {
            break;
        }
        part.gather(set, chunk);
        let output = engine.predict_together(&part)?;
        if output.logits.len() != chunk.len() * classes {
            return Err(Error::Device(format!(
                "the device returned {} logits for {} samples of {classes} classes",
                output.logits.len(),
                chunk.len()
            )));
        }
        for ((logits, &label), sample) in output.logits.chunks(classes).zip(part.labels()).zip(chunk.iter().copied()) {
            if let Some(bad) = logits.iter().find(|x| !x.is_finite()) {
                return Err(Error::NotFinite(format!(
                    "test sample {sample}: a logit is {bad}; the weights are too large. Train with a lower learning rate"
                )));
            }
            take(Classified { sample: sample as usize, label, class: first_largest(logits), logits })?;
        }
        for (sum, n) in spikes.iter_mut().zip(&output.spikes) {
            *sum += n;
        }
    }
    Ok(spikes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::{FakeEngine, config, events};

    #[test]
    fn every_sample_counts_once_whatever_the_batch() {
        let network = config().network;
        let set = events(7, 3);
        let mut engine = FakeEngine::new(&network);
        let whole = evaluate(&mut engine, &set, 100).unwrap();
        assert_eq!((whole.samples, whole.spikes.clone()), (7, vec![7, 7]));
        assert!(whole.correct > 0 && whole.correct < 7, "{whole:?}");
        for batch in 1..7 {
            assert_eq!(evaluate(&mut engine, &set, batch).unwrap(), whole);
        }
    }

    #[test]
    fn what_cannot_be_tested_is_refused() {
        let network = config().network;
        let mut engine = FakeEngine::new(&network);
        assert!(matches!(evaluate(&mut engine, &events(0, 0), 4), Err(Error::Data(_))));
        assert!(matches!(evaluate(&mut engine, &events(3, 0), 0), Err(Error::Field { .. })));
        engine.state.weights.layers[0].data[0] = f32::NAN;
        let error = evaluate(&mut engine, &events(3, 0), 4).unwrap_err();
        assert!(matches!(&error, Error::NotFinite(_)) && error.to_string().contains("sample 0"), "{error}");
    }
}
