//! `spikegrad bench`.

use super::show::{self, bytes, percents, say, say_json, table, three_digits};
use super::{Usage, device, usage};
use anyhow::{Result, bail};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use spikegrad::bench::{Measurement, Plan, TARGET_DENSITY, measure, random_spikes, scaled_weights};
use spikegrad::config::RunConfig;
use spikegrad::data;
use spikegrad::device::Device;
use spikegrad::engine::{DeviceInfo, Engine, Method};
use spikegrad::events::EventSet;
use spikegrad::presets;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = "\
The network and Adam are Table 3's. Input: for fmnist the first B training images, for nmnist and shd random
spikes. Weights are random, scaled until each hidden layer spikes in 1.5 % of its slots, and put back before
each repeat; the methods take turns within a repeat.

sparse computes what the spikes ask for; dense is the same gradient by matrix products and linear-time scans
over [B, T, N] arrays. Both mask the surrogate with the preset's B_th. A time that the platform cannot measure
is n/a (null in JSON).

Example: spikegrad bench fmnist --hidden 1000 --device gpu")]
pub struct Arguments {
    /// fmnist, nmnist or shd
    preset: String,
    /// Neurons of every hidden layer, or of each: N or N,N
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "200")]
    hidden: Vec<usize>,
    /// Samples in the batch
    #[arg(long, value_name = "B", default_value_t = 256)]
    batch: usize,
    /// auto, cpu, gpu or gpu:N
    #[arg(long, default_value = "auto", value_parser = device)]
    device: Device,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', value_name = "METHODS", default_value = "sparse,dense")]
    methods: Vec<MethodWord>,
    /// Measured steps of each method
    #[arg(long, value_name = "R", default_value_t = 10)]
    repeat: usize,
    /// Random input of this spike density instead [default: 0.012 for nmnist, 0.016 for shd]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    density: Option<f64>,
    /// Folder of Fashion-MNIST's files
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Decides random input and weights
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// `--methods`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodWord {
    Sparse,
    Dense,
    Reference,
}

