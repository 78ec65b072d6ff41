//! SHD: spoken digits in English and German as spikes of 700 cochlea channels, one HDF5 file per half; and other data in
//! this layout, with any number of units and labels ([`Limits`]), such as SSC.
//!
//! | data set | shape | type |
//! |---|---|---|
//! | `/spikes/times` | utterances | variable-length lists of float16 (or 32, 64): seconds |
//! | `/spikes/units` | utterances | variable-length lists of integers, 0 to 699, as long as those of times |
//! | `/labels` | utterances | integers: 0 to 9 English, 10 to 19 German |
//! | `/extra/speaker` | utterances | integers; may be absent |
//! | `/extra/keys` | labels | names of the labels; may be absent |
//!
//! Times are converted to f64 before any computation, since float16 is coarse. Their order within an utterance does not
//! matter.
//!
//! ```no_run
//! use spikegrad::data::shd::Shd;
//!
//! for utterance in Shd::open("data/shd_train.h5".as_ref())?.iter() {
//!     let utterance = utterance?;
//!     for (seconds, unit) in utterance.spikes() {
//!         println!("label {}: unit {unit} at {seconds} s", utterance.label);
//!     }
//! }
//! # Ok::<(), spikegrad::Error>(())
//! ```

use super::gunzip::Gunzip;
use super::recordings::{Bins, Recording, Recordings};
use crate::error::{Error, Result, harmless};
use crate::events::EventSet;
use crate::hdf5::{element, filters, guarded};
use crate::network::MAX_EXTENT;
use crate::number::Element;
use hdf5_reader::storage::{BytesStorage, DynStorage, FileStorage};
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions, StringSize};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The environment variable with the path of the folder that contains the two files.
pub const VARIABLE: &str = "SPIKEGRAD_SHD";
/// Number of classes: ten digits in two languages.
pub const CLASSES: u32 = 20;
/// Number of cochlea channels, i.e. input neurons.
pub const UNITS: usize = 700;
/// Number of training and test utterances.
pub const UTTERANCES: [usize; 2] = [8_156, 2_264];
/// Duration of the paper's samples, ms.
pub const DURATION_MS: f64 = 1000.0;
/// Length of the paper's time steps, ms.
pub const DT_MS: f64 = 2.0;
/// Maximum duration of an utterance in s; SHD's last 1.4 s at most. Larger times suggest another unit than seconds.
pub const MAX_SECONDS: f64 = 60.0;
/// Maximum decompressed size of a gzipped file in bytes; the compression ratio is limited as well.
pub const MAX_INFLATED: u64 = 2 << 30;
/// Maximum number of utterances per file; SHD's halves have 8,156 and 2,264.
pub const MAX_UTTERANCES: u64 = 1 << 20;
/// Maximum number of names of labels.
const MAX_NAMES: u64 = 1 << 16;
/// Memory in bytes that a read may allocate in addition to the file's size.
const SLACK: usize = 64 << 20;

/// The numbers of units and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of units, at most [`MAX_EXTENT`].
    pub units: usize,
    /// Number of labels.
    pub labels: u32,
}

impl Limits {
    /// Those of SHD.
    pub const SHD: Limits = Limits { units: UNITS, labels: CLASSES };
    /// Those of data whose sizes are not known.
    pub(super) const ANY: Limits = Limits { units: MAX_EXTENT, labels: MAX_EXTENT as u32 };
}

/// The word of each label.
#[rustfmt::skip]
pub const WORDS: [&str; CLASSES as usize] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun",
];

/// A spoken word.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Its word; in SHD an index of [`WORDS`].
    pub label: u32,
    /// The speaker's number.
    pub speaker: Option<u32>,
    /// Time of each spike, s.
    pub times: Vec<f64>,
    /// Channel of each spike; in SHD 0 (highest frequency) to 699.
    pub units: Vec<u16>,
}

impl Utterance {
    /// The spikes as (seconds, unit).
    pub fn spikes(&self) -> impl ExactSizeIterator<Item = (f64, u16)> {
        self.times.iter().copied().zip(self.units.iter().copied())
    }
}

