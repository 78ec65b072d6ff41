//! Trains on data of one's own: the example of docs/data.md, and files that differ from the published ones.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn spikegrad(words: &str) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_spikegrad"));
    command.args(words.split_whitespace()).current_dir(ROOT);
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

fn json(words: &str) -> Value {
    let output = spikegrad(&format!("{words} --json")).assert().code(0).get_output().clone();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(words: &str, code: i32, parts: &[&str]) {
    let output = spikegrad(words).assert().code(code).get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    for part in parts {
        assert!(said.contains(part), "{words}: `{part}` is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

const SMALL: &str = "--device cpu --hidden 12,8 --epochs 2";

/// The example of docs/data.md as Python writes it, where there is numpy; else the file that it wrote once.
fn taps(folder: &Path) -> PathBuf {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/data.md")).unwrap().replace("\r\n", "\n");
    let (_, rest) = page.split_once("```python\n").unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let written = Command::new(python).args(["-c", code]).current_dir(folder).output();
    let path = folder.join("taps.npz");
    if !written.is_ok_and(|output| output.status.success()) {
        fs::copy(Path::new(ROOT).join("tests/data/taps.npz"), &path).unwrap();
    }
    path
}

#[test]
fn the_example_of_the_page_is_trained_tested_drawn_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (taps(folder.path()), folder.path().join("run"));
    let run = run.display();
    let said = json(&format!("train events --data {} {SMALL} --out {run}", data.display()));
    assert_eq!(said["sizes"], serde_json::json!([20, 12, 8, 2]));
    assert_eq!((&said["data"]["train_samples"], &said["data"]["test_samples"]), (&160.into(), &40.into()));
    let config = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(config.contains("time_steps = 50") && config.contains("inputs = 20"), "{config}");
    // From the run's folder alone.
    let tested = json(&format!("eval {run}"));
    assert_eq!(tested["test_accuracy"], said["best"]["test_accuracy"]);
    let png = folder.path().join("one.png");
    let drawn = spikegrad(&format!("raster {run} --out {}", png.display())).assert().code(0).get_output().clone();
    let drawn = String::from_utf8(drawn.stdout).unwrap();
    assert!(drawn.contains("(left)") || drawn.contains("(right)"), "{drawn}");
    let resumed = json(&format!("train events --resume --out {run}"));
    assert_eq!(resumed["epochs_done"], 2);
    // What a file sets is not taken from the data.
    let toml = folder.path().join("own.toml");
    let text = format!(
        "preset = 'events'\nepochs = 1\n[data]\npath = '{}'\ntest_fraction = 0.5\n[network]\ninputs = 32\n",
        data.display()
    );
    fs::write(&toml, text).unwrap();
    let said = json(&format!("train {} --device cpu --hidden 9 --out {run}-2", toml.display()));
    assert_eq!((&said["sizes"][0], &said["data"]["test_samples"]), (&32.into(), &100.into()));
}

/// Writes a safetensors file of u16 tensors.
fn tensors(path: &Path, arrays: &[(&str, &[u16])]) {
    let (mut header, mut body) = (Vec::new(), Vec::new());
    for (name, numbers) in arrays {
        let begin = body.len();
        body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let (shape, end) = (numbers.len(), body.len());
        header.push(format!("\"{name}\":{{\"dtype\":\"U16\",\"shape\":[{shape}],\"data_offsets\":[{begin},{end}]}}"));
    }
    let header = format!("{{{}}}", header.join(","));
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &body].concat()).unwrap();
}

/// New recordings are classified as they are: all of them, in their order, with labels or without.
#[test]
fn other_recordings_are_predicted_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (taps(folder.path()), folder.path().join("run"));
    let run = run.display();
    spikegrad(&format!("train events --data {} {SMALL} --out {run}", data.display())).assert().code(0);
    let csv = folder.path().join("p.csv");
    let predicted = |data: &Path| {
        let words = format!("predict {run} --data {} --out {}", data.display(), csv.display());
        let said = spikegrad(&words).assert().code(0).get_output().clone();
        (fs::read_to_string(&csv).unwrap(), String::from_utf8(said.stderr).unwrap())
    };
    let (lines, said) = predicted(&data);
    assert_eq!(lines.lines().count(), 201);
    assert!(said.contains("200 samples"), "{said}");
    let unlabelled = folder.path().join("new.safetensors");
    tensors(&unlabelled, &[("t", &[3, 9, 4]), ("i", &[0, 1, 12]), ("starts", &[0, 2, 3])]);
    let (lines, _) = predicted(&unlabelled);
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("0,,") && lines[2].starts_with("1,,"), "{lines:?}");
    refused(
        &format!("train events --data {} --out {run}-2", unlabelled.display()),
        1,
        &["no array `labels`", "training"],
    );
    assert!(!folder.path().join("run-2").exists());
    // A test half alone in a file, which eval takes as well.
    let half = folder.path().join("half.safetensors");
    let (starts, labels) = (("test.starts", &[0, 2, 3][..]), ("test.labels", &[1, 0][..]));
    tensors(&half, &[("test.t", &[3, 9, 4]), ("test.i", &[0, 1, 12]), starts, labels]);
    assert_eq!(predicted(&half).0.lines().count(), 3);
    assert_eq!(json(&format!("eval {run} --data {}", half.display()))["samples"], 2);
}

