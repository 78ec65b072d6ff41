//! The names of classes in a mapping file, as EMNIST has them: a line for each label with the label and the codes of the
//! characters of its class.
//!
//! ```text
//! 10 65
//! 11 66
//! ```

use super::idx_files;
use crate::error::{Error, Result};
use crate::limits;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum size of a mapping file in bytes: a hundred times that of 256 classes.
const MAX_BYTES: u64 = 1 << 18;

/// Names by label.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Mapping(BTreeMap<usize, String>);

impl Mapping {
    /// The mapping beside the file with a set's images, if there is one: `emnist-letters-mapping.txt` for
    /// `emnist-letters-train-images-idx3-ubyte`.
    ///
    /// # Errors
    /// [`Error::Format`] naming a line that is none of a mapping; [`Error::Io`].
    pub(super) fn beside(images: &Path) -> Result<Option<Self>> {
        find(images)
            .map(|path| Self::parse(&limits::read_text(&path, MAX_BYTES, "a mapping of labels")?, &path))
            .transpose()
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut names = BTreeMap::new();
        for (k, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bad = |what: &str| {
                let line = line.escape_default();
                Error::format(path, format!("line {}, `{line}`, {what}; correct the file, or remove it", k + 1))
            };
            let mut words = line.split_whitespace();
            let label = words.next().and_then(|word| word.parse::<u8>().ok());
            let character = |word: &str| word.parse().ok().and_then(char::from_u32).filter(|c| !c.is_control());
            let name: Option<String> = words.map(character).collect();
            let (Some(label), Some(name)) = (label, name.filter(|name| !name.trim().is_empty())) else {
                return Err(bad("is not a label from 0 to 255 and the codes of its characters, such as `10 65`"));
            };
            if names.insert(usize::from(label), name).is_some() {
                return Err(bad("has the label of another line"));
            }
        }
        Ok(Mapping(names))
    }

    /// Number of classes of which the largest has a name.
    pub(super) fn classes(&self) -> usize {
        self.0.last_key_value().map_or(0, |(label, _)| label + 1)
    }

    /// A name for each of `classes` classes; `class 0` for those that have none.
    pub(super) fn names(&self, classes: usize) -> Vec<String> {
        (0..classes).map(|class| self.0.get(&class).cloned().unwrap_or_else(|| format!("class {class}"))).collect()
    }
}

fn find(images: &Path) -> Option<PathBuf> {
    let wanted = format!("{}mapping.txt", idx_files::prefix(images)?);
    let spelt = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).map(|name| name.to_lowercase().replace('_', "-"))
    };
    let files = fs::read_dir(images.parent()?).ok()?.flatten().map(|entry| entry.path());
    files.filter(|path| spelt(path) == Some(wanted.clone()) && path.is_file()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Mapping> {
        Mapping::parse(text, Path::new("emnist-mapping.txt"))
    }

    #[test]
    fn characters_are_named_by_their_codes() {
        // The letters of EMNIST are numbered from 1 and have two codes each.
        let letters = parse("1 65 97\n2 66 98\n\n").unwrap();
        assert_eq!(
            (letters.classes(), letters.names(4)),
            (3, ["class 0", "Aa", "Bb", "class 3"].map(String::from).to_vec())
        );
        assert_eq!(parse("").unwrap().classes(), 0);
    }

    #[test]
    fn lines_that_say_nothing_are_named() {
        for line in ["A 65", "256 65", "-1 65", "3", "3 1114112", "3 10", "3 32", "3 6 five"] {
            let error = parse(&format!("0 48\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with("emnist-mapping.txt") && error.contains(&format!("line 2, `{line}`")), "{error}");
        }
        assert!(parse("1 65\n1 66").unwrap_err().to_string().contains("has the label of another line"));
    }

    #[test]
    fn a_mapping_belongs_to_the_images_with_its_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let images = |prefix: &str| folder.path().join(format!("{prefix}train-images-idx3-ubyte.gz"));
        std::fs::write(folder.path().join("emnist-digits-mapping.txt"), "0 48").unwrap();
        assert_eq!(Mapping::beside(&images("emnist-letters-")).unwrap(), None);
        assert_eq!(Mapping::beside(&images("emnist-digits-")).unwrap().map(|mapping| mapping.classes()), Some(1));
        assert_eq!(Mapping::beside(&images("")).unwrap(), None);
        std::fs::write(folder.path().join("mapping.txt"), "0").unwrap();
        assert!(Mapping::beside(&images("")).unwrap_err().to_string().contains("mapping.txt"));
    }
}
