use super::super::atis::tests::bytes;
use super::*;
use std::io::{Cursor, Write};
use zip::write::{SimpleFileOptions, ZipWriter};

fn assets(half: &str) -> NMnist {
    NMnist::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/nmnist-like").join(half)).unwrap()
}

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Train.zip");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn refused(zip: &[u8]) -> String {
    let (_folder, path) = written(zip);
    match NMnist::open(&path) {
        Ok(set) => set.recording(0).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_samples_are_as_they_were_recorded() {
    let (train, test) = (assets("Train.zip"), assets("Test.zip"));
    assert_eq!((train.len(), test.len()), (20, 10));
    let digits = |set: &NMnist| {
        let mut digits: Vec<u32> = set.iter().map(|recording| recording.unwrap().digit).collect();
        digits.sort_unstable();
        digits
    };
    assert_eq!(digits(&test), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(digits(&train).chunks(2).enumerate().all(|(k, pair)| pair == [k as u32; 2]));
    // Events of assets/nmnist-like/Test.zip, decoded by numpy.
    let first = test.recording(0).unwrap();
    assert_eq!((first.name.as_str(), first.events.len()), (NAME, COUNT));
    let head: Vec<_> = first.events[..3].iter().map(|e| (e.x, e.y, e.polarity, e.t_us)).collect();
    assert_eq!(head, HEAD);
}

// python: zipfile, numpy.frombuffer
const NAME: &str = "Test/9/00019.bin";
const COUNT: usize = 2877;
const HEAD: [(u8, u8, bool, u64); 3] = [(33, 11, true, 504), (18, 18, false, 520), (10, 17, true, 2055)];

#[test]
fn a_folder_and_a_zip_of_the_same_files_are_the_same() {
    let zip = assets("Train.zip");
    let folder = tempfile::tempdir().unwrap();
    for member in &zip.members {
        let path = folder.path().join(member.name.strip_prefix("Train/").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, zip.bytes(member).unwrap()).unwrap();
    }
    fs::write(folder.path().join("README.txt"), "not a recording").unwrap();
    fs::write(folder.path().join("3/.DS_Store"), "nor this").unwrap();
    let unpacked = NMnist::open(folder.path()).unwrap();
    let of = |set: &NMnist| set.iter().map(|r| r.map(|r| (r.digit, r.events)).unwrap()).collect::<Vec<_>>();
    assert!(of(&zip) == of(&unpacked));
    let before = NMnist::checksum(folder.path()).unwrap();
    assert_eq!(before, NMnist::checksum(folder.path()).unwrap());
    fs::write(folder.path().join("3/99999.bin"), bytes(1, 1, true, 3)).unwrap();
    assert_ne!(before, NMnist::checksum(folder.path()).unwrap());
}

#[test]
fn recordings_come_by_number_and_other_files_do_not_count() {
    let event = bytes(1, 2, true, 3);
    let names = ["a/Train/7/00003.bin", "a/Train/2/00010.bin", "a/Train/9/00001.bin"];
    let mut members: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &event[..])).collect();
    members.extend([("a/Train/9/x.txt", &[0u8][..]), ("__MACOSX/9/._00001.bin", &[0]), ("__MACOSX/9/00001.bin", &[0])]);
    let (_folder, path) = written(&zipped(&members));
    let set = NMnist::open(&path).unwrap();
    assert_eq!(set.iter().map(|r| r.unwrap().digit).collect::<Vec<_>>(), [9, 7, 2]);
}

#[test]
fn bad_members_name_the_zip_the_member_and_the_byte() {
    let good = bytes(1, 2, true, 3);
    let bad = [good, bytes(40, 2, true, 3)].concat();
    let error = refused(&zipped(&[("Train/3/00012.bin", &bad)]));
    assert!(error.ends_with("Train.zip: Train/3/00012.bin: byte 5: x = 40 found, 0 to 33 expected"), "{error}");
    let error = refused(&zipped(&[("Train/12/00001.bin", &good)]));
    assert!(error.contains("Train/12/00001.bin: is not in a folder named after its digit"), "{error}");
    assert!(refused(&zipped(&[("Train/3/1.bin", &[])])).contains("is empty"));
    assert!(refused(&zipped(&[("readme", &[])])).contains("contains no recordings"));
    assert!(refused(&[]).contains("the directory at the end of its 0 bytes cannot be read"));
    let duplicate = zipped(&[("Train/3/1.bin", &good), ("Train/3/2.bin", &good)]);
    let at =
        duplicate.windows(13).enumerate().filter(|(_, w)| w == b"Train/3/2.bin").map(|(k, _)| k).collect::<Vec<_>>();
    let mut twice = duplicate.clone();
    at.iter().for_each(|&k| twice[k + 8] = b'1');
    assert!(refused(&twice).contains("has a duplicate name"), "{}", refused(&twice));
}

