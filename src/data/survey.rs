//! What a network must have for data, found before there is a network.

use super::fashion_mnist;
use super::formats::{self, Format, Found, Opened, Told};
use super::load::{LoadOptions, events_path};
use super::recorded::RecordedSet;
use super::recordings::{Bins, Extents, Half, LoadProgress, Recording, Recordings, Tell, collect};
use super::source::Shape;
use super::{Clock, EVENTS, data_set, doubts, dropped};
use crate::error::{Error, Result};
use crate::network::MAX_EXTENT;
use std::path::{Path, PathBuf};
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
    /// What to do if there are more time steps than a network can have.
    pub(crate) too_long: Option<TooLong>,
}

/// Samples of more time steps than a network can have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TooLong {
    path: PathBuf,
    what: String,
}

impl TooLong {
    /// That samples are too long, with the remedy.
    pub(crate) fn error(&self) -> Error {
        Error::format(&self.path, &*self.what)
    }
}

impl Facts {
    /// Those of samples that form maps and last `duration_ms`.
    pub(super) fn of(shape: Shape, classes: usize, duration_ms: f64, dt_ms: f64) -> Self {
        let time_steps = (duration_ms / dt_ms).ceil() as usize;
        Facts { inputs: shape.inputs(), time_steps, dt_ms, classes, shape: Some(shape), too_long: None }
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
    too_long: Option<TooLong>,
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
    doubts::any_events(halves.iter().map(|half| &half.half), &found.train)?;
    let most = |k: usize| halves.iter().map(|half| half.extents[k]).max().unwrap_or(0);
    if classes.unwrap_or(most(2)) == 0 {
        let what = "has no array `labels`, which training requires (docs/data.md); only predict does without";
        return Err(Error::format(&found.train, what));
    }
    let too_long = halves.iter().find_map(|half| half.too_long.clone());
    let time_steps = time_steps.unwrap_or(most(1)).max(1);
    let (inputs, classes) = (inputs.unwrap_or(most(0)), classes.unwrap_or(most(2)));
    let facts = Facts { inputs, time_steps, dt_ms, classes, shape, too_long };
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
    let extents = [watched.inputs.into_inner(), steps, classes];
    let too_long = too_long(&half, recordings, bins).map(|what| TooLong { path: path.into(), what });
    Ok(SurveyedHalf { half, bins: *bins, extents, checksum, too_long })
}

/// What is to be said of a half of which no network can have all time steps.
fn too_long(half: &Half, recordings: &dyn Recordings, bins: &Bins) -> Option<String> {
    let steps = (half.last_ms / bins.dt_ms).round_ties_even() + 1.0;
    if !(steps.is_finite() && steps > MAX_EXTENT as f64) {
        return None;
    }
    let late = bins.clock == Clock::Recording && dropped::started_elsewhere(half.first_ms, half.last_ms);
    let remedy = match recordings.doubt() {
        Some(remedy) => remedy.to_string(),
        None if late => "Set data.clock=first_event if the clock was not started with the recordings".into(),
        None => format!("Use longer steps: network.dt_ms={}", round_up(half.last_ms / (MAX_EXTENT - 1) as f64)),
    };
    Some(format!(
        "its events reach time step {}, but a network has at most {MAX_EXTENT} of them. {remedy}. With \
         network.time_steps=N, events after N steps are ignored",
        steps - 1.0
    ))
}

/// A number with one digit that is not less.
fn round_up(x: f64) -> f64 {
    let power = 10f64.powf(x.log10().floor());
    let digits = (x / power).ceil();
    // Not 0.30000000000000004.
    if power < 1.0 { digits / (1.0 / power).round() } else { digits * power }
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

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn lengths_of_steps_are_rounded_up() {
        assert_eq!([0.21, 0.03, 1.0, 45.8, 901.0].map(round_up), [0.3, 0.03, 1.0, 50.0, 1000.0]);
    }
}
