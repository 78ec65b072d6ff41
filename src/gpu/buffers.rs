//! The buffers of a network on the device, sized from the model and the batch.

use super::context::Context;
use super::delta_scratch::DeltaScratch;
use super::lockstep_state::{LockstepState, Part};
use super::region::Region;
use super::steps::STEPS_PER_SUBMIT;
use super::{lockstep, plan};
use crate::error::Result;
use crate::network::{Convolution, Network, SpikingLayer};
use crate::weights::Matrix;
use std::ops::Range;

/// Bytes of an active entry without its error.
pub const ACTIVE_ENTRY: u64 = 12;

/// Four neurons share a lane.
pub fn quads(neurons: usize) -> usize {
    neurons.div_ceil(4)
}

/// Neurons of a hidden layer as its kernels number them. Those of a convolution are numbered pixel by pixel, and the filters
/// of each pixel fill whole quads: there are slots without a neuron where the filters are no multiple of four.
pub fn slots(layer: &SpikingLayer) -> usize {
    layer.conv().map_or(layer.neurons, |conv| 4 * quads(conv.filters) * conv.pixels())
}

/// [`slots`] of each hidden layer, then the classes.
pub fn all_slots(network: &Network) -> impl Iterator<Item = usize> {
    network.hidden.iter().map(slots).chain([network.classes()])
}

/// Rows of δ per sample: one for each time step and, if some layer has biases, one for their gradient.
pub fn delta_rows(network: &Network) -> usize {
    network.time_steps + usize::from(network.biases().contains(&true))
}

/// The name of spiking layer `l` in messages.
pub fn layer_name(network: &Network, l: usize) -> String {
    if l < network.hidden.len() { format!("hidden[{l}]") } else { "readout".into() }
}

/// Lanes of a workgroup of the scan.
const SCAN_LANES: u64 = 256;
/// Most blocks of a scan, as each block adds up all blocks before it.
const SCAN_BLOCKS: u64 = 4096;

/// Most blocks of a scan over `counts` or fewer counts. (More counts may need fewer blocks, as each lane then takes more.)
pub fn most_scan_blocks(counts: u64) -> u64 {
    counts.div_ceil(SCAN_LANES).min(SCAN_BLOCKS)
}

/// Counts per lane of a scan, `fewest` or more.
pub fn scan_per_lane(counts: u64, fewest: u64) -> u64 {
    counts.div_ceil(SCAN_LANES * SCAN_BLOCKS).max(fewest)
}

/// Blocks of a scan over `counts` counts.
pub fn scan_blocks(counts: u64, per_lane: u64) -> u64 {
    counts.div_ceil(SCAN_LANES * per_lane)
}

/// Reads (rows, Q) vec4 as [rows, n].
pub fn read_rows(context: &Context, buffer: &Region, rows: usize, n: usize) -> Result<Vec<f32>> {
    let stride = 4 * quads(n);
    let mut padded: Vec<f32> = context.read_as(buffer, rows * stride)?;
    if stride != n {
        for row in 1..rows {
            padded.copy_within(row * stride..row * stride + n, row * n);
        }
        padded.truncate(rows * n);
    }
    Ok(padded)
}

/// Columns of a weight matrix that fit into one binding: weights, moments and gradient, all (N_in, `quads`) vec4. Most
/// matrices have one strip.
#[derive(Clone)]
pub struct Strip {
    /// Quads of the matrix before this strip.
    pub first_quad: usize,
    /// Quads of this strip.
    pub quads: usize,
    /// W.
    pub weights: Region,
    /// First moments.
    pub first: Region,
    /// Second moments.
    pub second: Region,
    /// ∇W.
    pub gradient: Region,
}

impl Strip {
    /// Zeros for a range of quads, `bytes` in each buffer.
    fn new(context: &Context, columns: Range<usize>, bytes: u64) -> Result<Self> {
        Ok(Strip {
            first_quad: columns.start,
            quads: columns.len(),
            weights: context.storage("weights", bytes)?,
            first: context.storage("first moments", bytes)?,
            second: context.storage("second moments", bytes)?,
            gradient: context.storage("weight gradient", bytes)?,
        })
    }
}

/// A weight matrix.
pub struct LayerWeights {
    /// Presynaptic neurons.
    pub rows: usize,
    /// Postsynaptic neurons.
    pub cols: usize,
    /// Its columns, in order.
    pub strips: Vec<Strip>,
    /// The buffers that it shares with other matrices, if any.
    joint: Option<Strip>,
}

