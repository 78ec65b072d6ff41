//! The δ recurrence: δ[t] = α δ[t+1] + e[t+1] (Proposition 1).
//!
//! [`DeltaRows`] is what the passes use: δ of one sample in one column tile, a block of rows at a time from the last one
//! down. Errors are first dropped into rows of zeros, then α δ passes over the rows: no branch waits for a time to come.
//! [`delta`] is the recurrence alone, walked over active times only.

use super::state::ActiveEntries;
use super::tiles::{Aligned, AlignedVec, WIDEST};
use crate::events::Event;

/// Time steps that are dealt with together: their rows stay in the first cache.
pub const BLOCK: usize = 16;

/// δ of one sample in one column tile on its way from T-1 down to 0.
pub struct DeltaRows<'a> {
    /// Errors, sorted by time.
    events: &'a [Event],
    e: &'a [f32],
    /// Errors that enter at every time; empty if there are none.
    constant: &'a [f32],
    alpha: f32,
    /// First column of the tile.
    first: usize,
    /// T.
    time_steps: usize,
    /// δ at the top of the next block.
    carry: Aligned<WIDEST>,
    /// Whether δ can be other than 0 in the next block.
    alive: bool,
}

impl<'a> DeltaRows<'a> {
    /// Begins at T-1. `constant`, if not empty, has a value for each column of the tile, padding included.
    pub fn new(errors: ActiveEntries<'a>, constant: &'a [f32], alpha: f32, first: usize, time_steps: usize) -> Self {
        // Up to the last error that is not 0, δ is 0.
        let used = errors.e.iter().rposition(|&e| e != 0.0).map_or(0, |last| last + 1);
        DeltaRows {
            events: &errors.events[..used],
            e: &errors.e[..used],
            constant,
            alpha,
            first,
            time_steps,
            carry: Aligned([0.0; WIDEST]),
            alive: !constant.is_empty(),
        }
    }

    /// Whether no error is left, so that all rows are 0.
    pub fn is_zero(&self) -> bool {
        !self.alive && self.events.is_empty()
    }

    /// Fills `rows` with δ[t] for t in `begin..begin + rows.len()`, which ends where the last call began; `false`, and
    /// rows left as they are, if all are 0. `errors` is as long as `rows`, all 0, and 0 again afterwards.
    #[inline(always)]
    pub fn fill<const W: usize>(&mut self, begin: usize, rows: &mut [[f32; W]], errors: &mut [[f32; W]]) -> bool {
        self.alive |= self.events.last().is_some_and(|event| event.t() > begin);
        let Some(carry) = self.carry.0.first_chunk_mut::<W>() else { return false };
        if !self.alive {
            return false;
        }
        let place = |event: &Event| (event.t() - 1 - begin, event.i() - self.first);
        let mut left = self.events.len();
        while left > 0 && self.events[left - 1].t() > begin {
            left -= 1;
            let (row, column) = place(&self.events[left]);
            errors[row][column] += self.e[left];
        }
        let constant = self.constant.first_chunk::<W>().unwrap_or(&[0.0; W]);
        // Whole arrays in and out, so that the compiler sees vectors.
        let (alpha, mut delta) = (self.alpha, *carry);
        for (t, (row, errors)) in rows.iter_mut().zip(&*errors).enumerate().rev() {
            let mut next = *errors;
            for j in 0..W {
                next[j] += alpha * delta[j];
            }
            // No error enters at T.
            if !self.constant.is_empty() && begin + t + 1 < self.time_steps {
                for j in 0..W {
                    next[j] += constant[j];
                }
            }
            delta = next;
            *row = next;
        }
        *carry = delta;
        for event in &self.events[left..] {
            let (row, column) = place(event);
            errors[row][column] = 0.0;
        }
        (self.events, self.e) = (&self.events[..left], &self.e[..left]);
        true
    }
}

/// Memory for the rows of a block.
#[derive(Debug, Default)]
pub struct Rows {
    delta: AlignedVec,
    errors: AlignedVec,
}

impl Rows {
    /// Rows of δ (of any values) and of errors (all 0) for a block of `width` columns.
    pub fn block(&mut self, width: usize) -> (&mut [f32], &mut [f32]) {
        let n = BLOCK * width;
        if self.delta.len() < n {
            self.delta.resize(n);
            self.errors.resize(n);
        }
        (&mut self.delta[..n], &mut self.errors[..n])
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.delta.bytes() + self.errors.bytes()
    }
}

/// δ of one neuron at the `needed` times, 0 elsewhere.
///
/// `errors` are (t, e) at the neuron's active times, ascending. Over a gap of n steps `δ[t] = αⁿ δ[t+n]`, by repeated
/// multiplication. The walk starts at the neuron's own last error, whatever the presynaptic times, and stops at the
/// earliest needed time.
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
    fn no_error_no_need_and_late_errors() {
        assert_eq!(delta(0.5, &[], &[true; 3]), [0.0; 3]);
        assert_eq!(delta(0.5, &[(2, 1.0)], &[false; 3]), [0.0; 3]);
        assert_eq!(delta(0.5, &[(3, 8.0)], &[true, false, true, true]), [2.0, 0.0, 8.0, 0.0]);
        assert_eq!(delta(0.5, &[(1, 1.0), (3, 8.0)], &[true, true, false, false]), [3.0, 4.0, 0.0, 0.0]);
    }
}
