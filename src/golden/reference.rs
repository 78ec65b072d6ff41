//! A slow, dense reference implementation in f64, for tests only.

mod engine;
mod formulas;
mod random;

use crate::engine::{ActiveEntry, Engine, Inspection, LayerInspection, LossTerms, StepReport, TrainingState};
use crate::error::Result;
use crate::events::{Event, EventSet};
use crate::network::{Convolution, Integrator, Logits, Loss, Network, SpikingLayer};
use crate::weights::{Matrix, Weights};
use formulas::{drive_gradient, folded, integrate, narrow, outer, product, recurrence, surrogate, unrolled, windows};
use std::sync::Arc;

pub(crate) use engine::ReferenceDevice;
pub(crate) use random::{excited, random, random_cells, random_conv, random_recurrent};

/// Numbers of every layer: matrices, or arrays [T, N].
type Layers = Vec<Vec<f64>>;

/// The reference engine. Weights and moments are f64, so that only its outputs are rounded.
pub(crate) struct Reference {
    network: Network,
    step: u64,
    weights: Layers,
    first: Layers,
    second: Layers,
    held: Option<Arc<EventSet>>,
    reports: Vec<StepReport>,
    /// A deliberate mistake for testing the comparison: takes the last instead of the first maximum of the readout.
    pub(crate) last_on_ties: bool,
    /// A deliberate mistake: no gradient flows through recurrent weights.
    pub(crate) detached: bool,
    /// Spikes are S(V) with S' = g in place of a step, so that the loss is differentiable.
    soft: bool,
}

/// A sample's forward pass; arrays are [T, N]. Layer 0 of the spikes is the input.
struct Trace {
    spikes: Layers,
    /// Input of each weight layer: the spikes of the layer below, after pooling.
    read: Layers,
    v: Layers,
    readout_v: Vec<f64>,
    logits: Vec<f64>,
    /// The time of each logit's maximum.
    peaks: Vec<usize>,
}

/// The weights of a layer.
struct Matrices {
    /// W, [N_in, N].
    w: Vec<f64>,
    /// Recurrent weights R, [N, N]; empty if there are none.
    r: Vec<f64>,
    /// Biases of all neurons; empty if there are none.
    b: Vec<f64>,
}

/// A sample's contribution to the batch.
struct Backward {
    loss: LossTerms,
    /// ∇S of the spiking layers, [T, N], at inactive entries too.
    ds: Layers,
    gradient: Layers,
}

impl Reference {
    pub(crate) fn new(network: &Network, weights: &Weights) -> Result<Self> {
        let zeros: Layers = network.weight_shapes().into_iter().map(|(rows, cols)| vec![0.0; rows * cols]).collect();
        let (first, second) = (zeros.clone(), zeros.clone());
        let network = network.clone();
        let mut engine = Reference {
            network,
            step: 0,
            weights: zeros,
            first,
            second,
            held: None,
            reports: Vec::new(),
            last_on_ties: false,
            detached: false,
            soft: false,
        };
        engine.load(&TrainingState::new(weights.clone()))?;
        Ok(engine)
    }

    /// The recurrent weights of layer `l`, [N, N].
    pub(crate) fn recurrent_mut(&mut self, l: usize) -> &mut [f64] {
        let columns = self.network.weight_shapes()[l].1;
        let (begin, own) = (self.network.fan_in()[l] * columns, self.network.recurrent_inputs()[l]);
        &mut self.weights[l][begin..][..own * columns]
    }

    /// The weights of layer `l` as matrices.
    fn matrices(&self, l: usize) -> Matrices {
        let columns = self.network.weight_shapes()[l].1;
        let weights = &self.weights[l];
        let (weights, bias) = weights.split_at(weights.len() - if self.network.biases()[l] { columns } else { 0 });
        let (weights, r) = weights.split_at(weights.len() - self.network.recurrent_inputs()[l] * columns);
        let (w, shared) = match self.network.spiking_layer(l) {
            Some(layer) => (unrolled(layer, weights), layer.conv().map_or(1, Convolution::pixels)),
            None => (weights.to_vec(), 1),
        };
        Matrices { w, r: r.to_vec(), b: bias.iter().flat_map(|&b| std::iter::repeat_n(b, shared)).collect() }
    }

