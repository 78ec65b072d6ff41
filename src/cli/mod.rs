//! The command line: words in, exit codes out; everything else is the library's.

mod bench;
mod conformance;
mod devices;
mod eval;
mod gpu;
mod load;
mod log;
mod progress;
mod raster;
mod reproduce;
mod selfcheck;
mod show;
mod signals;
mod train;

use clap::{Parser, Subcommand};
use show::{causes, complain};
use spikegrad::device::Device;
use std::fmt::Display;
use std::process::ExitCode;

/// Trains spiking neural networks with sparse spiking gradient descent, on any GPU that wgpu reaches and on the CPU.
#[derive(Parser)]
#[command(name = "spikegrad", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Presets: fmnist, fmnist-conv, fmnist-deep, nmnist, shd: the paper's three data sets, and its convolutional and deep networks.
--data DIR names the folder of their files as published: four idx.gz; Train.zip and Test.zip or the folders; shd_train.h5
and shd_test.h5, gzipped or not.

Devices: auto takes a hardware GPU if there is one, else the CPU; gpu takes the best adapter, software ones
included; gpu:N the one with that number in `spikegrad devices`. WGPU_BACKEND=vulkan|metal|dx12|gl restricts them, and
SPIKEGRAD_LIMITS takes from them what smaller devices lack: webgpu or downlevel, no-timestamps, no-subgroups, lanes=N,
binding=BYTES, with commas between.

With WGPU_VALIDATION=1 and WGPU_DEBUG=1, what the graphics API's validation layers find is printed on standard error (on Vulkan, Debian's
vulkan-validationlayers).

Exit codes: 0 done; 1 the work failed, was interrupted, or a check did not hold; 2 the words were off.

Examples:
  spikegrad train fmnist                          trains on Fashion-MNIST, writes runs/fmnist
  spikegrad eval runs/fmnist                      its test accuracy
  spikegrad raster runs/fmnist --out sample.png   a test sample's spikes through the network
  spikegrad bench fmnist --device gpu             sparse against dense, pass by pass
  spikegrad reproduce all --quick                 the paper's figures, on one page
  spikegrad selfcheck --out selfcheck.json        what this GPU does, as a file to send";

#[derive(Subcommand)]
enum Command {
    /// List the devices: adapters, limits and features that matter, and which one `auto` takes
    Devices(devices::Arguments),
    /// Train a network and write the run to a folder
    Train(train::Arguments),
    /// Test a run's checkpoint on all samples of the test set
    Eval(eval::Arguments),
    /// Draw the spikes of a test sample through a network as a PNG
    Raster(raster::Arguments),
    /// Play golden cases on a device and compare every value with theirs
    Conformance(conformance::Arguments),
    /// Measure training steps: each pass, whole steps, memory, densities
    Bench(bench::Arguments),
    /// Compute a figure or table of the paper anew: CSV, PNG and settings
    Reproduce(reproduce::Arguments),
    /// Find out in three minutes what a GPU does, and write one file to send to the project
    Selfcheck(selfcheck::Arguments),
}

/// Words that cannot work, whatever the files and devices are.
#[derive(Debug)]
struct Usage(String);

impl std::error::Error for Usage {}

impl Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error of the library that the words alone have caused; for `map_err`.
fn usage(error: impl Display) -> anyhow::Error {
    Usage(error.to_string()).into()
}

/// clap's parser of `--device`.
fn device(word: &str) -> Result<Device, String> {
    word.parse().map_err(|_| "must be auto, cpu, gpu or gpu:N".into())
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
    let done = match arguments.command {
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Raster(arguments) => raster::run(&arguments),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Selfcheck(arguments) => selfcheck::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("error: {}", causes(&error)));
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
