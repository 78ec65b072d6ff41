//! N-MNIST: handwritten digits recorded with a moving event camera, 34 × 34 pixels, in folders or zips of `.bin` files;
//! and other recordings in such files, of any sensor size and with class folders of any name ([`Layout`]).
//!
//! `Train.zip` and `Test.zip`, or the folders `Train` and `Test`, contain `<digit>/NNNNN.bin`; in a zip, they may be in
//! subfolders. [`super::atis`] describes the format of a file. Recordings are ordered by number, which mixes the digits.
//! Zips are read without unpacking them to disk.
//!
//! ```no_run
//! use spikegrad::data::nmnist::NMnist;
//!
//! for recording in NMnist::open("data/Train.zip".as_ref())?.iter() {
//!     let recording = recording?;
//!     println!("{}: a {}, {} events", recording.name, recording.digit, recording.events.len());
//! }
//! # Ok::<(), spikegrad::Error>(())
//! ```

use super::atis::{self, AtisEvent, EVENT_BYTES, SENSOR, Sensor};
use super::gunzip::inflated;
use super::recordings::{self, AT_ONCE, Bins, LoadProgress, Recordings, Tell, hex};
use super::shared_file::SharedFile;
use super::source::{Polarity, Shape};
use crate::error::{Error, Result, harmless, shown};
use crate::events::EventSet;
use crate::limits;
use rayon::prelude::*;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use xxhash_rust::xxh3::Xxh3;
use zip::{CompressionMethod, ZipArchive};

/// The environment variable with the path of the folder that contains the two zips or folders.
pub const VARIABLE: &str = "SPIKEGRAD_NMNIST";
/// Number of classes: the digits.
pub const CLASSES: u32 = 10;
/// Number of training and test recordings.
pub const RECORDINGS: [usize; 2] = [60_000, 10_000];
/// Duration of the paper's samples, ms.
pub const DURATION_MS: f64 = 300.0;
/// Maximum size of a recording in bytes, decompressed: a thousand times that of N-MNIST's.
pub const MAX_BYTES: u64 = 1 << 24;

/// What is expected of the recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The size of the sensor.
    pub sensor: Sensor,
    /// How polarities become input neurons.
    pub polarity: Polarity,
    /// The classes.
    pub classes: Classes,
}

/// How the folders of the recordings are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classes {
    /// By numbers, from 0 to one less than this.
    Numbered(u32),
    /// By these names.
    Named(Vec<String>),
    /// By any names; their order is that of numbers if all are, else alphabetical.
    Found,
}

impl Layout {
    /// That of N-MNIST.
    pub const N_MNIST: Layout =
        Layout { sensor: SENSOR, polarity: Polarity::Merged, classes: Classes::Numbered(CLASSES) };

    /// The maps of inputs.
    pub fn shape(&self) -> Shape {
        let channels = if self.polarity == Polarity::Separate { 2 } else { 1 };
        Shape { channels, height: self.sensor.height, width: self.sensor.width }
    }

    /// The input neuron of an event.
    fn neuron(&self, event: &AtisEvent) -> usize {
        let map = usize::from(event.polarity && self.polarity == Polarity::Separate);
        map * self.sensor.pixels() + self.sensor.pixel(event)
    }
}

/// A recording of a digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Its file, or its name in the zip.
    pub name: String,
    /// The digit, or the number of another class.
    pub digit: u32,
    /// The events, in the order of the file.
    pub events: Vec<AtisEvent>,
}

/// The recordings of a zip or a folder.
#[derive(Debug, Clone)]
pub struct NMnist {
    path: PathBuf,
    archive: Option<ZipArchive<SharedFile>>,
    members: Vec<Member>,
    layout: Layout,
    /// The names of the classes; empty if they are numbered.
    class_names: Vec<String>,
    /// Whether a recording must be in the folder of a class.
    labelled: bool,
    /// Files in the folders of classes that are no recordings.
    others: Others,
}

/// Files of other kinds.
#[derive(Debug, Clone, Default)]
struct Others {
    count: usize,
    /// One of them.
    example: String,
}

