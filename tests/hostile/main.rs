//! All readers with untrusted input: the seeds of the fuzz targets and a fixed number of mutations of each. Readers must not
//! panic, hang, or use disproportionate memory. docs/reliability.md has the findings of longer runs of the fuzz targets, whose
//! inputs are now seeds.

mod bombs;
mod readers;
mod seeds;

use peak_alloc::PeakAlloc;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use readers::{READERS, Reader};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Changes of each seed.
const CHANGES: u64 = 250;
/// More than any input takes on any machine: nothing ends after that.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most memory that a reader may take for an input of some kilobytes: a collection of an HDF5 file, a block of the cache.
const MOST_BYTES: usize = 100 << 20;

/// What is measured is the memory of all threads: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `work` on a thread of its own; how many bytes it took at most.
///
/// # Panics
/// Where it panics or does not end, saying `what`.
fn peak(what: &str, work: impl FnOnce() + Send + 'static) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        let _ = tell.send(());
    });
    match told.recv_timeout(PATIENCE) {
        Ok(()) => MEMORY.peak_usage().saturating_sub(before),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: does not end"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{what}: panicked"),
    }
}

fn seeds_of(reader: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/seeds").join(reader);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// One change: bytes or whole numbers replaced, stretches cut, doubled or taken from another seed.
fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut ChaCha8Rng) {
    let mut below = |n: usize| (random.next_u64() % n.max(1) as u64) as usize;
    if bytes.is_empty() {
        bytes.extend_from_slice(other);
        return;
    }
    let at = below(bytes.len());
    let length = 1 + below(16.min(bytes.len() - at));
    let byte = [0, 1, 0x7f, 0x80, 0xff, below(256) as u8][below(6)];
    let number =
        [0, 1, u64::MAX, i64::MAX as u64, 1 << 63, 1 << 31, u32::MAX.into(), 1 << 16, 1 << below(64)][below(9)];
    match below(8) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << below(8),
        2 => bytes[at] = byte,
        3 | 4 => {
            let width = [2, 4, 8][below(3)].min(bytes.len() - at);
            let word =
                if below(2) == 0 { number.to_le_bytes() } else { number.rotate_left(8 * width as u32).to_be_bytes() };
            bytes[at..at + width].copy_from_slice(&word[..width]);
        }
        5 => drop(bytes.drain(at..at + length)),
        6 => {
            let piece = bytes[at..at + length].repeat(1 + below(20));
            bytes.splice(at..at, piece);
        }
        _ => {
            let from = below(other.len());
            let piece = &other[from..other.len().min(from + 1 + below(64))];
            bytes.splice(at..at + length, piece.iter().copied());
        }
    }
}

/// All changes of all seeds of a reader.
fn attack((name, reader): Reader) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seeds = seeds_of(name);
    assert!(!seeds.is_empty());
    let folder = tempfile::tempdir().unwrap();
    for (k, (path, seed)) in seeds.iter().enumerate() {
        for round in 0..=CHANGES {
            let mut random = ChaCha8Rng::seed_from_u64(round << 32 | k as u64);
            let mut bytes = seed.clone();
            let changes = if round == 0 { 0 } else { 1 + random.next_u64() % 4 };
            for _ in 0..changes {
                let other = &seeds[(random.next_u64() % seeds.len() as u64) as usize].1;
                change(&mut bytes, other, &mut random);
            }
            let what = format!("reader {name}, {} changed by round {round}", path.display());
            let folder = folder.path().to_path_buf();
            let took = peak(&what, move || reader(&bytes, &folder));
            assert!(took <= MOST_BYTES, "{what}: took {took} bytes");
        }
    }
}

macro_rules! attacks {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let found = READERS.iter().find(|(name, _)| *name == stringify!($name));
                attack(*found.unwrap());
            }
        )*
        const ATTACKED: &[&str] = &[$(stringify!($name)),*];
    };
}
attacks! { idx atis nmnist_zip shd npz tensors cache checkpoint config golden conformance metrics figures nir }

#[test]
fn every_reader_is_attacked_and_has_a_fuzz_target() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(READERS.iter().map(|(name, _)| *name).eq(ATTACKED.iter().copied()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Not part of the published package.
    if root.join("fuzz").exists() {
        for name in ATTACKED {
            let target = fs::read_to_string(root.join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
            assert!(target.contains(&format!("read(\"{name}\"")));
        }
    }
}

/// The crates that deny.toml forbids because they open connections: here too, where there is no cargo-deny.
#[test]
fn nothing_opens_a_connection() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = |name: &str| fs::read_to_string(root.join(name)).unwrap().parse::<toml::Table>().unwrap();
    let (lock, deny) = (table("Cargo.lock"), table("deny.toml"));
    let packages = lock["package"].as_array().unwrap();
    assert!(packages.len() > 100);
    for entry in deny["bans"]["deny"].as_array().unwrap() {
        let forbidden = entry["crate"].as_str().unwrap();
        let wrappers = entry.get("wrappers").and_then(|list| list.as_array()).cloned().unwrap_or_default();
        let wanted = packages.iter().filter(|package| !wrappers.contains(&package["name"]));
        let mut wanted = wanted.filter_map(|package| package.get("dependencies")?.as_array());
        let by_name = |entry: &toml::Value| entry.as_str().is_some_and(|e| e.split(' ').next() == Some(forbidden));
        assert!(!wanted.any(|list| list.iter().any(by_name)), "{forbidden} is in Cargo.lock");
    }
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // The page's server listens.
            let words: &[&str] = match path.ends_with("src/live/server.rs") {
                true => &["connect(", "UdpSocket", "UNSPECIFIED", "0.0.0.0"],
                false => &["std::net", "tokio::net", "TcpStream", "UdpSocket"],
            };
            assert!(words.iter().all(|word| !text.contains(word)), "{}", path.display());
        }
    }
}
