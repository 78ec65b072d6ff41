//! `bench --sweep`: how a step's time grows along an axis.

use super::super::show::{self, magnitude, percents, say, say_json, table};
use super::cases::{self, Base, trim};
use super::{Arguments, AxisWord, MethodWord};
use crate::cli::progress::Progress;
use anyhow::{Context, Result};
use serde_json::json;
use spikegrad::bench::TARGET_DENSITY;
use spikegrad::bench::sweep::{Fit, Point, PointBudget, Sweep, SweepAxis, SweepBase, sweep};
use spikegrad::engine::DeviceInfo;
use spikegrad::plot::{self, Line, Lines, save_lines};
use spikegrad::results::save_text;
use spikegrad::weights::Weights;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

impl AxisWord {
    fn axis(self) -> SweepAxis {
        match self {
            AxisWord::Density => SweepAxis::Density,
            AxisWord::Neurons => SweepAxis::Neurons,
            AxisWord::Steps => SweepAxis::Steps,
            AxisWord::EmptySteps => SweepAxis::EmptySteps,
            AxisWord::Batch => SweepAxis::Batch,
            AxisWord::Depth => SweepAxis::Depth,
        }
    }
}

pub fn run(arguments: &Arguments, word: AxisWord) -> Result<()> {
    let device = arguments.device.resolve();
    let progress = Progress::new(!arguments.json);
    let read = Base::read(arguments, &progress)?;
    let preset = &read.config.preset;
    let config = read.with(arguments, &arguments.hidden)?;
    let base = SweepBase {
        batch: config.batch,
        input_density: arguments.density.unwrap_or(cases::usual_density(preset)),
        hidden_density: arguments.target.unwrap_or(TARGET_DENSITY),
        adam: config.adam,
        seed: arguments.seed,
        network: config.network,
    };
    let axis = word.axis();
    let points = if arguments.points.is_empty() { axis.usual_points() } else { &arguments.points[..] };
    let budget = PointBudget {
        repeat: arguments.repeat,
        time: Duration::from_secs(arguments.seconds),
        bytes: arguments.memory.map(|mib| mib << 20),
    };
    let weights = Weights::zeros_of(&base.network);
    let info = device.open(&base.network, MethodWord::Sparse.method(), &weights)?.info();
    let mut sweeps = Vec::new();
    for word in &arguments.methods {
        let tell = &mut |at: f64| progress.stage(format!("{}: {} = {}", word.name(), axis.name(), trim(at)));
        sweeps.push((word.name(), sweep(device, word.method(), &base, axis, points, &budget, tell)?));
    }
    progress.clear();
    if let Some(file) = &arguments.csv {
        save_text(file, &csv(&sweeps))?;
    }
    let title = title(preset, &base, axis, &info);
    if let Some(folder) = &arguments.charts {
        let densities = match axis {
            SweepAxis::Density | SweepAxis::EmptySteps => String::new(),
            _ => format!(", density {} / {} %", trim(100.0 * base.input_density), trim(100.0 * base.hidden_density)),
        };
        let title = format!("Time of a step by {}: {}{densities}, {} device", words(axis), preset, info.kind);
        let panel = fixed(&base, axis);
        draw(folder, axis, (title, panel), &sweeps)?;
    }
    if arguments.json {
        let sweeps: Vec<&Sweep> = sweeps.iter().map(|(_, sweep)| sweep).collect();
        return say_json(&json!({ "device": info, "preset": preset, "title": title, "sweeps": sweeps }));
    }
    say(&title)?;
    say(format_args!("device: {}", show::device(&info)))?;
    sweeps.iter().try_for_each(|(method, sweep)| print(method, sweep))
}

/// The axis in titles.
fn words(axis: SweepAxis) -> &'static str {
    match axis {
        SweepAxis::Density => "density",
        SweepAxis::Neurons => "hidden neurons",
        SweepAxis::Steps => "time steps",
        SweepAxis::EmptySteps => "time steps without spikes",
        SweepAxis::Batch => "batch size",
        SweepAxis::Depth => "hidden layers",
    }
}

