//! Fashion-MNIST: 60,000 + 10,000 images of 28 × 28 pixels in ten classes, and a subset built into the program; and other
//! images in the same files, of any size and with any number of classes.

use super::Shape;
use super::idx::{self, Images};
use super::idx_files::{self, ImagesAndLabels};
use super::latency::{DURATION_MS, LatencyCode};
use super::mapping::Mapping;
use super::recorded;
use super::survey::Facts;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::system::is_debian;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variable with the path of the folder that contains the four files.
pub const VARIABLE: &str = "SPIKEGRAD_FASHION_MNIST";

/// Where Debian's package dataset-fashion-mnist installs the files.
pub const SYSTEM_FOLDER: &str = "/usr/share/datasets/fashion-mnist";

/// Display name.
pub const NAME: &str = "Fashion-MNIST";

/// Size of the images.
pub const SHAPE: Shape = Shape { channels: 1, height: 28, width: 28 };

/// Number of classes.
pub const CLASSES: u8 = 10;

/// Names of the classes.
pub const CLASS_NAMES: [&str; CLASSES as usize] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

const SUBSET_TRAIN: ImagesAndLabels<&[u8]> = ImagesAndLabels {
    images: include_bytes!("../../assets/fashion-mnist/train-images-idx3-ubyte.gz"),
    labels: include_bytes!("../../assets/fashion-mnist/train-labels-idx1-ubyte.gz"),
};
const SUBSET_TEST: ImagesAndLabels<&[u8]> = ImagesAndLabels {
    images: include_bytes!("../../assets/fashion-mnist/t10k-images-idx3-ubyte.gz"),
    labels: include_bytes!("../../assets/fashion-mnist/t10k-labels-idx1-ubyte.gz"),
};

/// The training and the test images as spikes.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Training images.
    pub train: EventSet,
    /// Test images.
    pub test: EventSet,
    /// Their size.
    pub shape: Shape,
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
/// [`Error::Format`] if a file is missing from one of the first two, or if there are several sets; it names the files.
pub fn locate(explicit: Option<&Path>) -> Result<Located> {
    locate_among(explicit, std::env::var_os(VARIABLE), Path::new(SYSTEM_FOLDER))
}

fn locate_among(explicit: Option<&Path>, variable: Option<OsString>, system: &Path) -> Result<Located> {
    let variable = variable.filter(|folder| !folder.is_empty());
    let (folder, origin) = match (explicit, variable) {
        (Some(folder), _) => (folder.to_path_buf(), Origin::Explicit),
        (None, Some(folder)) => (PathBuf::from(folder), Origin::Environment),
        (None, None) if idx_files::find(system)?.missing().is_empty() => (system.to_path_buf(), Origin::System),
        (None, None) => return Ok(Located { folder: None, origin: Origin::Subset }),
    };
    let missing = idx_files::find(&folder)?.missing();
    if missing.is_empty() {
        return Ok(Located { folder: Some(folder), origin });
    }
    let chosen = if origin == Origin::Environment { format!("this folder, given by {VARIABLE},") } else { "".into() };
    let lacks =
        if folder.try_exists().map_err(Error::io(&folder))? { "lacks" } else { "does not exist; it should hold" };
    Err(Error::format(
        folder,
        format!(
            "{chosen} {lacks} {} (with or without .gz); for the full data set: {}",
            missing.join(", "),
            how_to_get()
        )
        .trim_start(),
    ))
}

/// Instructions for getting the full data set.
pub fn how_to_get() -> &'static str {
    how_to_get_on(is_debian())
}

fn how_to_get_on(debian: bool) -> &'static str {
    match debian {
        true => "apt-get install dataset-fashion-mnist, or set data.path (--data DIR)",
        false => {
            "download the four idx.gz files from https://github.com/zalandoresearch/fashion-mnist and set data.path \
             (--data DIR) to their folder"
        }
    }
}

/// What a network must have for the images that [`locate`] finds.
///
/// # Errors
/// As [`locate`], [`idx::read_shape`] and [`idx::read_labels`]; [`Error::Format`] for a damaged mapping of labels to names.
pub(super) fn facts(explicit: Option<&Path>, dt_ms: Option<f64>) -> Result<Facts> {
    let (shape, classes) = match locate(explicit)?.folder {
        None => (SHAPE, usize::from(CLASSES)),
        Some(folder) => {
            let (train, test) = found(&folder)?;
            let mut classes = mapping(&folder)?.map_or(0, |mapping| mapping.classes());
            for labels in [&train.labels, &test.labels] {
                classes =
                    idx::read_labels(labels)?.iter().fold(classes, |most, &label| most.max(usize::from(label) + 1));
            }
            (idx::read_shape(&train.images)?, classes)
        }
    };
    Ok(facts_of(shape, classes, dt_ms))
}

