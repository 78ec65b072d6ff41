//! Safe access to untrusted files: reads are limited in size, and writes do not follow links.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Reads the file at `path`, at most `limit` bytes. `what` names the kind of file in errors.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a longer file, and for a pipe or device, which may be endless.
pub(crate) fn read(path: &Path, limit: u64, what: &str) -> Result<Vec<u8>> {
    let length = refuse_special(path)?;
    let mut bytes = Vec::new();
    if length <= limit {
        let file = File::open(path).map_err(Error::io(path))?;
        // The file may grow after its size was checked.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path))?;
    }
    match length.max(bytes.len() as u64) > limit {
        true => Err(Error::format(path, format!("has more than {limit} bytes, the limit for {what}"))),
        false => Ok(bytes),
    }
}

/// [`read`] as text.
///
/// # Errors
/// As [`read`], and [`Error::Format`] with the position of a byte that is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64, what: &str) -> Result<String> {
    String::from_utf8(read(path, limit, what)?)
        .map_err(|e| Error::format(path, format!("is not text ({}); expected {what}", e.utf8_error())))
}

/// Returns the size of the file in bytes. Refuses folders, pipes and devices: opening a pipe would block.
pub(crate) fn refuse_special(path: &Path) -> Result<u64> {
    let found = fs::metadata(path).map_err(Error::io(path))?;
    match (found.is_file(), found.is_dir()) {
        (true, _) => Ok(found.len()),
        (_, true) => Err(Error::io(path)(io::Error::other("is a folder; give the name of a file"))),
        _ => Err(Error::format(path, "is a pipe or a device; a regular file is required")),
    }
}

/// Refuses symbolic links before a file is appended to or locked, since the target may be outside the folder.
pub(crate) fn refuse_link(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        true => Err(Error::format(
            path,
            "is a symbolic link and will not be written to; remove it or choose another folder",
        )),
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
        assert!(error.ends_with("a: has more than 4 bytes, the limit for it"), "{error}");
        let error = read(folder.path(), 4, "it").unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("is a folder"), "{error}");
        fs::write(&path, b"ok\xff").unwrap();
        let error = read_text(&path, 9, "a text").unwrap_err().to_string();
        assert!(error.contains("from index 2") && error.contains("expected a text"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_refused() {
        let error = read(Path::new("/dev/zero"), 4, "it").unwrap_err().to_string();
        assert!(error.contains("/dev/zero: is a pipe or a device"), "{error}");
    }
}
