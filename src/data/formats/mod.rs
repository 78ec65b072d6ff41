//! Formats of own data, found by content and name. A new format is a file here and a line in [`FORMATS`].

mod camera;
mod columns;
mod hdf5;
mod images;
mod npz;
mod tensors;

use super::load::{LoadOptions, cache_file};
use super::nmnist::NMnist;
use super::recordings::{Bins, Extents, Recordings, Tell};
use super::source::{DataConfig, Shape};
use crate::error::{Error, Result, shown};
use crate::limits;
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
    /// Opens what was found, and reports its progress if that takes time.
    open: fn(&Found, &DataConfig, Tell) -> Result<Opened>,
    /// Opens the samples at a path that are to be classified; `None` if they are of another format.
    samples: fn(&Path, &Wanted) -> Result<Option<Samples>>,
    /// Whether reading takes so long that binned events are to be cached.
    pub cached: bool,
    /// Whether the samples are images in the latency code.
    pub latency_coded: bool,
}

impl Format {
    /// The checksum of the source at `path`, if its binned events are to be cached and it can be computed: not so for a
    /// dangling link, for example.
    pub(super) fn checksum(&self, path: &Path, bins: &Bins, options: &LoadOptions) -> Result<Option<String>> {
        let file = cache_file(path, bins, options)?.filter(|_| self.cached);
        Ok(file.and_then(|_| NMnist::checksum(path).ok()))
    }
}

/// All formats; the first that finds something is used.
const FORMATS: [&Format; 5] = [&npz::FORMAT, &tensors::FORMAT, &hdf5::FORMAT, &images::FORMAT, &camera::FORMAT];

/// Where both halves are.
pub(super) struct Found {
    /// The file or folder with the training half, or with everything.
    pub train: PathBuf,
    /// The file or folder with the test half.
    pub test: Option<PathBuf>,
    /// Whether the test half is called a validation half.
    validation: bool,
    /// Files or folders of the same format that are not read.
    others: Vec<PathBuf>,
}

impl Found {
    fn of(train: PathBuf, test: Option<PathBuf>) -> Self {
        Found { train, test, validation: false, others: Vec::new() }
    }

    /// What is to be said of the choice of the files.
    pub(super) fn ignored(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().map_or_else(String::new, |name| shown(name.as_ref()));
        let mut warnings = Vec::new();
        if let Some(test) = self.test.as_ref().filter(|_| self.validation) {
            warnings.push(format!("there is no test half; {} is the test set", name(test)));
        }
        if let [first, rest @ ..] = &self.others[..] {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            warnings.push(format!("{}{more} beside {} is not read", name(first), name(&self.train)));
        }
        warnings
    }
}

/// Data of which the recordings can be read.
pub(super) struct Opened {
    pub train: Box<dyn Recordings>,
    /// The test half; `None` if a part of the training half is to become it.
    pub test: Option<Box<dyn Recordings>>,
    pub hints: Hints,
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
    /// Warnings of what there is but is not read.
    pub ignored: Vec<String>,
}

/// What samples are classified for: a trained network.
pub(super) struct Wanted<'a> {
    /// Number of inputs and classes.
    pub extents: Extents,
    /// How its data were read.
    pub reading: &'a DataConfig,
    /// The maps that its inputs form, if they form any.
    pub shape: Option<Shape>,
    /// The names of its classes; empty if unknown. Finding them may take a while.
    pub class_names: &'a dyn Fn() -> Vec<String>,
    /// Whether dim pixels spike after the end of the latency code, as they do for the preset of images.
    pub late_pixels: bool,
}

/// Samples to be classified, with labels or without.
pub(super) struct Samples {
    /// Their file or folder.
    pub path: PathBuf,
    pub recordings: Box<dyn Recordings>,
    /// Names of the classes in the files; empty if they say none.
    pub class_names: Vec<String>,
    pub shape: Option<Shape>,
}

