//! The dense baselines as dispatches, [B, T, N] arrays throughout: a matrix product and a fused scan per layer, or the
//! reference's passes for each time step.

use super::adapter::Tier;
use super::buffers::{LayerWeights, Model, SpikingState, State, quads, read_rows};
use super::context::Context;
use super::dense_layers::{dense_input_bindings, gradient};
use super::gemm::{Layout, Matrices, Product};
use super::layer_params::layer_params;
use super::params::Params;
use super::recording::{Phase, Recorder, Recording, Work};
use super::reference::{Gradients, Layer};
use super::region::Region;
use super::sparse::{Purpose, groups, record_adam, record_loss, report_bindings};
use super::{GpuEngine, shaders as k};
use crate::engine::{ActiveEntry, LayerInspection, Method};
use crate::error::Result;
use crate::events::{Event, EventSet};
use crate::network::Network;

/// The arrays of a dense step, (B T, Q) vec4 each.
#[derive(Default)]
pub struct DenseState {
    batch: usize,
    /// Spikes of the input and each hidden layer.
    spikes: Vec<Region>,
    /// Row t holds V[t+1] of each layer, the readout's last.
    v: Vec<Region>,
    /// ∇S, then δ; two arrays, as a layer needs that of the layer above only.
    delta: Vec<Region>,
    /// (B, Q) vec4: δ of one time step, for the reference.
    now: Vec<Region>,
    /// Products whose depth is cut, before their parts are added.
    parts: Vec<Region>,
    /// e of each hidden layer; for inspections only.
    recorded_e: Vec<Region>,
}

impl DenseState {
    /// Allocates for batches of up to `batch` samples.
    pub fn make_room(&mut self, context: &Context, network: &Network, batch: usize) -> Result<()> {
        if self.batch >= batch {
            return Ok(());
        }
        let rows = (batch * network.time_steps) as u64;
        let array = |what: &str, n: &usize| context.storage(what, 16 * rows * quads(*n) as u64);
        let sizes = network.sizes();
        let arrays = |what: &str, sizes: &[usize]| sizes.iter().map(|n| array(what, n)).collect::<Result<Vec<_>>>();
        let below = &sizes[..sizes.len() - 1];
        let widest = sizes[1..].iter().copied().max().unwrap_or(1);
        let gradients = sizes.windows(2).map(|pair| gradient(pair, rows as usize));
        let parts = gradients.map(|product| product.parts_bytes(context.tier)).max().unwrap_or(0);
        *self = DenseState {
            batch,
            spikes: arrays("dense spikes", below)?,
            v: arrays("dense potentials", &sizes[1..])?,
            delta: arrays("dense deltas", &vec![widest; sizes[1..].len().min(2)])?,
            now: vec![context.storage("delta of a time step", 16 * (batch * quads(widest)) as u64)?],
            parts: vec![context.storage("parts of dense products", parts)?],
            recorded_e: Vec::new(),
        };
        Ok(())
    }

    /// Bytes by name.
    pub fn bytes(&self) -> Vec<(String, u64)> {
        let sum = |buffers: &[Region]| buffers.iter().map(|b| b.size()).sum();
        let parts = [
            ("spikes", &self.spikes),
            ("membrane potentials", &self.v),
            ("spike gradients and deltas", &self.delta),
            ("delta of a time step", &self.now),
            ("parts of weight gradients", &self.parts),
        ];
        parts.map(|(name, buffers)| (format!("dense {name}"), sum(buffers))).into_iter().filter(|b| b.1 > 0).collect()
    }

    /// Makes the arrays that only an inspection needs.
    pub fn make_room_for_errors(&mut self, context: &Context, network: &Network) -> Result<()> {
        let rows = (self.batch * network.time_steps) as u64;
        let layers = network.hidden.iter().map(|layer| 16 * rows * quads(layer.neurons) as u64);
        self.recorded_e = layers.map(|bytes| context.storage("recorded errors", bytes)).collect::<Result<_>>()?;
        Ok(())
    }
}