/// What a network must have for images of this `shape`.
pub(crate) fn facts_of(shape: Shape, classes: usize, dt_ms: Option<f64>) -> Facts {
    Facts::of(shape, classes, DURATION_MS, dt_ms.unwrap_or(1.0))
}

/// The names of the classes, if there is a file of them beside the training images.
///
/// # Errors
/// [`Error::Format`] if it is damaged.
pub(super) fn mapping(folder: &Path) -> Result<Option<Mapping>> {
    Mapping::beside(&found(folder)?.0.images)
}

/// The names that such a file gives; empty if there is none.
///
/// # Errors
/// As [`mapping`].
pub(super) fn mapping_names(folder: &Path, classes: usize) -> Result<Vec<String>> {
    Ok(mapping(folder)?.map_or_else(Vec::new, |mapping| mapping.names(classes)))
}

/// The names of the classes of the images that [`locate`] finds, without reading the images; empty if unknown.
///
/// # Errors
/// As [`locate`] and [`mapping`].
pub(super) fn class_names(explicit: Option<&Path>, classes: usize) -> Result<Vec<String>> {
    let published = || recorded::class_names(&CLASS_NAMES, classes);
    let Some(folder) = locate(explicit)?.folder else { return Ok(published()) };
    let (train, test) = found(&folder)?;
    let labels = |half: &ImagesAndLabels<PathBuf>| -> Result<Vec<u32>> {
        Ok(idx::read_labels(&half.labels)?.into_iter().map(u32::from).collect())
    };
    match idx::read_shape(&train.images)? == SHAPE && are_first(&labels(&train)?, &labels(&test)?) {
        true => Ok(published()),
        false => mapping_names(&folder, classes),
    }
}

/// The files of both halves.
fn found(folder: &Path) -> Result<(ImagesAndLabels<PathBuf>, ImagesAndLabels<PathBuf>)> {
    let files = idx_files::find(folder)?;
    files
        .train()
        .zip(files.test())
        .ok_or_else(|| Error::format(folder, format!("lacks {}", files.missing().join(", "))))
}

/// Reads and encodes the training and the test half from the four files in or below `folder`, with or without `.gz`.
///
/// # Errors
/// As [`idx::read_images`]; also [`Error::Format`] if a file is missing, the numbers of images and labels differ, a label
/// is not below `classes`, or the sizes of training and test images differ.
pub fn load(folder: &Path, code: &LatencyCode, classes: usize) -> Result<Encoded> {
    let (train, test) = found(folder)?;
    let half = |paths: ImagesAndLabels<PathBuf>| {
        encode(idx::read_images(&paths.images)?, &idx::read_labels(&paths.labels)?, &paths, code, classes)
    };
    both(folder, || half(train), || half(test))
}

/// Encodes the built-in subset: 3,000 + 1,000 images, the same number of each class.
///
/// # Errors
/// Only if the program was built with damaged files.
pub fn load_subset(code: &LatencyCode) -> Result<Encoded> {
    let folder = Path::new("assets/fashion-mnist");
    let half = |half: &str, bytes: ImagesAndLabels<&[u8]>| {
        let path = |what: &str| folder.join(format!("{half}-{what}-ubyte.gz"));
        let paths = ImagesAndLabels { images: path("images-idx3"), labels: path("labels-idx1") };
        let images = idx::images_from(bytes.images, &paths.images)?;
        encode(images, &idx::labels_from(bytes.labels, &paths.labels)?, &paths, code, CLASSES.into())
    };
    both(folder, || half("train", SUBSET_TRAIN), || half("t10k", SUBSET_TEST))
}

/// Loads the two halves in parallel.
fn both(
    folder: &Path,
    train: impl FnOnce() -> Result<(EventSet, Shape)> + Send,
    test: impl FnOnce() -> Result<(EventSet, Shape)> + Send,
) -> Result<Encoded> {
    let (train, test) = rayon::join(train, test);
    let ((train, shape), (test, test_shape)) = (train?, test?);
    if shape != test_shape {
        return Err(Error::format(
            folder,
            format!(
                "the training images have {shape} pixels, the test images {test_shape}; get the four files from one source"
            ),
        ));
    }
    Ok(Encoded { train, test, shape })
}

/// The first labels of the published training and test images, which tell them from other images of the same size.
const FIRST_LABELS: [[u32; 32]; 2] = [
    [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4, 3, 1, 4, 8, 4, 3, 0, 2, 4, 4, 5, 3],
    [9, 2, 1, 1, 6, 1, 4, 6, 5, 7, 4, 5, 7, 3, 4, 1, 2, 4, 8, 0, 2, 5, 7, 9, 1, 4, 6, 0, 9, 3, 8, 8],
];

