//! Figures 15 to 19: memory that a training step requires in addition to weights, moments and the batch.

use super::figure::{Content, Figure, Panel, Row};
use super::job::FigureJob;
use super::paper::{MEMORY_SAVED, SETS};
use super::timing::{METHODS, density, fitting};
use crate::bench::{TARGET_DENSITY, random_spikes, scaled_weights};
use crate::error::Result;
use crate::plot::ChartAxis;
use crate::presets;
use serde_json::{Value, json};

/// The quantity on the horizontal axis.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    Hidden,
    Batch,
    Steps,
    Depth,
}

/// A point of an axis.
#[derive(Clone, Copy)]
struct Place {
    hidden: usize,
    batch: usize,
    /// `None`: the preset's.
    steps: Option<usize>,
    depth: usize,
}

impl Along {
    fn places(self, job: &FigureJob) -> Vec<Place> {
        let base = Place { hidden: job.pick(200, 100, 8), batch: job.pick(256, 16, 4), steps: None, depth: 2 };
        let points = match self {
            Along::Hidden => job.pick(vec![200, 400, 600, 800, 1000], vec![50, 100, 200, 400], vec![8, 16]),
            Along::Batch => job.pick(vec![32, 64, 128, 256, 512], vec![4, 8, 16, 32], vec![2, 4]),
            Along::Steps => job.pick(vec![50, 100, 200, 500, 1000], vec![50, 100, 200, 400], vec![20, 40]),
            Along::Depth => job.pick(vec![1, 2, 3, 5, 8], vec![1, 2, 3, 5], vec![1, 2]),
        };
        let place = |n: usize| match self {
            Along::Hidden => Place { hidden: n, ..base },
            Along::Batch => Place { batch: n, ..base },
            Along::Steps => Place { steps: Some(n), ..base },
            Along::Depth => Place { depth: n, ..base },
        };
        points.into_iter().map(place).collect()
    }

    fn x(self, preset: &str, place: Place) -> Result<f64> {
        Ok(match self {
            Along::Hidden => place.hidden,
            Along::Batch => place.batch,
            Along::Steps => place.steps.unwrap_or(presets::paper(preset)?.network.time_steps),
            Along::Depth => place.depth,
        } as f64)
    }

    fn axis(self) -> ChartAxis {
        match self {
            Along::Hidden => ChartAxis::log("neurons of each hidden layer"),
            Along::Batch => ChartAxis::log("samples in a batch"),
            Along::Steps => ChartAxis::log("time steps"),
            Along::Depth => ChartAxis::linear("hidden layers"),
        }
    }
}

/// Bytes of a step of each method that fits into memory: `{"sparse": bytes, ..}`.
fn point(job: &mut FigureJob, preset: &str, place: Place, seed: u64) -> Result<Value> {
    let mut network = presets::paper(preset)?.network;
    network.set_hidden(&vec![place.hidden; place.depth])?;
    network.time_steps = place.steps.unwrap_or(network.time_steps);
    let info = job.info(&network)?;
    let methods = fitting(job, &network, place.batch, density(preset))?;
    let names: Vec<&str> = methods.iter().map(|(_, name)| *name).collect();
    let key = json!([preset, place.hidden, place.depth, network.time_steps, place.batch, seed, names]);
    job.point("memory", &info, key, |job| {
        let (hidden, batch, depth, steps) = (place.hidden, place.batch, place.depth, network.time_steps);
        job.tell(&format!("  {preset}: {depth} × {hidden} neurons, batch {batch}, T = {steps}, seed {seed}"));
        let events = random_spikes(&network, place.batch, density(preset), seed)?;
        let weights = scaled_weights(&network, &events, TARGET_DENSITY, seed)?;
        let adam = presets::paper(preset)?.adam;
        let mut bytes = serde_json::Map::new();
        for (method, name) in methods {
            let mut engine = job.options.device.open(&network, method, &weights)?;
            engine.train(&events, &adam)?;
            engine.reports(true)?;
            bytes.insert(name.into(), json!(engine.state_bytes().iter().map(|(_, bytes)| bytes).sum::<u64>()));
        }
        Ok(bytes.into())
    })
}

