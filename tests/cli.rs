//! Tests of the command line.

use serde_json::Value;
use spikegrad::data::DataSet;
use spikegrad::events::EventSet;
use spikegrad::network::{Network, Readout, SpikingLayer};
use spikegrad::train::{RunConfig, Training};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_spikegrad");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn spikegrad(arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(PROGRAM);
    command.args(arguments).env("SPIKEGRAD_FASHION_MNIST", data()).current_dir(ROOT);
    // Where results of tuning are cached, on Linux.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// A data folder with the built-in subset of Fashion-MNIST.
fn data() -> PathBuf {
    Path::new(ROOT).join("assets/fashion-mnist")
}

fn golden(name: &str) -> String {
    format!("{ROOT}/tests/golden/{name}.safetensors")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Standard output, which must be one JSON object and nothing else.
fn json(output: &Output) -> Value {
    let value: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}\n{}", text(&output.stdout), text(&output.stderr)));
    assert!(value.is_object());
    value
}

fn succeeds(arguments: &[&str]) -> Output {
    spikegrad(arguments).assert().code(0).get_output().clone()
}

/// Replaces path separators by those of Unix.
fn slashes(text: &str) -> String {
    text.replace('\\', "/")
}

/// Checks that a command exits with `code` and that its standard error contains all `parts` and no panic; returns it.
fn fails(code: i32, arguments: &[&str], parts: &[&str]) -> String {
    let output = spikegrad(arguments).assert().code(code).get_output().clone();
    let said = text(&output.stderr).to_string();
    for part in parts {
        assert!(said.contains(part) || slashes(&said).contains(part), "{arguments:?}: `{part}` is not in: {said}");
    }
    assert!(said.contains("error: ") && !said.contains("panicked"), "{arguments:?}: {said}");
    said
}

/// Trains a small network on `device` into `folder/run`.
fn train(folder: &TempDir, device: &str, more: &[&str]) -> (PathBuf, Output) {
    let run = folder.path().join("run");
    let small = ["--hidden", "40,30", "--limit", "300", "--device", device, "--out", run.to_str().unwrap()];
    let output = succeeds(&[&["train", "fmnist"], &small[..], more].concat());
    (run, output)
}

fn picture(path: &Path) -> (u32, u32) {
    let picture = image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_rgb8();
    assert!(picture.pixels().any(|p| p.0 != [255; 3]), "{} is blank", path.display());
    picture.dimensions()
}

#[test]
fn a_run_leaves_what_was_promised_and_can_be_tested_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (run, output) = train(&folder, "cpu", &["--epochs", "2", "--seed", "3", "--json"]);
    let run_word = run.to_str().unwrap();
    let said = json(&output);
    assert_eq!((&said["outcome"], &said["epochs_done"], &said["steps"]), (&"finished".into(), &2.into(), &4.into()));
    assert_eq!((&said["device"]["kind"], &said["data"]["train_samples"]), (&"cpu".into(), &300.into()));
    assert!(text(&output.stderr).contains("epoch 2/2"), "progress goes to standard error");

    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (k, line) in lines.iter().enumerate() {
        assert_eq!(line["epoch"], k + 1);
        for field in ["loss", "train_accuracy", "test_accuracy", "train_seconds", "test_seconds"] {
            assert!(line[field].is_f64(), "{field}");
        }
        assert_eq!(
            (line["activity"].as_array().unwrap().len(), line["spike_density"].as_array().unwrap().len()),
            (2, 2)
        );
        assert!(line["loss_terms"]["task"].is_f64());
    }
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("seed = 3") && config.contains("limit = 300"), "{config}");
    assert_eq!((picture(&run.join("raster.png")), picture(&run.join("curves.png"))), ((1930, 1500), (1700, 1200)));

    // Its best checkpoint has the accuracy that training found.
    let tested = json(&succeeds(&["eval", run_word, "--json"]));
    assert_eq!(tested["test_accuracy"], said["best"]["test_accuracy"]);
    assert_eq!((&tested["samples"], &tested["checkpoint"]), (&1000.into(), &"best.safetensors".into()));
    let last = json(&succeeds(&["eval", run_word, "--json", "--checkpoint", "last"]));
    assert_eq!((&last["test_accuracy"], &last["epoch"]), (&lines[1]["test_accuracy"], &2.into()));
    let line = succeeds(&["eval", run_word, "--data", data().to_str().unwrap()]).stdout;
    let expected = format!(
        "{:.2} % ({} of 1000) test accuracy, loss {:.4}, best.safetensors of epoch {}, cpu\n",
        100.0 * tested["test_accuracy"].as_f64().unwrap(),
        tested["correct"],
        tested["loss"].as_f64().unwrap(),
        tested["epoch"]
    );
    assert_eq!(text(&line), expected);

    let png = folder.path().join("five.png");
    let raster = ["raster", run_word, "--sample", "5", "--out", png.to_str().unwrap()];
    assert!(text(&succeeds(&raster).stdout).contains("sample 5 of 1000"));
    assert_eq!(picture(&png), (1930, 1500));
    let svg = folder.path().join("grid.svg");
    let said = succeeds(&["raster", run_word, "--samples", "5,0,7", "--out", svg.to_str().unwrap()]).stdout;
    assert_eq!(text(&said).lines().count(), 3);
    let drawn = std::fs::read_to_string(&svg).unwrap();
    for k in [5, 0, 7] {
        assert!(drawn.contains(&format!("Fashion-MNIST test sample {k}, 784-")), "sample {k}");
    }
    assert_eq!(drawn.matches("Largest logits (sums of the potentials over time): ").count(), 3);
    for (sample, file, parts) in [
        ("0", "x.jpg", ["x.jpg", ".png or .svg"]),
        ("0", "x", ["'x'", ".png or .svg"]),
        ("0,1,2,3,4,5,6,7,8,9,10,11,12", "x.png", ["13 samples", "at most 12"]),
    ] {
        fails(2, &["raster", run_word, "--sample", sample, "--out", file], &parts);
    }
    fails(2, &["eval", run_word, "--confusion", "x.pdf"], &["x.pdf", ".png or .svg"]);
    fails(1, &["raster", run_word, "--sample", "1000", "--out", "x.png"], &["--sample 1000", "0 to 999"]);
    let nowhere = folder.path().join("no/such.png");
    fails(1, &["raster", run_word, "--out", nowhere.to_str().unwrap()], &["no/such.png"]);

    // Nothing is overwritten, and a finished run is unchanged.
    let before = std::fs::read(run.join("checkpoint.safetensors")).unwrap();
    fails(1, &["train", "fmnist", "--device", "cpu", "--out", run_word], &[run_word, "resume it", "another folder"]);
    succeeds(&["train", "fmnist", "--resume", "--out", run_word]);
    assert_eq!(std::fs::read(run.join("checkpoint.safetensors")).unwrap(), before);

    // A run's configuration can be used to start another run.
    let second = folder.path().join("second");
    let toml = run.join("config.toml");
    let again = ["train", toml.to_str().unwrap(), "--epochs", "1", "--quiet", "--out", second.to_str().unwrap()];
    let output = succeeds(&again);
    let line = text(&output.stdout);
    assert!(line.lines().count() == 1 && line.contains("1 of 1 epochs"), "{line}");
    assert!(!text(&output.stderr).contains("epoch"), "{}", text(&output.stderr));
}

#[test]
fn the_gpu_trains_too() {
    let folder = tempfile::tempdir().unwrap();
    let (run, output) = train(&folder, "gpu", &["--epochs", "1", "--json"]);
    let said = json(&output);
    assert_eq!((&said["device"]["kind"], &said["epochs_done"]), (&"gpu".into(), &1.into()));
    let tested = json(&succeeds(&["eval", run.to_str().unwrap(), "--json"]));
    assert_eq!(tested["device"]["kind"], "gpu", "by default the run's own device");
    assert_eq!(tested["test_accuracy"], said["best"]["test_accuracy"]);
    picture(&run.join("raster.png"));
}

