//! A network from the graph of any program.

use super::graph::{SPIKING, Step as Node, chain};
use super::linear::{Budget, Conv, Dense, Linear, Map, Pool};
use super::neurons::{Neurons, Step, integrator, plain_output, spiking};
use super::parameters::{Parameters, uniform};
use super::{DT_OF_PEERS, Import, ImportReport, Imported, file};
use crate::error::{Error, Result};
use crate::network::{
    Connection, Initialisation, Integrator, Logits, MAX_EXTENT, Network, Readout, Reset, SpikingLayer,
};
use crate::weights::{Matrix, Weights};
use std::path::Path;

/// Time steps of a network whose file does not say any.
const TIME_STEPS: usize = 100;

/// What is known after some of the chain's nodes.
struct Importer<'a> {
    path: &'a Path,
    options: &'a Import,
    step: Step,
    budget: Budget,
    /// The map from the last layer.
    linear: Linear,
    hidden: Vec<SpikingLayer>,
    matrices: Vec<Matrix>,
    readout: Option<Integrator>,
    report: ImportReport,
}

/// Imports a graph.
///
/// # Errors
/// [`Error::Format`] naming the node.
pub(super) fn import(contents: file::Contents, path: &Path, dt: Option<f64>, options: &Import) -> Result<Imported> {
    let dt = dt.ok_or_else(|| {
        Error::format(
            path,
            format!("does not say the length of its time step; give it in seconds with option dt: {DT_OF_PEERS}"),
        )
    })?;
    if !(dt.is_finite() && dt > 0.0) {
        return Err(Error::field("dt", dt, "a positive number of seconds"));
    }
    let dt_ms = options.dt_ms.unwrap_or(1000.0 * dt);
    let steps = chain(contents.graph, path)?;
    let shape = input_shape(&steps, path)?;
    let inputs = shape.iter().product();
    let report = ImportReport {
        version: contents.version,
        dt,
        nodes: Vec::new(),
        warnings: Vec::new(),
        own: false,
        preset: None,
    };
    let mut importer = Importer {
        path,
        options,
        step: Step { dt, dt_ms },
        budget: Budget::new(contents.most_numbers),
        linear: Linear::identity(shape),
        hidden: Vec::new(),
        matrices: Vec::new(),
        readout: None,
        report,
    };
    (0..steps.len()).try_for_each(|k| importer.append(&steps[k], &steps[k + 1..]))?;
    importer.finish(inputs, &steps)
}

/// The extents of the input. Some programs write the batch in front; what follows shows it.
fn input_shape(steps: &[Node], path: &Path) -> Result<Vec<usize>> {
    let Some(input) = steps.first() else {
        return Err(Error::format(path, "has no nodes"));
    };
    let node = Parameters { step: input, path };
    let (_, numbers) = node.array("shape")?;
    let extent = |&x: &f64| (x.fract() == 0.0 && (1.0..=MAX_EXTENT as f64).contains(&x)).then_some(x as usize);
    let mut shape: Vec<usize> = numbers.iter().map(extent).collect::<Option<_>>().unwrap_or_default();
    if shape.is_empty() || shape.iter().try_fold(1usize, |n, &x| n.checked_mul(x)).is_none_or(|n| n > MAX_EXTENT) {
        return Err(node.error(format!("its `shape` is {numbers:?}: the product must be 1 to {MAX_EXTENT}")));
    }
    let mut kinds = steps.iter().map(|step| step.kind.as_str());
    let follows =
        kinds.find(|kind| matches!(*kind, "Linear" | "Affine" | "Conv2d" | "SumPool2d" | "AvgPool2d" | "Flatten"));
    let dimensions = if matches!(follows, None | Some("Linear" | "Affine")) { 1 } else { 3 };
    while shape.len() > dimensions && shape[0] == 1 {
        shape.remove(0);
    }
    Ok(shape)
}

