//! `spikegrad train`.

use super::configure::{complete, load_completed, set_data, set_fields, settle};
use super::eval::{StoredRun, Which};
use super::load::Reading;
use super::manual::styled;
use super::progress::Progress;
use super::ranks::{self, Role};
use super::record::{self, Recorder, Recording};
use super::reporter::{Reporter, Voice};
use super::show::{self, causes, complain, percent, say, say_json, shell_word, thousands, warn};
use super::signals::stop_on_signal;
use super::target::{self, Target, Words};
use super::{Usage, live, needs, number, port, raster, usage, whole, whole_of};
use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use serde_json::json;
use spikegrad::Error;
use spikegrad::data::fashion_mnist::how_to_get;
use spikegrad::data::{DataSet, Validation};
use spikegrad::device::Device;
use spikegrad::engine::{Engine, Method};
use spikegrad::gpu::DeltaScratch;
use spikegrad::live::{Exhibit, Level, Live, Settings, State, Watched};
use spikegrad::memory::Estimate;
use spikegrad::plot::{ANIMATION_BYTES, CurvePoint, save_curves, save_raster};
use spikegrad::results::check_writable;
use spikegrad::system::{available_memory, resident_memory};
use spikegrad::train::{
    CHECKPOINT_FILE, EpochRecord, LearningRate, METRICS_FILE, Outcome, RunConfig, Summary, Training, check_run_folder,
    metrics, open_ranks,
};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The raster of the first test sample, in the run's folder.
const RASTER_FILE: &str = "raster.png";
/// The curves of the run, in its folder.
const CURVES_FILE: &str = "curves.png";

#[derive(clap::Args)]
#[command(after_help = styled("\
Files of a run:
  config.toml              all settings (docs/configuration.md)
  metrics.jsonl            a line per epoch
  checkpoint.safetensors   the latest state, to continue from
  best.safetensors         the epoch with the best accuracy
  raster.png               the spikes of a test sample
  curves.png               accuracy and loss over the epochs

Interrupting:
Ctrl-C finishes the current step, writes a checkpoint, prints the command that resumes the run, and exits with 1; \
a second Ctrl-C quits immediately. A resumed run ends with the same bits as an uninterrupted one. It keeps its \
own settings; a setting that is given again must not differ, except --data, --device, --patience, kernels, delta_mib \
and checkpoint_seconds. --epochs may be increased if the learning rate has no schedule.

The page:
With --live, the program prints the address of a page that shows the run and acts on it (docs/demo.md). A page that is open when \
the run ends keeps the program running until it is closed.

Recording:
With --record, the raster of the first test sample before training and after each epoch is written as an animation, also if the run is interrupted. A long run is recorded every 2nd, 4th, ... epoch. A resumed run is recorded from where it continues.

Examples:
  spikegrad train fmnist
  spikegrad train fmnist --live
  spikegrad train fmnist --record training.gif
  spikegrad train fmnist --device gpu --hidden 400,400 --out runs/wide
  spikegrad train nmnist --data data/nmnist
  spikegrad train shd --data data/shd --validation speakers:0,1
  # Data of your own
  spikegrad train events --data taps.npz
  # A run's settings with another seed
  spikegrad train runs/wide/config.toml --seed 2
  # Continue a run
  spikegrad train runs/wide
  # Continue the last run in runs/
  spikegrad train --resume"))]
