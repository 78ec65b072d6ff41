//! The sparse step as dispatches.

use super::adapter::Tier;
use super::buffers::{
    LayerWeights, Model, PatchState, PooledState, SpikingState, State, Strip, quads, scan_blocks, scan_per_lane,
};
use super::context::Context;
use super::dense_layers::{DenseLayer, DenseLayers};
use super::held::{self, Held};
use super::layer_params::{Chunk, error_scale, layer_constants, layer_params, of_chunk, of_strip, reading};
use super::params::{LossParams, Params};
use super::pieces::Piece;
use super::recording::{Bind, Phase, Recorder, Recording, Work};
use super::region::Region;
use super::shaders::{self as k, Program};
use super::variant::Variant;
use crate::engine::layer_bit;
use crate::network::{Convolution, LossConstants, Network, SpikingLayer};

/// What a recording is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Forward, backward, update.
    Train,
    /// Forward alone, nothing active.
    Evaluate,
    /// Forward and backward, potentials kept, no update.
    Inspect,
    /// Forward, loss, backward; no update.
    Gradient,
    /// Forward, and backward from errors that the host has uploaded; no loss, no update.
    GivenErrors,
}

/// Workgroups of 64 lanes for `lanes` lanes.
pub fn groups(lanes: usize) -> Work {
    Work::Groups((lanes as u64).div_ceil(64))
}

/// Records a step, or a piece of one. `recorded_v` holds a buffer of potentials for each layer when inspecting.
pub fn record(
    context: &mut Context,
    model: Model,
    dense: &DenseLayers,
    piece: &Piece,
    held: Option<&Held>,
    recorded_v: &[Region],
) -> Recording {
    let (tier, variant, narrow) = (context.tier, context.variant, context.narrow);
    let Model { network, state, weights } = model;
    let Piece { samples: batch, purpose, .. } = *piece;
    let lockstep = state.sizes.lockstep;
    let step = Step { network, state, weights, dense, piece, batch, purpose, recorded_v, tier, variant, narrow };
    let mut r = Recorder::new(context);
    for h in &state.spiking {
        r.clear(&h.counts);
        r.clear(&h.needed);
        h.pooled.iter().for_each(|pooled| r.clear(&pooled.counts));
        h.patches.iter().for_each(|patches| r.clear(&patches.counts));
    }
    if purpose == Purpose::GivenErrors {
        // No loss is computed; the report sums zeros.
        r.clear(&state.readout.sample_loss);
    }
    held::record(&mut r, network, state, piece, held, step.params(0));
    if let Some(lockstep) = &state.lockstep {
        r.clear(&lockstep.counts);
    }
    for l in 0..state.spiking.len() {
        step.forward(&mut r, l);
    }
    if let Some(first) = lockstep {
        step.lockstep_forward(&mut r, first);
    }
    step.readout(&mut r);
    if purpose != Purpose::Evaluate {
        r.phase(Phase::Backward);
        step.chunks().for_each(|chunk| step.backward(&mut r, chunk));
    }
    if purpose == Purpose::Train && piece.last {
        // Sparse layers have been updated by `weight_gradient`.
        r.phase(Phase::Update);
        let conv = |l: usize| network.hidden.get(l).is_some_and(|layer| layer.conv().is_some());
        for (l, w) in weights.iter().enumerate().filter(|(l, _)| conv(*l) || dense.of(*l).is_some()) {
            record_layer_adam(&mut r, state, l, w);
        }
    }
    r.finish()
}

/// Adam for every layer, from gradients in memory.
pub fn record_adam<'a>(r: &mut Recorder<'a>, state: &'a State, weights: &'a [LayerWeights]) {
    for (l, w) in weights.iter().enumerate() {
        record_layer_adam(r, state, l, w);
    }
}

fn record_layer_adam<'a>(r: &mut Recorder<'a>, state: &'a State, l: usize, w: &'a LayerWeights) {
    let p = Params { layer_bit: layer_bit(l), ..Params::default() };
    for s in &w.strips {
        let bindings = [[("gradient", &s.gradient)].as_slice(), &adam_bindings(s, state)].concat();
        r.add(format!("adam.{l}"), k::ADAM, p, &bindings, groups(w.rows * s.quads));
    }
}

