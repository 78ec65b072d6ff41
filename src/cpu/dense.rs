//! The dense baseline: a matrix product and one fused scan over time per layer, and a linear-time backward pass.
//!
//! Arrays are [B, T, N]. With a finite B_th the gradient equals that of the sparse method; with an infinite B_th the surrogate
//! gradient is unmasked. The sparse method is measured against this one, so it is optimised too.

use super::loss::{ActivityLoss, SampleLoss, task_loss};
use super::matmul::{Strided, Threads, matmul};
use super::neurons::Neurons;
use super::readout::IntegratorConstants;
use super::{Clock, CpuEngine, dense_conv, reference, update_layers};
use crate::engine::{ActiveEntry, Inspection, LayerInspection, LossTerms, Method, NotFinite, StepReport, layer_bit};
use crate::error::Result;
use crate::events::{Event, EventSet};
use crate::network::{CellConstants, Logits, Network, SpikingLayer};
use crate::optimiser::Adam;
use crate::weights::{Matrix, Weights};
use rayon::prelude::*;

/// The arrays of a step; their memory is reused from step to step.
#[derive(Default)]
pub struct DenseArrays {
    /// T.
    steps: usize,
    /// B T.
    rows: usize,
    /// Spikes of the input and of each hidden layer.
    s: Vec<Vec<f32>>,
    /// Pooled spikes of each hidden layer; empty for layers without pooling.
    pooled: Vec<Vec<f32>>,
    /// Scratch for ∇S of the pooled spikes of a layer.
    pooled_gradient: Vec<f32>,
    /// Input currents, then potentials of each weight layer: row t holds V[t+1].
    v: Vec<Vec<f32>>,
    /// Row t holds ∇S[t], then δ[t]. Layer l is at index l modulo the number of arrays.
    delta: Vec<Vec<f32>>,
    /// Scratch of the reference method: the gradient of a whole array.
    whole: Vec<f32>,
    /// Spike counts [B, N] of each hidden layer.
    counts: Vec<Vec<u32>>,
    /// Number of active entries of each hidden layer.
    active: Vec<u64>,
    /// Indices of the ones that the last batch left in the input.
    ones: Vec<usize>,
    /// ∇W of each weight layer.
    gradient: Vec<Matrix>,
    logits: Vec<f32>,
    loss: LossTerms,
    correct: usize,
}

impl DenseArrays {
    /// Makes room for a batch; δ is kept for `kept` layers at a time.
    fn resize(&mut self, network: &Network, batch: &EventSet, kept: usize) {
        let sizes = network.sizes();
        self.steps = batch.time_steps();
        self.rows = batch.len() * self.steps;
        let rows = self.rows;
        let pools = |layer: &SpikingLayer| layer.conv().is_some_and(|conv| conv.pool > 1);
        let pooled = |layer: &SpikingLayer| if pools(layer) { rows * layer.outputs() } else { 0 };
        resize(&mut self.s, sizes[..sizes.len() - 1].iter().map(|n| rows * n));
        resize(&mut self.v, sizes[1..].iter().map(|n| rows * n));
        resize(&mut self.pooled, network.hidden.iter().map(pooled));
        self.delta.resize(kept, Vec::new());
        self.active.clear();
        self.counts = network.hidden.iter().map(|layer| vec![0; batch.len() * layer.neurons]).collect();
    }

    /// Bytes by name.
    pub fn bytes(&self) -> Vec<(String, u64)> {
        let sum = |arrays: &[Vec<f32>]| arrays.iter().map(|a| 4 * a.capacity() as u64).sum::<u64>();
        let gradients = self.whole.capacity() + self.pooled_gradient.capacity();
        vec![
            ("dense spikes".into(), sum(&self.s) + sum(&self.pooled)),
            ("dense membrane potentials".into(), sum(&self.v)),
            ("dense spike gradients and deltas".into(), sum(&self.delta) + 4 * gradients as u64),
            ("dense weight gradient".into(), self.gradient.iter().map(|m| 4 * m.data.capacity() as u64).sum()),
        ]
    }
}

/// Resizes an array of each length.
fn resize(arrays: &mut Vec<Vec<f32>>, lengths: impl Iterator<Item = usize>) {
    let lengths: Vec<usize> = lengths.collect();
    arrays.resize(lengths.len(), Vec::new());
    for (array, length) in arrays.iter_mut().zip(lengths) {
        array.resize(length, 0.0);
    }
}

