//! What is wrong with a configuration, in the words of docs/configuration.md.

use super::RunConfig;
use super::read::{FieldName, Mistake, Part, What};
use crate::error::{alike, did_you_mean_one_of, list};
use crate::network::Readout;
use std::fmt;
use toml::{Table, Value};

/// A [`Mistake`] in words.
#[derive(Debug)]
pub(super) struct Explanation {
    /// The field with the mistake.
    pub field: FieldName,
    /// Its value, unless `what` names the field.
    pub value: Option<String>,
    /// What is wrong.
    pub what: String,
    /// A section that would be right: `network.loss={kind="mse", off=0.5, on=0.5}`.
    pub example: Option<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(value) = &self.value {
            write!(f, "{} = {value}: ", self.field)?;
        }
        f.write_str(&self.what)?;
        match &self.example {
            Some(example) => write!(f, ", for example {example}"),
            None => Ok(()),
        }
    }
}

/// Explains the mistake in the configuration `table`.
pub(super) fn explain(mistake: Mistake, table: &Table) -> Explanation {
    let Mistake { field, what } = mistake;
    let named = |field: FieldName, what: String| Explanation { field, value: None, what, example: None };
    match what {
        What::Type { found, want } => wrong_type(field, found, &want, table),
        What::UnknownWord { known } => {
            let value = field.value_in(table);
            let word = value.and_then(Value::as_str).unwrap_or_default();
            let what =
                format!("must be {}{}", list(known, "or"), did_you_mean_one_of(&alike(word, known.iter().copied())));
            Explanation { value: value.map(shown), ..named(field, what) }
        }
        What::UnknownField { name, known } => unknown_field(&field, &name, &known, table),
        What::Missing { name } => missing(field, name, table),
        What::Other(what) => match (what.starts_with("must be "), field.value_in(table)) {
            (true, Some(value)) => Explanation { value: Some(shown(value)), ..named(field, what) },
            _ if field.0.is_empty() => named(field, what),
            _ => {
                let what = format!("{field}: {what}");
                named(field, what)
            }
        },
    }
}

/// A value for display, in TOML.
fn shown(value: &Value) -> String {
    /// Maximum length in characters.
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn wrong_type(field: FieldName, found: Option<Value>, want: &str, table: &Table) -> Explanation {
    let value = field.value_in(table);
    // The whole numbers of a section are the last of its fields with the same wrong value, since its other numbers may be any.
    let inner = match (value, &found) {
        (Some(Value::Table(fields)), Some(found)) => fields.iter().rfind(|(_, value)| *value == found),
        _ => None,
    };
    let field = inner.map_or_else(|| field.clone(), |(name, _)| field.field(name));
    let value = inner.map(|(_, value)| value).or(value);
    let quote = matches!(found, Some(Value::Integer(_) | Value::Float(_) | Value::Boolean(_)));
    let mut example = None;
    let what = match want {
        "u64" | "usize" | "u32" if matches!(found, Some(Value::Float(_))) => {
            "a whole number, without a decimal point or exponent".into()
        }
        "u64" | "usize" | "u32" => "a whole number, 0 or more".into(),
        "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "path string" if quote => {
            example = value.map(|value| format!("{field}=\"{}\"", shown(value)));
            "text in quotes".into()
        }
        "a string" | "path string" => "text".into(),
        "a sequence" => {
            let entries = Value::Array(vec![Table::from_iter([UNKNOWN]).into()]);
            if let Some(What::UnknownField { known, .. }) = try_value(&field, entries, table) {
                example = known.first().map(|first| format!("{field}=[{{{first}=1}}]"));
            }
            "a list in square brackets".into()
        }
        _ if want.contains("tagged enum") || want.contains("struct ") && !kinds(&field, table).is_empty() => {
            let kinds = kinds(&field, table);
            let word = value.and_then(Value::as_str).unwrap_or_default();
            if let Some(kind) = kinds.iter().find(|kind| **kind == word).or(kinds.first()) {
                example = Some(with_kind(&field, kind, Table::new(), table));
            }
            format!("a table whose `kind` is {}", list(&kinds, "or"))
        }
        _ if want.contains("struct ") => match try_fields(&field, Table::from_iter([UNKNOWN]), table) {
            Some(What::UnknownField { known, .. }) => format!("a table with fields of {}", list(&known, "and")),
            _ => "a table".into(),
        },
        _ => match want.strip_prefix("an array of length ") {
            Some(n) => format!("a list of {n} values"),
            None => want.into(),
        },
    };
    Explanation { field, value: value.map(shown), what: format!("must be {what}"), example }
}

fn unknown_field(section: &FieldName, name: &str, known: &[String], table: &Table) -> Explanation {
    let field = section.field(name);
    let siblings = || alike(name, known.iter().map(String::as_str));
    let elsewhere: Vec<FieldName> = named_so(name, table).into_iter().filter(|other| *other != field).collect();
    let like: Vec<FieldName> = match elsewhere.len() {
        1..=3 => elsewhere,
        _ => siblings().into_iter().map(|name| section.field(name)).collect(),
    };
    let given = section.value_in(table).and_then(Value::as_table);
    let kind = given.and_then(|given| given.get("kind")).and_then(Value::as_str);
    let mut example = None;
    let what = match (kind, &like[..]) {
        (Some(kind), _) if siblings().is_empty() => {
            // Another kind may have it.
            let value = given.and_then(|given| given.get(name)).cloned().unwrap_or(Value::Integer(1));
            let has_it = |other: &&&str| {
                let fields = Table::from_iter([("kind".into(), Value::from(**other)), (name.into(), value.clone())]);
                let (whole, _) = completed(section, fields, table);
                !matches!(try_fields(section, whole, table), Some(What::UnknownField { .. } | What::Other(_)))
            };
            let what = format!("`{field}` is not a field of the kind `{kind}`");
            match kinds(section, table).iter().find(has_it) {
                Some(other) => {
                    let fields = Table::from_iter([(name.into(), value.clone())]);
                    example = Some(with_kind(section, other, fields, table));
                    format!("{what}, but of `{other}`")
                }
                None if known.is_empty() => format!("{what}, which has none"),
                None => format!("{what}; its fields are {}", list(known, "and")),
            }
        }
        (_, []) => {
            let of = if section.0.is_empty() { "the configuration".into() } else { format!("`{section}`") };
            format!("`{field}` is not a field; those of {of} are {}", list(known, "and"))
        }
        (_, like) => format!("`{field}` is not a field{}", did_you_mean_one_of(like)),
    };
    Explanation { field, value: None, what, example }
}

