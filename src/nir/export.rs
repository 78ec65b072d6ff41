//! The graph of a network: the equations of `neurons.rs` the other way round.

use super::graph::{Array, Fields, Graph, Node, Numbers, Value};
use super::own;
use super::{Export, ExportReadout, ExportReport};
use crate::error::{Error, Result};
use crate::network::{Cell, Convolution, Integrator, Network, Readout, ReadoutGain, Reset, SpikingLayer};
use crate::weights::{FileTensor, TensorPart, Weights, transposed};

/// The version of nir whose format is written.
pub(super) const VERSION: &str = "1.0.8";
/// The time step that snnTorch takes for every file, s.
const DT_OF_SNNTORCH: f64 = 1e-4;
/// Threshold of the neurons that stand for max pooling: the sum of the spikes of a window exceeds it if there are any.
const POOLED_THRESHOLD: f32 = 0.5;

/// The graph of a network, and what is to be said about it.
///
/// # Errors
/// As [`to_nir`](super::to_nir).
pub(super) fn graph(network: &Network, weights: &Weights, options: &Export) -> Result<(Graph, ExportReport)> {
    network.check()?;
    weights.check(network)?;
    let dt = options.dt.unwrap_or(network.dt_ms / 1000.0);
    if !(dt.is_finite() && dt > 0.0) {
        return Err(Error::field("dt", dt, "a positive number of seconds"));
    }
    let mut writer = Writer {
        network,
        options,
        dt,
        folded: folded_gains(network, options.fold_gain, options.readout),
        graph: Graph::default(),
        last: String::new(),
        maps: None,
        report: ExportReport { dt, nodes: Vec::new(), changes: Vec::new(), notes: Vec::new() },
    };
    writer.input();
    let mut tensors = weights.to_file(network).into_iter().peekable();
    for (l, layer) in network.spiking().enumerate() {
        let LayerTensors { weight, recurrent, bias } = next_layer(&mut tensors, network, l)?;
        let gain = writer.gain_of(l, layer)?;
        writer.weights(l, layer.conv(), weight, bias, gain.folded)?;
        writer.neurons(l, layer, &gain)?;
        writer.recurrent(l, recurrent, gain.folded);
        writer.pool(l, layer);
    }
    if let Readout::Integrator(readout) = &network.readout {
        let l = network.hidden.len();
        let LayerTensors { weight, bias, .. } = next_layer(&mut tensors, network, l)?;
        writer.readout(l, readout, weight, bias)?;
    }
    writer.finish()
}

/// The tensors of a layer.
struct LayerTensors<'a> {
    weight: FileTensor<'a>,
    recurrent: Option<FileTensor<'a>>,
    bias: Option<FileTensor<'a>>,
}

/// The tensors of layer `l`.
fn next_layer<'a>(
    tensors: &mut std::iter::Peekable<impl Iterator<Item = (usize, TensorPart, FileTensor<'a>)>>,
    network: &Network,
    l: usize,
) -> Result<LayerTensors<'a>> {
    let missing = || Error::Config(format!("{} has no weights", network.layer_name(l)));
    let (_, _, weight) = tensors.next().ok_or_else(missing)?;
    let mut next = |wanted| tensors.next_if(|(k, part, _)| *k == l && *part == wanted).map(|(_, _, tensor)| tensor);
    Ok(LayerTensors { weight, recurrent: next(TensorPart::Recurrent), bias: next(TensorPart::Biases) })
}

/// 1/(1 - α): the gain of a neuron whose input is not multiplied by 1 - α. Infinite if it does not leak.
fn gain(alpha: f64) -> f64 {
    1.0 / (1.0 - alpha)
}

/// What the weights of each layer are multiplied by: the gains of LIF and LI nodes if they are folded in, else 1.
pub(super) fn folded_gains(network: &Network, fold_gain: bool, readout: ExportReadout) -> Vec<f64> {
    let of_lif = |layer: &SpikingLayer| match layer.cell {
        Cell::Lif => gain(layer.alpha(network.dt_ms)),
        Cell::CubaLif { .. } => 1.0,
    };
    let of_readout = match &network.readout {
        Readout::SpikeCount(layer) => of_lif(layer),
        Readout::Integrator(li) if li.gain == ReadoutGain::One && readout == ExportReadout::Li => {
            gain(li.alpha(network.dt_ms))
        }
        Readout::Integrator(_) => 1.0,
    };
    let gains = network.hidden.iter().map(of_lif).chain([of_readout]);
    gains.map(|gain| if fold_gain && gain.is_finite() { gain } else { 1.0 }).collect()
}

