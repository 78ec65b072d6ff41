//! The backward pass of a group of samples: the errors of every layer from the gradient of the logits.

use super::conv_backward::GradientRequests;
use super::delta::DeltaRows;
use super::forward::count;
use super::group::{Group, Plan, ThreadScratch, WeightLayer};
use super::loss::ActivityLoss;
use super::neurons::Neurons;
use super::products;
use super::readout::IntegratorConstants;
use super::recurrent_gradient::recurrent_errors;
use super::spike_gradient::{RegulariserGradient, finish_errors, spike_gradient, start_gradient, tile_ranges};
use super::state::ActiveTile;
use super::tiles::{AlignedVec, Columns, padded};
use crate::engine::LayerMethod;
use crate::events::Event;
use crate::network::Logits;
use std::ops::Range;

impl Group {
    /// Computes the errors of all layers from the gradient of the logits, and the weight gradient of convolutions.
    pub fn backward(&mut self, plan: &Plan, scratch: &mut ThreadScratch) {
        if let Some((l, layer)) = plan.layers.iter().enumerate().next_back() {
            match layer.neurons {
                Neurons::Integrating(constants) => self.enter_integrators(plan, layer, constants),
                Neurons::Spiking(_) => self.enter_counted(plan, l, scratch),
            }
        }
        for l in (0..plan.network.hidden.len()).rev() {
            match plan.layers[l].conv.is_some() || plan.layers[l + 1].conv.is_some() {
                false => self.spike_gradient(plan, l, scratch),
                true => self.spike_gradient_conv(plan, l, scratch),
            }
            self.laps.lap();
        }
    }

    /// Errors of a readout of integrators: the gradient of a logit enters at the time steps whose potential it depends on.
    fn enter_integrators(&mut self, plan: &Plan, layer: &WeightLayer, constants: &IntegratorConstants) {
        let classes = plan.network.classes();
        let last = plan.batch.time_steps() - 1;
        let IntegratorConstants { gain, logits, share, .. } = *constants;
        let columns = &layer.weights.columns;
        self.errors.iter_mut().for_each(ActiveTile::clear);
        self.constant.clear();
        for (k, gradient) in self.gradient.chunks(classes).enumerate() {
            match logits {
                Logits::Sum => enter_always(&mut self.constant, gradient, gain),
                Logits::Mean => enter_always(&mut self.constant, gradient, gain * share),
                Logits::Max => {
                    let peaks = &self.peaks[k * classes..][..classes];
                    enter_once(&mut self.errors, columns, gradient, gain, |c| peaks[c] as usize);
                }
                Logits::Last => enter_once(&mut self.errors, columns, gradient, gain, |_| last),
            }
            self.errors.iter_mut().for_each(ActiveTile::end_errors);
        }
    }

    /// Errors of a readout `l` that counts spikes: the gradient of a logit is ∇S at every time step.
    fn enter_counted(&mut self, plan: &Plan, l: usize, scratch: &mut ThreadScratch) {
        let active = &mut self.layers[l].active;
        for (k, gradient) in self.gradient.chunks(plan.network.classes()).enumerate() {
            start_gradient(k, active, &RegulariserGradient { shared: 0.0, own: gradient });
            plan.layers[l].finish_errors(k, active, scratch);
        }
    }

