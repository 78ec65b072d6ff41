//! Estimates how much memory a run requires before anything is allocated.
//!
//! An [`Estimate`] applies the engines' allocation formulas to expected densities. Tests compare it with the bytes that
//! are allocated in the end ([`Engine::state_bytes`](crate::engine::Engine::state_bytes)).

use crate::device::Device;
use crate::engine::Method;
use crate::error::{Error, Result};
use crate::gpu::plan::{self, Limits};
use crate::gpu::{self, AdapterSummary, DeltaScratch};
use crate::network::{Network, Reset, SpikingLayer};
use serde::Serialize;

/// What the host takes while a checkpoint is saved or read.
const COPY: &str = "copy of weights and moments";
/// What the host takes while a step sums the gradients of its shards.
const SUMS: &str = "gradients of shards";

/// Expected densities of a step, as fractions of a layer's entries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Densities {
    /// Spikes of the input.
    pub input: f64,
    /// Spikes of a hidden layer.
    pub spikes: f64,
    /// Active entries of a hidden layer.
    pub active: f64,
}

impl Densities {
    /// Conservative values for trained networks, with an input of the given density: in samples of up to 500 time steps,
    /// 1.5 % of a hidden layer's entries spike and 2 % are active; in longer samples, their numbers are those of 500 steps.
    pub fn usual(input: f64, time_steps: usize) -> Self {
        let expected = |density| plan::expected(density, time_steps);
        Densities { input, spikes: expected(0.015), active: expected(0.02) }
    }
}

/// What a part's size is proportional to; decides the advice in error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// The number of weights.
    Weights,
    /// The number of spikes and active entries in a batch.
    Events,
    /// The number of entries in a batch, i.e. elements of [B, T, N] arrays.
    Slots,
    /// Nothing of the network: the program, its data and what it always does.
    Program,
}

/// Host memory of a GPU's kernels and what compiles them, measured with lavapipe and NVIDIA's driver.
const KERNEL_BYTES: u64 = 50 << 20;
/// Device memory that the driver takes for itself, measured on an NVIDIA H100.
const DRIVER_BYTES: u64 = 61 << 20;

/// A part of a run's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryPart {
    /// Its contents.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// What the size is proportional to.
    pub follows: Follows,
    /// Whether [`Engine::state_bytes`](crate::engine::Engine::state_bytes) counts it, i.e. it is neither weights, moments
    /// nor batch.
    pub of_step: bool,
}

/// The memory of a run, by part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The parts in device memory; for the cpu device, in the machine's memory.
    pub parts: Vec<MemoryPart>,
    /// The parts on the host that are not the device's.
    pub host: Vec<MemoryPart>,
    /// Bytes of `host` that the process has already.
    pub resident: u64,
    /// Whether the device uses the machine's memory.
    pub shared: bool,
}

/// Estimates a run of `network` in batches of `batch` samples on `device`.
///
/// # Errors
/// A network for which even a batch of one sample exceeds the adapter's largest binding.
pub fn estimate(
    network: &Network,
    method: Method,
    batch: usize,
    device: Device,
    densities: &Densities,
) -> Result<Estimate> {
    estimate_with(network, method, batch, device, densities, None)
}

