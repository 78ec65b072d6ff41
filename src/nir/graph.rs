//! The graph of a NIR file, as it is stored: nodes with their fields, edges between names, graphs within graphs.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Nodes, connected by edges.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Graph {
    pub nodes: BTreeMap<String, Node>,
    /// (from, to).
    pub edges: Vec<(String, String)>,
    /// What the writer noted: anything, under any name. Only `dt` and our own entry are read.
    pub metadata: Fields,
}

impl Graph {
    /// Whether all nodes with a threshold say what a spike does.
    pub fn every_reset_is_known(&self) -> bool {
        let known = |node: &Node| {
            (!node.fields.contains_key("v_threshold") || node.fields.contains_key("v_reset"))
                && node.graph.as_ref().is_none_or(Graph::every_reset_is_known)
        };
        self.nodes.values().all(known)
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Its type: `LIF`.
    pub kind: String,
    pub fields: Fields,
    /// The graph that a node of type `NIRGraph` is.
    pub graph: Option<Graph>,
}

/// Values by name.
pub(super) type Fields = BTreeMap<String, Value>;

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Array(Array),
}

/// Numbers in a row-major array; a scalar has no extents.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

/// Numbers of one type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
}

impl Numbers {
    pub fn len(&self) -> usize {
        match self {
            Numbers::F32(numbers) => numbers.len(),
            Numbers::F64(numbers) => numbers.len(),
            Numbers::I64(numbers) => numbers.len(),
        }
    }

    /// The numbers; `i64` beyond 2^53 are rounded.
    pub fn floats(&self) -> Vec<f64> {
        match self {
            Numbers::F32(numbers) => numbers.iter().map(|&x| x.into()).collect(),
            Numbers::F64(numbers) => numbers.clone(),
            Numbers::I64(numbers) => numbers.iter().map(|&x| x as f64).collect(),
        }
    }
}

/// The type of nodes that are graphs.
pub(super) const GRAPH: &str = "NIRGraph";

/// An error about a node.
pub(super) fn node_error(path: &Path, name: &str, kind: &str, what: impl AsRef<str>) -> Error {
    Error::format(path, format!("node `{name}` ({kind}): {}", what.as_ref()))
}

/// A node with its name, which is `outer/inner` within a graph of a graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub name: String,
    pub kind: String,
    pub fields: Fields,
    /// Of neurons with recurrent connections: the nodes that lead from their spikes back to them, in order.
    pub loop_back: Vec<Step>,
}

/// The types of nodes that are spiking neurons.
pub(super) const SPIKING: [&str; 3] = ["LIF", "IF", "CubaLIF"];
/// The types of nodes that may lead from neurons back to them.
const WEIGHTS: [&str; 3] = ["Linear", "Affine", "Scale"];

impl Step {
    pub fn error(&self, path: &Path, what: impl AsRef<str>) -> Error {
        node_error(path, &self.name, &self.kind, what)
    }
}

/// The nodes from the Input to the Output, in order, graphs within the graph replaced by their nodes. Loops from neurons through
/// weights to the same neurons are part of these ([`Step::loop_back`]).
///
/// # Errors
/// [`Error::Format`] naming the node or the edge: an edge to a node that does not exist, several or no Inputs or Outputs, other
/// loops, branches, joining paths, or a node that is not on the path.
pub(super) fn chain(graph: Graph, path: &Path) -> Result<Vec<Step>> {
    let mut flat = Flat { path, nodes: BTreeMap::new(), next: BTreeMap::new() };
    let (input, output) = flat.add(graph, "")?;
    flat.take_loops();
    flat.refuse_loops()?;
    let mut steps = Vec::new();
    let mut at = input;
    loop {
        let step = flat.nodes.remove(&at).ok_or_else(|| Error::format(path, format!("node `{at}` is missing")))?;
        let next = flat.next.remove(&at).unwrap_or_default();
        let over = at == output;
        let successors: Vec<&String> = next.iter().collect();
        at = match (successors.as_slice(), over) {
            ([], true) => {
                steps.push(step);
                break;
            }
            ([one], false) => (*one).clone(),
            ([], false) => return Err(step.error(path, "leads nowhere; every node must lead to the Output")),
            (many, _) => {
                let names: Vec<String> = many.iter().map(|name| format!("`{name}`")).collect();
                return Err(step.error(
                    path,
                    format!(
                        "leads to {}, only chains of nodes can be imported; remove the branch",
                        names.join(" and ")
                    ),
                ));
            }
        };
        steps.push(step);
    }
    match flat.nodes.into_values().next() {
        Some(left) => {
            Err(left
                .error(path, "is not on the path from the Input to the Output; remove it, or make the graph a chain"))
        }
        None => Ok(steps),
    }
}

