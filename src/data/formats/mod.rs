//! Formats of own data, found by content and name. A new format is a file here and a line in [`FORMATS`].

mod camera;
mod columns;
mod hdf5;
mod images;
mod npz;
mod tensors;

use super::recordings::{Bins, Recordings};
use super::source::{DataConfig, Shape};
use crate::error::{Error, Result, shown};
use crate::limits;
use rayon::prelude::*;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A format of files with samples.
pub(super) struct Format {
    /// What it is, for messages.
    pub name: &'static str,
    /// What is looked for, for the message that there is nothing.
    wanted: &'static str,
    /// The files or folders at a path; `None` if they are of another format.
    find: fn(&Path) -> Result<Option<Found>>,
    /// Opens what was found.
    open: fn(&Found, &DataConfig) -> Result<Opened>,
    /// Whether reading takes so long that binned events are to be cached.
    pub cached: bool,
}

/// All formats; the first that finds something is used.
const FORMATS: [&Format; 5] = [&npz::FORMAT, &tensors::FORMAT, &hdf5::FORMAT, &images::FORMAT, &camera::FORMAT];

/// Where both halves are.
pub(super) struct Found {
    /// The file or folder with the training half, or with everything.
    pub train: PathBuf,
    /// The file or folder with the test half.
    pub test: Option<PathBuf>,
}

/// Data of which the recordings can be read.
pub(super) struct Opened {
    pub train: Box<dyn Recordings>,
    /// The test half; `None` if a part of the training half is to become it.
    pub test: Option<Box<dyn Recordings>>,
    pub hints: Hints,
}

impl Opened {
    fn halves(&self) -> impl Iterator<Item = &dyn Recordings> {
        std::iter::once(&*self.train).chain(self.test.as_deref())
    }
}

/// What files say of themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Hints {
    pub inputs: Option<usize>,
    pub time_steps: Option<usize>,
    pub dt_ms: Option<f64>,
    /// Duration of a sample, ms.
    pub duration_ms: Option<f64>,
    pub classes: Option<usize>,
    /// Names of the classes; empty if unknown.
    pub class_names: Vec<String>,
    pub shape: Option<Shape>,
}

/// What a network must have for the data.
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

/// Finds and opens the data at `path`.
///
/// # Errors
/// [`Error::Format`] if there are none of a known format, or if they are damaged; [`Error::Io`].
pub(super) fn open(path: &Path, reading: &DataConfig) -> Result<(&'static Format, Found, Opened)> {
    // Tells a path that does not exist or cannot be read from one without data.
    fs::metadata(path).map_err(Error::io(path))?;
    for format in FORMATS {
        if let Some(found) = (format.find)(path)? {
            let opened = (format.open)(&found, reading)?;
            return Ok((format, found, opened));
        }
    }
    let wanted = FORMATS.map(|format| format.wanted).join("; ");
    Err(Error::format(path, format!("contains no data of a known format. Looked for: {wanted}. See docs/data.md")))
}

