//! The dense baseline: a matrix product and one fused scan over time per layer, and a linear-time backward pass.
//!
//! Arrays are [B, T, N]. With a finite B_th the gradient equals the sparse one; with an infinite one the surrogate is
//! unmasked. This is what the sparse step is measured against, so it is built to be fast too.

use super::loss::{ActivityLoss, Outcome, task_loss};
use super::matmul::{Threads, matmul};
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

/// The arrays of a step, kept from step to step.
#[derive(Default)]
pub struct Dense {
    /// Spikes of the input and of each hidden layer.
    s: Vec<Vec<f32>>,
    /// Pooled spikes of each hidden layer, and ∇S of them; empty where nothing is pooled.
    pooled: Vec<Vec<f32>>,
    pooled_gradient: Vec<f32>,
    /// Row t holds V[t+1] of each layer, the readout's last.
    v: Vec<Vec<f32>>,
    /// Row t holds ∇S[t], then δ[t], of each layer.
    delta: Vec<Vec<f32>>,
    /// What the reference sums gradients of whole arrays in.
    whole: Vec<f32>,
    /// Spike counts [B, N] of each hidden layer.
    counts: Vec<Vec<u32>>,
    /// Active entries of each hidden layer.
    active: Vec<u64>,
    /// Where the last batch left a 1 in the input.
    ones: Vec<usize>,
    gradient: Vec<Matrix>,
    logits: Vec<f32>,
    loss: LossTerms,
    correct: usize,
}