pub struct Arguments {
    /// Preset (fmnist, fmnist-conv, fmnist-deep, nmnist, shd, shd-recurrent, events or events-conv); a TOML file that names
    /// a preset and the settings that differ; or the folder of a run, which is continued
    #[arg(value_name = "PRESET|CONFIG.toml|RUN_DIR")]
    what: Option<String>,
    /// Folder with the data set's files; for events, a file or folder [default: the folder in SPIKEGRAD_FASHION_MNIST,
    /// SPIKEGRAD_NMNIST or SPIKEGRAD_SHD; for Fashion-MNIST also where it is usually installed, else the built-in subset]
    #[arg(long, value_name = "PATH", help_heading = "Data")]
    data: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Data")]
    reading: Reading,
    /// Train on the first N samples only; the test set is not limited
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "N", help_heading = "Data")]
    limit: Option<usize>,
    /// Hold out training samples: none, last:N, fraction:F, fraction:F:SEED or speakers:A,B (shd). The accuracy after each epoch
    /// and the best epoch are measured on them instead of the test set, which is left for eval
    #[arg(long, value_name = "WHICH", value_parser = validation, help_heading = "Data")]
    validation: Option<Validation>,
    /// Neurons of each fully connected hidden layer; the number of values is the number of these layers
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "N,N", value_delimiter = ',', help_heading = "Network")]
    hidden: Option<Vec<usize>>,
    /// Connect the neurons of each fully connected hidden layer with each other, by recurrent weights. With
    /// thousands of neurons, use a lower --lr: otherwise their activity soon sustains itself
    #[arg(long, help_heading = "Network")]
    recurrent: bool,
    /// Membrane time constant of the hidden layers, ms: one for all layers, or one per layer
    #[arg(long, value_parser = number, value_name = "MS,MS", value_delimiter = ',', allow_negative_numbers = true, help_heading = "Network")]
    tau: Option<Vec<f64>>,
    /// Slope beta of the surrogate gradient of all hidden layers
    #[arg(long, value_parser = number, value_name = "X", allow_negative_numbers = true, help_heading = "Network")]
    beta: Option<f64>,
    /// Backward threshold B_th of all hidden layers: the gradient is 0 unless |V - V_th| < B_th (inf: never masked)
    #[arg(long, value_parser = number, value_name = "X", allow_negative_numbers = true, help_heading = "Network")]
    b_th: Option<f64>,
    /// Begin with the weights in this safetensors file (tensors w.0, w.1, ..., as in a checkpoint) instead of random ones
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    weights: Option<PathBuf>,
    /// Rescale initial weights so that each hidden neuron spikes X times per sample on average (0: no rescaling)
    #[arg(long, value_parser = number, value_name = "X", allow_negative_numbers = true, help_heading = "Network")]
    initial_spikes: Option<f64>,
    /// Do not re-initialise a layer that has no active entry (none within B_th of the threshold)
    #[arg(long, help_heading = "Network")]
    no_rescue: bool,
    /// Use the paper's exact settings (Table 3) instead of ours, which reach higher accuracies
    #[arg(long, help_heading = "Training")]
    paper: bool,
    /// Number of passes over the training set
    #[arg(long, value_parser = whole::<u64>, allow_negative_numbers = true, value_name = "E", help_heading = "Training")]
    epochs: Option<u64>,
    /// Samples per batch
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "B", help_heading = "Training")]
    batch: Option<usize>,
    /// Learning rate
    #[arg(long, value_parser = number, value_name = "R", allow_negative_numbers = true, help_heading = "Training")]
    lr: Option<f64>,
    /// Raise the learning rate linearly from 0 over the first E epochs
    #[arg(long, value_parser = number, value_name = "E", allow_negative_numbers = true, help_heading = "Training")]
    warmup: Option<f64>,
    /// Weight decay (AdamW): each update reduces the weights by the learning rate times X
    #[arg(long, value_parser = number, value_name = "X", allow_negative_numbers = true, help_heading = "Training")]
    weight_decay: Option<f64>,
    /// Stop after N epochs without a better accuracy [default: never]
    #[arg(long, value_parser = whole::<u64>, allow_negative_numbers = true, value_name = "N", help_heading = "Training")]
    patience: Option<u64>,
    /// Seed of the initial weights and the order of the samples
    #[arg(long, value_parser = whole::<u64>, allow_negative_numbers = true, value_name = "S", help_heading = "Training")]
    seed: Option<u64>,
    /// Set a field of config.toml, such as augment.flip=true or network.readout.logits=sum; can be repeated. docs/configuration.md
    /// has all fields
    #[arg(long, value_name = "FIELD=VALUE", allow_hyphen_values = true, help_heading = "Training")]
    set: Vec<String>,
    /// Train on this device: auto, cpu, gpu or gpu:N; or on several, as in gpu:0,gpu:1 [default: auto, or as in the TOML file]
    #[arg(long, value_parser = devices, help_heading = "Device")]
    device: Option<String>,
    /// Cut each batch into S parts whose gradients are summed in a fixed order, so that any number of devices or ranks ends in the
    /// same bits [default: 8 for several devices or ranks, else none]
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "S", help_heading = "Device")]
    shards: Option<usize>,
    /// With several ranks: end all if the others have sent nothing for so long
    #[arg(long, value_parser = whole_of::<1, 1_000_000>, default_value_t = 20, allow_negative_numbers = true, value_name = "SECONDS", help_heading = "Device")]
    rank_patience: u32,
    /// How to compute a step. auto: sparse or dense per layer, from measured densities; sparse: work follows the spikes;
    /// dense: matrix products over [B, T, N] arrays; reference: the paper's dense baseline, a loop over time with an unmasked
    /// surrogate gradient [default: auto]
    #[arg(long, value_enum, value_name = "METHOD", hide_possible_values = true, help_heading = "Device")]
    method: Option<MethodWord>,
    /// Use the default kernels on a GPU, without measuring which are fastest
    #[arg(long, help_heading = "Device")]
    no_tuning: bool,
    /// The run's folder [default: runs/PRESET, or runs/NAME for NAME.toml, with a number if that exists]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out [default: the last run in runs/; of the preset, and if there is one, on --data, if these are given]
    #[arg(long)]
    resume: bool,
    /// Show the run on a page in the browser, at this port of 127.0.0.1 (0: any free one) [default port: the first free one
    /// from 7784 on]
    #[arg(long, value_name = "PORT", value_parser = port, num_args = 0..=1)]
    live: Option<Option<u16>>,
    /// Record the spikes of a test sample over the epochs, as an animated GIF or PNG. An existing file is replaced
    #[arg(long, value_name = "FILE.gif|png", value_parser = record::file)]
    record: Option<PathBuf>,
    /// Print only warnings, errors and the result
    #[arg(long)]
    quiet: bool,
    /// Print the result as one JSON object on standard output, and progress on standard error
    #[arg(long)]
    json: bool,
}

