//! A training run with named options.

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
use crate::engine::Engine;
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::gpu::GpuOptions;
use crate::weights::Weights;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

static NEVER: AtomicBool = AtomicBool::new(false);

/// Where a run is kept.
enum Place<'a> {
    Memory,
    Keeper(&'a mut dyn Keeper),
    #[cfg(feature = "runs")]
    Folder(std::path::PathBuf),
}

/// A training run: what is trained, on what, and where the results go.
///
#[cfg_attr(feature = "runs", doc = "```no_run")]
#[cfg_attr(not(feature = "runs"), doc = "```ignore")]
/// use spikegrad::data::DataSet;
/// use spikegrad::network::{Network, Readout, SpikingLayer};
/// use spikegrad::train::{RunConfig, Training};
/// use std::ops::ControlFlow;
/// # fn samples() -> spikegrad::events::EventSet { todo!() }
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
/// `spikegrad eval runs/taps` and `spikegrad raster runs/taps` understand the folder: data that are no preset's are written
/// into it (`data::own`), unless the configuration names their file.
pub struct Training<'a> {
    config: &'a RunConfig,
    data: &'a DataSet,
    place: Place<'a>,
    #[cfg(feature = "runs")]
    resume: bool,
    stop: &'a AtomicBool,
    observer: Box<dyn Observer + 'a>,
}

impl<'a> Training<'a> {
    /// Trains `config` on `data`, kept in memory alone unless a folder or a keeper is named.
    pub fn new(config: &'a RunConfig, data: &'a DataSet) -> Self {
        Training {
            config,
            data,
            place: Place::Memory,
            #[cfg(feature = "runs")]
            resume: false,
            stop: &NEVER,
            observer: Box::new(()),
        }
    }

    /// Writes the run to this folder, which must hold no run unless it is [resumed](Self::resume).
    #[cfg(feature = "runs")]
    pub fn folder(self, folder: impl AsRef<std::path::Path>) -> Self {
        Training { place: Place::Folder(folder.as_ref().to_path_buf()), ..self }
    }

    /// Keeps the run in `keeper`. One that [holds a run already](Keeper::resume) continues it.
    pub fn keeper(self, keeper: &'a mut dyn Keeper) -> Self {
        Training { place: Place::Keeper(keeper), ..self }
    }

    /// Whether to continue the run in the folder as if it had never stopped: to the same bits on the same device. Its
    /// configuration is `stored_config`; one that differs is refused, except for `data` (the same files elsewhere), `device`
    /// (with a warning: not the same bits), and, with a constant learning rate, more `epochs`.
    #[cfg(feature = "runs")]
    pub fn resume(self, resume: bool) -> Self {
        Training { resume, ..self }
    }

    /// A flag that is looked at before each step and each test batch: when set, the queued steps are finished, the
    /// checkpoint is written, and the run ends with [`Outcome::Interrupted`].
    pub fn stop(self, stop: &'a AtomicBool) -> Self {
        Training { stop, ..self }
    }

    /// Who is told what happens.
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Training { observer: Box::new(observer), ..self }
    }

    /// Calls `callback` after each epoch, in place of an observer; with [`ControlFlow::Break`] the run ends there, with
    /// [`Outcome::Stopped`].
    pub fn on_epoch(self, callback: impl FnMut(&EpochRecord) -> ControlFlow<()> + 'a) -> Self {
        Training { observer: Box::new(Callback(callback)), ..self }
    }

    /// Runs on the device that the configuration names.
    ///
    /// # Errors
    /// As those of [`run_on`](Self::run_on), and a device that cannot be opened.
    pub fn run(self) -> Result<Outcome> {
        self.config.check()?;
        let mut engine = open(self.config)?;
        self.run_on(engine.as_mut())
    }

    /// Runs on `engine`, which has the configuration's network. After each epoch it is tested on [`DataSet::measured`], which
    /// decides what is best.
    ///
    /// # Errors
    /// - [`Error::Field`](crate::Error::Field), [`Error::Config`](crate::Error::Config): a configuration that cannot work or conflicts with the run's; a folder that
    ///   holds a run (or with `resume`, none), or that another run is writing.
    /// - [`Error::Data`](crate::Error::Data): data that do not fit, or on resuming are not those the run began with.
    /// - [`Error::NotFinite`](crate::Error::NotFinite): a loss or weight became NaN or infinite; the last good checkpoint is
    ///   kept.
    /// - [`Error::Format`](crate::Error::Format) for a damaged checkpoint or metrics; [`Error::Io`](crate::Error::Io); and what
    ///   the device says.
    pub fn run_on(mut self, engine: &mut dyn Engine) -> Result<Outcome> {
        let (config, data, observer) = (self.config, self.data, self.observer.as_mut());
        let samples = (check(config, data, engine)?, data.measured());
        match self.place {
            Place::Memory => run(config, samples, engine, &mut InMemory::default(), self.stop, observer),
            Place::Keeper(keeper) => run(config, samples, engine, keeper, self.stop, observer),
            #[cfg(feature = "runs")]
            Place::Folder(folder) => {
                let mut folder = RunFolder::open(&folder, self.resume)?;
                if config.preset == OWN && config.data.is_none() && !self.resume {
                    own::write(&folder.file(DATA_FILE), data)?;
                }
                run(config, samples, engine, &mut folder, self.stop, observer)
            }
        }
    }
}

/// The device that a configuration names, with its network.
fn open(config: &RunConfig) -> Result<Box<dyn Engine>> {
    let device: Device = config.device.parse()?;
    let weights = Weights::init(&config.network, config.seed);
    #[cfg(feature = "gpu")]
    {
        let delta_bytes = config.delta_mib.map(DeltaScratch::bytes);
        let options = GpuOptions { variant: config.kernels, delta_bytes, ..GpuOptions::default() };
        device.open_with(&config.network, config.method, &weights, options)
    }
    #[cfg(not(feature = "gpu"))]
    device.open(&config.network, config.method, &weights)
}

/// An observer that is told of epochs alone.
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

    /// Two classes that differ in when either of two neurons fires.
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

        // What was stopped goes on.
        let outcome = Training::new(&config, &data).folder(&run).resume(true).run().unwrap();
        assert!(matches!(outcome, Outcome::Finished(summary) if summary.progress.epoch == 30));
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
