//! The `gpu` device: WGSL kernels through wgpu.
//!
//! A step is recorded once (`sparse.rs`, `dense.rs`) and replayed; several steps may share a submit (`steps.rs`). If a batch
//! does not fit the device, a step is computed in pieces (`pieces.rs`, `plan.rs`). The host does not wait for a step and
//! reads its report some steps later. If a list overflowed its buffer, the device has withheld that update and all after
//! it; the host then grows the buffers and runs those steps again.

pub mod adapter;
mod buffers;
pub mod ceilings;
mod context;
pub mod count;
mod cuts;
mod delta_scratch;
mod dense;
mod dense_layers;
mod gemm;
mod held;
mod inspect;
pub mod interface;
mod layer_params;
mod lockstep;
mod lockstep_state;
mod open;
pub mod params;
mod pieces;
pub mod plan;
pub mod probe;
mod profile;
pub mod races;
mod recording;
mod reference;
mod region;
mod rewrite;
mod room;
pub mod schedule;
pub mod shaders;
mod signal;
mod sparse;
pub mod squeeze;
mod steps;
pub mod tuning;
mod variant;

pub use adapter::{AdapterSummary, GpuOptions, Instrument, Tier, adapters};
pub use cuts::{Cuts, cuts};
pub use delta_scratch::{DELTA_SIZES, DeltaScratch};
pub use inspect::delta;
pub use recording::Phase;
pub use schedule::Schedule;
pub use sparse::Purpose;
pub use squeeze::Squeeze;
pub use variant::{VARIANTS, Variant};

use crate::engine::*;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::{MAX_EXTENT, Network};
use crate::optimiser::Adam;
use crate::weights::Weights;
use buffers::{LayerWeights, Model, Of, State, read_rows, report_words, slots};
use context::Context;
use dense_layers::DenseLayers;
use held::Held;
use pieces::Piece;
use plan::Rates;
use recording::Recording;
use region::Region;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use steps::{Input, Job, Pace, Report, Submitted};
use tuning::Choice;

/// A network on the gpu device.
pub struct GpuEngine {
    network: Network,
    method: Method,
    dense_layers: DenseLayers,
    options: GpuOptions,
    context: Context,
    /// Memory for δ: as requested, as tuned, or the default.
    delta: DeltaScratch,
    weights: Vec<LayerWeights>,
    held: Option<Held>,
    /// Most samples of a step so far. [`State`] has room for fewer if they do not fit the device at once.
    wanted: usize,
    rates: Option<Rates>,
    state: Option<State>,
    dense: dense::DenseState,
    recordings: HashMap<Piece, Recording>,
    /// Updates made or queued.
    step: u64,
    /// Steps that are not submitted yet.
    jobs: VecDeque<Job>,
    /// Steps under way.
    submitted: VecDeque<Submitted>,
    finished: Vec<StepReport>,
    spare_readbacks: Vec<Region>,
    pace: Pace,
    /// The words to be written into the slots of a submit.
    words: Vec<u32>,
    notes: Vec<String>,
    /// The number of the last pass that was not a training step; its report must contain it.
    canary: u32,
    /// The last forward pass, while a backward pass may follow it.
    open: Option<open::Open>,
    /// The errors of a backward pass under way, if the caller computes the loss: [B, Q, 4].
    errors_given: Vec<f32>,
    /// The potentials of each layer, for an inspection under way.
    recorded_v: Vec<Region>,
}

/// Refuses networks that no kernel supports on a device that binds `binding` bytes at once.
///
/// # Errors
/// [`Error::Unsupported`] for a convolution with a method other than sparse, or with too many neurons when its filters are
/// padded to a multiple of four; for recurrent layers beyond the limits of their kernels.
pub(crate) fn check_supported(network: &Network, method: Method, binding: u64) -> Result<()> {
    lockstep::check(network, binding)?;
    let convs = network.hidden.iter().enumerate().filter_map(|(l, layer)| Some((l, layer, layer.conv()?)));
    for (l, layer, conv) in convs {
        let refuse = |what: String| {
            Err(Error::Unsupported(format!("hidden[{l}] is a convolution{what} on the gpu device; use the cpu device")))
        };
        if !matches!(method, Method::Sparse | Method::Auto) {
            let only = "which only the method `sparse` computes";
            return match method {
                Method::Reference => Err(Error::Unsupported(format!(
                    "hidden[{l}] is a convolution, {only}; use it, or `dense` on the cpu device"
                ))),
                _ => refuse(format!(", {only}")),
            };
        }
        if slots(layer) > MAX_EXTENT {
            return refuse(format!(
                " of {} filters × {} pixels: it fills filters up to a multiple of four, and that makes {}, more than {MAX_EXTENT},",
                conv.filters,
                conv.pixels(),
                slots(layer)
            ));
        }
    }
    Ok(())
}