/// Buffers begin at multiples of this where a kernel binds a part of one (WebGPU's default alignment).
const ALIGNMENT: u64 = 256;

/// Where each of several parts begins in one buffer, then its size.
pub fn offsets(bytes: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let ends = bytes.into_iter().scan(0, |end, bytes| {
        *end += bytes.next_multiple_of(ALIGNMENT);
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// Where each of several weight matrices begins in a buffer that they share, then its size.
pub fn joint_offsets(shapes: &[(usize, usize)]) -> Vec<u64> {
    offsets(shapes.iter().map(|&(rows, cols)| 16 * (rows * quads(cols)) as u64))
}

/// One of the buffers of a [`Strip`].
pub type Of = fn(&Strip) -> &Region;

impl LayerWeights {
    /// Zeros, in strips of up to `most` quads.
    pub fn new(context: &Context, rows: usize, cols: usize, most: usize) -> Result<Self> {
        let strips = strips(quads(cols), most).map(|columns| {
            let bytes = 16 * (rows * columns.len()) as u64;
            Strip::new(context, columns, bytes)
        });
        Ok(LayerWeights { rows, cols, strips: strips.collect::<Result<_>>()?, joint: None })
    }

    /// Zeros for all matrices of a network: those that lock-step kernels may read share buffers.
    pub fn of(network: &Network, context: &Context) -> Result<Vec<Self>> {
        let shapes = network.weight_shapes();
        let (below, joint) = shapes.split_at(lockstep::joint_from(network, context.binding));
        let alone = below.iter().map(|&(rows, cols)| {
            LayerWeights::new(context, rows, cols, plan::most_quads(network, rows, context.binding))
        });
        let mut all = alone.collect::<Result<Vec<_>>>()?;
        all.extend(LayerWeights::joint_ones(context, joint)?);
        Ok(all)
    }

    /// Zeros for several matrices, each whole, in buffers that they share.
    pub fn joint_ones(context: &Context, shapes: &[(usize, usize)]) -> Result<Vec<Self>> {
        let offsets = joint_offsets(shapes);
        let all = Strip::new(context, 0..0, offsets.last().copied().unwrap_or(0))?;
        let layer = |(&(rows, cols), &at): (&(usize, usize), &u64)| {
            let part = |region: &Region| region.part(at, 16 * (rows * quads(cols)) as u64);
            let strip = Strip {
                first_quad: 0,
                quads: quads(cols),
                weights: part(&all.weights),
                first: part(&all.first),
                second: part(&all.second),
                gradient: part(&all.gradient),
            };
            LayerWeights { rows, cols, strips: vec![strip], joint: Some(all.clone()) }
        };
        Ok(shapes.iter().zip(&offsets).map(layer).collect())
    }

    /// One of the buffers that it shares with other matrices; its own if it shares none.
    pub fn joint(&self, of: Of) -> &Region {
        of(self.joint.as_ref().unwrap_or(self.whole()))
    }

    /// Writes a row-major matrix into one of the four buffers.
    pub fn write(&self, context: &Context, of: Of, matrix: &Matrix) -> Result<()> {
        for strip in &self.strips {
            let (columns, stride) = (self.columns(strip), 4 * strip.quads);
            if stride == self.cols {
                context.upload(of(strip), 0, bytemuck::cast_slice(&matrix.data))?;
                continue;
            }
            let mut padded = vec![0.0f32; self.rows * stride];
            for (i, row) in padded.chunks_exact_mut(stride).enumerate() {
                row[..columns.len()].copy_from_slice(&matrix.row(i)[columns.clone()]);
            }
            context.upload(of(strip), 0, bytemuck::cast_slice(&padded))?;
        }
        Ok(())
    }

    /// Reads one of the four buffers. Waits.
    pub fn read(&self, context: &Context, of: Of) -> Result<Matrix> {
        if self.is_whole() {
            let data = read_rows(context, of(self.whole()), self.rows, self.cols)?;
            return Ok(Matrix { rows: self.rows, cols: self.cols, data });
        }
        let mut data = vec![0.0; self.rows * self.cols];
        for strip in &self.strips {
            let columns = self.columns(strip);
            let part = read_rows(context, of(strip), self.rows, columns.len())?;
            for (row, part) in data.chunks_exact_mut(self.cols).zip(part.chunks_exact(columns.len())) {
                row[columns.clone()].copy_from_slice(part);
            }
        }
        Ok(Matrix { rows: self.rows, cols: self.cols, data })
    }

    /// Whether it has one strip.
    pub fn is_whole(&self) -> bool {
        self.strips.len() == 1
    }

    /// The only strip of a matrix that [`is_whole`](Self::is_whole). Matrix products do not support strips.
    pub fn whole(&self) -> &Strip {
        &self.strips[0]
    }

    fn columns(&self, strip: &Strip) -> Range<usize> {
        4 * strip.first_quad..(4 * (strip.first_quad + strip.quads)).min(self.cols)
    }
}

/// Cuts `quads` into as few ranges of up to `most` as possible, of about equal length.
pub fn strips(quads: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let even = quads.div_ceil(quads.div_ceil(most.max(1)).max(1)).max(1);
    (0..quads).step_by(even).map(move |first| first..(first + even).min(quads))
}

/// Room in the lists of a spiking layer, in entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Spikes.
    pub events: u32,
    /// Active entries.
    pub active: u32,
}

/// The results of a spiking layer in a step.
pub struct SpikingState<B = Region> {
    /// (B, words, Q) vec4<u32>.
    pub spike_words: B,
    /// The three sections and what follows them: `shaders/shared/sections.wgsl`.
    pub counts: B,
    /// Exclusive offsets of the sections, then their total.
    pub offsets: B,
    /// (B, words): the rows in which the layer above must compute δ.
    pub needed: B,
    /// Active entries in the order in which they were appended; shares the memory of [`State::delta`], written later.
    pub staged: B,
    /// Active entries in (b, quad, t, neuron) order: row, neuron, surrogate gradient.
    pub active: B,
    /// Their errors e = ∇S g(V).
    pub errors: B,
    /// Spikes in (b, t, j) order.
    pub events: B,
    /// Spikes neuron by neuron, as rows of δ.
    pub presynaptic: B,
    /// (B) vec4: regulariser terms and gradient.
    pub activity: B,
    /// The input of a convolution.
    pub patches: Option<PatchState<B>>,
    /// The output of a convolution, for the layer above.
    pub pooled: Option<PooledState<B>>,
}

/// Input events of a convolution, pixel by pixel.
pub struct PatchState<B = Region> {
    /// (B, pixels).
    pub counts: B,
    /// Exclusive offsets of the counts, then their total.
    pub offsets: B,
    /// t << 16 | row of the weights, in (b, pixel, t, row) order.
    pub events: B,
    /// Room for events: the most that there can be.
    pub capacity: u32,
}

/// Pooled spikes of a convolution, like those of a hidden layer without active entries.
pub struct PooledState<B = Region> {
    /// (B, words, Q) vec4<u32>.
    pub spike_words: B,
    /// Sections, as of a hidden layer.
    pub counts: B,
    /// Exclusive offsets of the sections, then their total.
    pub offsets: B,
    /// Spikes in (b, t, j) order.
    pub events: B,
    /// Spikes neuron by neuron, as rows of δ.
    pub presynaptic: B,
    /// Not read: the regularisers use the sums before pooling.
    pub report: B,
}

/// The batch on the device.
pub struct InputState<B = Region> {
    /// (B + 1).
    pub starts: B,
    /// t << 16 | i.
    pub events: B,
    /// (B).
    pub labels: B,
    /// (B + 1) vec4<u32>: place of each sample in the training set on the device, its label, where it begins in the batch.
    pub samples: B,
    /// (chunk, N₀, samples of it): spikes of each neuron in each sample; shares the memory of [`State::delta`].
    pub counts: B,
    /// Scratch of the scan.
    pub block_sums: B,
    /// Exclusive offsets of the counts, then their total.
    pub offsets: B,
    /// Spikes neuron by neuron, as rows of δ.
    pub presynaptic: B,
    /// (B, words).
    pub needed: B,
}

/// The results of the readout.
pub struct ReadoutState<B = Region> {
    /// (B, Q) vec4.
    pub logits: B,
    /// (B, Q) vec4<u32>.
    pub peaks: B,
    /// (B, Q) vec4.
    pub errors: B,
    /// (B) vec4: loss, 1 if classified correctly.
    pub sample_loss: B,
}

/// Determines the sizes of the buffers of a [`State`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Most samples.
    pub batch: usize,
    /// Most input events.
    pub input_events: usize,
    /// The lists of each spiking layer.
    pub capacity: Vec<Capacity>,
    /// Most bytes for the δ of a chunk, which has one sample at least.
    pub delta_bytes: u64,
    /// Quads of δ that are computed at a time: of the widest strip of any weight matrix, or of all layers of the lock-step
    /// kernels.
    pub delta_quads: usize,
    /// The first layer that lock-step kernels compute, if any.
    pub lockstep: Option<usize>,
}

/// Everything that a step needs beyond weights and moments, for batches of up to `sizes.batch` samples.
pub struct State<B = Region> {
    /// What it has room for.
    pub sizes: Sizes,
    /// Samples in a full chunk of the backward pass.
    pub chunk: usize,
    /// The batch.
    pub input: InputState<B>,
    /// The hidden layers, then a readout that counts spikes; without those of `lockstep`.
    pub spiking: Vec<SpikingState<B>>,
    /// The layers that lock-step kernels compute.
    pub lockstep: Option<LockstepState<B>>,
    /// The readout.
    pub readout: ReadoutState<B>,
    /// δ of a chunk of samples.
    pub delta: B,
    /// Whether some list overflowed; bits of the layers with a potential that is not finite; the same for weights; whether the
    /// driver ended loops before their time.
    pub status: B,
    /// The step's number.
    pub step: B,
    /// What the host reads after a step.
    pub report: B,
    /// The constants of Adam.
    pub adam: B,
    /// Number, constants and samples of each step of a submit, written by the host.
    pub slots: B,
    /// Bytes by what they are for.
    pub bytes: Vec<(String, u64)>,
}

/// A network and its buffers.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// The network.
    pub network: &'a Network,
    /// The buffers of a step.
    pub state: &'a State,
    /// Weights and moments of each layer.
    pub weights: &'a [LayerWeights],
}

