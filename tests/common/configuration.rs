//! Writes docs/configuration.md from the types of a configuration: names and descriptions come from their sources, defaults from
//! the presets, and allowed values from the errors for values that are not.

use spikegrad::Error;
use spikegrad::presets;
use spikegrad::train::RunConfig;
use std::collections::BTreeMap;
use std::path::Path;
use syn::{Attribute, Expr, Fields, GenericArgument, Lit, Meta, PathArguments, Type};
use toml::{Table, Value};

/// The sources of the types.
const SOURCES: [&str; 15] = [
    "train/config.rs",
    "data/augment.rs",
    "data/source.rs",
    "data/split.rs",
    "engine.rs",
    "engine/delta_scratch.rs",
    "engine/variant.rs",
    "network/conv.rs",
    "network/init.rs",
    "network/loss.rs",
    "network/mod.rs",
    "network/readout.rs",
    "network/spiking.rs",
    "network/surrogate.rs",
    "optimiser.rs",
];

/// Types that are written as others, whose descriptions are those of further types.
const WRITTEN_AS: [(&str, &str, &[&str]); 2] =
    [("Readout", "ReadoutFields", &["Integrator", "SpikingLayer"]), ("ReadoutKind", "ReadoutKind", &["Readout"])];

const HEAD: &str = "\
# Configuration

<!-- Written by `cargo run --example configuration`; edit the descriptions at the types. -->

A run is configured by a TOML file that names a preset and the fields that differ from it:

```toml
preset = \"fmnist\"
epochs = 20
adam.lr = 1e-3
[[network.hidden]]        # one section per hidden layer
neurons = 300             # other fields are the preset's
```

```sh
spikegrad train mine.toml
spikegrad train fmnist --set epochs=20 --set adam.lr=1e-3 --set 'network.hidden[0].neurons=300'
```

The run's `config.toml` has all fields. Several fields have flags of their own (`spikegrad train --help`). Paths in a file are relative
to its folder. If another `kind` is chosen in a section, its fields must be given, except those with a default:

```sh
spikegrad train fmnist --set network.loss.kind=mse --set network.loss.on=1 --set network.loss.off=0
spikegrad train fmnist --set 'network.loss={kind=\"mse\", on=1, off=0}'
```

All `--set` are read together, and later ones override earlier ones. Brackets, braces and quotes need quotes in a shell.

The defaults are those of the presets; with `--paper`, some are the paper's. Where presets differ, the column has the most
frequent value first. For data of your own (`events`, `events-conv`), 0 stands for the value of the data. *Not set* means that the
field is left out. Potentials have no unit.
";

/// A field as it is written.
pub struct Field {
    pub name: String,
    pub docs: String,
    ty: Ty,
}

#[derive(Clone)]
struct Ty {
    name: String,
    optional: bool,
    list: bool,
}

struct Choice {
    name: String,
    docs: String,
    fields: Vec<Field>,
}

enum Item {
    Struct(Vec<Field>),
    Enum(Vec<Choice>),
}

/// A section of the page.
pub struct Section {
    /// `network.hidden[0].cell`; empty for the fields before all sections.
    pub path: String,
    /// Of a section with several kinds, one of them.
    pub kind: Option<String>,
    /// A configuration that has the section, of this kind.
    pub config: RunConfig,
    pub fields: Vec<Field>,
    /// The description of the kind.
    docs: String,
    /// The description of the field that is the section.
    intro: String,
}

impl Section {
    /// `network.hidden[0].cell.tau_syn_ms`.
    fn path_of(&self, field: &Field) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.path, field.name)
    }
}

/// The types of a configuration.
pub struct Types(BTreeMap<String, Item>);

impl Types {
    pub fn read() -> Self {
        let mut items = BTreeMap::new();
        for source in SOURCES {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(source);
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            for item in file.items {
                match item {
                    syn::Item::Struct(item) => {
                        items.insert(item.ident.to_string(), Item::Struct(fields(&item.fields)));
                    }
                    syn::Item::Enum(item) => {
                        let choice = |variant: &syn::Variant| Choice {
                            name: renamed(&variant.attrs).unwrap_or_else(|| snake_case(&variant.ident.to_string())),
                            docs: docs(&variant.attrs),
                            fields: fields(&variant.fields),
                        };
                        items.insert(item.ident.to_string(), Item::Enum(item.variants.iter().map(choice).collect()));
                    }
                    _ => {}
                }
            }
        }
        Types(items)
    }