    /// Σ_i W_ij S_i[t] + b_j of a layer, [T, N], from the spikes that it reads.
    fn drive(matrices: &Matrices, read: &[f64], n: usize) -> Vec<f64> {
        let mut drive = product(read, &matrices.w, n);
        drive.iter_mut().enumerate().for_each(|(k, drive)| *drive += matrices.b.get(k % n).unwrap_or(&0.0));
        drive
    }

    fn forward(&self, input: &[Event]) -> Trace {
        let (network, steps) = (&self.network, self.network.time_steps);
        let mut spikes = vec![vec![0.0; steps * network.inputs]];
        for event in input {
            spikes[0][event.t() * network.inputs + event.i()] = 1.0;
        }
        let mut v = Vec::new();
        let mut read = spikes.clone();
        for (l, layer) in network.spiking().enumerate() {
            let n = layer.neurons;
            let matrices = self.matrices(l);
            let drive = Self::drive(&matrices, &read[l], n);
            let (v_l, s_l) = integrate(layer, network.dt_ms, &drive, &matrices.r, self.soft);
            v.push(v_l);
            read.push(match layer.conv() {
                None => s_l.clone(),
                Some(conv) => {
                    let pooled =
                        |(t, window): (usize, Vec<usize>)| window.iter().map(|&j| s_l[t * n + j]).fold(0.0, f64::max);
                    (0..steps).flat_map(|t| windows(conv).map(move |window| (t, window))).map(pooled).collect()
                }
            });
            spikes.push(s_l);
        }
        let c = network.classes();
        let Some(readout) = network.integrator() else {
            let counted = &spikes[v.len()];
            let logits = (0..c).map(|class| counted.iter().skip(class).step_by(c).sum()).collect();
            return Trace { spikes, read, v, readout_v: Vec::new(), logits, peaks: Vec::new() };
        };
        let drive = Self::drive(&self.matrices(v.len()), &read[v.len()], c);
        let (alpha, gain) = (readout.alpha(network.dt_ms), readout.gain_value(network.dt_ms));
        let mut readout_v = vec![0.0; steps * c];
        for now in 0..(steps - 1) * c {
            readout_v[now + c] = alpha * readout_v[now] + gain * drive[now];
        }
        let at = |t: usize, class: usize| readout_v[t * c + class];
        let better = |a: f64, b: f64| if self.last_on_ties { a >= b } else { a > b };
        let peak = |class| (1..steps).fold(0, |best, t| if better(at(t, class), at(best, class)) { t } else { best });
        let peaks: Vec<usize> = (0..c).map(peak).collect();
        let sum = |class: usize| (0..steps).map(|t| at(t, class)).sum::<f64>();
        let logit = |class: usize| match readout.logits {
            Logits::Max => at(peaks[class], class),
            Logits::Sum => sum(class),
            Logits::Mean => sum(class) / steps as f64,
            Logits::Last => at(steps - 1, class),
        };
        let logits = (0..c).map(logit).collect();
        Trace { spikes, read, v, readout_v, logits, peaks }
    }

    /// The task's loss of one sample, and its gradient with respect to the logits.
    fn task(&self, logits: &[f64], label: usize, samples: f64) -> (f64, Vec<f64>) {
        let classes = logits.len() as f64;
        let is_label = |class: usize| f64::from(u8::from(class == label));
        match self.network.loss {
            Loss::CrossEntropy { label_smoothing } => {
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_sum = largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
                let target = |class: usize| (1.0 - label_smoothing) * is_label(class) + label_smoothing / classes;
                let each = || logits.iter().enumerate();
                let loss = each().map(|(class, logit)| target(class) * (log_sum - logit)).sum();
                (loss, each().map(|(class, logit)| ((logit - log_sum).exp() - target(class)) / samples).collect())
            }
            Loss::MeanSquaredError { on, off } => {
                let away = |(class, logit): (usize, &f64)| logit - if class == label { on } else { off };
                let away: Vec<f64> = logits.iter().enumerate().map(away).collect();
                let loss = away.iter().map(|x| x * x).sum::<f64>() / classes;
                (loss, away.iter().map(|x| 2.0 * x / (classes * samples)).collect())
            }
        }
    }