/// Forward, loss and backward. Leaves ∇W in `gradient`; with `keep`, also δ of every layer in `delta`.
fn pass(engine: &mut CpuEngine, batch: &EventSet, clock: &mut Clock, keep: bool) {
    let weights: Vec<Matrix> = engine.layers.iter().map(|layer| layer.weights.join()).collect();
    let layers = weights.len();
    // δ of a layer depends only on that of the layer above.
    let kept = if keep { layers } else { 2 };
    engine.dense.resize(&engine.network, batch, kept);
    let d = &mut engine.dense;
    clock.time(|| "dense_forward.input".into(), || expand(batch, &mut d.s[0], &mut d.ones));
    for (l, weights) in weights.iter().enumerate() {
        input_currents(engine, l, weights, clock);
        if let Some(&c) = engine.neurons[l].spiking() {
            spikes(engine, l, &c, clock);
        }
    }
    clock.time(|| "dense_forward.readout+loss".into(), || readout_and_loss(engine, batch, (layers - 1) % kept));

    engine.dense.gradient = Vec::with_capacity(layers);
    for l in (0..layers).rev() {
        if let Some(&c) = engine.neurons[l].spiking() {
            hidden_delta(engine, l, &weights[l + 1], &c, clock);
        }
        weight_gradient(engine, l, &weights[l], clock);
    }
    engine.dense.gradient.reverse();
}

/// Input currents of weight layer `l`, written to its rows of V.
fn input_currents(engine: &mut CpuEngine, l: usize, weights: &Matrix, clock: &mut Clock) {
    let conv = engine.network.hidden.get(l).and_then(SpikingLayer::conv);
    let d = &mut engine.dense;
    let input = input_of(&d.s, &d.pooled, l);
    let currents = &mut d.v[l];
    clock.time(
        || format!("dense_forward.gemm.{l}"),
        || match conv {
            Some(conv) => dense_conv::currents(conv, weights, input, currents),
            None => {
                let (rows, n_in, n) = (d.rows, weights.rows, weights.cols);
                let (input, weights) = (Strided::rows(input, n_in), Strided::rows(&weights.data, n));
                matmul((rows, n_in, n), input, weights, currents, false, Threads::All);
            }
        },
    );
}

/// Turns the input currents of hidden layer `l` into V and spikes, and pools the spikes.
fn spikes(engine: &mut CpuEngine, l: usize, c: &CellConstants, clock: &mut Clock) {
    let layer = &engine.network.hidden[l];
    let (n, d) = (layer.neurons, &mut engine.dense);
    let (v, s, counts) = (&mut d.v[l], &mut d.s[l + 1], &mut d.counts[l]);
    let (rows, steps) = (d.rows, d.steps);
    let by_steps = engine.method == Method::Reference;
    let active = clock.time(
        || format!("dense_forward.scan.{l}"),
        || {
            if by_steps {
                reference::integrate(v, s, counts, (steps, n), c);
                // The reference masks nothing.
                return (rows * n) as u64;
            }
            v.par_chunks_mut(steps * n)
                .zip(s.par_chunks_mut(steps * n))
                .zip(counts.par_chunks_mut(n))
                .map(|((v, s), counts)| scan(v, s, counts, n, c))
                .sum()
        },
    );
    d.active.push(active);
    if let Some(conv) = layer.conv().filter(|conv| conv.pool > 1) {
        let (s, pooled) = (&d.s[l + 1], &mut d.pooled[l]);
        clock.time(|| format!("dense_forward.pool.{l}"), || dense_conv::pool(conv, s, pooled));
    }
}

/// δ of hidden layer `l` from that of the layer above and the weights between them.
fn hidden_delta(engine: &mut CpuEngine, l: usize, weights_above: &Matrix, c: &CellConstants, clock: &mut Clock) {
    let (network, d) = (&engine.network, &mut engine.dense);
    let (n, steps, kept) = (network.hidden[l].neurons, d.steps, d.delta.len());
    let by_steps = engine.method == Method::Reference;
    let mut delta = std::mem::take(&mut d.delta[l % kept]);
    delta.resize(d.rows * n, 0.0);
    let (above, s, pooled) = (&d.delta[(l + 1) % kept], &d.s[l + 1], &mut d.pooled_gradient);
    clock.time(
        || format!("dense_spike_gradient.{l}"),
        || from_above(network, l, weights_above, above, s, pooled, &mut delta),
    );
    let activity = ActivityLoss::new(network, l, d.rows / steps);
    let (v, counts, whole) = (&d.v[l], &d.counts[l], &mut d.whole);
    clock.time(
        || format!("dense_delta.{l}"),
        || {
            if by_steps {
                return reference::differentiate(&mut delta, whole, v, counts, (steps, n), c, &activity);
            }
            delta
                .par_chunks_mut(steps * n)
                .zip(v.par_chunks(steps * n))
                .zip(counts.par_chunks(n))
                .for_each(|((delta, v), counts)| reverse_scan(delta, v, counts, n, c, &activity));
        },
    );
    d.delta[l % kept] = delta;
}

