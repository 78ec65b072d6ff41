use super::super::{Clock, DataSet, Facts, LoadOptions, Polarity, load_surveyed, load_with};
use super::*;
use crate::presets;
use crate::train::RunConfig;
use std::io::Write;
use zip::write::{SimpleFileOptions, ZipWriter};

/// A `.npy` file.
fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

fn floats(values: &[f32]) -> Vec<u8> {
    npy("<f4", &format!("({},)", values.len()), &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

fn integers(values: &[i64]) -> Vec<u8> {
    npy("<i8", &format!("({},)", values.len()), &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

fn scalar(value: f64) -> Vec<u8> {
    npy("<f8", "()", &value.to_le_bytes())
}

fn write_npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// Five samples of two classes: events (time, neuron) at k ms and 2.4 k ms.
fn taps(t: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("t", t),
        ("i", integers(&[0, 1, 2, 3, 4, 5, 0, 1, 2, 3])),
        ("starts", integers(&[0, 2, 4, 6, 8, 10])),
        ("labels", integers(&[0, 1, 0, 1, 1])),
    ]
}

const MS: [f32; 10] = [0.0, 2.4, 1.0, 0.2, 2.0, 4.8, 3.0, 7.2, 4.0, 9.6];

/// The network of the preset `events` for the data, and the data.
fn loaded(reading: DataConfig) -> Result<(RunConfig, DataSet)> {
    let mut config = presets::ours("events")?;
    config.data = reading;
    let options = |config: &RunConfig| LoadOptions { reading: config.data.clone(), ..Default::default() };
    let survey = super::super::survey("events", &options(&config), None)?;
    config.fit(&survey.facts)?;
    let set = load_with("events", &config.network, &options(&config))?;
    // What a survey has read is what reading it again gives.
    let surveyed = load_surveyed("events", &config.network, &options(&config), survey)?;
    assert!(set.train == surveyed.train && set.test == surveyed.test && set.origin == surveyed.origin);
    assert_eq!((&set.class_names, set.shape, &set.bad), (&surveyed.class_names, surveyed.shape, &surveyed.bad));
    Ok((config, set))
}

fn survey(reading: &DataConfig, dt_ms: Option<f64>, skip_bad: bool) -> Result<Facts> {
    let options = LoadOptions { reading: reading.clone(), skip_bad, ..Default::default() };
    super::super::survey("events", &options, dt_ms).map(|survey| survey.facts)
}

fn refused(path: &Path, parts: &[&str]) {
    let error = loaded(DataConfig::at(path)).map(drop).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

fn spikes(set: &crate::events::EventSet, b: usize) -> Vec<(usize, usize)> {
    set.sample(b).iter().map(|event| (event.t(), event.i())).collect()
}

#[test]
fn a_single_npz_is_split_and_determines_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taps.npz");
    let names = npy("<U5", "(2,)", &"left\0right".chars().flat_map(|c| (c as u32).to_le_bytes()).collect::<Vec<u8>>());
    write_npz(&path, &[taps(floats(&MS)), vec![("class_names", names)]].concat());
    let (config, set) = loaded(DataConfig::at(&path)).unwrap();
    assert_eq!(config.network.sizes(), [6, 200, 200, 2]);
    assert_eq!((config.network.time_steps, config.network.dt_ms), (11, 1.0));
    assert_eq!((set.train.len(), set.test.len(), &set.class_names[..]), (4, 1, &["left".into(), "right".into()][..]));
    assert!(set.origin.contains("without a test set of their own, so 20 % of them"), "{}", set.origin);
    // The split has a seed, and all samples are in one of the halves.
    let all = |set: &DataSet| {
        let mut all: Vec<_> = (0..4).map(|b| spikes(&set.train, b)).chain([spikes(&set.test, 0)]).collect();
        all.sort();
        all
    };
    let expected = [(0, 0, 2, 1), (0, 3, 1, 2), (2, 4, 5, 5), (3, 0, 7, 1), (4, 2, 10, 3)];
    assert_eq!(all(&set), expected.map(|(t, i, u, j)| vec![(t, i), (u, j)]));
    let (_, again) = loaded(DataConfig::at(&path)).unwrap();
    assert_eq!(again.test, set.test);
    let one = npy("<U5", "(1,)", &"left\0".chars().flat_map(|c| (c as u32).to_le_bytes()).collect::<Vec<u8>>());
    let short = folder.path().join("short.npz");
    write_npz(&short, &[taps(floats(&MS)), vec![("class_names", one)]].concat());
    let refused = loaded(DataConfig::at(&short)).unwrap_err().to_string();
    assert!(refused.contains("short.npz") && refused.contains("1 names, but there is the label 1"), "{refused}");
    let others = (0..20).map(|test_seed| loaded(DataConfig { test_seed, ..DataConfig::at(&path) }).unwrap().1);
    assert!(others.into_iter().any(|other| other.test != set.test));
}

#[test]
fn times_are_steps_or_have_a_unit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taps.npz");
    let steps = || integers(&[0, 2, 1, 0, 2, 5, 3, 7, 4, 9]);
    write_npz(&path, &[taps(steps()), vec![("dt_ms", scalar(2.0)), ("inputs", scalar(8.0))]].concat());
    let (config, set) = loaded(DataConfig::at(&path)).unwrap();
    assert_eq!((config.network.time_steps, config.network.dt_ms, config.network.inputs), (10, 2.0, 8));
    assert!((0..4).any(|b| spikes(&set.train, b) == [(0, 0), (2, 1)]) || spikes(&set.test, 0) == [(0, 0), (2, 1)]);
    // Other steps than those of the file.
    let facts = survey(&DataConfig::at(&path), Some(4.0), false).unwrap();
    assert_eq!((facts.time_steps, facts.dt_ms), (5, 4.0));
    let unit = |unit: &str| npy(&format!("|S{}", unit.len()), "()", unit.as_bytes());
    let steps_of = |text: &str| {
        write_npz(&path, &[taps(steps()), vec![("t_unit", unit(text))]].concat());
        survey(&DataConfig::at(&path), None, false).map(|facts| facts.time_steps)
    };
    assert_eq!((steps_of("s").unwrap(), steps_of("ms").unwrap(), steps_of("us").unwrap()), (9001, 10, 1));
    assert!(steps_of("min").unwrap_err().to_string().contains("`t_unit` is \"min\""));
    // 350 / 1000 / 0.1 is below 3.5, and 350 · 0.001 / 0.1 is not.
    let micros = integers(&[0, 2, 1, 0, 2, 5, 3, 7, 4, 350]);
    write_npz(&path, &[taps(micros), vec![("t_unit", unit("us"))]].concat());
    assert_eq!(survey(&DataConfig::at(&path), Some(0.1), false).unwrap().time_steps, 4);
}

/// The unit of times that make too many steps is doubted, unless it is stated or the time steps are set.
#[test]
fn too_many_steps_are_refused_with_the_likely_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taps.npz");
    let micros = [0, 2000, 1000, 0, 2000, 5000, 3000, 70_000, 4000, 3_000_000];
    let fitted = |more: Vec<(&'static str, Vec<u8>)>, t: Vec<u8>, clock: Clock, time_steps: usize| {
        write_npz(&path, &[taps(t), more].concat());
        let mut config = presets::ours("events").unwrap();
        config.network.time_steps = time_steps;
        config.data = DataConfig { clock, ..DataConfig::at(&path) };
        let dt = None;
        let options = LoadOptions { reading: config.data.clone(), ..Default::default() };
        let facts = super::super::survey("events", &options, dt).unwrap().facts;
        config.fit(&facts).map(|()| config.network.time_steps).map_err(|e| e.to_string())
    };
    let plain = |clock, steps| fitted(vec![], integers(&micros), clock, steps);
    let error = plain(Clock::Recording, 0).unwrap_err();
    for part in ["taps.npz", "time step 3000000", "at most 65536", "t_unit=\"us\"", "network.time_steps=N"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert_eq!(plain(Clock::Recording, 200), Ok(200));
    let unit = |unit: &str| vec![("t_unit", npy(&format!("|S{}", unit.len()), "()", unit.as_bytes()))];
    assert_eq!(fitted(unit("us"), integers(&micros), Clock::Recording, 0), Ok(3001));
    let error = fitted(unit("ms"), integers(&micros), Clock::Recording, 0).unwrap_err();
    assert!(error.contains("network.dt_ms=50") && !error.contains("t_unit"), "{error}");
    // As many as a network can have are doubted.
    write_npz(&path, &taps(integers(&micros.map(|t| t / 100))));
    let (_, set) = loaded(DataConfig::at(&path)).unwrap();
    assert!(set.warnings.iter().any(|warning| warning.contains("30,001 time steps") && warning.contains("t_unit")));
    write_npz(&path, &[taps(integers(&micros.map(|t| t / 100))), unit("steps")].concat());
    assert_eq!(loaded(DataConfig::at(&path)).unwrap().1.warnings, Vec::<String>::new());
    // Times of a clock that runs since long.
    let since = micros.map(|t| 1e6 + (t % 100) as f32);
    let error = fitted(vec![], floats(&since), Clock::Recording, 0).unwrap_err();
    assert!(error.contains("data.clock=first_event"), "{error}");
    assert!(fitted(vec![], floats(&since), Clock::FirstEvent, 0).is_ok());
}

#[test]
fn a_clock_that_started_elsewhere_is_told_when_the_data_set_the_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taps.npz");
    write_npz(&path, &taps(floats(&MS.map(|t| 5000.0 + t))));
    let (config, set) = loaded(DataConfig::at(&path)).unwrap();
    assert_eq!(config.network.time_steps, 5011);
    let told = &set.warnings[..];
    assert!(
        told.len() == 1 && told[0].contains("5000 ms") && told[0].contains("the first 5000 steps are empty"),
        "{told:?}"
    );
    let first = DataConfig { clock: Clock::FirstEvent, ..DataConfig::at(&path) };
    assert_eq!(loaded(first).unwrap().1.warnings, Vec::<String>::new());
}

#[test]
fn seconds_without_a_unit_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taps.npz");
    write_npz(&path, &taps(floats(&MS.map(|t| t / 100.0))));
    refused(&path, &["taps.npz: all events fall into 1 time step of 1 ms", "t_unit=\"s\""]);
    // The times of a few seconds.
    write_npz(&path, &taps(floats(&MS.map(|t| t / 10.0))));
    let warnings = loaded(DataConfig::at(&path)).unwrap().1.warnings;
    assert!(warnings.iter().any(|said| said.contains("2 time steps of 1 ms: if `t` is in seconds")), "{warnings:?}");
    let ms = ("t_unit", npy("|S2", "()", b"ms"));
    write_npz(&path, &[taps(floats(&MS.map(|t| t / 10.0))), vec![ms]].concat());
    assert_eq!(loaded(DataConfig::at(&path)).unwrap().1.warnings, Vec::<String>::new());
    write_npz(&path, &taps(integers(&[0; 10])));
    let warnings = loaded(DataConfig::at(&path)).unwrap().1.warnings;
    assert!(
        warnings.len() == 1 && warnings[0].ends_with("taps.npz: all events fall into 1 time step of 1 ms"),
        "{warnings:?}"
    );
}

