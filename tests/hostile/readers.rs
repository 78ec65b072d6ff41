//! All readers of files as functions of bytes, for `tests/hostile` and the fuzz targets (`fuzz/`).
//!
//! A reader may accept or refuse the bytes. It must not panic, and accepted values must satisfy the invariants of their
//! types, which are asserted here.

use safetensors::SafeTensors;
use spikegrad::data::{self, Cache, DataConfig, LoadOptions, atis, idx, nmnist::NMnist, shd};
use spikegrad::device::Device;
use spikegrad::engine::{Engine, Method};
use spikegrad::events::EventSet;
use spikegrad::golden::{self, Case, ConformanceDevice, DeltaInputs};
use spikegrad::network::Network;
use spikegrad::nir::{Export, Import, from_nir, to_nir};
use spikegrad::presets;
use spikegrad::reproduce;
use spikegrad::train::{Checkpoint, metrics};
use spikegrad::weights::Weights;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use xxhash_rust::xxh3::Xxh3;

/// A reader: its name, which is that of its fuzz target and of its folder of seeds, and what it does with bytes. The folder
/// is the reader's own, empty at first and kept from call to call.
pub type Reader = (&'static str, fn(&[u8], &Path));

/// All of them.
pub const READERS: [Reader; 14] = [
    ("idx", |bytes, _| read_idx(bytes)),
    ("atis", |bytes, _| read_atis(bytes)),
    ("nmnist_zip", read_nmnist_zip),
    ("shd", read_shd),
    ("npz", |bytes, folder| read_events(bytes, folder, "data.npz")),
    ("tensors", |bytes, folder| read_events(bytes, folder, "data.safetensors")),
    ("cache", read_cache),
    ("checkpoint", read_checkpoint),
    ("config", |bytes, _| read_config(bytes)),
    ("golden", read_golden),
    ("conformance", play_golden),
    ("metrics", read_metrics),
    ("figures", read_figures),
    ("nir", read_nir),
];

/// Runs the reader of this name, with a folder in memory where there is one.
#[allow(dead_code, reason = "for the fuzz targets")]
pub fn read(name: &str, bytes: &[u8]) {
    use std::sync::OnceLock;
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = parent.join(format!("spikegrad-fuzz-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder to read from");
        folder
    });
    let (_, reader) = READERS.into_iter().find(|(other, _)| *other == name).expect("a reader of this name");
    reader(bytes, folder);
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a file to read from");
    path
}

fn read_idx(bytes: &[u8]) {
    let name = Path::new("stranger.idx.gz");
    if let Ok(images) = idx::images_from(bytes, name) {
        assert_eq!(images.pixels.len(), images.len() * images.height * images.width);
        assert!(!images.is_empty());
    }
    if let Ok(labels) = idx::labels_from(bytes, name) {
        assert!(!labels.is_empty());
    }
}

fn read_atis(bytes: &[u8]) {
    let events: Vec<_> = atis::events(bytes, atis::SENSOR).collect();
    assert!(events.len() <= bytes.len().div_ceil(atis::EVENT_BYTES));
    let good = events.len() - usize::from(events.last().is_some_and(Result::is_err));
    assert!(
        events[..good]
            .iter()
            .all(|event| event.as_ref().is_ok_and(|event| atis::SENSOR.pixel(event) < atis::SENSOR.pixels()))
    );
    if let Some(Err(fault)) = events.last() {
        assert!(fault.byte < bytes.len());
    }
}

fn read_nmnist_zip(bytes: &[u8], folder: &Path) {
    let path = put(folder, "Train.zip", bytes);
    if let Ok(set) = NMnist::open(&path) {
        for recording in set.iter().take(64).flatten() {
            assert!(
                recording.digit < 10
                    && recording.events.iter().all(|event| atis::SENSOR.pixel(event) < atis::SENSOR.pixels())
            );
        }
    }
    // Nothing is ever unpacked.
    assert_eq!(fs::read_dir(folder).expect("the folder").count(), 1);
}

fn read_shd(bytes: &[u8], folder: &Path) {
    let path = put(folder, "train.h5", bytes);
    if let Ok(set) = shd::Shd::open(&path) {
        for utterance in set.iter().take(256).flatten() {
            assert!(utterance.label < shd::CLASSES && utterance.times.len() == utterance.units.len());
            assert!(utterance.spikes().all(|(t, unit)| (0.0..=shd::MAX_SECONDS).contains(&t) && unit < 700));
        }
    }
}

