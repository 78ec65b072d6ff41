//! The interface that the cpu and gpu devices implement.

mod delta_scratch;
mod prediction;
mod ranks;
mod variant;

pub use delta_scratch::{DELTA_SIZES, DeltaScratch};
pub use prediction::{Prediction, first_largest};
pub use ranks::{Ranks, Traffic};
pub use variant::{VARIANTS, Variant};

use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::Network;
use crate::optimiser::Adam;
use crate::weights::Weights;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the gradient is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Follows spikes in the forward pass and active entries in the backward pass, so the cost is proportional to them.
    Sparse,
    /// Matrix products and linear-time scans over [B, T, N] arrays. Computes the same gradient as `sparse`.
    Dense,
    /// The baseline that the paper measured against: the surrogate is unmasked, all traces are stored, and each time
    /// step is a separate pass.
    Reference,
    /// The sparse step, whose products are sparse or dense per layer ([`Engine::set_layer_methods`]).
    Auto,
}

impl Method {
    /// The network as this method computes it: [`Method::Reference`] ignores B_th and masks no surrogate.
    pub(crate) fn network(self, network: &Network) -> Network {
        let mut network = network.clone();
        if self == Method::Reference {
            network.hidden.iter_mut().for_each(|layer| layer.b_th = f64::INFINITY);
        }
        network
    }
}

/// How the products with one layer's weights (input currents, weight gradient, spike gradient of the layer below) are
/// computed in a step whose method is [`Method::Auto`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerMethod {
    /// Iterates over events and active entries.
    Sparse,
    /// Uses matrix products over dense arrays of a few samples at a time.
    Dense,
}

/// Everything that training changes: the weights and Adam's moments.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingState {
    /// Updates made so far.
    pub step: u64,
    /// The weights.
    pub weights: Weights,
    /// Adam's first moments.
    pub first: Weights,
    /// Adam's second moments.
    pub second: Weights,
}

impl TrainingState {
    /// The given weights with zero moments, at step 0.
    pub fn new(weights: Weights) -> Self {
        TrainingState { step: 0, first: weights.zeros(), second: weights.zeros(), weights }
    }
}

/// The terms of the loss, each summed over samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossTerms {
    /// The task's loss ([`Loss`](crate::network::Loss)).
    #[serde(alias = "cross_entropy")]
    pub task: f64,
    /// Upper activity regulariser, over all hidden layers.
    pub upper: f64,
    /// Lower activity regulariser, over all hidden layers.
    pub lower: f64,
}

impl LossTerms {
    /// The sum of all terms, which training minimises.
    pub fn total(&self) -> f64 {
        self.task + self.upper + self.lower
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &LossTerms) {
        self.task += other.task;
        self.upper += other.upper;
        self.lower += other.lower;
    }

    /// Every term divided by `n`.
    pub fn divided(&self, n: f64) -> LossTerms {
        LossTerms { task: self.task / n, upper: self.upper / n, lower: self.lower / n }
    }
}

/// The results of a finished training step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The update's number, from 1.
    pub step: u64,
    /// Samples in the batch.
    pub samples: usize,
    /// Loss terms, summed over the batch.
    pub loss: LossTerms,
    /// Correctly classified samples: the largest logit is that of the label.
    pub correct: usize,
    /// Spikes of the input, then of each spiking layer: the hidden layers, then a readout that counts spikes.
    pub spikes: Vec<u64>,
    /// Active entries of each spiking layer.
    pub active: Vec<u64>,
    /// The first layer in which a number became NaN or infinite. The weights are then unusable.
    pub not_finite: Option<NotFinite>,
}

/// A layer in which numbers became NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// Index of the weight layer, the readout being the last. Layers from the 32nd on are all reported as 31.
    pub layer: usize,
    /// Where it was seen first.
    pub what: Quantity,
}

/// What a layer computes in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quantity {
    /// Membrane potentials.
    Potential,
    /// The weights' gradient, its moments, or the updated weights.
    Gradient,
}

/// The bit of weight layer `l` in a bit mask of layers that are not finite; layers from the 32nd on share the last bit.
pub(crate) fn layer_bit(l: usize) -> u32 {
    1 << l.min(31)
}

impl NotFinite {
    /// Finds the layer where the first non-finite number arose, from the bit masks of layers with non-finite potentials
    /// and gradients: the lowest for potentials, which the forward pass reaches first, else the highest for gradients.
    pub(crate) fn of((potentials, gradients): (u32, u32)) -> Option<Self> {
        match (potentials, gradients) {
            (0, 0) => None,
            (0, bits) => Some(NotFinite { layer: bits.ilog2() as usize, what: Quantity::Gradient }),
            (bits, _) => Some(NotFinite { layer: bits.trailing_zeros() as usize, what: Quantity::Potential }),
        }
    }
}

