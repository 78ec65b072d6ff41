//! Figures 9, 10 and 22, and test accuracy: results of training runs.

use super::figure::{Content, Figure, Panel, Row};
use super::job::{Data, FigureJob};
use super::paper::{self, SETS};
use crate::engine::{Method, TrainingState};
use crate::error::{Error, Result};
use crate::plot::ChartAxis;
use crate::presets;
use crate::train::RunConfig;
use crate::train::{
    CHECKPOINT_FILE, CONFIG_FILE, Checkpoint, EpochRecord, METRICS_FILE, Observer, Outcome, Training, Warning, metrics,
};
use crate::weights::Weights;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Trains, or returns the stored result of an earlier call. An interrupted run is continued. `finish` computes further
/// results from the trained network; `what` identifies them in the key of the point.
///
/// # Errors
/// As [`train`], and errors of `finish`.
pub fn trained(
    job: &mut FigureJob,
    data: &Data,
    config: &RunConfig,
    what: &str,
    finish: impl FnOnce(&mut FigureJob, &TrainingState) -> Result<Value>,
) -> Result<(Vec<EpochRecord>, Value)> {
    let info = job.info(&config.network)?;
    let key = json!([data.key(), config.to_toml()?]);
    let value = job.point(what, &info, key.clone(), |job| {
        let (folder, state) = run(job, data, config, &key)?;
        let records = metrics::read(&folder.join(METRICS_FILE))?;
        Ok(json!({ "epochs": records, "more": finish(job, &state)? }))
    })?;
    remove_run(&run_folder(job, config, &key))?;
    let records = serde_json::from_value(value["epochs"].clone())
        .map_err(|e| Error::Data(format!("a stored run is damaged ({e}); remove points.jsonl")))?;
    Ok((records, value["more"].clone()))
}

/// The folder of an unfinished run.
pub fn run_folder(job: &FigureJob, config: &RunConfig, key: &Value) -> PathBuf {
    let mark = xxhash_rust::xxh3::xxh3_64(key.to_string().as_bytes());
    job.options.out.join("unfinished").join(format!("{}-{mark:016x}", config.preset))
}

/// Removes the folder of a run whose result is stored, if it is still there, and that of all unfinished runs if it was the last.
pub fn remove_run(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    std::fs::remove_dir_all(folder).map_err(Error::io(folder))?;
    // Fails if there are others, which are to be kept.
    folder.parent().map(std::fs::remove_dir);
    Ok(())
}

/// Runs to the end, continuing an interrupted run; returns the run's folder and the trained state.
pub fn run(job: &mut FigureJob, data: &Data, config: &RunConfig, key: &Value) -> Result<(PathBuf, TrainingState)> {
    let folder = run_folder(job, config, key);
    let weights = Weights::init(&config.network, config.seed);
    let mut engine = job.options.device.open(&config.network, config.method, &weights)?;
    let resume = folder.join(CONFIG_FILE).exists();
    if !resume {
        // What is left of one that was about to be removed.
        remove_run(&folder)?;
    }
    let mut teller = Teller { name: run_name(config), epochs: config.epochs, tell: &mut *job.tell };
    let training = Training::new(config, &data.set).folder(&folder).resume(resume).stop(job.stop).observer(&mut teller);
    let outcome = training.run_on(engine.as_mut())?;
    if let Outcome::Interrupted(_) = outcome {
        return Err(Error::Interrupted);
    }
    let state = Checkpoint::load(&folder.join(CHECKPOINT_FILE), &config.network)?.state;
    Ok((folder, state))
}

fn run_name(config: &RunConfig) -> String {
    let sizes: Vec<String> = config.network.sizes().iter().map(usize::to_string).collect();
    let b_th = config.network.hidden.first().map_or(0.0, |layer| layer.b_th);
    format!("{} {} {:?}, B_th {b_th}, seed {}", config.preset, sizes.join("-"), config.method, config.seed)
}

