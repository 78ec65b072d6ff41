//! The library's one error type. Messages name the file or value and the remedy; what they quote of a file is harmless to
//! a terminal.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// Longest text of an error that is about a file, characters.
const MOST_CHARS: usize = 4000;

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
    /// A field of a description, or an argument, with a value that cannot work.
    #[error("{field} = {value}: must be {want}")]
    Field {
        /// Its name, with what it is part of: `hidden[0].tau_ms`, `network.hidden[0].tau_ms` in a run's configuration.
        field: String,
        /// The value as text.
        value: String,
        /// What it must be: `a positive number`.
        want: String,
    },
    /// Fields or arguments that cannot work together, and whatever else of a configuration cannot work.
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

    /// An [`Error::Field`].
    pub fn field(field: impl Into<String>, value: impl fmt::Display, want: impl Into<String>) -> Self {
        Error::Field { field: field.into(), value: value.to_string(), want: want.into() }
    }

    /// The error of a part as that of the whole, which calls the part `name`: its fields and messages begin with it.
    pub(crate) fn within(self, name: &str) -> Self {
        match self {
            Error::Field { field, value, want } => Error::Field { field: format!("{name}.{field}"), value, want },
            Error::Config(what) => Error::Config(format!("{name}.{what}")),
            other => other,
        }
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

/// A stranger's words as they may be shown: control characters, which terminals obey, are escaped, all but the end of a
/// line; long texts are cut.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n';
    if !text.contains(bad) && text.len() <= MOST_CHARS {
        return text.into();
    }
    let mut shown = String::new();
    for c in text.chars().take(MOST_CHARS) {
        match bad(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if text.chars().nth(MOST_CHARS).is_some() {
        shown.push('…');
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_by_the_whole() {
        let error = Error::field("tau_ms", 0.0, "positive").within("hidden[0]").within("network");
        assert_eq!(error.to_string(), "network.hidden[0].tau_ms = 0: must be positive");
        assert!(matches!(error, Error::Field { field, .. } if field == "network.hidden[0].tau_ms"));
        let error = Error::Config("hidden has 99 layers".into()).within("network");
        assert_eq!(error.to_string(), "network.hidden has 99 layers");
    }

    #[test]
    fn what_terminals_obey_is_escaped() {
        assert_eq!(harmless("τ = 1\n^"), "τ = 1\n^");
        assert_eq!(harmless("a\u{1b}[2Jb\r"), "a\\u{1b}[2Jb\\r");
        assert_eq!(harmless(&"x".repeat(1 << 20)).chars().count(), MOST_CHARS + 1);
    }
}
