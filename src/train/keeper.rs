//! Storage of a run's checkpoints and metrics: in a folder ([`train`](super::train)) or in memory.

use super::metrics::EpochRecord;
use super::{Checkpoint, Progress, RunConfig};
use crate::engine::TrainingState;
use crate::error::{Error, Result};
use crate::network::Network;
use std::path::PathBuf;

/// Stores a run's checkpoints and metrics, from which it continues after an interruption or the loss of its device.
pub trait Keeper {
    /// Where the checkpoint is stored, for messages.
    fn place(&self) -> PathBuf;

    /// The last checkpoint of a run that is to be continued with `config`; `None` for a new run.
    ///
    /// # Errors
    /// The stored run has another configuration, or is damaged.
    fn resume(&mut self, config: &RunConfig) -> Result<Option<(Progress, TrainingState)>>;

    /// Called when a run begins or continues with `config`. Records of epochs after `epoch` are discarded.
    ///
    /// # Errors
    /// Errors of the storage.
    fn begin(&mut self, config: &RunConfig, epoch: u64) -> Result<()>;

    /// Replaces the stored checkpoint.
    ///
    /// # Errors
    /// Numbers that are not finite; errors of the storage.
    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// Replaces the stored checkpoint of the best epoch.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    fn keep_best(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// Stores the record of an epoch.
    ///
    /// # Errors
    /// Errors of the storage.
    fn keep_epoch(&mut self, record: &EpochRecord) -> Result<()>;

    /// The last checkpoint, for a run of `network` that has lost its device. Records of later epochs are discarded.
    ///
    /// # Errors
    /// The checkpoint is missing or damaged.
    fn go_back(&mut self, network: &Network) -> Result<(Progress, TrainingState)>;
}

/// Stores a run in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InMemory {
    /// The last checkpoint. A run that is given one continues from it.
    pub last: Option<Checkpoint>,
    /// The epoch with the best test accuracy, the first on ties.
    pub best: Option<Checkpoint>,
    /// The records of all epochs.
    pub epochs: Vec<EpochRecord>,
}

impl Keeper for InMemory {
    fn place(&self) -> PathBuf {
        "memory".into()
    }

    fn resume(&mut self, config: &RunConfig) -> Result<Option<(Progress, TrainingState)>> {
        match &self.last {
            Some(last) if last.config.resumed_with(config) != *config => Err(Error::Config(
                "the run in memory has another configuration; leave it unchanged, or start another run".into(),
            )),
            Some(last) => Ok(Some((last.progress.clone(), last.state.clone()))),
            None => Ok(None),
        }
    }

    fn begin(&mut self, _config: &RunConfig, epoch: u64) -> Result<()> {
        self.epochs.retain(|record| record.epoch <= epoch);
        Ok(())
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.check()?;
        self.last = Some(checkpoint.clone());
        Ok(())
    }

    fn keep_best(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.check()?;
        self.best = Some(checkpoint.clone());
        Ok(())
    }

    fn keep_epoch(&mut self, record: &EpochRecord) -> Result<()> {
        self.epochs.push(record.clone());
        Ok(())
    }

    fn go_back(&mut self, _network: &Network) -> Result<(Progress, TrainingState)> {
        let Some(Checkpoint { progress, state, .. }) = self.last.clone() else {
            return Err(Error::Data("no checkpoint is stored".into()));
        };
        self.epochs.retain(|record| record.epoch <= progress.epoch);
        Ok((progress, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataSet;
    use crate::train::testing::{FakeEngine, config, events};
    use crate::train::{LearningRate, Outcome, Training};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// 18 training samples and 7 test samples.
    fn data() -> DataSet {
        DataSet::new(events(18, 0), events(7, 1))
    }

    fn go(config: &RunConfig, kept: &mut InMemory, stop_after: Option<usize>) -> Result<Outcome> {
        let mut engine = FakeEngine::new(&config.network);
        let stop = Arc::new(AtomicBool::new(false));
        engine.stop_after = stop_after.map(|calls| (calls, stop.clone()));
        Training::new(config, &data()).keeper(kept).stop(&stop).run_on(&mut engine)
    }

    /// Without the times, which differ from run to run.
    fn timeless(kept: &InMemory) -> InMemory {
        let mut kept = kept.clone();
        for checkpoint in kept.last.iter_mut().chain(kept.best.iter_mut()) {
            checkpoint.progress.sums.seconds = 0.0;
        }
        for record in &mut kept.epochs {
            (record.train_seconds, record.test_seconds, record.memory) = (0.0, 0.0, Default::default());
        }
        kept
    }

    fn whole(config: &RunConfig) -> InMemory {
        let mut kept = InMemory::default();
        assert!(matches!(go(config, &mut kept, None), Ok(Outcome::Finished(_))));
        timeless(&kept)
    }

    #[test]
    fn a_run_in_memory_continues_as_if_never_stopped() {
        let config = config();
        let whole = whole(&config);
        assert_eq!(whole.epochs.iter().map(|record| record.epoch).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(whole.last.as_ref().map(|last| last.progress.step), Some(15));
        let best = whole.best.as_ref().and_then(|best| best.progress.best).unwrap();
        assert_eq!(Some(best), whole.last.as_ref().unwrap().progress.best);
        for calls in 0..21 {
            let mut kept = InMemory::default();
            assert!(matches!(go(&config, &mut kept, Some(calls)), Ok(Outcome::Interrupted(_))), "{calls}");
            assert!(matches!(go(&config, &mut kept, None), Ok(Outcome::Finished(_))), "{calls}");
            assert_eq!(timeless(&kept), whole, "interrupted after {calls} calls");
        }
    }

    #[test]
    fn another_configuration_is_refused_and_more_epochs_are_not() {
        let begun = config();
        let mut kept = whole(&begun);
        let more = RunConfig { epochs: 4, device: "cpu".into(), ..begun.clone() };
        assert!(matches!(go(&more, &mut kept, None), Ok(Outcome::Finished(_))));
        assert_eq!(kept.epochs.len(), 4);
        let other = RunConfig { batch: 5, ..more };
        assert!(matches!(go(&other, &mut kept, None), Err(Error::Config(_))));
        let cosine = RunConfig { schedule: LearningRate::Cosine { final_fraction: 0.0 }, ..begun };
        let mut kept = whole(&cosine);
        assert!(matches!(go(&RunConfig { epochs: 4, ..cosine }, &mut kept, None), Err(Error::Config(_))));
    }

    #[test]
    fn going_back_forgets_what_came_later() {
        let config = config();
        let mut kept = whole(&config);
        kept.last.as_mut().unwrap().progress.epoch = 2;
        let (progress, state) = kept.go_back(&config.network).unwrap();
        assert_eq!((progress.epoch, state), (2, kept.last.as_ref().unwrap().state.clone()));
        assert_eq!(kept.epochs.len(), 2);
        assert!(InMemory::default().go_back(&config.network).is_err());
    }
}