/// [`estimate`] for a gpu device with a δ scratch of `delta_bytes` bytes
/// ([`Engine::delta_bytes`](crate::engine::Engine::delta_bytes)); `None` is the default size.
///
/// # Errors
/// As [`estimate`].
pub fn estimate_with(
    network: &Network,
    method: Method,
    batch: usize,
    device: Device,
    densities: &Densities,
    delta_bytes: Option<u64>,
) -> Result<Estimate> {
    let adapter = adapter(device.resolve_for(network, method));
    let shapes = network.weight_shapes();
    let weights: u64 = shapes.iter().map(|&(rows, cols)| 4 * rows as u64 * cols as u64).sum();
    let mut e = Estimate { parts: Vec::new(), host: Vec::new(), resident: 0, shared: true };
    // While a checkpoint is saved or read, the host has a copy of weights and moments.
    e.add_host(COPY, 3 * weights, Follows::Weights);
    let round = if adapter.is_some() { 4 } else { 16 };
    let padded: u64 = shapes.iter().map(|&(rows, cols)| 4 * (rows * cols.next_multiple_of(round)) as u64).sum();
    let dense = matches!(method, Method::Dense | Method::Reference);
    e.add("weights and moments", 3 * padded, Follows::Weights, false);
    if adapter.is_some() {
        e.add("weight gradient", padded, Follows::Weights, true);
    }
    let input = (batch * network.time_steps * network.inputs) as f64 * densities.input;
    match &adapter {
        None => {
            e.add("batch", 4 * input as u64, Follows::Events, false);
            if !dense {
                e.cpu_lists(network, batch, densities);
            }
        }
        Some(adapter) => {
            gpu::check_supported(network, method, adapter.binding())?;
            e.shared = adapter.kind == "software" || adapter.kind == "integrated";
            e.add_host("compiled kernels", KERNEL_BYTES, Follows::Program);
            if !e.shared {
                e.add("driver", DRIVER_BYTES, Follows::Program, false);
            }
            e.gpu_state(network, batch, densities, adapter, !dense, delta_bytes)?;
        }
    }
    if dense {
        e.dense_arrays(network, batch, method, adapter.is_some());
    }
    Ok(e)
}

/// Bytes that the potentials of one inspected sample take: on the host, and for a GPU also on the device and on their way.
pub fn inspection_bytes(network: &Network, device: Device) -> u64 {
    let neurons: usize = network.spiking().map(|layer| layer.neurons).sum::<usize>() + network.classes();
    let copies = if device.resolve() == Device::Cpu { 1 } else { 3 };
    copies * 4 * network.time_steps as u64 * neurons as u64
}

/// The adapter of `device`; `None` for the CPU.
fn adapter(device: Device) -> Option<AdapterSummary> {
    let index = match device.resolve() {
        Device::Gpu(index) => index,
        _ => return None,
    };
    let mut adapters = gpu::adapters();
    let index = index.or_else(|| gpu::adapter::best(&adapters, true)).filter(|&index| index < adapters.len())?;
    Some(adapters.swap_remove(index))
}

impl Estimate {
    fn add(&mut self, name: &str, bytes: u64, follows: Follows, of_step: bool) {
        self.parts.push(MemoryPart { name: name.into(), bytes, follows, of_step });
    }

    fn add_host(&mut self, name: &str, bytes: u64, follows: Follows) {
        self.host.push(MemoryPart { name: name.into(), bytes, follows, of_step: false });
    }

    /// Lists grow by doubling, so on average their capacity is 1.5 times their length.
    fn cpu_lists(&mut self, network: &Network, batch: usize, densities: &Densities) {
        let rows = (batch * network.time_steps) as f64;
        // With `to_value`, spikes are also stored with the active entries.
        let spikes = |layer: &SpikingLayer| if layer.reset == Reset::ToValue { 8.0 } else { 4.0 };
        let lists: f64 = (network.spiking())
            .map(|layer| match layer.conv() {
                None => layer.neurons as f64 * (spikes(layer) * densities.spikes + 12.0 * densities.active),
                // A convolution only stores pooled spikes, each from one or two neurons on average.
                Some(_) => layer.neurons as f64 * 2.5 * densities.spikes,
            })
            .sum();
        self.add("spikes and active entries", (1.5 * rows * lists) as u64, Follows::Events, true);
        let convs = || network.hidden.iter().filter_map(|layer| layer.conv());
        if convs().next().is_some() {
            let group = crate::cpu::group_size(network);
            let threads = rayon::current_num_threads().min(batch.div_ceil(group));
            let rows = (threads * group * network.time_steps) as f64;
            // A convolution's neurons have few inputs, and their potentials cross the active range in few steps: measured
            // 1/8 to 1/3 of the activity of other layers.
            let active = densities.active / 5.0;
            let entries: f64 = convs().map(|conv| rows * conv.neurons() as f64 * 16.0 * active).sum();
            self.add("active entries of convolutions", (1.5 * entries) as u64, Follows::Slots, true);
            let weights: usize = convs().map(|conv| conv.patch() * conv.filters.next_multiple_of(16)).sum();
            let groups = 4 * batch.div_ceil(group) * weights;
            self.add("weight gradients of convolutions", groups as u64, Follows::Slots, true);
        }
        // Each thread holds the gradient and the δ rows of one tile of up to 64 columns, and a sample's spikes as a bit
        // array.
        let threads = rayon::current_num_threads().min(batch.div_ceil(8)) as u64;
        let inputs = network.fan_in().into_iter().zip(network.recurrent_inputs()).map(|(below, own)| below + own);
        let sizes: Vec<usize> = inputs.chain([network.classes()]).collect();
        let (tallest, steps) = (sizes.iter().copied().max().unwrap_or(1) as u64, network.time_steps as u64);
        let width = |neurons: Option<usize>| neurons.unwrap_or(0).next_multiple_of(16).min(64) as u64;
        let gradient = 4 * tallest * width(sizes[1..].iter().copied().max());
        // A recurrent layer keeps one time step.
        let neurons = network.sizes().into_iter().skip(1).zip(network.recurrent_inputs());
        let currents = 4 * steps * width(neurons.filter(|&(_, own)| own == 0).map(|(neurons, _)| neurons).max());
        let scratch = threads * (gradient + currents + steps * tallest / 8);
        self.add("scratch of all threads", scratch, Follows::Slots, true);
    }