/// Parses `--device` for clap.
fn devices(word: &str) -> Result<String, String> {
    let known = word.split(',').all(|word| word.trim().parse::<Device>().is_ok());
    known.then(|| word.into()).ok_or("must be auto, cpu, gpu or gpu:N, or several with commas between them".into())
}

/// Parses `--validation` for clap.
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

/// Trains, as one of several ranks if it was started so.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let done = ranks::start(arguments.rank_patience.into()).and_then(|role| match role {
        Role::Follower => ranks::follow(!arguments.no_tuning),
        Role::First if arguments.live.is_some() => Err(Usage(
            "--live: a page is for runs of one process, as ranks do not wait for it; leave out --live".into(),
        )
        .into()),
        Role::Alone | Role::First => lead(arguments),
    });
    let done = done.map_err(ranks::fail);
    ranks::finish();
    done
}

/// The number of training samples.
pub fn trained(config: &RunConfig, data: &DataSet) -> usize {
    config.limit.map_or(data.train.len(), |limit| limit.min(data.train.len()))
}

/// Trains alone, or as rank 0.
fn lead(arguments: &Arguments) -> Result<ExitCode> {
    let voice = match (arguments.quiet, arguments.json) {
        (true, _) => Voice::Quiet,
        (false, true) => Voice::Aside,
        (false, false) => Voice::Normal,
    };
    arguments.record.iter().try_for_each(|file| check_writable(file))?;
    let mut target = target::find(&Words {
        what: arguments.what.as_deref(),
        out: arguments.out.as_deref(),
        data: arguments.data.as_deref(),
        resume: arguments.resume,
        paper: arguments.paper,
    })?;
    let shards_before = target.config.shards;
    target.config = config(arguments, &target)?;
    check_run_folder(&target.folder, target.resume)?;
    ranks::settle_shards(&mut target, shards_before)?;
    if let Some(file) = &arguments.record {
        let own = [RASTER_FILE, CURVES_FILE].map(|name| target.folder.join(name));
        let place = |path: &Path| path.parent().map(|folder| folder.canonicalize().unwrap_or(folder.into()));
        if own.iter().any(|own| own.file_name() == file.file_name() && place(own) == place(file)) {
            bail!(Usage(format!(
                "--record {}: the run writes a figure of its own there; give another name",
                file.display()
            )));
        }
    }
    // A signal to a rank may come from mpirun, which is about to kill it because another one failed.
    let words = "finishing the step and writing a checkpoint; press Ctrl-C again to quit immediately";
    let stop = stop_on_signal(ranks::connect().is_none().then_some(words))?;
    let progress = Progress::new(voice == Voice::Normal);
    let survey = complete(&mut target.config, &arguments.reading, &progress)?;
    let data = load_completed(&target.config, survey, &arguments.reading, &progress)?;
    drop(progress);
    // Other data may name their classes otherwise.
    target.config.data.class_names.clone_from(&data.class_names);
    // Without its address, the page would be of no use.
    let tell = |line: &str| if voice == Voice::Quiet { complain(line) } else { voice.tell(line) };
    let server = arguments.live.map(|port| live::start(port, tell)).transpose()?;
    let live = server.as_ref().map(|(live, _)| live);
    let session = Session { arguments, voice, data: &data, stop: &stop, live, recordings: Cell::new(0) };
    // The run before a page asked for another one.
    let mut before: Option<Target> = None;
    loop {
        match (session.run(&target), before.take(), live) {
            (Ok(After::End(code)), ..) => return Ok(code),
            (Ok(After::Restart(settings)), _, live) => match beside(&target, &settings) {
                Ok(next) => {
                    voice.tell(&format!("restarted by the page; the run so far is in {}", target.folder.display()));
                    before = Some(std::mem::replace(&mut target, next));
                }
                Err(error) => {
                    tell_of_return(live, &error);
                    target.resume = true;
                }
            },
            (Err(error), Some(earlier), live) => {
                tell_of_return(live, &error);
                target = earlier;
                target.resume = true;
            }
            (Err(error), _, live) => {
                live.iter().for_each(|live| live.state(State::Failed, causes(&error)));
                return Err(error);
            }
        }
    }
}

