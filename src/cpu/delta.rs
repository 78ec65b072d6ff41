//! The δ recurrence (Proposition 1 of the paper), from T-1 down to 0: δ is the gradient of a neuron's drive.
//!
//! ```text
//! P[t] = α k[t] P[t+1] + e[t]        gradient of the potential; k[t] = 0 if a spike at t set the potential, else 1
//! Q[t] = s Q[t+1] + P[t]             gradient of the current of a `cuba_lif` cell; not affected by the cell's own spikes
//! δ[t] = P[t+1], or Q[t+1] for a `cuba_lif` cell
//! ```
//!
//! Training uses [`DeltaRows`]: δ of one sample in one column tile, a block of rows at a time from the last one down. Errors
//! are first scattered into rows of zeros, then the recurrence runs over the rows without branches on times.
//! [`delta`] is the recurrence of a single LIF neuron.

use super::state::ActiveEntries;
use super::tiles::{Aligned, AlignedVec, WIDEST};
use crate::events::Event;

/// Time steps per block: few enough for their rows to stay in the first-level cache.
pub const BLOCK: usize = 16;

/// Constants with which errors propagate back in time through a layer's neurons.
#[derive(Debug, Clone, Copy)]
pub struct Adjoint {
    /// Decay of the potential, α.
    pub alpha: f32,
    /// Decay of the current, s; `None` for a cell without a current.
    pub synapse: Option<f32>,
}

/// Computes δ of one sample in one column tile, from T-1 down to 0.
pub struct DeltaRows<'a> {
    /// Errors of blocks still to come, sorted by time.
    events: &'a [Event],
    e: &'a [f32],
    /// Errors that enter at every time step; empty if there are none.
    constant: &'a [f32],
    /// Spikes that set the potential of these neurons, sorted by time.
    own: &'a [Event],
    adjoint: Adjoint,
    /// First column of the tile.
    first: usize,
    /// T.
    time_steps: usize,
    /// P where the next block begins.
    carry: Aligned<WIDEST>,
    /// Q where the next block begins, if there is a current.
    current: Aligned<WIDEST>,
    /// Whether δ may be non-zero in the next block.
    alive: bool,
}

/// Scratch rows for the inputs of one block; all 0 between two blocks.
pub struct ErrorRows<'a> {
    /// Errors.
    pub errors: &'a mut [f32],
    /// 1 where an own spike sets the potential.
    pub own: &'a mut [f32],
}

impl<'a> DeltaRows<'a> {
    /// Starts at T-1. `constant`, if not empty, has a value for each column of the tile, padding included.
    pub fn new(
        errors: ActiveEntries<'a>,
        constant: &'a [f32],
        adjoint: Adjoint,
        first: usize,
        time_steps: usize,
    ) -> Self {
        // δ is 0 at and after the last non-zero error.
        let used = errors.e.iter().rposition(|&e| e != 0.0).map_or(0, |last| last + 1);
        DeltaRows {
            events: &errors.events[..used],
            e: &errors.e[..used],
            constant,
            own: errors.own,
            adjoint,
            first,
            time_steps,
            carry: Aligned([0.0; WIDEST]),
            current: Aligned([0.0; WIDEST]),
            alive: !constant.is_empty(),
        }
    }

    /// Whether all remaining rows are 0.
    pub fn is_zero(&self) -> bool {
        !self.alive && self.events.is_empty()
    }

    /// Fills `rows` with δ[t] for t in `begin..begin + rows.len()`, which must end where the last call began. If all are 0,
    /// leaves `rows` unchanged and returns `false`. `scratch` has at least as many rows.
    #[inline(always)]
    pub fn fill<const W: usize>(&mut self, begin: usize, rows: &mut [[f32; W]], scratch: &mut ErrorRows) -> bool {
        self.alive |= self.events.last().is_some_and(|event| event.t() > begin);
        if !self.alive {
            return false;
        }
        let (first, steps) = (self.first, rows.len());
        let place = |event: &Event| (event.t() - 1 - begin, event.i() - first);
        let errors = &mut scratch.errors.as_chunks_mut::<W>().0[..steps];
        let mut left = self.events.len();
        while left > 0 && self.events[left - 1].t() > begin {
            left -= 1;
            let (row, column) = place(&self.events[left]);
            errors[row][column] += self.e[left];
        }
        if self.own.is_empty() && self.adjoint.synapse.is_none() {
            self.walk::<W, false, false>(begin, rows, errors, &[]);
        } else {
            let spikes = self.own_spikes(begin, steps);
            let own = &mut scratch.own.as_chunks_mut::<W>().0[..steps];
            spikes.iter().map(place).for_each(|(row, column)| own[row][column] = 1.0);
            walk_any(self, begin, rows, errors, own, !spikes.is_empty());
            spikes.iter().map(place).for_each(|(row, column)| own[row][column] = 0.0);
        }
        for event in &self.events[left..] {
            let (row, column) = place(event);
            errors[row][column] = 0.0;
        }
        (self.events, self.e) = (&self.events[..left], &self.e[..left]);
        true
    }