/// Predicts samples in `data` with a run; returns the lines without the head, and the columns of the head.
fn predicted(run: &Path, data: &Path) -> (Vec<Vec<String>>, String) {
    let csv = run.with_extension("csv");
    let words = format!("predict {} --data {} --out {}", run.display(), data.display(), csv.display());
    spikegrad(&words).assert().code(0);
    let text = fs::read_to_string(&csv).unwrap();
    let (head, lines) = text.split_once('\n').unwrap();
    (lines.lines().map(|line| line.split(',').map(String::from).collect()).collect(), head.into())
}

/// Recordings need no folders of classes and no labels; those in folders of the run's classes have the run's labels.
#[test]
fn recordings_alone_are_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let write = |place: &str, names: &[&str]| {
        let place = folder.path().join(place);
        fs::create_dir_all(&place).unwrap();
        for (k, name) in (0..).zip(names) {
            fs::write(place.join(name), [event(k, 3, 1000), event(5, 4, 9000)].concat()).unwrap();
        }
        place
    };
    for (half, class) in [("train", "clap"), ("train", "wave"), ("train", "zoom"), ("test", "clap"), ("test", "zoom")] {
        write(&format!("data/{half}/{class}"), &["1.bin", "2.bin", "3.bin"]);
    }
    let run = folder.path().join("run");
    let data = folder.path().join("data");
    spikegrad(&format!("train events --data {} {SMALL} --out {}", data.display(), run.display())).assert().code(0);
    // Of both halves, the test half; of a part of the classes, with the labels of the run.
    let columns = |lines: &[Vec<String>], k: usize| lines.iter().map(|line| line[k].clone()).collect::<Vec<_>>();
    let (lines, head) = predicted(&run, &data);
    assert_eq!(head, "sample,label,class,name,logit_0,logit_1,logit_2,file");
    assert_eq!(columns(&lines, 1), ["0", "2", "0", "2", "0", "2"]);
    assert_eq!(columns(&lines, 7)[..2], ["clap/1.bin", "zoom/1.bin"]);
    let part = write("part/wave", &["7.bin"]);
    assert_eq!(columns(&predicted(&run, part.parent().unwrap()).0, 1), ["1"]);
    // Without folders, in the order of their numbers; whatever the folder is called.
    let alone = write("test", &["10.bin", "9.bin", "x.bin"]);
    let (lines, _) = predicted(&run, &alone);
    assert_eq!(columns(&lines, 7), ["9.bin", "10.bin", "x.bin"]);
    assert_eq!(columns(&lines, 1), ["", "", ""]);
    let named = ["clap", "wave", "zoom"];
    assert!(columns(&lines, 3).iter().all(|name| named.contains(&name.as_str())), "{lines:?}");
    let (line, _) = predicted(&run, &alone.join("9.bin"));
    assert_eq!((line.len(), &line[0][7]), (1, &"9.bin".to_string()));
    assert_eq!(line[0][4..7], lines[0][4..7]);
    // A damaged recording that is skipped keeps its number.
    let damaged = write("damaged", &["1.bin", "2.bin", "3.bin"]);
    fs::write(damaged.join("2.bin"), [7; 7]).unwrap();
    let csv = folder.path().join("some.csv");
    let words = format!("predict {} --data {} --out {}", run.display(), damaged.display(), csv.display());
    refused(&words, 1, &["2.bin"]);
    spikegrad(&format!("{words} --skip-bad")).assert().code(0);
    let text = fs::read_to_string(&csv).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert!(lines.len() == 2 && lines[0].starts_with("0,") && lines[1].starts_with("2,"), "{text}");
    assert!(lines[1].ends_with("3.bin"), "{text}");
    // A test half alone, which eval and raster take as well.
    let half = folder.path().join("half");
    fs::create_dir_all(&half).unwrap();
    fs::rename(folder.path().join("data/test"), half.join("Test")).unwrap();
    assert_eq!(predicted(&run, &half).0.len(), 6);
    assert_eq!(json(&format!("eval {} --data {}", run.display(), half.display()))["samples"], 6);
    refused(&format!("train events --data {} --out no/run", half.display()), 1, &["test half alone", "training"]);
}

