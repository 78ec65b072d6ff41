//! The published sets of recordings, N-MNIST and SHD, and other data in their formats: how their halves are found and opened,
//! and what a network must have for them.

use super::atis::{self, Sensor};
use super::load::LoadOptions;
use super::nmnist::{self, Classes, Layout, NMnist};
use super::recordings::{Extents, LoadProgress, Recordings, Tell};
use super::shd::{self, Limits, Shd};
use super::source::{DataConfig, Shape};
use super::survey::Facts;
use super::{cache, data_set};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A data set of recordings: how its halves are found and opened.
pub(super) struct RecordedSet {
    pub name: &'static str,
    variable: &'static str,
    remedy: &'static str,
    /// The numbers of recordings of the published halves.
    pub sizes: [usize; 2],
    /// What a network must have for the published set.
    pub published: Told,
    duration_ms: f64,
    dt_ms: f64,
    pub halves: fn(&Path) -> Result<[PathBuf; 2]>,
    /// The maps of inputs, of a network with this many inputs.
    pub shape: fn(usize, &DataConfig) -> Shape,
    /// The names of this many classes; empty if unknown. The path is that of the training half.
    pub class_names: fn(&Path, usize) -> Result<Vec<String>>,
    pub open: OpenHalf,
    pub checksum: fn(&Path) -> Result<String>,
    /// What a network must have for the data with these halves.
    tell: fn(&[PathBuf; 2], &DataConfig, Tell) -> Result<Told>,
}

/// Opens the half at the first path; the second is that of the training half.
type OpenHalf = fn(&Path, &Path, Extents, &DataConfig) -> Result<Box<dyn Recordings>>;

/// The maps and the number of classes of data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    shape: Shape,
    classes: usize,
}

const NMNIST: RecordedSet = RecordedSet {
    name: "N-MNIST",
    variable: nmnist::VARIABLE,
    remedy: "Train.zip and Test.zip (or the folders Train and Test) of N-MNIST",
    sizes: nmnist::RECORDINGS,
    published: Told {
        shape: Shape { channels: 1, height: atis::SENSOR.height, width: atis::SENSOR.width },
        classes: nmnist::CLASSES as usize,
    },
    duration_ms: nmnist::DURATION_MS,
    dt_ms: 1.0,
    halves: nmnist::halves,
    shape: |_, reading| camera_shape(reading),
    class_names: |train, _| match NMnist::open_as(train, Layout { classes: Classes::Found, ..Layout::N_MNIST })?
        .naming()
    {
        Classes::Named(names) => Ok(names),
        _ => Ok(Vec::new()),
    },
    open: |path, train, extents, reading| {
        let found = Layout { classes: Classes::Found, ..Layout::N_MNIST };
        let classes = match NMnist::open_as(train, found)?.naming() {
            Classes::Numbered(_) => Classes::Numbered(extents.classes as u32),
            named => named,
        };
        let layout = Layout { sensor: sensor(reading), polarity: reading.polarity, classes };
        Ok(Box::new(NMnist::open_as(path, layout)?))
    },
    checksum: NMnist::checksum,
    tell: tell_of_camera,
};

const SHD: RecordedSet = RecordedSet {
    name: "SHD",
    variable: shd::VARIABLE,
    remedy: "shd_train.h5 and shd_test.h5 of SHD",
    sizes: shd::UTTERANCES,
    published: Told { shape: Shape { channels: 1, height: 1, width: shd::UNITS }, classes: shd::CLASSES as usize },
    duration_ms: shd::DURATION_MS,
    dt_ms: shd::DT_MS,
    halves: shd::halves,
    shape: |inputs, _| Shape::row(inputs),
    class_names: |train, classes| match classes == shd::WORDS.len() {
        true => Ok(class_names(&shd::WORDS, classes)),
        false => Ok(Some(Shd::open_within(train, Limits::ANY)?.class_names().to_vec())
            .filter(|names| names.len() == classes)
            .unwrap_or_default()),
    },
    open: |path, _, Extents { inputs, classes }, _| {
        let limits = Limits { units: inputs, labels: classes as u32 };
        Ok(Box::new(Shd::open_within(path, limits)?))
    },
    checksum: cache::checksum_of_file,
    tell: tell_of_units,
};

impl RecordedSet {
    /// That of a preset, if its data are such a set.
    pub(super) fn of(preset: &str) -> Option<&'static Self> {
        match data_set(preset) {
            "nmnist" => Some(&NMNIST),
            "shd" => Some(&SHD),
            _ => None,
        }
    }

    /// The folder with the halves: the one given, or that of the environment variable.
    pub(super) fn folder(&self, given: Option<&Path>) -> Result<PathBuf> {
        let variable = std::env::var_os(self.variable).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        given.map(Path::to_path_buf).or(variable).ok_or_else(|| {
            Error::Data(format!(
                "{} not found: set data.path (--data DIR) or the environment variable {} to the folder with {}",
                self.name, self.variable, self.remedy
            ))
        })
    }

    /// What a network must have.
    pub(super) fn facts(&self, told: Told, dt_ms: Option<f64>) -> Facts {
        Facts::of(told.shape, told.classes, self.duration_ms, dt_ms.unwrap_or(self.dt_ms))
    }

    /// Finds what a network must have for the data that the options name.
    pub(super) fn survey(&self, options: &LoadOptions, dt_ms: Option<f64>) -> Result<Facts> {
        let halves = (self.halves)(&self.folder(options.path())?)?;
        let quiet = |_: LoadProgress| {};
        let told = (self.tell)(&halves, &options.reading, options.progress.unwrap_or(&quiet))?;
        Ok(self.facts(told, dt_ms))
    }
}