/// A curve's name and its value at a point; `None` if the method did not fit into memory.
type Drawn = (&'static str, Option<f64>);

/// A figure of memory. `curves` gives the values of a point.
fn figure(
    job: &mut FigureJob,
    along: Along,
    y: ChartAxis,
    what: &str,
    curves: &dyn Fn(&Value) -> Vec<Drawn>,
) -> Result<Figure> {
    let places = along.places(job);
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    for preset in SETS {
        for &place in &places {
            let x = along.x(preset, place)?;
            let mut at: Vec<Row> = Vec::new();
            for seed in job.seeds() {
                for (name, value) in curves(&point(job, preset, place, seed)?) {
                    let Some(value) = value else { continue };
                    match at.iter_mut().find(|row| row.series == name) {
                        Some(row) => row.values.push(value),
                        None => at.push(Row::new(preset, name, x, vec![value])),
                    }
                }
            }
            rows.extend(at);
        }
        panels.push(Panel { title: preset.into(), x: along.axis(), y: y.clone(), level: None });
    }
    let base = places[0];
    let mut fixed = Vec::new();
    if along != Along::Hidden {
        fixed.push(format!("hidden layers of {}", base.hidden));
    }
    if along != Along::Batch {
        fixed.push(format!("batch {}", base.batch));
    }
    let caption = format!(
        "{what} allocated for a training step in addition to weights, moments and the batch, {}; random spikes with the \
         data sets' densities, hidden layers with a spike density of 1.5 %.",
        fixed.join(", ")
    );
    let info = job.info(&presets::paper("fmnist")?.network)?;
    let adapter = format!("{}: {} ({})", info.kind, info.name, info.detail);
    let list: Vec<Value> = places.iter().map(|p| json!([p.hidden, p.depth, p.steps, p.batch])).collect();
    let settings = json!({ "neurons, depth, steps (null: the preset's), batch": list, "spike density of hidden layers": TARGET_DENSITY });
    Ok(Figure { caption, content: Content::Curves { panels, rows, paper: String::new() }, settings, adapter })
}

fn memory(job: &mut FigureJob, along: Along) -> Result<Figure> {
    figure(job, along, ChartAxis::log("memory of a step, MiB"), "Memory", &|point| {
        let mib = |name: &str| Some(point[name].as_f64()? / f64::from(1 << 20));
        METHODS.iter().map(|(_, name)| (*name, mib(name))).collect()
    })
}

/// Memory by hidden neurons.
pub fn fig_15(job: &mut FigureJob) -> Result<Figure> {
    memory(job, Along::Hidden)
}

/// Memory by batch.
pub fn fig_16(job: &mut FigureJob) -> Result<Figure> {
    memory(job, Along::Batch)
}

/// Memory by time steps.
pub fn fig_17(job: &mut FigureJob) -> Result<Figure> {
    memory(job, Along::Steps)
}

/// Memory by hidden layers.
pub fn fig_18(job: &mut FigureJob) -> Result<Figure> {
    memory(job, Along::Depth)
}

/// Memory saved.
pub fn fig_19(job: &mut FigureJob) -> Result<Figure> {
    let y = ChartAxis::linear("memory saved, %");
    let [least, most] = MEMORY_SAVED;
    let what =
        format!("1 − sparse/dense (the paper's data give {least} to {most} %; its 85 % are dense/sparse − 1): memory");
    figure(job, Along::Hidden, y, &what, &|point| {
        let saved = |name: &str| Some(100.0 * (1.0 - point["sparse"].as_f64()? / point[name].as_f64()?));
        vec![
            ("against fused dense", saved("fused dense")),
            ("against reference-style dense", saved("reference-style dense")),
        ]
    })
}
