//! A group of samples: the unit of parallel work of the passes over samples.
//!
//! Groups have a fixed size, whatever the number of threads, and nothing is summed across them but in order. Within a
//! group tiles come first and samples second, so that a tile's weights are in the cache when the next sample wants them.

use super::conv::{Conv, ConvSample, ConvScratch};
use super::conv_backward::Wanted;
use super::delta::{Adjoint, DeltaRows, Rows};
use super::lif_forward::SpikeBits;
use super::neurons::Neurons;
use super::products::DenseRows;
use super::readout::ReadoutResult;
use super::state::{ActiveTile, SpikeList, active_tiles};
use super::tiles::{AlignedVec, TiledMatrix};
use crate::engine::{LayerMethod, LossTerms};
use crate::events::{Event, EventSet};
use crate::network::Network;
use crate::platform::Instant;
use std::ops::Range;

/// Samples in a group of a fully connected network, and in one of a network with convolutions, each of whose samples
/// has as many entries as many of the others.
const GROUP: usize = 8;
const CONV_GROUP: usize = 2;

/// Samples in a group of this network.
pub fn group_size(network: &Network) -> usize {
    if network.first_conv().is_some() { CONV_GROUP } else { GROUP }
}

/// What a spiking layer leaves behind for a group of samples.
#[derive(Debug, Default)]
pub struct LayerState {
    /// Its spikes; of a convolution the pooled ones.
    pub spikes: SpikeList,
    /// Its active entries, a list for each column tile; of a convolution none, they are in [`Scratch`].
    pub active: Vec<ActiveTile>,
    /// What is left of a convolution.
    pub conv: ConvState,
}

/// What a convolution leaves behind for a group of samples.
#[derive(Debug, Default)]
pub struct ConvState {
    /// Spikes, before pooling, and what [`ActivityLoss::terms_of`] wants of each sample.
    pub sums: Vec<(u32, f64)>,
    /// Active entries of all samples.
    pub active: u64,
    /// Whether some potential was NaN or infinite.
    pub not_finite: bool,
    /// ∇W of this group's samples, a vector for each column tile.
    pub gradient: Vec<AlignedVec>,
    /// All of it, where an inspection asks for it.
    pub kept: Vec<ConvSample>,
}

impl LayerState {
    /// Spikes of all samples, before pooling.
    pub fn spike_count(&self) -> u64 {
        match self.conv.sums.is_empty() {
            true => self.spikes.len() as u64,
            false => self.conv.sums.iter().map(|&(count, _)| u64::from(count)).sum(),
        }
    }

    /// Active entries of all samples.
    pub fn active_count(&self) -> u64 {
        self.conv.active + self.active.iter().map(|tile| tile.len() as u64).sum::<u64>()
    }

    /// Whether some potential was NaN or infinite.
    pub fn not_finite(&self) -> bool {
        self.conv.not_finite || self.active.iter().any(ActiveTile::not_finite)
    }
}

/// What the passes over groups of samples read.
pub struct Plan<'a> {
    /// The network.
    pub network: &'a Network,
    /// All samples.
    pub batch: &'a EventSet,
    /// The weight layers, the readout's last.
    pub layers: Vec<Layer<'a>>,
    /// Whether a backward pass follows the forward pass.
    pub backward: bool,
}

/// A weight layer.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// Its weights.
    pub weights: &'a TiledMatrix,
    /// Whether their last row is a bias.
    pub bias: bool,
    /// How its products are computed.
    pub method: LayerMethod,
    /// Who sees what, if it is a convolution.
    pub conv: Option<&'a Conv>,
    /// What its neurons are.
    pub neurons: &'a Neurons,
}

/// Seconds that the phases of a step took.
#[derive(Debug, Default)]
pub struct Laps {
    /// Of each phase that has ended.
    pub seconds: Vec<f64>,
    begun: Option<Instant>,
}

impl Laps {
    /// The first phase begins.
    pub fn start(&mut self) {
        self.seconds.clear();
        self.begun = Some(Instant::now());
    }

    /// A phase ends, the next one begins.
    pub fn lap(&mut self) {
        let now = Instant::now();
        self.seconds.extend(self.begun.replace(now).map(|begun| (now - begun).as_secs_f64()));
    }
}

/// Per-sample results of one group, kept from step to step.
#[derive(Debug, Default)]
pub struct Group {
    /// Samples of the batch that this group holds.
    pub samples: Range<usize>,
    /// The spiking layers, a readout that counts spikes last.
    pub layers: Vec<LayerState>,
    /// Errors of integrators that enter at one time, a list for each column tile; empty lists if they enter at every time.
    pub errors: Vec<ActiveTile>,
    /// Errors of integrators that enter at every time, [samples, padded C]; empty if they enter at one time.
    pub constant: Vec<f32>,
    /// [samples, C].
    pub logits: Vec<f32>,
    /// First times of the largest potentials, [samples, C]; empty unless these are the logits.
    pub peaks: Vec<u32>,
    /// Gradient of the logits, [samples, C].
    pub gradient: Vec<f32>,
    /// Loss of each sample.
    pub loss: Vec<LossTerms>,
    /// Whether each sample was classified rightly.
    pub correct: Vec<bool>,
    /// Whether some potential of the readout was NaN or infinite.
    pub readout_not_finite: bool,
    /// What the phases of the step took.
    pub laps: Laps,
}

/// Memory of a thread while it works on a group.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) rows: Rows,
    pub(super) dense: DenseRows,
    pub(super) bits: Vec<SpikeBits>,
    tile_gradient: AlignedVec,
    pub(super) result: ReadoutResult,
    pub(super) counts: Vec<u32>,
    pub(super) lower: Vec<f32>,
    /// Of each hidden layer that is a convolution, each sample of the group.
    pub(super) convs: Vec<Vec<ConvSample>>,
    pub(super) conv: ConvScratch,
    pub(super) wanted: Wanted,
}

impl Scratch {
    /// Rows for either way to sum the gradient of a tile, and room for that of `n` weights.
    pub fn rows_and_gradient(&mut self, n: usize) -> (&mut Rows, &mut DenseRows, &mut [f32]) {
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
            + self.wanted.bytes()
            + self.bits.iter().map(SpikeBits::bytes).sum::<usize>()
    }
}

impl Group {
    /// Empties the group for the samples of a new batch.
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

    /// The input of layer `l` for the group's sample `k`.
    pub fn input<'a>(&'a self, batch: &'a EventSet, l: usize, k: usize) -> &'a [Event] {
        match l {
            0 => batch.sample(self.samples.start + k),
            _ => self.layers[l - 1].spikes.sample(k),
        }
    }

    /// δ of sample `k` in column tile `tile`, which begins at column `first`, of layer `l`, the readout included.
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

    /// Keeps what the convolutions of this group left in `scratch`.
    pub fn keep_convs(&mut self, scratch: &mut Scratch) {
        for (layer, samples) in self.layers.iter_mut().zip(&mut scratch.convs) {
            layer.conv.kept = std::mem::take(samples);
        }
    }

    /// Puts what was kept of the convolutions back into `scratch`.
    pub fn restore_convs(&mut self, scratch: &mut Scratch) {
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
