//! A group of samples: the unit of parallel work of the passes over samples.
//!
//! Groups have a fixed size, whatever the number of threads, and nothing is summed across them but in order. Within a
//! group tiles come first and samples second, so that a tile's weights are in the cache when the next sample wants them.

use super::conv::{Conv, ConvLayer, ConvSample, ConvScratch};
use super::conv_backward::Wanted;
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
use crate::network::{CellConstants, Logits, Network};
use std::ops::Range;

/// Samples in a group of a fully connected network, and in one of a network with convolutions, each of whose samples
/// has as many entries as many of the others.
const GROUP: usize = 8;
const CONV_GROUP: usize = 2;

/// Samples in a group of this network.
pub fn group_size(network: &Network) -> usize {
    if network.first_conv().is_some() { CONV_GROUP } else { GROUP }
}

/// What a hidden layer leaves behind for a group of samples.
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

/// A hidden or readout layer, as the passes over samples need it.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// Its weights.
    pub weights: &'a TiledMatrix,
    /// How its products are computed.
    pub method: LayerMethod,
    /// Who sees what, if it is a convolution.
    pub conv: Option<&'a Conv>,
    /// Decay of its potentials.
    pub alpha: f32,
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
    /// Whether some potential of the readout was NaN or infinite.
    pub readout_not_finite: bool,
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
    /// Of each hidden layer that is a convolution, each sample of the group.
    convs: Vec<Vec<ConvSample>>,
    conv: ConvScratch,
    wanted: Wanted,
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
        self.layers.resize_with(network.hidden.len(), LayerState::default);
        for (state, layer) in self.layers.iter_mut().zip(&network.hidden) {
            if state.active.is_empty() && layer.conv().is_none() {
                state.active = active_tiles(layer.neurons);
            }
        }
        if self.peaks.is_empty() {
            self.peaks = active_tiles(network.classes());
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
        Layer { weights, method, .. }: Layer,
        constants: &CellConstants,
        scratch: &mut Scratch,
        mut record: Option<&mut [f32]>,
    ) {
        let (samples, steps) = (self.samples.clone(), batch.time_steps());
        let (below, here) = self.layers.split_at_mut(l);
        let input = |k: usize| match below.last() {
            None => batch.sample(samples.start + k),
            Some(layer) => layer.spikes.sample(k),
        };
        let LayerState { spikes, active, .. } = &mut here[0];
        let Scratch { bits, dense, .. } = scratch;
        bits.resize_with(samples.len().max(bits.len()), SpikeBits::default);
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
                with_width!(columns.width, lif_forward(input, steps, &tile, bits, active, record) with false);
            }
        }
        spikes.clear();
        bits.iter().take(samples.len()).for_each(|bits| spikes_of(bits, spikes));
    }

    /// LIF forward and pooling of hidden layer `l`, a convolution, all samples. `record`, if given, takes V as
    /// [samples, T, N].
    pub fn forward_conv(
        &mut self,
        batch: &EventSet,
        l: usize,
        layer: &ConvLayer,
        scratch: &mut Scratch,
        mut record: Option<&mut [f32]>,
    ) {
        let samples = self.samples.clone();
        let (below, here) = self.layers.split_at_mut(l);
        let LayerState { spikes, conv, .. } = &mut here[0];
        if scratch.convs.len() <= l {
            scratch.convs.resize_with(l + 1, Vec::new);
        }
        let room = samples.len().max(scratch.convs[l].len());
        scratch.convs[l].resize_with(room, ConvSample::default);
        spikes.clear();
        conv.sums.clear();
        (conv.active, conv.not_finite) = (0, false);
        for (k, sample) in scratch.convs[l].iter_mut().enumerate().take(samples.len()) {
            let input = match below.last() {
                None => batch.sample(samples.start + k),
                Some(layer) => layer.spikes.sample(k),
            };
            let size = layer.time_steps * layer.conv.shape.neurons();
            let record = record.as_deref_mut().map(|v| &mut v[k * size..][..size]);
            layer.forward(input, sample, spikes, &mut scratch.conv, record);
            conv.sums.push((sample.count, sample.low));
            conv.active += sample.active.iter().map(|tile| tile.len() as u64).sum::<u64>();
            conv.not_finite |= sample.active.iter().any(ActiveTile::not_finite);
        }
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
        let (steps, classes) = (batch.time_steps(), network.classes());
        self.logits.clear();
        self.loss.clear();
        self.correct.clear();
        self.constant.clear();
        self.readout_not_finite = false;
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
            self.readout_not_finite |= scratch.result.not_finite;
            let logits = &scratch.result.logits[..classes];
            self.logits.extend_from_slice(logits);
            let label = batch.labels()[self.samples.start + k] as usize;
            let (loss, correct) = cross_entropy(logits, label, batch.len(), &mut scratch.gradient);
            self.correct.push(correct);
            let mut terms = LossTerms { task: f64::from(loss), ..LossTerms::default() };
            for (l, layer) in self.layers.iter().enumerate() {
                let activity = ActivityLoss::new(network, l, batch.len());
                let (upper, lower) = match layer.conv.sums.get(k) {
                    Some(&(total, low)) => activity.terms_of(total, low),
                    None => {
                        count(layer.spikes.sample(k), network.hidden[l].neurons, &mut scratch.counts);
                        activity.terms(&scratch.counts)
                    }
                };
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
            Logits::Mean | Logits::Last => {}
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

    /// Spike gradient of hidden layer `l`, all samples, through the weights of the layer above, whose errors are done;
    /// of a convolution its weight gradient, too.
    pub fn spike_gradient(
        &mut self,
        batch: &EventSet,
        network: &Network,
        l: usize,
        (here, above): (Layer, Layer),
        scratch: &mut Scratch,
    ) {
        let steps = batch.time_steps();
        if here.conv.is_some() || above.conv.is_some() {
            return self.spike_gradient_conv(batch, network, l, (here, above), scratch);
        }
        let Layer { weights, method, alpha, .. } = above;
        let activity = ActivityLoss::new(network, l, batch.len());
        let mut active = std::mem::take(&mut self.layers[l].active);
        (0..self.samples.len()).for_each(|k| self.regularise(network, l, k, &activity, &mut active, scratch));
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

    /// Sets ∇S of sample `k` of fully connected layer `l` to what the regularisers ask for.
    fn regularise(
        &self,
        network: &Network,
        l: usize,
        k: usize,
        activity: &ActivityLoss,
        active: &mut [ActiveTile],
        scratch: &mut Scratch,
    ) {
        let spikes = self.layers[l].spikes.sample(k);
        count(spikes, network.hidden[l].neurons, &mut scratch.counts);
        scratch.lower.clear();
        scratch.lower.extend(scratch.counts.iter().map(|&zeta| activity.lower_gradient(zeta)));
        let shared = activity.upper_gradient(spikes.len() as u32);
        begin(k, active, &Regularised { shared, own: &scratch.lower });
    }

    /// [`spike_gradient`](Self::spike_gradient) where this layer or the one above is a convolution: the entries at which
    /// ∇S is asked for are first sorted by time.
    fn spike_gradient_conv(
        &mut self,
        batch: &EventSet,
        network: &Network,
        l: usize,
        (here, above): (Layer, Layer),
        scratch: &mut Scratch,
    ) {
        let steps = batch.time_steps();
        let activity = ActivityLoss::new(network, l, batch.len());
        let mut active = std::mem::take(&mut self.layers[l].active);
        let mut samples = if here.conv.is_some() { std::mem::take(&mut scratch.convs[l]) } else { Vec::new() };
        let mut gradient = std::mem::take(&mut self.layers[l].conv.gradient);
        gradient.resize_with(samples.first().map_or(0, |_| here.weights.tiles.len()), AlignedVec::default);
        for (sum, tile) in gradient.iter_mut().zip(&here.weights.tiles) {
            sum.resize(tile.len());
            sum.fill(0.0);
        }
        for k in 0..self.samples.len() {
            let mut wanted = std::mem::take(&mut scratch.wanted);
            match samples.get(k) {
                Some(sample) => wanted.collect(steps, sample.winners.iter().map(|list| list.iter().copied())),
                None => {
                    self.regularise(network, l, k, &activity, &mut active, scratch);
                    let entries = |tile: &'_ ActiveTile| {
                        let begin = tile.begin_of(k);
                        let numbered = |(n, event): (usize, &Event)| (*event, begin + n as u32);
                        tile.sample(k).events.iter().enumerate().map(numbered).collect::<Vec<_>>()
                    };
                    let entries: Vec<Vec<(Event, u32)>> = active.iter().map(entries).collect();
                    wanted.collect(steps, entries.iter().map(|list| list.iter().copied()));
                }
            }
            let Scratch { rows, dense, convs, .. } = scratch;
            match above.conv {
                Some(conv) => {
                    wanted.through_conv(conv, &convs[l + 1][k], above.weights, above.alpha, steps, rows);
                }
                None => {
                    for stretch in stretches(above.weights) {
                        let delta = |tile: usize| {
                            self.delta(l + 1, k, tile, above.weights.columns[tile].begin, above.alpha, steps)
                        };
                        let mut delta: Vec<DeltaRows> = stretch.clone().map(delta).collect();
                        let list = std::slice::from_mut(&mut wanted.list);
                        match above.method {
                            LayerMethod::Sparse => {
                                spike_gradient(0, steps, above.weights, stretch, &mut delta, list, rows);
                            }
                            LayerMethod::Dense => {
                                products::spike_gradient(0, steps, above.weights, stretch, &mut delta, list, dense);
                            }
                        }
                    }
                }
            }
            match samples.get_mut(k) {
                Some(sample) => {
                    sample.finish(&wanted, activity.upper_gradient(sample.count));
                    sample.weight_gradient(here.weights, here.alpha, steps, rows, &mut gradient);
                }
                None => {
                    wanted.give_back(&mut active);
                    finish(k, &mut active);
                }
            }
            scratch.wanted = wanted;
        }
        if here.conv.is_some() {
            scratch.convs[l] = samples;
        }
        self.layers[l].active = active;
        self.layers[l].conv.gradient = gradient;
    }

    /// Keeps what the convolutions of this group left in `scratch`.
    pub fn keep_convs(&mut self, scratch: &mut Scratch) {
        for (layer, samples) in self.layers.iter_mut().zip(&mut scratch.convs) {
            layer.conv.kept = std::mem::take(samples);
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lists = |tiles: &[ActiveTile]| tiles.iter().map(ActiveTile::bytes).sum::<usize>();
        let convs = self.layers.iter().flat_map(|layer| &layer.conv.gradient).map(AlignedVec::bytes).sum::<usize>();
        let layers = self.layers.iter().map(|layer| layer.spikes.bytes() + lists(&layer.active)).sum::<usize>() + convs;
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
