//! Golden cases, from an independent float64 implementation, on both devices.

use spikegrad::Result;
use spikegrad::device::Device;
use spikegrad::engine::{Engine, Method};
use spikegrad::golden::{ConformanceDevice, DeltaInputs, run};
use spikegrad::gpu::{GpuEngine, GpuOptions, Variant};
use spikegrad::network::Network;
use spikegrad::weights::Weights;
use std::path::PathBuf;

fn cases() -> Vec<PathBuf> {
    let cases = cases_in("golden");
    assert_eq!(cases.len(), 16);
    cases
}

/// Cases of kind "cells".
fn cells() -> Vec<PathBuf> {
    let cases = cases_in("golden_cells");
    assert_eq!(cases.len(), 24);
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
    pass("cpu", &mut { Device::Cpu }, [cases(), cells()].concat());
}

#[test]
fn gpu() {
    pass("gpu", &mut { Device::Gpu(None) }, [cases(), cells()].concat());
}

/// The gpu device with given kernels.
struct Kernels(Variant);

impl ConformanceDevice for Kernels {
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>> {
        let options = GpuOptions { variant: Some(self.0), ..GpuOptions::default() };
        Ok(Box::new(GpuEngine::new(network, Method::Sparse, weights, options)?))
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>> {
        Device::Gpu(None).delta(inputs)
    }
}

#[test]
fn gpu_in_step() {
    pass("lockstep on gpu", &mut Kernels(Variant::Lockstep), [cases(), cells()].concat());
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
