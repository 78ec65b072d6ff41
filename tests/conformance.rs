//! Golden cases, from an independent float64 implementation, on both devices.

use spikegrad::Result;
use spikegrad::device::Device;
use spikegrad::engine::{Engine, Method};
use spikegrad::golden::{ConformanceDevice, DeltaInputs, run};
use spikegrad::network::Network;
use spikegrad::weights::Weights;
use std::path::PathBuf;

fn cases() -> Vec<PathBuf> {
    let cases = cases_in("golden");
    assert_eq!(cases.len(), 16);
    cases
}

/// Cases of kind "cells", except the recurrent one, which is refused.
fn cells() -> Vec<PathBuf> {
    let mut cases = cases_in("golden_cells");
    cases.retain(|case| !case.ends_with("rec_lif.safetensors"));
    assert_eq!(cases.len(), 10);
    cases
}

fn cases_in(folder: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    cases.sort();
    cases
}

/// A device that computes gradients by another method than the sparse one.
struct By(Device, Method);

impl ConformanceDevice for By {
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>> {
        self.0.open(network, self.1, weights)
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>> {
        self.0.delta(inputs)
    }
}

fn all_pass(device: Device) {
    pass(&device.to_string(), &mut { device }, [cases(), cells()].concat());
}

#[test]
fn recurrent_weights_are_refused_by_name() {
    let case = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden_cells/rec_lif.safetensors");
    let error = run(&case, &mut { Device::Cpu }).unwrap_err().to_string();
    assert!(error.contains("rec_lif") && error.contains("recurrent"), "{error}");
}

/// The dense methods refuse what the paper's networks do not have, and name it.
#[test]
fn dense_and_reference_refuse_other_cells() {
    for device in [Device::Cpu, Device::Gpu(None)] {
        for method in [Method::Dense, Method::Reference] {
            for case in cells() {
                let error = run(&case, &mut By(device, method)).unwrap_err().to_string();
                let method = format!("{method:?}").to_lowercase();
                assert!(
                    error.contains(&format!("`{method}` does not support")),
                    "{device} {}: {error}",
                    case.display()
                );
            }
        }
    }
}

fn pass(device: &str, player: &mut dyn ConformanceDevice, cases: Vec<PathBuf>) {
    let mut failed = Vec::new();
    for case in cases {
        match run(&case, player) {
            Ok(report) => {
                println!("{device}: {report}");
                if !report.passed() {
                    failed.push(report.to_string());
                }
            }
            Err(error) if case.ends_with("conv.safetensors") && device == "dense on gpu" => {
                assert!(error.to_string().contains("hidden[0] is a convolution"), "{error}");
            }
            Err(error) => failed.push(format!("{}: {error}", case.display())),
        }
    }
    assert!(failed.is_empty(), "{device}:\n{}", failed.join("\n"));
}

#[test]
fn cpu() {
    all_pass(Device::Cpu);
}

#[test]
fn gpu() {
    all_pass(Device::Gpu(None));
}

/// The method `dense` masks like `sparse`; `reference` does not mask, as one case expects.
#[test]
fn dense_and_reference() {
    for device in [Device::Cpu, Device::Gpu(None)] {
        pass(&format!("dense on {device}"), &mut By(device, Method::Dense), cases());
        let unmasked = cases().into_iter().filter(|case| case.ends_with("dense_surrogate.safetensors")).collect();
        pass(&format!("reference on {device}"), &mut By(device, Method::Reference), unmasked);
    }
}