/// Appends ∇W of weight layer `l`.
fn weight_gradient(engine: &mut CpuEngine, l: usize, weights: &Matrix, clock: &mut Clock) {
    let conv = engine.network.hidden.get(l).and_then(SpikingLayer::conv);
    let d = &mut engine.dense;
    let (input, delta) = (input_of(&d.s, &d.pooled, l), &d.delta[l % d.delta.len()]);
    let gradient = clock.time(
        || format!("dense_weight_gradient.{l}"),
        || match conv {
            Some(conv) => dense_conv::weight_gradient(conv, d.steps, input, delta),
            None => {
                let (rows, n_in, n) = (d.rows, weights.rows, weights.cols);
                let mut gradient = Matrix::zeros(n_in, n);
                let (input, delta) = (Strided::transposed(input, n_in), Strided::rows(delta, n));
                matmul((n_in, rows, n), input, delta, &mut gradient.data, false, Threads::All);
                gradient
            }
        },
    );
    d.gradient.push(gradient);
}

/// The spikes that weight layer `l` reads.
fn input_of<'a>(s: &'a [Vec<f32>], pooled: &'a [Vec<f32>], l: usize) -> &'a [f32] {
    match l.checked_sub(1).map(|below| &pooled[below]) {
        Some(pooled) if !pooled.is_empty() => pooled,
        _ => &s[l],
    }
}

/// ∇S of hidden layer `l`, without regularisers, from δ of the layer above. `s` are the layer's spikes, `pooled` is scratch.
fn from_above(
    network: &Network,
    l: usize,
    weights: &Matrix,
    above: &[f32],
    s: &[f32],
    pooled: &mut Vec<f32>,
    out: &mut [f32],
) {
    let layer = &network.hidden[l];
    let rows = s.len() / layer.neurons;
    let pools = layer.conv().filter(|conv| conv.pool > 1);
    if pools.is_some() {
        pooled.resize(rows * layer.outputs(), 0.0);
    }
    let read = if pools.is_some() { &mut pooled[..] } else { &mut *out };
    match network.hidden.get(l + 1).and_then(SpikingLayer::conv) {
        Some(conv) => dense_conv::spike_gradient(conv, weights, above, read),
        None => {
            let (n, n_above) = (weights.rows, weights.cols);
            let transposed = Strided::transposed(&weights.data, n_above);
            matmul((rows, n_above, n), Strided::rows(above, n_above), transposed, read, false, Threads::All);
        }
    }
    if let Some(conv) = pools {
        dense_conv::unpool(conv, s, pooled, out);
    }
}

/// Writes the batch as an array of 0 and 1. `ones` are the indices of its previous ones, which are cleared first: cheaper
/// than clearing the whole array.
fn expand(batch: &EventSet, s: &mut [f32], ones: &mut Vec<usize>) {
    for at in ones.drain(..) {
        if let Some(x) = s.get_mut(at) {
            *x = 0.0;
        }
    }
    for b in 0..batch.len() {
        let begin = b * batch.time_steps() * batch.neurons();
        ones.extend(batch.sample(b).iter().map(|event| begin + event.t() * batch.neurons() + event.i()));
    }
    for &at in &*ones {
        s[at] = 1.0;
    }
}

/// Turns a sample's input currents into V in place (row t holds V[t+1]) and writes its spikes. Returns the number of active
/// entries, including those of V[0] = 0.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn scan(v: &mut [f32], s: &mut [f32], counts: &mut [u32], n: usize, c: &CellConstants) -> u64 {
    counts.fill(0);
    s[..n].fill(0.0);
    let mut potential = vec![0.0f32; n];
    let at_rest = u32::from(c.surrogate_at(0.0).is_some());
    let mut active = vec![at_rest; n];
    let steps = v.len() / n;
    for t in 0..steps - 1 {
        let (before, after) = s[t * n..].split_at_mut(n);
        let row = &mut v[t * n..][..n];
        for j in 0..n {
            let x = c.alpha * potential[j] + c.leak - c.kick * before[j] + row[j];
            potential[j] = x;
            row[j] = x;
            let spike = x > c.v_th;
            after[j] = if spike { 1.0 } else { 0.0 };
            counts[j] += u32::from(spike);
            active[j] += u32::from((x - c.v_th).abs() < c.band);
        }
    }
    active.iter().map(|&n| u64::from(n)).sum()
}

