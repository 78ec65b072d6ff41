//! Spike gradient ∇S_i[t] = Σ_j W_ij δ_j[t] at the active entries of a hidden layer, and e = ∇S g.
//!
//! δ of the layer above passes from T-1 to 0, a block of rows at a time; nothing more of it is stored.

use super::delta::{BLOCK, DeltaRows, Dropped, Rows};
use super::state::ActiveTile;
use super::tiles::{LANES, TiledMatrix, with_width};
use multiversion::{inherit_target, target::match_target};
use std::ops::Range;

/// Bytes of weights that are worked on at a time, so that they stay in the second cache.
const CACHED: usize = 512 << 10;

/// Regulariser gradients of one sample in one layer.
pub struct Regularised<'a> {
    /// Part of ∇S that all neurons share.
    pub shared: f32,
    /// Part of each neuron.
    pub own: &'a [f32],
}

/// The tiles of `weights` in stretches that fit the cache.
pub fn stretches(weights: &TiledMatrix) -> impl Iterator<Item = Range<usize>> {
    let width = weights.columns.first().map_or(1, |columns| columns.width);
    let tiles = (CACHED / (4 * weights.rows * width).max(1)).max(1);
    let all = weights.tiles.len();
    (0..all).step_by(tiles).map(move |first| first..(first + tiles).min(all))
}

/// Sets ∇S of sample `b` to what the regularisers ask for.
pub fn begin(b: usize, active: &mut [ActiveTile], regularised: &Regularised) {
    for tile in active {
        let (events, _, e) = tile.sample_mut(b);
        for (event, e) in events.iter().zip(e) {
            *e = regularised.shared + regularised.own[event.i()];
        }
    }
}

/// Turns ∇S of sample `b` into e = ∇S g.
pub fn finish(b: usize, active: &mut [ActiveTile]) {
    for tile in active {
        let (_, g, e) = tile.sample_mut(b);
        for (e, g) in e.iter_mut().zip(g) {
            *e *= g;
        }
    }
}

/// Adds to ∇S of sample `b` what comes through the tiles `stretch` of the weights [N, N_above] to the layer above.
/// `delta` runs over each of these tiles; `rows` is scratch.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn spike_gradient(
    b: usize,
    time_steps: usize,
    weights: &TiledMatrix,
    stretch: Range<usize>,
    delta: &mut [DeltaRows],
    active: &mut [ActiveTile],
    rows: &mut Rows,
) {
    // By hand, since the compiler would work on pairs of numbers, for the sake of the sum over lanes.

    /// Adds `w * delta` to 16 partial sums.
    #[inherit_target]
    fn add_products<const W: usize>(w: &[f32], delta: &[f32], sum: [f32; LANES]) -> [f32; LANES] {
        let lanes = w[..W].as_chunks::<LANES>().0.iter().zip(delta[..W].as_chunks::<LANES>().0);
        match_target! {
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => {
                use std::arch::x86_64::*;
                let mut sum: __m512 = bytemuck::cast(sum);
                for (&w, &delta) in lanes {
                    sum = _mm512_add_ps(sum, _mm512_mul_ps(bytemuck::cast(w), bytemuck::cast(delta)));
                }
                bytemuck::cast(sum)
            },
            "x86_64+avx2" => {
                use std::arch::x86_64::*;
                let [mut low, mut high]: [__m256; 2] = bytemuck::cast(sum);
                for (&w, &delta) in lanes {
                    let (w, delta): ([__m256; 2], [__m256; 2]) = (bytemuck::cast(w), bytemuck::cast(delta));
                    low = _mm256_add_ps(low, _mm256_mul_ps(w[0], delta[0]));
                    high = _mm256_add_ps(high, _mm256_mul_ps(w[1], delta[1]));
                }
                bytemuck::cast([low, high])
            },
            _ => {
                let mut sum = sum;
                for (w, delta) in lanes {
                    for k in 0..LANES {
                        sum[k] += w[k] * delta[k];
                    }
                }
                sum
            },
        }
    }

    /// The sum over lanes: halves are added until one lane is left.
    #[inherit_target]
    fn total(sum: [f32; LANES]) -> f32 {
        match_target! {
            "x86_64+avx2" => {
                use std::arch::x86_64::*;
                let halves: [__m256; 2] = bytemuck::cast(sum);
                let eight = _mm256_add_ps(halves[0], halves[1]);
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            },
            _ => {
                let mut sum = sum;
                let mut width = LANES;
                while width > 1 {
                    width /= 2;
                    for k in 0..width {
                        sum[k] += sum[k + width];
                    }
                }
                sum[0]
            },
        }
    }

    let (columns, tiles) = (&weights.columns[stretch.clone()], &weights.tiles[stretch]);
    let width: usize = columns.iter().map(|columns| columns.width).sum();
    let (rows, mut dropped) = rows.block(width);
    // Entries of each tile not yet reached, counted from the front.
    let mut left: Vec<usize> = active.iter().map(|tile| tile.sample(b).events.len()).collect();
    for begin in (0..time_steps).step_by(BLOCK).rev() {
        let steps = BLOCK.min(time_steps - begin);
        let mut alive = false;
        let mut rest = &mut rows[..];
        for (columns, delta) in columns.iter().zip(delta.iter_mut()) {
            let (rows, others) = rest.split_at_mut(BLOCK * columns.width);
            let rows = &mut rows[..steps * columns.width];
            alive |= with_width!(columns.width, fill(delta, begin, rows, &mut dropped));
            rest = others;
        }
        for (tile, left) in active.iter_mut().zip(&mut left) {
            let (events, _, e) = tile.sample_mut(b);
            while *left > 0 && events[*left - 1].t() >= begin {
                *left -= 1;
                if !alive {
                    continue;
                }
                // Row i of these tiles times row t of their δ, in 16 partial sums.
                let (i, t) = (events[*left].i(), events[*left].t() - begin);
                let mut sum = [0.0; LANES];
                let mut at = 0;
                for (columns, tile) in columns.iter().zip(tiles) {
                    let (w, delta) = (&tile[i * columns.width..], &rows[at + t * columns.width..]);
                    sum = with_width!(columns.width, add_products(w, delta, sum));
                    at += BLOCK * columns.width;
                }
                e[*left] += total(sum);
            }
        }
    }
}

/// Rows of δ, zeros where nothing is left of it.
#[inline(always)]
fn fill<const W: usize>(delta: &mut DeltaRows, begin: usize, rows: &mut [f32], dropped: &mut Dropped) -> bool {
    let alive = delta.fill::<W>(begin, rows.as_chunks_mut::<W>().0, dropped);
    if !alive {
        rows.fill(0.0);
    }
    alive
}
