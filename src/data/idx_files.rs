//! Finds idx files under their usual names: `train-images-idx3-ubyte`, with dots instead of dashes, gzipped or not, with a
//! prefix such as `emnist-letters-`, and in nested folders such as `MNIST/raw`.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How many folders deep files are looked for.
const DEPTH: usize = 3;
/// Number of names that are looked at.
const NAMES: usize = 20_000;

/// What there is of images and labels: of files, paths or contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ImagesAndLabels<T, L = T> {
    pub images: T,
    pub labels: L,
}

/// The files of one set; `None` for those that are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IdxFiles {
    pub train: ImagesAndLabels<Option<PathBuf>>,
    pub test: ImagesAndLabels<Option<PathBuf>>,
}

/// The names that are listed if files are missing, without `.gz`.
const PUBLISHED: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

impl IdxFiles {
    fn slots(&self) -> [&Option<PathBuf>; 4] {
        [&self.train.images, &self.train.labels, &self.test.images, &self.test.labels]
    }

    fn slot(&mut self, part: &Part) -> &mut Option<PathBuf> {
        let half = if part.train { &mut self.train } else { &mut self.test };
        if part.images { &mut half.images } else { &mut half.labels }
    }

    fn found(&self) -> usize {
        self.slots().iter().filter(|slot| slot.is_some()).count()
    }

    /// The published names of the missing files, with `.gz`.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.slots().into_iter().zip(PUBLISHED).filter(|(slot, _)| slot.is_none());
        missing.map(|(_, name)| format!("{name}.gz")).collect()
    }

    /// That images of a test half have no labels, or the reverse, so that they are not read.
    pub(super) fn test_without_partner(&self) -> Option<String> {
        let (there, from, to) = match (&self.test.images, &self.test.labels) {
            (Some(images), None) => (images, ["images", "idx3"], ["labels", "idx1"]),
            (None, Some(labels)) => (labels, ["labels", "idx1"], ["images", "idx3"]),
            _ => return None,
        };
        let name = there.file_name()?.to_string_lossy().into_owned();
        let missing = from.into_iter().zip(to).fold(name.clone(), |name, (from, to)| name.replace(from, to));
        Some(format!("{name} is not read, since there is no {missing} beside it"))
    }

    /// Images and labels of the training half.
    pub(super) fn train(&self) -> Option<ImagesAndLabels<PathBuf>> {
        self.train.both()
    }

    /// Images and labels of the test half.
    pub(super) fn test(&self) -> Option<ImagesAndLabels<PathBuf>> {
        self.test.both()
    }
}

impl ImagesAndLabels<Option<PathBuf>> {
    fn both(&self) -> Option<ImagesAndLabels<PathBuf>> {
        Some(ImagesAndLabels { images: self.images.clone()?, labels: self.labels.clone()? })
    }
}

/// What a file name says.
struct Part {
    train: bool,
    images: bool,
    prefix: String,
}

impl Part {
    fn of(name: &str) -> Option<Self> {
        let name = name.to_lowercase().replace(['.', '_'], "-");
        let name = name.strip_suffix("-gz").unwrap_or(&name);
        let (rest, images) = match name.strip_suffix("images-idx3-ubyte") {
            Some(rest) => (rest, true),
            None => (name.strip_suffix("labels-idx1-ubyte")?, false),
        };
        let halves = [("train-", true), ("t10k-", false), ("test-", false)];
        let (prefix, train) = halves.iter().find_map(|(half, train)| Some((rest.strip_suffix(half)?, *train)))?;
        Some(Part { train, images, prefix: prefix.into() })
    }
}

/// The prefix of the name of a file of images or labels, such as `emnist-letters-`, in lower case.
pub(super) fn prefix(path: &Path) -> Option<String> {
    Part::of(path.file_name()?.to_str()?).map(|part| part.prefix)
}

/// The files below `path`, or the set that the file at `path` belongs to. The set with the most files counts, and among
/// these the one in the highest folder.
///
/// # Errors
/// [`Error::Format`] if two sets are alike in that.
pub(super) fn find(path: &Path) -> Result<IdxFiles> {
    let mut sets = BTreeMap::new();
    match path.is_file() {
        false => walk(path, 0, &mut NAMES.clone(), &mut sets),
        true => {
            let folder = path.parent().unwrap_or(Path::new("."));
            walk(folder, DEPTH, &mut NAMES.clone(), &mut sets);
            let prefix = prefix(path);
            sets.retain(|(_, _, other), _| Some(other) == prefix.as_ref());
        }
    }
    let mut sets: Vec<((usize, PathBuf, String), IdxFiles)> = sets.into_iter().collect();
    sets.sort_by_key(|((depth, ..), files)| (4 - files.found(), *depth));
    match &sets[..] {
        [] => Ok(IdxFiles::default()),
        [(_, files)] => Ok(files.clone()),
        [((depth, folder, prefix), files), ((other_depth, other_folder, other_prefix), other), ..]
            if (files.found(), depth) == (other.found(), other_depth) =>
        {
            let name = |folder: &Path, prefix: &str| folder.join(format!("{prefix}train-...")).display().to_string();
            let (first, second) = (name(folder, prefix), name(other_folder, other_prefix));
            Err(Error::format(
                path,
                format!(
                    "has several sets of images, for example {first} and {second}; give the path of one's training images"
                ),
            ))
        }
        [(_, files), ..] => Ok(files.clone()),
    }
}

