//! The command line: parses arguments, prints results and returns exit codes. The work is done by the library.

mod bench;
mod configure;
mod conformance;
mod devices;
mod eval;
mod export;
mod gpu;
mod import;
mod inspect;
mod live;
mod load;
mod log;
mod manual;
mod needs;
mod predict;
mod progress;
mod ranks;
mod raster;
mod record;
mod reporter;
mod reproduce;
mod runs;
mod selfcheck;
mod show;
mod signals;
mod target;
mod train;
mod watch;

use clap::{Parser, Subcommand};
use manual::styled;
use show::{BAD, causes, complain};
use spikegrad::device::Device;
use spikegrad::plot::Format;
use spikegrad::results::check_writable;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Train spiking neural networks with sparse spiking gradient descent, on the CPU and on any GPU that wgpu supports
#[derive(Parser)]
#[command(name = "spikegrad", version, max_term_width = manual::WIDTH, after_help = styled(AFTER_HELP))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Presets:
  fmnist, fmnist-conv, fmnist-deep   Fashion-MNIST
  nmnist                             N-MNIST
  shd, shd-recurrent                 Spiking Heidelberg Digits (SHD)
  events, events-conv                data of your own

--data DIR names the folder with the published files: four idx.gz files; Train.zip and Test.zip, or the folders in them; \
shd_train.h5 and shd_test.h5, gzipped or not. For events, it names a .npz, .safetensors or HDF5 file, idx images, or folders \
of event camera files. docs/data.md says where to get the data sets, and describes the formats.

Devices:
  auto    a hardware GPU if there is one, else the CPU
  cpu     the CPU
  gpu     the best adapter, including software adapters
  gpu:N   adapter N of `spikegrad devices`

Environment variables:
  WGPU_BACKEND        use only this graphics API: vulkan, metal, dx12 or gl
  SPIKEGRAD_LIMITS    emulate a smaller device: a list of webgpu, downlevel,
                      no-timestamps, binding=BYTES and lanes=N
                      (invocations per workgroup), separated by commas
  WGPU_VALIDATION=1   print messages of the graphics API's validation layers
  WGPU_DEBUG=1        name buffers and kernels in these messages
  NO_COLOR=1          print without colours

Exit codes:
  0   success
  1   failure, failed check or interrupted
  2   invalid arguments

Examples:
  # Train on Fashion-MNIST; writes the run to runs/fmnist
  spikegrad train fmnist
  # Compare it with other runs
  spikegrad runs
  # Print its test accuracy
  spikegrad eval runs/fmnist
  # Draw the spikes of a test sample
  spikegrad raster runs/fmnist --out sample.png
  # Write the network for snnTorch, Norse and others
  spikegrad export runs/fmnist --to fmnist.nir
  # Compare sparse with dense, with times per kernel
  spikegrad bench fmnist --device gpu
  # Recompute the paper's figures, on one page
  spikegrad reproduce all --quick
  # Test and measure a GPU; writes a file to send to the project
  spikegrad selfcheck --out selfcheck.json";

#[derive(Subcommand)]
enum Command {
    /// List the devices, their relevant limits and features, and which one `auto` uses
    Devices(devices::Arguments),
    /// Train a network and write the run to a folder
    Train(train::Arguments),
    /// Show a run on a page in the browser, while it trains or afterwards
    Watch(watch::Arguments),
    /// List the runs below a folder: the settings in which they differ, and their accuracies
    Runs(runs::Arguments),
    /// Measure the accuracy of a run's checkpoint on the test set
    Eval(eval::Arguments),
    /// Classify samples with a run's checkpoint and write the classes and logits to a file
    Predict(predict::Arguments),
    /// Write all spikes, potentials and gradients of a test sample to a safetensors file
    Inspect(inspect::Arguments),
    /// Draw the spikes of test samples in a network as PNG or SVG
    Raster(raster::Arguments),
    /// Write the network of a run as a NIR file, for snnTorch, Norse, Spyx and others
    Export(export::Arguments),
    /// Make a run of the network in a NIR file
    Import(import::Arguments),
    /// Run golden cases (small networks with known results) on a device and compare all results
    Conformance(conformance::Arguments),
    /// Measure the time and memory of training steps and their kernels
    Bench(bench::Arguments),
    /// Recompute a figure or table of the paper: CSV, PNG and settings
    Reproduce(reproduce::Arguments),
    /// Test and measure a GPU in three minutes, and write one file to send to the project
    Selfcheck(selfcheck::Arguments),
    /// Print a completion script for a shell
    Completions(manual::CompletionArguments),
    /// Print the manual page, or write those of all commands
    Man(manual::ManArguments),
}

/// Invalid arguments, whatever the files and devices are.
#[derive(Debug)]
struct Usage(String);

impl std::error::Error for Usage {}

impl Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Turns an error of the library that is caused by the arguments into a usage error; for `map_err`.
fn usage(error: impl Display) -> anyhow::Error {
    Usage(error.to_string()).into()
}

/// Checks that a file has one of these endings and can be written, before any work is done.
fn check_output(path: &Path, endings: &[&str]) -> anyhow::Result<()> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some(ending) if endings.contains(&ending) => Ok(check_writable(path)?),
        _ => {
            let list: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
            Err(Usage(format!("{}: must end in {}", path.display(), list.join(" or "))).into())
        }
    }
}

/// Parses a whole number for clap.
fn whole<T: TryFrom<u64>>(word: &str) -> Result<T, String> {
    let number = word.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| "must be a whole number, 0 or more".into())
}

/// Parses a whole number from `LEAST` to `MOST` for clap.
fn whole_of<const LEAST: u32, const MOST: u32>(word: &str) -> Result<u32, String> {
    let number = word.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("must be a whole number, {LEAST} to {MOST}"))
}

/// Parses a number for clap.
fn number(word: &str) -> Result<f64, String> {
    word.parse().map_err(|_| "must be a number".into())
}

/// Parses a port for clap.
fn port(word: &str) -> Result<u16, String> {
    word.parse().map_err(|_| "must be a port, 0 to 65535".into())
}

/// Parses `--device` for clap.
fn device(word: &str) -> Result<Device, String> {
    word.parse().map_err(|_| "must be auto, cpu, gpu or gpu:N".into())
}

/// Parses the path of a figure for clap: refuses endings other than .png and .svg before any work.
fn figure(word: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(word);
    Format::of(&path).map_err(|_| "figures are written as PNG or SVG; use a name that ends in .png or .svg")?;
    Ok(path)
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => {
            // A closed pipe is no reason to fail, let alone to panic.
            let _ = e.print();
            return ExitCode::from(e.exit_code() as u8);
        }
    };
    // A section of the self-check says what it compiles.
    let verbose = matches!(&arguments.command, Command::Selfcheck(arguments) if arguments.is_section());
    log::begin(verbose);
    let done = match check_environment(&arguments.command) {
        Ok(()) => run(arguments.command),
        Err(error) => Err(error),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("{BAD}error:{BAD:#} {}", causes(&error)));
            match error.is::<Usage>() {
                true => {
                    complain("\nFor more information, try '--help'.");
                    ExitCode::from(2)
                }
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Refuses invalid environment variables, whatever the device is, since a misspelt one would silently choose another.
fn check_environment(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Completions(_) | Command::Man(_) => Ok(()),
        _ => spikegrad::gpu::adapter::check_environment().map_err(usage),
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Runs(arguments) => runs::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Raster(arguments) => raster::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Selfcheck(arguments) => selfcheck::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
    }
}