    /// All sections, in the order of the page.
    pub fn sections(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        let base = presets::ours("fmnist").unwrap();
        self.section(String::new(), "RunConfig", "", &base, &mut sections);
        sections
    }

    fn section(&self, path: String, ty: &str, intro: &str, config: &RunConfig, out: &mut Vec<Section>) {
        let described = |fields: &[Field]| fields.iter().map(|field| self.described(ty, field)).collect::<Vec<_>>();
        let first = out.len();
        match &self.0[written_as(ty)] {
            Item::Struct(fields) if ty == "Readout" => {
                for (kind, docs) in self.values("ReadoutKind") {
                    let config = of_kind(config, &path, &kind, fields);
                    let table = value_at(&Table::try_from(&config).unwrap(), &path).unwrap();
                    let mut fields = described(fields);
                    fields.retain(|field| field.name != "kind" && table.get(&field.name).is_some());
                    let (path, intro) = (path.clone(), intro.into());
                    out.push(Section { path, kind: Some(kind), config, fields, docs, intro });
                }
            }
            Item::Struct(fields) => {
                let (path, config, fields) = (path.clone(), config.clone(), described(fields));
                out.push(Section { path, kind: None, config, fields, docs: String::new(), intro: intro.into() });
            }
            Item::Enum(choices) => {
                for choice in choices {
                    let inner = choice.fields.first().filter(|field| field.name.is_empty());
                    let fields = match inner.map(|field| &self.0[&field.ty.name]) {
                        Some(Item::Struct(fields)) => described(fields),
                        _ => described(&choice.fields),
                    };
                    let config = of_kind(config, &path, &choice.name, &fields);
                    let (path, kind, docs) = (path.clone(), Some(choice.name.clone()), choice.docs.clone());
                    out.push(Section { path, kind, config, fields, docs, intro: intro.into() });
                }
            }
        }
        self.below(first, &path, out);
    }

    /// The sections within those from `first` on, each of which once.
    fn below(&self, first: usize, path: &str, out: &mut Vec<Section>) {
        let mut below: Vec<(String, Ty, String, RunConfig)> = Vec::new();
        for section in &out[first..] {
            for Field { name, docs, ty } in section.fields.iter().filter(|field| self.is_section(&field.ty.name)) {
                if !below.iter().any(|(other, ..)| other == name) {
                    below.push((name.clone(), ty.clone(), docs.clone(), section.config.clone()));
                }
            }
        }
        for (name, ty, docs, config) in below {
            let dot = if path.is_empty() { "" } else { "." };
            let index = if ty.list { "[0]" } else { "" };
            self.section(format!("{path}{dot}{name}{index}"), &ty.name, &docs, &config, out);
        }
    }

    /// The field with the description of the types that its type stands for, if it has none.
    fn described(&self, of: &str, field: &Field) -> Field {
        let stands_for = WRITTEN_AS.iter().find(|(ty, ..)| *ty == of).map_or(&[][..], |(.., types)| types);
        let others = stands_for.iter().filter_map(|ty| match &self.0[*ty] {
            Item::Struct(fields) => {
                fields.iter().find(|other| other.name == field.name).map(|other| other.docs.clone())
            }
            Item::Enum(_) => None,
        });
        let docs = Some(field.docs.clone()).into_iter().chain(others).find(|docs| !docs.is_empty()).unwrap_or_default();
        Field { name: field.name.clone(), docs, ty: field.ty.clone() }
    }

    /// Whether a field of this type is a section: a struct, or an enum of which a choice has fields.
    fn is_section(&self, ty: &str) -> bool {
        match self.0.get(written_as(ty)) {
            Some(Item::Struct(fields)) => !fields.iter().any(|field| field.name.is_empty()) && ty != "Shape",
            Some(Item::Enum(choices)) => choices.iter().any(|choice| !choice.fields.is_empty()),
            None => false,
        }
    }

