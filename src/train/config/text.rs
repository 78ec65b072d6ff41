//! Configurations as TOML: reading, writing, merging and comparing.

use super::RunConfig;
use super::explain::explain;
use super::read::{self, FieldName, Mistake};
use crate::error::{Error, Result};
use crate::limits;
use crate::network::{MAX_LAYERS, Network, Readout};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use toml::{Table, Value};

/// Maximum size of a configuration file in bytes: a thousand times that of a complete one.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the text of a configuration file as a TOML table.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] if the file is too long or not text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    limits::read_text(path, MAX_BYTES, "a configuration")
}

impl RunConfig {
    /// Reads a complete configuration, as written by [`to_toml`](Self::to_toml).
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] naming the file, the field and its value.
    pub fn load_whole(path: &Path) -> Result<Self> {
        Self::from_toml(&read_text(path)?).map_err(|e| Error::format(path, e.to_string()))
    }

    /// [`load_whole`](Self::load_whole) from text.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Field`] naming the field and its value.
    pub fn from_toml(text: &str) -> Result<Self> {
        let given: Table = toml::from_str(text).map_err(|e| Error::Config(e.to_string().trim_end().into()))?;
        let config = Self::understood(given).map_err(Error::Config)?;
        config.check()?;
        Ok(config)
    }

    /// The configuration of a file: `given` alone if it is complete, otherwise with missing fields from `base`.
    ///
    /// # Errors
    /// An invalid field and its value.
    pub(crate) fn laid_over(base: &RunConfig, given: Table) -> Result<Self, String> {
        // A complete configuration does not depend on the preset, which may have changed since it was written. Options
        // that it does not have, since it was written by an earlier version, are off.
        let merged = match read::read::<RunConfig>(&given) {
            Ok(_) => given,
            Err(_) => {
                few_layers(&given)?;
                let mut merged = to_table(base).map_err(|e| e.to_string())?;
                merge(&mut merged, given);
                merged
            }
        };
        Self::understood(merged)
    }

    /// The configuration of a complete file.
    ///
    /// # Errors
    /// A missing or invalid field and its value.
    pub(crate) fn understood(table: Table) -> Result<Self, String> {
        Self::read(&table).map_err(|mistake| explain(mistake, &table).to_string())
    }

    /// [`understood`](Self::understood) with the bare mistake.
    pub(super) fn read(table: &Table) -> Result<Self, Mistake> {
        let config: RunConfig = read::read(table)?;
        // Serde ignores unknown fields of tagged enums without fields, which would hide typos.
        let understood = to_table(&config).map_err(|e| Mistake::other(e.to_string()))?;
        let given = differences(&Value::Table(table.clone()), &Value::Table(understood.clone()));
        let ignored = given.into_iter().find(|difference| difference.right.is_none());
        match ignored.map(|ignored| FieldName::parse(&ignored.field).map_err(|_| ignored.field)) {
            None => Ok(config),
            Some(Ok(field)) => Err(Mistake::unknown(&field, &understood)),
            // A name in quotes.
            Some(Err(field)) => Err(Mistake::other(format!("{field} is not a field; remove it"))),
        }
    }

    /// The complete configuration as TOML. Reading it gives exactly the same configuration.
    ///
    /// # Errors
    /// [`Error::Config`] if the path `data` is not Unicode, which TOML requires.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))
    }

    /// The fields in which `other` differs, with both values.
    ///
    /// # Errors
    /// As [`RunConfig::to_toml`].
    pub fn differences(&self, other: &RunConfig) -> Result<Vec<Difference>> {
        Ok(differences(&Value::Table(to_table(self)?), &Value::Table(to_table(other)?)))
    }

    /// All fields that are set, by the names of [`Difference`], with their values: `network.hidden[0].neurons`.
    ///
    /// # Errors
    /// As [`RunConfig::to_toml`].
    pub fn fields(&self) -> Result<Vec<(String, Value)>> {
        fn walk(field: String, value: Value, out: &mut Vec<(String, Value)>) {
            match value {
                Value::Table(table) => table.into_iter().for_each(|(key, value)| walk(below(&field, &key), value, out)),
                Value::Array(values) if values.iter().any(Value::is_table) => {
                    values.into_iter().enumerate().for_each(|(k, value)| walk(entry(&field, k), value, out));
                }
                value => out.push((field, value)),
            }
        }
        let mut out = Vec::new();
        walk(String::new(), Value::Table(to_table(self)?), &mut out);
        Ok(out)
    }
}

/// The name of a field of a table.
fn below(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_string() } else { format!("{table}.{key}") }
}

/// The name of an entry of a list.
fn entry(list: &str, k: usize) -> String {
    format!("{list}[{k}]")
}

