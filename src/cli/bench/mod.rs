//! `spikegrad bench`.

mod cases;
mod charts;
mod count;
mod report;
mod sweep;

use super::gpu::{self, GpuArguments};
use super::manual::styled;
use super::progress::Progress;
use super::{Usage, device, number, whole};
use anyhow::{Result, bail};
use cases::{Base, BenchCase};
use clap::ValueEnum;
use clap::builder::ArgPredicate;
use report::{BenchReport, MeasuredCase};
use spikegrad::bench::{Ceilings, MeasurementPlan, ceilings, measure, steady, trace};
use spikegrad::device::Device;
use spikegrad::engine::{DeviceInfo, Engine, Method};
use spikegrad::gpu::GpuOptions;
use spikegrad::results::{check_folder, check_writable, save_text};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest `--steady`.
const MOST_STEADY_SECONDS: f64 = 3600.0;

#[derive(clap::Args)]
#[command(after_help = styled("\
Input and weights:
The network and the settings of Adam are those of Table 3 of the paper; for data of your own and a TOML file, those of train. \
The input is the first B training samples for fmnist, and for others with --data; otherwise random spikes. Weights are random, scaled until each hidden layer has a \
density (fraction of its (sample, time step, neuron) entries with a spike) of 1.5 % (--target), and restored before each \
repeat. The methods take turns within a repeat.

Methods:
  sparse      work only for spikes and entries with a non-zero gradient
  dense       the same gradient with matrix products and scans over time
  reference   the paper's dense baseline
  auto        sparse or dense per layer

Rates:
The rates of a kernel are the theoretical minimum of bytes and multiply-adds (every input read once, every output written \
once) divided by its time. They may exceed the rates measured for comparison, which are those of copying arrays larger than \
any cache and of unfused multiply-adds. --count compares what the gpu device's kernels execute with that minimum. A time \
that the platform cannot measure is n/a (null in JSON).

Sweeps:
--sweep measures increasing values of one parameter with random input, and fits the exponent with which the time of a step \
grows. It skips and lists values that would take more than --seconds or more memory than available. The axis empty-steps \
increases T without adding spikes.

Examples:
  spikegrad bench fmnist --hidden 1000 --device gpu
  # Data of your own
  spikegrad bench events --data taps.npz
  # Single steps, then queued steps for 3 s
  spikegrad bench fmnist --device gpu --steady
  spikegrad bench nmnist --device gpu --methods sparse \\
      --kernels cooperative --delta-mib whole --steady 5
  spikegrad bench fmnist --sizes 200,400,1000 \\
      --densities 0.003,0.01,0.03,0.1 --charts charts
  # A trace to open in ui.perfetto.dev
  spikegrad bench shd --batch 64 --trace step.json
  spikegrad bench fmnist --count --device gpu
  spikegrad bench fmnist --sweep neurons --charts charts"))]
