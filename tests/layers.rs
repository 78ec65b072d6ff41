//! Modules only use modules of lower layers, without cycles. ARCHITECTURE.md defines the layers.

#[path = "common/modules.rs"]
mod modules;

use modules::{Graph, faults, graph, graph_of_sources, graphviz, layers_of_architecture, mermaid};

#[test]
fn modules_use_only_what_lies_below_them() {
    let graph = graph_of_sources();
    assert!(graph.len() > 15 && graph["cli"].contains_key("train"), "the sources were not understood: {graph:?}");
    let faults = faults(&graph, &layers_of_architecture());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_drawing_in_the_architecture_is_the_graph() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    let drawn = mermaid(&graph_of_sources(), &layers_of_architecture());
    assert!(
        text.contains(&format!("```mermaid\n{drawn}```")),
        "replace the drawing in ARCHITECTURE.md by what `cargo run --example modules -- mermaid` prints"
    );
}

#[test]
fn drawings_leave_out_what_follows() {
    let graph = of(&[("top.rs", "use crate::{left, low};"), ("left.rs", "use crate::low;"), ("low.rs", "")]);
    let layers = ["top", "left", "low"].map(|module| vec![module.to_string()]);
    assert_eq!(mermaid(&graph, &layers), "graph TD\n    top --> left\n    left --> low\n");
    let dot = graphviz(&graph, &layers);
    assert!(dot.contains("top -> left;") && dot.contains("left -> low;") && !dot.contains("top -> low;"), "{dot}");
}

fn of(files: &[(&str, &str)]) -> Graph {
    graph(&files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect::<Vec<_>>())
}

fn uses(graph: &Graph, module: &str) -> Vec<String> {
    graph[module].keys().cloned().collect()
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let graph = of(&[
        ("lib.rs", "pub use low::{Fault, Outcome};"),
        ("low.rs", "use std::fmt;"),
        ("mid/mod.rs", "use crate::low::a;\nmod deep;"),
        ("mid/deep.rs", "use super::super::low;\nuse super::other;"),
        ("a.rs", "use crate::{low::{x, y}, mid};"),
        ("b.rs", "fn f() -> crate::mid::T { $crate::low::g() }"),
        ("c.rs", "fn f() -> crate::Outcome {}"),
        ("main.rs", "fn main() { spikegrad::a::run() }"),
    ]);
    assert_eq!(uses(&graph, "mid"), ["low"]);
    assert_eq!(uses(&graph, "a"), ["low", "mid"]);
    assert_eq!(uses(&graph, "b"), ["low", "mid"]);
    assert_eq!(uses(&graph, "c"), ["low"]);
    assert_eq!(uses(&graph, "cli"), ["a"]);
}

#[test]
fn comments_strings_and_tests_name_nothing() {
    let graph = of(&[
        (
            "a.rs",
            "/// [`x`](crate::b::x)\n// crate::b\nconst S: &str = \"crate::b \\\" {\";\nconst C: char = '\"';\nfn f<'a>() {}",
        ),
        (
            "b.rs",
            "fn f() { '{' }\n#[cfg(test)]\nmod tests {\n    use crate::c;\n    fn g() { if x { y } }\n}\nuse crate::a;",
        ),
        ("c/mod.rs", "#[cfg(test)]\nmod more;\n#[cfg(test)]\n#[path = \"odd_name.rs\"]\nmod odd;"),
        ("c/more.rs", "use crate::a;"),
        ("e.rs", "#[cfg(all(test, feature = \"x\"))]\nmod tests {\n    use crate::c;\n}\nuse crate::a;"),
        ("c/odd_name.rs", "use crate::a;"),
        ("d.rs", "const S: &str = r#\"crate::b \" crate::c\"#;\n#[cfg(test)]\nuse crate::b;\nuse crate::a;"),
    ]);
    assert_eq!(uses(&graph, "a"), Vec::<String>::new());
    assert_eq!(uses(&graph, "b"), ["a"]);
    assert_eq!(uses(&graph, "c"), Vec::<String>::new());
    assert_eq!(uses(&graph, "d"), ["a"]);
    assert_eq!(uses(&graph, "e"), ["a"]);
}

/// A module of the top, the middle and the bottom, used as `files` say.
fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let layers: Vec<Vec<String>> =
        [&["top"][..], &["left", "right"], &["low"]].map(|layer| layer.iter().map(|m| m.to_string()).collect()).into();
    faults(&of(files), &layers)
}

#[test]
fn planted_faults_are_found() {
    let right =
        [("top.rs", "use crate::{left, low};"), ("left.rs", "use crate::low;"), ("right.rs", ""), ("low.rs", "")];
    assert_eq!(planted(&right), Vec::<String>::new());
    let with = |file: &'static str, text: &'static str| {
        let mut files = right.to_vec();
        files.retain(|(path, _)| *path != file);
        files.push((file, text));
        planted(&files)
    };
    assert_eq!(with("low.rs", "use crate::right;"), ["low.rs: low uses right, which is above it"]);
    assert_eq!(with("right.rs", "use crate::left;"), ["right.rs: right uses left, which is beside it"]);
    let circle = with("low.rs", "use crate::top;");
    assert_eq!(circle, ["low.rs: low uses top, which is above it", "circle: left, low, top"]);
    assert_eq!(with("new.rs", "use crate::low;"), ["module new is in no layer"]);
    assert_eq!(with("low.rs", "use crate::gone::x;"), ["low.rs: low uses gone, no module"]);
    assert_eq!(planted(&right[..3]), ["there is no module low, but a layer names it"]);
}
