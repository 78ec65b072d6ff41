//! How much memory a run takes, before anything is allocated.
//!
//! An [`Estimate`] follows the formulas by which the engines allocate, at densities that are expected; how near it
//! comes is tested against the bytes that they then really hold ([`Engine::state_bytes`](crate::engine::Engine::state_bytes)).

use crate::device::Device;
use crate::engine::Method;
use crate::error::{Error, Result};
use crate::gpu::plan::{self, Limits};
use crate::gpu::{self, AdapterSummary, DeltaScratch};
use crate::network::{Network, Reset, SpikingLayer};
use serde::Serialize;

/// How dense a step is expected to be, as fractions of the (time step, neuron) slots.
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
    /// Those of trained networks, on the safe side, with an input of the given density.
    pub fn usual(input: f64) -> Self {
        Densities { input, spikes: 0.02, active: 0.03 }
    }
}

/// What a part's size follows, so that a remedy can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// The weights: layers' widths.
    Weights,
    /// The batch and its spikes.
    Events,
    /// The batch and all slots of [B, T, N] arrays.
    Slots,
    /// The data set.
    Data,
}

/// A part of a run's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Part {
    /// What it holds.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// What they follow.
    pub follows: Follows,
    /// Whether [`Engine::state_bytes`](crate::engine::Engine::state_bytes) counts it: needed beyond weights, moments and batch.
    pub of_step: bool,
}

/// The memory of a run, by part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The parts on the device (which for `cpu` is the machine's memory).
    pub parts: Vec<Part>,
    /// Bytes on the host while a run is prepared and saved: copies of weights and moments, the data set.
    pub host_bytes: u64,
    /// Whether the device's memory is the machine's.
    pub shared: bool,
}

/// Estimates a run of `network` in batches of `batch` samples on the device that `device` stands for.
///
/// # Errors
/// A network of which not even one sample fits what the adapter binds.
pub fn estimate(
    network: &Network,
    method: Method,
    batch: usize,
    device: Device,
    densities: &Densities,
) -> Result<Estimate> {
    estimate_with(network, method, batch, device, densities, None)
}

/// [`estimate`] for a gpu device on which δ may take `delta_bytes` bytes ([`Engine::delta_bytes`](crate::engine::Engine::delta_bytes)
/// says how many); `None` is the usual size.
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
    let mut e = Estimate { parts: Vec::new(), host_bytes: 4 * weights, shared: true };
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
            e.shared = adapter.kind == "software" || adapter.kind == "integrated";
            e.gpu_state(network, batch, densities, adapter, !dense, delta_bytes)?;
        }
    }
    if dense {
        e.dense_arrays(network, batch, method, adapter.is_some());
    }
    Ok(e)
}