pub struct Arguments {
    /// Preset or TOML file: the network and the kind of input
    #[arg(value_name = "PRESET|CONFIG.toml")]
    what: String,
    /// Neurons per hidden layer: one value for all, or one per layer [default: 200; with a TOML file, its layers]
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "N", value_delimiter = ',', help_heading = "Network and input")]
    hidden: Vec<usize>,
    /// Measure several widths in turn, each for all hidden layers
    #[arg(
        long,
        value_parser = whole::<usize>, allow_negative_numbers = true,
        value_name = "N,N",
        value_delimiter = ',',
        conflicts_with = "hidden",
        help_heading = "Network and input"
    )]
    sizes: Vec<usize>,
    /// Number of hidden layers [default: the preset's, or the number of values of --hidden]
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "L", help_heading = "Network and input")]
    depth: Option<usize>,
    /// Connect the neurons of each fully connected hidden layer with each other, by recurrent weights
    #[arg(long, help_heading = "Network and input")]
    recurrent: bool,
    /// Samples per batch [default: 256, or all training samples of --data if there are fewer]
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "B", help_heading = "Network and input")]
    batch: Option<usize>,
    /// Measure this device: auto, cpu, gpu or gpu:N
    #[arg(long, default_value = "auto", value_parser = device, help_heading = "Device")]
    device: Device,
    /// Methods to measure [default: sparse,dense; with --recurrent sparse]
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "METHODS",
        default_value = "sparse,dense",
        default_value_if("recurrent", ArgPredicate::Equals("true".into()), "sparse"),
        hide_default_value = true,
        help_heading = "Measurement"
    )]
    methods: Vec<MethodWord>,
    /// Measured steps per method
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "R", default_value_t = 10, help_heading = "Measurement")]
    repeat: usize,
    /// Also measure queued steps, as in a long training run, for SECONDS (3 without a value) after a warm-up of one second: the
    /// batch is in device memory and the host does not wait between steps
    #[arg(
        help_heading = "Measurement",
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "3",
        value_parser = seconds,
        allow_negative_numbers = true,
        conflicts_with_all = ["count", "sweep"]
    )]
    steady: Option<f64>,
    /// Use random input of this density [default without data: 0.012 for nmnist, 0.016 for shd]
    #[arg(long, value_parser = number, value_name = "D", allow_negative_numbers = true, help_heading = "Network and input")]
    density: Option<f64>,
    /// Density of the hidden layers, which the weights are scaled for [default: 0.015]
    #[arg(long, value_parser = number, value_name = "D", allow_negative_numbers = true, help_heading = "Network and input")]
    target: Option<f64>,
    /// Measure several densities in turn, each for random input and hidden layers alike
    #[arg(
        help_heading = "Network and input",
        long,
        value_parser = number,
        value_name = "D,D",
        value_delimiter = ',',
        allow_negative_numbers = true,
        conflicts_with_all = ["density", "target"]
    )]
    densities: Vec<f64>,
    /// Folder with the data set's files; for events, a file or folder
    #[arg(long, value_name = "PATH", help_heading = "Network and input")]
    data: Option<PathBuf>,
    /// Set a field of the configuration, as train does; can be repeated
    #[arg(long, value_name = "FIELD=VALUE", help_heading = "Network and input")]
    set: Vec<String>,
    /// Seed of random input and weights
    #[arg(long, value_parser = whole::<u64>, allow_negative_numbers = true, value_name = "S", default_value_t = 1, help_heading = "Network and input")]
    seed: u64,
    /// Count loads, stores and arithmetic of the gpu device's kernels in one step, compared with the theoretical minimum
    #[arg(long, conflicts_with_all = ["sweep", "trace", "charts"], help_heading = "Measurement")]
    count: bool,
    /// With --count: use the kernels for software or for hardware adapters, whatever the adapter is
    #[arg(long, value_enum, requires = "count", help_heading = "Measurement")]
    tier: Option<TierWord>,
    /// Measure how the time of a step grows along this axis
    #[arg(long, value_enum, value_name = "AXIS", conflicts_with_all = ["sizes", "densities", "trace"], help_heading = "Sweep")]
    sweep: Option<AxisWord>,
    /// Points of the sweep [default: five or six values, from small to large]
    #[arg(long, value_parser = number, allow_negative_numbers = true, value_name = "X,X", value_delimiter = ',', requires = "sweep", help_heading = "Sweep")]
    points: Vec<f64>,
    /// Time limit per point, s
    #[arg(long, value_parser = whole::<u64>, allow_negative_numbers = true, value_name = "S", default_value_t = 30, requires = "sweep", help_heading = "Sweep")]
    seconds: u64,
    /// Memory limit per point, MiB [default: the available memory]
    #[arg(long, value_parser = whole::<u64>, allow_negative_numbers = true, value_name = "MIB", requires = "sweep", help_heading = "Sweep")]
    memory: Option<u64>,
    /// Write the points to this CSV file
    #[arg(long, value_name = "FILE.csv", requires = "sweep", help_heading = "Sweep")]
    csv: Option<PathBuf>,
    /// Write the kernels of a step as a Chrome trace (JSON), which ui.perfetto.dev can show
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    trace: Option<PathBuf>,
    /// Draw charts into this folder, each as PNG and SVG
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    charts: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Device")]
    gpu: GpuArguments,
    /// Use the default kernels on a GPU, without measuring which are fastest
    #[arg(long, help_heading = "Device")]
    no_tuning: bool,
    /// Print the results as one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Parses `--steady` for clap.
