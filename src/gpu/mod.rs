//! The `gpu` device: WGSL kernels through wgpu.
//!
//! A step is recorded once (`sparse.rs`, `dense.rs`) and replayed as one compute pass a submit. The host does not wait
//! for it: its report is read some steps later. If a list overflowed its buffer, the device has withheld that update
//! and all after it; the host then grows the buffers and runs those steps again.

pub mod adapter;
mod buffers;
pub mod ceilings;
mod context;
pub mod count;
mod dense;
mod inspect;
pub mod params;
mod profile;
mod recording;
pub mod shaders;
mod sparse;
mod upload;

pub use adapter::{AdapterSummary, GpuOptions, Tier, adapters};
pub use inspect::delta;

use crate::engine::*;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::model::{Adam, Network};
use crate::weights::Weights;
use buffers::{Capacity, LayerWeights, State, read_rows, report_words};
use context::Context;
use params::AdamParams;
use recording::Recording;
use sparse::Purpose;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use upload::Upload;

/// Steps that may be queued before the host waits for the oldest.
const IN_FLIGHT: usize = 4;
/// Bytes for the δ of a chunk of samples: a software adapter wants it in its cache, a GPU enough work per dispatch.
const DELTA_BYTES: [(Tier, u64); 2] = [(Tier::Software, 4 << 20), (Tier::Hardware, 16 << 20)];

/// A network on the gpu device.
pub struct GpuEngine {
    network: Network,
    method: Method,
    layer_methods: Vec<LayerMethod>,
    held: Option<Arc<EventSet>>,
    options: GpuOptions,
    context: Context,
    weights: Vec<LayerWeights>,
    state: Option<State>,
    dense: dense::DenseState,
    recordings: HashMap<(usize, Purpose), Recording>,
    /// Updates made or queued.
    step: u64,
    pending: VecDeque<Pending>,
    finished: Vec<StepReport>,
    spare_readbacks: Vec<wgpu::Buffer>,
    upload: Upload,
    /// Where an inspection under way keeps the potentials of each layer.
    recorded_v: Vec<wgpu::Buffer>,
}

/// A queued step whose report has not been read.
struct Pending {
    step: u64,
    batch: EventSet,
    adam: Adam,
    readback: wgpu::Buffer,
    mapped: Arc<AtomicBool>,
    submission: wgpu::SubmissionIndex,
}

/// The report's words, by name.
struct Report(Vec<u32>);

impl Report {
    fn step(&self) -> u32 {
        self.0[0]
    }

    fn overflowed(&self) -> bool {
        self.0[1] != 0
    }

    fn spikes(&self, l: usize) -> u32 {
        self.0[4 + 4 * l]
    }

    fn active(&self, l: usize) -> u32 {
        self.0[5 + 4 * l]
    }

    fn float(&self, at: usize) -> f64 {
        f64::from(f32::from_bits(self.0[at]))
    }

    fn loss(&self) -> LossTerms {
        let hidden = 0..(self.0.len() - 4) / 4;
        LossTerms {
            cross_entropy: self.float(2),
            upper: hidden.clone().map(|l| self.float(6 + 4 * l)).sum(),
            lower: hidden.map(|l| self.float(7 + 4 * l)).sum(),
        }
    }
}

impl GpuEngine {
    /// A network with all weights 0 on the adapter that `options` ask for.
    ///
    /// # Errors
    /// A network that [`Network::check`] refuses, or no such adapter.
    pub fn new(network: &Network, method: Method, options: GpuOptions) -> Result<Self> {
        network.check()?;
        let context = Context::open(&options)?;
        let shapes = network.weight_shapes();
        let weights =
            shapes.into_iter().map(|(rows, cols)| LayerWeights::new(&context, rows, cols)).collect::<Result<_>>()?;
        context.check()?;
        Ok(GpuEngine {
            network: network.clone(),
            method,
            layer_methods: vec![LayerMethod::Sparse; network.hidden.len() + 1],
            held: None,
            options,
            context,
            weights,
            state: None,
            dense: dense::DenseState::default(),
            recordings: HashMap::new(),
            step: 0,
            pending: VecDeque::new(),
            finished: Vec::new(),
            spare_readbacks: Vec::new(),
            upload: Upload::default(),
            recorded_v: Vec::new(),
        })
    }