/// Reports each epoch.
struct Teller<'a> {
    name: String,
    epochs: u64,
    tell: &'a mut dyn FnMut(&str),
}

impl Observer for Teller<'_> {
    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        let accuracy = 100.0 * record.test_accuracy;
        let (name, epoch, of) = (&self.name, record.epoch, self.epochs);
        (self.tell)(&format!("  {name}: epoch {epoch}/{of}, loss {:.4}, test {accuracy:.1} %", record.loss));
        ControlFlow::Continue(())
    }

    fn on_warning(&mut self, warning: &Warning) {
        (self.tell)(&format!("  {}: warning: {}", self.name, warning.text));
    }
}

/// How a figure trains a preset.
#[derive(Clone, Copy)]
pub struct Recipe {
    /// Whether to use our settings instead of the paper's.
    pub ours: bool,
    /// Number of epochs; `None` for the preset's.
    pub epochs: Option<u64>,
    /// Samples per batch; `None` for the preset's.
    pub batch: Option<usize>,
}

/// The configuration for one seed: the sparse method, or, if `unmasked`, the dense method with an infinite B_th.
///
/// # Errors
/// An unknown preset.
pub fn config(job: &FigureJob, preset: &str, recipe: Recipe, unmasked: bool, seed: u64) -> Result<RunConfig> {
    let mut config = if recipe.ours { presets::ours(preset)? } else { presets::paper(preset)? };
    config.method = Method::Sparse;
    if unmasked {
        config.method = Method::Dense;
        config.network.hidden.iter_mut().for_each(|layer| layer.b_th = f64::INFINITY);
    }
    config.epochs = recipe.epochs.unwrap_or(config.epochs);
    config.batch = recipe.batch.unwrap_or(config.batch);
    config.device = job.options.device.to_string();
    config.seed = seed;
    Ok(config)
}

/// Maximum numbers of training and test samples.
pub fn limits(job: &FigureJob) -> (usize, usize) {
    (job.pick(usize::MAX, 1500, 64), job.pick(usize::MAX, 400, 40))
}

fn adapter(job: &mut FigureJob, preset: &str) -> Result<String> {
    let info = job.info(&presets::paper(preset)?.network)?;
    Ok(format!("{}: {} ({})", info.kind, info.name, info.detail))
}

fn percent(fraction: f64) -> f64 {
    100.0 * fraction
}

/// A figure of curves, with the paper's values as hollow marks.
fn curves(job: &mut FigureJob, caption: String, panels: Vec<Panel>, rows: Vec<Row>, settings: Value) -> Result<Figure> {
    let content = Content::Curves { panels, rows, paper: "hollow: the paper's".into() };
    Ok(Figure { caption, content, settings, adapter: adapter(job, "fmnist")? })
}

/// Activity of both hidden layers over their size.
pub fn fig_9(job: &mut FigureJob) -> Result<Figure> {
    let sizes = job.pick(vec![200, 400, 600, 800, 1000], vec![100, 200, 400], vec![10, 20]);
    let recipe =
        Recipe { ours: false, epochs: job.pick(Some(20), Some(3), Some(1)), batch: job.pick(None, Some(64), Some(32)) };
    let (limit, tested) = limits(job);
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    for (preset, data) in job.all_data(&SETS, limit, tested)? {
        let title = data.name.clone();
        for &hidden in &sizes {
            let mut layers = [Vec::new(), Vec::new()];
            for seed in job.seeds() {
                let mut config = config(job, preset, recipe, false, seed)?;
                config.network.set_hidden(&[hidden; 2])?;
                let (records, _) = trained(job, &data, &config, "train", |_, _| Ok(Value::Null))?;
                let last = records.last().map(|record| record.activity.clone()).unwrap_or_default();
                layers.iter_mut().zip(last).for_each(|(layer, active)| layer.push(percent(active)));
            }
            let paper = paper::at(preset, hidden).map(|m| m.active);
            for (l, values) in layers.into_iter().enumerate() {
                let row = Row::new(&title, &format!("hidden layer {}", l + 1), hidden as f64, values);
                rows.push(row.paper(paper.map(|active| active[l])));
            }
        }
        let (x, y) = (ChartAxis::linear("neurons of each hidden layer"), ChartAxis::linear("active entries, %"));
        panels.push(Panel { title, x, y, level: None });
    }
    let epochs = recipe.epochs.unwrap_or(0);
    let caption = format!(
        "Entries whose surrogate gradient is not zero (|V - V_th| < B_th = 0.2) in the last of {epochs} epochs of training \
         with the paper's settings."
    );
    let settings = json!({ "settings": "paper", "epochs": epochs, "batch": recipe.batch, "sizes": sizes, "limits": [limit, tested] });
    curves(job, caption, panels, rows, settings)
}

