//! `spikegrad watch`.

use super::eval::{StoredRun, Which};
use super::load::{Source, load};
use super::manual::styled;
use super::progress::Progress;
use super::show::{complain, say};
use super::signals::stop_on_signal;
use super::{live, port};
use anyhow::{Result, bail};
use spikegrad::engine::Engine;
use spikegrad::live::{Exhibit, Level, Live, State};
use spikegrad::train::{BEST_FILE, EpochRecord, METRICS_FILE, RunConfig, metrics};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// How often the run's files are looked at.
const LOOK: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
#[command(after_help = styled("\
The page shows the curves of metrics.jsonl and samples in the network of the best checkpoint, and follows both while the run is \
being trained. Ctrl-C ends it. docs/demo.md describes the page.

Examples:
  spikegrad watch runs/fmnist
  spikegrad watch runs/fmnist --port 8000"))]
pub struct Arguments {
    /// The run's folder, as written by train
    run: PathBuf,
    /// Port of the page on 127.0.0.1; 0: any free one [default: the first free one from 7784 on]
    #[arg(long, value_parser = port, value_name = "PORT")]
    port: Option<u16>,
    #[command(flatten)]
    source: Source,
}

/// Serves the page until Ctrl-C.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folder = &arguments.run;
    let progress = Progress::new(true);
    let run = StoredRun::read(folder, Which::Best)?;
    let data = load(&run.config, arguments.source.data.as_deref(), &arguments.source.reading, &[], &progress)?;
    progress.stage("opening the device");
    let device = run.device(arguments.source.device)?;
    let mut engine = device.open(&run.config.network, run.config.method, &run.checkpoint.state.weights)?;
    progress.clear();
    let stop = stop_on_signal(Some("closing the page"))?;
    let (live, _server) = live::start(arguments.port, |line| drop(say(line)))?;
    let mut exhibit = Exhibit::of_folder(&live, &run.config, &data, engine.info(), Vec::new());
    follow(folder, &run.config, &live, &mut exhibit, engine.as_mut(), &stop)?;
    live.state(State::Ended, "The program that showed this run has ended.");
    Ok(ExitCode::SUCCESS)
}

fn follow(
    folder: &Path,
    config: &RunConfig,
    live: &Live,
    exhibit: &mut Exhibit,
    engine: &mut dyn Engine,
    stop: &AtomicBool,
) -> Result<()> {
    let (metrics_file, best_file) = (folder.join(METRICS_FILE), folder.join(BEST_FILE));
    let (mut metrics_seen, mut best_seen) = (None, stamp(&best_file));
    if stamp(&metrics_file).is_none() {
        tell_state(live, config, folder, &[]);
    }
    exhibit.test(engine)?;
    while !stop.load(Ordering::Relaxed) {
        let now = stamp(&metrics_file);
        if now != metrics_seen {
            metrics_seen = now;
            match metrics::read(&metrics_file) {
                Ok(records) => {
                    tell_state(live, config, folder, &records);
                    exhibit.set_epochs(records);
                }
                Err(error) => {
                    complain(&error);
                    live.state(State::Running, format!("The curves cannot be read: {error}"));
                }
            }
        }
        let now = stamp(&best_file);
        if now != best_seen {
            best_seen = now;
            if let Err(error) = reload(folder, config, engine).and_then(|()| Ok(exhibit.test(engine)?)) {
                let error = error.to_string();
                complain(&error);
                live.note(Level::Warning, error);
            }
        }
        exhibit.attend(engine, LOOK, stop);
    }
    Ok(())
}

/// Loads the best checkpoint that the run has now.
fn reload(folder: &Path, config: &RunConfig, engine: &mut dyn Engine) -> Result<()> {
    let run = StoredRun::read(folder, Which::Best)?;
    if run.config.network != config.network {
        bail!("{}: another run was begun here; start watch again", folder.display());
    }
    Ok(engine.load(&run.checkpoint.state)?)
}

fn tell_state(live: &Live, config: &RunConfig, folder: &Path, records: &[EpochRecord]) {
    let done = records.last().map_or(0, |record| record.epoch);
    let state = if done < config.epochs { State::Running } else { State::Ended };
    live.state(state, format!("{}: {done} of {} epochs, samples by the best one.", folder.display(), config.epochs));
}

/// Changes when a file is written; `None` if there is none.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}
