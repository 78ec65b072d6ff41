//! The configuration of a training run.

#[cfg(feature = "runs")]
mod explain;
#[cfg(feature = "runs")]
mod read;
#[cfg(feature = "runs")]
mod set;
#[cfg(feature = "runs")]
mod text;

#[cfg(feature = "runs")]
pub(crate) use text::read_text;
#[cfg(feature = "runs")]
pub use text::{Difference, network_differences};

use crate::data::augment::Augment;
use crate::data::{DataConfig, EVENTS, OWN, Validation, data_set};
#[cfg(feature = "data")]
use crate::data::{Facts, Shape};
use crate::device::Device;
use crate::engine::{DeltaScratch, Method, Variant};
use crate::error::{Error, Result};
#[cfg(feature = "data")]
use crate::network::{Convolution, MAX_EXTENT, Readout};
use crate::network::{Network, SpikingLayer};
use crate::optimiser::Adam;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The complete configuration of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The preset on which the run is based; it determines the data set.
    pub preset: String,
    /// Where the data are and how they are read; instead of a section, just the path.
    #[serde(default)]
    pub data: DataConfig,
    /// Train only on the first this many samples. Does not affect the test set.
    pub limit: Option<usize>,
    /// Skip and list damaged recordings instead of failing.
    #[serde(default)]
    pub skip_bad: bool,
    /// The device that trains: `auto` is a hardware GPU if there is one, else the CPU. Several devices with commas between them,
    /// such as `gpu:0,gpu:1`, share each batch; of several ranks on a machine, each takes one of them.
    pub device: String,
    /// Parts into which a batch is cut, whose gradients are summed in a fixed order; 0 for none, which several devices and
    /// ranks set to 8. Samples stay in their shards. Any number of devices of one kind then ends in the same bits.
    #[serde(default)]
    pub shards: usize,
    /// Shards that each of several devices computes; if not set, they are divided by the measured pace of the devices. A
    /// resumed run must use the same ones, as devices round differently.
    pub shares: Option<Vec<usize>>,
    /// Variant of the gpu device's sparse kernels; if not set, the device chooses. A resumed run must use the same one,
    /// since drivers may round differently.
    pub kernels: Option<Variant>,
    /// Size of the gpu device's δ scratch, or `"whole"` for the whole batch; if not set, the device chooses. A resumed run must use the same one, since
    /// layers that `auto` computes densely sum their gradients chunk by chunk.
    pub delta_mib: Option<DeltaScratch>,
    /// How the gradient is computed.
    pub method: Method,
    /// Number of passes over the training set.
    pub epochs: u64,
    /// Samples per batch. The last batch of an epoch may be smaller.
    pub batch: usize,
    /// Seed of the initial weights, the order of the samples, augmentation and re-initialised layers.
    pub seed: u64,
    /// Safetensors file with the initial weights ([`initial_weights`](super::initial_weights)), instead of random ones. The
    /// run does not need it again.
    pub weights: Option<PathBuf>,
    /// Stop after this many epochs without a better accuracy; 0 for never.
    #[serde(default)]
    pub patience: u64,
    /// Write a checkpoint within an epoch after this many seconds of training; 0 for after each epoch only. This is the
    /// most that is lost by a crash or the loss of the GPU. Does not affect results.
    #[serde(default = "checkpoint_seconds")]
    pub checkpoint_seconds: f64,
    /// Whether a hidden layer without active entries is re-initialised ([`crate::train::rescue`]).
    pub rescue: bool,
    /// Number of epochs over which the learning rate rises linearly from 0 to the value of the schedule; 0 for none.
    #[serde(default)]
    pub warmup_epochs: f64,
    /// Rescale initial weights so that each hidden neuron spikes this many times per sample on average, measured on the
    /// first batch ([`crate::train::calibrate`]). 0 for no rescaling.
    #[serde(default)]
    pub initial_spikes: f64,
    /// Learning rate schedule.
    pub schedule: LearningRate,
    /// Augmentation of training samples.
    #[serde(default)]
    pub augment: Augment,
    /// The optimiser.
    pub adam: Adam,
    /// Training samples held out for validation. If any are, the test set is only used by `eval`.
    #[serde(default)]
    pub validation: Validation,
    /// The network.
    pub network: Network,
}

/// Most shards of a batch.
const MOST_SHARDS: usize = 65_536;

/// Default of [`RunConfig::checkpoint_seconds`].
pub(crate) fn checkpoint_seconds() -> f64 {
    60.0
}