    /// Most bytes for the δ of a chunk, within what the device binds.
    fn delta_bytes(&self) -> u64 {
        let limit = self.context.device.limits().max_storage_buffer_binding_size;
        let usual =
            DELTA_BYTES.iter().find(|(tier, _)| *tier == self.context.tier).map_or(4 << 20, |(_, bytes)| *bytes);
        self.options.delta_bytes.unwrap_or(usual).min(limit)
    }

    /// What each kernel executed since the last call, for an engine opened with [`GpuOptions::count`]; a step that had
    /// to be run again with longer lists counts once. Waits for queued steps.
    ///
    /// # Errors
    /// Nothing was counted.
    pub fn counted(&mut self) -> Result<Vec<count::KernelCount>> {
        self.finish_all()?;
        let mut kernels = Vec::new();
        for recording in self.recordings.values() {
            recording.counted(&self.context, &mut kernels)?;
        }
        match kernels.is_empty() {
            true => Err(Error::Device("no step has been counted".into())),
            false => Ok(kernels),
        }
    }

    fn first_capacity(&self, batch: usize) -> Vec<Capacity> {
        let density = self.options.density_guess.unwrap_or(0.02);
        let guess = |neurons: usize| {
            let slots = (batch * self.network.time_steps * neurons) as f64;
            (slots * density).ceil().clamp(256.0, f64::from(u32::MAX / 16)) as u32
        };
        let both = |n| Capacity { events: guess(n), active: guess(n) };
        self.network.hidden.iter().map(|layer| both(layer.neurons)).collect()
    }

    /// Makes buffers that hold `batch`; recordings that used smaller ones are forgotten.
    fn make_room(&mut self, batch: &EventSet) -> Result<()> {
        check_batch(&self.network, batch)?;
        let (samples, events) = (batch.len(), batch.events().len());
        let fits = |s: &State| s.batch >= samples && s.input_events >= events;
        if self.state.as_ref().is_some_and(fits) {
            return Ok(());
        }
        // New buffers begin with the overflow flag down. A queued step may have raised it, and must be run again
        // before anything behind it.
        self.finish_all()?;
        let Some(s) = &self.state else {
            return self.allocate(samples, events + events / 4 + 256, self.first_capacity(samples));
        };
        if fits(s) {
            return Ok(());
        }
        let room = if s.input_events >= events { s.input_events } else { events + events / 2 };
        let larger = |(guess, has): (Capacity, &Capacity)| Capacity {
            events: guess.events.max(has.events),
            active: guess.active.max(has.active),
        };
        let samples = samples.max(s.batch);
        let capacity = self.first_capacity(samples).into_iter().zip(&s.capacity).map(larger).collect();
        self.allocate(samples, room, capacity)
    }

    fn allocate(&mut self, batch: usize, input_events: usize, capacity: Vec<Capacity>) -> Result<()> {
        self.recordings.clear();
        // Queued steps keep their own buffers alive until they are done.
        self.state = None;
        let delta = self.delta_bytes();
        self.state = Some(State::new(&self.context, &self.network, batch, input_events, capacity, delta)?);
        self.context.check()
    }

