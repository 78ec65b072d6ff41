//! Atomic file writes. All files that the program replaces are written here.

use crate::error::{Error, Result};
use crate::platform::{Instant, sleep};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Prefix of the names of temporary files.
pub(crate) const TEMPORARY_PREFIX: &str = ".spikegrad-";
/// How long to wait for another program to close a file. Virus scanners and search indexers briefly open new files.
const PATIENCE: Duration = Duration::from_secs(5);

/// Replaces the file at `path` atomically: after a crash, either the old or the new file exists.
///
/// # Errors
/// [`Error::Io`]. On Windows, where open files cannot be replaced, it retries for five seconds if another program has the
/// file open.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_parts_atomically(path, &[bytes])
}

/// [`write_atomically`] of the concatenation of `parts`, without copying them.
pub(crate) fn write_parts_atomically(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let folder = folder_of(path);
    let mut file = temporary_file(path, folder)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.as_file().sync_all());
    written.map_err(Error::io(path))?;
    // Holds the temporary file between attempts to rename it; dropping it removes the file.
    let mut whole = Some(file);
    when_let_go(path, PATIENCE, || match whole.take().map(|file| file.persist(path)) {
        Some(Err(e)) => {
            whole = Some(e.file);
            Err(e.error)
        }
        _ => Ok(()),
    })?;
    // A rename is durable only after the folder is synced. Windows has no such call and does not need it.
    #[cfg(unix)]
    File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io(folder))?;
    Ok(())
}

/// Checks that a file can be written, before the work that it is the result of.
///
/// # Errors
/// [`Error::Io`] if `path` is a folder, or its folder does not exist or cannot be written to.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    // A `/` at the end is no part of the name, but asks for a folder.
    let folder = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
    match folder {
        true => Err(Error::io(path)(io::Error::other("is a folder; give the name of a file"))),
        false => temporary_file(path, folder_of(path)).map(drop),
    }
}

/// Checks that a folder can be written to, or created with those above it. Creates nothing.
///
/// # Errors
/// [`Error::Io`] if `path` or one above it is a file, or the folder cannot be written to.
pub(crate) fn check_folder(path: &Path) -> Result<()> {
    let exists = |folder: &&Path| !folder.as_os_str().is_empty() && folder.symlink_metadata().is_ok();
    let nearest = path.ancestors().find(exists).unwrap_or(Path::new("."));
    match nearest.is_dir() {
        true => temporary_file(path, nearest).map(drop),
        false => Err(Error::io(nearest)(io::Error::other("is not a folder"))),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A temporary file in `folder`, which is removed when dropped. Errors are about `path`.
fn temporary_file(path: &Path, folder: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    {
        // Temporary files are private by default; this gives the usual permissions, subject to the umask.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|e| Error::io(path)(without_path(e)))
}

/// The error without the name of the temporary file.
fn without_path(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), "its folder does not exist; create it first"),
        kind => io::Error::from(kind),
    }
}

/// Appends `bytes` to the file at `path`, creating it if missing, and syncs it to disk.
///
/// # Errors
/// As [`write_atomically`].
pub(crate) fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = when_let_go(path, PATIENCE, || File::options().create(true).append(true).open(path))?;
    file.write_all(bytes).and_then(|()| file.sync_data()).map_err(Error::io(path))
}

/// Removes temporary files left by killed processes from a shared folder such as the user's cache. Files modified less
/// than a day ago are kept, since another process may be writing them.
pub(crate) fn remove_abandoned(folder: &Path) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let touched = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let old = touched.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > DAY);
        if old && entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Runs `work` on the file at `path`, and retries for up to `patience` while another program has the file open.
fn when_let_go<T>(path: &Path, patience: Duration, work: impl FnMut() -> io::Result<T>) -> Result<T> {
    retry(path, patience, |error| is_held(path, error), work)
}

/// Whether `error` means that another program has the file at `path` open. This only occurs on Windows.
fn is_held(path: &Path, error: &io::Error) -> bool {
    const ERROR_ACCESS_DENIED: i32 = 5;
    const ERROR_SHARING_VIOLATION: i32 = 32;
    const ERROR_LOCK_VIOLATION: i32 = 33;
    let refused = || std::fs::metadata(path).is_ok_and(|found| found.is_dir() || found.permissions().readonly());
    cfg!(windows)
        && match error.raw_os_error() {
            Some(ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION) => true,
            // Windows returns the same error for files that can never be written, where waiting does not help.
            Some(ERROR_ACCESS_DENIED) => !refused(),
            _ => false,
        }
}

