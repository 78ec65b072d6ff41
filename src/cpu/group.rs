//! A group of samples: the unit of parallel work of the passes over samples.
//!
//! Groups have a fixed size, whatever the number of threads, and nothing is summed across them but in order. Within a
//! group tiles come first and samples second, so that a tile's weights are in the cache when the next sample wants them.

use super::delta::{DeltaRows, Rows};
use super::lif_forward::{Input, SpikeBits, Tile, lif_forward, spikes_of, words_of};
use super::loss::{ActivityLoss, cross_entropy};
use super::products::{self, DenseRows};
use super::readout::{ReadoutConstants, ReadoutResult, readout};
use super::spike_gradient::{Regularised, begin, finish, spike_gradient, stretches};
use super::state::{ActiveTile, SpikeList, active_tiles};
use super::tiles::{AlignedVec, TiledMatrix, padded, with_width};
use crate::engine::{LayerMethod, LossTerms};
use crate::events::{Event, EventSet};
use crate::model::{LifConstants, Logits, Network};
use std::ops::Range;

/// Samples in a group.
pub const GROUP: usize = 8;

/// What a hidden layer leaves behind for a group of samples.
#[derive(Debug, Default)]
pub struct LayerState {
    /// Its spikes.
    pub spikes: SpikeList,
    /// Its active entries, a list for each column tile.
    pub active: Vec<ActiveTile>,
}

/// Per-sample results of one group, kept from step to step.
#[derive(Debug, Default)]
pub struct Group {
    /// Samples of the batch that this group holds.
    pub samples: Range<usize>,
    /// The hidden layers.
    pub layers: Vec<LayerState>,
    /// Errors of the readout at the peaks, a list for each column tile; empty lists for the sum.
    pub peaks: Vec<ActiveTile>,
    /// Errors of the readout that enter at every time, [samples, padded C]; empty for the maximum.
    pub constant: Vec<f32>,
    /// [samples, C].
    pub logits: Vec<f32>,
    /// Loss of each sample.
    pub loss: Vec<LossTerms>,
    /// Whether each sample was classified rightly.
    pub correct: Vec<bool>,
    /// Seconds that the phases of the step took.
    pub seconds: Vec<f64>,
}

/// Memory of a thread while it works on a group.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Rows,
    dense: DenseRows,
    bits: Vec<SpikeBits>,
    tile_gradient: AlignedVec,
    result: ReadoutResult,
    gradient: Vec<f32>,
    counts: Vec<u32>,
    lower: Vec<f32>,
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
        let vectors = self.gradient.capacity() + self.counts.capacity() + self.lower.capacity();
        self.rows.bytes()
            + self.dense.bytes()
            + self.tile_gradient.bytes()
            + 4 * vectors
            + self.bits.iter().map(SpikeBits::bytes).sum::<usize>()
    }
}

impl Group {
    /// Empties the group for the samples of a new batch.
    pub fn begin(&mut self, samples: Range<usize>, network: &Network) {
        self.samples = samples;
        self.layers.resize_with(network.hidden.len(), LayerState::default);
        for (state, layer) in self.layers.iter_mut().zip(&network.hidden) {
            if state.active.is_empty() {
                state.active = active_tiles(layer.neurons);
            }
        }
        if self.peaks.is_empty() {
            self.peaks = active_tiles(network.readout.classes);
        }
        self.seconds.clear();
    }

    /// The input of layer `l` for the group's sample `k`.
    pub fn input<'a>(&'a self, batch: &'a EventSet, l: usize, k: usize) -> &'a [Event] {
        match l {
            0 => batch.sample(self.samples.start + k),
            _ => self.layers[l - 1].spikes.sample(k),
        }
    }

