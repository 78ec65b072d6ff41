//! Figure 23: differences between the masked and the unmasked gradient.

use super::figure::{Content, Figure, Panel, Row};
use super::job::{FigureJob, numbers};
use super::paper::SETS;
use super::training::{Recipe, config, remove_run, run, run_folder};
use crate::engine::Method;
use crate::error::Result;
use crate::events::EventSet;
use crate::plot::ChartAxis;
use crate::presets;
use crate::train::RunConfig;
use crate::weights::{Matrix, Weights};
use serde_json::{Value, json};

/// ‖s - d‖/‖d‖, the cosine between them, and max|s - d|/max|d| of one layer's gradients.
fn differences(sparse: &Matrix, dense: &Matrix) -> [f64; 3] {
    let (mut squares, mut of_sparse, mut of_dense, mut product) = (0.0, 0.0, 0.0, 0.0);
    let (mut largest, mut largest_dense) = (0.0_f64, 0.0_f64);
    for (&s, &d) in sparse.data.iter().zip(&dense.data) {
        let (s, d) = (f64::from(s), f64::from(d));
        squares += (s - d).powi(2);
        of_sparse += s * s;
        of_dense += d * d;
        product += s * d;
        largest = largest.max((s - d).abs());
        largest_dense = largest_dense.max(d.abs());
    }
    [f64::sqrt(squares / of_dense), product / f64::sqrt(of_sparse * of_dense), largest / largest_dense]
}

/// The gradient of every layer with this method and backward threshold.
fn gradient(
    job: &FigureJob,
    config: &RunConfig,
    weights: &Weights,
    batch: &EventSet,
    unmasked: bool,
) -> Result<Weights> {
    let mut network = config.network.clone();
    if unmasked {
        network.hidden.iter_mut().for_each(|layer| layer.b_th = f64::INFINITY);
    }
    let method = if unmasked { Method::Dense } else { Method::Sparse };
    let mut engine = job.options.device.open(&network, method, weights)?;
    Ok(engine.inspect(batch)?.gradient)
}

/// The differences of each layer during training.
pub fn fig_23(job: &mut FigureJob) -> Result<Figure> {
    let epochs = job.pick(20, 4, 2);
    let hidden = job.pick(200, 100, 12);
    let (limit, tested) = (job.pick(usize::MAX, 1000, 64), job.pick(usize::MAX, 100, 40));
    let samples = job.pick(64, 16, 8);
    let recipe = Recipe { ours: false, epochs: None, batch: job.pick(None, Some(50), Some(32)) };
    let measures = ["Frobenius: ‖s − d‖ / ‖d‖", "Cosine of s and d", "Largest: max|s − d| / max|d|"];
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    let quick = job.pick(false, true, true);
    let presets: &[&'static str] = if quick { &SETS[..1] } else { &SETS };
    for (preset, data) in job.all_data(presets, limit, tested)? {
        let batch = data.set.train.head(samples);
        let mut points: Vec<Vec<Vec<f64>>> = Vec::new();
        for seed in job.seeds() {
            let mut of_seed = Vec::new();
            for epoch in 0..=epochs {
                let mut config = config(job, preset, recipe, false, seed)?;
                config.network.set_hidden(&[hidden; 2])?;
                // One run, continued epoch by epoch, whose folder keeps its name.
                config.epochs = epoch.max(1);
                // After its last epoch, a run re-initialises no layer; so none does, wherever it was interrupted.
                config.rescue = false;
                let whole = RunConfig { epochs, ..config.clone() };
                let key = json!([data.key(), whole.to_toml()?]);
                let info = job.info(&config.network)?;
                let value = job.point("gradient", &info, json!([key, epoch, samples]), |job| {
                    let weights = match epoch {
                        0 => Weights::init(&config.network, seed),
                        _ => run(job, &data, &config, &key)?.1.weights,
                    };
                    let sparse = gradient(job, &config, &weights, &batch, false)?;
                    let dense = gradient(job, &config, &weights, &batch, true)?;
                    let layers: Vec<[f64; 3]> =
                        sparse.layers.iter().zip(&dense.layers).map(|(s, d)| differences(s, d)).collect();
                    Ok(json!(layers.as_flattened()))
                })?;
                if epoch == epochs {
                    remove_run(&run_folder(job, &config, &key))?;
                }
                of_seed.push(numbers(&value)?);
            }
            points.push(of_seed);
        }
        for (m, measure) in measures.iter().enumerate() {
            let title = if quick { measure.to_string() } else { format!("{preset}: {measure}") };
            for l in 0..2 {
                for epoch in 0..=epochs as usize {
                    let values = points.iter().filter_map(|run| run[epoch].get(3 * l + m).copied()).collect();
                    rows.push(Row::new(&title, &format!("weights of hidden layer {}", l + 1), epoch as f64, values));
                }
            }
            let level = (m == 1).then_some(1.0);
            panels.push(Panel {
                title,
                x: ChartAxis::linear("epochs trained"),
                y: ChartAxis::linear("difference"),
                level,
            });
        }
    }
    for panel in panels.iter_mut().filter(|panel| panel.level.is_some()) {
        panel.y.name = "cosine".into();
    }
    let caption = format!(
        "Masked gradient s (sparse, B_th = 0.2) and unmasked gradient d (dense, B_th = ∞) of the same {samples} samples and \
         weights, while the network is trained with s and the paper's settings; two hidden layers of \
         {hidden}. The readout's gradient does not depend on the surrogate and is the same."
    );
    let info = job.info(&presets::paper("fmnist")?.network)?;
    let adapter = format!("{}: {} ({})", info.kind, info.name, info.detail);
    let settings: Value = json!({ "settings": "paper", "hidden": hidden, "epochs": epochs, "samples": samples, "batch": recipe.batch, "limits": [limit, tested] });
    Ok(Figure { caption, content: Content::Curves { panels, rows, paper: String::new() }, settings, adapter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_those_of_the_definition() {
        let matrix = |data: &[f32]| Matrix { rows: 1, cols: 2, data: data.to_vec() };
        let [frobenius, cosine, largest] = differences(&matrix(&[3.0, 0.0]), &matrix(&[3.0, 4.0]));
        assert!((frobenius - 0.8).abs() < 1e-12 && (cosine - 0.6).abs() < 1e-12 && (largest - 1.0).abs() < 1e-12);
        assert_eq!(differences(&matrix(&[1.0, 2.0]), &matrix(&[1.0, 2.0]))[0], 0.0);
    }
}