/// Learning rate schedule: a factor on [`Adam::lr`] for each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum LearningRate {
    /// Always 1.
    Constant {},
    /// Half a cosine from 1 at the first step to `final_fraction` after the last one.
    Cosine {
        /// Factor after the last step, 0 to 1.
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
    /// A run on custom data with the defaults: device `auto`, 10 epochs, batches of 64, and Adam with a learning rate of
    /// 2e-3 that falls to 0.
    pub fn new(network: Network) -> Self {
        RunConfig {
            preset: OWN.into(),
            data: DataConfig::default(),
            limit: None,
            skip_bad: false,
            device: "auto".into(),
            shards: 0,
            shares: None,
            kernels: None,
            delta_mib: None,
            method: Method::Auto,
            epochs: 10,
            batch: 64,
            seed: 0,
            weights: None,
            patience: 0,
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

    /// This configuration with those fields of `now` that a resumed run may change. If the result equals `now`, a run
    /// started with this configuration can be resumed with `now`.
    pub(super) fn resumed_with(&self, now: &RunConfig) -> RunConfig {
        let more_epochs = now.epochs > self.epochs && matches!(self.schedule, LearningRate::Constant {});
        RunConfig {
            data: DataConfig {
                path: now.data.path.clone(),
                class_names: now.data.class_names.clone(),
                ..self.data.clone()
            },
            device: now.device.clone(),
            shares: now.shares.clone(),
            kernels: now.kernels,
            delta_mib: now.delta_mib,
            checkpoint_seconds: now.checkpoint_seconds,
            patience: now.patience,
            epochs: if more_epochs { now.epochs } else { self.epochs },
            ..self.clone()
        }
    }

    /// The devices that train.
    ///
    /// # Errors
    /// [`Error::Config`] names the one that is none.
    pub fn devices(&self) -> Result<Vec<Device>> {
        self.device.split(',').map(|word| word.trim().parse()).collect()
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// [`Error::Field`] for an invalid value, [`Error::Config`] if several fields contradict each other.
    pub fn check(&self) -> Result<()> {
        let bad = |field: &str, value: &dyn fmt::Display, want: &str| Err(Error::field(field, value, want));
        if !is_plain_name(&self.preset) {
            let shown = self.preset.escape_default();
            return bad("preset", &shown, "1 to 64 letters, digits, - and _");
        }
        if self.devices().is_err() {
            return bad("device", &self.device, "auto, cpu, gpu or gpu:N, or several with commas between them");
        }
        if self.shards > MOST_SHARDS {
            return bad("shards", &self.shards, &format!("at most {MOST_SHARDS}"));
        }
        if let Some(shares) = self.shares.as_ref().filter(|shares| shares.iter().any(|&share| share > MOST_SHARDS)) {
            return bad("shares", &format!("{shares:?}"), &format!("whole numbers of at most {MOST_SHARDS}"));
        }
        let parallel = self.shards > 0 || self.device.contains(',');
        if parallel && matches!(self.method, Method::Dense | Method::Reference) {
            let method = format!("{:?}", self.method).to_lowercase();
            return bad(
                "method",
                &method,
                "sparse or auto for a batch that is cut into shards, as it is for several devices and by mpirun",
            );
        }
        // Larger than any useful value, and small enough that counts of steps and samples cannot overflow.
        const MOST: u64 = u32::MAX as u64;
        if !(1..=MOST).contains(&self.epochs) {
            return bad("epochs", &self.epochs, "1 to 4294967295");
        }
        if !(1..=MOST).contains(&(self.batch as u64)) {
            return bad("batch", &self.batch, "1 to 4294967295");
        }
        for (field, path) in [("weights", &self.weights), ("data.path", &self.data.path)] {
            if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                return bad(field, &"\"\"", "the path of a file or folder; omit it for the default");
            }
        }
        if self.limit == Some(0) {
            return bad("limit", &0, "1 or more; omit it to train on all samples");
        }
        if self.seed > i64::MAX as u64 {
            return bad("seed", &self.seed, "below 2^63, the limit of TOML");
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
        self.data.check()?;
        self.data.check_use(data_set(&self.preset))?;
        self.augment.check(&self.preset)?;
        self.adam.check()?;
        self.validation.check()?;
        match (self.is_open(), data_set(&self.preset)) {
            // The rest is checked once the data have been seen.
            (true, EVENTS) => Ok(()),
            #[cfg(feature = "data")]
            (true, _) => self.clone().fit_published(),
            _ => self.network.check().map_err(|error| error.within("network")),
        }
    }

    /// What the accuracy of an epoch is measured on: `validation` if samples are held out, else `test`.
    pub fn measured_on(&self) -> &'static str {
        if self.validation.is_on() { "validation" } else { "test" }
    }

    /// Whether the data determine fields that are 0: inputs, time steps, their length and classes of the network, and the
    /// input of convolutions. Never so for custom data; [`fit`](Self::fit) sets them.
    pub fn is_open(&self) -> bool {
        let Network { inputs, time_steps, dt_ms, hidden, .. } = &self.network;
        let open = |layer: &SpikingLayer| layer.conv().is_some_and(|conv| conv.inputs() == 0);
        self.data_tell()
            && (*inputs == 0
                || *time_steps == 0
                || *dt_ms == 0.0
                || self.network.classes() == 0
                || hidden.iter().any(open))
    }

    /// Whether there are data that tell what a network must have for them.
    fn data_tell(&self) -> bool {
        #[cfg(feature = "data")]
        if crate::data::published(&self.preset, None).is_some() {
            return true;
        }
        data_set(&self.preset) == EVENTS
    }

    /// [`fit`](Self::fit) to the published data set of the preset.
    ///
    /// # Errors
    /// [`Error::Config`] for data of one's own; those of [`check`](Self::check).
    #[cfg(feature = "data")]
    pub fn fit_published(&mut self) -> Result<()> {
        let dt_ms = Some(self.network.dt_ms).filter(|&dt_ms| dt_ms > 0.0);
        match crate::data::published(&self.preset, dt_ms) {
            Some(facts) => self.fit(&facts),
            None => Err(Error::Config(format!("preset {} has no published data set", self.preset))),
        }
    }

    /// Sets the fields that are 0 ([`is_open`](Self::is_open)) to what the data require.
    ///
    /// # Errors
    /// [`Error::Config`] if a convolution requires the shape of the data, and they have none; [`Error::Format`] if the samples
    /// have more time steps than a network can have; those of [`check`](Self::check).
    #[cfg(feature = "data")]
    pub fn fit(&mut self, facts: &Facts) -> Result<()> {
        fn fill<T: PartialEq + Default>(field: &mut T, value: T) {
            if *field == T::default() {
                *field = value;
            }
        }
        let Network { inputs, time_steps, dt_ms, readout, .. } = &mut self.network;
        if *inputs == 0 && facts.inputs > MAX_EXTENT {
            let shape = facts.shape.map_or(String::new(), |shape| format!(" of {shape}"));
            return Err(Error::Data(format!(
                "the samples{shape} have {} inputs, more than {MAX_EXTENT}; use smaller samples",
                facts.inputs
            )));
        }
        if let Some(too_long) = facts.too_long.as_ref().filter(|_| *time_steps == 0) {
            return Err(too_long.error());
        }
        fill(inputs, facts.inputs);
        fill(time_steps, facts.time_steps);
        fill(dt_ms, facts.dt_ms);
        match readout {
            Readout::Integrator(readout) => fill(&mut readout.classes, facts.classes),
            Readout::SpikeCount(layer) => fill(&mut layer.neurons, facts.classes),
        }
        let shape = self.data.shape.or(facts.shape);
        if crate::data::keeps_shape(&self.preset, &self.data, shape) {
            self.data.shape = shape;
        }
        let open: Vec<bool> = self.network.hidden.iter().map(|layer| layer.neurons == 0).collect();
        if let Some(l) = self.network.fit_convolutions(shape.map(Into::into)) {
            return Err(Error::Config(format!(
                "network.hidden[{l}] is a convolution, but its input has no shape; set data.shape = [channels, height, \
                 width], or the channels, height and width of the convolution"
            )));
        }
        let layers = self.network.hidden.iter().enumerate().zip(open).filter(|(_, open)| *open);
        layers.filter_map(|((l, layer), _)| Some((l, layer.conv()?))).try_for_each(|(l, conv)| check_maps(l, conv))?;
        self.check()
    }
}

/// Refuses maps that are too large for the convolution of hidden layer `l`, whose neurons follow from them.
#[cfg(feature = "data")]
fn check_maps(l: usize, conv: &Convolution) -> Result<()> {
    let Convolution { channels, height, width, filters, .. } = *conv;
    let maps = Shape { channels, height, width };
    match conv.neurons() {
        0..=MAX_EXTENT => Ok(()),
        neurons => Err(Error::Data(format!(
            "maps of {maps} are too large for network.hidden[{l}]: its {filters} filters have {neurons} neurons, more than \
             {MAX_EXTENT}; use smaller samples, or change network.hidden[{l}].connection: fewer filters or a larger stride"
        ))),
    }
}

/// Whether the name of a preset or of custom data consists of safe characters.
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
