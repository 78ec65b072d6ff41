//! A run that is killed at any moment (kill -9) and resumed gives the same bits as a run that was never killed.
//!
//! `SPIKEGRAD_KILLS` sets the number of kills on the cpu device (default: 10); on the gpu device it is a quarter.
//! `SPIKEGRAD_SEED` chooses other moments. `--nocapture` shows when the runs were killed.
#![cfg(unix)]

mod program;

use program::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// A checkpoint after every step, with five steps per epoch.
const SETTINGS: &str = "--hidden 40,30 --limit 300 --batch 60 --seed 5 --set checkpoint_seconds=1e-9";
/// Files written in an epoch.
const WRITTEN: u64 = 6;

/// When to kill.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// At any time.
    After(Duration),
    /// A time after the n-th temporary file was seen, i.e. during or just after writing.
    Writing { nth: u64, delay: Duration },
    /// A time after the metrics grew, i.e. between writing them and the checkpoint.
    Metrics { nth: u64, delay: Duration },
}

impl Moment {
    /// Any of them, in a run that takes `whole` from its beginning to its end, and has so many epochs left.
    fn draw(random: &mut ChaCha8Rng, whole: Duration, epochs: u64) -> Self {
        let epochs = epochs.max(1);
        let delay = Duration::from_micros(random.next_u64() % 3000);
        match random.next_u64() % 4 {
            0 => Moment::After(whole.mul_f64((random.next_u64() % 1000) as f64 / 1000.0)),
            1 => Moment::Metrics { nth: random.next_u64() % epochs, delay: delay / 4 },
            // Seen at once or a little later, as a file is whole within a millisecond.
            _ => Moment::Writing { nth: random.next_u64() % (WRITTEN * epochs), delay: delay / 8 },
        }
    }

    /// Waits for it; `false` if the run ended before.
    fn wait(self, child: &mut Child, run: &Path) -> bool {
        let mut runs = || child.try_wait().unwrap().is_none();
        match self {
            Moment::After(time) => {
                let begun = Instant::now();
                while begun.elapsed() < time {
                    if !runs() {
                        return false;
                    }
                    std::thread::sleep(Duration::from_millis(1).min(time.saturating_sub(begun.elapsed())));
                }
            }
            Moment::Writing { nth, delay } => {
                let (mut seen, mut there) = (0, String::new());
                loop {
                    let found = names(run).into_iter().find(|name| is_temporary(name)).unwrap_or_default();
                    seen += u64::from(!found.is_empty() && found != there);
                    if seen > nth {
                        break;
                    }
                    there = found;
                    if !runs() {
                        return false;
                    }
                }
                std::thread::sleep(delay);
            }
            Moment::Metrics { nth, delay } => {
                let length = || std::fs::metadata(run.join("metrics.jsonl")).map_or(0, |m| m.len());
                let (mut seen, mut last) = (0, length());
                while seen <= nth {
                    let now = length();
                    seen += u64::from(now > last);
                    last = now;
                    if !runs() {
                        return false;
                    }
                }
                std::thread::sleep(delay);
            }
        }
        runs()
    }
}

/// Describes the files left by a kill, which show when it happened.
fn found(run: &Path) -> &'static str {
    let names = names(run);
    let has = |name: &str| names.iter().any(|n| n == name);
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    match () {
        () if names.iter().any(|n| is_temporary(n)) => "a half-written file",
        () if !text.is_empty() && !text.ends_with('\n') => "a half-written line of metrics",
        () if !has("config.toml") => "nothing yet",
        () if !has("checkpoint.safetensors") => "no checkpoint yet",
        () if has("curves.png") => "a run that was drawn",
        () if checkpoint_epoch(run) < epochs(run) => "metrics ahead of the checkpoint",
        () => "a whole folder",
    }
}

