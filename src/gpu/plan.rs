//! The memory of a step, computed before it is allocated, and the number of samples that fit the device at once.

use super::buffers::{Capacity, Request, Sizes, State, delta_rows, layer_name, quads, slots, strips};
use super::lockstep;
use crate::engine::Variant;
use crate::error::{Error, Result};
use crate::network::Network;
use std::ops::Range;

/// First guess of the entries of a list, per neuron and time step, for samples of few time steps.
pub const DENSITY_GUESS: f64 = 0.02;
/// Most time steps, those of SHD, for which the density of a list is expected to be as in short samples. In longer samples,
/// neurons are expected to spike as often as in these: their density falls.
pub const FEW_STEPS: usize = 500;
/// Room in lists beyond what was counted.
pub const SLACK: f64 = 1.25;
/// Least entries of a list.
const FEWEST: u32 = 256;
/// How many times the mean number of active entries a sample may have at first.
const UNEVEN: f64 = 2.0;
/// Least entries of a list of a sample.
const FEWEST_OF_A_SAMPLE: f64 = 16.0;
/// Most entries of a list, of up to 16 bytes each.
const MAX_LIST: u64 = 1 << 28;

/// Least bytes of δ: below, a step uses fewer samples at once instead of shorter chunks.
const LEAST_DELTA: u64 = 4 << 20;

/// The density that is expected of samples of this many time steps, if it is `density` for few time steps.
pub fn expected(density: f64, time_steps: usize) -> f64 {
    density * (FEW_STEPS as f64 / time_steps.max(1) as f64).min(1.0)
}

/// Entries of a list of a sample.
fn room(network: &Network, neurons: usize, rate: f64) -> u32 {
    rate.ceil().max(FEWEST_OF_A_SAMPLE).min((network.time_steps * neurons) as f64) as u32
}

/// What a device can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest buffer that a kernel can bind, bytes.
    pub binding: u64,
    /// Most bytes of the state of a step; `u64::MAX` if unknown.
    pub memory: u64,
    /// The first of the layers that lock-step kernels compute, if any.
    pub lockstep: Option<usize>,
}

/// Lengths of the lists of a step, in entries per sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Input events.
    pub input: f64,
    /// Spikes and active entries of each spiking layer.
    pub spiking: Vec<[f64; 2]>,
}

impl Rates {
    /// A guess: `density` entries per neuron and time step in every spiking layer.
    pub fn guess(network: &Network, input: f64, density: f64) -> Self {
        let of = |neurons: usize| (network.time_steps * neurons) as f64 * density;
        Rates { input, spiking: network.spiking().map(|layer| [of(layer.neurons); 2]).collect() }
    }

    fn sizes(&self, network: &Network, batch: usize, delta_bytes: u64, limits: &Limits) -> Sizes {
        let list = |neurons: usize, rate: f64| {
            // No list is longer than its layer has neurons and time steps.
            let entries = batch as f64 * (network.time_steps * neurons) as f64;
            (rate * batch as f64).ceil().min(entries).max(f64::from(FEWEST)) as u32
        };
        let spiking = network.spiking().zip(&self.spiking).enumerate();
        let is_lockstep = |l: usize| limits.lockstep.is_some_and(|first| l >= first);
        Sizes {
            delta_quads: delta_quads(network, limits),
            lockstep: limits.lockstep,
            batch,
            input_events: list(network.inputs, self.input) as usize,
            capacity: spiking
                .map(|(l, (layer, &[spikes, active]))| match is_lockstep(l) {
                    // Each sample has a list of its own, and some have more entries than most.
                    true => {
                        Capacity { events: 0, active: batch as u32 * room(network, layer.neurons, UNEVEN * active) }
                    }
                    false => Capacity { events: list(layer.neurons, spikes), active: list(layer.neurons, active) },
                })
                .collect(),
            delta_bytes: delta_bytes.min(limits.binding),
        }
    }
}