    /// LIF forward of hidden layer `l`, all samples. `record`, if given, takes V as [samples, T, N].
    pub fn forward(
        &mut self,
        batch: &EventSet,
        l: usize,
        (weights, method): (&TiledMatrix, LayerMethod),
        constants: &LifConstants,
        scratch: &mut Scratch,
        mut record: Option<&mut [f32]>,
    ) {
        let (samples, steps) = (self.samples.clone(), batch.time_steps());
        let (below, here) = self.layers.split_at_mut(l);
        let input = |k: usize| match below.last() {
            None => batch.sample(samples.start + k),
            Some(layer) => layer.spikes.sample(k),
        };
        let LayerState { spikes, active } = &mut here[0];
        let Scratch { bits, dense, .. } = scratch;
        bits.resize_with(GROUP, SpikeBits::default);
        bits.iter_mut().for_each(|bits| bits.begin(steps, &weights.columns));
        let mut first_word = 0;
        for ((&columns, tile), active) in weights.columns.iter().zip(&weights.tiles).zip(active) {
            active.clear();
            let tile = Tile { columns, first_word, weights: tile, constants };
            first_word += words_of(columns.width);
            for (k, bits) in bits.iter_mut().enumerate().take(samples.len()) {
                let size = steps * weights.cols;
                let record = record.as_deref_mut().map(|v| (&mut v[k * size..][..size], weights.cols));
                let input = match method {
                    LayerMethod::Sparse => Input::Events(input(k)),
                    LayerMethod::Dense => {
                        Input::Currents(products::currents(input(k), steps, tile.weights, columns.width, dense))
                    }
                };
                with_width!(columns.width, lif_forward(input, steps, &tile, bits, active, record));
            }
        }
        spikes.clear();
        bits.iter().take(samples.len()).for_each(|bits| spikes_of(bits, spikes));
    }

    /// Readout, loss and its gradient, all samples. `record`, if given, takes V as [samples, T, C].
    pub fn readout_and_loss(
        &mut self,
        batch: &EventSet,
        network: &Network,
        weights: &TiledMatrix,
        constants: &ReadoutConstants,
        scratch: &mut Scratch,
        mut record: Option<&mut [f32]>,
    ) {
        let (steps, classes) = (batch.time_steps(), network.readout.classes);
        self.logits.clear();
        self.loss.clear();
        self.correct.clear();
        self.constant.clear();
        self.peaks.iter_mut().for_each(ActiveTile::clear);
        scratch.gradient.clear();
        scratch.gradient.resize(classes, 0.0);
        for k in 0..self.samples.len() {
            let result = &mut scratch.result;
            result.clear(padded(classes));
            for (&columns, tile) in weights.columns.iter().zip(&weights.tiles) {
                let size = steps * classes;
                let record = record.as_deref_mut().map(|v| (&mut v[k * size..][..size], classes));
                let input = self.input(batch, self.layers.len(), k);
                with_width!(columns.width, readout(input, steps, columns, tile, constants, result, record));
            }
            let logits = &scratch.result.logits[..classes];
            self.logits.extend_from_slice(logits);
            let label = batch.labels()[self.samples.start + k] as usize;
            let (loss, correct) = cross_entropy(logits, label, batch.len(), &mut scratch.gradient);
            self.correct.push(correct);
            let mut terms = LossTerms { cross_entropy: f64::from(loss), ..LossTerms::default() };
            for (l, layer) in self.layers.iter().enumerate() {
                count(layer.spikes.sample(k), network.hidden[l].neurons, &mut scratch.counts);
                let (upper, lower) = ActivityLoss::new(network, l, batch.len()).terms(&scratch.counts);
                terms.upper += f64::from(upper);
                terms.lower += f64::from(lower);
            }
            self.loss.push(terms);
            self.note_errors(&scratch.gradient, &scratch.result.peak, weights, constants);
        }
    }

