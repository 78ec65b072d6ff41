//! A network on a device. `Model` in Python wraps it.

use crate::errors::{check_process, described, raise};
use crate::events::EventSetHandle;
use crate::network::{Config, PyNetwork};
use crate::observer::Bridge;
use crate::plots::PyRaster;
use crate::tensors::{dictionary, floats, weights_of};
use numpy::PyReadonlyArray2;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use pythonize::pythonize;
use spikegrad::Error;
use spikegrad::data::{DataSet, OWN};
use spikegrad::engine::{DeviceInfo, Engine, Forward, Inspection, LossTerms, TrainingState};
use spikegrad::events::EventSet;
use spikegrad::network::Network;
use spikegrad::optimiser::Adam;
use spikegrad::plot::Raster;
use spikegrad::results::{load_network, load_weights, save_weights};
use spikegrad::train::{self, Best, InMemory, Outcome, RunConfig, Training};
use spikegrad::weights::Weights;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

/// What a call has to itself.
struct State {
    engine: Box<dyn Engine>,
    /// The last run that was not stored in a folder.
    kept: InMemory,
    /// Whether the weights are still those of the seed.
    fresh: bool,
    /// The forward pass that can be continued.
    pass: Option<(u64, Forward)>,
    /// Number of forward passes so far.
    passes: u64,
}

/// A network on a device.
#[pyclass(frozen, module = "spikegrad")]
pub struct EngineHandle {
    state: Mutex<Option<State>>,
    config: RunConfig,
    info: DeviceInfo,
    process: u32,
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        // A device cannot be closed in a forked process, where its threads are missing.
        if self.process != std::process::id()
            && let Ok(state) = self.state.get_mut()
        {
            std::mem::forget(state.take());
        }
    }
}

impl EngineHandle {
    fn open(config: RunConfig, weights: Option<Weights>, tuning: bool) -> PyResult<Self> {
        let open = || -> spikegrad::Result<State> {
            config.check()?;
            let mut engine = train::open(&config, tuning)?;
            let fresh = weights.is_none();
            if let Some(weights) = weights {
                weights.check(&config.network)?;
                engine.load(&TrainingState::new(weights))?;
            }
            Ok(State { engine, kept: InMemory::default(), fresh, pass: None, passes: 0 })
        };
        let state = open().map_err(raise)?;
        let info = state.engine.info();
        Ok(EngineHandle { state: Mutex::new(Some(state)), config, info, process: std::process::id() })
    }

    /// Acts on the engine without Python's lock. No call waits for another: holding Python's lock, that could take forever.
    fn with<T: Send>(&self, py: Python<'_>, act: impl FnOnce(&mut State) -> PyResult<T> + Send) -> PyResult<T> {
        check_process()?;
        py.detach(|| match self.state.try_lock() {
            Ok(mut state) => match state.as_mut() {
                Some(state) => act(state),
                None => Err(PyRuntimeError::new_err("the model is closed")),
            },
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "the model is busy in another call; wait for it, or use a copy of the model (copy.deepcopy)",
            )),
            Err(TryLockError::Poisoned(_)) => {
                Err(PyRuntimeError::new_err("an earlier call failed in the engine; make the model again"))
            }
        })
    }

    fn network(&self) -> &Network {
        &self.config.network
    }

    /// Passes the network and its weights on, without Python's lock.
    pub fn with_weights<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&Network, &Weights) -> spikegrad::Result<T> + Send,
    ) -> PyResult<T> {
        self.with(py, |state| {
            let stored = state.engine.store().map_err(raise)?;
            act(self.network(), &stored.weights).map_err(raise)
        })
    }

    fn check_labelled(&self, set: &EventSet) -> PyResult<()> {
        let network = self.network();
        set.check_fits(network.inputs, network.time_steps, network.classes()).map_err(raise)
    }
}

/// Looks for signals such as Ctrl-C from time to time.
struct Signals {
    last: Instant,
    error: Option<PyErr>,
}

