use super::super::{idx, nmnist, shd};
use super::*;
use crate::network::*;

fn network(inputs: usize, classes: usize) -> Network {
    Network::new(inputs, 100).layer(SpikingLayer::lif(4)).readout(Readout::max(classes)).build().unwrap()
}

/// A folder with one image of the subset's size and this label in each half.
fn folder_of_one(label: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let create = |name| std::fs::File::create(folder.path().join(name)).unwrap();
    let images = idx::Images { height: 28, width: 28, pixels: vec![200; 784] };
    for half in ["train", "t10k"] {
        idx::write_images(create(format!("{half}-images-idx3-ubyte")), &images).unwrap();
        idx::write_labels(create(format!("{half}-labels-idx1-ubyte")), &[label]).unwrap();
    }
    folder
}

#[test]
fn a_folder_is_told_from_the_subset() {
    let folder = folder_of_one(9);
    let set = load("fmnist", Some(folder.path()), &network(784, 10)).unwrap();
    assert!(!set.subset);
    assert_eq!(set.origin, format!("Fashion-MNIST, 1 + 1 images, from {}", folder.path().display()));
    assert_eq!((set.train.len(), set.train.sample(0).len(), set.test.labels()), (1, 784, &[9][..]));
    assert_eq!((set.name.as_str(), set.class_name(9).as_str()), ("Fashion-MNIST", "Ankle boot"));
}

#[test]
fn other_images_are_not_called_fashion() {
    let folder = folder_of_one(7);
    let set = load("fmnist", Some(folder.path()), &network(784, 10)).unwrap();
    assert!(set.origin.starts_with("in the format of Fashion-MNIST, 1 + 1 images"), "{}", set.origin);
    assert_eq!(Some(set.name.as_str()), folder.path().file_name().and_then(|name| name.to_str()));
    assert_eq!(set.class_name(7), "class 7");
}

#[test]
fn without_a_folder_something_is_always_found() {
    let set = load("fmnist", None, &network(784, 10)).unwrap();
    if set.subset {
        assert!(set.origin.contains("(3,000 + 1,000 images)"), "{}", set.origin);
        assert!(set.origin.ends_with(fashion_mnist::how_to_get()), "{}", set.origin);
    } else {
        assert!(set.origin.starts_with("Fashion-MNIST, "), "{}", set.origin);
    }
}

#[test]
fn data_that_do_not_fit_the_network_are_refused() {
    let folder = folder_of_one(7);
    for (inputs, classes) in [(783, 10), (784, 7)] {
        let error = load("fmnist", Some(folder.path()), &network(inputs, classes)).unwrap_err();
        assert!(matches!(error, Error::Data(_) | Error::Format { .. }), "{error}");
    }
    let nothing = Network { inputs: 0, ..network(784, 10) };
    let refused = load("fmnist", Some(folder.path()), &nothing).unwrap_err();
    assert!(matches!(&refused, Error::Field { field, .. } if field == "inputs"), "{refused}");
}

fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

fn loaded(preset: &str, options: &LoadOptions) -> Result<DataSet> {
    load_with(preset, &crate::presets::paper(preset)?.network, options)
}

#[test]
fn presets_without_data_say_where_they_are_looked_for() {
    for (preset, variable) in [("nmnist", nmnist::VARIABLE), ("shd", shd::VARIABLE)] {
        if std::env::var_os(variable).is_none() {
            let error = loaded(preset, &LoadOptions::default()).unwrap_err().to_string();
            assert!(error.contains("--data DIR") && error.contains(variable), "{error}");
        }
    }
    assert!(matches!(load("mnist", None, &network(784, 10)), Err(Error::Config(_))));
}

#[test]
fn recordings_are_binned_for_the_network() {
    let folder = assets("nmnist-like");
    let set = loaded("nmnist", &LoadOptions { folder: Some(&folder), ..LoadOptions::default() }).unwrap();
    assert_eq!((set.train.len(), set.test.len(), set.train.neurons()), (20, 10, 1156));
    assert_eq!(set.name, "N-MNIST-like");
    // Independent binning: time in milliseconds, rounded half to even, duplicates removed.
    let recording = nmnist::NMnist::open(&folder.join("Test.zip")).unwrap().recording(3).unwrap();
    let mut slots = std::collections::BTreeSet::new();
    for event in &recording.events {
        let (whole, rest) = (event.t_us / 1000, event.t_us % 1000);
        let t = whole + u64::from(rest > 500 || rest == 500 && whole % 2 == 1);
        if t < 300 {
            slots.insert((t as usize, usize::from(event.x) + 34 * usize::from(event.y)));
        }
    }
    let events: Vec<_> = set.test.sample(3).iter().map(|e| (e.t(), e.i())).collect();
    assert!(events.into_iter().eq(slots));
    assert_eq!(set.test.labels()[3], recording.digit);
    assert!(set.origin.starts_with("in the format of N-MNIST (which has 60,000 + 10,000), 20 + 10 recordings"));
    assert!(set.origin.contains("% of their events are after step 300"), "{}", set.origin);
}

