//! Training runs: epochs of batches on a device, with tests, metrics, checkpoints, and detection of dead layers.
//!
//! [`Training`] is the entry point. A [`Keeper`] stores the run: [`InMemory`], or, with the feature `runs`, a folder:
//!
//! | file | content |
//! |---|---|
//! | `config.toml` | the run's configuration ([`RunConfig`]) |
//! | `metrics.jsonl` | one line per epoch ([`EpochRecord`]) |
//! | `checkpoint.safetensors` | the state from which the run is resumed ([`Checkpoint`]) |
//! | `data.safetensors` | custom data (`data::own`) |
//! | `best.safetensors` | the checkpoint with the best test accuracy, the first on ties |
//! | `initial.safetensors` | the weights of a run that begins with those of another program ([`begin_from`]) |

pub mod calibrate;
pub mod checkpoint;
mod config;
mod confusion;
mod evaluate;
#[cfg(feature = "runs")]
mod folder;
pub mod guard;
mod initial;
mod keeper;
#[cfg(all(test, feature = "runs", feature = "gpu"))]
mod lost_tests;
pub mod metrics;
pub mod progress;
pub mod rescue;
mod run;
#[cfg(feature = "runs")]
mod runs;
#[cfg(feature = "runs")]
mod share;
#[cfg(test)]
mod testing;
mod training;

pub use checkpoint::Checkpoint;
#[cfg(feature = "runs")]
pub(crate) use config::read_text as read_config_text;
#[cfg(feature = "runs")]
pub use config::{Difference, network_differences};
pub use config::{LearningRate, RunConfig};
pub use confusion::Confusion;
pub use evaluate::{Classified, TestResult, classify, evaluate};
#[cfg(feature = "lab")]
pub(crate) use folder::lock;
#[cfg(feature = "runs")]
pub use folder::{
    BEST_FILE, CHECKPOINT_FILE, CONFIG_FILE, DATA_FILE, INITIAL_FILE, LOCK_FILE, METRICS_FILE, begin_from,
    check_run_folder, stored_config, stored_run,
};
pub use guard::Warning;
pub use initial::{initial_state, initial_weights};
pub use keeper::{InMemory, Keeper};
pub use metrics::{EpochRecord, MemoryRecord};
pub use progress::{Best, EpochSums, Progress};
#[cfg(feature = "runs")]
pub use runs::{Runs, StoredEpochs};
#[cfg(feature = "runs")]
pub use share::{deal_out, take_share};
pub use training::{Training, open, open_ranks};

use crate::engine::{DeviceInfo, Engine, LayerMethod};
use crate::error::Result;
use std::ops::ControlFlow;
use std::time::Duration;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished(Summary),
    /// An observer, or [`RunConfig::patience`], stopped the run after an epoch; it can be resumed.
    Stopped(Summary),
    /// The stop flag was set; the run can be resumed.
    Interrupted(Summary),
}

impl Outcome {
    /// The run's summary.
    pub fn summary(&self) -> &Summary {
        match self {
            Outcome::Finished(summary) | Outcome::Stopped(summary) | Outcome::Interrupted(summary) => summary,
        }
    }
}

/// Summary of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The run's progress.
    pub progress: Progress,
    /// The last epoch finished since the run was started or resumed.
    pub last: Option<EpochRecord>,
}

/// Receives the events of a run. The default implementations do nothing.
pub trait Observer {
    /// Everything is checked and loaded; training begins.
    fn on_start(&mut self, _start: &Start) {}
    /// The device has finished some more steps.
    fn on_step(&mut self, _step: &StepProgress) {}
    /// Called before each step, for looking into the device, whose weights must not be changed, and for changing how the run
    /// goes on. The run waits meanwhile. Looking into the device finishes the queued steps first.
    ///
    /// # Errors
    /// Errors of the device, which are handled as those of a step.
    fn between_steps(&mut self, _engine: &mut dyn Engine) -> Result<Intervention> {
        Ok(Intervention::default())
    }
    /// A batch of the test after an epoch is about to begin.
    fn on_test_batch(&mut self) {}
    /// The test after an epoch is done. `wrong`: the numbers of the samples that are classified wrongly.
    fn on_tested(&mut self, _wrong: &[u32]) {}
    /// An epoch is trained, tested and saved. [`ControlFlow::Break`] ends the run.
    fn on_epoch(&mut self, _record: &EpochRecord) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    /// Called after [`on_epoch`](Self::on_epoch), for looking into the device, which has the weights at the end of the epoch,
    /// or re-initialised ones if [`EpochRecord::rescued`]. They must not be changed.
    fn after_epoch(&mut self, _record: &EpochRecord, _engine: &mut dyn Engine) {}
    /// The methods of the layers from the next step on: called at the beginning and when they change, if the run's method
    /// is `auto`.
    fn on_layer_methods(&mut self, _choice: &LayerChoice) {}
    /// A problem that the user may want to fix.
    fn on_warning(&mut self, _warning: &Warning) {}
}

/// Ignores all events.
impl Observer for () {}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn on_start(&mut self, start: &Start) {
        (**self).on_start(start);
    }
    fn on_step(&mut self, step: &StepProgress) {
        (**self).on_step(step);
    }
    fn between_steps(&mut self, engine: &mut dyn Engine) -> Result<Intervention> {
        (**self).between_steps(engine)
    }
    fn on_test_batch(&mut self) {
        (**self).on_test_batch();
    }
    fn on_tested(&mut self, wrong: &[u32]) {
        (**self).on_tested(wrong);
    }
    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        (**self).on_epoch(record)
    }
    fn after_epoch(&mut self, record: &EpochRecord, engine: &mut dyn Engine) {
        (**self).after_epoch(record, engine);
    }
    fn on_layer_methods(&mut self, choice: &LayerChoice) {
        (**self).on_layer_methods(choice);
    }
    fn on_warning(&mut self, warning: &Warning) {
        (**self).on_warning(warning);
    }
}