    /// D, the gradient with respect to the drive of the readout's integrators, from that of the logits; [T, C].
    fn readout_drive_gradient(&self, readout: &Integrator, peaks: &[usize], logits: &[f64]) -> Vec<f64> {
        let (network, steps, c) = (&self.network, self.network.time_steps, logits.len());
        let mut error = vec![0.0; steps * c];
        for (class, &d_logit) in logits.iter().enumerate() {
            let mut enter = |t: usize, share: f64| error[t * c + class] = share * d_logit;
            match readout.logits {
                Logits::Max => enter(peaks[class], 1.0),
                Logits::Sum => (0..steps).for_each(|t| enter(t, 1.0)),
                Logits::Mean => (0..steps).for_each(|t| enter(t, 1.0 / steps as f64)),
                Logits::Last => enter(steps - 1, 1.0),
            }
        }
        let gain = readout.gain_value(network.dt_ms);
        let mut drive = recurrence(readout.alpha(network.dt_ms), &error, c);
        drive.iter_mut().for_each(|drive| *drive *= gain);
        drive
    }

    fn backward(&self, trace: &Trace, label: usize, samples: f64) -> Backward {
        let (network, steps) = (&self.network, self.network.time_steps);
        let (task, d_logits) = self.task(&trace.logits, label, samples);
        let mut loss = LossTerms { task, ..LossTerms::default() };
        let mut gradient = self.weights.clone();
        let mut ds = Vec::new();
        // ∇S of the current layer.
        let mut above = match network.integrator() {
            None => (0..steps).flat_map(|_| d_logits.iter().copied()).collect(),
            Some(readout) => {
                let drive = self.readout_drive_gradient(readout, &trace.peaks, &d_logits);
                self.through(network.hidden.len(), trace, &drive, &mut gradient)
            }
        };
        let layers: Vec<&SpikingLayer> = network.spiking().collect();
        for (l, layer) in layers.into_iter().enumerate().rev() {
            let n = layer.neurons;
            let mut ds_l = std::mem::take(&mut above);
            if l < network.hidden.len() {
                let counts: Vec<f64> = (0..n).map(|i| trace.spikes[l + 1].iter().skip(i).step_by(n).sum()).collect();
                self.regularise(&counts, samples, &mut loss, &mut ds_l);
            }
            let r = if self.detached { Vec::new() } else { self.matrices(l).r };
            let drive = drive_gradient(layer, network.dt_ms, &mut ds_l, &trace.v[l], &trace.spikes[l + 1], &r);
            above = self.through(l, trace, &drive, &mut gradient);
            ds.insert(0, ds_l);
        }
        Backward { loss, ds, gradient }
    }