#[test]
fn a_test_fraction_that_leaves_nothing_is_named() {
    let refused = |fraction, n| check_fraction(fraction, n, Path::new("a.npz")).unwrap_err().to_string();
    let error = refused(0.999, 60);
    assert!(error.contains("data.test_fraction = 0.999: must be smaller") && error.contains("60 samples"), "{error}");
    assert!(refused(0.2, 2).contains("must be larger, for example 0.5"));
    assert!(refused(0.2, 1).starts_with("a.npz: has a single sample"));
    check_fraction(0.5, 2, Path::new("a.npz")).unwrap();
}

#[test]
fn speakers_are_held_out_or_tested_alone() {
    let folder = assets("shd-like");
    let options = |validation: &str, speakers: &[u32]| LoadOptions {
        folder: Some(&folder),
        validation: validation.parse().unwrap(),
        test_speakers: speakers.to_vec(),
        ..LoadOptions::default()
    };
    let all = loaded("shd", &options("none", &[])).unwrap();
    assert_eq!((all.train.len(), all.test.len(), all.measured().len()), (20, 20, 20));
    let file = shd::Shd::open(&folder.join("train.h5")).unwrap();
    let first = file.utterance(0).unwrap().speaker.unwrap();
    let said = file.iter().filter(|utterance| utterance.as_ref().unwrap().speaker == Some(first)).count();
    let held = loaded("shd", &options(&format!("speakers:{first}"), &[])).unwrap();
    assert_eq!((held.train.len(), held.measured().len(), held.test.len()), (20 - said, said, 20));
    assert!(held.origin.contains("held out for validation (speakers:"), "{}", held.origin);
    let file = shd::Shd::open(&folder.join("test.h5.gz")).unwrap();
    let spoken: Vec<_> = file.iter().map(|utterance| utterance.unwrap().speaker.unwrap()).collect();
    let tested = loaded("shd", &options("none", &[spoken[0]])).unwrap();
    assert_eq!(tested.test.len(), spoken.iter().filter(|&&speaker| speaker == spoken[0]).count());
    assert!(loaded("shd", &options("speakers:99", &[])).unwrap_err().to_string().contains("speaker 99"));
}

#[test]
fn the_cache_gives_what_the_source_gives_until_the_source_changes() {
    let [kept, source] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for name in ["Train.zip", "Test.zip"] {
        std::fs::copy(assets("nmnist-like").join(name), source.path().join(name)).unwrap();
    }
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let count = |_: LoadProgress| {
        reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let options = LoadOptions {
        folder: Some(source.path()),
        cache: Cache::Folder(kept.path().into()),
        progress: Some(&count),
        ..LoadOptions::default()
    };
    let load = || {
        reads.store(0, std::sync::atomic::Ordering::Relaxed);
        let set = loaded("nmnist", &options).unwrap();
        (set, reads.load(std::sync::atomic::Ordering::Relaxed))
    };
    let (first, read) = load();
    assert_eq!(read, 2);
    let (second, read) = load();
    assert_eq!((read, second.origin == first.origin), (0, true));
    assert!(second.train == first.train && second.test == first.test);
    // Swap the two files, so that each has the same name and other contents.
    std::fs::rename(source.path().join("Train.zip"), source.path().join("x")).unwrap();
    std::fs::rename(source.path().join("Test.zip"), source.path().join("Train.zip")).unwrap();
    std::fs::rename(source.path().join("x"), source.path().join("Test.zip")).unwrap();
    let (swapped, read) = load();
    assert_eq!(read, 2);
    assert!(*swapped.train == first.test && swapped.test == *first.train);
    // Damaged files are read again and replaced.
    for entry in std::fs::read_dir(kept.path()).unwrap() {
        std::fs::write(entry.unwrap().path(), "no tensors").unwrap();
    }
    assert_eq!((load().1, load().1), (2, 0));
}

/// The training half decides which classes there are.
#[test]
fn labels_of_a_cached_test_half_follow_the_classes_of_the_training_half() {
    let [kept, source] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let recording = |name: &str| {
        let path = source.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, [1, 2, 0x80, 0, 3]).unwrap();
    };
    let labels = |classes: usize| {
        let cache = Cache::Folder(kept.path().into());
        let options = LoadOptions { folder: Some(source.path()), cache, ..LoadOptions::default() };
        load_with("nmnist", &network(1156, classes), &options).unwrap().test.labels().to_vec()
    };
    ["train/clap/a.bin", "train/wave/b.bin", "test/clap/c.bin", "test/wave/d.bin"]
        .iter()
        .for_each(|name| recording(name));
    assert_eq!([labels(2), labels(2)], [[0, 1]; 2]);
    recording("train/bow/e.bin");
    assert_eq!(labels(3), [1, 2]);
}

#[test]
fn numbers_are_grouped() {
    assert_eq!([7, 999, 1000, 60_000, 1_234_056].map(thousands), ["7", "999", "1,000", "60,000", "1,234,056"]);
}
