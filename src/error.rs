//! The library's one error type. Messages name the file or value and the remedy; what they quote of a file is harmless to
//! a terminal.

use crate::limits::harmless;
use std::path::{Path, PathBuf};

/// Result with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", shown(path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file was read but does not hold what its format demands.
    #[error("{}: {what}", shown(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, and what to do about it.
        what: String,
    },
    /// A network, configuration or argument that cannot work.
    #[error("{0}")]
    Config(String),
    /// Data that does not fit the network it was given to.
    #[error("{0}")]
    Data(String),
    /// Something this version does not support.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The device refused, or did not answer.
    #[error("device: {0}")]
    Device(String),
    /// The device was lost, and with it all that was on it; [`Engine::reopen`](crate::engine::Engine::reopen) makes it
    /// anew.
    #[error("device: {0}")]
    DeviceLost(String),
    /// A number became NaN or infinite.
    #[error("{0}")]
    NotFinite(String),
    /// The work was told to end; what is finished is kept.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] about `path`; for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// An [`Error::Format`] about `path`.
    pub fn format(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Error::Format { path: path.into(), what: harmless(&what.into()).into_owned() }
    }
}

/// A path for people: it may be a stranger's, as the `data` of a configuration is.
pub(crate) fn shown(path: &Path) -> String {
    harmless(&path.to_string_lossy()).into_owned()
}
