//! The buffers of a network on the device, sized from the model and the batch.

use super::context::Context;
use crate::error::{Error, Result};
use crate::model::Network;
use crate::weights::Matrix;

/// Four neurons share a lane.
pub fn quads(neurons: usize) -> usize {
    neurons.div_ceil(4)
}

/// Reads (rows, Q) vec4 as [rows, n].
pub fn read_rows(context: &Context, buffer: &wgpu::Buffer, rows: usize, n: usize) -> Result<Vec<f32>> {
    let stride = 4 * quads(n);
    let padded: Vec<f32> = context.read_as(buffer, rows * stride)?;
    Ok(padded.chunks_exact(stride).flat_map(|row| &row[..n]).copied().collect())
}

/// A weight matrix, its moments and its gradient, all (N_in, Q) vec4.
pub struct LayerWeights {
    /// Presynaptic neurons.
    pub rows: usize,
    /// Postsynaptic neurons.
    pub cols: usize,
    /// W.
    pub weights: wgpu::Buffer,
    /// First moments.
    pub first: wgpu::Buffer,
    /// Second moments.
    pub second: wgpu::Buffer,
    /// ∇W.
    pub gradient: wgpu::Buffer,
}

impl LayerWeights {
    /// Zeros.
    pub fn new(context: &Context, rows: usize, cols: usize) -> Result<Self> {
        let bytes = 16 * rows as u64 * quads(cols) as u64;
        Ok(LayerWeights {
            rows,
            cols,
            weights: context.storage("weights", bytes)?,
            first: context.storage("first moments", bytes)?,
            second: context.storage("second moments", bytes)?,
            gradient: context.storage("weight gradient", bytes)?,
        })
    }

    /// Writes a row-major matrix into one of the four buffers.
    pub fn write(&self, context: &Context, buffer: &wgpu::Buffer, matrix: &Matrix) {
        let stride = 4 * quads(self.cols);
        let mut padded = vec![0.0f32; self.rows * stride];
        for (i, row) in padded.chunks_exact_mut(stride).enumerate() {
            row[..self.cols].copy_from_slice(matrix.row(i));
        }
        context.queue.write_buffer(buffer, 0, bytemuck::cast_slice(&padded));
    }

    /// Reads one of the four buffers. Waits.
    pub fn read(&self, context: &Context, buffer: &wgpu::Buffer) -> Result<Matrix> {
        let data = read_rows(context, buffer, self.rows, self.cols)?;
        Ok(Matrix { rows: self.rows, cols: self.cols, data })
    }
}

/// How large the lists of a hidden layer are, in entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Spikes.
    pub events: u32,
    /// Active entries.
    pub active: u32,
}

/// What a hidden layer leaves behind in a step.
pub struct HiddenState {
    /// (B, words, Q) vec4<u32>.
    pub spike_words: wgpu::Buffer,
    /// The three sections, then the number of staged entries.
    pub counts: wgpu::Buffer,
    /// Scratch of the scan.
    pub block_sums: wgpu::Buffer,
    /// Exclusive offsets of the sections, then their total.
    pub offsets: wgpu::Buffer,
    /// (B, words): rows that the layer above must give δ for.
    pub needed: wgpu::Buffer,
    /// Active entries in the order of their appending.
    pub staged: wgpu::Buffer,
    /// Active entries: row and neuron.
    pub active_key: wgpu::Buffer,
    /// Active entries: surrogate gradient.
    pub active_g: wgpu::Buffer,
    /// Active entries: error.
    pub active_e: wgpu::Buffer,
    /// Spikes in (b, t, j) order.
    pub events: wgpu::Buffer,
    /// Spikes neuron by neuron, as rows of δ.
    pub presynaptic: wgpu::Buffer,
    /// (B) vec4: regulariser terms and gradient.
    pub activity: wgpu::Buffer,
    /// Indirect dispatch arguments.
    pub dispatches: wgpu::Buffer,
}

/// The batch on the device.
pub struct InputState {
    /// (B + 1).
    pub starts: wgpu::Buffer,
    /// t << 16 | i.
    pub events: wgpu::Buffer,
    /// (B).
    pub labels: wgpu::Buffer,
    /// (chunks, N₀) + 1.
    pub presynaptic_starts: wgpu::Buffer,
    /// Spikes neuron by neuron, as rows of δ.
    pub presynaptic: wgpu::Buffer,
    /// (B, words).
    pub needed: wgpu::Buffer,
}

/// What the readout leaves behind.
pub struct ReadoutState {
    /// (B, Q) vec4.
    pub logits: wgpu::Buffer,
    /// (B, Q) vec4<u32>.
    pub peaks: wgpu::Buffer,
    /// (B, Q) vec4.
    pub errors: wgpu::Buffer,
    /// (B) vec4: cross entropy, rightly classified.
    pub sample_loss: wgpu::Buffer,
}

/// Everything that a step needs beyond weights and moments, for batches of up to `batch` samples.
pub struct State {
    /// Most samples.
    pub batch: usize,
    /// Most input events.
    pub input_events: usize,
    /// Samples in a full chunk of the backward pass.
    pub chunk: usize,
    /// Sizes of the lists.
    pub capacity: Vec<Capacity>,
    /// The batch.
    pub input: InputState,
    /// The hidden layers.
    pub hidden: Vec<HiddenState>,
    /// The readout.
    pub readout: ReadoutState,
    /// δ of a chunk of samples.
    pub delta: wgpu::Buffer,
    /// Whether some list overflowed: [`status`](Self::status)[0].
    pub status: wgpu::Buffer,
    /// The step's number.
    pub step: wgpu::Buffer,
    /// What the host reads after a step.
    pub report: wgpu::Buffer,
    /// The constants of Adam.
    pub adam: wgpu::Buffer,
}

