//! A slow, dense reference implementation in f64, for tests only.

use super::case::DeltaInputs;
use super::conformance::ConformanceDevice;
use crate::engine::{
    ActiveEntry, DeviceInfo, Engine, Forward, Inspection, LayerInspection, LayerMethod, LossTerms, Prediction, Profile,
    StepReport, TrainingState, check_batch, check_held, check_layer_methods, check_samples,
};
use crate::error::{Error, Result};
use crate::events::{Event, EventSet};
use crate::network::{
    Cell, Connection, Convolution, Initialisation, Integrator, Logits, Loss, Network, Readout, ReadoutGain,
    Regulariser, Reset, SpikingLayer, Surrogate,
};
use crate::optimiser::Adam;
use crate::weights::{Matrix, Weights};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

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
        };
        engine.load(&TrainingState::new(weights.clone()))?;
        Ok(engine)
    }

    /// The weights of layer `l` as a matrix [N_in, N], and the biases of its neurons.
    fn matrix(&self, l: usize) -> (Vec<f64>, Vec<f64>) {
        let columns = self.network.weight_shapes()[l].1;
        let weights = &self.weights[l];
        let (weights, bias) = weights.split_at(weights.len() - if self.network.biases()[l] { columns } else { 0 });
        match self.network.spiking_layer(l) {
            Some(layer) => {
                let shared = layer.conv().map_or(1, Convolution::pixels);
                (unrolled(layer, weights), bias.iter().flat_map(|&b| std::iter::repeat_n(b, shared)).collect())
            }
            None => (weights.to_vec(), bias.to_vec()),
        }
    }

    /// Σ_i W_ij S_i[t] + b_j of layer `l`, [T, N].
    fn drive(&self, l: usize, read: &[f64], n: usize) -> Vec<f64> {
        let (weights, bias) = self.matrix(l);
        let mut drive = product(read, &weights, n);
        drive.iter_mut().enumerate().for_each(|(k, drive)| *drive += bias.get(k % n).unwrap_or(&0.0));
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
            let (v_l, s_l) = integrate(layer, network.dt_ms, &self.drive(l, &read[l], n), steps);
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
        let drive = self.drive(v.len(), &read[v.len()], c);
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
            let error: Vec<f64> = ds_l.iter().zip(&trace.v[l]).map(|(ds, &v)| ds * surrogate(layer, v)).collect();
            let drive = drive_gradient(layer, network.dt_ms, &error, &trace.spikes[l + 1]);
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
        if network.biases()[l] {
            let neurons = (0..n).map(|j| drive.iter().skip(j).step_by(n).sum::<f64>());
            let own = neurons.collect::<Vec<_>>();
            // The places of a filter share its bias.
            let columns = network.weight_shapes()[l].1;
            gradient[l].extend(own.chunks_exact(n / columns).map(|filter| filter.iter().sum::<f64>()));
        }
        let weights = self.matrix(l).0;
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

/// The non-zero elements of the matrix [N_in, N] that is equivalent to a convolution, each with the index of its weight:
/// out[f, y, x] = Σ in[c, y stride + ky - padding, x stride + kx - padding] w[f, c, ky, kx].
fn entries(conv: &Convolution) -> impl Iterator<Item = (usize, usize)> {
    let Convolution { channels, height, width, filters, kernel, stride, padding, .. } = *conv;
    let (rows, columns) = (conv.rows(), conv.columns());
    let neurons = filters * rows * columns;
    let all = (0..neurons).flat_map(move |j| (0..channels * kernel * kernel).map(move |k| (j, k)));
    all.filter_map(move |(j, k)| {
        let (f, row, column) = (j / (rows * columns), j / columns % rows, j % columns);
        let (c, ky, kx) = (k / (kernel * kernel), k / kernel % kernel, k % kernel);
        let y = (row * stride + ky).checked_sub(padding).filter(|&y| y < height)?;
        let x = (column * stride + kx).checked_sub(padding).filter(|&x| x < width)?;
        Some((((c * height + y) * width + x) * neurons + j, k * filters + f))
    })
}

/// The weights of a layer as a matrix [N_in, N].
fn unrolled(layer: &SpikingLayer, weights: &[f64]) -> Vec<f64> {
    let Some(conv) = layer.conv() else { return weights.to_vec() };
    let mut full = vec![0.0; conv.inputs() * conv.neurons()];
    entries(conv).for_each(|(at, own)| full[at] = weights[own]);
    full
}

/// The gradient of a layer's weights from that of the equivalent matrix [N_in, N].
fn folded(layer: Option<&SpikingLayer>, full: Vec<f64>) -> Vec<f64> {
    let Some(conv) = layer.and_then(SpikingLayer::conv) else { return full };
    let mut own = vec![0.0; conv.patch() * conv.filters];
    entries(conv).for_each(|(at, k)| own[k] += full[at]);
    own
}

/// The neurons of each pooling window, in the order of the pooled neurons.
fn windows(conv: &Convolution) -> impl Iterator<Item = Vec<usize>> {
    let (pool, columns, pixels, (height, width)) = (conv.pool, conv.columns(), conv.pixels(), conv.pooled());
    let corner =
        move |k: usize| (k / (height * width) * pixels) + (k / width % height * pool) * columns + k % width * pool;
    (0..conv.outputs()).map(move |k| (0..pool * pool).map(|n| corner(k) + n / pool * columns + n % pool).collect())
}

/// Σ_i W_ij S_i[t] as [T, N].
fn product(spikes: &[f64], weights: &[f64], n: usize) -> Vec<f64> {
    let rows = weights.len() / n;
    let sum = |t: usize, j: usize| (0..rows).map(|i| spikes[t * rows + i] * weights[i * n + j]).sum();
    (0..spikes.len() / rows * n).map(|k| sum(k / n, k % n)).collect()
}

/// ∇W_ij = Σ_t S_i[t] δ_j[t].
fn outer(spikes: &[f64], delta: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    let steps = delta.len() / cols;
    let sum = |i: usize, j: usize| (0..steps).map(|t| spikes[t * rows + i] * delta[t * cols + j]).sum();
    (0..rows * cols).map(|k| sum(k / cols, k % cols)).collect()
}

/// δ_j[t] = α δ_j[t+1] + e_j[t+1] for arrays over [T, N].
fn recurrence(alpha: f64, error: &[f64], n: usize) -> Vec<f64> {
    let mut delta = vec![0.0; error.len()];
    for k in (n..error.len()).rev() {
        delta[k - n] = alpha * delta[k] + error[k];
    }
    delta
}

/// V and S of a spiking layer, [T, N], from its drive.
fn integrate(layer: &SpikingLayer, dt_ms: f64, drive: &[f64], steps: usize) -> (Vec<f64>, Vec<f64>) {
    let (n, alpha) = (layer.neurons, layer.alpha(dt_ms));
    let (mut v, mut s, mut current) = (vec![0.0; steps * n], vec![0.0; steps * n], vec![0.0; n]);
    for now in 0..(steps - 1) * n {
        let (before, kick) = match layer.reset {
            Reset::Subtract => (v[now], (layer.v_th - layer.v_r) * s[now]),
            Reset::ToValue if s[now] > 0.0 => (layer.v_r, 0.0),
            Reset::ToValue => (v[now], 0.0),
        };
        let arriving = match layer.cell {
            Cell::Lif => drive[now],
            Cell::CubaLif { tau_syn_ms } => {
                let current = &mut current[now % n];
                *current = (-dt_ms / tau_syn_ms).exp() * *current + drive[now];
                *current
            }
        };
        v[now + n] = layer.v_rest + alpha * (before - layer.v_rest) + arriving - kick;
        s[now + n] = f64::from(u8::from(v[now + n] > layer.v_th));
    }
    (v, s)
}

/// D, the gradient with respect to a spiking layer's drive, [T, N], from e = ∇S g(V) and its spikes.
fn drive_gradient(layer: &SpikingLayer, dt_ms: f64, error: &[f64], spikes: &[f64]) -> Vec<f64> {
    let (n, alpha) = (layer.neurons, layer.alpha(dt_ms));
    let (mut dv, mut di) = (vec![0.0; n], vec![0.0; n]);
    let mut drive = vec![0.0; error.len()];
    for k in (0..error.len()).rev() {
        let (dv, di) = (&mut dv[k % n], &mut di[k % n]);
        drive[k] = if layer.cell == Cell::Lif { *dv } else { *di };
        let kept = if layer.reset == Reset::ToValue { 1.0 - spikes[k] } else { 1.0 };
        *dv = alpha * kept * *dv + error[k];
        if let Cell::CubaLif { tau_syn_ms } = layer.cell {
            *di = (-dt_ms / tau_syn_ms).exp() * *di + *dv;
        }
    }
    drive
}

/// g(V); 0 if inactive.
fn surrogate(layer: &SpikingLayer, v: f64) -> f64 {
    let (x, beta) = (v - layer.v_th, layer.beta);
    if x.abs() >= layer.b_th {
        return 0.0;
    }
    let h = 1.0 / (1.0 + (-beta * x).exp());
    let shape = match layer.surrogate {
        Surrogate::FastSigmoid => 1.0 / (beta * x.abs() + 1.0).powi(2),
        Surrogate::Sigmoid => beta * h * (1.0 - h),
        Surrogate::Arctan => beta / (2.0 * (1.0 + (std::f64::consts::PI * beta * x / 2.0).powi(2))),
        Surrogate::Triangular => beta * (1.0 - beta * x.abs()).max(0.0),
        Surrogate::Rectangular if x.abs() < 1.0 / beta => beta / 2.0,
        Surrogate::Rectangular => 0.0,
        Surrogate::Gaussian => beta / std::f64::consts::TAU.sqrt() * (-(beta * x).powi(2) / 2.0).exp(),
    };
    layer.surrogate_scale * shape
}

fn narrow(values: &[f64]) -> impl Iterator<Item = f32> {
    values.iter().map(|&x| x as f32)
}

fn widen(weights: &Weights) -> Layers {
    weights.layers.iter().map(|matrix| matrix.data.iter().map(|&x| f64::from(x)).collect()).collect()
}

impl Engine for Reference {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { kind: "cpu", name: "reference".into(), detail: "dense, f64".into() }
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn load(&mut self, state: &TrainingState) -> Result<()> {
        for weights in [&state.weights, &state.first, &state.second] {
            weights.check(&self.network)?;
        }
        self.step = state.step;
        (self.weights, self.first, self.second) = (widen(&state.weights), widen(&state.first), widen(&state.second));
        Ok(())
    }

    fn store(&mut self) -> Result<TrainingState> {
        let [weights, first, second] = [&self.weights, &self.first, &self.second].map(|layers| self.weights_of(layers));
        Ok(TrainingState { step: self.step, weights, first, second })
    }

    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        check_layer_methods(&self.network, self.method(), methods)
    }

    fn hold(&mut self, set: Arc<EventSet>) -> Result<()> {
        check_held(&self.network, &set)?;
        self.held = Some(set);
        Ok(())
    }

    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()> {
        let mut batch = EventSet::new(0, 0);
        batch.gather(&*check_samples(self.held.as_ref(), samples)?, samples);
        self.train(&batch, adam)
    }

    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()> {
        check_batch(&self.network, batch)?;
        let (seen, gradient, correct) = self.pass(batch);
        self.step += 1;
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        let (correction1, correction2) = (correction(adam.beta1), correction(adam.beta2));
        let moments = self.first.iter_mut().flatten().zip(self.second.iter_mut().flatten());
        let all = self.weights.iter_mut().flatten().zip(moments).zip(gradient.iter().flatten());
        for ((w, (m, v)), g) in all {
            *m = adam.beta1 * *m + (1.0 - adam.beta1) * g;
            *v = adam.beta2 * *v + (1.0 - adam.beta2) * g * g;
            let step = (*m / correction1) / ((*v / correction2).sqrt() + adam.epsilon);
            *w -= adam.lr * (step + adam.weight_decay * *w);
        }
        let counts = |count: fn(&LayerInspection) -> usize| seen.spiking.iter().map(move |layer| count(layer) as u64);
        self.reports.push(StepReport {
            step: self.step,
            samples: batch.len(),
            loss: seen.loss,
            correct,
            spikes: [batch.events().len() as u64].into_iter().chain(counts(|layer| layer.spikes.len())).collect(),
            active: counts(|layer| layer.active.len()).collect(),
            not_finite: None,
        });
        Ok(())
    }

    fn reports(&mut self, _wait: bool) -> Result<Vec<StepReport>> {
        Ok(std::mem::take(&mut self.reports))
    }

    fn predict(&mut self, batch: &EventSet) -> Result<Prediction> {
        let seen = self.inspect(&batch.labelled())?;
        let spikes = seen.spiking.iter().map(|layer| layer.spikes.len() as u64).collect();
        Ok(Prediction::new(seen.logits, self.network.classes(), spikes))
    }

    fn forward(&mut self, _batch: &EventSet) -> Result<Forward> {
        Err(Error::Unsupported("the reference takes no gradients from outside".into()))
    }

    fn backward(&mut self, _pass: Forward, _logit_gradient: &[f32]) -> Result<Weights> {
        Err(Error::Unsupported("the reference takes no gradients from outside".into()))
    }

    fn update(&mut self, _gradient: &Weights, _adam: &Adam) -> Result<()> {
        Err(Error::Unsupported("the reference takes no gradients from outside".into()))
    }

    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection> {
        check_batch(&self.network, batch)?;
        Ok(self.pass(batch).0)
    }

    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile> {
        self.train(batch, adam)?;
        Ok(Profile::default())
    }

    fn state_bytes(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// The reference engine as a device for golden cases.
pub(crate) struct ReferenceDevice;

impl ConformanceDevice for ReferenceDevice {
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>> {
        Ok(Box::new(Reference::new(network, weights)?))
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>> {
        let neurons = inputs.error.chunks_exact(inputs.time_steps);
        let error = neurons.map(|row| row.iter().map(|&e| f64::from(e)).collect::<Vec<_>>());
        let delta = error.flat_map(|error| recurrence(inputs.alpha, &error, 1));
        Ok(delta.zip(&inputs.needed).map(|(delta, &needed)| if needed { delta as f32 } else { 0.0 }).collect())
    }
}

/// A small random network, weights with which it spikes, and a batch, determined by the seed.
pub(crate) fn random(seed: u64) -> (Network, Weights, EventSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let init = Initialisation::Uniform { scale: 3.0 };
    let regulariser = Regulariser { lambda_up: 0.3, nu_up: 1.5, lambda_low: 1.0, nu_low: 2.5 };
    let hidden = (0..rng.random_range(1..4)).map(|_| SpikingLayer {
        neurons: rng.random_range(1..20),
        tau_ms: rng.random_range(2.0..20.0),
        v_th: rng.random_range(0.5..1.5),
        v_r: rng.random_range(-0.2..0.2),
        v_rest: rng.random_range(-0.2..0.4),
        beta: rng.random_range(1.0..100.0),
        b_th: [0.2, 0.5, 3.0, f64::INFINITY][rng.random_range(0..4)],
        init,
        ..SpikingLayer::lif(0)
    });
    let network = Network {
        hidden: hidden.collect(),
        inputs: rng.random_range(1..20),
        time_steps: rng.random_range(1..40),
        dt_ms: 1.0,
        readout: Readout::Integrator(Integrator {
            classes: rng.random_range(1..8),
            tau_ms: rng.random_range(2.0..20.0),
            gain: [ReadoutGain::One, ReadoutGain::OneMinusAlpha][rng.random_range(0..2)],
            logits: [Logits::Max, Logits::Sum][rng.random_range(0..2)],
            bias: false,
            init,
        }),
        loss: Loss::default(),
        regulariser,
    };
    let mut batch = EventSet::new(network.inputs, network.time_steps);
    for _ in 0..rng.random_range(1..6) {
        let label = rng.random_range(0..network.classes() as u32);
        let slots = (0..network.time_steps).flat_map(|t| (0..network.inputs).map(move |i| (t, i)));
        let spikes: Vec<_> = slots.filter(|_| rng.random_bool(0.2)).collect();
        batch.push(spikes, label).expect("spikes lie inside");
    }
    let weights = Weights::init(&network, seed);
    (network, weights, batch)
}

/// [`random`] with one or two convolutions as the first layers, of random extents, strides, paddings and windows.
pub(crate) fn random_conv(seed: u64) -> (Network, Weights, EventSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xc0);
    let (mut network, _, _) = random(seed);
    let (mut channels, mut height, mut width) =
        (rng.random_range(1..4), rng.random_range(3..8), rng.random_range(3..8));
    network.inputs = channels * height * width;
    network.hidden.truncate(2);
    let convs = rng.random_range(1..=network.hidden.len());
    for layer in &mut network.hidden[..convs] {
        let kernel = rng.random_range(1..4.min(height.min(width) + 1));
        let mut conv = Convolution {
            channels,
            height,
            width,
            filters: rng.random_range(1..6),
            kernel,
            stride: rng.random_range(1..3),
            padding: rng.random_range(0..kernel),
            pool: 1,
        };
        conv.pool = rng.random_range(1..=3.min(conv.rows().min(conv.columns())));
        (channels, (height, width)) = (conv.filters, conv.pooled());
        layer.neurons = conv.neurons();
        layer.connection = Connection::Conv(conv);
    }
    network.time_steps = rng.random_range(2..25);
    let mut batch = EventSet::new(network.inputs, network.time_steps);
    for _ in 0..rng.random_range(1..6) {
        let label = rng.random_range(0..network.classes() as u32);
        let slots = (0..network.time_steps).flat_map(|t| (0..network.inputs).map(move |i| (t, i)));
        let density = rng.random_range(0.01..0.2);
        let spikes: Vec<_> = slots.filter(|_| rng.random_bool(density)).collect();
        batch.push(spikes, label).expect("spikes lie inside");
    }
    let mut weights = Weights::init(&network, seed);
    // More excitation than inhibition, so that neurons with few input spikes spike, too.
    weights.layers.iter_mut().flat_map(|m| &mut m.data).for_each(|w| *w += 0.3 * w.abs());
    (network, weights, batch)
}

/// [`random`], or with `convs` [`random_conv`], with any cell, reset, surrogate, bias, readout and loss.
pub(crate) fn random_cells(seed: u64, convs: bool) -> (Network, Weights, EventSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xce11);
    let (mut network, _, batch) = if convs { random_conv(seed) } else { random(seed) };
    let change = |layer: &mut SpikingLayer, rng: &mut ChaCha8Rng| {
        let tau_syn_ms = rng.random_range(1.0..15.0);
        layer.cell = [Cell::Lif, Cell::CubaLif { tau_syn_ms }][rng.random_range(0..2)];
        layer.reset = [Reset::Subtract, Reset::ToValue][rng.random_range(0..2)];
        layer.surrogate = Surrogate::ALL[rng.random_range(0..Surrogate::ALL.len())];
        // So small that no sigmoid or Gaussian surrogate underflows where entries are active.
        layer.beta = rng.random_range(0.5..6.0);
        layer.surrogate_scale = [1.0, 0.3][rng.random_range(0..2)];
        layer.b_th = [0.2, 0.5, 1.5][rng.random_range(0..3)];
        layer.bias = rng.random_bool(0.5);
    };
    network.hidden.iter_mut().for_each(|layer| change(layer, &mut rng));
    let classes = network.classes();
    network.readout = if rng.random_bool(0.4) {
        let mut layer = SpikingLayer { v_rest: 0.1, ..SpikingLayer::lif(classes) };
        change(&mut layer, &mut rng);
        Readout::SpikeCount(layer.init(Initialisation::Uniform { scale: 3.0 }))
    } else {
        let logits = [Logits::Max, Logits::Sum, Logits::Mean, Logits::Last][rng.random_range(0..4)];
        let bias = rng.random_bool(0.5);
        let init = Initialisation::Uniform { scale: 3.0 };
        Readout::Integrator(Integrator { logits, bias, init, ..Readout::max(classes) })
    };
    network.loss = match rng.random_range(0..3) {
        0 => Loss::CrossEntropy { label_smoothing: 0.0 },
        1 => Loss::CrossEntropy { label_smoothing: 0.2 },
        _ => Loss::MeanSquaredError { on: 3.0, off: -0.5 },
    };
    let mut weights = Weights::init(&network, seed);
    for (matrix, bias) in weights.layers.iter_mut().zip(network.biases()) {
        // More excitation than inhibition, so that later layers spike, too.
        matrix.data.iter_mut().for_each(|w| *w += 0.2 * w.abs());
        let biases = if bias { matrix.cols } else { 0 };
        let begin = matrix.data.len() - biases;
        matrix.data[begin..].iter_mut().for_each(|b| *b = rng.random_range(-0.05..0.15));
    }
    (network, weights, batch)
}

#[cfg(test)]
mod tests {
    use super::*;

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
