//! Trains the program on files in the formats of N-MNIST and SHD: the small synthetic recordings in assets/, which suffice
//! for testing, but not for learning.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn spikegrad(words: &str) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_spikegrad"));
    command.args(words.split_whitespace()).current_dir(ROOT);
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.env_remove("SPIKEGRAD_NMNIST").env_remove("SPIKEGRAD_SHD");
    command
}

fn succeeds(words: &str) -> Output {
    spikegrad(words).assert().code(0).get_output().clone()
}

fn json(words: &str) -> Value {
    serde_json::from_slice(&succeeds(&format!("{words} --json")).stdout).unwrap()
}

/// A text with the paths in it as they are on Unix; Windows has them with separators of either kind.
fn slashes(text: &str) -> String {
    text.replace('\\', "/")
}

fn fails(words: &str, parts: &[&str]) {
    let output = spikegrad(words).assert().code(1).get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    for part in parts {
        assert!(slashes(&said).contains(&slashes(part)), "{words}: `{part}` is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// The N-MNIST-like recordings unpacked by hand, for damage.
fn nmnist() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for half in ["Train", "Test"] {
        let set =
            spikegrad::data::nmnist::NMnist::open(&Path::new(ROOT).join(format!("assets/nmnist-like/{half}.zip")));
        for recording in set.unwrap().iter() {
            let recording = recording.unwrap();
            let path = folder.path().join(&recording.name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let bytes: Vec<u8> = recording
                .events
                .iter()
                .flat_map(|e| {
                    let [_, high, middle, low] = (e.t_us as u32).to_be_bytes();
                    [e.x, e.y, high | u8::from(e.polarity) << 7, middle, low]
                })
                .collect();
            fs::write(path, bytes).unwrap();
        }
    }
    let first = folder.path().join("Train").read_dir().unwrap().next().unwrap().unwrap().path();
    let first = first.read_dir().unwrap().next().unwrap().unwrap().path();
    (folder, first)
}

#[test]
fn both_sets_are_trained_tested_and_drawn_on_both_devices() {
    let folder = tempfile::tempdir().unwrap();
    for (preset, classes) in [("nmnist", 10), ("shd", 20)] {
        let data = format!("--data assets/{preset}-like");
        for device in ["cpu", "gpu"] {
            let run = folder.path().join(format!("{preset}-{device}"));
            let run = run.to_str().unwrap();
            let small = format!("--hidden 12,8 --epochs 2 --batch 7 --device {device} --out {run}");
            let said = json(&format!("train {preset} {data} {small}"));
            assert_eq!(said["epochs_done"], 2);
            let origin = said["data"]["origin"].as_str().unwrap();
            let name = if preset == "shd" { "in the format of SHD" } else { "in the format of N-MNIST" };
            assert!(origin.starts_with(name), "{origin}");
            // The folder is the run's own; the accuracy what training found.
            let tested = json(&format!("eval {run}"));
            assert_eq!((&tested["test_accuracy"], &tested["on"]), (&said["best"]["test_accuracy"], &"test".into()));
            assert_eq!(json(&format!("eval {run} --on train"))["samples"], 20);
            let png = folder.path().join("sample.png");
            let drawn = succeeds(&format!("raster {run} --sample {} --out {}", classes / 2, png.display()));
            assert!(String::from_utf8_lossy(&drawn.stdout).contains("predicted"), "{drawn:?}");
            assert!(image::open(&png).is_ok());
            // The test half alone; SHD's file spells its classes otherwise.
            let file = if preset == "shd" { "test.h5.gz" } else { "Test.zip" };
            let tested = succeeds(&format!("eval {run} --data assets/{preset}-like/{file}"));
            assert!(String::from_utf8_lossy(&tested.stdout).contains(&format!(" of {classes}) test")), "{tested:?}");
            assert!(!String::from_utf8_lossy(&tested.stderr).contains("in training; labels"), "{tested:?}");
        }
        let bench = format!("bench {preset} {data} --hidden 9 --batch 6 --device cpu --repeat 1 --methods sparse");
        let said = json(&bench);
        assert!(said["runs"][0]["step_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{said}");
    }
}

#[test]
fn the_recurrent_preset_reads_shd_and_augments_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let run = run.to_str().unwrap();
    let train = "train shd-recurrent --data assets/shd-like --hidden 12 --epochs 1 --device cpu";
    let said = json(&format!("{train} --out {run}"));
    assert!(said["data"]["origin"].as_str().unwrap().starts_with("in the format of SHD"), "{said}");
    let config = fs::read_to_string(Path::new(run).join("config.toml")).unwrap();
    for line in ["preset = \"shd-recurrent\"", "recurrent = true", "blend = 0.5", "time_steps = 100"] {
        assert!(config.contains(line), "{line} is not in {config}");
    }
    let tested = json(&format!("eval {run}"));
    assert_eq!(tested["test_accuracy"], said["best"]["test_accuracy"]);
    let refused = spikegrad(&format!("{train} --paper --out {run}-paper")).output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains("shd-recurrent is not in the paper"), "{error}");
}

#[test]
fn samples_are_held_out_and_speakers_tested_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let run = run.to_str().unwrap();
    let small = format!("--hidden 9,7 --epochs 1 --device cpu --out {run}");
    let said = json(&format!("train shd --data assets/shd-like --validation last:5 {small}"));
    let data = &said["data"];
    assert_eq!((&data["train_samples"], &data["test_samples"]), (&15.into(), &5.into()));
    assert_eq!(data["measured_on"], "validation");
    let config = fs::read_to_string(Path::new(run).join("config.toml")).unwrap();
    assert!(config.contains("[validation]\nkind = \"last\"\nsamples = 5\n"), "{config}");
    let tested = json(&format!("eval {run} --on validation"));
    assert_eq!((&tested["samples"], &tested["test_accuracy"]), (&5.into(), &said["best"]["test_accuracy"]));
    assert_eq!(json(&format!("eval {run}"))["samples"], 20);
    assert_eq!(json(&format!("eval {run} --on train"))["samples"], 15);
    let speaker = spikegrad::data::shd::Shd::open(&Path::new(ROOT).join("assets/shd-like/test.h5.gz")).unwrap();
    let speaker = speaker.utterance(0).unwrap().speaker.unwrap();
    let said = json(&format!("eval {run} --speakers {speaker}"));
    assert!((1..20).contains(&said["samples"].as_u64().unwrap()), "{said}");
    fails(&format!("eval {run} --speakers 77"), &["speaker 77 does not occur", "the speakers are "]);
    spikegrad("train shd --validation last:0").assert().code(2);
    spikegrad("train shd --validation speakers").assert().code(2);

    // In a file, where a typo is no setting; and for the data of the first preset, which has no speakers.
    let file = folder.path().join("held.toml");
    let assets = format!("{ROOT}/assets");
    let write = |text: String| fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    write(format!("preset = 'shd'\ndata = '{assets}/shd-like'\n[validation]\nkind = 'fraction'\nfraktion = 0.2\n"));
    fails(&format!("train {path} --device cpu"), &["held.toml", "fraction"]);
    write(format!(
        "preset = 'fmnist'\ndata = '{assets}/fashion-mnist'\n[validation]\nkind = 'speakers'\nspeakers = [3]\n"
    ));
    fails(&format!("train {path} --device cpu --out {run}-2"), &["these data have no speakers"]);
}

#[test]
fn a_bad_recording_is_named_or_skipped_and_counted() {
    let (data, first) = nmnist();
    let out = data.path().join("run");
    let words = format!("--data {} --hidden 9,7 --epochs 1 --device cpu", data.path().display());
    let mut bytes = fs::read(&first).unwrap();
    bytes[11] = 99;
    fs::write(&first, &bytes).unwrap();
    let name = first.display().to_string();
    let wanted = [name.as_str(), "byte 11: y = 99 found, 0 to 33 expected", "--skip-bad"];
    fails(&format!("train nmnist {words} --out {}", out.display()), &wanted);
    assert!(!out.exists());
    fs::write(first.with_file_name("77777.bin"), &bytes[..13]).unwrap();
    let output = spikegrad(&format!("train nmnist {words} --skip-bad --json --out {}", out.display())).assert().code(0);
    let said: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let listed = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        listed.contains("warning: skipped 2 damaged recordings:") && slashes(&listed).contains(&slashes(&name)),
        "{listed}"
    );
    assert_eq!(
        (said["data"]["train_samples"].as_u64(), said["data"]["bad"].as_array().map(Vec::len)),
        (Some(19), Some(2))
    );
    // The run's configuration stores this.
    assert_eq!(json(&format!("eval {}", out.display()))["samples"], 10);

    // Numbers of samples are those in the file, whatever was skipped.
    let within = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut recordings: Vec<_> = within(&data.path().join("Test")).flat_map(|class| within(&class)).collect();
    recordings.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    fs::write(&recordings[2], &bytes[..13]).unwrap();
    let drawn = data.path().join("raster.png");
    let raster = |k: usize| format!("raster {} --sample {k} --out {}", out.display(), drawn.display());
    let output = spikegrad(&raster(9)).assert().code(0);
    let said = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(said.contains("sample 9 of 9"), "{said}");
    fails(&raster(2), &["--sample 2", "damaged and was skipped"]);
    fails(&raster(10), &["--sample 10", "are 0 to 9"]);
}

#[test]
fn what_is_missing_is_named() {
    fails("train nmnist --out no/run", &["N-MNIST not found", "--data DIR", "SPIKEGRAD_NMNIST", "Train.zip"]);
    fails("train shd --out no/run", &["SHD not found", "SPIKEGRAD_SHD", "shd_train.h5"]);
    fails("train nmnist --data assets/shd-like --out no/run", &["assets/shd-like", "contains no Train.zip"]);
    fails("train shd --data assets/nmnist-like --out no/run", &["assets/nmnist-like", "contains no shd_train.h5"]);
    assert!(!Path::new(ROOT).join("no").exists());
}
