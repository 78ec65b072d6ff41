//! `spikegrad bench`.

mod cases;
mod charts;
mod count;
mod report;
mod sweep;

use super::gpu::{self, GpuArguments};
use super::{Usage, device};
use anyhow::{Context, Result, bail};
use cases::Case;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use report::{Measured, Report};
use spikegrad::bench::{Ceilings, Plan, ceilings, measure, steady, trace};
use spikegrad::device::Device;
use spikegrad::engine::{DeviceInfo, Engine, Method};
use spikegrad::gpu::GpuOptions;
use spikegrad::presets;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest `--steady`.
const MOST_STEADY_SECONDS: f64 = 3600.0;

#[derive(clap::Args)]
#[command(after_help = "\
The network and Adam are Table 3's. Input: the first B training samples for fmnist, and with --data for nmnist and
shd; else random spikes. Weights are random, scaled until each hidden layer spikes in 1.5 % of its slots (--target), and put back
before each repeat; the methods take turns within a repeat. With --densities, input and hidden layers alike spike
at each density in turn; with --sizes, every hidden layer has each width in turn.

sparse computes what the spikes ask for; dense is the same gradient by matrix products and linear-time scans
over [B, T, N] arrays; reference is the dense baseline that the paper measured against; auto chooses for each
layer. A time that the platform cannot measure is n/a (null in JSON).

The rates of a kernel are what its mathematics needs at least (every input read once, every output written
once) by its time, beside what the device was measured to do at most. --count shows what the gpu device's
kernels really execute beside that least.

--sweep measures ever larger points of one axis and fits the power by which the step's time grows. Its base is
random input of the preset's size; a point that would take more than --seconds or more memory than there is,
is skipped and named. empty-steps lengthens T without adding spikes.

Examples:
  spikegrad bench fmnist --hidden 1000 --device gpu
  spikegrad bench fmnist --device gpu --steady          single steps, then 3 s of queued ones
  spikegrad bench nmnist --device gpu --methods sparse --kernels cooperative --delta-mib whole --steady 5
  spikegrad bench fmnist --sizes 200,400,1000 --densities 0.003,0.01,0.03,0.1 --charts charts
  spikegrad bench shd --batch 64 --trace step.json      open it in ui.perfetto.dev
  spikegrad bench fmnist --count --device gpu
  spikegrad bench fmnist --sweep neurons --charts charts")]
