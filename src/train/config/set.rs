//! Changes of a configuration as `FIELD=VALUE`.

use super::RunConfig;
use super::explain::{Explanation, explain};
use super::read::{FieldName, Mistake, Part, What};
use super::text::{merge, to_table};
use crate::error::{Error, Result};
use toml::{Table, Value};

impl RunConfig {
    /// [`set_all`](Self::set_all) of one assignment.
    ///
    /// # Errors
    /// As [`set_all`](Self::set_all).
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        self.set_all(&[assignment])
    }

    /// Sets fields with TOML syntax: `adam.weight_decay=0.01`, `network.readout.logits=sum`, `network.hidden[0].tau_ms=20`,
    /// `network.hidden=[{tau_ms=5},{tau_ms=20}]`. Later assignments override earlier ones. A section of another `kind` may get
    /// its fields from several assignments in any order: `network.loss.kind=mse`, `network.loss.on=1`, `network.loss.off=0`; or
    /// from one: `network.loss={kind="mse", on=1, off=0}`. Changes nothing on error. Does not call [`RunConfig::check`].
    ///
    /// # Errors
    /// [`Error::Config`] naming the assignment, for invalid syntax, an unknown field, a missing field of another kind, or a
    /// value of the wrong type.
    pub fn set_all(&mut self, assignments: &[impl AsRef<str>]) -> Result<()> {
        let mut table = to_table(self)?;
        let mut done: Vec<Assignment> = Vec::new();
        for assignment in assignments {
            let assignment = Assignment::parse(assignment.as_ref())?;
            if assignment.field == FieldName::default().field("preset") {
                let name = assignment.value.as_str().map_or(assignment.value.to_string(), String::from);
                return Err(assignment.refused(format!(
                    "the preset determines all other fields and cannot be set; name {name} as the preset in place of {}",
                    self.preset
                )));
            }
            assignment.lay_over(&mut table)?;
            // Another kind drops the fields of the previous one, but not those that were given for it.
            if let Some((section, "kind")) = assignment.field.split_last() {
                complete(&mut table);
                let given =
                    |other: &&Assignment| other.field.is_within(&section) && other.field.0.len() > section.0.len();
                for earlier in done.iter().filter(given).filter(|other| other.field != assignment.field) {
                    earlier.lay_over(&mut table)?;
                }
            }
            complete(&mut table);
            done.push(assignment);
        }
        *self = Self::read(&table).map_err(|mistake| {
            let cause = cause(&mistake, &done);
            let explanation = explain(mistake, &table);
            match cause {
                Some(assignment) => assignment.refused(told(&explanation, &assignment.field)),
                None => Error::Config(explanation.to_string()),
            }
        })?;
        Ok(())
    }
}

/// Adds the defaults of fields that another kind has, so that later assignments may change parts of them; unless it lacks others,
/// which later assignments may add.
fn complete(table: &mut Table) {
    if let Ok(whole) = RunConfig::read(table).map_err(drop).and_then(|config| to_table(&config).map_err(drop)) {
        *table = whole;
    }
}

/// `FIELD=VALUE`.
struct Assignment<'a> {
    text: &'a str,
    field: FieldName,
    value: Value,
}

impl<'a> Assignment<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let parse = || {
            let Some((field, value)) = text.split_once('=') else {
                return Err("must be FIELD=VALUE, for example adam.weight_decay=0.01".into());
            };
            Ok((FieldName::parse(field)?, parse_value(value.trim())?))
        };
        let (field, value) = parse().map_err(|what| refused(text, what))?;
        Ok(Assignment { text, field, value })
    }

    /// An error that names the assignment.
    fn refused(&self, what: String) -> Error {
        refused(self.text, what)
    }

    fn lay_over(&self, table: &mut Table) -> Result<()> {
        lay(table, &self.field.0, 0, self.value.clone()).map_err(|what| self.refused(what))
    }
}

fn refused(assignment: &str, what: String) -> Error {
    Error::Config(format!("`{assignment}`: {what}"))
}

