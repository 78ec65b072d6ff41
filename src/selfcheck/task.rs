//! The context of a section: settings, time, and the receiver of its messages.

use super::budget::Budget;
use super::message::Message;
use crate::engine::Method;
use crate::error::{Error, Result};
use crate::gpu::{self, AdapterSummary, GpuEngine, GpuOptions};
use crate::network::Network;
use crate::weights::Weights;
use serde::Serialize;
use std::time::{Duration, Instant};

/// For tests, in debug builds only: a fault injected into every engine that a section opens, `lost` or `panic`.
#[cfg(debug_assertions)]
const FAULT: &str = "SPIKEGRAD_SELFCHECK_FAULT";

/// A running section.
pub struct Task<'a> {
    device: Option<usize>,
    /// Whether to use small networks and short times.
    pub quick: bool,
    budget: Budget,
    emit: &'a mut dyn FnMut(Message),
}

impl<'a> Task<'a> {
    /// A section on adapter `device` (`None`: the best), with a time limit.
    pub fn new(device: Option<usize>, quick: bool, time: Duration, emit: &'a mut dyn FnMut(Message)) -> Self {
        Task { device, quick, budget: Budget::new(time), emit }
    }

    /// Reports skipped items and the end of the section.
    pub fn end(self) {
        if let Some(cut) = self.budget.cut() {
            (self.emit)(Message::Cut(cut));
        }
        (self.emit)(Message::Done);
    }

    /// The remaining time.
    pub fn left(&self) -> Duration {
        self.budget.left()
    }

    /// Reserves a fraction of the total time for later items.
    pub fn reserve(&mut self, fraction: f64) {
        self.budget.reserve(fraction);
    }

    /// Options for opening an engine: the adapter, default kernels, no tuning.
    pub fn options(&self) -> GpuOptions {
        GpuOptions { adapter: self.device, ..GpuOptions::default() }
    }

    fn summary(&self) -> Result<AdapterSummary> {
        let adapters = gpu::adapters();
        let index = self.device.or_else(|| gpu::adapter::best(&adapters, true));
        let adapter = index.and_then(|index| adapters.into_iter().nth(index));
        adapter.ok_or_else(|| Error::Device("no usable adapter".into()))
    }

    /// Whether the adapter is a software adapter.
    ///
    /// # Errors
    /// No such adapter.
    pub fn is_software(&self) -> Result<bool> {
        Ok(self.summary()?.kind == "software")
    }

    /// An engine for `network` with these weights.
    ///
    /// # Errors
    /// As [`GpuEngine::new`].
    pub fn open(&self, network: &Network, weights: &Weights, options: GpuOptions) -> Result<GpuEngine> {
        let engine = GpuEngine::new(network, Method::Sparse, weights, options)?;
        #[cfg(debug_assertions)]
        match std::env::var(FAULT).as_deref() {
            Ok("lost") => engine.wgpu_device().destroy(),
            Ok("panic") => panic!("injected by {FAULT}"),
            _ => {}
        }
        Ok(engine)
    }

    /// Runs an item of the section if there is time. Reports an error as failure. Returns the result, if any.
    pub fn item<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Option<T> {
        if !self.budget.admits(name) {
            return None;
        }
        self.doing(name);
        let clock = Instant::now();
        let outcome = work(self);
        self.budget.took(clock.elapsed());
        match outcome {
            Ok(value) => Some(value),
            // Not supported on any device, so not a failure of this one.
            Err(Error::Unsupported(what)) => {
                self.found(serde_json::json!({ "item": name, "unsupported": what }));
                None
            }
            Err(error) => {
                self.failed(format!("{name}: {error}"));
                None
            }
        }
    }

    /// Reports what begins now.
    pub fn doing(&mut self, what: &str) {
        (self.emit)(Message::Doing(what.into()));
    }

    /// Reports a result.
    pub fn found(&mut self, value: impl Serialize) {
        let value =
            serde_json::to_value(value).unwrap_or_else(|error| serde_json::json!({ "unwritable": error.to_string() }));
        (self.emit)(Message::Found(value));
    }

    /// Reports the adapter to check.
    pub fn adapter(&mut self, index: usize, line: String) {
        (self.emit)(Message::Adapter(index, line));
    }

    /// Reports the text of the section's printed line.
    pub fn headline(&mut self, line: impl Into<String>) {
        (self.emit)(Message::Headline(line.into()));
    }

    /// Reports the time of a step.
    pub fn step_ms(&mut self, name: impl Into<String>, ms: f64) {
        (self.emit)(Message::StepMs(name.into(), ms));
    }

    /// Reports a difference that is allowed.
    pub fn differs(&mut self, what: impl Into<String>) {
        (self.emit)(Message::Differs(what.into()));
    }

    /// Reports skipped items.
    pub fn cut(&mut self, what: impl Into<String>) {
        (self.emit)(Message::Cut(what.into()));
    }

    /// Reports a failure.
    pub fn failed(&mut self, what: impl Into<String>) {
        (self.emit)(Message::Failed(what.into()));
    }
}
