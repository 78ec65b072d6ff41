//! What a rank needs of a run's data: the samples of its shards. Rank 0 reads the data and sends each rank its share.

use super::RunConfig;
use crate::data::{DataSet, own};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::parallel::shares;
use crate::shards::Shards;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How the samples of a set are divided, in training as in a test.
fn shards(config: &RunConfig, set: &EventSet) -> Shards {
    Shards { samples: set.len(), batch: config.batch, shards: config.shards }
}

/// The data with the training samples `train`, of which only those of the shards `own` have events. Numbers and labels are those of
/// all samples.
fn share(config: &RunConfig, data: &DataSet, train: &EventSet, own: &Range<usize>) -> DataSet {
    let part = |set: &EventSet| {
        let shards = shards(config, set);
        set.only(|sample| own.contains(&shards.of(sample)))
    };
    // What is measured after each epoch is all that ranks test on.
    DataSet { train: Arc::new(part(train)), validation: None, test: part(data.measured()), ..data.clone() }
}

/// The message with its share of the data for each of `ranks` ranks; that of rank 0, which has the data, is empty.
///
/// # Errors
/// [`Error::Field`]: fewer shards than ranks.
pub fn deal_out(config: &RunConfig, data: &DataSet, ranks: usize) -> Result<Vec<Vec<u8>>> {
    let of_ranks = shares::of_ranks(config.shards, ranks)?;
    let train = match config.limit {
        Some(limit) if limit < data.train.len() => Arc::new(data.train.head(limit)),
        _ => Arc::clone(&data.train),
    };
    let message = |(rank, own): (usize, &Range<usize>)| match rank {
        0 => Ok(Vec::new()),
        _ => own::to_bytes(&share(config, data, &train, own))
            .map_err(|e| Error::Data(format!("samples for rank {rank}: {e}"))),
    };
    of_ranks.iter().enumerate().map(message).collect()
}

/// The share in a message of [`deal_out`].
///
/// # Errors
/// [`Error::Format`].
pub fn take_share(message: &[u8]) -> Result<DataSet> {
    own::from_bytes(Path::new("the samples from rank 0"), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::places;
    use crate::train::testing;

    #[test]
    fn each_rank_has_the_samples_of_its_shards_and_all_labels() {
        let config = RunConfig { batch: 8, shards: 4, limit: Some(21), ..testing::config() };
        let data = DataSet::new(testing::events(30, 1), testing::events(11, 2));
        let messages = deal_out(&config, &data, 3).unwrap();
        assert!(messages[0].is_empty());
        let mut events = [0, 0];
        // Of four shards, rank 0 has one, rank 1 has two and rank 2 has one.
        for (message, own) in messages[1..].iter().zip([1..3, 3..4]) {
            let share = take_share(message).unwrap();
            let halves = [(&*share.train, data.train.head(21)), (&share.test, data.test.clone())];
            for (k, (part, whole)) in halves.into_iter().enumerate() {
                assert_eq!(part.labels(), whole.labels());
                for sample in 0..whole.len() {
                    let (begin, batch) = (sample / 8 * 8, 8.min(whole.len() - sample / 8 * 8));
                    let kept = own.clone().any(|shard| places(batch, 4, shard).contains(&(sample - begin)));
                    assert_eq!(part.sample(sample), if kept { whole.sample(sample) } else { &[] });
                }
                events[k] += part.events().len();
            }
        }
        assert!(events[0] > 0 && events[0] < data.train.head(21).events().len());
        assert!(deal_out(&config, &data, 5).unwrap_err().to_string().contains("shards = 4: must be 5 or more"));
    }
}
