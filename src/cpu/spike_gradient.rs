//! Spike gradient ∇S_i[t] = Σ_j W_ij δ_j[t] at the active entries of every hidden layer, and e = ∇S g.
//!
//! One sample streams once from T-1 to 0 through all layers together. δ of a layer is one vector, advanced by
//! δ[t] = α δ[t+1] + e[t+1] (Proposition 1); nothing of it is stored.

use super::state::ActiveTile;
use super::tiles::{LANES, TiledMatrix};
use crate::events::Event;

/// A layer above which gradients are wanted: its weights from below, its decay, where its errors are.
pub struct Above<'a> {
    /// [N_below, N].
    pub weights: &'a TiledMatrix,
    /// exp(-Δt/τ).
    pub alpha: f32,
}

/// The readout's errors of one sample: ∇logits at each class's peak time, or at every time for the sum.
pub struct ReadoutErrors<'a> {
    /// (time, class) with its error, sorted by time.
    pub peaks: &'a [(Event, f32)],
    /// Errors that enter at every time, padded; empty for the maximum.
    pub constant: &'a [f32],
}

/// Regulariser gradients of one sample in one layer.
pub struct Regularised<'a> {
    /// Part of ∇S that all neurons share.
    pub shared: f32,
    /// Part of each neuron.
    pub own: &'a [f32],
}

/// Fills `e` of sample `b` in all hidden layers. `delta[l]` is scratch for the layer above hidden layer `l`.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn spike_gradient(
    b: usize,
    time_steps: usize,
    above: &[Above],
    readout: &ReadoutErrors,
    regularised: &[Regularised],
    active: &mut [&mut [ActiveTile]],
    delta: &mut [Vec<f32>],
) {
    let layers = active.len();
    for (delta, above) in delta.iter_mut().zip(above) {
        delta.clear();
        delta.resize(super::tiles::padded(above.weights.cols), 0.0);
    }
    // Entries of each tile not yet reached, counted from the front.
    let mut left: Vec<Vec<usize>> =
        active.iter().map(|tiles| tiles.iter().map(|tile| tile.range(b).end).collect()).collect();
    let mut peaks = readout.peaks.len();

    for t in (0..time_steps).rev() {
        // Nothing more is needed below the first active entry of all.
        let done = |(left, tiles): (&Vec<usize>, &&mut [ActiveTile])| {
            left.iter().zip(tiles.iter()).all(|(&left, tile)| left == tile.range(b).start)
        };
        if left.iter().zip(&*active).all(done) {
            break;
        }
        // Everything here uses δ at t, which depends on errors after t alone.
        for l in (0..layers).rev() {
            let weights = above[l].weights;
            for (tile, left) in active[l].iter_mut().zip(&mut left[l]) {
                let begin = tile.range(b).start;
                while *left > begin && tile.events[*left - 1].t() == t {
                    *left -= 1;
                    let i = tile.events[*left].i();
                    let ds = dot(weights, i, &delta[l]) + regularised[l].shared + regularised[l].own[i];
                    tile.e[*left] = ds * tile.g[*left];
                }
            }
        }
        // δ moves from t to t - 1, taking in the errors at t.
        for l in 0..layers {
            decay(&mut delta[l], above[l].alpha);
            if l + 1 < layers {
                for (tile, &left) in active[l + 1].iter().zip(&left[l + 1]) {
                    let end = tile.range(b).end;
                    let now = tile.events[left..end].iter().take_while(|event| event.t() == t).count();
                    for k in left..left + now {
                        delta[l][tile.events[k].i()] += tile.e[k];
                    }
                }
            }
        }
        if let Some(top) = delta.get_mut(layers - 1) {
            while peaks > 0 && readout.peaks[peaks - 1].0.t() == t {
                peaks -= 1;
                let (event, e) = readout.peaks[peaks];
                top[event.i()] += e;
            }
            for (delta, e) in top.iter_mut().zip(readout.constant) {
                *delta += e;
            }
        }
    }
}

#[inline(always)]
fn decay(delta: &mut [f32], alpha: f32) {
    for x in delta {
        *x *= alpha;
    }
}

/// Row `i` of the weights times `x`, in 16 partial sums.
#[inline(always)]
fn dot(weights: &TiledMatrix, i: usize, x: &[f32]) -> f32 {
    let mut sum = [0.0f32; LANES];
    for (columns, tile) in weights.columns.iter().zip(&weights.tiles) {
        let row = &tile[i * columns.width..][..columns.width];
        let x = &x[columns.begin..][..columns.width];
        for (row, x) in row.as_chunks::<LANES>().0.iter().zip(x.as_chunks::<LANES>().0) {
            for k in 0..LANES {
                sum[k] += row[k] * x[k];
            }
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for k in 0..width {
            sum[k] += sum[k + width];
        }
    }
    sum[0]
}