/// The compared gradients: name, and whether unmasked.
const GRADIENTS: [(&str, bool); 2] = [("sparse (B_th = 0.2)", false), ("dense, unmasked", true)];

/// Loss over epochs.
pub fn fig_10(job: &mut FigureJob) -> Result<Figure> {
    let hidden = job.pick(200, 100, 12);
    let recipe =
        Recipe { ours: false, epochs: job.pick(Some(20), Some(5), Some(2)), batch: job.pick(None, Some(50), Some(32)) };
    let (limit, tested) = (job.pick(usize::MAX, 500, 64), job.pick(usize::MAX, 200, 40));
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    for (preset, data) in job.all_data(&SETS, limit, tested)? {
        let title = data.name.clone();
        for (name, unmasked) in GRADIENTS {
            let runs = over_seeds(job, preset, &data, recipe, unmasked, Some(hidden))?;
            rows.extend(by_epoch(&title, name, &runs, |record| Some(record.loss)));
        }
        panels.push(Panel {
            title,
            x: ChartAxis::linear("epoch"),
            y: ChartAxis::log("mean loss per sample"),
            level: None,
        });
    }
    let caption = format!(
        "Training loss (cross entropy and regularisers) with the paper's settings and two hidden layers of {hidden}; sparse, \
         and fused dense with the unmasked gradient (B_th = ∞), which is also the gradient of the reference-style baseline."
    );
    let settings = json!({ "settings": "paper", "hidden": hidden, "epochs": recipe.epochs, "batch": recipe.batch, "limits": [limit, tested] });
    curves(job, caption, panels, rows, settings)
}

/// The epochs of the runs of all seeds.
fn over_seeds(
    job: &mut FigureJob,
    preset: &str,
    data: &Arc<Data>,
    recipe: Recipe,
    unmasked: bool,
    hidden: Option<usize>,
) -> Result<Vec<Vec<EpochRecord>>> {
    let mut runs = Vec::new();
    for seed in job.seeds() {
        let mut config = config(job, preset, recipe, unmasked, seed)?;
        if let Some(hidden) = hidden {
            let layers = config.network.hidden.len();
            config.network.set_hidden(&vec![hidden; layers])?;
        }
        runs.push(trained(job, data, &config, "train", |_, _| Ok(Value::Null))?.0);
    }
    Ok(runs)
}

/// One row per epoch, with the values of all runs.
fn by_epoch(
    panel: &str,
    series: &str,
    runs: &[Vec<EpochRecord>],
    value: impl Fn(&EpochRecord) -> Option<f64>,
) -> Vec<Row> {
    let epochs = runs.iter().map(Vec::len).min().unwrap_or(0);
    let row = |epoch: usize| {
        let values = runs.iter().filter_map(|run| value(&run[epoch])).collect();
        Row::new(panel, series, epoch as f64 + 1.0, values)
    };
    (0..epochs).map(row).collect()
}

