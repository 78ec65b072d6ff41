//! Progress of a run, stored in checkpoints.

use crate::engine::{LayerMethod, LossTerms, StepReport, Traffic};
use crate::events::EventSet;
use crate::network::Network;
use serde::{Deserialize, Serialize};

/// Progress of a run. There is no random state: sample order, augmentation and re-initialised weights are pure functions
/// of the seed and of these numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Progress {
    /// Number of updates.
    pub step: u64,
    /// Number of epochs finished: trained, tested and written to the metrics.
    pub epoch: u64,
    /// Batches done in the current epoch.
    pub batches: u64,
    /// How often each spiking layer was re-initialised.
    pub rescues: Vec<u64>,
    /// The method of each layer if the run's method is `auto`, otherwise empty.
    #[serde(default)]
    pub layer_methods: Vec<LayerMethod>,
    /// Description of the device that trained last.
    pub device: String,
    /// The learning rate since it was changed by hand ([`Intervention`](super::Intervention)); omitted if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// The best epoch.
    pub best: Option<Best>,
    /// Identifies the run's data.
    pub data: DataMark,
    /// Sums over the batches done in the current epoch.
    pub sums: EpochSums,
}

/// The epoch with the best test accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Fraction of test samples classified correctly.
    pub test_accuracy: f64,
}

/// Identifies data sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataMark {
    /// Number of training samples.
    pub train_samples: u64,
    /// Number of test samples.
    pub test_samples: u64,
    /// A hash of all events and labels.
    pub hash: String,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EpochSums {
    /// Number of samples.
    pub samples: u64,
    /// Number of samples classified correctly.
    pub correct: u64,
    /// Spikes of the input, then of each spiking layer.
    pub spikes: Vec<u64>,
    /// Active entries of each spiking layer.
    pub active: Vec<u64>,
    /// Seconds spent training.
    pub seconds: f64,
    /// What exchanges between ranks took of these.
    #[serde(default)]
    pub exchange: Traffic,
    /// Loss terms, summed over the samples.
    pub loss: LossTerms,
}

impl Progress {
    /// The progress of a run that begins.
    pub fn new(network: &Network, data: DataMark, device: String) -> Self {
        Progress {
            step: 0,
            epoch: 0,
            batches: 0,
            rescues: vec![0; network.spiking().count()],
            layer_methods: Vec::new(),
            device,
            lr: None,
            best: None,
            data,
            sums: EpochSums::new(network),
        }
    }

    /// Whether the lists have one element per layer, and the learning rate is one, which is not certain for files.
    #[cfg(feature = "runs")]
    pub(crate) fn fits(&self, network: &Network) -> bool {
        let spiking = network.spiking().count();
        let methods = self.layer_methods.len();
        (methods == 0 || methods == network.hidden.len() + 1)
            && self.lr.is_none_or(|lr| lr.is_finite() && lr > 0.0)
            && self.rescues.len() == spiking
            && self.sums.active.len() == spiking
            && self.sums.spikes.len() == spiking + 1
    }
}

impl DataMark {
    /// The mark of a training and a test set.
    pub fn new(train: &EventSet, test: &EventSet) -> Self {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for set in [train, test] {
            hash.words([set.neurons() as u32, set.time_steps() as u32]);
            hash.words(set.starts().iter().copied());
            hash.words(set.labels().iter().copied());
            hash.words(set.events().iter().map(|event| event.0));
        }
        DataMark {
            train_samples: train.len() as u64,
            test_samples: test.len() as u64,
            hash: format!("{:016x}", hash.0),
        }
    }
}

/// FNV-1a over words instead of bytes. The standard library's hasher may change from version to version.
struct Fnv(u64);

impl Fnv {
    fn words(&mut self, words: impl IntoIterator<Item = u32>) {
        for word in words {
            self.0 = (self.0 ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl EpochSums {
    /// Sums over no steps.
    pub fn new(network: &Network) -> Self {
        let spiking = network.spiking().count();
        EpochSums { spikes: vec![0; spiking + 1], active: vec![0; spiking], ..EpochSums::default() }
    }

    /// Adds a step.
    pub fn add(&mut self, report: &StepReport) {
        self.samples += report.samples as u64;
        self.correct += report.correct as u64;
        self.loss.add(&report.loss);
        for (sum, n) in self.spikes.iter_mut().zip(&report.spikes) {
            *sum += n;
        }
        for (sum, n) in self.active.iter_mut().zip(&report.active) {
            *sum += n;
        }
    }

    /// Mean loss terms per sample; NaN before the first.
    pub fn mean_loss(&self) -> LossTerms {
        self.loss.divided(self.samples as f64)
    }

    /// Fraction of samples classified correctly; NaN before the first.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.samples as f64
    }

    /// Active entries / (samples · T · N) of each spiking layer.
    pub fn activity(&self, network: &Network) -> Vec<f64> {
        self.densities(network, &self.active)
    }

    /// Spikes / (samples · T · N) of each spiking layer.
    pub fn spike_density(&self, network: &Network) -> Vec<f64> {
        self.densities(network, self.spikes.get(1..).unwrap_or_default())
    }

    fn densities(&self, network: &Network, counts: &[u64]) -> Vec<f64> {
        let rows = self.samples as f64 * network.time_steps as f64;
        network.spiking().zip(counts).map(|(layer, &n)| n as f64 / (rows * layer.neurons as f64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing;

    #[test]
    fn densities_are_fractions_of_all_entries() {
        let network = testing::config().network;
        let mut sums = EpochSums::new(&network);
        let entries: Vec<u64> = network.hidden.iter().map(|l| (l.neurons * network.time_steps) as u64).collect();
        let report = StepReport {
            step: 1,
            samples: 2,
            loss: LossTerms { task: 3.0, upper: 1.0, lower: 0.5 },
            correct: 1,
            spikes: vec![9, entries[0], 2 * entries[1]],
            active: vec![entries[0] / 2, 0],
            not_finite: None,
        };
        sums.add(&report);
        assert_eq!(sums.spike_density(&network), [0.5, 1.0]);
        assert_eq!(sums.activity(&network), [0.25, 0.0]);
        assert_eq!((sums.accuracy(), sums.mean_loss().total()), (0.5, 2.25));
    }

    #[test]
    fn every_part_of_the_data_is_in_the_mark() {
        let (train, test) = (testing::events(5, 1), testing::events(3, 2));
        let mark = DataMark::new(&train, &test);
        assert_eq!(mark, DataMark::new(&train.clone(), &test));
        let mut other = train.head(4);
        other.push(train.sample(4).iter().map(|e| (e.t(), e.i())), 1 - train.labels()[4]).unwrap();
        assert_ne!(mark.hash, DataMark::new(&other, &test).hash);
        assert_ne!(mark.hash, DataMark::new(&test, &train).hash);
    }
}