/// A run stores the size of the δ scratch with which it was started, and keeps it when resumed.
#[test]
fn a_resumed_run_keeps_its_memory_for_deltas() {
    let folder = TempDir::new().unwrap();
    let (run, _) = train(&folder, "gpu", &["--epochs", "1", "--no-tuning", "--paper"]);
    let config = run.join("config.toml");
    let written = || std::fs::read_to_string(&config).unwrap();
    let line = written().lines().find(|line| line.starts_with("delta_mib = ")).unwrap().to_string();
    let resume = |epochs: &str, more: &[&str]| {
        let words = ["train", "fmnist", "--resume", "--quiet", "--epochs", epochs, "--out", run.to_str().unwrap()];
        succeeds(&[&words, more].concat());
    };
    resume("2", &["--set", "delta_mib=whole"]);
    assert!(written().contains("delta_mib = \"whole\""), "{}", written());
    resume("3", &[]);
    assert!(written().contains("delta_mib = \"whole\""), "{}", written());
    // A run of a version without this setting used the default size, so nothing is tuned.
    let old = written().replace("delta_mib = \"whole\"\n", "");
    std::fs::write(&config, old).unwrap();
    resume("4", &[]);
    assert!(written().contains(&line), "{}", written());
    fails(2, &["train", "fmnist", "--set", "delta_mib=-1"], &["delta_mib", "whole"]);
}

#[test]
fn shares_of_another_number_of_shards_are_measured_again() {
    let folder = TempDir::new().unwrap();
    let (run, _) = train(&folder, "cpu,gpu:0", &["--epochs", "1", "--quiet"]);
    let config = run.join("config.toml");
    let shares = |config: &Path| {
        let text = std::fs::read_to_string(config).unwrap();
        text.lines().find(|line| line.starts_with("shares = ")).map(str::to_string)
    };
    // Other than those that this machine measures.
    let given = match shares(&config).unwrap().as_str() {
        "shares = [7, 1]" => "shares = [6, 2]",
        _ => "shares = [7, 1]",
    };
    let text = std::fs::read_to_string(&config).unwrap().replace(&shares(&config).unwrap(), given);
    std::fs::write(&config, text).unwrap();
    let again = |shards: &str| {
        let out = folder.path().join(shards);
        let words = ["train", config.to_str().unwrap(), "--quiet", "--shards", shards, "--out", out.to_str().unwrap()];
        succeeds(&words);
        shares(&out.join("config.toml")).unwrap()
    };
    assert_eq!(again("8"), given);
    let measured = again("4");
    assert!(["[1, 3]", "[2, 2]", "[3, 1]"].iter().any(|shares| measured.ends_with(shares)), "{measured}");
}

/// Of a run with kernels that no longer exist.
#[test]
fn kernels_that_were_removed_are_named() {
    let folder = TempDir::new().unwrap();
    let (run, _) = train(&folder, "cpu", &["--epochs", "1"]);
    let config = run.join("config.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("kernels = \"subgroups\"\n{written}")).unwrap();
    let parts = ["config.toml", "subgroups", "plain", "cooperative", "lockstep"];
    for target in [&run, &config] {
        fails(1, &["train", target.to_str().unwrap()], &parts);
    }
    fails(1, &["eval", run.to_str().unwrap()], &parts);
    fails(2, &["train", "fmnist", "--set", "kernels=subgroups"], &parts[1..]);
}

/// A run keeps the kernels with which it was started, even if tuning or another default would choose others.
#[test]
fn a_resumed_run_keeps_its_kernels() {
    let begun = |kernels: &str| {
        let folder = TempDir::new().unwrap();
        let (run, _) = train(&folder, "gpu", &["--epochs", "1", "--no-tuning", "--paper"]);
        let config = run.join("config.toml");
        let written = std::fs::read_to_string(&config).unwrap();
        let line = written.lines().find(|line| line.starts_with("kernels = ")).unwrap();
        let pinned = format!("kernels = \"{kernels}\"");
        std::fs::write(&config, written.replace(line, &pinned)).unwrap();
        let said = succeeds(&["train", "fmnist", "--resume", "--epochs", "2", "--out", run.to_str().unwrap()]);
        let said = text(&said.stdout);
        assert!(said.contains(&format!("{kernels} kernels")), "{said}");
        assert!(std::fs::read_to_string(&config).unwrap().contains(&pinned));
        std::fs::read(run.join("checkpoint.safetensors")).unwrap()
    };
    assert_ne!(begun("plain"), begun("cooperative"), "they sum in different orders");
    assert_eq!(begun("cooperative"), begun("cooperative"));
}

#[test]
fn an_epoch_is_a_line_with_everything_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (run, output) = train(&folder, "cpu", &["--epochs", "1"]);
    let said = text(&output.stdout);
    let line = said.lines().find(|line| line.starts_with("epoch 1/1")).unwrap_or_else(|| panic!("{said}"));
    for part in ["loss ", "train ", "test ", "active ", "spiking ", " s"] {
        assert!(line.contains(part), "{line}");
    }
    let folder_line = format!("run      {}", run.display());
    for part in ["3,000 + 1,000 images", "cpu: ", "784-40-30-10", &folder_line, "best test accuracy"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[test]
fn without_out_no_run_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let words = ["train", "fmnist", "--hidden", "8", "--limit", "20", "--epochs", "1", "--device", "cpu", "--json"];
        let mut command = spikegrad(&[&words[..], more].concat());
        let said = json(command.current_dir(folder.path()).assert().code(0).get_output());
        slashes(said["run"].as_str().unwrap())
    };
    assert_eq!([run(&[]), run(&[]), run(&[])], ["runs/fmnist", "runs/fmnist-2", "runs/fmnist-3"]);
    assert_eq!(run(&["--resume"]), "runs/fmnist-3");
    // A failed start leaves no run, and does not hide the last one.
    let words = ["train", "fmnist", "--limit", "20", "--device", "cpu", "--set", "initial_spikes=1000"];
    spikegrad(&words).current_dir(folder.path()).assert().code(1);
    assert_eq!(run(&["--resume"]), "runs/fmnist-3");
    let toml = folder.path().join("mine.toml");
    std::fs::write(&toml, "preset = 'fmnist'\nlimit = 30\n[[network.hidden]]\nneurons = 8").unwrap();
    let words = ["train", "mine.toml", "--epochs", "1", "--device", "cpu", "--quiet"];
    spikegrad(&words).current_dir(folder.path()).assert().code(0);
    assert!(folder.path().join("runs/mine/raster.png").exists());
    spikegrad(&["train", "shd", "--resume"]).current_dir(folder.path()).assert().code(1);
    let last = |words: &[&str]| {
        let mut command = spikegrad(&[words, &["--json"]].concat());
        slashes(json(command.current_dir(folder.path()).assert().code(0).get_output())["run"].as_str().unwrap())
    };
    assert_eq!(last(&["train", "--resume"]), "runs/mine");
    assert_eq!(last(&["train", "runs/fmnist-2"]), "runs/fmnist-2");
    fails(2, &["train"], &["--resume"]);
    let run = folder.path().join("runs/mine");
    fails(2, &["train", run.to_str().unwrap(), "--out", "elsewhere"], &["config.toml", "elsewhere"]);
}

