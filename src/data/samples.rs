//! Loads samples to be classified: the test half of data, or all of them if they have no halves, with labels or without.

use super::formats::{self, Wanted};
use super::load::{LoadOptions, set_name, thousands};
use super::recorded::{RecordedSet, camera_shape};
use super::recordings::{Bins, Extents, Half, LoadProgress, collect};
use super::source::DataConfig;
use super::{DataSet, EVENTS, data_set, doubts, dropped, fashion_mnist};
use crate::error::{Error, Result, shown};
use crate::events::EventSet;
use crate::network::Network;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Loads the samples at the options' path as a test set, for a network that was trained on the data of `preset` at the path
/// in [`LoadOptions::reading`]. The training set is empty.
pub(super) fn load_samples(preset: &str, network: &Network, options: &LoadOptions) -> Result<DataSet> {
    let reading = &options.reading;
    let Some(path) = options.path() else {
        return Err(Error::Data("samples to classify require a file or folder; set data.path (--data PATH)".into()));
    };
    let bins = Bins { time_steps: network.time_steps, dt_ms: network.dt_ms, clock: reading.clock };
    let extents = Extents { inputs: network.inputs, classes: network.classes() };
    // The published sets may lie in a folder as zips and unpacked.
    let half = RecordedSet::of(preset).and_then(|kind| (kind.halves)(path).ok()).map(|[_, test]| test);
    let of_conv = network.hidden.first().and_then(|layer| layer.conv());
    let of_conv = of_conv.map(|conv| [conv.channels, conv.height, conv.width].into());
    let shape = match data_set(preset) {
        "nmnist" => Some(camera_shape(reading)),
        _ => reading.shape.or(of_conv),
    };
    // The data's own names, by which folders are known; those of the configuration may be others.
    let trained_on = || class_names(preset, reading, extents.classes).unwrap_or_else(|_| reading.class_names.clone());
    let late_pixels = data_set(preset) == "fmnist";
    let wanted = Wanted { extents, reading, shape, class_names: &trained_on, late_pixels };
    let (format, samples) = formats::open_samples(half.as_deref().unwrap_or(path), &wanted)?;
    let quiet = |_: LoadProgress| {};
    let tell = options.progress.unwrap_or(&quiet);
    let read = collect(&*samples.recordings, extents, &bins, options.skip_bad, tell)?;
    read.set.labelled().check_fits(network.inputs, network.time_steps, network.classes())?;
    let (line, warning) = dropped::judge(&[(&read, &samples.path)], &bins)?;
    let (files, numbers) = (files(&read, &*samples.recordings), read.numbers());
    let few = doubts::few_steps(&[&read], samples.recordings.few_steps(), &bins);
    let few = few.map(|few| format!("{}: {}", shown(&samples.path), few.text));
    let Half { set, bad, .. } = read;
    let skipped = match bad.len() {
        0 => String::new(),
        n => format!("; {} damaged recordings skipped", thousands(n)),
    };
    let all = |names: &Vec<String>| names.len() == extents.classes;
    let names = Some(samples.class_names).filter(all).or_else(|| Some(trained_on()).filter(all));
    let origin =
        format!("{} samples ({}) from {}{skipped}{line}", thousands(set.len()), format.name, shown(&samples.path));
    Ok(DataSet {
        train: Arc::new(EventSet::new(extents.inputs, bins.time_steps)),
        validation: None,
        test: set,
        test_files: files,
        test_numbers: numbers,
        name: set_name(path),
        class_names: names.unwrap_or_default(),
        shape: samples.shape.or(shape),
        origin,
        subset: false,
        bad,
        warnings: warning.into_iter().chain(few).collect(),
        latency_coded: format.latency_coded,
    })
}

/// The files of the samples that were read, if each is one.
fn files(half: &Half, recordings: &dyn super::recordings::Recordings) -> Vec<String> {
    half.read(recordings.len()).map(|k| recordings.name(k)).collect::<Option<_>>().unwrap_or_default()
}

/// The names of the classes of data that a network was trained on.
fn class_names(preset: &str, trained_on: &DataConfig, classes: usize) -> Result<Vec<String>> {
    let path: Option<PathBuf> = trained_on.path.clone();
    let names = match (data_set(preset), RecordedSet::of(preset)) {
        ("fmnist", _) => fashion_mnist::class_names(path.as_deref(), classes)?,
        (EVENTS, _) => match &path {
            Some(path) => formats::open(path, trained_on, &|_| {})?.2.hints.class_names,
            None => Vec::new(),
        },
        (_, Some(kind)) => (kind.class_names)(&(kind.halves)(&kind.folder(path.as_deref())?)?[0], classes)?,
        _ => own_names(path.as_deref())?,
    };
    Ok(Some(names).filter(|names| names.len() == classes).unwrap_or_default())
}

#[cfg(feature = "runs")]
fn own_names(path: Option<&Path>) -> Result<Vec<String>> {
    Ok(path.map(super::own::read).transpose()?.map(|data| data.class_names).unwrap_or_default())
}

#[cfg(not(feature = "runs"))]
fn own_names(_path: Option<&Path>) -> Result<Vec<String>> {
    Ok(Vec::new())
}
