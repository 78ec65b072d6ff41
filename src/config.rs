//! What a training run is: read from a preset or a TOML file, written in full beside its results.

use crate::data::Validation;
use crate::data::augment::Augment;
use crate::engine::Method;
use crate::error::{Error, Result};
use crate::gpu::{DeltaScratch, Variant};
use crate::limits;
use crate::network::{MAX_LAYERS, Network};
use crate::optimiser::Adam;
use crate::presets;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Most bytes of a configuration file: a thousand times what one has that says everything.
const MAX_BYTES: u64 = 1 << 20;

/// Everything that decides a training run, and nothing else.
///
/// As TOML, a file gives a preset and only what differs from it:
///
/// ```
/// # use spikegrad::config::RunConfig;
/// let text = r#"
///     preset = "fmnist"
///     epochs = 3
///     [network.readout]
///     tau_ms = 20
///     [[network.hidden]]    # the number of entries is the number of hidden layers
///     neurons = 300         # what an entry leaves out is the preset's
/// "#;
/// let config = RunConfig::from_toml(text, "example.toml".as_ref(), false)?;
/// assert_eq!(config.network.sizes(), [784, 300, 10]);
/// # Ok::<(), spikegrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The preset the run began from; it names the data set.
    pub preset: String,
    /// The folder with the data's files; `None` looks where they are usually installed.
    pub data: Option<PathBuf>,
    /// Train on this many samples only, the first of the set. The test set is always used whole.
    pub limit: Option<usize>,
    /// Leave out recordings that are damaged, counted and listed, instead of refusing the set.
    #[serde(default)]
    pub skip_bad: bool,
    /// `auto`, `cpu`, `gpu` or `gpu:N`.
    pub device: String,
    /// Variant of the gpu device's sparse kernels; `None` lets the device choose. A run keeps what it was
    /// begun with, as a driver may round differently in another.
    pub kernels: Option<Variant>,
    /// Memory of the gpu device for δ, MiB or `whole`; `None` lets the device choose. A run keeps what it was begun with,
    /// as gradients of layers that `auto` computes densely are added up chunk by chunk.
    pub delta_mib: Option<DeltaScratch>,
    /// How the gradient is computed.
    pub method: Method,
    /// Passes over the training set.
    pub epochs: u64,
    /// Samples in a batch. The last one of an epoch holds what is left.
    pub batch: usize,
    /// Decides initial weights, the order of the samples and rescues.
    pub seed: u64,
    /// Seconds of training after which a checkpoint is written within an epoch; 0 writes them after epochs alone. What a
    /// crash, or a GPU that is lost, costs at most. Has no influence on results.
    #[serde(default = "checkpoint_seconds")]
    pub checkpoint_seconds: f64,
    /// Whether a hidden layer without active entries is drawn anew ([`crate::train::rescue`]).
    pub rescue: bool,
    /// Epochs over which the learning rate rises evenly from 0 to what the schedule says; 0 begins with that.
    #[serde(default)]
    pub warmup_epochs: f64,
    /// Spikes of a neuron in a sample, on average, that every hidden layer begins with: its initial weights are
    /// scaled until the first batch gives so many ([`crate::train::calibrate`]). 0 leaves them as they are drawn.
    #[serde(default)]
    pub initial_spikes: f64,
    /// How the learning rate changes from step to step.
    pub schedule: Schedule,
    /// What is done to the samples each time they are trained.
    #[serde(default)]
    pub augment: Augment,
    /// The optimiser.
    pub adam: Adam,
    /// Training samples held out: epochs are measured on them, and the test set is left for `eval`.
    #[serde(default)]
    pub validation: Validation,
    /// The network.
    pub network: Network,
}

/// [`RunConfig::checkpoint_seconds`] where nothing else is said.
pub(crate) fn checkpoint_seconds() -> f64 {
    60.0
}

/// How the learning rate changes from step to step; a factor on [`Adam::lr`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Schedule {
    /// Always 1.
    Constant {},
    /// Half a cosine from 1 at the first step to `final_fraction` after the last one.
    Cosine {
        /// Where it ends, 0 to 1.
        final_fraction: f64,
    },
}

