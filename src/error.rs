//! The library's error type. Messages name the file or value and what to do. Text quoted from files is escaped, so that
//! it cannot control the terminal.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// Maximum length of quoted text, in characters.
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
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file does not conform to its format.
    #[error("{}: {what}", shown(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, and what to do about it.
        what: String,
    },
    /// A field or argument with an invalid value.
    #[error("{field} = {value}: must be {want}")]
    Field {
        /// Its full name: `hidden[0].tau_ms`, or `network.hidden[0].tau_ms` in a run's configuration.
        field: String,
        /// The value as text.
        value: String,
        /// What is valid, e.g. `a positive number`.
        want: String,
    },
    /// Fields or arguments that contradict each other, or any other invalid configuration.
    #[error("{0}")]
    Config(String),
    /// Data that does not fit the network, or is missing.
    #[error("{0}")]
    Data(String),
    /// Something this version does not support.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The device failed or did not respond.
    #[error("device: {0}")]
    Device(String),
    /// The device was lost with all its buffers; [`Engine::reopen`](crate::engine::Engine::reopen) opens it again.
    #[error("device: {0}")]
    DeviceLost(String),
    /// A number became NaN or infinite.
    #[error("{0}")]
    NotFinite(String),
    /// The processes of a run cannot go on together.
    #[error("{0}")]
    Ranks(String),
    /// The work was interrupted; finished parts are kept.
    #[error("interrupted; run the same command again to continue")]
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

    /// Prefixes field names and messages with `name`, the name of the part within the whole.
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

/// A path for display. It may come from an untrusted file, such as the `data` of a configuration.
pub(crate) fn shown(path: &Path) -> String {
    harmless(&path.to_string_lossy()).into_owned()
}

/// Makes untrusted text safe to display: escapes control characters other than newlines and truncates long text.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n';
    if !text.contains(bad) && text.len() <= MOST_CHARS {
        return text.into();
    }
    escaped(text, bad, MOST_CHARS).into()
}

/// At most the first `most` characters, those that are `bad` escaped.
fn escaped(text: &str, bad: impl Fn(char) -> bool, most: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(most) {
        match bad(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// Maximum number of characters of a name in tables and messages.
const MOST_OF_NAME: usize = 40;

/// A name from untrusted data for tables, messages and figures: on one line, with control characters and line breaks escaped,
/// truncated if long; `None` if it is empty or blank.
pub(crate) fn short_name(name: &str) -> Option<String> {
    let bad = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let name = name.trim();
    (!name.is_empty()).then(|| escaped(name, bad, MOST_OF_NAME))
}

/// `; did you mean `shd`?` for the end of a message if some of `names` are like `word`, else nothing.
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    did_you_mean_one_of(&alike(word, names))
}

/// `; did you mean `shd`?` for the end of a message, or nothing without names.
pub(crate) fn did_you_mean_one_of(names: &[impl fmt::Display]) -> String {
    match names {
        [] => String::new(),
        names => format!("; did you mean {}?", list(names, "or")),
    }
}

/// `` `a`, `b` or `c` `` with the conjunction `or`.
pub(crate) fn list(names: &[impl fmt::Display], conjunction: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {conjunction} {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Those of `names` that `word` may be a misspelling of, whatever the case of its letters.
#[cfg(feature = "files")]
pub(crate) fn alike<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    /// Least similarity, of 0 to 1, of a name worth mentioning.
    const LIKE: f64 = 0.7;
    /// How much less similar than the most similar name others may be.
    const NEAR: f64 = 0.08;
    // No typo, and the comparison takes memory.
    if word.len() > 100 {
        return Vec::new();
    }
    let word = word.to_lowercase();
    let rated: Vec<(f64, &str)> = names.into_iter().map(|name| (strsim::jaro(&word, name), name)).collect();
    let least = rated.iter().fold(LIKE + NEAR, |most, (likeness, _)| likeness.max(most)) - NEAR;
    rated.into_iter().filter(|(likeness, _)| *likeness > least).map(|(_, name)| name).collect()
}

/// None: without the features that read files, no names are compared.
#[cfg(not(feature = "files"))]
pub(crate) fn alike<'a>(_word: &str, _names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    Vec::new()
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

    #[cfg(feature = "files")]
    #[test]
    fn a_misspelt_name_is_recognised() {
        let names = ["fmnist", "fmnist-conv", "nmnist", "shd"];
        assert_eq!(did_you_mean("fmnst", names), "; did you mean `fmnist`?");
        assert_eq!(did_you_mean("mnist", names), "; did you mean `fmnist` or `nmnist`?");
        assert_eq!(did_you_mean("SHD", names), "; did you mean `shd`?");
        assert_eq!([did_you_mean("cifar", names), did_you_mean("", names)], ["", ""]);
    }

    #[test]
    fn names_are_listed() {
        let none: [&str; 0] = [];
        assert_eq!(list(&none, "or"), "");
        assert_eq!([list(&["a"], "or"), list(&["a", "b", "c"], "and")], ["`a`", "`a`, `b` and `c`"]);
    }

    #[test]
    fn what_terminals_obey_is_escaped() {
        assert_eq!(harmless("τ = 1\n^"), "τ = 1\n^");
        assert_eq!(short_name(" τ = 1\n^\u{1b}\u{2028}. ").unwrap(), "τ = 1\\n^\\u{1b}\\u{2028}.");
        assert_eq!(short_name(&"żó ".repeat(100)).unwrap().chars().count(), MOST_OF_NAME + 1);
        assert_eq!((short_name(""), short_name(" \n\t")), (None, None));
        assert_eq!(harmless("a\u{1b}[2Jb\r"), "a\\u{1b}[2Jb\\r");
        assert_eq!(harmless(&"x".repeat(1 << 20)).chars().count(), MOST_CHARS + 1);
    }
}