/// A buffer that a [`State`] asks for.
pub struct Request {
    /// Its label.
    pub label: String,
    /// Its size.
    pub bytes: u64,
    /// Whether the shaders read it as uniform data.
    pub uniform: bool,
}

/// Length of the report in words: step, overflow, loss, correct, then per spiking layer spikes, active, upper and lower
/// term; then bits of the layers with a potential that is not finite, of those with such a weight, and whether the driver ended
/// loops before their time.
pub fn report_words(spiking: usize) -> usize {
    4 + 4 * spiking + 3
}

/// Words that the host writes for a step of up to `batch` samples: the step's number (4), Adam's constants (8), then
/// four for each sample and four more.
pub fn slot_words(batch: usize) -> usize {
    12 + 4 * (batch + 1)
}

/// The name under which [`State::bytes`] counts the batch itself.
pub const BATCH: &str = "batch";
/// The names of the counts and lists of a layer.
const COUNTS: &str = "counts and offsets";
const MASKS: &str = "spike masks";
const SPIKES: &str = "spike lists";

/// Makes the buffers and adds up their bytes by purpose.
struct Maker<'m, B> {
    network: &'m Network,
    sizes: &'m Sizes,
    make: &'m mut dyn FnMut(Request) -> Result<B>,
    bytes: Vec<(String, u64)>,
}