    /// Buffers as the gpu device plans them, including the batch.
    fn gpu_state(
        &mut self,
        network: &Network,
        batch: usize,
        d: &Densities,
        adapter: &AdapterSummary,
        of_step: bool,
        delta_bytes: Option<u64>,
    ) -> Result<()> {
        let events = d.input * (network.inputs * network.time_steps) as f64;
        // A list that overflows its initial size is reallocated with some slack.
        let lists = plan::SLACK * d.spikes.max(d.active);
        let guess = plan::expected(plan::DENSITY_GUESS, network.time_steps);
        let density = if d.spikes.max(d.active) > guess { lists } else { guess };
        let limits = Limits { binding: adapter.binding(), memory: u64::MAX, lockstep: None };
        let delta = delta_bytes.unwrap_or(DeltaScratch::usual(adapter.tier()).bytes());
        for (name, bytes) in plan::plan(network, batch, events, density, delta, &limits)?.state {
            let follows =
                if name.contains("list") || name.contains("entries") { Follows::Events } else { Follows::Slots };
            let step = name != "batch" && (of_step || name == "readout");
            self.add(&name, bytes, follows, step);
        }
        Ok(())
    }

    fn dense_arrays(&mut self, network: &Network, batch: usize, method: Method, gpu: bool) {
        let rows = (batch * network.time_steps) as u64;
        let round = if gpu { 4 } else { 1 };
        let wide = |n: usize| 4 * rows * n.next_multiple_of(round) as u64;
        let sizes = network.sizes();
        let sum = |sizes: &[usize]| sizes.iter().map(|&n| wide(n)).sum::<u64>();
        self.add("dense spikes", sum(&sizes[..sizes.len() - 1]), Follows::Slots, true);
        self.add("dense membrane potentials", sum(&sizes[1..]), Follows::Slots, true);
        // The δ of a layer depends only on the δ of the layer above; the cpu device's reference method needs one more
        // array for sums.
        let widest = sizes[1..].iter().map(|&n| wide(n)).max().unwrap_or(0);
        let kept = sizes[1..].len().min(2) as u64 + u64::from(method == Method::Reference && !gpu);
        self.add("dense spike gradients and deltas", kept * widest, Follows::Slots, true);
        if !gpu {
            let gradient = network.weight_shapes().iter().map(|&(rows, cols)| 4 * (rows * cols) as u64).sum();
            self.add("dense weight gradient", gradient, Follows::Weights, true);
        }
    }

    /// Adds another device of the same run. Beside a GPU with memory of its own, what other devices take is the host's.
    pub fn beside(mut self, mut other: Estimate) -> Self {
        // What both have on the host they have once.
        for part in std::mem::take(&mut other.host) {
            match self.host.iter_mut().find(|own| own.name == part.name) {
                Some(own) => own.bytes = own.bytes.max(part.bytes),
                None => self.host.push(part),
            }
        }
        if self.shared == other.shared {
            self.parts.extend(other.parts);
        } else {
            let (shared, own) = if self.shared { (self.parts, other.parts) } else { (other.parts, self.parts) };
            self.host.extend(shared);
            (self.parts, self.shared) = (own, false);
        }
        self
    }

