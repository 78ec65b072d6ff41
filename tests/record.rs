//! `train --record`: the animation of a run is complete and valid however the run ends, and does not change it.

mod program;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::{AnimationDecoder, RgbaImage};
use program::*;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

const NETWORK: &str = "--hidden 40,30 --limit 300 --batch 20 --seed 5 --epochs";

/// Training for `epochs`, recorded in `file`.
fn recorded(epochs: u32, run: &Path, file: &Path) -> Command {
    let mut command = train("cpu", &format!("{NETWORK} {epochs}"), run);
    command.arg("--record").arg(file);
    command
}

/// The frames of an animation, as a viewer shows them. Each must differ from the one before.
fn frames(file: &Path) -> Vec<RgbaImage> {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let frames = match file.extension().and_then(|ending| ending.to_str()) {
        Some("gif") => GifDecoder::new(Cursor::new(bytes)).unwrap().into_frames(),
        _ => PngDecoder::new(Cursor::new(bytes)).unwrap().apng().unwrap().into_frames(),
    };
    let frames: Vec<RgbaImage> = frames.map(|frame| frame.unwrap().into_buffer()).collect();
    assert!(frames.iter().all(|frame| frame.dimensions() == (965, 750)));
    assert!(frames.windows(2).all(|pair| pair[0] != pair[1]), "{}: a frame is repeated", file.display());
    frames
}

#[test]
fn there_is_a_frame_for_each_epoch_and_the_run_has_the_same_bits() {
    let (_folder, folder) = folder();
    let plain = folder.join("plain");
    ends(train("cpu", &format!("{NETWORK} 3"), &plain), 0);
    for name in ["gif", "png"] {
        let (run, file) = (folder.join(name), folder.join(format!("run.{name}")));
        ends(recorded(3, &run, &file), 0);
        assert_eq!(frames(&file).len(), 4, "{name}");
        let differences = Ended::read(&plain).differences(&Ended::read(&run));
        assert!(differences.is_empty(), "{differences:?}");
    }

    // There is nothing left to train, so the state of the run is all there is to see. The file is replaced.
    let file = folder.join("run.gif");
    let mut again = program(&["train", "--resume", "--json", "--out", plain.to_str().unwrap()]);
    again.arg("--record").arg(&file);
    let said = again.output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((result["recording"].as_str(), frames(&file).len()), (file.to_str(), 1));
    let differences = Ended::read(&folder.join("gif")).differences(&Ended::read(&plain));
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_the_run() {
    let (_folder, folder) = folder();
    let run = folder.join("run");
    std::fs::create_dir(folder.join("a.gif")).unwrap();
    for (name, code, parts) in [
        ("run.svg", 2, ["--record", ".gif or .png"]),
        ("run", 2, ["--record", ".gif or .png"]),
        ("no/run.gif", 1, ["no/run.gif", "create it first"]),
        ("a.gif", 1, ["a.gif", "is a folder"]),
    ] {
        let said = ends(recorded(1, &run, &folder.join(name)), code);
        assert!(parts.iter().all(|part| said.contains(part)), "{name}: {said}");
    }
    assert_eq!(names(&folder), ["a.gif"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_and_its_continuation_are_recorded() {
    let (_folder, folder) = folder();
    let (run, file) = (folder.join("run"), folder.join("run.gif"));
    let interrupt = |mut command: Command| {
        let before = epochs(&run);
        let mut child = command.spawn().unwrap();
        wait_until(&mut child, "two epochs", || epochs(&run) >= before + 2);
        signal(&child, "INT");
        said(&child.wait_with_output().unwrap(), 1);
        let done = epochs(&run) - before;
        // The frame of an epoch is drawn after it was written to the metrics.
        assert_eq!(frames(&file).len(), 1 + done, "{done} epochs");
        assert_eq!(names(&folder), ["run", "run.gif"]);
    };
    interrupt(recorded(90, &run, &file));
    let first = frames(&file);
    let mut resumed = resume(&run);
    resumed.arg("--record").arg(&file);
    interrupt(resumed);
    // It begins where the first one ended, and has a title of its own.
    assert_ne!(frames(&file)[0], first[0]);

    // What a killed run has recorded is valid, too.
    let (run, file): (PathBuf, PathBuf) = (folder.join("killed"), folder.join("killed.png"));
    let mut child = recorded(90, &run, &file).spawn().unwrap();
    wait_until(&mut child, "an epoch", || epochs(&run) >= 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!frames(&file).is_empty());
}