impl<B: Clone + Part> Maker<'_, B> {
    fn storage(&mut self, purpose: &str, label: &str, bytes: u64) -> Result<B> {
        self.buffer(purpose, label, bytes, false)
    }

    fn buffer(&mut self, purpose: &str, label: &str, bytes: u64, uniform: bool) -> Result<B> {
        let bytes = bytes.next_multiple_of(16).max(16);
        match self.bytes.iter_mut().find(|(name, _)| name == purpose) {
            Some((_, sum)) => *sum += bytes,
            None => self.bytes.push((purpose.into(), bytes)),
        }
        (self.make)(Request { label: label.into(), bytes, uniform })
    }

    /// A buffer of spiking layer `l`.
    fn of_layer(&mut self, l: usize, purpose: &str, what: &str, bytes: u64) -> Result<B> {
        let name = layer_name(self.network, l);
        self.storage(&format!("{name} {purpose}"), &format!("{what} of {name}"), bytes)
    }

    /// B, T and the words of T bits.
    fn extents(&self) -> (u64, u64, u64) {
        let steps = self.network.time_steps as u64;
        (self.sizes.batch as u64, steps, steps.div_ceil(32))
    }

    /// Counts and offsets of the three sections of a layer of `n` neurons (`shaders/shared/sections.wgsl`).
    fn sections(&mut self, l: usize, prefix: &str, n: usize) -> Result<[B; 2]> {
        let (b, steps, _) = self.extents();
        let q = quads(n) as u64;
        let counts = b * (steps + n as u64 + q);
        let behind = 1 + b * (1 + q) + 2 * most_scan_blocks(counts);
        Ok([
            self.of_layer(l, COUNTS, &format!("{prefix}counts"), 4 * (counts + behind))?,
            self.of_layer(l, COUNTS, &format!("{prefix}offsets"), 4 * (counts + 1))?,
        ])
    }

    /// Spiking layer `l`; `staged` is the memory of its staged entries.
    fn spiking(&mut self, l: usize, layer: &SpikingLayer, staged: B) -> Result<SpikingState<B>> {
        let (b, _, words) = self.extents();
        let Capacity { events, active } = self.sizes.capacity[l];
        let (events, active) = (u64::from(events), u64::from(active));
        let spike_words = self.of_layer(l, MASKS, "spike masks", 16 * b * words * quads(slots(layer)) as u64)?;
        let needed = self.of_layer(l, MASKS, "needed rows", 4 * b * words)?;
        let [counts, offsets] = self.sections(l, "", slots(layer))?;
        Ok(SpikingState {
            spike_words,
            needed,
            counts,
            offsets,
            activity: self.of_layer(l, COUNTS, "activity", 16 * b)?,
            events: self.of_layer(l, SPIKES, "spikes", 4 * events)?,
            presynaptic: self.of_layer(l, SPIKES, "presynaptic spikes", 4 * events)?,
            active: self.of_layer(l, "active entries", "active entries", ACTIVE_ENTRY * active)?,
            errors: self.of_layer(l, "active entries", "errors of active entries", 4 * active)?,
            staged,
            patches: layer.conv().map(|conv| self.patches(l, conv)).transpose()?,
            pooled: layer.conv().map(|conv| self.pooled(l, conv)).transpose()?,
        })
    }

    fn patches(&mut self, l: usize, conv: &Convolution) -> Result<PatchState<B>> {
        let (b, steps, _) = self.extents();
        let lists = b * conv.pixels() as u64;
        // At most every input at every time step; only the events of the data may repeat.
        let below = match l {
            0 => self.sizes.input_events as u64,
            _ => u64::from(self.sizes.capacity[l - 1].events).min(b * steps * conv.inputs() as u64),
        };
        let capacity = below * conv.readers() as u64;
        Ok(PatchState {
            counts: self.of_layer(l, "patch lists", "patch counts", 4 * lists)?,
            offsets: self.of_layer(l, "patch lists", "patch offsets", 4 * (lists + 1))?,
            events: self.of_layer(l, "patch lists", "patches", 4 * capacity)?,
            capacity: capacity.min(u32::MAX.into()) as u32,
        })
    }

    fn pooled(&mut self, l: usize, conv: &Convolution) -> Result<PooledState<B>> {
        let (b, _, words) = self.extents();
        // Windows do not spike more often than their neurons.
        let events = u64::from(self.sizes.capacity[l].events);
        let spike_words =
            self.of_layer(l, MASKS, "pooled spike masks", 16 * b * words * quads(conv.outputs()) as u64)?;
        let [counts, offsets] = self.sections(l, "pooled ", conv.outputs())?;
        Ok(PooledState {
            spike_words,
            counts,
            offsets,
            events: self.of_layer(l, SPIKES, "pooled spikes", 4 * events)?,
            presynaptic: self.of_layer(l, SPIKES, "pooled presynaptic spikes", 4 * events)?,
            report: self.of_layer(l, COUNTS, "pooled sums", 16)?,
        })
    }

    /// The batch; `counts` is the memory of the counts of its spikes.
    fn input(&mut self, counts: B) -> Result<InputState<B>> {
        let (b, _, words) = self.extents();
        let (inputs, events) = (self.network.inputs as u64, 4 * self.sizes.input_events as u64);
        let pixels = self.network.hidden.iter().filter_map(SpikingLayer::conv).map(|conv| conv.pixels() as u64);
        let scanned = b * pixels.fold(inputs, u64::max);
        let sorted = "input spikes by neuron";
        Ok(InputState {
            block_sums: self.storage(sorted, "block sums", 4 * scanned.div_ceil(1024))?,
            starts: self.storage(BATCH, "input starts", 4 * (b + 1))?,
            events: self.storage(BATCH, "input events", events)?,
            labels: self.storage(BATCH, "labels", 4 * b)?,
            samples: self.storage(BATCH, "samples", 16 * (b + 1))?,
            counts,
            offsets: self.storage(sorted, "input offsets", 4 * (b * inputs + 1))?,
            presynaptic: self.storage(sorted, "input presynaptic spikes", events)?,
            needed: self.storage(sorted, "input needed rows", 4 * b * words)?,
        })
    }

    /// The readout; that of the lock-step kernels keeps logits and peaks beside its potentials.
    fn readout(&mut self, lockstep: Option<&LockstepState<B>>) -> Result<ReadoutState<B>> {
        let (b, q) = (self.sizes.batch as u64, quads(self.network.classes()) as u64);
        let mut of_readout = |label: &str, at: fn(&LockstepState<B>) -> u32| match lockstep {
            Some(lockstep) if self.network.integrator().is_some() => {
                Ok(lockstep.state.part(16 * u64::from(at(lockstep)), 16 * b * q))
            }
            _ => self.storage("readout", label, 16 * b * q),
        };
        Ok(ReadoutState {
            logits: of_readout("logits", |lockstep| lockstep.logits_at)?,
            peaks: of_readout("peaks", |lockstep| lockstep.peaks_at)?,
            errors: self.storage("readout", "readout errors", 16 * b * q)?,
            sample_loss: self.storage("readout", "sample loss", 16 * b)?,
        })
    }
}

