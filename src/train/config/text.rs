//! Configurations as TOML: reading, writing, overriding and comparing.

use super::RunConfig;
use crate::error::{Error, Result};
use crate::limits;
use crate::network::{MAX_LAYERS, Network, Readout};
use serde::Serialize;
use serde::de::DeserializeOwned;
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
        let merged = match from_table::<RunConfig>(given.clone()) {
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

    /// Sets a field with TOML syntax: `adam.weight_decay=0.01`, `network.readout.logits=sum`,
    /// `network.hidden[0].tau_ms=20`, `network.hidden=[{tau_ms=5},{tau_ms=20}]`. Does not call [`RunConfig::check`].
    ///
    /// # Errors
    /// [`Error::Config`] for invalid syntax, an unknown field, or a value of the wrong type.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let bad = |what: String| Error::Config(format!("`{assignment}`: {what}"));
        let Some((field, value)) = assignment.split_once('=') else {
            return Err(bad("must be FIELD=VALUE, for example adam.weight_decay=0.01".into()));
        };
        let mut merged = to_table(self)?;
        let (table, field) = entry_of(&mut merged, field.trim()).map_err(bad)?;
        // Strings do not require quotes.
        let given: Table = toml::from_str(&format!("{field} = {value}"))
            .or_else(|_| toml::from_str(&format!("{field} = {}", Value::from(value.trim()))))
            .map_err(|e: toml::de::Error| bad(e.message().into()))?;
        merge(table, given);
        *self = Self::understood(merged).map_err(bad)?;
        Ok(())
    }

    /// The configuration of a complete file.
    ///
    /// # Errors
    /// A missing or invalid field and its value.
    pub(crate) fn understood(table: Table) -> Result<Self, String> {
        let config: RunConfig = from_table(table.clone())?;
        // Serde ignores unknown fields of tagged enums, which would hide typos.
        let understood = Value::Table(to_table(&config).map_err(|e| e.to_string())?);
        match differences(&Value::Table(table), &understood).iter().find(|d| d.right.is_none()) {
            Some(ignored) => Err(format!("{} is not a valid field here; remove it", ignored.left_side())),
            None => Ok(config),
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

impl Difference {
    /// `field = value` in the first configuration.
    fn left_side(&self) -> String {
        format!("{} = {}", self.field, shown(&self.left))
    }
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

/// Follows the indexed part of a field's name, such as `network.hidden[1]` of `network.hidden[1].tau_ms`, to the table that
/// it names. Returns that table and the rest of the name.
fn entry_of<'a>(mut table: &'a mut Table, mut field: &'a str) -> Result<(&'a mut Table, &'a str), String> {
    while let Some((array, rest)) = field.split_once('[') {
        let Some((index, rest)) = rest.split_once("].") else {
            return Err("an index must be followed by a field, for example network.hidden[0].tau_ms=20".into());
        };
        let mut names: Vec<&str> = array.split('.').collect();
        let name = names.pop().unwrap_or_default();
        for parent in names {
            let below = table.get_mut(parent).and_then(Value::as_table_mut);
            table = below.ok_or_else(|| format!("there is no section `{parent}`"))?;
        }
        let entries = table.get_mut(name).and_then(Value::as_array_mut);
        let entries = entries.ok_or_else(|| format!("`{array}` is not a list"))?;
        let n = entries.len();
        if n == 0 {
            return Err(format!("`{array}` has no entries"));
        }
        let entry = index.parse().ok().and_then(|k: usize| entries.get_mut(k)).and_then(Value::as_table_mut);
        table = entry.ok_or_else(|| format!("`{array}` has the entries 0 to {}", n - 1))?;
        field = rest;
    }
    Ok((table, field))
}

/// Checks the number of layers before they are created from the preset, since the file may not be trusted.
fn few_layers(given: &Table) -> Result<(), String> {
    let hidden = given.get("network").and_then(|network| network.get("hidden")).and_then(Value::as_array);
    match hidden.map_or(0, Vec::len) {
        0..=MAX_LAYERS => Ok(()),
        n => Err(format!("network.hidden has {n} entries: must be at most {MAX_LAYERS}")),
    }
}

fn to_table(value: &impl Serialize) -> Result<Table> {
    Table::try_from(value).map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))
}

fn from_table<T: DeserializeOwned>(table: Table) -> Result<T, String> {
    table.try_into().map_err(|e: toml::de::Error| e.to_string().trim_end().replace('\n', " "))
}