/// The run that the page asked for.
fn beside(target: &Target, settings: &Settings) -> Result<Target> {
    target.beside(settings.apply(&target.config)?)
}

/// Says why a run that the page asked for is not trained.
fn tell_of_return(live: Option<&Live>, error: &anyhow::Error) {
    complain(format_args!("{}; continuing the run before", causes(error)));
    live.iter().for_each(|live| live.note(Level::Error, format!("{}. The run before is continued.", causes(error))));
}

/// What all runs of this process have in common: one, and those that a page asks for.
struct Session<'a> {
    arguments: &'a Arguments,
    voice: Voice,
    data: &'a DataSet,
    stop: &'a AtomicBool,
    live: Option<&'a Live>,
    /// Number of runs that were recorded, including this one.
    recordings: Cell<u32>,
}

/// What follows a run.
enum After {
    End(ExitCode),
    Restart(Settings),
}

impl Session<'_> {
    /// Trains a run to its end.
    fn run(&self, target: &Target) -> Result<After> {
        let Session { voice, data, .. } = *self;
        let (mut config, folder) = (target.config.clone(), &target.folder);
        let progress = Progress::new(voice == Voice::Normal);
        let (mut engine, needs) = self.open(&mut config, &progress)?;
        ranks::lead(&config, target, data)?;
        progress.clear();
        if data.subset {
            warn(format_args!(
                "training on a small subset of Fashion-MNIST, for trying things out; its accuracies mean little. For \
                 all 70,000 images: {}",
                how_to_get()
            ));
        }

        let clock = Instant::now();
        let reporter = Reporter::new(
            voice,
            progress,
            config.measured_on(),
            introduction(&config, data, engine.as_ref(), &needs, folder),
        );
        let reporter = reporter.after_epochs(|record, engine| draw_meanwhile(&config, data, record, engine, folder));
        let done =
            if target.resume { metrics::read(&folder.join(METRICS_FILE)).unwrap_or_default() } else { Vec::new() };
        let watched = self.live.map(|live| Watched::new(live, &config, data, engine.info(), done, self.stop));
        let mut observers = ((reporter, self.recorder(&config)), watched);
        let training =
            Training::new(&config, data).folder(folder).resume(target.resume).stop(self.stop).observer(&mut observers);
        ranks::begin(None)?;
        let outcome = training.run_on(engine.as_mut());
        let ((reporter, recorder), mut watched) = observers;
        reporter.clear();
        let (summary, interrupted) = match outcome {
            Ok(Outcome::Finished(summary) | Outcome::Stopped(summary)) => (summary, false),
            Ok(Outcome::Interrupted(summary)) => (summary, true),
            Err(error) => {
                recorder.iter().for_each(Recorder::keep);
                return Err(with_remedy(error, folder));
            }
        };
        let recording = recorder.map(|recorder| recorder.finish(engine.as_mut(), &summary)).transpose();
        if let Some(settings) = watched.as_mut().and_then(Watched::take_restart) {
            return Ok(After::Restart(settings));
        }
        let remedied = |error: anyhow::Error| match error.downcast() {
            Ok(error) => with_remedy(error, folder),
            Err(error) => error,
        };
        if !interrupted {
            draw(&config, data, engine.as_mut(), folder).map_err(remedied)?;
        }
        let recording = recording.map_err(remedied)?;
        let ended = Ended { config: &config, data, engine: engine.as_ref(), folder, summary, interrupted, recording };
        match self.arguments.json {
            true => say_json(&ended.json(clock.elapsed().as_secs_f64()))?,
            false => ended.tell(voice)?,
        }
        if interrupted {
            self.live.iter().for_each(|live| live.state(State::Interrupted, "Interrupted; it can be continued."));
            complain(format_args!("interrupted; continue with: {}", ended.resume_command()));
            return Ok(After::End(ExitCode::FAILURE));
        }
        let settings = watched.and_then(|watched| self.linger(watched.into_exhibit(), engine.as_mut()));
        Ok(settings.map_or(After::End(ExitCode::SUCCESS), After::Restart))
    }

    /// The observer that records the run, if it is to be recorded.
    fn recorder<'c>(&'c self, config: &'c RunConfig) -> Option<Recorder<'c>> {
        let file = self.arguments.record.as_deref()?;
        self.recordings.update(|k| k + 1);
        Some(Recorder::new(record::numbered(file, self.recordings.get()), config, self.data, config.measured_on()))
    }

    /// Opens the device for a run, unless it would not fit into memory; decides what the configuration leaves to the device.
    fn open(&self, config: &mut RunConfig, progress: &Progress) -> Result<(Box<dyn Engine>, Estimate)> {
        let data = self.data;
        let devices = ranks::own_devices(config).map_err(usage)?;
        let given = config.delta_mib.map(DeltaScratch::bytes);
        let animation = if self.arguments.record.is_some() { ANIMATION_BYTES } else { 0 };
        let needs = |delta_bytes, resident, config: &RunConfig| {
            let run = needs::of_run(config, trained(config, data), data, &devices, delta_bytes)?;
            anyhow::Ok(run.with_program(resident).with_animation(animation))
        };
        // Asks for the adapters, which loads the GPU's driver; what the process has after that is not to come.
        needs(given, 0, config)?;
        let (resident, available) = (resident_memory().unwrap_or(0), available_memory());
        needs(given, resident, config)?.check(available)?;
        progress.stage("opening the device");
        let batch = config.batch.min(trained(config, data));
        let open = |config: &RunConfig, tuning| open_ranks(config, devices.clone(), batch, tuning, ranks::connect());
        let mut engine = open(config, !self.arguments.no_tuning)?;
        config.shares = engine.shares();
        config.kernels = engine.kernels().map(str::parse).transpose()?;
        let mut needs_really = needs(engine.delta_bytes(), resident, config)?;
        if given.is_none() && needs_really.check(available).is_err() {
            // Tuning chose a larger δ scratch than fits into memory; open the device again without tuning.
            drop(engine);
            engine = open(config, false)?;
            needs_really = needs(engine.delta_bytes(), resident, config)?;
        }
        config.delta_mib = engine.delta_bytes().map(DeltaScratch::of_bytes);
        Ok((engine, needs_really))
    }

    /// Shows the best network as long as a page is open.
    fn linger(&self, mut exhibit: Exhibit, engine: &mut dyn Engine) -> Option<Settings> {
        let live = self.live.filter(|live| live.viewers() > 0)?;
        live.state(State::Ended, "The run has ended; samples are shown by its best epoch.");
        self.voice.tell("a page is open: close it, or press Ctrl-C, to end the program");
        if let Err(error) = exhibit.test(engine) {
            live.note(Level::Error, error);
        }
        exhibit.linger(engine, self.stop)
    }
}