fn walk(folder: &Path, depth: usize, left: &mut usize, sets: &mut BTreeMap<(usize, PathBuf, String), IdxFiles>) {
    // Folders that cannot be read have no files.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(less) = left.checked_sub(1) else { return };
        *left = less;
        let path = entry.path();
        match entry.file_name().to_str().and_then(Part::of) {
            Some(part) if path.is_file() => {
                let slot = sets.entry((depth, folder.into(), part.prefix.clone())).or_default().slot(&part);
                let gzipped = |path: &Path| path.extension().is_some_and(|extension| extension == "gz");
                // Of the same file gzipped and unpacked, one is enough.
                if slot.as_ref().is_none_or(|other| gzipped(&path) && !gzipped(other)) {
                    *slot = Some(path);
                }
            }
            _ if depth < DEPTH && path.is_dir() => walk(&path, depth + 1, left, sets),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn the_usual_spellings_are_found() {
        for (names, images) in [
            (
                [
                    "train-images-idx3-ubyte",
                    "train-labels-idx1-ubyte",
                    "t10k-images-idx3-ubyte",
                    "t10k-labels-idx1-ubyte",
                ],
                0,
            ),
            (
                [
                    "train-images.idx3-ubyte",
                    "train-labels.idx1-ubyte",
                    "t10k-images.idx3-ubyte",
                    "t10k-labels.idx1-ubyte",
                ],
                0,
            ),
            (
                [
                    "MNIST/raw/train-images-idx3-ubyte.gz",
                    "MNIST/raw/train-labels-idx1-ubyte",
                    "MNIST/raw/t10k-images-idx3-ubyte",
                    "MNIST/raw/t10k-labels-idx1-ubyte.gz",
                ],
                0,
            ),
            (
                [
                    "gzip/emnist-letters-test-images-idx3-ubyte.gz",
                    "gzip/emnist-letters-train-images-idx3-ubyte.gz",
                    "gzip/emnist-letters-test-labels-idx1-ubyte.gz",
                    "gzip/emnist-letters-train-labels-idx1-ubyte.gz",
                ],
                1,
            ),
        ] {
            let folder = folder_of(&names);
            let files = find(folder.path()).unwrap();
            assert!(files.missing().is_empty(), "{files:?}");
            assert_eq!(files.train().unwrap().images, folder.path().join(names[images]));
        }
    }

    #[test]
    fn a_gzipped_file_comes_before_the_unpacked_one_and_a_whole_set_before_a_part() {
        let folder = folder_of(&[
            "train-images-idx3-ubyte",
            "a/train-images-idx3-ubyte",
            "a/train-images-idx3-ubyte.gz",
            "a/train-labels-idx1-ubyte",
            "README",
        ]);
        let files = find(folder.path()).unwrap();
        assert!(files.train().unwrap().images.ends_with("a/train-images-idx3-ubyte.gz"));
        assert_eq!(files.missing(), ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]);
        assert_eq!(find(Path::new("/nowhere")).unwrap().missing().len(), 4);
    }

    #[test]
    fn half_of_a_test_half_is_told() {
        let told = |name: &str| find(folder_of(&[name]).path()).unwrap().test_without_partner();
        let one = told("emnist-letters-test-images.idx3-ubyte.gz").unwrap();
        assert!(one.contains("is not read, since there is no emnist-letters-test-labels.idx1-ubyte.gz"), "{one}");
        assert!(told("t10k-labels-idx1-ubyte").unwrap().contains("no t10k-images-idx3-ubyte"));
        assert_eq!(told("train-images-idx3-ubyte"), None);
    }

    #[test]
    fn of_several_sets_one_must_be_named() {
        let folder = folder_of(&[
            "emnist-digits-train-images-idx3-ubyte",
            "emnist-digits-train-labels-idx1-ubyte",
            "emnist-letters-train-images-idx3-ubyte",
            "emnist-letters-train-labels-idx1-ubyte",
        ]);
        let error = find(folder.path()).unwrap_err().to_string();
        assert!(error.contains("emnist-digits-train-") && error.contains("emnist-letters-train-"), "{error}");
        let chosen = folder.path().join("emnist-letters-train-images-idx3-ubyte");
        assert_eq!(find(&chosen).unwrap().train().unwrap().images, chosen);
    }
}
