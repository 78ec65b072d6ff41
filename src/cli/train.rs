//! `spikegrad train`.

use super::eval::{Run, Which};
use super::load::{Reading, load};
use super::progress::{Reporter, Voice};
use super::show::{self, complain, percent, say, say_json, shell_word, thousands};
use super::signals::stop_on_signal;
use super::{Usage, device, raster, usage};
use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use serde_json::json;
use spikegrad::Error;
use spikegrad::data::fashion_mnist::how_to_get;
use spikegrad::data::{DataSet, Validation};
use spikegrad::device::Device;
use spikegrad::engine::{Engine, Method};
use spikegrad::gpu::{DeltaScratch, GpuOptions};
use spikegrad::memory::{self, Densities, Estimate};
use spikegrad::plot::{CurvePoint, curves_png, raster_png};
use spikegrad::presets;
use spikegrad::system::available_memory;
use spikegrad::train::{
    self, CHECKPOINT_FILE, CONFIG_FILE, LearningRate, METRICS_FILE, Outcome, RunConfig, Summary, metrics, stored_config,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// The raster of the first test sample, in the run's folder.
const RASTER_FILE: &str = "raster.png";
/// The curves of the run, in its folder.
const CURVES_FILE: &str = "curves.png";

#[derive(clap::Args)]
#[command(after_help = "\
Writes to the run's folder: config.toml (everything resolved), metrics.jsonl (a line an epoch),
checkpoint.safetensors, best.safetensors, raster.png, curves.png.

Ctrl-C finishes the step, writes the checkpoint, says how to resume, and exits with 1; once more quits at
once. A resumed run ends in the same bits as one that never stopped. With --resume the run's own settings
hold; any given again must agree, but for --data, --device, kernels, delta_mib, checkpoint_seconds and,
without a schedule, more --epochs.

Examples:
  spikegrad train fmnist
  spikegrad train fmnist --device gpu --hidden 400,400 --out runs/wide
  spikegrad train nmnist --data data/nmnist          Train.zip and Test.zip, or the folders Train and Test
  spikegrad train shd --data data/shd --validation speakers:0,1
  spikegrad train runs/wide/config.toml --seed 2
  spikegrad train fmnist --out runs/wide --resume")]
pub struct Arguments {
    /// fmnist, fmnist-conv, fmnist-deep, nmnist, shd, or a TOML file with a preset and what differs from it
    #[arg(value_name = "PRESET|CONFIG.toml")]
    what: String,
    /// Folder of the data's files; by default the one that SPIKEGRAD_FASHION_MNIST, SPIKEGRAD_NMNIST or SPIKEGRAD_SHD names;
    /// else, of Fashion-MNIST, where it is usually installed, or the shipped subset
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// auto, cpu, gpu or gpu:N
    #[arg(long, value_parser = device)]
    device: Option<Device>,
    /// Neurons of the hidden layers, as many numbers as layers
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    hidden: Option<Vec<usize>>,
    /// Passes over the training set
    #[arg(long, value_name = "E")]
    epochs: Option<u64>,
    /// Samples in a batch
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// Learning rate
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Epochs over which the learning rate rises from 0
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    warmup: Option<f64>,
    /// Each update shrinks weights by the learning rate times this (AdamW)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Membrane time constant of the hidden layers, ms: one for all, or as many as layers
    #[arg(long, value_name = "MS,MS", value_delimiter = ',', allow_negative_numbers = true)]
    tau: Option<Vec<f64>>,
    /// Slope of every hidden layer's surrogate gradient
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    beta: Option<f64>,
    /// Scale each hidden layer's initial weights until its neurons spike so often in a sample; 0: as they are drawn
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    initial_spikes: Option<f64>,
    /// Any field of config.toml: augment.flip=true, network.readout.logits=sum; may be given several times
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Backward threshold of every hidden layer; inf leaves the surrogate unmasked
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    b_th: Option<f64>,
    /// Decides initial weights and the order of the samples
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// auto [default]: sparse or dense for each layer, from measured densities; sparse: cost follows the spikes; dense,
    /// the baseline: matrix products over [B, T, N] arrays; reference: the paper's baseline, unmasked, a time loop
    #[arg(long, value_enum, value_name = "METHOD", hide_possible_values = true)]
    method: Option<MethodWord>,
    /// Train on the first N samples only; the test set stays whole
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Training samples to hold out: none, last:N, fraction:F, fraction:F:SEED or speakers:A,B (shd). Epochs are measured
    /// on them and the best chosen by them; the test set is left for eval
    #[arg(long, value_name = "WHICH", value_parser = validation)]
    validation: Option<Validation>,
    #[command(flatten)]
    reading: Reading,
    /// The run's folder [default: runs/PRESET, with a number where that exists]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out, or the last one in runs/
    #[arg(long)]
    resume: bool,
    /// The paper's exact settings (Table 3) where ours are better
    #[arg(long)]
    paper: bool,
    /// Do not measure which kernels and which memory for deltas are fastest on a GPU; take the usual ones
    #[arg(long)]
    no_tuning: bool,
    /// Do not draw a layer anew that has no active entry left
    #[arg(long)]
    no_rescue: bool,
    /// Say nothing but warnings, errors and a last line
    #[arg(long)]
    quiet: bool,
    /// Print one JSON object on standard output when done; progress goes to standard error
    #[arg(long)]
    json: bool,
}

/// clap's parser of `--validation`.
fn validation(word: &str) -> Result<Validation, String> {
    word.parse().map_err(|e: Error| e.to_string())
}

/// `--method`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum MethodWord {
    Auto,
    Sparse,
    Dense,
    Reference,
}

