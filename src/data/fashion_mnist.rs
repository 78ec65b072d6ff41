//! Fashion-MNIST: 60,000 + 10,000 images of 28 × 28 pixels in ten classes, and a subset built into the program.

use super::idx::{self, Images};
use super::latency::LatencyCode;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::system::is_debian;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variable with the path of the folder that contains the four files.
pub const VARIABLE: &str = "SPIKEGRAD_FASHION_MNIST";

/// Where Debian's package dataset-fashion-mnist installs the files.
pub const SYSTEM_FOLDER: &str = "/usr/share/datasets/fashion-mnist";

/// Number of classes.
pub const CLASSES: u8 = 10;

/// Names of the classes.
pub const CLASS_NAMES: [&str; CLASSES as usize] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// The published file names of the training and test halves, without `.gz`.
const TRAIN: ImagesAndLabels<&str> =
    ImagesAndLabels { images: "train-images-idx3-ubyte", labels: "train-labels-idx1-ubyte" };
const TEST: ImagesAndLabels<&str> =
    ImagesAndLabels { images: "t10k-images-idx3-ubyte", labels: "t10k-labels-idx1-ubyte" };

const SUBSET_TRAIN: ImagesAndLabels<&[u8]> = ImagesAndLabels {
    images: include_bytes!("../../assets/fashion-mnist/train-images-idx3-ubyte.gz"),
    labels: include_bytes!("../../assets/fashion-mnist/train-labels-idx1-ubyte.gz"),
};
const SUBSET_TEST: ImagesAndLabels<&[u8]> = ImagesAndLabels {
    images: include_bytes!("../../assets/fashion-mnist/t10k-images-idx3-ubyte.gz"),
    labels: include_bytes!("../../assets/fashion-mnist/t10k-labels-idx1-ubyte.gz"),
};

/// Images and labels of the training or test half: file names, files or bytes.
struct ImagesAndLabels<T> {
    images: T,
    labels: T,
}

/// How the data were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the folder given by the caller (`--data`).
    Explicit,
    /// In the folder given by the environment variable [`VARIABLE`].
    Environment,
    /// In [`SYSTEM_FOLDER`].
    System,
    /// Not found: the built-in subset is used.
    Subset,
}

/// Where the data are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The folder with the four files; `None` for the subset.
    pub folder: Option<PathBuf>,
    /// How it was found.
    pub origin: Origin,
}

/// Finds the data: in the folder `explicit` if given, else in that of [`VARIABLE`] if set, else in [`SYSTEM_FOLDER`], else
/// the subset.
///
/// # Errors
/// [`Error::Format`] if a file is missing from one of the first two; it names the missing files.
pub fn locate(explicit: Option<&Path>) -> Result<Located> {
    locate_among(explicit, std::env::var_os(VARIABLE), Path::new(SYSTEM_FOLDER))
}

fn locate_among(explicit: Option<&Path>, variable: Option<OsString>, system: &Path) -> Result<Located> {
    let variable = variable.filter(|folder| !folder.is_empty());
    let (folder, origin) = match (explicit, variable) {
        (Some(folder), _) => (folder.to_path_buf(), Origin::Explicit),
        (None, Some(folder)) => (PathBuf::from(folder), Origin::Environment),
        (None, None) if missing(system).is_empty() => (system.to_path_buf(), Origin::System),
        (None, None) => return Ok(Located { folder: None, origin: Origin::Subset }),
    };
    let missing = missing(&folder);
    if missing.is_empty() {
        return Ok(Located { folder: Some(folder), origin });
    }
    let chosen = if origin == Origin::Environment { format!("this folder, given by {VARIABLE},") } else { "".into() };
    Err(Error::format(
        folder,
        format!("{chosen} lacks {} (with or without .gz); for the full data set: {}", missing.join(", "), how_to_get())
            .trim_start(),
    ))
}

/// Instructions for getting the full data set.
pub fn how_to_get() -> &'static str {
    how_to_get_on(is_debian())
}

fn how_to_get_on(debian: bool) -> &'static str {
    match debian {
        true => "apt-get install dataset-fashion-mnist, or --data DIR",
        false => {
            "download the four idx.gz files from https://github.com/zalandoresearch/fashion-mnist and name their folder \
             with --data DIR"
        }
    }
}

/// The files missing from `folder`.
fn missing(folder: &Path) -> Vec<String> {
    let names = [TRAIN.images, TRAIN.labels, TEST.images, TEST.labels];
    names.iter().filter(|name| file(folder, name).is_none()).map(|name| format!("{name}.gz")).collect()
}

