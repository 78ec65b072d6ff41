//! `bench --count`: what the kernels of the gpu device execute, compared with the theoretical minimum.

use super::super::show::{self, say, say_json, table, three_digits};
use super::cases::{self, Base, BenchCase};
use super::{Arguments, TierWord};
use crate::cli::Usage;
use crate::cli::progress::Progress;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use spikegrad::bench::{Facts, Least, least_among};
use spikegrad::device::Device;
use spikegrad::engine::{DeviceInfo, Engine};
use spikegrad::gpu::count::KernelCount;
use spikegrad::gpu::{GpuEngine, GpuOptions, Instrument, Tier};

pub fn run(arguments: &Arguments) -> Result<()> {
    let adapter = match arguments.device {
        Device::Cpu => bail!(Usage("--count: only the gpu device has kernels to count; use --device gpu".into())),
        Device::Auto => None,
        Device::Gpu(adapter) => adapter,
    };
    let tier = arguments.tier.map(|word| match word {
        TierWord::Software => Tier::Software,
        TierWord::Hardware => Tier::Hardware,
    });
    let options = GpuOptions {
        adapter,
        tier,
        instrument: Some(Instrument::Count),
        ..arguments.gpu.options(Device::Gpu(adapter))?
    };
    let mut runs = Vec::new();
    let mut info = None;
    let progress = Progress::new(!arguments.json);
    let base = Base::read(arguments, &progress)?;
    for plan in cases::plans(arguments, &base)? {
        progress.aside(|| plan.estimates(arguments, Device::Gpu(adapter), options.delta_bytes))?;
        progress.stage("preparing the batch");
        let case = plan.build(arguments, &base)?;
        let weights = case.weights(arguments.seed)?;
        let facts = Facts::exact(&case.config.network, &weights, &case.batch)?;
        for word in &arguments.methods {
            progress.stage(format!("{}: counting {}", case.name(), word.name()));
            let mut engine = GpuEngine::new(&case.config.network, word.method(), &weights, options.clone())?;
            engine.train(&case.batch, &case.config.adam)?;
            engine.reports(true)?;
            let kernels = engine.counted()?;
            progress.clear();
            info = Some(engine.info());
            let run = CountedRun { method: word.name(), case: &case, facts: &facts, kernels };
            match arguments.json {
                true => runs.push(run.json()),
                false => run.print(&engine.info())?,
            }
        }
    }
    match arguments.json {
        true => say_json(&json!({ "device": info, "preset": base.config.preset, "runs": runs })),
        false => Ok(()),
    }
}

struct CountedRun<'a> {
    method: &'static str,
    case: &'a BenchCase,
    facts: &'a Facts,
    kernels: Vec<KernelCount>,
}

impl CountedRun<'_> {
    fn least(&self, kernel: &KernelCount) -> Option<Least> {
        least_among(&kernel.name, self.kernels.iter().map(|k| k.name.as_str()), self.facts)
    }

    fn json(&self) -> Value {
        let kernels = self.kernels.iter().map(|kernel| {
            let mut value = json!(kernel);
            if let (Value::Object(fields), Some(Value::Object(least))) =
                (&mut value, self.least(kernel).map(|least| json!(least)))
            {
                fields.extend(least);
            }
            value
        });
        json!({
            "method": self.method,
            "hidden": self.case.hidden(),
            "batch": self.case.batch.len(),
            "sizes": self.case.config.network.sizes(),
            "spikes": self.facts.spikes,
            "active": self.facts.active,
            "kernels": kernels.collect::<Vec<_>>(),
        })
    }

    fn print(&self, info: &DeviceInfo) -> Result<()> {
        let network = &self.case.config.network;
        say(format_args!(
            "{} of {}: {}, T = {}, batch {}; {} spikes, {} active entries",
            self.method,
            self.case.config.preset,
            self.case.name(),
            network.time_steps,
            self.case.batch.len(),
            show::thousands(self.facts.spikes.iter().sum::<f64>() as u64),
            show::thousands(self.facts.active.iter().sum::<f64>() as u64),
        ))?;
        say(format_args!("counted on {}", show::device(info)))?;
        say("")?;
        let head = [
            "MiB",
            "dispatches",
            "executed",
            "minimum",
            "ratio",
            "operands",
            "ratio",
            "M multiply-adds",
            "minimum",
            "ratio",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        let mut total = [0.0; 5];
        for kernel in &self.kernels {
            let issued = [kernel.work.bytes() as f64, kernel.work.multiply_adds as f64];
            let least = self.least(kernel);
            rows.push(row(
                &kernel.name,
                Some(kernel.dispatches),
                issued,
                least.map(|l| [l.least_bytes, l.operand_bytes, l.least_multiply_adds]),
            ));
            if let Some(least) = least {
                let numbers = [issued[0], issued[1], least.least_bytes, least.operand_bytes, least.least_multiply_adds];
                total.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
            }
        }
        let [bytes, multiply_adds, least, operands, least_multiply_adds] = total;
        rows.push(row("all with a least", None, [bytes, multiply_adds], Some([least, operands, least_multiply_adds])));
        table(&rows, 1).iter().try_for_each(say)?;
        say("")?;
        say("executed: loads and stores of storage buffers as the WGSL executes them, summed over lanes; caches and")?;
        say("sharing between lanes are ignored. minimum: every input read once, every output written once.")?;
        say("operands: the minimum if every spike reads its own row of weights or deltas, with nothing reused.")?;
        say("")
    }
}

/// `least`: bytes, operands' bytes, multiply-adds.
fn row(name: &str, dispatches: Option<u32>, [bytes, multiply_adds]: [f64; 2], least: Option<[f64; 3]>) -> Vec<String> {
    let number = |x: f64| if x < 0.0005 { "0".into() } else { three_digits(x) };
    let mib = |x: f64| number(x / f64::from(1 << 20));
    let ratio = |x: f64, least: f64| if least > 0.0 { format!("{}×", three_digits(x / least)) } else { "-".into() };
    let mut row = vec![name.to_string(), dispatches.map_or(String::new(), |n| n.to_string()), mib(bytes)];
    match least {
        Some([least, operands, least_multiply_adds]) => row.extend([
            mib(least),
            ratio(bytes, least),
            mib(operands),
            ratio(bytes, operands),
            number(multiply_adds / 1e6),
            number(least_multiply_adds / 1e6),
            ratio(multiply_adds, least_multiply_adds),
        ]),
        None => row.extend(["-", "-", "-", "-"].map(String::from).into_iter().chain([number(multiply_adds / 1e6)])),
    }
    row
}