/// Trains.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let voice = match (arguments.quiet, arguments.json) {
        (true, _) => Voice::Quiet,
        (false, true) => Voice::Aside,
        (false, false) => Voice::Normal,
    };
    let folder = folder(arguments)?;
    let mut config = config(arguments, &folder)?;
    let stop = stop_on_signal("finishing the step and writing the checkpoint; once more quits at once")?;
    let data = load(&config, None, &arguments.reading, &[])?;
    let device: Device = config.device.parse().map_err(usage)?;
    let given = config.delta_mib.map(DeltaScratch::bytes);
    needs(&config, &data, device, given)?.check(available_memory())?;
    let mut engine = open(device, &config, data.train.len(), !arguments.no_tuning)?;
    config.kernels = engine.kernels().map(str::parse).transpose()?;
    let mut needs_really = needs(&config, &data, device, engine.delta_bytes())?;
    if given.is_none() && needs_really.check(available_memory()).is_err() {
        // The tuning has chosen more memory for δ than there is: with given kernels nothing is tuned.
        engine = open(device, &config, data.train.len(), false)?;
        needs_really = needs(&config, &data, device, engine.delta_bytes())?;
    }
    config.delta_mib = engine.delta_bytes().map(DeltaScratch::of_bytes);
    let needs = needs_really;
    if data.subset {
        complain(format_args!(
            "warning: this is a small subset, good for trying things; accuracies on it mean little. For all 70,000 \
             images: {}",
            how_to_get()
        ));
    }

    let clock = Instant::now();
    let mut reporter =
        Reporter::new(voice, measured(&config), introduction(&config, &data, engine.as_ref(), &needs, &folder));
    let outcome = train::train(&config, &data, engine.as_mut(), &folder, arguments.resume, &stop, &mut reporter);
    reporter.clear();
    let (summary, interrupted) = match outcome.map_err(|e| with_remedy(e, &config, &folder))? {
        Outcome::Finished(summary) => (summary, false),
        Outcome::Interrupted(summary) => (summary, true),
    };
    if !interrupted {
        draw(&config, &data, engine.as_mut(), &folder).map_err(|e| match e.downcast() {
            Ok(e) => with_remedy(e, &config, &folder),
            Err(e) => e,
        })?;
    }
    let ended = Ended { config: &config, data: &data, engine: engine.as_ref(), folder: &folder, summary, interrupted };
    match arguments.json {
        true => say_json(&ended.json(clock.elapsed().as_secs_f64()))?,
        false => ended.tell(voice)?,
    }
    if interrupted {
        complain(format_args!("interrupted; continue with: {}", ended.resume_command()));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The device with the kernels and the memory for δ that the run was begun with; with kernels that it chooses, where it
/// lacks those.
fn open(device: Device, config: &RunConfig, samples: usize, tuning: bool) -> spikegrad::Result<Box<dyn Engine>> {
    let open = |variant| {
        let delta_bytes = config.delta_mib.map(DeltaScratch::bytes);
        let batch = Some(config.batch.min(config.limit.map_or(samples, |limit| limit.min(samples))));
        let options = GpuOptions { variant, delta_bytes, tuning, batch, ..GpuOptions::default() };
        device.open_with(&config.network, config.method, options)
    };
    open(config.kernels).or_else(|error| if config.kernels.is_some() { open(None) } else { Err(error) })
}

/// The run's folder: --out, or in `runs/` the last one to resume, or the first that does not exist.
fn folder(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(out) = &arguments.out {
        return Ok(out.clone());
    }
    let path = Path::new(&arguments.what);
    let stem = match (path.extension(), path.file_stem()) {
        // A run's own configuration is called config.toml; the run would be called config.
        (Some(_), Some(stem)) if stem == "config" => presets::load(path, arguments.paper)?.preset,
        (_, Some(stem)) => stem.to_string_lossy().into_owned(),
        (_, None) => bail!(Usage(format!("`{}` names no preset and no file", arguments.what))),
    };
    let numbered = |n: u64| match n {
        1 => Path::new("runs").join(&stem),
        n => Path::new("runs").join(format!("{stem}-{n}")),
    };
    let free = (1..).find(|&n| !numbered(n).exists()).unwrap_or(1);
    if !arguments.resume {
        return Ok(numbered(free));
    }
    // A start that was refused leaves a folder without a run.
    match (1..free).rev().map(numbered).find(|folder| folder.join(CONFIG_FILE).exists()) {
        Some(last) => Ok(last),
        None => bail!("{}: no run to resume; name its folder with --out", numbered(1).display()),
    }
}

/// What is named, with what the flags change.
fn config(arguments: &Arguments, folder: &Path) -> Result<RunConfig> {
    let word = &arguments.what;
    let file = word.ends_with(".toml");
    let named = presets::resolve(word, arguments.paper);
    let named = if file { named? } else { named.map_err(usage)? };
    let mut config = match arguments.resume && !file {
        false => named,
        true => {
            let mut stored = stored_config(folder)?;
            if stored.preset != named.preset {
                bail!(
                    "{}: holds a run of {}, not of {}; name its preset",
                    folder.display(),
                    stored.preset,
                    named.preset
                );
            }
            if arguments.paper {
                // Where ours differ: a run that was begun without --paper is not taken for one of the paper's.
                (stored.adam, stored.schedule) = (named.adam, named.schedule);
                (stored.warmup_epochs, stored.initial_spikes) = (named.warmup_epochs, named.initial_spikes);
                stored.augment = named.augment;
                if let (Some(readout), Some(paper)) = (stored.network.integrator_mut(), named.network.integrator()) {
                    (readout.gain, readout.logits) = (paper.gain, paper.logits);
                }
                for (layer, paper) in stored.network.hidden.iter_mut().zip(&named.network.hidden) {
                    layer.beta = paper.beta;
                }
            }
            stored
        }
    };
    change(&mut config, arguments)?;
    if let Some(data) = &config.data {
        // The run may be resumed or tested from another folder.
        config.data = Some(std::path::absolute(data).map_err(Error::io(data))?);
    }
    config.check().map_err(usage)?;
    Ok(config)
}

fn change(config: &mut RunConfig, arguments: &Arguments) -> Result<()> {
    fn set<T: Clone>(field: &mut T, value: &Option<T>) {
        if let Some(value) = value {
            field.clone_from(value);
        }
    }
    set(&mut config.data, &arguments.data.clone().map(Some));
    if let Some(widths) = &arguments.hidden {
        config.network.set_hidden(widths).map_err(|e| usage(format!("--hidden: {e}")))?;
    }
    if let Some(b_th) = arguments.b_th {
        config.network.hidden.iter_mut().for_each(|layer| layer.b_th = b_th);
    }
    if let Some(beta) = arguments.beta {
        config.network.hidden.iter_mut().for_each(|layer| layer.beta = beta);
    }
    if let Some(taus) = &arguments.tau {
        let layers = config.network.hidden.len();
        if taus.len() != 1 && taus.len() != layers {
            bail!(Usage(format!("--tau names {} time constants; there are {layers} hidden layers", taus.len())));
        }
        let all = taus.iter().cycle();
        config.network.hidden.iter_mut().zip(all).for_each(|(layer, &tau)| layer.tau_ms = tau);
    }
    set(&mut config.warmup_epochs, &arguments.warmup);
    set(&mut config.adam.weight_decay, &arguments.weight_decay);
    set(&mut config.initial_spikes, &arguments.initial_spikes);
    set(&mut config.device, &arguments.device.map(|device| device.to_string()));
    set(&mut config.epochs, &arguments.epochs);
    set(&mut config.batch, &arguments.batch);
    set(&mut config.adam.lr, &arguments.lr);
    set(&mut config.seed, &arguments.seed);
    set(&mut config.limit, &arguments.limit.map(Some));
    let method = arguments.method.map(|word| match word {
        MethodWord::Sparse => Method::Sparse,
        MethodWord::Dense => Method::Dense,
        MethodWord::Auto => Method::Auto,
        MethodWord::Reference => Method::Reference,
    });
    set(&mut config.method, &method);
    set(&mut config.validation, &arguments.validation);
    set(&mut config.skip_bad, &arguments.reading.skip_bad.then_some(true));
    set(&mut config.rescue, &arguments.no_rescue.then_some(false));
    for assignment in &arguments.set {
        config.set(assignment).map_err(|e| usage(format!("--set {e}")))?;
    }
    Ok(())
}

/// What the run will take, at the density of its data and usual ones within.
fn needs(config: &RunConfig, data: &DataSet, device: Device, delta_bytes: Option<u64>) -> Result<Estimate> {
    let slots = (data.train.len() * config.network.inputs * config.network.time_steps).max(1);
    let densities = Densities::usual(data.train.events().len() as f64 / slots as f64);
    let batch = config.batch.min(data.train.len());
    let held_out = data.validation.as_ref().map_or(0, |held_out| held_out.events().len());
    let events = data.train.events().len() + held_out + data.test.events().len();
    let estimate = memory::estimate_with(&config.network, config.method, batch, device, &densities, delta_bytes)?;
    Ok(estimate.with_data(events))
}

/// What the epochs are measured on.
fn measured(config: &RunConfig) -> &'static str {
    if config.validation.is_on() { "validation" } else { "test" }
}