#[test]
fn folders_of_any_name_are_classes_and_polarities_maps() {
    let [off, on] = [bytes(99, 50, false, 3), bytes(0, 1, true, 4000)];
    let members = [("Train/wave/b.bin", &off[..]), ("Train/clap/a.bin", &on), ("Train/clap/c.bin", &off)];
    let (_folder, path) = written(&zipped(&members));
    let layout = Layout { sensor: atis::LARGEST_SENSOR, polarity: Polarity::Separate, classes: Classes::Found };
    let set = NMnist::open_as(&path, layout).unwrap();
    assert_eq!(set.class_names(), ["clap", "wave"]);
    assert_eq!(set.sensor(), Sensor { width: 100, height: 51 });
    let set = set.with_sensor(Sensor { width: 100, height: 51 });
    assert_eq!(set.layout().shape(), Shape { channels: 2, height: 51, width: 100 });
    let bins = Bins { time_steps: 9, dt_ms: 1.0, clock: Default::default() };
    let read = (0..3).map(|k| Recordings::read(&set, k, &bins).map(|r| (r.label, r.spikes)).unwrap());
    let expected = [(0, vec![(4.0, 5200)]), (0, vec![(0.003, 5099)]), (1, vec![(0.003, 5099)])];
    assert!(read.eq(expected));
    // The classes of the training half are those of the test half.
    let named = Classes::Named(vec!["wave".into()]);
    let other = NMnist::open_as(&path, Layout { classes: named, ..Layout::N_MNIST }).unwrap();
    let error = other.recording(0).unwrap_err().to_string();
    assert!(error.contains("a.bin: is in a folder of none of the classes wave"), "{error}");
}

#[test]
fn numbered_folders_are_in_the_order_of_the_numbers() {
    let event = bytes(1, 2, true, 3);
    let (_folder, path) = written(&zipped(&[("10/a.bin", &event), ("9/b.bin", &event), ("2/c.bin", &event)]));
    let layout = Layout { classes: Classes::Found, ..Layout::N_MNIST };
    assert_eq!(NMnist::open_as(&path, layout).unwrap().class_names(), ["2", "9", "10"]);
    let set = NMnist::open_as(&path, Layout { classes: Classes::Numbered(11), ..Layout::N_MNIST }).unwrap();
    assert!(set.iter().map(|recording| recording.unwrap().digit).eq([2, 9, 10]));
}

/// Python's zipfile.ZIP_BZIP2.
#[test]
fn another_compression_is_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bzip2.zip");
    let error = NMnist::open(&path).unwrap().recording(0).unwrap_err().to_string();
    assert!(error.contains("is compressed with bzip2; only deflate") && error.contains("unpack the zip"), "{error}");
}

#[test]
fn bombs_are_refused_before_they_inflate() {
    let bomb = zipped(&[("Train/3/1.bin", &vec![0; MAX_BYTES as usize + 5])]);
    assert!(bomb.len() < 100_000);
    let error = refused(&bomb);
    assert!(error.contains("Train/3/1.bin: claims 16777221 bytes, at most 16777216"), "{error}");
    // One that claims less than it decompresses to; the claim is at byte 24 of its directory entry.
    let mut liar = zipped(&[("Train/3/1.bin", &vec![0; 1 << 20])]);
    let entry = liar.windows(4).rposition(|word| word == b"PK\x01\x02").unwrap();
    liar[entry + 24..entry + 28].copy_from_slice(&10u32.to_le_bytes());
    let local = liar.windows(4).position(|word| word == b"PK\x03\x04").unwrap();
    liar[local + 22..local + 26].copy_from_slice(&10u32.to_le_bytes());
    let error = refused(&liar);
    assert!(error.contains("Train/3/1.bin: "), "{error}");
}

#[test]
fn a_zip_cut_or_damaged_anywhere_is_an_error_or_reads_what_is_whole() {
    let whole =
        zipped(&[("Train/3/1.bin", &bytes(1, 2, true, 3)), ("Train/4/2.bin", &[bytes(4, 5, true, 6); 9].concat())]);
    for end in 0..whole.len() {
        let (_folder, path) = written(&whole[..end]);
        assert!(NMnist::open(&path).is_err(), "{end}");
    }
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            let (_folder, path) = written(&damaged);
            // Only checks that nothing panics: damage to some bytes, such as dates, is not noticed.
            if let Ok(set) = NMnist::open(&path) {
                set.iter().for_each(drop);
            }
        }
    }
}

#[test]
fn a_half_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("Train")).unwrap();
    let error = halves(folder.path()).unwrap_err().to_string();
    assert!(error.contains("contains no Test.zip or folder Test") && !error.contains("Train"), "{error}");
    let error = halves(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere: does not exist; it should hold Train.zip or folder Train"), "{error}");
    fs::write(folder.path().join("Test.zip"), "").unwrap();
    fs::create_dir(folder.path().join("Test")).unwrap();
    assert!(halves(folder.path()).unwrap()[1].ends_with("Test.zip"));
    assert!(NMnist::open(&folder.path().join("Train")).unwrap_err().to_string().contains("no recordings"));
}