/// Opens the samples at `path` that are to be classified.
///
/// # Errors
/// As [`open`].
pub(super) fn open_samples(path: &Path, wanted: &Wanted) -> Result<(&'static Format, Samples)> {
    fs::metadata(path).map_err(Error::io(path))?;
    for format in FORMATS {
        if let Some(samples) = (format.samples)(path, wanted)? {
            return Ok((format, samples));
        }
    }
    Err(nothing(path))
}

fn nothing(path: &Path) -> Error {
    let wanted = FORMATS.map(|format| format.wanted).join("; ");
    Error::format(path, format!("contains no data of a known format. Looked for: {wanted}. See docs/data.md"))
}

/// Finds and opens the data at `path`.
///
/// # Errors
/// [`Error::Format`] if there are none of a known format, or if they are damaged; [`Error::Io`].
pub(super) fn open(path: &Path, reading: &DataConfig, tell: Tell) -> Result<(&'static Format, Found, Opened)> {
    // Tells a path that does not exist or cannot be read from one without data.
    fs::metadata(path).map_err(Error::io(path))?;
    for format in FORMATS {
        if let Some(found) = (format.find)(path)? {
            let opened = (format.open)(&found, reading, tell)?;
            return Ok((format, found, opened));
        }
    }
    Err(nothing(path))
}

/// What files say that a network must have for them; `None` if that is found by reading them.
pub(super) struct Told {
    pub inputs: Option<usize>,
    pub time_steps: Option<usize>,
    pub dt_ms: f64,
    pub classes: Option<usize>,
    pub shape: Option<Shape>,
}

impl Opened {
    /// `dt_ms` is the configured length of a time step, if it is.
    pub(super) fn told(&self, reading: &DataConfig, dt_ms: Option<f64>) -> Told {
        let hints = &self.hints;
        let dt_ms = dt_ms.or(hints.dt_ms).unwrap_or(1.0);
        // Time steps that the files count are theirs.
        let time_steps = hints.time_steps.filter(|_| hints.dt_ms.is_none_or(|own| own == dt_ms));
        let time_steps = time_steps.or(hints.duration_ms.map(|duration| (duration / dt_ms).ceil() as usize));
        let shape = reading.shape.or(hints.shape);
        let inputs = shape.map(|shape| shape.inputs()).or(hints.inputs);
        Told { inputs, time_steps, dt_ms, classes: hints.classes, shape }
    }
}

/// The first bytes of a regular file; empty if it cannot be read.
fn head(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if limits::refuse_special(path).is_ok()
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
        () if has("validation") || has("valid") || has("val") => Some(Half::Validation),
        () => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Train,
    Test,
    /// The test half if there is no other.
    Validation,
}

/// The paths of the test half, or else of the validation half, and whether it is that.
fn tests(paths: &[PathBuf]) -> (Vec<&PathBuf>, bool) {
    let of = |half: Half| paths.iter().filter(|path| half_of(path) == Some(half)).collect::<Vec<_>>();
    match of(Half::Test) {
        none if none.is_empty() => (of(Half::Validation), true),
        tests => (tests, false),
    }
}

/// Those that `claims` takes for its own: `path` itself, or in a folder the pair with `train` and `test` in their names, or
/// a single one.
///
/// # Errors
/// [`Error::Format`] if several could be meant.
fn among(path: &Path, claims: fn(&Path) -> bool) -> Result<Option<Found>> {
    if claims(path) {
        return Ok(Some(Found::of(path.into(), None)));
    }
    if !path.is_dir() {
        return Ok(None);
    }
    let paths = claimed(path, claims)?;
    let train: Vec<&PathBuf> = paths.iter().filter(|path| half_of(path) == Some(Half::Train)).collect();
    let (test, validation) = tests(&paths);
    let mut found = match (&train[..], &test[..], &paths[..]) {
        (_, _, []) => return Ok(None),
        ([train], [], _) => Found::of(train.to_path_buf(), None),
        ([train], [test], _) => Found { validation, ..Found::of(train.to_path_buf(), Some(test.to_path_buf())) },
        ([], [], [only]) => Found::of(only.clone(), None),
        ([], [test], _) => {
            let what = format!("has a test half alone, {}; training requires the other half", shown(test));
            return Err(Error::format(path, what));
        }
        _ => return Err(several(path, &paths)),
    };
    found.others =
        paths.iter().filter(|path| **path != found.train && Some(*path) != found.test.as_ref()).cloned().collect();
    Ok(Some(found))
}