#[test]
fn images_alone_are_predicted() {
    use spikegrad::data::idx::{self, Images};
    let folder = tempfile::tempdir().unwrap();
    let images = |n: usize, width: usize| {
        let pixels = (0..5 * width * n).map(|k| (k * 7 % 256) as u8).collect();
        Images { height: 5, width, pixels }
    };
    let create = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(path).unwrap()
    };
    for half in ["train", "t10k"] {
        idx::write_images(create(&format!("set/{half}-images-idx3-ubyte")), &images(24, 8)).unwrap();
        let labels: Vec<u8> = (0..24).map(|k| k % 3).collect();
        idx::write_labels(create(&format!("set/{half}-labels-idx1-ubyte")), &labels).unwrap();
    }
    idx::write_images(create("test/t10k-images-idx3-ubyte"), &images(5, 8)).unwrap();
    idx::write_images(create("other/scans.idx"), &images(4, 8)).unwrap();
    idx::write_images(create("wide/scans.idx"), &images(4, 9)).unwrap();
    for preset in ["fmnist", "events"] {
        let run = folder.path().join(preset);
        let words = format!("train {preset} --data {} {SMALL} --out", folder.path().join("set").display());
        spikegrad(&format!("{words} {}", run.display())).assert().code(0);
        let of = |name: &str| predicted(&run, &folder.path().join(name)).0;
        let (own, test) = (of("set"), of("test"));
        assert_eq!((own.len(), own[1][1].as_str(), test.len(), test[1][1].as_str()), (24, "1", 5, ""));
        // The same images as the first of the run's own.
        assert!(test.iter().zip(&own).all(|(a, b)| a[2..] == b[2..]), "{preset}: {test:?} {own:?}");
        assert_eq!(
            (of("test/t10k-images-idx3-ubyte").len(), of("other").len(), of("other/scans.idx").len()),
            (5, 4, 4)
        );
        assert_eq!(of("set/train-images-idx3-ubyte")[1][1], "1");
        let words = format!("predict {} --data {}/wide --out no.csv", run.display(), folder.path().display());
        refused(&words, 1, &["scans.idx", "5 × 9 = 45 pixels", "40 inputs"]);
    }
}