/// Turns a sample's ∇S into δ in place: δ[t] = α δ[t+1] + ∇S[t+1] g(V[t+1]).
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn reverse_scan(delta: &mut [f32], v: &[f32], counts: &[u32], n: usize, c: &CellConstants, activity: &ActivityLoss) {
    let upper = activity.upper_gradient(counts.iter().sum());
    let regularised: Vec<f32> = counts.iter().map(|&zeta| upper + activity.lower_gradient(zeta)).collect();
    let steps = delta.len() / n;
    let mut sum = vec![0.0f32; n];
    // ∇S of the row above, saved before it is overwritten.
    let mut ds = delta[(steps - 1) * n..].to_vec();
    delta[(steps - 1) * n..].fill(0.0);
    for t in (0..steps - 1).rev() {
        let row = &mut delta[t * n..][..n];
        let v = &v[t * n..][..n];
        for j in 0..n {
            let distance = (v[j] - c.v_th).abs();
            let e = if distance < c.band { (ds[j] + regularised[j]) * c.gradient(distance) } else { 0.0 };
            sum[j] = c.alpha * sum[j] + e;
            ds[j] = row[j];
            row[j] = sum[j];
        }
    }
}

/// Integrates the readout, computes the loss, and leaves δ of the readout in `delta[index]`.
fn readout_and_loss(engine: &mut CpuEngine, batch: &EventSet, index: usize) {
    let (classes, steps) = (engine.network.classes(), batch.time_steps());
    // An engine with this method and another readout cannot be created.
    let Some(Neurons::Integrating(c)) = engine.neurons.last() else { return };
    let loss = engine.network.loss;
    let d = &mut engine.dense;
    let (Some(v), delta) = (d.v.last_mut(), &mut d.delta[index]) else { return };
    delta.resize(v.len(), 0.0);
    d.logits.clear();
    d.logits.resize(batch.len() * classes, 0.0);
    let samples = v.par_chunks_mut(steps * classes).zip(delta.par_chunks_mut(steps * classes));
    let outcomes: Vec<SampleLoss> = samples
        .zip(d.logits.par_chunks_mut(classes))
        .zip(batch.labels())
        .map(|(((v, delta), logits), &label)| {
            readout_sample(v, delta, logits, c, |logits, gradient| {
                task_loss(loss, logits, label as usize, batch.len(), gradient)
            })
        })
        .collect();
    // In order, so that the sum does not depend on the number of threads.
    d.loss = LossTerms::default();
    d.loss.task = outcomes.iter().map(|outcome| f64::from(outcome.loss)).sum();
    d.correct = outcomes.iter().filter(|outcome| outcome.correct).count();
    for (l, counts) in d.counts.iter().enumerate() {
        let activity = ActivityLoss::new(&engine.network, l, batch.len());
        for counts in counts.chunks(engine.network.hidden[l].neurons) {
            let (upper, lower) = activity.terms(counts);
            d.loss.upper += f64::from(upper);
            d.loss.lower += f64::from(lower);
        }
    }
}

/// [`readout_and_loss`] for one sample. `v` holds its input currents, then V; `loss` computes the loss of the logits and
/// writes its gradient.
fn readout_sample(
    v: &mut [f32],
    delta: &mut [f32],
    logits: &mut [f32],
    c: &IntegratorConstants,
    loss: impl Fn(&[f32], &mut [f32]) -> SampleLoss,
) -> SampleLoss {
    let classes = logits.len();
    let steps = v.len() / classes;
    let mut peak = vec![0usize; classes];
    let mut potential = vec![0.0f32; classes];
    for t in 0..steps - 1 {
        for j in 0..classes {
            let x = c.alpha * potential[j] + c.gain * v[t * classes + j];
            potential[j] = x;
            v[t * classes + j] = x;
            match c.logits {
                Logits::Max if x > logits[j] => (logits[j], peak[j]) = (x, t + 1),
                Logits::Max => {}
                Logits::Sum => logits[j] += x,
                // Rejected by `check_method`.
                _ => {}
            }
        }
    }
    let mut gradient = vec![0.0; classes];
    let outcome = loss(logits, &mut gradient);
    delta[(steps - 1) * classes..].fill(0.0);
    for j in 0..classes {
        let mut sum = 0.0;
        for t in (0..steps - 1).rev() {
            let here = c.logits == Logits::Sum || peak[j] == t + 1;
            sum = c.alpha * sum + if here { c.gain * gradient[j] } else { 0.0 };
            delta[t * classes + j] = sum;
        }
    }
    outcome
}