/// The assignment that causes the mistake.
fn cause<'a>(mistake: &Mistake, assignments: &'a [Assignment<'a>]) -> Option<&'a Assignment<'a>> {
    let last = |fits: &dyn Fn(&FieldName) -> bool| assignments.iter().rfind(|assignment| fits(&assignment.field));
    let place = match &mistake.what {
        What::UnknownField { name, .. } => mistake.field.field(name),
        _ => mistake.field.clone(),
    };
    // The choice of a kind requires its fields.
    let kind = last(&|field| *field == place.field("kind"));
    let kind = kind.filter(|_| matches!(mistake.what, What::Missing { .. }));
    kind.or_else(|| last(&|field| field.is_within(&place) || place.is_within(field)))
}

/// The explanation after the assignment, which need not be repeated.
fn told(explanation: &Explanation, assigned: &FieldName) -> String {
    let field = match &explanation.value {
        Some(value) if explanation.field != *assigned => format!("{} = {value}: ", explanation.field),
        _ => String::new(),
    };
    let example = explanation.example.as_ref().map_or(String::new(), |example| format!(", for example '{example}'"));
    format!("{field}{}{example}", explanation.what)
}

/// Reads a value in TOML. Text does not require quotes.
fn parse_value(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Err("the value after = is missing".into());
    }
    let error = match toml::from_str::<Table>(&format!("value = {text}")) {
        Ok(table) if table.len() == 1 => {
            return Ok(table.into_iter().map(|(_, value)| value).next().unwrap_or(text.into()));
        }
        Ok(_) => String::new(),
        Err(e) => e.message().to_string(),
    };
    if text.starts_with(['"', '\'', '[', '{']) {
        return Err(format!(
            "the value is not valid TOML ({error}). Quote the whole argument, and text in lists and tables, for example \
             'network.loss={{kind=\"mse\", on=1, off=0}}'"
        ));
    }
    let digits = text.trim_start_matches(['+', '-']);
    if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err("must be below 2^63".into());
    }
    Ok(text.into())
}

