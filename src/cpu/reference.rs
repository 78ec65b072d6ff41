//! The paper's dense baseline as described there: a loop over time steps, in which each pass reads and writes the [B, N]
//! slices of one step. All potentials and spikes are stored, and the surrogate gradient is not masked.
//!
//! Products, loss and readout are those of `dense.rs`. The loop does what an eager framework does: slicing H[:, t] makes
//! automatic differentiation add, at every step, a gradient that is zero at all other time steps to a whole [B, T, N] array.
//! This causes the T² in the run time of the published baseline, so [`accumulate`] does it too; without it the paper's
//! ratio could not be reproduced. Other costs of a framework (dispatch, allocating arrays of zeros) are left out.

use super::loss::ActivityLoss;
use crate::network::CellConstants;
use rayon::prelude::*;

/// Turns input currents into V in place (row t holds V[t+1]) and writes spikes and counts, step by step for all samples.
/// `v` and `s` are [B, T, N], `counts` is [B, N].
pub fn integrate(v: &mut [f32], s: &mut [f32], counts: &mut [u32], (steps, n): (usize, usize), c: &CellConstants) {
    counts.fill(0);
    s.par_chunks_mut(steps * n).for_each(|s| s[..n].fill(0.0));
    for t in 0..steps - 1 {
        let samples = v.par_chunks_mut(steps * n).zip(s.par_chunks_mut(steps * n)).zip(counts.par_chunks_mut(n));
        samples.for_each(|((v, s), counts)| {
            let (earlier, now) = v.split_at_mut(t * n);
            let (before, after) = s[t * n..].split_at_mut(n);
            step(earlier.rchunks_exact(n).next(), &mut now[..n], before, &mut after[..n], counts, c);
        });
    }
}

/// One step of one sample; `earlier` is V of the step before, `None` at the first step, where it is 0.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn step(
    earlier: Option<&[f32]>,
    v: &mut [f32],
    before: &[f32],
    after: &mut [f32],
    counts: &mut [u32],
    c: &CellConstants,
) {
    for j in 0..v.len() {
        let potential = earlier.map_or(0.0, |v| v[j]);
        let x = c.alpha * potential + c.leak - c.kick * before[j] + v[j];
        v[j] = x;
        let spike = x > c.v_th;
        after[j] = if spike { 1.0 } else { 0.0 };
        counts[j] += u32::from(spike);
    }
}

/// Turns ∇S in `delta` [B, T, N] into δ, step by step for all samples. `gradient` is scratch: the whole array to which each
/// step's gradient is added.
pub fn differentiate(
    delta: &mut Vec<f32>,
    gradient: &mut Vec<f32>,
    v: &[f32],
    counts: &[u32],
    (steps, n): (usize, usize),
    c: &CellConstants,
    activity: &ActivityLoss,
) {
    gradient.clear();
    gradient.resize(delta.len(), 0.0);
    // δ of the current step, [B, N].
    let mut now = vec![0.0f32; counts.len()];
    for t in (0..steps - 1).rev() {
        let samples = now.par_chunks_mut(n).zip(delta.par_chunks(steps * n)).zip(v.par_chunks(steps * n));
        samples.zip(counts.par_chunks(n)).for_each(|(((now, ds), v), counts)| {
            error(now, &ds[(t + 1) * n..][..n], &v[t * n..][..n], counts, c, activity);
        });
        let samples = gradient.par_chunks_mut(steps * n).zip(now.par_chunks(n));
        samples.for_each(|(gradient, now)| accumulate(gradient, now, t));
    }
    std::mem::swap(delta, gradient);
}

/// δ[t] = α δ[t+1] + ∇S[t+1] g(V[t+1]) of one sample, with the unmasked surrogate gradient.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn error(now: &mut [f32], ds: &[f32], v: &[f32], counts: &[u32], c: &CellConstants, activity: &ActivityLoss) {
    let upper = activity.upper_gradient(counts.iter().sum());
    for j in 0..now.len() {
        let x = c.beta * (v[j] - c.v_th).abs() + 1.0;
        now[j] = c.alpha * now[j] + (ds[j] + upper + activity.lower_gradient(counts[j])) / (x * x);
    }
}

/// Adds a gradient that is `slice` at `t` and 0 at all other time steps to a whole [T, N] array.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn accumulate(gradient: &mut [f32], slice: &[f32], t: usize) {
    for (row, gradient) in gradient.chunks_exact_mut(slice.len()).enumerate() {
        let share = if row == t { 1.0 } else { 0.0 };
        for (sum, x) in gradient.iter_mut().zip(slice) {
            *sum += share * x;
        }
    }
}