#[test]
fn data_without_events_or_with_empty_classes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taps.npz");
    let none = |more| {
        [
            vec![
                ("t", integers(&[])),
                ("i", integers(&[])),
                ("starts", integers(&[0, 0, 0])),
                ("labels", integers(&[0, 1])),
            ],
            more,
        ]
        .concat()
    };
    write_npz(&path, &none(vec![]));
    refused(&path, &["taps.npz: has no events"]);
    write_npz(&path, &none(vec![("inputs", scalar(4.0)), ("time_steps", scalar(9.0))]));
    refused(&path, &["taps.npz: has no events"]);
    let mut arrays = taps(floats(&MS));
    arrays[3].1 = integers(&[1, 2, 1, 2, 2]);
    write_npz(&path, &arrays);
    assert_eq!(loaded(DataConfig::at(&path)).unwrap().1.warnings, ["no sample has the class 0: labels count from 0"]);
    let reading = DataConfig { test_fraction: 0.95, ..DataConfig::at(&path) };
    let error = loaded(reading).map(drop).unwrap_err().to_string();
    assert!(error.contains("data.test_fraction = 0.95: must be smaller"), "{error}");
}

#[test]
fn a_validation_half_is_the_test_half_if_there_is_no_other() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("taps_train.npz"), &taps(floats(&MS)));
    write_npz(&folder.path().join("taps_valid.npz"), &taps(floats(&MS)));
    let (_, set) = loaded(DataConfig::at(folder.path())).unwrap();
    assert_eq!(
        (set.test.len(), &set.warnings[..]),
        (5, &["there is no test half; taps_valid.npz is the test set".into()][..])
    );
    write_npz(&folder.path().join("taps_test.npz"), &taps(floats(&MS)));
    let (_, set) = loaded(DataConfig::at(folder.path())).unwrap();
    assert_eq!(set.warnings, ["taps_valid.npz beside taps_train.npz is not read"]);
}