/// How the input of a layer is scaled.
struct Gain {
    /// 1/(1 - α), of the membrane; infinite if it does not leak.
    membrane: f64,
    /// 1/(1 - s), of the current of a `cuba_lif` cell.
    synapse: Option<f64>,
    /// What the weights and biases are multiplied by.
    folded: f64,
}

struct Writer<'a> {
    network: &'a Network,
    options: &'a Export,
    /// s.
    dt: f64,
    /// What the weights of each layer are multiplied by.
    folded: Vec<f64>,
    graph: Graph,
    /// The last node.
    last: String,
    /// Extents [channels, rows, columns] of the values that leave the last node, if they are maps.
    maps: Option<[usize; 3]>,
    report: ExportReport,
}

/// The name of the node with the weights of layer `l`.
pub(super) fn weight_node(network: &Network, l: usize) -> String {
    match network.hidden.get(l).and_then(SpikingLayer::conv) {
        Some(_) => format!("conv{}", l + 1),
        None => format!("fc{}", l + 1),
    }
}

/// The name of the node with the neurons of spiking layer `l`.
pub(super) fn neuron_node(l: usize) -> String {
    format!("lif{}", l + 1)
}

/// The name of the node with the recurrent weights of spiking layer `l`.
pub(super) fn recurrent_node(l: usize) -> String {
    format!("rec{}", l + 1)
}

/// `gain` times the weights.
fn scaled(weights: &[f32], gain: f64) -> Numbers {
    Numbers::F32(weights.iter().map(|&w| (f64::from(w) * gain) as f32).collect())
}

fn array(shape: Vec<usize>, numbers: Numbers) -> Value {
    Value::Array(Array { shape, numbers })
}

fn integers(numbers: &[usize]) -> Value {
    array(vec![numbers.len()], Numbers::I64(numbers.iter().map(|&n| n as i64).collect()))
}

fn integer(number: i64) -> Value {
    array(vec![], Numbers::I64(vec![number]))
}

