//! The golden cases, from an independent float64 oracle, on both devices.

use spikegrad::device::Device;
use spikegrad::golden::run;
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

fn all_pass(mut device: Device) {
    let mut failed = Vec::new();
    for case in cases() {
        match run(&case, &mut device) {
            Ok(report) => {
                println!("{device}: {report}");
                if !report.passed() {
                    failed.push(report.to_string());
                }
            }
            Err(error) if case.ends_with("conv.safetensors") => {
                assert!(error.to_string().contains("unsupported"), "{error}");
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
