//! What is known of an epoch when it is done.

#[cfg(feature = "runs")]
mod file;

#[cfg(feature = "runs")]
pub use file::{append, read, truncate_after};

use super::rescue::Rescue;
use crate::engine::{DeviceMemory, LossTerms};
use serde::{Deserialize, Serialize};

/// An epoch: a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Mean loss of a training sample: the sum of `loss_terms`.
    pub loss: f64,
    /// Its terms.
    pub loss_terms: LossTerms,
    /// Fraction of training samples that were right when the epoch came to them.
    pub train_accuracy: f64,
    /// Fraction of all test samples that are right at the end of the epoch; of those held out for validation, where the run
    /// has some.
    pub test_accuracy: f64,
    /// Active entries / (samples · T · N) of each hidden layer, in training.
    pub activity: Vec<f64>,
    /// Spikes / (samples · T · N) of each hidden layer, in training.
    pub spike_density: Vec<f64>,
    /// Seconds spent training, the test not counted.
    pub train_seconds: f64,
    /// Seconds spent testing.
    pub test_seconds: f64,
    /// The layer drawn anew at the end of the epoch; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescued: Option<Rescue>,
    /// Memory at the end of the epoch.
    #[serde(default)]
    pub memory: MemoryRecord,
}

/// What a run takes: the same, epoch after epoch, or something is leaking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryRecord {
    /// Bytes of the process in the machine's memory; left out where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u64>,
    /// What the device's allocator reports; left out where it does not, and of the cpu device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceMemory>,
}
