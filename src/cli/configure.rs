//! The configuration that a preset or TOML file, `--data` and `--set` mean, completed from its data: what train, raster and
//! bench have in common.

use super::load::{Reading, load, load_surveyed, survey};
use super::progress::Progress;
use super::usage;
use anyhow::Result;
use spikegrad::Error;
use spikegrad::data::{DataSet, Survey};
use spikegrad::presets;
use spikegrad::train::RunConfig;
use std::path::Path;

/// The configuration of a preset or a TOML file, without what its data tell. A misspelt preset is a usage error, with
/// `otherwise` behind it: what else the word could have been.
pub fn named(word: &str, paper: bool, otherwise: &str) -> Result<RunConfig> {
    let named = presets::resolve_open(word, paper);
    if is_file(word) {
        return Ok(named?);
    }
    named.map_err(|e| {
        // A suggestion comes last.
        let text = e.to_string();
        let end = text.find("; did you mean").unwrap_or(text.len());
        usage(format!("{}{otherwise}{}", &text[..end], &text[end..]))
    })
}

/// Whether the word names a TOML file.
pub fn is_file(word: &str) -> bool {
    word.ends_with(".toml")
}

/// Whether the word is the name of a preset.
pub fn is_preset(word: &str) -> bool {
    presets::all().contains(&word)
}

/// Sets the path of the data to that of `--data`.
pub fn set_data(config: &mut RunConfig, data: Option<&Path>) {
    if let Some(data) = data {
        config.data.path = Some(data.into());
    }
}

/// Sets the fields that `--set` names.
pub fn set_fields(config: &mut RunConfig, assignments: &[String]) -> Result<()> {
    config.set_all(assignments).map_err(|e| usage(format!("--set {e}")))
}

/// Makes paths independent of the current folder, and checks what is not left to the data.
pub fn settle(config: &mut RunConfig) -> Result<()> {
    config.check().map_err(usage)?;
    // A run may be resumed or tested from another folder.
    for path in [&mut config.data.path, &mut config.weights].into_iter().flatten() {
        *path = std::path::absolute(&*path).map_err(Error::io(&*path))?;
    }
    Ok(())
}

/// Takes what the configuration leaves open from its data.
pub fn complete(config: &mut RunConfig, reading: &Reading, progress: &Progress) -> Result<Option<Survey>> {
    if !config.is_open() {
        return Ok(None);
    }
    let survey = survey(config, reading, progress)?;
    config.fit(&survey.facts)?;
    Ok(Some(survey))
}

/// Loads the data of a configuration, of which a survey may have read something.
pub fn load_completed(
    config: &RunConfig,
    survey: Option<Survey>,
    reading: &Reading,
    progress: &Progress,
) -> Result<DataSet> {
    match survey {
        Some(survey) => load_surveyed(config, reading, survey, progress),
        None => load(config, None, reading, &[], progress),
    }
}