/// The adapter that `device` stands for; `None` for the CPU.
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
        self.parts.push(Part { name: name.into(), bytes, follows, of_step });
    }

    /// Lists grow by doubling as they fill: on average they hold half as much again.
    fn cpu_lists(&mut self, network: &Network, batch: usize, densities: &Densities) {
        let rows = (batch * network.time_steps) as f64;
        // Spikes that set the potential are kept beside the active entries, too.
        let spikes = |layer: &SpikingLayer| if layer.reset == Reset::ToValue { 8.0 } else { 4.0 };
        let lists: f64 = (network.spiking())
            .map(|layer| match layer.conv() {
                None => layer.neurons as f64 * (spikes(layer) * densities.spikes + 12.0 * densities.active),
                // Of a convolution the pooled spikes alone, each of which stands for one or two.
                Some(_) => layer.neurons as f64 * 2.5 * densities.spikes,
            })
            .sum();
        self.add("spikes and active entries", (1.5 * rows * lists) as u64, Follows::Events, true);
        let convs = || network.hidden.iter().filter_map(|layer| layer.conv());
        if convs().next().is_some() {
            let group = crate::cpu::group_size(network);
            let threads = rayon::current_num_threads().min(batch.div_ceil(group));
            let rows = (threads * group * network.time_steps) as f64;
            // Few events drive a place, and potentials pass the band in few steps: measured, an eighth to a third of the
            // usual density.
            let active = densities.active / 5.0;
            let entries: f64 = convs().map(|conv| rows * conv.neurons() as f64 * 16.0 * active).sum();
            self.add("active entries of convolutions", (1.5 * entries) as u64, Follows::Slots, true);
            let weights: usize = convs().map(|conv| conv.patch() * conv.filters.next_multiple_of(16)).sum();
            let groups = 4 * batch.div_ceil(group) * weights;
            self.add("weight gradients of convolutions", groups as u64, Follows::Slots, true);
        }
        // Each thread has the gradient and the rows of δ of one tile of up to 64 columns, and the spikes of a sample as
        // bits.
        let threads = rayon::current_num_threads().min(batch.div_ceil(8)) as u64;
        let sizes: Vec<usize> = network.fan_in().into_iter().chain([network.classes()]).collect();
        let (tallest, steps) = (sizes.iter().copied().max().unwrap_or(1) as u64, network.time_steps as u64);
        let width = sizes[1..].iter().copied().max().unwrap_or(1).next_multiple_of(16).min(64) as u64;
        let scratch = threads * (4 * width * (tallest + steps) + steps * tallest / 8);
        self.add("scratch of all threads", scratch, Follows::Slots, true);
    }

    /// As the gpu device plans it; with that, `batch` too.
    fn gpu_state(
        &mut self,
        network: &Network,
        batch: usize,
        d: &Densities,
        adapter: &AdapterSummary,
        of_step: bool,
        delta_bytes: Option<u64>,
    ) -> Result<()> {
        gpu::check_supported(network, if of_step { Method::Sparse } else { Method::Dense })?;
        let events = d.input * (network.inputs * network.time_steps) as f64;
        // A list that overflows its first guess gets the room that it needs, and some more.
        let lists = plan::SLACK * d.spikes.max(d.active);
        let density = if d.spikes.max(d.active) > plan::DENSITY_GUESS { lists } else { plan::DENSITY_GUESS };
        let limits = Limits { binding: adapter.max_storage_binding.min(adapter.max_buffer), memory: u64::MAX };
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
        // δ of a layer needs that of the layer above alone; the cpu device's reference sums in an array of its own.
        let widest = sizes[1..].iter().map(|&n| wide(n)).max().unwrap_or(0);
        let kept = sizes[1..].len().min(2) as u64 + u64::from(method == Method::Reference && !gpu);
        self.add("dense spike gradients and deltas", kept * widest, Follows::Slots, true);
        if !gpu {
            let gradient = network.weight_shapes().iter().map(|&(rows, cols)| 4 * (rows * cols) as u64).sum();
            self.add("dense weight gradient", gradient, Follows::Weights, true);
        }
    }

    /// This run and another one at the same time.
    pub fn beside(mut self, other: Estimate) -> Self {
        self.parts.extend(other.parts);
        self.host_bytes = self.host_bytes.max(other.host_bytes);
        self
    }

    /// Adds a data set that the run keeps on the host.
    pub fn with_data(mut self, events: usize) -> Self {
        self.host_bytes += 4 * events as u64;
        self
    }

    /// Bytes on the device.
    pub fn device_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes that a step needs beyond weights, moments and the batch.
    pub fn step_bytes(&self) -> u64 {
        self.parts.iter().filter(|part| part.of_step).map(|part| part.bytes).sum()
    }

    /// Bytes of the machine's memory: the host's, and the device's where that is the same.
    pub fn machine_bytes(&self) -> u64 {
        self.host_bytes + if self.shared { self.device_bytes() } else { 0 }
    }

    /// What to change, by what the largest share follows.
    fn remedy(&self) -> &'static str {
        let of = |kind: Follows| self.parts.iter().filter(|p| p.follows == kind).map(|p| p.bytes).sum::<u64>();
        let largest = [Follows::Weights, Follows::Events, Follows::Slots].into_iter().max_by_key(|&kind| of(kind));
        match largest {
            Some(Follows::Weights) => "the weights are the most of it: make the layers narrower (--hidden)",
            Some(Follows::Slots) if self.parts.iter().any(|p| p.name.starts_with("dense")) => {
                "the dense arrays are the most of it: use a smaller --batch, or the sparse method, which needs none"
            }
            _ => "it grows with the batch: use a smaller --batch, or narrower layers (--hidden)",
        }
    }

    /// Refuses what `available` bytes do not hold; `None` refuses nothing.
    ///
    /// # Errors
    /// The numbers, and what to change.
    pub fn check(&self, available: Option<u64>) -> Result<()> {
        let needs = self.machine_bytes();
        match available {
            Some(available) if needs > available => Err(Error::Config(format!(
                "this run needs about {} of memory ({}), the machine has {} to spare; {}",
                mib(needs),
                self.largest_parts(),
                mib(available),
                self.remedy()
            ))),
            _ => Ok(()),
        }
    }

    /// The three largest parts, for a message.
    fn largest_parts(&self) -> String {
        let mut parts: Vec<(&str, u64)> = Vec::new();
        for part in &self.parts {
            match parts.iter_mut().find(|(name, _)| *name == part.name) {
                Some((_, bytes)) => *bytes += part.bytes,
                None => parts.push((&part.name, part.bytes)),
            }
        }
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let named = parts.iter().take(3).map(|(name, bytes)| format!("{name} {}", mib(*bytes)));
        named.collect::<Vec<_>>().join(", ")
    }

    /// One line: `about 12 MiB on the device (weights and moments 5 MiB, ...), 3 MiB on the host`.
    pub fn line(&self) -> String {
        format!(
            "about {} on the device ({}), {} on the host",
            mib(self.device_bytes()),
            self.largest_parts(),
            mib(self.host_bytes)
        )
    }
}