    /// Removes and returns the own spikes of a block. Later ones, from skipped blocks in which δ was 0, are discarded.
    fn own_spikes(&mut self, begin: usize, steps: usize) -> &'a [Event] {
        let from = self.own.partition_point(|event| event.t() <= begin);
        let (earlier, block) = self.own.split_at(from);
        self.own = earlier;
        &block[..block.partition_point(|event| event.t() <= begin + steps)]
    }

    /// Runs the recurrence over the rows of a block: with `CURRENT` the cell has a current, with `OWN` spikes in `own` set
    /// the potential.
    #[inline(always)]
    fn walk<const W: usize, const CURRENT: bool, const OWN: bool>(
        &mut self,
        begin: usize,
        rows: &mut [[f32; W]],
        errors: &[[f32; W]],
        own: &[[f32; W]],
    ) {
        let (Some(carry), Some(through)) = (self.carry.0.first_chunk_mut::<W>(), self.current.0.first_chunk_mut::<W>())
        else {
            return;
        };
        let constant = self.constant.first_chunk::<W>().unwrap_or(&[0.0; W]);
        let Adjoint { alpha, synapse } = self.adjoint;
        let synapse = synapse.unwrap_or(0.0);
        // Local copies of whole arrays, so that the compiler keeps them in vector registers.
        let mut delta = *carry;
        let mut current = if CURRENT { *through } else { [0.0; W] };
        for (t, (row, errors)) in rows.iter_mut().zip(errors).enumerate().rev() {
            let mut next = *errors;
            if OWN {
                for j in 0..W {
                    next[j] += if own[t][j] == 0.0 { alpha * delta[j] } else { 0.0 };
                }
            } else {
                for j in 0..W {
                    next[j] += alpha * delta[j];
                }
            }
            // No error enters at T.
            if !self.constant.is_empty() && begin + t + 1 < self.time_steps {
                for j in 0..W {
                    next[j] += constant[j];
                }
            }
            delta = next;
            if CURRENT {
                for j in 0..W {
                    current[j] = synapse * current[j] + next[j];
                }
                *row = current;
            } else {
                *row = next;
            }
        }
        *carry = delta;
        if CURRENT {
            *through = current;
        }
    }
}

/// [`DeltaRows::walk`] for any kind of neuron. A function of its own, so that the functions for LIF neurons with a subtracting
/// reset stay small.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn walk_any<const W: usize>(
    delta: &mut DeltaRows,
    begin: usize,
    rows: &mut [[f32; W]],
    errors: &[[f32; W]],
    own: &[[f32; W]],
    any_own: bool,
) {
    match (delta.adjoint.synapse.is_some(), any_own) {
        (false, false) => delta.walk::<W, false, false>(begin, rows, errors, own),
        (false, true) => delta.walk::<W, false, true>(begin, rows, errors, own),
        (true, false) => delta.walk::<W, true, false>(begin, rows, errors, own),
        (true, true) => delta.walk::<W, true, true>(begin, rows, errors, own),
    }
}

/// Scratch for the rows of a block.
#[derive(Debug, Default)]
pub struct BlockRows {
    delta: AlignedVec,
    errors: AlignedVec,
    own: AlignedVec,
}

impl BlockRows {
    /// Rows of δ for a block of `width` columns, with arbitrary values, and the scratch that [`DeltaRows::fill`] needs for one
    /// tile.
    pub fn block(&mut self, width: usize) -> (&mut [f32], ErrorRows<'_>) {
        let n = BLOCK * width;
        if self.delta.len() < n {
            self.delta.resize(n);
        }
        let tile = BLOCK * WIDEST;
        if self.errors.len() < tile {
            self.errors.resize(tile);
            self.own.resize(tile);
        }
        (&mut self.delta[..n], ErrorRows { errors: &mut self.errors, own: &mut self.own })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.delta.bytes() + self.errors.bytes() + self.own.bytes()
    }
}

/// δ of one neuron at the `needed` times, 0 elsewhere.
///
/// `errors` are (t, e) at the neuron's active time steps, ascending. Over a gap of n steps `δ[t] = αⁿ δ[t+n]`, by repeated
/// multiplication. The computation runs from the last error down to the earliest needed time.
pub fn delta(alpha: f32, errors: &[(usize, f32)], needed: &[bool]) -> Vec<f32> {
    let mut out = vec![0.0; needed.len()];
    let (Some(stop), Some(&(last, _))) = (needed.iter().position(|&n| n), errors.last()) else { return out };
    let mut left = errors;
    let mut value = 0.0;
    for t in (stop..last.min(needed.len())).rev() {
        value *= alpha;
        while let Some((&(k, e), earlier)) = left.split_last()
            && k > t
        {
            value += e;
            left = earlier;
        }
        if needed[t] {
            out[t] = value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::delta;

    #[test]
    fn no_errors_no_needed_times_and_late_errors() {
        assert_eq!(delta(0.5, &[], &[true; 3]), [0.0; 3]);
        assert_eq!(delta(0.5, &[(2, 1.0)], &[false; 3]), [0.0; 3]);
        assert_eq!(delta(0.5, &[(3, 8.0)], &[true, false, true, true]), [2.0, 0.0, 8.0, 0.0]);
        assert_eq!(delta(0.5, &[(1, 1.0), (3, 8.0)], &[true, true, false, false]), [3.0, 4.0, 0.0, 0.0]);
    }
}