/// Memory of a training step on the gpu device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Samples computed at once: fewer than the batch if its state does not fit. The gradient is that of the whole batch
    /// in any case.
    pub samples_at_once: usize,
    /// Strips of each weight matrix, so that each fits into a binding.
    pub strips: Vec<usize>,
    /// Weights, gradient and Adam's two moments, bytes.
    pub weights: u64,
    /// Other memory of a step, bytes by purpose; `batch` is the batch itself.
    pub state: Vec<(String, u64)>,
    /// The largest single buffer.
    pub largest: (String, u64),
}

impl MemoryPlan {
    /// All bytes.
    pub fn total(&self) -> u64 {
        self.weights + self.state.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }
}

/// Plans the memory of sparse training steps of `batch` samples with `events` input events a sample, as the device
/// will allocate it: `density` is what the lists of spikes and active entries begin with (entries per neuron and time
/// step, usually 0.02; they grow when they overflow), `delta_bytes` what δ may take
/// ([`DeltaScratch`](super::DeltaScratch)).
///
/// # Errors
/// A network for which not even one sample fits, with the numbers.
pub fn plan(
    network: &Network,
    batch: usize,
    events: f64,
    density: f64,
    delta_bytes: u64,
    limits: &Limits,
) -> Result<MemoryPlan> {
    network.check()?;
    let lockstep = limits.lockstep.or(lockstep::first(network, Variant::Plain, limits.binding, None));
    let limits = &Limits { lockstep, ..*limits };
    let mut weights = 0;
    for (l, (rows, cols)) in network.weight_shapes().into_iter().enumerate() {
        let least = matrix_bytes(rows, 1);
        if least > limits.binding {
            return Err(too_large(&format!("the weights of four neurons of layer {l}"), least, limits.binding));
        }
        weights += 4 * matrix_bytes(rows, cols);
    }
    let memory = Limits { memory: limits.memory.saturating_sub(weights), ..*limits };
    let rates = Rates::guess(network, SLACK * events, density);
    let sizes = choose(network, batch.max(1), &rates, delta_bytes, &memory)?;
    let layout = lay_out(network, &sizes)?;
    Ok(MemoryPlan {
        samples_at_once: sizes.batch,
        strips: all_strips(network, limits.binding).map(|strips| strips.len()).collect(),
        weights,
        state: layout.state,
        largest: layout.largest,
    })
}

/// Most quads of a strip of a matrix with `rows` rows: a binding holds its weights, and its δ of a sample.
pub fn most_quads(network: &Network, rows: usize, binding: u64) -> usize {
    (binding / (16 * rows.max(delta_rows(network)) as u64)).max(1) as usize
}

/// The strips of each weight matrix, as ranges of quads.
fn all_strips(network: &Network, binding: u64) -> impl Iterator<Item = Vec<Range<usize>>> {
    let shapes = network.weight_shapes().into_iter();
    shapes.map(move |(rows, cols)| strips(quads(cols), most_quads(network, rows, binding)).collect())
}

/// Quads of δ that are computed at a time: of the widest strip of any weight matrix, or of all layers of the lock-step kernels.
fn delta_quads(network: &Network, limits: &Limits) -> usize {
    let strips = all_strips(network, limits.binding).flatten().map(|strip| strip.len());
    // δ of a convolution is as wide as its maps.
    let maps = network.hidden.iter().filter(|layer| layer.conv().is_some()).map(|layer| quads(slots(layer)));
    let together = limits.lockstep.map(|first| lockstep::all_quads(network, first));
    strips.chain(maps).chain(together).max().unwrap_or(1)
}

/// Bytes of δ of a sample.
pub fn delta_row_bytes(network: &Network, limits: &Limits) -> u64 {
    16 * (delta_quads(network, limits) * delta_rows(network)) as u64
}

/// Bytes of a weight matrix, (rows, Q) vec4.
pub fn matrix_bytes(rows: usize, cols: usize) -> u64 {
    16 * rows as u64 * quads(cols) as u64
}

fn too_large(what: &str, bytes: u64, most: u64) -> Error {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    Error::Device(format!(
        "{what} would take {}, the device allows {}; use narrower layers, fewer time steps, or the cpu device",
        mib(bytes),
        mib(most)
    ))
}

