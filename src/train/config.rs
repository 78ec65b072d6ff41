//! What a training run is, and which values can work.

#[cfg(feature = "runs")]
mod text;

#[cfg(feature = "runs")]
pub(crate) use text::read_text;
#[cfg(feature = "runs")]
pub use text::{Difference, network_differences};

use crate::data::augment::Augment;
use crate::data::{OWN, Validation};
use crate::engine::{DeltaScratch, Method, Variant};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::optimiser::Adam;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Everything that decides a training run, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The preset the run began from; it names the data set.
    pub preset: String,
    /// The folder with the data's files; `None` looks where they are usually installed.
    pub data: Option<PathBuf>,
    /// Train on this many samples only, the first of the set. The test set is always used whole.
    pub limit: Option<usize>,
    /// Leave out recordings that are damaged, counted and listed, instead of refusing the set.
    #[serde(default)]
    pub skip_bad: bool,
    /// `auto`, `cpu`, `gpu` or `gpu:N`.
    pub device: String,
    /// Variant of the gpu device's sparse kernels; `None` lets the device choose. A run keeps what it was
    /// begun with, as a driver may round differently in another.
    pub kernels: Option<Variant>,
    /// Memory of the gpu device for δ, MiB or `whole`; `None` lets the device choose. A run keeps what it was begun with,
    /// as gradients of layers that `auto` computes densely are added up chunk by chunk.
    pub delta_mib: Option<DeltaScratch>,
    /// How the gradient is computed.
    pub method: Method,
    /// Passes over the training set.
    pub epochs: u64,
    /// Samples in a batch. The last one of an epoch holds what is left.
    pub batch: usize,
    /// Decides initial weights, the order of the samples and rescues.
    pub seed: u64,
    /// Seconds of training after which a checkpoint is written within an epoch; 0 writes them after epochs alone. What a
    /// crash, or a GPU that is lost, costs at most. Has no influence on results.
    #[serde(default = "checkpoint_seconds")]
    pub checkpoint_seconds: f64,
    /// Whether a hidden layer without active entries is drawn anew ([`crate::train::rescue`]).
    pub rescue: bool,
    /// Epochs over which the learning rate rises evenly from 0 to what the schedule says; 0 begins with that.
    #[serde(default)]
    pub warmup_epochs: f64,
    /// Spikes of a neuron in a sample, on average, that every hidden layer begins with: its initial weights are
    /// scaled until the first batch gives so many ([`crate::train::calibrate`]). 0 leaves them as they are drawn.
    #[serde(default)]
    pub initial_spikes: f64,
    /// How the learning rate changes from step to step.
    pub schedule: LearningRate,
    /// What is done to the samples each time they are trained.
    #[serde(default)]
    pub augment: Augment,
    /// The optimiser.
    pub adam: Adam,
    /// Training samples held out: epochs are measured on them, and the test set is left for `eval`.
    #[serde(default)]
    pub validation: Validation,
    /// The network.
    pub network: Network,
}

/// [`RunConfig::checkpoint_seconds`] where nothing else is said.
pub(crate) fn checkpoint_seconds() -> f64 {
    60.0
}

/// How the learning rate changes from step to step; a factor on [`Adam::lr`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum LearningRate {
    /// Always 1.
    Constant {},
    /// Half a cosine from 1 at the first step to `final_fraction` after the last one.
    Cosine {
        /// Where it ends, 0 to 1.
        final_fraction: f64,
    },
}

impl LearningRate {
    /// The factor on the learning rate at `step` (from 0) of `steps`.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        match *self {
            LearningRate::Constant {} => 1.0,
            LearningRate::Cosine { final_fraction } => {
                let turn = std::f64::consts::PI * step as f64 / steps as f64;
                final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + turn.cos())
            }
        }
    }
}