/// Records a dense step of `batch` samples.
pub fn record(
    context: &mut Context,
    model: Model,
    dense: &DenseState,
    batch: usize,
    purpose: Purpose,
    method: Method,
) -> Recording {
    let Model { network, state, weights } = model;
    let tier = context.tier;
    let mut r = Recorder::new(context);
    let by_steps = method == Method::Reference;
    let step = Step { network, state, weights, dense, batch, purpose, tier, by_steps };
    step.forward(&mut r);
    r.phase(Phase::Backward);
    step.backward(&mut r);
    if purpose == Purpose::Train {
        r.phase(Phase::Update);
        record_adam(&mut r, state, weights);
    }
    r.finish()
}

struct Step<'a> {
    network: &'a Network,
    state: &'a State,
    weights: &'a [LayerWeights],
    dense: &'a DenseState,
    batch: usize,
    purpose: Purpose,
    tier: Tier,
    /// The reference: passes for each time step instead of a scan.
    by_steps: bool,
}

impl<'a> Step<'a> {
    fn params(&self, l: usize) -> Params {
        layer_params(self.network, self.state, l, self.batch)
    }

    fn rows(&self) -> usize {
        self.batch * self.network.time_steps
    }

    fn layer(&self, l: usize, h: &'a SpikingState) -> Layer<'a> {
        Layer {
            v: &self.dense.v[l],
            spikes: &self.dense.spikes[l + 1],
            counts: &h.counts,
            activity: &h.activity,
            report: &self.state.report,
            status: &self.state.status,
        }
    }

    /// out = a b.
    fn product(&self, r: &mut Recorder<'a>, label: &str, product: Product, [a, b, out]: [&'a Region; 3]) {
        let matrices = Matrices { a, b, out, parts: &self.dense.parts[0], accumulate: false };
        product.record(r, label, self.tier, matrices);
    }

    fn forward(&self, r: &mut Recorder<'a>) {
        let (state, dense) = (self.state, self.dense);
        let status = ("status", &state.status);
        r.clear(&dense.spikes[0]);
        r.clear(&state.report);
        let samples = || Work::Groups(self.batch as u64);
        let input = dense_input_bindings(state, &dense.spikes[0]);
        r.add("dense_input", k::DENSE_INPUT, self.params(0), &input, samples());
        let sizes = self.network.sizes();
        for l in 0..=self.network.hidden.len() {
            let p = self.params(l);
            let product = Product { layout: Layout::Plain, rows: self.rows(), cols: sizes[l + 1], depth: sizes[l] };
            let (a, b) = (&dense.spikes[l], &self.weights[l].whole().weights);
            self.product(r, &format!("forward.{l}"), product, [a, b, &dense.v[l]]);
            let lanes = groups(self.batch * p.quads as usize);
            match state.spiking.get(l) {
                Some(h) => {
                    if self.by_steps {
                        self.layer(l, h).forward(r, l, p);
                    } else {
                        let bindings = [
                            ("v", &dense.v[l]),
                            ("spikes", &dense.spikes[l + 1]),
                            ("counts", &h.counts),
                            ("report", &state.report),
                            status,
                        ];
                        r.add(format!("dense_lif.{l}"), k::DENSE_LIF, p, &bindings, lanes);
                    }
                    let bindings = [("counts", &h.counts), ("activity", &h.activity)];
                    r.add(format!("activity.{l}"), k::ACTIVITY, p, &bindings, samples());
                    let terms = Params { report_at: p.report_at + 2, ..p };
                    let bindings = report_bindings(&h.activity, state);
                    r.add(format!("report.{l}"), k::REPORT, terms, &bindings, Work::Groups(1));
                }
                None => {
                    let out = &state.readout;
                    let bindings = [("v", &dense.v[l]), ("logits", &out.logits), ("peaks", &out.peaks), status];
                    r.add("dense_readout", k::DENSE_READOUT, p, &bindings, lanes);
                    record_loss(r, self.network, state, p);
                }
            }
        }
    }

