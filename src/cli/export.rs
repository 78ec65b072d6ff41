//! `spikegrad export`.

use super::eval::{StoredRun, Which};
use super::manual::styled;
use super::show::{say, warn};
use super::{check_output, number};
use anyhow::Result;
use clap::ValueEnum;
use spikegrad::nir::{Export, ExportReadout, to_nir};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = styled("\
NIR resets neurons by setting the potential, so train with --set 'network.hidden[0].reset=to_value'. docs/nir.md lists what \
other programs make of a file.

Examples:
  spikegrad export runs/fmnist --to fmnist.nir
  # For snnTorch and Norse
  spikegrad export runs/fmnist --to f.nir --dt 1e-4 --fold-gain --readout none"))]
pub struct Arguments {
    /// The run's folder, as written by train
    run: PathBuf,
    /// Write the network to this file
    #[arg(long, value_name = "FILE.nir")]
    to: PathBuf,
    /// Time step that the file's time constants refer to, in seconds; snnTorch always takes 1e-4 [default: the network's]
    #[arg(long, value_parser = number, value_name = "SECONDS", allow_negative_numbers = true)]
    dt: Option<f64>,
    /// Multiply weights and biases by the neurons' gain, so that r is 1, which Norse requires. Importing the file gives
    /// weights that may differ in the last bit
    #[arg(long)]
    fold_gain: bool,
    /// How a readout of integrators is written. li: as a LI node, which snnTorch refuses and Norse leaves out; none: the
    /// graph ends in the readout's weights [default: li]
    #[arg(long, value_enum, value_name = "li|none", hide_possible_values = true)]
    readout: Option<ReadoutWord>,
    /// Which checkpoint to export. best: the epoch with the best test (or validation) accuracy; last: the latest
    #[arg(long, value_enum, default_value_t, value_name = "WHICH", hide_possible_values = true)]
    checkpoint: Which,
    /// Write a network that NIR cannot hold exactly, and list what changes
    #[arg(long)]
    force: bool,
}

/// `--readout`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReadoutWord {
    Li,
    None,
}

/// Writes the network of a run as a NIR file.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    check_output(&arguments.to, &["nir"])?;
    let run = StoredRun::read(&arguments.run, arguments.checkpoint)?;
    let options = Export {
        dt: arguments.dt,
        fold_gain: arguments.fold_gain,
        readout: match arguments.readout {
            Some(ReadoutWord::None) => ExportReadout::None,
            Some(ReadoutWord::Li) | None => ExportReadout::Li,
        },
        force: arguments.force,
        preset: Some(run.config.preset.clone()),
    };
    let report =
        to_nir(&run.config.network, &run.checkpoint.state.weights, &arguments.to, &options).map_err(in_flags)?;
    report.changes.iter().for_each(warn);
    say(format_args!(
        "{}: {}, time step {} s, {}",
        arguments.to.display(),
        report.nodes.join(", "),
        report.dt,
        run.describe()
    ))?;
    report.notes.iter().try_for_each(|note| say(format_args!("note: {}", flags(note))))?;
    Ok(ExitCode::SUCCESS)
}

/// The library's options in a text, `option fold_gain`, as flags of the command line.
pub fn flags(text: &str) -> String {
    const FLAGS: [(&str, &str); 6] = [
        ("option dt", "--dt"),
        ("option fold_gain", "--fold-gain"),
        ("option force", "--force"),
        ("option logits", "--logits"),
        ("option missing_reset", "--reset"),
        ("option readout", "--readout"),
    ];
    FLAGS.iter().fold(text.into(), |text: String, (option, flag)| text.replace(option, flag))
}

/// An error with [`flags`]; for `map_err`.
pub fn in_flags(error: spikegrad::Error) -> anyhow::Error {
    anyhow::Error::msg(flags(&error.to_string()))
}