impl Writer<'_> {
    /// Adds a node behind the last one.
    fn add(&mut self, name: &str, kind: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) {
        let fields: Fields = fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        self.graph.nodes.insert(name.into(), Node { kind: kind.into(), fields, graph: None });
        let from = std::mem::replace(&mut self.last, name.into());
        if !from.is_empty() {
            self.graph.edges.push((from, name.into()));
        }
        self.report.nodes.push(format!("{name} ({kind})"));
    }

    fn input(&mut self) {
        self.maps = self.network.hidden.first().and_then(SpikingLayer::conv).map(|c| [c.channels, c.height, c.width]);
        let shape = self.maps.map_or(vec![self.network.inputs], |maps| maps.to_vec());
        self.add("input", "Input", [("shape", integers(&shape))]);
    }

    fn gain_of(&self, l: usize, layer: &SpikingLayer) -> Result<Gain> {
        let membrane = gain(layer.alpha(self.network.dt_ms));
        let synapse = match layer.cell {
            Cell::Lif => None,
            Cell::CubaLif { tau_syn_ms } => Some(gain((-self.network.dt_ms / tau_syn_ms).exp())),
        };
        match synapse {
            Some(synapse) if !(membrane.is_finite() && synapse.is_finite()) => Err(Error::Config(format!(
                "{}: NIR has no neuron with a current and an infinite time constant; train with shorter tau_ms and tau_syn_ms",
                self.network.layer_name(l)
            ))),
            _ => Ok(Gain { membrane, synapse, folded: self.folded[l] }),
        }
    }

    fn weights(
        &mut self,
        l: usize,
        conv: Option<&Convolution>,
        weight: FileTensor,
        bias: Option<FileTensor>,
        gain: f64,
    ) -> Result<()> {
        let scaled = |data: &[f32]| scaled(data, gain);
        let name = weight_node(self.network, l);
        if let Some(c) = conv {
            if self.maps != Some([c.channels, c.height, c.width]) {
                return Err(Error::Config(format!(
                    "{}: NIR has no node that turns the neurons of a fully connected layer into the maps of a convolution; export a \
                     network whose convolutions come first",
                    self.network.layer_name(l)
                )));
            }
            let none = Numbers::F32(vec![0.0; c.filters]);
            let fields = [
                ("weight", array(weight.extents.clone(), scaled(&weight.data))),
                ("bias", array(vec![c.filters], bias.map_or(none, |bias| scaled(&bias.data)))),
                ("stride", integers(&[c.stride; 2])),
                ("padding", integers(&[c.padding; 2])),
                ("dilation", integers(&[1; 2])),
                ("groups", integer(1)),
                ("input_shape", integers(&[c.height, c.width])),
            ];
            self.add(&name, "Conv2d", fields);
            self.maps = Some([c.filters, c.rows(), c.columns()]);
            return Ok(());
        }
        if let Some(maps) = self.maps.take() {
            let fields = [("start_dim", integer(0)), ("end_dim", integer(-1)), ("input_type", integers(&maps))];
            self.add(&format!("flatten{}", l + 1), "Flatten", fields);
        }
        let &[rows, columns] = weight.extents.as_slice() else {
            return Err(Error::Config(format!("{}: weights of {:?}", self.network.layer_name(l), weight.extents)));
        };
        let weight = ("weight", array(vec![columns, rows], scaled(&transposed(&weight.data, rows, columns))));
        match bias {
            Some(bias) => self.add(&name, "Affine", [weight, ("bias", array(bias.extents, scaled(&bias.data)))]),
            None => self.add(&name, "Linear", [weight]),
        }
        Ok(())
    }

    fn neurons(&mut self, l: usize, layer: &SpikingLayer, gain: &Gain) -> Result<()> {
        if layer.reset == Reset::Subtract {
            self.report.changes.push(format!(
                "{name} subtracts v_th - v_r = {} after a spike; NIR can only set the potential, and the written network sets it to \
                 {}. Train with network.{name}.reset = to_value",
                layer.v_th - layer.v_r,
                layer.v_r,
                name = self.network.layer_name(l),
            ));
        }
        let shape = self.maps.map_or(vec![layer.neurons], |maps| maps.to_vec());
        let all = |value: f64| array(shape.clone(), Numbers::F32(vec![value as f32; layer.neurons]));
        let common = [("v_threshold", all(layer.v_th)), ("v_reset", all(layer.v_r))];
        let name = neuron_node(l);
        let tau = gain.membrane * self.dt;
        match gain.synapse {
            Some(synapse) => {
                let own = [
                    ("tau_mem", all(tau)),
                    ("tau_syn", all(synapse * self.dt)),
                    ("r", all(gain.membrane)),
                    ("w_in", all(synapse)),
                    ("v_leak", all(layer.v_rest)),
                ];
                self.add(&name, "CubaLIF", own.into_iter().chain(common));
            }
            None if gain.membrane.is_finite() => {
                let own = [("tau", all(tau)), ("r", all(gain.membrane / gain.folded)), ("v_leak", all(layer.v_rest))];
                self.add(&name, "LIF", own.into_iter().chain(common));
            }
            None => {
                self.report.notes.push(format!("{name} is an IF node: snnTorch makes a leaky neuron of it"));
                self.add(&name, "IF", [("r", all(1.0 / self.dt))].into_iter().chain(common));
            }
        }
        Ok(())
    }

    /// A loop from the last node, neurons, through their recurrent weights back to it. In NIR a loop takes one time step.
    fn recurrent(&mut self, l: usize, weight: Option<FileTensor>, gain: f64) {
        let Some(weight) = weight else { return };
        let n = self.network.sizes()[l + 1];
        let weight = array(vec![n; 2], scaled(&transposed(&weight.data, n, n), gain));
        let (neurons, name) = (self.last.clone(), recurrent_node(l));
        self.add(&name, "Linear", [("weight", weight)]);
        self.graph.edges.push((name, neurons.clone()));
        self.last = neurons;
    }

    /// Max pooling: the sum over a window, and neurons that spike if it is not 0.
    fn pool(&mut self, l: usize, layer: &SpikingLayer) {
        let Some(conv) = layer.conv().filter(|conv| conv.pool > 1) else { return };
        self.report.changes.push(format!(
            "{} pools its spikes by their maximum, which NIR does not have; it is written as SumPool2d and IF neurons, which spike if \
             the sum is not 0. Programs in which neurons take a time step delay them by one more, and snnTorch cannot run it",
            self.network.layer_name(l)
        ));
        let fields = [
            ("kernel_size", integers(&[conv.pool; 2])),
            ("stride", integers(&[conv.pool; 2])),
            ("padding", integers(&[0; 2])),
        ];
        self.add(&format!("pool{}", l + 1), "SumPool2d", fields);
        let (rows, columns) = conv.pooled();
        let shape = [conv.filters, rows, columns];
        let all = |value: f32| array(shape.to_vec(), Numbers::F32(vec![value; shape.iter().product()]));
        let fields =
            [("r", all((1.0 / self.dt) as f32)), ("v_threshold", all(POOLED_THRESHOLD)), ("v_reset", all(0.0))];
        self.add(&format!("max{}", l + 1), "IF", fields);
        self.maps = Some(shape);
    }

    fn readout(&mut self, l: usize, readout: &Integrator, weight: FileTensor, bias: Option<FileTensor>) -> Result<()> {
        let membrane = gain(readout.alpha(self.network.dt_ms));
        if self.options.readout == ExportReadout::None {
            self.report.notes.push(format!(
                "the readout's integrators (tau_ms = {}) and its logits ({:?}) are left out: the output is the sum of weights in each \
                 step",
                readout.tau_ms, readout.logits
            ));
            return self.weights(l, None, weight, bias, 1.0);
        }
        if !membrane.is_finite() {
            return Err(Error::Config(
                "readout: a LI node cannot have an infinite time constant; export with option readout=none".into(),
            ));
        }
        let folded = self.folded[l];
        let r = if readout.gain == ReadoutGain::One { membrane / folded } else { 1.0 };
        self.weights(l, None, weight, bias, folded)?;
        let all = |value: f64| array(vec![readout.classes], Numbers::F32(vec![value as f32; readout.classes]));
        let fields = [("tau", all(membrane * self.dt)), ("r", all(r)), ("v_leak", all(0.0))];
        self.add("readout", "LI", fields);
        self.report.notes.push(
            "readout is a LI node: snnTorch refuses it, Norse leaves it out; option readout=none ends the graph with the weights".into(),
        );
        Ok(())
    }

    fn finish(mut self) -> Result<(Graph, ExportReport)> {
        self.add("output", "Output", [("shape", integers(&[self.network.classes()]))]);
        if !self.report.changes.is_empty() && !self.options.force {
            return Err(Error::Config(format!(
                "NIR cannot hold this network as it is: {}; or write it all the same with option force",
                self.report.changes.join("; ")
            )));
        }
        self.check_range()?;
        self.graph.metadata = own::metadata(self.network, self.options, self.dt)?;
        self.note_peers();
        Ok((self.graph, self.report))
    }

    /// Refuses numbers that 32 bits do not hold, or not precisely, such as time constants with a time step of 1e-60 s.
    fn check_range(&self) -> Result<()> {
        let bad = |name: &str, x: f32| !x.is_finite() || ((name.starts_with("tau") || name == "r") && !x.is_normal());
        for (node, Node { fields, .. }) in &self.graph.nodes {
            for (name, value) in fields {
                let Value::Array(Array { numbers: Numbers::F32(numbers), .. }) = value else { continue };
                if let Some(&x) = numbers.iter().find(|x| bad(name, **x)) {
                    return Err(Error::Config(format!(
                        "the field {name} of node {node} would be {x}, beyond 32-bit numbers; write the file for another time step \
                         with option dt"
                    )));
                }
            }
        }
        Ok(())
    }

    /// What other programs make of the file.
    fn note_peers(&mut self) {
        let network = self.network;
        let mut note = |text: String| self.report.notes.push(text);
        let lif = |layer: &&SpikingLayer| layer.cell == Cell::Lif && layer.alpha(network.dt_ms) < 1.0;
        if !self.options.fold_gain && network.spiking().any(|layer| lif(&layer)) {
            note(
                "r is not 1: snnTorch reads it, Norse takes it for 1; option fold_gain writes weights for both".into(),
            );
        }
        if (self.dt / DT_OF_SNNTORCH - 1.0).abs() > 1e-6 {
            note(format!(
                "snnTorch takes dt = {DT_OF_SNNTORCH:e} s for every file, not {}; for it, use option dt={DT_OF_SNNTORCH:e}",
                self.dt
            ));
        }
        if network.spiking().any(|layer| layer.v_rest != 0.0) {
            note("v_leak is not 0: snnTorch refuses it, Norse starts at it".into());
        }
        if network.spiking().any(|layer| layer.v_r != 0.0 && layer.reset == Reset::ToValue) {
            note("v_reset is not 0: snnTorch and Norse set the potential to 0".into());
        }
        let depth = network.spiking().count() + usize::from(network.integrator().is_some());
        let behind = network.biases().iter().skip(1).any(|&bias| bias)
            || network.spiking().skip(1).any(|layer| layer.v_rest != 0.0);
        let start = if behind {
            ", and without the first steps of biases or leak potentials behind the first layer"
        } else {
            ""
        };
        note(format!(
            "a layer takes one time step here and none in NIR: other programs give the output {depth} steps earlier{start}"
        ));
        note("Spyx subtracts the threshold at a spike, whatever the file says".into());
    }
}
