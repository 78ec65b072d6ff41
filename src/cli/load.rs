//! Loads the data for a command: shared options, progress while recordings are read, and a list of damaged ones.

use super::device;
use super::progress::Progress;
use super::show::{complain, thousands, warn};
use anyhow::Result;
use spikegrad::data::{self, Cache, DataSet, LoadOptions, LoadProgress, Survey, Validation};
use spikegrad::device::Device;
use spikegrad::train::RunConfig;
use std::path::{Path, PathBuf};

/// How many bad recordings are listed by name.
const LISTED: usize = 20;

/// How recordings are read.
#[derive(clap::Args, Default)]
pub struct Reading {
    /// Skip damaged recordings, and count and list them, instead of rejecting the data set
    #[arg(long)]
    pub skip_bad: bool,
    /// Neither read nor write the cached events in the user's cache folder
    #[arg(long)]
    pub no_cache: bool,
}

/// The samples and the device of commands that run a trained network.
#[derive(clap::Args)]
pub struct Source {
    /// Folder or file with the data [default: that of the run]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Run on this device: auto, cpu, gpu or gpu:N [default: that of the run]
    #[arg(long, value_parser = device)]
    pub device: Option<Device>,
    #[command(flatten)]
    pub reading: Reading,
}

/// Calls `read_all` with options for the data of `config`, and shows its progress.
fn with_progress<T>(
    config: &RunConfig,
    folder: Option<&Path>,
    reading: &Reading,
    progress: &Progress,
    read_all: impl FnOnce(LoadOptions) -> spikegrad::Result<T>,
) -> Result<T> {
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let read = |now: LoadProgress| {
        progress.count(format!("reading {}", name(now.path)), now.done as u64, now.of as u64, Vec::new());
    };
    progress.stage("reading the data");
    let outcome = read_all(LoadOptions {
        folder,
        reading: config.data.clone(),
        validation: config.validation.clone(),
        whole: false,
        test_speakers: Vec::new(),
        skip_bad: config.skip_bad || reading.skip_bad,
        cache: if reading.no_cache { Cache::Off } else { Cache::User },
        progress: Some(&read),
    });
    progress.clear();
    Ok(outcome?)
}

/// Finds what the network of a run must have for its data.
pub fn survey(config: &RunConfig, reading: &Reading, progress: &Progress) -> Result<Survey> {
    let dt_ms = Some(config.network.dt_ms).filter(|&dt| dt > 0.0);
    with_progress(config, None, reading, progress, |options| data::survey(&config.preset, &options, dt_ms))
}

/// Loads a run's data from `folder`, or else from the run's own folder; if there are `speakers`, the test set is limited to them.
pub fn load(
    config: &RunConfig,
    folder: Option<&Path>,
    reading: &Reading,
    speakers: &[u32],
    progress: &Progress,
) -> Result<DataSet> {
    // Other data may be a test half alone.
    if let Some(folder) = folder.filter(|folder| speakers.is_empty() && data::has_test_alone(folder)) {
        return load_whole(config, folder, reading, progress);
    }
    warned(with_progress(config, folder, reading, progress, |options| {
        let options = LoadOptions { test_speakers: speakers.to_vec(), ..options };
        data::load_with(&config.preset, &config.network, &options)
    }))
}

/// Loads all samples of data to classify: [`LoadOptions::whole`].
pub fn load_whole(config: &RunConfig, folder: &Path, reading: &Reading, progress: &Progress) -> Result<DataSet> {
    warned(with_progress(config, Some(folder), reading, progress, |options| {
        let options = LoadOptions { whole: true, validation: Validation::default(), ..options };
        data::load_with(&config.preset, &config.network, &options)
    }))
}

/// Loads the data of which a survey may have read something already.
pub fn load_surveyed(config: &RunConfig, reading: &Reading, survey: Survey, progress: &Progress) -> Result<DataSet> {
    warned(with_progress(config, None, reading, progress, |options| {
        data::load_surveyed(&config.preset, &config.network, &options, survey)
    }))
}

/// The data set's name in titles and errors.
pub fn set_name(data: &DataSet) -> String {
    format!("{}{}", data.name, if data.subset { " (built-in subset)" } else { "" })
}

/// Prints what is wrong with the data.
fn warned(loaded: Result<DataSet>) -> Result<DataSet> {
    let set = loaded?;
    set.warnings.iter().for_each(warn);
    if !set.bad.is_empty() {
        warn(format_args!("skipped {} damaged recordings:", thousands(set.bad.len() as u64)));
        set.bad.iter().take(LISTED).for_each(|bad| complain(format_args!("  {bad}")));
        if set.bad.len() > LISTED {
            let more = thousands((set.bad.len() - LISTED) as u64);
            complain(format_args!("  and {more} more; train and eval list all of them with --json"));
        }
    }
    Ok(set)
}