impl Schedule {
    /// The factor on the learning rate at `step` (from 0) of `steps`.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        match *self {
            Schedule::Constant {} => 1.0,
            Schedule::Cosine { final_fraction } => {
                let turn = std::f64::consts::PI * step as f64 / steps as f64;
                final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + turn.cos())
            }
        }
    }
}

impl RunConfig {
    /// The configuration behind what a user names: a preset, or the path of a `.toml` file.
    ///
    /// With `paper`, presets are the paper's exact settings, else ours.
    ///
    /// # Errors
    /// No such preset or file, or a file as in [`RunConfig::load`].
    pub fn resolve(word: &str, paper: bool) -> Result<Self> {
        match word.ends_with(".toml") {
            true => Self::load(Path::new(word), paper),
            false => preset(word, paper),
        }
    }

    /// Reads a TOML file that gives a preset and what differs from it.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] naming the file, the field and its value.
    pub fn load(path: &Path, paper: bool) -> Result<Self> {
        let text = limits::read_text(path, MAX_BYTES, "a configuration")?;
        Self::from_toml(&text, path, paper)
    }

    /// [`RunConfig::load`] of a text; `path` is for the errors.
    ///
    /// # Errors
    /// [`Error::Format`] naming the file, the field and its value.
    pub fn from_toml(text: &str, path: &Path, paper: bool) -> Result<Self> {
        let format = |what: String| Error::format(path, what);
        let given: Table = toml::from_str(text).map_err(|e| format(e.to_string().trim_end().into()))?;
        let name = match given.get("preset") {
            Some(Value::String(name)) => name,
            Some(other) => {
                return Err(format(format!("preset = {other}: must be one of {}", presets::NAMES.join(", "))));
            }
            None => {
                return Err(format(format!("preset is missing; add for example preset = \"{}\"", presets::NAMES[0])));
            }
        };
        let base = preset(name, paper).map_err(|e| format(format!("preset = \"{name}\": {e}")))?;
        // A whole configuration stands for itself, whatever the preset has become since it was written: an option that
        // it does not know yet is off.
        let merged = match from_table::<RunConfig>(given.clone()) {
            Ok(_) => given,
            Err(_) => {
                few_layers(&given).map_err(format)?;
                let mut merged = to_table(&base)?;
                merge(&mut merged, given);
                merged
            }
        };
        let config = Self::understood(merged).map_err(format)?;
        config.check().map_err(|e| format(e.to_string()))?;
        Ok(config)
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

    /// Says which field cannot work.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field, its value and what it must be.
    pub fn check(&self) -> Result<()> {
        let bad = |field: &str, value: &dyn fmt::Display, want: &str| {
            Err(Error::Config(format!("{field} = {value}: must be {want}")))
        };
        if !presets::NAMES.contains(&self.preset.as_str()) {
            return bad("preset", &self.preset, &format!("one of {}", presets::NAMES.join(", ")));
        }
        let number = self.device.strip_prefix("gpu:");
        if !(["auto", "cpu", "gpu"].contains(&self.device.as_str()) || number.is_some_and(|n| n.parse::<u32>().is_ok()))
        {
            return bad("device", &self.device, "auto, cpu, gpu or gpu:N");
        }
        // Beyond any use, and far from where steps and samples could no longer be counted.
        const MOST: u64 = u32::MAX as u64;
        if !(1..=MOST).contains(&self.epochs) {
            return bad("epochs", &self.epochs, "1 to 4294967295");
        }
        if !(1..=MOST).contains(&(self.batch as u64)) {
            return bad("batch", &self.batch, "1 to 4294967295");
        }
        if self.limit == Some(0) {
            return bad("limit", &0, "1 or more; leave it out to train on all samples");
        }
        if self.seed > i64::MAX as u64 {
            return bad("seed", &self.seed, "below 2^63, as TOML holds no larger number");
        }
        if let Schedule::Cosine { final_fraction } = self.schedule
            && !(0.0..=1.0).contains(&final_fraction)
        {
            return bad("schedule.final_fraction", &final_fraction, "0 to 1");
        }
        for (field, value) in [
            ("warmup_epochs", self.warmup_epochs),
            ("initial_spikes", self.initial_spikes),
            ("checkpoint_seconds", self.checkpoint_seconds),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return bad(field, &value, "0 or more");
            }
        }
        self.augment.check(&self.preset)?;
        self.adam.check()?;
        self.validation.check()?;
        self.network.check().map_err(|e| Error::Config(format!("network.{e}")))
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

fn preset(name: &str, paper: bool) -> Result<RunConfig> {
    if paper { presets::paper(name) } else { presets::ours(name) }
}

fn to_table(value: &impl Serialize) -> Result<Table> {
    Table::try_from(value).map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))
}