impl<B: Clone + Part> State<B> {
    /// Asks `make` for each buffer. A `make` that returns the bytes lays the state out without a device.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn lay_out(network: &Network, sizes: &Sizes, make: &mut dyn FnMut(Request) -> Result<B>) -> Result<Self> {
        let mut m = Maker { network, sizes, make, bytes: Vec::new() };
        let row_bytes = 16 * (sizes.delta_quads * delta_rows(network)) as u64;
        let chunk = DeltaScratch::of_bytes(sizes.delta_bytes).chunk(row_bytes, sizes.batch);

        // Input spikes are counted and placed before the first entry is staged, and staged entries are put in order
        // before the first δ is written: the three share memory.
        let below = sizes.lockstep.unwrap_or(sizes.capacity.len());
        let staged = sizes.capacity[..below].iter().map(|c| 16 * u64::from(c.active)).max().unwrap_or(0);
        let scratch = staged.max(chunk as u64 * row_bytes).max(4 * (sizes.batch * network.inputs) as u64);
        let delta = m.storage("delta, staged entries, input counts", "delta of a chunk", scratch)?;
        let input = m.input(delta.clone())?;
        let layers = network.spiking().take(below).enumerate();
        let spiking = layers.map(|(l, layer)| m.spiking(l, layer, delta.clone())).collect::<Result<_>>()?;
        let mut joint = |what: &str, bytes| m.storage(what, &format!("{what} of all layers"), bytes);
        let lockstep =
            sizes.lockstep.map(|first| LockstepState::lay_out(network, sizes, first, &mut joint)).transpose()?;
        let readout = m.readout(lockstep.as_ref())?;
        let constants = "step constants and reports";
        let slots = 4 * slot_words(sizes.batch) as u64 * STEPS_PER_SUBMIT as u64;
        let report = 4 * report_words(network.spiking().count()) as u64;
        Ok(State {
            chunk,
            input,
            spiking,
            lockstep,
            readout,
            delta,
            slots: m.storage(constants, "steps of a submit", slots)?,
            status: m.storage(constants, "status", 16)?,
            step: m.storage(constants, "step", 16)?,
            report: m.storage(constants, "report", report)?,
            adam: m.buffer(constants, "Adam", 32, true)?,
            bytes: m.bytes,
            sizes: sizes.clone(),
        })
    }
}

impl State {
    /// Allocates.
    ///
    /// # Errors
    /// A buffer larger than the device binds.
    pub fn new(context: &Context, network: &Network, sizes: &Sizes) -> Result<Self> {
        State::lay_out(network, sizes, &mut |request: Request| match request.uniform {
            true => Ok(context.uniform(&request.label, request.bytes)),
            false => context.storage(&request.label, request.bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shorter scan may have more blocks than that of all counts: an evaluation looks at the rows alone.
    #[test]
    fn block_sums_have_room_for_every_shorter_scan() {
        let edges = (1..6).flat_map(|k| [(k << 20) - 256, (k << 20) - 1, k << 20, (k << 20) + 1]);
        let counts: Vec<u64> = edges.chain([1, 255, 257, 10_000, 1_024_000, 1_280_000]).collect();
        for &all in &counts {
            for &scanned in counts.iter().filter(|&&scanned| scanned <= all) {
                for fewest in [1, 4, 16] {
                    let blocks = scan_blocks(scanned, scan_per_lane(scanned, fewest));
                    assert!(blocks <= most_scan_blocks(all), "{scanned} of {all}: {blocks}");
                }
            }
        }
    }
}