impl Others {
    /// Counts the file if it lies in the folder of a class, apart from those that file managers and archivers add.
    fn add(&mut self, name: &str) {
        let parts: Vec<&str> = name.split(['/', '\\']).collect();
        let added = |part: &&str| part.starts_with('.') || ["__MACOSX", "Thumbs.db", "desktop.ini", ""].contains(part);
        if parts.len() < 2 || parts.iter().any(added) || name.ends_with(".bin") {
            return;
        }
        if self.count == 0 {
            self.example = name.into();
        }
        self.count += 1;
    }
}

/// A recording's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    /// The number in the file name; files without one come last.
    number: u64,
    /// Its class, once known.
    digit: Option<u32>,
    name: String,
    /// Its folder's name.
    folder: String,
    /// Its index in the zip.
    index: usize,
}

impl Member {
    /// `None` for other files, such as those added by archivers.
    fn new(name: &str, index: usize) -> Option<Self> {
        let mut parts = name.rsplit(['/', '\\']);
        let (file, folder) = (parts.next()?, parts.next().unwrap_or(""));
        let stem = file.strip_suffix(".bin").filter(|stem| !stem.starts_with('.'))?;
        if parts.chain([folder]).any(|part| part == "__MACOSX") {
            return None;
        }
        let number = stem.parse().unwrap_or(u64::MAX);
        Some(Member { number, digit: None, name: name.into(), folder: folder.into(), index })
    }
}

