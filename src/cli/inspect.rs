//! `spikegrad inspect`.

use super::eval::{StoredArguments, find_sample};
use super::manual::styled;
use super::progress::Progress;
use super::show::say;
use super::{check_output, whole};
use anyhow::{Result, bail};
use spikegrad::engine::first_largest;
use spikegrad::events::EventSet;
use spikegrad::results::save_inspection;
use spikegrad::train::{BEST_FILE, CHECKPOINT_FILE, DATA_FILE, INITIAL_FILE};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = styled("\
The file holds, for each spiking layer l, spikes.l and active.l (time step and neuron of each spike and active entry), v.l \
(membrane potentials, [T, N]), surrogate.l and error.l (surrogate gradient g(V) and gradient ∇S g(V) of each active entry); \
and input, readout_v, logits, gradient.w.l and gradient.b.l. docs/tensors.md describes all of them.

Examples:
  spikegrad inspect runs/fmnist --sample 7 --out seven.safetensors"))]
pub struct Arguments {
    #[command(flatten)]
    stored: StoredArguments,
    /// Number of the test sample, from 0
    #[arg(long, value_parser = whole::<usize>, allow_negative_numbers = true, value_name = "K", default_value_t = 0)]
    sample: usize,
    /// Write the tensors to this file
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
}

/// Runs one sample forward and backward and writes all values.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    check_output(&arguments.out, &["safetensors"])?;
    let own = [CHECKPOINT_FILE, BEST_FILE, INITIAL_FILE, DATA_FILE].map(|name| arguments.stored.run.join(name));
    if own
        .iter()
        .any(|file| file.canonicalize().is_ok_and(|file| arguments.out.canonicalize().is_ok_and(|out| out == file)))
    {
        bail!("{}: is a file of the run; choose another name", arguments.out.display());
    }
    let progress = Progress::new(true);
    let run = arguments.stored.read()?;
    let data = arguments.stored.load(&run, &[], &progress)?;
    let k = find_sample(&data, arguments.sample)?;
    let mut batch = EventSet::new(0, 0);
    batch.gather(&data.test, &[k as u32]);
    let network = &run.config.network;
    let weights = &run.checkpoint.state.weights;
    progress.stage("running the sample");
    let mut engine = arguments.stored.device(&run)?.open(network, run.config.method, weights)?;
    let inspection = engine.inspect(&batch)?;
    progress.clear();
    save_inspection(&arguments.out, network, &batch, &inspection)?;
    let spikes: Vec<String> = inspection.spiking.iter().map(|layer| layer.spikes.len().to_string()).collect();
    let spikes = match spikes.is_empty() {
        true => String::new(),
        false => format!("spikes of each layer {}, ", spikes.join(" / ")),
    };
    say(format_args!(
        "{}: sample {} of {}, label {}, predicted {}, {spikes}{}",
        arguments.out.display(),
        arguments.sample,
        data.test.len(),
        data.class(batch.labels()[0] as usize),
        data.class(first_largest(&inspection.logits)),
        run.describe()
    ))?;
    Ok(ExitCode::SUCCESS)
}
