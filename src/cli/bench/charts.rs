//! `--charts`: draws the results as charts.

use super::report::BenchReport;
use anyhow::{Context, Result};
use spikegrad::bench::Measurement;
use spikegrad::plot::{self, Bars, Line, Lines, crossings, save_bars, save_lines};
use std::path::Path;

/// Draws into `folder`, each chart as PNG and SVG, and creates the folder if it does not exist.
pub fn draw(folder: &Path, report: &BenchReport) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let save = |name: &str, bars: &Bars| plot::files(folder, name).iter().try_for_each(|path| save_bars(path, bars));
    let config = &report.measured[0].case.config;
    let of = |what: &str| format!("{what}: {}, batch {}, {} device", config.preset, config.batch, report.info.kind);
    let densities = report.measured.iter().any(|m| m.case.density.is_some());
    let by_method = |what: &str, quantity: &str, value: fn(&Measurement) -> f64| Bars {
        title: of(what),
        quantity: format!(
            "{quantity}{}",
            if densities { "; %: density of the input and the hidden layers" } else { "" }
        ),
        series: report.names().map(String::from).collect(),
        groups: (report.measured.iter())
            .map(|m| (m.case.name(), m.measurements.iter().map(|m| Some(value(m))).collect()))
            .collect(),
    };
    save("step-time", &by_method("Time of a training step", "ms, median", |m| m.step_ms))?;
    let mib = |m: &Measurement| m.state_bytes as f64 / f64::from(1 << 20);
    save("memory", &by_method("Memory of a training step", "MiB", mib))?;
    for (k, method) in report.names().enumerate() {
        let first = &report.measured[0];
        let mut kernels: Vec<_> = first.measurements[k].kernels.iter().collect();
        kernels.sort_by(|a, b| b.ms.unwrap_or(0.0).total_cmp(&a.ms.unwrap_or(0.0)));
        let chart = Bars {
            title: of(&format!("Kernels of the {method} step, {}", first.case.name())),
            quantity: "ms, median of a step".into(),
            series: vec![method.into()],
            groups: kernels.into_iter().map(|kernel| (kernel.name.clone(), vec![kernel.ms])).collect(),
        };
        save(&format!("kernels-{method}"), &chart)?;
    }
    let speed_ups = report.speed_ups();
    if speed_ups.iter().any(|(_, points)| points.len() > 1) {
        let crossing = |points: &Vec<(f64, f64)>| crossings(points, 1.0);
        let percent = |&(x, y): &(f64, f64)| (100.0 * x, y);
        let chart = Lines {
            title: of("Dense step / sparse step"),
            panel: "Speed-up by density".into(),
            x: "density of the input and the hidden layers, %",
            y: "time of dense / time of sparse",
            level: Some(1.0),
            marks: (speed_ups.iter().flat_map(|(_, points)| crossing(points)))
                .map(|x| (100.0 * x, 1.0, format!("equal at {:.1} %", 100.0 * x)))
                .collect(),
            lines: speed_ups
                .into_iter()
                .map(|(name, points)| Line { name, points: points.iter().map(percent).collect() })
                .collect(),
        };
        plot::files(folder, "speed-up").iter().try_for_each(|path| save_lines(path, &chart))?;
    }
    Ok(())
}
