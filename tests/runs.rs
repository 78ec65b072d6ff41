//! `spikegrad runs`: the table of the runs below a folder, as text, CSV and JSON.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

/// Runs the program, which must exit with `code`.
fn spikegrad(code: i32, arguments: &[&str]) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_spikegrad"));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/fashion-mnist");
    command.args(arguments).env("SPIKEGRAD_FASHION_MNIST", data).env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.assert().code(code).get_output().clone()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Two runs, one of them in a deeper folder, and what is left of two others.
fn sweep() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, epochs, lr) in [("fast", "2", "0.01"), ("group, of two/slow", "1", "0.0001")] {
        let out = folder.path().join(name);
        let small = ["train", "fmnist", "--hidden", "30,30", "--limit", "200", "--device", "cpu", "--epochs", epochs];
        let lr = format!("adam.lr={lr}");
        spikegrad(0, &[&small[..], &["--set", &lr, "--out", out.to_str().unwrap()]].concat());
    }
    let put = |name: &str, file: &str, content: &[u8]| {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join(file), content).unwrap();
    };
    put("half", "checkpoint.safetensors", b"");
    put("odd", "config.toml", b"\xff");
    folder
}

#[test]
fn runs_are_listed_beside_each_other() {
    let folder = sweep();
    let root = folder.path().to_str().unwrap();
    let output = spikegrad(0, &["runs", root]);
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for word in ["run", "best test", "in epoch", "last", "time", "adam.lr"] {
        assert!(lines[0].contains(word), "{lines:#?}");
    }
    assert!(lines[1].contains("fast") && lines[1].contains("2 of 2") && lines[1].ends_with("0.01"), "{lines:#?}");
    assert!(lines[2].contains("slow") && lines[2].contains("1 of 1") && lines[2].ends_with("0.0001"), "{lines:#?}");
    assert!(!lines[0].contains("hidden") && !lines[0].contains('\u{1b}'), "{lines:#?}");
    let said = text(&output.stderr);
    assert!(said.contains("half") && said.contains("odd") && said.contains("config.toml: is not text"), "{said}");
    assert_eq!(said.matches("skipped").count(), 2, "{said}");

    let table = spikegrad(0, &["runs", root, "--csv"]).stdout;
    assert_eq!(text(&table).matches("\r\n").count(), 3);
    let mut reader = csv::Reader::from_reader(&table[..]);
    let head: Vec<String> = reader.headers().unwrap().iter().map(String::from).collect();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| &rows[row][head.iter().position(|other| other == name).unwrap()];
    assert_eq!((rows.len(), cell(1, "run")), (2, &*format!("{root}/group, of two/slow")));
    assert_eq!((cell(0, "adam.lr"), cell(1, "measured_on")), ("0.01", "test"));

    let value: Value = serde_json::from_slice(&spikegrad(0, &["runs", root, "--json"]).stdout).unwrap();
    let first = &value["runs"][0];
    assert_eq!((&first["epochs_done"], &first["settings"]["adam.lr"]), (&json!(2), &json!(0.01)));
    let tested = spikegrad(0, &["eval", first["run"].as_str().unwrap(), "--json"]).stdout;
    let tested: Value = serde_json::from_slice(&tested).unwrap();
    assert_eq!((&first["best_accuracy"], &first["best_epoch"]), (&tested["test_accuracy"], &tested["epoch"]));
    assert_eq!(cell(0, "best_accuracy"), first["best_accuracy"].to_string());
    assert_eq!(value["unreadable"].as_array().unwrap().len(), 2);
}

#[test]
fn a_folder_without_runs_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str]| text(&spikegrad(1, arguments).stderr).to_string();
    let said = fails(&["runs", folder.path().to_str().unwrap()]);
    assert!(said.contains("contains no run; give a folder"), "{said}");
    let said = fails(&["runs", folder.path().join("absent").to_str().unwrap()]);
    assert!(said.contains("absent"), "{said}");
    // Damaged ones alone are no success.
    std::fs::write(folder.path().join("config.toml"), "seed = 1").unwrap();
    let output = spikegrad(1, &["runs", folder.path().to_str().unwrap()]);
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("skipped"), "{}", text(&output.stderr));
}

/// Names that are not text, or that have line breaks, cost no line of the table and no run of the list.
#[cfg(unix)]
#[test]
fn odd_names_are_listed_too() {
    use std::os::unix::ffi::OsStrExt;
    let folder = sweep();
    let fast = folder.path().join("fast");
    for name in [&b"bad\xffname"[..], b"line\nbreak"] {
        let to = folder.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir(&to).unwrap();
        std::fs::copy(fast.join("config.toml"), to.join("config.toml")).unwrap();
    }
    let root = folder.path().to_str().unwrap();
    let table = spikegrad(0, &["runs", root]).stdout;
    assert_eq!(text(&table).lines().count(), 5, "{}", text(&table));
    assert!(text(&table).contains("line\\nbreak"), "{}", text(&table));
    let value: Value = serde_json::from_slice(&spikegrad(0, &["runs", root, "--json"]).stdout).unwrap();
    let runs = value["runs"].as_array().unwrap();
    let bad = runs.iter().find(|run| run["run"].as_str().unwrap().ends_with("bad\u{fffd}name")).unwrap();
    // Not -0.
    assert_eq!(bad["train_seconds"].to_string(), "0.0");
}
