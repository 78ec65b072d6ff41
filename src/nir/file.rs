//! NIR files: HDF5 without attributes. `/version` is a text, `/node` a group with `type`, `edges` and `nodes`; each node is a group
//! with `type` and its fields.
//!
//! Files may come from strangers: what they claim is compared with what they have before memory is reserved for it.

use super::graph::{Array, Fields, GRAPH, Graph, Node, Numbers, Value};
use crate::error::{Error, Result};
use crate::hdf5::{element, filters, guarded};
use crate::limits::refuse_special;
use crate::network::MAX_LAYERS;
use crate::number::Element;
use hdf5_reader::group::Group;
use hdf5_reader::storage::FileStorage;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions, StringSize};
use hdf5_writer::{DatasetBuilder, FILTER_DEFLATE, FilterDescription, Hdf5Builder, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maximum number of nodes: several for each layer.
const MAX_NODES: usize = 8 * MAX_LAYERS;
/// Maximum number of data sets of a node.
const MAX_FIELDS: usize = 64;
/// How deep graphs may be nested.
const MAX_DEPTH: usize = 16;
/// Numbers that may be read, or computed from those read, for each byte of the file: weights that are mostly 0 compress well.
const PER_BYTE: u64 = 32;
/// Numbers that may be read in addition.
const READ_SLACK: u64 = 1 << 20;
/// Numbers that may be computed in addition.
const COMPUTED_SLACK: u64 = 1 << 22;
/// Arrays of at least this many bytes are compressed.
const COMPRESSED_FROM: usize = 1 << 10;
/// Largest chunk of a compressed array, in numbers.
const CHUNK: usize = 1 << 18;
/// zlib's level of compression, that of h5py.
const LEVEL: u32 = 4;

/// The contents of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contents {
    /// The version of nir that wrote it; empty if it does not say.
    pub version: String,
    pub graph: Graph,
    /// How many numbers an array that is computed from the file's may have, in proportion to the file.
    pub most_numbers: usize,
}

/// Reads a file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] naming the group or data set.
pub(super) fn read(path: &Path) -> Result<Contents> {
    let length = refuse_special(path)?;
    std::fs::File::open(path).map_err(Error::io(path))?;
    let most = |slack: u64| length.saturating_mul(PER_BYTE).saturating_add(slack);
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let limit = size(most(READ_SLACK).saturating_mul(8));
    let options = OpenOptions::default()
        .with_max_read_bytes(limit)
        .with_max_chunk_bytes(limit)
        .with_filter_registry(filters(limit));
    let open = || Hdf5File::from_storage_with_options(Arc::new(FileStorage::open(path)?), options);
    let file = guarded(open).map_err(|e| {
        let what = "cannot be read as HDF5, which NIR files are";
        Error::format(path, format!("{what} ({e}); it is damaged, truncated or of another format: get it again"))
    })?;
    let mut reader = Reader { path: path.into(), length, numbers_left: most(READ_SLACK), nodes_left: MAX_NODES };
    let root = reader.group("/", || file.root_group())?;
    let version = match reader.datasets(&root, "/")?.into_iter().find(|data| data.name() == "version") {
        Some(data) => reader.texts(&data, "/version")?.pop().unwrap_or_default(),
        None => String::new(),
    };
    let node = guarded(|| root.group("node")).map_err(|e| {
        Error::format(path, format!("has no group /node ({e}), so it is no NIR file; write it with nir.write"))
    })?;
    let node = reader.node(&node, "/node", 0)?;
    let Some(graph) = node.graph else {
        return Err(Error::format(
            path,
            format!("holds a single node of type {}, not a graph; write a NIRGraph", node.kind),
        ));
    };
    Ok(Contents { version, graph, most_numbers: size(most(COMPUTED_SLACK)) })
}

struct Reader {
    path: PathBuf,
    /// Size of the file in bytes.
    length: u64,
    /// How many more numbers may be read.
    numbers_left: u64,
    /// How many more nodes may be read.
    nodes_left: usize,
}