/// The utterances of a file.
pub struct Shd {
    path: PathBuf,
    times: Lists,
    units: Lists,
    /// `None` if there are none, which suffices to predict.
    labels: Option<Vec<i128>>,
    speakers: Option<Vec<i128>>,
    limits: Limits,
    class_names: Vec<String>,
}

/// A data set of variable-length lists.
struct Lists {
    dataset: Dataset,
    /// The elements of the data set: length (u32), address of a global heap collection, index in the collection (u32).
    references: Vec<u8>,
    /// Size of a reference in bytes.
    reference: usize,
    element: Element,
}

impl Shd {
    /// Opens an HDF5 file. A gzipped one (`.gz`) is decompressed into memory, up to [`MAX_INFLATED`] bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if the file is not HDF5, is damaged, or has another layout.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_within(path, Limits::SHD)
    }

    /// [`open`](Self::open) for data with other numbers of units and labels.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_within(path: &Path, limits: Limits) -> Result<Self> {
        Self::open_labelled(path, limits, true)
    }

    /// [`open_within`](Self::open_within) for a file that need not have labels.
    pub(super) fn open_samples(path: &Path, limits: Limits) -> Result<Self> {
        Self::open_labelled(path, limits, false)
    }

    fn open_labelled(path: &Path, limits: Limits, required: bool) -> Result<Self> {
        let (storage, length) = storage(path)?;
        let limit = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(SLACK);
        let options = OpenOptions::default()
            .with_max_read_bytes(limit)
            .with_max_chunk_bytes(limit)
            .with_filter_registry(filters(limit));
        let damaged = |what: String| {
            Error::format(path, format!("cannot be read as HDF5 ({what}); expected an HDF5 file of SHD, get it again"))
        };
        let file = guarded(|| Hdf5File::from_storage_with_options(storage, options)).map_err(damaged)?;

        let optional = |name: &str| match guarded(|| Ok(file.dataset(name).err().is_some_and(|e| is_missing(&e)))) {
            Ok(true) => Ok(None),
            _ => numbers(&file, name, path).map(Some),
        };
        let labels = if required { Some(numbers(&file, "/labels", path)?) } else { optional("/labels")? };
        let speakers = optional("/extra/speaker")?;
        let class_names = names(&file, "/extra/keys", length);
        let [times, units] = ["/spikes/times", "/spikes/units"].map(|name| Lists::open(&file, name, path, length));
        let shd = Shd { path: path.into(), times: times?, units: units?, labels, speakers, limits, class_names };
        check_collections(&file, [&shd.times, &shd.units], path, length)?;
        let n = shd.labels.as_ref().map_or(shd.times.len(), Vec::len);
        let speakers = shd.speakers.as_ref().map_or(n, Vec::len);
        let others =
            [("/spikes/times", shd.times.len()), ("/spikes/units", shd.units.len()), ("/extra/speaker", speakers)];
        let of = if shd.labels.is_some() { "/labels" } else { "/spikes/times" };
        if let Some((name, other)) = others.iter().find(|(_, other)| *other != n) {
            return Err(Error::format(
                path,
                format!("{name} has {other} entries, but {of} has {n}; get the file again"),
            ));
        }
        match (shd.times.element, shd.units.element) {
            (Element::Float { .. }, Element::Integer { .. }) if n > 0 => Ok(shd),
            (Element::Float { .. }, Element::Integer { .. }) => Err(Error::format(path, "contains no utterances")),
            _ => Err(Error::format(path, "/spikes/times must be lists of floats, /spikes/units lists of integers")),
        }
    }

    /// Number of utterances.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// The names of the labels in `/extra/keys`; empty if there are none.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The number of classes: the largest label plus one. Labels beyond the limits do not count.
    pub fn classes(&self) -> usize {
        let valid = self.labels.iter().flatten().filter(|label| (0..i128::from(self.limits.labels)).contains(label));
        valid.max().map_or(0, |&label| label as usize + 1)
    }

    /// Whether there are no utterances. Never true, since [`Shd::open`] refuses this.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads utterance `k`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] naming the utterance, the spike, the byte offset of its collection, and what was
    /// expected.
    ///
    /// # Panics
    /// If `k` is not below [`Shd::len`].
    pub fn utterance(&self, k: usize) -> Result<Utterance> {
        let fault = |what: String| Error::format(&self.path, format!("utterance {k}: {what}"));
        let speaker = self.speakers.as_ref().map(|speakers| speakers[k]);
        let label = match self.labels.as_ref().map(|labels| labels[k]) {
            None => EventSet::UNLABELLED,
            Some(label) => match u32::try_from(label).ok().filter(|&label| label < self.limits.labels) {
                Some(label) => label,
                None => {
                    let last = self.limits.labels.saturating_sub(1);
                    return Err(fault(format!("label {label} found, 0 to {last} expected")));
                }
            },
        };
        let Ok(speaker) = speaker.map(u32::try_from).transpose() else {
            return Err(fault(format!("speaker {} found, 0 or more expected", speaker.unwrap_or_default())));
        };
        let times = self.times.list(k).and_then(|bytes| self.times.element.floats(&bytes).ok_or_else(String::new));
        let times = times.map_err(|what| fault(format!("its times, {}: {what}", self.times.place(k))))?;
        let units = self.units.list(k).and_then(|bytes| self.units.element.integers(&bytes).ok_or_else(String::new));
        let units = units.map_err(|what| fault(format!("its units, {}: {what}", self.units.place(k))))?;
        if times.len() != units.len() || times.is_empty() {
            let lengths = format!("{} times and {} units found", times.len(), units.len());
            return Err(fault(format!("{lengths}, expected equal numbers of at least 1")));
        }
        if let Some(n) = times.iter().position(|t| !(0.0..=MAX_SECONDS).contains(t)) {
            let (t, place) = (times[n], self.times.place(k));
            return Err(fault(format!("time {n} is {t}, 0 to {MAX_SECONDS} seconds expected ({place})")));
        }
        if let Some(n) = units.iter().position(|unit| !(0..self.limits.units as i128).contains(unit)) {
            let (unit, place) = (units[n], self.units.place(k));
            return Err(fault(format!(
                "unit {n} is {unit}, 0 to {} expected ({place})",
                self.limits.units.saturating_sub(1)
            )));
        }
        Ok(Utterance { label, speaker, times, units: units.into_iter().map(|unit| unit as u16).collect() })
    }

    /// The number of units that each utterance requires which is not damaged.
    pub(super) fn reaches(&self) -> Vec<usize> {
        let reach = |k| self.utterance(k).ok()?.units.into_iter().max().map(|unit| usize::from(unit) + 1);
        (0..self.len()).into_par_iter().filter_map(reach).collect()
    }

    /// Iterates over the utterances; errors as [`Shd::utterance`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Utterance>> {
        (0..self.len()).map(|k| self.utterance(k))
    }
}