    /// Grows the lists of every layer that the report says are too small.
    fn grow(&mut self, report: &Report) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let mut capacity = state.capacity.clone();
        let roomier = |has: u32, needs: u32| if needs > has { needs.saturating_add(needs / 2) } else { has };
        for (l, c) in capacity.iter_mut().enumerate() {
            c.events = roomier(c.events, report.spikes(l));
            c.active = roomier(c.active, report.active(l));
        }
        if capacity == state.capacity {
            return Err(Error::Device("a list overflowed, but no count says which".into()));
        }
        let (batch, events) = (state.batch, state.input_events);
        self.allocate(batch, events, capacity)
    }

    /// Uploads a batch into the buffers made for it. Queued writes are ordered behind the steps before them.
    fn write_batch(&mut self, batch: &EventSet, backward: bool) {
        let Some(state) = &self.state else { return };
        let (queue, input) = (&self.context.queue, &state.input);
        let put = |buffer: &wgpu::Buffer, words: &[u32]| {
            if !words.is_empty() {
                queue.write_buffer(buffer, 0, bytemuck::cast_slice(words));
            }
        };
        put(&input.starts, batch.starts());
        put(&input.events, bytemuck::cast_slice(batch.events()));
        put(&input.labels, batch.labels());
        if backward {
            self.upload.prepare(batch, state.chunk);
            put(&input.presynaptic_starts, &self.upload.presynaptic_starts);
            put(&input.presynaptic, &self.upload.presynaptic);
            put(&input.needed, &self.upload.needed);
        }
    }

    /// Makes sure that the recording of a step exists.
    fn record(&mut self, batch: usize, purpose: Purpose) -> Result<()> {
        if self.recordings.contains_key(&(batch, purpose)) {
            return Ok(());
        }
        let Some(state) = &self.state else { return Ok(()) };
        let recording = match (self.method, purpose) {
            (Method::Dense, Purpose::Train | Purpose::Inspect) => {
                self.dense.make_room(&self.context, &self.network, state.batch)?;
                if purpose == Purpose::Inspect {
                    self.dense.make_room_for_errors(&self.context, &self.network)?;
                }
                let parts = (&self.network, state, &self.weights[..], &self.dense);
                dense::record(&mut self.context, parts, batch, purpose)
            }
            _ => {
                sparse::record(&mut self.context, &self.network, state, &self.weights, batch, purpose, &self.recorded_v)
            }
        };
        self.context.check()?;
        self.recordings.insert((batch, purpose), recording);
        Ok(())
    }

    /// Encodes and submits a training step without waiting for anything.
    fn submit(&mut self, step: u64, batch: EventSet, adam: Adam) -> Result<()> {
        self.make_room(&batch)?;
        self.record(batch.len(), Purpose::Train)?;
        self.write_batch(&batch, true);
        let words = report_words(self.network.hidden.len());
        let readback = self.spare_readbacks.pop().unwrap_or_else(|| self.context.readback(4 * words as u64));
        let (Some(state), Some(recording)) = (&self.state, self.recordings.get(&(batch.len(), Purpose::Train))) else {
            return Err(Error::Device("the step was not recorded".into()));
        };
        let queue = &self.context.queue;
        queue.write_buffer(&state.adam, 0, bytemuck::bytes_of(&AdamParams::from(adam.constants(step))));
        queue.write_buffer(&state.step, 0, bytemuck::bytes_of(&[step as u32, 0, 0, 0]));
        let mut encoder = self.context.device.create_command_encoder(&Default::default());
        recording.encode(&mut encoder);
        encoder.copy_buffer_to_buffer(&state.report, 0, &readback, 0, 4 * words as u64);
        let submission = queue.submit([encoder.finish()]);
        let mapped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&mapped);
        readback.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            flag.store(result.is_ok(), Ordering::Release);
        });
        self.pending.push_back(Pending { step, batch, adam, readback, mapped, submission });
        Ok(())
    }

    /// Reads the report of the oldest queued step, which must be done.
    fn finish_oldest(&mut self) -> Result<()> {
        let Some(pending) = self.pending.pop_front() else { return Ok(()) };
        let report = self.read_report(&pending)?;
        if report.overflowed() {
            return self.run_again(pending, &report);
        }
        let hidden = 0..self.network.hidden.len();
        let input = pending.batch.events().len() as u64;
        let spikes = hidden.clone().map(|l| u64::from(report.spikes(l)));
        self.finished.push(StepReport {
            step: pending.step,
            samples: pending.batch.len(),
            loss: report.loss(),
            correct: report.float(3) as usize,
            spikes: std::iter::once(input).chain(spikes).collect(),
            active: hidden.map(|l| u64::from(report.active(l))).collect(),
        });
        Ok(())
    }

    fn read_report(&mut self, pending: &Pending) -> Result<Report> {
        if !pending.mapped.load(Ordering::Acquire) {
            return Err(Error::Device(format!("the report of step {} could not be read", pending.step)));
        }
        let words = report_words(self.network.hidden.len());
        let report = {
            let view = pending
                .readback
                .slice(..4 * words as u64)
                .get_mapped_range()
                .map_err(|e| Error::Device(format!("the report of step {}: {e}", pending.step)))?;
            Report(bytemuck::pod_collect_to_vec(&view))
        };
        pending.readback.unmap();
        self.spare_readbacks.push(pending.readback.clone());
        if report.step() != pending.step as u32 {
            return Err(Error::Device(format!(
                "step {} did not run to its end (its report says {}); the driver may have cut it short: use a smaller batch",
                pending.step,
                report.step()
            )));
        }
        Ok(report)
    }

    /// A list of `first` overflowed: its update and those of all steps queued behind it were withheld on the device.
    /// Grows the buffers and runs them all again, in order.
    fn run_again(&mut self, first: Pending, report: &Report) -> Result<()> {
        self.context.wait(None)?;
        let behind: Vec<Pending> = self.pending.drain(..).collect();
        for pending in &behind {
            pending.readback.unmap();
            self.spare_readbacks.push(pending.readback.clone());
        }
        self.grow(report)?;
        for Pending { step, batch, adam, .. } in std::iter::once(first).chain(behind) {
            self.submit(step, batch, adam)?;
        }
        Ok(())
    }

    /// Waits for every queued step, those run again included.
    fn finish_all(&mut self) -> Result<()> {
        while let Some(oldest) = self.pending.front() {
            let submission = oldest.submission.clone();
            self.context.wait(Some(submission))?;
            self.finish_oldest()?;
        }
        Ok(())
    }

    /// Runs a recorded step that is not training and returns its report; grows lists and repeats until they suffice.
    fn run(&mut self, batch: &EventSet, purpose: Purpose) -> Result<Report> {
        self.finish_all()?;
        loop {
            self.make_room(batch)?;
            self.record(batch.len(), purpose)?;
            self.write_batch(batch, purpose != Purpose::Evaluate);
            let (Some(state), Some(recording)) = (&self.state, self.recordings.get(&(batch.len(), purpose))) else {
                return Err(Error::Device("the step was not recorded".into()));
            };
            let mut encoder = self.context.device.create_command_encoder(&Default::default());
            encoder.clear_buffer(&state.status, 0, None);
            encoder.clear_buffer(&state.report, 0, None);
            recording.encode(&mut encoder);
            self.context.queue.submit([encoder.finish()]);
            let words = report_words(self.network.hidden.len());
            let report = Report(self.context.read_as(&state.report, words)?);
            let overflowed = report.overflowed()
                || (state.capacity.iter().enumerate())
                    .any(|(l, c)| report.spikes(l) > c.events || report.active(l) > c.active);
            if !overflowed {
                return Ok(report);
            }
            self.grow(&report)?;
        }
    }
}