/// Writes 24 images of 5 × 8 pixels of all shades, of two classes.
fn write_images(folder: &Path) {
    use spikegrad::data::idx::{self, Images};
    let create = |name: &str| fs::File::create(folder.join(name)).unwrap();
    for half in ["train", "t10k"] {
        let pixels = (0..24 * 40).map(|k| (k % 40 * 255 / 39) as u8).collect();
        let images = Images { height: 5, width: 8, pixels };
        idx::write_images(create(&format!("{half}-images-idx3-ubyte")), &images).unwrap();
        let labels: Vec<u8> = (0..24).map(|k| k % 2).collect();
        idx::write_labels(create(&format!("{half}-labels-idx1-ubyte")), &labels).unwrap();
    }
}

/// Before training, raster and bench have the network and the data that train would have.
#[test]
fn an_untrained_network_for_own_data_is_drawn_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let data = taps(folder.path());
    let (data, svg) = (data.display(), folder.path().join("one.svg"));
    let drawn = |words: &str| {
        spikegrad(&format!("raster {words} --device cpu --out {}", svg.display())).assert().code(0);
        fs::read_to_string(&svg).unwrap()
    };
    assert!(drawn(&format!("events --data {data}")).contains("20-200-200-2 before training"));
    // Images in the latency code have the brightness of their spike times.
    let images = folder.path().join("images");
    fs::create_dir(&images).unwrap();
    write_images(&images);
    let drawn_images = drawn(&format!("events --data {}", images.display()));
    assert!(drawn_images.contains("spike times") && !drawn_images.contains("number of spikes"), "{drawn_images}");
    // White, black and between.
    let greys = ["#FFFFFF", "#000000"].map(|grey| drawn_images.contains(&format!("fill=\"{grey}\"")));
    let between = (0x20..0xf0).filter(|k| drawn_images.contains(&format!("fill=\"#{k:02X}{k:02X}{k:02X}\""))).count();
    assert!(greys == [true, true] && between > 3, "{between}");
    let toml = folder.path().join("own.toml");
    fs::write(&toml, "preset = 'events'\ndata = 'taps.npz'\n[[network.hidden]]\nneurons = 9\n").unwrap();
    let toml = toml.display();
    assert!(drawn(&format!("{toml} --set network.inputs=25")).contains("25-9-2 before training"));
    let measure = "--device cpu --repeat 1 --methods sparse";
    let said = json(&format!("bench {toml} {measure}"));
    assert_eq!((&said["runs"][0]["sizes"], &said["runs"][0]["batch"]), (&serde_json::json!([20, 9, 2]), &160.into()));
    let said = json(&format!("bench events --data {data} {measure} --hidden 8 --batch 7 --set network.time_steps=30"));
    assert_eq!((&said["preset"], &said["runs"][0]["sizes"]), (&"events".into(), &serde_json::json!([20, 8, 8, 2])));
    refused(&format!("bench events --data {data} --batch 161"), 1, &["--batch 161", "160 training samples"]);
    refused("bench events --device cpu", 1, &["--data PATH"]);
    refused("bench events --device cpu --sweep batch", 1, &["--data PATH"]);
    refused("raster events --out no.svg", 1, &["--data PATH"]);
    refused("raster shd --set epochs --out no.svg", 2, &["--set `epochs`"]);
    refused(&format!("raster {ROOT}/src --set epochs=2 --out no.svg"), 2, &["--set epochs=2", "settings of its own"]);
    assert!(!Path::new(ROOT).join("no.svg").exists());
}

/// A preset's run is found by the preset that it has stored, whatever its folder is called; if there are several, by its data.
#[test]
fn the_run_of_a_preset_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = taps(folder.path());
    fs::copy(&data, folder.path().join("other.npz")).unwrap();
    let train = |words: &str| {
        let words = format!("train events {words} --json");
        let output = spikegrad(&words).current_dir(folder.path()).assert().code(0).get_output().clone();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        said["run"].as_str().unwrap().replace('\\', "/")
    };
    train(&format!("--data taps.npz {SMALL} --out runs/one"));
    assert_eq!(train("--resume"), "runs/one");
    train(&format!("--data other.npz {SMALL} --out runs/two"));
    assert_eq!(train("--data taps.npz --resume"), "runs/one");
    let nothing = spikegrad("train shd --resume").current_dir(folder.path()).assert().code(1).get_output().clone();
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no run of preset shd to resume"));
}

