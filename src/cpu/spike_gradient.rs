//! Spike gradient ∇S_i[t] = Σ_j W_ij δ_j[t] at the active entries of a hidden layer, and the errors e = ∇S g.
//!
//! δ of the layer above is computed from T-1 down to 0, and only one block of its rows is stored at a time.

use super::delta::{BLOCK, BlockRows, DeltaRows, ErrorRows};
use super::lanes;
use super::state::ActiveTile;
use super::tiles::{LANES, TiledMatrix, with_width};
use multiversion::target::match_target;
use std::ops::Range;

/// Bytes of weights that are used at a time, so that they stay in the second-level cache.
const CACHED: usize = 512 << 10;

/// Gradient of the regularisers with respect to the spikes of one layer in one sample.
pub struct RegulariserGradient<'a> {
    /// The part that all neurons share.
    pub shared: f32,
    /// The part of each neuron.
    pub own: &'a [f32],
}

/// Divides the tiles of `weights` into ranges that fit the cache.
pub fn tile_ranges(weights: &TiledMatrix) -> impl Iterator<Item = Range<usize>> {
    let width = weights.columns.first().map_or(1, |columns| columns.width);
    let tiles = (CACHED / (4 * weights.rows * width).max(1)).max(1);
    let all = weights.tiles.len();
    (0..all).step_by(tiles).map(move |first| first..(first + tiles).min(all))
}

/// Sets ∇S of sample `b` to the gradient of the regularisers.
pub fn start_gradient(b: usize, active: &mut [ActiveTile], regulariser: &RegulariserGradient) {
    for tile in active {
        let (events, _, e) = tile.sample_mut(b);
        for (event, e) in events.iter().zip(e) {
            *e = regulariser.shared + regulariser.own[event.i()];
        }
    }
}

/// Turns ∇S of sample `b` into e = ∇S g.
pub fn finish_errors(b: usize, active: &mut [ActiveTile]) {
    for tile in active {
        let (_, g, e) = tile.sample_mut(b);
        for (e, g) in e.iter_mut().zip(g) {
            *e *= g;
        }
    }
}

/// Adds to ∇S of sample `b` the products of the column tiles `range` of the weights [N, N_above] with `delta`, which is δ
/// of the layer above for each of these tiles. `rows` is scratch.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn spike_gradient(
    b: usize,
    time_steps: usize,
    weights: &TiledMatrix,
    range: Range<usize>,
    delta: &mut [DeltaRows],
    active: &mut [ActiveTile],
    rows: &mut BlockRows,
) {
    let (columns, tiles) = (&weights.columns[range.clone()], &weights.tiles[range]);
    let width: usize = columns.iter().map(|columns| columns.width).sum();
    let (rows, mut scratch) = rows.block(width);
    // The number of entries of each tile that are still to be computed; they are taken from the back.
    let mut left: Vec<usize> = active.iter().map(|tile| tile.sample(b).events.len()).collect();
    for begin in (0..time_steps).step_by(BLOCK).rev() {
        let steps = BLOCK.min(time_steps - begin);
        let mut alive = false;
        let mut rest = &mut rows[..];
        for (columns, delta) in columns.iter().zip(delta.iter_mut()) {
            let (rows, others) = rest.split_at_mut(BLOCK * columns.width);
            let rows = &mut rows[..steps * columns.width];
            alive |= with_width!(columns.width, fill(delta, begin, rows, &mut scratch));
            rest = others;
        }
        for (tile, left) in active.iter_mut().zip(&mut left) {
            let (events, _, e) = tile.sample_mut(b);
            while *left > 0 && events[*left - 1].t() >= begin {
                *left -= 1;
                if !alive {
                    continue;
                }
                // Row i of the weights times row t of δ, in one partial sum per lane.
                let (i, t) = (events[*left].i(), events[*left].t() - begin);
                let mut sum = [0.0; LANES];
                let mut at = 0;
                for (columns, tile) in columns.iter().zip(tiles) {
                    let (w, delta) = (&tile[i * columns.width..], &rows[at + t * columns.width..]);
                    sum = match_target! {
                        "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => {
                            with_width!(columns.width, lanes::avx512::add_products(w, delta, sum))
                        }
                        "x86_64+avx2" => with_width!(columns.width, lanes::avx2::add_products(w, delta, sum)),
                        _ => with_width!(columns.width, lanes::portable::add_products(w, delta, sum)),
                    };
                    at += BLOCK * columns.width;
                }
                e[*left] += match_target! {
                    "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => lanes::avx512::total(sum),
                    "x86_64+avx2" => lanes::avx2::total(sum),
                    _ => lanes::portable::total(sum),
                };
            }
        }
    }
}

/// Fills `rows` with δ, including rows of zeros; returns whether δ may be non-zero.
#[inline(always)]
fn fill<const W: usize>(delta: &mut DeltaRows, begin: usize, rows: &mut [f32], scratch: &mut ErrorRows) -> bool {
    let alive = delta.fill::<W>(begin, rows.as_chunks_mut::<W>().0, scratch);
    if !alive {
        rows.fill(0.0);
    }
    alive
}