impl Reader {
    fn error(&self, place: &str, what: impl AsRef<str>) -> Error {
        Error::format(&self.path, format!("{place}: {}", what.as_ref()))
    }

    fn group<T>(&self, place: &str, open: impl FnOnce() -> Result<T, hdf5_reader::error::Error>) -> Result<T> {
        guarded(open).map_err(|e| {
            self.error(place, format!("cannot be read ({e}); the file is damaged or truncated, get it again"))
        })
    }

    fn datasets(&self, group: &Group, place: &str) -> Result<Vec<Dataset>> {
        let (_, names) = self.group(place, || group.member_names())?;
        if names.len() > MAX_FIELDS {
            return Err(self.error(place, format!("has {} data sets, the limit is {MAX_FIELDS}", names.len())));
        }
        names.iter().map(|name| self.group(&format!("{place}/{name}"), || group.dataset(name))).collect()
    }

    /// Reads a node, which may be a graph.
    fn node(&mut self, group: &Group, place: &str, depth: usize) -> Result<Node> {
        self.nodes_left = match self.nodes_left.checked_sub(1) {
            Some(left) => left,
            None => return Err(self.error(place, format!("the graph has more than {MAX_NODES} nodes"))),
        };
        let mut fields = Fields::new();
        let mut edges = None;
        for data in self.datasets(group, place)? {
            let place = format!("{place}/{}", data.name());
            match data.name() {
                "edges" => edges = Some(self.edges(&data, &place)?),
                name => drop(fields.insert(name.into(), self.value(&data, &place)?)),
            }
        }
        let kind = match fields.remove("type") {
            Some(Value::Text(kind)) => kind,
            _ => return Err(self.error(place, "has no text `type`; write the file with nir.write")),
        };
        let graph = match kind.as_str() {
            GRAPH => Some(self.graph(group, place, edges, depth)?),
            _ => None,
        };
        Ok(Node { kind, fields, graph })
    }

    fn graph(
        &mut self,
        group: &Group,
        place: &str,
        edges: Option<Vec<(String, String)>>,
        depth: usize,
    ) -> Result<Graph> {
        if depth == MAX_DEPTH {
            return Err(self.error(place, format!("graphs are nested more than {MAX_DEPTH} times")));
        }
        let edges =
            edges.ok_or_else(|| self.error(place, "the graph has no data set `edges`; write it with nir.write"))?;
        let place_of_nodes = format!("{place}/nodes");
        let nodes = self.group(&place_of_nodes, || group.group("nodes"))?;
        let (names, _) = self.group(&place_of_nodes, || nodes.member_names())?;
        let mut graph = Graph { edges, ..Graph::default() };
        for name in names {
            let place = format!("{place_of_nodes}/{name}");
            let node = self.group(&place, || nodes.group(&name))?;
            graph.nodes.insert(name, self.node(&node, &place, depth + 1)?);
        }
        if depth == 0 {
            graph.metadata = self.metadata(group, place)?;
        }
        Ok(graph)
    }

    /// The metadata that are texts or numbers. Others, which only their writer knows, are passed over.
    fn metadata(&mut self, group: &Group, place: &str) -> Result<Fields> {
        let place = format!("{place}/metadata");
        let mut fields = Fields::new();
        if !self.group(&place, || group.member_names())?.0.iter().any(|name| name == "metadata") {
            return Ok(fields);
        }
        let metadata = self.group(&place, || group.group("metadata"))?;
        for data in self.datasets(&metadata, &place)? {
            if let Ok(value) = self.value(&data, &place) {
                fields.insert(data.name().into(), value);
            }
        }
        Ok(fields)
    }

    fn value(&mut self, data: &Dataset, place: &str) -> Result<Value> {
        match element(data.dtype()) {
            Some(element) => Ok(Value::Array(self.array(data, element, place)?)),
            None => match <[String; 1]>::try_from(self.texts(data, place)?) {
                Ok([text]) => Ok(Value::Text(text)),
                Err(texts) => Err(self.error(place, format!("holds {} texts, 1 expected", texts.len()))),
            },
        }
    }

