//! [`Training`], the builder for training runs.

use super::run::{check, run};
#[cfg(feature = "runs")]
use super::{DATA_FILE, folder::RunFolder};
use super::{EpochRecord, InMemory, Keeper, Observer, Outcome, RunConfig};
use crate::data::DataSet;
#[cfg(feature = "runs")]
use crate::data::{OWN, own};
use crate::device::Device;
#[cfg(feature = "gpu")]
use crate::engine::DeltaScratch;
use crate::engine::{Engine, Ranks};
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::gpu::GpuOptions;
use crate::parallel::{Parallel, shares::DEFAULT_SHARDS};
use crate::synthetic::random_spikes;
use crate::weights::Weights;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

static NEVER: AtomicBool = AtomicBool::new(false);

/// Where a run is stored.
enum Storage<'a> {
    Memory,
    Keeper(&'a mut dyn Keeper),
    #[cfg(feature = "runs")]
    Folder(std::path::PathBuf),
}

/// A training run: configuration, data, and where the results are stored.
///
#[cfg_attr(feature = "runs", doc = "```no_run")]
#[cfg_attr(not(feature = "runs"), doc = "```ignore")]
/// use spikegrad::data::DataSet;
/// use spikegrad::network::{Network, Readout, SpikingLayer};
/// use spikegrad::train::{RunConfig, Training};
/// use std::ops::ControlFlow;
/// # fn samples() -> spikegrad::events::EventSet { spikegrad::events::EventSet::new(700, 100) }
///
/// let network = Network::new(700, 100).layer(SpikingLayer::lif(64)).readout(Readout::sum(2)).build()?;
/// let data = DataSet::new(samples(), samples()).class_names(["left", "right"]);
/// let mut config = RunConfig::new(network);
/// (config.epochs, config.batch) = (20, 32);
/// let outcome = Training::new(&config, &data)
///     .folder("runs/taps")
///     // Early stopping.
///     .on_epoch(|record| match record.test_accuracy > 0.95 {
///         true => ControlFlow::Break(()),
///         false => ControlFlow::Continue(()),
///     })
///     .run()?;
/// println!("{:?}", outcome.summary().progress.best);
/// # Ok::<(), spikegrad::Error>(())
/// ```
///
/// `spikegrad eval runs/taps` and `spikegrad raster runs/taps` can read the folder: custom data are also written to it
/// (`data::own`), unless the configuration gives their file.
pub struct Training<'a> {
    config: &'a RunConfig,
    data: &'a DataSet,
    place: Storage<'a>,
    #[cfg(feature = "runs")]
    resume: bool,
    weights: Option<&'a Weights>,
    stop: &'a AtomicBool,
    observer: Box<dyn Observer + 'a>,
}

impl<'a> Training<'a> {
    /// Trains `config` on `data`. The run is stored in memory unless a folder or keeper is given.
    pub fn new(config: &'a RunConfig, data: &'a DataSet) -> Self {
        Training {
            config,
            data,
            place: Storage::Memory,
            #[cfg(feature = "runs")]
            resume: false,
            weights: None,
            stop: &NEVER,
            observer: Box::new(()),
        }
    }

    /// Stores the run in this folder, which must not contain a run unless it is [resumed](Self::resume).
    #[cfg(feature = "runs")]
    pub fn folder(self, folder: impl AsRef<std::path::Path>) -> Self {
        Training { place: Storage::Folder(folder.as_ref().to_path_buf()), ..self }
    }

    /// Stores the run in `keeper`. If it already [has a run](Keeper::resume), that run is continued.
    pub fn keeper(self, keeper: &'a mut dyn Keeper) -> Self {
        Training { place: Storage::Keeper(keeper), ..self }
    }

    /// Whether to continue the run in the folder. On the same device the results are bit-identical to those of an
    /// uninterrupted run. The configuration must be `stored_config`, except for `data` (the same files at another path),
    /// `device` (with a warning, since rounding may differ), and, with a constant learning rate, more `epochs`.
    #[cfg(feature = "runs")]
    pub fn resume(self, resume: bool) -> Self {
        Training { resume, ..self }
    }

    /// Begins with these weights, in place of those of the configuration ([`initial_state`](super::initial_state)). A run
    /// that is continued has weights of its own.
    pub fn weights(self, weights: &'a Weights) -> Self {
        Training { weights: Some(weights), ..self }
    }

    /// A flag that is checked before each step and each test batch. If it is set, the queued steps are finished, a
    /// checkpoint is written, and the run ends with [`Outcome::Interrupted`].
    pub fn stop(self, stop: &'a AtomicBool) -> Self {
        Training { stop, ..self }
    }