/// The result of [`Engine::forward`], which [`Engine::backward`] continues.
#[derive(Debug, PartialEq)]
pub struct Forward {
    /// [B, C], row-major.
    pub logits: Vec<f32>,
    /// A number unique among the passes of all engines.
    number: u64,
}

impl Forward {
    /// A new pass with these logits.
    pub(crate) fn new(logits: Vec<f32>) -> Self {
        static PASSES: AtomicU64 = AtomicU64::new(0);
        Forward { logits, number: PASSES.fetch_add(1, Ordering::Relaxed) }
    }

    /// The pass's unique number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// One active entry of a spiking layer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ActiveEntry {
    /// Sample.
    pub b: u32,
    /// Time step.
    pub t: u32,
    /// Neuron.
    pub j: u32,
    /// Surrogate gradient g(V), > 0.
    pub g: f32,
    /// e = ∇S g(V), the error that enters the δ recurrence.
    pub e: f32,
}

impl ActiveEntry {
    /// ∇S, recovered from e = ∇S g.
    pub fn ds(&self) -> f32 {
        self.e / self.g
    }
}

/// All values of a spiking layer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerInspection {
    /// Membrane potentials, [B, T, N].
    pub v: Vec<f32>,
    /// Spikes as (sample, event), sorted.
    pub spikes: Vec<(u32, crate::events::Event)>,
    /// Active entries, sorted by (b, t, j).
    pub active: Vec<ActiveEntry>,
}

/// All intermediate values of a training step, for conformance checks and plots. It holds dense arrays, so use small
/// batches.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Inspection {
    /// The spiking layers: the hidden layers, then a readout that counts spikes.
    pub spiking: Vec<LayerInspection>,
    /// Potentials of the readout's integrators, [B, T, C]; empty if it counts spikes.
    pub readout_v: Vec<f32>,
    /// [B, C].
    pub logits: Vec<f32>,
    /// Loss terms, summed over the batch.
    pub loss: LossTerms,
    /// ∇W of every layer, in the shapes of the weights.
    pub gradient: Weights,
}

/// Time and work of one kernel (or one phase, on the cpu device) in a profiled step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KernelTime {
    /// The operation, with its layer: `lif_forward.0`.
    pub name: String,
    /// Dispatches (or calls) in the step.
    pub calls: u32,
    /// Milliseconds; `None` if the platform has no timestamps.
    pub ms: Option<f64>,
}

/// When one dispatch of a profiled step ran, by the device's clock. On the cpu device, whose threads may be in different
/// phases at the same time, the phases are listed one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Slice {
    /// The kernel, as in [`KernelTime`].
    pub kernel: String,
    /// Milliseconds since the first dispatch of the step began.
    pub begin_ms: f64,
    /// Duration, ms.
    pub ms: f64,
}

/// Measured times of one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// Forward, loss included, ms.
    pub forward_ms: Option<f64>,
    /// Backward without the update, ms. On the cpu device it includes the update, which is one pass with the weight
    /// gradient.
    pub backward_ms: Option<f64>,
    /// Per kernel.
    pub kernels: Vec<KernelTime>,
    /// Each dispatch, in order; empty if the platform has no timestamps.
    pub slices: Vec<Slice>,
}

/// Statistics of a device's memory allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceMemory {
    /// Bytes in use.
    pub bytes: u64,
    /// Number of allocations.
    pub allocations: u64,
    /// Bytes reserved from the driver, including unused ones.
    pub reserved: u64,
}

/// Description of a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// `cpu` or `gpu`.
    pub kind: &'static str,
    /// The adapter's or processor's name.
    pub name: String,
    /// Backend and driver, or threads and instruction set.
    pub detail: String,
}

/// A device with a network loaded on it.
///
/// Training steps are queued and reported later, so that the host never waits in the middle of a step. Everything
/// that reads state back ([`store`](Engine::store), [`predict`](Engine::predict), [`inspect`](Engine::inspect))
/// first finishes the queued steps.
pub trait Engine: Send {
    /// Describes the device.
    fn info(&self) -> DeviceInfo;

