//! The numpy script in docs/tensors.md computes the program's logits from its files.

#![cfg(all(feature = "cli", unix))]

use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Standard output of a command that must succeed.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The first Python that has numpy.
fn python() -> &'static str {
    let has_numpy = |python: &&str| {
        let tried = Command::new(python).args(["-c", "import numpy"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_numpy);
    found.expect("python3 with numpy (scripts/test installs python3-numpy)")
}

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
