//! Graphs made by hand.

use super::graph::{Array, Fields, Graph, Node, Numbers, Value};
use super::{Import, Imported, file, from_nir, import};
use crate::error::Result;
use crate::network::{Logits, Readout, ReadoutGain, Reset};
use std::path::Path;

const DT: f64 = 1e-3;

fn floats(shape: &[usize], numbers: &[f64]) -> Value {
    Value::Array(Array { shape: shape.into(), numbers: Numbers::F64(numbers.into()) })
}

fn ints(numbers: &[i64]) -> Value {
    Value::Array(Array { shape: vec![numbers.len()], numbers: Numbers::I64(numbers.into()) })
}

fn int(number: i64) -> Value {
    Value::Array(Array { shape: vec![], numbers: Numbers::I64(vec![number]) })
}

type Given = (&'static str, Vec<(&'static str, Value)>);

/// A chain of nodes `n0`, `n1`, ... between an Input of this shape and an Output.
fn graph(shape: &[i64], nodes: &[Given]) -> Graph {
    let mut graph = Graph::default();
    let mut last = "input".to_string();
    let mut add = |name: &str, kind: &str, fields: &[(&'static str, Value)]| {
        let fields: Fields = fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        graph.nodes.insert(name.into(), Node { kind: kind.into(), fields, graph: None });
        if name != last {
            graph.edges.push((last.clone(), name.into()));
        }
        last = name.into();
    };
    add("input", "Input", &[("shape", ints(shape))]);
    nodes.iter().enumerate().for_each(|(k, (kind, fields))| add(&format!("n{k}"), kind, fields));
    add("output", "Output", &[]);
    graph
}

fn read(shape: &[i64], nodes: &[Given]) -> Result<Imported> {
    let contents = file::Contents { version: "1.0.8".into(), graph: graph(shape, nodes), most_numbers: 1 << 20 };
    import::import(contents, Path::new("f.nir"), Some(DT), &Import::default())
}

fn imported(shape: &[i64], nodes: &[Given]) -> Imported {
    read(shape, nodes).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(shape: &[i64], nodes: &[Given], parts: &[&str]) {
    let error = read(shape, nodes).expect_err(&format!("{nodes:?}")).to_string();
    for part in parts.iter().chain(&["f.nir: "]) {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

fn linear(shape: [usize; 2], w: &[f64]) -> Given {
    ("Linear", vec![("weight", floats(&shape, w))])
}

fn affine(shape: [usize; 2], w: &[f64], bias: &[f64]) -> Given {
    ("Affine", vec![("weight", floats(&shape, w)), ("bias", floats(&[bias.len()], bias))])
}

/// Neurons with one value for all, except those given.
fn lif(changes: &[(&'static str, Value)]) -> Given {
    let one = |x| floats(&[], &[x]);
    let mut fields = vec![
        ("tau", one(0.01)),
        ("r", one(10.0)),
        ("v_leak", one(0.0)),
        ("v_threshold", one(1.0)),
        ("v_reset", one(0.0)),
    ];
    change(&mut fields, changes);
    ("LIF", fields)
}

fn change(fields: &mut Vec<(&'static str, Value)>, changes: &[(&'static str, Value)]) {
    for (name, value) in changes {
        fields.retain(|(other, _)| other != name);
        fields.push((name, value.clone()));
    }
}

fn conv(shape: [usize; 4], w: &[f64], changes: &[(&'static str, Value)]) -> Given {
    let mut fields = vec![
        ("weight", floats(&shape, w)),
        ("bias", floats(&[shape[0]], &vec![0.0; shape[0]])),
        ("stride", ints(&[1, 1])),
        ("padding", ints(&[0, 0])),
        ("dilation", ints(&[1, 1])),
        ("groups", int(1)),
    ];
    change(&mut fields, changes);
    ("Conv2d", fields)
}

fn pool(kind: &'static str, kernel: i64, stride: i64) -> Given {
    (kind, vec![("kernel_size", ints(&[kernel; 2])), ("stride", ints(&[stride; 2])), ("padding", ints(&[0; 2]))])
}

fn flatten() -> Given {
    ("Flatten", vec![("start_dim", int(0)), ("end_dim", int(-1))])
}

#[test]
fn constants_are_those_of_forward_euler() {
    let read =
        imported(&[2], &[linear([2, 2], &[1.0, 2.0, 3.0, 4.0]), lif(&[]), linear([1, 2], &[5.0, 6.0]), lif(&[])]);
    let layer = &read.network.hidden[0];
    assert_eq!((layer.constants(read.network.dt_ms).alpha, layer.reset), (0.9, Reset::ToValue));
    assert_eq!(read.network.dt_ms, 1.0);
    // The gain is r dt/τ = 1: weights keep their bits, transposed.
    assert_eq!(read.weights.layers[0].data, [1.0, 3.0, 2.0, 4.0]);
    assert!(matches!(read.network.readout, Readout::SpikeCount(_)));
    // A time constant of one step forgets everything.
    let read =
        imported(&[1], &[linear([1, 1], &[1.0]), lif(&[("tau", floats(&[], &[DT])), ("r", floats(&[], &[2.0]))])]);
    let Readout::SpikeCount(layer) = &read.network.readout else { panic!() };
    assert_eq!((layer.constants(1.0).alpha, read.weights.layers[0].data[0]), (0.0, 2.0));
}

#[test]
fn parameters_of_neurons_go_into_weights_and_biases() {
    let neurons = lif(&[
        ("r", floats(&[2], &[10.0, 20.0])),
        ("v_threshold", floats(&[2], &[1.0, 2.0])),
        ("v_leak", floats(&[2], &[0.5, 2.0])),
    ]);
    let read = imported(&[1], &[affine([2, 1], &[1.0, 1.0], &[1.0, 1.0]), neurons]);
    let Readout::SpikeCount(layer) = &read.network.readout else { panic!() };
    assert_eq!((layer.v_th, layer.v_rest, layer.bias), (2.0, 0.0, true));
    // Neuron 0 is scaled by 2, neuron 1 has twice the gain; v_leak adds dt/τ v_leak to the bias.
    let expected = [2.0, 2.0, 2.0 + 0.1 * 0.5 * 2.0, 2.0 + 0.1 * 2.0];
    for (w, expected) in read.weights.layers[0].data.iter().zip(expected) {
        assert!((w - expected).abs() < 1e-6, "{:?}", read.weights.layers[0]);
    }
    assert_eq!(imported(&[1], &[affine([1, 1], &[1.0], &[0.0]), lif(&[])]).network.biases(), [false]);
}

#[test]
fn readouts_are_integrators_or_weights() {
    let li = |r: f64| {
        let fields = [("tau", 0.01), ("r", r), ("v_leak", 0.25)];
        ("LI", fields.into_iter().map(|(name, x)| (name, floats(&[], &[x]))).collect::<Vec<_>>())
    };
    let first = [linear([1, 1], &[1.0]), lif(&[])];
    let with = |last: &[Given]| imported(&[1], &[&first[..], last].concat());
    let read = with(&[linear([1, 1], &[3.0]), li(1.0)]);
    let readout = read.network.integrator().unwrap();
    assert_eq!((readout.gain, readout.logits), (ReadoutGain::OneMinusAlpha, Logits::Max));
    assert_eq!(read.weights.layers[1].data, [3.0, 0.25]);
    assert!(read.report.warnings[0].contains("logits = max"), "{:?}", read.report);
    let read = with(&[linear([1, 1], &[3.0]), li(5.0)]);
    assert_eq!(
        (read.network.integrator().unwrap().gain, &read.weights.layers[1].data[..]),
        (ReadoutGain::One, &[1.5, 0.025][..])
    );
    let read = with(&[affine([1, 1], &[3.0], &[4.0])]);
    let readout = read.network.integrator().unwrap();
    assert_eq!(
        (readout.alpha(1.0), readout.gain, &read.weights.layers[1].data[..]),
        (0.0, ReadoutGain::One, &[3.0, 4.0][..])
    );
    let middle = [linear([1, 1], &[1.0]), li(1.0), linear([1, 1], &[1.0])];
    refused(&[1], &middle, &["node `n1` (LI)", "go on to node `n2` (Linear)"]);
}

#[test]
fn weights_in_a_row_are_multiplied() {
    let two = [linear([2, 1], &[1.0, 2.0]), affine([2, 2], &[1.0, 0.0, 3.0, 1.0], &[0.5, -0.5]), lif(&[])];
    let read = imported(&[1], &two);
    assert_eq!(read.weights.layers[0].data, [1.0, 5.0, 0.5, -0.5]);
    // Neurons directly behind the input.
    assert_eq!(imported(&[2], &[lif(&[])]).weights.layers[0].data, [1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn pooling_becomes_part_of_weights() {
    let first = [conv([1, 1, 1, 1], &[1.0], &[]), lif(&[])];
    let with = |rest: &[Given]| imported(&[1, 4, 4], &[&first[..], rest].concat());
    let read = with(&[pool("SumPool2d", 2, 2), flatten(), linear([1, 4], &[1.0, 2.0, 3.0, 4.0]), lif(&[])]);
    assert_eq!(read.weights.layers[1].data, [1., 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.]);
    let read = with(&[pool("AvgPool2d", 2, 2), flatten(), linear([1, 4], &[4.0, 8.0, 0.0, 0.0]), lif(&[])]);
    assert_eq!(read.weights.layers[1].data[..4], [1.0, 1.0, 2.0, 2.0]);
    // Overlapping windows: the middle column counts twice.
    let read = with(&[pool("SumPool2d", 3, 1), flatten(), linear([1, 4], &[1.0; 4]), lif(&[])]);
    assert_eq!(read.weights.layers[1].data, [1., 2., 2., 1., 2., 4., 4., 2., 2., 4., 4., 2., 1., 2., 2., 1.]);

    let second =
        [pool("SumPool2d", 2, 2), conv([1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0], &[("padding", ints(&[1, 1]))]), lif(&[])];
    let read = with(&[&second[..], &[flatten(), linear([1, 9], &[1.0; 9])]].concat());
    let conv_of = |read: &Imported| *read.network.hidden[1].conv().unwrap();
    let wide = conv_of(&read);
    assert_eq!((wide.kernel, wide.stride, wide.padding, wide.rows()), (4, 2, 2, 3));
    assert_eq!(read.weights.layers[1].data, [1., 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.]);
    // Windows that leave a rest end before the border, padding begins there.
    let nodes = [&first[..], &[pool("SumPool2d", 3, 3)], &second[1..]].concat();
    refused(&[1, 4, 4], &nodes, &["node `n3` (Conv2d)", "borders"]);
}

#[test]
fn a_sum_that_any_spike_lifts_over_the_threshold_is_max_pooling() {
    let first = [conv([1, 1, 1, 1], &[1.0], &[]), lif(&[])];
    let neurons = |r: f64, v_th: f64, v_reset: f64| {
        let fields = [("r", r), ("v_threshold", v_th), ("v_reset", v_reset)];
        ("IF", fields.into_iter().map(|(name, x)| (name, floats(&[], &[x]))).collect::<Vec<_>>())
    };
    let read = |pooled: Given| {
        let rest = [pool("SumPool2d", 2, 2), pooled, flatten(), linear([1, 4], &[1.0; 4]), lif(&[])];
        imported(&[1, 4, 4], &[&first[..], &rest].concat()).network
    };
    let network = read(neurons(1.0 / DT, 0.5, 0.0));
    assert_eq!((network.hidden.len(), network.hidden[0].conv().unwrap().pool), (1, 2));
    for other in [neurons(0.4 / DT, 0.5, 0.0), neurons(1.0 / DT, 0.5, 0.1), neurons(1.0 / DT, -0.5, 0.0)] {
        let network = read(other);
        assert_eq!((network.hidden.len(), network.hidden[0].conv().unwrap().pool), (2, 1));
    }
}

/// A chain in which node `from` leads through `nodes` back to itself.
fn looped(shape: &[i64], chain: &[Given], from: &str, nodes: &[Given]) -> Result<Imported> {
    let mut graph = graph(shape, chain);
    let mut last = from.to_string();
    for (k, (kind, fields)) in nodes.iter().enumerate() {
        let fields = fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        let name = format!("back{k}");
        graph.nodes.insert(name.clone(), Node { kind: (*kind).into(), fields, graph: None });
        graph.edges.push((std::mem::replace(&mut last, name.clone()), name));
    }
    graph.edges.push((last, from.into()));
    let contents = file::Contents { version: "1.0.8".into(), graph, most_numbers: 1 << 20 };
    import::import(contents, Path::new("f.nir"), Some(DT), &Import::default())
}

#[test]
fn loops_of_neurons_are_recurrent_weights() {
    let chain = [
        affine([2, 1], &[1.0, 2.0], &[0.5, 0.25]),
        lif(&[("r", floats(&[2], &[10.0, 20.0]))]),
        linear([1, 2], &[5.0, 6.0]),
    ];
    let back =
        [affine([2, 2], &[1.0, 2.0, 3.0, 4.0], &[1.0, 1.0]), ("Scale", vec![("scale", floats(&[2], &[1.0, 0.5]))])];
    let read = looped(&[1], &chain, "n1", &back).unwrap();
    assert!(read.network.hidden[0].recurrent && read.report.nodes[0].ends_with("hidden[0], recurrent"), "{read:?}");
    // Rows of the input, of both neurons, and of the biases; the second neuron has twice the gain, but half the scale.
    let [a, b, c, d] = [[1.0, 4.0], [1.0, 3.0], [2.0, 4.0], [1.5, 1.5]];
    assert_eq!(read.weights.layers[0].data, [a, b, c, d].concat());
    let refused = |chain: &[Given], back: &[Given], parts: &[&str]| {
        let error = looped(&[1], chain, "n1", back).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    refused(&chain, &[], &["node `n1` (LIF)", "is in a loop"]);
    refused(&chain, &[flatten()], &["node `n1` (LIF)", "is in a loop"]);
    refused(&chain, &[linear([3, 2], &[0.0; 6])], &["node `n1` (LIF)", "different number of neurons"]);
    refused(&chain, &[linear([2, 3], &[0.0; 6])], &["node `back0` (Linear)", "make the sizes fit"]);
}

#[test]
fn convolutions_are_square() {
    let fits = |changes: &[(&'static str, Value)]| {
        let nodes = [conv([2, 1, 3, 3], &[1.0; 18], changes), lif(&[]), flatten(), linear([1, 32], &[1.0; 32])];
        read(&[1, 4, 4], &nodes)
    };
    let same = fits(&[("padding", Value::Text("same".into()))]).unwrap().network;
    assert_eq!(same.hidden[0].conv().unwrap().padding, 1);
    let error = |changes: &[(&'static str, Value)]| fits(changes).unwrap_err().to_string();
    assert!(error(&[("padding", Value::Text("valid".into()))]).contains("node `n3` (Linear): its `weight` has"));
    assert!(error(&[("bias", floats(&[3], &[0.0, 1.0, 0.0]))]).contains("`bias` has 3 values"));
    let biased = fits(&[("bias", floats(&[2], &[0.0, 0.5])), ("padding", ints(&[1, 1]))]).unwrap();
    assert!(biased.network.hidden[0].bias && !same.hidden[0].bias);
    let matrix = &biased.weights.layers[0];
    assert_eq!((matrix.rows, matrix.row(9)[0], matrix.row(9)[1] / matrix.row(0)[1]), (10, 0.0, 0.5));
    assert!(error(&[("groups", int(2))]).contains("2 groups"));
    assert!(error(&[("dilation", ints(&[2, 2]))]).contains("`dilation` is 2"));
    assert!(error(&[("stride", ints(&[1, 2]))]).contains("`stride` is 1 × 2"));
    assert!(error(&[("stride", ints(&[0, 0]))]).contains("does not fit"));
    assert!(error(&[("padding", ints(&[3, 3]))]).contains("does not fit"));
    assert!(error(&[("padding", ints(&[-1, -1]))]).contains("whole numbers"));
    assert!(error(&[("weight", floats(&[2, 1, 3, 2], &[0.0; 12]))]).contains("3 × 2"));
    let differs = lif(&[("r", floats(&[1, 4, 4], &(0..16).map(|x| 1.0 + x as f64).collect::<Vec<_>>()))]);
    refused(&[1, 4, 4], &[conv([1, 1, 1, 1], &[1.0], &[]), differs], &["node `n1` (LIF)", "within a map"]);
    refused(&[1, 4, 4], &[conv([1, 1, 1, 1], &[1.0], &[]), lif(&[])], &["`n1`", "must be fully connected"]);
}

#[test]
fn numbers_that_cannot_be_are_refused_by_node_and_field() {
    let with = |changes: &[(&'static str, Value)], parts: &[&str]| {
        refused(&[1], &[linear([2, 1], &[1.0, 1.0]), lif(changes)], &[&["node `n1` (LIF)"], parts].concat());
    };
    let one = |x| floats(&[], &[x]);
    with(&[("tau", one(0.0))], &["`tau` is 0", "positive"]);
    with(&[("tau", one(-1.0))], &["`tau` is -1"]);
    with(&[("tau", one(f64::NAN))], &["`tau` has the value NaN"]);
    with(&[("tau", one(1e-4))], &["smaller than the time step", "option dt"]);
    with(&[("r", one(f64::INFINITY))], &["`r` has the value inf"]);
    with(&[("r", one(1e300))], &["range of 32-bit numbers"]);
    with(&[("tau", floats(&[3], &[0.1; 3]))], &["`tau` has the shape [3]", "2 values"]);
    with(&[("tau", floats(&[2], &[0.1, 0.2]))], &["`tau` differs", "0.1 to 0.2"]);
    with(&[("v_threshold", floats(&[2], &[-1.0, 1.0]))], &["`v_threshold` differs"]);
    with(&[("v_reset", floats(&[2], &[0.0, 0.5]))], &["`v_reset`", "differs"]);
    with(&[("tau_ref", one(0.1))], &["field `tau_ref`, which is not known"]);
    with(&[("tau", Value::Text("long".into()))], &["`tau` is a text"]);
    refused(&[1], &[affine([2, 1], &[1.0; 2], &[1.0; 3]), lif(&[])], &["node `n0` (Affine)", "`bias` has 3 values"]);
    refused(&[1], &[linear([1, 1], &[f64::NAN]), lif(&[])], &["node `n0` (Linear)", "NaN"]);
    refused(&[0], &[linear([1, 1], &[1.0]), lif(&[])], &["node `input` (Input)"]);
    refused(&[1 << 40], &[linear([1, 1], &[1.0]), lif(&[])], &["node `input` (Input)"]);
    refused(&[1], &[("Wave", vec![]), lif(&[])], &["node `n0` (Wave)", "supported are Linear"]);
    refused(&[60_000], &[lif(&[])], &["`n0` (LIF)", "out of proportion"]);
}

#[test]
fn a_file_that_was_changed_after_its_export_is_read_by_its_nodes() {
    use super::{Export, own, to_nir};
    let network = crate::network::Network::new(2, 9)
        .layer(crate::network::SpikingLayer::lif(3).reset(Reset::ToValue))
        .readout(Readout::sum(2))
        .build()
        .unwrap();
    let weights = crate::weights::Weights::init(&network, 1);
    let temp = tempfile::NamedTempFile::new().unwrap();
    to_nir(&network, &weights, temp.path(), &Export::default()).unwrap();
    let mut contents = file::read(temp.path()).unwrap();
    assert!(own::has_note(&contents.graph));
    let tau = contents.graph.nodes.get_mut("lif1").unwrap().fields.get_mut("tau").unwrap();
    *tau = floats(&[3], &[0.02; 3]);
    std::fs::write(temp.path(), file::encode("1.0.8", &contents.graph).unwrap()).unwrap();
    let read = from_nir(temp.path(), &Import::default()).unwrap();
    assert!(read.report.warnings.iter().any(|warning| warning.contains("then changed")), "{:?}", read.report);
    assert!((read.network.hidden[0].constants(1.0).alpha - 0.95).abs() < 1e-7);
    assert_eq!(read.weights.layers[1], weights.layers[1]);
}

/// Changes one value, field, type or edge.
fn disturb(graph: &mut Graph, random: &mut impl FnMut(usize) -> usize) {
    let names: Vec<String> = graph.nodes.keys().cloned().collect();
    let name = &names[random(names.len())];
    let kinds =
        ["LIF", "IF", "CubaLIF", "LI", "Linear", "Affine", "Scale", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten"];
    match random(8) {
        0 => drop(graph.edges.pop()),
        1 => graph.edges.push((name.clone(), names[random(names.len())].clone())),
        2 => graph.nodes.get_mut(name).unwrap().kind = kinds[random(kinds.len())].into(),
        _ => {
            let node = graph.nodes.get_mut(name).unwrap();
            if let Some(inner) = &mut node.graph {
                return disturb(inner, random);
            }
            let Some(field) = node.fields.keys().nth(random(node.fields.len().max(1))).cloned() else { return };
            let Some(Value::Array(Array { shape, numbers })) = node.fields.get_mut(&field) else { return };
            let whole = [0, 1, 2, 3, -1, i64::MAX, i64::MIN, 1 << 16, 1 << 32, 1 << 53];
            match random(4) {
                0 => drop(node.fields.remove(&field)),
                1 => shape.reverse(),
                2 => {
                    (*shape, *numbers) =
                        (vec![], Numbers::F64(vec![[0.0, 1e-4, 1e-3, 1e300, -1.0, f64::NAN][random(6)]]))
                }
                _ => match numbers {
                    Numbers::I64(numbers) if !numbers.is_empty() => {
                        let at = random(numbers.len());
                        numbers[at] = whole[random(whole.len())];
                    }
                    _ => *numbers = Numbers::I64(vec![whole[random(whole.len())]; numbers.len()]),
                },
            }
        }
    }
}

#[test]
fn disturbed_graphs_are_refused_or_sound() {
    use rand::{Rng, SeedableRng};
    let mut source = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let mut random = |n: usize| (source.next_u64() % n as u64) as usize;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nir");
    let mut sound = 0;
    for name in ["lif_common", "nested", "norse_scalar", "odd_scale", "sinabs_conv", "snntorch_synaptic"] {
        let path = folder.join(format!("{name}.nir"));
        let genuine = file::read(&path).unwrap();
        for _ in 0..400 {
            let mut contents = genuine.clone();
            (0..1 + random(3)).for_each(|_| disturb(&mut contents.graph, &mut random));
            let dt = [1e-4, 1e-3, 1.0][random(3)];
            match import::import(contents, &path, Some(dt), &Import::default()) {
                Ok(Imported { network, weights, .. }) => {
                    network.check().unwrap();
                    weights.check(&network).unwrap();
                    sound += 1;
                }
                Err(error) => assert!(error.to_string().contains(&format!("{name}.nir: ")), "{error}"),
            }
        }
    }
    assert!(sound > 100, "{sound}");
}
