//! Files that are designed to exhaust memory, to be endless, or to overwrite files of others.

use super::{ALONE, peak, readers, seeds_of};
use flate2::Compression;
use flate2::write::GzEncoder;
use spikegrad::Error;
use spikegrad::data::{DataConfig, LoadOptions, idx, nmnist::NMnist, shd::Shd, survey};
use spikegrad::golden::Case;
use spikegrad::presets;
use spikegrad::train::{Checkpoint, metrics};
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use zip::write::{SimpleFileOptions, ZipWriter};

const MIB: usize = 1 << 20;

/// The message with which `read` refuses the file of these bytes, having taken `most` bytes of memory at most.
fn refused<T: 'static>(name: &str, bytes: &[u8], most: usize, read: fn(&Path) -> Result<T, Error>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    refused_path(path, most, read)
}

fn refused_path<T: 'static>(path: PathBuf, most: usize, read: fn(&Path) -> Result<T, Error>) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    let what = path.display().to_string();
    let took = peak(&what, move || drop(tell.send(read(&path).err().map(|error| error.to_string()))));
    assert!(took <= most, "{what}: took {took} bytes");
    told.recv().unwrap().expect("the file was taken")
}

fn says(message: &str, words: &[&str]) {
    for part in words {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn gzipped_zeros(head: &[u8], mib: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(head).unwrap();
    (0..mib).for_each(|_| encoder.write_all(&vec![0; MIB]).unwrap());
    encoder.finish().unwrap()
}

/// The arrays of a `.npz` file: zeros, of which so many compress to nothing.
fn npz_of_zeros(each: usize) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["t", "i", "starts", "labels"] {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({each},), }}\n");
        let magic = [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..]].concat();
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
        zip.write_all(&[&magic, header.as_bytes(), &vec![0; each]].concat()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn arrays_take_no_more_than_data_would() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let read = |path: &Path| {
        let options = LoadOptions { reading: DataConfig::at(path), ..LoadOptions::default() };
        survey("events", &options, None).map(|survey| survey.facts)
    };
    let message = refused("bomb.npz", &npz_of_zeros(40 * MIB), 150 * MIB, read);
    says(&message, &["`i` claims", "suspicious"]);
    // Within the limit, but more samples than are read.
    let message = refused("many.npz", &npz_of_zeros(15 * MIB), 150 * MIB, read);
    says(&message, &["15728640", "1 to 4194304 labels"]);
    let header = format!("{{\"t\":{{\"dtype\":\"U8\",\"shape\":[{0}],\"data_offsets\":[0,{0}]}}}}", 1u64 << 40);
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    says(&refused("claim.safetensors", &bytes, MIB, read), &["not a complete safetensors file"]);
}

#[test]
fn gzip_bombs_end_where_data_would() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A million black images, as the header claims. 64 MiB are inflated freely; a vector doubles as it grows.
    let head: Vec<u8> = [0x803u32, 1_000_000, 28, 28].iter().flat_map(|word| word.to_be_bytes()).collect();
    let message = refused("images.gz", &gzipped_zeros(&head, 100), 256 * MIB, idx::read_images);
    says(&message, &["images.gz", "decompress to", "which is suspicious"]);
    let message = refused("train.h5", &gzipped_zeros(&[], 100), 256 * MIB, Shd::open);
    says(&message, &["train.h5", "decompress to", "which is suspicious"]);
}

#[test]
fn a_zip_bomb_is_refused_by_what_it_claims() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for k in 0..12 {
        zip.start_file(format!("Train/3/{k:05}.bin"), SimpleFileOptions::default()).unwrap();
        zip.write_all(&vec![0; 8 * MIB]).unwrap();
    }
    let bytes = zip.finish().unwrap().into_inner();
    let message = refused("Train.zip", &bytes, MIB, NMnist::open);
    says(&message, &["Train.zip", "claim to decompress to 100663296", "which is suspicious"]);
}

#[test]
fn names_that_lead_out_of_a_zip_are_names_alone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, bytes) = seeds_of("nmnist_zip").into_iter().find(|(path, _)| path.ends_with("leads-out.zip")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("Train.zip"), bytes).unwrap();
    let set = NMnist::open(&inner.join("Train.zip")).unwrap();
    assert_eq!(set.iter().filter(Result::is_ok).count(), 4, "they are read, where they are");
    let count = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!((count(folder.path()), count(&folder.path().join("a")), count(&inner)), (1, 1, 1));
}

