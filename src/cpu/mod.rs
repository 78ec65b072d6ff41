//! The `cpu` device: every operation in plain Rust. The shaders of the same names are tested against it.
//!
//! A step has two parallel phases. The first runs over groups of samples: forward, loss, spike gradient. The second runs over
//! column tiles of all layers: weight gradient and Adam. One thread sums the whole gradient of a tile in its scratch and
//! applies Adam at once, so gradients need no other memory.

mod adam;
mod backward;
mod conv;
mod conv_backward;
mod delta;
mod dense;
mod dense_conv;
mod forward;
mod group;
mod lanes;
mod lif_forward;
mod loss;
mod matmul;
mod neurons;
mod open;
mod products;
mod readout;
mod recurrent_forward;
mod recurrent_gradient;
mod reference;
mod spike_gradient;
mod state;
mod tiles;
mod weight_gradient;

pub use delta::delta;
pub(crate) use group::group_size;

use crate::engine::*;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::Network;
use crate::optimiser::{Adam, AdamConstants};
use crate::platform::Instant;
use crate::weights::{Matrix, Weights};
use adam::adam;
use conv::{Conv, ConvSample};
use group::{Group, Plan, ThreadScratch, WeightLayer};
use neurons::Neurons;
use rayon::prelude::*;
use state::ActiveEntries;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tiles::{TiledMatrix, with_width};
use weight_gradient::{Presynaptic, weight_gradient};

/// A network on the cpu device.
pub struct CpuEngine {
    network: Network,
    method: Method,
    layer_methods: Vec<LayerMethod>,
    held: Option<Arc<EventSet>>,
    /// The neurons of each weight layer; the last one is the readout.
    neurons: Vec<Neurons>,
    /// For each hidden layer, its places if it is a convolution.
    convs: Vec<Option<Conv>>,
    /// For each weight layer, the first row of its recurrent weights if it has any.
    own_rows: Vec<Option<usize>>,
    step: u64,
    layers: Vec<WeightsAndMoments>,
    groups: Vec<Group>,
    /// One per thread.
    scratch: Vec<Mutex<ThreadScratch>>,
    dense: dense::DenseArrays,
    reports: Vec<StepReport>,
    /// The forward pass whose results the groups hold, if a separate backward pass may follow.
    open: Option<open::OpenPass>,
}

/// The weights of a layer and their first and second moments.
struct WeightsAndMoments {
    weights: TiledMatrix,
    first: TiledMatrix,
    second: TiledMatrix,
}

impl WeightsAndMoments {
    fn tiles(&mut self, layer: usize) -> impl Iterator<Item = TileTask<'_>> {
        let state = self.weights.tiles.iter_mut().zip(&mut self.first.tiles).zip(&mut self.second.tiles);
        self.weights.columns.iter().zip(state).enumerate().map(move |(tile, (columns, ((weights, first), second)))| {
            TileTask { layer, tile, columns: *columns, weights, first, second }
        })
    }
}

/// A column tile with its weights and moments, for the thread that updates it.
struct TileTask<'a> {
    layer: usize,
    tile: usize,
    columns: tiles::Columns,
    weights: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

/// Collects the times of the phases of a step.
#[derive(Default)]
struct Clock {
    kernels: Vec<KernelTime>,
}

impl Clock {
    fn add(&mut self, name: String, ms: Option<f64>) {
        self.kernels.push(KernelTime { name, calls: 1, ms });
    }

    fn time<R>(&mut self, name: impl FnOnce() -> String, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = work();
        let ms = begin.elapsed().as_secs_f64() * 1e3;
        self.add(name(), Some(ms));
        result
    }

