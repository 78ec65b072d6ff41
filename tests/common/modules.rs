//! Which top-level module of `src/` uses which, read from the source text. Tests are left out: they may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// For each module, the modules that it uses, and a file in which it does.
pub type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// The graph of the program: the library's modules, and the command line as `cli`.
pub fn graph_of_sources() -> Graph {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&src).expect("inside src").to_string_lossy().replace('\\', "/");
            (name, std::fs::read_to_string(path).expect("a source file is read"))
        })
        .collect();
    graph(&texts)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => collect(&path, files),
            false if path.extension().is_some_and(|ext| ext == "rs") => files.push(path),
            false => {}
        }
    }
}

/// The graph of files given by their paths below `src/` and their texts.
pub fn graph(files: &[(String, String)]) -> Graph {
    let plain: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), without_comments(text))).collect();
    let tests: BTreeSet<String> = plain.iter().flat_map(|(path, text)| test_files(path, text)).collect();
    let root = plain.iter().find(|(path, _)| *path == "lib.rs").map(|(_, text)| text.as_str()).unwrap_or_default();
    let reexports = reexports(root);
    let mut graph = Graph::new();
    for (path, text) in plain.iter().filter(|(path, _)| *path != "lib.rs") {
        let module = top_module(path);
        let uses = graph.entry(module.clone()).or_default();
        if tests.contains(*path) {
            continue;
        }
        for name in names_used(&without_test_items(text), path) {
            let target = reexports.get(&name).cloned().unwrap_or(name);
            if target != module {
                uses.entry(target).or_insert_with(|| path.to_string());
            }
        }
    }
    graph
}

/// `gpu` of `gpu/mod.rs`; the binary's own files are `cli`.
fn top_module(path: &str) -> String {
    match path.split('/').next().unwrap_or(path) {
        "main.rs" => "cli".into(),
        first => first.trim_end_matches(".rs").into(),
    }
}

/// The text without comments; the contents of strings and characters become spaces, so that no brace or path is found in them,
/// except those of `#[path = "..."]`.
fn without_comments(text: &str) -> String {
    let c: Vec<char> = text.chars().collect();
    let (mut out, mut i) = (String::new(), 0);
    let starts = |i: usize, s: &str| s.chars().enumerate().all(|(k, x)| c.get(i + k) == Some(&x));
    while i < c.len() {
        if starts(i, "//") {
            while i < c.len() && c[i] != '\n' {
                i += 1;
            }
        } else if starts(i, "/*") {
            while i < c.len() && !starts(i, "*/") {
                i += 1;
            }
            i += 2;
        } else if c[i] == '"' {
            let hashes = out.chars().rev().take_while(|&x| x == '#').count();
            let raw = out.chars().rev().nth(hashes) == Some('r');
            let end = format!("\"{}", "#".repeat(if raw { hashes } else { 0 }));
            let keep = out.trim_end().ends_with("#[path =");
            out.push('"');
            i += 1;
            while i < c.len() && !starts(i, &end) {
                let step = if c[i] == '\\' && !raw { 2 } else { 1 };
                out.push(if keep { c[i] } else { ' ' });
                i += step;
            }
            out.push('"');
            i += 1;
        } else if c[i] == '\'' && (c.get(i + 2) == Some(&'\'') || c.get(i + 1) == Some(&'\\')) {
            // A character, not a lifetime.
            i += if c[i + 1] == '\\' { 3 } else { 2 };
            while i < c.len() && c[i] != '\'' {
                i += 1;
            }
            i += 1;
            out.push(' ');
        } else {
            out.push(c[i]);
            i += 1;
        }
    }
    out
}

/// Files that `path` declares as modules of tests.
fn test_files(path: &str, text: &str) -> Vec<String> {
    let folder = match path.rsplit_once('/') {
        Some((folder, "mod.rs")) => format!("{folder}/"),
        Some((folder, file)) => format!("{folder}/{}/", file.trim_end_matches(".rs")),
        None => format!("{}/", path.trim_end_matches(".rs")),
    };
    let beside = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let mut found = Vec::new();
    for (_, after) in test_marks(text) {
        let item = &text[after..];
        let Some(end) = item.find([';', '{']).filter(|&end| item.as_bytes()[end] == b';') else { continue };
        let item = item[..end].trim();
        if let Some(file) = item.strip_prefix("#[path = \"").and_then(|rest| rest.split('"').next()) {
            found.push(format!("{beside}{file}"));
        } else if let Some(name) = item.rsplit_once("mod ").map(|(_, name)| name.trim()) {
            found.push(format!("{folder}{name}.rs"));
        }
    }
    found
}

/// Where an attribute begins and ends that leaves the next item to tests: `cfg(test)`, `cfg(all(test, ...))`.
fn test_marks(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.match_indices("#[cfg(").filter_map(|(at, _)| {
        let condition = text[at..].strip_prefix("#[cfg(")?;
        let is_test = condition.starts_with("test)") || condition.starts_with("all(test");
        is_test.then(|| (at, at + text[at..].find(']').map_or(0, |end| end + 1)))
    })
}

/// The text without the items that are compiled for tests only.
fn without_test_items(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((at, _)) = test_marks(rest).next() {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let mut depth = 0;
        let mut end = item.len();
        for (k, c) in item.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                end = k + 1;
                break;
            }
        }
        rest = &item[end..];
    }
    out + rest
}