impl Importer<'_> {
    /// Takes in a node; `behind` are those that follow it.
    fn append(&mut self, step: &Node, behind: &[Node]) -> Result<()> {
        let node = Parameters { step, path: self.path };
        match step.kind.as_str() {
            "Input" => Ok(()),
            "Output" => self.check_output(node),
            "Linear" | "Affine" | "Scale" | "Flatten" | "Conv2d" | "SumPool2d" | "AvgPool2d" => {
                self.linear.append(step, self.path, &mut self.budget)
            }
            kind if SPIKING.contains(&kind) => self.spiking(node),
            "LI" => {
                if let Some(next) = behind.iter().find(|next| !matches!(next.kind.as_str(), "Flatten" | "Output")) {
                    return Err(node.error(format!(
                        "its potentials go on to node `{}` ({}); only spikes can be passed on, and a LI node must be the last layer",
                        next.name, next.kind
                    )));
                }
                let n = self.count(node)?;
                let neurons = integrator(node, n, self.step)?;
                self.readout(node, neurons)
            }
            other => Err(node.error(format!(
                "nodes of type {other} cannot be imported; supported are Linear, Affine, Scale, Conv2d, SumPool2d, AvgPool2d, \
                 Flatten, LIF, CubaLIF, IF, LI and graphs of them"
            ))),
        }
    }

    /// The number of neurons of a node.
    fn count(&self, node: Parameters) -> Result<usize> {
        match self.linear.shape.iter().try_fold(1usize, |n, &x| n.checked_mul(x)) {
            Some(n @ 1..=MAX_EXTENT) => Ok(n),
            _ => Err(node.error(format!("has {:?} neurons, the limit is {MAX_EXTENT}", self.linear.shape))),
        }
    }

    fn check_output(&self, node: Parameters) -> Result<()> {
        if !node.has("shape") {
            return Ok(());
        }
        let (_, shape) = node.array("shape")?;
        match shape.iter().product::<f64>() == self.linear.outputs() as f64 {
            true => Ok(()),
            false => {
                Err(node.error(format!("its `shape` is {shape:?}, but values of shape {:?} arrive", self.linear.shape)))
            }
        }
    }

    fn spiking(&mut self, node: Parameters) -> Result<()> {
        if self.is_max_pool(node)? {
            return Ok(());
        }
        let n = self.count(node)?;
        let Neurons { mut layer, factors, drift } = spiking(node, n, self.step, self.options)?;
        if !node.has("v_reset") {
            let what = match layer.reset {
                Reset::ToValue => "was taken to set the potential to 0 (nir since 1.0.6, Norse, snnTorch)",
                Reset::Subtract => "was taken to subtract the threshold (nir before 1.0.6)",
            };
            let name = &node.step.name;
            let version = &self.report.version;
            self.report.warnings.push(format!(
                "node `{name}` has no v_reset (the file is of nir {version}): its reset {what}; option missing_reset sets it"
            ));
        }
        let shape = self.linear.shape.clone();
        let below = std::mem::replace(&mut self.linear, Linear::identity(shape));
        let own = self.recurrent(node)?;
        layer.recurrent = own.is_some();
        match below.into_weights(node, &mut self.budget)? {
            Map::Conv(_) if own.is_some() => {
                return Err(node.error("is a convolution in a loop; only fully connected layers can be recurrent"));
            }
            Map::Conv(conv) => self.matrices.push(convolution(node, &mut layer, conv, &factors, &drift)?),
            Map::Dense(dense) => self.matrices.push(matrix(node, dense, own, &factors, &drift, &mut layer.bias)?),
            Map::Identity | Map::Pool(_) => return Err(node.error("has no weights in front of it")),
        }
        let kind = if layer.recurrent { ", recurrent" } else { "" };
        self.report.nodes.push(format!("{} ({}): hidden[{}]{kind}", node.step.name, node.step.kind, self.hidden.len()));
        self.hidden.push(layer);
        Ok(())
    }

    /// The weights of the loop from neurons back to them, if there is one.
    fn recurrent(&mut self, node: Parameters) -> Result<Option<Dense>> {
        if node.step.loop_back.is_empty() {
            return Ok(None);
        }
        let mut own = Linear::identity(self.linear.shape.clone());
        for step in &node.step.loop_back {
            own.append(step, self.path, &mut self.budget)?;
        }
        match own.into_weights(node, &mut self.budget)? {
            Map::Dense(own) if own.outputs == own.inputs => Ok(Some(own)),
            _ => Err(node.error("the weights of the loop lead to a different number of neurons; make the sizes fit")),
        }
    }

    /// Whether the node and the pooling in front of it are the maximum over windows of a convolution's spikes, which
    /// becomes part of the convolution: each spike alone exceeds the threshold, and nothing is left of it.
    fn is_max_pool(&mut self, node: Parameters) -> Result<bool> {
        let Map::Pool(Pool { kernel, stride, scale, .. }) = self.linear.map else { return Ok(false) };
        let Some(SpikingLayer { connection: Connection::Conv(conv), .. }) = self.hidden.last_mut() else {
            return Ok(false);
        };
        if kernel != stride || conv.pool != 1 || node.step.kind == "CubaLIF" || !node.step.loop_back.is_empty() {
            return Ok(false);
        }
        let n = self.linear.outputs();
        let gain = match node.step.kind.as_str() {
            "IF" => self.step.dt,
            _ => self.step.dt / node.shared_positive("tau", n)?,
        };
        let threshold = node.per_neuron("v_threshold", n)?;
        let mut enough = node.per_neuron("r", n)?.into_iter().zip(threshold).map(|(r, v_th)| (r * gain * scale, v_th));
        let zero = |name: &str| Ok::<_, Error>(!node.has(name) || node.per_neuron(name, n)?.iter().all(|&v| v == 0.0));
        let clean = zero("v_reset")? && zero("v_leak")? && self.options.missing_reset != Some(Reset::Subtract);
        if !clean || !enough.all(|(spike, v_th)| v_th >= 0.0 && spike > v_th) {
            return Ok(false);
        }
        conv.pool = kernel;
        self.report.nodes.push(format!(
            "{} ({}): max pooling of hidden[{}]",
            node.step.name,
            node.step.kind,
            self.hidden.len() - 1
        ));
        self.linear.map = Map::Identity;
        Ok(true)
    }

    fn readout(&mut self, node: Parameters, neurons: Neurons<Integrator>) -> Result<()> {
        let Neurons { mut layer, factors, drift } = neurons;
        let shape = self.linear.shape.clone();
        let below = std::mem::replace(&mut self.linear, Linear::identity(shape));
        let Map::Dense(dense) = below.into_weights(node, &mut self.budget)? else {
            return Err(node.error("follows a convolution; the last layer must be fully connected"));
        };
        self.matrices.push(matrix(node, dense, None, &factors, &drift, &mut layer.bias)?);
        layer.logits = self.options.logits.unwrap_or(Logits::Max);
        self.report.nodes.push(format!("{} ({}): readout", node.step.name, node.step.kind));
        self.readout = Some(layer);
        Ok(())
    }

    fn finish(mut self, inputs: usize, steps: &[Node]) -> Result<Imported> {
        let readout: Readout = match (self.readout.take(), &self.linear.map, self.hidden.len()) {
            (Some(readout), ..) => readout.into(),
            (None, Map::Identity, 1..) => self.spiking_readout(steps)?,
            (None, ..) => {
                let Some(last) = steps.last() else { return Err(Error::format(self.path, "has no nodes")) };
                let node = Parameters { step: last, path: self.path };
                let n = self.count(node)?;
                self.readout(node, plain_output(n, self.step))?;
                self.report.warnings.push(
                    "the graph ends in weights: the readout holds the sums of each time step alone (its time constant is far \
                     below the time step)"
                        .into(),
                );
                match self.readout.take() {
                    Some(readout) => readout.into(),
                    None => return Err(node.error("has no weights in front of it")),
                }
            }
        };
        if let Some(integrator) = match &readout {
            Readout::Integrator(integrator) => Some(integrator),
            Readout::SpikeCount(_) => None,
        } && self.options.logits.is_none()
        {
            let logits = format!("{:?}", integrator.logits).to_lowercase();
            self.report.warnings.push(format!(
                "a NIR file does not say how classes follow from potentials: logits = {logits} was taken; option logits sets it"
            ));
        }
        let network = Network {
            inputs,
            time_steps: self.options.time_steps.unwrap_or(TIME_STEPS),
            dt_ms: self.step.dt_ms,
            hidden: self.hidden,
            readout,
            loss: Default::default(),
            regulariser: Default::default(),
        };
        let failed = |e: Error| Error::format(self.path, format!("cannot be imported: {e}"));
        network.check().map_err(failed)?;
        let weights = Weights { layers: self.matrices };
        weights.check(&network).map_err(failed)?;
        Ok(Imported { network, weights, report: self.report })
    }

    /// The last spiking layer becomes a readout that counts its spikes.
    fn spiking_readout(&mut self, steps: &[Node]) -> Result<Readout> {
        let last = steps.iter().rev().find(|step| SPIKING.contains(&step.kind.as_str()));
        match (self.hidden.pop(), last) {
            (Some(layer), Some(_)) if layer.conv().is_none() => {
                if let Some(line) = self.report.nodes.last_mut() {
                    *line = line.replace(&format!("hidden[{}]", self.hidden.len()), "readout, counts spikes");
                }
                Ok(Readout::spike_count(layer))
            }
            (_, Some(last)) => Err(last.error(self.path, "is a convolution; the last layer must be fully connected")),
            _ => Err(Error::format(self.path, "has no layer of neurons")),
        }
    }
}