impl MethodWord {
    fn method(self) -> Result<Method> {
        match self {
            MethodWord::Sparse => Ok(Method::Sparse),
            MethodWord::Dense => Ok(Method::Dense),
            MethodWord::Reference => bail!(Usage(
                "--methods reference: the reference-style dense baseline is not built yet; there are sparse and dense"
                    .into()
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            MethodWord::Sparse => "sparse",
            MethodWord::Dense => "dense",
            MethodWord::Reference => "reference",
        }
    }
}

/// Measures.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let methods = arguments.methods.iter().map(|word| word.method()).collect::<Result<Vec<Method>>>()?;
    let config = config(arguments)?;
    let network = &config.network;
    let (batch, input) = input(arguments, &config)?;
    let mut engines: Vec<Box<dyn Engine>> = Vec::new();
    for &method in &methods {
        engines.push(arguments.device.open(network, method)?);
    }
    let info = engines[0].info();
    let weights = scaled_weights(network, &batch, TARGET_DENSITY, arguments.seed)?;

    let bar = ProgressBar::new(arguments.repeat as u64);
    if let Ok(style) = ProgressStyle::with_template("measuring [{bar:24}] {pos}/{len} repeats") {
        bar.set_style(style.progress_chars("=> "));
    }
    let plan = Plan { batch: &batch, weights: &weights, adam: config.adam, repeat: arguments.repeat };
    let measured = measure(&mut engines, &plan, &mut |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let slots = (batch.len() * network.inputs * network.time_steps) as f64;
    let input_density = batch.events().len() as f64 / slots;
    let report = Report { arguments, config: &config, input, input_density, info, measured: measured? };
    match arguments.json {
        true => say_json(&report.json())?,
        false => report.lines().iter().try_for_each(say)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn config(arguments: &Arguments) -> Result<RunConfig> {
    let mut config = presets::paper(&arguments.preset).map_err(usage)?;
    let widths = match arguments.hidden[..] {
        [width] => vec![width; config.network.hidden.len()],
        ref widths => widths.to_vec(),
    };
    config.network.set_hidden(&widths).map_err(|e| usage(format!("--hidden: {e}")))?;
    config.batch = arguments.batch;
    config.check().map_err(usage)?;
    if arguments.repeat == 0 {
        bail!(Usage("--repeat 0: must be 1 or more".into()));
    }
    if let Some(density) = arguments.density.filter(|d| !(0.0..=1.0).contains(d)) {
        bail!(Usage(format!("--density {density}: must be 0 to 1")));
    }
    let images = arguments.preset == "fmnist" && arguments.density.is_none();
    if arguments.data.is_some() && !images {
        bail!(Usage("--data: this bench takes random spikes, no data; leave --data out".into()));
    }
    let mut words = arguments.methods.clone();
    words.dedup();
    if words.len() < arguments.methods.len() || (words.len() > 1 && words.first() == words.last()) {
        bail!(Usage("--methods: each method once".into()));
    }
    Ok(config)
}

/// The batch, and what it is.
fn input(arguments: &Arguments, config: &RunConfig) -> Result<(EventSet, String)> {
    let density = match (arguments.density, arguments.preset.as_str()) {
        (Some(density), _) => density,
        (None, "nmnist") => 0.012,
        (None, "shd") => 0.016,
        (None, _) => {
            let data = data::load(&config.preset, arguments.data.as_deref(), &config.network)?;
            if data.train.len() < arguments.batch {
                bail!("--batch {}: {} has only {} training images", arguments.batch, data.origin, data.train.len());
            }
            let input = format!("the first {} training images of {}", arguments.batch, data.origin);
            return Ok((data.train.head(arguments.batch), input));
        }
    };
    let batch = random_spikes(&config.network, arguments.batch, density, arguments.seed)?;
    Ok((batch, format!("random spikes of density {density}, seed {}", arguments.seed)))
}

struct Report<'a> {
    arguments: &'a Arguments,
    config: &'a RunConfig,
    input: String,
    input_density: f64,
    info: DeviceInfo,
    measured: Vec<Measurement>,
}

impl Report<'_> {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.arguments.methods.iter().map(|word| word.name())
    }

    /// The widths of the hidden layers, as one number where they are the same.
    fn hidden(&self) -> Value {
        let widths: Vec<usize> = self.config.network.hidden.iter().map(|layer| layer.neurons).collect();
        match widths.iter().all(|&width| width == widths[0]) {
            true => json!(widths[0]),
            false => json!(widths),
        }
    }

    fn json(&self) -> Value {
        let runs = self.names().zip(&self.measured).map(|(method, measurement)| {
            let mut run = json!(measurement);
            if let Value::Object(fields) = &mut run {
                fields.insert("method".into(), json!(method));
                fields.insert("hidden".into(), self.hidden());
                fields.insert("batch".into(), json!(self.arguments.batch));
            }
            run
        });
        let network = &self.config.network;
        json!({
            "device": self.info,
            "preset": self.config.preset,
            "sizes": network.sizes(),
            "time_steps": network.time_steps,
            "b_th": network.hidden[0].b_th,
            "input": self.input,
            "input_density": self.input_density,
            "repeat": self.arguments.repeat,
            "runs": runs.collect::<Vec<_>>(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let network = &self.config.network;
        let first = &self.measured[0];
        let mut lines = vec![
            format!(
                "{}: {}, T = {}, batch {}, B_th = {}",
                self.config.preset,
                show::sizes(&network.sizes()),
                network.time_steps,
                self.arguments.batch,
                network.hidden[0].b_th
            ),
            format!("device: {}", show::device(&self.info)),
            format!("input: {}; spiking {}", self.input, show::percent(self.input_density)),
            format!(
                "hidden layers: spiking {}, active {} (weights scaled for {})",
                percents(&first.spike_density),
                percents(&first.activity),
                show::percent(TARGET_DENSITY)
            ),
        ];
        for (method, m) in self.names().zip(&self.measured) {
            lines.push(String::new());
            lines.extend(passes(method, m));
        }
        lines.push(String::new());
        lines.extend(self.summary());
        lines
    }

    fn summary(&self) -> Vec<String> {
        let row = |name: &str, of: &dyn Fn(&Measurement) -> String| -> Vec<String> {
            std::iter::once(name.to_string()).chain(self.measured.iter().map(of)).collect()
        };
        let mut head = vec![format!("median of {}", self.arguments.repeat)];
        head.extend(self.names().map(String::from));
        let rows = vec![
            head,
            row("forward, ms", &|m| ms(m.forward_ms)),
            row("backward, ms", &|m| ms(m.backward_ms)),
            row("whole step, ms", &|m| ms(Some(m.step_ms))),
            row("  fastest, ms", &|m| ms(Some(m.step_ms_min_max[0]))),
            row("  slowest, ms", &|m| ms(Some(m.step_ms_min_max[1]))),
            row("memory of a step", &|m| bytes(m.state_bytes)),
            row("loss", &|m| format!("{:.5}", m.loss)),
        ];
        let of = |word| self.arguments.methods.iter().position(|&w| w == word).map(|k| &self.measured[k]);
        let (Some(sparse), Some(dense)) = (of(MethodWord::Sparse), of(MethodWord::Dense)) else {
            return table(&rows, 1);
        };
        let mut lines = table(&rows, 1);
        let ratio = |of: fn(&Measurement) -> Option<f64>| match (of(dense), of(sparse)) {
            (Some(d), Some(s)) if s > 0.0 => format!("{}×", three_digits(d / s)),
            _ => "n/a".into(),
        };
        let saved = 100.0 * (1.0 - sparse.state_bytes as f64 / dense.state_bytes as f64);
        lines.extend([
            String::new(),
            format!(
                "dense / sparse: forward {}, backward {}, whole step {}; memory 1 - sparse/dense = {saved:.1} %",
                ratio(|m| m.forward_ms),
                ratio(|m| m.backward_ms),
                ratio(|m| Some(m.step_ms)),
            ),
            format!(
                "dense is this program's own fused baseline (matrix products, linear-time scans) on the same {} device,",
                self.info.kind
            ),
            "its surrogate masked as sparse's. Memory is what a step needs beyond weights, moments and input.".into(),
        ]);
        lines
    }
}

/// Every kernel of a method, and its memory.
fn passes(method: &str, m: &Measurement) -> Vec<String> {
    let mut rows = vec![[method, "calls", "ms"].map(String::from).to_vec()];
    rows.extend(m.kernels.iter().map(|k| vec![format!("  {}", k.name), k.calls.to_string(), ms(k.ms)]));
    rows.push(vec!["  memory".into()]);
    rows.extend(m.memory.iter().map(|part| vec![format!("    {}", part.name), String::new(), bytes(part.bytes)]));
    table(&rows, 1)
}

fn ms(time: Option<f64>) -> String {
    time.map_or("n/a".into(), |ms| format!("{ms:.3}"))
}
