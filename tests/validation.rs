//! The gpu device under Vulkan's validation layers: not one message.
//!
//! Wants a Vulkan adapter and the layer VK_LAYER_KHRONOS_validation (Debian package vulkan-validationlayers), both of which
//! scripts/long-suite installs where they are missing.
#![cfg(target_os = "linux")]

mod program;

use program::*;
use std::process::Command;

/// What the program says on standard error under validation, but for the Vulkan loader's word on machines without a desktop.
fn complaints(mut command: Command, more: &[(&str, &str)]) -> String {
    command.env("WGPU_VALIDATION", "1").env("WGPU_BACKEND", "vulkan").envs(more.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {said}", output.status);
    said.lines().filter(|line| !line.contains("XDG_RUNTIME_DIR")).map(|line| format!("{line}\n")).collect()
}

/// Without it the others would be silent for want of a layer that could speak.
#[test]
#[ignore = "wants the layer: scripts/long-suite"]
fn the_layer_is_there_and_speaks() {
    let (_folder, folder) = folder();
    let train = train("gpu", "--hidden 10,10 --limit 20 --epochs 1", &folder.join("run"));
    let practices = ("VK_LAYER_ENABLES", "VK_VALIDATION_FEATURE_ENABLE_BEST_PRACTICES_EXT");
    let said = complaints(train, &[practices]);
    assert!(said.contains("BestPractices"), "no message where there should be some (advice on performance): {said}");
}

#[test]
#[ignore = "wants the layer: scripts/long-suite"]
fn training_is_valid() {
    let (_folder, folder) = folder();
    for (name, settings) in [
        ("sparse", "--method sparse"),
        ("dense", "--method dense"),
        ("reference", "--method reference"),
        ("auto", "--method auto --set augment.shift=1"),
    ] {
        let run = folder.join(name);
        let settings = format!("--hidden 40,30 --limit 300 --batch 64 --epochs 2 {settings}");
        assert_eq!(complaints(train("gpu", &settings, &run), &[]), "", "{name}");
    }
    let mut eval = program(&["eval", "--device", "gpu"]);
    eval.arg(folder.join("sparse"));
    assert_eq!(complaints(eval, &[]), "");
    let mut conv = program(&["train", "fmnist-conv", "--device", "gpu", "--no-tuning", "--quiet", "--limit", "20"]);
    conv.args(["--epochs", "1", "--out"]).arg(folder.join("conv"));
    assert_eq!(complaints(conv, &[]), "");
}

#[test]
#[ignore = "wants the layer: scripts/long-suite"]
fn every_golden_case_is_valid() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut cases: Vec<_> = std::fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    assert!(cases.len() > 10, "{}", cases.len());
    let mut conformance = program(&["conformance", "--device", "gpu"]);
    conformance.args(cases);
    assert_eq!(complaints(conformance, &[]), "");
}
