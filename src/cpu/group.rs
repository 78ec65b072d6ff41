//! A group of samples: the unit of parallel work in the forward and backward pass.
//!
//! The size of a group does not depend on the number of threads, and sums over groups run in order. Within a group the loop
//! over tiles is outside the loop over samples, so that a tile's weights stay in the cache for all samples.

use super::conv::{Conv, ConvSample, ConvScratch, SpikeSums};
use super::conv_backward::GradientRequests;
use super::delta::{Adjoint, BlockRows, DeltaRows};
use super::lif_forward::SpikeBits;
use super::neurons::Neurons;
use super::products::DenseRows;
use super::readout::ReadoutResult;
use super::recurrent_forward::RecurrentState;
use super::recurrent_gradient::RecurrentScratch;
use super::state::{ActiveTile, SpikeList, active_tiles};
use super::tiles::{AlignedVec, TiledMatrix};
use crate::engine::{LayerMethod, LossTerms};
use crate::events::{Event, EventSet};
use crate::network::Network;
use crate::platform::Instant;
use std::ops::Range;

/// Samples per group of a fully connected network.
const GROUP: usize = 8;
/// Samples per group of a network with convolutions, whose samples have many more entries.
const CONV_GROUP: usize = 2;

/// Samples per group of this network.
pub fn group_size(network: &Network) -> usize {
    if network.first_conv().is_some() { CONV_GROUP } else { GROUP }
}

/// Results of a spiking layer for a group of samples.
#[derive(Debug, Default)]
pub struct LayerState {
    /// Its spikes; for a convolution the pooled ones.
    pub spikes: SpikeList,
    /// Its active entries, a list per column tile. Empty for a convolution, whose entries are in [`ThreadScratch`].
    pub active: Vec<ActiveTile>,
    /// Results of a convolution.
    pub conv: ConvState,
}

/// Results of a convolution for a group of samples.
#[derive(Debug, Default)]
pub struct ConvState {
    /// Spikes of each sample, before pooling.
    pub sums: Vec<SpikeSums>,
    /// Number of active entries in all samples.
    pub active: u64,
    /// Whether a potential was NaN or infinite.
    pub not_finite: bool,
    /// ∇W of this group's samples, a vector per column tile.
    pub gradient: Vec<AlignedVec>,
    /// The results of each sample, if an inspection or a separate backward pass needs them after the forward pass.
    pub kept: Vec<ConvSample>,
}

impl LayerState {
    /// Number of spikes in all samples, before pooling.
    pub fn spike_count(&self) -> u64 {
        match self.conv.sums.is_empty() {
            true => self.spikes.len() as u64,
            false => self.conv.sums.iter().map(|sums| u64::from(sums.count)).sum(),
        }
    }

    /// Number of active entries in all samples.
    pub fn active_count(&self) -> u64 {
        self.conv.active + self.active.iter().map(|tile| tile.len() as u64).sum::<u64>()
    }

    /// Whether a potential was NaN or infinite.
    pub fn not_finite(&self) -> bool {
        self.conv.not_finite || self.active.iter().any(ActiveTile::not_finite)
    }
}

/// What all groups read in a step.
pub struct Plan<'a> {
    /// The network.
    pub network: &'a Network,
    /// All samples.
    pub batch: &'a EventSet,
    /// The weight layers; the last one is the readout.
    pub layers: Vec<WeightLayer<'a>>,
    /// Whether a backward pass follows the forward pass.
    pub backward: bool,
}

/// A weight layer.
#[derive(Clone, Copy)]
pub struct WeightLayer<'a> {
    /// Its weights: of its inputs, of its own neurons, and the bias.
    pub weights: &'a TiledMatrix,
    /// First row of the recurrent weights, if it is recurrent.
    pub own_row: Option<usize>,
    /// Whether the last row of the weights is a bias.
    pub bias: bool,
    /// How its products are computed.
    pub method: LayerMethod,
    /// Its places, if it is a convolution.
    pub conv: Option<&'a Conv>,
    /// Its neurons.
    pub neurons: &'a Neurons,
}

/// The input of the layer above `below` in sample `k` of a group that begins with sample `first` of the batch.
pub fn input<'a>(batch: &'a EventSet, below: &'a [LayerState], first: usize, k: usize) -> &'a [Event] {
    below.last().map_or_else(|| batch.sample(first + k), |layer| layer.spikes.sample(k))
}

/// Measures the phases of a step.
#[derive(Debug, Default)]
pub struct Laps {
    /// Seconds per completed phase.
    pub seconds: Vec<f64>,
    begun: Option<Instant>,
}

impl Laps {
    /// Starts the first phase.
    pub fn start(&mut self) {
        self.seconds.clear();
        self.begun = Some(Instant::now());
    }

    /// Ends a phase and starts the next one.
    pub fn lap(&mut self) {
        let now = Instant::now();
        self.seconds.extend(self.begun.replace(now).map(|begun| (now - begun).as_secs_f64()));
    }
}