/// A run that is refused does not take a name from the next one.
#[test]
fn a_refused_run_leaves_its_folder_free() {
    let folder = tempfile::tempdir().unwrap();
    let train = |words: &str| {
        let words = format!("train fmnist --data {ROOT}/assets/fashion-mnist --limit 64 {SMALL} {words}");
        spikegrad(&words).current_dir(folder.path()).assert()
    };
    train("--weights nofile").code(1);
    assert!(!folder.path().join("runs/fmnist").exists());
    train("").code(0);
    assert!(folder.path().join("runs/fmnist/config.toml").exists() && !folder.path().join("runs/fmnist-2").exists());
}

/// Nor does one that is refused when its initial weights are found.
#[test]
fn a_run_that_cannot_begin_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (taps(folder.path()), folder.path().join("run"));
    let words = format!("train events --data {} {SMALL} --initial-spikes 101 --out {}", data.display(), run.display());
    refused(&words, 1, &["initial_spikes = 101"]);
    assert!(!run.exists());
}

#[test]
fn what_own_data_lack_is_said() {
    refused("train events --device cpu --out no/run", 1, &["--data PATH"]);
    refused("train events --paper --out no/run", 2, &["the paper has no settings"]);
    refused("train events --data assets/fonts --out no/run", 1, &["assets/fonts", "no data of a known format"]);
    refused("train fmnist --set data.clock=noon --out no/run", 2, &["noon"]);
    assert!(!Path::new(ROOT).join("no.svg").exists());
}

fn event(x: u8, y: u8, t_us: u32) -> [u8; 5] {
    [x, y, 0x80 | (t_us >> 16) as u8, (t_us >> 8) as u8, t_us as u8]
}

/// Two recordings of each digit in each half; each event at the times of `times`, µs.
fn nmnist(times: &[u32]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (half, first) in [("Train", 0), ("Test", 50)] {
        for digit in 0..10 {
            let place = folder.path().join(half).join(digit.to_string());
            fs::create_dir_all(&place).unwrap();
            for k in 0..2 {
                let events: Vec<u8> = times.iter().zip(0..).flat_map(|(&t, n)| event(digit + n, 3, t)).collect();
                fs::write(place.join(format!("{:05}.bin", first + 10 * k + u32::from(digit))), events).unwrap();
            }
        }
    }
    folder
}

#[test]
fn late_events_are_sorted_and_counted() {
    let folder = nmnist(&[1000, 9000, 4400]);
    let said = json(&format!(
        "train nmnist --data {} {SMALL} --out {}",
        folder.path().display(),
        folder.path().join("run").display()
    ));
    let origin = said["data"]["origin"].as_str().unwrap();
    assert!(origin.contains("the events of 40 recordings were out of order and are sorted"), "{origin}");
}

#[test]
fn a_clock_that_started_elsewhere_is_recognised() {
    let folder = nmnist(&[5_000_000, 5_010_000]);
    let words = format!(
        "train nmnist --data {} {SMALL} --out {}",
        folder.path().display(),
        folder.path().join("run").display()
    );
    refused(&words, 1, &["none of its 40 events", "they begin at 5000.0 ms", "set data.clock=first_event"]);
    let said = json(&format!("{words} --set data.clock=first_event"));
    assert!(!said["data"]["origin"].as_str().unwrap().contains("ignored"));
    // Half of the events are in time: a warning.
    let folder = nmnist(&[200_000, 500_000]);
    let words = format!(
        "train nmnist --data {} {SMALL} --out {}",
        folder.path().display(),
        folder.path().join("run").display()
    );
    let output = spikegrad(&words).assert().code(0).get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("warning: 50.0 % of the events") && said.contains("data.clock=first_event"), "{said}");
}

