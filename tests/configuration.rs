//! docs/configuration.md has every field of a configuration, and no others.

#[path = "common/configuration.rs"]
mod configuration;

use configuration::{Section, Types};
use spikegrad::train::RunConfig;
use std::collections::BTreeSet;

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    assert!(page == Types::read().page(), "docs/configuration.md is stale; run `cargo run --example configuration`");
}

#[test]
fn the_page_has_the_fields_that_files_have() {
    let sections = Types::read().sections();
    let mut known = 0;
    for section in &sections {
        let documented: BTreeSet<String> = section.fields.iter().map(|field| field.name.clone()).collect();
        if let Some(fields) = fields_of(section) {
            // A readout's file has the fields of both kinds, each of which belongs to one of them at least.
            let of_all = sections.iter().filter(|other| other.path == section.path).flat_map(|other| &other.fields);
            let of_all: BTreeSet<String> = of_all.map(|field| field.name.clone()).chain(["kind".into()]).collect();
            let expected = if section.path == "network.readout" { &of_all } else { &documented };
            assert_eq!(&fields, expected, "{} {:?}", section.path, section.kind);
            known += 1;
        }
        let written = written(section);
        assert!(written.is_subset(&documented), "{} {:?}: {written:?}, {documented:?}", section.path, section.kind);
    }
    // Of structs and of most enums, serde says which fields there are.
    assert!(known >= 10 && sections.len() > 20, "{known} of {}", sections.len());
}

#[test]
fn every_field_is_described() {
    for section in Types::read().sections() {
        for field in &section.fields {
            let place = format!("{} {:?}: {}", section.path, section.kind, field.name);
            assert!(field.docs.len() > 5, "{place} has no description");
            for word in ["None", "Self::", "crate::", "::"] {
                assert!(!field.docs.contains(word), "{place}: `{word}` means nothing in a file: {}", field.docs);
            }
        }
    }
}

/// The fields of a section that the error for an unknown one lists.
fn fields_of(section: &Section) -> Option<BTreeSet<String>> {
    let dot = if section.path.is_empty() { "" } else { "." };
    let error = section.config.clone().set(&format!("{}{dot}zzz=1", section.path)).unwrap_err().to_string();
    let (_, about) = error.split_once(" is not a field")?;
    let (_, listed) = about.split_once(" are ")?;
    Some(listed.split('`').skip(1).step_by(2).map(String::from).collect())
}

/// The fields of a section that a file of its configuration has.
fn written(section: &Section) -> BTreeSet<String> {
    let text = section.config.to_toml().unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let _: RunConfig = table.clone().try_into().unwrap();
    let mut value = toml::Value::Table(table);
    for name in section.path.split('.').filter(|name| !name.is_empty()) {
        value = match name.strip_suffix("[0]") {
            Some(list) => value[list][0].clone(),
            None => value[name].clone(),
        };
    }
    let keys = value.as_table().unwrap().keys().cloned();
    keys.filter(|key| section.kind.is_none() || key != "kind").collect()
}