/// The deep network over epochs.
pub fn fig_22(job: &mut FigureJob) -> Result<Figure> {
    let preset = "fmnist-deep";
    let recipe =
        Recipe { ours: true, epochs: job.pick(None, Some(6), Some(2)), batch: job.pick(None, Some(64), Some(32)) };
    let hidden = job.pick(None, None, Some(12));
    let (limit, tested) = limits(job);
    let data = job.data(preset, limit, tested)?;
    let runs = over_seeds(job, preset, &data, recipe, false, hidden)?;
    let epoch = ChartAxis::linear("epoch");
    let panel = |title: &str, y| Panel { title: title.into(), x: epoch.clone(), y, level: None };
    let panels = vec![
        panel("Loss", ChartAxis::linear("mean loss per sample")),
        panel("Test accuracy", ChartAxis::linear("test accuracy, %")),
        panel("Activity", ChartAxis::linear("active entries, %")),
    ];
    let mut rows = by_epoch("Loss", "whole network", &runs, |record| Some(record.loss));
    rows.extend(by_epoch("Test accuracy", "whole network", &runs, |record| Some(percent(record.test_accuracy))));
    let layers = presets::paper(preset)?.network.hidden.len();
    for l in 0..layers {
        let name = format!("hidden layer {}", l + 1);
        rows.extend(by_epoch("Activity", &name, &runs, |record| record.activity.get(l).copied().map(percent)));
    }
    let width = hidden.unwrap_or(300);
    let caption = format!("{layers} hidden layers of {width} on {}, our settings of {preset}, sparse.", data.name);
    let settings =
        json!({ "preset": preset, "epochs": recipe.epochs, "batch": recipe.batch, "limits": [limit, tested] });
    curves(job, caption, panels, rows, settings)
}

/// Test accuracy of all presets.
pub fn accuracy(job: &mut FigureJob) -> Result<Figure> {
    let (limit, tested) = limits(job);
    let batch = job.pick(None, Some(50), Some(32));
    let ours = Recipe { ours: true, epochs: job.pick(None, Some(5), Some(1)), batch };
    let papers = Recipe { ours: false, epochs: job.pick(None, Some(5), Some(1)), batch };
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    for (preset, data) in job.all_data(&["fmnist", "fmnist-conv", "fmnist-deep", "nmnist", "shd"], limit, tested)? {
        let title = format!("{preset} ({})", data.name);
        let conv = presets::paper(preset)?.network.first_conv().is_some();
        let mut series = vec![("sparse, our settings", ours, false), ("sparse, the paper's settings", papers, false)];
        if !conv {
            series.insert(1, ("dense and unmasked, our settings", ours, true));
        }
        // Convolutions, deep networks and dense steps of long samples are slow, so a quick figure uses fewer samples.
        let data = match (preset != "fmnist", job.pick(None, Some((400, 200)), None)) {
            (true, Some((limit, tested))) => job.data(preset, limit, tested)?,
            _ => data,
        };
        for (name, recipe, unmasked) in series {
            let hidden = if conv { None } else { job.pick(None, Some(100), Some(12)) };
            let runs = over_seeds(job, preset, &data, recipe, unmasked, hidden)?;
            rows.extend(by_epoch(&title, name, &runs, |r| Some(percent(r.test_accuracy))));
        }
        if let Some(last) = rows.iter_mut().rev().find(|row| row.panel == title) {
            last.paper = paper::accuracy(preset);
        }
        panels.push(Panel {
            title,
            x: ChartAxis::linear("epoch"),
            y: ChartAxis::linear("test accuracy, %"),
            level: None,
        });
    }
    let caption = "Test accuracy after each epoch. Dense computes the unmasked gradient (B_th = ∞); it is omitted for the \
                   convolution, whose [B, T, N] arrays take gigabytes. Hollow: the accuracy reported in the paper, after training."
        .into();
    let settings = json!({ "epochs": [ours.epochs, papers.epochs], "batch": batch, "limits": [limit, tested] });
    curves(job, caption, panels, rows, settings)
}