/// The results of a step for a group of samples; the memory is reused from step to step.
#[derive(Debug, Default)]
pub struct Group {
    /// Which samples of the batch.
    pub samples: Range<usize>,
    /// The spiking layers, including a readout that counts spikes.
    pub layers: Vec<LayerState>,
    /// Errors of the readout's integrators that enter at one time step, a list per column tile; otherwise empty lists.
    pub errors: Vec<ActiveTile>,
    /// Errors of the readout's integrators that enter at every time step, [samples, padded C]; otherwise empty.
    pub constant: Vec<f32>,
    /// [samples, C].
    pub logits: Vec<f32>,
    /// First time step of each largest potential, [samples, C]; empty unless those are the logits.
    pub peaks: Vec<u32>,
    /// Gradient of the logits, [samples, C].
    pub gradient: Vec<f32>,
    /// Loss of each sample.
    pub loss: Vec<LossTerms>,
    /// Whether each sample was classified correctly.
    pub correct: Vec<bool>,
    /// Whether a potential of the readout was NaN or infinite.
    pub readout_not_finite: bool,
    /// Times of the phases.
    pub laps: Laps,
}

/// A thread's memory while it works on a group or a column tile.
#[derive(Debug, Default)]
pub struct ThreadScratch {
    pub(super) rows: BlockRows,
    pub(super) dense: DenseRows,
    pub(super) bits: Vec<SpikeBits>,
    pub(super) recurrent_state: RecurrentState,
    pub(super) recurrent: RecurrentScratch,
    tile_gradient: AlignedVec,
    pub(super) result: ReadoutResult,
    pub(super) counts: Vec<u32>,
    pub(super) lower: Vec<f32>,
    /// For each layer, its samples if it is a convolution.
    pub(super) convs: Vec<Vec<ConvSample>>,
    pub(super) conv: ConvScratch,
    pub(super) requests: GradientRequests,
}

impl ThreadScratch {
    /// Scratch for the sparse and the dense weight gradient of a tile, and the gradient itself, of `n` weights.
    pub fn rows_and_gradient(&mut self, n: usize) -> (&mut BlockRows, &mut DenseRows, &mut [f32]) {
        if self.tile_gradient.len() < n {
            self.tile_gradient.resize(n);
        }
        (&mut self.rows, &mut self.dense, &mut self.tile_gradient[..n])
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let vectors = self.counts.capacity() + self.lower.capacity();
        self.rows.bytes()
            + self.dense.bytes()
            + self.tile_gradient.bytes()
            + 4 * vectors
            + self.convs.iter().flatten().map(ConvSample::bytes).sum::<usize>()
            + self.conv.bytes()
            + self.requests.bytes()
            + self.bits.iter().map(SpikeBits::bytes).sum::<usize>()
            + self.recurrent_state.bytes()
            + self.recurrent.bytes()
    }
}

impl Group {
    /// Prepares the group for samples of a new batch.
    pub fn begin(&mut self, samples: Range<usize>, network: &Network) {
        self.samples = samples;
        self.layers.resize_with(network.spiking().count(), LayerState::default);
        for (state, layer) in self.layers.iter_mut().zip(network.spiking()) {
            if state.active.is_empty() && layer.conv().is_none() {
                state.active = active_tiles(layer.neurons);
            }
        }
        if self.errors.is_empty() && network.integrator().is_some() {
            self.errors = active_tiles(network.classes());
        }
    }

    /// The input of layer `l` in the group's sample `k`.
    pub fn input<'a>(&'a self, batch: &'a EventSet, l: usize, k: usize) -> &'a [Event] {
        input(batch, &self.layers[..l], self.samples.start, k)
    }

    /// δ of weight layer `l` in the group's sample `k` and column tile `tile`, which begins at column `first`.
    pub fn delta(
        &self,
        l: usize,
        k: usize,
        tile: usize,
        first: usize,
        adjoint: Adjoint,
        steps: usize,
    ) -> DeltaRows<'_> {
        match self.layers.get(l) {
            Some(layer) => DeltaRows::new(layer.active[tile].sample(k), &[], adjoint, first, steps),
            None => {
                let constant = match self.constant.is_empty() {
                    true => &[][..],
                    false => {
                        let width = self.constant.len() / self.samples.len();
                        &self.constant[k * width..][first..width]
                    }
                };
                DeltaRows::new(self.errors[tile].sample(k), constant, adjoint, first, steps)
            }
        }
    }

    /// Moves the samples of convolutions from `scratch` to this group.
    pub fn keep_convs(&mut self, scratch: &mut ThreadScratch) {
        for (layer, samples) in self.layers.iter_mut().zip(&mut scratch.convs) {
            layer.conv.kept = std::mem::take(samples);
        }
    }

    /// Moves the samples of convolutions back to `scratch`.
    pub fn restore_convs(&mut self, scratch: &mut ThreadScratch) {
        scratch.convs.resize_with(self.layers.len().max(scratch.convs.len()), Vec::new);
        for (layer, samples) in self.layers.iter_mut().zip(&mut scratch.convs) {
            *samples = std::mem::take(&mut layer.conv.kept);
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lists = |tiles: &[ActiveTile]| tiles.iter().map(ActiveTile::bytes).sum::<usize>();
        let convs = self.layers.iter().flat_map(|layer| &layer.conv.gradient).map(AlignedVec::bytes).sum::<usize>();
        let layers = self.layers.iter().map(|layer| layer.spikes.bytes() + lists(&layer.active)).sum::<usize>() + convs;
        let logits = self.logits.capacity() + self.peaks.capacity() + self.gradient.capacity();
        let readout = lists(&self.errors) + 4 * (self.constant.capacity() + logits);
        let loss = self.loss.capacity() * size_of::<LossTerms>() + self.correct.capacity();
        layers + readout + loss
    }
}