/// Lays a value over the part of `table` that a field's name from `at` on means. A field that there is not is added, and refused
/// when the table is read as a configuration.
///
/// # Errors
/// A name that does not fit the table.
fn lay(table: &mut Table, field: &[Part], at: usize, value: Value) -> Result<(), String> {
    let Some(Part::Name(name)) = field.get(at) else {
        return Err(format!("`{}` is not a list", FieldName(field[..at].into())));
    };
    let whole = || FieldName(field[..=at].into());
    match (table.get_mut(name), &field[at + 1..]) {
        (_, []) => merge(table, Table::from_iter([(name.clone(), value)])),
        (Some(Value::Array(entries)), [Part::Index(k), rest @ ..]) => {
            let n = entries.len();
            match (entries.get_mut(*k), rest) {
                (None, _) if n == 0 => return Err(format!("`{}` has no entries", whole())),
                (None, _) => return Err(format!("`{}` has the entries 0 to {}", whole(), n - 1)),
                (Some(Value::Table(entry)), [_, ..]) => return lay(entry, field, at + 2, value),
                (Some(entry), []) => match (entry, value) {
                    (Value::Table(entry), Value::Table(over)) => merge(entry, over),
                    (entry, value) => *entry = value,
                },
                (Some(_), _) => return Err(format!("`{}[{k}]` has no fields", whole())),
            }
        }
        (Some(Value::Array(_)), [Part::Name(inner), ..]) => {
            return Err(format!("`{0}` is a list; name one of its entries, for example {0}[0].{inner}", whole()));
        }
        (Some(_), [Part::Index(_), ..]) => return Err(format!("`{}` is not a list", whole())),
        (Some(Value::Table(below)), _) => return lay(below, field, at + 1, value),
        (Some(_), _) => return Err(format!("`{}` has no fields", whole())),
        (None, [Part::Index(_), ..]) => drop(table.insert(name.clone(), Value::Array(vec![value]))),
        (None, _) => {
            let mut below = Table::new();
            lay(&mut below, field, at + 1, value)?;
            table.insert(name.clone(), Value::Table(below));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::network::{Cell, Initialisation, Logits, Loss, Readout};
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
        for (assignment, parts) in [
            ("adam.lr", &["FIELD=VALUE"][..]),
            ("=3", &["the name of the field is missing"]),
            ("adam..lr=3", &["a name is missing"]),
            ("adam.lr.=3", &["a name is missing"]),
            ("adam lr=3", &["`adam lr` is not a field"]),
            ("adam.lr=", &["the value after = is missing"]),
            ("adam.lr=fast", &["lr=fast`: must be a number"]),
            ("adam.lr.x=3", &["`adam.lr` has no fields"]),
            ("adam=3", &["must be a table with fields of", "`beta1`"]),
            ("epochs=-1", &["must be a whole number, 0 or more"]),
            ("epochs=1.5", &["whole number, without a decimal point"]),
            ("epochs=99999999999999999999", &["below 2^63"]),
            ("epochs=3\nseed=4", &["must be a whole number"]),
            ("augment.flip=yes", &["must be true or false"]),
            ("data.path=2024", &["must be text in quotes, for example 'data.path=\"2024\"'"]),
            ("data.shape=3", &["must be a list of 3"]),
            ("data.shape=[1,2,3,4]", &["must be a list of 3"]),
            ("delta_mib=much", &["must be a number of MiB"]),
            ("delta_mib=[8]", &["must be a number of MiB"]),
            ("method=\"sparse", &["not valid TOML", "Quote"]),
            ("method=sparce", &["must be `sparse`, `dense`, `reference` or `auto`; did you mean `sparse`?"]),
            ("network.readout.logits=SUM", &["did you mean `sum`?"]),
            ("schedule.kind=constnat", &["did you mean `constant`?"]),
            ("validation=last", &["a table whose `kind`", "'validation={kind=\"last\", samples=1}'"]),
            ("validation.kind=fraction", &["requires `fraction`", "'validation={kind=\"fraction\", fraction=0.5}'"]),
            ("validation.kind=speakers", &["{kind=\"speakers\", speakers=[1]}"]),
            ("network.loss.kind=mse", &["requires `on` and `off`", "'network.loss={kind=\"mse\", off=0.5, on=0.5}'"]),
            ("network.loss={kind=mse}", &["not valid TOML", "Quote"]),
            ("network.loss={kind='mse',on=x}", &["not valid TOML"]),
            ("network.loss={kind='mse',on='x'}", &["network.loss.on = \"x\": must be a number"]),
            ("network.hidden[0].cell.tau_syn_ms=4", &["but of `cuba_lif`", "={kind=\"cuba_lif\", tau_syn_ms=4}'"]),
            ("network.hidden[0].init.mean=4", &["of the kind `normal`; its fields are `scale`"]),
            ("schedule.final=1", &["`schedule.final` is not a field", "did you mean `schedule.final_fraction`?"]),
            ("adam.lrr=1", &["`adam.lrr` is not a field; did you mean `adam.lr`?"]),
            ("adm.lr=1", &["`adm` is not a field; did you mean `adam`?"]),
            ("lr=1", &["`lr` is not a field; did you mean `adam.lr`?"]),
            ("Epochs=1", &["did you mean `epochs`?"]),
            ("network.xyz=1", &["`network.xyz` is not a field; those of `network` are `inputs`"]),
            ("network.hidden[3].tau_ms=1", &["`network.hidden` has the entries 0 to 2"]),
            ("network.hidden[-1].tau_ms=1", &["`[-1]` is not an index"]),
            ("network.hidden[x].tau_ms=1", &["`[x]` is not an index"]),
            ("network.hidden[0.tau_ms=1", &["not an index"]),
            ("network.hidden[0]=1", &["network.hidden[0]=1`: must be a table"]),
            ("network.hidden[0][1].tau_ms=1", &["`network.hidden[0]` is not a list"]),
            ("network.hidden.tau_ms=1", &["is a list", "network.hidden[0].tau_ms"]),
            ("network.hidden=3", &["must be a list in square brackets, for example 'network.hidden=[{neurons=1}]'"]),
            ("network.readout=spike_count", &["whose `kind`", "'network.readout={kind=\"spike_count\"}'"]),
            ("network.readout[0].tau_ms=1", &["`network.readout` is not a list"]),
            ("network.readout.b_th=1", &["`b_th` is not a field of the kind `integrator`, but of `spike_count`"]),
            ("net.hidden[0].tau_ms=1", &["`net` is not a field; did you mean `network`?"]),
            ("network.hiden[0].tau_ms=1", &["`network.hiden` is not a field; did you mean `network.hidden`?"]),
            ("network.hidden[0].tau=1", &["did you mean `network.hidden[0].tau_ms`?"]),
            ("network.hidden[1].neurons=-3", &["neurons=-3`: must be a whole number, 0 or more"]),
            ("preset=shd", &["cannot be set; name shd as the preset in place of fmnist"]),
        ] {
            let error = config.set(assignment).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{assignment}`: ")), "{error}");
            for part in parts {
                assert!(error.contains(part), "`{part}` is not in: {error}");
            }
            for word in ["invalid type", "invalid value", "u64", "usize", "f64", "struct", "enum", "expected one"] {
                assert!(!error.contains(word), "{error}");
            }
        }
        assert_eq!(config, before);
        config.network.hidden.clear();
        let error = config.set("network.hidden[0].tau_ms=1").unwrap_err().to_string();
        assert!(error.ends_with("`network.hidden` has no entries"), "{error}");
        let error = config.set("network.hidden=[{neurons=3}]").unwrap_err().to_string();
        assert!(error.contains("network.hidden[0] requires `") && error.contains("`tau_ms`"), "{error}");
    }

    #[test]
    fn another_kind_is_built_by_several_assignments() {
        let set = |assignments: &[&str]| {
            let mut config = presets::ours("fmnist").unwrap();
            config.set_all(assignments).map(|()| config)
        };
        let (kind, on, off) = ("network.loss.kind=mse", "network.loss.on=2", "network.loss.off=-1");
        for order in [[kind, on, off], [on, kind, off], [off, on, kind]] {
            assert_eq!(set(&order).unwrap().network.loss, Loss::MeanSquaredError { on: 2.0, off: -1.0 }, "{order:?}");
        }
        let cells = set(&["network.hidden[1].cell.kind=cuba_lif", "network.hidden[1].cell.tau_syn_ms=4"]).unwrap();
        assert_eq!(cells.network.hidden[1].cell, Cell::CubaLif { tau_syn_ms: 4.0 });
        assert_eq!(cells.network.hidden[0].cell, Cell::Lif);
        let whole =
            set(&["network.hidden=[{},{},{}]", "network.hidden[2].cell={kind='cuba_lif',tau_syn_ms=4}"]).unwrap();
        assert_eq!(whole.network.hidden[2].cell, Cell::CubaLif { tau_syn_ms: 4.0 });
        assert_eq!(set(&["epochs=3", "epochs=4"]).unwrap().epochs, 4);
        let (counting, scale) = ("network.readout.kind=spike_count", "network.readout.init.scale=0.01");
        for order in [[counting, scale], [scale, counting]] {
            let readout = set(&order).unwrap().network.readout;
            assert_eq!(readout.init(), Initialisation::Normal { scale: 0.01 }, "{order:?}");
        }

        let error = |assignments: &[&str]| set(assignments).unwrap_err().to_string();
        let missing = error(&["epochs=3", kind, on, "seed=4"]);
        assert!(
            missing.starts_with("`network.loss.kind=mse`: network.loss of the kind `mse` requires `off`"),
            "{missing}"
        );
        assert!(missing.ends_with("'network.loss={kind=\"mse\", off=0.5, on=2}'"), "{missing}");
        let wrong = error(&["epochs=3", kind, on, "network.loss.off=low", "seed=4"]);
        assert_eq!(wrong, "`network.loss.off=low`: must be a number");
        let unknown = error(&["schedule.kind=constant", "schedule.final_fraction=0.1"]);
        assert!(unknown.starts_with("`schedule.final_fraction=0.1`: "), "{unknown}");
    }

    /// What an error gives as an example is accepted.
    #[test]
    fn examples_can_be_set() {
        let mut seen = 0;
        for section in ["schedule", "validation", "network.loss", "network.hidden[0].cell", "network.readout"] {
            let config = presets::ours("fmnist").unwrap();
            let kinds = config.clone().set(&format!("{section}.kind=?")).unwrap_err().to_string();
            let kinds: Vec<&str> = kinds.split_once("must be ").unwrap().1.split('`').skip(1).step_by(2).collect();
            assert!(kinds.len() >= 2, "{kinds:?}");
            for kind in kinds {
                let Err(error) = config.clone().set(&format!("{section}={kind}")) else { panic!("{section} = {kind}") };
                let error = error.to_string();
                let example = error.split('\'').nth(1).unwrap();
                assert!(example.contains(kind), "{error}");
                let mut config = config.clone();
                config.set(example).and_then(|()| config.check()).unwrap_or_else(|e| panic!("{example}: {e}"));
                seen += 1;
            }
        }
        assert!(seen >= 12, "{seen}");
    }
}