#[test]
fn images_of_a_test_half_without_labels_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/fashion-mnist");
    for entry in std::fs::read_dir(assets).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains("ubyte") && !name.starts_with("t10k-labels") {
            std::fs::copy(&path, folder.path().join(name)).unwrap();
        }
    }
    let (_, set) = loaded(DataConfig::at(folder.path())).unwrap();
    let told = &set.warnings[..];
    assert!(
        told.len() == 1 && told[0].contains("t10k-images") && told[0].contains("no t10k-labels-idx1-ubyte"),
        "{told:?}"
    );
}

#[test]
fn halves_are_two_files_or_two_groups_of_arrays() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("taps_train.npz"), &[taps(floats(&MS)), vec![("shape", integers(&[2, 3]))]].concat());
    write_npz(&folder.path().join("taps-test.npz"), &taps(floats(&MS.map(|t| t / 2.0))));
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let (config, pair) = loaded(DataConfig::at(folder.path())).unwrap();
    assert_eq!((pair.train.len(), pair.test.len(), pair.shape), (5, 5, Some([1, 2, 3].into())));
    assert_eq!((config.data.shape, pair.test.labels()), (pair.shape, &[0, 1, 0, 1, 1][..]));
    let both = tempfile::tempdir().unwrap();
    let path = both.path().join("taps.npz");
    let half = |half: &str, t: Vec<u8>| -> Vec<(String, Vec<u8>)> {
        taps(t).into_iter().map(|(name, bytes)| (format!("{half}.{name}"), bytes)).collect()
    };
    let arrays = [half("train", floats(&MS)), half("test", floats(&MS.map(|t| t / 2.0)))].concat();
    let arrays: Vec<(&str, Vec<u8>)> = arrays.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    write_npz(&path, &arrays);
    let (_, one) = loaded(DataConfig::at(&path)).unwrap();
    assert_eq!((&one.train, &one.test), (&pair.train, &pair.test));
    let test: Vec<(&str, Vec<u8>)> = arrays.iter().filter(|(name, _)| name.starts_with("test")).cloned().collect();
    write_npz(&path, &test);
    assert!(has_test_alone(&path));
    refused(&path, &["taps.npz: has a test half alone", "`train.t`"]);
    write_npz(&path, &arrays);
    assert!(!has_test_alone(&path));
    assert!(
        has_test_alone(&folder.path().join("taps-test.npz")) && !has_test_alone(&folder.path().join("taps_train.npz"))
    );
    write_npz(&folder.path().join("other_train.npz"), &[]);
    refused(folder.path(), &["has several files", "other_train.npz", "taps-test.npz"]);
}