fn introduction(
    config: &RunConfig,
    data: &DataSet,
    engine: &dyn Engine,
    needs: &Estimate,
    folder: &Path,
) -> Vec<String> {
    let limit = config.limit.map_or(String::new(), |n| format!("first {} samples, ", thousands(n as u64)));
    let epochs = if config.epochs == 1 { "1 epoch".into() } else { format!("{} epochs", thousands(config.epochs)) };
    let schedule = match config.schedule {
        LearningRate::Constant {} => "",
        LearningRate::Cosine { .. } => " falling as a cosine",
    };
    let (batch, lr, seed) = (config.batch, config.adam.lr, config.seed);
    vec![
        format!("data     {}", data.origin),
        format!("device   {}", show::device(&engine.info())),
        format!("network  {}", network_line(config)),
        format!("training {limit}{epochs}, batch {batch}, learning rate {lr}{schedule}, seed {seed}"),
        format!("memory   {}", needs.line()),
        format!("run      {}", folder.display()),
    ]
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Sparse => "sparse",
        Method::Dense => "dense",
        Method::Reference => "reference",
        Method::Auto => "auto",
    }
}

/// `784-200-200-10, T = 100, sparse, B_th = 0.2`.
fn network_line(config: &RunConfig) -> String {
    let network = &config.network;
    let mut b_th: Vec<String> = network.hidden.iter().map(|layer| layer.b_th.to_string()).collect();
    b_th.dedup();
    format!(
        "{}, T = {}, {}, B_th = {}",
        show::sizes(&network.sizes()),
        network.time_steps,
        method_name(config.method),
        b_th.join(", ")
    )
}

