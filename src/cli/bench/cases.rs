//! The cases of a measurement: networks, batches, densities.

use super::super::load::set_name;
use super::super::show::{self, complain};
use super::super::usage;
use super::{Arguments, MethodWord};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use spikegrad::bench::{TARGET_DENSITY, random_spikes, scaled_weights};
use spikegrad::data;
use spikegrad::device::Device;
use spikegrad::events::EventSet;
use spikegrad::memory::{self, Densities, Estimate};
use spikegrad::network::MAX_LAYERS;
use spikegrad::presets;
use spikegrad::system::available_memory;
use spikegrad::train::RunConfig;
use spikegrad::weights::Weights;

/// One network at one density.
pub struct BenchCase {
    /// The preset with the case's widths.
    pub config: RunConfig,
    /// The batch.
    pub batch: EventSet,
    /// Description of the batch.
    pub input: String,
    /// Spikes / (B · T · N₀).
    pub input_density: f64,
    /// Spike density that the hidden layers are scaled for.
    pub target: f64,
    /// The density of `--densities`.
    pub density: Option<f64>,
}

impl BenchCase {
    /// The widths of the hidden layers, as one number if they are equal.
    pub fn hidden(&self) -> Value {
        let widths: Vec<usize> = self.config.network.hidden.iter().map(|layer| layer.neurons).collect();
        match widths.iter().all(|&width| width == widths[0]) {
            true => json!(widths[0]),
            false => json!(widths),
        }
    }

    /// `784-200-200-10`, with the density if `--densities` was given.
    pub fn name(&self) -> String {
        let sizes = show::sizes(&self.config.network.sizes());
        match self.density {
            Some(density) => format!("{sizes} at {} %", trim(100.0 * density)),
            None => sizes,
        }
    }

    /// Estimates the memory of each method; `deltas` are the sizes of the δ scratch of its engine.
    pub fn estimates(&self, arguments: &Arguments, device: Device, deltas: &[Option<u64>]) -> Result<Vec<Estimate>> {
        estimates(arguments, &self.config, device, (self.input_density, self.target), deltas)
    }

    /// The weights, the same for all methods.
    pub fn weights(&self, seed: u64) -> Result<Weights> {
        Ok(scaled_weights(&self.config.network, &self.batch, self.target, seed)?)
    }
}