    /// Sets the observer, which receives the run's events.
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Training { observer: Box::new(observer), ..self }
    }

    /// Calls `callback` after each epoch, in place of an observer. With [`ControlFlow::Break`] the run ends with
    /// [`Outcome::Stopped`].
    pub fn on_epoch(self, callback: impl FnMut(&EpochRecord) -> ControlFlow<()> + 'a) -> Self {
        Training { observer: Box::new(Callback(callback)), ..self }
    }

    /// Runs on the configuration's device.
    ///
    /// # Errors
    /// As [`run_on`](Self::run_on), and if the device cannot be opened.
    pub fn run(self) -> Result<Outcome> {
        self.config.check()?;
        let mut engine = open(self.config, false)?;
        self.run_on(engine.as_mut())
    }

    /// Runs on `engine`, which must have the configuration's network. After each epoch it is tested on
    /// [`DataSet::measured`], whose accuracy determines the best epoch.
    ///
    /// # Errors
    /// - [`Error::Field`](crate::Error::Field), [`Error::Config`](crate::Error::Config): the configuration is invalid or
    ///   conflicts with that of the resumed run; the folder contains a run (with `resume`: none), or another run is writing
    ///   to it.
    /// - [`Error::Data`](crate::Error::Data): the data do not fit, or are not those of the resumed run.
    /// - [`Error::NotFinite`](crate::Error::NotFinite): a loss or weight became NaN or infinite; the last checkpoint is
    ///   kept.
    /// - [`Error::Format`](crate::Error::Format): a checkpoint or the metrics are damaged.
    /// - [`Error::Io`](crate::Error::Io), and errors of the device.
    pub fn run_on(mut self, engine: &mut dyn Engine) -> Result<Outcome> {
        let (config, data, observer) = (self.config, self.data, self.observer.as_mut());
        let samples = check(config, data, self.weights, engine)?;
        match self.place {
            Storage::Memory => run(config, samples, engine, &mut InMemory::default(), self.stop, observer),
            Storage::Keeper(keeper) => run(config, samples, engine, keeper, self.stop, observer),
            #[cfg(feature = "runs")]
            Storage::Folder(folder) => {
                let mut folder = RunFolder::open(&folder, self.resume)?;
                if config.preset == OWN && config.data.path.is_none() && !self.resume {
                    own::write(&folder.file(DATA_FILE), data)?;
                }
                run(config, samples, engine, &mut folder, self.stop, observer)
            }
        }
    }
}

/// Density of the random spikes by which the pace of devices is measured.
const DENSITY: f64 = 0.02;

/// Opens the devices of a configuration with its network and random weights. [`Training::run_on`] loads those that a run begins
/// with. With `tuning`, a gpu device measures on the network's first use which variant of its kernels is the fastest.
///
/// # Errors
/// As [`Device::open`] and [`Parallel::new`].
pub fn open(config: &RunConfig, tuning: bool) -> Result<Box<dyn Engine>> {
    open_ranks(config, config.devices()?, config.batch, tuning, None)
}

/// [`open`] for batches of `batch` samples on these devices of this process, one of `ranks` if there are several.
///
/// # Errors
/// As [`open`].
pub fn open_ranks(
    config: &RunConfig,
    devices: Vec<Device>,
    batch: usize,
    tuning: bool,
    ranks: Option<Box<dyn Ranks>>,
) -> Result<Box<dyn Engine>> {
    let parallel = devices.len() > 1 || ranks.is_some() || config.shards > 0;
    let shards = match config.shards {
        0 if parallel => DEFAULT_SHARDS,
        shards => shards,
    };
    let samples = if parallel { batch.div_ceil(shards) } else { batch };
    let mut engines = devices.into_iter().map(|device| open_one(config, device, samples, tuning));
    match (parallel, engines.next()) {
        (false, Some(engine)) => engine,
        (_, first) => {
            let engines = first.into_iter().chain(engines).collect::<Result<Vec<_>>>()?;
            // Shares of another number of devices are of no use.
            let shares = config.shares.as_deref().filter(|shares| shares.len() == engines.len() && ranks.is_none());
            let mut parallel = Parallel::new(engines, shards, ranks, shares)?;
            if shares.is_none() {
                parallel.share_by_pace(&random_spikes(&config.network, samples, DENSITY, config.seed)?)?;
            }
            Ok(Box::new(parallel))
        }
    }
}

fn open_one(config: &RunConfig, device: Device, batch: usize, tuning: bool) -> Result<Box<dyn Engine>> {
    let weights = Weights::init(&config.network, config.seed);
    #[cfg(feature = "gpu")]
    {
        let delta_bytes = config.delta_mib.map(DeltaScratch::bytes);
        let options =
            GpuOptions { variant: config.kernels, delta_bytes, tuning, batch: Some(batch), ..GpuOptions::default() };
        device.open_with(&config.network, config.method, &weights, options)
    }
    #[cfg(not(feature = "gpu"))]
    {
        let _ = (batch, tuning);
        device.open(&config.network, config.method, &weights)
    }
}

/// An observer that only calls a function after each epoch.
struct Callback<F>(F);

impl<F: FnMut(&EpochRecord) -> ControlFlow<()>> Observer for Callback<F> {
    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        (self.0)(record)
    }
}

