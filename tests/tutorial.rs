//! The commands of docs/tutorial.md, as written.

#![cfg(all(feature = "cli", unix))]

#[path = "common/python.rs"]
mod python;

use python::{python, succeeds};
use std::path::Path;
use std::process::Command;

#[test]
fn the_tutorial_works_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial.md")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_spikegrad")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut printed = String::new();
    let mut blocks = 0;
    // Text and blocks take turns.
    for block in docs.split("```").skip(1).step_by(2) {
        let (language, script) = block.split_once('\n').unwrap();
        let mut command = match language {
            "sh" => Command::new("sh"),
            "python" => Command::new(python()),
            other => panic!("a block in {other}"),
        };
        let flag = if language == "sh" { "-ec" } else { "-c" };
        printed += &succeeds(command.args([flag, script]).current_dir(folder.path()).env("PATH", &path));
        blocks += 1;
    }
    assert_eq!(blocks, 6);
    for part in ["2 (inwards)", "most often mistaken for", "sweeps.csv: 120 test samples", "layer 1: "] {
        assert!(printed.contains(part), "`{part}` is not in: {printed}");
    }
    for file in ["confusion.png", "one.svg", "four.png", "one.safetensors", "runs/sweeps/curves.png"] {
        assert!(folder.path().join(file).metadata().is_ok_and(|facts| facts.len() > 1000), "{file}");
    }
    let csv = std::fs::read_to_string(folder.path().join("sweeps.csv")).unwrap();
    let right = csv.lines().skip(1).filter(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        fields[1] == fields[2]
    });
    assert!(right.count() > 108, "more than 90 % of 120 are expected: {csv}");
}