    /// The values of an enum without fields, and what they mean.
    fn values(&self, ty: &str) -> Vec<(String, String)> {
        let described = WRITTEN_AS.iter().find(|(name, ..)| *name == ty).map_or(ty, |(.., types)| types[0]);
        let (Some(Item::Enum(choices)), Some(Item::Enum(others))) = (self.0.get(ty), self.0.get(described)) else {
            return Vec::new();
        };
        choices.iter().zip(others).map(|(choice, other)| (choice.name.clone(), other.docs.clone())).collect()
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut page = String::from(HEAD);
        let presets: Vec<(&str, Table)> = (presets::all().into_iter())
            .map(|name| (name, Table::try_from(presets::ours(name).unwrap()).unwrap()))
            .collect();
        let (mut last, mut explained) = (None, Vec::new());
        for section in self.sections() {
            if last.as_ref() != Some(&section.path) {
                page.push_str(&format!("\n## {}\n", heading(&section.path)));
                if !section.intro.is_empty() {
                    page.push_str(&format!("\n{}\n", section.intro));
                }
                if let Some(list) = section.path.strip_suffix("[0]") {
                    let entries = |table: &Table| value_at(table, list).and_then(|list| Some(list.as_array()?.len()));
                    let numbers: Vec<(&str, Table)> = (presets.iter())
                        .map(|(name, table)| {
                            (*name, Table::from_iter([("n".into(), (entries(table).unwrap() as i64).into())]))
                        })
                        .collect();
                    let usual = defaults("n", &numbers).unwrap();
                    page.push_str(&format!("\nNumber of entries, unless the file has any: {usual}.\n"));
                }
                last = Some(section.path.clone());
            }
            page.push_str(&self.body(&section, &presets, &mut explained));
        }
        page
    }

