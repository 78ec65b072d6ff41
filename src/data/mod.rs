//! Data sets: samples as spike events, their order, augmentation and validation; with the feature `data`, readers of the
//! published sets.

#[cfg(feature = "data")]
pub mod atis;
pub mod augment;
#[cfg(feature = "data")]
mod cache;
#[cfg(feature = "data")]
pub mod fashion_mnist;
#[cfg(feature = "data")]
mod gunzip;
#[cfg(feature = "data")]
pub mod idx;
pub mod latency;
#[cfg(feature = "data")]
mod load;
#[cfg(feature = "data")]
pub mod nmnist;
pub mod order;
#[cfg(feature = "data")]
mod recordings;
#[cfg(feature = "data")]
mod shared_file;
#[cfg(feature = "data")]
pub mod shd;
mod split;

#[cfg(feature = "data")]
pub use cache::Cache;
#[cfg(feature = "data")]
pub use load::{LoadOptions, load, load_with};
#[cfg(feature = "data")]
pub use recordings::{Bins, LoadProgress};
pub use split::Validation;

use crate::events::EventSet;
use std::sync::Arc;

/// The data set of a preset: the name up to the first `-`.
pub fn data_set(preset: &str) -> &str {
    preset.split('-').next().unwrap_or(preset)
}

/// The samples of a preset.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// Samples to train on.
    pub train: Arc<EventSet>,
    /// Training samples that were held out ([`Validation`]).
    pub validation: Option<EventSet>,
    /// Samples to test on.
    pub test: EventSet,
    /// What was read and from where, for people.
    pub origin: String,
    /// Whether this is the subset that is part of the program: enough to try things, not to report accuracies.
    pub subset: bool,
    /// What is wrong with each recording that was left out because it is damaged.
    pub bad: Vec<String>,
}

impl DataSet {
    /// Samples of one's own, to train and to test on.
    pub fn new(train: EventSet, test: EventSet) -> Self {
        DataSet {
            train: Arc::new(train),
            validation: None,
            test,
            origin: "samples in memory".into(),
            subset: false,
            bad: Vec::new(),
        }
    }

    /// What the epochs of a run are measured on: the samples held out, where there are some, else the test samples.
    pub fn measured(&self) -> &EventSet {
        self.validation.as_ref().unwrap_or(&self.test)
    }
}