/// What the root of the library passes on: `Error` of `pub use error::{Error, Result}`, by its module.
fn reexports(root: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (at, mark) in root.match_indices("pub use ") {
        let statement = root[at + mark.len()..].split(';').next().unwrap_or_default();
        if let Some((module, names)) = statement.split_once("::") {
            for name in names.split([',', '{', '}']).map(str::trim).filter(|name| !name.is_empty()) {
                found.insert(name.to_string(), module.trim().to_string());
            }
        }
    }
    found
}

/// First names behind `crate::`, behind `spikegrad::` in the command line, and behind a `super::` that leaves the module.
fn names_used(text: &str, path: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut behind = |mark: &str| {
        for (at, _) in text.match_indices(mark) {
            if !text[..at].ends_with(is_name) {
                found.extend(first_names(&text[at + mark.len()..]));
            }
        }
    };
    behind("crate::");
    if top_module(path) == "cli" {
        behind("spikegrad::");
    }
    let depth = path.split('/').filter(|part| *part != "mod.rs").count();
    for (at, _) in text.match_indices("super::") {
        if text[..at].ends_with("super::") || text[..at].ends_with(is_name) {
            continue;
        }
        let chain = text[at..].split("super::").take_while(|part| part.is_empty()).count();
        if chain > depth {
            found.extend(first_names(&text[at + (chain - 1) * "super::".len()..]));
        }
    }
    found
}

/// `a` of `a::b`; `a` and `c` of `{a::{b, d}, c}`.
fn first_names(path: &str) -> Vec<String> {
    let name =
        |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(inside) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut begin) = (0, Vec::new(), 0);
    for (k, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&inside[begin..k]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&inside[begin..k]));
                begin = k + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The layers in ARCHITECTURE.md, the uppermost first: what stands between "```layers" and "```", one layer a line, its
/// modules before the first two spaces.
pub fn layers_of_architecture() -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).expect("ARCHITECTURE.md is read");
    let block = text.split("```layers\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of layers");
    let modules = |line: &str| {
        line.split("  ").next().unwrap_or_default().split(',').map(|name| name.trim().to_string()).collect()
    };
    block.lines().filter(|line| !line.trim().is_empty()).map(modules).collect()
}

/// What is wrong with a graph: modules without a layer, layers' modules that do not exist, arrows that lead up or to a
/// neighbour, circles.
pub fn faults(graph: &Graph, layers: &[Vec<String>]) -> Vec<String> {
    let layer = |module: &str| layers.iter().position(|layer| layer.iter().any(|name| name == module));
    let mut faults = Vec::new();
    for module in graph.keys().filter(|module| layer(module).is_none()) {
        faults.push(format!("module {module} is in no layer"));
    }
    for module in layers.iter().flatten().filter(|module| !graph.contains_key(*module)) {
        faults.push(format!("there is no module {module}, but a layer names it"));
    }
    for (from, uses) in graph {
        for (to, file) in uses {
            match (layer(from), layer(to)) {
                (Some(a), Some(b)) if a > b => faults.push(format!("{file}: {from} uses {to}, which is above it")),
                (Some(a), Some(b)) if a == b => faults.push(format!("{file}: {from} uses {to}, which is beside it")),
                (_, None) if !graph.contains_key(to) => faults.push(format!("{file}: {from} uses {to}, no module")),
                _ => {}
            }
        }
    }
    faults.extend(circles(graph).into_iter().map(|names| format!("circle: {}", names.join(", "))));
    faults
}

/// Sets of modules that reach each other.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let mut found: Vec<Vec<String>> = Vec::new();
    for (from, there) in &reach {
        let together: Vec<String> = there
            .iter()
            .filter(|to| reach.get(*to).is_some_and(|back| back.contains(from)))
            .map(|to| to.to_string())
            .collect();
        if !together.is_empty() && !found.contains(&together) {
            found.push(together);
        }
    }
    found
}

fn reachable<'a>(graph: &'a Graph, from: &String) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&String> = graph.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(module) = open.pop() {
        if found.insert(module) {
            open.extend(graph.get(module).into_iter().flat_map(BTreeMap::keys));
        }
    }
    found
}

/// The arrows that are not implied by others, as a Mermaid drawing.
pub fn mermaid(graph: &Graph, layers: &[Vec<String>]) -> String {
    let mut text = String::from("graph TD\n");
    for module in layers.iter().flatten() {
        for to in direct(graph, module) {
            text.push_str(&format!("    {module} --> {to}\n"));
        }
    }
    text
}

/// The arrows that are not implied by others, for Graphviz.
pub fn graphviz(graph: &Graph, layers: &[Vec<String>]) -> String {
    let mut text = String::from("digraph modules {\n    node [shape=box];\n");
    for layer in layers {
        text.push_str(&format!("    {{ rank=same; {}; }}\n", layer.join("; ")));
        for module in layer {
            for to in direct(graph, module) {
                text.push_str(&format!("    {module} -> {to};\n"));
            }
        }
    }
    text + "}\n"
}

/// What a module uses and reaches by no other way.
fn direct(graph: &Graph, module: &str) -> Vec<String> {
    let Some(uses) = graph.get(module) else { return Vec::new() };
    let implied = |to: &&String| uses.keys().any(|other| other != *to && reachable(graph, other).contains(to));
    uses.keys().filter(|to| !implied(to)).cloned().collect()
}