/// Overrides `base` with `over`: tables are merged key by key, other values replaced. An array of tables determines the
/// number of entries; each is merged with the base's entry of the same index, or with its last one. If a table becomes
/// another variant of a tagged enum, only the fields common to both kinds of readout are kept.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        let merged = match (base.remove(&key), value) {
            (Some(Value::Table(mut below)), Value::Table(above)) if same_kind(&below, &above) => {
                merge(&mut below, above);
                Value::Table(below)
            }
            (Some(Value::Table(mut below)), Value::Table(above)) => {
                below.retain(|field, _| Readout::COMMON_FIELDS.contains(&field));
                below.extend(above);
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

/// Whether two tables are the same variant of a tagged enum, or not a tagged enum.
fn same_kind(below: &Table, above: &Table) -> bool {
    above.get("kind").is_none_or(|kind| below.get("kind") == Some(kind))
}

fn differences(left: &Value, right: &Value) -> Vec<Difference> {
    fn walk(field: String, left: Option<&Value>, right: Option<&Value>, out: &mut Vec<Difference>) {
        match (left, right) {
            (Some(Value::Table(l)), Some(Value::Table(r))) => {
                let dot = if field.is_empty() { "" } else { "." };
                let mut keys: Vec<&String> = l.keys().chain(r.keys().filter(|key| !l.contains_key(*key))).collect();
                keys.sort();
                for key in keys {
                    walk(format!("{field}{dot}{key}"), l.get(key), r.get(key), out);
                }
            }
            (Some(Value::Array(l)), Some(Value::Array(r))) => {
                for k in 0..l.len().max(r.len()) {
                    walk(format!("{field}[{k}]"), l.get(k), r.get(k), out);
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
    use crate::network::{Initialisation, Logits, Readout};
    use crate::presets;
    use crate::train::LearningRate;

    #[test]
    fn one_field_is_set_as_a_file_would() {
        let mut config = presets::ours("fmnist").unwrap();
        for assignment in [
            "adam.weight_decay=0.02",
            "network.readout.logits = max",
            "network.hidden=[{tau_ms=5},{tau_ms=20},{}]",
            "augment.flip=true",
            "network.hidden[1].b_th = 0.4",
            "network.hidden[2].init={kind='uniform',scale=2}",
            "schedule={kind='cosine',final_fraction=0.25}",
        ] {
            config.set(assignment).unwrap();
        }
        assert_eq!((config.adam.weight_decay, config.augment.flip), (0.02, true));
        assert_eq!(config.network.integrator().unwrap().logits, Logits::Max);
        assert_eq!(config.network.hidden.iter().map(|l| l.tau_ms).collect::<Vec<_>>(), [5.0, 20.0, 10.0]);
        assert_eq!(config.schedule, LearningRate::Cosine { final_fraction: 0.25 });
        assert_eq!(config.network.hidden.iter().map(|l| l.b_th).collect::<Vec<_>>(), [0.2, 0.4, 0.2]);
        assert_eq!(config.network.hidden[2].init, Initialisation::Uniform { scale: 2.0 });
        config.set("network.readout.kind=spike_count").unwrap();
        assert_eq!((config.network.classes(), config.network.integrator()), (10, None));
        config.set("network.readout.kind=integrator").unwrap();
        assert_eq!(config.network.readout, Readout::max(10).into());
        let before = config.clone();
        for (assignment, part) in [
            ("adam.lr", "FIELD=VALUE"),
            ("adam.lrr=1", "`lrr`"),
            ("adam.lr=fast", "fast"),
            ("schedule.final=1", "schedule.final"),
            ("network.hidden[3].tau_ms=1", "0 to 2"),
            ("network.hidden[x].tau_ms=1", "0 to 2"),
            ("network.hidden[0]=1", "followed by a field"),
            ("network.readout[0].tau_ms=1", "`network.readout` is not a list"),
            ("net.hidden[0].tau_ms=1", "`net`"),
            ("network.hidden[0].tau=1", "`tau`"),
            ("=3", "=3"),
        ] {
            let error = config.set(assignment).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(assignment), "{error}");
        }
        assert_eq!(config, before);
        config.network.hidden.clear();
        let error = config.set("network.hidden[0].tau_ms=1").unwrap_err().to_string();
        assert!(error.ends_with("`network.hidden` has no entries"), "{error}");
    }

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
    }
}