    fn array(&mut self, data: &Dataset, element: Element, place: &str) -> Result<Array> {
        let shape: Vec<usize> =
            data.shape().iter().map(|&extent| usize::try_from(extent).unwrap_or(usize::MAX)).collect();
        let count = self.group(place, || data.num_elements())?;
        self.numbers_left = match self.numbers_left.checked_sub(count) {
            Some(left) => left,
            None => {
                let claim =
                    format!("{shape:?} are more numbers than a file of {} bytes is allowed to have", self.length);
                return Err(self.error(place, claim));
            }
        };
        let bytes = guarded(|| data.read_raw_bytes()).map_err(|e| {
            let remedy = match e.contains("filter id") {
                true => "this compression is not supported; write the file with gzip or LZF, or uncompressed",
                false => "get the file again",
            };
            self.error(place, format!("cannot be read ({e}); {remedy}"))
        })?;
        let numbers = match element {
            Element::Float { size: 4, .. } => {
                Numbers::F32(bytes.chunks_exact(4).map(|bytes| element.number(bytes) as f32).collect())
            }
            Element::Float { size, .. } => {
                Numbers::F64(bytes.chunks_exact(size).map(|bytes| element.number(bytes)).collect())
            }
            Element::Integer { size, .. } => {
                let integer = |bytes: &[u8]| element.integer(bytes).and_then(|n| i64::try_from(n).ok());
                let numbers: Option<Vec<i64>> = bytes.chunks_exact(size).map(integer).collect();
                Numbers::I64(numbers.ok_or_else(|| self.error(place, "holds integers of more than 63 bits"))?)
            }
        };
        match numbers.len() as u64 == count {
            true => Ok(Array { shape, numbers }),
            false => Err(self.error(place, format!("{} numbers found, {count} expected", numbers.len()))),
        }
    }

    fn edges(&mut self, data: &Dataset, place: &str) -> Result<Vec<(String, String)>> {
        match data.shape() {
            [edges, 2] if *edges <= 4 * MAX_NODES as u64 => {}
            shape => return Err(self.error(place, format!("has the shape {shape:?}, [edges, 2] expected"))),
        }
        let mut texts = self.texts(data, place)?.into_iter();
        let mut edges = Vec::new();
        while let (Some(from), Some(to)) = (texts.next(), texts.next()) {
            edges.push((from, to));
        }
        Ok(edges)
    }

    fn texts(&mut self, data: &Dataset, place: &str) -> Result<Vec<String>> {
        let count = self.group(place, || data.num_elements())?;
        let fixed = match data.dtype() {
            Datatype::String { size: StringSize::Fixed(size), .. } => Some(u64::from(*size)),
            Datatype::String { .. } | Datatype::VarLen { .. } => None,
            other => return Err(self.error(place, format!("holds {other:?}, texts or numbers expected"))),
        };
        let claim = match fixed {
            Some(size) => size.saturating_mul(count),
            None if count > self.length => u64::MAX,
            None => {
                let references = self.group(place, || data.read_raw_bytes())?;
                let lengths = references.chunks_exact(data.vlen_reference_size());
                lengths.map(|reference| Element::bits(&reference[..4], false)).sum()
            }
        };
        // Texts that share their bytes could take any amount of memory.
        if claim > self.length {
            return Err(self.error(place, format!("claims {claim} bytes of text, the file has {}", self.length)));
        }
        self.group(place, || data.read_strings())
    }
}

/// The bytes of a file with the graph.
///
/// # Errors
/// What the format cannot hold, such as a node without a name.
pub(super) fn encode(version: &str, graph: &Graph) -> Result<Vec<u8>> {
    let mut datasets = vec![text("version".into(), version)];
    let root = Node { kind: GRAPH.into(), fields: Fields::new(), graph: None };
    add_node(&mut datasets, "node", &root);
    add_graph(&mut datasets, "node", graph);
    let failed = |e: hdf5_writer::Error| Error::Config(format!("the network cannot be written as HDF5: {e}"));
    let datasets = datasets.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let builder = datasets.into_iter().fold(Hdf5Builder::new(), Hdf5Builder::dataset);
    builder.into_plan().and_then(|plan| plan.encode(WriteOptions::default())).map_err(failed)
}

