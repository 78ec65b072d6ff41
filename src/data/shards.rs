//! How batches are cut into shards, and which samples belong to which shard.
//!
//! A sample belongs to the same shard in every epoch, so that a process needs the samples of its own shards alone: those of shard `s`
//! change places only with each other.

use super::order::order;
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

    /// The [order] of the samples in an epoch, in which each place has a sample of its shard.
    pub fn order(&self, seed: u64, epoch: u64) -> Vec<u32> {
        let drawn = order(seed, epoch, self.samples);
        if self.shards <= 1 {
            return drawn;
        }
        let mut of_shards = vec![Vec::new(); self.shards];
        drawn.into_iter().for_each(|sample| of_shards[self.of(sample as usize)].push(sample));
        let mut next: Vec<_> = of_shards.into_iter().map(Vec::into_iter).collect();
        (0..self.samples).filter_map(|place| next[self.of(place)].next()).collect()
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
        fn samples_stay_in_their_shards(
            samples in 1usize..300, batch in 1usize..70, shards in 0usize..12, seed in any::<u64>(), epoch in 0u64..9,
        ) {
            let shards = Shards { samples, batch, shards };
            let mut order = shards.order(seed, epoch);
            for (b, chosen) in order.chunks(batch).enumerate() {
                for shard in 0..shards.shards {
                    let places = places(chosen.len(), shards.shards, shard);
                    prop_assert!(places.clone().all(|place| shards.shards == 1 || shards.of(b * batch + place) == shard));
                    prop_assert!(chosen[places].iter().all(|&sample| shards.of(sample as usize) == shard));
                }
            }
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..samples as u32));
        }
    }

    #[test]
    fn without_shards_the_order_is_that_of_the_seed() {
        let order_of = |shards| Shards { samples: 50, batch: 8, shards }.order(3, 2);
        assert_eq!(order_of(0), order(3, 2, 50));
        assert_eq!(order_of(1), order(3, 2, 50));
        assert_ne!(order_of(4), order(3, 2, 50));
        assert_ne!(order_of(4), Shards { samples: 50, batch: 8, shards: 4 }.order(3, 3));
    }
}