    fn profile(self) -> Profile {
        let is_forward =
            |k: &KernelTime| ["lif_forward", "readout", "dense_forward"].iter().any(|p| k.name.starts_with(p));
        let sum =
            |forward: bool| Some(self.kernels.iter().filter(|k| is_forward(k) == forward).filter_map(|k| k.ms).sum());
        // Threads are in different phases at the same time, so the slices are laid end to end.
        let mut begin_ms = 0.0;
        let mut slice = |k: &KernelTime| {
            let ms = k.ms?;
            begin_ms += ms;
            Some(Slice { kernel: k.name.clone(), begin_ms: begin_ms - ms, ms })
        };
        let slices = self.kernels.iter().filter_map(&mut slice).collect();
        Profile { forward_ms: sum(true), backward_ms: sum(false), kernels: self.kernels, slices }
    }
}

impl CpuEngine {
    /// Creates an engine for a network with these weights, before the first step.
    ///
    /// # Errors
    /// A network that [`Network::check`] refuses, or weights that do not fit it ([`Weights::check`]).
    pub fn new(network: &Network, method: Method, weights: &Weights) -> Result<Self> {
        network.check()?;
        weights.check(network)?;
        check_method(network, method)?;
        if let (Method::Reference, Some(l)) = (method, network.first_conv()) {
            return Err(Error::Unsupported(format!(
                "hidden[{l}] is a convolution, which the method `reference` does not compute; compare with `dense`"
            )));
        }
        let layer = |weights: &Matrix| {
            let zeros = Matrix::zeros(weights.rows, weights.cols);
            let moments = || TiledMatrix::cut(&zeros);
            WeightsAndMoments { weights: TiledMatrix::cut(weights), first: moments(), second: moments() }
        };
        Ok(CpuEngine {
            neurons: Neurons::of(&method.network(network)),
            convs: network.hidden.iter().map(|layer| layer.conv().map(Conv::new)).collect(),
            own_rows: own_rows(network),
            network: network.clone(),
            method,
            layer_methods: vec![LayerMethod::Sparse; network.hidden.len() + 1],
            held: None,
            step: 0,
            layers: weights.layers.iter().map(layer).collect(),
            groups: Vec::new(),
            scratch: Vec::new(),
            dense: dense::DenseArrays::default(),
            reports: Vec::new(),
            open: None,
        })
    }

    fn begin(&mut self, batch: &EventSet) -> Result<()> {
        check_batch(&self.network, batch)?;
        self.open = None;
        let size = group_size(&self.network);
        self.groups.resize_with(batch.len().div_ceil(size), Group::default);
        for (k, group) in self.groups.iter_mut().enumerate() {
            group.begin(k * size..batch.len().min((k + 1) * size), &self.network);
        }
        self.scratch.resize_with(rayon::current_num_threads().max(self.scratch.len()), Mutex::default);
        Ok(())
    }

    /// What all groups read in a step.
    fn plan<'a>(&'a self, batch: &'a EventSet, backward: bool) -> Plan<'a> {
        let biases = self.network.biases();
        let layer = |(l, layer): (usize, &'a WeightsAndMoments)| WeightLayer {
            weights: &layer.weights,
            own_row: self.own_rows[l],
            bias: biases[l],
            method: self.layer_methods[l],
            conv: self.convs.get(l).and_then(Option::as_ref),
            neurons: &self.neurons[l],
        };
        let layers = self.layers.iter().enumerate().map(layer).collect();
        Plan { network: &self.network, batch, layers, backward }
    }

    /// Runs `work` for each group in parallel, with the group's element of `of_groups`.
    fn over_groups<T: Send>(
        &mut self,
        batch: &EventSet,
        backward: bool,
        of_groups: Vec<T>,
        work: impl Fn(&Plan, &mut Group, &mut ThreadScratch, T) + Sync,
    ) {
        let mut groups = std::mem::take(&mut self.groups);
        let plan = self.plan(batch, backward);
        let all = groups.par_iter_mut().zip(of_groups).with_max_len(1);
        all.for_each(|(group, own)| work(&plan, group, &mut own_scratch(&self.scratch), own));
        self.groups = groups;
    }

