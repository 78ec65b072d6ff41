//! Appendix B: what the kernels of the gpu device execute, beside what the complexity predicts.

use super::figure::{Content, Figure, Panel, Row};
use super::job::{Job, numbers};
use super::paper::SETS;
use super::timing::{density, network};
use crate::bench::{Facts, TARGET_DENSITY, least_among, random_spikes, scaled_weights};
use crate::device::Device;
use crate::engine::{Engine, Method};
use crate::error::{Error, Result};
use crate::gpu::{GpuEngine, GpuOptions, Instrument};
use crate::plot::ChartAxis;
use crate::presets;
use crate::weights::Weights;
use serde_json::json;

/// Kernels of the forward pass; the others are the backward pass and the update.
fn is_forward(kernel: &str) -> bool {
    ["lif_forward", "readout", "gemm_forward", "dense_lif", "dense_readout"].iter().any(|name| kernel.starts_with(name))
}

/// Whether a kernel's multiply-adds are products with weights, of which the complexity speaks.
fn is_product(kernel: &str) -> bool {
    is_forward(kernel) || kernel.contains("gradient")
}

/// Counted and predicted multiply-adds by hidden neurons.
pub fn appendix_b(job: &mut Job) -> Result<Figure> {
    let sizes = job.pick(vec![100, 200, 400, 800], vec![50, 100, 200], vec![16, 32]);
    let batch = job.pick(64, 8, 2);
    let methods = [(Method::Sparse, "sparse"), (Method::Dense, "fused dense")];
    let adapter = match job.options.device {
        Device::Gpu(adapter) => adapter,
        Device::Auto => None,
        Device::Cpu => {
            return Err(Error::Unsupported(
                "appendix-b counts what the gpu device's kernels execute; use --device gpu, which a software adapter does for"
                    .into(),
            ));
        }
    };
    let options = GpuOptions { adapter, instrument: Some(Instrument::Count), ..GpuOptions::default() };
    let mut info = None;
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    for preset in SETS {
        for &hidden in &sizes {
            let network = network(preset, hidden)?;
            let here = match &info {
                Some(info) => info,
                None => info.insert(
                    GpuEngine::new(&network, Method::Sparse, &Weights::zeros_of(&network), options.clone())?.info(),
                ),
            };
            let here = here.clone();
            for (method, name) in methods {
                let mut values: [Vec<f64>; 4] = Default::default();
                for seed in job.seeds() {
                    let key = json!([preset, hidden, batch, name, seed]);
                    let value = job.point("operations", &here, key, |job| {
                        job.tell(&format!("  {preset}: {hidden} neurons, {name}, seed {seed}"));
                        let events = random_spikes(&network, batch, density(preset), seed)?;
                        let weights = scaled_weights(&network, &events, TARGET_DENSITY, seed)?;
                        let facts = Facts::exact(&network, &weights, &events)?;
                        let mut engine = GpuEngine::new(&network, method, &weights, options.clone())?;
                        engine.train(&events, &presets::paper(preset)?.adam)?;
                        engine.reports(true)?;
                        let kernels = engine.counted()?;
                        let mut sums = [0.0; 4];
                        for kernel in kernels.iter().filter(|kernel| is_product(&kernel.name)) {
                            let all = kernels.iter().map(|k| k.name.as_str());
                            let Some(least) = least_among(&kernel.name, all, &facts) else { continue };
                            let at = if is_forward(&kernel.name) { 0 } else { 2 };
                            sums[at] += kernel.work.multiply_adds as f64;
                            sums[at + 1] += least.least_multiply_adds;
                        }
                        Ok(json!(sums))
                    })?;
                    values.iter_mut().zip(numbers(&value)?).for_each(|(list, x)| list.push(1e-6 * x));
                }
                let names = [
                    ("forward", "counted"),
                    ("forward", "predicted"),
                    ("backward", "counted"),
                    ("backward", "predicted"),
                ];
                for ((pass, kind), values) in names.into_iter().zip(values) {
                    rows.push(Row::new(
                        &format!("{preset}: {pass}"),
                        &format!("{name}, {kind}"),
                        hidden as f64,
                        values,
                    ));
                }
            }
        }
    }
    for pass in ["forward", "backward"] {
        for preset in SETS {
            let (x, y) =
                (ChartAxis::log("neurons of each hidden layer"), ChartAxis::log("million multiply-adds of a step"));
            panels.push(Panel { title: format!("{preset}: {pass}"), x, y, level: None });
        }
    }
    let caption = format!(
        "Multiply-adds of the products with weights that the kernels executed in a step, counted in the kernels, beside the \
         prediction of the complexity at the step's own spikes and active entries (sparse: each spike and each active entry \
         with a row of weights; dense: B T N_in N); batch {batch}, random spikes of the data sets' densities, hidden layers \
         spike in 1.5 % of slots; mean ± standard error over {} seeds.",
        job.seeds().len()
    );
    let adapter = info.map_or(String::new(), |info| format!("{}: {} ({})", info.kind, info.name, info.detail));
    let settings = json!({ "sizes": sizes, "batch": batch, "spike density of hidden layers": TARGET_DENSITY });
    Ok(Figure { caption, content: Content::Curves { panels, rows, paper: String::new() }, settings, adapter })
}