/// The weights of a fully connected layer, with those of its `own` spikes if it is recurrent; sets `bias` if it has biases.
fn matrix(
    node: Parameters,
    dense: Dense,
    own: Option<Dense>,
    factors: &[f64],
    drift: &[f64],
    bias: &mut bool,
) -> Result<Matrix> {
    let outputs = dense.outputs;
    let parts: Vec<Dense> = [dense].into_iter().chain(own).collect();
    let biases: Vec<&Vec<f64>> = parts.iter().filter_map(|part| part.bias.as_ref()).collect();
    *bias = !biases.is_empty() || !drift.is_empty();
    let inputs: usize = parts.iter().map(|part| part.inputs).sum();
    let rows = inputs + usize::from(*bias);
    let mut data = vec![0.0f32; rows * outputs];
    let mut first = 0;
    for Dense { inputs, w, .. } in &parts {
        for (j, row) in w.chunks_exact(*inputs).enumerate() {
            row.iter().enumerate().for_each(|(i, w)| data[(first + i) * outputs + j] = (w * factors[j]) as f32);
        }
        first += inputs;
    }
    if *bias {
        for (j, b) in data[inputs * outputs..].iter_mut().enumerate() {
            let own: f64 = biases.iter().map(|bias| bias[j] * factors[j]).sum();
            *b = (own + drift.get(j).copied().unwrap_or(0.0)) as f32;
        }
    }
    finite(node, Matrix { rows, cols: outputs, data })
}