impl GpuEngine {
    /// A network with these weights, before the first step, on the adapter that `options` ask for.
    ///
    /// # Errors
    /// A network that [`Network::check`] refuses, weights that do not fit it ([`Weights::check`]), or no such adapter.
    pub fn new(network: &Network, method: Method, weights: &Weights, options: GpuOptions) -> Result<Self> {
        network.check()?;
        weights.check(network)?;
        Self::with_state(network, method, &TrainingState::new(weights.clone()), options)
    }

    /// A network that has been checked, from a saved state.
    fn with_state(network: &Network, method: Method, state: &TrainingState, options: GpuOptions) -> Result<Self> {
        let mut engine = Self::without_state(network, method, options)?;
        engine.load(state)?;
        Ok(engine)
    }

    /// A network that has been checked, with weights and moments of zero.
    fn without_state(network: &Network, method: Method, options: GpuOptions) -> Result<Self> {
        check_method(network, method)?;
        // Before the device is looked for.
        check_supported(network, method, u64::MAX)?;
        if method == Method::Reference {
            reference::check(network)?;
        }
        let mut context = Context::open(&options)?;
        check_supported(network, method, context.binding)?;
        let delta = options.delta_bytes.map_or(DeltaScratch::usual(context.tier), DeltaScratch::of_bytes);
        let usual = Choice { variant: context.variant, delta };
        let Choice { variant, delta } = tuning::choose(network, method, &options, &context, usual);
        context.variant = variant;
        let mut notes = Vec::new();
        if variant == Variant::Lockstep
            && let Err(why) = lockstep::possible(network, context.binding)
        {
            context.variant = Variant::Cooperative;
            notes.push(format!("the lockstep kernels cannot compute this network, as {why}; the cooperative ones do"));
        }
        let weights = LayerWeights::of(network, &context)?;
        if let (Method::Dense | Method::Reference, Some(l)) = (method, weights.iter().position(|w| !w.is_whole())) {
            let bytes = plan::matrix_bytes(weights[l].rows, weights[l].cols);
            return Err(Error::Device(format!(
                "the weights of layer {l} take {bytes} bytes, this adapter binds {}: they are cut into strips, which only the method `sparse` knows",
                context.binding
            )));
        }
        let in_strips = |l: &usize| network.hidden[*l].conv().is_some() && !weights[*l].is_whole();
        if let Some(l) = (0..network.hidden.len()).find(in_strips) {
            return Err(Error::Device(format!(
                "the weights of hidden[{l}], a convolution, are larger than the {} bytes that this adapter binds",
                context.binding
            )));
        }
        context.check()?;
        Ok(GpuEngine {
            network: network.clone(),
            method,
            dense_layers: DenseLayers::none(network),
            options,
            context,
            delta,
            weights,
            held: None,
            wanted: 0,
            rates: None,
            state: None,
            dense: dense::DenseState::default(),
            recordings: HashMap::new(),
            step: 0,
            jobs: VecDeque::new(),
            submitted: VecDeque::new(),
            finished: Vec::new(),
            spare_readbacks: Vec::new(),
            pace: Pace::default(),
            words: Vec::new(),
            notes,
            canary: 0,
            open: None,
            errors_given: Vec::new(),
            recorded_v: Vec::new(),
        })
    }

    /// wgpu's device, for calls that this crate does not wrap, such as reading its limits or destroying it. Replaced by
    /// [`reopen`](Engine::reopen).
    pub fn wgpu_device(&self) -> &wgpu::Device {
        &self.context.device
    }

    /// Switches to other kernels, or to other memory for δ. Queued steps keep theirs.
    fn switch(&mut self, to: Choice) -> Result<()> {
        if to.variant != self.context.variant {
            self.finish_all()?;
            let before = self.lockstep();
            self.context.variant = to.variant;
            self.recordings.clear();
            if self.lockstep() != before {
                (self.state, self.wanted) = (None, 0);
            }
        }
        if to.delta != self.delta {
            self.finish_all()?;
            self.delta = to.delta;
            self.recordings.clear();
            // The next step allocates again, with the lengths of lists that are known by now.
            (self.state, self.wanted) = (None, 0);
        }
        Ok(())
    }

    /// Time to compile each pipeline so far, ms, in order: the kernel and the names that it is compiled with, joined by `+`.
    pub fn compile_times(&self) -> &[(String, f64)] {
        &self.context.compile_ms
    }

