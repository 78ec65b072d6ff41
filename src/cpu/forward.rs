//! The forward pass of a group of samples: all layers, the logits, the loss and its gradient with respect to the logits.

use super::conv::{Conv, ConvLayer, ConvSample};
use super::group::{Group, LayerState, Plan, ThreadScratch, WeightLayer, input};
use super::lif_forward::{DriveSource, Pace, PotentialRecord, SpikeBits, SpikingTile, lif_forward, spikes_of};
use super::loss::{ActivityLoss, task_loss};
use super::neurons::Neurons;
use super::products;
use super::readout::{IntegratorConstants, ReadoutTile, readout};
use super::recurrent_forward::recurrent_forward;
use super::state::ActiveTile;
use super::tiles::{padded, with_width};
use crate::engine::{LayerMethod, LossTerms};
use crate::events::Event;
use crate::network::{CellConstants, Logits};

/// Receives the potentials of a layer, [samples, T, N], for an inspection.
type Record<'a> = Option<&'a mut [f32]>;

/// Receives the potentials of sample `k` of a layer of `neurons` neurons.
fn part<'a>(record: &'a mut Record, k: usize, steps: usize, neurons: usize) -> Option<PotentialRecord<'a>> {
    let v = &mut record.as_deref_mut()?[k * steps * neurons..][..steps * neurons];
    Some(PotentialRecord { v, stride: neurons })
}

impl Group {
    /// Computes the logits. `records`, unless empty, receives the potentials of every layer.
    pub fn forward(&mut self, plan: &Plan, scratch: &mut ThreadScratch, records: Vec<&mut [f32]>) {
        self.laps.start();
        self.logits.clear();
        self.peaks.clear();
        self.readout_not_finite = false;
        let mut records = records.into_iter();
        for (l, layer) in plan.layers.iter().enumerate() {
            let record = records.next();
            match (layer.neurons, layer.conv) {
                (Neurons::Spiking(constants), None) if layer.own_row.is_some() => {
                    self.forward_recurrent(plan, l, constants, scratch, record);
                }
                (Neurons::Spiking(constants), None) => self.forward_linear(plan, l, constants, scratch, record),
                (Neurons::Spiking(constants), Some(conv)) => {
                    self.forward_conv(plan, l, conv, constants, scratch, record);
                }
                // Timed together with the loss.
                (Neurons::Integrating(constants), _) => {
                    self.integrate(plan, l, constants, scratch, record);
                    continue;
                }
            }
            self.laps.lap();
        }
        if self.layers.len() == plan.layers.len() {
            self.count_spikes(plan, scratch);
        }
    }

    /// Runs all samples through layer `l`, which is fully connected without recurrent weights.
    fn forward_linear(
        &mut self,
        plan: &Plan,
        l: usize,
        constants: &CellConstants,
        scratch: &mut ThreadScratch,
        mut record: Record,
    ) {
        let WeightLayer { weights, bias, method, .. } = plan.layers[l];
        let (samples, steps) = (self.samples.clone(), plan.batch.time_steps());
        let (below, here) = self.layers.split_at_mut(l);
        let LayerState { spikes, active, .. } = &mut here[0];
        let ThreadScratch { bits, dense, .. } = scratch;
        bits.resize_with(samples.len().max(bits.len()), SpikeBits::default);
        bits.iter_mut().for_each(|bits| bits.begin(steps, &weights.columns));
        for (tile, active) in SpikingTile::of(weights, None, bias, constants).zip(active) {
            active.clear();
            for (k, bits) in bits.iter_mut().enumerate().take(samples.len()) {
                let events = input(plan.batch, below, samples.start, k);
                let drive = match method {
                    LayerMethod::Sparse => DriveSource::Events(events),
                    LayerMethod::Dense => {
                        DriveSource::Rows(products::drive(events, steps, tile.weights, tile.columns.width, dense))
                    }
                };
                let record = part(&mut record, k, steps, weights.cols);
                lif_forward(drive, steps, &tile, bits, active, record, Pace::Whole);
            }
        }
        spikes.clear();
        bits.iter().take(samples.len()).for_each(|bits| spikes_of(bits, spikes));
    }

    /// Runs all samples through layer `l`, which is recurrent.
    fn forward_recurrent(
        &mut self,
        plan: &Plan,
        l: usize,
        constants: &CellConstants,
        scratch: &mut ThreadScratch,
        mut record: Record,
    ) {
        let WeightLayer { weights, own_row, bias, .. } = plan.layers[l];
        let (samples, steps) = (self.samples.clone(), plan.batch.time_steps());
        let (below, here) = self.layers.split_at_mut(l);
        let LayerState { spikes, active, .. } = &mut here[0];
        let state = &mut scratch.recurrent_state;
        state.begin(steps, &weights.columns);
        spikes.clear();
        active.iter_mut().for_each(ActiveTile::clear);
        let tiles: Vec<_> = SpikingTile::of(weights, own_row, bias, constants).collect();
        for k in 0..samples.len() {
            let events = input(plan.batch, below, samples.start, k);
            let record = part(&mut record, k, steps, weights.cols);
            recurrent_forward(events, steps, &tiles, state, spikes, active, record);
        }
    }