#[test]
fn arrays_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taps.npz");
    let changed = |name: &str, bytes: Option<Vec<u8>>| {
        let mut arrays = taps(floats(&MS));
        arrays.retain(|(other, _)| *other != name);
        let name: &'static str = name.to_string().leak();
        arrays.extend(bytes.map(|bytes| (name, bytes)));
        write_npz(&path, &arrays);
    };
    let bad = |name: &str, bytes: Vec<u8>, part: &str| {
        changed(name, Some(bytes));
        refused(&path, &["taps.npz", part]);
    };
    changed("labels", None);
    refused(&path, &["has no array `labels`", "docs/data.md"]);
    bad("i", floats(&MS), "`i` holds floats, integers expected; save i.astype(int)");
    bad("t", npy("<i8", "(5, 2)", &[0; 80]), "`t` has the shape [5, 2], one axis expected; save t.ravel()");
    bad("labels", npy("<f8", "(5, 2)", &[0; 80]), "save np.argmax(labels, 1)");
    bad("labels", npy("<i8", "(5, 1)", &[0; 40]), "save labels.ravel()");
    bad("labels", npy("|S1", "(5,)", b"ababb"), "save class_names, labels = np.unique(labels, return_inverse=True)");
    bad("i", integers(&[0; 9]), "`t` has 10 entries, `i` 9");
    bad("i", integers(&[-1; 10]), "sample 0: i[0] is -1");
    bad("i", integers(&[70_000; 10]), "i[0] is 70000, 0 to 65535 expected");
    bad("t", floats(&[f32::NAN; 10]), "sample 0: t[0] is NaN");
    bad("labels", integers(&[0, 1, 0, 1, -3]), "sample 4: labels[4] is -3");
    bad("starts", integers(&[0, 2, 4, 6, 8, 11]), "`starts`: entry 5 is 11, 8 to 10 expected");
    bad("starts", integers(&[0, 2, 4, 3, 8, 10]), "`starts`: entry 3 is 3, 4 to 10");
    bad("starts", integers(&[1, 2, 4, 6, 8, 10]), "the first entry is 1");
    bad("starts", integers(&[0, 2]), "expected one start more than labels");
    bad("shape", integers(&[3]), "`shape` is not [height, width]");
    bad("dt_ms", scalar(-1.0), "`dt_ms` is not a positive number");
    bad("t", npy("|O", "(10,)", &[0; 80]), "`t`: has elements of type \"|O\"");
    std::fs::write(&path, b"PK\x03\x04 nothing").unwrap();
    refused(&path, &["not a complete .npz file"]);
    refused(&folder.path().join("nowhere"), &["nowhere"]);
    let empty = tempfile::tempdir().unwrap();
    refused(empty.path(), &["no data of a known format", ".npz", "HDF5", "idx", "ATIS"]);
}

