//! The cases of a measurement: networks, batches, densities.

use super::super::show::{self, complain};
use super::{Arguments, MethodWord};
use crate::cli::configure::{complete, is_file, load_completed, named, set_data, set_fields, settle};
use crate::cli::load::{Reading, set_name};
use crate::cli::progress::Progress;
use crate::cli::{Usage, usage};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use spikegrad::bench::{TARGET_DENSITY, random_spikes, scaled_weights};
use spikegrad::data::{self, DataSet};
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
        match widths.first() {
            Some(first) if widths.iter().all(|width| width == first) => json!(first),
            _ => json!(widths),
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

/// What is measured, before widths and densities vary.
pub struct Base {
    /// The configuration, with the batch.
    pub config: RunConfig,
    /// The data with the training samples that are the input; `None` for random spikes.
    data: Option<DataSet>,
    /// Whether the hidden layers are those of a TOML file.
    given_layers: bool,
}

/// Samples per batch, if there are as many.
const BATCH: usize = 256;

/// Width of the hidden layers.
const WIDTH: usize = 200;

impl Base {
    /// Reads the configuration and the data that it needs.
    pub fn read(arguments: &Arguments, progress: &Progress) -> Result<Self> {
        let word = &arguments.what;
        // Table 3 has no settings for data of one's own.
        let mut config = named(word, presets::NAMES.contains(&word.as_str()), "")?;
        set_data(&mut config, arguments.data.as_deref());
        set_fields(&mut config, &arguments.set)?;
        config.batch = arguments.batch.unwrap_or(BATCH);
        settle(&mut config)?;
        let random = arguments.density.is_some() || !arguments.densities.is_empty() || arguments.sweep.is_some();
        let own = data::data_set(&config.preset) == data::EVENTS;
        if arguments.data.is_some() && random && !own {
            bail!(Usage("--data: cannot be used here, as the input is random spikes; remove it".into()));
        }
        let samples = !random && (data::data_set(&config.preset) == "fmnist" || own || config.data.path.is_some());
        let reading = Reading::default();
        let survey = match samples || own {
            true => complete(&mut config, &reading, progress)?,
            false if config.is_open() => config.fit_published().map(|()| None)?,
            false => None,
        };
        let data = samples.then(|| load_completed(&config, survey, &reading, progress)).transpose()?;
        match data.as_ref().filter(|data| data.train.len() < config.batch) {
            Some(data) if arguments.batch.is_some() => {
                let (set, n) = (set_name(data), data.train.len());
                bail!("--batch {}: {set} has only {n} training samples; use a smaller batch", config.batch)
            }
            Some(data) => config.batch = data.train.len(),
            None => {}
        }
        Ok(Base { config, data, given_layers: is_file(word) })
    }

    /// The configuration with hidden layers of these widths; without any, of the usual width, or those of a file.
    pub fn with(&self, arguments: &Arguments, widths: &[usize]) -> Result<RunConfig> {
        let mut config = self.config.clone();
        let linear = || config.network.hidden.iter().filter(|layer| layer.conv().is_none());
        // Convolutions are not counted.
        let layers = arguments.depth.unwrap_or(linear().count());
        if layers > MAX_LAYERS {
            bail!(Usage(format!("--depth {layers}: must be at most {MAX_LAYERS}")));
        }
        let given: Vec<usize> = match (widths, self.given_layers && arguments.depth.is_none()) {
            ([], true) => linear().map(|layer| layer.neurons).collect(),
            ([], false) => vec![WIDTH],
            (widths, _) => widths.to_vec(),
        };
        let widths = match (&given[..], arguments.depth) {
            ([width], _) => vec![*width; layers],
            (widths, Some(depth)) if widths.len() != depth => {
                bail!(Usage(format!("--depth {depth}: --hidden has {} layers", widths.len())))
            }
            (widths, _) => widths.to_vec(),
        };
        config.network.set_hidden(&widths).map_err(|e| usage(format!("--hidden: {e}")))?;
        if arguments.recurrent {
            config.network.connect_hidden().map_err(|e| usage(format!("--recurrent: {e}")))?;
        }
        config.check().map_err(usage)?;
        Ok(config)
    }

    /// Spikes / (B · T · N₀) of the input.
    fn input_density(&self, arguments: &Arguments, density: Option<f64>) -> f64 {
        match &self.data {
            Some(data) => data.train.density(),
            None => density.or(arguments.density).unwrap_or(usual_density(&self.config.preset)),
        }
    }

    /// The batch and its description.
    fn input(&self, arguments: &Arguments, config: &RunConfig, density: Option<f64>) -> Result<(EventSet, String)> {
        if let Some(data) = &self.data {
            let input = format!("the first {} training samples of {}", config.batch, data.origin);
            return Ok((data.train.head(config.batch), input));
        }
        let density = self.input_density(arguments, density);
        let batch = random_spikes(&config.network, config.batch, density, arguments.seed)?;
        Ok((batch, format!("random spikes of density {density}, seed {}", arguments.seed)))
    }
}

/// The default spike density of random input: that of the data set.
pub fn usual_density(preset: &str) -> f64 {
    match data::data_set(preset) {
        "fmnist" => 0.0043,
        "nmnist" => 0.012,
        _ => 0.016,
    }
}

/// A case before its batch is made.
pub struct CasePlan {
    config: RunConfig,
    density: Option<f64>,
    input_density: f64,
}

/// Every size at every density, sizes outermost.
pub fn plans(arguments: &Arguments, base: &Base) -> Result<Vec<CasePlan>> {
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
            let input_density = base.input_density(arguments, density);
            plans.push(CasePlan { config: base.with(arguments, widths)?, density, input_density });
        }
    }
    Ok(plans)
}

impl CasePlan {
    /// Prints the estimated memory of each method, and refuses methods that will not fit at the same time, before anything
    /// large is allocated.
    pub fn estimates(&self, arguments: &Arguments, device: Device, delta_bytes: Option<u64>) -> Result<()> {
        let deltas = vec![delta_bytes; arguments.methods.len()];
        let densities = (self.input_density, self.target(arguments));
        let estimates = estimates(arguments, &self.config, device, densities, &deltas)?;
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
    pub fn build(self, arguments: &Arguments, base: &Base) -> Result<BenchCase> {
        let target = self.target(arguments);
        let CasePlan { config, density, .. } = self;
        let (batch, input) = base.input(arguments, &config, density)?;
        let input_density = batch.density();
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
        memory::estimate_with(&config.network, word.method(), config.batch, device, &densities, *delta)
    };
    Ok(arguments.methods.iter().zip(deltas).map(one).collect::<spikegrad::Result<_>>()?)
}
