//! Reads recorded events: N-MNIST from a zip or a folder, SHD from an HDF5 file.
//!
//!     cargo run --example read_events [-- PATH]
//!
//! Without a path it reads the synthetic recordings in assets/. Shows the recordings as they are in the files, and binned
//! into the time steps of a network.

use spikegrad::data::nmnist::NMnist;
use spikegrad::data::shd::{Shd, WORDS};
use spikegrad::data::{LoadOptions, load_with};
use spikegrad::presets;
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    match std::env::args_os().nth(1).map(PathBuf::from) {
        Some(path) if path.is_dir() || path.extension().is_some_and(|end| end == "zip") => camera(&path)?,
        Some(path) => ear(&path)?,
        None => {
            camera(&assets.join("nmnist-like/Test.zip"))?;
            ear(&assets.join("shd-like/train.h5"))?;
            binned(&assets.join("shd-like"))?;
        }
    }
    Ok(())
}

/// Camera events: pixels that became brighter or darker.
fn camera(path: &Path) -> Result<(), Box<dyn Error>> {
    println!("{}", path.display());
    for recording in NMnist::open(path)?.iter() {
        let recording = recording?;
        let on = recording.events.iter().filter(|event| event.polarity).count();
        let last = recording.events.last().map_or(0, |event| event.t_us);
        println!(
            "  {}: a {}, {} events, {on} of them with polarity 1, the last after {} ms",
            recording.name,
            recording.digit,
            recording.events.len(),
            last / 1000
        );
    }
    Ok(())
}

/// Spikes of cochlea channels.
fn ear(path: &Path) -> Result<(), Box<dyn Error>> {
    println!("{}", path.display());
    for utterance in Shd::open(path)?.iter() {
        let utterance = utterance?;
        let last = utterance.spikes().map(|(seconds, _)| seconds).fold(0.0, f64::max);
        println!(
            "  \"{}\" by speaker {:?}: {} spikes, the last after {last:.3} s",
            WORDS[utterance.label as usize],
            utterance.speaker,
            utterance.times.len()
        );
    }
    Ok(())
}

/// Both halves, binned for the network of a preset.
fn binned(folder: &Path) -> Result<(), Box<dyn Error>> {
    let network = presets::ours("shd")?.network;
    let options = LoadOptions { folder: Some(folder), validation: "last:4".parse()?, ..LoadOptions::default() };
    let data = load_with("shd", &network, &options)?;
    println!("{}", data.origin);
    for (label, events) in data.measured().iter() {
        let first: Vec<_> = events.iter().take(3).map(|event| (event.t(), event.i())).collect();
        println!("  label {label}: {} events (t, i), the first {first:?}", events.len());
    }
    Ok(())
}
