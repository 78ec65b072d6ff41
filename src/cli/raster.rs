//! `spikegrad raster`, and the raster plot that train writes.

use super::eval::{StoredRun, Which};
use super::load::{Reading, load};
use super::show::{say, sizes};
use super::{Usage, device, usage};
use anyhow::{Result, bail};
use spikegrad::data::DataSet;
use spikegrad::device::Device;
use spikegrad::engine::{Engine, first_largest};
use spikegrad::events::EventSet;
use spikegrad::plot::{Raster, RasterPanel, raster_png};
use spikegrad::presets;
use spikegrad::train::{RunConfig, initial_weights};
use spikegrad::weights::Weights;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spikegrad raster runs/fmnist --sample 7 --out seven.png   draw a sample in a trained network
  spikegrad raster fmnist --out untrained.png               draw one with the preset's initial weights")]
pub struct Arguments {
    /// The run's folder, as written by train, for its best checkpoint; or a preset, for its untrained network
    #[arg(value_name = "RUN_DIR|PRESET")]
    what: String,
    /// Number of the test sample, from 0
    #[arg(long, value_name = "K", default_value_t = 0)]
    sample: usize,
    /// Write the PNG to this file
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    /// Folder with the data set's files [default: as for train, or the one that the run was trained on]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// Run on this device: auto, cpu, gpu or gpu:N [default: auto, or the run's]
    #[arg(long, value_parser = device)]
    device: Option<Device>,
}

/// Draws one sample.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Subject { config, weights, device, state_name } = subject(arguments)?;
    let data = load(&config, arguments.data.as_deref(), &arguments.reading, &[])?;
    let mut engine = device.open(&config.network, config.method, &weights)?;
    let title = title(&config, &data, arguments.sample, &state_name);
    let raster = sample(engine.as_mut(), &config, &data, arguments.sample, title)?;
    raster_png(&arguments.out, &raster)?;
    say(format_args!(
        "{}: sample {} of {} ({}), label {}, predicted {}",
        arguments.out.display(),
        arguments.sample,
        data.test.len(),
        data.origin,
        data.class(raster.label),
        data.class(raster.predicted)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// A network to draw.
struct Subject {
    config: RunConfig,
    weights: Weights,
    device: Device,
    /// State of the weights, for the title: `after epoch 7`.
    state_name: String,
}

fn subject(arguments: &Arguments) -> Result<Subject> {
    let word = &arguments.what;
    let path = Path::new(word);
    if presets::NAMES.contains(&word.as_str()) {
        let config = presets::ours(word).map_err(usage)?;
        let weights = initial_weights(&config)?;
        let device = arguments.device.unwrap_or_default();
        return Ok(Subject { config, weights, device, state_name: "untrained".into() });
    }
    if !path.exists() && path.components().count() == 1 {
        bail!(Usage(format!(
            "`{word}` is neither a preset ({}) nor a folder written by train",
            presets::NAMES.join(", ")
        )));
    }
    let run = StoredRun::read(path, Which::Best)?;
    let (device, state_name) = (run.device(arguments.device)?, format!("after {}", run.moment()));
    Ok(Subject { config: run.config, weights: run.checkpoint.state.weights, device, state_name })
}

/// `Fashion-MNIST test sample 0, 784-200-200-10 after epoch 7`.
pub fn title(config: &RunConfig, data: &DataSet, sample: usize, state: &str) -> String {
    format!("{} test sample {sample}, {} {state}", data.name, sizes(&config.network.sizes()))
}

/// Runs test sample `k` through the network.
pub fn sample(engine: &mut dyn Engine, config: &RunConfig, data: &DataSet, k: usize, title: String) -> Result<Raster> {
    if k >= data.test.len() {
        bail!("--sample {k}: the test set has samples 0 to {} ({})", data.test.len() - 1, data.origin);
    }
    let mut batch = EventSet::new(0, 0);
    batch.gather(&data.test, &[k as u32]);
    let inspection = engine.inspect(&batch)?;
    let network = &config.network;
    let input = RasterPanel {
        name: "Input".into(),
        neurons: network.inputs,
        spikes: batch.sample(0).iter().map(|e| (e.t(), e.i())).collect(),
    };
    let spiking = network.spiking().zip(&inspection.spiking).enumerate().map(|(l, (layer, seen))| RasterPanel {
        name: if l < network.hidden.len() { format!("Hidden layer {}", l + 1) } else { "Readout spikes".into() },
        neurons: layer.neurons,
        spikes: seen.spikes.iter().map(|(_, e)| (e.t(), e.i())).collect(),
    });
    let classes = network.classes();
    let readout_v = match inspection.spiking.get(network.hidden.len()) {
        Some(counted) => &counted.v,
        None => &inspection.readout_v,
    };
    let potentials = |class: usize| readout_v.iter().skip(class).step_by(classes).copied().collect();
    Ok(Raster {
        title,
        time_steps: network.time_steps,
        dt_ms: network.dt_ms,
        panels: std::iter::once(input).chain(spiking).collect(),
        readout: (0..classes).map(potentials).collect(),
        class_names: Some(data.class_names.clone()).filter(|names| !names.is_empty()),
        label: batch.labels()[0] as usize,
        predicted: first_largest(&inspection.logits),
    })
}
