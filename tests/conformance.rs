//! The golden cases, from an independent float64 oracle, on both devices.

use spikegrad::Result;
use spikegrad::device::Device;
use spikegrad::engine::{Engine, Method};
use spikegrad::golden::{ConformanceDevice, DeltaInputs, run};
use spikegrad::network::Network;
use std::path::PathBuf;

fn cases() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    cases.sort();
    assert_eq!(cases.len(), 16);
    cases
}

/// A device that computes gradients by another method than the sparse one.
struct By(Device, Method);

impl ConformanceDevice for By {
    fn engine(&mut self, network: &Network) -> Result<Box<dyn Engine>> {
        self.0.open(network, self.1)
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>> {
        self.0.delta(inputs)
    }
}

fn all_pass(device: Device) {
    pass(&device.to_string(), &mut { device }, cases());
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

/// The dense method masks as the sparse one does; the reference never masks, which one case expects.
#[test]
fn dense_and_reference() {
    for device in [Device::Cpu, Device::Gpu(None)] {
        pass(&format!("dense on {device}"), &mut By(device, Method::Dense), cases());
        let unmasked = cases().into_iter().filter(|case| case.ends_with("dense_surrogate.safetensors")).collect();
        pass(&format!("reference on {device}"), &mut By(device, Method::Reference), unmasked);
    }
}