/// What a network must have for `opened`: what the files say, else what is found by reading all recordings. `dt_ms` is the
/// configured length of a time step, if it is.
///
/// # Errors
/// Those of reading, unless `skip_bad`.
pub(super) fn survey(opened: &Opened, reading: &DataConfig, dt_ms: Option<f64>, skip_bad: bool) -> Result<Facts> {
    let hints = &opened.hints;
    let dt_ms = dt_ms.or(hints.dt_ms).unwrap_or(1.0);
    let bins = Bins { time_steps: usize::MAX, dt_ms, clock: reading.clock };
    // Time steps that the files count are theirs.
    let steps_told = hints.time_steps.filter(|_| hints.dt_ms.is_none_or(|own| own == dt_ms));
    let steps_told = steps_told.or(hints.duration_ms.map(|duration| (duration / dt_ms).ceil() as usize));
    let inputs_told = reading.shape.or(hints.shape).map(|shape| shape.inputs()).or(hints.inputs);
    let classes_told = hints.classes;
    let seen = match (inputs_told, steps_told, classes_told) {
        (Some(_), Some(_), Some(_)) => Seen::default(),
        _ => {
            let mut all = Seen::default();
            for half in opened.halves() {
                let of = |k| match half.read(k, &bins) {
                    Ok(recording) => Ok(Seen::of(&bins, &recording)),
                    Err(_) if skip_bad => Ok(Seen::default()),
                    Err(e) => Err(e),
                };
                let seen = (0..half.len()).into_par_iter().map(of).try_reduce(Seen::default, |a, b| Ok(a.and(b)))?;
                all = all.and(seen);
            }
            all
        }
    };
    let inputs = inputs_told.unwrap_or(seen.inputs);
    Ok(Facts {
        inputs,
        time_steps: steps_told.unwrap_or(seen.time_steps).max(1),
        dt_ms,
        classes: classes_told.unwrap_or(seen.classes),
        shape: reading.shape.or(hints.shape),
    })
}

/// The extents of recordings.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    inputs: usize,
    time_steps: usize,
    classes: usize,
}

impl Seen {
    fn of(bins: &Bins, recording: &super::recordings::Recording) -> Self {
        let origin = bins.origin(recording);
        let last = recording.spikes.iter().filter_map(|(ms, _)| bins.of(ms - origin)).max();
        Seen {
            inputs: recording.spikes.iter().map(|(_, i)| *i as usize + 1).max().unwrap_or(0),
            time_steps: last.map_or(0, |t| t + 1),
            classes: recording.label as usize + 1,
        }
    }

    fn and(self, other: Self) -> Self {
        Seen {
            inputs: self.inputs.max(other.inputs),
            time_steps: self.time_steps.max(other.time_steps),
            classes: self.classes.max(other.classes),
        }
    }
}

/// The first bytes of a regular file; empty if it cannot be read.
fn head(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if path.is_file()
        && limits::refuse_special(path).is_ok()
        && let Ok(file) = File::open(path)
    {
        // If this fails, opening the file tells why.
        let _ = file.take(16).read_to_end(&mut bytes);
    }
    bytes
}

/// Whether a half's name is in the name of a file or folder.
fn half_of(path: &Path) -> Option<Half> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let has = |word: &str| name.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
    match () {
        () if has("train") || has("training") => Some(Half::Train),
        () if has("test") || has("testing") || has("t10k") => Some(Half::Test),
        () => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Train,
    Test,
}

/// Those that `claims` takes for its own: `path` itself, or in a folder the pair with `train` and `test` in their names, or
/// a single one.
///
/// # Errors
/// [`Error::Format`] if several could be meant.
fn among(path: &Path, claims: fn(&Path) -> bool) -> Result<Option<Found>> {
    if claims(path) {
        return Ok(Some(Found { train: path.into(), test: None }));
    }
    if !path.is_dir() {
        return Ok(None);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        paths.push(entry.map_err(Error::io(path))?.path());
    }
    paths.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) && claims(path));
    paths.sort_unstable();
    let of = |half: Half| paths.iter().filter(|path| half_of(path) == Some(half)).collect::<Vec<_>>();
    match (&of(Half::Train)[..], &of(Half::Test)[..], &paths[..]) {
        (_, _, []) => Ok(None),
        ([train], [], _) => Ok(Some(Found { train: train.to_path_buf(), test: None })),
        ([train], [test], _) => Ok(Some(Found { train: train.to_path_buf(), test: Some(test.to_path_buf()) })),
        ([], [], [only]) => Ok(Some(Found { train: only.clone(), test: None })),
        _ => {
            let names: Vec<String> =
                paths.iter().take(8).filter_map(|path| path.file_name()).map(|n| shown(n.as_ref())).collect();
            Err(Error::format(
                path,
                format!(
                    "has several files of this format: {}; name one pair with `train` and `test`, or give the path of one file",
                    names.join(", ")
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests;