impl Signals {
    fn check(&mut self) -> spikegrad::Result<()> {
        if self.last.elapsed() < Duration::from_millis(50) {
            return Ok(());
        }
        self.last = Instant::now();
        Python::attach(|py| py.check_signals()).map_err(|error| {
            self.error = Some(error);
            Error::Interrupted
        })
    }
}

/// Classifies a set in batches. `take` is given the label, class and logits of each sample. Returns the spikes of each layer.
fn classify(
    engine: &mut dyn Engine,
    set: &EventSet,
    batch: usize,
    mut take: impl FnMut(&train::Classified),
) -> PyResult<Vec<u64>> {
    let mut signals = Signals { last: Instant::now(), error: None };
    let classified = train::classify(engine, set, batch, |sample| {
        take(&sample);
        signals.check()
    });
    match (classified, signals.error) {
        (_, Some(error)) => Err(error),
        (classified, None) => classified.map_err(raise),
    }
}

/// Rows of a confusion matrix, a loss, and spikes.
type Evaluated = (Vec<Vec<u64>>, f64, Vec<u64>);

/// What `fit` is given.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct FitOptions {
    folder: Option<PathBuf>,
    resume: bool,
    restore_best: bool,
    name: Option<String>,
    class_names: Vec<String>,
    shape: Option<[usize; 3]>,
}

/// A run that has ended, for Python.
struct Ended {
    finished: bool,
    epoch: u64,
    step: u64,
    best: Option<Best>,
}

impl State {
    fn fit(
        &mut self,
        config: &RunConfig,
        data: &DataSet,
        options: &FitOptions,
        observer: &Py<PyAny>,
    ) -> PyResult<Ended> {
        self.pass = None;
        let stop = AtomicBool::new(false);
        let mut bridge = Bridge::new(observer, &stop);
        let begin = if self.fresh || options.resume { None } else { Some(self.engine.store().map_err(raise)?.weights) };
        let in_memory = options.folder.is_none();
        if options.resume && in_memory && self.kept.last.is_none() {
            return Err(PyValueError::new_err("nothing to resume: this model has not run; leave resume out"));
        }
        let earlier = if options.resume && in_memory { None } else { Some(std::mem::take(&mut self.kept)) };
        let mut training = Training::new(config, data).stop(&stop).observer(&mut bridge);
        if let Some(weights) = &begin {
            training = training.weights(weights);
        }
        let training = match &options.folder {
            Some(folder) => training.folder(folder).resume(options.resume),
            None => training.keeper(&mut self.kept),
        };
        let outcome = training.run_on(self.engine.as_mut());
        let checkpoint = |last: bool, kept: &InMemory| match &options.folder {
            Some(folder) => train::stored_run(folder, last).map(|(_, checkpoint, _)| Some(checkpoint)),
            None => Ok(if last { kept.last.clone() } else { kept.best.clone().or_else(|| kept.last.clone()) }),
        };
        match (outcome, bridge.error) {
            // The run was refused: nothing has happened.
            (Err(error), problem) if !bridge.started => {
                self.kept = earlier.unwrap_or(std::mem::take(&mut self.kept));
                Err(problem.unwrap_or_else(|| raise(error)))
            }
            (Err(error), problem) => {
                // The engine may have anything; the last good weights are in the checkpoint, if there is one yet.
                if let Ok(Some(checkpoint)) = checkpoint(true, &self.kept) {
                    self.engine.load(&checkpoint.state).map_err(raise)?;
                    self.fresh &= checkpoint.state.step == 0;
                }
                Err(problem.unwrap_or_else(|| raise(error)))
            }
            (Ok(_), Some(problem)) => {
                self.fresh = false;
                Err(problem)
            }
            (Ok(outcome), None) => {
                self.fresh = false;
                if options.restore_best
                    && let Some(best) = checkpoint(false, &self.kept).map_err(raise)?
                {
                    self.engine.load(&best.state).map_err(raise)?;
                }
                let progress = &outcome.summary().progress;
                let finished = matches!(outcome, Outcome::Finished(_));
                Ok(Ended { finished, epoch: progress.epoch, step: progress.step, best: progress.best })
            }
        }
    }
}

