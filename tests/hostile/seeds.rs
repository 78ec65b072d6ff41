//! Makes those seeds that the program itself can write:
//!
//! ```sh
//! cargo test --test hostile -- --ignored write_seeds
//! ```
//!
//! The HDF5 files of `shd` are h5py's (vlen lists of three utterances, in the earliest and the latest format, contiguous and
//! chunked); `nir/norse.nir` is Norse's and `nir/sinabs.nir` Sinabs' (tests/nir/README.md),
//! the zips and idx files Python's.

use crate::readers::{cached_network, checkpoint_network};
use spikegrad::data::{self, Cache, LoadOptions};
use spikegrad::engine::TrainingState;
use spikegrad::events::EventSet;
use spikegrad::network::{Convolution, Network, Readout, Reset, SpikingLayer};
use spikegrad::nir::{Export, to_nir};
use spikegrad::presets;
use spikegrad::train::progress::{Best, DataMark};
use spikegrad::train::{Checkpoint, Progress};
use spikegrad::weights::Weights;
use std::fs;
use std::path::Path;

/// A network with every kind of node that an export has.
fn pooled_network() -> Network {
    let shape = Convolution { channels: 1, height: 4, width: 4, filters: 2, kernel: 3, stride: 1, padding: 1, pool: 2 };
    let cuba = SpikingLayer::cuba_lif(3, 4.0).reset(Reset::ToValue).bias();
    let conv = SpikingLayer::convolution(shape).reset(Reset::ToValue);
    Network::new(16, 5).layer(conv).layer(cuba).readout(Readout::sum(2)).build().unwrap()
}

#[test]
#[ignore = "writes into tests/hostile/seeds"]
fn write_seeds() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/seeds");

    let mut config = presets::ours("fmnist").unwrap();
    config.network = checkpoint_network();
    let weights = Weights::init(&config.network, 3);
    let mut set = EventSet::new(5, 8);
    set.push([(1, 2)], 0).unwrap();
    let mut progress = Progress::new(&config.network, DataMark::new(&set, &set), "cpu".into());
    progress.best = Some(Best { epoch: 1, test_accuracy: 0.5 });
    let mut state = TrainingState::new(weights.clone());
    state.first = weights;
    let checkpoint = Checkpoint { config, progress, state };
    checkpoint.save(&seeds.join("checkpoint/whole.safetensors")).unwrap();
    let mut other = checkpoint;
    other.config.network.hidden[0].b_th = f64::INFINITY;
    other.save(&seeds.join("checkpoint/other-network.safetensors")).unwrap();

    for preset in presets::NAMES {
        let text = presets::ours(preset).unwrap().to_toml().unwrap();
        fs::write(seeds.join(format!("config/{preset}.toml")), text).unwrap();
    }

    let (source, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["Train.zip", "Test.zip"] {
        fs::copy(seeds.join("nmnist_zip/two.zip"), source.path().join(name)).unwrap();
    }
    let cache = Cache::Folder(kept.path().into());
    let options = LoadOptions { folder: Some(source.path()), cache, ..LoadOptions::default() };
    data::load_with("nmnist", &cached_network(), &options).unwrap();
    let file = fs::read_dir(kept.path()).unwrap().next().unwrap().unwrap().path();
    fs::copy(file, seeds.join("cache/two.safetensors")).unwrap();

    let network = pooled_network();
    let own = Export { force: true, ..Export::default() };
    to_nir(&network, &Weights::init(&network, 3), &seeds.join("nir/own.nir"), &own).unwrap();
}