    /// δ of weight layer `l` in sample `k`, for each of these column tiles.
    fn deltas(&self, plan: &Plan, l: usize, k: usize, tiles: Range<usize>) -> Vec<DeltaRows<'_>> {
        let WeightLayer { weights, neurons, .. } = plan.layers[l];
        let steps = plan.batch.time_steps();
        let delta = |tile: usize| self.delta(l, k, tile, weights.columns[tile].begin, neurons.adjoint(), steps);
        tiles.map(delta).collect()
    }

    /// Errors of hidden layer `l` in all samples, from those of the layer above; both layers are fully connected.
    fn spike_gradient(&mut self, plan: &Plan, l: usize, scratch: &mut ThreadScratch) {
        let steps = plan.batch.time_steps();
        let WeightLayer { weights, method, .. } = plan.layers[l + 1];
        let activity = ActivityLoss::new(plan.network, l, plan.batch.len());
        let mut active = std::mem::take(&mut self.layers[l].active);
        (0..self.samples.len()).for_each(|k| self.regularise(plan, l, k, &activity, &mut active, scratch));
        for range in tile_ranges(weights) {
            for k in 0..self.samples.len() {
                let mut delta = self.deltas(plan, l + 1, k, range.clone());
                let range = range.clone();
                let ThreadScratch { rows, dense, .. } = scratch;
                match method {
                    LayerMethod::Sparse => {
                        spike_gradient(k, steps, weights, range, &mut delta, &mut active, rows);
                    }
                    LayerMethod::Dense => {
                        products::spike_gradient(k, steps, weights, range, &mut delta, &mut active, dense);
                    }
                }
            }
        }
        (0..self.samples.len()).for_each(|k| plan.layers[l].finish_errors(k, &mut active, scratch));
        self.layers[l].active = active;
    }

    /// Sets ∇S of sample `k` in layer `l`, which is fully connected, to the gradient of the regularisers.
    fn regularise(
        &self,
        plan: &Plan,
        l: usize,
        k: usize,
        activity: &ActivityLoss,
        active: &mut [ActiveTile],
        scratch: &mut ThreadScratch,
    ) {
        let spikes = self.layers[l].spikes.sample(k);
        count(spikes, plan.network.hidden[l].neurons, &mut scratch.counts);
        scratch.lower.clear();
        scratch.lower.extend(scratch.counts.iter().map(|&zeta| activity.lower_gradient(zeta)));
        let shared = activity.upper_gradient(spikes.len() as u32);
        start_gradient(k, active, &RegulariserGradient { shared, own: &scratch.lower });
    }

    /// Adds ∇S from weight layer `above`, whose errors are done, to the requested entries of sample `k`.
    fn add_from_above(
        &self,
        plan: &Plan,
        above: usize,
        k: usize,
        requests: &mut GradientRequests,
        scratch: &mut ThreadScratch,
    ) {
        let steps = plan.batch.time_steps();
        let WeightLayer { weights, method, conv, neurons, .. } = plan.layers[above];
        let ThreadScratch { rows, dense, convs, .. } = scratch;
        if let Some(conv) = conv {
            return requests.add_from_conv(conv, &convs[above][k], weights, neurons.adjoint(), steps, rows);
        }
        for range in tile_ranges(weights) {
            let mut delta = self.deltas(plan, above, k, range.clone());
            let list = std::slice::from_mut(&mut requests.list);
            match method {
                LayerMethod::Sparse => spike_gradient(0, steps, weights, range, &mut delta, list, rows),
                LayerMethod::Dense => products::spike_gradient(0, steps, weights, range, &mut delta, list, dense),
            }
        }
    }

    /// Errors of hidden layer `l` in all samples if this layer or the one above is a convolution, and ∇W if this one is. The
    /// entries that need ∇S are first sorted by time.
    fn spike_gradient_conv(&mut self, plan: &Plan, l: usize, scratch: &mut ThreadScratch) {
        let steps = plan.batch.time_steps();
        let here = plan.layers[l];
        let activity = ActivityLoss::new(plan.network, l, plan.batch.len());
        let mut active = std::mem::take(&mut self.layers[l].active);
        let mut samples = if here.conv.is_some() { std::mem::take(&mut scratch.convs[l]) } else { Vec::new() };
        let mut gradient = std::mem::take(&mut self.layers[l].conv.gradient);
        gradient.resize_with(samples.first().map_or(0, |_| here.weights.tiles.len()), AlignedVec::default);
        for (sum, tile) in gradient.iter_mut().zip(&here.weights.tiles) {
            sum.resize(tile.len());
            sum.fill(0.0);
        }
        for k in 0..self.samples.len() {
            let mut requests = std::mem::take(&mut scratch.requests);
            match samples.get(k) {
                Some(sample) => requests.collect(steps, sample.winners.iter().map(|list| list.iter().copied())),
                None => {
                    self.regularise(plan, l, k, &activity, &mut active, scratch);
                    requests.collect(steps, active.iter().map(|tile| tile.numbered(k)));
                }
            }
            self.add_from_above(plan, l + 1, k, &mut requests, scratch);
            match samples.get_mut(k) {
                Some(sample) => {
                    sample.finish(&requests, activity.upper_gradient(sample.sums.count));
                    let adjoint = here.neurons.adjoint();
                    sample.weight_gradient(here.weights, here.bias, adjoint, steps, &mut scratch.rows, &mut gradient);
                }
                None => {
                    requests.scatter(&mut active);
                    here.finish_errors(k, &mut active, scratch);
                }
            }
            scratch.requests = requests;
        }
        if here.conv.is_some() {
            scratch.convs[l] = samples;
        }
        self.layers[l].active = active;
        self.layers[l].conv.gradient = gradient;
    }
}

impl WeightLayer<'_> {
    /// Turns ∇S of sample `k`, complete apart from what comes through the layer's recurrent weights, into errors.
    fn finish_errors(&self, k: usize, active: &mut [ActiveTile], scratch: &mut ThreadScratch) {
        match self.own_row {
            None => finish_errors(k, active),
            Some(row) => {
                recurrent_errors(k, self.weights, row, self.neurons.adjoint(), active, &mut scratch.recurrent);
            }
        }
    }
}

/// Appends a sample's errors, the same at every time step, padded to whole lanes.
fn enter_always(constant: &mut Vec<f32>, gradient: &[f32], factor: f32) {
    let begin = constant.len();
    constant.extend(gradient.iter().map(|g| factor * g));
    constant.resize(begin + padded(gradient.len()), 0.0);
}

/// Appends a sample's errors, one per class, at time step `time(class)`.
fn enter_once(
    errors: &mut [ActiveTile],
    columns: &[Columns],
    gradient: &[f32],
    factor: f32,
    time: impl Fn(usize) -> usize,
) {
    for (columns, errors) in columns.iter().zip(errors) {
        let classes = columns.begin..columns.begin + columns.used;
        let mut order: Vec<Event> = classes.map(|c| Event::new(time(c), c)).collect();
        order.sort_unstable();
        order.iter().for_each(|&event| errors.push_error(event, factor * gradient[event.i()]));
    }
}
