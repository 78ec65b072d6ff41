//! `spikegrad eval`.

use super::configure::set_fields;
use super::load::{Source, load, load_whole, set_name};
use super::manual::styled;
use super::progress::Progress;
use super::show::{self, HEAD, complain, percent, percents, say, say_json, thousands};
use super::{Usage, figure, usage, whole};
use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use serde_json::json;
use spikegrad::data::DataSet;
use spikegrad::device::Device;
use spikegrad::engine::Engine;
use spikegrad::events::EventSet;
use spikegrad::plot::{ConfusionMatrix, save_confusion};
use spikegrad::results::{check_writable, load_weights};
use spikegrad::train::{Checkpoint, Confusion, RunConfig, TestResult, evaluate, stored_run};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = styled("\
Examples:
  spikegrad eval runs/fmnist
  spikegrad eval runs/fmnist --classes --confusion confusion.png
  # Only the two speakers who are not in the training set
  spikegrad eval runs/shd --speakers 4,5
  # The samples that `train --validation` held out
  spikegrad eval runs/shd --on validation"))]
pub struct Arguments {
    #[command(flatten)]
    stored: StoredArguments,
    /// Use the weights in this safetensors file (tensors w.0, w.1, ...) instead of a checkpoint's
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoint")]
    weights: Option<PathBuf>,
    /// Also print the accuracy of each class, and the class that it is most often mistaken for
    #[arg(long)]
    classes: bool,
    /// Draw the confusion matrix into this file
    #[arg(long, value_name = "FILE.png|svg", value_parser = figure)]
    confusion: Option<PathBuf>,
    /// Use only test samples of these speakers (shd)
    #[arg(long, value_parser = whole::<u32>, allow_negative_numbers = true, value_name = "A,B", value_delimiter = ',')]
    speakers: Vec<u32>,
    /// Samples to use: test, train (without those held out), or validation (those held out)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SET",
        conflicts_with = "speakers",
        hide_possible_values = true
    )]
    on: On,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// A run, and what it is run with: what eval, predict and inspect have in common.
#[derive(clap::Args)]
pub struct StoredArguments {
    /// The run's folder, as written by train
    pub run: PathBuf,
    /// Checkpoint to load: best (of the epoch with the best test or validation accuracy) or last
    #[arg(long, value_enum, default_value_t, value_name = "WHICH", hide_possible_values = true)]
    checkpoint: Which,
    #[command(flatten)]
    source: Source,
    /// Set how the data are read, such as data.clock=first_event; can be repeated
    #[arg(long, value_name = "data.FIELD=VALUE")]
    set: Vec<String>,
}

impl StoredArguments {
    /// Reads the run.
    pub fn read(&self) -> Result<StoredRun> {
        let mut run = StoredRun::read(&self.run, self.checkpoint)?;
        if let Some(other) = self.set.iter().find(|set| !set.trim_start().starts_with("data.")) {
            bail!(Usage(format!("--set {other}: the network is trained; only fields of data can be set")));
        }
        set_fields(&mut run.config, &self.set)?;
        Ok(run)
    }

    /// Loads the run's data; if there are `speakers`, the test set is limited to them.
    pub fn load(&self, run: &StoredRun, speakers: &[u32], progress: &Progress) -> Result<DataSet> {
        self.explained(load(&run.config, self.source.data.as_deref(), &self.source.reading, speakers, progress))
    }

    /// Errors advise to change the network, which is trained.
    fn explained(&self, loaded: Result<DataSet>) -> Result<DataSet> {
        loaded.map_err(|e| match e.to_string().contains("set network.") {
            true => anyhow!(
                "{e:#}. The network of {} is trained: use data that fit it, or train another",
                self.run.display()
            ),
            false => e,
        })
    }

    /// Loads what is to be classified: the run's data, or all samples of other data that have no test set.
    pub fn load_whole(&self, run: &StoredRun, progress: &Progress) -> Result<DataSet> {
        match &self.source.data {
            Some(data) => self.explained(load_whole(&run.config, data, &self.source.reading, progress)),
            None => self.load(run, &[], progress),
        }
    }

    /// The requested device, or the run's.
    pub fn device(&self, run: &StoredRun) -> Result<Device> {
        run.device(self.source.device)
    }
}

/// The samples to evaluate on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum On {
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
        let (config, checkpoint, file) = stored_run(folder, which == Which::Last)?;
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
        asked.map_or_else(|| Ok(self.config.devices().map_err(usage)?[0]), Ok)
    }
}