fn assets(name: &str) -> DataConfig {
    DataConfig::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name))
}

/// The readers of the published sets find the same events in the same files.
#[test]
fn published_sets_are_own_data_too() {
    for preset in ["fmnist", "nmnist", "shd"] {
        let folder = if preset == "fmnist" { "fashion-mnist" } else { &format!("{preset}-like") };
        let mut config = presets::ours("events").unwrap();
        config.data = assets(folder);
        let published = presets::ours(preset).unwrap().network;
        config.network.time_steps = published.time_steps;
        config.fit(&survey(&config.data, Some(published.dt_ms), false).unwrap()).unwrap();
        assert_eq!(config.network.classes(), published.classes(), "{preset}");
        assert!(config.network.inputs <= published.inputs && config.network.inputs > published.inputs / 2, "{preset}");
        let network = crate::network::Network { inputs: published.inputs, ..config.network };
        let mut reading = assets(folder);
        if preset == "nmnist" {
            reading.shape = Some([1, 34, 34].into());
        }
        let options = LoadOptions { reading, ..Default::default() };
        let own = load_with("events", &network, &options).unwrap();
        let set = load_with(preset, &presets::ours(preset).unwrap().network, &options).unwrap();
        assert!(own.train == set.train && own.test == set.test, "{preset}");
    }
}

#[test]
fn cameras_of_any_size_have_classes_of_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let event = |x: u8, y: u8, polarity: bool, t: u32| {
        [x, y, (u8::from(polarity) << 7) | (t >> 16) as u8, (t >> 8) as u8, t as u8]
    };
    for (half, far) in [("train", 9), ("test", 11)] {
        for (class, x) in [("wave", 1), ("clap", far)] {
            let path = folder.path().join(half).join(class);
            std::fs::create_dir_all(&path).unwrap();
            for k in 0..2 {
                std::fs::write(path.join(format!("{k}.bin")), event(x, 4, k == 0, 1_000_000 + 3000 * k)).unwrap();
            }
        }
    }
    let (config, set) = loaded(DataConfig::at(folder.path())).unwrap();
    assert_eq!((set.shape, config.network.inputs), (Some([1, 5, 12].into()), 60));
    assert_eq!((&set.class_names[..], set.train.len()), (&["clap".into(), "wave".into()][..], 4));
    let first = DataConfig { clock: Clock::FirstEvent, polarity: Polarity::Separate, ..DataConfig::at(folder.path()) };
    let (config, set) = loaded(first.clone()).unwrap();
    assert_eq!((config.network.time_steps, config.network.inputs, set.shape), (1, 120, Some([2, 5, 12].into())));
    assert_eq!(spikes(&set.train, 0), [(0, 60 + 9 + 12 * 4)]);
    let wrong = DataConfig { shape: Some([1, 5, 12].into()), ..first };
    assert!(loaded(wrong).unwrap_err().to_string().contains("data.shape = 5 × 12: must be 2 × 5 × 12"));
    // Convolutions take the maps.
    let mut conv = presets::ours("events-conv").unwrap();
    conv.data = DataConfig::at(folder.path());
    conv.fit(&survey(&conv.data, None, false).unwrap()).unwrap();
    assert_eq!(conv.network.sizes(), [60, 16 * 60, 200, 2]);
}

