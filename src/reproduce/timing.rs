//! Figures 11 to 14, 20 and 21: times of the forward pass, the backward pass and the step, and speed-ups over both dense
//! baselines.

use super::figure::{Content, Figure, Panel, Row};
use super::job::FigureJob;
use super::paper::{self, PaperValues, SETS, TIMES_SOURCE};
use super::usual_name;
use crate::bench::{MeasurementPlan, TARGET_DENSITY, measure, random_spikes, scaled_weights};
use crate::data::data_set;
use crate::engine::Method;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::memory::{self, Densities};
use crate::network::Network;
use crate::plot::ChartAxis;
use crate::presets;
use crate::system::available_memory;
use serde_json::{Value, json};

/// The compared methods, with their names in figures and points.
pub const METHODS: [(Method, &str); 3] =
    [(Method::Sparse, "sparse"), (Method::Dense, "fused dense"), (Method::Reference, "reference-style dense")];

/// Spike density of random input: that of the data sets.
pub fn density(preset: &str) -> f64 {
    match data_set(preset) {
        "fmnist" => 0.0043,
        "nmnist" => 0.012,
        _ => 0.016,
    }
}

/// The network of Table 3 with two hidden layers of this size.
pub fn network(preset: &str, hidden: usize) -> Result<Network> {
    let mut network = presets::paper(preset)?.network;
    network.set_hidden(&[hidden; 2])?;
    Ok(network)
}

/// The methods whose step fits into memory; the others are noted.
pub fn fitting(
    job: &mut FigureJob,
    network: &Network,
    batch: usize,
    input: f64,
) -> Result<Vec<(Method, &'static str)>> {
    let densities = Densities { input, spikes: TARGET_DENSITY, active: 2.0 * TARGET_DENSITY };
    let device = job.options.device.resolve_for(network, Method::Sparse);
    let mut fit = Vec::new();
    for (method, name) in METHODS {
        let needs = memory::estimate(network, method, batch, device, &densities)?;
        match needs.check(available_memory()) {
            Ok(()) => fit.push((method, name)),
            Err(e) => job.note(format!("{name} of {:?} at batch {batch} is omitted: {e}", network.sizes())),
        }
    }
    Ok(fit)
}

/// The first training samples, or random spikes with the data set's density if it is missing.
fn input(job: &mut FigureJob, preset: &str, network: &Network, batch: usize, seed: u64) -> Result<(EventSet, String)> {
    match job.data(preset, usize::MAX, usize::MAX) {
        Ok(data) if data.set.train.len() >= batch => Ok((data.set.train.head(batch), data.name.clone())),
        Ok(_) | Err(Error::Data(_)) => {
            let density = density(preset);
            let name = format!("random spikes with the density of {} ({} %)", usual_name(preset), 100.0 * density);
            job.use_instead(preset, &name);
            Ok((random_spikes(network, batch, density, seed)?, name))
        }
        Err(e) => Err(e),
    }
}

/// Times of all methods, which take turns: `{"sparse": [forward, backward, step], ..}`, ms.
fn timed(job: &mut FigureJob, preset: &str, hidden: usize, batch: usize, seed: u64) -> Result<Value> {
    let network = network(preset, hidden)?;
    let info = job.info(&network)?;
    let repeat = job.pick(10, 3, 1);
    let (events, name) = input(job, preset, &network, batch, seed)?;
    let methods = fitting(job, &network, batch, density(preset))?;
    let names: Vec<&str> = methods.iter().map(|(_, name)| *name).collect();
    let key = json!([preset, name, events.events().len(), hidden, batch, seed, repeat, names]);
    job.point("time", &info, key, |job| {
        job.tell(&format!("  {preset}: {hidden} neurons, batch {batch}, seed {seed}"));
        let weights = scaled_weights(&network, &events, TARGET_DENSITY, seed)?;
        let open = |(method, _): &(Method, &str)| job.options.device.open(&network, *method, &weights);
        let mut engines = methods.iter().map(open).collect::<Result<Vec<_>>>()?;
        let adam = presets::paper(preset)?.adam;
        let plan = MeasurementPlan { batch: &events, weights: &weights, adam, repeat };
        let measured = measure(&mut engines, &plan, &mut |_| {})?;
        let times = methods.iter().zip(measured).map(|((_, name), m)| {
            let times = json!([m.forward_ms, m.backward_ms, m.step_ms]);
            (name.to_string(), times)
        });
        Ok(Value::Object(times.collect()))
    })
}

/// A part of a step.
#[derive(Clone, Copy)]
enum StepPart {
    Forward = 0,
    Backward = 1,
    Step = 2,
}

/// The time of a part; `None` if it was not measured.
fn time(point: &Value, method: &str, part: StepPart) -> Option<f64> {
    point[method][part as usize].as_f64()
}

/// The quantity on the horizontal axis.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    Hidden,
    Batch,
}

/// The points of an axis: (neurons, batch).
fn places(job: &FigureJob, along: Along) -> Vec<(usize, usize)> {
    let hidden = job.pick(vec![200, 400, 600, 800, 1000], vec![50, 100, 200], vec![8, 16]);
    let batches = job.pick(vec![32, 64, 128, 256, 512], vec![8, 16, 32], vec![2, 4]);
    let (fixed_hidden, fixed_batch) = (job.pick(200, 100, 8), job.pick(256, 32, 4));
    match along {
        Along::Hidden => hidden.into_iter().map(|n| (n, fixed_batch)).collect(),
        Along::Batch => batches.into_iter().map(|b| (fixed_hidden, b)).collect(),
    }
}

