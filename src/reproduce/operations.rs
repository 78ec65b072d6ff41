//! Appendix B: multiply-adds that the gpu device's kernels execute, compared with the predicted complexity.

use super::figure::{Content, Figure, Panel, Row};
use super::job::{FigureJob, numbers};
use super::paper::SETS;
use super::timing::{density, network};
use crate::bench::{Facts, TARGET_DENSITY, least_among, random_spikes, scaled_weights};
use crate::device::Device;
use crate::engine::{DeviceInfo, Engine, Method};
use crate::error::{Error, Result};
use crate::gpu::{GpuEngine, GpuOptions, Instrument};
use crate::network::Network;
use crate::plot::ChartAxis;
use crate::presets;
use crate::weights::Weights;
use serde_json::json;

/// Whether a kernel is part of the forward pass rather than of the backward pass or the update.
fn is_forward(kernel: &str) -> bool {
    ["lif_forward", "readout", "gemm_forward", "dense_lif", "dense_readout"].iter().any(|name| kernel.starts_with(name))
}

/// Whether a kernel's multiply-adds are products with weights, which the complexity counts.
fn is_product(kernel: &str) -> bool {
    is_forward(kernel) || kernel.contains("gradient")
}

/// The four values of a point, in the order of [`Setup::counted`].
const VALUES: [(&str, &str); 4] =
    [("forward", "counted"), ("forward", "predicted"), ("backward", "counted"), ("backward", "predicted")];

/// A network to count, and how.
struct Setup<'a> {
    preset: &'static str,
    network: &'a Network,
    batch: usize,
    options: &'a GpuOptions,
}

impl Setup<'_> {
    fn open(&self, method: Method, weights: &Weights) -> Result<GpuEngine> {
        GpuEngine::new(self.network, method, weights, self.options.clone())
    }

    fn info(&self) -> Result<DeviceInfo> {
        Ok(self.open(Method::Sparse, &Weights::zeros_of(self.network))?.info())
    }

    /// Counted and predicted multiply-adds of the forward pass, then of the backward pass, in one step.
    fn counted(&self, method: Method, seed: u64) -> Result<[f64; 4]> {
        let events = random_spikes(self.network, self.batch, density(self.preset), seed)?;
        let weights = scaled_weights(self.network, &events, TARGET_DENSITY, seed)?;
        let facts = Facts::exact(self.network, &weights, &events)?;
        let mut engine = self.open(method, &weights)?;
        engine.train(&events, &presets::paper(self.preset)?.adam)?;
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
        Ok(sums)
    }
}

/// The adapter on which to count.
fn adapter(device: Device) -> Result<Option<usize>> {
    match device {
        Device::Gpu(adapter) => Ok(adapter),
        Device::Auto => Ok(None),
        Device::Cpu => Err(Error::Unsupported(
            "appendix-b counts operations of the gpu device's kernels; use --device gpu (a software adapter suffices)"
                .into(),
        )),
    }
}

/// Counted and predicted multiply-adds over hidden neurons.
pub fn appendix_b(job: &mut FigureJob) -> Result<Figure> {
    let sizes = job.pick(vec![100, 200, 400, 800], vec![50, 100, 200], vec![16, 32]);
    let batch = job.pick(64, 8, 2);
    let adapter = adapter(job.options.device)?;
    let options = GpuOptions { adapter, instrument: Some(Instrument::Count), ..GpuOptions::default() };
    let mut info = None;
    let mut rows = Vec::new();
    for preset in SETS {
        for &hidden in &sizes {
            let network = network(preset, hidden)?;
            let setup = Setup { preset, network: &network, batch, options: &options };
            let here = match &info {
                Some(info) => info,
                None => info.insert(setup.info()?),
            };
            let here = here.clone();
            for (method, name) in [(Method::Sparse, "sparse"), (Method::Dense, "fused dense")] {
                let mut values: [Vec<f64>; 4] = Default::default();
                for seed in job.seeds() {
                    let key = json!([preset, hidden, batch, name, seed]);
                    let value = job.point("operations", &here, key, |job| {
                        job.tell(&format!("  {preset}: {hidden} neurons, {name}, seed {seed}"));
                        Ok(json!(setup.counted(method, seed)?))
                    })?;
                    values.iter_mut().zip(numbers(&value)?).for_each(|(list, x)| list.push(1e-6 * x));
                }
                for ((pass, kind), values) in VALUES.into_iter().zip(values) {
                    let (panel, series) = (format!("{preset}: {pass}"), format!("{name}, {kind}"));
                    rows.push(Row::new(&panel, &series, hidden as f64, values));
                }
            }
        }
    }
    let mut panels = Vec::new();
    for pass in ["forward", "backward"] {
        for preset in SETS {
            let (x, y) =
                (ChartAxis::log("neurons of each hidden layer"), ChartAxis::log("million multiply-adds per step"));
            panels.push(Panel { title: format!("{preset}: {pass}"), x, y, level: None });
        }
    }
    let caption = format!(
        "Multiply-adds of the products with weights in a step, counted in the kernels, and predicted by the complexity from \
         the step's spikes and active entries (sparse: a row of weights for each spike and each active entry; dense: \
         B\u{a0}T\u{a0}N_in\u{a0}N); batch {batch}, random spikes with the data sets' densities, hidden layers with a spike density of 1.5 %."
    );
    let adapter = info.map_or(String::new(), |info| format!("{}: {} ({})", info.kind, info.name, info.detail));
    let settings = json!({ "sizes": sizes, "batch": batch, "spike density of hidden layers": TARGET_DENSITY });
    Ok(Figure { caption, content: Content::Curves { panels, rows, paper: String::new() }, settings, adapter })
}