impl RunConfig {
    /// A run on data of one's own, on the best device: 10 epochs of batches of 64, Adam with a learning rate of 2e-3 that
    /// falls to nothing.
    pub fn new(network: Network) -> Self {
        RunConfig {
            preset: OWN.into(),
            data: None,
            limit: None,
            skip_bad: false,
            device: "auto".into(),
            kernels: None,
            delta_mib: None,
            method: Method::Auto,
            epochs: 10,
            batch: 64,
            seed: 0,
            checkpoint_seconds: checkpoint_seconds(),
            rescue: true,
            warmup_epochs: 0.0,
            initial_spikes: 0.0,
            schedule: LearningRate::Cosine { final_fraction: 0.0 },
            augment: Augment::default(),
            adam: Adam::with_lr(2e-3),
            validation: Validation::default(),
            network,
        }
    }

    /// This configuration with what a resumed run may have changed, as `now` has it: equal to `now` where a run that was
    /// begun with it may go on.
    pub(super) fn resumed_with(&self, now: &RunConfig) -> RunConfig {
        let more_epochs = now.epochs > self.epochs && matches!(self.schedule, LearningRate::Constant {});
        RunConfig {
            data: now.data.clone(),
            device: now.device.clone(),
            kernels: now.kernels,
            delta_mib: now.delta_mib,
            checkpoint_seconds: now.checkpoint_seconds,
            epochs: if more_epochs { now.epochs } else { self.epochs },
            ..self.clone()
        }
    }

    /// Says which field cannot work.
    ///
    /// # Errors
    /// [`Error::Field`], or [`Error::Config`] where several fields do not fit together.
    pub fn check(&self) -> Result<()> {
        let bad = |field: &str, value: &dyn fmt::Display, want: &str| Err(Error::field(field, value, want));
        if !is_plain_name(&self.preset) {
            let shown = self.preset.escape_default();
            return bad("preset", &shown, "1 to 64 letters, digits, - and _");
        }
        let number = self.device.strip_prefix("gpu:");
        if !(["auto", "cpu", "gpu"].contains(&self.device.as_str()) || number.is_some_and(|n| n.parse::<u32>().is_ok()))
        {
            return bad("device", &self.device, "auto, cpu, gpu or gpu:N");
        }
        // Beyond any use, and far from where steps and samples could no longer be counted.
        const MOST: u64 = u32::MAX as u64;
        if !(1..=MOST).contains(&self.epochs) {
            return bad("epochs", &self.epochs, "1 to 4294967295");
        }
        if !(1..=MOST).contains(&(self.batch as u64)) {
            return bad("batch", &self.batch, "1 to 4294967295");
        }
        if self.limit == Some(0) {
            return bad("limit", &0, "1 or more; leave it out to train on all samples");
        }
        if self.seed > i64::MAX as u64 {
            return bad("seed", &self.seed, "below 2^63, as TOML holds no larger number");
        }
        if let LearningRate::Cosine { final_fraction } = self.schedule
            && !(0.0..=1.0).contains(&final_fraction)
        {
            return bad("schedule.final_fraction", &final_fraction, "0 to 1");
        }
        for (field, value) in [
            ("warmup_epochs", self.warmup_epochs),
            ("initial_spikes", self.initial_spikes),
            ("checkpoint_seconds", self.checkpoint_seconds),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return bad(field, &value, "0 or more");
            }
        }
        self.augment.check(&self.preset)?;
        self.adam.check()?;
        self.validation.check()?;
        self.network.check().map_err(|error| error.within("network"))
    }
}

/// Whether a name can stand in messages and be looked up: that of a preset, or of a data set of one's own.
fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_falls_from_one_to_its_end() {
        let cosine = LearningRate::Cosine { final_fraction: 0.1 };
        assert_eq!(cosine.factor(0, 10), 1.0);
        assert!((cosine.factor(5, 10) - 0.55).abs() < 1e-12 && (cosine.factor(10, 10) - 0.1).abs() < 1e-12);
        assert_eq!(LearningRate::Constant {}.factor(7, 10), 1.0);
    }
}