    /// Adds the gradient of layer `l`'s weights, given that of its drive, and returns ∇S of the spiking layer below.
    fn through(&self, l: usize, trace: &Trace, drive: &[f64], gradient: &mut Layers) -> Vec<f64> {
        let (network, steps) = (&self.network, self.network.time_steps);
        let (rows, n) = (network.fan_in()[l], drive.len() / steps);
        gradient[l] = folded(network.spiking_layer(l), outer(&trace.read[l], drive, rows, n));
        let own = network.recurrent_inputs()[l];
        if own > 0 {
            gradient[l].extend(outer(&trace.spikes[l + 1], drive, own, n));
        }
        if network.biases()[l] {
            let neurons = (0..n).map(|j| drive.iter().skip(j).step_by(n).sum::<f64>());
            let own = neurons.collect::<Vec<_>>();
            // The places of a filter share its bias.
            let columns = network.weight_shapes()[l].1;
            gradient[l].extend(own.chunks_exact(n / columns).map(|filter| filter.iter().sum::<f64>()));
        }
        let weights = self.matrices(l).w;
        let mut read = vec![0.0; steps * rows];
        for (k, ds) in read.iter_mut().enumerate() {
            let row = &weights[k % rows * n..][..n];
            *ds = row.iter().zip(&drive[k / rows * n..]).map(|(w, drive)| w * drive).sum();
        }
        let Some(below) = l.checked_sub(1).map(|below| &network.hidden[below]) else { return read };
        let Some(conv) = below.conv() else { return read };
        let mut ds = vec![0.0; steps * below.neurons];
        for t in 0..steps {
            for (k, window) in windows(conv).enumerate() {
                let first = window.iter().find(|&&j| trace.spikes[l][t * below.neurons + j] > 0.0);
                ds[t * below.neurons + first.unwrap_or(&window[0])] = read[t * rows + k];
            }
        }
        ds
    }

    /// Adds a layer's regularisers to the sample's loss, and their gradient, constant in time, to ∇S.
    fn regularise(&self, counts: &[f64], samples: f64, loss: &mut LossTerms, ds: &mut [f64]) {
        let (r, n) = (&self.network.regulariser, counts.len() as f64);
        let excess = counts.iter().sum::<f64>() / n - r.nu_up;
        loss.upper += r.lambda_up * excess.max(0.0);
        let upper = if excess > 0.0 { r.lambda_up / (n * samples) } else { 0.0 };
        for (i, count) in counts.iter().enumerate() {
            let lack = (r.nu_low - count).max(0.0);
            loss.lower += r.lambda_low / n * lack * lack;
            let lower = 2.0 * r.lambda_low * lack / (n * samples);
            ds.iter_mut().skip(i).step_by(counts.len()).for_each(|ds| *ds += upper - lower);
        }
    }

    /// Forward and backward pass of a batch: the inspection, the gradient in f64, and the number of correct samples.
    fn pass(&self, batch: &EventSet) -> (Inspection, Layers, usize) {
        let layers = self.network.spiking().count();
        let mut hidden = vec![LayerInspection { v: vec![], spikes: vec![], active: vec![] }; layers];
        let (mut readout_v, mut logits, mut correct) = (Vec::new(), Vec::new(), 0);
        let mut loss = LossTerms::default();
        let mut gradient: Layers = self.weights.iter().map(|w| vec![0.0; w.len()]).collect();
        for b in 0..batch.len() {
            let trace = self.forward(batch.sample(b));
            let label = batch.labels()[b] as usize;
            let backward = self.backward(&trace, label, batch.len() as f64);
            for (l, (seen, layer)) in hidden.iter_mut().zip(self.network.spiking()).enumerate() {
                for (k, &v) in trace.v[l].iter().enumerate() {
                    let (t, j) = (k / layer.neurons, k % layer.neurons);
                    if trace.spikes[l + 1][k] > 0.0 {
                        seen.spikes.push((b as u32, Event::new(t, j)));
                    }
                    let g = surrogate(layer, v);
                    if g > 0.0 {
                        let e = (backward.ds[l][k] * g) as f32;
                        seen.active.push(ActiveEntry { b: b as u32, t: t as u32, j: j as u32, g: g as f32, e });
                    }
                }
                seen.v.extend(narrow(&trace.v[l]));
            }
            readout_v.extend(narrow(&trace.readout_v));
            logits.extend(narrow(&trace.logits));
            let largest = trace.logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            correct += usize::from(trace.logits[label] == largest);
            loss.add(&backward.loss);
            for (sum, part) in gradient.iter_mut().flatten().zip(backward.gradient.iter().flatten()) {
                *sum += part;
            }
        }
        let rounded = self.weights_of(&gradient);
        (Inspection { spiking: hidden, readout_v, logits, loss, gradient: rounded }, gradient, correct)
    }