/// A safetensors file of this header and nothing else.
fn header(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn checkpoint(path: &Path) -> Result<Checkpoint, Error> {
    Checkpoint::load(path, &readers::checkpoint_network())
}

#[test]
fn tensors_that_claim_everything_take_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for shape in ["[9223372036854775808]", "[4294967296,4294967296,16]", "[18446744073709551615,0]"] {
        let text = format!(r#"{{"w.0":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}"#);
        says(&refused("c.safetensors", &header(&text), MIB, checkpoint), &["c.safetensors"]);
        says(&refused("g.safetensors", &header(&text), MIB, Case::read), &["g.safetensors"]);
    }
    for claim in [u64::MAX, 1 << 63, 1 << 40] {
        let bytes = [&claim.to_le_bytes()[..], b"{}"].concat();
        says(&refused("c.safetensors", &bytes, MIB, checkpoint), &["not a complete safetensors file"]);
    }
}

#[test]
fn an_hdf5_file_that_claims_more_utterances_than_there_are_is_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, mut bytes) = seeds_of("shd").into_iter().find(|(path, _)| path.ends_with("earliest.h5")).unwrap();
    let (three, many) = (3u64.to_le_bytes(), (1u64 << 40).to_le_bytes());
    let places: Vec<usize> = (0..bytes.len() - 8).filter(|&at| bytes[at..at + 8] == three).collect();
    assert!(places.len() >= 4, "{places:?}");
    places.iter().for_each(|&at| bytes[at..at + 8].copy_from_slice(&many));
    let message = refused("train.h5", &bytes, 20 * MIB, Shd::open);
    says(&message, &["train.h5", "1099511627776 entries, the limit is 1048576"]);
}

#[test]
fn hdf5_collections_that_lie_in_each_other_are_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, mut bytes) = seeds_of("shd").into_iter().find(|(path, _)| path.ends_with("earliest.h5")).unwrap();
    // Every list points into a collection of its own, each as long as all that follows.
    let at = bytes.windows(4).position(|window| window == b"GCOL").unwrap();
    let address = (at as u64).to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 8).filter(|&at| bytes[at..at + 8] == address).collect();
    assert_eq!(places.len(), 6, "the lists of three utterances");
    let end = bytes.len() + (1 << 16);
    for place in places {
        let at = bytes.len();
        bytes[place..place + 8].copy_from_slice(&(at as u64).to_le_bytes());
        bytes.extend_from_slice(b"GCOL\x01\0\0\0");
        bytes.extend_from_slice(&((end - at) as u64).to_le_bytes());
    }
    bytes.resize(end, 0);
    let message = refused("train.h5", &bytes, MIB, Shd::open);
    says(&message, &["train.h5: its collections of numbers claim", "bytes in total"]);
}

#[test]
fn endless_files_are_not_read_to_their_end() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    // Sparse: it takes no space on the disk.
    let path = folder.path().join("endless.toml");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let config = |path: &Path| presets::load(path, false);
    for message in [
        refused_path(path.clone(), MIB, checkpoint),
        refused_path(path.clone(), MIB, config),
        refused_path(path.clone(), MIB, Case::read),
        refused_path(path.clone(), MIB, metrics::read),
    ] {
        says(&message, &["endless.toml: has more than", "the limit for"]);
    }
    says(&refused_path(path, MIB, idx::read_images), &["magic number 0x0"]);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_waited_for() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("3/00001.bin");
    fs::create_dir(pipe.parent().unwrap()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let first = |path: &Path| NMnist::open(path)?.recording(0);
    says(&refused_path(folder.path().into(), MIB, first), &["00001.bin: is a pipe or a device"]);
    let zip = folder.path().join("Train.zip");
    fs::rename(&pipe, &zip).unwrap();
    says(&refused_path(zip.clone(), MIB, first), &["Train.zip: is a pipe or a device"]);
    fs::rename(&zip, &pipe).unwrap();
    says(&refused_path(pipe, MIB, checkpoint), &["is a pipe or a device"]);
    says(&refused_path("/dev/zero".into(), MIB, metrics::read), &["/dev/zero: is a pipe or a device"]);
}

#[test]
fn a_config_of_countless_layers_takes_no_more_than_they_are() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let layers = "{},".repeat(100_000);
    let text = format!("preset = \"fmnist\"\n[network]\nhidden = [{layers}]\n");
    let message = refused("layers.toml", text.as_bytes(), 64 * MIB, |path| presets::load(path, false));
    says(&message, &["layers.toml", "hidden"]);
}

#[test]
fn what_is_quoted_of_a_file_does_not_steer_the_terminal() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = "preset = \"fmnist\"\n\"\u{1b}[2J\" = 1\nepochs = \"\\u001b[2J\"\n";
    for text in [text.to_string(), format!("preset = \"{}\"", "\\u001b]0;x".repeat(1 << 14))] {
        let message = refused("c.toml", text.as_bytes(), 16 * MIB, |path| presets::load(path, false));
        assert!(!message.contains(|c: char| c.is_control() && c != '\n') && message.len() < 20_000, "{message:?}");
    }
}