/// The file's bytes and their number. The file is not mapped into memory, so that truncating it meanwhile is an error
/// rather than a crash.
fn storage(path: &Path) -> Result<(DynStorage, u64)> {
    let file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut magic = [0; 2];
    let mut head = BufReader::new(file);
    let gzipped = head.read(&mut magic).map_err(Error::io(path))? == 2 && magic == [0x1f, 0x8b];
    if !gzipped {
        let storage = FileStorage::open(path).map_err(|e| Error::format(path, e.to_string()))?;
        return Ok((Arc::new(storage), length));
    }
    let file = File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    let read = Gunzip::new(BufReader::new(file)).take(MAX_INFLATED + 1).read_to_end(&mut bytes);
    let inflated = bytes.len() as u64;
    match read {
        Err(e) if e.kind() == ErrorKind::FileTooLarge => Err(Error::format(path, e.to_string())),
        Err(e) => Err(Error::format(
            path,
            format!(
                "the gzip stream is damaged or truncated after {inflated} decompressed bytes ({e}); get the file again"
            ),
        )),
        Ok(_) if inflated > MAX_INFLATED => Err(Error::format(
            path,
            format!("decompresses to more than {MAX_INFLATED} bytes; if you trust the file, gunzip it"),
        )),
        Ok(_) => Ok((Arc::new(BytesStorage::new(bytes)), inflated)),
    }
}

