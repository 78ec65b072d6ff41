//! Storage of finished points, one line of JSON per point, from which a later call continues.

use crate::error::{Error, Result};
use crate::files::{append, write_atomically};
use crate::limits;
use crate::train::lock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::path::{Path, PathBuf};

/// File name of the finished points.
pub const POINTS_FILE: &str = "points.jsonl";

/// Maximum file size in bytes: a thousand times that of all figures.
const MAX_BYTES: u64 = 64 << 20;

/// Points by their keys.
pub type Points = BTreeMap<String, Value>;

/// The finished points of a folder, shared by all figures.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    points: Points,
    _lock: File,
}

impl Store {
    /// Reads the points in `folder`, which is created if missing. An incomplete last line, left by a killed process, is
    /// dropped.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] if another process is writing to the folder; [`Error::Format`] naming an invalid
    /// line.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let lock = lock(folder)?;
        let path = folder.join(POINTS_FILE);
        limits::refuse_link(&path)?;
        let (points, torn) = read(&path)?;
        if let Some(whole) = torn {
            write_atomically(&path, &whole)?;
        }
        Ok(Store { path, points, _lock: lock })
    }

    /// Adds the [`points`] of another folder that this one does not have.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unite(&mut self, points: Points) -> Result<()> {
        let mut lines = String::new();
        for (key, value) in points {
            if let Entry::Vacant(place) = self.points.entry(key) {
                lines.push_str(&line(place.key(), &value));
                place.insert(value);
            }
        }
        append(&self.path, lines.as_bytes())
    }

    /// The point with this `key`, if it is finished.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        self.points.get(&key.to_string())
    }

    /// Stores a point, syncs it to disk, and returns it as a later call will read it, so that a figure does not depend on
    /// whether its points are new. Keys must not have fractions, which JSON may round.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put(&mut self, key: &Value, value: Value) -> Result<Value> {
        // A complete line in one write; the next call drops an incomplete one.
        append(&self.path, line(&key.to_string(), &value).as_bytes())?;
        let kept: Value =
            serde_json::from_str(&value.to_string()).map_err(|e| Error::format(&self.path, e.to_string()))?;
        self.points.insert(key.to_string(), kept.clone());
        Ok(kept)
    }
}

/// The points in `folder`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] naming an invalid line.
pub fn points(folder: &Path) -> Result<Points> {
    Ok(read(&folder.join(POINTS_FILE))?.0)
}

/// The line of a point.
fn line(key: &str, value: &Value) -> String {
    format!("[{key},{value}]\n")
}

/// The points in the file, none if it does not exist, and its whole lines if the last line is incomplete.
fn read(path: &Path) -> Result<(Points, Option<Vec<u8>>)> {
    let mut points = Points::new();
    if !path.exists() {
        return Ok((points, None));
    }
    let mut bytes = limits::read(path, MAX_BYTES, "the points of figures")?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    for (k, line) in bytes[..whole].split(|&byte| byte == b'\n').enumerate().filter(|(_, l)| !l.is_empty()) {
        let (key, value): (Value, Value) = serde_json::from_slice(line)
            .map_err(|e| Error::format(path, format!("line {} is not a point of a figure ({e}); remove it", k + 1)))?;
        points.insert(key.to_string(), value);
    }
    if whole == 0 && !bytes.is_empty() && !bytes.starts_with(b"[") {
        return Err(Error::format(path, "contains no points of figures; choose another folder with --out"));
    }
    let torn = whole < bytes.len();
    bytes.truncate(whole);
    Ok((points, torn.then_some(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn points_outlive_the_call_and_half_a_line_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let key = json!({"b": 1, "a": [2, "x"]});
        let mut store = Store::open(folder.path()).unwrap();
        assert_eq!(store.get(&key), None);
        store.put(&key, json!(1)).unwrap();
        let path = folder.path().join(POINTS_FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"[{\"a\":");
        std::fs::write(&path, &bytes).unwrap();
        drop(store);
        let mut store = Store::open(folder.path()).unwrap();
        assert_eq!(store.get(&json!({"a": [2, "x"], "b": 1})), Some(&json!(1)));
        store.put(&json!(2), json!({"ms": 0.1})).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.get(&json!(2)), Some(&json!({"ms": 0.1})));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn what_is_no_file_of_points_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(POINTS_FILE);
        std::fs::write(&path, "my notes").unwrap();
        assert!(Store::open(folder.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"my notes");
        #[cfg(unix)]
        {
            let other = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(&path, other.path().join(POINTS_FILE)).unwrap();
            assert!(Store::open(other.path()).unwrap_err().to_string().contains("is a symbolic link"));
        }
    }

    #[test]
    fn two_calls_do_not_write_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::open(folder.path()).unwrap();
        assert!(Store::open(folder.path()).unwrap_err().to_string().contains("another run"));
        drop(first);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn points_of_two_folders_are_united() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut store = Store::open(a.path()).unwrap();
        store.put(&json!(1), json!("a")).unwrap();
        let mut other = Store::open(b.path()).unwrap();
        other.put(&json!(1), json!("b")).unwrap();
        other.put(&json!([2, "x"]), json!({"ms": 0.5})).unwrap();
        store.unite(points(b.path()).unwrap()).unwrap();
        drop(store);
        let store = Store::open(a.path()).unwrap();
        assert_eq!((store.get(&json!(1)), store.get(&json!([2, "x"]))), (Some(&json!("a")), Some(&json!({"ms": 0.5}))));
    }

    #[test]
    fn a_line_that_is_no_point_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(POINTS_FILE), "[1,2]\nhello\n").unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains(POINTS_FILE), "{error}");
    }
}