    /// A section. `explained` has the types of enums whose values stand further up.
    fn body(&self, section: &Section, presets: &[(&str, Table)], explained: &mut Vec<String>) -> String {
        let mut text = String::new();
        if let Some(kind) = &section.kind {
            let usual = match &with_kind(section, presets)[..] {
                [] => String::new(),
                all if all.len() == presets.len() => ", the default".into(),
                some => format!(", in {}", some.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")),
            };
            text.push_str(&format!("\n**`kind = \"{kind}\"`**{usual}: {}\n", section.docs));
        }
        let fields = || section.fields.iter().filter(|field| !self.is_section(&field.ty.name));
        let row = |field: &Field| {
            let path = section.path_of(field);
            // Another kind of readout keeps the fields that it has in common with the preset's.
            let kept = || defaults(&path, presets).filter(|_| section.path == "network.readout");
            let default = defaults(&path, &with_kind(section, presets)).or_else(kept);
            let default = default.or_else(|| own_default(section, &path));
            let default = default.unwrap_or_else(|| if field.ty.optional { "not set" } else { "required" }.into());
            format!("| `{}` | {} | {default} | {} |\n", field.name, self.type_of(section, field), field.docs)
        };
        if fields().next().is_some() {
            text.push_str("\n| field | value | default | |\n|---|---|---|---|\n");
            text.extend(fields().map(row));
        }
        for field in fields() {
            let values = self.values(&field.ty.name);
            if !values.is_empty() && !explained.contains(&field.ty.name) {
                explained.push(field.ty.name.clone());
                text.push_str(&format!("\nValues of `{}`:\n\n", field.name));
                text.extend(values.iter().map(|(name, docs)| format!("- `\"{name}\"`: {docs}\n")));
            }
        }
        text
    }

    /// `number, ms: positive`.
    fn type_of(&self, section: &Section, field: &Field) -> String {
        let path = &section.path_of(field);
        let kind = match field.ty.name.as_str() {
            "usize" | "u32" | "u64" if field.ty.list => "list of whole numbers",
            "usize" | "u32" | "u64" => "whole number",
            "f64" => "number",
            "bool" => return "true or false".into(),
            "String" => "text",
            "PathBuf" => "path",
            "Shape" => "list",
            "DeltaScratch" => "number or text",
            ty if !self.values(ty).is_empty() => {
                let names: Vec<String> = self.values(ty).into_iter().map(|(name, _)| format!("`\"{name}\"`")).collect();
                return names.join(", ");
            }
            other => panic!("{path}: a field of the type {other}; add its source to SOURCES, or its name here"),
        };
        let units = [("_ms", ", ms"), ("_seconds", ", s"), ("_mib", ", MiB")];
        let unit = units.iter().find(|(end, _)| path.ends_with(end)).map_or("", |(_, unit)| unit);
        match allowed(&section.config, path) {
            _ if path == "preset" => {
                format!("{kind}: {}", presets::all().join(", "))
            }
            // `a positive number`
            Some(want) if want.contains("number") || want.contains("list") => format!("{}{unit}", escaped(&want)),
            // `less than the kernel, which is 1`
            Some(want) => format!("{kind}{unit}: {}", escaped(want.split(", which is").next().unwrap_or_default())),
            None => format!("{kind}{unit}"),
        }
    }
}

fn written_as(ty: &str) -> &str {
    WRITTEN_AS.iter().find(|(name, ..)| *name == ty).map_or(ty, |(_, written, _)| written)
}

fn heading(path: &str) -> String {
    match path.strip_suffix("[0]") {
        _ if path.is_empty() => "Top level".into(),
        Some(list) => format!("`[[{list}]]`"),
        None => format!("`[{}]`", path.replace("[0]", "")),
    }
}

/// The configuration with this kind in a section, and 1 for all fields that it requires.
fn of_kind(config: &RunConfig, path: &str, kind: &str, fields: &[Field]) -> RunConfig {
    let mut given = String::new();
    loop {
        let mut config = config.clone();
        let error = match config.set(&format!("{path}={{kind='{kind}'{given}}}")) {
            Ok(()) => return config,
            Err(error) => error.to_string(),
        };
        let missing = error.split(" requires `").nth(1).and_then(|rest| rest.split('`').next());
        let field = fields.iter().find(|field| Some(field.name.as_str()) == missing && !given.contains(&field.name));
        let Some(field) = field else { panic!("{path} of kind {kind}: {error}") };
        given.push_str(&format!(", {}={}", field.name, if field.ty.list { "[1]" } else { "1" }));
    }
}

/// The presets in which the section is of its kind.
fn with_kind<'a>(section: &Section, presets: &[(&'a str, Table)]) -> Vec<(&'a str, Table)> {
    let kind = |table: &Table| value_at(table, &format!("{}.kind", section.path));
    let same = |table: &Table| section.kind.is_none() || kind(table) == section.kind.clone().map(Value::from);
    presets.iter().filter(|(_, table)| same(table)).cloned().collect()
}

/// What the error for an invalid value says that the field must be.
fn allowed(config: &RunConfig, path: &str) -> Option<String> {
    let attempts = ["nan", "-1.0", "inf", "0", "0.0", "2.0", "9223372036854775807", "'?'", "[0, 0, 0]", "[]"];
    attempts.into_iter().find_map(|value| {
        let mut config = config.clone();
        let set = config.set(&format!("{path}={value}")).and_then(|()| config.check());
        match set {
            // Some data sets do not use the field.
            Err(Error::Field { field, want, .. }) if field == path && !want.starts_with("left out") => Some(want),
            _ => None,
        }
    })
}

fn value_at(table: &Table, path: &str) -> Option<Value> {
    let mut value = Value::Table(table.clone());
    for name in path.split('.') {
        value = match name.strip_suffix("[0]") {
            Some(list) => value.get(list)?.get(0)?.clone(),
            None => value.get(name)?.clone(),
        };
    }
    Some(value)
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Float(x) if (x.abs() < 1e-3 || x.abs() >= 1e6) && *x != 0.0 => format!("{x:e}"),
        Value::Float(x) => x.to_string(),
        other => other.to_string(),
    };
    format!("`{text}`")
}