impl Engine for GpuEngine {
    fn info(&self) -> DeviceInfo {
        let a = &self.context.adapter;
        let tier = match self.context.tier {
            Tier::Software => "software",
            Tier::Hardware => "hardware",
        };
        DeviceInfo {
            kind: "gpu",
            name: a.name.clone(),
            detail: format!("{}, {} adapter, {}, {tier} kernels", a.backend, a.kind, a.driver),
        }
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn load(&mut self, state: &TrainingState) -> Result<()> {
        self.finish_all()?;
        for weights in [&state.weights, &state.first, &state.second] {
            weights.check(&self.network)?;
        }
        self.step = state.step;
        for (l, layer) in self.weights.iter().enumerate() {
            layer.write(&self.context, &layer.weights, &state.weights.layers[l]);
            layer.write(&self.context, &layer.first, &state.first.layers[l]);
            layer.write(&self.context, &layer.second, &state.second.layers[l]);
        }
        self.context.check()
    }

    fn store(&mut self) -> Result<TrainingState> {
        self.finish_all()?;
        let read = |of: fn(&LayerWeights) -> &wgpu::Buffer| -> Result<Weights> {
            let layers = self.weights.iter().map(|layer| layer.read(&self.context, of(layer)));
            Ok(Weights { layers: layers.collect::<Result<_>>()? })
        };
        Ok(TrainingState {
            step: self.step,
            weights: read(|layer| &layer.weights)?,
            first: read(|layer| &layer.first)?,
            second: read(|layer| &layer.second)?,
        })
    }

    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        check_layer_methods(&self.network, self.method, methods)?;
        self.layer_methods = methods.to_vec();
        Ok(())
    }