/// The weights of a convolution, whose neurons must be alike within a map.
fn convolution(
    node: Parameters,
    layer: &mut SpikingLayer,
    conv: Conv,
    factors: &[f64],
    drift: &[f64],
) -> Result<Matrix> {
    let Conv { shape, w, bias } = conv;
    if !drift.is_empty() {
        return Err(
            node.error("its `v_leak` differs from neuron to neuron, the neurons of a convolution must share it")
        );
    }
    let of_maps: Option<Vec<f64>> = factors.chunks_exact(shape.pixels().max(1)).map(uniform).collect();
    let of_maps = of_maps.ok_or_else(|| {
        node.error(
            "its `r` or `v_threshold` differs within a map of the convolution, whose neurons share their weights",
        )
    })?;
    let (patch, filters) = (shape.patch(), shape.filters);
    let mut data = vec![0.0f32; patch * filters];
    for (f, taps) in w.chunks_exact(patch).enumerate() {
        taps.iter().enumerate().for_each(|(k, w)| data[k * filters + f] = (w * of_maps[f]) as f32);
    }
    if let Some(bias) = &bias {
        data.extend(bias.iter().zip(&of_maps).map(|(b, factor)| (b * factor) as f32));
    }
    layer.bias = bias.is_some();
    layer.neurons = shape.neurons();
    layer.connection = Connection::Conv(shape);
    layer.init = Initialisation::Uniform { scale: 1.0 };
    finite(node, Matrix { rows: data.len() / filters, cols: filters, data })
}

fn finite(node: Parameters, matrix: Matrix) -> Result<Matrix> {
    match matrix.data.iter().all(|w| w.is_finite()) {
        true => Ok(matrix),
        false => Err(node.error("weights in front of it are beyond the range of 32-bit numbers; rescale the network")),
    }
}