type Written = Result<DatasetBuilder, hdf5_writer::Error>;

fn add_graph(datasets: &mut Vec<Written>, place: &str, graph: &Graph) {
    let names: Vec<&str> = graph.edges.iter().flat_map(|(from, to)| [from.as_str(), to]).collect();
    datasets.push(DatasetBuilder::vlen_string_data(format!("{place}/edges"), [graph.edges.len() as u64, 2], &names));
    for (name, node) in &graph.nodes {
        let place = format!("{place}/nodes/{name}");
        add_node(datasets, &place, node);
        if let Some(inner) = &node.graph {
            add_graph(datasets, &place, inner);
        }
    }
    add_fields(datasets, &format!("{place}/metadata"), &graph.metadata);
}

fn add_node(datasets: &mut Vec<Written>, place: &str, node: &Node) {
    datasets.push(text(format!("{place}/type"), &node.kind));
    add_fields(datasets, place, &node.fields);
}

fn add_fields(datasets: &mut Vec<Written>, place: &str, fields: &Fields) {
    for (name, value) in fields {
        let name = format!("{place}/{name}");
        datasets.push(match value {
            Value::Text(value) => text(name, value),
            Value::Array(array) => numbers(name, array),
        });
    }
}

/// A scalar text. h5py's are variable-length too.
fn text(name: String, value: &str) -> Written {
    DatasetBuilder::vlen_string_data(name, [], &[value])
}

fn numbers(name: String, array: &Array) -> Written {
    let shape: Vec<u64> = array.shape.iter().map(|&extent| extent as u64).collect();
    let builder = match &array.numbers {
        Numbers::F32(numbers) => DatasetBuilder::typed_data(name, shape.clone(), numbers),
        Numbers::F64(numbers) => DatasetBuilder::typed_data(name, shape.clone(), numbers),
        Numbers::I64(numbers) => DatasetBuilder::typed_data(name, shape.clone(), numbers),
    }?;
    if builder.raw_data_bytes().map_or(0, <[u8]>::len) < COMPRESSED_FROM || shape.is_empty() {
        return Ok(builder);
    }
    // Whole rows, as many as a chunk holds.
    let row = (array.numbers.len() / array.shape[0].max(1)).max(1);
    let mut chunk = shape;
    chunk[0] = chunk[0].min((CHUNK / row).max(1) as u64);
    let deflate = FilterDescription { id: FILTER_DEFLATE, name: None, client_data: vec![LEVEL] };
    Ok(builder.chunked(chunk).filter(deflate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let fields = Fields::from([
            ("a".into(), Value::Array(Array { shape: vec![], numbers: Numbers::I64(vec![-7]) })),
            ("b".into(), Value::Array(Array { shape: vec![2, 300], numbers: Numbers::F32(vec![0.1; 600]) })),
            ("c".into(), Value::Array(Array { shape: vec![2], numbers: Numbers::F64(vec![0.1, f64::INFINITY]) })),
            ("d".into(), Value::Text("τ = \"1\"\n".into())),
        ]);
        let inner = Graph {
            nodes: [("x".into(), Node { kind: "LIF".into(), fields: fields.clone(), graph: None })].into(),
            edges: vec![("x".into(), "x".into())],
            metadata: Fields::new(),
        };
        let graph = Graph {
            nodes: [("g".into(), Node { kind: GRAPH.into(), fields: Fields::new(), graph: Some(inner) })].into(),
            edges: vec![("a".into(), "g".into()), ("g".into(), "b".into())],
            metadata: fields,
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), encode("1.0.8", &graph).unwrap()).unwrap();
        let read = read(file.path()).unwrap();
        assert_eq!((read.version.as_str(), read.graph), ("1.0.8", graph));
    }
}
