//! The order in which an epoch visits the samples: a pure function, so that a resumed run needs no stored state.

use crate::shards::Shards;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::slice::Chunks;

/// Random number streams of the sample order, distinct from those of initial weights, which are smaller.
const SHUFFLE_STREAMS: u64 = 1 << 63;

/// A permutation of the samples 0..n, determined by `seed` and `epoch` and the same on every machine.
pub fn order(seed: u64, epoch: u64, n: usize) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(SHUFFLE_STREAMS | epoch);
    let mut order: Vec<u32> = (0..n as u32).collect();
    // Fisher-Yates shuffle, implemented here because rand's may change from version to version and this order may not.
    for i in (1..n).rev() {
        // The upper half of a 64 × 64-bit product is uniform in 0..=i up to 2^-32 if n < 2^32.
        let j = (u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64;
        order.swap(i, j as usize);
    }
    order
}

/// The [order] of the samples in an epoch, in which each place has a sample of its shard.
pub fn order_in_shards(shards: Shards, seed: u64, epoch: u64) -> Vec<u32> {
    let drawn = order(seed, epoch, shards.samples);
    if shards.shards <= 1 {
        return drawn;
    }
    let mut of_shards = vec![Vec::new(); shards.shards];
    drawn.into_iter().for_each(|sample| of_shards[shards.of(sample as usize)].push(sample));
    let mut next: Vec<_> = of_shards.into_iter().map(Vec::into_iter).collect();
    (0..shards.samples).filter_map(|place| next[shards.of(place)].next()).collect()
}

/// Divides an order into batches of `batch_size`; the last may be smaller.
///
/// # Panics
/// If `batch_size` is 0.
pub fn batches(order: &[u32], batch_size: usize) -> Chunks<'_, u32> {
    order.chunks(batch_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_sample_comes_once_an_epoch(
            seed in any::<u64>(), epoch in 0u64..1000, n in 0usize..600, batch_size in 1usize..100,
        ) {
            let order = order(seed, epoch, n);
            let mut seen: Vec<u32> = batches(&order, batch_size).flatten().copied().collect();
            prop_assert_eq!(&seen, &order);
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..n as u32));
            prop_assert!(batches(&order, batch_size).rev().skip(1).all(|batch| batch.len() == batch_size));
            prop_assert_eq!(batches(&order, batch_size).len(), n.div_ceil(batch_size));
        }
    }

    proptest! {
        #[test]
        fn samples_stay_in_their_shards(
            samples in 1usize..300, batch in 1usize..70, shards in 0usize..12, seed in any::<u64>(), epoch in 0u64..9,
        ) {
            let shards = Shards { samples, batch, shards };
            let mut order = order_in_shards(shards, seed, epoch);
            prop_assert!((0..).zip(&order).all(|(place, &sample)| shards.of(sample as usize) == shards.of(place)));
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..samples as u32));
        }
    }

    #[test]
    fn without_shards_the_order_is_that_of_the_seed() {
        let order_of = |shards, epoch| order_in_shards(Shards { samples: 50, batch: 8, shards }, 3, epoch);
        assert!(order_of(0, 2) == order(3, 2, 50) && order_of(1, 2) == order(3, 2, 50));
        assert!(order_of(4, 2) != order(3, 2, 50) && order_of(4, 2) != order_of(4, 3));
    }

    #[test]
    fn seed_and_epoch_both_change_the_order() {
        let orders = [order(1, 1, 100), order(1, 2, 100), order(2, 1, 100)];
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
        assert_eq!(orders[0], order(1, 1, 100));
    }

    #[test]
    fn the_order_of_a_seed_stays_what_it_was() {
        assert_eq!(order(1, 1, 10), [0, 4, 3, 1, 2, 6, 5, 9, 8, 7]);
    }

    #[test]
    fn each_sample_is_about_as_often_in_each_place() {
        let n = 8;
        let epochs = 8000;
        let mut counts = [[0i32; 8]; 8];
        for epoch in 0..epochs {
            for (place, sample) in order(3, epoch, n).into_iter().enumerate() {
                counts[place][sample as usize] += 1;
            }
        }
        // 1000 expected, standard deviation 30.
        assert!(counts.as_flattened().iter().all(|count| (count - 1000).abs() < 150), "{counts:?}");
    }

    #[test]
    fn the_last_batch_holds_the_rest() {
        let sizes: Vec<usize> = batches(&[0; 10], 4).map(<[u32]>::len).collect();
        assert_eq!(sizes, [4, 4, 2]);
    }
}