/// The target's configuration with the changes of the flags.
fn config(arguments: &Arguments, target: &Target) -> Result<RunConfig> {
    let mut config = target.config.clone();
    change(&mut config, arguments)?;
    settle(&mut config)?;
    Ok(config)
}

fn change(config: &mut RunConfig, arguments: &Arguments) -> Result<()> {
    fn set<T: Clone>(field: &mut T, value: &Option<T>) {
        if let Some(value) = value {
            field.clone_from(value);
        }
    }
    let before = config.clone();
    set_data(config, arguments.data.as_deref());
    set(&mut config.weights, &arguments.weights.clone().map(Some));
    if let Some(widths) = &arguments.hidden {
        let set = match config.is_open() {
            true => config.network.replace_hidden(widths).and_then(|()| config.check()),
            false => config.network.set_hidden(widths),
        };
        set.map_err(|e| usage(format!("--hidden: {e}")))?;
    }
    if arguments.recurrent {
        config.network.connect_hidden().map_err(|e| usage(format!("--recurrent: {e}")))?;
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
            bail!(Usage(format!(
                "--tau: {} time constants for {layers} hidden layers; give 1 or {layers}",
                taus.len()
            )));
        }
        let all = taus.iter().cycle();
        config.network.hidden.iter_mut().zip(all).for_each(|(layer, &tau)| layer.tau_ms = tau);
    }
    set(&mut config.warmup_epochs, &arguments.warmup);
    set(&mut config.adam.weight_decay, &arguments.weight_decay);
    set(&mut config.initial_spikes, &arguments.initial_spikes);
    set(&mut config.device, &arguments.device);
    set(&mut config.shards, &arguments.shards);
    set(&mut config.epochs, &arguments.epochs);
    set(&mut config.patience, &arguments.patience);
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
    set_fields(config, &arguments.set)?;
    if (&config.device, config.shards) != (&before.device, before.shards) && config.shares == before.shares {
        // They were measured on other devices.
        config.shares = None;
    }
    Ok(())
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
        LearningRate::Cosine { .. } => " with cosine decay",
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
    let mut b_th: Vec<String> = network.spiking().map(|layer| layer.b_th.to_string()).collect();
    b_th.dedup();
    // A network of integrators alone has no B_th.
    let b_th = if b_th.is_empty() { String::new() } else { format!(", B_th = {}", b_th.join(", ")) };
    let (sizes, method) = (show::sizes(&network.sizes()), method_name(config.method));
    format!("{sizes}, T = {}, {method}{b_th}", network.time_steps)
}

