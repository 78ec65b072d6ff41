//! `spikegrad runs`.

use super::manual::styled;
use super::show::{clock, percent, say, say_json, table, warn};
use super::target::RUNS;
use anyhow::{Context, Result};
use csv::{Terminator, WriterBuilder};
use serde_json::json;
use spikegrad::train::{Runs, StoredEpochs};
use std::path::PathBuf;
use std::process::ExitCode;
use toml::Value;

#[derive(clap::Args)]
#[command(after_help = styled("\
A line for each run, the one with the best accuracy first: finished epochs, the best accuracy on the test set (or on the \
validation samples) and its epoch, the accuracy after the last epoch, the time of training, and the settings in which the \
runs differ, by their names in config.toml. Folders whose files are damaged are listed on standard error.

Examples:
  spikegrad runs
  spikegrad runs runs/sweep --csv > sweep.csv"))]
pub struct Arguments {
    /// Folder below which to look for runs; symbolic links are not followed
    #[arg(value_name = "DIR", default_value = RUNS)]
    folder: PathBuf,
    /// Print the table as CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print the table as one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists the runs.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let found = Runs::find(&arguments.folder)?;
    let settings = found.settings()?;
    for (folder, error) in &found.unreadable {
        match error.to_string() {
            error if error.contains(&*folder.to_string_lossy()) => warn(format_args!("skipped {error}")),
            error => warn(format_args!("skipped {}: {error}", folder.display())),
        }
    }
    match (arguments.csv, arguments.json) {
        (true, _) => say(csv(&found.runs, &settings)?.trim_end_matches('\n'))?,
        (_, true) => say_json(&json(&found, &settings))?,
        _ if found.runs.is_empty() => {}
        _ => table(&rows(&found.runs, &settings), 1).iter().try_for_each(say)?,
    }
    Ok(if found.runs.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A setting, and its value in each run.
type Setting = (String, Vec<Option<Value>>);

/// The table for people, with its head.
fn rows(runs: &[StoredEpochs], settings: &[Setting]) -> Vec<Vec<String>> {
    let on = runs[0].config.measured_on();
    let on = if runs.iter().all(|run| run.config.measured_on() == on) { on } else { "accuracy" };
    let mut head = ["run", "epochs", &format!("best {on}"), "in epoch", "last", "time"].map(String::from).to_vec();
    head.extend(settings.iter().map(|(field, _)| field.clone()));
    let row = |(k, run): (usize, &StoredEpochs)| {
        let dash = || "-".to_string();
        let best = run.best();
        let mut cells = vec![
            run.folder.to_string_lossy().chars().flat_map(shown).collect(),
            format!("{} of {}", run.epochs(), run.config.epochs),
            best.map_or_else(dash, |best| percent(best.test_accuracy)),
            best.map_or_else(dash, |best| best.epoch.to_string()),
            run.records.last().map_or_else(dash, |last| percent(last.test_accuracy)),
            clock(run.train_seconds()),
        ];
        let setting = |value: &Value| bare(value).chars().flat_map(shown).collect();
        cells.extend(settings.iter().map(|(_, values)| values[k].as_ref().map_or_else(dash, setting)));
        cells
    };
    std::iter::once(head).chain(runs.iter().enumerate().map(row)).collect()
}

/// The table as CSV by RFC 4180. Numbers and names are not rounded or abbreviated; what is not known is empty.
fn csv(runs: &[StoredEpochs], settings: &[Setting]) -> Result<String> {
    let mut csv = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let head = [
        "run",
        "epochs_done",
        "epochs",
        "measured_on",
        "best_accuracy",
        "best_epoch",
        "last_accuracy",
        "train_seconds",
    ];
    csv.write_record(head.into_iter().chain(settings.iter().map(|(field, _)| field.as_str())))?;
    for (k, run) in runs.iter().enumerate() {
        let (best, last) = (run.best(), run.records.last());
        let cells = [
            run.folder.display().to_string(),
            run.epochs().to_string(),
            run.config.epochs.to_string(),
            run.config.measured_on().to_string(),
            best.map_or_else(String::new, |best| best.test_accuracy.to_string()),
            best.map_or_else(String::new, |best| best.epoch.to_string()),
            last.map_or_else(String::new, |last| last.test_accuracy.to_string()),
            run.train_seconds().to_string(),
        ];
        let set = settings.iter().map(|(_, values)| values[k].as_ref().map_or_else(String::new, bare));
        csv.write_record(cells.into_iter().chain(set))?;
    }
    String::from_utf8(csv.into_inner()?).context("the table as CSV")
}

fn json(found: &Runs, settings: &[Setting]) -> serde_json::Value {
    let run = |(k, run): (usize, &StoredEpochs)| {
        let best = run.best();
        let set = settings.iter().map(|(field, values)| (field.clone(), json!(values[k].as_ref().map(exact))));
        json!({
            "run": run.folder.to_string_lossy(),
            "epochs_done": run.epochs(),
            "epochs": run.config.epochs,
            "measured_on": run.config.measured_on(),
            "best_accuracy": best.map(|best| best.test_accuracy),
            "best_epoch": best.map(|best| best.epoch),
            "last_accuracy": run.records.last().map(|last| last.test_accuracy),
            "train_seconds": run.train_seconds(),
            "settings": set.collect::<serde_json::Map<_, _>>(),
        })
    };
    let unreadable =
        found.unreadable.iter().map(|(folder, e)| json!({ "run": folder.to_string_lossy(), "error": e.to_string() }));
    json!({
        "runs": found.runs.iter().enumerate().map(run).collect::<Vec<_>>(),
        "unreadable": unreadable.collect::<Vec<_>>(),
    })
}

/// A character of a name or a setting in a table, whose rows are lines.
fn shown(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// A value in JSON, which has no infinite numbers.
fn exact(value: &Value) -> serde_json::Value {
    match value {
        Value::Float(number) if !number.is_finite() => json!(number.to_string()),
        value => json!(value),
    }
}

/// A value as `--set` takes it: a name without quotes.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