/// A graph whose graphs are replaced by their nodes.
struct Flat<'a> {
    path: &'a Path,
    nodes: BTreeMap<String, Step>,
    /// Where the edges from a node lead.
    next: BTreeMap<String, BTreeSet<String>>,
}

impl Flat<'_> {
    /// Adds a graph; the names of its Input and Output.
    fn add(&mut self, graph: Graph, prefix: &str) -> Result<(String, String)> {
        let path = self.path;
        let mut doors = BTreeMap::new();
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (name, node) in graph.nodes {
            let full = format!("{prefix}{name}");
            match node.kind.as_str() {
                "Input" => inputs.push(full.clone()),
                "Output" => outputs.push(full.clone()),
                _ => {}
            }
            let ends = match node.graph {
                Some(inner) => self.add(inner, &format!("{full}/"))?,
                None => {
                    let step = Step { name: full.clone(), kind: node.kind, fields: node.fields, loop_back: Vec::new() };
                    self.nodes.insert(full.clone(), step);
                    (full.clone(), full)
                }
            };
            doors.insert(name, ends);
        }
        for (from, to) in graph.edges {
            let missing = |name: &str| {
                let edge = format!("the edge from `{prefix}{from}` to `{prefix}{to}`");
                Error::format(
                    path,
                    format!("{edge} names the node `{name}`, which does not exist; write the file again"),
                )
            };
            let (_, from_end) = doors.get(&from).ok_or_else(|| missing(&from))?;
            let (to_end, _) = doors.get(&to).ok_or_else(|| missing(&to))?;
            self.next.entry(from_end.clone()).or_default().insert(to_end.clone());
        }
        let one = |found: Vec<String>, kind: &str| match <[String; 1]>::try_from(found) {
            Ok([one]) => Ok(one),
            Err(found) => {
                let whose = if prefix.is_empty() { "the graph".into() } else { format!("the graph `{prefix}`") };
                let n = found.len();
                Err(Error::format(path, format!("{whose} has {n} nodes of type {kind}, exactly 1 is supported")))
            }
        };
        Ok((one(inputs, "Input")?, one(outputs, "Output")?))
    }

    /// Makes the nodes of each loop from neurons through weights to the same neurons part of these. Other loops stay.
    fn take_loops(&mut self) {
        let mut arriving: BTreeMap<String, usize> = BTreeMap::new();
        self.next.values().flatten().for_each(|to| *arriving.entry(to.clone()).or_default() += 1);
        let spiking: Vec<String> = self
            .nodes
            .values()
            .filter(|step| SPIKING.contains(&step.kind.as_str()))
            .map(|step| step.name.clone())
            .collect();
        for neurons in spiking {
            let ways: Vec<String> = self.next.get(&neurons).into_iter().flatten().cloned().collect();
            // Of a second loop, the nodes stay.
            if let Some(names) = ways.iter().find_map(|first| self.way_back(first, &neurons, &arriving)) {
                self.next.entry(neurons.clone()).or_default().remove(&names[0]);
                names.iter().for_each(|name| _ = self.next.remove(name));
                let nodes = names.iter().filter_map(|name| self.nodes.remove(name)).collect();
                self.nodes.entry(neurons).and_modify(|step| step.loop_back = nodes);
            }
        }
    }

    /// The nodes from `first`, a successor of `neurons`, to a predecessor of it, if they are weights and no other edge leads to or
    /// from them. `arriving` has the number of edges to each node.
    fn way_back(&self, first: &str, neurons: &str, arriving: &BTreeMap<String, usize>) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut at = first;
        while at != neurons {
            let weights = self.nodes.get(at).is_some_and(|step| WEIGHTS.contains(&step.kind.as_str()));
            if !weights || arriving.get(at) != Some(&1) {
                return None;
            }
            names.push(at.to_string());
            at = self.next.get(at).filter(|next| next.len() == 1)?.first()?;
        }
        (!names.is_empty()).then_some(names)
    }

    /// Refuses loops, and nodes where several paths join.
    fn refuse_loops(&self) -> Result<()> {
        let mut arriving: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
        for (from, to) in self.next.iter().flat_map(|(from, next)| next.iter().map(move |to| (from, to))) {
            arriving.entry(to).or_default().push(from);
        }
        // Kahn's order: what remains is in a loop or behind one.
        let mut left: BTreeMap<&String, usize> =
            self.nodes.keys().map(|name| (name, arriving.get(name).map_or(0, Vec::len))).collect();
        let mut ready: Vec<&String> = left.iter().filter(|(_, n)| **n == 0).map(|(name, _)| *name).collect();
        while let Some(name) = ready.pop() {
            left.remove(name);
            for to in self.next.get(name).into_iter().flatten() {
                if let Some(n) = left.get_mut(to) {
                    *n -= 1;
                    if *n == 0 {
                        ready.push(to);
                    }
                }
            }
        }
        if let Some(first) = left.keys().next() {
            let inside =
                |name: &str| arriving.iter().find(|(to, _)| to.as_str() == name).map_or(&[][..], |(_, from)| from);
            let back = |name: &str| inside(name).iter().find(|from| left.contains_key(*from)).map(|from| from.as_str());
            let step = self.in_loop(first, back);
            return Err(step.error(
                self.path,
                "is in a loop: only loops from neurons through Linear or Affine nodes to the same neurons can be imported, one for \
                 each layer; train a network without others",
            ));
        }
        match arriving.iter().find(|(_, from)| from.len() > 1) {
            Some((to, from)) if self.nodes.contains_key(*to) => {
                let names: Vec<String> = from.iter().map(|name| format!("`{name}`")).collect();
                let what =
                    format!("paths from {} join here, only chains of nodes can be imported", names.join(" and "));
                Err(self.nodes[*to].error(self.path, what))
            }
            _ => Ok(()),
        }
    }

    /// A node of the loop that walking back from `start` ends in, one with neurons if there is one.
    fn in_loop<'b>(&'b self, start: &'b str, back: impl Fn(&str) -> Option<&'b str>) -> &'b Step {
        let mut walk = vec![start];
        let mut seen = BTreeSet::from([start]);
        while let Some(before) = walk.last().and_then(|at| back(at)) {
            walk.push(before);
            if !seen.insert(before) {
                break;
            }
        }
        let entry = walk.iter().position(|name| Some(name) == walk.last()).unwrap_or_default();
        let steps = || walk[entry..].iter().filter_map(|name| self.nodes.get(*name));
        let neurons = steps().find(|step| SPIKING.contains(&step.kind.as_str()));
        neurons.or_else(|| steps().next()).unwrap_or_else(|| &self.nodes[start])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: &str, graph: Option<Graph>) -> Node {
        Node { kind: kind.into(), fields: Fields::new(), graph }
    }

    fn graph(nodes: &[(&str, &str)], edges: &[(&str, &str)]) -> Graph {
        Graph {
            nodes: nodes.iter().map(|(name, kind)| (name.to_string(), node(kind, None))).collect(),
            edges: edges.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
            metadata: Fields::new(),
        }
    }

    const ENDS: [(&str, &str); 2] = [("in", "Input"), ("out", "Output")];

    #[test]
    fn graphs_within_graphs_become_one_chain() {
        let mut outer = graph(&ENDS, &[("b", "out"), ("in", "b")]);
        let inner = graph(&[("x", "Input"), ("y", "Output"), ("w", "LIF")], &[("w", "y"), ("x", "w")]);
        outer.nodes.insert("b".into(), node(GRAPH, Some(inner)));
        let names: Vec<String> = chain(outer, Path::new("f.nir")).unwrap().into_iter().map(|step| step.name).collect();
        assert_eq!(names, ["in", "b/x", "b/w", "b/y", "out"]);
    }

    #[test]
    fn loops_of_neurons_and_weights_are_part_of_the_neurons() {
        let nodes =
            [&ENDS[..], &[("a", "LIF"), ("b", "CubaLIF"), ("w", "Linear"), ("x", "Affine"), ("y", "Scale")]].concat();
        let edges = [("w", "a"), ("a", "b"), ("b", "x"), ("y", "b"), ("a", "w"), ("x", "y"), ("in", "a"), ("b", "out")];
        let steps = chain(graph(&nodes, &edges), Path::new("f.nir")).unwrap();
        let names = |steps: &[Step]| steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&steps), ["in", "a", "b", "out"]);
        let loops: Vec<_> = steps.iter().map(|step| names(&step.loop_back)).collect();
        assert_eq!(loops, [vec![], vec!["w"], vec!["x", "y"], vec![]]);
    }

    #[test]
    fn what_is_no_chain_is_refused_by_name() {
        let refused = |nodes: &[(&str, &str)], edges: &[(&str, &str)], part: &str| {
            let error = chain(graph(&[&ENDS, nodes].concat(), edges), Path::new("f.nir")).unwrap_err().to_string();
            assert!(error.starts_with("f.nir: ") && error.contains(part), "`{part}` is not in: {error}");
        };
        refused(&[], &[("in", "gone")], "`gone`, which does not exist");
        refused(&[("two", "Input")], &[("in", "out")], "2 nodes of type Input");
        let loop_ = [("in", "a"), ("a", "w"), ("w", "a"), ("a", "out")];
        refused(&[("a", "LIF"), ("w", "Flatten")], &loop_, "node `a` (LIF): is in a loop");
        refused(&[("a", "LIF"), ("w", "LIF")], &loop_, "is in a loop");
        // The input goes through the recurrent weights, as in files of Spyx.
        let through = [("in", "w"), ("w", "a"), ("a", "w"), ("a", "out")];
        refused(&[("a", "LIF"), ("w", "Linear")], &through, "node `a` (LIF): is in a loop");
        let nodes = [("a", "LIF"), ("b", "LIF"), ("w", "Linear"), ("x", "Linear")];
        let long = [("in", "a"), ("a", "b"), ("b", "w"), ("w", "a"), ("b", "out"), ("x", "b")];
        refused(&nodes, &long, "is in a loop");
        let two = [("in", "a"), ("a", "w"), ("w", "a"), ("a", "x"), ("x", "a"), ("a", "out")];
        refused(&[("a", "LIF"), ("w", "Linear"), ("x", "Linear")], &two, "node `a` (LIF): is in a loop");
        refused(&[("a", "LIF")], &[("in", "a"), ("a", "a"), ("a", "out")], "node `a` (LIF): is in a loop");
        let split = [("in", "a"), ("in", "b"), ("a", "out"), ("b", "out")];
        refused(&[("a", "LIF"), ("b", "LIF")], &split, "node `out` (Output): paths from `a` and `b` join");
        refused(&[("a", "LIF"), ("b", "LIF")], &[("in", "a"), ("a", "out"), ("a", "b")], "node `a` (LIF): leads to");
        refused(&[("a", "LIF")], &[("in", "out")], "node `a` (LIF): is not on the path");
        refused(&[("a", "LIF")], &[("in", "a")], "node `a` (LIF): leads nowhere");
    }
}
