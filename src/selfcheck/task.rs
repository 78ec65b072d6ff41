//! What a section works with: its settings, its time, and where its findings go.

use super::budget::Budget;
use super::message::Message;
use crate::engine::Method;
use crate::error::{Error, Result};
use crate::gpu::{self, AdapterSummary, GpuEngine, GpuOptions, VARIANTS, Variant};
use crate::network::Network;
use crate::weights::Weights;
use serde::Serialize;
use std::time::{Duration, Instant};

/// In debug builds, a fault that every engine opened by a section suffers: `lost` or `panic`. For tests.
#[cfg(debug_assertions)]
const FAULT: &str = "SPIKEGRAD_SELFCHECK_FAULT";

/// A section under way.
pub struct Task<'a> {
    device: Option<usize>,
    /// Whether everything is to be small.
    pub quick: bool,
    budget: Budget,
    emit: &'a mut dyn FnMut(Message),
}

impl<'a> Task<'a> {
    /// On adapter `device`, or the best one, for `time`.
    pub fn new(device: Option<usize>, quick: bool, time: Duration, emit: &'a mut dyn FnMut(Message)) -> Self {
        Task { device, quick, budget: Budget::new(time), emit }
    }

    /// Tells that all is done, and what was cut.
    pub fn end(self) {
        if let Some(cut) = self.budget.cut() {
            (self.emit)(Message::Cut(cut));
        }
        (self.emit)(Message::Done);
    }

    /// The time that is left.
    pub fn left(&self) -> Duration {
        self.budget.left()
    }

    /// Keeps a fraction of the whole time for what comes later.
    pub fn reserve(&mut self, fraction: f64) {
        self.budget.reserve(fraction);
    }

    /// What every engine is opened with: the adapter, usual kernels, no tuning.
    pub fn options(&self) -> GpuOptions {
        GpuOptions { adapter: self.device, ..GpuOptions::default() }
    }

    fn summary(&self) -> Result<AdapterSummary> {
        let adapters = gpu::adapters();
        let index = self.device.or_else(|| gpu::adapter::best(&adapters, true));
        let adapter = index.and_then(|index| adapters.into_iter().nth(index));
        adapter.ok_or_else(|| Error::Device("no usable adapter".into()))
    }

    /// The variants that the adapter runs.
    ///
    /// # Errors
    /// No such adapter.
    pub fn variants(&self) -> Result<Vec<Variant>> {
        let adapter = self.summary()?;
        Ok(VARIANTS.into_iter().filter(|variant| variant.runs_on(&adapter)).collect())
    }

    /// Whether the adapter is a program on the CPU.
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
            Ok("panic") => panic!("as {FAULT} asks"),
            _ => {}
        }
        Ok(engine)
    }

    /// Does an item of the section if there is time, tells of its failure, and returns what came of it.
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
            // What this version cannot do on any device is no fault of this one.
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

    /// Tells what is under way.
    pub fn doing(&mut self, what: &str) {
        (self.emit)(Message::Doing(what.into()));
    }

    /// Tells a result.
    pub fn found(&mut self, value: impl Serialize) {
        let value =
            serde_json::to_value(value).unwrap_or_else(|error| serde_json::json!({ "unwritable": error.to_string() }));
        (self.emit)(Message::Found(value));
    }

    /// Tells which adapter is checked.
    pub fn adapter(&mut self, index: usize, line: String) {
        (self.emit)(Message::Adapter(index, line));
    }

    /// Tells the section's line.
    pub fn headline(&mut self, line: impl Into<String>) {
        (self.emit)(Message::Headline(line.into()));
    }

    /// Tells the time of a step.
    pub fn step_ms(&mut self, name: impl Into<String>, ms: f64) {
        (self.emit)(Message::StepMs(name.into(), ms));
    }

    /// Tells what differs and may.
    pub fn differs(&mut self, what: impl Into<String>) {
        (self.emit)(Message::Differs(what.into()));
    }

    /// Tells what was left out on purpose.
    pub fn cut(&mut self, what: impl Into<String>) {
        (self.emit)(Message::Cut(what.into()));
    }

    /// Tells what is wrong.
    pub fn failed(&mut self, what: impl Into<String>) {
        (self.emit)(Message::Failed(what.into()));
    }
}
