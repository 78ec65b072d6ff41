//! `spikegrad predict`.

use super::eval::{On, StoredRun, Which, samples};
use super::load::{Reading, load};
use super::show::{complain, say};
use super::{check_ending, device};
use anyhow::Result;
use spikegrad::device::Device;
use spikegrad::events::EventSet;
use spikegrad::results::{SamplePrediction, save_predictions};
use spikegrad::train::classify;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = "\
CSV: a header, then a line per sample with its number, label (empty without one), predicted class, the class's name and
the logits. JSON: an array of objects with the same fields.

Examples:
  spikegrad predict runs/fmnist --out predictions.csv
  spikegrad predict runs/fmnist --data other/images --out predictions.json")]
pub struct Arguments {
    /// The run's folder, as written by train
    run: PathBuf,
    /// Folder or file with the samples to classify [default: the data that the run was trained on]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Write the predictions to this file
    #[arg(long, value_name = "FILE.csv|FILE.json")]
    out: PathBuf,
    /// Which samples: test, train (without those held out), or validation (those held out)
    #[arg(long, value_enum, default_value_t, value_name = "SET", hide_possible_values = true)]
    on: On,
    /// Which checkpoint to load. best: the epoch with the best test (or validation) accuracy; last: the latest
    #[arg(long, value_enum, default_value_t, value_name = "WHICH", hide_possible_values = true)]
    checkpoint: Which,
    /// Run on this device: auto, cpu, gpu or gpu:N [default: the run's]
    #[arg(long, value_parser = device)]
    device: Option<Device>,
    #[command(flatten)]
    reading: Reading,
}

/// Classifies samples and writes the predictions.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    check_ending(&arguments.out, &["csv", "json"])?;
    let run = StoredRun::read(&arguments.run, arguments.checkpoint)?;
    let data = load(&run.config, arguments.data.as_deref(), &arguments.reading, &[])?;
    let (set, on) = samples(&data, arguments.on, &arguments.run)?;
    let weights = &run.checkpoint.state.weights;
    let mut engine = run.device(arguments.device)?.open(&run.config.network, run.config.method, weights)?;
    let mut predictions = Vec::with_capacity(set.len());
    classify(engine.as_mut(), set, run.config.batch, |sample| {
        predictions.push(SamplePrediction {
            sample: sample.sample,
            label: Some(sample.label).filter(|&label| label != EventSet::UNLABELLED),
            class: sample.class,
            name: data.class_names.get(sample.class).cloned().unwrap_or_default(),
            logits: sample.logits.to_vec(),
        });
        Ok(())
    })?;
    save_predictions(&arguments.out, &predictions)?;
    complain(format_args!("data: {}", data.origin));
    let out = arguments.out.display();
    say(format_args!("{out}: {} {on} samples, {}, {}", predictions.len(), run.describe(), engine.info().kind))?;
    Ok(ExitCode::SUCCESS)
}