/// The path of a file in `folder`, gzipped or not.
fn file(folder: &Path, name: &str) -> Option<PathBuf> {
    [format!("{name}.gz"), name.to_string()].map(|name| folder.join(name)).into_iter().find(|path| path.is_file())
}

/// Reads and encodes the training and the test half from the four files in `folder`, with or without `.gz`.
///
/// # Errors
/// As [`idx::read_images`]; also [`Error::Format`] if the numbers of images and labels differ, a label is not below
/// [`CLASSES`], or the sizes of training and test images differ.
pub fn load(folder: &Path, code: &LatencyCode) -> Result<(EventSet, EventSet)> {
    let half = |names: ImagesAndLabels<&str>| {
        let path = |name| file(folder, name).unwrap_or_else(|| folder.join(format!("{name}.gz")));
        let paths = ImagesAndLabels { images: path(names.images), labels: path(names.labels) };
        encode(idx::read_images(&paths.images)?, &idx::read_labels(&paths.labels)?, &paths, code)
    };
    both(folder, || half(TRAIN), || half(TEST))
}

/// Encodes the built-in subset: 3,000 + 1,000 images, the same number of each class.
///
/// # Errors
/// Only if the program was built with damaged files.
pub fn load_subset(code: &LatencyCode) -> Result<(EventSet, EventSet)> {
    let folder = Path::new("assets/fashion-mnist");
    let half = |names: ImagesAndLabels<&str>, bytes: ImagesAndLabels<&[u8]>| {
        let path = |name| folder.join(format!("{name}.gz"));
        let paths = ImagesAndLabels { images: path(names.images), labels: path(names.labels) };
        let images = idx::images_from(bytes.images, &paths.images)?;
        encode(images, &idx::labels_from(bytes.labels, &paths.labels)?, &paths, code)
    };
    both(folder, || half(TRAIN, SUBSET_TRAIN), || half(TEST, SUBSET_TEST))
}

/// Loads the two halves in parallel.
fn both(
    folder: &Path,
    train: impl FnOnce() -> Result<EventSet> + Send,
    test: impl FnOnce() -> Result<EventSet> + Send,
) -> Result<(EventSet, EventSet)> {
    let (train, test) = rayon::join(train, test);
    let (train, test) = (train?, test?);
    if train.neurons() != test.neurons() {
        return Err(Error::format(
            folder,
            format!(
                "the training images have {} pixels, the test images {}; get the four files from one source",
                train.neurons(),
                test.neurons()
            ),
        ));
    }
    Ok((train, test))
}