    /// Runs all groups forward, computes the loss and, with `backward`, the errors of every layer. `v`, if given, receives the
    /// potentials of every layer as [B, T, N].
    fn pass(&mut self, batch: &EventSet, backward: bool, clock: &mut Clock, v: Option<&mut [Vec<f32>]>) {
        let keep = v.is_some();
        let mut records: Vec<Vec<&mut [f32]>> = self.groups.iter().map(|_| Vec::new()).collect();
        for (v, neurons) in v.into_iter().flatten().zip(&self.network.sizes()[1..]) {
            let chunks = v.chunks_mut(group_size(&self.network) * batch.time_steps() * neurons);
            chunks.zip(&mut records).for_each(|(chunk, records)| records.push(chunk));
        }
        self.over_groups(batch, backward, records, |plan, group, scratch, records| {
            group.forward(plan, scratch, records);
            group.loss(plan, scratch);
            group.laps.lap();
            if backward {
                group.backward(plan, scratch);
            }
            if keep {
                group.keep_convs(scratch);
            }
        });
        self.add_phases(clock);
    }

    /// Adds the times of the phases over groups to the clock, averaged over threads.
    fn add_phases(&self, clock: &mut Clock) {
        let hidden = self.network.hidden.len();
        let spiking = (0..self.network.spiking().count()).map(|l| format!("lif_forward.{l}"));
        let backward = |l: usize| match self.convs[l] {
            None => format!("spike_gradient.{l}"),
            Some(_) => format!("spike_gradient+weight_gradient.{l}"),
        };
        let names = spiking.chain(["readout+loss".into()]).chain((0..hidden).rev().map(backward));
        let threads = rayon::current_num_threads().min(self.groups.len()) as f64;
        for (phase, name) in names.enumerate() {
            let seconds: Option<f64> = self.groups.iter().map(|group| group.laps.seconds.get(phase)).sum();
            clock.add(name, seconds.map(|s| 1e3 * s / threads));
        }
    }

    /// Sums the gradient of every tile in scratch and passes it to `take` while it is in the cache.
    fn weight_gradient(&mut self, batch: &EventSet, clock: &mut Clock, take: impl Fn(TileTask, &[f32]) + Sync) {
        let (groups, neurons, biases) = (&self.groups, &self.neurons, self.network.biases());
        let (methods, convs, own_rows, scratch) = (&self.layer_methods, &self.convs, &self.own_rows, &self.scratch);
        let mut tasks: Vec<TileTask> =
            self.layers.iter_mut().enumerate().flat_map(|(l, layer)| layer.tiles(l)).collect();
        // Largest first, so that the last tasks to finish are short.
        tasks.sort_by_key(|task| std::cmp::Reverse(task.weights.len()));
        let work = |task: TileTask| {
            let scratch = &mut *own_scratch(scratch);
            let (l, columns) = (task.layer, task.columns);
            let (adjoint, bias) = (neurons[l].adjoint(), biases[l]);
            let (rows, dense, gradient) = scratch.rows_and_gradient(task.weights.len());
            gradient.fill(0.0);
            let (steps, width) = (batch.time_steps(), columns.width);
            if convs.get(l).is_some_and(Option::is_some) {
                for group in groups {
                    let part = &group.layers[l].conv.gradient[task.tile];
                    gradient.iter_mut().zip(&part[..]).for_each(|(sum, part)| *sum += part);
                }
                return take(task, gradient);
            }
            for group in groups {
                for k in 0..group.samples.len() {
                    let spikes = group.input(batch, l, k);
                    let delta = group.delta(l, k, task.tile, columns.begin, adjoint, steps);
                    match methods[l] {
                        LayerMethod::Sparse => {
                            let (inputs, nothing) =
                                (Presynaptic { spikes, row: 0 }, Presynaptic { spikes: &[], row: 0 });
                            let own = |row: usize| Presynaptic { spikes: group.layers[l].spikes.sample(k), row };
                            let sources = &mut [inputs, own_rows[l].map_or(nothing, own)];
                            with_width!(width, weight_gradient(sources, delta, steps, rows, gradient, bias));
                        }
                        LayerMethod::Dense => {
                            products::weight_gradient(spikes, delta, steps, width, dense, gradient);
                        }
                    }
                }
            }
            take(task, gradient);
        };
        clock.time(|| "weight_gradient+adam".into(), || tasks.into_par_iter().with_max_len(1).for_each(work));
    }