impl NMnist {
    /// Lists the recordings of a zip, or of a folder with subfolders `0` to `9`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if it is neither, is damaged, or has no recordings.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, Layout::N_MNIST)
    }

    /// [`open`](Self::open) for recordings with another layout.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as(path: &Path, layout: Layout) -> Result<Self> {
        let mut others = Others::default();
        let (archive, members) = match fs::metadata(path).map_err(Error::io(path))?.is_dir() {
            true => (None, Self::folder(path, &mut others)?),
            false => Self::zip(path, &mut others)?,
        };
        if members.is_empty() {
            return Err(Error::format(path, "contains no recordings; expected <digit>/NNNNN.bin with digits 0 to 9"));
        }
        Ok(NMnist { others, ..Self::of(path, archive, members, layout) })
    }

    /// Recordings that need not be in a folder of their class: those of a zip, of a folder and its subfolders, or a single
    /// `.bin` file. Those that are in none have no label.
    pub(super) fn open_samples(path: &Path, layout: Layout) -> Result<Self> {
        let facts = fs::metadata(path).map_err(Error::io(path))?;
        let single = path.file_name().and_then(|name| Member::new(name.to_str()?, 0)).filter(|_| facts.is_file());
        let recordings = match single {
            Some(member) => Self::of(path.parent().unwrap_or(Path::new("")), None, vec![member], layout),
            None if facts.is_dir() => {
                let mut members = Self::folder(path, &mut Others::default())?;
                members.extend(entries(path)?.iter().filter_map(|file| Member::new(file, 0)));
                if members.is_empty() {
                    return Err(Error::format(path, "contains no recordings; expected files NNNNN.bin"));
                }
                Self::of(path, None, members, layout)
            }
            None => Self::open_as(path, layout)?,
        };
        Ok(NMnist { labelled: false, ..recordings })
    }

    fn of(path: &Path, archive: Option<ZipArchive<SharedFile>>, mut members: Vec<Member>, layout: Layout) -> Self {
        let class_names = layout.classes.label(&mut members);
        members.sort_unstable();
        NMnist { path: path.into(), archive, members, layout, class_names, labelled: true, others: Others::default() }
    }

    /// That there are files of other kinds in the folders of classes, which are not read.
    pub(super) fn unread(&self) -> Option<String> {
        let Others { count, example } = &self.others;
        let (path, example) = (shown(&self.path), harmless(example));
        match count {
            0 => None,
            1 => Some(format!("{path}: {example} is no .bin file of ATIS events and is not read")),
            n => Some(format!(
                "{path}: {n} files are no .bin files of ATIS events and are not read, for example {example}"
            )),
        }
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The names of the classes, which are those of the folders; empty if these are numbered from 0.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The smallest sensor that has all events. Reads all recordings that are not damaged.
    pub fn sensor(&self) -> Sensor {
        self.find_sensor(&|_| {})
    }

    /// [`sensor`](Self::sensor), with reports of the progress.
    pub(super) fn find_sensor(&self, tell: Tell) -> Sensor {
        self.sensors(tell).into_iter().fold(Sensor { width: 1, height: 1 }, Sensor::covering)
    }

    /// The smallest sensor of each recording that is not damaged and has events.
    pub(super) fn sensors(&self, tell: Tell) -> Vec<Sensor> {
        let of = |k| {
            let of = |event: &AtisEvent| Sensor { width: usize::from(event.x) + 1, height: usize::from(event.y) + 1 };
            self.recording(k).ok()?.events.iter().map(of).reduce(Sensor::covering)
        };
        let (mut sensors, of_all) = (Vec::new(), self.len());
        for begin in (0..of_all).step_by(AT_ONCE) {
            let end = of_all.min(begin + AT_ONCE);
            sensors.par_extend((begin..end).into_par_iter().filter_map(of));
            tell(LoadProgress { path: &self.path, done: end, of: of_all });
        }
        sensors
    }

    /// How the classes are named: by numbers if the name of a folder is one, as in N-MNIST, else by the folders' names.
    pub(super) fn naming(&self) -> Classes {
        let most = self.members.iter().filter_map(|member| class_number(&member.folder)).max();
        match most {
            Some(most) => Classes::Numbered(most.saturating_add(1)),
            None => Classes::Named(Classes::Found.label(&mut self.members.clone())),
        }
    }

    /// The same recordings on a sensor of another size.
    pub fn with_sensor(self, sensor: Sensor) -> Self {
        NMnist { layout: Layout { sensor, ..self.layout }, ..self }
    }

    fn folder(path: &Path, others: &mut Others) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for folder in entries(path)? {
            if !path.join(&folder).is_dir() {
                continue;
            }
            for file in entries(&path.join(&folder))? {
                let name = format!("{folder}/{file}");
                others.add(&name);
                members.extend(Member::new(&name, members.len()));
            }
        }
        Ok(members)
    }

    fn zip(path: &Path, others: &mut Others) -> Result<(Option<ZipArchive<SharedFile>>, Vec<Member>)> {
        let damaged = |what: String| {
            Error::format(path, format!("{what}; expected a complete zip of <digit>/NNNNN.bin, get the file again"))
        };
        limits::refuse_special(path)?;
        let file = SharedFile::new(File::open(path).map_err(Error::io(path))?).map_err(Error::io(path))?;
        let length = fs::metadata(path).map_err(Error::io(path))?.len();
        let mut archive = ZipArchive::new(file)
            .map_err(|e| damaged(format!("the directory at the end of its {length} bytes cannot be read ({e})")))?;
        if archive.has_duplicate_names() {
            return Err(damaged("its directory has a duplicate name".into()));
        }
        let claim = inflated_size(&mut archive);
        if claim > u128::from(inflated(length)) {
            return Err(damaged(format!("its {length} bytes claim to decompress to {claim}, which is suspicious")));
        }
        let mut members = Vec::new();
        for index in 0..archive.len() {
            // Names of recordings are valid text; others are skipped.
            if let Some(Ok(name)) = archive.name_for_index(index) {
                others.add(&name);
                members.extend(Member::new(&name, index));
            }
        }
        Ok((Some(archive), members))
    }

    /// Number of recordings.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no recordings. Never true, since [`NMnist::open`] refuses this.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Reads recording `k`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] naming the file, the byte and what was expected.
    ///
    /// # Panics
    /// If `k` is not below [`NMnist::len`].
    pub fn recording(&self, k: usize) -> Result<Recording> {
        let member = &self.members[k];
        let unlabelled = Some(EventSet::UNLABELLED).filter(|_| !self.labelled);
        let Some(digit) = member.digit.or(unlabelled) else {
            let what = match &self.layout.classes {
                Classes::Numbered(n) => {
                    format!("is not in a folder named after its digit, 0 to {}", n.saturating_sub(1))
                }
                _ => format!("is in a folder of none of the classes {}", self.class_names.join(", ")),
            };
            return Err(self.fault(member, what));
        };
        let bytes = self.bytes(member)?;
        if bytes.is_empty() {
            return Err(self.fault(member, format!("is empty; expected {EVENT_BYTES} bytes per event")));
        }
        let events: Result<Vec<AtisEvent>, _> = atis::events(&bytes, self.layout.sensor).collect();
        let events = events.map_err(|fault| self.fault(member, format!("byte {}: {}", fault.byte, fault.what)))?;
        Ok(Recording { name: member.name.clone(), digit, events })
    }

    /// Iterates over the recordings, ordered by number; errors as [`NMnist::recording`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Recording>> {
        (0..self.len()).map(|k| self.recording(k))
    }

    fn fault(&self, member: &Member, what: String) -> Error {
        match self.archive {
            Some(_) => Error::format(&self.path, format!("{}: {what}", member.name)),
            None => Error::format(self.path.join(&member.name), what),
        }
    }

    fn bytes(&self, member: &Member) -> Result<Vec<u8>> {
        let too_large =
            |n: u64| self.fault(member, format!("claims {n} bytes, at most {MAX_BYTES} of a recording are read"));
        let mut bytes = Vec::new();
        let Some(archive) = &self.archive else {
            let path = self.path.join(&member.name);
            limits::refuse_special(&path)?;
            let file = File::open(&path).map_err(Error::io(&path))?;
            let length = file.metadata().map_err(Error::io(&path))?.len();
            if length > MAX_BYTES {
                return Err(too_large(length));
            }
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(&path))?;
            return if bytes.len() as u64 > MAX_BYTES { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) };
        };
        // Clones share the directory, but each has its own file position.
        let mut archive = archive.clone();
        let method = archive.by_index_raw(member.index).map(|file| file.compression());
        if let Ok(method) = method
            && ![CompressionMethod::Stored, CompressionMethod::Deflated].contains(&method)
        {
            let name = compression_name(method);
            return Err(self.fault(
                member,
                format!(
                    "is compressed with {name}; only deflate, the default of zip programs, and no compression can be \
                     read; unpack the zip and use the folder"
                ),
            ));
        }
        let file = archive
            .by_index(member.index)
            .map_err(|e| self.fault(member, format!("cannot be read from the zip ({e})")))?;
        let claim = file.size();
        if claim > MAX_BYTES {
            return Err(too_large(claim));
        }
        // Memory grows with the bytes read, not with the claimed size, and decompression stops one byte after it.
        let read = file.take(claim + 1).read_to_end(&mut bytes);
        let found = bytes.len();
        match read {
            Err(e) => Err(self.fault(member, format!("damaged after byte {found} of {claim} ({e})"))),
            Ok(_) if found as u64 != claim => {
                Err(self
                    .fault(member, format!("byte {found}: {claim} bytes expected, but the data are shorter or longer")))
            }
            Ok(_) => Ok(bytes),
        }
    }

    /// A checksum of a zip's bytes, or of the names, sizes and modification times in a folder, since reading thousands of
    /// files is what the cache avoids.
    pub(super) fn checksum(path: &Path) -> Result<String> {
        let mut hash = Xxh3::new();
        if !fs::metadata(path).map_err(Error::io(path))?.is_dir() {
            return super::cache::checksum_of_file(path);
        }
        for folder in entries(path)? {
            let folder = path.join(folder);
            if !folder.is_dir() {
                continue;
            }
            for file in entries(&folder)? {
                let file = folder.join(file);
                let facts = fs::metadata(&file).map_err(Error::io(&file))?;
                let changed = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                hash.update(file.to_string_lossy().as_bytes());
                hash.update(&facts.len().to_le_bytes());
                hash.update(&changed.unwrap_or_default().as_nanos().to_le_bytes());
            }
        }
        Ok(format!("folder {}", hex(&hash)))
    }
}

