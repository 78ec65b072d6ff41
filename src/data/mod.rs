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
#[cfg(feature = "runs")]
pub mod own;
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

/// The name of data that are no preset's.
pub const OWN: &str = "own";

/// Samples to train and to test on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DataSet {
    /// Samples to train on.
    pub train: Arc<EventSet>,
    /// Training samples that were held out ([`Validation`]).
    pub validation: Option<EventSet>,
    /// Samples to test on.
    pub test: EventSet,
    /// The data set's name in titles: `Fashion-MNIST`.
    pub name: String,
    /// What each class is called; empty if nobody said.
    pub class_names: Vec<String>,
    /// What was read and from where, for people.
    pub origin: String,
    /// Whether this is the subset that is part of the program: enough to try things, not to report accuracies.
    pub subset: bool,
    /// What is wrong with each recording that was left out because it is damaged.
    pub bad: Vec<String>,
}

impl DataSet {
    /// Data of one's own.
    ///
    /// ```
    /// # use spikegrad::{data::DataSet, events::EventSet};
    /// let (mut train, mut test) = (EventSet::new(700, 100), EventSet::new(700, 100));
    /// train.push([(0, 3), (42, 699)], 1)?; // (time step, input neuron) of each spike, and the class
    /// test.push([(1, 3)], 0)?;
    /// let data = DataSet::new(train, test).named("taps").class_names(["left", "right"]);
    /// # Ok::<(), spikegrad::Error>(())
    /// ```
    pub fn new(train: EventSet, test: EventSet) -> Self {
        let origin = format!("{} + {} samples in memory", train.len(), test.len());
        DataSet {
            train: Arc::new(train),
            validation: None,
            test,
            name: OWN.into(),
            class_names: Vec::new(),
            origin,
            subset: false,
            bad: Vec::new(),
        }
    }

    /// Sets the data set's name in titles.
    pub fn named(self, name: impl Into<String>) -> Self {
        DataSet { name: name.into(), ..self }
    }

    /// Sets what each class is called.
    pub fn class_names<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        DataSet { class_names: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets the samples that epochs are measured on; the test samples are then left for the end.
    pub fn validation(self, validation: EventSet) -> Self {
        DataSet { validation: Some(validation), ..self }
    }

    /// What the epochs of a run are measured on: the samples held out, where there are some, else the test samples.
    pub fn measured(&self) -> &EventSet {
        self.validation.as_ref().unwrap_or(&self.test)
    }
}