/// The epoch that the checkpoint's header names.
fn checkpoint_epoch(run: &Path) -> usize {
    let bytes = std::fs::read(run.join("checkpoint.safetensors")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (_, rest) = text.split_once("\\nepoch = ").expect("the checkpoint names its epoch");
    rest.split_once('\\').unwrap().0.parse().unwrap()
}

/// Kills runs `kills` times, and compares each finished run with one that was never killed.
fn kill(device: &str, epochs: u64, kills: u64, seed: u64) {
    let (_folder, folder) = folder();
    let settings = format!("{SETTINGS} --epochs {epochs}");
    let begun = Instant::now();
    ends(train(device, &settings, &folder.join("whole")), 0);
    let length = begun.elapsed();
    let whole = Ended::read(&folder.join("whole"));

    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut killed, mut runs, mut resumed) = (0, 0, 0);
    let mut moments = BTreeMap::new();
    while killed < kills {
        let run = folder.join(format!("run{runs}"));
        runs += 1;
        let mut history = Vec::new();
        // Each run is killed up to six times, a run that ends before a kill comes counts for nothing.
        for _ in 0..1 + random.next_u64() % 6 {
            let goes_on = run.join("config.toml").exists();
            resumed += u64::from(goes_on);
            let mut child = if goes_on { resume(&run) } else { train(device, &settings, &run) }.spawn().unwrap();
            let left = epochs.saturating_sub(crate::epochs(&run) as u64);
            let moment = Moment::draw(&mut random, length, left);
            if !moment.wait(&mut child, &run) {
                let output = child.wait_with_output().unwrap();
                said(&output, 0);
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let state = found(&run);
            history.push(format!("{moment:?}: {state}"));
            *moments.entry(state).or_insert(0) += 1;
            killed += 1;
        }
        let goes_on = run.join("config.toml").exists();
        ends(if goes_on { resume(&run) } else { train(device, &settings, &run) }, 0);
        let differences = whole.differences(&Ended::read(&run));
        assert!(differences.is_empty(), "{device}, seed {seed}, run {runs}: {differences:?} after {history:#?}");
        std::fs::remove_dir_all(&run).unwrap();
    }
    eprintln!("{device}, seed {seed}: {killed} kills of {runs} runs, {resumed} resumed to be killed again");
    moments.iter().for_each(|(state, n)| eprintln!("{n:6} left {state}"));
}

fn number(name: &str, usual: u64) -> u64 {
    let word = std::env::var(name).ok();
    word.map_or(usual, |word| word.parse().unwrap_or_else(|_| panic!("{name}={word} is no number")))
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    kill("cpu", 6, number("SPIKEGRAD_KILLS", 10), number("SPIKEGRAD_SEED", 1));
}

#[test]
fn a_killed_run_on_the_gpu_does_too() {
    kill("gpu", 4, number("SPIKEGRAD_KILLS", 12) / 4, number("SPIKEGRAD_SEED", 2));
}

/// Kills the run before each system call that changes its files, with strace, which the long suite installs.
#[test]
#[ignore = "long: scripts/long-suite"]
fn killed_before_each_call_that_changes_the_folder() {
    let (_folder, folder) = folder();
    let settings = "--hidden 10,10 --limit 60 --batch 20 --epochs 3 --seed 5";
    ends(train("cpu", settings, &folder.join("whole")), 0);
    let whole = Ended::read(&folder.join("whole"));
    let mut kills = 0;
    // Whatever of these this machine's processor has.
    for calls in [
        "?mkdir,?mkdirat",
        "write,pwrite64",
        "fsync,fdatasync",
        "?rename,renameat,renameat2",
        "?unlink,unlinkat",
        "flock",
    ] {
        let mut moments = BTreeMap::new();
        for nth in 1.. {
            let run = folder.join("run");
            let killed = {
                let plain = train("cpu", settings, &run);
                let mut traced = std::process::Command::new("strace");
                traced.args(["-o", "/dev/null", "-e", &format!("trace={calls}")]);
                traced.args(["-e", &format!("inject={calls}:signal=KILL:when={nth}"), "--", PROGRAM]);
                traced.args(plain.get_args()).current_dir(plain.get_current_dir().unwrap());
                traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
                let output = traced.output().expect("strace is there (Debian package strace)");
                use std::os::unix::process::ExitStatusExt;
                match (output.status.signal(), output.status.code()) {
                    (Some(9), _) | (_, Some(137)) => true,
                    (_, Some(0)) => false,
                    other => panic!("{calls} {nth}: {other:?} {}", String::from_utf8_lossy(&output.stderr)),
                }
            };
            if !killed {
                eprintln!("{calls}: killed before each of {} calls: {moments:?}", nth - 1);
                std::fs::remove_dir_all(&run).unwrap();
                break;
            }
            kills += 1;
            *moments.entry(found(&run)).or_insert(0) += 1;
            let goes_on = run.join("config.toml").exists();
            ends(if goes_on { resume(&run) } else { train("cpu", settings, &run) }, 0);
            let differences = whole.differences(&Ended::read(&run));
            assert!(differences.is_empty(), "killed before {calls} number {nth}: {differences:?}");
            std::fs::remove_dir_all(&run).unwrap();
        }
    }
    eprintln!("{kills} kills in all");
    assert!(kills > 30, "{kills}: are these the calls?");
}