fn missing(section: FieldName, name: &str, table: &Table) -> Explanation {
    let given = section.value_in(table).and_then(Value::as_table).cloned().unwrap_or_default();
    let (whole, missing) = completed(&section, given.clone(), table);
    let missing = if missing.is_empty() { vec![name.into()] } else { missing };
    let lacks = |of: &str| format!("{of} requires {}", list(&missing, "and"));
    match given.get("kind").and_then(Value::as_str) {
        Some(kind) => {
            let example = Some(inline(&section, &whole));
            Explanation {
                what: lacks(&format!("{section} of the kind `{kind}`")),
                field: section,
                value: None,
                example,
            }
        }
        None if name == "kind" => {
            let what = format!("{section} requires a `kind`: {}", list(&kinds(&section, table), "or"));
            Explanation { field: section, value: None, what, example: None }
        }
        None => {
            let what = if section.0.is_empty() { lacks("the configuration") } else { lacks(&section.to_string()) };
            Explanation { field: section, value: None, what, example: None }
        }
    }
}

/// A field that no section has.
const UNKNOWN: (String, Value) = (String::new(), Value::Boolean(true));

/// What is wrong with the section of `table` if it has these fields instead.
fn try_fields(section: &FieldName, fields: Table, table: &Table) -> Option<What> {
    try_value(section, Value::Table(fields), table)
}

/// What is wrong with the field of `table` if it has this value instead.
fn try_value(field: &FieldName, value: Value, table: &Table) -> Option<What> {
    let mut table = table.clone();
    *place(field, &mut table)? = value;
    let mistake = RunConfig::read(&table).err()?;
    mistake.field.is_within(field).then_some(mistake.what)
}

/// The kinds of a section, none if it has no field `kind`.
fn kinds(section: &FieldName, table: &Table) -> Vec<&'static str> {
    match try_fields(section, Table::from_iter([("kind".into(), Value::from(""))]), table) {
        Some(What::UnknownWord { known }) => known.to_vec(),
        _ => Vec::new(),
    }
}

/// The section of this kind with these fields and all that it requires, as a line of a configuration.
fn with_kind(section: &FieldName, kind: &str, mut fields: Table, table: &Table) -> String {
    fields.insert("kind".into(), kind.into());
    let (mut fields, added) = completed(section, fields, table);
    // The other kind keeps these.
    fields.retain(|name, _| !(Readout::COMMON_FIELDS.contains(&name) && added.iter().any(|other| other == name)));
    inline(section, &fields)
}

/// Adds the fields that a section requires and does not have, with values of their types; returns their names too.
fn completed(section: &FieldName, mut fields: Table, table: &Table) -> (Table, Vec<String>) {
    let values = [Value::Float(0.5), Value::Integer(1), Value::Array(vec![Value::Integer(1)])];
    let mut added: Vec<String> = Vec::new();
    let mut others = values[1..].iter();
    while let Some(what) = try_fields(section, fields.clone(), table) {
        match (what, added.last()) {
            (What::Missing { name }, _) if !fields.contains_key(name) => {
                others = values[1..].iter();
                fields.insert(name.into(), values[0].clone());
                added.push(name.into());
            }
            (What::Type { .. }, Some(last)) => {
                let Some(value) = others.next() else { break };
                fields.insert(last.clone(), value.clone());
            }
            _ => break,
        }
    }
    (fields, added)
}

/// `network.loss={kind="mse", off=0.5, on=0.5}`.
fn inline(section: &FieldName, fields: &Table) -> String {
    let (kind, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| *name == "kind");
    let fields: Vec<String> = kind.into_iter().chain(others).map(|(name, value)| format!("{name}={value}")).collect();
    format!("{section}={{{}}}", fields.join(", "))
}

/// The value of a field that the table has.
fn place<'a>(field: &FieldName, table: &'a mut Table) -> Option<&'a mut Value> {
    let (Part::Name(first), rest) = field.0.split_first()? else { return None };
    rest.iter().try_fold(table.get_mut(first)?, |value, part| match part {
        Part::Name(name) => value.get_mut(name),
        Part::Index(k) => value.get_mut(k),
    })
}

/// The fields of this name in any section; those of the first entry for a list.
fn named_so(name: &str, table: &Table) -> Vec<FieldName> {
    fn walk(above: &FieldName, value: &Value, name: &str, out: &mut Vec<FieldName>) {
        match value {
            Value::Table(table) => {
                for (key, value) in table {
                    let field = above.field(key);
                    walk(&field, value, name, out);
                    if key == name {
                        out.push(field);
                    }
                }
            }
            Value::Array(entries) => {
                let first = FieldName([&above.0[..], &[Part::Index(0)]].concat());
                entries.first().into_iter().for_each(|entry| walk(&first, entry, name, out));
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(&FieldName::default(), &Value::Table(table.clone()), &name.to_lowercase(), &mut out);
    out
}
