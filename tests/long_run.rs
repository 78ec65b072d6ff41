//! In a long run, memory use stays constant after the first epochs, on the host and on the device.
//!
//! `SPIKEGRAD_MINUTES` sets the duration per device (default: 6 s); `--nocapture` shows the results.
#![cfg(unix)]

mod program;

use program::*;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Maximum growth of the process between the first and the last quarter of the epochs, regardless of their number: the
/// allocator's pools and the program's code reach a constant size in the first minutes. A leak of 1 KiB per epoch is noticed
/// within minutes.
const GROWTH: u64 = 4 << 20;

/// Difference in bytes between the medians of the last and the second quarter of a series.
fn growth(series: &[u64]) -> u64 {
    let median = |part: &[u64]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let quarter = series.len() / 4;
    assert!(quarter > 0, "{} epochs are too few", series.len());
    median(&series[3 * quarter..]).saturating_sub(median(&series[quarter..2 * quarter]))
}

#[test]
fn a_leak_is_seen() {
    let steady = |k: u64| (100 << 20) + (k % 7) * 9000;
    let warm_up = |k: u64| if k < 20 { k << 20 } else { 20 << 20 };
    let sound: Vec<u64> = (0..100).map(|k| steady(k) + warm_up(k)).collect();
    assert!(growth(&sound) < GROWTH / 8, "{}", growth(&sound));
    let leaking: Vec<u64> = (0..100).map(|k| steady(k) + warm_up(k) + k * (100 << 10)).collect();
    assert!(growth(&leaking) > GROWTH, "{}", growth(&leaking));
}

/// Trains and checks the memory use in the metrics.
fn train_long(device: &str) {
    let (_folder, folder) = folder();
    let run = folder.join("run");
    let minutes = std::env::var("SPIKEGRAD_MINUTES").map_or(0.1, |word| word.parse::<f64>().expect("a number"));
    // Layers that are told how to compute anew each epoch, batches that are made anew: what allocates most.
    let settings = "--hidden 60,60 --limit 500 --batch 32 --epochs 1000000 --method auto --set augment.shift=1";
    let begun = Instant::now();
    let mut child = train(device, settings, &run).spawn().unwrap();
    wait_until(&mut child, "eight epochs", || epochs(&run) >= 8);
    while begun.elapsed() < Duration::from_secs_f64(60.0 * minutes) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended");
        std::thread::sleep(Duration::from_millis(100));
    }
    signal(&child, "TERM");
    said(&child.wait_with_output().unwrap(), 1);

    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let memory: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["memory"].clone()).collect();
    let host: Vec<u64> = memory.iter().map(|m| m["host"].as_u64().expect("the system says")).collect();
    let grown = growth(&host);
    eprintln!(
        "{device}: {:.1} minutes, {} epochs of 16 steps; host {:.1} MiB after the first epoch, at most {:.1}, at the end \
         {:.1}; {grown} bytes more than in the second quarter; device {} and {}",
        begun.elapsed().as_secs_f64() / 60.0,
        host.len(),
        host[0] as f64 / f64::from(1 << 20),
        *host.iter().max().unwrap() as f64 / f64::from(1 << 20),
        host[host.len() - 1] as f64 / f64::from(1 << 20),
        memory[0]["device"],
        memory[memory.len() - 1]["device"]
    );
    assert!(grown <= GROWTH, "{device}: {grown} bytes more at the end");
    match device {
        "cpu" => assert!(memory.iter().all(|m| m.get("device").is_none())),
        // A small buffer may come late (one of 912 bytes was seen to); one an epoch, or one that grows, may not.
        _ => {
            let quarter = memory.len() / 4;
            let most = |part: &[Value], name: &str| {
                part.iter().map(|m| m["device"][name].as_u64().expect("the allocator reports")).max().unwrap()
            };
            for (name, more) in [("allocations", 3), ("bytes", 64 << 10), ("reserved", 0)] {
                let (warm, end) = (most(&memory[quarter..2 * quarter], name), most(&memory[3 * quarter..], name));
                assert!(warm > 10 && end <= warm + more, "{name}: {warm} in the second quarter, {end} in the last");
            }
        }
    }
}

#[test]
fn memory_is_flat_on_the_cpu() {
    train_long("cpu");
}

#[test]
fn memory_is_flat_on_the_gpu() {
    train_long("gpu");
}