/// The total decompressed size that the zip claims. Members may share compressed bytes, but each counts.
fn inflated_size(archive: &mut ZipArchive<SharedFile>) -> u128 {
    let members = archive.len();
    // Not available if sizes are stored after the data, as in zips written to a pipe.
    archive.decompressed_size().unwrap_or_else(|| {
        // A member with an error here cannot be read later either, so it counts as 0.
        let size = |index| archive.by_index_raw(index).map_or(0, |member| u128::from(member.size()));
        (0..members).map(size).sum()
    })
}

/// The name of a zip's compression method.
fn compression_name(method: CompressionMethod) -> String {
    // The numbers are those of the zip specification, APPNOTE 4.4.5.
    #[allow(deprecated)]
    match method {
        CompressionMethod::Unsupported(9) => "deflate64".into(),
        CompressionMethod::Unsupported(12) => "bzip2".into(),
        CompressionMethod::Unsupported(14) => "LZMA".into(),
        CompressionMethod::Unsupported(93) => "Zstandard".into(),
        CompressionMethod::Unsupported(95) => "XZ".into(),
        CompressionMethod::Unsupported(98) => "PPMd".into(),
        CompressionMethod::Unsupported(99) => "AES encryption".into(),
        CompressionMethod::Unsupported(number) => format!("method {number}"),
        other => format!("{other:?}"),
    }
}