/// How many folders deep a set of folders is looked for.
const DEPTH: usize = 3;
/// Number of folders in a folder that are looked into.
const FOLDERS: usize = 16;

/// What `look` finds at a path, or else in its folders.
///
/// # Errors
/// [`Error::Format`] if it finds something in several; those of `look`.
fn nested<T>(path: &Path, depth: usize, look: &impl Fn(&Path) -> Result<Option<T>>) -> Result<Option<T>> {
    if let Some(found) = look(path)? {
        return Ok(Some(found));
    }
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    // Folders that cannot be read have no files.
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders: Vec<PathBuf> = match depth < DEPTH {
        true => entries.filter(|path| path.is_dir() && !hidden(path)).take(FOLDERS).collect(),
        false => Vec::new(),
    };
    let (mut places, mut all) = (Vec::new(), Vec::new());
    for folder in folders {
        if let Some(found) = nested(&folder, depth + 1, look)? {
            places.push(folder);
            all.push(found);
        }
    }
    match all.len() {
        0 | 1 => Ok(all.pop()),
        _ => {
            places.sort_unstable();
            Err(several(path, &places))
        }
    }
}

/// What `claims` takes for its own in a folder, sorted.
fn claimed(folder: &Path, claims: fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        paths.push(entry.map_err(Error::io(folder))?.path());
    }
    paths.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) && claims(path));
    paths.sort_unstable();
    Ok(paths)
}

fn several(folder: &Path, paths: &[PathBuf]) -> Error {
    let names: Vec<String> =
        paths.iter().take(8).filter_map(|path| path.file_name()).map(|n| shown(n.as_ref())).collect();
    Error::format(
        folder,
        format!(
            "has several files of this format: {}; name one pair with `train` and `test`, or give the path of one file",
            names.join(", ")
        ),
    )
}

/// Those samples of what `claims` takes for its own that are to be classified: the test half in a folder, otherwise all.
///
/// # Errors
/// [`Error::Format`] if several could be meant.
fn one(path: &Path, claims: fn(&Path) -> bool) -> Result<Option<PathBuf>> {
    let (itself, paths) = (claims(path), if path.is_dir() { claimed(path, claims)? } else { Vec::new() });
    let train: Vec<&PathBuf> = paths.iter().filter(|path| half_of(path) == Some(Half::Train)).collect();
    let (test, _) = tests(&paths);
    // The folders of halves, rather than of classes with such names.
    let halves = paths.iter().all(|path| half_of(path).is_some());
    match (&test[..], &train[..], &paths[..]) {
        ([test], ..) if halves || !itself => Ok(Some(test.to_path_buf())),
        _ if itself => Ok(Some(path.into())),
        (_, _, []) => Ok(None),
        ([], [train], _) => Ok(Some(train.to_path_buf())),
        ([], [], [only]) => Ok(Some(only.clone())),
        _ => Err(several(path, &paths)),
    }
}

/// Whether a folder or a file has a test half and no training half, going by names.
pub(super) fn has_test_alone(path: &Path) -> bool {
    if path.is_file() {
        let mut names = [npz::names(path), tensors::names(path)].into_iter().flatten();
        return match names.next() {
            Some(names) if columns::has_halves(&names) => columns::test_alone(&names),
            _ => half_of(path) == Some(Half::Test),
        };
    }
    let entries = || fs::read_dir(path).into_iter().flatten().flatten();
    let of = |half: Half| entries().any(|entry| half_of(&entry.path()) == Some(half));
    of(Half::Test) && !of(Half::Train)
}

#[cfg(test)]
mod tests;