/// What an update binds besides the gradient.
fn adam_bindings<'a>(strip: &'a Strip, state: &'a State) -> [Bind<'a>; 5] {
    let Strip { weights, first, second, .. } = strip;
    [("status", &state.status), ("weights", weights), ("first", first), ("second", second), ("a", &state.adam)]
}

/// Records the prefix sum of `p.counts` counts, at least four to a lane.
pub fn record_scan<'a>(
    r: &mut Recorder<'a>,
    name: &str,
    p: Params,
    [counts, offsets]: [&'a Region; 2],
    state: &'a State,
) {
    let [counts, sums, offsets] = [("counts", counts), ("block_sums", &state.input.block_sums), ("offsets", offsets)];
    let blocks = || Work::Groups(scan_blocks(p.counts.into(), p.per_lane.into()));
    r.add(format!("scan_reduce.{name}"), k::SCAN_REDUCE, p, &[counts, sums], blocks());
    r.add(format!("scan_blocks.{name}"), k::SCAN_BLOCKS, p, &[sums], Work::Groups(1));
    r.add(format!("scan_apply.{name}"), k::SCAN_APPLY, p, &[counts, sums, offsets], blocks());
}

pub struct Step<'a> {
    pub network: &'a Network,
    pub state: &'a State,
    pub weights: &'a [LayerWeights],
    dense: &'a DenseLayers,
    piece: &'a Piece,
    pub batch: usize,
    purpose: Purpose,
    pub recorded_v: &'a [Region],
    tier: Tier,
    variant: Variant,
    pub narrow: bool,
}

/// Which lists are written; all are counted.
#[derive(Clone, Copy)]
struct Placed {
    spikes: bool,
    active: bool,
}

/// The counts, spikes and active entries of a layer, as the kernels call them.
struct Lists<'a> {
    counts: Bind<'a>,
    offsets: Bind<'a>,
    spike_words: Bind<'a>,
    events: Bind<'a>,
    presynaptic: Bind<'a>,
    staged: Bind<'a>,
    active: Bind<'a>,
    report: Bind<'a>,
}

impl<'a> Step<'a> {
    /// Parameters of layer `l` for this step.
    pub fn params(&self, l: usize) -> Params {
        let mut p = layer_params(self.network, self.state, l, self.batch);
        (p.total, p.accumulate) = (self.piece.total as u32, u32::from(!self.piece.first));
        if self.purpose == Purpose::Evaluate {
            // No entry is active, as |V - V_th| < 0 never holds; the only list is the next layer's input.
            p.band = 0.0;
            p.scanned = p.batch * p.steps;
        }
        p.per_lane = scan_per_lane(p.scanned.into(), self.variant.scan_per_lane()) as u32;
        p
    }

    /// Where layer `l` reads its input events: starts and list.
    pub fn input(&self, l: usize) -> (&'a Region, &'a Region) {
        match l {
            0 => (&self.state.input.starts, &self.state.input.events),
            _ => match &self.state.spiking[l - 1] {
                SpikingState { pooled: Some(pooled), .. } => (&pooled.offsets, &pooled.events),
                layer => (&layer.offsets, &layer.events),
            },
        }
    }

    /// The chunks of the batch, in order.
    fn chunks(&self) -> impl Iterator<Item = Chunk> + use<'_, 'a> {
        let most = self.state.chunk;
        (0..self.batch).step_by(most).map(move |first| Chunk { first, samples: most.min(self.batch - first) })
    }