pub struct Arguments {
    /// The network and what it reads
    #[arg(value_parser = presets::NAMES)]
    preset: String,
    /// Neurons of every hidden layer, or of each: N or N,N
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "200")]
    hidden: Vec<usize>,
    /// Several widths, one after the other: all hidden layers are that wide
    #[arg(long, value_name = "N,N", value_delimiter = ',', conflicts_with = "hidden")]
    sizes: Vec<usize>,
    /// Hidden layers [default: the preset's, or as many as --hidden names]
    #[arg(long, value_name = "L")]
    depth: Option<usize>,
    /// Samples in the batch
    #[arg(long, value_name = "B", default_value_t = 256)]
    batch: usize,
    /// auto, cpu, gpu or gpu:N
    #[arg(long, default_value = "auto", value_parser = device)]
    device: Device,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', value_name = "METHODS", default_value = "sparse,dense")]
    methods: Vec<MethodWord>,
    /// Measured steps of each method
    #[arg(long, value_name = "R", default_value_t = 10)]
    repeat: usize,
    /// Then measure steps as a long training queues them, for SECONDS after a warm-up of one second: the batch lies in device
    /// memory and the host does not wait between steps. Shown beside the time of single steps [default without a value: 3]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "3",
        value_parser = seconds,
        allow_negative_numbers = true,
        conflicts_with_all = ["count", "sweep"]
    )]
    steady: Option<f64>,
    /// Random input of this spike density instead [default: 0.012 for nmnist, 0.016 for shd]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    density: Option<f64>,
    /// Spike density that the hidden layers' weights are scaled for [default: 0.015]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    target: Option<f64>,
    /// Several densities, one after the other, of random input and hidden layers alike
    #[arg(
        long,
        value_name = "D,D",
        value_delimiter = ',',
        allow_negative_numbers = true,
        conflicts_with_all = ["density", "target"]
    )]
    densities: Vec<f64>,
    /// Folder of the data's files
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Decides random input and weights
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Count what the gpu device's kernels execute in one step, beside the least that they need
    #[arg(long, conflicts_with_all = ["sweep", "trace", "charts"])]
    count: bool,
    /// With --count: the kernels for software adapters or those for hardware, whatever the adapter is
    #[arg(long, value_enum, requires = "count")]
    tier: Option<TierWord>,
    /// Measure how a step's time grows along this axis
    #[arg(long, value_enum, value_name = "AXIS", conflicts_with_all = ["sizes", "densities", "trace"])]
    sweep: Option<AxisWord>,
    /// Points of the sweep [default: six from small to as large as the project promises]
    #[arg(long, value_name = "X,X", value_delimiter = ',', requires = "sweep")]
    points: Vec<f64>,
    /// With --sweep: most seconds for a point
    #[arg(long, value_name = "S", default_value_t = 30, requires = "sweep")]
    seconds: u64,
    /// With --sweep: most memory for a point, MiB [default: what the machine has to spare]
    #[arg(long, value_name = "MIB", requires = "sweep")]
    memory: Option<u64>,
    /// With --sweep: write the points to this file
    #[arg(long, value_name = "FILE.csv", requires = "sweep")]
    csv: Option<PathBuf>,
    /// Write the kernels of a step as a Chrome trace (JSON), for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Draw charts (PNG) into this folder
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
    #[command(flatten)]
    gpu: GpuArguments,
    /// Do not measure which kernels and which memory for deltas are fastest on a GPU; take the usual ones
    #[arg(long)]
    no_tuning: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// clap's parser of `--steady`.
fn seconds(word: &str) -> Result<f64, String> {
    let seconds = word.parse().ok().filter(|&seconds| seconds > 0.0 && seconds <= MOST_STEADY_SECONDS);
    seconds.ok_or(format!(
        "must be a number of seconds, more than 0 and at most {MOST_STEADY_SECONDS}; a preset stands before --steady"
    ))
}

/// `--methods`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodWord {
    Sparse,
    Dense,
    Reference,
    Auto,
}

impl MethodWord {
    fn method(self) -> Method {
        match self {
            MethodWord::Sparse => Method::Sparse,
            MethodWord::Dense => Method::Dense,
            MethodWord::Reference => Method::Reference,
            MethodWord::Auto => Method::Auto,
        }
    }

    fn name(self) -> &'static str {
        match self {
            MethodWord::Sparse => "sparse",
            MethodWord::Dense => "dense",
            MethodWord::Reference => "reference",
            MethodWord::Auto => "auto",
        }
    }
}

/// `--tier`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum TierWord {
    Software,
    Hardware,
}

/// `--sweep`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AxisWord {
    Density,
    Neurons,
    Steps,
    EmptySteps,
    Batch,
    Depth,
}