/// The run's figures: the first test sample through the best network, and the curves.
fn draw(config: &RunConfig, data: &DataSet, engine: &mut dyn Engine, folder: &Path) -> Result<()> {
    let name = raster::data_name(&config.preset);
    let best = Run::read(folder, Which::Best)?;
    engine.load(&best.checkpoint.state)?;
    let title = raster::title(config, 0, &format!("after {}", best.moment()));
    raster_png(folder.join(RASTER_FILE), &raster::sample(engine, config, data, 0, title)?)?;
    let points: Vec<CurvePoint> = metrics::read(&folder.join(METRICS_FILE))?
        .into_iter()
        .map(|record| CurvePoint {
            epoch: record.epoch as f64,
            loss: record.loss,
            train_accuracy: record.train_accuracy,
            test_accuracy: Some(record.test_accuracy),
            activity: record.activity,
            spike_density: record.spike_density,
        })
        .collect();
    let on = if config.validation.is_on() { ", test: samples held out for validation" } else { "" };
    Ok(curves_png(folder.join(CURVES_FILE), &format!("{name}, {}{on}", network_line(config)), &points)?)
}

/// The command that continues the run in `folder`.
fn resume_command(config: &RunConfig, folder: &Path) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "spikegrad".into());
    format!("{} train {} --resume --out {}", shell_word(Path::new(&program)), config.preset, shell_word(folder))
}