    /// Sums the gradients of all layers.
    fn gradient_of(&mut self, batch: &EventSet) -> Weights {
        let zeros = Weights::zeros_of(&self.network).layers;
        let layers: Vec<Mutex<Matrix>> = zeros.into_iter().map(Mutex::new).collect();
        self.weight_gradient(batch, &mut Clock::default(), |task, gradient| {
            task.columns.copy_to(&mut lock(&layers[task.layer]), gradient);
        });
        let layers = layers.into_iter().map(|layer| layer.into_inner().unwrap_or_else(PoisonError::into_inner));
        Weights { layers: layers.collect() }
    }

    fn step(&mut self, batch: &EventSet, update: &Adam) -> Result<Clock> {
        let mut clock = Clock::default();
        let report = match self.method {
            Method::Sparse | Method::Auto => {
                self.begin(batch)?;
                self.pass(batch, true, &mut clock, None);
                let constants = update.constants(self.step + 1);
                let broken = AtomicU32::new(0);
                self.weight_gradient(batch, &mut clock, |task, gradient| {
                    if !adam(gradient, task.weights, task.first, task.second, &constants) {
                        broken.fetch_or(layer_bit(task.layer), Ordering::Relaxed);
                    }
                });
                self.step += 1;
                self.report(batch, broken.into_inner())
            }
            Method::Dense | Method::Reference => {
                check_batch(&self.network, batch)?;
                dense::step(self, batch, &mut clock, update)
            }
        };
        self.reports.push(report);
        Ok(clock)
    }

    /// The report of a step. `broken` has the bits of the layers whose weights or moments are not finite.
    fn report(&self, batch: &EventSet, broken: u32) -> StepReport {
        let mut loss = LossTerms::default();
        self.groups.iter().flat_map(|group| &group.loss).for_each(|terms| loss.add(terms));
        let layers = 0..self.network.spiking().count();
        let spikes = |l: usize| self.groups.iter().map(|g| g.layers[l].spike_count()).sum();
        let active = |l: usize| self.groups.iter().map(|g| g.layers[l].active_count()).sum();
        StepReport {
            step: self.step,
            samples: batch.len(),
            loss,
            correct: self.groups.iter().flat_map(|group| &group.correct).filter(|&&c| c).count(),
            spikes: std::iter::once(batch.events().len() as u64).chain(layers.clone().map(spikes)).collect(),
            active: layers.map(active).collect(),
            not_finite: NotFinite::of((self.potentials_not_finite(), broken)),
        }
    }

    /// Bits of the layers in which a potential is NaN or infinite.
    fn potentials_not_finite(&self) -> u32 {
        let last = self.network.hidden.len();
        let of_group = |group: &Group| {
            let layers = group.layers.iter().enumerate().filter(|(_, layer)| layer.not_finite());
            let readout = if group.readout_not_finite { layer_bit(last) } else { 0 };
            layers.fold(readout, |bits, (l, _)| bits | layer_bit(l))
        };
        self.groups.iter().fold(0, |bits, group| bits | of_group(group))
    }

    /// Logits of all samples, [B, C].
    fn logits(&self) -> Vec<f32> {
        self.groups.iter().flat_map(|group| group.logits.iter().copied()).collect()
    }