    /// Layer `l` for the matrix products.
    fn dense_layer(&self, l: usize) -> DenseLayer<'a> {
        DenseLayer { tier: self.tier, state: self.state, weights: &self.weights[l], l }
    }

    fn conv(&self, l: usize) -> Option<&'a Convolution> {
        self.network.hidden.get(l).and_then(SpikingLayer::conv)
    }

    /// A variant of a kernel for the cell, reset, surrogate and bias of weight layer `l`.
    fn program(&self, l: usize, kernel: k::Kernel, defined: &[&'static str]) -> Program {
        Program::new(kernel, defined, &layer_constants(self.network, l))
    }

    /// Whether potentials are kept.
    pub fn recording(&self) -> bool {
        self.purpose == Purpose::Inspect
    }

    fn forward(&self, r: &mut Recorder<'a>, l: usize) {
        let p = self.params(l);
        let h = &self.state.spiking[l];
        let SpikingState { spike_words, counts, needed, staged, .. } = h;
        let out = [("spike_words", spike_words), ("counts", counts), ("needed", needed), ("staged", staged)];
        self.integrate(r, l, k::LIF_FORWARD, &out);

        let lists = Lists {
            counts: ("counts", counts),
            offsets: ("offsets", &h.offsets),
            spike_words: ("spike_words", spike_words),
            events: ("events", &h.events),
            presynaptic: ("presynaptic", &h.presynaptic),
            staged: ("staged", staged),
            active: ("active_entries", &h.active),
            report: ("report", &self.state.report),
        };
        // Lists of spikes are for the layer above, which a pooled layer and the last one do not have, and for inspections.
        let read = self.recording() || (h.pooled.is_none() && l < self.network.hidden.len());
        self.place(r, &l.to_string(), p, lists, Placed { spikes: read, active: true });
        if let Some(pooled) = &h.pooled {
            self.pool(r, l, h, pooled);
        }
    }

    /// Sums and offsets of the counts of a layer, then its spikes and active entries, as `placed` says, in their lists.
    fn place(&self, r: &mut Recorder<'a>, name: &str, p: Params, lists: Lists<'a>, placed: Placed) {
        let Lists { counts, offsets, spike_words, events, presynaptic, staged, active, report } = lists;
        // One more workgroup for the report.
        let blocks = Work::Groups(scan_blocks(p.scanned.into(), p.per_lane.into()) + 1);
        let status = ("status", &self.state.status);
        r.add(format!("summarise.{name}"), k::SUMMARISE, p, &[counts, report, status], blocks);
        let label = format!("compact.{name}");
        if self.variant.places_while_scanning() && placed.spikes {
            let bindings = [counts, offsets, report, spike_words, staged, events, presynaptic, active];
            r.add(label, k::COMPACT.with(&["PLACE"]), p, &bindings, blocks);
            return;
        }
        r.add(label, k::COMPACT, p, &[counts, offsets, report], blocks);
        if placed.spikes {
            let lanes = groups((p.batch * p.words) as usize);
            r.add(format!("scatter_rows.{name}"), k::SCATTER_ROWS, p, &[offsets, spike_words, events], lanes);
        }
        if self.purpose == Purpose::Evaluate {
            return;
        }
        if placed.spikes {
            let bindings = [offsets, spike_words, presynaptic];
            let lanes = groups((p.batch * p.slots) as usize);
            r.add(format!("scatter_presynaptic.{name}"), k::SCATTER_PRESYNAPTIC, p, &bindings, lanes);
        }
        if placed.active {
            let lanes = groups((p.batch * p.quads) as usize);
            r.add(format!("scatter_active.{name}"), k::SCATTER_ACTIVE, p, &[counts, offsets, staged, active], lanes);
        }
    }

    /// Pools the spikes of layer `l` and makes the lists that the layer above reads.
    fn pool(&self, r: &mut Recorder<'a>, l: usize, h: &'a SpikingState, pooled: &'a PooledState) {
        let mut p = self.params(l);
        let neurons = self.network.hidden[l].outputs();
        let counts = self.batch * (self.network.time_steps + neurons + quads(neurons));
        (p.inputs, p.quads, p.counts) = (p.quads, quads(neurons) as u32, counts as u32);
        (p.neurons, p.slots) = (neurons as u32, neurons as u32);
        p.report_at = 0;
        p.scanned = if self.purpose == Purpose::Evaluate { p.batch * p.steps } else { p.counts };
        p.per_lane = scan_per_lane(p.scanned.into(), self.variant.scan_per_lane()) as u32;
        let bindings =
            [("spike_words", &h.spike_words), ("pooled_words", &pooled.spike_words), ("counts", &pooled.counts)];
        let lanes = groups(self.batch * (p.windows * p.pool_quads) as usize);
        r.add(format!("pool.{l}"), k::POOL, p, &bindings, lanes);
        let lists = Lists {
            counts: ("counts", &pooled.counts),
            offsets: ("offsets", &pooled.offsets),
            spike_words: ("spike_words", &pooled.spike_words),
            events: ("events", &pooled.events),
            presynaptic: ("presynaptic", &pooled.presynaptic),
            staged: ("staged", &h.staged),
            active: ("active_entries", &h.active),
            report: ("report", &pooled.report),
        };
        self.place(r, &format!("pooled.{l}"), p, lists, Placed { spikes: true, active: false });
    }

    /// Integrates layer `l` over all samples: from its input events, one strip of the weights at a time; a dense layer from
    /// the currents that matrix products compute, one chunk of samples at a time.
    fn integrate(&self, r: &mut Recorder<'a>, l: usize, kernel: k::Kernel, out: &[Bind<'a>]) {
        let p = self.params(l);
        let label = if kernel == k::READOUT { kernel.name.into() } else { format!("{}.{l}", kernel.name) };
        let recorded = self.recording().then(|| ("recorded_v", &self.recorded_v[l]));
        // A kernel may bind eight storage buffers: lif_forward has no room for both.
        let status = (kernel == k::READOUT || !self.recording()).then_some(("status", &self.state.status));
        let out: Vec<_> = out.iter().copied().chain(status).chain(recorded).collect();
        let patches = self.state.spiking.get(l).and_then(|h| h.patches.as_ref());
        if let (Some(conv), Some(patches)) = (self.conv(l), patches) {
            let p = self.patches(r, l, conv, patches);
            let (variant, width) = self.variant.lif_forward_conv(self.recording(), self.narrow);
            let inputs = input_bindings((&patches.offsets, &patches.events), self.weights[l].whole());
            let lanes = self.batch * conv.pixels() * quads(conv.filters).div_ceil(width);
            r.add(label, self.program(l, kernel, variant), p, &[&inputs[..], &out].concat(), groups(lanes));
            return;
        }
        let Some(scratch) = self.dense.of(l) else {
            let (variant, width) = match kernel == k::READOUT {
                true => (self.variant.readout(self.recording()), 1),
                false => self.variant.lif_forward(self.recording(), self.narrow),
            };
            for strip in &self.weights[l].strips {
                let bindings = [&input_bindings(self.input(l), strip)[..], &out].concat();
                let lanes = groups(self.batch * strip.quads.div_ceil(width));
                r.add(&*label, self.program(l, kernel, variant), of_strip(p, strip), &bindings, lanes);
            }
            return;
        };
        let variant: &[&'static str] = if self.recording() { &["CURRENTS", "RECORD"] } else { &["CURRENTS"] };
        let bindings = [&[("currents", &scratch.products)], &out[..]].concat();
        for chunk in self.chunks() {
            let p = of_chunk(p, chunk);
            scratch.currents(r, self.dense_layer(l), p);
            let lanes = groups(chunk.samples * p.quads as usize);
            r.add(&*label, self.program(l, kernel, variant), p, &bindings, lanes);
        }
    }

    /// Sorts the input events of convolution `l` to the pixels that see them. Returns the parameters of a layer that
    /// reads them, each pixel as a sample.
    fn patches(&self, r: &mut Recorder<'a>, l: usize, conv: &Convolution, patches: &'a PatchState) -> Params {
        let p = self.params(l);
        let (starts, events) = self.input(l);
        let samples = Work::Groups(self.batch as u64);
        let counted = [("input_start", starts), ("input_events", events), ("counts", &patches.counts)];
        r.add(format!("patches.{l}"), k::PATCHES, p, &counted, samples);

        let lists = self.batch * conv.pixels();
        let per_lane = scan_per_lane(lists as u64, self.variant.scan_per_lane().max(4)) as u32;
        let scan = Params { counts: lists as u32, per_lane, input_capacity: patches.capacity, ..p };
        record_scan(r, &format!("patches.{l}"), scan, [&patches.counts, &patches.offsets], self.state);

        let offsets = ("offsets", &patches.offsets);
        let placed = [&counted[..], &[offsets, ("patches", &patches.events)]].concat();
        r.add(format!("patches.place.{l}"), k::PATCHES.with(&["PLACE"]), p, &placed, samples);
        let sorted = [offsets, ("presynaptic", &patches.events)];
        r.add(format!("sort_input.{l}"), k::SORT_INPUT, scan, &sorted, groups(lists));
        Params { input_stride: 1, input_capacity: patches.capacity, strip_quads: p.filter_quads, ..p }
    }

    fn readout(&self, r: &mut Recorder<'a>) {
        let l = self.network.hidden.len();
        let p = self.params(l);
        let out = &self.state.readout;
        match (self.network.integrator(), &self.state.lockstep) {
            (Some(_), None) => self.integrate(r, l, k::READOUT, &[("logits", &out.logits), ("peaks", &out.peaks)]),
            (Some(_), Some(_)) => {}
            (None, lockstep) => {
                let joint = lockstep.as_ref().and_then(|lockstep| lockstep.places.last()?.counts.as_ref());
                let counts = joint.or(self.state.spiking.get(l).map(|h| &h.counts));
                let lanes = groups((p.batch * p.quads) as usize);
                if let Some(counts) = counts {
                    r.add("spike_count", k::SPIKE_COUNT, p, &[("counts", counts), ("logits", &out.logits)], lanes);
                }
            }
        }
        match self.purpose {
            Purpose::GivenErrors => record_report(r, self.state, p),
            _ => record_loss(r, self.network, self.state, p),
        }
    }

    /// The backward pass of one chunk of samples, from the readout down; within a layer one strip of its weights after the
    /// other, each with the δ of its own columns.
    fn backward(&self, r: &mut Recorder<'a>, chunk: Chunk) {
        let hidden = self.network.hidden.len();
        let lockstep = self.state.sizes.lockstep;
        if let Some(first) = lockstep {
            self.backward_in_step(r, first, chunk);
        }
        for l in (0..lockstep.unwrap_or(hidden + 1)).rev() {
            let p = of_chunk(self.params(l), chunk);
            if l == hidden && self.state.spiking.len() > hidden {
                self.spike_count_gradient(r, l, chunk);
            }
            for strip in &self.weights[l].strips {
                // A convolution's δ is as wide as its maps; its weights are one strip.
                let p = if self.conv(l).is_some() { p } else { of_strip(p, strip) };
                self.delta(r, l, p);
                // The weights are updated after this.
                if l > 0 {
                    self.spike_gradient(r, l - 1, strip, chunk);
                }
                match self.dense.of(l) {
                    Some(scratch) => scratch.weight_gradient(r, self.dense_layer(l), p),
                    None if self.conv(l).is_some() => self.weight_gradient_conv(r, l, strip, p),
                    None => self.weight_gradient(r, l, strip, p),
                }
            }
        }
    }

    /// The backward pass of the layers from `first` on.
    fn backward_in_step(&self, r: &mut Recorder<'a>, first: usize, chunk: Chunk) {
        self.lockstep_backward(r, first, chunk);
        let strip = self.weights[first].whole();
        // The weights are updated after this.
        if first > 0 {
            self.spike_gradient(r, first - 1, strip, chunk);
        }
        self.weight_gradient(r, first, strip, of_chunk(self.params(first), chunk));
        self.lockstep_weights(r, first, chunk);
    }

    /// Whether weights are updated with the gradients of a chunk, the last one of the step.
    pub fn updates_after(&self, chunk: Chunk) -> bool {
        self.purpose == Purpose::Train && self.piece.last && chunk.first + chunk.samples == self.batch
    }

    /// δ of weight layer `l`, for the strip and the chunk of `p`.
    fn delta(&self, r: &mut Recorder<'a>, l: usize, p: Params) {
        let s = self.state;
        let lanes = groups((p.chunk_samples * p.strip_quads) as usize);
        let below = l.checked_sub(1).map_or(&s.input.needed, |below| &s.spiking[below].needed);
        let (needed, delta) = (("needed", below), ("delta", &s.delta));
        let Some(h) = s.spiking.get(l) else {
            let bindings = [("errors", &s.readout.errors), ("peaks", &s.readout.peaks), needed, delta];
            r.add("delta_readout", self.program(l, k::DELTA_READOUT, &[]), p, &bindings, lanes);
            return;
        };
        let mut bindings = entry_bindings(h).to_vec();
        bindings.extend([delta, ("spike_words", &h.spike_words)]);
        let variant: &[&'static str] = match &h.patches {
            Some(patches) if l == 0 => {
                bindings.extend([("patch_start", &patches.offsets), ("patches", &patches.events)]);
                &["PATCHES"]
            }
            _ => {
                bindings.push(needed);
                &[]
            }
        };
        r.add(format!("delta.{l}"), self.program(l, k::DELTA, variant), p, &bindings, lanes);
    }

    /// What the weight gradient of layer `l` binds, and `p` with where this chunk's presynaptic spikes begin.
    fn presynaptic(&self, l: usize, w: &'a Strip, p: Params) -> ([Bind<'a>; 4], Params) {
        let s = self.state;
        let (starts, list, base) = match l.checked_sub(1).map(|below| &s.spiking[below]) {
            None => (&s.input.offsets, &s.input.presynaptic, 0),
            Some(SpikingState { pooled: Some(pooled), .. }) => {
                (&pooled.offsets, &pooled.presynaptic, p.batch * p.steps)
            }
            Some(h) => (&h.offsets, &h.presynaptic, p.batch * p.steps),
        };
        let at = base + p.first_sample * p.inputs;
        let p = Params { presynaptic_base: base, presynaptic_at: at, presynaptic_stride: p.chunk_samples, ..p };
        let delta = ("delta", &s.delta);
        ([("presynaptic_start", starts), ("presynaptic", list), delta, ("gradient", &w.gradient)], p)
    }

    fn weight_gradient(&self, r: &mut Recorder<'a>, l: usize, w: &'a Strip, p: Params) {
        let (bindings, p) = self.presynaptic(l, w, p);
        let mut bindings = bindings.to_vec();
        let last = self.updates_after(Chunk { first: p.first_sample as usize, samples: p.chunk_samples as usize });
        if last {
            bindings.extend(adam_bindings(w, self.state));
        }
        let (variant, width) = self.variant.weight_gradient(last);
        // Lock-step kernels read own spikes and biases of their first layer elsewhere.
        let (rows, program) = match self.state.sizes.lockstep {
            Some(first) if first == l => (p.inputs as usize, k::WEIGHT_GRADIENT.with(variant)),
            _ => (self.weights[l].rows, self.program(l, k::WEIGHT_GRADIENT, variant)),
        };
        let lanes = groups(rows * w.quads.div_ceil(width));
        r.add(format!("weight_gradient.{l}"), program, p, &bindings, lanes);
    }

    fn weight_gradient_conv(&self, r: &mut Recorder<'a>, l: usize, w: &'a Strip, p: Params) {
        let (bindings, p) = self.presynaptic(l, w, p);
        let lanes = groups(self.weights[l].rows * w.quads);
        let program = self.program(l, k::WEIGHT_GRADIENT_CONV, &[]);
        r.add(format!("weight_gradient.{l}"), program, p, &bindings, lanes);
    }

    /// The part of the spike gradient of layer `l` that comes through one strip of the weights above.
    fn spike_gradient(&self, r: &mut Recorder<'a>, l: usize, strip: &'a Strip, chunk: Chunk) {
        let h = &self.state.spiking[l];
        let above = &self.weights[l + 1];
        let dense = self.dense.of(l + 1);
        let convs = (self.conv(l), self.conv(l + 1));
        let (variant, entries): (&[&'static str], u64) = match (dense, convs) {
            (_, (Some(_), Some(_))) => (&["POOL", "CONV"], 64),
            (_, (Some(_), None)) => (&["POOL"], 64),
            (_, (None, Some(_))) => (&["CONV"], 64),
            (Some(_), _) => (&["GATHER"], 64),
            (None, _) => self.variant.spike_gradient(),
        };
        let sweep = self.sweep(l, chunk, entries);
        let p = Params {
            sweep: sweep as u32,
            last_strip: u32::from(strip.first_quad + strip.quads == quads(above.cols)),
            ..of_chunk(of_strip(self.params(l), strip), chunk)
        };
        let mut bindings = match dense {
            Some(scratch) => {
                scratch.spike_gradient(r, self.dense_layer(l + 1), p);
                vec![("products", &scratch.products)]
            }
            None => vec![("weights", &strip.weights), ("delta", &self.state.delta)],
        };
        bindings.push(("counts", &h.counts));
        bindings.extend(entry_bindings(h));
        let (kernel, p) = match convs {
            (None, None) => (k::SPIKE_GRADIENT, p),
            (_, above) => (k::SPIKE_GRADIENT_CONV, above.map_or(p, |above| reading(p, above))),
        };
        if convs.0.is_some() {
            bindings.push(("spike_words", &h.spike_words));
        }
        r.add(format!("spike_gradient.{l}"), kernel.with(variant), p, &bindings, Work::Groups(sweep));
    }

    /// Workgroups that sweep over the active entries of layer `l` in a chunk, each taking `entries` at once.
    ///
    /// Enough for half a list, since lists are seldom full: if there are more entries, the workgroups sweep again; those
    /// without any end at once. The dispatch has one dimension, because a folded one has surplus workgroups, which would
    /// sweep over the entries of others.
    fn sweep(&self, l: usize, chunk: Chunk, entries: u64) -> u64 {
        let active = u64::from(self.state.sizes.capacity[l].active);
        let expected = active * chunk.samples as u64 / (2 * self.batch as u64);
        expected.div_ceil(entries).clamp(1, 65_535)
    }

    /// The spike gradient of a last layer whose spike counts are the logits.
    fn spike_count_gradient(&self, r: &mut Recorder<'a>, l: usize, chunk: Chunk) {
        let sweep = self.sweep(l, chunk, 64);
        let p = Params { sweep: sweep as u32, ..of_chunk(self.params(l), chunk) };
        let errors = ("errors", &self.state.readout.errors);
        let bindings = [&[errors], &entry_bindings(&self.state.spiking[l])[..]].concat();
        let program = k::SPIKE_GRADIENT.with(&["COUNT"]);
        r.add(format!("spike_gradient.{l}"), program, p, &bindings, Work::Groups(sweep));
    }
}