/// Own data, of which a part becomes the test set.
fn read_events(bytes: &[u8], folder: &Path, name: &str) {
    let reading = DataConfig::at(put(folder, name, bytes));
    let options = |reading: &DataConfig| LoadOptions {
        reading: reading.clone(),
        skip_bad: true,
        cache: Cache::Off,
        ..LoadOptions::default()
    };
    let Ok(survey) = data::survey("events", &options(&reading), None) else { return };
    let facts = survey.facts.clone();
    let mut config = presets::ours("events").expect("a preset");
    config.data = reading;
    if config.fit(&facts).is_err() {
        return;
    }
    let network = &config.network;
    assert_eq!((network.inputs, network.classes()), (facts.inputs, facts.classes));
    if let Ok(set) = data::load_surveyed("events", network, &options(&config.data), survey) {
        for half in [&*set.train, &set.test] {
            let unlabelled = half.labels().contains(&EventSet::UNLABELLED);
            assert!(unlabelled || half.check_fits(network.inputs, network.time_steps, network.classes()).is_ok());
        }
    }
}

/// A zip stands for both halves of an N-MNIST; the bytes stand for what the program kept of it.
fn read_cache(bytes: &[u8], folder: &Path) {
    let (source, kept) = (folder.join("source"), folder.join("kept"));
    let network = cached_network();
    let options = LoadOptions { folder: Some(&source), cache: Cache::Folder(kept.clone()), ..LoadOptions::default() };
    let load = || data::load_with("nmnist", &network, &options).expect("what is kept cannot fail but into reading");
    let genuine = folder.join("genuine");
    if !genuine.exists() {
        fs::create_dir_all(&source).expect("a folder");
        for name in ["Train.zip", "Test.zip"] {
            put(&source, name, include_bytes!("seeds/nmnist_zip/two.zip"));
        }
        load();
        let file = fs::read_dir(&kept).expect("the folder").flatten().next().expect("a kept half");
        fs::copy(file.path(), &genuine).expect("a copy");
    }
    // With the checksums of the source and of what it holds, so that more than those is tried.
    let forged = sealed(bytes, &fs::read(&genuine).expect("the genuine file"));
    for entry in fs::read_dir(&kept).expect("the folder of what is kept").flatten() {
        fs::write(entry.path(), forged.as_deref().unwrap_or(bytes)).expect("a file to read from");
    }
    let set = load();
    for half in [&*set.train, &set.test] {
        assert!(half.check_fits(network.inputs, network.time_steps, network.classes()).is_ok());
    }
}

/// The network that [`read_cache`] loads data for.
pub fn cached_network() -> Network {
    let mut network = presets::ours("nmnist").expect("a preset").network;
    network.time_steps = 6;
    network
}

/// The tensors and numbers of `bytes` with the source and a checksum such that they count.
fn sealed(bytes: &[u8], genuine: &[u8]) -> Option<Vec<u8>> {
    let metadata = |bytes: &[u8]| SafeTensors::read_metadata(bytes).ok()?.1.metadata().clone();
    let file = SafeTensors::deserialize(bytes).ok()?;
    let (mut entries, genuine) = (metadata(bytes)?, metadata(genuine)?);
    let mut hash = Xxh3::new();
    for number in ["neurons", "recorded", "dropped", "disordered", "first_ms_bits"] {
        // Files of earlier versions lack some.
        let entry = entries.entry(number.into()).or_insert_with(|| "0".into());
        hash.update(&entry.parse::<u64>().ok()?.to_le_bytes());
    }
    for name in ["starts", "events", "labels", "speakers"] {
        let data = file.tensor(name).ok()?.data();
        hash.update(&(data.len() as u64).to_le_bytes());
        hash.update(data);
    }
    for name in ["version", "source", "bins"] {
        entries.insert(name.into(), genuine.get(name)?.clone());
    }
    entries.insert("checksum".into(), format!("{:032x}", hash.digest128()));
    safetensors::serialize(file.tensors(), Some(entries)).ok()
}

fn read_checkpoint(bytes: &[u8], folder: &Path) {
    let path = put(folder, "checkpoint.safetensors", bytes);
    let network = checkpoint_network();
    if let Ok(checkpoint) = Checkpoint::load(&path, &network) {
        assert!(checkpoint.config.check().is_ok());
        let state = &checkpoint.state;
        for weights in [&state.weights, &state.first, &state.second] {
            assert!(weights.check(&network).is_ok());
            assert!(weights.layers.iter().flat_map(|matrix| &matrix.data).all(|x| x.is_finite()));
        }
    }
}

/// The network that [`read_checkpoint`] expects.
pub fn checkpoint_network() -> Network {
    let mut network = presets::ours("fmnist").expect("a preset").network;
    (network.inputs, network.time_steps) = (5, 8);
    network.integrator_mut().unwrap().classes = 3;
    network.hidden.truncate(1);
    network.hidden[0].neurons = 4;
    network
}

fn read_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let name = Path::new("stranger.toml");
    for paper in [false, true] {
        if let Ok(config) = presets::from_toml(text, name, paper) {
            let written = config.to_toml().expect("what is read can be written");
            let read = presets::from_toml(&written, name, paper).expect("what is written can be read");
            assert_eq!(read, config);
        }
    }
}