/// Bytes for a message.
fn mib(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes.div_ceil(1024)),
        1..10_000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{random_spikes, scaled_weights};
    use crate::gpu::GpuOptions;
    use crate::network::Connection;
    use crate::optimiser::Adam;
    use crate::presets;

    /// An estimate is right within this factor.
    const FACTOR: f64 = 2.0;

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
                        estimate(&network, method, batch, device, &Densities::usual(0.012)).unwrap().step_bytes();
                    let ratio = guess as f64 / really as f64;
                    let of = format!("{preset} {device} {method:?}: {guess} estimated, {really} allocated");
                    assert!((1.0 / FACTOR..FACTOR).contains(&ratio), "{of}: {:?}", engine.state_bytes());
                }
            }
        }
    }

    /// An estimate has the size of δ that was chosen, not the usual one.
    #[test]
    fn estimates_follow_the_memory_for_delta() {
        let mut network = presets::paper("shd").unwrap().network;
        network.set_hidden(&[400]).unwrap();
        let input = random_spikes(&network, 20, 0.012, 1).unwrap();
        let weights = scaled_weights(&network, &input, 0.015, 1).unwrap();
        let (device, densities) = (Device::Gpu(None), Densities::usual(0.012));
        // 100 quads of 500 steps per sample: 5, 10 and all samples per chunk.
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
            let guess = estimate(&network, method, 16, Device::Cpu, &Densities::usual(0.006)).unwrap().step_bytes();
            let ratio = guess as f64 / really as f64;
            let of = format!("{method:?}: {guess} estimated, {really} allocated");
            assert!((1.0 / FACTOR..FACTOR).contains(&ratio), "{of}: {:?}", engine.state_bytes());
        }
    }

    #[test]
    fn what_cannot_fit_is_refused_with_numbers_and_a_remedy() {
        let mut network = presets::paper("fmnist").unwrap().network;
        let densities = Densities::usual(0.004);
        let refusal = |network: &Network, method, batch, available| {
            let e = estimate(network, method, batch, Device::Cpu, &densities).unwrap().check(Some(available));
            e.unwrap_err().to_string()
        };
        let said = refusal(&network, Method::Dense, 1 << 20, 8 << 30);
        for part in ["GiB", "8192 MiB to spare", "smaller --batch", "sparse"] {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
        network.set_hidden(&[20_000, 20_000]).unwrap();
        let said = refusal(&network, Method::Sparse, 1, 1 << 30);
        assert!(said.contains("--hidden") && said.contains("weights"), "{said}");
        let fits = estimate(&network, Method::Sparse, 1, Device::Cpu, &densities).unwrap();
        fits.check(Some(fits.machine_bytes())).unwrap();
        fits.check(None).unwrap();
    }
}