    fn hold(&mut self, set: Arc<EventSet>) -> Result<()> {
        check_held(&self.network, &set)?;
        self.held = Some(set);
        Ok(())
    }

    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()> {
        let set = check_samples(self.held.as_ref(), samples)?;
        let mut batch = EventSet::new(0, 0);
        batch.gather(&set, samples);
        self.train(&batch, adam)
    }

    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()> {
        check_batch(&self.network, batch)?;
        if let (true, Some(oldest)) = (self.pending.len() >= IN_FLIGHT, self.pending.front()) {
            let submission = oldest.submission.clone();
            self.context.wait(Some(submission))?;
            self.finish_oldest()?;
        }
        self.submit(self.step + 1, batch.clone(), *adam)?;
        self.step += 1;
        Ok(())
    }

    fn reports(&mut self, wait: bool) -> Result<Vec<StepReport>> {
        if wait {
            self.finish_all()?;
        } else {
            self.context.poll()?;
            while self.pending.front().is_some_and(|oldest| oldest.mapped.load(Ordering::Acquire)) {
                self.finish_oldest()?;
            }
        }
        Ok(std::mem::take(&mut self.finished))
    }

    fn evaluate(&mut self, batch: &EventSet) -> Result<Evaluation> {
        let report = self.run(batch, Purpose::Evaluate)?;
        let Some(state) = &self.state else { return Err(Error::Device("no buffers".into())) };
        let classes = self.network.readout.classes;
        Ok(Evaluation {
            logits: read_rows(&self.context, &state.readout.logits, batch.len(), classes)?,
            spikes: (0..self.network.hidden.len()).map(|l| u64::from(report.spikes(l))).collect(),
        })
    }

    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection> {
        inspect::inspect(self, batch)
    }

    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile> {
        self.finish_all()?;
        profile::profile(self, batch, adam)
    }

    fn state_bytes(&self) -> Vec<(String, u64)> {
        let gradient: u64 = self.weights.iter().map(|layer| layer.gradient.size()).sum();
        let mut bytes = vec![("weight gradient".to_string(), gradient)];
        bytes.extend(self.dense.bytes());
        match (&self.state, self.method) {
            (Some(state), Method::Sparse | Method::Auto) => bytes.extend(state.bytes()),
            (Some(state), Method::Dense | Method::Reference) => {
                bytes.push(("readout".into(), state.readout.logits.size() * 3))
            }
            (None, _) => {}
        }
        bytes
    }
}
