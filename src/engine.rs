//! What a device does: the one interface of the `cpu` and `gpu` twins.

mod delta_scratch;
mod prediction;
mod variant;

pub use delta_scratch::{DELTA_SIZES, DeltaScratch};
pub use prediction::{Prediction, first_largest};
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
    /// Events forward, active entries backward: cost follows the spikes.
    Sparse,
    /// The baseline: matrix products and a linear-time scan over [B, T, N] arrays. With a finite B_th it computes
    /// the same gradient as `Sparse`; with an infinite one the unmasked surrogate.
    Dense,
    /// The baseline that the paper measured against: surrogate unmasked, every trace stored, a loop over time of
    /// separate passes.
    Reference,
    /// The sparse step in which each layer is told how to compute its products: [`Engine::set_layer_methods`].
    Auto,
}

impl Method {
    /// The network as this method computes it: [`Method::Reference`] masks no surrogate, whatever B_th is.
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
    /// Event by event, active entry by active entry.
    Sparse,
    /// As matrix products over dense arrays of a few samples at a time.
    Dense,
}

/// Weights and what Adam remembers: all that training changes.
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
    /// Fresh moments beside the given weights.
    pub fn new(weights: Weights) -> Self {
        TrainingState { step: 0, first: weights.zeros(), second: weights.zeros(), weights }
    }
}

/// The terms of the loss; sums over the samples counted, in f64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossTerms {
    /// Cross entropy.
    #[serde(alias = "cross_entropy")]
    pub task: f64,
    /// Upper activity regulariser, over all hidden layers.
    pub upper: f64,
    /// Lower activity regulariser, over all hidden layers.
    pub lower: f64,
}

impl LossTerms {
    /// What is minimised.
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

/// What a device says of a finished training step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The update's number, from 1.
    pub step: u64,
    /// Samples in the batch.
    pub samples: usize,
    /// Loss terms, summed over the batch.
    pub loss: LossTerms,
    /// Samples whose largest logit is their label's.
    pub correct: usize,
    /// Spikes of the input, then of each spiking layer: the hidden ones, and a readout that counts spikes last.
    pub spikes: Vec<u64>,
    /// Active entries of each spiking layer.
    pub active: Vec<u64>,
    /// The first layer in which a number became NaN or infinite. The weights are worth nothing then.
    pub not_finite: Option<NotFinite>,
}

/// A layer in which numbers became NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// The weight layer, the readout's last (from the 32nd on, devices tell no layers apart).
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

/// The bit of weight layer `l` in a word of what is not finite; from the 32nd on they share one.
pub(crate) fn layer_bit(l: usize) -> u32 {
    1 << l.min(31)
}

impl NotFinite {
    /// From bits of the layers in which potentials, and of those in which gradients are not finite: the lowest of the
    /// former, else the highest of the latter, which is where the backward pass met it first.
    pub(crate) fn of((potentials, gradients): (u32, u32)) -> Option<Self> {
        match (potentials, gradients) {
            (0, 0) => None,
            (0, bits) => Some(NotFinite { layer: bits.ilog2() as usize, what: Quantity::Gradient }),
            (bits, _) => Some(NotFinite { layer: bits.trailing_zeros() as usize, what: Quantity::Potential }),
        }
    }
}

/// The outcome of [`Engine::forward`], from which [`Engine::backward`] goes on.
#[derive(Debug, PartialEq)]
pub struct Forward {
    /// [B, C], row-major.
    pub logits: Vec<f32>,
    /// The pass's number, of all passes of all engines.
    number: u64,
}

impl Forward {
    /// That of a pass that has just ended.
    pub(crate) fn new(logits: Vec<f32>) -> Self {
        static PASSES: AtomicU64 = AtomicU64::new(0);
        Forward { logits, number: PASSES.fetch_add(1, Ordering::Relaxed) }
    }

    /// Which pass it was.
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

/// A spiking layer, seen whole.
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

/// Everything that a step computes, for conformance and pictures: dense where training never is, so for small batches.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Inspection {
    /// The spiking layers, a readout that counts spikes last.
    pub spiking: Vec<LayerInspection>,
    /// Potentials of the readout's integrators, [B, T, C]; empty if it counts spikes.
    pub readout_v: Vec<f32>,
    /// [B, C].
    pub logits: Vec<f32>,
    /// Loss terms, summed over the batch.
    pub loss: LossTerms,
    /// ∇W of every layer, as the weights.
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
    /// Milliseconds; `None` where the platform has no timestamps.
    pub ms: Option<f64>,
}

