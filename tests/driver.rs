//! A loaded driver stays loaded, since NVIDIA's cannot be loaded repeatedly in one process. This is a separate test program,
//! so that no other test keeps the driver loaded.
#![cfg(target_os = "linux")]

mod common;

use common::{gpu, network};
use spikegrad::engine::{Method, TrainingState};
use spikegrad::gpu::GpuOptions;
use spikegrad::weights::Weights;
use std::collections::BTreeSet;

/// The shared libraries of this process.
fn libraries() -> BTreeSet<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    files.filter(|file| file.contains(".so")).map(Into::into).collect()
}

#[test]
fn the_driver_stays_when_the_last_engine_goes() {
    let network = network(3, &[4], 2, 5);
    let before = libraries();
    let engine = gpu(&network, Method::Sparse, &TrainingState::new(Weights::zeros_of(&network)), GpuOptions::default());
    let with_engine = libraries();
    assert!(with_engine.len() > before.len(), "opening an adapter loads its driver");
    drop(engine);
    let unloaded: Vec<_> = with_engine.difference(&libraries()).cloned().collect();
    assert!(unloaded.is_empty(), "{unloaded:?}");
}
