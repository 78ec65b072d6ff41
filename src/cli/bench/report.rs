//! Prints the results as tables or JSON.

use super::super::show::{self, bytes, magnitude, percents, say, say_json, table, three_digits};
use super::cases::BenchCase;
use super::{Arguments, MethodWord};
use anyhow::Result;
use serde_json::{Value, json};
use spikegrad::bench::{Ceilings, KernelFigures, Measurement, Steady};
use spikegrad::engine::DeviceInfo;
use spikegrad::memory::Estimate;
use spikegrad::plot::crossings;

/// A case with the results of each method.
pub struct MeasuredCase {
    pub case: BenchCase,
    pub measurements: Vec<Measurement>,
    /// With `--steady`.
    pub steady: Vec<Option<Steady>>,
    /// How each engine runs its kernels.
    pub kernels: Vec<[(&'static str, Value); 3]>,
    pub estimates: Vec<Estimate>,
}

impl MeasuredCase {
    /// Time of a dense step / time of a sparse step, if both were measured.
    pub fn speed_up(&self, methods: &[MethodWord]) -> Option<f64> {
        let of = |word| methods.iter().position(|&w| w == word).map(|k| self.measurements[k].step_ms);
        Some(of(MethodWord::Dense)? / of(MethodWord::Sparse)?)
    }
}

pub struct BenchReport<'a> {
    pub arguments: &'a Arguments,
    pub info: DeviceInfo,
    pub ceilings: Ceilings,
    pub measured: Vec<MeasuredCase>,
}

impl BenchReport<'_> {
    pub fn print(&self) -> Result<()> {
        match (self.arguments.json, &self.measured[..]) {
            (true, _) => say_json(&self.json()),
            (false, [one]) => self.one(one).iter().try_for_each(say),
            (false, _) => self.many().iter().try_for_each(say),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.arguments.methods.iter().map(|word| word.name())
    }

    fn json(&self) -> Value {
        let mut runs = Vec::new();
        for MeasuredCase { case, measurements, steady, kernels, estimates } in &self.measured {
            for (k, ((method, measurement), estimate)) in self.names().zip(measurements).zip(estimates).enumerate() {
                let mut run = json!(measurement);
                if let Value::Object(fields) = &mut run {
                    fields.insert("steady".into(), json!(steady[k]));
                    fields.extend(kernels[k].iter().map(|(name, value)| (name.to_string(), value.clone())));
                    fields.insert("method".into(), json!(method));
                    fields.insert("hidden".into(), case.hidden());
                    fields.insert("batch".into(), json!(case.batch.len()));
                    fields.insert("sizes".into(), json!(case.config.network.sizes()));
                    fields.insert("input_density".into(), json!(case.input_density));
                    fields.insert("target_density".into(), json!(case.target));
                    fields.insert("estimated_bytes".into(), json!(estimate.step_bytes()));
                }
                runs.push(run);
            }
        }
        let first = &self.measured[0].case;
        let network = &first.config.network;
        json!({
            "device": self.info,
            "ceilings": self.ceilings,
            "preset": first.config.preset,
            "sizes": network.sizes(),
            "time_steps": network.time_steps,
            "b_th": network.hidden.first().map(|layer| layer.b_th),
            "recurrent": network.first_recurrent().is_some(),
            "input": first.input,
            "input_density": first.input_density,
            "repeat": self.arguments.repeat,
            "runs": runs,
        })
    }

    fn head(&self, case: &BenchCase, sizes: &str) -> Vec<String> {
        let network = &case.config.network;
        let b_th = network.hidden.first().map_or(String::new(), |layer| format!(", B_th = {}", layer.b_th));
        vec![
            format!(
                "{}{sizes}{}, T = {}, batch {}{b_th}",
                case.config.preset,
                if network.first_recurrent().is_some() { ", recurrent" } else { "" },
                network.time_steps,
                case.batch.len()
            ),
            format!("device: {}", show::device(&self.info)),
            format!(
                "  for comparison: {}B/s copying large arrays, {} multiply-adds/s in registers",
                magnitude(self.ceilings.bytes_per_second),
                magnitude(self.ceilings.multiply_adds_per_second)
            ),
        ]
    }

    /// The full report of a single case.
    fn one(&self, measured: &MeasuredCase) -> Vec<String> {
        let MeasuredCase { case, measurements, .. } = measured;
        let first = &measurements[0];
        let mut lines = self.head(case, &format!(": {}", show::sizes(&case.config.network.sizes())));
        lines.push(format!("input: {}; density {}", case.input, show::percent(case.input_density)));
        lines.push(format!(
            "hidden layers: density {} (weights scaled for {}), active {}",
            percents(&first.spike_density),
            show::percent(case.target),
            percents(&first.activity)
        ));
        for (method, m) in self.names().zip(measurements) {
            lines.push(String::new());
            lines.extend(self.passes(method, m));
        }
        lines.push(String::new());
        lines.extend(self.summary(measured));
        lines
    }

    /// Times of a method's kernels, and its memory.
    fn passes(&self, method: &str, m: &Measurement) -> Vec<String> {
        let head = [method, "calls", "ms", "min-max", "B/s", "multiply-adds/s"];
        let mut rows = vec![head.map(String::from).to_vec()];
        let rate = |rate: Option<f64>| rate.map_or("-".into(), magnitude);
        let row = |k: &KernelFigures| {
            let range = k.ms_min_max.map_or("n/a".into(), |[least, most]| format!("{least:.3}-{most:.3}"));
            let rates = [rate(k.bytes_per_second), rate(k.multiply_adds_per_second)];
            [format!("  {}", k.name), k.calls.to_string(), ms(k.ms), range].into_iter().chain(rates).collect()
        };
        rows.extend(m.kernels.iter().map(row));
        rows.push(vec!["  memory".into()]);
        rows.extend(m.memory.iter().map(|part| vec![format!("    {}", part.name), String::new(), bytes(part.bytes)]));
        table(&rows, 1)
    }

    fn summary(&self, MeasuredCase { measurements, steady, kernels, .. }: &MeasuredCase) -> Vec<String> {
        let row = |name: &str, of: &dyn Fn(&Measurement) -> String| -> Vec<String> {
            std::iter::once(name.to_string()).chain(measurements.iter().map(of)).collect()
        };
        let mut head = vec![format!("median of {}", self.arguments.repeat)];
        head.extend(self.names().map(String::from));
        let mut rows = vec![
            head,
            row("forward, ms", &|m| ms(m.forward_ms)),
            row("backward, ms", &|m| ms(m.backward_ms)),
            row("whole step, ms", &|m| ms(Some(m.step_ms))),
            row("  fastest, ms", &|m| ms(Some(m.step_ms_min_max[0]))),
            row("  slowest, ms", &|m| ms(Some(m.step_ms_min_max[1]))),
        ];
        let steady: Vec<&Steady> = steady.iter().flatten().collect();
        let steady_row = |name: &str, of: &dyn Fn(&Steady) -> String| -> Vec<String> {
            std::iter::once(name.to_string()).chain(steady.iter().map(|steady| of(steady))).collect()
        };
        if !steady.is_empty() {
            rows.extend([
                steady_row("steady step, ms", &|s| ms(Some(s.ms))),
                steady_row("  fastest group, ms", &|s| ms(Some(s.ms_min_max[0]))),
                steady_row("  slowest group, ms", &|s| ms(Some(s.ms_min_max[1]))),
                steady_row("  steps, groups", &|s| format!("{}, {}", s.steps, s.groups)),
            ]);
        }
        rows.push(row("memory of a step", &|m| bytes(m.state_bytes)));
        if let Some(delta) = delta_mib(&kernels[0]) {
            rows.push(
                std::iter::once(delta.0.into()).chain(kernels.iter().filter_map(delta_mib).map(|d| d.1)).collect(),
            );
        }
        rows.push(row("loss", &|m| format!("{:.5}", m.loss)));
        let of = |word| self.arguments.methods.iter().position(|&w| w == word).map(|k| &measurements[k]);
        let mut lines = table(&rows, 1);
        let Some(sparse) = of(MethodWord::Sparse) else { return lines };
        for (word, against) in [(MethodWord::Dense, "dense"), (MethodWord::Reference, "reference")] {
            let Some(dense) = of(word) else { continue };
            let ratio = |of: fn(&Measurement) -> Option<f64>| match (of(dense), of(sparse)) {
                (Some(d), Some(s)) if s > 0.0 => format!("{}×", three_digits(d / s)),
                _ => "n/a".into(),
            };
            let saved = 100.0 * (1.0 - sparse.state_bytes as f64 / dense.state_bytes as f64);
            lines.push(String::new());
            lines.push(format!(
                "{against} / sparse: forward {}, backward {}, whole step {}; memory 1 - sparse/{against} = {saved:.1} %",
                ratio(|m| m.forward_ms),
                ratio(|m| m.backward_ms),
                ratio(|m| Some(m.step_ms)),
            ));
        }
        if !steady.is_empty() {
            lines.push(
                "Single steps include waiting for the device; steady steps are queued and waited for in groups.".into(),
            );
            if steady.iter().any(|steady| !steady.resident) {
                lines.push("Steady steps of the dense methods upload the batch from the host for each step.".into());
            }
        }
        lines.push(format!(
            "dense is this program's own fused baseline (matrix products, linear-time scans) on the same {} device, with the",
            self.info.kind
        ));
        lines.push(
            "same masked surrogate gradient as sparse. Memory is what a step needs beyond weights, moments and input."
                .into(),
        );
        lines
    }

    /// One row per case and method.
    fn many(&self) -> Vec<String> {
        let mut lines = self.head(&self.measured[0].case, "");
        lines.push(String::new());
        let head = [
            "sizes",
            "method",
            "input density",
            "density",
            "active",
            "forward",
            "backward",
            "step, ms",
            "min-max",
            "memory",
            "dense/sparse",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        if self.arguments.steady.is_some() {
            rows[0].extend(["steady, ms", "min-max"].map(String::from));
        }
        for measured in &self.measured {
            let MeasuredCase { case, measurements, steady, .. } = measured;
            let speed_up = measured.speed_up(&self.arguments.methods);
            for (k, (method, m)) in self.names().zip(measurements).enumerate() {
                rows.push(vec![
                    show::sizes(&case.config.network.sizes()),
                    method.into(),
                    show::percent(case.input_density),
                    percents(&m.spike_density),
                    percents(&m.activity),
                    ms(m.forward_ms),
                    ms(m.backward_ms),
                    ms(Some(m.step_ms)),
                    format!("{:.3}-{:.3}", m.step_ms_min_max[0], m.step_ms_min_max[1]),
                    bytes(m.state_bytes),
                    speed_up.filter(|_| k == 0).map_or(String::new(), |x| format!("{}×", three_digits(x))),
                ]);
                if let (Some(row), Some(Some(steady))) = (rows.last_mut(), steady.get(k)) {
                    let [least, most] = steady.ms_min_max;
                    row.extend([ms(Some(steady.ms)), format!("{least:.3}-{most:.3}")]);
                }
            }
        }
        lines.extend(table(&rows, 2));
        for (name, points) in self.speed_ups() {
            for density in crossings(&points, 1.0) {
                let density = three_digits(100.0 * density);
                lines.push(format!("{name}: dense and sparse take the same time at a density of about {density} %"));
            }
        }
        lines
    }

    /// dense / sparse over the densities of `--densities`, for each size.
    pub fn speed_ups(&self) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut curves: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for measured in &self.measured {
            let (Some(x), Some(y)) = (measured.case.density, measured.speed_up(&self.arguments.methods)) else {
                continue;
            };
            let name = show::sizes(&measured.case.config.network.sizes());
            match curves.last_mut() {
                Some((last, points)) if *last == name => points.push((x, y)),
                _ => curves.push((name, vec![(x, y)])),
            }
        }
        curves.iter_mut().for_each(|(_, points)| points.sort_by(|a, b| a.0.total_cmp(&b.0)));
        curves
    }
}

/// The size of a gpu device's δ scratch, and the name of its row.
fn delta_mib(fields: &[(&'static str, Value); 3]) -> Option<(&'static str, String)> {
    let (_, value) = fields.iter().find(|(name, _)| *name == "delta_mib")?;
    match value {
        Value::Null => None,
        Value::String(word) => Some(("  delta scratch, MiB", word.clone())),
        number => Some(("  delta scratch, MiB", number.to_string())),
    }
}

pub fn ms(time: Option<f64>) -> String {
    time.map_or("n/a".into(), |ms| format!("{ms:.3}"))
}
