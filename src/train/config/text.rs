//! A configuration as TOML: written in full beside a run's results, laid over another one, compared.

use super::RunConfig;
use crate::error::{Error, Result};
use crate::limits;
use crate::network::{MAX_LAYERS, Network, Readout};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::Path;
use toml::{Table, Value};

/// Most bytes of a configuration file: a thousand times what one has that says everything.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the text of a configuration file as a TOML table.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a file that is too long or no text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    limits::read_text(path, MAX_BYTES, "a configuration")
}

impl RunConfig {
    /// Reads a configuration that says everything, as [`to_toml`](Self::to_toml) wrote it.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] naming the file, the field and its value.
    pub fn load_whole(path: &Path) -> Result<Self> {
        let format = |what: String| Error::format(path, what);
        let given: Table = toml::from_str(&read_text(path)?).map_err(|e| format(e.to_string().trim_end().into()))?;
        let config = Self::understood(given).map_err(format)?;
        config.check().map_err(|e| format(e.to_string()))?;
        Ok(config)
    }

    /// The configuration that a file gives: `given` alone where it says everything, else laid over `base`.
    ///
    /// # Errors
    /// The field and its value.
    pub(crate) fn laid_over(base: &RunConfig, given: Table) -> Result<Self, String> {
        // A whole configuration stands for itself, whatever the preset has become since it was written: an option that
        // it does not know yet is off.
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

    /// Sets a field as a TOML file would: `adam.weight_decay=0.01`, `network.readout.logits=sum`,
    /// `network.hidden=[{tau_ms=5},{tau_ms=20}]`. Whether the configuration can work then is [`RunConfig::check`]'s to say.
    ///
    /// # Errors
    /// [`Error::Config`] for what is no assignment, names no field, or is no value of it.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let bad = |what: String| Error::Config(format!("`{assignment}`: {what}"));
        let Some((field, value)) = assignment.split_once('=') else {
            return Err(bad("must be FIELD=VALUE, for example adam.weight_decay=0.01".into()));
        };
        // Words need no quotes.
        let given: Table = toml::from_str(assignment)
            .or_else(|_| toml::from_str(&format!("{field} = {}", Value::from(value.trim()))))
            .map_err(|e: toml::de::Error| bad(e.message().into()))?;
        let mut merged = to_table(self)?;
        merge(&mut merged, given);
        *self = Self::understood(merged).map_err(bad)?;
        Ok(())
    }

    fn understood(table: Table) -> Result<Self, String> {
        let config: RunConfig = from_table(table.clone())?;
        // Tagged enums of serde drop what they do not know; a typo must not be taken silently.
        let understood = Value::Table(to_table(&config).map_err(|e| e.to_string())?);
        match differences(&Value::Table(table), &understood).iter().find(|d| d.right.is_none()) {
            Some(ignored) => Err(format!("{} has no meaning here; remove it", ignored.left_side())),
            None => Ok(config),
        }
    }

    /// The whole configuration as TOML. Reading it gives the same configuration, to the last bit of every number.
    ///
    /// # Errors
    /// [`Error::Config`] for what TOML cannot hold: a `data` path that is no Unicode.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))
    }

    /// The fields in which `other` is not the same, with both values.
    ///
    /// # Errors
    /// Those of [`RunConfig::to_toml`].
    pub fn differences(&self, other: &RunConfig) -> Result<Vec<Difference>> {
        Ok(differences(&Value::Table(to_table(self)?), &Value::Table(to_table(other)?)))
    }
}

/// A field in which two configurations differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The field: `network.hidden[0].neurons`.
    pub field: String,
    /// Its value in the first; `None` where it is not set.
    pub left: Option<Value>,
    /// Its value in the second.
    pub right: Option<Value>,
}

impl Difference {
    /// `field = value` of the first.
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
/// None in practice: a network is numbers and names.
pub fn network_differences(left: &Network, right: &Network) -> Result<Vec<Difference>> {
    Ok(differences(&Value::Table(to_table(left)?), &Value::Table(to_table(right)?)))
}

/// Each entry that a file gives takes a whole layer of the preset: counted before they are made.
fn few_layers(given: &Table) -> Result<(), String> {
    let hidden = given.get("network").and_then(|network| network.get("hidden")).and_then(Value::as_array);
    match hidden.map_or(0, Vec::len) {
        0..=MAX_LAYERS => Ok(()),
        n => Err(format!("network.hidden has {n} entries: must be {MAX_LAYERS} at most")),
    }
}

fn to_table(value: &impl Serialize) -> Result<Table> {
    Table::try_from(value).map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))
}

fn from_table<T: DeserializeOwned>(table: Table) -> Result<T, String> {
    table.try_into().map_err(|e: toml::de::Error| e.to_string().trim_end().replace('\n', " "))
}

/// Lays `over` on `base`: tables key by key, everything else replaces. An array of tables decides the number of
/// entries; each is laid on the base's entry of that index, or its last one. Where a table becomes another variant of a tagged
/// enum, only the fields remain that both kinds of readout have.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        let merged = match (base.remove(&key), value) {
            (Some(Value::Table(mut below)), Value::Table(above)) if same_kind(&below, &above) => {
                merge(&mut below, above);
                Value::Table(below)
            }
            (Some(Value::Table(mut below)), Value::Table(above)) => {
                below.retain(|field, _| Readout::COMMON_FIELDS.iter().any(|common| *common == field));
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

/// Whether two tables are the same variant of a tagged enum, or no enum.
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
    use crate::network::{Logits, Readout};
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
            "schedule={kind='cosine',final_fraction=0.25}",
        ] {
            config.set(assignment).unwrap();
        }
        assert_eq!((config.adam.weight_decay, config.augment.flip), (0.02, true));
        assert_eq!(config.network.integrator().unwrap().logits, Logits::Max);
        assert_eq!(config.network.hidden.iter().map(|l| l.tau_ms).collect::<Vec<_>>(), [5.0, 20.0, 10.0]);
        assert_eq!(config.schedule, LearningRate::Cosine { final_fraction: 0.25 });
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
            ("=3", "=3"),
        ] {
            let error = config.set(assignment).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(assignment), "{error}");
        }
        assert_eq!(config, before);
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