/// The input events of a layer and the weights that they are multiplied with.
fn input_bindings<'a>((starts, events): (&'a Region, &'a Region), strip: &'a Strip) -> [Bind<'a>; 3] {
    [("input_start", starts), ("input_events", events), ("weights", &strip.weights)]
}

/// The active entries of a layer and their errors.
fn entry_bindings(h: &SpikingState) -> [Bind<'_>; 3] {
    [("offsets", &h.offsets), ("active_entries", &h.active), ("entry_errors", &h.errors)]
}

/// Loss and its sums, for the sparse and the dense step; `p` is of the last layer.
pub fn record_loss<'a>(r: &mut Recorder<'a>, network: &Network, s: &'a State, p: Params) {
    let out = &s.readout;
    let samples = Work::Groups(u64::from(p.batch));
    let LossConstants { kind, on, off } = network.loss.constants(network.classes());
    let loss = LossParams {
        batch: p.batch,
        classes: p.neurons,
        quads: p.quads,
        total: p.total,
        kind,
        on,
        off,
        gain: error_scale(network),
    };
    let bindings = [
        ("logits", &out.logits),
        ("labels", &s.input.labels),
        ("errors", &out.errors),
        ("sample_loss", &out.sample_loss),
    ];
    r.add("loss", k::LOSS, loss, &bindings, samples);
    record_report(r, s, p);
}

/// What the host reads of a step; `p` is of the last layer.
fn record_report<'a>(r: &mut Recorder<'a>, s: &'a State, p: Params) {
    let p = Params { report_at: 2, ..p };
    r.add("report", k::REPORT, p, &report_bindings(&s.readout.sample_loss, s), Work::Groups(1));
}

/// What sums of `per_sample` for the host bind.
pub fn report_bindings<'a>(per_sample: &'a Region, s: &'a State) -> [Bind<'a>; 4] {
    [("per_sample", per_sample), ("status", &s.status), ("step", &s.step), ("report", &s.report)]
}
