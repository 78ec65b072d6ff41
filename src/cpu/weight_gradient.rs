//! Weight gradient ∇W_ij = Σ_t S_i[t] δ_j[t], a sum over presynaptic spikes without stored traces, and bias gradient
//! ∇b_j = Σ_t δ_j[t]. The own spikes of a recurrent layer are presynaptic spikes, too: ∇R_kj = Σ_t S_k[t] δ_j[t].
//!
//! One thread sums the gradient of a column tile, over all samples in order, so the bits do not depend on the number of
//! threads. It recomputes δ of those columns, which is cheaper than storing it, and adds δ to the row of each presynaptic
//! spike.

use super::delta::{BLOCK, BlockRows, DeltaRows};
use crate::events::Event;

/// Presynaptic spikes, and the row of the weights that belongs to neuron 0.
#[derive(Debug, Clone, Copy)]
pub struct Presynaptic<'a> {
    /// Sorted by (t, i).
    pub spikes: &'a [Event],
    /// First row.
    pub row: usize,
}

/// Adds one sample to the gradient of a column tile, [rows, W], from the spikes of each of the `sources`: the inputs, and in a
/// recurrent layer its own neurons. With a `bias`, the last row is that of the biases. `rows` is scratch.
///
/// Each sum runs from T-1 down to 0.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn weight_gradient<const W: usize>(
    sources: &mut [Presynaptic],
    mut delta: DeltaRows,
    time_steps: usize,
    rows: &mut BlockRows,
    gradient: &mut [f32],
    bias: bool,
) {
    let (rows, mut scratch) = rows.block(W);
    let (rows, _) = rows.as_chunks_mut::<W>();
    let (gradient, _) = gradient.as_chunks_mut::<W>();
    for begin in (0..time_steps).step_by(BLOCK).rev() {
        if !bias && sources.iter().all(|source| source.spikes.is_empty()) {
            break;
        }
        let steps = BLOCK.min(time_steps - begin);
        let alive = delta.fill::<W>(begin, &mut rows[..steps], &mut scratch);
        if alive
            && bias
            && let Some(sum) = gradient.last_mut()
        {
            // The row of T-1 is added too, but it is 0.
            rows[..steps].iter().for_each(|row| add(sum, row));
        }
        for Presynaptic { spikes, row } in &mut *sources {
            let mut left = *spikes;
            while let Some((spike, earlier)) = left.split_last()
                && spike.t() >= begin
            {
                if alive {
                    add(&mut gradient[*row + spike.i()], &rows[spike.t() - begin]);
                }
                left = earlier;
            }
            *spikes = left;
        }
    }
}

/// Adds a row. The local copy lets the compiler use vector registers.
#[inline(always)]
fn add<const W: usize>(sum: &mut [f32; W], row: &[f32; W]) {
    let mut added = *sum;
    for j in 0..W {
        added[j] += row[j];
    }
    *sum = added;
}