/// Other sensors and classes than those of N-MNIST.
#[test]
fn recordings_of_other_cameras_fit_the_preset() {
    let folder = tempfile::tempdir().unwrap();
    for half in ["Train", "Test"] {
        for (class, far) in [("clap", 3), ("wave", 19), ("zoom", 7)] {
            let place = folder.path().join(half).join(class);
            fs::create_dir_all(&place).unwrap();
            for k in 0..3 {
                let events: Vec<u8> = (0..9).flat_map(|n| event(far, 15, 1000 * (n + k))).collect();
                fs::write(place.join(format!("{k}.bin")), events).unwrap();
            }
        }
    }
    let (data, run) = (folder.path().display(), folder.path().join("run"));
    let run = run.display();
    let said = json(&format!("train nmnist --data {data} {SMALL} --out {run}"));
    assert_eq!(said["sizes"], serde_json::json!([320, 12, 8, 3]));
    let output = spikegrad(&format!("eval {run} --classes")).assert().code(0).get_output().clone();
    assert!(String::from_utf8(output.stdout).unwrap().contains("2 (zoom)"));
    let two = format!("train nmnist --data {data} {SMALL} --set data.polarity=separate --out {run}-2");
    assert_eq!(json(&two)["sizes"][0], 640);
    let said = json(&format!("bench nmnist --data {data} --hidden 8 --device cpu --repeat 1 --methods sparse"));
    assert_eq!((&said["runs"][0]["sizes"], &said["runs"][0]["batch"]), (&serde_json::json!([320, 8, 8, 3]), &9.into()));
}

#[test]
fn lzf_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let lzf = Path::new(ROOT).join("tests/data/lzf.h5.gz");
    fs::copy(&lzf, folder.path().join("shd_train.h5.gz")).unwrap();
    fs::copy(&lzf, folder.path().join("shd_test.h5.gz")).unwrap();
    let said = json(&format!(
        "train shd --data {} {SMALL} --out {}",
        folder.path().display(),
        folder.path().join("run").display()
    ));
    assert_eq!(said["data"]["train_samples"], 20);
}

#[test]
fn images_of_other_sizes_classes_and_names_are_trained_on() {
    use spikegrad::data::idx::{self, Images};
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("Letters/raw");
    fs::create_dir_all(&raw).unwrap();
    for half in ["train", "t10k"] {
        let create = |what: &str| fs::File::create(raw.join(format!("{half}-{what}-ubyte"))).unwrap();
        let images = Images { height: 5, width: 8, pixels: (0..40 * 24).map(|k| (k * 7 % 256) as u8).collect() };
        idx::write_images(create("images.idx3"), &images).unwrap();
        idx::write_labels(create("labels.idx1"), &(0..24).collect::<Vec<u8>>()).unwrap();
    }
    let run = folder.path().join("run");
    let words = format!("train fmnist --data {} {SMALL}", folder.path().display());
    // What is set counts, the rest is taken from the images.
    let ten = format!("{words} --set network.readout.classes=10 --out {}", run.display());
    refused(&ten, 1, &["label 10 is 10", "network.readout.classes = 24"]);
    let set = "--set augment.flip=true --set augment.shift=2";
    let said = json(&format!("{words} {set} --out {}", run.display()));
    assert_eq!(said["sizes"], serde_json::json!([40, 12, 8, 24]));
    assert!(said["data"]["origin"].as_str().unwrap().starts_with("in the format of Fashion-MNIST"), "{said}");
    let wide = format!("{words} {set} --set augment.shift=8 --out {}-2", run.display());
    refused(&wide, 1, &["augment.shift = 8: must be below 8, the width"]);
    let said = json(&format!("train events --data {} {SMALL} --out {}-3", folder.path().display(), run.display()));
    assert_eq!(said["sizes"], serde_json::json!([40, 12, 8, 24]));

    // A file of names, as EMNIST has it: two letters more than there are images of.
    let names: String = (0..26).map(|k| format!("{k} {} {}\n", 65 + k, 97 + k)).collect();
    fs::write(raw.join("mapping.txt"), names).unwrap();
    let conv = format!("train fmnist-conv --data {} --device cpu --epochs 1", folder.path().display());
    let said = json(&format!("{conv} --set network.hidden[0].connection.filters=4 --out {}-4", run.display()));
    assert_eq!(said["sizes"], serde_json::json!([40, 4 * 40, 26]));
    let output = spikegrad(&format!("eval {}-4 --classes", run.display())).assert().code(0).get_output().clone();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("23 (Xx)") && said.contains("25 (Zz)"), "{said}");
    fs::write(raw.join("mapping.txt"), "0 A\n").unwrap();
    refused(&format!("{conv} --out {}-5", run.display()), 1, &["mapping.txt", "line 1, `0 A`", "remove it"]);
}