/// The run's figures: the first test sample in the best network, and the curves.
fn draw(config: &RunConfig, data: &DataSet, engine: &mut dyn Engine, folder: &Path) -> Result<()> {
    let moment = {
        let best = StoredRun::read(folder, Which::Best)?;
        engine.load(&best.checkpoint.state)?;
        best.moment()
    };
    draw_raster(config, data, engine, &moment, folder)?;
    draw_curves(config, &data.name, folder)
}

/// The run's figures so far, after an epoch. They are not worth a stop of the run; what is wrong is said when they are drawn
/// at the end.
fn draw_meanwhile(config: &RunConfig, data: &DataSet, record: &EpochRecord, engine: &mut dyn Engine, folder: &Path) {
    let _ = draw_curves(config, &data.name, folder);
    // The weights of a re-initialised layer are not those of the epoch.
    if record.rescued.is_none() {
        let _ = draw_raster(config, data, engine, &format!("epoch {}", record.epoch), folder);
    }
}

/// The first test sample in the network after this `moment`.
fn draw_raster(config: &RunConfig, data: &DataSet, engine: &mut dyn Engine, moment: &str, folder: &Path) -> Result<()> {
    let title = raster::title(config, data, 0, &format!("after {moment}"));
    Ok(save_raster(folder.join(RASTER_FILE), &raster::sample(engine, config, data, 0, title)?)?)
}

