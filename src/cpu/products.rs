//! [`LayerMethod::Dense`](crate::engine::LayerMethod): the products with one layer's weights as matrix products over dense
//! rows, which are faster than events if a layer has many spikes. Not for layers with biases
//! ([`Network::can_be_dense`](crate::network::Network::can_be_dense)).
//!
//! Each function has the same input and, up to rounding, the same result as an event-driven one: [`drive`] as the sums in
//! `lif_forward`, [`spike_gradient`] and [`weight_gradient`] as the functions of the same names.

use super::delta::{DeltaRows, ErrorRows};
use super::matmul::{Strided, Threads, matmul};
use super::state::ActiveTile;
use super::tiles::{AlignedVec, LANES, TiledMatrix, with_width};
use crate::events::Event;
use std::ops::Range;

/// Rows (time steps) per product: enough for an efficient matrix product, few enough for the cache.
const ROWS: usize = 128;

/// Scratch of the dense rows.
#[derive(Debug, Default)]
pub struct DenseRows {
    /// Spikes [ROWS, N_in].
    spikes: AlignedVec,
    /// Drive [T, width].
    drive: AlignedVec,
    /// δ of a tile.
    delta: DenseDelta,
    /// ∇S [ROWS, N].
    gradient: AlignedVec,
}

/// δ [ROWS, width] and the scratch for computing it.
#[derive(Debug, Default)]
struct DenseDelta {
    rows: AlignedVec,
    errors: AlignedVec,
    own: AlignedVec,
}

impl DenseRows {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let DenseDelta { rows, errors, own } = &self.delta;
        [&self.spikes, &self.drive, rows, errors, own, &self.gradient].map(AlignedVec::bytes).iter().sum()
    }
}

impl DenseDelta {
    /// δ of `rows` time steps from `begin` on in a tile of `width` columns; `None` if all are 0.
    fn fill(&mut self, delta: &mut DeltaRows, begin: usize, rows: usize, width: usize) -> Option<&[f32]> {
        fn fill<const W: usize>(
            delta: &mut DeltaRows,
            begin: usize,
            rows: &mut [f32],
            scratch: &mut ErrorRows,
        ) -> bool {
            delta.fill::<W>(begin, rows.as_chunks_mut::<W>().0, scratch)
        }
        let n = rows * width;
        let mut scratch = ErrorRows { errors: at_least(&mut self.errors, n), own: at_least(&mut self.own, n) };
        let rows = at_least(&mut self.rows, n);
        with_width!(width, fill(delta, begin, rows, &mut scratch)).then_some(rows)
    }
}

/// The first `n` numbers of `vector`, which grows if necessary; their values are arbitrary.
fn at_least(vector: &mut AlignedVec, n: usize) -> &mut [f32] {
    if vector.len() < n {
        vector.resize(n.next_multiple_of(LANES));
    }
    &mut vector[..n]
}

/// The spikes of time steps `begin..begin + rows` as zeros and ones [rows, inputs].
fn expand<'a>(spikes: &[Event], begin: usize, rows: usize, inputs: usize, out: &'a mut AlignedVec) -> &'a [f32] {
    let out = at_least(out, rows * inputs);
    out.fill(0.0);
    let from = spikes.partition_point(|event| event.t() < begin);
    for event in spikes[from..].iter().take_while(|event| event.t() < begin + rows) {
        out[(event.t() - begin) * inputs + event.i()] = 1.0;
    }
    out
}

/// The drive Σ_i W_ij S_i[t] of one sample in a tile [N_in, width], for t in 0..T-1; the result begins with [T - 1, width].
pub fn drive<'a>(
    spikes: &[Event],
    time_steps: usize,
    weights: &[f32],
    width: usize,
    dense: &'a mut DenseRows,
) -> &'a [f32] {
    let inputs = weights.len() / width;
    let out = at_least(&mut dense.drive, time_steps * width);
    for begin in (0..time_steps - 1).step_by(ROWS) {
        let rows = ROWS.min(time_steps - 1 - begin);
        let spikes = expand(spikes, begin, rows, inputs, &mut dense.spikes);
        let out = &mut out[begin * width..][..rows * width];
        matmul(
            (rows, inputs, width),
            Strided::rows(spikes, inputs),
            Strided::rows(weights, width),
            out,
            false,
            Threads::One,
        );
    }
    out
}

/// Adds to ∇S of sample `b` the products of the column tiles `range` of the weights [N, N_above] with `delta`, which is δ
/// of the layer above for each of these tiles.
pub fn spike_gradient(
    b: usize,
    time_steps: usize,
    weights: &TiledMatrix,
    range: Range<usize>,
    delta: &mut [DeltaRows],
    active: &mut [ActiveTile],
    dense: &mut DenseRows,
) {
    let n = weights.rows;
    for begin in (0..time_steps).step_by(ROWS).rev() {
        let rows = ROWS.min(time_steps - begin);
        let gradient = at_least(&mut dense.gradient, rows * n);
        let mut any = false;
        for (tile, delta) in range.clone().zip(delta.iter_mut()) {
            let width = weights.columns[tile].width;
            if let Some(block) = dense.delta.fill(delta, begin, rows, width) {
                let transposed = Strided::transposed(&weights.tiles[tile], width);
                matmul((rows, width, n), Strided::rows(block, width), transposed, gradient, any, Threads::One);
                any = true;
            }
        }
        if !any {
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
        if let Some(block) = dense.delta.fill(&mut delta, begin, rows, width) {
            let spikes = expand(spikes, begin, rows, inputs, &mut dense.spikes);
            matmul(
                (inputs, rows, width),
                Strided::transposed(spikes, inputs),
                Strided::rows(block, width),
                gradient,
                true,
                Threads::One,
            );
        }
    }
}
