//! `spikegrad predict`.

use super::check_output;
use super::eval::{On, StoredArguments, samples};
use super::manual::styled;
use super::progress::Progress;
use super::show::{complain, say};
use anyhow::Result;
use spikegrad::events::EventSet;
use spikegrad::results::{SamplePrediction, save_predictions};
use spikegrad::train::classify;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = styled("\
CSV: a header, then a line per sample with its number, label (empty without one), predicted class, the class's name, the \
logits, and its file if each has one of its own. JSON: an array of objects with the same fields.

--data PATH names samples of any format in docs/data.md, in one of the set's halves or in none: their test half is \
classified, or all if there is none, in the order of the file; recordings in files of their own by number, class and name. \
They need no labels, and recordings no folders of classes; a single recording is enough.

Examples:
  spikegrad predict runs/fmnist --out predictions.csv
  spikegrad predict runs/fmnist --data other/images --out predictions.json
  spikegrad predict runs/gestures --data recordings/001.bin --out one.csv"))]
pub struct Arguments {
    #[command(flatten)]
    stored: StoredArguments,
    /// Write the predictions to this file
    #[arg(long, value_name = "FILE.csv|FILE.json")]
    out: PathBuf,
    /// Samples to classify: test, train (without those held out), or validation (those held out)
    #[arg(long, value_enum, default_value_t, value_name = "SET", hide_possible_values = true)]
    on: On,
}

/// Classifies samples and writes the predictions.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    check_output(&arguments.out, &["csv", "json"])?;
    let progress = Progress::new(true);
    let run = arguments.stored.read()?;
    let data = match arguments.on {
        On::Test => arguments.stored.load_whole(&run, &progress)?,
        On::Train | On::Validation => arguments.stored.load(&run, &[], &progress)?,
    };
    let (set, on) = samples(&data, arguments.on, &arguments.stored.run)?;
    let weights = &run.checkpoint.state.weights;
    progress.stage("opening the device");
    let mut engine = arguments.stored.device(&run)?.open(&run.config.network, run.config.method, weights)?;
    let mut predictions = Vec::with_capacity(set.len());
    classify(engine.as_mut(), set, run.config.batch, |sample| {
        predictions.push(SamplePrediction {
            sample: match arguments.on {
                On::Test => data.test_number(sample.sample),
                On::Train | On::Validation => sample.sample,
            },
            label: Some(sample.label).filter(|&label| label != EventSet::UNLABELLED),
            class: sample.class,
            name: data.class_names.get(sample.class).cloned().unwrap_or_default(),
            logits: sample.logits.to_vec(),
            file: data.test_files.get(sample.sample).cloned(),
        });
        progress.count("classifying", predictions.len() as u64, set.len() as u64, Vec::new());
        Ok(())
    })?;
    save_predictions(&arguments.out, &predictions)?;
    progress.clear();
    complain(format_args!("data: {}", data.origin));
    let out = arguments.out.display();
    let s = if predictions.len() == 1 { "" } else { "s" };
    say(format_args!("{out}: {} {on} sample{s}, {}, {}", predictions.len(), run.describe(), engine.info().kind))?;
    Ok(ExitCode::SUCCESS)
}