/// Classes have the names that they had in training, whatever other data call them.
#[test]
fn classes_keep_the_names_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let data = taps(folder.path());
    let run = folder.path().join("run");
    spikegrad(&format!("train events --data {} {SMALL} --out {}", data.display(), run.display())).assert().code(0);
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("class_names = [\"left\", \"right\"]"), "{config}");
    let of = |names: &str| {
        fs::write(run.join("config.toml"), config.replace("\"left\", \"right\"", names)).unwrap();
        let out = folder.path().join("out.csv");
        let words = format!("predict {} --data {} --out {}", run.display(), data.display(), out.display());
        let output = spikegrad(&words).assert().get_output().clone();
        (String::from_utf8(output.stderr).unwrap(), fs::read_to_string(out).unwrap_or_default())
    };
    let (said, usual) = of("\"left\", \"right\"");
    assert!(!said.contains("in training; labels"), "{said}");
    // As if the data had been written with other names.
    let (said, other) = of("\"one\", \"two\"");
    assert!(said.contains("class 0 is left, but was one in training"), "{said}");
    assert_eq!(usual.replace(",left,", ",one,").replace(",right,", ",two,"), other);
    assert!(of("\"one\"").0.contains("data.class_names = 1 names: must be a name for each of the 2 classes"));
}

/// What is said can be done.
#[test]
fn remedies_for_a_trained_network_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let data = taps(folder.path());
    let run = folder.path().join("run");
    spikegrad(&format!("train events --data {} {SMALL} --out {}", data.display(), run.display())).assert().code(0);
    let predict =
        format!("predict {} --data {} --out {}/p.csv", run.display(), data.display(), folder.path().display());
    spikegrad(&format!("{predict} --set data.clock=first_event")).assert().code(0);
    refused(&format!("{predict} --set epochs=3"), 2, &["--set epochs=3", "only fields of data"]);
    // Without its checkpoint, a run is not begun anew.
    fs::remove_file(run.join("checkpoint.safetensors")).unwrap();
    refused(&format!("train {}", run.display()), 1, &["checkpoint.safetensors is missing", "2 epochs"]);
    refused(&format!("train {}", folder.path().display()), 1, &["config.toml"]);
    refused(&format!("train {}", data.display()), 2, &["is a file", "--data"]);
    refused("train evets", 2, &["or the folder of a run; did you mean `events`?"]);
}

/// Folders are known by the names that the data had in training, whatever the configuration calls the classes.
#[test]
fn folders_of_renamed_classes_keep_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    for place in ["data/train/0", "data/train/1", "data/test/0", "data/test/1", "part/1"] {
        let place = folder.path().join(place);
        fs::create_dir_all(&place).unwrap();
        for k in 0..3 {
            fs::write(place.join(format!("{k}.bin")), [event(k, 3, 1000), event(5, 4, 9000)].concat()).unwrap();
        }
    }
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    let names = r#"data.class_names=["left","right"]"#;
    let words = format!("train events --data {} {SMALL} --set {names} --out {}", data.display(), run.display());
    spikegrad(&words).assert().code(0);
    let (lines, _) = predicted(&run, &folder.path().join("part"));
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line[1] == "1" && ["left", "right"].contains(&line[3].as_str())), "{lines:?}");
}
