//! `spikegrad conformance`.

use super::device;
use super::gpu::{self, GpuArguments};
use super::manual::styled;
use super::progress::Progress;
use super::show::{self, complain, judged, say, say_json};
use anyhow::Result;
use serde_json::{Value, json};
use spikegrad::device::{Configured, Device};
use spikegrad::engine::Method;
use spikegrad::golden::{self, CaseReport};
use spikegrad::weights::Weights;
use spikegrad::{Error, presets};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = styled("\
Prints a line per case: PASS; FAIL with what differs and by how much; UNSUPPORTED; or ERROR for a file that is not a \
golden case. The exit code is 1 unless every case passes.

Examples:
  spikegrad conformance tests/golden/*.safetensors --device gpu
  # The lockstep kernels without bounds checks
  spikegrad conformance tests/golden/*.safetensors --device gpu \\
      --kernels lockstep --unchecked"))]
pub struct Arguments {
    /// Golden cases: networks with the expected values of all results
    #[arg(required = true, value_name = "FILE.safetensors")]
    files: Vec<PathBuf>,
    /// Run on this device: auto, cpu, gpu or gpu:N
    #[arg(long, default_value = "auto", value_parser = device)]
    device: Device,
    #[command(flatten)]
    gpu: GpuArguments,
    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs every case, even after failures.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let progress = Progress::new(!arguments.json);
    progress.stage("opening the device");
    let device = arguments.device.resolve();
    let mut device = Configured { device, options: arguments.gpu.options(device)? };
    // Opens the device once with any network, so that a device that cannot be opened is one error, not one per case.
    let network = presets::paper(presets::NAMES[0])?.network;
    let engine =
        device.device.open_with(&network, Method::Sparse, &Weights::zeros_of(&network), device.options.clone())?;
    let (info, kernels) = (engine.info(), gpu::fields(engine.as_ref(), &device.options));
    drop(engine);
    let mut cases = Vec::new();
    let mut passed = 0;
    let all = arguments.files.len();
    for (k, file) in arguments.files.iter().enumerate() {
        progress.count("golden cases", k as u64, all as u64, vec![name(file)]);
        let result = golden::run(file, &mut device);
        passed += usize::from(result.as_ref().is_ok_and(CaseReport::passed));
        if !arguments.json {
            progress.aside(|| say(judged(&line(file, &result))))?;
        }
        cases.push(as_json(file, &result));
    }
    progress.clear();
    match arguments.json {
        true => {
            let mut report = json!({ "device": info, "passed": passed, "cases": cases });
            kernels.into_iter().for_each(|(name, value)| report[name] = value);
            say_json(&report)?;
        }
        false => complain(format_args!("{passed} of {all} passed on {}", show::device(&info))),
    }
    Ok(if passed == all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

fn line(file: &Path, result: &spikegrad::Result<CaseReport>) -> String {
    // Most errors name the file, as does the line; name it once.
    let bare = |what: &str| {
        let what = what.strip_prefix(&format!("{}: ", file.display())).unwrap_or(what);
        what.strip_prefix(&format!("case {}: ", name(file))).unwrap_or(what).to_string()
    };
    match result {
        Ok(report) => report.to_string(),
        Err(Error::Unsupported(what)) => format!("UNSUPPORTED {}: {}", name(file), bare(what)),
        Err(error) => format!("ERROR {}: {}", file.display(), bare(&error.to_string())),
    }
}

fn as_json(file: &Path, result: &spikegrad::Result<CaseReport>) -> Value {
    let (status, checks) = match result {
        Ok(report) if report.passed() => ("pass", report.checks.len()),
        Ok(report) => ("fail", report.checks.len()),
        Err(Error::Unsupported(_)) => ("unsupported", 0),
        Err(_) => ("error", 0),
    };
    let failures: Vec<String> =
        result.iter().flat_map(|report| &report.checks).filter(|c| !c.passed()).map(ToString::to_string).collect();
    json!({ "file": file, "name": result.as_ref().map_or(name(file), |report| report.name.clone()), "status": status, "checks": checks, "failures": failures, "line": line(file, result) })
}