fn from_table<T: DeserializeOwned>(table: Table) -> Result<T, String> {
    table.try_into().map_err(|e: toml::de::Error| e.to_string().trim_end().replace('\n', " "))
}

/// Lays `over` on `base`: tables key by key, everything else replaces. An array of tables decides the number of
/// entries; each is laid on the base's entry of that index, or its last one.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        let merged = match (base.remove(&key), value) {
            (Some(Value::Table(mut below)), Value::Table(above)) if same_kind(&below, &above) => {
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

/// Whether two tables are the same variant of a tagged enum, or no enum: fields of another variant must not remain.
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
    use super::*;
    use crate::network::{Initialisation, Logits};

    fn read(text: &str) -> Result<RunConfig> {
        RunConfig::from_toml(text, Path::new("run.toml"), false)
    }

    fn refused(text: &str, parts: &[&str]) {
        let error = read(text).expect_err(text);
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        let error = error.to_string();
        for part in parts.iter().chain(&["run.toml"]) {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }

    #[test]
    fn a_file_changes_only_what_it_names() {
        let config = read(
            "preset = 'fmnist'\nepochs = 3\nadam.lr = 1e-3\n[network]\ntime_steps = 50\n[network.readout]\nlogits = 'max'",
        )
        .unwrap();
        let mut expected = presets::ours("fmnist").unwrap();
        expected.epochs = 3;
        expected.adam.lr = 1e-3;
        expected.network.time_steps = 50;
        expected.network.integrator_mut().unwrap().logits = Logits::Max;
        assert_eq!(config, expected);
    }

    #[test]
    fn hidden_layers_are_as_many_as_the_file_has() {
        let text = "preset = 'shd'\n[[network.hidden]]\nneurons = 30\n[[network.hidden]]\ntau_ms = 7\n[[network.hidden]]\nb_th = inf";
        let hidden = read(text).unwrap().network.hidden;
        let base = &presets::ours("shd").unwrap().network.hidden[0];
        assert_eq!(hidden.iter().map(|l| l.neurons).collect::<Vec<_>>(), [30, 200, 200]);
        assert_eq!((hidden[1].tau_ms, hidden[2].b_th, hidden[2].beta), (7.0, f64::INFINITY, base.beta));
    }

    #[test]
    fn a_network_without_hidden_layers_is_written_and_read() {
        let mut config = presets::ours("fmnist").unwrap();
        config.network.hidden.clear();
        config.check().unwrap();
        assert_eq!(read(&config.to_toml().unwrap()).unwrap(), config);
    }

    #[test]
    fn another_kind_leaves_nothing_of_the_old_one() {
        let config = read("preset = 'fmnist'\nschedule = { kind = 'cosine', final_fraction = 0.1 }").unwrap();
        assert_eq!(config.schedule, Schedule::Cosine { final_fraction: 0.1 });
        let readout = "preset = 'fmnist'\nnetwork.readout.init = { kind = 'uniform', scale = 1 }";
        assert_eq!(read(readout).unwrap().network.readout.init(), Initialisation::Uniform { scale: 1.0 });
    }

    #[test]
    fn errors_name_file_field_and_value() {
        refused("epochs = 3", &["preset", "missing"]);
        refused("preset = 'mnist'", &["preset", "`mnist`"]);
        refused("preset = 3", &["preset = 3"]);
        refused("preset = 'fmnist'\nepochs = ", &["line 2"]);
        refused("preset = 'fmnist'\nepoch = 3", &["`epoch`", "`epochs`"]);
        refused("preset = 'fmnist'\nepochs = 'three'", &["epochs", "three"]);
        refused("preset = 'fmnist'\nepochs = -3", &["epochs", "-3"]);
        refused("preset = 'fmnist'\nepochs = 0", &["epochs = 0"]);
        refused("preset = 'fmnist'\nbatch = 0", &["batch = 0"]);
        refused("preset = 'fmnist'\nlimit = 0", &["limit = 0"]);
        refused("preset = 'fmnist'\ndevice = 'tpu'", &["device = tpu"]);
        refused("preset = 'fmnist'\nmethod = 'fast'", &["method", "fast"]);
        refused("preset = 'fmnist'\nadam.lr = -1.0", &["adam.lr = -1"]);
        refused("preset = 'fmnist'\n[network]\nneurons = 3", &["network", "`neurons`"]);
        refused("preset = 'fmnist'\n[[network.hidden]]\ntau_ms = 0", &["network.hidden[0].tau_ms = 0"]);
        refused("preset = 'fmnist'\nnetwork.readout.init.scael = 2", &["scael"]);
        refused("preset = 'fmnist'\nadam.weight_decay = -0.1", &["adam.weight_decay = -0.1"]);
        refused("preset = 'fmnist'\nwarmup_epochs = -1", &["warmup_epochs = -1"]);
        refused("preset = 'fmnist'\ninitial_spikes = inf", &["initial_spikes = inf"]);
        refused("preset = 'shd'\naugment.flip = true", &["augment.flip", "shd"]);
        refused("preset = 'fmnist'\nschedule.final_fraction = 2", &["final_fraction"]);
        refused("preset = 'fmnist'\nschedule = { kind = 'cosine', final_fraction = 2 }", &["final_fraction = 2"]);
        assert!(read("preset = 'fmnist'\ndevice = 'gpu:1'").is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = RunConfig::resolve("no/such.toml", false).unwrap_err().to_string();
        assert!(error.contains("no/such.toml"), "{error}");
        assert!(RunConfig::resolve("imagenet", false).unwrap_err().to_string().contains("`imagenet`"));
        assert_eq!(RunConfig::resolve("fmnist", true).unwrap(), presets::paper("fmnist").unwrap());
    }

    #[test]
    fn what_is_written_reads_back_to_the_last_bit() {
        let mut config = presets::paper("nmnist").unwrap();
        config.limit = Some(1000);
        config.data = Some("/some/where".into());
        config.seed = i64::MAX as u64;
        config.schedule = Schedule::Cosine { final_fraction: 1.0 / 3.0 };
        config.network.hidden[0].b_th = f64::INFINITY;
        config.network.hidden[1].v_rest = -0.1 - 0.2;
        for lr in [f64::MIN_POSITIVE, 5e-324, 1e300, 0.1 + 0.2, 1.0, f64::MAX] {
            config.adam.lr = lr;
            assert_eq!(read(&config.to_toml().unwrap()).unwrap(), config);
        }
    }

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
        assert_eq!(config.schedule, Schedule::Cosine { final_fraction: 0.25 });
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

    /// A run of an earlier version says nothing of options that came later: they are off, whatever the preset says now.
    #[test]
    fn a_whole_file_stands_for_itself() {
        let mut old = presets::ours("fmnist").unwrap();
        (old.warmup_epochs, old.initial_spikes, old.augment) = (0.0, 0.0, Augment::default());
        old.adam.weight_decay = 0.0;
        old.network.hidden[0].tau_ms = 7.0;
        let text = old.to_toml().unwrap();
        let (later, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| {
            ["warmup_epochs", "initial_spikes", "weight_decay", "[augment]", "shift", "flip", "drop"]
                .iter()
                .any(|name| line.starts_with(name))
        });
        assert_eq!(later.len(), 8, "{text}");
        let whole = rest.join("\n");
        assert_eq!(read(&whole).unwrap(), old);
        refused(&whole.replace("epochs = ", "epoch = "), &["epoch"]);
    }

    #[test]
    fn the_cosine_falls_from_one_to_its_end() {
        let cosine = Schedule::Cosine { final_fraction: 0.1 };
        assert_eq!(cosine.factor(0, 10), 1.0);
        assert!((cosine.factor(5, 10) - 0.55).abs() < 1e-12 && (cosine.factor(10, 10) - 0.1).abs() < 1e-12);
        assert_eq!(Schedule::Constant {}.factor(7, 10), 1.0);
    }

    #[test]
    fn the_examples_configurations_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let configs: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
        assert!(!configs.is_empty());
        for path in configs {
            RunConfig::load(&path, false).unwrap();
        }
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