    /// Turns ∇logits of the sample just read out into errors in time.
    fn note_errors(&mut self, gradient: &[f32], peak: &[u32], weights: &TiledMatrix, constants: &ReadoutConstants) {
        match constants.logits {
            Logits::Max => {
                for (columns, errors) in weights.columns.iter().zip(&mut self.peaks) {
                    let classes = columns.begin..columns.begin + columns.used;
                    let mut order: Vec<Event> = classes.map(|c| Event::new(peak[c] as usize, c)).collect();
                    order.sort_unstable();
                    order.iter().for_each(|&event| errors.push_error(event, constants.gain * gradient[event.i()]));
                }
            }
            Logits::Sum => {
                let begin = self.constant.len();
                self.constant.extend(gradient.iter().map(|g| constants.gain * g));
                self.constant.resize(begin + padded(gradient.len()), 0.0);
            }
        }
        self.peaks.iter_mut().for_each(ActiveTile::close);
    }

    /// δ of sample `k` in column tile `tile`, which begins at column `first`, of layer `l`, the readout included.
    pub fn delta(&self, l: usize, k: usize, tile: usize, first: usize, alpha: f32, steps: usize) -> DeltaRows<'_> {
        match self.layers.get(l) {
            Some(layer) => DeltaRows::new(layer.active[tile].sample(k), &[], alpha, first, steps),
            None => {
                let constant = match self.constant.is_empty() {
                    true => &[][..],
                    false => {
                        let width = self.constant.len() / self.samples.len();
                        &self.constant[k * width..][first..width]
                    }
                };
                DeltaRows::new(self.peaks[tile].sample(k), constant, alpha, first, steps)
            }
        }
    }

    /// Spike gradient of hidden layer `l`, all samples, through the weights of the layer above, whose errors are done.
    pub fn spike_gradient(
        &mut self,
        batch: &EventSet,
        network: &Network,
        l: usize,
        (weights, method): (&TiledMatrix, LayerMethod),
        alpha: f32,
        scratch: &mut Scratch,
    ) {
        let steps = batch.time_steps();
        let activity = ActivityLoss::new(network, l, batch.len());
        let mut active = std::mem::take(&mut self.layers[l].active);
        for k in 0..self.samples.len() {
            let spikes = self.layers[l].spikes.sample(k);
            count(spikes, network.hidden[l].neurons, &mut scratch.counts);
            scratch.lower.clear();
            scratch.lower.extend(scratch.counts.iter().map(|&zeta| activity.lower_gradient(zeta)));
            let shared = activity.upper_gradient(spikes.len() as u32);
            begin(k, &mut active, &Regularised { shared, own: &scratch.lower });
        }
        for stretch in stretches(weights) {
            for k in 0..self.samples.len() {
                let mut delta: Vec<DeltaRows> = (stretch.clone())
                    .map(|tile| self.delta(l + 1, k, tile, weights.columns[tile].begin, alpha, steps))
                    .collect();
                let stretch = stretch.clone();
                let Scratch { rows, dense, .. } = scratch;
                match method {
                    LayerMethod::Sparse => {
                        spike_gradient(k, steps, weights, stretch, &mut delta, &mut active, rows);
                    }
                    LayerMethod::Dense => {
                        products::spike_gradient(k, steps, weights, stretch, &mut delta, &mut active, dense);
                    }
                }
            }
        }
        (0..self.samples.len()).for_each(|k| finish(k, &mut active));
        self.layers[l].active = active;
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lists = |tiles: &[ActiveTile]| tiles.iter().map(ActiveTile::bytes).sum::<usize>();
        let layers = self.layers.iter().map(|layer| layer.spikes.bytes() + lists(&layer.active)).sum::<usize>();
        let readout = lists(&self.peaks) + 4 * (self.constant.capacity() + self.logits.capacity());
        let loss = self.loss.capacity() * size_of::<LossTerms>() + self.correct.capacity();
        layers + readout + loss
    }
}

/// Spike counts ζ of one sample.
fn count(spikes: &[Event], neurons: usize, counts: &mut Vec<u32>) {
    counts.clear();
    counts.resize(neurons, 0);
    for spike in spikes {
        counts[spike.i()] += 1;
    }
}