#[cfg(all(test, feature = "runs"))]
mod tests {
    use super::*;
    use crate::events::EventSet;
    use crate::network::{Network, Readout, SpikingLayer};
    use crate::train::{DATA_FILE, stored_config};

    /// Two classes that differ in the order in which two neurons spike.
    fn data() -> DataSet {
        let set = |samples: u64| {
            let mut set = EventSet::new(6, 20);
            for k in 0..samples as usize {
                let spikes = (0..6).map(|i| (if k % 2 == 0 { 2 + i + k % 3 } else { 14 - i - k % 3 }, i));
                set.push(spikes, (k % 2) as u32).unwrap();
            }
            set
        };
        DataSet::new(set(40), set(20)).named("ramps").class_names(["up", "down"])
    }

    fn config() -> RunConfig {
        let layer = SpikingLayer::lif(20).init(crate::network::Initialisation::Uniform { scale: 3.0 });
        let network = Network::new(6, 20).layer(layer).readout(Readout::sum(2)).build().unwrap();
        RunConfig { epochs: 30, batch: 8, device: "cpu".into(), ..RunConfig::new(network) }
    }

    #[test]
    fn given_weights_take_the_place_of_random_ones() {
        let (data, mut config) = (data(), config());
        config.initial_spikes = 2.0;
        let weights = Weights::init(&config.network, 77);
        let mut kept = InMemory::default();
        let stop = AtomicBool::new(true);
        Training::new(&config, &data).weights(&weights).keeper(&mut kept).stop(&stop).run().unwrap();
        assert_eq!(kept.last.unwrap().state.weights, weights);
        let unfit = Weights { layers: Vec::new() };
        assert!(Training::new(&config, &data).weights(&unfit).run().is_err());
    }

    #[test]
    fn own_data_are_trained_until_a_callback_has_had_enough_and_stay_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let (run, data, config) = (folder.path().join("run"), data(), config());
        let mut seen = 0;
        let outcome = Training::new(&config, &data)
            .folder(&run)
            .on_epoch(|record| {
                seen = record.epoch;
                if record.test_accuracy == 1.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .run()
            .unwrap();
        assert!(matches!(&outcome, Outcome::Stopped(summary) if summary.progress.epoch == seen), "{outcome:?}");
        assert!(seen < 30, "learnt nothing in {seen} epochs");
        let kept = crate::data::own::read(&run.join(DATA_FILE)).unwrap();
        assert_eq!((&kept.train, kept.name.as_str(), &kept.class_names), (&data.train, "ramps", &data.class_names));
        assert_eq!(stored_config(&run).unwrap().preset, crate::data::OWN);

        // A stopped run can be resumed.
        let outcome = Training::new(&config, &data).folder(&run).resume(true).run().unwrap();
        assert!(matches!(outcome, Outcome::Finished(summary) if summary.progress.epoch == 30));
    }

    #[test]
    fn a_run_on_own_data_starts_another_by_its_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let (run, data, mut config) = (folder.path().join("run"), data(), config());
        config.epochs = 1;
        Training::new(&config, &data).folder(&run).run().unwrap();
        let again = crate::presets::load(&run.join("config.toml"), false).unwrap();
        assert_eq!((again.data.path.as_deref(), again.epochs), (Some(&*run.join(DATA_FILE)), 1));
        let (data, names) = (data.class_names(["up"]), "1 names for 2 classes");
        let refused = Training::new(&config, &data).run().unwrap_err().to_string();
        assert!(refused.contains(names), "{refused}");
    }

    #[test]
    fn looking_into_the_device_after_an_epoch_does_not_change_the_run() {
        struct Looking<'a>(&'a EventSet, usize);
        impl Observer for Looking<'_> {
            fn after_epoch(&mut self, record: &EpochRecord, engine: &mut dyn Engine) {
                let seen = engine.inspect(&self.0.head(1)).unwrap();
                self.1 += usize::from(record.epoch > 0 && seen.logits.len() == 2);
            }
        }
        let (data, config) = (data(), RunConfig { epochs: 5, ..config() });
        let weights = |observer: &mut dyn Observer| {
            let mut engine = open(&config, false).unwrap();
            let outcome = Training::new(&config, &data).observer(observer).run_on(engine.as_mut()).unwrap();
            (engine.store().unwrap(), outcome.summary().progress.best)
        };
        let mut looking = Looking(&data.test, 0);
        assert!(weights(&mut looking) == weights(&mut ()));
        assert_eq!(looking.1, 5);
    }

    #[test]
    fn samples_without_labels_are_not_trained() {
        let folder = tempfile::tempdir().unwrap();
        let (mut train, data) = (EventSet::clone(&data().train), data());
        train.push_unlabelled([(1, 1)]).unwrap();
        let data = DataSet { train: train.into(), ..data };
        let error = Training::new(&config(), &data).folder(folder.path().join("run")).run().unwrap_err().to_string();
        assert!(error.contains("sample 40 has no label"), "{error}");
    }
}
