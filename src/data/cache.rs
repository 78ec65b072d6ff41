//! Caches the binned events of large data sets in the user's cache folder.
//!
//! A cache file is safetensors, readable from Python: u32 tensors `starts`, `events` (time step << 16 | neuron), `labels`
//! and `speakers`. Its metadata have a checksum of the source and one of the tensors. If the file is damaged, outdated or
//! of another version, the source is read again and the file is replaced atomically. Any error of the cache only means
//! that the source is read.

use super::Clock;
use super::recordings::{Bins, Half, hex};
use crate::error::{Error, Result};
use crate::events::{Event, EventSet};
use crate::files::{remove_abandoned, write_parts_atomically};
use etcetera::BaseStrategy;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Minimum size of a source in bytes. Reading smaller ones is as fast as reading the cache.
const WORTHWHILE: u64 = 4 << 20;
/// Must be changed if the meaning of the tensors, or how recordings are read and binned, changes.
const VERSION: &str = "spikegrad events 2";

/// Where the events of large data sets are cached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cache {
    /// In `spikegrad/data` of the user's cache folder, if there is one.
    #[default]
    User,
    /// In this folder, regardless of the data set's size.
    Folder(PathBuf),
    /// No cache.
    Off,
}

impl Cache {
    /// The cache file for a source of `bytes` bytes; `None` if it is not to be cached.
    pub(super) fn file(&self, source: &Path, bytes: u64, bins: &Bins) -> Option<PathBuf> {
        let folder = match self {
            Cache::Folder(folder) => folder.clone(),
            Cache::User if bytes >= WORTHWHILE => {
                etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir().join("spikegrad").join("data")
            }
            _ => return None,
        };
        // One file per source path and binning, replaced if the source changes, so that the cache does not grow.
        let place = fs::canonicalize(source).ok()?;
        let name = place.file_stem()?.to_string_lossy().into_owned();
        let place = xxh3_64(place.to_string_lossy().as_bytes());
        Some(folder.join(format!("{name}-{}x{}ms-{place:016x}.safetensors", bins.time_steps, bins.dt_ms)))
    }
}

/// The checksum of a file's bytes.
pub(super) fn checksum_of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut hash = Xxh3::new();
    let mut block = vec![0; 1 << 18];
    loop {
        match file.read(&mut block).map_err(Error::io(path))? {
            0 => return Ok(format!("file {}", hex(&hash))),
            n => hash.update(&block[..n]),
        }
    }
}

fn tensors(half: &Half) -> [(&'static str, &[u32]); 4] {
    [
        ("starts", half.set.starts()),
        ("events", bytemuck::cast_slice(half.set.events())),
        ("labels", half.set.labels()),
        ("speakers", &half.speakers),
    ]
}

/// The words as little-endian bytes.
fn bytes(words: &[u32]) -> std::borrow::Cow<'_, [u8]> {
    match cfg!(target_endian = "little") {
        true => bytemuck::cast_slice(words).into(),
        false => words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().into(),
    }
}

