//! Loads the data for a command: shared options, a progress bar while recordings are read, and a list of damaged ones.

use super::show::{complain, thousands};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use spikegrad::data::{self, Cache, DataSet, LoadOptions, LoadProgress};
use spikegrad::train::RunConfig;
use std::path::Path;

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

/// Loads a run's data from `folder`, or else from the run's own folder; if there are `speakers`, the test set is limited to them.
pub fn load(config: &RunConfig, folder: Option<&Path>, reading: &Reading, speakers: &[u32]) -> Result<DataSet> {
    // Shown on terminals only; indicatif sees to that.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg} [{wide_bar}] {pos}/{len}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let progress = |progress: LoadProgress| {
        bar.set_length(progress.of as u64);
        bar.set_message(format!("reading {}", progress.path.display()));
        bar.set_position(progress.done as u64);
    };
    let options = LoadOptions {
        folder,
        reading: config.data.clone(),
        validation: config.validation.clone(),
        test_speakers: speakers.to_vec(),
        skip_bad: config.skip_bad || reading.skip_bad,
        cache: if reading.no_cache { Cache::Off } else { Cache::User },
        progress: Some(&progress),
    };
    let loaded = data::load_with(&config.preset, &config.network, &options);
    bar.finish_and_clear();
    let set = loaded?;
    set.warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
    if !set.bad.is_empty() {
        complain(format_args!("warning: skipped {} damaged recordings:", thousands(set.bad.len() as u64)));
        set.bad.iter().take(LISTED).for_each(|bad| complain(format_args!("  {bad}")));
        if set.bad.len() > LISTED {
            complain(format_args!("  and {} more; use --json to list all", thousands((set.bad.len() - LISTED) as u64)));
        }
    }
    Ok(set)
}