/// Length of the report in words: step, overflow, cross entropy, correct, then per hidden layer spikes, active,
/// upper and lower term.
pub fn report_words(hidden: usize) -> usize {
    4 + 4 * hidden
}

impl State {
    /// Allocates.
    ///
    /// # Errors
    /// A buffer larger than the device binds, or indices that 32 bits do not hold.
    pub fn new(
        context: &Context,
        network: &Network,
        batch: usize,
        input_events: usize,
        capacity: Vec<Capacity>,
        delta_bytes: u64,
    ) -> Result<Self> {
        let steps = network.time_steps;
        let words = steps.div_ceil(32);
        let widest = network.sizes()[1..].iter().map(|&n| quads(n)).max().unwrap_or(1);
        let row_bytes = 16 * (widest * steps) as u64;
        let chunk = (delta_bytes / row_bytes).clamp(1, batch as u64) as usize;
        let chunks = batch.div_ceil(chunk);
        let (b, inputs) = (batch as u64, network.inputs as u64);
        let storage = |label: &str, bytes: u64| context.storage(label, bytes);

        let mut hidden = Vec::new();
        for (l, (layer, capacity)) in network.hidden.iter().zip(&capacity).enumerate() {
            let (n, q) = (layer.neurons as u64, quads(layer.neurons) as u64);
            let counts = b * (steps as u64 + n + q);
            if counts >= u64::from(u32::MAX) || b * steps as u64 * n >= 1 << 40 {
                return Err(Error::Config(format!(
                    "hidden[{l}]: a batch of {batch} samples of {steps} steps and {n} neurons is more than 32-bit \
                     indices hold; use a smaller batch"
                )));
            }
            let (events, active) = (u64::from(capacity.events), u64::from(capacity.active));
            let name = |what: &str| format!("{what} of hidden[{l}]");
            hidden.push(HiddenState {
                spike_words: storage(&name("spike masks"), 16 * b * words as u64 * q)?,
                counts: storage(&name("counts"), 4 * (counts + 1))?,
                block_sums: storage(&name("block sums"), 4 * counts.div_ceil(1024))?,
                offsets: storage(&name("offsets"), 4 * (counts + 1))?,
                needed: storage(&name("needed rows"), 4 * b * words as u64)?,
                staged: storage(&name("staged active entries"), 16 * active)?,
                active_key: storage(&name("active entries"), 8 * active)?,
                active_g: storage(&name("surrogate gradients"), 4 * active)?,
                active_e: storage(&name("errors"), 4 * active)?,
                events: storage(&name("spikes"), 4 * events)?,
                presynaptic: storage(&name("presynaptic spikes"), 4 * events)?,
                activity: storage(&name("activity"), 16 * b)?,
                dispatches: storage(&name("dispatches"), 12 * (chunks as u64 + 1))?,
            });
        }
        let q = quads(network.readout.classes) as u64;
        Ok(State {
            batch,
            input_events,
            chunk,
            input: InputState {
                starts: storage("input starts", 4 * (b + 1))?,
                events: storage("input events", 4 * input_events as u64)?,
                labels: storage("labels", 4 * b)?,
                presynaptic_starts: storage("input presynaptic starts", 4 * (chunks as u64 * inputs + 1))?,
                presynaptic: storage("input presynaptic spikes", 4 * input_events as u64)?,
                needed: storage("input needed rows", 4 * b * words as u64)?,
            },
            hidden,
            readout: ReadoutState {
                logits: storage("logits", 16 * b * q)?,
                peaks: storage("peaks", 16 * b * q)?,
                errors: storage("readout errors", 16 * b * q)?,
                sample_loss: storage("sample loss", 16 * b)?,
            },
            delta: storage("delta of a chunk", chunk as u64 * row_bytes)?,
            status: storage("status", 16)?,
            step: storage("step", 16)?,
            report: storage("report", 4 * report_words(network.hidden.len()) as u64)?,
            adam: context.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("Adam"),
                size: 32,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            capacity,
        })
    }

    /// Bytes allocated by name, without the batch itself.
    pub fn bytes(&self) -> Vec<(String, u64)> {
        let mut bytes = vec![("delta of a chunk".to_string(), self.delta.size())];
        for (l, h) in self.hidden.iter().enumerate() {
            let mut add = |what: &str, buffers: &[&wgpu::Buffer]| {
                bytes.push((format!("hidden[{l}] {what}"), buffers.iter().map(|b| b.size()).sum()));
            };
            add("spike masks", &[&h.spike_words, &h.needed]);
            add("counts and offsets", &[&h.counts, &h.block_sums, &h.offsets, &h.dispatches, &h.activity]);
            add("spike lists", &[&h.events, &h.presynaptic]);
            add("active entries", &[&h.staged, &h.active_key, &h.active_g, &h.active_e]);
        }
        let r = &self.readout;
        let readout = [&r.logits, &r.peaks, &r.errors, &r.sample_loss];
        bytes.push(("readout".into(), readout.iter().map(|b| b.size()).sum()));
        bytes
    }
}