/// Runs that are started at the same time take different folders.
#[test]
fn parallel_runs_take_the_next_free_folder() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["train", "fmnist", "--hidden", "8", "--limit", "20", "--epochs", "1", "--device", "cpu", "--quiet"];
    let start = |seed: usize| {
        let mut command = Command::new(PROGRAM);
        command.args(words).args(["--seed", &seed.to_string()]).env("SPIKEGRAD_FASHION_MNIST", data());
        command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let started: Vec<_> = (0..4).map(start).collect();
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let mut runs: Vec<_> =
        std::fs::read_dir(folder.path().join("runs")).unwrap().map(|e| e.unwrap().file_name()).collect();
    runs.sort();
    assert_eq!(runs, ["fmnist", "fmnist-2", "fmnist-3", "fmnist-4"]);
    // A start that is refused gives its folder back.
    spikegrad(&["train", "fmnist", "--set", "epochs=0"]).current_dir(folder.path()).assert().code(2);
    assert!(!folder.path().join("runs/fmnist-5").exists());
}

#[test]
fn a_run_without_progress_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    // With such a learning rate no epoch is better than the first.
    let words = ["--lr", "1e-30", "--epochs", "9", "--patience", "2", "--json"];
    let (run, output) = train(&folder, "cpu", &words);
    let said = json(&output);
    assert_eq!((&said["outcome"], &said["epochs_done"]), (&"finished".into(), &3.into()), "{said}");
    // Continued, it ends at once; with more patience it goes on.
    let again = json(&succeeds(&["train", run.to_str().unwrap(), "--json"]));
    assert_eq!(again["epochs_done"], 3);
    let again = json(&succeeds(&["train", run.to_str().unwrap(), "--patience", "4", "--json"]));
    assert_eq!(again["epochs_done"], 5);
}

#[test]
fn paths_in_a_toml_are_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    for file in std::fs::read_dir(data()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), inner.join(file.file_name())).unwrap();
    }
    let text = "preset = 'fmnist'\ndata = '.'\nlimit = 20\nepochs = 1\n[[network.hidden]]\nneurons = 8";
    std::fs::write(inner.join("mine.toml"), text).unwrap();
    let mut command = spikegrad(&["train", "inner/mine.toml", "--device", "cpu", "--out", "run", "--json"]);
    let said =
        json(command.env_remove("SPIKEGRAD_FASHION_MNIST").current_dir(folder.path()).assert().code(0).get_output());
    assert!(said["data"]["origin"].as_str().unwrap().contains("inner"), "{said}");
}