    /// Runs all samples through layer `l`, a convolution, and its pooling.
    fn forward_conv(
        &mut self,
        plan: &Plan,
        l: usize,
        conv: &Conv,
        constants: &CellConstants,
        scratch: &mut ThreadScratch,
        mut record: Record,
    ) {
        let activity = plan.backward.then(|| ActivityLoss::new(plan.network, l, plan.batch.len()));
        let time_steps = plan.batch.time_steps();
        let WeightLayer { weights, bias, .. } = plan.layers[l];
        let layer = ConvLayer { conv, weights, bias, constants, activity, time_steps };
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
            let events = input(plan.batch, below, samples.start, k);
            let record = part(&mut record, k, time_steps, layer.conv.shape.neurons()).map(|part| part.v);
            layer.forward(events, sample, spikes, &mut scratch.conv, record);
            conv.sums.push(sample.sums);
            conv.active += sample.active.iter().map(|tile| tile.len() as u64).sum::<u64>();
            conv.not_finite |= sample.active.iter().any(ActiveTile::not_finite);
        }
    }

    /// Runs all samples through layer `l`, a readout of integrators, and appends their logits.
    fn integrate(
        &mut self,
        plan: &Plan,
        l: usize,
        constants: &IntegratorConstants,
        scratch: &mut ThreadScratch,
        mut record: Record,
    ) {
        let WeightLayer { weights, bias, .. } = plan.layers[l];
        let (steps, classes) = (plan.batch.time_steps(), weights.cols);
        let result = &mut scratch.result;
        for k in 0..self.samples.len() {
            result.clear(padded(classes));
            let input = self.input(plan.batch, l, k);
            for (&columns, tile) in weights.columns.iter().zip(&weights.tiles) {
                let record = part(&mut record, k, steps, classes);
                let tile = ReadoutTile { columns, weights: tile, bias };
                with_width!(columns.width, readout(input, steps, &tile, constants, result, record));
            }
            self.readout_not_finite |= result.not_finite;
            self.logits.extend_from_slice(&result.logits[..classes]);
            if constants.logits == Logits::Max {
                self.peaks.extend_from_slice(&result.peak[..classes]);
            }
        }
    }

    /// Appends the spike counts of the last layer as logits.
    fn count_spikes(&mut self, plan: &Plan, scratch: &mut ThreadScratch) {
        let Some(last) = self.layers.last() else { return };
        for k in 0..self.samples.len() {
            count(last.spikes.sample(k), plan.network.classes(), &mut scratch.counts);
            self.logits.extend(scratch.counts.iter().map(|&n| n as f32));
        }
    }

    /// Computes the loss of every sample and its gradient with respect to the logits.
    pub fn loss(&mut self, plan: &Plan, scratch: &mut ThreadScratch) {
        let (network, batch) = (plan.network, plan.batch);
        let classes = network.classes();
        self.loss.clear();
        self.correct.clear();
        self.gradient.clear();
        self.gradient.resize(self.logits.len(), 0.0);
        let activity: Vec<ActivityLoss> =
            (0..network.hidden.len()).map(|l| ActivityLoss::new(network, l, batch.len())).collect();
        let logits = self.logits.chunks(classes).zip(self.gradient.chunks_mut(classes));
        for (k, (logits, gradient)) in logits.enumerate() {
            let label = batch.labels()[self.samples.start + k] as usize;
            let outcome = task_loss(network.loss, logits, label, batch.len(), gradient);
            self.correct.push(outcome.correct);
            let mut terms = LossTerms { task: f64::from(outcome.loss), ..LossTerms::default() };
            for ((activity, layer), state) in activity.iter().zip(&network.hidden).zip(&self.layers) {
                let (upper, lower) = match state.conv.sums.get(k) {
                    Some(sums) => activity.terms_of(sums.count, sums.low),
                    None => {
                        count(state.spikes.sample(k), layer.neurons, &mut scratch.counts);
                        activity.terms(&scratch.counts)
                    }
                };
                terms.upper += f64::from(upper);
                terms.lower += f64::from(lower);
            }
            self.loss.push(terms);
        }
    }
}

/// Writes the spike counts ζ of one sample to `counts`.
pub fn count(spikes: &[Event], neurons: usize, counts: &mut Vec<u32>) {
    counts.clear();
    counts.resize(neurons, 0);
    for spike in spikes {
        counts[spike.i()] += 1;
    }
}