#[pymethods]
impl EngineHandle {
    #[new]
    fn new(py: Python<'_>, config: &Config, weights: Option<Bound<'_, PyDict>>, tuning: bool) -> PyResult<Self> {
        check_process()?;
        let config = config.0.clone();
        let weights = weights.map(|weights| weights_of(&config.network, &weights)).transpose()?;
        py.detach(|| Self::open(config, weights, tuning))
    }

    /// The model in a run's folder, or in a file of weights.
    #[staticmethod]
    fn load(
        py: Python<'_>,
        path: PathBuf,
        device: Option<String>,
        network: Option<&PyNetwork>,
        last: bool,
    ) -> PyResult<Self> {
        check_process()?;
        let network = network.map(|network| network.0.clone());
        py.detach(|| {
            let (mut config, weights) = match network {
                _ if path.is_dir() => {
                    train::stored_run(&path, last).map(|(config, kept, _)| (config, kept.state.weights))
                }
                Some(network) => load_weights(&path, &network).map(|weights| (RunConfig::new(network), weights)),
                None => load_network(&path).map(|(network, weights)| (RunConfig::new(network), weights)),
            }
            .map_err(raise)?;
            config.device = device.unwrap_or(config.device);
            Self::open(config, Some(weights), false)
        })
    }

    #[getter]
    fn config(&self) -> Config {
        Config(self.config.clone())
    }