/// A curve's name, its value at a point if it was measured, and the paper's value if it is known.
type Drawn = (&'static str, Option<f64>, Option<f64>);

/// A figure of times. `curves` gives the values of a point.
fn figure(
    job: &mut FigureJob,
    along: Along,
    y: ChartAxis,
    level: Option<f64>,
    what: &str,
    curves: &dyn Fn(&Value, Option<&PaperValues>) -> Vec<Drawn>,
) -> Result<Figure> {
    let places = places(job, along);
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    for preset in SETS {
        let x =
            ChartAxis::log(if along == Along::Hidden { "neurons of each hidden layer" } else { "samples in a batch" });
        let title = preset.to_string();
        for &(hidden, batch) in &places {
            let mut at: Vec<Row> = Vec::new();
            for seed in job.seeds() {
                let point = timed(job, preset, hidden, batch, seed)?;
                // The paper's values are for batches of 256.
                let known = paper::at(preset, hidden).filter(|_| along == Along::Hidden || batch == 256);
                for (name, value, paper) in curves(&point, known) {
                    let x = if along == Along::Hidden { hidden } else { batch } as f64;
                    let Some(value) = value else { continue };
                    match at.iter_mut().find(|row| row.series == name) {
                        Some(row) => row.values.push(value),
                        None => at.push(Row::new(&title, name, x, vec![value]).paper(paper)),
                    }
                }
            }
            rows.extend(at);
        }
        panels.push(Panel { title, x, y: y.clone(), level });
    }
    let fixed = match along {
        Along::Hidden => format!("batch {}", places[0].1),
        Along::Batch => format!("two hidden layers of {}", places[0].0),
    };
    let caption = format!(
        "{what}, {fixed}; networks of Table 3, both hidden layers and the readout, weights scaled so that hidden layers have \
         a spike density of 1.5 %; median of {} steps.",
        job.pick(10, 3, 1)
    );
    let info = job.info(&network("fmnist", 8)?)?;
    let adapter = format!("{}: {} ({})", info.kind, info.name, info.detail);
    let settings = json!({ "neurons and batch": places, "repeat": job.pick(10, 3, 1), "spike density of hidden layers": TARGET_DENSITY });
    let content = Content::Curves { panels, rows, paper: TIMES_SOURCE.into() };
    Ok(Figure { caption, content, settings, adapter })
}

fn times(job: &mut FigureJob, along: Along, part: StepPart) -> Result<Figure> {
    let what = match part {
        StepPart::Forward => "Time of the forward pass, including the loss",
        StepPart::Backward => "Time of the backward pass, without the update (on the cpu device including it)",
        StepPart::Step => "Time of a step",
    };
    figure(job, along, ChartAxis::log("time, ms"), None, what, &|point, paper| {
        let of_paper = |m: &PaperValues, k: usize| match part {
            StepPart::Forward => Some(m.forward_ms[k]),
            StepPart::Backward => Some(m.backward_ms[k]),
            StepPart::Step => None,
        };
        let curve = |(_, name): &(Method, &'static str)| {
            // The paper's dense baseline is a loop over time in eager mode.
            let known = match *name {
                "sparse" => paper.and_then(|m| of_paper(m, 1)),
                "reference-style dense" => paper.and_then(|m| of_paper(m, 0)),
                _ => None,
            };
            (*name, time(point, name, part), known)
        };
        METHODS.iter().map(curve).collect()
    })
}

fn speed_ups(job: &mut FigureJob, part: StepPart) -> Result<Figure> {
    let what = match part {
        StepPart::Backward => "Time of the dense backward pass / time of the sparse one",
        _ => "Time of a dense training step / time of a sparse one, including the update",
    };
    figure(job, Along::Hidden, ChartAxis::log("times as fast"), Some(1.0), what, &|point, paper| {
        let over = |name: &str| Some(time(point, name, part)? / time(point, "sparse", part)?);
        let known =
            paper.map(|m| if matches!(part, StepPart::Backward) { m.backward_speed_up } else { m.overall_speed_up });
        vec![
            ("over fused dense", over("fused dense"), None),
            ("over reference-style dense", over("reference-style dense"), known),
        ]
    })
}

/// Forward time by hidden neurons.
pub fn fig_11(job: &mut FigureJob) -> Result<Figure> {
    times(job, Along::Hidden, StepPart::Forward)
}

/// Forward time by batch.
pub fn fig_12(job: &mut FigureJob) -> Result<Figure> {
    times(job, Along::Batch, StepPart::Forward)
}

/// Backward time by hidden neurons.
pub fn fig_13(job: &mut FigureJob) -> Result<Figure> {
    times(job, Along::Hidden, StepPart::Backward)
}

/// Backward time by batch.
pub fn fig_14(job: &mut FigureJob) -> Result<Figure> {
    times(job, Along::Batch, StepPart::Backward)
}

/// Speed-up of the backward pass.
pub fn fig_20(job: &mut FigureJob) -> Result<Figure> {
    speed_ups(job, StepPart::Backward)
}

/// Speed-up of the whole step.
pub fn fig_21(job: &mut FigureJob) -> Result<Figure> {
    speed_ups(job, StepPart::Step)
}