/// Whether these are the first images of the published set, or all.
pub(super) fn is_published(train: &EventSet, test: &EventSet) -> bool {
    train.neurons() == SHAPE.inputs() && are_first(train.labels(), test.labels())
}

/// Whether these are the first labels of the published set, or all.
fn are_first(train: &[u32], test: &[u32]) -> bool {
    let begins = |labels: &[u32], first: &[u32]| labels.iter().zip(first).all(|(label, first)| label == first);
    begins(train, &FIRST_LABELS[0]) && begins(test, &FIRST_LABELS[1])
}

/// Checks that there is a label for each image.
pub(super) fn check_counts(images: &Images, labels: &[u8], paths: &ImagesAndLabels<PathBuf>) -> Result<()> {
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
    Ok(())
}

fn encode(
    images: Images,
    labels: &[u8],
    paths: &ImagesAndLabels<PathBuf>,
    code: &LatencyCode,
    classes: usize,
) -> Result<(EventSet, Shape)> {
    check_counts(&images, labels, paths)?;
    let mut set = EventSet::new(images.height * images.width, code.time_steps());
    for (k, (image, &label)) in images.iter().zip(labels).enumerate() {
        if usize::from(label) >= classes {
            let most = labels.iter().max().map_or(0, |&most| usize::from(most) + 1);
            return Err(Error::format(
                &paths.labels,
                format!(
                    "label {k} is {label}, 0 to {} expected; if that is right, set network.readout.classes = {most}",
                    classes - 1
                ),
            ));
        }
        set.push(code.spikes(image), u32::from(label))?;
    }
    Ok((set, images.shape()))
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
        write(folder.path(), "train", 2, &[0, 255, 128, 60], &[9, 0]);
        write(folder.path(), "t10k", 2, &[255, 255], &[3]);
        folder
    }

    fn write(folder: &Path, half: &str, width: usize, pixels: &[u8], labels: &[u8]) {
        let images = Images { height: 1, width, pixels: pixels.to_vec() };
        let create = |what: &str| File::create(folder.join(format!("{half}-{what}-ubyte"))).unwrap();
        idx::write_images(create("images-idx3"), &images).unwrap();
        idx::write_labels(create("labels-idx1"), labels).unwrap();
    }

    fn refused(folder: &Path) -> String {
        load(folder, &code(), 10).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_read_and_encoded() {
        let Encoded { train, test, shape } = load(tiny().path(), &code(), 10).unwrap();
        assert_eq!((train.neurons(), train.time_steps(), shape), (2, 100, Shape::row(2)));
        assert_eq!((train.labels(), test.labels()), (&[9, 0][..], &[3][..]));
        let spikes = |set: &EventSet, b| set.sample(b).iter().map(|e| (e.t(), e.i())).collect::<Vec<_>>();
        assert_eq!(spikes(&train, 0), [(4, 1)]);
        assert_eq!(spikes(&train, 1), [(10, 0), (37, 1)]);
        assert_eq!(spikes(&test, 0), [(4, 0), (4, 1)]);
    }

    #[test]
    fn the_subset_is_balanced() {
        let Encoded { train, test, .. } = load_subset(&code()).unwrap();
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
        if !idx_files::find(system).unwrap().missing().is_empty() {
            eprintln!("skipped: Fashion-MNIST is not installed in {SYSTEM_FOLDER}");
            return;
        }
        let Encoded { train, test, .. } = load(system, &code(), 10).unwrap();
        assert_eq!((train.len(), test.len()), (60_000, 10_000));
        let spikes = train.events().len() as f64 / 60_000.0;
        assert!((300.0..360.0).contains(&spikes), "{spikes} spikes a sample, about 330 expected");
        let Encoded { train: subset_train, test: subset_test, .. } = load_subset(&code()).unwrap();
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
        fs::remove_file(system.path().join("t10k-labels-idx1-ubyte")).unwrap();
        assert_eq!(locate(None, None, system.path()), (None, Origin::Subset));
    }

    #[test]
    fn a_chosen_folder_without_a_file_is_an_error_that_names_it() {
        let folder = tiny();
        fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
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
        write(folder.path(), "t10k", 1, &[7], &[3]);
        assert!(refused(folder.path()).contains("training images have 1 × 2 pixels, the test images 1 × 1"));
        write(folder.path(), "t10k", 2, &[7, 7], &[3, 4]);
        let error = refused(folder.path());
        assert!(error.contains("t10k-labels-idx1-ubyte: 2 labels found, but 1 images in"), "{error}");
        write(folder.path(), "t10k", 2, &[7, 7], &[10]);
        assert!(refused(folder.path()).contains("label 0 is 10, 0 to 9 expected"));
        assert!(refused(folder.path()).contains("network.readout.classes = 11"));
        assert_eq!(load(folder.path(), &code(), 11).unwrap().test.labels(), [10]);
    }
}
