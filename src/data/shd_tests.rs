use super::*;
use half::f16;
use std::fs;

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/shd-like").join(name)
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.h5");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The bytes of the file, and the offsets in it of the consecutive u16 `words`.
fn patched(words: &[u16]) -> (Vec<u8>, Vec<usize>) {
    let bytes = fs::read(asset("train.h5")).unwrap();
    let wanted: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let found = bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted).map(|(at, _)| at);
    let found = found.collect();
    (bytes, found)
}

/// The error of utterance 0 after the u16 at `at` was replaced by `word`.
fn fault(mut bytes: Vec<u8>, at: usize, word: u16) -> String {
    bytes[at..at + 2].copy_from_slice(&word.to_le_bytes());
    let (_folder, path) = written(&bytes);
    let shd = Shd::open(&path).unwrap();
    assert!(shd.utterance(1).is_ok(), "only one is bad");
    shd.utterance(0).unwrap_err().to_string()
}

#[test]
fn the_samples_are_as_they_were_recorded() {
    let train = Shd::open(&asset("train.h5")).unwrap();
    assert_eq!(train.len(), 20);
    // python: h5py
    let first = train.utterance(0).unwrap();
    assert_eq!((first.label, first.speaker, first.times.len()), (9, Some(7), 2895));
    assert_eq!(first.units[..4], [514, 20, 7, 50]);
    assert_eq!(
        first.times[..4],
        [0.001873016357421875, 0.0032329559326171875, 0.00328826904296875, 0.0034046173095703125]
    );
    let labels: Vec<u32> = train.iter().map(|utterance| utterance.unwrap().label).collect();
    for label in 0..CLASSES {
        assert!(labels.contains(&label));
    }
}

#[test]
fn a_gzipped_file_is_read_and_no_other_stream_taken_for_one() {
    let test = Shd::open(&asset("test.h5.gz")).unwrap();
    assert_eq!((test.len(), test.iter().filter(Result::is_ok).count()), (20, 20));
    let bytes = fs::read(asset("test.h5.gz")).unwrap();
    let (_folder, path) = written(&bytes[..bytes.len() / 2]);
    let error = Shd::open(&path).err().unwrap().to_string();
    assert!(error.contains("gzip stream is damaged or truncated after"), "{error}");
}

