//! A group of samples: the unit of parallel work of the passes over samples.
//!
//! Groups have a fixed size, whatever the number of threads, and nothing is summed across them but in order.

use super::lif_forward::{Scratch, lif_forward};
use super::loss::{ActivityLoss, cross_entropy};
use super::readout::{ReadoutConstants, ReadoutResult, readout};
use super::spike_gradient::{Above, ReadoutErrors, Regularised, spike_gradient};
use super::state::{ActiveTile, SpikeList, active_tiles};
use super::tiles::{TILE, TiledMatrix, padded};
use crate::engine::LossTerms;
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

/// Per-sample results and the memory of one group.
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
    scratch: Scratch,
    result: ReadoutResult,
    counts: Vec<u32>,
    lower: Vec<Vec<f32>>,
    delta: Vec<Vec<f32>>,
    sorted_peaks: Vec<(Event, f32)>,
}

impl Group {
    /// Empties the group for the samples of a new batch.
    pub fn begin(&mut self, samples: Range<usize>, network: &Network) {
        let hidden = network.hidden.len();
        self.samples = samples;
        self.layers.resize_with(hidden, LayerState::default);
        for (state, layer) in self.layers.iter_mut().zip(&network.hidden) {
            if state.active.is_empty() {
                state.active = active_tiles(layer.neurons);
            }
        }
        if self.peaks.is_empty() {
            self.peaks = active_tiles(network.readout.classes);
        }
        self.lower.resize(hidden, Vec::new());
        self.delta.resize(hidden, Vec::new());
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
        weights: &TiledMatrix,
        constants: &LifConstants,
        mut record: Option<&mut [f32]>,
    ) {
        let steps = batch.time_steps();
        let (below, here) = self.layers.split_at_mut(l);
        let LayerState { spikes, active } = &mut here[0];
        spikes.clear();
        active.iter_mut().for_each(ActiveTile::clear);
        for k in 0..self.samples.len() {
            let input = match l {
                0 => batch.sample(self.samples.start + k),
                _ => below[l - 1].spikes.sample(k),
            };
            let size = steps * weights.cols;
            let record = record.as_deref_mut().map(|v| &mut v[k * size..][..size]);
            lif_forward(input, steps, weights, constants, &mut self.scratch, spikes, active, record);
        }
    }

    /// Readout, loss and its gradient, all samples. `record`, if given, takes V as [samples, T, C].
    pub fn readout_and_loss(
        &mut self,
        batch: &EventSet,
        network: &Network,
        weights: &TiledMatrix,
        constants: &ReadoutConstants,
        mut record: Option<&mut [f32]>,
    ) {
        let (steps, classes) = (batch.time_steps(), network.readout.classes);
        self.logits.clear();
        self.loss.clear();
        self.correct.clear();
        self.constant.clear();
        self.peaks.iter_mut().for_each(ActiveTile::clear);
        let mut gradient = vec![0.0; classes];
        for k in 0..self.samples.len() {
            let size = steps * classes;
            let record = record.as_deref_mut().map(|v| &mut v[k * size..][..size]);
            let input = match self.layers.last() {
                Some(layer) => layer.spikes.sample(k),
                None => batch.sample(self.samples.start + k),
            };
            readout(input, steps, weights, constants, &mut self.result, record);
            let logits = &self.result.logits[..classes];
            self.logits.extend_from_slice(logits);
            let label = batch.labels()[self.samples.start + k] as usize;
            let (loss, correct) = cross_entropy(logits, label, batch.len(), &mut gradient);
            self.correct.push(correct);
            let mut terms = LossTerms { cross_entropy: f64::from(loss), ..LossTerms::default() };
            for (l, layer) in self.layers.iter().enumerate() {
                count(layer.spikes.sample(k), network.hidden[l].neurons, &mut self.counts);
                let (upper, lower) = ActivityLoss::new(network, l, batch.len()).terms(&self.counts);
                terms.upper += f64::from(upper);
                terms.lower += f64::from(lower);
            }
            self.loss.push(terms);
            self.note_errors(&gradient, constants);
        }
    }

    /// Turns ∇logits of the sample just read out into errors in time.
    fn note_errors(&mut self, gradient: &[f32], constants: &ReadoutConstants) {
        match constants.logits {
            Logits::Max => {
                let mut order: Vec<usize> = (0..gradient.len()).collect();
                order.sort_unstable_by_key(|&c| (self.result.peak[c], c));
                for c in order {
                    let tile = &mut self.peaks[c / TILE];
                    tile.events.push(Event::new(self.result.peak[c] as usize, c));
                    tile.e.push(constants.gain * gradient[c]);
                }
            }
            Logits::Sum => {
                let begin = self.constant.len();
                self.constant.extend(gradient.iter().map(|g| constants.gain * g));
                self.constant.resize(begin + padded(gradient.len()), 0.0);
            }
        }
        self.peaks.iter_mut().for_each(ActiveTile::end_sample);
    }

    /// Errors of the group's sample `k` that enter the readout at every time; empty for the maximum.
    pub fn constant(&self, k: usize, classes: usize) -> &[f32] {
        match self.constant.is_empty() {
            true => &[],
            false => &self.constant[k * padded(classes)..][..padded(classes)],
        }
    }

    /// Spike gradient of all hidden layers, all samples.
    pub fn spike_gradient(&mut self, batch: &EventSet, network: &Network, above: &[Above]) {
        let classes = network.readout.classes;
        for k in 0..self.samples.len() {
            let mut shared = Vec::with_capacity(self.layers.len());
            for (l, layer) in self.layers.iter().enumerate() {
                let spikes = layer.spikes.sample(k);
                let activity = ActivityLoss::new(network, l, batch.len());
                count(spikes, network.hidden[l].neurons, &mut self.counts);
                shared.push(activity.upper_gradient(spikes.len() as u32));
                self.lower[l].clear();
                self.lower[l].extend(self.counts.iter().map(|&zeta| activity.lower_gradient(zeta)));
            }
            let regularised: Vec<Regularised> =
                shared.iter().zip(&self.lower).map(|(&shared, own)| Regularised { shared, own }).collect();
            self.sorted_peaks.clear();
            for tile in &self.peaks {
                self.sorted_peaks.extend(tile.range(k).map(|x| (tile.events[x], tile.e[x])));
            }
            self.sorted_peaks.sort_unstable_by_key(|&(event, _)| event);
            let constant = match self.constant.is_empty() {
                true => &[][..],
                false => &self.constant[k * padded(classes)..][..padded(classes)],
            };
            let readout = ReadoutErrors { peaks: &self.sorted_peaks, constant };
            let mut active: Vec<&mut [ActiveTile]> =
                self.layers.iter_mut().map(|layer| layer.active.as_mut_slice()).collect();
            spike_gradient(k, batch.time_steps(), above, &readout, &regularised, &mut active, &mut self.delta);
        }
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

impl Group {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let list = |tile: &ActiveTile| {
            4 * (tile.starts.capacity() + tile.events.capacity() + tile.g.capacity() + tile.e.capacity())
        };
        let layers: usize = self
            .layers
            .iter()
            .map(|layer| {
                4 * (layer.spikes.starts.capacity() + layer.spikes.events.capacity())
                    + layer.active.iter().map(list).sum::<usize>()
            })
            .sum();
        let vectors = self.lower.iter().chain(&self.delta).map(|v| 4 * v.capacity()).sum::<usize>();
        let readout =
            self.peaks.iter().map(list).sum::<usize>() + 4 * (self.constant.capacity() + self.logits.capacity());
        (layers + vectors + readout + self.scratch.bytes()) as u64
    }
}
