//! The numpy script in docs/tensors.md computes the program's logits from its files.

#![cfg(all(feature = "cli", unix))]

#[path = "common/python.rs"]
mod python;

use python::{python, succeeds};
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn numpy_computes_the_logits_of_an_inspected_sample() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |words: &[&str]| {
        let data = Path::new(ROOT).join("assets/fashion-mnist");
        succeeds(Command::new(env!("CARGO_BIN_EXE_spikegrad")).args(words).env("SPIKEGRAD_FASHION_MNIST", data))
    };
    let (out, seen) = (path("run"), path("seven.safetensors"));
    let out = out.to_str().unwrap();
    run(&[
        "train", "fmnist", "--hidden", "60,40", "--limit", "500", "--epochs", "2", "--device", "cpu", "--quiet",
        "--out", out,
    ]);
    run(&["inspect", out, "--sample", "7", "--out", seen.to_str().unwrap()]);

    let docs = std::fs::read_to_string(Path::new(ROOT).join("docs/tensors.md")).unwrap();
    let (_, script) = docs.split_once("```python\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    std::fs::write(path("forward.py"), script).unwrap();
    let best = Path::new(out).join("best.safetensors");
    let printed = succeeds(Command::new(python()).arg(path("forward.py")).arg(&best).arg(&seen));
    let error: f64 = printed.trim().parse().unwrap();
    assert!(error < 1e-5, "{error}");

    // Other weights, other logits.
    run(&[
        "train",
        "fmnist",
        "--hidden",
        "60,40",
        "--limit",
        "500",
        "--epochs",
        "1",
        "--seed",
        "5",
        "--device",
        "cpu",
        "--quiet",
        "--out",
        path("other").to_str().unwrap(),
    ]);
    let other = path("other/best.safetensors");
    let printed = succeeds(Command::new(python()).arg(path("forward.py")).arg(&other).arg(&seen));
    assert!(printed.trim().parse::<f64>().unwrap() > 1e-2, "{printed}");
}