impl Dense {
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

fn resize(arrays: &mut Vec<Vec<f32>>, lengths: impl Iterator<Item = usize>) {
    let lengths: Vec<usize> = lengths.collect();
    arrays.resize(lengths.len(), Vec::new());
    for (array, length) in arrays.iter_mut().zip(lengths) {
        array.resize(length, 0.0);
    }
}

/// Forward, loss and backward; leaves ∇W in `gradient`, and with `keep` δ of every layer.
fn pass(engine: &mut CpuEngine, batch: &EventSet, clock: &mut Clock, keep: bool) {
    let sizes = engine.network.sizes();
    let (samples, steps) = (batch.len(), batch.time_steps());
    let rows = samples * steps;
    let weights: Vec<Matrix> = engine.layers.iter().map(|layer| layer.weights.join()).collect();
    let layers = weights.len();
    let by_steps = engine.method == Method::Reference;
    let d = &mut engine.dense;
    resize(&mut d.s, sizes[..layers].iter().map(|n| rows * n));
    resize(&mut d.v, sizes[1..].iter().map(|n| rows * n));
    let hidden = &engine.network.hidden;
    let pools = |layer: &SpikingLayer| layer.conv().is_some_and(|conv| conv.pool > 1);
    resize(&mut d.pooled, hidden.iter().map(|layer| if pools(layer) { rows * layer.outputs() } else { 0 }));
    // δ of a layer needs that of the layer above alone.
    let kept = if keep { layers } else { 2 };
    d.delta.resize(kept, Vec::new());
    d.active.clear();
    d.counts = engine.network.hidden.iter().map(|layer| vec![0; samples * layer.neurons]).collect();

    clock.time(|| "dense_forward.input".into(), || expand(batch, &mut d.s[0], &mut d.ones));
    for l in 0..layers {
        let (n_in, n) = (weights[l].rows, weights[l].cols);
        let conv = hidden.get(l).and_then(SpikingLayer::conv);
        let input = input_of(&d.s, &d.pooled, l);
        clock.time(
            || format!("dense_forward.gemm.{l}"),
            || match conv {
                Some(conv) => dense_conv::currents(conv, &weights[l], input, &mut d.v[l]),
                None => {
                    let w = (&weights[l].data[..], (n, 1));
                    matmul((rows, n_in, n), (input, (n_in, 1)), w, &mut d.v[l], false, Threads::All);
                }
            },
        );
        let n = sizes[l + 1];
        if let Some(c) = engine.neurons[l].spiking() {
            let (v, s) = (&mut d.v[l], &mut d.s[l + 1]);
            let counts = &mut d.counts[l];
            let active = clock.time(
                || format!("dense_forward.scan.{l}"),
                || {
                    if by_steps {
                        reference::integrate(v, s, counts, (steps, n), c);
                        // Nothing is masked.
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
            if let Some(conv) = conv.filter(|conv| conv.pool > 1) {
                let (s, pooled) = (&d.s[l + 1], &mut d.pooled[l]);
                clock.time(|| format!("dense_forward.pool.{l}"), || dense_conv::pool(conv, s, pooled));
            }
        }
    }
    clock.time(|| "dense_forward.readout+loss".into(), || readout_and_loss(engine, batch, (layers - 1) % kept));

    let d = &mut engine.dense;
    d.gradient = Vec::with_capacity(layers);
    for l in (0..layers).rev() {
        let (n_in, n) = (weights[l].rows, sizes[l + 1]);
        if let Some(c) = engine.neurons[l].spiking() {
            // ∇S of this layer from δ of the one above.
            let mut this = std::mem::take(&mut d.delta[l % kept]);
            this.resize(rows * n, 0.0);
            let (network, over) = (&engine.network, &d.delta[(l + 1) % kept]);
            let pooled = &mut d.pooled_gradient;
            let name = || format!("dense_spike_gradient.{l}");
            clock.time(name, || from_above(network, l, &weights[l + 1], over, &d.s[l + 1], pooled, &mut this));
            let activity = ActivityLoss::new(&engine.network, l, samples);
            let (v, counts, whole) = (&d.v[l], &d.counts[l], &mut d.whole);
            clock.time(
                || format!("dense_delta.{l}"),
                || {
                    if by_steps {
                        return reference::differentiate(&mut this, whole, v, counts, (steps, n), c, &activity);
                    }
                    this.par_chunks_mut(steps * n)
                        .zip(v.par_chunks(steps * n))
                        .zip(counts.par_chunks(n))
                        .for_each(|((delta, v), counts)| reverse_scan(delta, v, counts, n, c, &activity));
                },
            );
            d.delta[l % kept] = this;
        }
        let conv = engine.network.hidden.get(l).and_then(SpikingLayer::conv);
        let (input, delta) = (input_of(&d.s, &d.pooled, l), &d.delta[l % kept]);
        let gradient = clock.time(
            || format!("dense_weight_gradient.{l}"),
            || match conv {
                Some(conv) => dense_conv::weight_gradient(conv, steps, input, delta),
                None => {
                    let mut gradient = Matrix::zeros(n_in, n);
                    let out = &mut gradient.data;
                    matmul((n_in, rows, n), (input, (1, n_in)), (delta, (n, 1)), out, false, Threads::All);
                    gradient
                }
            },
        );
        d.gradient.push(gradient);
    }
    d.gradient.reverse();
}

/// What weight layer `l` reads.
fn input_of<'a>(s: &'a [Vec<f32>], pooled: &'a [Vec<f32>], l: usize) -> &'a [f32] {
    match l.checked_sub(1).map(|below| &pooled[below]) {
        Some(pooled) if !pooled.is_empty() => pooled,
        _ => &s[l],
    }
}

/// ∇S of hidden layer `l` (without its regularisers) from δ of the layer above; `s` are its spikes, `pooled` is scratch.
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
            let transposed = (&weights.data[..], (1, n_above));
            matmul((rows, n_above, n), (above, (n_above, 1)), transposed, read, false, Threads::All);
        }
    }
    if let Some(conv) = pools {
        dense_conv::unpool(conv, s, pooled, out);
    }
}

/// The batch as an array of 0 and 1. `ones` is where the array has a 1 already: clearing those is cheaper than clearing
/// all of it.
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

/// Turns a sample's input currents into V in place (row t: V[t+1]) and writes its spikes; returns its active entries,
/// those of V[0] = 0 included.
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
    // The row above is read before it is overwritten: it waits here.
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

/// Integrates the readout, takes the loss, and leaves δ of the readout in `delta`.
fn readout_and_loss(engine: &mut CpuEngine, batch: &EventSet, delta: usize) {
    let (classes, steps) = (engine.network.classes(), batch.time_steps());
    // Other readouts are refused when the engine is made.
    let Some(Neurons::Integrating(c)) = engine.neurons.last() else { return };
    let loss = engine.network.loss;
    let d = &mut engine.dense;
    let (Some(v), delta) = (d.v.last_mut(), &mut d.delta[delta]) else { return };
    delta.resize(v.len(), 0.0);
    d.logits.clear();
    d.logits.resize(batch.len() * classes, 0.0);
    let samples = v.par_chunks_mut(steps * classes).zip(delta.par_chunks_mut(steps * classes));
    let outcomes: Vec<Outcome> = samples
        .zip(d.logits.par_chunks_mut(classes))
        .zip(batch.labels())
        .map(|(((v, delta), logits), &label)| {
            readout_sample(v, delta, logits, c, |logits, gradient| {
                task_loss(loss, logits, label as usize, batch.len(), gradient)
            })
        })
        .collect();
    // In order, so that the sum is the same whatever the number of threads.
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

/// One sample of [`readout_and_loss`]: `v` holds its currents, then V. `loss` turns logits into their gradient.
fn readout_sample(
    v: &mut [f32],
    delta: &mut [f32],
    logits: &mut [f32],
    c: &IntegratorConstants,
    loss: impl Fn(&[f32], &mut [f32]) -> Outcome,
) -> Outcome {
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
                // Refused by `check_method`.
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
    // What is NaN or infinite once stays so: the last potentials tell.
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

/// Everything that a dense step computes, without the update.
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
            // ∇S was overwritten by δ; e[t] = δ[t-1] - α δ[t] would lose digits, so it is computed again.
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