/// Says how to go on after what is not the run's own fault: a full disk, a device that was lost.
fn with_remedy(error: Error, config: &RunConfig, folder: &Path) -> anyhow::Error {
    match error {
        Error::Io { .. } | Error::Device(_) | Error::DeviceLost(_) if folder.join(CHECKPOINT_FILE).exists() => anyhow!(
            "{error}\nThe last checkpoint is kept; when that is mended, continue with: {}",
            resume_command(config, folder)
        ),
        error => error.into(),
    }
}

/// A run at the end of a session.
struct Ended<'a> {
    config: &'a RunConfig,
    data: &'a DataSet,
    engine: &'a dyn Engine,
    folder: &'a Path,
    summary: Summary,
    interrupted: bool,
}

impl Ended<'_> {
    fn resume_command(&self) -> String {
        resume_command(self.config, self.folder)
    }

    fn tell(&self, voice: Voice) -> Result<()> {
        let done = format!("{} of {} epochs", self.summary.progress.epoch, self.config.epochs);
        let best = match &self.summary.progress.best {
            Some(best) => {
                let on = measured(self.config);
                format!("best {on} accuracy {} (epoch {})", percent(best.test_accuracy), best.epoch)
            }
            None => "no epoch tested yet".into(),
        };
        say(format_args!("{}: {done}, {best}", self.folder.display()))?;
        if !self.interrupted {
            voice
                .tell("  config.toml  metrics.jsonl  checkpoint.safetensors  best.safetensors  raster.png  curves.png");
        }
        Ok(())
    }

    fn json(&self, seconds: f64) -> serde_json::Value {
        let progress = &self.summary.progress;
        json!({
            "outcome": if self.interrupted { "interrupted" } else { "finished" },
            "run": self.folder,
            "preset": self.config.preset,
            "method": self.config.method,
            "sizes": self.config.network.sizes(),
            "device": self.engine.info(),
            "data": {
                "origin": self.data.origin,
                "subset": self.data.subset,
                "train_samples": progress.data.train_samples,
                "test_samples": progress.data.test_samples,
                "measured_on": measured(self.config),
                "bad": self.data.bad,
            },
            "epochs": self.config.epochs,
            "epochs_done": progress.epoch,
            "steps": progress.step,
            "best": progress.best,
            "last": self.summary.last,
            "seconds": seconds,
            "resume": self.interrupted.then(|| self.resume_command()),
        })
    }
}