    /// Description of the device.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        pythonize(py, &self.info).map_err(described)
    }

    fn fit<'py>(
        &self,
        py: Python<'py>,
        config: &Config,
        train: &EventSetHandle,
        validation: &EventSetHandle,
        options: FitOptions,
        observer: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let config = &config.0;
        if config.method != self.config.method {
            return Err(PyValueError::new_err("method cannot be changed by fit; give it to Model"));
        }
        let ended = self.with(py, |state| {
            let mut data = DataSet::new(EventSet::new(1, 1), (*validation.0).clone());
            data.train = Arc::clone(&train.0);
            data.name = options.name.clone().unwrap_or_else(|| OWN.into());
            data.class_names.clone_from(&options.class_names);
            data.shape = options.shape.map(Into::into);
            state.fit(config, &data, &options, &observer)
        })?;
        let dict = PyDict::new(py);
        dict.set_item("finished", ended.finished)?;
        dict.set_item("epoch", ended.epoch)?;
        dict.set_item("step", ended.step)?;
        dict.set_item("best_epoch", ended.best.map(|best| best.epoch))?;
        dict.set_item("best_accuracy", ended.best.map(|best| best.test_accuracy))?;
        Ok(dict)
    }

    /// Logits, [B, C], and the spikes of each spiking layer.
    fn logits<'py>(
        &self,
        py: Python<'py>,
        set: &EventSetHandle,
        batch: usize,
    ) -> PyResult<(Bound<'py, PyAny>, Vec<u64>)> {
        let set = &*set.0;
        let (logits, spikes) = self.with(py, |state| {
            let mut logits = Vec::with_capacity(set.len() * state.engine.network().classes());
            let spikes = classify(state.engine.as_mut(), set, batch, |sample| logits.extend(sample.logits))?;
            Ok((logits, spikes))
        })?;
        Ok((floats(py, logits, &[set.len(), self.network().classes()])?, spikes))
    }

    /// Number of samples by label and predicted class, the mean loss, and the spikes of each spiking layer.
    fn evaluate(&self, py: Python<'_>, set: &EventSetHandle, batch: usize) -> PyResult<Evaluated> {
        let set = &*set.0;
        self.check_labelled(set)?;
        self.with(py, |state| {
            let (mut confusion, mut loss) = (train::Confusion::new(self.network().classes()), 0.0);
            let spikes = classify(state.engine.as_mut(), set, batch, |sample| {
                confusion.add(sample.label as usize, sample.class);
                loss += self.network().loss.of(sample.logits, sample.label as usize);
            })?;
            let rows = (0..confusion.classes()).map(|label| confusion.row(label).to_vec()).collect();
            Ok((rows, loss / set.len() as f64, spikes))
        })
    }

    /// One training step; its losses and counts.
    fn step<'py>(&self, py: Python<'py>, set: &EventSetHandle, adam: [f64; 5]) -> PyResult<Bound<'py, PyDict>> {
        let [lr, beta1, beta2, epsilon, weight_decay] = adam;
        let adam = Adam { lr, beta1, beta2, epsilon, weight_decay };
        let set = &*set.0;
        let report = self.with(py, |state| {
            adam.check().map_err(raise)?;
            (state.fresh, state.pass, state.kept) = (false, None, InMemory::default());
            state.engine.train(set, &adam).map_err(raise)?;
            state.engine.reports(true).map_err(raise)?.pop().ok_or_else(|| PyRuntimeError::new_err("no report"))
        })?;
        if let Some(bad) = report.not_finite {
            return Err(raise(Error::NotFinite(format!(
                "step {}: a number of layer {} became NaN or infinite; load earlier weights and lower lr",
                report.step, bad.layer
            ))));
        }
        let dict = losses(py, &report.loss, report.samples)?;
        dict.set_item("step", report.step)?;
        dict.set_item("accuracy", report.correct as f64 / report.samples as f64)?;
        dict.set_item("spikes", report.spikes)?;
        dict.set_item("active", report.active)?;
        Ok(dict)
    }

    /// Everything that a forward and backward pass over the samples computes.
    fn inspect<'py>(&self, py: Python<'py>, set: &EventSetHandle) -> PyResult<Bound<'py, PyDict>> {
        let set = &*set.0;
        let (labelled, inspection) = self.with(py, |state| {
            state.pass = None;
            let labelled = !set.labels().contains(&EventSet::UNLABELLED);
            let inspection = match labelled {
                true => state.engine.inspect(set),
                false => state.engine.inspect(&unlabelled_as_0(set)?),
            };
            Ok((labelled, inspection.map_err(raise)?))
        })?;
        inspected(py, self.network(), set.len(), inspection, labelled)
    }

    /// A forward pass that `backward` can continue: its number, and the logits.
    fn forward<'py>(&self, py: Python<'py>, set: &EventSetHandle) -> PyResult<(u64, Bound<'py, PyAny>)> {
        let set = &*set.0;
        let (number, logits) = self.with(py, |state| {
            let pass = state.engine.forward(set).map_err(raise)?;
            let logits = pass.logits.clone();
            state.passes += 1;
            state.pass = Some((state.passes, pass));
            Ok((state.passes, logits))
        })?;
        Ok((number, floats(py, logits, &[set.len(), self.network().classes()])?))
    }

    /// The gradient of the caller's loss, of which `logits` is the gradient with respect to the logits; `None` if the pass is
    /// not the last one.
    fn backward<'py>(
        &self,
        py: Python<'py>,
        number: u64,
        logits: PyReadonlyArray2<'_, f32>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let given = logits.as_slice()?.to_vec();
        let gradient = self.with(py, |state| match state.pass.take() {
            Some((last, pass)) if last == number => state.engine.backward(pass, &given).map(Some).map_err(raise),
            other => {
                state.pass = other;
                Ok(None)
            }
        })?;
        gradient.map(|gradient| dictionary(py, self.network(), &gradient)).transpose()
    }

    /// The weights, by the names of their tensors.
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = self.with(py, |state| state.engine.store().map_err(raise))?;
        dictionary(py, self.network(), &state.weights)
    }

    /// Replaces the weights; moments and step count become 0.
    fn set_weights(&self, py: Python<'_>, weights: &Bound<'_, PyDict>) -> PyResult<()> {
        let weights = weights_of(self.network(), weights)?;
        self.with(py, |state| {
            (state.fresh, state.pass, state.kept) = (false, None, InMemory::default());
            state.engine.load(&TrainingState::new(weights)).map_err(raise)
        })
    }

    /// Random weights from a seed, as a new model has.
    fn reset(&self, py: Python<'_>, seed: u64) -> PyResult<()> {
        self.with(py, |state| {
            (state.fresh, state.pass, state.kept) = (true, None, InMemory::default());
            let weights = Weights::init(&self.config.network, seed);
            state.engine.load(&TrainingState::new(weights)).map_err(raise)
        })
    }

    #[getter]
    fn fresh(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |state| Ok(state.fresh))
    }

    /// Writes the network and its weights to a safetensors file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.with_weights(py, |network, weights| save_weights(&path, network, weights))
    }

    /// The rasters of samples.
    fn raster(
        &self,
        py: Python<'_>,
        set: &EventSetHandle,
        titles: Vec<String>,
        class_names: Vec<String>,
    ) -> PyResult<PyRaster> {
        let set = &*set.0;
        self.check_labelled(set)?;
        let names = Some(class_names).filter(|names| !names.is_empty());
        self.with(py, |state| {
            let raster = |(k, title): (usize, String)| {
                let mut sample = EventSet::new(0, 0);
                sample.gather(set, &[k as u32]);
                let seen = state.engine.inspect(&sample).map_err(raise)?;
                let raster = Raster::of(&self.config.network, &sample, &seen, title);
                Ok(Raster { class_names: names.clone(), ..raster })
            };
            state.pass = None;
            titles.into_iter().take(set.len()).enumerate().map(raster).collect::<PyResult<Vec<_>>>().map(PyRaster)
        })
    }
}