/// When one dispatch of a profiled step ran, by the device's own clock; on the cpu device, whose threads are in
/// different phases at the same time, the phases one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Slice {
    /// The kernel, as in [`KernelTime`].
    pub kernel: String,
    /// Milliseconds since the first of the step began.
    pub begin_ms: f64,
    /// How long it ran, ms.
    pub ms: f64,
}

/// Measured times of one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// Forward, loss included, ms.
    pub forward_ms: Option<f64>,
    /// Backward, without the update, ms. On the cpu device the weight gradient and the update are one pass; it is counted here.
    pub backward_ms: Option<f64>,
    /// Per kernel.
    pub kernels: Vec<KernelTime>,
    /// Each dispatch, in order; empty where the platform has no timestamps.
    pub slices: Vec<Slice>,
}

/// What the allocator of a device's memory reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceMemory {
    /// Bytes in use.
    pub bytes: u64,
    /// Pieces that they are in.
    pub allocations: u64,
    /// Bytes taken from the driver, those not in use included.
    pub reserved: u64,
}

/// What a device is.
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
    /// What the device is.
    fn info(&self) -> DeviceInfo;

    /// The variant of its kernels, where it has several.
    fn kernels(&self) -> Option<&'static str> {
        None
    }

    /// Bytes that δ may take, on a device that computes the backward pass in chunks of samples; the step takes fewer if
    /// the batch is small, or its memory.
    fn delta_bytes(&self) -> Option<u64> {
        None
    }

    /// The network.
    fn network(&self) -> &Network;

    /// How it computes a step.
    fn method(&self) -> Method {
        Method::Sparse
    }

    /// Opens a device anew that was lost ([`Error::DeviceLost`]), with the same kernels and the same training set, and goes
    /// on from `state`; queued steps and their reports are forgotten.
    ///
    /// # Errors
    /// The adapter is gone, or has been lost again; the engine can then be reopened later.
    fn reopen(&mut self, _state: &TrainingState) -> Result<()> {
        Err(Error::Unsupported("this device is never lost".into()))
    }

    /// Replaces weights, moments and step count.
    ///
    /// # Errors
    /// Shapes that are not the network's.
    fn load(&mut self, state: &TrainingState) -> Result<()>;

    /// Copies weights, moments and step count out.
    fn store(&mut self) -> Result<TrainingState>;

    /// Chooses how each weight layer (the readout's last) computes its products, from the next step on. All are
    /// [`LayerMethod::Sparse`] in the beginning. The gradients agree to rounding.
    ///
    /// # Errors
    /// A method other than [`Method::Auto`], or as many methods as the network has no weight layers.
    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()>;

    /// The density of a layer's operands from which [`LayerMethod::Dense`] is the faster way on this device, as
    /// measured (docs/performance.md); see [`crate::auto`].
    fn crossover(&self) -> f64 {
        1.0
    }

    /// Hands over a training set, from which [`train_held`](Engine::train_held) takes its batches; it replaces the
    /// one before. The gpu device keeps it in its own memory as compact events.
    ///
    /// # Errors
    /// Samples that do not fit the network.
    fn hold(&mut self, set: Arc<EventSet>) -> Result<()>;

    /// [`train`](Engine::train) on these samples of the set that the device [`hold`](Engine::hold)s, in this order.
    ///
    /// # Errors
    /// No set held, no samples, or a sample that the set does not have.
    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()>;

    /// Whether the training set that the device holds lies in its own memory; if not, each batch is uploaded.
    fn is_resident(&self) -> bool {
        true
    }

    /// What a user should know and the log should say, since the last call: that the training set did not fit the
    /// device's memory, say.
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Queues one training step: forward, loss, backward, Adam.
    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()>;

    /// Reports of steps finished since the last call, in order; with `wait`, of all queued steps.
    fn reports(&mut self, wait: bool) -> Result<Vec<StepReport>>;

    /// Logits of a batch of any size. Labels have no influence and may be missing ([`EventSet::push_unlabelled`]).
    ///
    /// # Errors
    /// A batch that does not fit the network.
    fn predict(&mut self, batch: &EventSet) -> Result<Prediction>;

    /// A forward pass from which [`backward`](Engine::backward) can go on, for a loss that the caller computes from the
    /// logits. Labels have no influence and may be missing.
    ///
    /// # Errors
    /// A batch that does not fit the network, or a method without active entries.
    fn forward(&mut self, batch: &EventSet) -> Result<Forward>;

    /// The gradient of Σ logits · `logit_gradient` plus the activity regularisers, as training has them, by the weights of
    /// the pass. `logit_gradient` is [B, C], the gradient of the caller's loss; a mean over the batch has its 1/B in it.
    ///
    /// # Errors
    /// [`Error::Config`]: since that pass the engine has done another one, or has had its weights changed; or a gradient of
    /// another size. [`Error::NotFinite`]: a gradient with a NaN or infinity.
    fn backward(&mut self, pass: Forward, logit_gradient: &[f32]) -> Result<Weights>;

    /// One step of Adam with this gradient; the step count goes up by one.
    ///
    /// # Errors
    /// Shapes that are not the network's; [`Error::NotFinite`]: a gradient with a NaN or infinity, with which nothing is
    /// done, or so large that weights or moments are infinite now.
    fn update(&mut self, gradient: &Weights, adam: &Adam) -> Result<()>;

    /// Forward and backward without an update, everything kept.
    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection>;

    /// Runs one training step with a clock on each kernel. The step counts: weights change.
    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile>;

    /// Bytes allocated by name for what a step needs beyond weights, moments and the batch.
    fn state_bytes(&self) -> Vec<(String, u64)>;

    /// What the allocator of the device's own memory has handed out; `None` where there is none or it does not say.
    fn device_memory(&self) -> Option<DeviceMemory> {
        None
    }
}

