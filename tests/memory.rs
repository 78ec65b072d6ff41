//! The memory that `train` announces is what it takes at most, within 15 %: small and wide networks, both devices.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Announced and largest resident memory of a run, in MiB.
fn run(device: &str, hidden: &str) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_spikegrad"))
        .args(["train", "fmnist", "--data", "assets/fashion-mnist", "--limit", "64", "--epochs", "1", "--no-tuning"])
        .args(["--device", device, "--hidden", hidden, "--out"])
        .arg(folder.path().join("run"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0.0f64;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = line.and_then(|line| line.trim().strip_suffix(" kB")) {
            peak_kib = peak_kib.max(kib.parse().unwrap());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("memory   about "));
    let announced = line.and_then(|line| line.split_once(" MiB")).unwrap_or_else(|| panic!("{said}")).0;
    (announced.parse().unwrap(), peak_kib / 1024.0)
}

fn check(device: &str, hidden: &str) {
    let (announced, peak) = run(device, hidden);
    let of = format!("{device}, {hidden}: {announced} MiB announced, {peak:.0} MiB taken");
    println!("{of}");
    assert!((0.85..1.15).contains(&(announced / peak)), "{of}");
}

#[test]
fn cpu_runs_take_what_they_announce() {
    for hidden in ["8", "200,200", "2000,2000", "4000,4000"] {
        check("cpu", hidden);
    }
}

/// A hardware GPU's line has two sums, and its driver takes what it likes.
#[test]
fn runs_on_software_adapters_take_what_they_announce() {
    let adapters = spikegrad::gpu::adapters();
    let best = spikegrad::gpu::adapter::best(&adapters, true).expect("an adapter; scripts/test installs one");
    if adapters[best].kind == "software" {
        for hidden in ["8", "200,200", "2000,2000"] {
            check("gpu", hidden);
        }
    }
}