    /// The variant of its kernels, if it has several.
    fn kernels(&self) -> Option<&'static str> {
        None
    }

    /// Size limit of the δ scratch in bytes, on a device that computes the backward pass in chunks. A step uses less if
    /// the batch or the device's memory is small.
    fn delta_bytes(&self) -> Option<u64> {
        None
    }

    /// Shards that each of several unlike devices of this process computes.
    fn shares(&self) -> Option<Vec<usize>> {
        None
    }

    /// The network.
    fn network(&self) -> &Network;

    /// The method by which it computes a step.
    fn method(&self) -> Method {
        Method::Sparse
    }

    /// Reopens a lost device ([`Error::DeviceLost`]) with the same kernels and training set, and loads `state`. Queued
    /// steps and their reports are discarded.
    ///
    /// # Errors
    /// The adapter is gone or was lost again. `reopen` can be called again later.
    fn reopen(&mut self, _state: &TrainingState) -> Result<()> {
        Err(Error::Unsupported("this device cannot be reopened".into()))
    }

    /// Replaces weights, moments and step count.
    ///
    /// # Errors
    /// The shapes are not the network's.
    fn load(&mut self, state: &TrainingState) -> Result<()>;

    /// Returns a copy of weights, moments and step count.
    fn store(&mut self) -> Result<TrainingState>;

    /// Sets how each weight layer, the readout being the last, computes its products from the next step on. The default
    /// is [`LayerMethod::Sparse`] for all. Gradients of the two methods differ only by rounding.
    ///
    /// # Errors
    /// The engine's method is not [`Method::Auto`], or `methods` does not have one method per weight layer.
    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()>;

    /// The density of a layer's operands above which [`LayerMethod::Dense`] is faster on this device, as measured
    /// (docs/performance.md); see [`crate::auto`].
    fn crossover(&self) -> f64 {
        1.0
    }

    /// Sets the training set from which [`train_held`](Engine::train_held) takes its batches, replacing any previous one.
    /// The gpu device keeps it in device memory as compact events.
    ///
    /// # Errors
    /// Samples that do not fit the network.
    fn hold(&mut self, set: Arc<EventSet>) -> Result<()>;

    /// [`train`](Engine::train) on a batch of the training set set by [`hold`](Engine::hold), given as sample indices.
    ///
    /// # Errors
    /// No training set, no samples, or an index out of range.
    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()>;

    /// Whether the training set is in device memory. If not, each batch is uploaded.
    fn is_resident(&self) -> bool {
        true
    }

    /// Messages for the user since the last call, e.g. that the training set does not fit into the device's memory.
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Queues one training step: forward, loss, backward, Adam.
    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()>;

    /// Reports of steps finished since the last call, in order; with `wait`, of all queued steps.
    fn reports(&mut self, wait: bool) -> Result<Vec<StepReport>>;

    /// Logits of a batch of any size. Labels are ignored and may be missing ([`EventSet::push_unlabelled`]).
    ///
    /// # Errors
    /// A batch that does not fit the network.
    fn predict(&mut self, batch: &EventSet) -> Result<Prediction>;

    /// [`predict`](Engine::predict) of a batch that all processes of a run have, each of them a part of it. All must call it.
    ///
    /// # Errors
    /// As [`predict`](Engine::predict).
    fn predict_together(&mut self, batch: &EventSet) -> Result<Prediction> {
        self.predict(batch)
    }

    /// The processes of the run, if there are several.
    fn ranks(&mut self) -> Option<&mut dyn Ranks> {
        None
    }

    /// A forward pass that [`backward`](Engine::backward) can continue, for a loss that the caller computes from the
    /// logits. Labels are ignored and may be missing.
    ///
    /// # Errors
    /// A batch that does not fit the network, or a method other than `Sparse` and `Auto`.
    fn forward(&mut self, batch: &EventSet) -> Result<Forward>;

    /// The gradient of the caller's loss plus the network's activity regularisers with respect to the weights.
    /// `logit_gradient`, [B, C], is the gradient of the caller's loss with respect to the logits, including the factor 1/B
    /// if the loss is a mean over the batch.
    ///
    /// # Errors
    /// [`Error::Config`]: `pass` is not the engine's last pass, the weights have changed since, or `logit_gradient` has
    /// another size. [`Error::NotFinite`]: `logit_gradient` has a NaN or infinity.
    fn backward(&mut self, pass: Forward, logit_gradient: &[f32]) -> Result<Weights>;

    /// The gradient of a training step on `batch` with respect to the weights, without the update. The report's step is that of
    /// the update to come.
    ///
    /// # Errors
    /// A batch that does not fit the network, or a method other than `Sparse` and `Auto`.
    fn gradient(&mut self, _batch: &EventSet) -> Result<(Weights, StepReport)> {
        Err(Error::Unsupported("this device hands out no gradients".into()))
    }

    /// One step of Adam with this gradient; increments the step count.
    ///
    /// # Errors
    /// The shapes are not the network's. [`Error::NotFinite`]: the gradient has a NaN or infinity (the weights are left
    /// unchanged), or is so large that weights or moments have become infinite.
    fn update(&mut self, gradient: &Weights, adam: &Adam) -> Result<()>;

    /// Forward and backward pass without an update; returns all intermediate values.
    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection>;

    /// Runs one training step and measures the time of each kernel. The step updates the weights.
    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile>;

    /// Names and sizes in bytes of the buffers that a step requires in addition to weights, moments and the batch.
    fn state_bytes(&self) -> Vec<(String, u64)>;

    /// Statistics of the device's memory allocator; `None` if not available.
    fn device_memory(&self) -> Option<DeviceMemory> {
        None
    }
}