/// A number without trailing zeros.
pub fn trim(x: f64) -> String {
    let text = format!("{x:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Whether the input is training samples rather than random spikes: always for images, with `--data` for recordings.
pub fn samples(arguments: &Arguments) -> bool {
    (data::data_set(&arguments.preset) == "fmnist" || arguments.data.is_some())
        && arguments.density.is_none()
        && arguments.densities.is_empty()
}

/// The default spike density of random input: that of the data set.
pub fn usual_density(preset: &str) -> f64 {
    match data::data_set(preset) {
        "fmnist" => 0.0043,
        "nmnist" => 0.012,
        _ => 0.016,
    }
}

/// The preset with hidden layers of these widths.
pub fn config(arguments: &Arguments, widths: &[usize]) -> Result<RunConfig> {
    let mut config = presets::paper(&arguments.preset).map_err(usage)?;
    // Convolutions are not counted.
    let linear = config.network.hidden.iter().filter(|layer| layer.conv().is_none()).count();
    let layers = arguments.depth.unwrap_or(linear);
    if layers > MAX_LAYERS {
        bail!(super::Usage(format!("--depth {layers}: must be at most {MAX_LAYERS}")));
    }
    let widths = match (widths, arguments.depth) {
        ([width], _) => vec![*width; layers],
        (widths, Some(depth)) if widths.len() != depth => {
            bail!(super::Usage(format!("--depth {depth}: --hidden has {} layers", widths.len())))
        }
        (widths, _) => widths.to_vec(),
    };
    config.network.set_hidden(&widths).map_err(|e| usage(format!("--hidden: {e}")))?;
    config.batch = arguments.batch;
    config.check().map_err(usage)?;
    Ok(config)
}

/// A case before its batch is made.
pub struct CasePlan {
    config: RunConfig,
    density: Option<f64>,
}

/// Every size at every density, sizes outermost.
pub fn plans(arguments: &Arguments) -> Result<Vec<CasePlan>> {
    let sizes: Vec<Vec<usize>> = match arguments.sizes.is_empty() {
        true => vec![arguments.hidden.clone()],
        false => arguments.sizes.iter().map(|&n| vec![n]).collect(),
    };
    let densities: Vec<Option<f64>> = match arguments.densities.is_empty() {
        true => vec![None],
        false => arguments.densities.iter().copied().map(Some).collect(),
    };
    let mut plans = Vec::new();
    for widths in &sizes {
        for &density in &densities {
            plans.push(CasePlan { config: config(arguments, widths)?, density });
        }
    }
    Ok(plans)
}

impl CasePlan {
    /// Prints the estimated memory of each method, and refuses methods that will not fit at the same time, before anything
    /// large is allocated.
    pub fn estimates(&self, arguments: &Arguments, device: Device, delta_bytes: Option<u64>) -> Result<()> {
        let input = self.density.or(arguments.density).unwrap_or(usual_density(&arguments.preset));
        let deltas = vec![delta_bytes; arguments.methods.len()];
        let estimates = estimates(arguments, &self.config, device, (input, self.target(arguments)), &deltas)?;
        for (word, estimate) in arguments.methods.iter().zip(&estimates) {
            let sizes = show::sizes(&self.config.network.sizes());
            complain(format_args!("memory of {} at {sizes}: {}", word.name(), estimate.line()));
        }
        if let Some(together) = estimates.into_iter().reduce(Estimate::beside) {
            together.check(available_memory())?;
        }
        Ok(())
    }

    fn target(&self, arguments: &Arguments) -> f64 {
        self.density.or(arguments.target).unwrap_or(TARGET_DENSITY)
    }

    /// Creates the batch.
    pub fn build(self, arguments: &Arguments) -> Result<BenchCase> {
        let target = self.target(arguments);
        let CasePlan { config, density } = self;
        let (batch, input) = input(arguments, &config, density)?;
        let slots = batch.len() * config.network.inputs * config.network.time_steps;
        let input_density = batch.events().len() as f64 / slots as f64;
        Ok(BenchCase { input, input_density, target, density, config, batch })
    }
}

/// Estimates the memory of each method, with the size of its δ scratch.
fn estimates(
    arguments: &Arguments,
    config: &RunConfig,
    device: Device,
    (input, target): (f64, f64),
    deltas: &[Option<u64>],
) -> Result<Vec<Estimate>> {
    let densities = Densities { input, spikes: target, active: (2.0 * target).min(1.0) };
    let one = |(word, delta): (&MethodWord, &Option<u64>)| {
        memory::estimate_with(&config.network, word.method(), arguments.batch, device, &densities, *delta)
    };
    Ok(arguments.methods.iter().zip(deltas).map(one).collect::<spikegrad::Result<_>>()?)
}

/// The batch and its description.
fn input(arguments: &Arguments, config: &RunConfig, density: Option<f64>) -> Result<(EventSet, String)> {
    if samples(arguments) {
        let data = data::load(&config.preset, arguments.data.as_deref(), &config.network)?;
        if data.train.len() < arguments.batch {
            let (set, n) = (set_name(&data), data.train.len());
            bail!("--batch {}: {set} has only {n} training samples; use a smaller batch", arguments.batch);
        }
        let input = format!("the first {} training samples of {}", arguments.batch, data.origin);
        return Ok((data.train.head(arguments.batch), input));
    }
    let density = density.or(arguments.density).unwrap_or(usual_density(&arguments.preset));
    let batch = random_spikes(&config.network, arguments.batch, density, arguments.seed)?;
    Ok((batch, format!("random spikes of density {density}, seed {}", arguments.seed)))
}
