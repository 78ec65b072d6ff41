//! Files may be a stranger's: they are read up to a limit, and nothing is written through their links.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// All bytes of the file at `path`, `limit` at most; of more it says that that is more than `what` has.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a longer file, and for a pipe or device, which may have no end.
pub(crate) fn read(path: &Path, limit: u64, what: &str) -> Result<Vec<u8>> {
    let length = refuse_special(path)?;
    let mut bytes = Vec::new();
    if length <= limit {
        let file = File::open(path).map_err(Error::io(path))?;
        // It may grow meanwhile.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path))?;
    }
    match length.max(bytes.len() as u64) > limit {
        true => Err(Error::format(path, format!("has more than {limit} bytes, the most that {what} has"))),
        false => Ok(bytes),
    }
}

/// As [`read`], a text.
///
/// # Errors
/// Those of [`read`], and [`Error::Format`] naming the byte that is no UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64, what: &str) -> Result<String> {
    String::from_utf8(read(path, limit, what)?)
        .map_err(|e| Error::format(path, format!("is no text ({}), {what} expected", e.utf8_error())))
}

/// Refuses what is neither a file nor a folder: opening a pipe would wait for its other end. The bytes of the file.
pub(crate) fn refuse_special(path: &Path) -> Result<u64> {
    let kind = fs::metadata(path).map_err(Error::io(path))?;
    match kind.is_file() || kind.is_dir() {
        true => Ok(if kind.is_dir() { 0 } else { kind.len() }),
        false => Err(Error::format(path, "is a pipe or a device; name a file")),
    }
}

/// Refuses a link where the program appends to a file or locks it: what it leads to may be anybody's.
pub(crate) fn refuse_link(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        true => Err(Error::format(path, "is a link, and is about to be written; remove it, or choose another folder")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5, "it").unwrap(), b"12345");
        let error = read(&path, 4, "it").unwrap_err().to_string();
        assert!(error.ends_with("a: has more than 4 bytes, the most that it has"), "{error}");
        assert!(matches!(read(folder.path(), 4, "it"), Err(Error::Io { .. })));
        fs::write(&path, b"ok\xff").unwrap();
        let error = read_text(&path, 9, "a text").unwrap_err().to_string();
        assert!(error.contains("from index 2") && error.contains("a text expected"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_refused() {
        let error = read(Path::new("/dev/zero"), 4, "it").unwrap_err().to_string();
        assert!(error.contains("/dev/zero: is a pipe or a device"), "{error}");
    }
}
