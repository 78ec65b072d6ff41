//! A step in pieces: if the state of a whole batch does not fit the device, some samples are computed at a time, and their
//! gradients are added up before the update.

use super::sparse::Purpose;
use std::ops::Range;

/// The part of a step that a recording computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Its samples.
    pub samples: usize,
    /// Samples of the whole step.
    pub total: usize,
    /// Whether it begins the step: nothing is accumulated yet.
    pub first: bool,
    /// Whether it ends the step: the update follows.
    pub last: bool,
    /// Its purpose.
    pub purpose: Purpose,
    /// Whether its samples come from the training set on the device.
    pub held: bool,
}

impl Piece {
    /// The pieces of `total` samples, at most `most` in each, of about equal size, and the samples of each.
    pub fn of(total: usize, most: usize, purpose: Purpose, held: bool) -> impl Iterator<Item = (Piece, Range<usize>)> {
        let even = total.div_ceil(total.div_ceil(most.max(1)).max(1));
        (0..total).step_by(even.max(1)).map(move |begin| {
            let end = (begin + even).min(total);
            let (first, last) = (begin == 0, end == total);
            (Piece { samples: end - begin, total, first, last, purpose, held }, begin..end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_even_and_cover_the_batch() {
        let of = |total, most| Piece::of(total, most, Purpose::Train, false).map(|(p, r)| (p.first, p.last, r));
        assert_eq!(of(4, 4).collect::<Vec<_>>(), [(true, true, 0..4)]);
        assert_eq!(of(9, 4).collect::<Vec<_>>(), [(true, false, 0..3), (false, false, 3..6), (false, true, 6..9)]);
        assert_eq!(of(5, 4).collect::<Vec<_>>(), [(true, false, 0..3), (false, true, 3..5)]);
    }
}