    /// What each kernel executed since the last call, for an engine opened with [`Instrument::Count`]. A step that was
    /// repeated with longer lists counts once. Waits for queued steps.
    ///
    /// # Errors
    /// The engine does not count.
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

    /// The data races found in all dispatches that this engine has submitted, failed steps included, for an engine opened with
    /// [`Instrument::Races`]. Queued steps are not submitted yet: call [`reports`](Engine::reports) first.
    ///
    /// # Errors
    /// The engine does not look for races.
    pub fn races(&self) -> Result<races::Races> {
        let races = self.context.log.as_ref().map(races::AccessLog::races).unwrap_or_default();
        match races.checked.is_empty() {
            true => Err(Error::Device("no step has been looked through for data races".into())),
            false => Ok(races),
        }
    }

    /// The first of the layers that lock-step kernels compute, if any.
    fn lockstep(&self) -> Option<usize> {
        match self.method {
            Method::Sparse | Method::Auto => {
                lockstep::first(&self.network, self.context.variant, self.context.binding, Some(&self.dense_layers))
            }
            Method::Dense | Method::Reference => None,
        }
    }

    /// Makes sure that the recording of a piece exists.
    fn record(&mut self, piece: Piece) -> Result<()> {
        if self.recordings.contains_key(&piece) {
            return Ok(());
        }
        let Some(state) = &self.state else { return Ok(()) };
        let model = Model { network: &self.network, state, weights: &self.weights };
        let recording = match (self.method, piece.purpose) {
            (Method::Dense | Method::Reference, Purpose::Train | Purpose::Inspect) => {
                self.dense.make_room(&self.context, &self.network, state.sizes.batch)?;
                if piece.purpose == Purpose::Inspect {
                    self.dense.make_room_for_errors(&self.context, &self.network)?;
                }
                dense::record(&mut self.context, model, &self.dense, piece.samples, piece.purpose, self.method)
            }
            _ => {
                self.dense_layers.make_room(&self.context, &self.network, state.chunk)?;
                let held = self.held.as_ref();
                sparse::record(&mut self.context, model, &self.dense_layers, &piece, held, &self.recorded_v)
            }
        };
        if let Err(error) = self.context.check() {
            // A smaller batch may fit.
            self.dense = dense::DenseState::default();
            return Err(error);
        }
        self.recordings.insert(piece, recording);
        Ok(())
    }

    /// Runs pieces that are not training, and returns what `read` makes of the buffers after each; repeats with longer
    /// lists until they suffice.
    fn run<T>(
        &mut self,
        batch: &EventSet,
        purpose: Purpose,
        read: impl Fn(&Self, &State, &EventSet, &Report) -> Result<T>,
    ) -> Result<Vec<T>> {
        check_batch(&self.network, batch)?;
        self.finish_all()?;
        self.open = None;
        'again: loop {
            self.make_room(batch)?;
            let mut out = Vec::new();
            let pieces: Vec<_> = Piece::of(batch.len(), self.most_samples(purpose), purpose, false).collect();
            for (piece, range) in &pieces {
                let part = steps::part(batch, range, pieces.len());
                self.record(*piece)?;
                self.write_batch(&part);
                self.write_errors_given(range);
                // The report must contain this number, or the piece did not run to its end.
                self.canary = self.canary.wrapping_add(1) | 1 << 31;
                let Some(state) = &self.state else { return Err(Error::Device("no buffers".into())) };
                state.step.write(&self.context.queue, 0, bytemuck::bytes_of(&self.canary));
                let clear = |encoder: &mut wgpu::CommandEncoder| {
                    state.status.clear(encoder, 0);
                    state.report.clear(encoder, 0);
                };
                self.submit_piece(piece, clear, |encoder| Self::encode_flags(encoder, state))?;
                let words = report_words(self.network.spiking().count());
                let report = Report(self.context.read_as(&state.report, words)?);
                report.check(&self.context, self.canary)?;
                // The dense methods have no lists.
                let lists = purpose == Purpose::Evaluate || matches!(self.method, Method::Sparse | Method::Auto);
                let below = state.sizes.lockstep.unwrap_or(state.sizes.capacity.len());
                let overflowed = (lists && report.overflowed())
                    || (state.sizes.capacity[..below].iter().enumerate())
                        .any(|(l, c)| lists && (report.spikes(l) > c.events || report.active(l) > c.active));
                if report.cut_short() {
                    return Err(steps::loops_cut_short());
                }
                if overflowed {
                    self.grow(&[report])?;
                    continue 'again;
                }
                out.push(read(self, state, &part, &report)?);
            }
            return Ok(out);
        }
    }
}

