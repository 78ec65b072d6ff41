//! Reads untrusted safetensors files: every tensor and field is checked before it is used.

use crate::error::{Error, Result};
use crate::limits;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

/// Maximum file size in bytes. Golden cases are below 1 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Maximum length of an error message, in characters.
const MAX_MESSAGE_CHARS: usize = 500;

/// An error about the file. Since it may quote the file, control characters are escaped and long text is truncated.
pub(super) fn bad(path: &Path, what: impl std::fmt::Display) -> Error {
    let what = what.to_string();
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    let mut shown: String = what.chars().take(MAX_MESSAGE_CHARS).map(escaped).collect();
    if what.chars().nth(MAX_MESSAGE_CHARS).is_some() {
        shown.push('…');
    }
    Error::format(path, shown)
}

/// Reads a file, up to the maximum size.
pub(super) fn read_limited(path: &Path) -> Result<Vec<u8>> {
    limits::read(path, MAX_FILE_BYTES, "a golden case")
}

/// The tensors of a file.
pub(super) struct Tensors<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl<'a> Tensors<'a> {
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|what| bad(path, format!("not a complete safetensors file ({what}); copy or create it again")))?;
        Ok(Tensors { path, tensors })
    }

    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.values(name, Dtype::F32, shape, f32::from_le_bytes)?;
        self.finite(name, values.iter().map(|&x| f64::from(x)))?;
        Ok(values)
    }

    pub fn f64(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
        let values = self.values(name, Dtype::F64, shape, f64::from_le_bytes)?;
        self.finite(name, values.iter().copied())?;
        Ok(values)
    }

    /// A single number, stored as an f64 tensor [1].
    pub fn scalar(&self, name: &str) -> Result<f64> {
        Ok(self.f64(name, &[1])?[0])
    }

    pub fn i64(&self, name: &str, shape: &[usize]) -> Result<Vec<i64>> {
        self.values(name, Dtype::I64, shape, i64::from_le_bytes)
    }

    /// A u8 tensor of zeros and ones.
    pub fn flags(&self, name: &str, shape: &[usize]) -> Result<Vec<bool>> {
        let bytes = self.values(name, Dtype::U8, shape, |[byte]: [u8; 1]| byte)?;
        match bytes.iter().position(|&byte| byte > 1) {
            Some(at) => Err(self.wrong(name, format!("value {} at {at}, expected 0 or 1", bytes[at]))),
            None => Ok(bytes.into_iter().map(|byte| byte == 1).collect()),
        }
    }

    /// An error about tensor `name`.
    pub fn wrong(&self, name: &str, what: String) -> Error {
        bad(self.path, format!("tensor `{name}`: {what}"))
    }

    fn finite(&self, name: &str, mut values: impl Iterator<Item = f64>) -> Result<()> {
        match values.position(|x| !x.is_finite()) {
            Some(at) => Err(self.wrong(name, format!("value at {at} is NaN or infinite, expected a finite number"))),
            None => Ok(()),
        }
    }

    fn values<T, const SIZE: usize>(
        &self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        decode: impl Fn([u8; SIZE]) -> T,
    ) -> Result<Vec<T>> {
        let view = self.tensors.tensor(name).map_err(|_| self.wrong(name, "missing".into()))?;
        if view.dtype() != dtype {
            return Err(self.wrong(name, format!("type {}, expected {dtype}", view.dtype())));
        }
        if view.shape() != shape {
            return Err(self.wrong(name, format!("shape {:?}, expected {shape:?} from the config", view.shape())));
        }
        let (chunks, _) = view.data().as_chunks::<SIZE>();
        Ok(chunks.iter().map(|&bytes| decode(bytes)).collect())
    }
}

/// The fields of a JSON object; errors name the file and the field.
pub(super) struct Fields<'a> {
    path: &'a Path,
    /// Prefix of field names in errors: `layers[1].`.
    prefix: String,
    map: Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The metadata entry `config` of the file.
    pub fn config(path: &'a Path, bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes)
            .map_err(|what| bad(path, format!("not a complete safetensors file ({what})")))?;
        let config = header.metadata().as_ref().and_then(|entries| entries.get("config"));
        let Some(config) = config else {
            return Err(bad(path, "no metadata entry `config`: not a golden case"));
        };
        let map = serde_json::from_str(config)
            .map_err(|what| bad(path, format!("metadata entry `config` is not a JSON object: {what}")))?;
        Ok(Fields { path, prefix: String::new(), map })
    }

    /// The entries of the list `name`, each an object.
    pub fn list(&self, name: &str) -> Result<Vec<Fields<'a>>> {
        let list: Vec<Map<String, Value>> = self.get(name)?;
        let prefix = |k| format!("{}{name}[{k}].", self.prefix);
        Ok(list.into_iter().enumerate().map(|(k, map)| Fields { path: self.path, prefix: prefix(k), map }).collect())
    }

    /// The object `name`.
    pub fn object(&self, name: &str) -> Result<Fields<'a>> {
        let map: Map<String, Value> = self.get(name)?;
        Ok(Fields { path: self.path, prefix: format!("{}{name}.", self.prefix), map })
    }

    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = self.map.get(name).ok_or_else(|| self.wrong(name, "missing"))?;
        serde_json::from_value(value.clone()).map_err(|what| self.wrong(name, what))
    }

    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A short text without line breaks.
    pub fn text(&self, name: &str) -> Result<String> {
        let text: String = self.get(name)?;
        match text.is_empty() || text.len() > 500 || text.contains(char::is_control) {
            true => Err(self.wrong(name, "expected 1 to 500 bytes of text without control characters")),
            false => Ok(text),
        }
    }

    /// Refuses unknown fields, since they may change the meaning of the case.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.wrong(&format!("{key:?}"), format!("unknown, expected one of {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// An error about field `name`.
    pub fn wrong(&self, name: &str, what: impl std::fmt::Display) -> Error {
        bad(self.path, format!("config field `{}{name}`: {what}", self.prefix))
    }
}
