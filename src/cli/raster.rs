//! `spikegrad raster`, and the raster plot that train writes.

use super::configure::{complete, is_file, is_preset, load_completed, named, set_data, set_fields, settle};
use super::eval::{StoredRun, Which, find_sample};
use super::load::{Source, load, set_name};
use super::manual::styled;
use super::progress::Progress;
use super::show::{complain, say, sizes};
use super::{Usage, figure, whole};
use anyhow::{Result, bail};
use spikegrad::data::DataSet;
use spikegrad::data::picture::picture;
use spikegrad::device::Device;
use spikegrad::engine::Engine;
use spikegrad::error::did_you_mean;
use spikegrad::events::EventSet;
use spikegrad::plot::{MOST_SAMPLES, Raster, RasterImage, save_rasters};
use spikegrad::presets;
use spikegrad::results::check_writable;
use spikegrad::train::{RunConfig, initial_state, initial_weights};
use spikegrad::weights::Weights;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = styled("\
For a preset or a TOML file, the network is drawn with the weights that training begins with; network and data are those \
that train would use.

Examples:
  spikegrad raster runs/fmnist --sample 7 --out seven.png
  # Four samples as a grid
  spikegrad raster runs/fmnist --sample 0,1,2,3 --out grid.svg
  # Before training
  spikegrad raster fmnist --out untrained.png
  spikegrad raster events --data taps.npz --out taps.png"))]
pub struct Arguments {
    /// The run's folder, as written by train, for its best checkpoint; or a preset or TOML file, for its network before training
    #[arg(value_name = "RUN|PRESET|TOML")]
    what: String,
    /// Numbers of the test samples, from 0; several are drawn as a grid
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, visible_alias = "samples", value_name = "K,K", value_delimiter = ',', default_value = "0")]
    sample: Vec<usize>,
    /// Write the figure to this file, as PNG or SVG
    #[arg(long, value_name = "FILE.png|svg", value_parser = figure)]
    out: PathBuf,
    /// For a preset or a TOML file: set a field of the configuration, as train does; can be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    source: Source,
}

/// Draws the samples.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.sample.len() > MOST_SAMPLES {
        bail!(Usage(format!("--sample: {} samples; give at most {MOST_SAMPLES}", arguments.sample.len())));
    }
    check_writable(&arguments.out)?;
    let progress = Progress::new(true);
    let Subject { config, weights, device, state_name, data } = subject(arguments, &progress)?;
    let places = arguments.sample.iter().map(|&number| find_sample(&data, number)).collect::<Result<Vec<_>>>()?;
    progress.stage("running the samples");
    let mut engine = match &weights {
        Some(weights) => device.open(&config.network, config.method, weights)?,
        None => {
            let mut engine = device.open(&config.network, config.method, &initial_weights(&config)?)?;
            let (state, _) = initial_state(engine.as_mut(), &config, &data.train)?;
            engine.load(&state)?;
            engine
        }
    };
    let mut rasters = Vec::new();
    for (&number, k) in arguments.sample.iter().zip(places) {
        rasters.push(sample(engine.as_mut(), &config, &data, k, title(&config, &data, number, &state_name))?);
    }
    progress.stage("drawing");
    save_rasters(&arguments.out, &rasters)?;
    progress.clear();
    complain(format_args!("data: {}", data.origin));
    for (k, raster) in arguments.sample.iter().zip(&rasters) {
        say(format_args!(
            "{}: sample {k} of {}, label {}, predicted {}",
            arguments.out.display(),
            data.test.len(),
            data.class(raster.label),
            data.class(raster.predicted)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A network to draw.
struct Subject {
    config: RunConfig,
    /// Trained weights; `None` for those that training begins with, which depend on the data.
    weights: Option<Weights>,
    device: Device,
    /// State of the weights, for the title: `after epoch 7`.
    state_name: String,
    data: DataSet,
}

fn subject(arguments: &Arguments, progress: &Progress) -> Result<Subject> {
    let Arguments { what: word, set, source, .. } = arguments;
    let path = Path::new(word);
    if is_preset(word) || is_file(word) && !path.is_dir() {
        let mut config = named(word, false, "")?;
        set_data(&mut config, source.data.as_deref());
        set_fields(&mut config, set)?;
        settle(&mut config)?;
        let survey = complete(&mut config, &source.reading, progress)?;
        let data = load_completed(&config, survey, &source.reading, progress)?;
        let device = source.device.unwrap_or_default();
        return Ok(Subject { config, weights: None, device, state_name: "before training".into(), data });
    }
    if !path.exists() && path.components().count() == 1 {
        let names = presets::all();
        bail!(Usage(format!(
            "`{word}` is neither a preset ({}) nor a folder written by train, nor a file ending in .toml{}",
            names.join(", "),
            did_you_mean(word, names)
        )));
    }
    if let Some(assignment) = set.first() {
        bail!(Usage(format!("--set {assignment}: {word} is a run with settings of its own; remove it")));
    }
    let run = StoredRun::read(path, Which::Best)?;
    let data = load(&run.config, source.data.as_deref(), &source.reading, &[], progress)?;
    let (device, state_name) = (run.device(source.device)?, format!("after {}", run.moment()));
    Ok(Subject { config: run.config, weights: Some(run.checkpoint.state.weights), device, state_name, data })
}

/// `Fashion-MNIST test sample 0, 784-200-200-10 after epoch 7`.
pub fn title(config: &RunConfig, data: &DataSet, sample: usize, state: &str) -> String {
    format!("{} {state}", sample_name(config, data, sample))
}

/// `Fashion-MNIST test sample 0, 784-200-200-10`.
pub fn sample_name(config: &RunConfig, data: &DataSet, sample: usize) -> String {
    format!("{} test sample {sample}, {}", set_name(data), sizes(&config.network.sizes()))
}

/// Runs test sample `k`, which exists, through the network.
pub fn sample(
    engine: &mut dyn Engine,
    config: &RunConfig,
    data: &DataSet,
    k: usize,
    title: String,
) -> spikegrad::Result<Raster> {
    let mut batch = EventSet::new(0, 0);
    batch.gather(&data.test, &[k as u32]);
    let inspection = engine.inspect(&batch)?;
    let picture = picture(data, &config.network, batch.sample(0));
    let image = picture.map(|p| RasterImage { width: p.width, pixels: p.pixels, caption: p.caption.into() });
    Ok(Raster {
        image,
        class_names: Some(data.class_names.clone()).filter(|names| !names.is_empty()),
        ..Raster::of(&config.network, &batch, &inspection, title)
    })
}