/// One training step of the dense method.
pub fn step(engine: &mut CpuEngine, batch: &EventSet, clock: &mut Clock, update: &Adam) -> StepReport {
    pass(engine, batch, clock, false);
    engine.step += 1;
    let constants = update.constants(engine.step);
    let (layers, gradients) = (&mut engine.layers, &engine.dense.gradient);
    let broken = clock.time(|| "adam".into(), || update_layers(layers, gradients, &constants));
    let d = &engine.dense;
    // A potential that becomes NaN or infinite stays so, so the last time step shows it.
    let last_row = |v: &Vec<f32>, n: usize| {
        let mut samples = v.chunks_exact(batch.time_steps() * n);
        samples.any(|v| v[..v.len() - n].rchunks_exact(n).next().is_some_and(|v| v.iter().any(|v| !v.is_finite())))
    };
    let sizes = engine.network.sizes();
    let layers = d.v.iter().zip(&sizes[1..]).enumerate();
    let potentials = layers.filter(|(_, (v, n))| last_row(v, **n)).fold(0, |bits, (l, _)| bits | layer_bit(l));
    let spikes = d.counts.iter().map(|counts| counts.iter().map(|&n| u64::from(n)).sum());
    StepReport {
        step: engine.step,
        samples: batch.len(),
        loss: d.loss,
        correct: d.correct,
        spikes: std::iter::once(batch.events().len() as u64).chain(spikes).collect(),
        active: d.active.clone(),
        not_finite: NotFinite::of((potentials, broken)),
    }
}

/// The results of a dense step without the update.
pub fn inspect(engine: &mut CpuEngine, batch: &EventSet) -> Result<Inspection> {
    pass(engine, batch, &mut Clock::default(), true);
    let (samples, steps) = (batch.len(), batch.time_steps());
    let d = &engine.dense;
    let shifted = |v: &[f32], n: usize| {
        let mut out = vec![0.0; v.len()];
        for (out, v) in out.chunks_mut(steps * n).zip(v.chunks(steps * n)) {
            out[n..].copy_from_slice(&v[..(steps - 1) * n]);
        }
        out
    };
    let hidden = (engine.neurons.iter().filter_map(Neurons::spiking).enumerate())
        .map(|(l, c)| {
            let n = engine.network.hidden[l].neurons;
            let v = shifted(&d.v[l], n);
            // ∇S was overwritten by δ. e[t] = δ[t-1] - α δ[t] would lose digits, so ∇S is recomputed.
            let above = engine.layers[l + 1].weights.join();
            let mut ds = vec![0.0; samples * steps * n];
            from_above(&engine.network, l, &above, &d.delta[l + 1], &d.s[l + 1], &mut Vec::new(), &mut ds);
            let activity = ActivityLoss::new(&engine.network, l, samples);
            let mut spikes = Vec::new();
            let mut active = Vec::new();
            for b in 0..samples {
                let counts = &d.counts[l][b * n..][..n];
                let upper = activity.upper_gradient(counts.iter().sum());
                for t in 0..steps {
                    for j in 0..n {
                        let at = (b * steps + t) * n + j;
                        if d.s[l + 1][at] > 0.0 {
                            spikes.push((b as u32, Event::new(t, j)));
                        }
                        if let Some(g) = c.surrogate_at(v[at]) {
                            let e = (ds[at] + upper + activity.lower_gradient(counts[j])) * g;
                            active.push(ActiveEntry { b: b as u32, t: t as u32, j: j as u32, g, e });
                        }
                    }
                }
            }
            LayerInspection { v, spikes, active }
        })
        .collect();
    Ok(Inspection {
        spiking: hidden,
        readout_v: d.v.last().map(|v| shifted(v, engine.network.classes())).unwrap_or_default(),
        logits: d.logits.clone(),
        loss: d.loss,
        gradient: Weights { layers: d.gradient.clone() },
    })
}