#[test]
fn class_folders_may_be_nested_and_other_files_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    for half in ["training", "validation"] {
        for class in ["clap", "wave"] {
            write(&format!("v1/{half}/{class}/1.bin"), &[1, 4, 128, 0, 0, 2, 4, 128, 32, 0]);
        }
    }
    let (_, set) = loaded(DataConfig::at(folder.path())).unwrap();
    assert_eq!((set.train.len(), set.test.len()), (2, 2));
    assert_eq!(set.warnings, ["there is no test half; validation is the test set"]);
    write("v1/training/clap/2.aedat4", b"x");
    write("v1/training/wave/.hidden", b"x");
    write("v1/training/wave/3.npy", b"x");
    let (_, set) = loaded(DataConfig::at(folder.path())).unwrap();
    assert!(
        set.warnings[0].contains("2 files are no .bin files") && set.warnings[0].contains("clap/2.aedat4"),
        "{:?}",
        set.warnings
    );
    write("v2/train/clap/1.bin", &[1, 4, 128, 0, 0]);
    refused(folder.path(), &["several files of this format: v1, v2"]);
}

#[test]
fn a_convolution_needs_a_shape() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taps.npz");
    write_npz(&path, &taps(floats(&MS)));
    let mut config = presets::ours("events-conv").unwrap();
    let error = config.fit(&survey(&DataConfig::at(&path), None, false).unwrap()).unwrap_err().to_string();
    assert!(error.contains("set data.shape"), "{error}");
    let reading = DataConfig { shape: Some([1, 2, 3].into()), ..DataConfig::at(&path) };
    let mut config = presets::ours("events-conv").unwrap();
    config.fit(&survey(&reading, None, false).unwrap()).unwrap();
    assert!(!config.is_open() && config.network.inputs == 6);
}

#[test]
fn what_a_survey_has_read_is_not_read_again_unless_it_does_not_fit() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let reads = AtomicUsize::new(0);
    let count = |progress: super::super::LoadProgress| {
        if progress.done == progress.of {
            reads.fetch_add(1, Ordering::Relaxed);
        }
    };
    let kept = tempfile::tempdir().unwrap();
    let options = LoadOptions {
        reading: DataConfig { shape: Some([1, 34, 34].into()), ..assets("nmnist-like") },
        cache: super::super::Cache::Folder(kept.path().into()),
        progress: Some(&count),
        ..Default::default()
    };
    let mut config = presets::ours("events").unwrap();
    let mut load = |time_steps: usize| {
        reads.store(0, Ordering::Relaxed);
        let survey = super::super::survey("events", &options, None).unwrap();
        config.network.time_steps = 0;
        config.fit(&survey.facts).unwrap();
        let surveyed = reads.swap(0, Ordering::Relaxed);
        config.network.time_steps -= time_steps;
        let set = load_surveyed("events", &config.network, &options, survey).unwrap();
        let loaded = reads.swap(0, Ordering::Relaxed);
        let again = load_with("events", &config.network, &options).unwrap();
        assert!(set.train == again.train && set.test == again.test && set.origin == again.origin);
        (surveyed, loaded, reads.load(Ordering::Relaxed))
    };
    // Of the two halves: while they are surveyed, after that, and from the cache.
    assert_eq!(load(0), (2, 0, 0));
    assert_eq!(load(5), (2, 2, 0), "events beyond the time steps are counted by reading");
}