    /// Adds what the process has in memory already, its data sets included
    /// ([`resident_memory`](crate::system::resident_memory)).
    pub fn with_program(mut self, resident: u64) -> Self {
        self.add_host("program and data", resident, Follows::Program);
        self.resident += resident;
        self
    }

    /// Adds the gradients that a step of several shards sums: on each device one for each level of its part of the tree, and two
    /// that are added.
    pub fn with_shards(self, shards: usize, devices: usize) -> Self {
        let weights = self.host.iter().filter(|part| part.name == COPY).map(|part| part.bytes / 3).sum::<u64>();
        let own = shards.div_ceil(devices.max(1));
        let sums = if own > 0 { devices as u64 * (u64::from(own.next_power_of_two().ilog2()) + 2) } else { 0 };
        self.with_other(SUMS, sums * weights, Follows::Weights)
    }

    /// Adds what several ranks send each other: the weights and moments that they begin with, or the gradients of a step.
    pub fn with_messages(mut self) -> Self {
        let copy = self.host.iter().filter(|part| part.name == COPY).map(|part| part.bytes).sum();
        self.add_host("messages between ranks", copy, Follows::Weights);
        self
    }

    /// Adds what a run's figures take while they are drawn.
    pub fn with_figures(self, bytes: u64) -> Self {
        self.with_other("figures", bytes, Follows::Program)
    }

    /// Adds what is never held together with the copy of weights and moments or the gradients of shards: what it takes more.
    fn with_other(mut self, name: &str, bytes: u64, follows: Follows) -> Self {
        let held: u64 =
            self.host.iter().filter(|part| [COPY, SUMS].contains(&&*part.name)).map(|part| part.bytes).sum();
        self.add_host(name, bytes.saturating_sub(held), follows);
        self
    }

    /// Adds the frames of an animation, which are kept until the run ends.
    pub fn with_animation(mut self, bytes: u64) -> Self {
        self.add_host("frames of the animation", bytes, Follows::Program);
        self
    }

    /// Bytes on the device.
    pub fn device_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes on the host that are not the device's.
    pub fn host_bytes(&self) -> u64 {
        self.host.iter().map(|part| part.bytes).sum()
    }

    /// Bytes that a step requires in addition to weights, moments and the batch.
    pub fn step_bytes(&self) -> u64 {
        self.parts.iter().filter(|part| part.of_step).map(|part| part.bytes).sum()
    }

    /// Bytes in the machine's memory, including the device's if it shares it.
    pub fn machine_bytes(&self) -> u64 {
        self.host_bytes() + if self.shared { self.device_bytes() } else { 0 }
    }

    /// Advice on how to reduce memory, depending on the largest part.
    fn remedy(&self) -> &'static str {
        let all = || self.parts.iter().chain(&self.host);
        let of = |kind: Follows| all().filter(|p| p.follows == kind).map(|p| p.bytes).sum::<u64>();
        let largest = [Follows::Weights, Follows::Events, Follows::Slots].into_iter().max_by_key(|&kind| of(kind));
        match largest {
            Some(Follows::Weights) => "most of it is for weights: make the layers narrower (network.hidden)",
            Some(Follows::Slots) if self.parts.iter().any(|p| p.name.starts_with("dense")) => {
                "most of it is for dense arrays: use a smaller batch, or the sparse method"
            }
            _ => "use a smaller batch or narrower layers (network.hidden)",
        }
    }

    /// Checks that `available` bytes suffice for what the process does not have yet; `None` if unknown, which passes.
    ///
    /// # Errors
    /// Too little memory; the message says how much is required, for what, and what to change.
    pub fn check(&self, available: Option<u64>) -> Result<()> {
        let needs = self.machine_bytes() - self.resident;
        match available {
            Some(available) if needs > available => Err(Error::Config(format!(
                "this run requires about {} of memory ({}), but {} are available; {}",
                mib(needs),
                largest(self.parts.iter().filter(|_| self.shared).chain(&self.host)),
                mib(available),
                self.remedy()
            ))),
            _ => Ok(()),
        }
    }

    /// Summary on one line: `about 12 MiB on the device (weights and moments 5 MiB, ...), 60 MiB on the host`, or in one sum
    /// where the device has no memory of its own.
    pub fn line(&self) -> String {
        match self.shared {
            true => format!("about {} ({})", mib(self.machine_bytes()), largest(self.parts.iter().chain(&self.host))),
            false => format!(
                "about {} on the device ({}), {} on the host",
                mib(self.device_bytes()),
                largest(self.parts.iter()),
                mib(self.host_bytes())
            ),
        }
    }
}