fn read_golden(bytes: &[u8], folder: &Path) {
    let path = put(folder, "case.safetensors", bytes);
    match Case::read(&path) {
        Ok(Case::Network(case)) => {
            assert!(case.network.check().is_ok() && case.weights.check(&case.network).is_ok());
            let network = &case.network;
            assert!(case.batch.check_fits(network.inputs, network.time_steps, network.classes()).is_ok());
            assert!(case.expected.total.is_finite());
        }
        Ok(Case::Delta(case)) => {
            assert_eq!(case.delta.len(), case.inputs.neurons * case.inputs.time_steps);
        }
        Err(error) => {
            // Terminals obey control characters: none reaches one.
            assert!(!error.to_string().contains(|c: char| c.is_control() && c != '\n'), "{error:?}");
        }
    }
}

/// The cpu device by one of its methods.
struct Cpu(Method);

impl ConformanceDevice for Cpu {
    fn engine(&mut self, network: &Network, weights: &Weights) -> spikegrad::Result<Box<dyn Engine>> {
        Device::Cpu.open(network, self.0, weights)
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> spikegrad::Result<Vec<f32>> {
        Device::Cpu.resolve().delta(inputs)
    }
}

/// What a golden case asks the cpu device to compute: whatever the numbers are, it is computed or refused.
fn play_golden(bytes: &[u8], folder: &Path) {
    let path = put(folder, "case.safetensors", bytes);
    if let Ok(case) = Case::read(&path) {
        for method in [Method::Sparse, Method::Dense, Method::Reference] {
            let _ = golden::run_case(&case, &mut Cpu(method));
        }
    }
}

fn read_metrics(bytes: &[u8], folder: &Path) {
    let path = put(folder, "metrics.jsonl", bytes);
    if let Ok(records) = metrics::read(&path) {
        metrics::truncate_after(&path, 3).expect("what is read can be cut");
        let kept = metrics::read(&path).expect("what is cut can be read");
        assert!(kept.len() <= records.len() && kept.iter().all(|record| record.epoch <= 3));
    }
}

/// Points that are finished, and the files that the page of figures is made of.
fn read_figures(bytes: &[u8], folder: &Path) {
    put(folder, reproduce::POINTS_FILE, bytes);
    let item = reproduce::item("fig-7").expect("a figure");
    let options = reproduce::Options { out: folder.into(), device: Device::Cpu, ..Default::default() };
    // Told to end before it begins, and without data: the points are read, and nothing is computed.
    let _ = reproduce::reproduce(item, &options, &AtomicBool::new(true), &mut |_| {});
    put(folder, "table-3.json", bytes);
    put(folder, "table-3.csv", b"a,b\n1,2\n");
    let _ = reproduce::page::write(folder, &[]);
    put(folder, "table-3.json", b"{}");
    put(folder, "table-3.csv", bytes);
    let _ = reproduce::page::write(folder, &[]);
    // A folder of another machine: its table with facts that fit the seed, and its facts.
    let from = folder.join("from");
    std::fs::create_dir_all(&from).expect("a folder");
    put(&from, "fig-9.csv", bytes);
    for facts in [FACTS.as_bytes(), bytes] {
        put(&from, "fig-9.json", facts);
        // Nothing is drawn, since the folder to write to is a file.
        let _ = reproduce::merge(std::slice::from_ref(&from), None, &folder.join("table-3.csv"));
    }
}

/// What is said of a figure with one panel.
const FACTS: &str = r#"{"name": "fig-9", "title": "t", "measures": "m", "caption": "c", "spikegrad": "0", "scale": "tiny", "seeds": [0],
"merged": [], "settings": {}, "curves": {"text": "t", "notes": [], "paper": "p", "panels": [{"title": "p", "level": null,
"x": {"name": "N", "log": true, "range": null}, "y": {"name": "ms", "log": false, "range": null}}]}}"#;

/// A network of a stranger is sound, and can be written and read again.
fn read_nir(bytes: &[u8], folder: &Path) {
    let path = put(folder, "stranger.nir", bytes);
    for dt in [None, Some(1e-3), Some(1.0)] {
        match from_nir(&path, &Import { dt, time_steps: Some(5), ..Import::default() }) {
            Ok(read) => {
                assert!(read.network.check().is_ok() && read.weights.check(&read.network).is_ok());
                let copy = folder.join("copy.nir");
                if to_nir(&read.network, &read.weights, &copy, &Export { force: true, ..Export::default() }).is_ok() {
                    let again = from_nir(&copy, &Import::default()).expect("what is written can be read");
                    assert!(again.network == read.network && again.weights == read.weights);
                }
            }
            Err(error) => assert!(!error.to_string().contains(|c: char| c.is_control() && c != '\n'), "{error:?}"),
        }
    }
}