    fn inspect_sparse(&mut self, batch: &EventSet) -> Result<Inspection> {
        self.begin(batch)?;
        let rows = batch.len() * batch.time_steps();
        let mut v: Vec<Vec<f32>> = self.network.sizes()[1..].iter().map(|neurons| vec![0.0; rows * neurons]).collect();
        self.pass(batch, true, &mut Clock::default(), Some(&mut v));
        let gradient = self.gradient_of(batch);
        let readout_v = self.network.integrator().and_then(|_| v.pop()).unwrap_or_default();
        let spiking = v.into_iter().enumerate().map(|(l, v)| self.inspect_layer(l, v)).collect();
        let mut loss = LossTerms::default();
        self.groups.iter().flat_map(|group| &group.loss).for_each(|terms| loss.add(terms));
        self.groups.iter_mut().flat_map(|group| &mut group.layers).for_each(|layer| layer.conv.kept.clear());
        Ok(Inspection { spiking, readout_v, logits: self.logits(), loss, gradient })
    }

    fn inspect_layer(&self, l: usize, v: Vec<f32>) -> LayerInspection {
        let mut spikes = Vec::new();
        let mut active = Vec::new();
        for group in &self.groups {
            let state = &group.layers[l];
            if let Some(Some(conv)) = self.convs.get(l) {
                for (sample, b) in state.conv.kept.iter().zip(group.samples.clone()) {
                    spikes.extend(sample.spikes.iter().map(|&event| (b as u32, event)));
                    active.extend(sample.entries(conv, b as u32));
                }
                continue;
            }
            for (k, b) in group.samples.clone().enumerate() {
                spikes.extend(state.spikes.sample(k).iter().map(|&event| (b as u32, event)));
                for tile in &state.active {
                    let ActiveEntries { events, g, e, .. } = tile.sample(k);
                    active.extend(events.iter().zip(g.iter().zip(e)).map(|(event, (&g, &e))| ActiveEntry {
                        b: b as u32,
                        t: event.t() as u32,
                        j: event.i() as u32,
                        g,
                        e,
                    }));
                }
            }
        }
        active.sort_unstable_by_key(|entry| (entry.b, entry.t, entry.j));
        LayerInspection { v, spikes, active }
    }
}

impl ConvSample {
    /// The active entries in no particular order, with neurons numbered as in the layer.
    fn entries(&self, conv: &Conv, b: u32) -> impl Iterator<Item = ActiveEntry> {
        let places = self.active.iter().flat_map(|tile| (0..tile.samples()).map(move |place| (tile, place)));
        places.flat_map(move |(tile, place)| {
            let ActiveEntries { events, g, e, .. } = tile.sample(place);
            events.iter().zip(g.iter().zip(e)).map(move |(event, (&g, &e))| ActiveEntry {
                b,
                t: event.t() as u32,
                j: conv.neuron(event.i(), place) as u32,
                g,
                e,
            })
        })
    }
}

impl Engine for CpuEngine {
    fn info(&self) -> DeviceInfo {
        device_info()
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn method(&self) -> Method {
        self.method
    }

    fn load(&mut self, state: &TrainingState) -> Result<()> {
        for weights in [&state.weights, &state.first, &state.second] {
            weights.check(&self.network)?;
        }
        self.open = None;
        self.step = state.step;
        for (l, layer) in self.layers.iter_mut().enumerate() {
            layer.weights.fill(&state.weights.layers[l]);
            layer.first.fill(&state.first.layers[l]);
            layer.second.fill(&state.second.layers[l]);
        }
        Ok(())
    }

    fn store(&mut self) -> Result<TrainingState> {
        let join = |of: fn(&WeightsAndMoments) -> &TiledMatrix| Weights {
            layers: self.layers.iter().map(|layer| of(layer).join()).collect(),
        };
        Ok(TrainingState {
            step: self.step,
            weights: join(|layer| &layer.weights),
            first: join(|layer| &layer.first),
            second: join(|layer| &layer.second),
        })
    }

    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        check_layer_methods(&self.network, self.method, methods)?;
        self.layer_methods = methods.to_vec();
        Ok(())
    }

    fn crossover(&self) -> f64 {
        // Measured spike density at which both methods take the same time: input currents 50 to 55 %, weight gradients 40 %,
        // spike gradients 28 %.
        0.42
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
        self.step(batch, adam).map(drop)
    }