fn encode(images: Images, labels: &[u8], paths: &ImagesAndLabels<PathBuf>, code: &LatencyCode) -> Result<EventSet> {
    if images.len() != labels.len() {
        return Err(Error::format(
            &paths.labels,
            format!(
                "{} labels found, but {} images in {}; get both files from one source",
                labels.len(),
                images.len(),
                paths.images.display()
            ),
        ));
    }
    let mut set = EventSet::new(images.height * images.width, code.time_steps());
    for (k, (image, &label)) in images.iter().zip(labels).enumerate() {
        if label >= CLASSES {
            return Err(Error::format(
                &paths.labels,
                format!("label {k} is {label}, 0 to {} expected; get the file again", CLASSES - 1),
            ));
        }
        set.push(code.spikes(image), u32::from(label))?;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    fn code() -> LatencyCode {
        LatencyCode::new(100, 1.0)
    }

    /// A folder with the four files, plain: two training images of 1 × 2 pixels and one test image.
    fn tiny() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), TRAIN, 2, &[0, 255, 128, 60], &[9, 0]);
        write(folder.path(), TEST, 2, &[255, 255], &[3]);
        folder
    }

    fn write(folder: &Path, names: ImagesAndLabels<&str>, width: usize, pixels: &[u8], labels: &[u8]) {
        let images = Images { height: 1, width, pixels: pixels.to_vec() };
        idx::write_images(File::create(folder.join(names.images)).unwrap(), &images).unwrap();
        idx::write_labels(File::create(folder.join(names.labels)).unwrap(), labels).unwrap();
    }

    fn refused(folder: &Path) -> String {
        load(folder, &code()).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_read_and_encoded() {
        let (train, test) = load(tiny().path(), &code()).unwrap();
        assert_eq!((train.neurons(), train.time_steps()), (2, 100));
        assert_eq!((train.labels(), test.labels()), (&[9, 0][..], &[3][..]));
        let spikes = |set: &EventSet, b| set.sample(b).iter().map(|e| (e.t(), e.i())).collect::<Vec<_>>();
        assert_eq!(spikes(&train, 0), [(4, 1)]);
        assert_eq!(spikes(&train, 1), [(10, 0), (37, 1)]);
        assert_eq!(spikes(&test, 0), [(4, 0), (4, 1)]);
    }

    #[test]
    fn the_subset_is_balanced() {
        let (train, test) = load_subset(&code()).unwrap();
        for (set, each) in [(&train, 300), (&test, 100)] {
            assert_eq!((set.len(), set.neurons()), (10 * each, 784));
            for class in 0..u32::from(CLASSES) {
                assert_eq!(set.labels().iter().filter(|&&label| label == class).count(), each, "class {class}");
            }
        }
    }

    /// Skipped if the full data set is not installed.
    #[test]
    fn the_whole_set_has_all_samples_and_the_subset_is_the_first_of_each_class() {
        let system = Path::new(SYSTEM_FOLDER);
        if !missing(system).is_empty() {
            eprintln!("skipped: Fashion-MNIST is not installed in {SYSTEM_FOLDER}");
            return;
        }
        let (train, test) = load(system, &code()).unwrap();
        assert_eq!((train.len(), test.len()), (60_000, 10_000));
        let spikes = train.events().len() as f64 / 60_000.0;
        assert!((300.0..360.0).contains(&spikes), "{spikes} spikes a sample, about 330 expected");
        let (subset_train, subset_test) = load_subset(&code()).unwrap();
        for (whole, subset, each) in [(train, subset_train, 300), (test, subset_test, 100)] {
            let mut seen = [0; CLASSES as usize];
            let first = |&b: &u32| {
                let seen = &mut seen[whole.labels()[b as usize] as usize];
                *seen += 1;
                *seen <= each
            };
            let chosen: Vec<u32> = (0..whole.len() as u32).filter(first).collect();
            let mut expected = EventSet::new(0, 0);
            expected.gather(&whole, &chosen);
            assert!(subset == expected);
        }
    }

    #[test]
    fn a_named_folder_comes_first_then_the_variable_then_the_system_then_the_subset() {
        let [named, variable, system] = [tiny(), tiny(), tiny()];
        let empty = tempfile::tempdir().unwrap();
        let set = Some(variable.path().into());
        let locate = |explicit, set, system| {
            let located = locate_among(explicit, set, system).unwrap();
            (located.folder, located.origin)
        };
        let path = |folder: &tempfile::TempDir| Some(folder.path().to_path_buf());
        let found = locate(Some(named.path()), set.clone(), system.path());
        assert_eq!(found, (path(&named), Origin::Explicit));
        assert_eq!(locate(None, set, system.path()), (path(&variable), Origin::Environment));
        assert_eq!(locate(None, None, system.path()), (path(&system), Origin::System));
        assert_eq!(locate(None, Some("".into()), empty.path()), (None, Origin::Subset));
        fs::remove_file(system.path().join(TEST.labels)).unwrap();
        assert_eq!(locate(None, None, system.path()), (None, Origin::Subset));
    }

    #[test]
    fn a_chosen_folder_without_a_file_is_an_error_that_names_it() {
        let folder = tiny();
        fs::remove_file(folder.path().join(TEST.labels)).unwrap();
        let nowhere = Path::new("/nowhere");
        let named = locate_among(Some(folder.path()), None, nowhere).unwrap_err().to_string();
        let variable = locate_among(None, Some(folder.path().into()), nowhere).unwrap_err().to_string();
        for error in [&named, &variable] {
            assert!(error.starts_with(&folder.path().display().to_string()), "{error}");
            assert!(error.contains(" t10k-labels-idx1-ubyte.gz (") && error.contains(how_to_get()), "{error}");
            assert!(!error.contains("train-images"), "{error}");
        }
        assert!(variable.contains(VARIABLE) && !named.contains(VARIABLE));
    }

    /// Only Debian and its derivatives have the package.
    #[test]
    fn advice_fits_the_system() {
        assert!(how_to_get_on(true).contains("apt-get"));
        assert!(!how_to_get_on(false).contains("apt-get") && how_to_get_on(false).contains("--data DIR"));
        assert!(cfg!(target_os = "linux") || !how_to_get().contains("apt-get"));
    }

    #[test]
    fn halves_and_files_that_do_not_belong_together_are_refused() {
        let folder = tiny();
        write(folder.path(), TEST, 1, &[7], &[3]);
        assert!(refused(folder.path()).contains("training images have 2 pixels, the test images 1"));
        write(folder.path(), TEST, 2, &[7, 7], &[3, 4]);
        let error = refused(folder.path());
        assert!(error.contains("t10k-labels-idx1-ubyte: 2 labels found, but 1 images in"), "{error}");
        write(folder.path(), TEST, 2, &[7, 7], &[10]);
        assert!(refused(folder.path()).contains("label 0 is 10, 0 to 9 expected"));
    }
}
