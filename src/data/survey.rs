//! What a network must have for data, found before there is a network.

use super::fashion_mnist;
use super::formats::{self, Format, Found, Opened, Told};
use super::load::{LoadOptions, events_path};
use super::recorded::RecordedSet;
use super::recordings::{Bins, Extents, Half, LoadProgress, Recording, Recordings, Tell, collect};
use super::source::Shape;
use super::{EVENTS, data_set};
use crate::error::{Error, Result};
use crate::network::MAX_EXTENT;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a network must have for data.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Facts {
    /// Number of input neurons.
    pub inputs: usize,
    /// Number of time steps that cover all events.
    pub time_steps: usize,
    /// Length of a time step, ms.
    pub dt_ms: f64,
    /// Number of classes.
    pub classes: usize,
    /// The maps that the inputs form, if they form any.
    pub shape: Option<Shape>,
}

impl Facts {
    /// Those of samples that form maps and last `duration_ms`.
    pub(super) fn of(shape: Shape, classes: usize, duration_ms: f64, dt_ms: f64) -> Self {
        let time_steps = (duration_ms / dt_ms).ceil() as usize;
        Facts { inputs: shape.inputs(), time_steps, dt_ms, classes, shape: Some(shape) }
    }
}

/// What a network must have for the published data set of a preset; `None` if it has none. `dt_ms` is the length of a time
/// step, if it is to be another than the paper's.
pub fn published(preset: &str, dt_ms: Option<f64>) -> Option<Facts> {
    match data_set(preset) {
        "fmnist" => Some(fashion_mnist::facts_of(fashion_mnist::SHAPE, fashion_mnist::CLASSES.into(), dt_ms)),
        other => RecordedSet::of(other).map(|kind| kind.facts(kind.published, dt_ms)),
    }
}

/// What a network must have for data, and what was read to find that.
#[non_exhaustive]
pub struct Survey {
    /// What a network must have.
    pub facts: Facts,
    /// The files, which [`load_surveyed`](super::load_surveyed) need not open or read again.
    pub(super) events: Option<Surveyed>,
}

/// Files of events.
pub(super) struct Surveyed {
    pub format: &'static Format,
    pub found: Found,
    pub opened: Opened,
    /// The halves, training first, if they had to be read.
    pub halves: Vec<SurveyedHalf>,
}

/// A half that was read before the network's extents were known.
pub(super) struct SurveyedHalf {
    half: Half,
    bins: Bins,
    /// Largest numbers of inputs, time steps and classes.
    extents: [usize; 3],
    /// Checksum of the source before it was read, if it is to be cached.
    pub checksum: Option<String>,
}

impl SurveyedHalf {
    /// The half with the extents of a network, if that is what reading it again would give.
    pub(super) fn fitted(self, extents: Extents, bins: &Bins) -> Option<Half> {
        let [inputs, steps, classes] = self.extents;
        let alike = Bins { time_steps: bins.time_steps, ..self.bins } == *bins;
        let fits = inputs <= extents.inputs && classes <= extents.classes && steps <= bins.time_steps;
        if !(alike && fits) {
            return None;
        }
        let set = self.half.set.with_extents(extents.inputs, bins.time_steps).ok()?;
        Some(Half { set, ..self.half })
    }
}

/// Finds what a network must have for the data of `preset`. `dt_ms` is the length of a time step, if it is to be another than
/// that of the data. With `skip_bad`, damaged recordings do not count.
///
/// Of other data than the published ones in the formats of N-MNIST and SHD, recordings that cannot be read do not count
/// either: [`load_with`](super::load_with) names them.
///
/// # Errors
/// [`Error::Data`] without a path; [`Error::Config`] for an unknown preset; otherwise as [`load_with`](super::load_with).
pub fn survey(preset: &str, options: &LoadOptions, dt_ms: Option<f64>) -> Result<Survey> {
    options.reading.check()?;
    match data_set(preset) {
        EVENTS => survey_events(options, dt_ms),
        "fmnist" => Ok(Survey { facts: fashion_mnist::facts(options.path(), dt_ms)?, events: None }),
        other => match RecordedSet::of(other) {
            Some(kind) => Ok(Survey { facts: kind.survey(options, dt_ms)?, events: None }),
            None => {
                Err(Error::Config(format!("the data of preset {other} say nothing of its network; set all its fields")))
            }
        },
    }
}

fn survey_events(options: &LoadOptions, dt_ms: Option<f64>) -> Result<Survey> {
    let quiet = |_: LoadProgress| {};
    let tell = options.progress.unwrap_or(&quiet);
    let (format, found, opened) = formats::open(events_path(options.path())?, &options.reading, tell)?;
    let Told { inputs, time_steps, dt_ms, classes, shape } = opened.told(&options.reading, dt_ms);
    let mut halves = Vec::new();
    let known = inputs.is_some() && time_steps.is_some() && classes.is_some();
    // Of more inputs than a network can have, the rest does not matter.
    if !known && inputs.is_none_or(|inputs| inputs <= MAX_EXTENT) {
        let bins = Bins { time_steps: MAX_EXTENT, dt_ms, clock: options.reading.clock };
        let test_path = found.test.as_ref().unwrap_or(&found.train);
        let sources = [(Some(&opened.train), &found.train), (opened.test.as_ref(), test_path)];
        for (recordings, path) in sources {
            if let Some(recordings) = recordings {
                halves.push(read(&**recordings, path, format, &bins, options, tell)?);
            }
        }
    }
    let most = |k: usize| halves.iter().map(|half| half.extents[k]).max().unwrap_or(0);
    if classes.unwrap_or(most(2)) == 0 {
        let what = "has no array `labels`, which training requires (docs/data.md); only predict does without";
        return Err(Error::format(&found.train, what));
    }
    let facts = Facts {
        inputs: inputs.unwrap_or(most(0)),
        time_steps: time_steps.unwrap_or(most(1)).max(1),
        dt_ms,
        classes: classes.unwrap_or(most(2)),
        shape,
    };
    Ok(Survey { facts, events: Some(Surveyed { format, found, opened, halves }) })
}

fn read(
    recordings: &dyn Recordings,
    path: &Path,
    format: &Format,
    bins: &Bins,
    options: &LoadOptions,
    tell: Tell,
) -> Result<SurveyedHalf> {
    let checksum = format.checksum(path, bins, options)?;
    let watched = Watched { recordings, inputs: AtomicUsize::new(0) };
    let extents = Extents { inputs: MAX_EXTENT, classes: usize::MAX };
    let half = collect(&watched, extents, bins, options.skip_bad, tell)?;
    let [_, steps, classes] = half.extents();
    Ok(SurveyedHalf { half, bins: *bins, extents: [watched.inputs.into_inner(), steps, classes], checksum })
}

/// Recordings, and the largest number of inputs of those that were read, including inputs whose events are dropped.
struct Watched<'a> {
    recordings: &'a dyn Recordings,
    inputs: AtomicUsize,
}

impl Recordings for Watched<'_> {
    fn path(&self) -> &Path {
        self.recordings.path()
    }

    fn len(&self) -> usize {
        self.recordings.len()
    }

    fn read(&self, k: usize, bins: &Bins) -> Result<Recording> {
        let recording = self.recordings.read(k, bins)?;
        let inputs = recording.spikes.iter().map(|(_, i)| *i as usize + 1).max().unwrap_or(0);
        self.inputs.fetch_max(inputs, Ordering::Relaxed);
        Ok(recording)
    }

    fn ordered(&self) -> bool {
        self.recordings.ordered()
    }

    fn fault(&self, k: usize, what: String) -> Error {
        self.recordings.fault(k, what)
    }
}