impl Engine for GpuEngine {
    fn info(&self) -> DeviceInfo {
        let a = &self.context.adapter;
        let variant = self.context.variant;
        // A browser keeps the driver to itself.
        let driver = if a.driver.is_empty() { String::new() } else { format!(", {}", a.driver) };
        DeviceInfo {
            kind: "gpu",
            name: a.name.clone(),
            detail: format!("{}, {} adapter{driver}, {variant} kernels", a.backend, a.kind),
        }
    }

    fn kernels(&self) -> Option<&'static str> {
        Some(self.context.variant.name())
    }

    fn delta_bytes(&self) -> Option<u64> {
        Some(self.delta.bytes())
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn method(&self) -> Method {
        self.method
    }

    fn reopen(&mut self, state: &TrainingState) -> Result<()> {
        // Free the memory of the lost device, except the weights, which an engine must have.
        if let Some(held) = &mut self.held {
            held.resident = None;
        }
        (self.state, self.dense) = (None, dense::DenseState::default());
        self.recordings.clear();
        let options = GpuOptions {
            variant: Some(self.context.variant),
            delta_bytes: Some(self.delta.bytes()),
            tuning: false,
            ..self.options.clone()
        };
        let fresh = GpuEngine::with_state(&self.network, self.method, state, options)?;
        let (old, new) = (&self.context.adapter, &fresh.context.adapter);
        if old != new {
            return Err(Error::Device(format!("{} is gone, in its place is {}", old.name, new.name)));
        }
        let set = self.held.take().map(|held| held.set);
        let rates = self.rates.take();
        let layer_methods = self.dense_layers.methods().to_vec();
        *self = GpuEngine { options: self.options.clone(), rates, ..fresh };
        self.dense_layers.choose(&layer_methods);
        set.map_or(Ok(()), |set| self.hold(set))
    }

    fn load(&mut self, state: &TrainingState) -> Result<()> {
        self.finish_all()?;
        for weights in [&state.weights, &state.first, &state.second] {
            weights.check(&self.network)?;
        }
        self.open = None;
        self.step = state.step;
        if let Some(state) = &self.state {
            // Dense layers multiply old contents by spikes that are 0, which would keep a NaN.
            let mut encoder = self.context.device.create_command_encoder(&Default::default());
            state.delta.clear(&mut encoder, 0);
            self.context.queue.submit([encoder.finish()]);
        }
        for (l, layer) in self.weights.iter().enumerate() {
            layer.write(&self.context, |strip| &strip.weights, &state.weights.layers[l])?;
            layer.write(&self.context, |strip| &strip.first, &state.first.layers[l])?;
            layer.write(&self.context, |strip| &strip.second, &state.second.layers[l])?;
        }
        self.context.check()
    }

    fn store(&mut self) -> Result<TrainingState> {
        self.finish_all()?;
        let read = |of: Of| -> Result<Weights> {
            let layers = self.weights.iter().map(|layer| layer.read(&self.context, of));
            Ok(Weights { layers: layers.collect::<Result<_>>()? })
        };
        Ok(TrainingState {
            step: self.step,
            weights: read(|strip| &strip.weights)?,
            first: read(|strip| &strip.first)?,
            second: read(|strip| &strip.second)?,
        })
    }

    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        check_layer_methods(&self.network, self.method, methods)?;
        let mut methods = methods.to_vec();
        let conv = |l: usize| self.network.hidden.get(l).is_some_and(|layer| layer.conv().is_some());
        for (l, method) in methods.iter_mut().enumerate() {
            if *method == LayerMethod::Dense && l > 0 && conv(l - 1) {
                self.notes.push(format!("layer {l} stays sparse: matrix products do not read pooled spikes"));
                *method = LayerMethod::Sparse;
            }
            if *method == LayerMethod::Dense && self.network.first_recurrent().is_some() {
                self.notes
                    .push(format!("layer {l} stays sparse: lock-step kernels compute it with the recurrent layers"));
                *method = LayerMethod::Sparse;
            }
            if *method == LayerMethod::Dense && !self.weights[l].is_whole() {
                self.notes
                    .push(format!("layer {l} stays sparse: its weights are in strips, which matrix products lack"));
                *method = LayerMethod::Sparse;
            }
        }
        if self.dense_layers.methods() != methods {
            // A queued step that must be repeated uses the method that it was queued with.
            self.finish_all()?;
            self.recordings.clear();
            self.dense_layers.choose(&methods);
            // Chunks as large as the scratch of dense layers may be.
            (self.state, self.wanted) = (None, 0);
        }
        Ok(())
    }

    fn hold(&mut self, set: Arc<EventSet>) -> Result<()> {
        check_held(&self.network, &set)?;
        self.finish_all()?;
        self.recordings.clear();
        self.held = None;
        // At most half of the memory to be used, as steps need the rest.
        let most = self.options.memory.map_or(u64::MAX, |memory| memory / 2);
        // The dense methods take batches from the host.
        let events = matches!(self.method, Method::Sparse | Method::Auto);
        let (held, trouble) = Held::new(&self.context, set, events.then_some(most));
        if let Some(trouble) = trouble {
            self.notes.push(format!("batches are uploaded one by one: {trouble}"));
        }
        self.held = Some(held);
        // The set leaves less for the state of a step.
        if self.options.memory.is_some() {
            (self.state, self.wanted) = (None, 0);
        }
        self.context.check()
    }

    fn is_resident(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.resident.is_some())
    }

    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()> {
        let set = check_samples(self.held.as_ref().map(|held| &held.set), samples)?;
        if self.is_resident() {
            return self.enqueue(Input::Held(samples.to_vec()), *adam);
        }
        let mut batch = EventSet::new(0, 0);
        batch.gather(&set, samples);
        self.enqueue(Input::Batch(batch), *adam)
    }

    fn crossover(&self) -> f64 {
        match self.context.tier {
            // Between 5 and 15 % (docs/performance.md).
            Tier::Software => 0.10,
            // Not measured yet: every layer stays sparse.
            Tier::Hardware => 1.0,
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()> {
        check_batch(&self.network, batch)?;
        self.enqueue(Input::Batch(batch.clone()), *adam)
    }

    fn reports(&mut self, wait: bool) -> Result<Vec<StepReport>> {
        if wait {
            self.finish_all()?;
        } else {
            self.context.poll()?;
            while self.submitted.front().is_some_and(Submitted::done) {
                self.finish_oldest()?;
            }
            if self.submitted.is_empty() {
                self.flush()?;
            }
        }
        Ok(std::mem::take(&mut self.finished))
    }

    fn predict(&mut self, batch: &EventSet) -> Result<Prediction> {
        let classes = self.network.classes();
        let spiking = self.network.spiking().count();
        let pieces = self.run(&batch.labelled(), Purpose::Evaluate, |engine, state, part, report| {
            let logits = read_rows(&engine.context, &state.readout.logits, part.len(), classes)?;
            Ok((logits, (0..spiking).map(|l| u64::from(report.spikes(l))).collect::<Vec<_>>()))
        })?;
        let spikes: Vec<u64> = (0..spiking).map(|l| pieces.iter().map(|(_, spikes)| spikes[l]).sum()).collect();
        steps::check_loops(&self.context.adapter.name, &spikes, batch.len())?;
        Ok(Prediction::new(pieces.into_iter().flat_map(|(logits, _)| logits).collect(), classes, spikes))
    }

    fn forward(&mut self, batch: &EventSet) -> Result<Forward> {
        self.open_forward(batch)
    }

    fn backward(&mut self, pass: Forward, logit_gradient: &[f32]) -> Result<Weights> {
        self.open_backward(pass, logit_gradient)
    }

    fn gradient(&mut self, batch: &EventSet) -> Result<(Weights, StepReport)> {
        self.step_gradient(batch)
    }

    fn update(&mut self, gradient: &Weights, adam: &Adam) -> Result<()> {
        self.open_update(gradient, adam)
    }

    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection> {
        inspect::inspect(self, batch)
    }

    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile> {
        self.finish_all()?;
        self.open = None;
        profile::profile(self, batch, adam)
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        let report = self.context.device.generate_allocator_report()?;
        Some(DeviceMemory {
            bytes: report.total_allocated_bytes,
            allocations: report.allocations.len() as u64,
            reserved: report.total_reserved_bytes,
        })
    }

    fn state_bytes(&self) -> Vec<(String, u64)> {
        let gradient: u64 =
            self.weights.iter().flat_map(|layer| &layer.strips).map(|strip| strip.gradient.size()).sum();
        let mut bytes = vec![("weight gradient".to_string(), gradient)];
        bytes.extend(self.dense.bytes());
        bytes.extend(self.dense_layers.bytes());
        match (&self.state, self.method) {
            (Some(state), Method::Sparse | Method::Auto) => {
                bytes.extend(state.bytes.iter().filter(|(name, _)| name != buffers::BATCH).cloned())
            }
            (Some(state), Method::Dense | Method::Reference) => {
                bytes.push(("readout".into(), state.readout.logits.size() * 3))
            }
            (None, _) => {}
        }
        bytes
    }
}