struct Layout {
    state: Vec<(String, u64)>,
    largest: (String, u64),
}

fn lay_out(network: &Network, sizes: &Sizes) -> Result<Layout> {
    let mut largest = (String::new(), 0);
    let state = State::lay_out(network, sizes, &mut |request: Request| {
        if request.bytes > largest.1 {
            largest = (request.label, request.bytes);
        }
        Ok(request.bytes)
    })?;
    Ok(Layout { state: state.bytes, largest })
}

/// The error for what does not fit.
fn check(network: &Network, sizes: &Sizes, limits: &Limits) -> Result<()> {
    let b = sizes.batch as u64;
    for (l, layer) in network.spiking().enumerate() {
        let neurons = slots(layer);
        let entries = b * (network.time_steps * neurons) as u64;
        let counts = b * (network.time_steps + neurons + quads(neurons)) as u64;
        if counts >= u64::from(u32::MAX) || entries > u64::from(u32::MAX) {
            return Err(Error::Config(format!(
                "{}: {b} samples of {} steps and {} neurons are more than 32-bit indices hold",
                layer_name(network, l),
                network.time_steps,
                layer.neurons
            )));
        }
    }
    let lists = sizes.capacity.iter().flat_map(|layer| [layer.events, layer.active]).map(u64::from);
    let longest = lists.chain([sizes.input_events as u64]).max().unwrap_or(0);
    if longest > MAX_LIST {
        return Err(Error::Config(format!(
            "{b} samples have lists of {longest} events, and a list holds at most {MAX_LIST}; use a smaller batch"
        )));
    }
    let layout = lay_out(network, sizes)?;
    let one = if sizes.batch == 1 { " of a single sample" } else { "" };
    if layout.largest.1 > limits.binding {
        return Err(too_large(&format!("{}{one}", layout.largest.0), layout.largest.1, limits.binding));
    }
    let total = layout.state.iter().map(|(_, bytes)| bytes).sum();
    match total > limits.memory {
        true => Err(too_large(&format!("the state{one}"), total, limits.memory)),
        false => Ok(()),
    }
}

/// Sizes for steps of up to `batch` samples: all of them at once if they fit, else as many as fit.
///
/// # Errors
/// Not even one sample fits.
pub fn choose(network: &Network, batch: usize, rates: &Rates, delta_bytes: u64, limits: &Limits) -> Result<Sizes> {
    let fits = |n: usize| all_at_once(network, n, rates, delta_bytes, limits);
    if let Ok(sizes) = fits(batch) {
        return Ok(sizes);
    }
    let mut best = fits(1)?;
    let mut too_many = batch;
    while too_many - best.batch > 1 {
        let middle = best.batch + (too_many - best.batch) / 2;
        match fits(middle) {
            Ok(sizes) => best = sizes,
            Err(_) => too_many = middle,
        }
    }
    Ok(best)
}