/// The curves of the epochs that are done.
fn draw_curves(config: &RunConfig, data_name: &str, folder: &Path) -> Result<()> {
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
    Ok(save_curves(folder.join(CURVES_FILE), &format!("{data_name}, {}{on}", network_line(config)), &points)?)
}

/// The command that continues the run in `folder`.
fn resume_command(folder: &Path) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "spikegrad".into());
    format!("{} train {}", shell_word(Path::new(&program)), shell_word(folder))
}

/// Adds the command that continues the run to errors with an external cause: a full disk, a lost device.
fn with_remedy(error: Error, folder: &Path) -> anyhow::Error {
    match error {
        Error::Io { .. } | Error::Device(_) | Error::DeviceLost(_) if folder.join(CHECKPOINT_FILE).exists() => anyhow!(
            "{error}\nThe last checkpoint is kept. Once the problem is fixed, continue with: {}",
            resume_command(folder)
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
    recording: Option<Recording>,
}

impl Ended<'_> {
    fn resume_command(&self) -> String {
        resume_command(self.folder)
    }

    fn tell(&self, voice: Voice) -> Result<()> {
        let done = format!("{} of {} epochs", self.summary.progress.epoch, self.config.epochs);
        let best = match &self.summary.progress.best {
            Some(best) => {
                let on = self.config.measured_on();
                format!("best {on} accuracy {} (epoch {})", percent(best.test_accuracy), best.epoch)
            }
            None => "no epoch finished yet".into(),
        };
        let early = match self.summary.progress.epoch < self.config.epochs && !self.interrupted {
            true if self.config.patience == 1 => " (no better accuracy for an epoch)".into(),
            true => format!(" (no better accuracy for {} epochs)", self.config.patience),
            false => String::new(),
        };
        say(format_args!("{}: {done}{early}, {best}", self.folder.display()))?;
        if !self.interrupted {
            voice
                .tell("  config.toml  metrics.jsonl  checkpoint.safetensors  best.safetensors  raster.png  curves.png");
        }
        if let Some(Recording { file, frames }) = &self.recording {
            voice.tell(&format!("  {} ({frames} frame{})", file.display(), if *frames == 1 { "" } else { "s" }));
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
                "measured_on": self.config.measured_on(),
                "bad": self.data.bad,
            },
            "epochs": self.config.epochs,
            "epochs_done": progress.epoch,
            "steps": progress.step,
            "best": progress.best,
            "last": self.summary.last,
            "recording": self.recording.as_ref().map(|recording| &recording.file),
            "seconds": seconds,
            "resume": self.interrupted.then(|| self.resume_command()),
        })
    }
}
