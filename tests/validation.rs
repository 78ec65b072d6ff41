//! Vulkan's validation layers have no messages about the gpu device.
//!
//! Requires a Vulkan adapter and the layer VK_LAYER_KHRONOS_validation (Debian package vulkan-validationlayers), which
//! scripts/long-suite installs if missing.
#![cfg(target_os = "linux")]

mod program;

use program::*;
use std::process::Command;

/// What the layer finds, from a log of its own, and what the program shows of it and of wgpu's words. With `practices` the layer
/// also gives advice.
fn messages(mut command: Command, practices: bool) -> String {
    let (_folder, folder) = folder();
    let log = folder.join("log");
    let enables = if practices { "VK_VALIDATION_FEATURE_ENABLE_BEST_PRACTICES_EXT" } else { "" };
    let settings = format!(
        "khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\nkhronos_validation.report_flags = error,warn,perf\n\
         khronos_validation.log_filename = {}\nkhronos_validation.enables = {enables}\n",
        log.display()
    );
    std::fs::write(folder.join("vk_layer_settings.txt"), settings).unwrap();
    command.env("VK_LAYER_SETTINGS_PATH", &folder).env("WGPU_VALIDATION", "1").env("WGPU_BACKEND", "vulkan");
    if practices {
        // Shown by the program, too. Not elsewhere: wgpu then puts the shaders' source into them, in a language that layers
        // of 2023 do not know ("Invalid source language operand: 10", WGSL).
        command.env("WGPU_DEBUG", "1");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {said}", output.status);
    let shown = said.lines().filter(|line| line.starts_with("WARN ") || line.starts_with("ERROR "));
    let logged = std::fs::read_to_string(&log).expect("the layer begins its log");
    shown.map(|line| format!("{line}\n")).collect::<String>() + &logged
}

/// Without it the others would be silent for want of a layer.
#[test]
#[ignore = "wants the layer: scripts/long-suite"]
fn the_layer_is_there_and_speaks() {
    let (_folder, folder) = folder();
    let train = train("gpu", "--hidden 10,10 --limit 20 --epochs 1", &folder.join("run"));
    let said = messages(train, true);
    assert!(said.contains("BestPractices"), "no advice where there should be some: {said}");
    let shown = |line: &str| line.starts_with("WARN ") && line.contains("BestPractices");
    assert!(said.lines().any(shown), "the program does not show what the layer says: {said}");
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
        assert_eq!(messages(train("gpu", &settings, &run), false), "", "{name}");
    }
    let mut eval = program(&["eval", "--device", "gpu"]);
    eval.arg(folder.join("sparse"));
    assert_eq!(messages(eval, false), "");
    let mut conv = program(&["train", "fmnist-conv", "--device", "gpu", "--no-tuning", "--quiet", "--limit", "20"]);
    conv.args(["--epochs", "1", "--out"]).arg(folder.join("conv"));
    assert_eq!(messages(conv, false), "");
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
    assert_eq!(messages(conformance, false), "");
}