/// A field in which two configurations differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The field: `network.hidden[0].neurons`.
    pub field: String,
    /// Its value in the first configuration; `None` if it is not set.
    pub left: Option<Value>,
    /// Its value in the second configuration.
    pub right: Option<Value>,
}

impl fmt::Display for Difference {
    /// `field: first, second`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {}", self.field, shown(&self.left), shown(&self.right))
    }
}

fn shown(value: &Option<Value>) -> String {
    value.as_ref().map_or("not set".into(), Value::to_string)
}

/// The fields in which two networks differ, with both values.
///
/// # Errors
/// None in practice, since networks consist of numbers and names.
pub fn network_differences(left: &Network, right: &Network) -> Result<Vec<Difference>> {
    Ok(differences(&Value::Table(to_table(left)?), &Value::Table(to_table(right)?)))
}

/// Checks the number of layers before they are created from the preset, since the file may not be trusted.
fn few_layers(given: &Table) -> Result<(), String> {
    let hidden = given.get("network").and_then(|network| network.get("hidden")).and_then(Value::as_array);
    match hidden.map_or(0, Vec::len) {
        0..=MAX_LAYERS => Ok(()),
        n => Err(format!("network.hidden has {n} entries: must be at most {MAX_LAYERS}")),
    }
}

pub(super) fn to_table(value: &impl Serialize) -> Result<Table> {
    Table::try_from(value).map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))
}

/// Overrides `base` with `over`: tables are merged key by key, other values replaced. An array of tables determines the
/// number of entries; each is merged with the base's entry of the same index, or with its last one. If a table becomes
/// another variant of a tagged enum, only the fields common to both kinds of readout are kept.
pub(super) fn merge(base: &mut Table, over: Table) {
    if is_other_kind(base, &over) {
        base.retain(|field, _| Readout::COMMON_FIELDS.contains(&field));
        base.extend(over);
        return;
    }
    for (key, value) in over {
        let merged = match (base.remove(&key), value) {
            (Some(Value::Table(mut below)), Value::Table(above)) => {
                merge(&mut below, above);
                Value::Table(below)
            }
            (Some(Value::Array(below)), Value::Array(above)) => Value::Array(merge_entries(&below, above)),
            (_, value) => value,
        };
        base.insert(key, merged);
    }
}

fn merge_entries(below: &[Value], above: Vec<Value>) -> Vec<Value> {
    let entry = |(k, value)| match (below.get(k).or(below.last()), value) {
        (Some(Value::Table(base)), Value::Table(over)) => {
            let mut base = base.clone();
            merge(&mut base, over);
            Value::Table(base)
        }
        (_, value) => value,
    };
    above.into_iter().enumerate().map(entry).collect()
}

/// Whether a table makes another variant of a tagged enum of `below`.
fn is_other_kind(below: &Table, above: &Table) -> bool {
    matches!((below.get("kind"), above.get("kind")), (Some(below), Some(above)) if below != above)
}

fn differences(left: &Value, right: &Value) -> Vec<Difference> {
    fn walk(field: String, left: Option<&Value>, right: Option<&Value>, out: &mut Vec<Difference>) {
        match (left, right) {
            (Some(Value::Table(l)), Some(Value::Table(r))) => {
                let mut keys: Vec<&String> = l.keys().chain(r.keys().filter(|key| !l.contains_key(*key))).collect();
                keys.sort();
                for key in keys {
                    walk(below(&field, key), l.get(key), r.get(key), out);
                }
            }
            (Some(Value::Array(l)), Some(Value::Array(r))) => {
                for k in 0..l.len().max(r.len()) {
                    walk(entry(&field, k), l.get(k), r.get(k), out);
                }
            }
            // A file may say 10 where the configuration says 10.0.
            (Some(&Value::Integer(l)), Some(&Value::Float(r))) if l as f64 == r => {}
            _ if left != right => out.push(Difference { field, left: left.cloned(), right: right.cloned() }),
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(String::new(), Some(left), Some(right), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use crate::presets;

    #[test]
    fn differences_name_the_field_and_both_values() {
        let a = presets::ours("fmnist").unwrap();
        let mut b = a.clone();
        assert!(a.differences(&b).unwrap().is_empty());
        b.batch = 7;
        b.limit = Some(3);
        b.network.hidden[1].neurons = 9;
        let texts: Vec<String> = a.differences(&b).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["batch: 256, 7", "limit: not set, 3", "network.hidden[1].neurons: 200, 9"]);
        let fields = b.fields().unwrap();
        for difference in a.differences(&b).unwrap() {
            let named = fields.iter().find(|(name, _)| *name == difference.field);
            assert_eq!(named.map(|(_, value)| value), difference.right.as_ref(), "{}", difference.field);
        }
    }
}
