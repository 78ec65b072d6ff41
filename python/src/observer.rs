//! Passes the events of a run to Python, and what Python wants back to the run.

use crate::errors::described;
use pyo3::prelude::*;
use pythonize::pythonize;
use serde::Serialize;
use spikegrad::train::{EpochRecord, Observer, Start, StepProgress, Warning};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Steps are reported at most this often: a thread that holds Python's lock delays the run each time.
const INTERVAL: Duration = Duration::from_millis(20);

/// Calls the methods on_start, on_step, on_epoch and on_warning of a Python object, and looks for signals such as Ctrl-C between
/// steps. An exception stops the run, which then returns it.
pub struct Bridge<'a> {
    target: &'a Py<PyAny>,
    stop: &'a AtomicBool,
    /// What stopped the run.
    pub error: Option<PyErr>,
    /// Whether the run has begun; a run that is refused has not.
    pub started: bool,
    last: Instant,
}

/// The start of a run, for Python.
#[derive(Serialize)]
struct StartFields<'a> {
    device: &'a spikegrad::engine::DeviceInfo,
    epochs: u64,
    epochs_done: u64,
    batches: u64,
    batches_done: u64,
    train_samples: u64,
    validation_samples: u64,
    resumed: bool,
    notes: &'a [String],
}

/// The progress within an epoch, for Python.
#[derive(Serialize)]
struct StepFields {
    epoch: u64,
    epochs: u64,
    batch: u64,
    batches: u64,
    loss: f64,
    accuracy: f64,
    samples: u64,
    seconds: f64,
}

impl<'a> Bridge<'a> {
    pub fn new(target: &'a Py<PyAny>, stop: &'a AtomicBool) -> Self {
        Bridge { target, stop, error: None, started: false, last: Instant::now() }
    }

    /// Calls Python unless an exception has stopped the run.
    fn call<T>(&mut self, act: impl FnOnce(Python<'_>, &Bound<'_, PyAny>) -> PyResult<T>) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        let done = Python::attach(|py| {
            // Python runs the handlers of signals only when it looks for them.
            py.check_signals()?;
            act(py, self.target.bind(py))
        });
        self.last = Instant::now();
        match done {
            Ok(value) => Some(value),
            Err(error) => {
                self.error = Some(error);
                self.stop.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    fn send(&mut self, method: &str, fields: &impl Serialize) -> Option<bool> {
        self.call(|py, target| {
            let fields = pythonize(py, fields).map_err(described)?;
            target.call_method1(method, (fields,))?.is_truthy()
        })
    }

    fn due(&self) -> bool {
        self.last.elapsed() >= INTERVAL
    }
}

impl Observer for Bridge<'_> {
    fn on_start(&mut self, start: &Start) {
        self.started = true;
        let fields = StartFields {
            device: &start.device,
            epochs: start.epochs,
            epochs_done: start.epochs_done,
            batches: start.batches,
            batches_done: start.batches_done,
            train_samples: start.train_samples,
            validation_samples: start.test_samples,
            resumed: start.resumed,
            notes: &start.notes,
        };
        self.send("on_start", &fields);
    }

    fn on_step(&mut self, step: &StepProgress) {
        if self.due() || step.batch == step.batches {
            let fields = StepFields {
                epoch: step.epoch,
                epochs: step.epochs,
                batch: step.batch,
                batches: step.batches,
                loss: step.sums.mean_loss().total(),
                accuracy: step.sums.accuracy(),
                samples: step.session_samples,
                seconds: step.session_seconds,
            };
            self.send("on_step", &fields);
        }
    }

    fn on_test_batch(&mut self) {
        if self.due() {
            self.call(|_, _| Ok(()));
        }
    }

    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        match self.send("on_epoch", record) {
            Some(false) => ControlFlow::Continue(()),
            Some(true) | None => ControlFlow::Break(()),
        }
    }

    fn on_warning(&mut self, warning: &Warning) {
        self.call(|_, target| target.call_method1("on_warning", (&warning.text,)).map(drop));
    }
}
