//! The dense baseline as dispatches: a matrix product and a fused scan per layer, [B, T, N] arrays throughout.

use super::buffers::{LayerWeights, State, quads, read_rows};
use super::context::Context;
use super::params::{GemmParams, Params};
use super::recording::{Phase, Recorder, Recording, Work};
use super::sparse::{Purpose, groups, layer_params, record_adam, record_loss};
use super::{GpuEngine, shaders as k};
use crate::engine::{ActiveEntry, LayerInspection};
use crate::error::Result;
use crate::events::{Event, EventSet};
use crate::model::Network;

/// The arrays of a dense step, (B T, Q) vec4 each.
#[derive(Default)]
pub struct DenseState {
    batch: usize,
    /// Spikes of the input and each hidden layer.
    spikes: Vec<wgpu::Buffer>,
    /// Row t holds V[t+1] of each layer, the readout's last.
    v: Vec<wgpu::Buffer>,
    /// ∇S, then δ, of each layer.
    delta: Vec<wgpu::Buffer>,
    /// e of each hidden layer, when inspecting; shares no memory with a training step.
    recorded_e: Vec<wgpu::Buffer>,
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
        *self = DenseState {
            batch,
            spikes: arrays("dense spikes", below)?,
            v: arrays("dense potentials", &sizes[1..])?,
            delta: arrays("dense deltas", &sizes[1..])?,
            recorded_e: Vec::new(),
        };
        Ok(())
    }

    /// Bytes by name.
    pub fn bytes(&self) -> Vec<(String, u64)> {
        let sum = |buffers: &[wgpu::Buffer]| buffers.iter().map(|b| b.size()).sum();
        let parts =
            [("spikes", &self.spikes), ("membrane potentials", &self.v), ("spike gradients and deltas", &self.delta)];
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
    (network, state, weights, dense): (&Network, &State, &[LayerWeights], &DenseState),
    batch: usize,
    purpose: Purpose,
) -> Recording {
    let hidden = network.hidden.len();
    let rows = (batch * network.time_steps) as u32;
    let params = |l: usize| layer_params(network, state, l, batch);
    let wide = |n: usize| 4 * quads(n) as u32;
    let mut r = Recorder::new(context);
    r.clear(&dense.spikes[0]);
    r.clear(&state.report);
    let samples = Work::Groups(batch as u64);
    let input = &state.input;
    r.add("dense_input", (k::DENSE_INPUT, &[]), params(0), &[&input.starts, &input.events, &dense.spikes[0]], samples);
    for l in 0..=hidden {
        let p = params(l);
        let (n_in, n) = (wide(p.inputs as usize), wide(p.neurons as usize));
        let product =
            GemmParams { rows, cols: n, depth: p.inputs, a_row: n_in, a_col: 1, b_row: n, b_col: 1, out_row: n };
        gemm(&mut r, format!("gemm_forward.{l}"), product, &dense.spikes[l], &weights[l].weights, &dense.v[l]);
        let lanes = groups(batch * p.quads as usize);
        match state.hidden.get(l) {
            Some(h) => {
                let buffers = &[&dense.v[l], &dense.spikes[l + 1], &h.counts, &state.report];
                // The spikes of the layer above the last hidden one are the readout's input.
                r.add(format!("dense_lif.{l}"), (k::DENSE_LIF, &[]), p, buffers, lanes);
                let samples = Work::Groups(batch as u64);
                r.add(format!("activity.{l}"), (k::ACTIVITY, &[]), p, &[&h.counts, &h.activity], samples);
                let terms = Params { report_at: p.report_at + 2, ..p };
                let buffers = &[&h.activity, &state.status, &state.step, &state.report];
                r.add(format!("report.{l}"), (k::REPORT, &[]), terms, buffers, Work::Groups(1));
            }
            None => {
                let out = &state.readout;
                r.add("dense_readout", (k::DENSE_READOUT, &[]), p, &[&dense.v[l], &out.logits, &out.peaks], lanes);
                record_loss(&mut r, state, p);
            }
        }
    }
    r.phase(Phase::Backward);
    for l in (0..=hidden).rev() {
        let p = params(l);
        let (n_in, n) = (wide(p.inputs as usize), wide(p.neurons as usize));
        let lanes = groups(batch * p.quads as usize);
        match state.hidden.get(l) {
            Some(h) => {
                let above = wide(network.sizes()[l + 2]);
                let product = GemmParams {
                    rows,
                    cols: p.neurons,
                    depth: above,
                    a_row: above,
                    a_col: 1,
                    b_row: 1,
                    b_col: above,
                    out_row: n,
                };
                let w = &weights[l + 1].weights;
                gemm(&mut r, format!("gemm_spike_gradient.{l}"), product, &dense.delta[l + 1], w, &dense.delta[l]);
                let mut buffers = vec![&dense.v[l], &h.counts, &h.activity, &dense.delta[l]];
                let mut variant: &[&'static str] = &[];
                if purpose == Purpose::Inspect {
                    variant = &["RECORD"];
                    buffers.push(&dense.recorded_e[l]);
                }
                r.add(format!("dense_delta.{l}"), (k::DENSE_DELTA, variant), p, &buffers, lanes);
            }
            None => {
                let buffers = &[&state.readout.errors, &state.readout.peaks, &dense.delta[l]];
                r.add("dense_delta_readout", (k::DENSE_DELTA_READOUT, &[]), p, buffers, lanes);
            }
        }
        let product =
            GemmParams { rows: p.inputs, cols: n, depth: rows, a_row: 1, a_col: n_in, b_row: n, b_col: 1, out_row: n };
        let out = &weights[l].gradient;
        gemm(&mut r, format!("gemm_weight_gradient.{l}"), product, &dense.spikes[l], &dense.delta[l], out);
    }
    if purpose == Purpose::Train {
        r.phase(Phase::Update);
        record_adam(&mut r, state, weights);
    }
    r.finish()
}

fn gemm<'a>(
    r: &mut Recorder<'a>,
    label: String,
    p: GemmParams,
    a: &'a wgpu::Buffer,
    b: &'a wgpu::Buffer,
    out: &'a wgpu::Buffer,
) {
    let tiles = u64::from(p.rows.div_ceil(64)) * u64::from(p.cols.div_ceil(64));
    r.add(label, (k::GEMM, &[]), p, &[a, b, out], Work::Groups(tiles));
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
    (0..engine.network.hidden.len())
        .map(|l| {
            let n = engine.network.hidden[l].neurons;
            let c = engine.network.hidden[l].constants(engine.network.dt_ms);
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
                    if let Some(g) = c.surrogate(v[row * n + j]) {
                        active.push(ActiveEntry { b, t: t as u32, j: j as u32, g, e: e[row * n + j] });
                    }
                }
            }
            Ok(LayerInspection { v, spikes, active })
        })
        .collect()
}
