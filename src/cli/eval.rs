//! `spikegrad eval`.

use super::load::{Reading, load};
use super::show::{complain, percent, percents, say, say_json};
use super::{device, usage};
use anyhow::{Result, bail};
use clap::ValueEnum;
use serde_json::json;
use spikegrad::data::OWN;
use spikegrad::device::Device;
use spikegrad::train::RunConfig;
use spikegrad::train::{BEST_FILE, CHECKPOINT_FILE, Checkpoint, DATA_FILE, evaluate, stored_config};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spikegrad eval runs/fmnist
  spikegrad eval runs/shd --speakers 4,5    the two speakers who are not in the training set
  spikegrad eval runs/shd --on validation   the samples that `train --validation` held out")]
pub struct Arguments {
    /// The run's folder, as written by train
    run: PathBuf,
    /// Folder with the data set's files [default: the one that the run was trained on]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Evaluate on this device: auto, cpu, gpu or gpu:N [default: the run's]
    #[arg(long, value_parser = device)]
    device: Option<Device>,
    /// Which checkpoint to load. best: the epoch with the best test (or validation) accuracy; last: the latest
    #[arg(long, value_enum, default_value_t, value_name = "WHICH", hide_possible_values = true)]
    checkpoint: Which,
    /// Evaluate only test samples of these speakers (shd)
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    speakers: Vec<u32>,
    /// Samples to evaluate on: test, train (without those held out), or validation (those held out)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SET",
        conflicts_with = "speakers",
        hide_possible_values = true
    )]
    on: On,
    #[command(flatten)]
    reading: Reading,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// The samples to evaluate on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum On {
    #[default]
    Test,
    Validation,
    Train,
}

/// A checkpoint of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Which {
    #[default]
    Best,
    Last,
}

/// A run's configuration and one of its checkpoints.
pub struct StoredRun {
    pub config: RunConfig,
    pub checkpoint: Checkpoint,
    /// The checkpoint's file name.
    pub file: &'static str,
}

impl StoredRun {
    /// Reads the run in `folder`. Before the first epoch is finished there is no best checkpoint; then reads the last one.
    pub fn read(folder: &Path, which: Which) -> Result<Self> {
        let mut config = stored_config(folder)?;
        if config.preset == OWN && config.data.is_none() {
            config.data = Some(folder.join(DATA_FILE));
        }
        let file = match which {
            Which::Best if folder.join(BEST_FILE).exists() => BEST_FILE,
            _ => CHECKPOINT_FILE,
        };
        let checkpoint = Checkpoint::load(&folder.join(file), &config.network)?;
        Ok(StoredRun { config, checkpoint, file })
    }

    /// `best.safetensors of epoch 7`.
    pub fn describe(&self) -> String {
        format!("{} of {}", self.file, self.moment())
    }

    /// When the checkpoint was written: `epoch 7`.
    pub fn moment(&self) -> String {
        let progress = &self.checkpoint.progress;
        match (progress.epoch, progress.batches) {
            (epoch, 0) => format!("epoch {epoch}"),
            (epoch, batches) => format!("epoch {}, batch {batches}", epoch + 1),
        }
    }

    /// The requested device, or the run's.
    pub fn device(&self, asked: Option<Device>) -> Result<Device> {
        asked.map_or_else(|| self.config.device.parse().map_err(usage), Ok)
    }
}

/// Tests the checkpoint on every sample of the test set.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let run = StoredRun::read(&arguments.run, arguments.checkpoint)?;
    let network = &run.config.network;
    let data = load(&run.config, arguments.data.as_deref(), &arguments.reading, &arguments.speakers)?;
    let (set, on) = match (arguments.on, &data.validation) {
        (On::Test, _) => (&data.test, "test"),
        (On::Train, _) => (&*data.train, "training"),
        (On::Validation, Some(held_out)) => (held_out, "validation"),
        (On::Validation, None) => {
            bail!("{}: the run has no validation samples; it was trained without --validation", arguments.run.display())
        }
    };
    let weights = &run.checkpoint.state.weights;
    let mut engine = run.device(arguments.device)?.open(network, run.config.method, weights)?;
    let result = evaluate(engine.as_mut(), set, run.config.batch)?;

    let info = engine.info();
    let slots = |neurons: usize| (result.samples as usize * network.time_steps * neurons) as f64;
    let density: Vec<f64> =
        network.spiking().zip(&result.spikes).map(|(layer, &n)| n as f64 / slots(layer.neurons)).collect();
    if arguments.json {
        say_json(&json!({
            "run": arguments.run,
            "checkpoint": run.file,
            "epoch": run.checkpoint.progress.epoch,
            "step": run.checkpoint.progress.step,
            "on": on,
            "test_accuracy": result.accuracy(),
            "correct": result.correct,
            "samples": result.samples,
            "spike_density": density,
            "data": { "origin": data.origin, "subset": data.subset, "bad": data.bad },
            "device": info,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    complain(format_args!("data: {}; device: {}", data.origin, super::show::device(&info)));
    complain(format_args!("spike density of the spiking layers: {}", percents(&density)));
    say(format_args!(
        "{} ({} of {}) {on} accuracy, {}, {}",
        percent(result.accuracy()),
        result.correct,
        result.samples,
        run.describe(),
        info.kind
    ))?;
    Ok(ExitCode::SUCCESS)
}