/// The samples with class 0 in place of missing labels.
fn unlabelled_as_0(set: &EventSet) -> PyResult<EventSet> {
    let labels = set.labels().iter().map(|&label| if label == EventSet::UNLABELLED { 0 } else { label }).collect();
    let (starts, events) = (set.starts().to_vec(), set.events().to_vec());
    EventSet::from_parts(set.neurons(), set.time_steps(), starts, events, labels).map_err(raise)
}

/// The mean losses per sample.
fn losses<'py>(py: Python<'py>, loss: &LossTerms, samples: usize) -> PyResult<Bound<'py, PyDict>> {
    let mean = loss.divided(samples as f64);
    let dict = PyDict::new(py);
    dict.set_item("loss", mean.total())?;
    dict.set_item("loss_terms", pythonize(py, &mean).map_err(described)?)?;
    Ok(dict)
}

/// An inspection for Python. Without labels there are no loss and gradient.
fn inspected<'py>(
    py: Python<'py>,
    network: &Network,
    samples: usize,
    seen: Inspection,
    labelled: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = losses(py, &seen.loss, samples)?;
    let layers = PyList::empty(py);
    for (layer, seen) in network.spiking().zip(seen.spiking) {
        let fields = PyDict::new(py);
        let spikes = seen.spikes.iter().map(|&(b, event)| [b as usize, event.t(), event.i()]);
        fields.set_item("spikes", crate::tensors::triples(py, spikes)?)?;
        fields.set_item("v", floats(py, seen.v, &[samples, network.time_steps, layer.neurons])?)?;
        let active = seen.active.iter().map(|entry| [entry.b as usize, entry.t as usize, entry.j as usize]);
        fields.set_item("active", crate::tensors::triples(py, active)?)?;
        layers.append(fields)?;
    }
    dict.set_item("layers", layers)?;
    let steps = if seen.readout_v.is_empty() { 0 } else { network.time_steps };
    dict.set_item("readout_v", floats(py, seen.readout_v, &[samples, steps, network.classes()])?)?;
    dict.set_item("logits", floats(py, seen.logits, &[samples, network.classes()])?)?;
    match labelled {
        true => dict.set_item("gradient", dictionary(py, network, &seen.gradient)?)?,
        false => ["loss", "loss_terms"].iter().try_for_each(|name| dict.del_item(name))?,
    }
    Ok(dict)
}
