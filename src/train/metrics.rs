//! Metrics of an epoch.

#[cfg(feature = "runs")]
mod file;

#[cfg(feature = "runs")]
pub use file::{append, read, truncate_after};

use super::rescue::Rescue;
use crate::engine::{DeviceMemory, LossTerms, Traffic};
use serde::{Deserialize, Serialize};

/// Metrics of an epoch, a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Mean loss per training sample: the sum of `loss_terms`.
    pub loss: f64,
    /// Mean loss terms per training sample.
    pub loss_terms: LossTerms,
    /// Fraction of training samples that were classified correctly when they were trained in this epoch.
    pub train_accuracy: f64,
    /// Fraction of test samples that are classified correctly at the end of the epoch, or of validation samples, if the
    /// run has any.
    pub test_accuracy: f64,
    /// Active entries / (samples · T · N) of each hidden layer, in training.
    pub activity: Vec<f64>,
    /// Spikes / (samples · T · N) of each hidden layer, in training.
    pub spike_density: Vec<f64>,
    /// Seconds spent training, without testing.
    pub train_seconds: f64,
    /// What the exchanges with other ranks took of `train_seconds` on rank 0; omitted if there are no ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Traffic>,
    /// Seconds spent testing.
    pub test_seconds: f64,
    /// The layer re-initialised at the end of the epoch; omitted if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescued: Option<Rescue>,
    /// Memory at the end of the epoch.
    #[serde(default)]
    pub memory: MemoryRecord,
}

/// Memory use. It should stay constant from epoch to epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryRecord {
    /// Resident memory of the process in bytes; omitted if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u64>,
    /// Statistics of the device's allocator; omitted if unknown, and for the cpu device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceMemory>,
}