    fn reports(&mut self, _wait: bool) -> Result<Vec<StepReport>> {
        Ok(std::mem::take(&mut self.reports))
    }

    fn predict(&mut self, batch: &EventSet) -> Result<Prediction> {
        let batch = &*batch.labelled();
        self.begin(batch)?;
        // With B_th = 0 no entry is active, so no lists are written for a backward pass.
        let trained = self.neurons.clone();
        for neurons in &mut self.neurons {
            if let Neurons::Spiking(constants) = neurons {
                constants.band = 0.0;
            }
        }
        self.pass(batch, false, &mut Clock::default(), None);
        self.neurons = trained;
        let spikes = |l: usize| self.groups.iter().map(|g| g.layers[l].spike_count()).sum();
        let spikes = (0..self.network.spiking().count()).map(spikes).collect();
        Ok(Prediction::new(self.logits(), self.network.classes(), spikes))
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
        match self.method {
            Method::Sparse | Method::Auto => self.inspect_sparse(batch),
            Method::Dense | Method::Reference => {
                check_batch(&self.network, batch)?;
                dense::inspect(self, batch)
            }
        }
    }

    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile> {
        let clock = self.step(batch, adam)?;
        self.reports.pop();
        Ok(clock.profile())
    }

    fn state_bytes(&self) -> Vec<(String, u64)> {
        let mut bytes = self.dense.bytes();
        let groups: usize = self.groups.iter().map(Group::bytes).sum();
        bytes.push(("spikes and active entries of all samples".into(), groups as u64));
        let scratch: usize = self.scratch.iter().map(|scratch| lock(scratch).bytes()).sum();
        bytes.push(("scratch of all threads".into(), scratch as u64));
        bytes.retain(|(_, n)| *n > 0);
        bytes
    }
}

/// For each weight layer, the first row of its recurrent weights if it has any.
fn own_rows(network: &Network) -> Vec<Option<usize>> {
    let rows = network.input_rows().into_iter().zip(network.recurrent_inputs());
    rows.map(|(inputs, own)| (own > 0).then_some(inputs)).collect()
}

/// Updates the weights of all layers; returns the bits of the layers whose weights or moments are not finite afterwards.
fn update_layers(layers: &mut [WeightsAndMoments], gradients: &[Matrix], constants: &AdamConstants) -> u32 {
    let broken = AtomicU32::new(0);
    layers.par_iter_mut().zip(gradients).enumerate().for_each(|(l, (layer, gradient))| {
        let gradient = TiledMatrix::cut(gradient);
        for (task, gradient) in layer.tiles(l).zip(&gradient.tiles) {
            if !adam(gradient, task.weights, task.first, task.second, constants) {
                broken.fetch_or(layer_bit(l), Ordering::Relaxed);
            }
        }
    });
    broken.into_inner()
}

/// The scratch of the current thread.
fn own_scratch(scratch: &[Mutex<ThreadScratch>]) -> MutexGuard<'_, ThreadScratch> {
    lock(&scratch[rayon::current_thread_index().unwrap_or(0) % scratch.len()])
}

fn lock<T>(scratch: &Mutex<T>) -> MutexGuard<'_, T> {
    // Contents left by a panic are overwritten.
    scratch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Describes the processor: number of threads and the widest instruction set in use.
pub fn device_info() -> DeviceInfo {
    let threads = match rayon::current_num_threads() {
        1 => "1 thread".to_string(),
        threads => format!("{threads} threads"),
    };
    DeviceInfo {
        kind: "cpu",
        name: std::env::consts::ARCH.to_string(),
        detail: format!("{threads}, {}", instruction_set()),
    }
}

fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
        "SSE2"
    }
    #[cfg(all(target_family = "wasm", target_feature = "simd128"))]
    return "SIMD";
    #[cfg(not(any(target_arch = "x86_64", all(target_family = "wasm", target_feature = "simd128"))))]
    "the baseline instruction set"
}
