//! How batches are cut into shards, and which samples belong to which shard.
//!
//! A sample belongs to the same shard in every epoch: the samples of a shard change places with each other only. So a process needs
//! the samples of its own shards alone.

use std::ops::Range;

/// The shards of a data set that is trained in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards {
    /// Number of samples of the data set.
    pub samples: usize,
    /// Samples per batch, at least 1; the last batch has the rest.
    pub batch: usize,
    /// Shards of a batch; with 0 or 1, batches are not cut.
    pub shards: usize,
}

/// The places of shard `shard` in a batch of `samples`.
pub fn places(samples: usize, shards: usize, shard: usize) -> Range<usize> {
    samples * shard / shards..samples * (shard + 1) / shards
}

impl Shards {
    /// The shard of a sample, which is that of its place in the data set.
    pub fn of(&self, sample: usize) -> usize {
        if self.shards <= 1 {
            return 0;
        }
        let begin = sample - sample % self.batch;
        let batch = self.batch.min(self.samples - begin);
        // The shard whose `places` have it.
        ((sample - begin + 1) * self.shards - 1) / batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_divide_a_batch(n in 0usize..600, shards in 1usize..20) {
            prop_assert!((0..shards).flat_map(|shard| places(n, shards, shard)).eq(0..n));
        }

        #[test]
        fn each_sample_is_of_the_shard_that_has_its_place(samples in 1usize..300, batch in 1usize..70, shards in 1usize..12) {
            let cut = Shards { samples, batch, shards };
            for begin in (0..samples).step_by(batch) {
                for shard in 0..shards {
                    let mut places = places(batch.min(samples - begin), shards, shard);
                    prop_assert!(places.all(|place| cut.of(begin + place) == shard));
                }
            }
        }
    }
}