/// Sizes for steps of `batch` samples, all at once: with all the memory for δ that was asked for, or with less if only
/// then they fit.
///
/// # Errors
/// They do not fit.
pub fn all_at_once(network: &Network, batch: usize, rates: &Rates, delta: u64, limits: &Limits) -> Result<Sizes> {
    let of = |delta: u64| {
        let sizes = rates.sizes(network, batch, delta, limits);
        check(network, &sizes, limits).map(|()| sizes)
    };
    let asked = of(delta);
    // No binding is that large.
    let all = delta_row_bytes(network, limits).saturating_mul(batch as u64);
    let halves = std::iter::successors(Some(delta.min(all) / 2), |bytes| Some(bytes / 2));
    let mut less = halves.take_while(|&bytes| bytes >= LEAST_DELTA);
    asked.or_else(|error| less.find_map(|bytes| of(bytes).ok()).ok_or(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    #[test]
    fn a_smaller_binding_takes_fewer_samples_at_once() {
        let network = presets::ours("fmnist").unwrap().network;
        let plan = |binding: u64, memory: u64| {
            super::plan(&network, 256, 330.0, DENSITY_GUESS, 4 << 20, &Limits { binding, memory, lockstep: None })
        };
        let whole = plan(128 << 20, u64::MAX).unwrap();
        assert_eq!(whole.samples_at_once, 256);
        let binding = 700 << 10;
        let half = plan(binding, u64::MAX).unwrap();
        assert!((64..256).contains(&half.samples_at_once), "{half:?}");
        assert!(half.largest.1 <= binding);
        let tight = plan(128 << 20, whole.total() - 1).unwrap();
        assert!((200..256).contains(&tight.samples_at_once) && tight.total() < whole.total());
        let refused = plan(128 << 20, whole.weights + 1000).unwrap_err().to_string();
        assert!(refused.contains("the state of a single sample would take"), "{refused}");
        // The weights of layer 0 take 0.6 MiB: several strips.
        let strips = plan(200 << 10, u64::MAX).unwrap();
        assert!(strips.largest.1 <= 200 << 10 && strips.strips == [4, 1, 1], "{strips:?}");
        let refused = plan(10 << 10, u64::MAX).unwrap_err().to_string();
        assert!(refused.contains("the weights of four neurons of layer 0 would take"), "{refused}");
    }

    #[test]
    fn less_memory_takes_delta_before_it_takes_samples() {
        let network = presets::ours("nmnist").unwrap().network;
        let plan = |delta: u64, memory: u64| {
            let limits = Limits { binding: 1 << 31, memory, lockstep: None };
            super::plan(&network, 256, 4000.0, DENSITY_GUESS, delta, &limits).unwrap()
        };
        let (small, whole) = (plan(4 << 20, u64::MAX), plan(u64::MAX, u64::MAX));
        let delta = |plan: &MemoryPlan| plan.state.iter().find(|(name, _)| name.starts_with("delta")).unwrap().1;
        // 50 quads of 300 steps, for each sample.
        assert_eq!(delta(&whole), 256 * 16 * 50 * 300);
        assert_eq!((small.samples_at_once, whole.samples_at_once), (256, 256));
        let memory = small.total() + (20 << 20);
        let between = plan(u64::MAX, memory);
        assert_eq!(between.samples_at_once, 256);
        assert!(between.total() <= memory && delta(&between) > 8 << 20, "{between:?}");
        assert!(plan(u64::MAX, small.total() - 1).samples_at_once < 256);
    }

    #[test]
    fn the_largest_networks_are_planned() {
        let mut network = presets::ours("shd").unwrap().network;
        network.time_steps = 5000;
        network.set_hidden(&[16_384, 16_384]).unwrap();
        let limits = Limits { binding: (2 << 30) - 1, memory: 78 << 30, lockstep: None };
        let plan = super::plan(&network, 4096, 8000.0, 0.015, 16 << 20, &limits).unwrap();
        assert!(plan.samples_at_once > 1 && plan.samples_at_once < 4096);
        assert!(plan.total() <= limits.memory && plan.largest.1 <= limits.binding);
    }

    #[test]
    fn a_step_needs_a_tenth_of_a_dense_one() {
        for name in ["fmnist", "nmnist", "shd"] {
            for hidden in [200, 400, 1000] {
                let mut network = presets::ours(name).unwrap().network;
                network.set_hidden(&[hidden, hidden]).unwrap();
                let events = 0.012 * (network.inputs * network.time_steps) as f64;
                let limits = Limits { binding: 1 << 31, memory: u64::MAX, lockstep: None };
                let plan = super::plan(&network, 256, events, DENSITY_GUESS, 8 << 20, &limits).unwrap();
                let sparse: u64 = plan.state.iter().filter(|(name, _)| name != "batch").map(|(_, b)| b).sum();
                // Spikes, the input's too, potentials and deltas of each layer: what a dense step keeps.
                let neurons = network.inputs + 3 * 2 * hidden + 2 * network.classes();
                let dense = 4 * 256 * network.time_steps as u64 * neurons as u64;
                assert!(sparse * 10 < dense, "{name} {hidden}: {sparse} of {dense}");
            }
        }
    }
}