/// Whether the error means that the data set does not exist, rather than that it is damaged.
fn is_missing(error: &hdf5_reader::error::Error) -> bool {
    match error {
        hdf5_reader::error::Error::Context { source, .. } => is_missing(source),
        hdf5_reader::error::Error::DatasetNotFound(_) | hdf5_reader::error::Error::GroupNotFound(_) => true,
        _ => false,
    }
}

/// Refuses overlapping collections. Each is read completely for the lists in it, so many that share their bytes would
/// take too long.
fn check_collections(file: &Hdf5File, lists: [&Lists; 2], path: &Path, length: u64) -> Result<()> {
    let used =
        lists.iter().flat_map(|lists| (0..lists.len()).filter(|&k| lists.length(k) > 0).map(|k| lists.address(k)));
    let addresses: BTreeSet<u64> = used.collect();
    let size_length = usize::from(file.superblock().length_size);
    // A collection with an error here cannot be read later either, so it counts as 0.
    let size = |&address: &u64| match file.storage().read_range(address, 8 + size_length) {
        Ok(head) => Element::bits(&head.as_ref()[8..], false),
        Err(_) => 0,
    };
    let claim: u128 = addresses.iter().map(|address| u128::from(size(address))).filter(|&n| n <= length.into()).sum();
    match claim > length.into() {
        true => Err(Error::format(
            path,
            format!("its collections of numbers claim {claim} bytes in total, the file has {length}; get it again"),
        )),
        false => Ok(()),
    }
}

/// Opens a one-dimensional data set.
fn dataset(file: &Hdf5File, name: &str, path: &Path) -> Result<Dataset> {
    let dataset = guarded(|| file.dataset(name)).map_err(|e| {
        Error::format(path, format!("has no readable data set {name} ({e}); expected the layout of SHD"))
    })?;
    // Checked before reading, since a data set without stored bytes may have any extents.
    let claim = dataset.shape().iter().fold(1u64, |n, &extent| n.saturating_mul(extent));
    match dataset.ndim() {
        1 if claim <= MAX_UTTERANCES => Ok(dataset),
        1 => Err(Error::format(path, format!("{name} claims {claim} entries, the limit is {MAX_UTTERANCES}"))),
        n => Err(Error::format(path, format!("{name} has {n} dimensions, 1 expected"))),
    }
}

/// The raw bytes of the data set's elements.
fn raw(dataset: &Dataset, name: &str, path: &Path) -> Result<Vec<u8>> {
    guarded(|| dataset.read_raw_bytes()).map_err(|e| {
        let remedy = match e.contains("filter id") {
            true => "this compression is not supported; write the data set with gzip or LZF, or uncompressed",
            false => "get the file again",
        };
        Error::format(path, format!("{name} cannot be read ({e}); {remedy}"))
    })
}

/// Reads a data set of integers.
fn numbers(file: &Hdf5File, name: &str, path: &Path) -> Result<Vec<i128>> {
    let dataset = dataset(file, name, path)?;
    let Some(element @ Element::Integer { .. }) = element(dataset.dtype()) else {
        return Err(Error::format(path, format!("{name} holds {:?}, integers expected", dataset.dtype())));
    };
    Ok(element.integers(&raw(&dataset, name, path)?).unwrap_or_default())
}

