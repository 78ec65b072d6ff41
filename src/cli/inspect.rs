//! `spikegrad inspect`.

use super::eval::{StoredRun, Which, refuse_unlabelled};
use super::load::{Reading, load};
use super::show::say;
use super::{check_ending, device};
use anyhow::{Result, bail};
use spikegrad::device::Device;
use spikegrad::engine::first_largest;
use spikegrad::events::EventSet;
use spikegrad::results::save_inspection;
use spikegrad::train::{BEST_FILE, CHECKPOINT_FILE, DATA_FILE};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = "\
The file holds, for each spiking layer l: spikes.l and active.l (time step and neuron of each spike and active entry), v.l
(membrane potentials, [T, N]), surrogate.l and error.l (surrogate gradient g(V) and gradient ∇S g(V) of each active entry);
and input, readout_v, logits, gradient.w.l and gradient.b.l. docs/tensors.md describes all of them.

Example:
  spikegrad inspect runs/fmnist --sample 7 --out seven.safetensors")]
pub struct Arguments {
    /// The run's folder, as written by train
    run: PathBuf,
    /// Number of the test sample, from 0
    #[arg(long, value_name = "K", default_value_t = 0)]
    sample: usize,
    /// Write the tensors to this file
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Folder or file with the data [default: the one that the run was trained on]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Which checkpoint to load. best: the epoch with the best test (or validation) accuracy; last: the latest
    #[arg(long, value_enum, default_value_t, value_name = "WHICH", hide_possible_values = true)]
    checkpoint: Which,
    /// Run on this device: auto, cpu, gpu or gpu:N [default: the run's]
    #[arg(long, value_parser = device)]
    device: Option<Device>,
    #[command(flatten)]
    reading: Reading,
}

/// Runs one sample forward and backward and writes all values.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    check_ending(&arguments.out, &["safetensors"])?;
    let own = [CHECKPOINT_FILE, BEST_FILE, DATA_FILE].map(|name| arguments.run.join(name));
    if own
        .iter()
        .any(|file| file.canonicalize().is_ok_and(|file| arguments.out.canonicalize().is_ok_and(|out| out == file)))
    {
        bail!("{}: is a file of the run; choose another name", arguments.out.display());
    }
    let run = StoredRun::read(&arguments.run, arguments.checkpoint)?;
    let data = load(&run.config, arguments.data.as_deref(), &arguments.reading, &[])?;
    let k = arguments.sample;
    if k >= data.test.len() {
        bail!("--sample {k}: the test set has samples 0 to {} ({})", data.test.len() - 1, data.origin);
    }
    refuse_unlabelled(&data, k)?;
    let mut batch = EventSet::new(0, 0);
    batch.gather(&data.test, &[k as u32]);
    let network = &run.config.network;
    let weights = &run.checkpoint.state.weights;
    let mut engine = run.device(arguments.device)?.open(network, run.config.method, weights)?;
    let inspection = engine.inspect(&batch)?;
    save_inspection(&arguments.out, network, &batch, &inspection)?;
    let spikes: Vec<String> = inspection.spiking.iter().map(|layer| layer.spikes.len().to_string()).collect();
    say(format_args!(
        "{}: sample {k} of {}, label {}, predicted {}, spikes of each layer {}, {}",
        arguments.out.display(),
        data.test.len(),
        data.class(batch.labels()[0] as usize),
        data.class(first_largest(&inspection.logits)),
        spikes.join(" / "),
        run.describe()
    ))?;
    Ok(ExitCode::SUCCESS)
}