/// The three largest parts, as text.
fn largest<'a>(of: impl Iterator<Item = &'a MemoryPart>) -> String {
    let mut parts: Vec<(&str, u64)> = Vec::new();
    for part in of {
        match parts.iter_mut().find(|(name, _)| *name == part.name) {
            Some((_, bytes)) => *bytes += part.bytes,
            None => parts.push((&part.name, part.bytes)),
        }
    }
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let named = parts.iter().take(3).map(|(name, bytes)| format!("{name} {}", mib(*bytes)));
    named.collect::<Vec<_>>().join(", ")
}

/// Bytes as text, with a unit.
fn mib(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes.div_ceil(1024)),
        1..10_000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(all(test, feature = "lab"))]
mod tests {
    use super::*;
    use crate::bench::{random_spikes, scaled_weights};
    use crate::gpu::GpuOptions;
    use crate::network::Connection;
    use crate::optimiser::Adam;
    use crate::presets;

    /// Estimates must be within this factor of the allocated bytes.
    const FACTOR: f64 = 2.0;

    /// A GPU with memory of its own, the cpu device and another such GPU, in any order.
    #[test]
    fn what_devices_share_is_counted_once_and_nothing_is_lost() {
        let part =
            |name: &str, bytes| MemoryPart { name: name.into(), bytes, follows: Follows::Weights, of_step: false };
        let device = |shared, bytes| Estimate {
            parts: vec![part("weights and moments", bytes)],
            host: vec![part(COPY, if shared { 5 } else { 9 })],
            resident: 0,
            shared,
        };
        for order in [[0, 1, 2], [1, 0, 2], [0, 2, 1]] {
            let devices = order.map(|k| device(k == 1, [100, 10, 1000][k]));
            let all = devices.into_iter().reduce(Estimate::beside).unwrap();
            assert_eq!((all.device_bytes(), all.host_bytes(), all.machine_bytes()), (1100, 19, 19), "{order:?}");
        }
        let all = device(true, 10).beside(device(true, 20));
        assert_eq!((all.device_bytes(), all.host_bytes(), all.machine_bytes()), (30, 5, 35));
    }

    #[test]
    fn estimates_are_near_what_is_really_allocated() {
        for (preset, hidden, batch) in
            [("fmnist", &[200, 200][..], 64), ("shd", &[100], 16), ("nmnist", &[60, 60, 60], 24)]
        {
            let mut network = presets::paper(preset).unwrap().network;
            network.set_hidden(hidden).unwrap();
            let input = random_spikes(&network, batch, 0.012, 1).unwrap();
            let weights = scaled_weights(&network, &input, 0.015, 1).unwrap();
            for device in [Device::Cpu, Device::Gpu(None)] {
                for method in [Method::Sparse, Method::Dense] {
                    let mut engine = device.open(&network, method, &weights).unwrap();
                    engine.train(&input, &Adam::with_lr(1e-3)).unwrap();
                    engine.reports(true).unwrap();
                    let really: u64 = engine.state_bytes().iter().map(|(_, bytes)| bytes).sum();
                    let guess =
                        estimate(&network, method, batch, device, &Densities::usual(0.012, 300)).unwrap().step_bytes();
                    let ratio = guess as f64 / really as f64;
                    let of = format!("{preset} {device} {method:?}: {guess} estimated, {really} allocated");
                    assert!((1.0 / FACTOR..FACTOR).contains(&ratio), "{of}: {:?}", engine.state_bytes());
                }
            }
        }
    }

