//! Weight gradient ∇W_ij = Σ_t S_i[t] δ_j[t]: driven by presynaptic spikes, no trace stored; and ∇b_j = Σ_t δ_j[t].
//!
//! The owner of a column tile runs δ of those columns through every sample again (cheaper than storing it) and adds
//! it to the row of each presynaptic spike. One owner, samples in order: the same bits whatever the number of threads.

use super::delta::{BLOCK, DeltaRows, Rows};
use crate::events::Event;

/// Adds one sample to the gradient [N_in, W] of a column tile, of a layer with a `bias` [N_in + 1, W]. `spikes` are the
/// presynaptic ones, sorted by (t, i); `rows` is scratch.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn weight_gradient<const W: usize>(
    mut spikes: &[Event],
    mut delta: DeltaRows,
    time_steps: usize,
    rows: &mut Rows,
    gradient: &mut [f32],
    bias: bool,
) {
    let (rows, mut dropped) = rows.block(W);
    let (rows, _) = rows.as_chunks_mut::<W>();
    let (gradient, _) = gradient.as_chunks_mut::<W>();
    for begin in (0..time_steps).step_by(BLOCK).rev() {
        if spikes.is_empty() && !bias {
            break;
        }
        let steps = BLOCK.min(time_steps - begin);
        let alive = delta.fill::<W>(begin, &mut rows[..steps], &mut dropped);
        if alive
            && bias
            && let Some(sum) = gradient.last_mut()
        {
            // The row of T-1 is 0.
            rows[..steps].iter().for_each(|row| add(sum, row));
        }
        while let Some((spike, earlier)) = spikes.split_last()
            && spike.t() >= begin
        {
            if alive {
                add(&mut gradient[spike.i()], &rows[spike.t() - begin]);
            }
            spikes = earlier;
        }
    }
}

/// Adds a row. Whole arrays in and out, so that the compiler sees vectors.
#[inline(always)]
fn add<const W: usize>(sum: &mut [f32; W], row: &[f32; W]) {
    let mut added = *sum;
    for j in 0..W {
        added[j] += row[j];
    }
    *sum = added;
}