/// Checksum of the tensors and of the numbers in the metadata.
fn checksum<'a>(tensors: impl IntoIterator<Item = &'a [u8]>, numbers: [u64; 5]) -> String {
    let mut hash = Xxh3::new();
    numbers.iter().for_each(|number| hash.update(&number.to_le_bytes()));
    for bytes in tensors {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hex(&hash)
}

/// The file's contents; `None` if it is damaged or not of this source.
pub(super) fn read(file: &Path, source: &str, bins: &Bins) -> Option<Half> {
    let held = fs::read(file).ok()?;
    let (_, metadata) = SafeTensors::read_metadata(&held).ok()?;
    let metadata = metadata.metadata().as_ref()?;
    let is = |key: &str, value: &str| metadata.get(key).is_some_and(|held| held == value);
    let number = |key: &str| metadata.get(key)?.parse::<u64>().ok();
    if !is("version", VERSION) || !is("source", source) || !is("bins", &bins_text(bins)) {
        return None;
    }
    let tensors = SafeTensors::deserialize(&held).ok()?;
    let words = |name: &str| {
        let view = tensors.tensor(name).ok()?;
        (view.dtype() == Dtype::U32).then(|| view.data())
    };
    let parts = [words("starts")?, words("events")?, words("labels")?, words("speakers")?];
    let numbers =
        [number("neurons")?, number("recorded")?, number("dropped")?, number("disordered")?, number("first_ms_bits")?];
    if !is("checksum", &checksum(parts, numbers)) {
        return None;
    }
    let [starts, events, labels, speakers] =
        parts.map(|bytes| bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect::<Vec<u32>>());
    let events = bytemuck::cast_vec::<u32, Event>(events);
    let [neurons, recorded, dropped, disordered, first_ms] = numbers;
    let set = EventSet::from_parts(neurons as usize, bins.time_steps, starts, events, labels).ok()?;
    let whole = speakers.is_empty() || speakers.len() == set.len();
    let first_ms = f64::from_bits(first_ms);
    whole.then(|| Half { speakers, recorded, dropped, disordered, first_ms, ..Half::of(set) })
}

/// Writes a half to the cache, unless it has bad recordings, which are to be listed each time.
///
/// # Errors
/// [`Error::Io`]; the file is left unchanged.
pub(super) fn write(file: &Path, source: &str, bins: &Bins, half: &Half) -> Result<()> {
    if !half.bad.is_empty() {
        return Ok(());
    }
    let parts = tensors(half).map(|(name, words)| (name, words.len(), bytes(words)));
    let numbers = [half.set.neurons() as u64, half.recorded, half.dropped, half.disordered, half.first_ms.to_bits()];
    let metadata = HashMap::from(
        [
            ("version", VERSION.to_string()),
            ("source", source.to_string()),
            ("bins", bins_text(bins)),
            ("checksum", checksum(parts.iter().map(|(_, _, bytes)| &bytes[..]), numbers)),
            ("neurons", numbers[0].to_string()),
            ("recorded", numbers[1].to_string()),
            ("dropped", numbers[2].to_string()),
            ("disordered", numbers[3].to_string()),
            ("first_ms_bits", numbers[4].to_string()),
        ]
        .map(|(key, value)| (key.to_string(), value)),
    );
    let header = header(metadata, parts.each_ref().map(|(name, n, _)| (*name, *n)))
        .map_err(|e| Error::format(file, format!("cannot be written: {e}")))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    remove_abandoned(folder);
    let [starts, events, labels, speakers] = parts.each_ref().map(|(_, _, bytes)| &bytes[..]);
    write_parts_atomically(file, &[&header, starts, events, labels, speakers])
}

/// The header of a safetensors file: the length of the JSON, then the JSON. Not written with the crate, which either
/// copies all tensors into one block, doubling the memory, or replaces the file in a way that fails on Windows while the
/// file is open.
fn header<const N: usize>(
    metadata: HashMap<String, String>,
    tensors: [(&str, usize); N],
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut end = 0;
    let infos = tensors.map(|(name, n)| {
        let begin = end;
        end += n * size_of::<u32>();
        (name.to_string(), TensorInfo { dtype: Dtype::U32, shape: vec![n], data_offsets: (begin, end) })
    });
    let mut json = serde_json::to_vec(&Metadata::new(Some(metadata), infos.into())?)?;
    // The tensors begin at a multiple of eight bytes.
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

fn bins_text(bins: &Bins) -> String {
    let origin = match bins.clock {
        Clock::Recording => "",
        Clock::FirstEvent => " from the first event",
    };
    format!("{} of {} ms{origin}", bins.time_steps, bins.dt_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINS: Bins = Bins { time_steps: 9, dt_ms: 2.0, clock: Clock::Recording };

    fn half() -> Half {
        let mut set = EventSet::new(5, 9);
        set.push([(8, 4), (0, 1)], 3).unwrap();
        set.push([], 1).unwrap();
        let (recorded, dropped, disordered, first_ms) = (12, 2, 1, 0.5);
        Half { speakers: vec![4, 5], recorded, dropped, disordered, first_ms, ..Half::of(set) }
    }

    fn kept() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/half.safetensors");
        write(&file, "abc", &BINS, &half()).unwrap();
        (folder, file)
    }

    #[test]
    fn what_was_kept_is_read() {
        let (_folder, file) = kept();
        assert_eq!(read(&file, "abc", &BINS), Some(half()));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing temporary is left");
    }

    /// Other programs can read the file; the crate requires tensors in order and without gaps.
    #[test]
    fn the_file_is_safetensors() {
        let (_folder, file) = kept();
        let held = fs::read(&file).unwrap();
        let tensors = SafeTensors::deserialize(&held).unwrap();
        let mut names = tensors.names();
        names.sort();
        assert_eq!(names, ["events", "labels", "speakers", "starts"]);
        assert_eq!(tensors.tensor("labels").unwrap().data(), bytes(half().set.labels()).as_ref());
        assert_eq!(tensors.tensor("starts").unwrap().shape(), [3]);
        assert_eq!(u64::from_le_bytes(held[..8].try_into().unwrap()) % 8, 0);
    }

    /// An empty file of the cache's name cannot be made in a folder that is a file.
    #[test]
    fn what_cannot_be_kept_is_told() {
        let (_folder, file) = kept();
        let error = write(&file.join("deeper.safetensors"), "abc", &BINS, &half()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }

    #[test]
    fn another_source_or_binning_or_a_bad_recording_is_not_kept() {
        let (_folder, file) = kept();
        assert_eq!(read(&file, "abd", &BINS), None);
        assert_eq!(read(&file, "abc", &Bins { dt_ms: 1.0, ..BINS }), None);
        assert_eq!(read(&file, "abc", &Bins { time_steps: 10, ..BINS }), None);
        assert_eq!(read(&file, "abc", &Bins { clock: Clock::FirstEvent, ..BINS }), None);
        let other = file.with_file_name("none");
        write(&other, "abc", &BINS, &Half { bad: vec!["x".into()], ..half() }).unwrap();
        assert_eq!(read(&other, "abc", &BINS), None);
    }

    #[test]
    fn a_damaged_file_does_not_count() {
        let (_folder, file) = kept();
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&file, &damaged).unwrap();
            // Some bytes may change without effect, but the data may not.
            assert!(read(&file, "abc", &BINS).is_none_or(|read| read == half()), "{at}");
            fs::write(&file, &whole[..at]).unwrap();
            assert_eq!(super::read(&file, "abc", &BINS), None, "{at}");
        }
    }

    #[test]
    fn a_place_and_binning_has_one_file_and_small_data_none() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("Train.zip");
        fs::write(&source, "x").unwrap();
        let cache = Cache::Folder(folder.path().into());
        let file = cache.file(&source, 1, &BINS).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("Train-9x2ms-") && name.ends_with(".safetensors"), "{name}");
        assert_eq!(cache.file(&source, 1 << 30, &BINS), Some(file.clone()));
        assert_ne!(cache.file(&source, 1, &Bins { dt_ms: 1.0, ..BINS }), Some(file));
        assert_eq!(Cache::User.file(&source, WORTHWHILE - 1, &BINS), None);
        assert_eq!(Cache::Off.file(&source, 1 << 30, &BINS), None);
    }
}
