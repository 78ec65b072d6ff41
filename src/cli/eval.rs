//! `spikegrad eval`.

use super::load::{Reading, load};
use super::show::{complain, percent, percents, say, say_json};
use super::{device, usage};
use anyhow::{Result, bail};
use clap::ValueEnum;
use serde_json::json;
use spikegrad::device::Device;
use spikegrad::train::RunConfig;
use spikegrad::train::{BEST_FILE, CHECKPOINT_FILE, Checkpoint, evaluate, stored_config};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spikegrad eval runs/fmnist
  spikegrad eval runs/shd --speakers 4,5    the speakers that no training utterance is of
  spikegrad eval runs/shd --on validation   the samples that --validation held out")]
pub struct Arguments {
    /// The folder that train wrote
    run: PathBuf,
    /// Folder of the data's files, if not the one the run was trained on
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// auto, cpu, gpu or gpu:N; by default what the run was trained with
    #[arg(long, value_parser = device)]
    device: Option<Device>,
    /// best: the epoch with the best test accuracy; last: where the run stands
    #[arg(long, value_enum, default_value_t, value_name = "WHICH", hide_possible_values = true)]
    checkpoint: Which,
    /// Test on what these speakers say only (shd)
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    speakers: Vec<u32>,
    /// test, train, or validation: the training samples that the run held out
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
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The samples to test on.
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
pub struct Run {
    pub config: RunConfig,
    pub checkpoint: Checkpoint,
    /// The checkpoint's file name.
    pub file: &'static str,
}

impl Run {
    /// Reads the run in `folder`; before its first epoch is done the last checkpoint stands for the best.
    pub fn read(folder: &Path, which: Which) -> Result<Self> {
        let config = stored_config(folder)?;
        let file = match which {
            Which::Best if folder.join(BEST_FILE).exists() => BEST_FILE,
            _ => CHECKPOINT_FILE,
        };
        let checkpoint = Checkpoint::load(&folder.join(file), &config.network)?;
        Ok(Run { config, checkpoint, file })
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

    /// The device asked for, or the one of the run.
    pub fn device(&self, asked: Option<Device>) -> Result<Device> {
        asked.map_or_else(|| self.config.device.parse().map_err(usage), Ok)
    }
}

/// Tests the checkpoint on every sample of the test set.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let run = Run::read(&arguments.run, arguments.checkpoint)?;
    let network = &run.config.network;
    let data = load(&run.config, arguments.data.as_deref(), &arguments.reading, &arguments.speakers)?;
    let (set, on) = match (arguments.on, &data.validation) {
        (On::Test, _) => (&data.test, "test"),
        (On::Train, _) => (&*data.train, "training"),
        (On::Validation, Some(held_out)) => (held_out, "validation"),
        (On::Validation, None) => bail!("{}: the run held no samples out for validation", arguments.run.display()),
    };
    let mut engine = run.device(arguments.device)?.open(network, run.config.method)?;
    engine.load(&run.checkpoint.state)?;
    let result = evaluate(engine.as_mut(), set, run.config.batch)?;

    let info = engine.info();
    let slots = |neurons: usize| (result.samples as usize * network.time_steps * neurons) as f64;
    let density: Vec<f64> =
        network.hidden.iter().zip(&result.spikes).map(|(layer, &n)| n as f64 / slots(layer.neurons)).collect();
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
    complain(format_args!("spikes: {} of the hidden layers' slots", percents(&density)));
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