    /// Estimates follow the chosen size of the δ scratch.
    #[test]
    fn estimates_follow_the_memory_for_delta() {
        let mut network = presets::paper("shd").unwrap().network;
        network.set_hidden(&[400]).unwrap();
        let input = random_spikes(&network, 20, 0.012, 1).unwrap();
        let weights = scaled_weights(&network, &input, 0.015, 1).unwrap();
        let (device, densities) = (Device::Gpu(None), Densities::usual(0.012, 300));
        // 100 neurons in groups of four and 500 time steps per sample: 5, 10 and all samples per chunk.
        for (size, samples) in [(DeltaScratch::mib(4), 5), (DeltaScratch::mib(8), 10), (DeltaScratch::WHOLE, 20)] {
            let options = GpuOptions { delta_bytes: Some(size.bytes()), ..GpuOptions::default() };
            let mut engine = device.open_with(&network, Method::Sparse, &weights, options).unwrap();
            engine.train(&input, &Adam::with_lr(1e-3)).unwrap();
            engine.reports(true).unwrap();
            assert_eq!(engine.delta_bytes(), Some(size.bytes()));
            let guess = estimate_with(&network, Method::Sparse, 20, device, &densities, engine.delta_bytes()).unwrap();
            let part = guess.parts.iter().find(|part| part.name.starts_with("delta")).unwrap();
            let really = engine.state_bytes();
            let (_, delta) = really.iter().find(|(name, _)| *name == part.name).unwrap();
            assert_eq!((part.bytes, *delta), (samples * 16 * 100 * 500, samples * 16 * 100 * 500), "{size}");
            let ratio = guess.step_bytes() as f64 / really.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>();
            assert!((1.0 / FACTOR..FACTOR).contains(&ratio), "{size}: {ratio}");
        }
    }

    #[test]
    fn estimates_of_convolutions_are_near_too() {
        let mut network = presets::paper("fmnist-conv").unwrap().network;
        if let Connection::Conv(conv) = &mut network.hidden[0].connection {
            (conv.filters, network.hidden[0].neurons) = (16, 16 * 784);
        }
        network.set_hidden(&[30]).unwrap();
        let input = random_spikes(&network, 16, 0.006, 1).unwrap();
        let weights = scaled_weights(&network, &input, 0.015, 1).unwrap();
        for method in [Method::Sparse, Method::Dense] {
            let mut engine = Device::Cpu.open(&network, method, &weights).unwrap();
            engine.train(&input, &Adam::with_lr(1e-3)).unwrap();
            let really: u64 = engine.state_bytes().iter().map(|(_, bytes)| bytes).sum();
            let guess =
                estimate(&network, method, 16, Device::Cpu, &Densities::usual(0.006, 100)).unwrap().step_bytes();
            let ratio = guess as f64 / really as f64;
            let of = format!("{method:?}: {guess} estimated, {really} allocated");
            assert!((1.0 / FACTOR..FACTOR).contains(&ratio), "{of}: {:?}", engine.state_bytes());
        }
    }

    #[test]
    fn what_cannot_fit_is_refused_with_numbers_and_a_remedy() {
        let mut network = presets::paper("fmnist").unwrap().network;
        let densities = Densities::usual(0.004, 100);
        let refusal = |network: &Network, method, batch, available| {
            let e = estimate(network, method, batch, Device::Cpu, &densities).unwrap().check(Some(available));
            e.unwrap_err().to_string()
        };
        let said = refusal(&network, Method::Dense, 1 << 20, 8 << 30);
        for part in ["GiB", "8192 MiB are available", "smaller batch", "sparse"] {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
        network.set_hidden(&[20_000, 20_000]).unwrap();
        let said = refusal(&network, Method::Sparse, 1, 1 << 30);
        assert!(said.contains("network.hidden") && said.contains("weights"), "{said}");
        let fits = estimate(&network, Method::Sparse, 1, Device::Cpu, &densities).unwrap();
        fits.check(Some(fits.machine_bytes())).unwrap();
        fits.check(None).unwrap();
    }
}
