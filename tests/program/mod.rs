//! Runs the program on a small network, for tests of crashes and faults.

// Each test file uses its own part of this.
#![allow(dead_code)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_spikegrad");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a run that ended leaves, and nothing else.
pub const FILES: [&str; 7] =
    [".lock", "best.safetensors", "checkpoint.safetensors", "config.toml", "curves.png", "metrics.jsonl", "raster.png"];

/// The program on the shipped images, whatever this machine has installed.
pub fn program(words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words).current_dir(ROOT).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("SPIKEGRAD_FASHION_MNIST", Path::new(ROOT).join("assets/fashion-mnist"));
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Training of a network that takes milliseconds an epoch; `more` decides the rest. Always the same kernels, so that
/// every run on a device ends in the same bits.
pub fn train(device: &str, more: &str, run: &Path) -> Command {
    let fixed = ["train", "fmnist", "--device", device, "--no-tuning", "--quiet"];
    let mut command = program(&fixed);
    command.args(more.split_whitespace()).arg("--out").arg(run);
    command
}

/// Continues a run by what it says of itself.
pub fn resume(run: &Path) -> Command {
    let mut command = program(&["train", "fmnist", "--resume", "--no-tuning", "--quiet"]);
    command.arg("--out").arg(run);
    command
}

/// What it printed, and the code it ended with, which must be `code`.
pub fn ends(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    said(&output, code)
}

/// The same of a program that ended.
pub fn said(output: &Output, code: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{:?}: {said}", output.status);
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Names in a folder, sorted; none where there is no folder.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

/// Half-written files.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name != ".lock"
}

/// Waits until `happened`, for a minute, while the program works.
pub fn wait_until(child: &mut Child, what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{what}: not within five minutes");
        assert!(child.try_wait().unwrap().is_none(), "{what}: the program ended before");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Epochs in a run's metrics.
pub fn epochs(run: &Path) -> usize {
    std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

/// Sends a signal by its name. The shell's own `kill`: a minimal system has no program of that name.
#[cfg(unix)]
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

/// What must be the same of two runs with the same settings: every byte but clocks and memory.
#[derive(PartialEq)]
pub struct Ended {
    files: Vec<(String, Vec<u8>)>,
    metrics: Vec<Value>,
}

impl Ended {
    /// Reads a run that ended; nothing but its files may be in the folder.
    pub fn read(run: &Path) -> Self {
        assert_eq!(names(run), FILES, "{}", run.display());
        let bytes = |name: &str| (name.to_string(), std::fs::read(run.join(name)).unwrap());
        let files = ["best.safetensors", "checkpoint.safetensors", "config.toml", "raster.png"].map(bytes);
        let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let metrics = text.lines().map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            for name in ["train_seconds", "test_seconds"] {
                let seconds = record[name].as_f64().unwrap();
                assert!((0.0..3600.0).contains(&seconds), "{name} of {seconds}");
            }
            let record_fields = record.as_object_mut().unwrap();
            record_fields.retain(|name, _| !["train_seconds", "test_seconds", "memory"].contains(&name.as_str()));
            record
        });
        Ended { metrics: metrics.collect(), files: files.into() }
    }

    /// What differs, in words.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let files = self.files.iter().zip(&other.files).filter(|(a, b)| a != b).map(|(a, _)| a.0.clone());
        let metrics = (self.metrics != other.metrics).then(|| {
            let epochs =
                |ended: &Self| ended.metrics.iter().map(|record| record["epoch"].to_string()).collect::<Vec<_>>();
            format!("metrics.jsonl (epochs {}; {})", epochs(self).join(" "), epochs(other).join(" "))
        });
        files.chain(metrics).collect()
    }
}

/// A folder for runs.
pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}