/// Predictions, per-class accuracies, inspected samples and weights agree with each other.
#[test]
fn results_come_out_in_files_for_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _) = train(&folder, "cpu", &["--epochs", "2", "--quiet"]);
    let run_word = run.to_str().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let tested = json(&succeeds(&["eval", run_word, "--json", "--confusion", &file("confusion.png")]));
    picture(Path::new(&file("confusion.png")));
    let right: u64 = (0..10).map(|c| tested["confusion"][c][c].as_u64().unwrap()).sum();
    assert_eq!(right, tested["correct"].as_u64().unwrap());
    assert_eq!(tested["classes"][1]["name"], "Trouser");
    let table = succeeds(&["eval", run_word, "--classes"]).stdout;
    assert!(
        text(&table).contains("1 (Trouser)") && text(&table).contains("most often mistaken for"),
        "{}",
        text(&table)
    );

    succeeds(&["predict", run_word, "--out", &file("p.csv")]);
    succeeds(&["predict", run_word, "--out", &file("p.json")]);
    let csv = std::fs::read_to_string(file("p.csv")).unwrap();
    let predictions: Vec<Value> = serde_json::from_slice(&std::fs::read(file("p.json")).unwrap()).unwrap();
    assert_eq!((csv.lines().count(), predictions.len()), (1001, 1000));
    assert!(csv.starts_with("sample,label,class,name,logit_0,logit_1,"), "{csv}");
    assert_eq!(predictions.iter().filter(|p| p["label"] == p["class"]).count() as u64, right);
    fails(2, &["predict", run_word, "--out", &file("p.txt")], &["p.txt", ".csv or .json"]);
    fails(2, &["inspect", run_word, "--out", &file("s.txt")], &["s.txt", ".safetensors"]);
    fails(2, &["eval", run_word, "--confusion", &file("c.txt")], &["c.txt", ".png"]);
    let own = run.join("best.safetensors");
    fails(1, &["inspect", run_word, "--out", own.to_str().unwrap()], &["best.safetensors", "choose another name"]);
    assert!(!Path::new(&file("p.txt")).exists());

    let said = succeeds(&["inspect", run_word, "--sample", "3", "--out", &file("s.safetensors")]).stdout;
    assert!(text(&said).contains("sample 3 of 1000"), "{}", text(&said));
    let bytes = std::fs::read(file("s.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let logits = tensors.tensor("logits").unwrap();
    let first = f32::from_le_bytes(logits.data()[..4].try_into().unwrap());
    assert_eq!(f64::from(first) as f32, predictions[3]["logits"][0].as_f64().unwrap() as f32);
    assert_eq!(tensors.tensor("v.0").unwrap().shape(), [100, 40]);
    assert_eq!(tensors.tensor("gradient.w.2").unwrap().shape(), [30, 10]);

    // A checkpoint's weights, as a file of weights, give the same accuracy and begin another run.
    let best = run.join("best.safetensors");
    let best = best.to_str().unwrap();
    let again = json(&succeeds(&["eval", run_word, "--weights", best, "--json"]));
    assert_eq!(again["correct"], tested["correct"]);
    let small = ["--hidden", "40,30", "--limit", "300", "--device", "cpu", "--lr", "1e-30", "--epochs", "1", "--json"];
    let second = file("second");
    let words = [&["train", "fmnist", "--weights", best, "--out", &second], &small[..]].concat();
    assert_eq!(json(&succeeds(&words))["best"]["test_accuracy"], tested["test_accuracy"]);
    // The run goes on without that file, also if it is named by its configuration.
    std::fs::rename(best, file("moved")).unwrap();
    let config = Path::new(&second).join("config.toml");
    for again in [vec!["train", &second], vec!["train", config.to_str().unwrap(), "--resume"]] {
        let said = json(&succeeds(&[&again[..], &["--json"]].concat()));
        assert_eq!((said["run"].as_str(), &said["epochs_done"]), (Some(second.as_str()), &1.into()), "{said}");
    }
    std::fs::rename(file("moved"), best).unwrap();
    fails(2, &["train", &second, "--paper"], &["--paper"]);
    fails(1, &["predict", run_word, "--out", &file("none/p.csv")], &["none/p.csv", "create it first"]);
    let wide = ["train", "fmnist", "--weights", best, "--hidden", "40,31", "--out", &file("third")];
    fails(1, &wide, &["best.safetensors", "tensor w.1", "[40, 31]"]);
}

/// After Ctrl-C, the command that the program prints continues the run to the same bytes as an uninterrupted run.
#[cfg(unix)]
#[test]
fn an_interrupted_run_resumes_to_the_same_bytes() {
    interrupt("");
    interrupt("--recurrent");
}

fn interrupt(more: &str) {
    let folder = tempfile::tempdir().unwrap();
    let words = |run: &Path| {
        let fixed = "train fmnist --device cpu --hidden 30,30 --limit 300 --batch 16 --epochs 12 --quiet --warmup 1 \
                     --weight-decay 0.02 --initial-spikes 0.8 --beta 12 --tau 8,12 --set augment.shift=2 \
                     --set augment.flip=true";
        let fixed = fixed.split(' ').chain(more.split_whitespace()).chain(["--out"]);
        fixed.map(String::from).chain([run.display().to_string()]).collect::<Vec<_>>()
    };
    let whole = folder.path().join("whole");
    spikegrad(&[]).args(words(&whole)).assert().code(0);

    // The name must be quoted for a shell.
    let run = folder.path().join("it's a run");
    let child = Command::new(PROGRAM)
        .args(words(&run))
        .env("SPIKEGRAD_FASHION_MNIST", data())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = run.join("metrics.jsonl");
    let begun = std::time::Instant::now();
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(begun.elapsed().as_secs() < 60, "no epoch in a minute");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // The shell's built-in `kill`, since minimal systems do not have the program.
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(std::fs::read_to_string(&metrics).unwrap().lines().count() < 12, "stopped before its end");
    let (_, command) = said.trim_end().rsplit_once("continue with: ").unwrap_or_else(|| panic!("{said}"));
    assert!(command.contains(" train "), "{command}");

    let resumed = Command::new("sh").args(["-c", command]).env("SPIKEGRAD_FASHION_MNIST", data()).output().unwrap();
    assert!(resumed.status.success(), "{command}: {}", text(&resumed.stderr));
    for file in ["checkpoint.safetensors", "best.safetensors"] {
        let [a, b] = [&whole, &run].map(|run| std::fs::read(run.join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
}

#[test]
fn what_conflicts_with_the_run_to_resume_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _) = train(&folder, "cpu", &["--epochs", "1", "--quiet"]);
    let run = run.to_str().unwrap();
    let resume = |more: &[&str], parts: &[&str]| {
        fails(1, &[&["train", "fmnist", "--resume", "--out", run], more].concat(), parts);
    };
    resume(&["--batch", "7", "--hidden", "5"], &["batch: 256, 7", "network.hidden", "another folder"]);
    resume(&["--paper"], &["adam.lr", "schedule", "network.readout.gain", "readout.logits", "hidden[0].beta"]);
    resume(&["--epochs", "20"], &["epoch 20", "falls to its end at epoch 1", "weights = ", "best.safetensors"]);
    fails(1, &["train", "shd", "--resume", "--out", run], &["fmnist", "shd"]);
    let empty = folder.path().join("empty");
    fails(1, &["train", "fmnist", "--resume", "--out", empty.to_str().unwrap()], &["empty", "config.toml"]);
    assert!(!empty.exists());
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _) = train(&folder, "cpu", &["--epochs", "1", "--quiet"]);
    let run_word = run.to_str().unwrap();
    for file in ["best.safetensors", "checkpoint.safetensors"] {
        let bytes = std::fs::read(run.join(file)).unwrap();
        std::fs::write(run.join(file), &bytes[..bytes.len() / 2]).unwrap();
    }
    fails(1, &["eval", run_word], &["best.safetensors", "truncated"]);
    fails(1, &["raster", run_word, "--out", "x.png"], &["best.safetensors"]);
    fails(1, &["train", "fmnist", "--resume", "--out", run_word], &["checkpoint.safetensors", "truncated"]);
}

#[test]
fn wrong_words_exit_with_two() {
    let wrong: [(&[&str], &[&str]); 34] = [
        (&["frobnicate"], &["frobnicate"]),
        (&["train"], &["PRESET"]),
        (&["train", "mnist"], &["`mnist`", "fmnist"]),
        (&["train", ""], &["preset"]),
        (&["train", "fmnist", "--device", "tpu"], &["tpu", "cpu", "gpu:N"]),
        (&["train", "fmnist", "--batch", "0"], &["batch = 0"]),
        (&["train", "fmnist", "--epochs", "0"], &["epochs = 0"]),
        (&["train", "fmnist", "--epochs", "4611686018427387904"], &["epochs = 4611686018427387904"]),
        (&["bench", "fmnist", "--batch", "1152921504606846976"], &["batch = 1152921504606846976"]),
        (&["bench", "fmnist", "--depth", "18446744073709551615"], &["--depth", "at most 1024"]),
        (&["train", "fmnist", "--limit", "0"], &["limit = 0"]),
        (&["train", "fmnist", "--lr", "-1"], &["lr = -1"]),
        (&["train", "fmnist", "--b-th", "-0.5"], &["b_th = -0.5"]),
        (&["train", "fmnist", "--hidden", "20,x"], &["`x`", "--hidden"]),
        (&["train", "fmnist", "--hidden", "0"], &["--hidden", "neurons = 0"]),
        (&["train", "fmnist", "--method", "fast"], &["fast", "sparse"]),
        (&["train", "fmnist", "--method", "dense", "--shards", "4"], &["method = dense", "sparse or auto", "shards"]),
        (
            &["train", "fmnist", "--method", "reference", "--device", "cpu,cpu"],
            &["method = reference", "several devices"],
        ),
        (&["train", "fmnist", "--tau", "1,2,3"], &["--tau", "3 time constants", "2 hidden layers"]),
        (&["train", "fmnist", "--tau", "0"], &["hidden[0].tau_ms = 0"]),
        (&["train", "fmnist", "--weight-decay", "-1"], &["adam.weight_decay = -1"]),
        (&["train", "fmnist", "--set", "adam.lrr=1"], &["--set", "adam.lrr=1", "lrr"]),
        (&["train", "fmnist", "--set", "augment.drop=1"], &["augment.drop = 1"]),
        (&["eval"], &["RUN"]),
        (&["raster", "fmnist"], &["--out"]),
        (&["raster", "mnist", "--out", "x.png"], &["`mnist`", "preset"]),
        (&["conformance"], &["FILE"]),
        (&["bench", "mnist"], &["mnist", "shd"]),
        (&["bench", "shd", "--batch", "0"], &["batch = 0"]),
        (&["bench", "shd", "--density", "1.5"], &["--density 1.5"]),
        (&["bench", "fmnist", "--methods", "sparse,sparse"], &["--methods", "once"]),
        (&["bench", "fmnist", "--densities", "0.1,2"], &["--densities 2", "0 to 1"]),
        (&["bench", "fmnist", "--depth", "0"], &["--depth 0", "1 or more"]),
        (&["bench", "fmnist", "--hidden", "20,20", "--depth", "3"], &["--depth 3", "2 layers"]),
    ];
    for (words, parts) in wrong {
        // clap quotes with ', our own messages with `.
        let parts: Vec<&str> = parts.iter().map(|part| part.trim_matches('`')).collect();
        fails(2, words, &parts);
    }
}

#[test]
fn missing_things_exit_with_one_and_are_named() {
    fails(1, &["train", "no/such.toml"], &["no/such.toml"]);
    fails(
        1,
        &["train", "fmnist", "--data", "no/data", "--out", "no/run"],
        &["no/data", "does not exist", "train-images-idx3-ubyte"],
    );
    fails(1, &["train", "fmnist", "--device", "gpu:99", "--out", "no/run"], &["gpu:99", "spikegrad devices"]);
    fails(1, &["train", "shd", "--data", "no/data", "--out", "no/run"], &["no/data", "does not exist", "shd_train.h5"]);
    fails(1, &["train", "nmnist", "--data", "no/data", "--out", "no/run"], &["no/data", "does not exist", "Train.zip"]);
    fails(1, &["import", "tests/nir", "--out", "no/run"], &["tests/nir", "is a folder"]);
    fails(2, &["reproduce", "--merge", "no/figures", "assets", "--out", "no/all"], &["no/figures", "does not exist"]);
    fails(2, &["train", "fmnist", "--rank-patience", "0", "--out", "no/run"], &["--rank-patience", "0", "1 to"]);
    fails(1, &["eval", "no/run"], &["no/run", "config.toml"]);
    fails(1, &["raster", "no/run", "--out", "x.png"], &["no/run"]);
    fails(1, &["bench", "fmnist", "--batch", "3001"], &["3001", "3000"]);
    let dense = ["bench", "shd", "--batch", "2", "--recurrent", "--methods", "dense", "--device", "cpu"];
    fails(1, &dense, &["`dense` does not support hidden[0].recurrent = true"]);
    assert!(!Path::new(ROOT).join("no").exists());
}

#[test]
fn conformance_says_pass_fail_unsupported_and_error() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [golden("tiny"), golden("late_post")];
    for device in ["cpu", "gpu"] {
        let output = succeeds(&["conformance", &cases[0], &cases[1], "--device", device]);
        let lines: Vec<&str> = text(&output.stdout).lines().collect();
        assert_eq!(lines.len(), 2, "a line a case");
        assert!(lines[0].starts_with("PASS tiny") && lines[1].starts_with("PASS late_post"), "{lines:?}");
    }

    let altered = folder.path().join("altered.safetensors");
    std::fs::write(&altered, with_another_number(&cases[0], "dw.0")).unwrap();
    let altered = altered.to_str().unwrap();
    let stdout = |files: &[&str]| {
        let output =
            spikegrad(&[&["conformance", "--device", "cpu"], files].concat()).assert().code(1).get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = stdout(&[altered, &cases[0]]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("FAIL tiny: dw.0") && lines[1].starts_with("PASS tiny"), "{said}");
    let unsupported = folder.path().join("unsupported.safetensors");
    let text = std::fs::read(&cases[0]).unwrap();
    let at = text.windows(13).position(|bytes| bytes == b"v_init\\\": 0.0").unwrap();
    let other = [&text[..at], b"v_init\\\": 0.5", &text[at + 13..]].concat();
    std::fs::write(&unsupported, other).unwrap();
    let unsupported = unsupported.to_str().unwrap();
    let said = stdout(&[unsupported]);
    assert!(said.starts_with("UNSUPPORTED ") && said.contains("v_init = 0.5") && said.lines().count() == 1, "{said}");
    assert!(stdout(&["no/case.safetensors", &cases[0]]).starts_with("ERROR no/case.safetensors: "));

    let all = ["conformance", "--device", "cpu", "--json", &cases[0], altered, unsupported, "no/case"];
    let said = json(spikegrad(&all).assert().code(1).get_output());
    let status: Vec<&Value> = said["cases"].as_array().unwrap().iter().map(|case| &case["status"]).collect();
    assert_eq!(status, ["pass", "fail", "unsupported", "error"]);
    assert_eq!((&said["passed"], &said["device"]["kind"]), (&1.into(), &"cpu".into()));
    assert!(said["cases"][1]["failures"][0].as_str().unwrap().contains("dw.0"));
}

/// The file with the first f64 of one tensor multiplied by ten, or replaced by 1 if it is 0.
fn with_another_number(path: &str, tensor: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let entries: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let begin = 8 + header + entries[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    let value = f64::from_le_bytes(bytes[begin..begin + 8].try_into().unwrap());
    let other = if value == 0.0 { 1.0 } else { 10.0 * value };
    bytes[begin..begin + 8].copy_from_slice(&f64::to_le_bytes(other));
    bytes
}

#[test]
fn bench_prints_the_fields_that_scripts_read() {
    for (device, words) in [("cpu", "bench fmnist --hidden 40 --batch 20"), ("gpu", "bench shd --hidden 30 --batch 3")]
    {
        let words: Vec<&str> = words.split(' ').chain(["--device", device, "--repeat", "2", "--json"]).collect();
        let said = json(&succeeds(&words));
        assert_eq!((&said["preset"], &said["device"]["kind"]), (&words[1].into(), &device.into()));
        let runs = said["runs"].as_array().unwrap();
        assert_eq!((&runs[0]["method"], &runs[1]["method"]), (&"sparse".into(), &"dense".into()));
        for run in runs {
            assert_eq!(run["hidden"], words[3].parse::<u64>().unwrap());
            assert_eq!(run["batch"], words[5].parse::<u64>().unwrap());
            assert!(run["step_ms"].as_f64().unwrap() > 0.0 && run["state_bytes"].as_u64().unwrap() > 0, "{run}");
            for field in ["forward_ms", "backward_ms"] {
                assert!(run[field].is_null() || run[field].as_f64().unwrap() > 0.0, "{run}");
            }
            for kernel in run["kernels"].as_array().unwrap() {
                assert!(kernel["name"].is_string() && kernel["calls"].as_u64().unwrap() > 0, "{kernel}");
                assert!(kernel["ms"].is_null() || kernel["ms"].is_f64(), "{kernel}");
            }
            for density in run["spike_density"].as_array().unwrap() {
                assert!((density.as_f64().unwrap() - 0.015).abs() < 0.003, "{run}");
            }
        }
        let losses: Vec<f64> = runs.iter().map(|run| run["loss"].as_f64().unwrap()).collect();
        assert!((losses[0] - losses[1]).abs() < 1e-4 * losses[0], "{losses:?}");
    }
    let words = "bench shd --hidden 20 --depth 1 --batch 3 --device cpu --repeat 1 --recurrent --json";
    let said = json(&succeeds(&words.split(' ').collect::<Vec<_>>()));
    let methods: Vec<&str> = said["runs"].as_array().unwrap().iter().filter_map(|run| run["method"].as_str()).collect();
    assert_eq!(
        (&said["recurrent"], &said["sizes"], methods),
        (&Value::from(true), &serde_json::json!([700, 20, 20]), vec!["sparse"])
    );
    let words = "bench nmnist --hidden 20,10 --batch 2 --device cpu --repeat 1 --density 0.02";
    let output = succeeds(&words.split(' ').collect::<Vec<_>>());
    let said = text(&output.stdout);
    for part in
        ["1156-20-10-10", "density 0.02", "lif_forward.0", "whole step, ms", "dense / sparse", "1 - sparse/dense"]
    {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

/// Fields of `bench --steady`, and of the settings that a gpu device was measured with.
#[test]
fn bench_measures_steady_steps_with_chosen_settings() {
    let words = "bench fmnist --hidden 24 --batch 8 --repeat 1 --steady 0.2 --json";
    let run = |more: &str| {
        let words: Vec<&str> = words.split(' ').chain(more.split(' ')).collect();
        json(&succeeds(&words))["runs"].clone()
    };
    let gpu = run("--device gpu --kernels cooperative --delta-mib whole --unchecked --methods sparse,dense");
    let cpu = run("--device cpu --methods sparse");
    for (run, resident) in [(&gpu[0], true), (&gpu[1], false), (&cpu[0], true)] {
        let steady = &run["steady"];
        let of = |name: &str| steady[name].as_f64().unwrap();
        let (least, most) = (steady["ms_min_max"][0].as_f64().unwrap(), steady["ms_min_max"][1].as_f64().unwrap());
        assert!(least > 0.0 && least <= of("ms") && of("ms") <= most, "{steady}");
        assert!(of("groups") >= 5.0 && of("steps") >= of("groups"), "{steady}");
        assert!(of("warm_up_seconds") >= 1.0 && of("warm_up_steps") >= 1.0, "{steady}");
        assert_eq!(steady["resident"], resident, "{run}");
        assert!(run["step_ms"].as_f64().unwrap() > 0.0);
    }
    let settings = |run: &Value| ["variant", "delta_mib", "checked"].map(|name| run[name].clone());
    assert_eq!(settings(&gpu[0]), [Value::from("cooperative"), "whole".into(), false.into()]);
    assert_eq!(settings(&cpu[0]), [Value::Null, Value::Null, Value::Null]);

    let words = "bench fmnist --hidden 24 --batch 8 --repeat 1 --device cpu --methods sparse --steady=0.1";
    let said = text(&succeeds(&words.split(' ').collect::<Vec<_>>()).stdout).to_string();
    for part in ["whole step, ms", "steady step, ms", "fastest group, ms", "slowest group, ms"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    for word in ["0", "-1", "soon", "nan", "1e9"] {
        fails(2, &["bench", "fmnist", &format!("--steady={word}")], &["--steady", "number of seconds"]);
    }
}

#[test]
fn conformance_runs_the_kernels_that_are_named() {
    let tiny = golden("tiny");
    let words = ["conformance", &tiny, "--device", "gpu", "--json"];
    let run = |more: &[&str]| json(&succeeds(&[&words, more].concat()));
    let settings = |said: &Value| ["variant", "delta_mib", "checked"].map(|name| said[name].clone());
    for (variant, check) in [("plain", "--checked"), ("cooperative", "--unchecked")] {
        let said = run(&["--kernels", variant, "--delta-mib", "0.125", check]);
        assert_eq!(settings(&said), [Value::from(variant), Value::from(0.125), Value::from(check == "--checked")]);
        let detail = said["device"]["detail"].as_str().unwrap();
        assert!(said["passed"] == 1 && detail.contains(&format!("{variant} kernels")), "{said}");
    }
    for word in ["--kernels=plain", "--delta-mib=8", "--checked", "--unchecked"] {
        let name = word.split('=').next().unwrap();
        fails(2, &["conformance", &tiny, "--device", "cpu", word], &[name, "--device gpu"]);
        fails(2, &["bench", "fmnist", "--device", "cpu", word], &[name, "--device gpu"]);
        fails(2, &["bench", "fmnist", "--sweep", "batch", word], &["--sweep", name]);
    }
    fails(2, &["conformance", &tiny, "--kernels", "fast"], &["fast", "plain, cooperative or lockstep"]);
    fails(2, &["conformance", &tiny, "--kernels", "subgroups"], &["subgroups", "plain, cooperative or lockstep"]);
    fails(2, &["conformance", &tiny, "--delta-mib", "0"], &["--delta-mib", "whole"]);
    fails(2, &["conformance", &tiny, "--checked", "--unchecked"], &["--unchecked"]);
    let cpu = json(&succeeds(&["conformance", &tiny, "--device", "cpu", "--json"]));
    assert_eq!(settings(&cpu), [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn bench_measures_sizes_and_densities_in_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (trace, charts) = (path("trace.json"), path("charts"));
    let words = "bench shd --sizes 12,20 --densities 0.01,0.3 --batch 2 --device cpu --repeat 2 --depth 1";
    let words: Vec<&str> = words.split(' ').chain(["--trace", &trace, "--charts", &charts, "--json"]).collect();
    let said = json(&succeeds(&words));
    let runs = said["runs"].as_array().unwrap();
    let of = |field: &str| runs.iter().map(|run| run[field].clone()).collect::<Vec<Value>>();
    assert_eq!(of("hidden"), [12, 12, 12, 12, 20, 20, 20, 20].map(Value::from));
    assert_eq!(of("target_density"), [0.01, 0.01, 0.3, 0.3, 0.01, 0.01, 0.3, 0.3].map(Value::from));
    for run in runs {
        assert!((run["input_density"].as_f64().unwrap() / run["target_density"].as_f64().unwrap() - 1.0).abs() < 0.3);
        let known = |kernel: &&Value| kernel["bytes_per_second"].as_f64().is_some_and(|rate| rate > 0.0);
        assert!(run["kernels"].as_array().unwrap().iter().any(|kernel| known(&kernel)), "{run}");
        let (estimated, real) = (run["estimated_bytes"].as_f64().unwrap(), run["state_bytes"].as_f64().unwrap());
        assert!((0.2..5.0).contains(&(estimated / real)), "{run}");
    }
    assert!(said["ceilings"]["bytes_per_second"].as_f64().unwrap() > 0.0, "{said}");

    let trace: Value = serde_json::from_slice(&std::fs::read(trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let slices: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    for slice in &slices {
        assert!(slice["name"].is_string() && slice["ts"].as_f64().unwrap() >= 0.0 && slice["dur"].is_f64(), "{slice}");
        let named = |e: &&Value| e["ph"] == "M" && e["tid"] == slice["tid"] && e["name"] == "thread_name";
        assert!(events.iter().any(|e| named(&e)), "{slice} is on no named track");
    }
    assert_eq!(slices.iter().filter(|slice| slice["cat"] == "step").count(), 8 * 2);
    assert!(slices.iter().any(|slice| slice["name"] == "lif_forward.0"));
    // On a track, one kernel ends before the next begins.
    for pair in slices.windows(2).filter(|pair| pair[0]["tid"] == pair[1]["tid"]) {
        let at = |slice: &Value, field: &str| slice[field].as_f64().unwrap();
        assert!(at(pair[0], "ts") + at(pair[0], "dur") <= at(pair[1], "ts") + 1.0, "{pair:?}");
    }
    for chart in ["step-time.png", "memory.png", "kernels-sparse.png", "kernels-dense.png", "speed-up.png"] {
        picture(&folder.path().join("charts").join(chart));
    }

    let output = succeeds(&"bench shd --sizes 12,20 --batch 2 --device cpu --repeat 1".split(' ').collect::<Vec<_>>());
    let said = text(&output.stdout);
    assert!(said.contains("700-12-12-20") && said.contains("700-20-20-20") && said.contains("dense/sparse"), "{said}");
    assert!(text(&output.stderr).contains("memory of sparse"), "the estimate is said before");
}

#[test]
fn bench_counts_what_kernels_execute() {
    let words: Vec<&str> = "bench fmnist --hidden 24 --batch 8 --device gpu --count".split(' ').collect();
    let said = text(&succeeds(&words).stdout).to_string();
    for part in ["dispatches", "lif_forward.0", "operands", "all with a least"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    let said = json(&succeeds(&[&words[..], &["--json", "--tier", "hardware", "--methods", "dense"]].concat()));
    let kernels = said["runs"][0]["kernels"].as_array().unwrap();
    let adam = kernels.iter().find(|k| k["name"] == "adam.1").unwrap();
    assert_eq!(adam["least_bytes"].as_f64().unwrap(), 28.0 * 24.0 * 24.0);
    assert!(adam["read_bytes"].as_u64().unwrap() >= 16 * 24 * 24, "{adam}");
    fails(2, &["bench", "fmnist", "--count", "--device", "cpu"], &["--count", "--device gpu"]);
}

#[test]
fn bench_sweeps_an_axis() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, charts) = (folder.path().join("points.csv"), folder.path().join("charts"));
    let words = "bench shd --hidden 16 --batch 2 --device cpu --repeat 2 --sweep empty-steps --points 100,400,99999";
    let files = ["--csv", csv.to_str().unwrap(), "--charts", charts.to_str().unwrap()];
    let words: Vec<&str> = words.split(' ').chain(files).collect();
    let said = text(&succeeds(&words).stdout).to_string();
    assert!(said.contains("empty-steps = 99999 skipped: time_steps = 99999"), "{said}");
    assert!(said.contains("time grows with the power of"), "{said}");
    let points = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(points.lines().count(), 1 + 2 * 3, "{points}");
    picture(&charts.join("sweep-empty-steps.png"));
    let said = json(&succeeds(&[&words[..], &["--json", "--methods", "sparse"]].concat()));
    let sweep = &said["sweeps"][0];
    assert_eq!((&sweep["axis"], sweep["points"].as_array().unwrap().len()), (&"empty_steps".into(), 2));
    assert!(sweep["in_slots"]["exponent"].is_f64() && sweep["points"][0]["events"].as_f64().unwrap() > 0.0, "{sweep}");
    for axis in ["neurons", "depth"] {
        let words = ["bench", "fmnist-conv", "--device", "cpu", "--sweep", axis];
        fails(1, &words, &["--sweep", axis, "no fully connected hidden layer"]);
    }
}

#[test]
fn what_cannot_fit_is_refused_at_once() {
    let hopeless = ["--batch", "60000", "--hidden", "30000,30000", "--device", "cpu"];
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let train: &[&str] = &["train", "fmnist", "--out", out.to_str().unwrap()];
    for (words, remedy) in [(train, "narrower"), (&["bench", "shd"], "smaller batch")] {
        let clock = std::time::Instant::now();
        fails(1, &[words, &hopeless].concat(), &["GiB", "available", remedy]);
        assert!(clock.elapsed().as_secs() < 60, "{words:?} took {:?}", clock.elapsed());
        assert!(!out.exists(), "nothing was begun");
    }
}

#[test]
fn an_untrained_network_is_drawn_on_both_devices() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["cpu", "gpu"] {
        let png = folder.path().join("raster.png");
        let words = ["raster", "fmnist", "--device", device, "--sample", "2", "--out", png.to_str().unwrap()];
        let said = succeeds(&words).stdout;
        assert!(text(&said).contains("sample 2 of 1000") && text(&said).contains("label"), "{}", text(&said));
        assert_eq!(picture(&png), (1930, 1500));
    }
}

/// Without the rescaling of `initial_spikes`, the spikes of the deep network would die out or multiply from layer to layer.
#[test]
fn an_untrained_network_has_the_weights_that_training_begins_with() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("deep.svg");
    succeeds(&["raster", "fmnist-deep", "--device", "cpu", "--out", svg.to_str().unwrap()]);
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.contains("before training"));
    let counts: Vec<f64> = (drawn.lines())
        .filter_map(|line| line.strip_prefix("300 neurons · ")?.strip_suffix(" spikes")?.replace(',', "").parse().ok())
        .collect();
    assert!(counts.len() == 5 && counts.iter().all(|n| (30.0..1500.0).contains(n)), "{counts:?}");
}

#[test]
fn a_convolution_is_trained_tested_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (toml, run) = (folder.path().join("small.toml"), folder.path().join("run"));
    let (toml_word, run_word) = (toml.to_str().unwrap(), run.to_str().unwrap());
    let small = "preset = 'fmnist-conv'\nlimit = 60\nbatch = 20\nepochs = 1\n[[network.hidden]]\nneurons = 6272\n\
                 connection.filters = 8";
    std::fs::write(&toml, small).unwrap();
    let said = json(&succeeds(&[
        "train",
        toml_word,
        "--hidden",
        "20",
        "--device",
        "cpu",
        "--data",
        data().to_str().unwrap(),
        "--out",
        run_word,
        "--json",
    ]));
    assert_eq!((&said["outcome"], &said["steps"]), (&"finished".into(), &3.into()));
    let tested = json(&succeeds(&["eval", run_word, "--json"]));
    assert_eq!(tested["test_accuracy"], said["best"]["test_accuracy"]);
    let png = folder.path().join("raster.png");
    succeeds(&["raster", run_word, "--out", png.to_str().unwrap()]);
    picture(&png);
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("kind = \"conv\"") && config.contains("kind = \"linear\""), "{config}");

    std::fs::write(&toml, small.replace("6272", "6000")).unwrap();
    fails(1, &["train", toml_word, "--device", "cpu"], &["hidden[0].neurons = 6000", "write 6272"]);
    let out = folder.path().join("none");
    let words = ["train", "fmnist-conv", "--device", "gpu", "--method", "dense", "--out", out.to_str().unwrap()];
    fails(1, &words, &["hidden[0] is a convolution", "use the cpu device"]);
    let words = ["train", "fmnist-conv", "--device", "gpu", "--method", "reference", "--out", out.to_str().unwrap()];
    fails(1, &words, &["hidden[0] is a convolution", "`dense` on the cpu device"]);
}

#[test]
fn a_readout_that_counts_spikes_is_trained_tested_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["cpu", "gpu"] {
        let counting = ["--set", "network.readout.kind=spike_count", "--epochs", "1"];
        let (run, output) = train(&folder, device, &[&counting[..], &["--json"]].concat());
        assert_eq!(json(&output)["outcome"], "finished");
        let lines = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let record: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        let density = record["spike_density"].as_array().unwrap();
        assert!(density.len() == 3 && density.iter().all(|layer| layer.as_f64() > Some(0.0)), "{record}");
        let png = folder.path().join("raster.png");
        succeeds(&["raster", run.to_str().unwrap(), "--out", png.to_str().unwrap()]);
        picture(&png);
        std::fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn recurrent_layers_are_trained_tested_drawn_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let (run, output) = train(&folder, "cpu", &["--recurrent", "--epochs", "1", "--initial-spikes", "2", "--json"]);
    let said = json(&output);
    assert_eq!((&said["outcome"], &said["device"]["kind"]), (&"finished".into(), &"cpu".into()));
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert_eq!(config.matches("recurrent = true").count(), 2, "{config}");
    let run = run.to_str().unwrap();
    let tested = json(&succeeds(&["eval", run, "--json"]));
    assert_eq!(tested["test_accuracy"], said["best"]["test_accuracy"]);
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    succeeds(&["raster", run, "--out", &file("raster.png")]);
    picture(Path::new(&file("raster.png")));
    succeeds(&["predict", run, "--out", &file("p.csv")]);
    succeeds(&["inspect", run, "--sample", "3", "--out", &file("i.safetensors")]);
    let inspected = std::fs::read(file("i.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&inspected).unwrap();
    assert_eq!(tensors.tensor("gradient.r.1").unwrap().shape(), [30, 30]);

    let weights = format!("{run}/checkpoint.safetensors");
    let small = ["--limit", "9", "--epochs", "1", "--device", "cpu", "--weights", &weights, "--out"];
    let fields = ["--set", "network.hidden[0].recurrent=true", "--set", "network.hidden[1].recurrent=true"];
    let again = [&["train", "fmnist", "--hidden", "40,30"], &small[..]].concat();
    succeeds(&[&again[..], &[&file("again")], &fields].concat());
    fails(1, &[&again[..], &[&file("plain")]].concat(), &["has a tensor r.0", "recurrent weights in none"]);

    let on_gpu = json(&succeeds(&["eval", run, "--json", "--device", "gpu"]));
    let accuracy = |said: &Value| said["test_accuracy"].as_f64().unwrap();
    assert!((accuracy(&on_gpu) - accuracy(&tested)).abs() < 0.05 * accuracy(&tested), "{on_gpu}");
    let wide = ["train", "fmnist", "--recurrent", "--hidden", "20000", "--device", "gpu", "--out"];
    fails(
        1,
        &[&wide[..], &[&file("w")]].concat(),
        &["hidden[0].recurrent = true", "16384 neurons", "use the cpu device"],
    );
    fails(1, &["export", run, "--to", &file("x.nir")], &["hidden[0] subtracts"]);
    let exported = succeeds(&["export", run, "--to", &file("x.nir"), "--force"]);
    let nodes = text(&exported.stdout);
    assert!(nodes.contains("lif1 (LIF), rec1 (Linear)"), "{nodes}");
    succeeds(&["import", &file("x.nir"), "--out", &file("imported")]);
    let dense = ["train", "fmnist", "--recurrent", "--method", "dense", "--device", "cpu", "--out"];
    fails(1, &[&dense[..], &[&file("d")]].concat(), &["`dense` does not support hidden[0].recurrent = true"]);
    fails(
        2,
        &["train", "fmnist-conv", "--recurrent"],
        &["--recurrent: the network has no fully connected hidden layer"],
    );
    let conv = ["train", "fmnist-conv", "--set", "network.hidden[0].recurrent=true"];
    fails(2, &conv, &["hidden[0].recurrent", "convolution"]);
}

/// Nothing is said of spiking layers that are not there.
#[test]
fn a_network_without_hidden_layers_is_trained_tested_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = out.to_str().unwrap();
    let words = ["train", "fmnist", "--set", "network.hidden=[]", "--epochs", "1", "--device", "cpu", "--out", run];
    let output = succeeds(&words);
    let said = text(&output.stdout);
    assert!(said.contains("network  784-10, T = 100, auto\n"), "{said}");
    let epoch = said.lines().find(|line| line.starts_with("epoch 1/1")).unwrap_or_else(|| panic!("{said}"));
    let inspected = folder.path().join("s.safetensors");
    let inspected = succeeds(&["inspect", run, "--out", inspected.to_str().unwrap()]);
    let drawn = folder.path().join("r.png");
    let drawn = succeeds(&["raster", run, "--out", drawn.to_str().unwrap()]);
    let tested = succeeds(&["eval", run]);
    for said in [epoch, text(&inspected.stdout), text(&drawn.stdout), text(&tested.stdout), text(&tested.stderr)] {
        assert!(!["active", "spiking", "spikes of", "  %", " ,"].iter().any(|part| said.contains(part)), "{said}");
    }
    assert!(!said.contains("B_th"), "{said}");
    let bench = "bench fmnist --set network.hidden=[] --batch 8 --repeat 1 --methods sparse --device cpu";
    let bench: Vec<&str> = bench.split(' ').collect();
    assert!(text(&succeeds(&bench).stdout).starts_with("fmnist: 784-10, T = 100, batch 8\n"));
    let said = json(&succeeds(&[&bench[..], &["--json"]].concat()));
    assert!(said["b_th"].is_null() && said["runs"][0]["hidden"] == serde_json::json!([]), "{said}");
}

/// A setting is built from several assignments.
#[test]
fn assignments_are_read_together() {
    let folder = tempfile::tempdir().unwrap();
    let cell = "network.hidden[1].cell";
    let [kind, tau] = [format!("{cell}.kind=cuba_lif"), format!("{cell}.tau_syn_ms=4")];
    let (run, _) = train(&folder, "cpu", &["--epochs", "1", "--set", &kind, "--set", &tau]);
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    let config: toml::Table = toml::from_str(&config).unwrap();
    let cell = &config["network"]["hidden"][1]["cell"];
    assert_eq!((cell["kind"].as_str(), cell["tau_syn_ms"].as_float()), (Some("cuba_lif"), Some(4.0)));
}

#[test]
fn a_silent_readout_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let silent = ["--set", "network.readout.kind=spike_count", "--set", "network.readout.init.scale=0.01"];
    let (_, output) = train(&folder, "cpu", &[&silent[..], &["--epochs", "2"]].concat());
    assert!(text(&output.stderr).contains("readout (10 neurons) is dead"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("spiking layer 2 re-initialised"), "{}", text(&output.stdout));
}

#[test]
fn devices_are_listed() {
    let said = json(&succeeds(&["devices", "--json"]));
    assert_eq!(said["cpu"]["kind"], "cpu");
    let auto = said["auto"].as_str().unwrap();
    let adapters = said["adapters"].as_array().unwrap();
    assert!(auto == "cpu" || adapters.iter().any(|a| format!("gpu:{}", a["index"]) == auto), "{said}");
    for adapter in adapters {
        for field in ["name", "backend", "driver", "kind", "usable", "max_storage_binding", "timestamps", "f16"] {
            assert!(!adapter[field].is_null(), "{field}: {adapter}");
        }
    }
    let output = succeeds(&["devices"]);
    let table = text(&output.stdout);
    assert!(table.contains("threads") && table.contains(&format!("auto takes {auto}")), "{table}");
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(text(&succeeds(&["--version"]).stdout).starts_with("spikegrad "));
    assert!(text(&succeeds(&["--help"]).stdout).contains("Exit codes"));
    for command in ["devices", "train", "eval", "raster", "conformance", "bench"] {
        assert!(text(&succeeds(&[command, "--help"]).stdout).contains("Usage: spikegrad"));
    }
}

/// A closed pipe causes neither a panic nor a failure.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_failure() {
    for words in [&["devices"][..], &["devices", "--json"], &["--help"], &["raster", "--help"]] {
        let mut child =
            Command::new(PROGRAM).args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let words = "train fmnist --hidden 8 --limit 20 --epochs 2 --device cpu --out".split(' ');
    let mut child = Command::new(PROGRAM)
        .args(words)
        .arg(&run)
        .env("SPIKEGRAD_FASHION_MNIST", data())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(run.join("raster.png").exists(), "the run went on to its end");
}

/// `eval` and `raster` can read a run that a program trained on custom data, with its class names and data.
#[test]
fn a_run_on_data_of_ones_own_is_tested_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("ramps");
    let set = |samples: usize| {
        let mut set = EventSet::new(6, 20);
        for k in 0..samples {
            set.push((0..6).map(|i| (if k % 2 == 0 { 2 + i } else { 14 - i }, i)), (k % 2) as u32).unwrap();
        }
        set
    };
    let data = DataSet::new(set(16), set(8)).named("Ramps").class_names(["up", "down"]);
    let network = Network::new(6, 20).layer(SpikingLayer::lif(10)).readout(Readout::sum(2)).build().unwrap();
    let mut config = RunConfig::new(network);
    (config.epochs, config.device) = (2, "cpu".into());
    Training::new(&config, &data).folder(&run).run().unwrap();

    let run = run.to_str().unwrap();
    let tested = json(&succeeds(&["eval", run, "--json"]));
    assert_eq!((&tested["samples"], &tested["on"]), (&Value::from(8), &Value::from("test")));
    let picture = folder.path().join("raster.png");
    let drawn = succeeds(&["raster", run, "--out", picture.to_str().unwrap()]);
    let said = text(&drawn.stdout).to_string() + text(&drawn.stderr);
    assert!(picture.exists() && (said.contains("up") || said.contains("down")), "{said}");

    // Names that no table could have as they are.
    let (run, name) = (folder.path().join("odd"), "long ".repeat(60) + "\nname");
    let data = data.class_names(["", &name]);
    Training::new(&config, &data).folder(&run).run().unwrap();
    let (run, drawn) = (run.to_str().unwrap(), folder.path().join("confusion.svg"));
    let table = succeeds(&["eval", run, "--classes", "--confusion", drawn.to_str().unwrap()]).stdout;
    let rows: Vec<&str> = text(&table).lines().skip_while(|line| !line.starts_with("class ")).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.chars().count() < 160), "{rows:#?}");
    assert!(rows[1].starts_with("0  ") && rows[2].starts_with("1 (long long ") && rows[2].contains("…)"), "{rows:#?}");
    assert!(std::fs::read_to_string(&drawn).unwrap().contains("class 0"));
    assert_eq!(json(&succeeds(&["eval", run, "--json"]))["classes"][1]["name"], name);
}

#[test]
fn a_layer_that_stays_saturated_is_warned_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = succeeds(&[
        "train",
        "fmnist",
        "--data",
        data().to_str().unwrap(),
        "--limit",
        "100",
        "--epochs",
        "3",
        "--device",
        "cpu",
        "--set",
        "network.hidden[0].b_th=5",
        "--out",
        out.to_str().unwrap(),
    ]);
    let told = text(&run.stderr);
    assert_eq!(told.matches("hidden[0] (200 neurons) is saturated").count(), 1, "{told}");
}
