//! Recordings of event cameras in the format of N-MNIST, with class folders of any name and any size of the sensor.

use super::{Format, Found, Hints, Opened, Samples, Wanted, among, head, nested, one};
use crate::data::atis::{LARGEST_SENSOR, Sensor};
use crate::data::nmnist::{Classes, Layout, NMnist};
use crate::data::recordings::{Recordings, Tell};
use crate::data::source::{DataConfig, Shape};
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use zip::ZipArchive;

pub(super) const FORMAT: Format = Format {
    name: "ATIS events",
    wanted: "folders of classes with .bin files of ATIS events, or zips of them, in `train` and `test` or without",
    find: |path| nested(path, 0, &|path| among(path, claims)),
    open,
    samples,
    cached: true,
    latency_coded: false,
};

/// Number of entries of a folder that are looked at to see what it is.
const LOOKS: usize = 100;

/// Whether this is a zip with `.bin` files, or a folder of folders with such files.
fn claims(path: &Path) -> bool {
    if path.is_file() {
        let archive = || ZipArchive::new(BufReader::new(File::open(path).ok()?)).ok();
        return head(path).starts_with(b"PK")
            && archive().is_some_and(|archive| archive.file_names().flatten().any(|name| name.ends_with(".bin")));
    }
    let entries =
        |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().take(LOOKS).map(|entry| entry.path());
    let recording = |path: &Path| path.extension().is_some_and(|extension| extension == "bin");
    entries(path).any(|folder| folder.is_dir() && entries(&folder).any(|file| recording(&file)))
}

fn is_recording(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "bin")
}

/// Whether these are recordings in folders of classes or in none.
fn claims_samples(path: &Path) -> bool {
    let mut entries = fs::read_dir(path).into_iter().flatten().flatten().take(LOOKS).map(|entry| entry.path());
    claims(path) || entries.any(|file| is_recording(&file))
}

fn samples(path: &Path, wanted: &Wanted) -> Result<Option<Samples>> {
    let found =
        if is_recording(path) { Some(path.into()) } else { nested(path, 0, &|path| one(path, claims_samples))? };
    let Some(path) = found else { return Ok(None) };
    let Some(shape) = wanted.shape else {
        let what = "is of an event camera, but the inputs of the run's network form no maps; \
                    train on data with a shape (data.shape)";
        return Err(Error::format(path, what));
    };
    let sensor = Sensor { width: shape.width, height: shape.height };
    let layout = |classes| Layout { sensor, polarity: wanted.reading.polarity, classes };
    let found = NMnist::open_samples(&path, layout(Classes::Found))?;
    let classes = match ((wanted.class_names)(), found.naming()) {
        (names, _) if !names.is_empty() => Classes::Named(names),
        (_, Classes::Named(names)) if names.len() != wanted.extents.classes => Classes::Named(Vec::new()),
        (_, Classes::Numbered(_)) => Classes::Numbered(wanted.extents.classes as u32),
        (_, found) => found,
    };
    let recordings = NMnist::open_samples(&path, layout(classes))?;
    let class_names = recordings.class_names().to_vec();
    Ok(Some(Samples { path, recordings: Box::new(recordings), class_names, shape: Some(shape) }))
}

fn open(found: &Found, reading: &DataConfig, tell: Tell) -> Result<Opened> {
    let known = reading.shape.map(|Shape { height, width, .. }| Sensor { width, height });
    let sensor = known.unwrap_or(LARGEST_SENSOR);
    let layout = Layout { sensor, polarity: reading.polarity, classes: Classes::Found };
    let mut train = NMnist::open_as(&found.train, layout.clone())?;
    let class_names = train.class_names().to_vec();
    let named = Layout { classes: Classes::Named(class_names.clone()), ..layout };
    let mut test = found.test.as_ref().map(|path| NMnist::open_as(path, named)).transpose()?;
    if known.is_none() {
        let (one, other) = (train.find_sensor(tell), test.as_ref().map(|test| test.find_sensor(tell)));
        let sensor = other.map_or(one, |other| one.covering(other));
        train = train.with_sensor(sensor);
        test = test.map(|test| test.with_sensor(sensor));
    }
    let shape = train.layout().shape();
    if let Some(given) = reading.shape.filter(|&given| given != shape) {
        return Err(Error::field("data.shape", given, format!("{shape}, as data.polarity has it")));
    }
    let ignored = [Some(&train), test.as_ref()].into_iter().flatten().filter_map(NMnist::unread).collect();
    let classes = Some(class_names.len());
    let hints = Hints { classes, class_names, shape: Some(shape), ignored, ..Hints::default() };
    let test = test.map(|test| Box::new(test) as Box<dyn Recordings>);
    Ok(Opened { train: Box::new(train), test, hints })
}
