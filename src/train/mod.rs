//! Training: epochs of batches on a device, their metrics, checkpoints, and a guard against layers that die.
//!
//! [`Training`] is the whole of it. Where the run is kept is a [`Keeper`]'s: [`InMemory`], or with the feature `runs` a
//! folder:
//!
//! | file | what it is |
//! |---|---|
//! | `config.toml` | everything that decides the run ([`RunConfig`]) |
//! | `metrics.jsonl` | a line an epoch ([`EpochRecord`]) |
//! | `checkpoint.safetensors` | where the run continues ([`Checkpoint`]) |
//! | `data.safetensors` | the data, if they are no preset's (`data::own`) |
//! | `best.safetensors` | the epoch with the best test accuracy, the first on ties |

pub mod calibrate;
pub mod checkpoint;
mod config;
mod evaluate;
#[cfg(feature = "runs")]
mod folder;
pub mod guard;
mod keeper;
#[cfg(all(test, feature = "runs", feature = "gpu"))]
mod lost_tests;
pub mod metrics;
pub mod progress;
pub mod rescue;
mod run;
#[cfg(test)]
mod testing;
mod training;

pub use checkpoint::Checkpoint;
#[cfg(feature = "runs")]
pub(crate) use config::read_text as read_config_text;
#[cfg(feature = "runs")]
pub use config::{Difference, network_differences};
pub use config::{LearningRate, RunConfig};
pub use evaluate::{TestResult, evaluate};
#[cfg(feature = "lab")]
pub(crate) use folder::lock;
#[cfg(feature = "runs")]
pub use folder::{BEST_FILE, CHECKPOINT_FILE, CONFIG_FILE, DATA_FILE, METRICS_FILE, stored_config};
pub use guard::Warning;
pub use keeper::{InMemory, Keeper};
pub use metrics::{EpochRecord, MemoryRecord};
pub use progress::{EpochSums, Progress};
pub use training::Training;

use crate::engine::{DeviceInfo, LayerMethod};
use std::ops::ControlFlow;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished(Summary),
    /// An observer said after an epoch that it is enough; with `resume`, the run continues from there.
    Stopped(Summary),
    /// The stop flag was seen; the checkpoint continues from there.
    Interrupted(Summary),
}

impl Outcome {
    /// What the run has come to.
    pub fn summary(&self) -> &Summary {
        match self {
            Outcome::Finished(summary) | Outcome::Stopped(summary) | Outcome::Interrupted(summary) => summary,
        }
    }
}

/// What a run has come to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Where the run stands.
    pub progress: Progress,
    /// The last epoch finished since the run was begun or resumed.
    pub last: Option<EpochRecord>,
}

/// Told what happens in a run; all methods do nothing unless written.
pub trait Observer {
    /// Everything is checked and loaded, training begins.
    fn on_start(&mut self, _start: &Start) {}
    /// The device has finished some more steps.
    fn on_step(&mut self, _step: &StepProgress) {}
    /// An epoch is trained, tested and saved; [`ControlFlow::Break`] ends the run there.
    fn on_epoch(&mut self, _record: &EpochRecord) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    /// Which layers are computed sparsely and which densely from the next step on: at the beginning, and whenever that
    /// changes. Only where the run's method is `auto`.
    fn on_layer_methods(&mut self, _choice: &LayerChoice) {}
    /// Something the user should know and may change.
    fn on_warning(&mut self, _warning: &Warning) {}
}

/// Silence.
impl Observer for () {}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn on_start(&mut self, start: &Start) {
        (**self).on_start(start);
    }
    fn on_step(&mut self, step: &StepProgress) {
        (**self).on_step(step);
    }
    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        (**self).on_epoch(record)
    }
    fn on_layer_methods(&mut self, choice: &LayerChoice) {
        (**self).on_layer_methods(choice);
    }
    fn on_warning(&mut self, warning: &Warning) {
        (**self).on_warning(warning);
    }
}

/// What a run begins with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Start {
    /// The device.
    pub device: DeviceInfo,
    /// Epochs the run has when it is done.
    pub epochs: u64,
    /// Epochs already done.
    pub epochs_done: u64,
    /// Batches in an epoch.
    pub batches: u64,
    /// Batches already done in the coming epoch.
    pub batches_done: u64,
    /// Samples of the training set.
    pub train_samples: u64,
    /// Samples of the test set.
    pub test_samples: u64,
    /// Whether the run continues from a checkpoint.
    pub resumed: bool,
    /// What the device does otherwise than asked for, in words.
    pub notes: Vec<String>,
}

/// A method for each weight layer, and why.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerChoice {
    /// The methods, the readout's last.
    pub methods: Vec<LayerMethod>,
    /// The measured density of each layer's operands ([`crate::auto::densities`]).
    pub densities: Vec<f64>,
    /// The density from which dense is faster on the device.
    pub crossover: f64,
}

/// How far an epoch has come.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepProgress<'a> {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Epochs in the run.
    pub epochs: u64,
    /// Batches queued so far in the epoch; those that `sums` counts are some fewer while the device works.
    pub batch: u64,
    /// Batches in an epoch.
    pub batches: u64,
    /// Sums over what the device has reported in the epoch, before an interruption included.
    pub sums: &'a EpochSums,
    /// Samples reported since the session began.
    pub session_samples: u64,
    /// Spikes (input and hidden) reported since the session began.
    pub session_spikes: u64,
    /// Seconds trained since the session began, tests not counted.
    pub session_seconds: f64,
}