    fn backward(&self, r: &mut Recorder<'a>) {
        let (state, dense) = (self.state, self.dense);
        let sizes = self.network.sizes();
        // The reference accumulates δ in one array from ∇S in the other.
        let of = |l: usize| &dense.delta[l % dense.delta.len()];
        let delta = |l: usize| if self.by_steps { &dense.delta[0] } else { of(l) };
        for l in (0..=self.network.hidden.len()).rev() {
            let p = self.params(l);
            let lanes = groups(self.batch * p.quads as usize);
            match state.spiking.get(l) {
                Some(h) => {
                    let layout = Layout::RightTransposed;
                    let product = Product { layout, rows: self.rows(), cols: sizes[l + 1], depth: sizes[l + 2] };
                    let (above, weights) = (delta(l + 1), &self.weights[l + 1].whole().weights);
                    let ds = if self.by_steps { &dense.delta[1] } else { of(l) };
                    self.product(r, &format!("spike_gradient.{l}"), product, [above, weights, ds]);
                    let recorded_e = (self.purpose == Purpose::Inspect).then(|| &dense.recorded_e[l]);
                    if self.by_steps {
                        let gradients = Gradients { ds, now: &dense.now[0], delta: delta(l), recorded_e };
                        self.layer(l, h).backward(r, l, p, gradients);
                    } else {
                        let variant: &[&'static str] = if recorded_e.is_some() { &["RECORD"] } else { &[] };
                        let mut bindings =
                            vec![("v", &dense.v[l]), ("counts", &h.counts), ("activity", &h.activity), ("delta", ds)];
                        bindings.extend(recorded_e.map(|buffer| ("recorded_e", buffer)));
                        r.add(format!("dense_delta.{l}"), k::DENSE_DELTA.with(variant), p, &bindings, lanes);
                    }
                }
                None => {
                    let out = &state.readout;
                    let bindings = [("errors", &out.errors), ("peaks", &out.peaks), ("delta", delta(l))];
                    r.add("dense_delta_readout", k::DENSE_DELTA_READOUT, p, &bindings, lanes);
                }
            }
            let product = gradient(&sizes[l..l + 2], self.rows());
            let matrices = [&dense.spikes[l], delta(l), &self.weights[l].whole().gradient];
            self.product(r, &format!("weight_gradient.{l}"), product, matrices);
        }
    }
}

/// V of layer `l` as [B, T, N]: stored one row early.
fn potentials(engine: &GpuEngine, batch: &EventSet, l: usize) -> Result<Vec<f32>> {
    let (steps, n) = (batch.time_steps(), engine.network.sizes()[l + 1]);
    let early = read_rows(&engine.context, &engine.dense.v[l], batch.len() * steps, n)?;
    let mut v = vec![0.0; early.len()];
    for (v, early) in v.chunks_exact_mut(steps * n).zip(early.chunks_exact(steps * n)) {
        v[n..].copy_from_slice(&early[..(steps - 1) * n]);
    }
    Ok(v)
}

/// V of the readout, [B, T, C].
pub fn readout_v(engine: &GpuEngine, batch: &EventSet) -> Result<Vec<f32>> {
    potentials(engine, batch, engine.network.hidden.len())
}

/// The hidden layers after an inspection.
pub fn inspect_hidden(engine: &GpuEngine, batch: &EventSet) -> Result<Vec<LayerInspection>> {
    let steps = batch.time_steps();
    let rows = batch.len() * steps;
    let network = engine.method.network(&engine.network);
    (0..network.hidden.len())
        .map(|l| {
            let n = network.hidden[l].neurons;
            let c = network.hidden[l].constants(network.dt_ms);
            let v = potentials(engine, batch, l)?;
            let s = read_rows(&engine.context, &engine.dense.spikes[l + 1], rows, n)?;
            let e = read_rows(&engine.context, &engine.dense.recorded_e[l], rows, n)?;
            let mut spikes = Vec::new();
            let mut active = Vec::new();
            for row in 0..rows {
                let (b, t) = ((row / steps) as u32, row % steps);
                for j in 0..n {
                    if s[row * n + j] > 0.0 {
                        spikes.push((b, Event::new(t, j)));
                    }
                    if let Some(g) = c.surrogate_at(v[row * n + j]) {
                        active.push(ActiveEntry { b, t: t as u32, j: j as u32, g, e: e[row * n + j] });
                    }
                }
            }
            Ok(LayerInspection { v, spikes, active })
        })
        .collect()
}