/// Whether a run must keep the maps of its data in its configuration, since reading them again requires it.
pub(crate) fn keeps_shape(preset: &str, reading: &DataConfig, shape: Option<Shape>) -> bool {
    match data_set(preset) {
        super::EVENTS => true,
        "nmnist" => shape.is_some_and(|shape| shape != camera_shape(reading)),
        _ => false,
    }
}

/// The names of the classes of a published data set. Other data in the same format may have more classes, whose names are
/// unknown.
pub(super) fn class_names(names: &[&str], classes: usize) -> Vec<String> {
    match names.len() == classes {
        true => names.iter().map(|&name| name.into()).collect(),
        false => Vec::new(),
    }
}

/// The sensor of recordings in the format of N-MNIST.
fn sensor(reading: &DataConfig) -> Sensor {
    reading.shape.map_or(atis::SENSOR, |Shape { height, width, .. }| Sensor { width, height })
}

/// The maps of the sensor's polarities.
pub(super) fn camera_shape(reading: &DataConfig) -> Shape {
    Layout { sensor: sensor(reading), polarity: reading.polarity, classes: Classes::Found }.shape()
}

/// The published extent or the smallest that the samples require, which is larger in a sample that is damaged. `found` has
/// one entry for each sample.
///
/// Data with the published number of classes could be a part of the published set and take its extent, as long as most samples
/// lie within it.
fn extent<T: Copy>(found: &[T], same_classes: bool, published: T, within: fn(T, T) -> bool, cover: fn(T, T) -> T) -> T {
    let fit: Vec<T> = found.iter().copied().filter(|&one| within(one, published)).collect();
    let most = 2 * fit.len() >= found.len();
    let counted = if most { &fit } else { found };
    match counted.iter().copied().reduce(cover) {
        Some(extent) if !(most && same_classes) => extent,
        _ => published,
    }
}

fn tell_of_camera(halves: &[PathBuf; 2], reading: &DataConfig, tell: Tell) -> Result<Told> {
    let open = |path: &Path, classes| {
        let layout = Layout { sensor: atis::LARGEST_SENSOR, polarity: reading.polarity, classes };
        NMnist::open_as(path, layout)
    };
    let train = open(&halves[0], Classes::Found)?;
    let test = open(&halves[1], Classes::Found)?;
    let naming = match (train.naming(), test.naming()) {
        (Classes::Numbered(one), Classes::Numbered(other)) => Classes::Numbered(one.max(other)),
        (naming, _) => naming,
    };
    let classes = match &naming {
        Classes::Numbered(n) => *n as usize,
        Classes::Named(names) => names.len(),
        Classes::Found => 0,
    };
    let sizes = [train.len(), test.len()];
    if reading.shape.is_some() || (sizes, classes) == (NMNIST.sizes, NMNIST.published.classes) {
        return Ok(Told { shape: camera_shape(reading), classes });
    }
    let sensors: Vec<Sensor> = [train, test].iter().flat_map(|half| half.sensors(tell)).collect();
    let within = |one: Sensor, other: Sensor| one.covering(other) == other;
    let sensor = extent(&sensors, classes == NMNIST.published.classes, atis::SENSOR, within, Sensor::covering);
    let shape = Layout { sensor, polarity: reading.polarity, classes: naming }.shape();
    Ok(Told { shape, classes })
}

fn tell_of_units(halves: &[PathBuf; 2], _: &DataConfig, _: Tell) -> Result<Told> {
    let open = |path: &Path| Shd::open_within(path, Limits::ANY);
    let halves = [open(&halves[0])?, open(&halves[1])?];
    let sizes = halves.each_ref().map(Shd::len);
    if sizes == SHD.sizes {
        return Ok(SHD.published);
    }
    let classes = halves.iter().map(|half| half.classes().max(half.class_names().len())).max().unwrap_or(0);
    let units: Vec<usize> = halves.iter().flat_map(Shd::reaches).collect();
    let units = extent(&units, classes == SHD.published.classes, shd::UNITS, |one, other| one <= other, usize::max);
    Ok(Told { shape: Shape::row(units), classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extent_is_the_published_one_or_that_of_the_data() {
        let of = |found: &[usize], same| extent(found, same, 700, |one, other| one <= other, usize::max);
        assert_eq!(of(&[690, 640, 65_000], true), 700, "a part of the set, with a damaged sample");
        assert_eq!(of(&[64, 60], false), 64);
        assert_eq!(of(&[64, 60, 65_000], false), 64);
        assert_eq!(of(&[1000, 900, 30], true), 1000);
        assert_eq!(of(&[], false), 700);
    }
}
