//! Data sets: samples as spike events, their order, augmentation and validation, and, with the feature `data`, readers for
//! published data sets.

#[cfg(feature = "data")]
pub mod atis;
pub mod augment;
#[cfg(feature = "data")]
mod cache;
#[cfg(feature = "data")]
mod doubts;
#[cfg(feature = "data")]
mod dropped;
#[cfg(feature = "data")]
pub mod fashion_mnist;
#[cfg(feature = "data")]
mod formats;
#[cfg(feature = "data")]
mod gunzip;
#[cfg(feature = "data")]
pub mod idx;
#[cfg(feature = "data")]
mod idx_files;
pub mod latency;
#[cfg(feature = "data")]
mod load;
#[cfg(feature = "data")]
mod mapping;
#[cfg(feature = "data")]
pub mod nmnist;
pub mod order;
#[cfg(feature = "runs")]
pub mod own;
pub mod picture;
#[cfg(feature = "data")]
mod recorded;
#[cfg(feature = "data")]
mod recordings;
#[cfg(feature = "data")]
mod samples;
#[cfg(feature = "data")]
mod shared_file;
#[cfg(feature = "data")]
pub mod shd;
mod source;
mod split;
#[cfg(feature = "data")]
mod survey;

#[cfg(feature = "data")]
pub use cache::Cache;
#[cfg(feature = "data")]
pub use load::{LoadOptions, load, load_surveyed, load_with};
#[cfg(feature = "data")]
pub(crate) use recorded::keeps_shape;
#[cfg(feature = "data")]
pub use recordings::{Bins, LoadProgress};
pub use source::{Clock, DataConfig, Polarity, Shape};
pub use split::Validation;
#[cfg(feature = "data")]
pub use survey::{Facts, Survey, published, survey};

use crate::error::{Error, Result, short_name};
use crate::events::EventSet;
use std::sync::Arc;

/// The data set of a preset: the part of its name before the first `-`.
pub fn data_set(preset: &str) -> &str {
    preset.split('-').next().unwrap_or(preset)
}

/// Whether the folder or file has samples to classify alone: a test half, but no training half.
#[cfg(feature = "data")]
pub fn has_test_alone(path: &std::path::Path) -> bool {
    formats::has_test_alone(path)
}

/// The name of data in files of any of the formats of docs/data.md.
pub const EVENTS: &str = "events";

/// The name of custom data, which belong to no preset.
pub const OWN: &str = "own";

/// Training, validation and test samples.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DataSet {
    /// Training samples.
    pub train: Arc<EventSet>,
    /// Training samples held out for validation ([`Validation`]).
    pub validation: Option<EventSet>,
    /// Test samples.
    pub test: EventSet,
    /// The file of each test sample, if each has one of its own and they are to be classified; else empty.
    pub test_files: Vec<String>,
    /// The number of each test sample in its file or folder, if damaged ones before it were skipped; else empty.
    pub test_numbers: Vec<usize>,
    /// Display name: `Fashion-MNIST`.
    pub name: String,
    /// Names of the classes; empty if unknown.
    pub class_names: Vec<String>,
    /// The maps that the inputs form; `None` if unknown.
    pub shape: Option<Shape>,
    /// Description of what was read and from where.
    pub origin: String,
    /// Whether this is the built-in subset, which is too small for reporting accuracies.
    pub subset: bool,
    /// Errors of the damaged recordings that were skipped.
    pub bad: Vec<String>,
    /// What is suspicious about the data, with a remedy.
    pub warnings: Vec<String>,
    /// Whether the samples are images in the latency code ([`latency`]).
    pub latency_coded: bool,
}

impl DataSet {
    /// Custom data.
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
            test_files: Vec::new(),
            test_numbers: Vec::new(),
            name: OWN.into(),
            class_names: Vec::new(),
            shape: None,
            origin,
            subset: false,
            bad: Vec::new(),
            warnings: Vec::new(),
            latency_coded: false,
        }
    }

    /// Sets the display name.
    pub fn named(self, name: impl Into<String>) -> Self {
        DataSet { name: name.into(), ..self }
    }

    /// Sets the names of the classes.
    pub fn class_names<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        DataSet { class_names: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// Checks that there are no names of classes, or one for each.
    pub(crate) fn check_class_names(&self, classes: usize) -> Result<()> {
        match self.class_names.len() {
            0 => Ok(()),
            names if names == classes => Ok(()),
            names => Err(Error::Data(format!(
                "{names} names for {classes} classes; give each class a name, or none (class_names)"
            ))),
        }
    }

    /// Sets the maps that the inputs form, which shifting and mirroring samples ([`augment`]) requires.
    pub fn shape(self, shape: Shape) -> Self {
        DataSet { shape: Some(shape), ..self }
    }

    /// Sets validation samples, which are evaluated after each epoch. Test samples are then only used at the end.
    pub fn validation(self, validation: EventSet) -> Self {
        DataSet { validation: Some(validation), ..self }
    }

    /// The number of test sample `k` in its file or folder, where damaged samples count.
    pub fn test_number(&self, k: usize) -> usize {
        self.test_numbers.get(k).copied().unwrap_or(k)
    }

    /// A class for messages: `3 (Dress)`, or `3` without a name. Long names are truncated.
    pub fn class(&self, class: usize) -> String {
        match self.shown_name(class) {
            Some(name) => format!("{class} ({name})"),
            None => class.to_string(),
        }
    }

    /// A class for titles: `Dress`, or `class 3` without a name. Long names are truncated.
    pub fn class_name(&self, class: usize) -> String {
        self.shown_name(class).unwrap_or_else(|| format!("class {class}"))
    }

    fn shown_name(&self, class: usize) -> Option<String> {
        self.class_names.get(class).and_then(|name| short_name(name))
    }

    /// The samples that are evaluated after each epoch: the validation samples if there are any, else the test samples.
    pub fn measured(&self) -> &EventSet {
        self.validation.as_ref().unwrap_or(&self.test)
    }
}