/// Checks the argument of [`Engine::hold`].
pub(crate) fn check_held(network: &Network, set: &EventSet) -> Result<()> {
    set.check_fits(network.inputs, network.time_steps, network.classes())
}

/// Checks the arguments of [`Engine::set_layer_methods`].
pub(crate) fn check_layer_methods(network: &Network, method: Method, layers: &[LayerMethod]) -> Result<()> {
    let weight_layers = network.hidden.len() + 1;
    let dense = |l: usize| layers.get(l) == Some(&LayerMethod::Dense);
    if let Some(l) = (0..weight_layers).find(|&l| dense(l) && !network.can_be_dense(l)) {
        return Err(Error::Config(format!(
            "weight layer {l} cannot be dense within a sparse step: it is a convolution, has biases, or counts spikes"
        )));
    }
    match (method, layers.len()) {
        (Method::Auto, n) if n == weight_layers => Ok(()),
        (Method::Auto, n) => {
            Err(Error::Config(format!("{n} layer methods given, the network has {weight_layers} weight layers")))
        }
        _ => Err(Error::Config("layer methods require the method `auto`".into())),
    }
}

/// The training set, if it has these samples.
pub(crate) fn check_samples(held: Option<&Arc<EventSet>>, samples: &[u32]) -> Result<Arc<EventSet>> {
    let Some(set) = held else { return Err(Error::Data("the device holds no training set; call `hold` first".into())) };
    match samples.iter().find(|&&k| k as usize >= set.len()) {
        Some(k) => Err(Error::Data(format!("sample {k} does not exist: the training set has {} samples", set.len()))),
        None if samples.is_empty() => Err(Error::Data("the batch has no samples".into())),
        None => Ok(Arc::clone(set)),
    }
}

/// Refuses networks that `method` does not support on any device. The dense methods only support the paper's networks.
pub(crate) fn check_method(network: &Network, method: Method) -> Result<()> {
    match (method, network.beyond_paper()) {
        (Method::Dense | Method::Reference, Some(what)) => {
            let method = format!("{method:?}").to_lowercase();
            Err(Error::Unsupported(format!("the method `{method}` does not support {what}; use `sparse`")))
        }
        _ => Ok(()),
    }
}

/// Checks the size of a gradient with respect to the logits of `pass`, and that it is finite.
pub(crate) fn check_logit_gradient(pass: &Forward, gradient: &[f32]) -> Result<()> {
    if gradient.len() != pass.logits.len() {
        let (given, logits) = (gradient.len(), pass.logits.len());
        return Err(Error::Config(format!("the gradient has {given} values, the pass has {logits} logits")));
    }
    match gradient.iter().position(|g| !g.is_finite()) {
        Some(k) => Err(Error::NotFinite(format!("the gradient of logit {k} of the batch is {}", gradient[k]))),
        None => Ok(()),
    }
}

/// Refuses methods that do not support custom losses ([`Engine::forward`], [`Engine::backward`]).
pub(crate) fn check_open(method: Method) -> Result<()> {
    match method {
        Method::Sparse | Method::Auto => Ok(()),
        Method::Dense | Method::Reference => {
            let method = format!("{method:?}").to_lowercase();
            let what = "does not support custom losses; use `sparse`";
            Err(Error::Unsupported(format!("the method `{method}` {what}")))
        }
    }
}

/// The error of [`Engine::backward`] for an outdated forward pass.
pub(crate) fn not_the_last_pass() -> Error {
    Error::Config(
        "this forward pass is not the engine's last, or its weights have changed since: run `forward` again".into(),
    )
}

/// Checks that `batch` is valid input for `network`.
pub(crate) fn check_batch(network: &Network, batch: &EventSet) -> Result<()> {
    if batch.is_empty() {
        return Err(Error::Data("the batch has no samples".into()));
    }
    batch.check_fits(network.inputs, network.time_steps, network.classes())
}