/// What does not change along the axis, for the head of the chart: `784-200-200-10, T = 100, batch 256`.
fn fixed(base: &SweepBase, axis: SweepAxis) -> String {
    let network = match axis {
        SweepAxis::Neurons => format!("{} hidden layers", base.network.hidden.len()),
        SweepAxis::Depth => {
            format!("hidden layers of {}", base.network.hidden.first().map_or(0, |layer| layer.neurons))
        }
        _ => show::sizes(&base.network.sizes()),
    };
    let steps = !matches!(axis, SweepAxis::Steps | SweepAxis::EmptySteps);
    let parts = [
        Some(network),
        steps.then(|| format!("T = {}", base.network.time_steps)),
        (axis != SweepAxis::Batch).then(|| format!("batch {}", base.batch)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn title(preset: &str, base: &SweepBase, axis: SweepAxis, info: &DeviceInfo) -> String {
    let of = |this: SweepAxis, words: String| if axis == this { None } else { Some(words) };
    let density = format!("density {} / {}", trim(base.input_density), trim(base.hidden_density));
    let steps = if axis == SweepAxis::EmptySteps {
        None
    } else {
        of(SweepAxis::Steps, format!("T = {}", base.network.time_steps))
    };
    let parts = [
        Some(show::sizes(&base.network.sizes())),
        steps,
        of(SweepAxis::Batch, format!("batch {}", base.batch)),
        of(SweepAxis::Density, density),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("Step by {}: {}, {}, {}", axis.name(), preset, parts.join(", "), info.kind)
}

fn print(method: &str, sweep: &Sweep) -> Result<()> {
    say("")?;
    let head = [
        sweep.axis.name(),
        "step, ms",
        "min-max",
        "repeats",
        "spikes + active",
        "products",
        "B T N",
        "memory",
        "density",
        "active",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(sweep.points.iter().map(|p| {
        vec![
            trim(p.at),
            format!("{:.3}", p.step_ms),
            format!("{:.3}-{:.3}", p.step_ms_min_max[0], p.step_ms_min_max[1]),
            p.steps.to_string(),
            magnitude(p.events),
            magnitude(p.synaptic_operations),
            magnitude(p.slots),
            show::bytes(p.state_bytes),
            percents(&p.spike_density),
            percents(&p.activity),
        ]
    }));
    say(format_args!("{method}:"))?;
    table(&rows, 0).iter().try_for_each(say)?;
    for skipped in &sweep.skipped {
        say(format_args!("{} = {} skipped: {}", sweep.axis.name(), trim(skipped.at), skipped.reason))?;
    }
    let exponent = |fit: &Option<Fit>| match fit {
        Some(fit) => format!("{:.2} (r² {:.3})", fit.exponent, fit.r_squared),
        None => "not fitted (hardly changed)".into(),
    };
    say(format_args!(
        "time grows with the power of: spikes + active entries {}; products {}; B T N {}",
        exponent(&sweep.in_events),
        exponent(&sweep.in_synaptic_operations),
        exponent(&sweep.in_slots)
    ))
}

fn csv(sweeps: &[(&str, Sweep)]) -> String {
    let mut text = String::from(
        "method,axis,at,step_ms,fastest_ms,slowest_ms,steps,events,synaptic_operations,slots,state_bytes,skipped\n",
    );
    for (method, sweep) in sweeps {
        let axis = sweep.axis.name();
        for Point {
            at,
            step_ms,
            step_ms_min_max: [least, most],
            steps,
            events,
            synaptic_operations,
            slots,
            state_bytes,
            ..
        } in &sweep.points
        {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{method},{axis},{at},{step_ms},{least},{most},{steps},{events},{synaptic_operations},{slots},{state_bytes},"
            );
        }
        for skipped in &sweep.skipped {
            let reason = skipped.reason.replace('"', "\"\"");
            let _ = writeln!(text, "{method},{axis},{},,,,,,,,,\"{reason}\"", skipped.at);
        }
    }
    text
}

fn draw(folder: &Path, axis: SweepAxis, (title, panel): (String, String), sweeps: &[(&str, Sweep)]) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let x = match axis {
        SweepAxis::Density => "density (spikes / entries)",
        SweepAxis::Neurons => "neurons of a hidden layer",
        SweepAxis::Steps => "time steps",
        SweepAxis::EmptySteps => "time steps, the same number of spikes",
        SweepAxis::Batch => "samples in the batch",
        SweepAxis::Depth => "hidden layers",
    };
    let line = |(method, sweep): &(&str, Sweep)| {
        let name = match &sweep.in_events {
            Some(fit) => format!("{method} ∝ events^{:.2}", fit.exponent).replace('-', "−"),
            None => method.to_string(),
        };
        Line { name, points: sweep.points.iter().map(|p| (p.at, p.step_ms)).collect() }
    };
    let lines = Lines {
        title,
        panel,
        x,
        y: "time of a step, ms (median)",
        lines: sweeps.iter().map(line).collect(),
        level: None,
        marks: Vec::new(),
    };
    let files = plot::files(folder, &format!("sweep-{}", axis.name()));
    Ok(files.iter().try_for_each(|path| save_lines(path, &lines))?)
}