/// A file without labels can be predicted, but not trained on.
#[test]
fn labels_are_required_to_train_only() {
    let mut bytes = std::fs::read(asset("train.h5")).unwrap();
    for at in 0..bytes.len() - 7 {
        if &bytes[at..at + 7] == b"labels\0" {
            bytes[at..at + 6].copy_from_slice(b"lebels");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.h5");
    std::fs::write(&path, bytes).unwrap();
    let refused = Shd::open(&path).err().unwrap().to_string();
    assert!(refused.contains("/labels"), "{refused}");
    let (own, new) = (Shd::open(&asset("train.h5")).unwrap(), Shd::open_samples(&path, Limits::SHD).unwrap());
    assert_eq!((new.len(), new.utterance(3).unwrap().label), (own.len(), EventSet::UNLABELLED));
    assert_eq!(new.utterance(3).unwrap().times, own.utterance(3).unwrap().times);
}

#[test]
fn bad_utterances_are_named_with_their_place() {
    let train = Shd::open(&asset("train.h5")).unwrap();
    let labels: Vec<u16> = train.labels.iter().flatten().map(|&label| label as u16).collect();
    let (bytes, at) = patched(&labels);
    assert_eq!(at.len(), 1);
    let error = fault(bytes, at[0], 20);
    assert!(error.ends_with("train.h5: utterance 0: label 20 found, 0 to 19 expected"), "{error}");

    let first = train.utterance(0).unwrap();
    let (bytes, at) = patched(&first.units);
    assert_eq!(at.len(), 1);
    let error = fault(bytes, at[0] + 6, 700);
    assert!(error.contains("utterance 0: unit 3 is 700, 0 to 699 expected (in the collection at byte "), "{error}");

    let times: Vec<u16> = first.times.iter().map(|&t| f16::from_f64(t).to_bits()).collect();
    let (bytes, at) = patched(&times);
    assert_eq!(at.len(), 1);
    for (word, shown) in [(0x7e00, "NaN"), (0x7c00, "inf"), (0xbc00, "-1"), (f16::from_f64(800.0).to_bits(), "800")] {
        let error = fault(bytes.clone(), at[0] + 4, word);
        assert!(error.contains(&format!("time 2 is {shown}, 0 to 60 seconds expected")), "{error}");
    }
}

#[test]
fn references_that_claim_too_much_or_point_nowhere_are_refused() {
    let whole = fs::read(asset("train.h5")).unwrap();
    let train = Shd::open(&asset("train.h5")).unwrap();
    let reference = train.times.reference(0);
    let at = whole.windows(reference.len()).position(|window| window == reference).unwrap();
    let with = |offset: usize, bytes: &[u8]| {
        let mut damaged = whole.clone();
        damaged[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        let (_folder, path) = written(&damaged);
        match Shd::open(&path) {
            Ok(shd) => shd.utterance(0).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    let error = with(0, &u32::MAX.to_le_bytes());
    assert!(error.contains("/spikes/times claims ") && error.contains("bytes of numbers"), "{error}");
    let error = with(0, &(first_length(&train) + 1000).to_le_bytes());
    assert!(error.contains("utterance 0: its times, in the collection at byte"), "{error}");
    for address in [1u64 << 40, 8, u64::MAX - 8] {
        let error = with(4, &address.to_le_bytes());
        assert!(error.contains(&format!("its times, in the collection at byte {address}")), "{error}");
    }
    assert!(with(12, &999u32.to_le_bytes()).contains("its times"));
    assert!(with(12, &0u32.to_le_bytes()).contains("0 bytes found"));
    assert!(with(0, &0u32.to_le_bytes()).contains("0 times and "));
}

fn first_length(shd: &Shd) -> u32 {
    shd.times.length(0)
}

#[test]
fn other_files_are_refused_with_what_is_missing() {
    let refused = |bytes: &[u8]| {
        let (_folder, path) = written(bytes);
        Shd::open(&path).err().unwrap().to_string()
    };
    for bytes in [&b""[..], b"no", b"PK\x03\x04 and so on", &[0; 4096]] {
        assert!(refused(bytes).contains("cannot be read as HDF5"), "{}", refused(bytes));
    }
    // A renamed group: there is no /spikes.
    let whole = fs::read(asset("train.h5")).unwrap();
    let mut other = whole.clone();
    let at = other.windows(7).position(|window| window == b"spikes\0").unwrap();
    other[at] = b'x';
    let error = refused(&other);
    assert!(error.contains("has no readable data set /spikes/times"), "{error}");
    assert!(Shd::open(Path::new("/nowhere.h5")).err().unwrap().to_string().contains("/nowhere.h5"));
}

#[test]
fn a_file_cut_or_damaged_anywhere_never_panics() {
    let whole = fs::read(asset("train.h5")).unwrap();
    let try_all = |bytes: &[u8]| {
        let (_folder, path) = written(bytes);
        if let Ok(shd) = Shd::open(&path) {
            shd.iter().for_each(drop);
        }
    };
    for cut in (0..whole.len()).step_by(whole.len() / 60) {
        try_all(&whole[..cut]);
    }
    // The metadata of the file: everything except stretches that look like elements of the long lists.
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let head = whole.len().min(16 << 10) as u64;
    for round in 0..400 {
        let mut damaged = whole.clone();
        for _ in 0..1 + round % 4 {
            let at = (if round % 4 == 3 { random() % whole.len() as u64 } else { random() % head }) as usize;
            damaged[at] = [0, 0xff, 0x7f, random() as u8][(random() % 4) as usize];
        }
        try_all(&damaged);
    }
}

#[test]
fn numbers_of_all_widths_and_orders_are_read() {
    let integer =
        |size: usize, signed: bool, big: bool, bytes: &[u8]| Element::Integer { size, signed, big }.integers(bytes);
    assert_eq!(integer(1, true, false, &[0xff, 5]), Some(vec![-1, 5]));
    assert_eq!(integer(2, false, true, &[1, 2]), Some(vec![258]));
    assert_eq!(integer(4, true, false, &[0xfe, 0xff, 0xff, 0xff]), Some(vec![-2]));
    assert_eq!(integer(8, false, false, &[0xff; 8]), Some(vec![i128::from(u64::MAX)]));
    let float = |size: usize, big: bool, bytes: &[u8]| Element::Float { size, big }.floats(bytes);
    assert_eq!(float(2, false, &[0x00, 0x3c, 0x01, 0x00]), Some(vec![1.0, 2f64.powi(-24)]));
    assert_eq!(float(4, true, &1.5f32.to_be_bytes()), Some(vec![1.5]));
    assert_eq!(float(8, false, &(-0.1f64).to_le_bytes()), Some(vec![-0.1]));
    assert_eq!((float(1, false, &[0; 0]), integer(2, false, false, &[])), (Some(vec![]), Some(vec![])));
}

#[test]
fn a_half_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shd_train.h5"), "").unwrap();
    let error = halves(folder.path()).unwrap_err().to_string();
    assert!(error.contains("contains no shd_test.h5 or test.h5 or shd_test.h5.gz or test.h5.gz"), "{error}");
    fs::write(folder.path().join("test.h5.gz"), "").unwrap();
    fs::write(folder.path().join("train.h5"), "").unwrap();
    let [train, test] = halves(folder.path()).unwrap();
    assert!(train.ends_with("shd_train.h5") && test.ends_with("test.h5.gz"));
    let error = halves(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere: does not exist; it should hold shd_train.h5 or"), "{error}");
    // Whether this exists cannot be told, and why is.
    assert!(matches!(halves(&train.join("within")), Err(Error::Io { .. })));
}