/// Checks what a device [`hold`](Engine::hold)s.
pub(crate) fn check_held(network: &Network, set: &EventSet) -> Result<()> {
    set.check_fits(network.inputs, network.time_steps, network.classes())
}

/// Checks the words of [`Engine::set_layer_methods`].
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
            Err(Error::Config(format!("{n} layer methods given, the network has {weight_layers} layers")))
        }
        _ => Err(Error::Config("only the method `auto` takes a method for each layer".into())),
    }
}

/// The samples of a step on the set held.
pub(crate) fn check_samples(held: Option<&Arc<EventSet>>, samples: &[u32]) -> Result<Arc<EventSet>> {
    let Some(set) = held else { return Err(Error::Data("the device holds no training set".into())) };
    match samples.iter().find(|&&k| k as usize >= set.len()) {
        Some(k) => Err(Error::Data(format!("sample {k} asked for, the set held has {}", set.len()))),
        None if samples.is_empty() => Err(Error::Data("the batch has no samples".into())),
        None => Ok(Arc::clone(set)),
    }
}

/// Refuses what `method` does not compute of `network`, whatever the device: the dense methods are the paper's baselines.
pub(crate) fn check_method(network: &Network, method: Method) -> Result<()> {
    match (method, network.beyond_paper()) {
        (Method::Dense | Method::Reference, Some(what)) => {
            let method = format!("{method:?}").to_lowercase();
            Err(Error::Unsupported(format!("the method `{method}` does not compute {what}; use `sparse`")))
        }
        _ => Ok(()),
    }
}

/// Checks the gradient of `pass`'s logits.
pub(crate) fn check_logit_gradient(pass: &Forward, gradient: &[f32]) -> Result<()> {
    if gradient.len() != pass.logits.len() {
        let (given, logits) = (gradient.len(), pass.logits.len());
        return Err(Error::Config(format!("a gradient of {given} logits given, the pass has {logits}")));
    }
    match gradient.iter().position(|g| !g.is_finite()) {
        Some(k) => Err(Error::NotFinite(format!("the gradient of logit {k} of the batch is {}", gradient[k]))),
        None => Ok(()),
    }
}

/// Refuses methods that compute no gradient of a loss that is not their own.
pub(crate) fn check_open(method: Method) -> Result<()> {
    match method {
        Method::Sparse | Method::Auto => Ok(()),
        Method::Dense | Method::Reference => {
            let method = format!("{method:?}").to_lowercase();
            let what = "computes no gradient of a loss that is not its own; use `sparse`";
            Err(Error::Unsupported(format!("the method `{method}` {what}")))
        }
    }
}

/// That a forward pass cannot be gone on from.
pub(crate) fn not_the_last_pass() -> Error {
    Error::Config(
        "this forward pass is not the engine's last, or its weights have changed since: run `forward` again".into(),
    )
}

/// Checks that `batch` can be the input of `network`.
pub(crate) fn check_batch(network: &Network, batch: &EventSet) -> Result<()> {
    if batch.is_empty() {
        return Err(Error::Data("the batch has no samples".into()));
    }
    batch.check_fits(network.inputs, network.time_steps, network.classes())
}