/// Measures.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    check(arguments)?;
    match arguments.sweep {
        _ if arguments.count => count::run(arguments)?,
        Some(axis) => sweep::run(arguments, axis)?,
        None => compare(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Words that cannot work.
fn check(arguments: &Arguments) -> Result<()> {
    if arguments.repeat == 0 {
        bail!(Usage("--repeat 0: must be 1 or more".into()));
    }
    if arguments.depth == Some(0) {
        bail!(Usage("--depth 0: must be 1 or more".into()));
    }
    let densities = [("--density", arguments.density), ("--target", arguments.target)];
    let named = densities.into_iter().filter_map(|(word, d)| Some((word, d?)));
    for (word, density) in named.chain(arguments.densities.iter().map(|&d| ("--densities", d))) {
        if !(0.0..=1.0).contains(&density) {
            bail!(Usage(format!("{word} {density}: must be 0 to 1")));
        }
    }
    if arguments.data.is_some() && (!cases::samples(arguments) || arguments.sweep.is_some()) {
        bail!(Usage("--data: this bench takes random spikes, no data; leave --data out".into()));
    }
    if arguments.sweep.is_some() && arguments.gpu.any() {
        bail!(Usage("--sweep: measures each point as the device would run it by default; leave out --kernels, --delta-mib, --checked and --unchecked".into()));
    }
    let words = &arguments.methods;
    if (1..words.len()).any(|k| words[..k].contains(&words[k])) {
        bail!(Usage("--methods: each method once".into()));
    }
    Ok(())
}

/// Every method at every size and density.
fn compare(arguments: &Arguments) -> Result<()> {
    let device = arguments.device.resolve();
    let options = arguments.gpu.options(device)?;
    let options = GpuOptions { tuning: !arguments.no_tuning, batch: Some(arguments.batch), ..options };
    let plans = cases::plans(arguments)?;
    let bar = ProgressBar::new((plans.len() * arguments.repeat) as u64);
    if let Ok(style) = ProgressStyle::with_template("measuring [{bar:24}] {pos}/{len} repeats") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut measured = Vec::new();
    let mut info = None;
    for plan in plans {
        plan.estimates(arguments, device, options.delta_bytes)?;
        let case = plan.build(arguments)?;
        let (measured_case, first) = measure_case(arguments, device, &options, case, &bar)?;
        info = info.or(first);
        measured.push(measured_case);
    }
    let Some(info) = info else { bail!(Usage("--methods: name at least one".into())) };
    let ceilings: Ceilings = ceilings(device)?;
    bar.finish_and_clear();
    let report = Report { arguments, info, ceilings, measured };
    if let Some(file) = &arguments.trace {
        write_trace(file, &report)?;
    }
    if let Some(folder) = &arguments.charts {
        charts::draw(folder, &report)?;
    }
    report.print()
}

/// A case with every method, and what the device is.
fn measure_case(
    arguments: &Arguments,
    device: Device,
    options: &GpuOptions,
    case: Case,
    bar: &ProgressBar,
) -> Result<(Measured, Option<DeviceInfo>)> {
    let weights = case.weights(arguments.seed)?;
    let open = |word: &MethodWord| device.open_with(&case.config.network, word.method(), options.clone());
    let mut engines = arguments.methods.iter().map(open).collect::<spikegrad::Result<Vec<_>>>()?;
    // The tuning may have chosen another size of δ than was expected.
    let deltas: Vec<Option<u64>> = engines.iter().map(|engine| engine.delta_bytes()).collect();
    let estimates = case.estimates(arguments, device, &deltas)?;
    let plan = Plan { batch: &case.batch, weights: &weights, adam: case.config.adam, repeat: arguments.repeat };
    let before = bar.position();
    let measurements = measure(&mut engines, &plan, &mut |done| bar.set_position(before + done as u64))?;
    let steady = |engine: &mut Box<dyn Engine>| {
        arguments.steady.map(|seconds| steady(engine.as_mut(), &plan, seconds)).transpose()
    };
    let steady = engines.iter_mut().map(steady).collect::<spikegrad::Result<Vec<_>>>()?;
    let kernels = engines.iter().map(|engine| gpu::fields(engine.as_ref(), options)).collect();
    let info = engines.first().map(|engine| engine.info());
    Ok((Measured { case, measurements, steady, kernels, estimates }, info))
}

fn write_trace(file: &Path, report: &Report) -> Result<()> {
    let mut tracks = Vec::new();
    for measured in &report.measured {
        for (word, measurement) in report.arguments.methods.iter().zip(&measured.measurements) {
            tracks.push(trace::Track { name: format!("{}, {}", word.name(), measured.case.name()), measurement });
        }
    }
    let text = serde_json::to_string(&trace::trace(&report.info, &tracks))?;
    std::fs::write(file, text).with_context(|| file.display().to_string())
}
