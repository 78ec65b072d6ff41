//! Who computes which shards.

use crate::error::{Error, Result};
use std::ops::Range;

/// Number of shards of a batch if nothing else is asked for: 1, 2, 4 and 8 ranks or devices divide it.
pub const DEFAULT_SHARDS: usize = 8;

/// The shards of each rank.
///
/// # Errors
/// As [`divide`].
pub fn of_ranks(shards: usize, ranks: usize) -> Result<Vec<Range<usize>>> {
    divide(0..shards, &vec![1.0; ranks])
}

/// Divides `shards` among workers by their pace; each gets at least one.
///
/// # Errors
/// Fewer shards than workers.
pub fn divide(shards: Range<usize>, paces: &[f64]) -> Result<Vec<Range<usize>>> {
    let workers = paces.len();
    if shards.len() < workers {
        return Err(Error::field("shards", shards.len(), format!("{workers} or more, one for each device and rank")));
    }
    let total: f64 = paces.iter().sum();
    let mut begin = shards.start;
    let mut before = 0.0;
    let mut shares = Vec::with_capacity(workers);
    for (k, pace) in paces.iter().enumerate() {
        before += pace;
        let end = shards.start + (shards.len() as f64 * before / total).round() as usize;
        // What is left must suffice for those to come.
        let end = end.clamp(begin + 1, shards.end - (workers - k - 1));
        shares.push(begin..end);
        begin = end;
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_shard_has_one_worker(first in 0usize..9, shards in 1usize..64, paces in prop::collection::vec(1e-3f64..1e3, 1..9)) {
            let shares = divide(first..first + shards, &paces);
            if shards < paces.len() {
                prop_assert!(shares.is_err());
            } else {
                let shares = shares.unwrap();
                prop_assert!(shares.iter().all(|share| !share.is_empty()));
                prop_assert!(shares.into_iter().flatten().eq(first..first + shards));
            }
        }
    }

    #[test]
    fn shares_follow_the_pace() {
        assert_eq!(divide(0..8, &[1.0; 4]).unwrap(), [0..2, 2..4, 4..6, 6..8]);
        assert_eq!(divide(0..8, &[3.0, 1.0]).unwrap(), [0..6, 6..8]);
        assert_eq!(divide(4..8, &[1000.0, 1.0]).unwrap(), [4..7, 7..8]);
    }
}