/// The texts of a data set; none if it is missing or cannot be read, since they are only for display.
fn names(file: &Hdf5File, name: &str, length: u64) -> Vec<String> {
    let read = || {
        let dataset = file.dataset(name)?;
        let count = dataset.shape().iter().fold(1u64, |n, &extent| n.saturating_mul(extent));
        if count > MAX_NAMES {
            return Ok(Vec::new());
        }
        // Names that share their bytes could take any amount of memory.
        if let Datatype::String { size: StringSize::Variable, .. } | Datatype::VarLen { .. } = dataset.dtype() {
            let references = dataset.read_raw_bytes()?;
            let lengths = references.chunks_exact(dataset.vlen_reference_size());
            let claim: u64 = lengths.map(|reference| Element::bits(&reference[..4], false)).sum();
            if claim > length {
                return Ok(Vec::new());
            }
        }
        dataset.read_strings()
    };
    let names = guarded(read).unwrap_or_default();
    names.iter().map(|name| harmless(name).into_owned()).collect()
}

impl Lists {
    fn open(file: &Hdf5File, name: &str, path: &Path, length: u64) -> Result<Self> {
        let dataset = dataset(file, name, path)?;
        let element = match dataset.dtype() {
            Datatype::VarLen { base, .. } => element(base),
            _ => None,
        };
        let Some(element) = element else {
            return Err(Error::format(path, format!("{name} holds {:?}, lists of numbers expected", dataset.dtype())));
        };
        let references = raw(&dataset, name, path)?;
        let lists = Lists { reference: dataset.vlen_reference_size(), dataset, references, element };
        // The total may not exceed the file, since lists that share elements could take any amount of memory and time.
        let claim: u64 = (0..lists.len()).map(|k| u64::from(lists.length(k)) * element.size() as u64).sum();
        if claim > length {
            return Err(Error::format(
                path,
                format!("{name} claims {claim} bytes of numbers, the file has {length}; get it again"),
            ));
        }
        Ok(lists)
    }

    fn len(&self) -> usize {
        self.references.len() / self.reference
    }

    fn reference(&self, k: usize) -> &[u8] {
        &self.references[k * self.reference..(k + 1) * self.reference]
    }

    /// Number of elements of list `k`.
    fn length(&self, k: usize) -> u32 {
        self.reference(k).first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
    }

    /// The location of list `k` in the file, for error messages.
    fn place(&self, k: usize) -> String {
        format!("in the collection at byte {}", self.address(k))
    }

    /// The address of the collection that contains list `k`.
    fn address(&self, k: usize) -> u64 {
        let reference = self.reference(k);
        Element::bits(&reference[4..reference.len() - 4], false)
    }

    /// The bytes of list `k`.
    fn list(&self, k: usize) -> Result<Vec<u8>, String> {
        let bytes = guarded(|| self.dataset.resolve_vlen_reference_bytes(self.reference(k), self.element.size()))?;
        let expected = self.length(k) as usize * self.element.size();
        match bytes.len() == expected {
            true => Ok(bytes),
            false => Err(format!("{} bytes found, {expected} expected", bytes.len())),
        }
    }
}

impl Recordings for Shd {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        Shd::len(self)
    }

    fn read(&self, k: usize, _: &Bins) -> Result<Recording> {
        let utterance = self.utterance(k)?;
        let spikes = utterance.spikes().map(|(seconds, unit)| (1000.0 * seconds, unit.into())).collect();
        Ok(Recording { label: utterance.label, speaker: utterance.speaker, spikes })
    }

    fn fault(&self, k: usize, what: String) -> Error {
        Error::format(&self.path, format!("utterance {k}: {what}"))
    }
}

/// The files of the training and test halves in `folder`.
///
/// # Errors
/// [`Error::Format`] naming what is missing.
pub fn halves(folder: &Path) -> Result<[PathBuf; 2]> {
    let contains =
        if folder.try_exists().map_err(Error::io(folder))? { "contains no" } else { "does not exist; it should hold" };
    let find = |half: &str| {
        let names =
            [format!("shd_{half}.h5"), format!("{half}.h5"), format!("shd_{half}.h5.gz"), format!("{half}.h5.gz")];
        let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| Error::format(folder, format!("{contains} {}; get both files of SHD", names.join(" or "))))
    };
    Ok([find("train")?, find("test")?])
}

#[cfg(test)]
#[path = "shd_tests.rs"]
mod tests;
