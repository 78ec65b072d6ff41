//! The products with one layer's weights as matrix products over dense rows, a few samples' worth at a time: what
//! [`LayerMethod::Dense`](crate::engine::LayerMethod) chooses where spikes are so many that walking them costs more.
//!
//! Each is the twin of an event-driven operation, with the same input and the same result to rounding:
//! [`currents`] of the sums in `lif_forward`, [`spike_gradient`] and [`weight_gradient`] of their namesakes.

use super::delta::DeltaRows;
use super::matmul::{Threads, matmul};
use super::state::ActiveTile;
use super::tiles::{AlignedVec, LANES, TiledMatrix, with_width};
use crate::events::Event;
use std::ops::Range;

/// Rows (time steps) of a product: enough for the matrix product to be at its best, few enough for the cache.
const ROWS: usize = 128;

/// Memory of the dense rows.
#[derive(Debug, Default)]
pub struct DenseRows {
    /// Spikes [ROWS, N_in].
    spikes: AlignedVec,
    /// Currents [T, width].
    currents: AlignedVec,
    /// δ and errors [ROWS, width].
    delta: AlignedVec,
    errors: AlignedVec,
    /// ∇S [ROWS, N].
    gradient: AlignedVec,
}

impl DenseRows {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        [&self.spikes, &self.currents, &self.delta, &self.errors, &self.gradient].map(AlignedVec::bytes).iter().sum()
    }
}

/// A slice of at least `n` numbers; what they are is left over from before.
fn at_least(vector: &mut AlignedVec, n: usize) -> &mut [f32] {
    if vector.len() < n {
        vector.resize(n.next_multiple_of(LANES));
    }
    &mut vector[..n]
}

/// The spikes of times `begin..begin + rows` as zeros and ones [rows, inputs].
fn expand<'a>(spikes: &[Event], begin: usize, rows: usize, inputs: usize, out: &'a mut AlignedVec) -> &'a [f32] {
    let out = at_least(out, rows * inputs);
    out.fill(0.0);
    let from = spikes.partition_point(|event| event.t() < begin);
    for event in spikes[from..].iter().take_while(|event| event.t() < begin + rows) {
        out[(event.t() - begin) * inputs + event.i()] = 1.0;
    }
    out
}

/// Σ_i W_ij S_i[t] of one sample in a tile [N_in, width], for t in 0..T-1: rows [T - 1, width].
pub fn currents<'a>(
    spikes: &[Event],
    time_steps: usize,
    weights: &[f32],
    width: usize,
    dense: &'a mut DenseRows,
) -> &'a [f32] {
    let inputs = weights.len() / width;
    let out = at_least(&mut dense.currents, time_steps * width);
    for begin in (0..time_steps - 1).step_by(ROWS) {
        let rows = ROWS.min(time_steps - 1 - begin);
        let spikes = expand(spikes, begin, rows, inputs, &mut dense.spikes);
        let out = &mut out[begin * width..][..rows * width];
        matmul((rows, inputs, width), (spikes, (inputs, 1)), (weights, (width, 1)), out, false, Threads::One);
    }
    out
}

/// δ of times `begin..begin + rows`; `false` if all are 0.
fn fill<const W: usize>(delta: &mut DeltaRows, begin: usize, rows: &mut [f32], errors: &mut [f32]) -> bool {
    delta.fill::<W>(begin, rows.as_chunks_mut::<W>().0, errors.as_chunks_mut::<W>().0)
}

/// Adds to ∇S of sample `b` what comes through the tiles `stretch` of the weights [N, N_above] to the layer above.
pub fn spike_gradient(
    b: usize,
    time_steps: usize,
    weights: &TiledMatrix,
    stretch: Range<usize>,
    delta: &mut [DeltaRows],
    active: &mut [ActiveTile],
    dense: &mut DenseRows,
) {
    let n = weights.rows;
    for begin in (0..time_steps).step_by(ROWS).rev() {
        let rows = ROWS.min(time_steps - begin);
        let gradient = at_least(&mut dense.gradient, rows * n);
        let mut some = false;
        for (tile, delta) in stretch.clone().zip(delta.iter_mut()) {
            let width = weights.columns[tile].width;
            let errors = at_least(&mut dense.errors, rows * width);
            let block = at_least(&mut dense.delta, rows * width);
            if with_width!(width, fill(delta, begin, block, errors)) {
                let transposed = (&weights.tiles[tile][..], (1, width));
                matmul((rows, width, n), (block, (width, 1)), transposed, gradient, some, Threads::One);
                some = true;
            }
        }
        if !some {
            continue;
        }
        for tile in active.iter_mut() {
            let (events, _, e) = tile.sample_mut(b);
            let from = events.partition_point(|event| event.t() < begin);
            let to = events.partition_point(|event| event.t() < begin + rows);
            for (event, e) in events[from..to].iter().zip(&mut e[from..to]) {
                *e += gradient[(event.t() - begin) * n + event.i()];
            }
        }
    }
}

/// Adds one sample to the gradient [N_in, width] of a column tile.
pub fn weight_gradient(
    spikes: &[Event],
    mut delta: DeltaRows,
    time_steps: usize,
    width: usize,
    dense: &mut DenseRows,
    gradient: &mut [f32],
) {
    let inputs = gradient.len() / width;
    for begin in (0..time_steps).step_by(ROWS).rev() {
        let rows = ROWS.min(time_steps - begin);
        let errors = at_least(&mut dense.errors, rows * width);
        let block = at_least(&mut dense.delta, rows * width);
        if with_width!(width, fill(&mut delta, begin, block, errors)) {
            let spikes = expand(spikes, begin, rows, inputs, &mut dense.spikes);
            matmul((inputs, rows, width), (spikes, (1, inputs)), (block, (width, 1)), gradient, true, Threads::One);
        }
    }
}
