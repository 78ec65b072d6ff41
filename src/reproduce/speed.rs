//! Speed-up, activity and accuracy as functions of the backward threshold B_th.

use super::figure::{Content, Figure, Panel, Row};
use super::job::{FigureJob, numbers};
use super::paper::SETS;
use super::training::{Recipe, config, limits, trained};
use crate::bench::{MeasurementPlan, measure};
use crate::engine::Method;
use crate::error::Result;
use crate::plot::ChartAxis;
use serde_json::json;

/// Computes the figure.
pub fn b_th(job: &mut FigureJob) -> Result<Figure> {
    let thresholds = job.pick(
        vec![1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.15, 0.2, 0.25],
        vec![1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.25],
        vec![0.01, 0.2],
    );
    let hidden = job.pick(200, 100, 12);
    let repeat = job.pick(10, 3, 1);
    let recipe =
        Recipe { ours: false, epochs: job.pick(Some(20), Some(4), Some(1)), batch: job.pick(None, Some(64), Some(32)) };
    let (limit, tested) = limits(job);
    let presets: &[&'static str] = if job.pick(false, true, true) { &SETS[..1] } else { &SETS };
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    for (preset, data) in job.all_data(presets, limit, tested)? {
        let titles = ["backward speed-up", "activity", "test accuracy"].map(|what| format!("{}: {what}", data.name));
        for &b_th in &thresholds {
            let mut values: [Vec<f64>; 4] = Default::default();
            for seed in job.seeds() {
                let mut config = config(job, preset, recipe, false, seed)?;
                config.network.set_hidden(&[hidden; 2])?;
                config.network.hidden.iter_mut().for_each(|layer| layer.b_th = b_th);
                let batch = data.set.train.head(config.batch);
                let what = format!("train, then {repeat} backward passes");
                let (records, times) = trained(job, &data, &config, &what, |job, state| {
                    let open = |method| job.options.device.open(&config.network, method, &state.weights);
                    let mut engines = vec![open(Method::Sparse)?, open(Method::Dense)?];
                    let plan = MeasurementPlan { batch: &batch, weights: &state.weights, adam: config.adam, repeat };
                    let measured = measure(&mut engines, &plan, &mut |_| {})?;
                    Ok(json!(measured.iter().map(|m| m.backward_ms).collect::<Vec<_>>()))
                })?;
                let times = numbers(&times)?;
                if let (Some(last), [sparse, dense]) = (records.last(), &times[..]) {
                    values[0].push(dense / sparse);
                    values[1].push(100.0 * last.activity[0]);
                    values[2].push(100.0 * last.activity[1]);
                    values[3].push(100.0 * last.test_accuracy);
                }
            }
            let [speed, first, second, accuracy] = values;
            rows.push(Row::new(&titles[0], "fused dense / sparse", b_th, speed));
            rows.push(Row::new(&titles[1], "hidden layer 1", b_th, first));
            rows.push(Row::new(&titles[1], "hidden layer 2", b_th, second));
            rows.push(Row::new(&titles[2], "trained with the sparse gradient", b_th, accuracy));
        }
        let axes = [
            ChartAxis::linear("times as fast"),
            ChartAxis::log("active entries, %"),
            ChartAxis::linear("test accuracy, %"),
        ];
        for (title, y) in titles.into_iter().zip(axes) {
            panels.push(Panel { title, x: ChartAxis::log("B_th"), y, level: None });
        }
    }
    let caption = format!(
        "Backward threshold from 1e-4 to 0.25 (the paper's default is 0.2; its published 150× is SHD, 2 × 400, B_th = 0.05, \
         against its eager baseline). Two hidden layers of {hidden}, the paper's settings; speed of the backward pass with \
         the trained weights."
    );
    let info = job.info(&crate::presets::paper("fmnist")?.network)?;
    let adapter = format!("{}: {} ({})", info.kind, info.name, info.detail);
    let settings = json!({ "settings": "paper", "b_th": thresholds, "hidden": hidden, "epochs": recipe.epochs, "batch": recipe.batch, "repeat": repeat, "limits": [limit, tested] });
    Ok(Figure { caption, content: Content::Curves { panels, rows, paper: String::new() }, settings, adapter })
}