    fn weights_of(&self, layers: &Layers) -> Weights {
        let shapes = self.network.weight_shapes().into_iter().zip(layers);
        Weights {
            layers: shapes.map(|((rows, cols), data)| Matrix { rows, cols, data: narrow(data).collect() }).collect(),
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Readout, Reset, Surrogate};
    use crate::optimiser::Adam;

    /// The loss is a smooth function of the readout's weights (except at ties), so finite differences give its gradient.
    #[test]
    fn readout_gradient_is_the_slope_of_the_loss() {
        let mut largest: f64 = 0.0;
        for seed in 0..60 {
            let (network, weights, batch) = if seed < 20 { random(seed) } else { random_cells(seed, false) };
            if network.integrator().is_none() {
                continue;
            }
            let mut engine = Reference::new(&network, &weights).unwrap();
            let (_, gradient, _) = engine.pass(&batch);
            let last = network.hidden.len();
            for (k, slope) in gradient[last].iter().enumerate() {
                let w = engine.weights[last][k];
                let mut loss_at = |x: f64| {
                    engine.weights[last][k] = x;
                    engine.pass(&batch).0.loss.total() / batch.len() as f64
                };
                let difference = (loss_at(w + 1e-6) - loss_at(w - 1e-6)) / 2e-6;
                engine.weights[last][k] = w;
                assert!((difference - slope).abs() < 1e-6, "seed {seed}, weight {k}: {difference} and {slope}");
                largest = largest.max(slope.abs());
            }
        }
        assert!(largest > 0.1, "the networks do not spike");
    }

    /// With spikes that are smooth functions of V and without resets, the formulas are exact derivatives: of all weights, through
    /// time, layers and recurrent weights.
    #[test]
    fn gradient_of_soft_spikes_is_the_slope_of_the_loss() {
        let (mut checked, mut recurrent) = (0, 0.0f64);
        for seed in 0..30 {
            let (mut network, weights, batch) = random_recurrent(seed, false);
            let open = |layer: &mut SpikingLayer| {
                (layer.reset, layer.surrogate) = (Reset::Subtract, Surrogate::FastSigmoid);
                (layer.b_th, layer.v_r) = (f64::INFINITY, layer.v_th);
            };
            network.hidden.iter_mut().for_each(open);
            if let Readout::SpikeCount(layer) = &mut network.readout {
                open(layer);
            }
            let mut engine = Reference { soft: true, ..Reference::new(&network, &weights).unwrap() };
            let (_, gradient, _) = engine.pass(&batch);
            for (l, gradient) in gradient.iter().enumerate() {
                let own = network.fan_in()[l] * network.weight_shapes()[l].1;
                for (k, slope) in gradient.iter().enumerate().step_by(7) {
                    let w = engine.weights[l][k];
                    let mut loss_at = |x: f64| {
                        engine.weights[l][k] = x;
                        engine.pass(&batch).0.loss.total() / batch.len() as f64
                    };
                    let difference = (loss_at(w + 1e-5) - loss_at(w - 1e-5)) / 2e-5;
                    engine.weights[l][k] = w;
                    let limit = 1e-5 * (1.0 + slope.abs());
                    assert!((difference - slope).abs() < limit, "seed {seed}, {l} {k}: {difference} and {slope}");
                    checked += 1;
                    if k >= own && network.recurrent_inputs()[l] > 0 {
                        recurrent = recurrent.max(slope.abs());
                    }
                }
            }
        }
        assert!(checked > 500 && recurrent > 0.1, "{checked} checked, recurrent weights up to {recurrent}");
    }

    #[test]
    fn training_lowers_the_loss() {
        let (network, weights, batch) = (0..).map(random).find(|(network, ..)| network.classes() > 2).unwrap();
        let mut engine = Reference::new(&network, &weights).unwrap();
        for _ in 0..50 {
            engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
        }
        let reports = engine.reports(true).unwrap();
        assert!(reports[49].loss.total() < 0.7 * reports[0].loss.total());
    }
}