/// Runs `work` until it succeeds, fails with an error that is not transient according to `passing`, or `patience` is
/// over.
fn retry<T>(
    path: &Path,
    patience: Duration,
    passing: impl Fn(&io::Error) -> bool,
    mut work: impl FnMut() -> io::Result<T>,
) -> Result<T> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        match work() {
            Ok(done) => return Ok(done),
            Err(error) if !passing(&error) => return Err(Error::io(path)(error)),
            Err(error) if began.elapsed() >= patience => {
                let why = format!(
                    "cannot be written: another program has kept it open for {:.0} s ({error}); close the program that \
                     uses this file",
                    began.elapsed().as_secs_f64()
                );
                return Err(Error::io(path)(io::Error::new(error.kind(), why)));
            }
            Err(_) => sleep(pause),
        }
        pause = (2 * pause).min(Duration::from_millis(250));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn writing_replaces_and_leaves_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        write_atomically(&path, b"one").unwrap();
        write_parts_atomically(&path, &[b"tw", b"", b"o"]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(names(temp.path()), ["file"]);
        let error = write_atomically(&temp.path().join("no/file"), b"").unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }

    #[test]
    fn what_could_not_be_written_is_refused_and_nothing_is_left() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        std::fs::write(at("file"), b"one").unwrap();
        for path in [at("new"), at("file")] {
            check_writable(&path).unwrap();
        }
        for path in [at("no/new"), at("file/new"), at(""), at("new/")] {
            assert!(matches!(check_writable(&path), Err(Error::Io { path: named, .. }) if named == path), "{path:?}");
        }
        for path in [at(""), at("new"), at("new/inner")] {
            check_folder(&path).unwrap();
        }
        for path in [at("file"), at("file/inner")] {
            let error = check_folder(&path).unwrap_err().to_string();
            assert!(error.contains("file: is not a folder"), "{error}");
        }
        assert_eq!((names(temp.path()), std::fs::read(at("file")).unwrap()), (vec!["file".into()], b"one".to_vec()));
    }

    #[test]
    fn a_folder_is_not_replaced_and_not_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("folder");
        std::fs::create_dir(&path).unwrap();
        let began = Instant::now();
        assert!(write_atomically(&path, b"one").is_err());
        assert!(append(&path, b"one").is_err());
        assert!(began.elapsed() < PATIENCE, "retried a permanent error");
        assert_eq!(names(temp.path()), ["folder"]);
    }

    #[test]
    fn appending_makes_the_file_and_keeps_what_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        append(&path, b"one\n").unwrap();
        append(&path, b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn old_temporary_files_are_removed_and_no_others() {
        let temp = tempfile::tempdir().unwrap();
        let before = std::time::SystemTime::now() - Duration::from_secs(25 * 3600);
        for (name, old) in [(".spikegrad-old", true), (".spikegrad-new", false), ("kept.safetensors", true)] {
            let file = File::create(temp.path().join(name)).unwrap();
            if old {
                file.set_modified(before).unwrap();
            }
        }
        remove_abandoned(temp.path());
        assert_eq!(names(temp.path()), [".spikegrad-new", "kept.safetensors"]);
        remove_abandoned(&temp.path().join("nowhere"));
    }

    /// The error of an operating system that does not allow replacing open files.
    fn held() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    #[test]
    fn what_passes_is_waited_for() {
        let mut refusals = 4;
        let mut work = || match refusals {
            0 => Ok("written"),
            _ => {
                refusals -= 1;
                Err(held())
            }
        };
        let passing = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        assert_eq!(retry(Path::new("a"), Duration::from_secs(60), passing, &mut work).unwrap(), "written");
        assert_eq!(refusals, 0);
    }

    #[test]
    fn what_does_not_pass_is_said_with_the_file_and_a_remedy() {
        let error = retry(Path::new("a.png"), Duration::from_millis(20), |_| true, || Err::<(), _>(held()));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("a.png: cannot be written: another program"), "{error}");
        assert!(error.contains("close the program"), "{error}");
        let mut tries = 0;
        let full = || {
            tries += 1;
            Err::<(), _>(io::Error::other("disk full"))
        };
        let error = retry(Path::new("a.png"), Duration::from_secs(60), |_| false, full).unwrap_err();
        assert_eq!((error.to_string().as_str(), tries), ("a.png: disk full", 1));
    }

    /// Opens the file exclusively, as most programs on Windows do, so that it cannot be replaced or extended.
    #[cfg(windows)]
    fn hold(path: &Path) -> File {
        use std::os::windows::fs::OpenOptionsExt;
        const FILE_SHARE_READ: u32 = 1;
        File::options().read(true).share_mode(FILE_SHARE_READ).open(path).unwrap()
    }

    #[cfg(windows)]
    #[test]
    fn a_file_that_is_held_open_is_replaced_as_soon_as_it_is_let_go() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        for write in [write_atomically, append] {
            std::fs::write(&path, b"").unwrap();
            let handle = hold(&path);
            let holder = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(400));
                drop(handle);
            });
            write(&path, b"new").unwrap();
            holder.join().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"new");
        }
    }

    #[cfg(windows)]
    #[test]
    fn a_file_that_stays_open_is_left_as_it_was() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        std::fs::write(&path, b"old").unwrap();
        let _handle = hold(&path);
        let began = Instant::now();
        let error = write_atomically(&path, b"new").unwrap_err().to_string();
        assert!(error.contains("another program has kept it open"), "{error}");
        assert!(began.elapsed() >= PATIENCE);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(temp.path()), ["file"]);
    }
}
