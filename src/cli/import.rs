//! `spikegrad import`.

use super::export::{flags, in_flags};
use super::manual::styled;
use super::show::{say, shell_word, sizes, warn};
use super::{number, usage, whole};
use anyhow::Result;
use clap::ValueEnum;
use spikegrad::Error;
use spikegrad::data::EVENTS;
use spikegrad::network::{Logits, Network, Reset};
use spikegrad::nir::{Import, from_nir};
use spikegrad::presets;
use spikegrad::train::{RunConfig, begin_from, check_run_folder};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = styled("\
Writes a run's folder with config.toml and initial.safetensors, which eval, predict, raster, inspect and export read, and which \
`spikegrad train DIR` trains further. Nodes that cannot be imported exactly are refused by name (docs/nir.md).

A NIR file does not say its time step: snnTorch means 1e-4, Norse 1e-3 unless told otherwise, Spyx and Sinabs 1.

Examples:
  spikegrad import snntorch.nir --dt 1e-4 --preset fmnist --out runs/imported
  spikegrad eval runs/imported
  spikegrad import taps.nir --dt 1e-3 --data taps.npz --out runs/taps"))]
pub struct Arguments {
    /// The file
    #[arg(value_name = "FILE.nir")]
    file: PathBuf,
    /// The run's folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Time step that the file's time constants refer to, in seconds [default: that of the file's metadata]
    #[arg(long, value_parser = number, value_name = "SECONDS", allow_negative_numbers = true)]
    dt: Option<f64>,
    /// Preset whose data, training settings, time steps and length of a time step the run gets: fmnist, nmnist, shd, events, ...
    /// [default: events, data of your own; for a file of spikegrad, the exported run's]
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
    /// File or folder with the data [default: as for train]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Time steps of a sample [default: the preset's, or 100]
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "N")]
    time_steps: Option<usize>,
    /// Length of a time step of the data, in ms, if it differs from --dt [default: the preset's, or that of --dt]
    #[arg(long, value_parser = number, value_name = "MS", allow_negative_numbers = true)]
    dt_ms: Option<f64>,
    /// Logits of a readout of integrators: max, sum, mean or last of its potentials [default: max]
    #[arg(long, value_enum, value_name = "WHICH", hide_possible_values = true)]
    logits: Option<LogitsWord>,
    /// What a spike does in files before nir 1.0.6, which have no v_reset: to_value sets the potential to 0, as all programs read
    /// these files today; subtract subtracts the threshold, as it was defined then [default: to_value]
    #[arg(long, value_enum, value_name = "to_value|subtract", hide_possible_values = true)]
    reset: Option<ResetWord>,
}

/// `--logits`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogitsWord {
    Max,
    Sum,
    Mean,
    Last,
}

/// `--reset`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ResetWord {
    ToValue,
    Subtract,
}

/// Makes a run of the network in a NIR file.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let base = |name: &str| presets::ours(name).map_err(usage);
    let asked = arguments.preset.as_deref().map(base).transpose()?;
    // Zeros stand for what data of one's own determine.
    let preset = asked.as_ref().map(|config| &config.network);
    let options = Import {
        dt: arguments.dt,
        dt_ms: arguments.dt_ms.or(preset.map(|network| network.dt_ms).filter(|&dt| dt > 0.0)),
        time_steps: arguments.time_steps.or(preset.map(|network| network.time_steps).filter(|&steps| steps > 0)),
        missing_reset: arguments.reset.map(|word| match word {
            ResetWord::Subtract => Reset::Subtract,
            ResetWord::ToValue => Reset::ToValue,
        }),
        logits: arguments.logits.map(|word| match word {
            LogitsWord::Max => Logits::Max,
            LogitsWord::Sum => Logits::Sum,
            LogitsWord::Mean => Logits::Mean,
            LogitsWord::Last => Logits::Last,
        }),
    };
    check_run_folder(&arguments.out, false)?;
    let imported = from_nir(&arguments.file, &options).map_err(in_flags)?;
    let base = match (asked, &imported.report.preset) {
        (Some(config), _) => config,
        // The note of a file may name anything.
        (None, Some(name)) => base(name).or_else(|_| base(EVENTS))?,
        (None, None) => base(EVENTS)?,
    };
    let sizes_of = |network: &Network| (network.inputs, network.classes());
    let (usual, ours) = (sizes_of(&base.network), sizes_of(&imported.network));
    let misfit = (usual.0 > 0 && usual != ours && arguments.data.is_none()).then(|| {
        format!(
            "the network has {} inputs and {} classes, but the data of preset {} have {} and {}; name other data with --data",
            ours.0, ours.1, base.preset, usual.0, usual.1
        )
    });
    let mut config = RunConfig { network: imported.network, ..base };
    if let Some(data) = &arguments.data {
        config.data.path = Some(std::path::absolute(data).map_err(Error::io(data))?);
    }
    begin_from(&arguments.out, &config, imported.weights)?;
    imported.report.warnings.iter().for_each(|warning| warn(flags(warning)));
    misfit.iter().for_each(warn);
    let network = &config.network;
    imported.report.nodes.iter().try_for_each(|line| say(format_args!("{line}")))?;
    if !imported.report.own {
        let delay = network.weight_layers();
        say(format_args!(
            "note: a layer takes one time step here and none in NIR: the output comes {delay} steps later, so samples need as many \
             time steps more (--time-steps)"
        ))?;
    }
    let out = shell_word(&arguments.out);
    let missing = if config.preset == EVENTS && config.data.path.is_none() { " --data PATH" } else { "" };
    say(format_args!(
        "{out}: {}, {} time steps of {} ms, data {}; test it with: spikegrad eval {out}{missing}",
        sizes(&network.sizes()),
        network.time_steps,
        network.dt_ms,
        config.preset
    ))?;
    Ok(ExitCode::SUCCESS)
}