/// The class of a folder that is named by its number.
fn class_number(folder: &str) -> Option<u32> {
    folder.parse().ok().filter(|number: &u32| number.to_string() == folder)
}

impl Classes {
    /// Sets the class of each member; returns the names of the classes.
    fn label(&self, members: &mut [Member]) -> Vec<String> {
        let names = match self {
            Classes::Numbered(n) => {
                for member in members {
                    member.digit = class_number(&member.folder).filter(|number| number < n);
                }
                return Vec::new();
            }
            Classes::Named(names) => names.clone(),
            Classes::Found => {
                let mut names: Vec<String> = members.iter().map(|member| member.folder.clone()).collect();
                names.sort_unstable();
                names.dedup();
                let number = |name: &String| name.parse::<u64>().ok();
                if names.iter().all(|name| number(name).is_some()) {
                    names.sort_by_key(number);
                }
                names
            }
        };
        let numbers: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        for member in members {
            member.digit = numbers.get(member.folder.as_str()).copied();
        }
        names
    }
}

/// The names in a folder, sorted. Names that are not valid text are skipped.
fn entries(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        names.extend(entry.map_err(Error::io(folder))?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

impl Recordings for NMnist {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        NMnist::len(self)
    }

    fn read(&self, k: usize, _: &Bins) -> Result<recordings::Recording> {
        let recording = self.recording(k)?;
        let spike = |event: &AtisEvent| (event.t_us as f64 / 1000.0, self.layout.neuron(event) as u32);
        let spikes = recording.events.iter().map(spike).collect();
        Ok(recordings::Recording { label: recording.digit, speaker: None, spikes })
    }

    fn ordered(&self) -> bool {
        true
    }

    fn name(&self, k: usize) -> Option<String> {
        Some(self.members[k].name.clone())
    }

    fn fault(&self, k: usize, what: String) -> Error {
        NMnist::fault(self, &self.members[k], what)
    }
}

/// The zips or folders of the training and test halves in `folder`; zips take precedence.
///
/// # Errors
/// [`Error::Format`] naming what is missing.
pub fn halves(folder: &Path) -> Result<[PathBuf; 2]> {
    let contains =
        if folder.try_exists().map_err(Error::io(folder))? { "contains no" } else { "does not exist; it should hold" };
    let find = |names: [&str; 4]| {
        let found = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
        let [zip, unpacked, ..] = names;
        found.ok_or_else(|| {
            Error::format(folder, format!("{contains} {zip} or folder {unpacked}; get both files of N-MNIST"))
        })
    };
    Ok([find(["Train.zip", "Train", "train.zip", "train"])?, find(["Test.zip", "Test", "test.zip", "test"])?])
}

#[cfg(test)]
#[path = "nmnist_tests.rs"]
mod tests;