/// What an [observer](Observer::between_steps) wants to be different from the next step on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Intervention {
    /// The learning rate, in place of that of the configuration. It stays so, also when the run is resumed.
    pub lr: Option<f64>,
    /// Whether to end the run as if the stop flag were set: [`Outcome::Interrupted`].
    pub stop: bool,
    /// How long the run was paused, which does not count as time of training.
    pub paused: Duration,
}

/// Sees everything, if there is an observer.
impl<O: Observer> Observer for Option<O> {
    fn on_start(&mut self, start: &Start) {
        self.iter_mut().for_each(|observer| observer.on_start(start));
    }
    fn on_step(&mut self, step: &StepProgress) {
        self.iter_mut().for_each(|observer| observer.on_step(step));
    }
    fn between_steps(&mut self, engine: &mut dyn Engine) -> Result<Intervention> {
        self.as_mut().map_or_else(|| Ok(Intervention::default()), |observer| observer.between_steps(engine))
    }
    fn on_test_batch(&mut self) {
        self.iter_mut().for_each(Observer::on_test_batch);
    }
    fn on_tested(&mut self, wrong: &[u32]) {
        self.iter_mut().for_each(|observer| observer.on_tested(wrong));
    }
    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        self.as_mut().map_or(ControlFlow::Continue(()), |observer| observer.on_epoch(record))
    }
    fn after_epoch(&mut self, record: &EpochRecord, engine: &mut dyn Engine) {
        self.iter_mut().for_each(|observer| observer.after_epoch(record, engine));
    }
    fn on_layer_methods(&mut self, choice: &LayerChoice) {
        self.iter_mut().for_each(|observer| observer.on_layer_methods(choice));
    }
    fn on_warning(&mut self, warning: &Warning) {
        self.iter_mut().for_each(|observer| observer.on_warning(warning));
    }
}

/// Both observers see everything, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_start(&mut self, start: &Start) {
        self.0.on_start(start);
        self.1.on_start(start);
    }
    fn on_step(&mut self, step: &StepProgress) {
        self.0.on_step(step);
        self.1.on_step(step);
    }
    fn between_steps(&mut self, engine: &mut dyn Engine) -> Result<Intervention> {
        let (a, b) = (self.0.between_steps(engine)?, self.1.between_steps(engine)?);
        Ok(Intervention { lr: b.lr.or(a.lr), stop: a.stop || b.stop, paused: a.paused + b.paused })
    }
    fn on_test_batch(&mut self) {
        self.0.on_test_batch();
        self.1.on_test_batch();
    }
    fn on_tested(&mut self, wrong: &[u32]) {
        self.0.on_tested(wrong);
        self.1.on_tested(wrong);
    }
    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        match (self.0.on_epoch(record), self.1.on_epoch(record)) {
            (ControlFlow::Continue(()), ControlFlow::Continue(())) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
    fn after_epoch(&mut self, record: &EpochRecord, engine: &mut dyn Engine) {
        self.0.after_epoch(record, engine);
        self.1.after_epoch(record, engine);
    }
    fn on_layer_methods(&mut self, choice: &LayerChoice) {
        self.0.on_layer_methods(choice);
        self.1.on_layer_methods(choice);
    }
    fn on_warning(&mut self, warning: &Warning) {
        self.0.on_warning(warning);
        self.1.on_warning(warning);
    }
}

/// The beginning of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Start {
    /// The device.
    pub device: DeviceInfo,
    /// Total number of epochs.
    pub epochs: u64,
    /// Epochs already finished.
    pub epochs_done: u64,
    /// Batches per epoch.
    pub batches: u64,
    /// Batches already done in the current epoch.
    pub batches_done: u64,
    /// Number of training samples.
    pub train_samples: u64,
    /// Number of test samples.
    pub test_samples: u64,
    /// Whether the run continues from a checkpoint.
    pub resumed: bool,
    /// Messages of the device, e.g. that the training set does not fit into its memory.
    pub notes: Vec<String>,
}

/// The methods of the layers, and the numbers on which the choice is based.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerChoice {
    /// The method of each weight layer, the readout's last.
    pub methods: Vec<LayerMethod>,
    /// The measured density of each layer's operands ([`crate::auto::densities`]).
    pub densities: Vec<Option<f64>>,
    /// The density above which dense is faster on the device.
    pub crossover: f64,
    /// Which layers the device computes otherwise all the same, and why.
    pub notes: Vec<String>,
}

/// Progress of an epoch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepProgress<'a> {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Total number of epochs.
    pub epochs: u64,
    /// Batches queued so far in the epoch. `sums` counts only those that the device has finished.
    pub batch: u64,
    /// Batches per epoch.
    pub batches: u64,
    /// Sums over the finished batches of the epoch, including those before an interruption.
    pub sums: &'a EpochSums,
    /// Samples reported since the session began.
    pub session_samples: u64,
    /// Spikes (input and hidden) reported since the session began.
    pub session_spikes: u64,
    /// Seconds of training since the session began, without testing.
    pub session_seconds: f64,
    /// The learning rate of the next step, before the schedule's factor.
    pub lr: f64,
}