fn seconds(word: &str) -> Result<f64, String> {
    let seconds = word.parse().ok().filter(|&seconds| seconds > 0.0 && seconds <= MOST_STEADY_SECONDS);
    seconds.ok_or(format!(
        "must be a number of seconds, more than 0 and at most {MOST_STEADY_SECONDS}; put the preset before --steady"
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

/// Refuses invalid arguments.
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
    if arguments.sweep.is_some() && arguments.gpu.any() {
        bail!(Usage(
            "--sweep: uses the default kernels; remove --kernels, --delta-mib, --checked and --unchecked".into()
        ));
    }
    let words = &arguments.methods;
    if (1..words.len()).any(|k| words[..k].contains(&words[k])) {
        bail!(Usage("--methods: name each method only once".into()));
    }
    [&arguments.csv, &arguments.trace].into_iter().flatten().try_for_each(|file| check_writable(file))?;
    arguments.charts.iter().try_for_each(|folder| check_folder(folder))?;
    Ok(())
}

/// Measures all methods at all sizes and densities.
fn compare(arguments: &Arguments) -> Result<()> {
    let device = arguments.device.resolve();
    let options = arguments.gpu.options(device)?;
    let progress = Progress::new(!arguments.json);
    let base = Base::read(arguments, &progress)?;
    let options = GpuOptions { tuning: !arguments.no_tuning, batch: Some(base.config.batch), ..options };
    let plans = cases::plans(arguments, &base)?;
    let mut measured = Vec::new();
    let mut info = None;
    for plan in plans {
        progress.aside(|| plan.estimates(arguments, device, options.delta_bytes))?;
        progress.stage("preparing the batch");
        let case = plan.build(arguments, &base)?;
        let (measured_case, first) = measure_case(arguments, device, &options, case, &progress)?;
        info = info.or(first);
        measured.push(measured_case);
    }
    let Some(info) = info else { bail!(Usage("--methods: name at least one".into())) };
    progress.stage("measuring the device's rates");
    let ceilings: Ceilings = ceilings(device)?;
    progress.clear();
    let report = BenchReport { arguments, info, ceilings, measured };
    if let Some(file) = &arguments.trace {
        write_trace(file, &report)?;
    }
    if let Some(folder) = &arguments.charts {
        charts::draw(folder, &report)?;
    }
    report.print()
}

/// Measures a case with all methods; also returns the device's description.
fn measure_case(
    arguments: &Arguments,
    device: Device,
    options: &GpuOptions,
    case: BenchCase,
    progress: &Progress,
) -> Result<(MeasuredCase, Option<DeviceInfo>)> {
    let name = case.name();
    progress.stage(format!("{name}: scaling the weights"));
    let weights = case.weights(arguments.seed)?;
    progress.stage(format!("{name}: opening the device"));
    let open = |word: &MethodWord| device.open_with(&case.config.network, word.method(), &weights, options.clone());
    let mut engines = arguments.methods.iter().map(open).collect::<spikegrad::Result<Vec<_>>>()?;
    // Tuning may have chosen another size of the δ scratch than expected.
    let deltas: Vec<Option<u64>> = engines.iter().map(|engine| engine.delta_bytes()).collect();
    let estimates = case.estimates(arguments, device, &deltas)?;
    let plan =
        MeasurementPlan { batch: &case.batch, weights: &weights, adam: case.config.adam, repeat: arguments.repeat };
    let repeats = arguments.repeat as u64;
    progress.count(format!("{name}: measuring"), 0, repeats, vec!["warming up".into()]);
    let tell = &mut |done| progress.count(format!("{name}: measuring"), done as u64, repeats, Vec::new());
    let measurements = measure(&mut engines, &plan, tell)?;
    let steady = |engine: &mut Box<dyn Engine>| {
        progress.stage(format!("{name}: queued steps"));
        arguments.steady.map(|seconds| steady(engine.as_mut(), &plan, seconds)).transpose()
    };
    let steady = engines.iter_mut().map(steady).collect::<spikegrad::Result<Vec<_>>>()?;
    let kernels = engines.iter().map(|engine| gpu::fields(engine.as_ref(), options)).collect();
    let info = engines.first().map(|engine| engine.info());
    Ok((MeasuredCase { case, measurements, steady, kernels, estimates }, info))
}

fn write_trace(file: &Path, report: &BenchReport) -> Result<()> {
    let mut tracks = Vec::new();
    for measured in &report.measured {
        for (word, measurement) in report.arguments.methods.iter().zip(&measured.measurements) {
            tracks.push(trace::Track { name: format!("{}, {}", word.name(), measured.case.name()), measurement });
        }
    }
    let text = serde_json::to_string(&trace::trace(&report.info, &tracks))?;
    Ok(save_text(file, &text)?)
}