/// Tests the checkpoint on every sample of the test set.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    arguments.confusion.iter().try_for_each(|file| check_writable(file))?;
    let progress = Progress::new(!arguments.json);
    let run = arguments.stored.read()?;
    let network = &run.config.network;
    let data = arguments.stored.load(&run, &arguments.speakers, &progress)?;
    let (set, on) = samples(&data, arguments.on, &arguments.stored.run)?;
    if let Some(k) = set.labels().iter().position(|&label| label == EventSet::UNLABELLED) {
        bail!("{}: {on} sample {k} has no label, so there is no accuracy; use predict", set_name(&data));
    }
    let given = arguments.weights.as_ref().map(|path| load_weights(path, network)).transpose()?;
    let weights = given.as_ref().unwrap_or(&run.checkpoint.state.weights);
    progress.stage("opening the device");
    let mut engine = arguments.stored.device(&run)?.open(network, run.config.method, weights)?;
    progress.stage(format!("testing on {} {on} samples", thousands(set.len() as u64)));
    let result = evaluate(engine.as_mut(), set, run.config.batch)?;
    progress.clear();
    print(arguments, &run, &data, on, engine.as_ref(), &result)?;
    if let Some(path) = &arguments.confusion {
        let title = format!("{}, {} {on} samples", data.name, thousands(result.samples));
        save_confusion(path, &confusion_matrix(&result.confusion, &data, title, &source(arguments, &run)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose weights were tested.
fn source(arguments: &Arguments, run: &StoredRun) -> String {
    arguments.weights.as_ref().map_or(run.describe(), |path| path.display().to_string())
}

fn print(
    arguments: &Arguments,
    run: &StoredRun,
    data: &DataSet,
    on: &str,
    engine: &dyn Engine,
    result: &TestResult,
) -> Result<()> {
    let network = &run.config.network;
    let info = engine.info();
    let slots = |neurons: usize| (result.samples as usize * network.time_steps * neurons) as f64;
    let density: Vec<f64> =
        network.spiking().zip(&result.spikes).map(|(layer, &n)| n as f64 / slots(layer.neurons)).collect();
    if arguments.json {
        say_json(&json!({
            "run": arguments.stored.run,
            "checkpoint": run.file,
            "epoch": run.checkpoint.progress.epoch,
            "step": run.checkpoint.progress.step,
            "on": on,
            "test_accuracy": result.accuracy(),
            "loss": result.loss,
            "correct": result.correct,
            "samples": result.samples,
            "weights": arguments.weights,
            "classes": classes_json(&result.confusion, data),
            "confusion": (0..result.confusion.classes()).map(|c| result.confusion.row(c)).collect::<Vec<_>>(),
            "spike_density": density,
            "data": { "origin": data.origin, "subset": data.subset, "bad": data.bad },
            "device": info,
        }))?;
        return Ok(());
    }
    complain(format_args!("data: {}; device: {}", data.origin, show::device(&info)));
    if !density.is_empty() {
        complain(format_args!("spike density of the spiking layers: {}", percents(&density)));
    }
    say(format_args!(
        "{} ({} of {}) {on} accuracy, loss {:.4}, {}, {}",
        percent(result.accuracy()),
        result.correct,
        result.samples,
        result.loss,
        source(arguments, run),
        info.kind
    ))?;
    if arguments.classes {
        tell_classes(&result.confusion, data)?;
    }
    Ok(())
}

/// The requested samples and their name in messages.
pub fn samples<'a>(data: &'a DataSet, on: On, run: &Path) -> Result<(&'a EventSet, &'static str)> {
    match (on, &data.validation) {
        (On::Test, _) => Ok((&data.test, "test")),
        (On::Train, _) => Ok((&*data.train, "training")),
        (On::Validation, Some(held_out)) => Ok((held_out, "validation")),
        (On::Validation, None) => {
            bail!("{}: the run has no validation samples; it was trained without --validation", run.display())
        }
    }
}

/// The place of test sample `number`, as predict numbers them, among those that were not skipped; refuses one without a label.
pub fn find_sample(data: &DataSet, number: usize) -> Result<usize> {
    let set = set_name(data);
    let last = data.test_number(data.test.len().saturating_sub(1));
    let Some(k) = (0..data.test.len()).find(|&k| data.test_number(k) == number) else {
        match number < last {
            true => bail!("--sample {number}: this test sample of {set} is damaged and was skipped; choose another"),
            false => bail!("--sample {number}: the test samples of {set} are 0 to {last}"),
        }
    };
    if data.test.labels()[k] == EventSet::UNLABELLED {
        bail!(
            "--sample {number}: this test sample of {set} has no label, which its loss and gradient require; use predict"
        );
    }
    Ok(k)
}

fn classes_json(confusion: &Confusion, data: &DataSet) -> Vec<serde_json::Value> {
    let class = |c: usize| json!({ "class": c, "name": data.class_names.get(c), "samples": confusion.samples(c), "accuracy": confusion.accuracy(c) });
    (0..confusion.classes()).map(class).collect()
}

/// Prints a line for each class.
fn tell_classes(confusion: &Confusion, data: &DataSet) -> Result<()> {
    let names: Vec<String> = (0..confusion.classes()).map(|c| data.class(c)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("class".len());
    let head = format!("{:width$}  samples  accuracy  most often mistaken for", "class");
    say(format_args!("\n{}", show::styled(HEAD, head)))?;
    for (c, name) in names.iter().enumerate() {
        let accuracy = confusion.accuracy(c).map_or("n/a".into(), percent);
        let other = confusion.most_mistaken_for(c).map(|(other, n)| format!("{} ({n} times)", names[other]));
        let line = format!("{name:width$}  {:>7}  {accuracy:>8}  {}", confusion.samples(c), other.unwrap_or_default());
        say(line.trim_end())?;
    }
    Ok(())
}

fn confusion_matrix(confusion: &Confusion, data: &DataSet, title: String, source: &str) -> ConfusionMatrix {
    ConfusionMatrix {
        title,
        caption: format!("{source}."),
        counts: (0..confusion.classes()).map(|label| confusion.row(label).to_vec()).collect(),
        class_names: data.class_names.clone(),
    }
}
