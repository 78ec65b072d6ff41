//! Where the data of a run are, and how they are read: `[data]` of a configuration.

use crate::error::{Error, Result};
use crate::network::MAX_EXTENT;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;

/// Maps of inputs: channels of `height` × `width`. In a configuration `[channels, height, width]`.
///
/// Input neurons are numbered by channel, then row, then column, as a [`Convolution`](crate::network::Convolution) sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[usize; 3]", into = "[usize; 3]")]
pub struct Shape {
    /// Number of maps.
    pub channels: usize,
    /// Rows of a map.
    pub height: usize,
    /// Columns of a map.
    pub width: usize,
}

impl From<[usize; 3]> for Shape {
    fn from([channels, height, width]: [usize; 3]) -> Self {
        Shape { channels, height, width }
    }
}

impl From<Shape> for [usize; 3] {
    fn from(shape: Shape) -> Self {
        [shape.channels, shape.height, shape.width]
    }
}

impl Shape {
    /// A row of `inputs` neurons, such as the channels of a sound.
    pub fn row(inputs: usize) -> Self {
        Shape { channels: 1, height: 1, width: inputs }
    }

    /// Number of input neurons.
    pub fn inputs(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }
}

impl fmt::Display for Shape {
    /// `34 × 34`, or `2 × 34 × 34` with several channels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.channels != 1 {
            write!(f, "{} × ", self.channels)?;
        }
        write!(f, "{} × {}", self.height, self.width)
    }
}

/// What time 0 of a recording is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Time 0 of the file.
    #[default]
    Recording,
    /// The time of the recording's first event, for files with absolute times.
    FirstEvent,
}

/// How the two polarities of an event camera become input neurons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Polarity {
    /// Both polarities of a pixel share a neuron.
    #[default]
    Merged,
    /// A map for each polarity: darker, then brighter.
    Separate,
}

/// Where the data are and how they are read. In a configuration a table, or just the path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct DataConfig {
    /// The folder or file with the data; if not set, the default locations are searched.
    pub path: Option<PathBuf>,
    /// What time 0 of a recording is.
    pub clock: Clock,
    /// How polarities become neurons (`events`).
    pub polarity: Polarity,
    /// The maps that the inputs form; if not set, they are taken from the data. For an event camera that is the size of its sensor.
    pub shape: Option<Shape>,
    /// Fraction of the samples that becomes the test set if the data have none (`events`), between 0 and 1.
    pub test_fraction: f64,
    /// Seed of the selection of these samples.
    pub test_seed: u64,
    /// Names of the classes, in the order of their labels; `train` takes them from the data if not set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            path: None,
            clock: Clock::default(),
            polarity: Polarity::default(),
            shape: None,
            test_fraction: 0.2,
            test_seed: 0,
            class_names: Vec::new(),
        }
    }
}

impl DataConfig {
    /// Data at this path, read with the defaults.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        DataConfig { path: Some(path.into()), ..DataConfig::default() }
    }

    /// Refuses fields that the published data set `of` does not use.
    ///
    /// # Errors
    /// [`Error::Field`].
    pub(crate) fn check_use(&self, of: &str) -> Result<()> {
        let usual = DataConfig::default();
        let shape = self.shape.map(|shape| ("data.shape", shape.to_string()));
        let polarity = (self.polarity != usual.polarity).then(|| ("data.polarity", "separate".into()));
        let clock = (self.clock != usual.clock).then(|| ("data.clock", "first_event".into()));
        let fraction = self.test_fraction;
        let test = (fraction != usual.test_fraction).then(|| ("data.test_fraction", fraction.to_string()));
        let seed = (self.test_seed != usual.test_seed).then(|| ("data.test_seed", self.test_seed.to_string()));
        let (unused, why) = match of {
            "fmnist" => {
                (vec![shape, polarity, clock, test, seed], "its images have their own shape, and it has a test set")
            }
            "nmnist" => (vec![test, seed], "it has a test set"),
            "shd" => {
                (vec![shape, polarity, test, seed], "its inputs are the channels of a sound, and it has a test set")
            }
            _ => return Ok(()),
        };
        match unused.into_iter().flatten().next() {
            Some((field, value)) => Err(Error::field(field, value, format!("left out for {of}: {why}"))),
            None => Ok(()),
        }
    }

    /// Checks the fields, independent of the data.
    ///
    /// # Errors
    /// [`Error::Field`].
    pub fn check(&self) -> Result<()> {
        if let Some(shape) = self.shape
            && !(1..=MAX_EXTENT).contains(&shape.inputs())
        {
            let want = format!("[channels, height, width] of 1 to {MAX_EXTENT} inputs in total");
            return Err(Error::field("data.shape", shape, want));
        }
        if !(self.test_fraction > 0.0 && self.test_fraction < 1.0) {
            return Err(Error::field("data.test_fraction", self.test_fraction, "between 0 and 1"));
        }
        match self.test_seed > i64::MAX as u64 {
            true => Err(Error::field("data.test_seed", self.test_seed, "below 2^63, the limit of TOML")),
            false => Ok(()),
        }
    }
}

impl Serialize for DataConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DataConfig::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for DataConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathOrTable;
        impl<'de> Visitor<'de> for PathOrTable {
            type Value = DataConfig;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the path of the data, or a table")
            }

            fn visit_str<E>(self, path: &str) -> Result<DataConfig, E> {
                Ok(DataConfig::at(path))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DataConfig, A::Error> {
                DataConfig::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(PathOrTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        let refused = |config: DataConfig, part: &str| {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let ok = DataConfig::default();
        ok.check().unwrap();
        refused(DataConfig { shape: Some([2, 0, 9].into()), ..ok.clone() }, "data.shape = 2 × 0 × 9");
        refused(DataConfig { shape: Some([usize::MAX; 3].into()), ..ok.clone() }, "data.shape");
        refused(DataConfig { test_fraction: 1.0, ..ok.clone() }, "data.test_fraction = 1");
        refused(DataConfig { test_seed: u64::MAX, ..ok }, "data.test_seed");
    }

    #[test]
    fn fields_without_an_effect_are_named() {
        let ok = DataConfig::at("somewhere");
        let shape = DataConfig { shape: Some([1, 28, 28].into()), ..ok.clone() };
        let test = DataConfig { test_fraction: 0.5, ..ok.clone() };
        for set in ["fmnist", "nmnist", "shd", "events"] {
            ok.check_use(set).unwrap();
            assert_eq!(shape.check_use(set).is_ok(), ["nmnist", "events"].contains(&set), "{set}");
            assert_eq!(test.check_use(set).is_ok(), set == "events", "{set}");
        }
        let error = shape.check_use("fmnist").unwrap_err().to_string();
        assert!(error.starts_with("data.shape = 28 × 28: must be left out for fmnist"), "{error}");
    }
}
