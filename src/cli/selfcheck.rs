//! `spikegrad selfcheck`.

use super::manual::styled;
use super::show::{complain, judged, say, shell_word};
use super::{device, usage, whole_of};
use anyhow::{Context, Result};
use spikegrad::device::Device;
use spikegrad::selfcheck::{self, MOST_SECONDS, Message, SECTIONS, Section, Settings, Time};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

#[derive(clap::Args)]
#[command(after_help = styled("\
Tests and measures one GPU in at most three minutes; needs no data set and no network connection. Each section runs in a \
process of its own, and the file is rewritten after each: if the driver hangs or crashes, the file says where, and the other \
sections still run.

The file contains names, versions, limits and features of all adapters and their drivers; results of small tests of \
arithmetic and atomics; results of golden cases, hashes of trained weights, and times of training steps and \
kernels; and error messages. It contains no user names, host names or paths.

Prints ten lines at the end, with a verdict per section: PASS, DIFFERS (in something that is up to the GPU, such as \
rounding) or FAIL. The exit code is 1 if a section fails.

Examples:
  spikegrad selfcheck --out selfcheck.json
  # Adapter gpu:1 of `spikegrad devices`
  spikegrad selfcheck --device gpu:1
  # Another graphics API
  WGPU_BACKEND=dx12 spikegrad selfcheck"))]
pub struct Arguments {
    /// Write the report to this file, replacing it
    #[arg(long, value_name = "FILE.json", default_value = "selfcheck.json")]
    out: PathBuf,
    /// Check this adapter: gpu (the best one, including software adapters) or gpu:N
    #[arg(long, default_value = "gpu", value_parser = device)]
    device: Device,
    /// Check with small networks, in half a minute
    #[arg(long)]
    quick: bool,
    /// Multiply all time limits by N, so that nothing is cut short on slow or busy machines
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole_of::<1, 100>, allow_negative_numbers = true)]
    patience: u32,
    /// Run one section and print its findings line by line; the program starts itself this way
    #[arg(long, hide = true, value_name = "NAME")]
    section: Option<Section>,
    /// With --section: milliseconds after which nothing new is started
    #[arg(long, hide = true, value_name = "MS", requires = "section", default_value_t = 10_000)]
    milliseconds: u64,
}

impl Arguments {
    /// Whether this process is one of those that the program starts for its sections.
    pub fn is_section(&self) -> bool {
        self.section.is_some()
    }
}

/// Checks, or runs a section of the check.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Device::Gpu(device) = arguments.device else {
        return Err(usage(format!("--device {}: must be gpu or gpu:N", arguments.device)));
    };
    match arguments.section {
        Some(section) => Ok(run_section(section, device, arguments)),
        None => check(device, arguments),
    }
}

fn run_section(section: Section, device: Option<usize>, arguments: &Arguments) -> ExitCode {
    let mut emit = |message: Message| {
        let line = serde_json::to_string(&message).unwrap_or_default();
        let mut out = std::io::stdout().lock();
        // The program that started this one has ended.
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            std::process::exit(1);
        }
    };
    selfcheck::run_section(section, device, arguments.quick, Duration::from_millis(arguments.milliseconds), &mut emit);
    ExitCode::SUCCESS
}

fn check(device: Option<usize>, arguments: &Arguments) -> Result<ExitCode> {
    let program = std::env::current_exe().context("cannot find the program's own file")?;
    let command = |section: Section, device: Option<usize>, time: Time| {
        let mut command = Command::new(&program);
        let device = Device::Gpu(device).to_string();
        command.args(["selfcheck", "--section", section.name(), "--device", &device]);
        command.args(["--milliseconds", &time.soft.as_millis().to_string()]);
        command.args(arguments.quick.then_some("--quick"));
        // So that a panic says where it came from.
        command.env("RUST_BACKTRACE", "1");
        command
    };
    if !arguments.quick {
        let seconds = MOST_SECONDS * u64::from(arguments.patience);
        complain(format_args!("takes at most {seconds} s; for accurate times, close other programs that use the GPU"));
    }
    let mut number = 0;
    let mut began = |section: Section| {
        number += 1;
        complain(format_args!("{number}/{} {} ...", SECTIONS.len(), section.name()));
    };
    let settings = Settings { device, quick: arguments.quick, patience: arguments.patience };
    let (report, scrubber) = selfcheck::check(&arguments.out, settings, &command, &mut began)?;
    for line in report.lines(&scrubber) {
        say(judged(&line))?;
    }
    say(format_args!(
        "To send it: open an issue with the template \"Self-check of a GPU\" and attach {}",
        shell_word(&arguments.out)
    ))?;
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
