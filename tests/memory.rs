//! The memory that `train` announces is what it takes at most, within 15 %: small and wide networks, both devices.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Announced and largest resident memory of a run on `data`, a preset and a path, with `more` arguments, in MiB.
fn run(data: [&str; 2], device: &str, hidden: &str, more: &[&str]) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let [preset, path] = data;
    let mut child = Command::new(env!("CARGO_BIN_EXE_spikegrad"))
        .args(["train", preset, "--data", path, "--limit", "64", "--epochs", "1", "--no-tuning"])
        .args(["--device", device, "--hidden", hidden])
        .args(more)
        .arg("--out")
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

const IMAGES: [&str; 2] = ["fmnist", "assets/fashion-mnist"];

fn check(data: [&str; 2], device: &str, hidden: &str, more: &[&str]) {
    let (announced, peak) = run(data, device, hidden, more);
    let of = format!("{data:?}, {device}, {hidden} {more:?}: {announced} MiB announced, {peak:.0} MiB taken");
    println!("{of}");
    assert!((0.85..1.15).contains(&(announced / peak)), "{of}");
}

#[test]
fn cpu_runs_take_what_they_announce() {
    for hidden in ["8", "200,200", "2000,2000", "4000,4000"] {
        check(IMAGES, "cpu", hidden, &[]);
    }
}

/// Each device has weights, moments and lists of its own; shards are computed one after the other.
#[test]
fn runs_of_shards_and_of_several_devices_take_what_they_announce() {
    for hidden in ["200,200", "2000,2000"] {
        check(IMAGES, "cpu", hidden, &["--shards", "8"]);
        check(IMAGES, "gpu", hidden, &["--shards", "8"]);
        check(IMAGES, "cpu,gpu:0", hidden, &[]);
        check(IMAGES, "gpu:0,gpu:0", hidden, &[]);
    }
}

/// Of wide recurrent layers, most weights are recurrent. With the usual learning rate their activity would sustain itself.
#[test]
fn recurrent_runs_take_what_they_announce() {
    for hidden in ["256", "200,200", "3000"] {
        check(IMAGES, "cpu", hidden, &["--recurrent", "--lr", "1e-5"]);
    }
}

/// Writes 80 samples of 300 events each in this many time steps.
fn events(path: &Path, time_steps: u32) {
    let (samples, each) = (80u32, 300u32);
    // Fractions of the golden ratio: evenly spread, and neighbours are far apart.
    let spread = |k: u32, over: u32| (f64::from(k) * 0.618_033_988_749_895).fract() * f64::from(over);
    let mut t: Vec<u32> = (0..samples * each).map(|k| spread(k, time_steps) as u32).collect();
    t[0] = time_steps - 1;
    let labels: Vec<u32> = (0..samples).map(|b| b % 4).collect();
    let i = (0..samples * each).map(|k| 20 * (k / each % 4) + spread(k % 997, 30) as u32).collect();
    let starts = (0..=samples).map(|b| b * each).collect();
    let (mut header, mut body) = (Vec::new(), Vec::new());
    for (name, numbers) in [("t", t), ("i", i), ("starts", starts), ("labels", labels)] {
        let begin = body.len();
        body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let (shape, end) = (numbers.len(), body.len());
        header.push(format!("\"{name}\":{{\"dtype\":\"U32\",\"shape\":[{shape}],\"data_offsets\":[{begin},{end}]}}"));
    }
    let header = format!("{{{}}}", header.join(","));
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &body].concat()).unwrap();
}

/// The number of spikes does not grow with the number of time steps.
#[test]
fn runs_of_many_time_steps_take_what_they_announce() {
    let adapters = spikegrad::gpu::adapters();
    let best = spikegrad::gpu::adapter::best(&adapters, true).expect("an adapter; scripts/test installs one");
    let folder = tempfile::tempdir().unwrap();
    for time_steps in [5000, 20_000] {
        let path = folder.path().join(format!("{time_steps}.safetensors"));
        events(&path, time_steps);
        let data = ["events", path.to_str().unwrap()];
        check(data, "cpu", "200,200", &[]);
        check(data, "cpu", "200", &["--recurrent", "--lr", "1e-5"]);
        if adapters[best].kind == "software" {
            check(data, "gpu", "200,200", &[]);
        }
    }
}

/// A hardware GPU's line has two sums, and its driver takes what it likes.
#[test]
fn runs_on_software_adapters_take_what_they_announce() {
    let adapters = spikegrad::gpu::adapters();
    let best = spikegrad::gpu::adapter::best(&adapters, true).expect("an adapter; scripts/test installs one");
    if adapters[best].kind == "software" {
        for hidden in ["8", "200,200", "2000,2000"] {
            check(IMAGES, "gpu", hidden, &[]);
        }
    }
}