/// The values of the presets, if one of them has the field: the most frequent one, then those of other presets.
fn defaults(path: &str, presets: &[(&str, Table)]) -> Option<String> {
    let mut groups: Vec<(Option<Value>, Vec<&str>)> = Vec::new();
    for (name, table) in presets {
        let value = value_at(table, path);
        match groups.iter_mut().find(|(other, _)| *other == value) {
            Some((_, names)) => names.push(name),
            None => groups.push((value, vec![name])),
        }
    }
    groups.retain(|(value, _)| value.is_some());
    groups.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    let several = groups.len() > 1;
    let text = |(k, (value, names)): (usize, &(Option<Value>, Vec<&str>))| match value {
        // Fields that are 0 are those of the data.
        Some(value) if several && k > 0 => format!("{} ({})", shown(value), names.join(", ")),
        Some(value) => shown(value),
        None => String::new(),
    };
    let texts: Vec<String> = groups.iter().enumerate().map(text).collect();
    (!texts.is_empty() && path != "preset").then(|| texts.join("; "))
}

/// The value that the field has if it is not given, in a section of a kind that no preset has.
fn own_default(section: &Section, path: &str) -> Option<String> {
    let value = value_at(&Table::try_from(&section.config).ok()?, path)?;
    // 1 was given where something is required; a readout needs nothing to be given.
    let given = [Value::Integer(1), Value::Float(1.0), Value::Array(vec![Value::Integer(1)])].contains(&value);
    (path != "preset" && (!given || section.path == "network.readout")).then(|| shown(&value))
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('[', "\\[")
}

fn snake_case(name: &str) -> String {
    let letter = |(k, c): (usize, char)| match c.is_uppercase() && k > 0 {
        true => format!("_{}", c.to_lowercase()),
        false => c.to_lowercase().to_string(),
    };
    name.chars().enumerate().map(letter).collect()
}

fn fields(fields: &Fields) -> Vec<Field> {
    let field = |field: &syn::Field| Field {
        name: field.ident.as_ref().map_or(String::new(), ToString::to_string),
        docs: docs(&field.attrs),
        ty: ty(&field.ty),
    };
    fields.iter().map(field).collect()
}

fn ty(ty: &Type) -> Ty {
    let plain = |name: &str| Ty { name: name.into(), optional: false, list: false };
    let Type::Path(path) = ty else { return plain("") };
    let Some(last) = path.path.segments.last() else { return plain("") };
    let inner = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(self::ty(ty)),
            _ => None,
        }),
        _ => None,
    };
    match (last.ident.to_string().as_str(), inner) {
        ("Option", Some(inner)) => Ty { optional: true, ..inner },
        ("Vec", Some(inner)) => Ty { list: true, ..inner },
        (name, _) => plain(name),
    }
}

/// `#[serde(rename = "...")]` of a variant.
fn renamed(attributes: &[Attribute]) -> Option<String> {
    let mut name = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        let _ = attribute.parse_nested_meta(|meta| {
            let value: syn::LitStr = meta.value()?.parse()?;
            if meta.path.is_ident("rename") {
                name = Some(value.value());
            }
            Ok(())
        });
    }
    name
}

/// The description on one line, without links into the code.
fn docs(attributes: &[Attribute]) -> String {
    let line = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_string()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let text = attributes.iter().filter_map(line).collect::<Vec<_>>().join(" ");
    unlinked(text.trim()).replace('|', "\\|")
}

/// Takes the text of links, and leaves those in parentheses out.
fn unlinked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("[") {
        let escaped = rest[..at].ends_with('\\');
        let end = rest[at..].find(']').map(|end| at + end).filter(|_| !escaped);
        let Some(end) = end else {
            out.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        };
        let (inside, mut after) = (&rest[at + 1..end], &rest[end + 1..]);
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        let is_link = target.is_some() || inside.starts_with('`');
        if let Some((_, behind)) = target {
            after = behind;
        }
        match rest[..at].strip_suffix(" (").filter(|_| is_link && after.starts_with(')')) {
            Some(before) => {
                out.push_str(before);
                rest = &after[1..];
            }
            None if is_link => {
                out.push_str(&rest[..at]);
                out.push_str(inside);
                rest = after;
            }
            None => {
                out.push_str(&rest[..=end]);
                rest = &rest[end + 1..];
            }
        }
    }
    out + rest
}
