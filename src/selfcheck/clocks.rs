//! Section `clocks`: times of steps after idling, which show how a GPU's clock rate rises.

use super::task::Task;
use super::workloads::Workload;
use crate::engine::Engine;
use crate::error::Result;
use crate::optimiser::Adam;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Idle time before the first step, and duration of the steps.
const IDLE_AND_BUSY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
const QUICK: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// Duration of a point of the series, s.
const POINT: f64 = 0.05;
/// Maximum number of steps per point.
const MOST_STEPS: usize = 256;

/// Runs the section.
pub fn run(task: &mut Task) -> Result<()> {
    task.doing("making the workload");
    let workload = Workload::first(task.quick)?;
    // Software adapters take seconds for a full batch.
    let workload = if task.is_software()? { workload.smaller() } else { workload.prepare() }?;
    let [idle, busy] = if task.quick { QUICK } else { IDLE_AND_BUSY };
    let series = task.item("steps from idle on", |task| {
        let mut engine = task.open(&workload.network, &workload.weights, task.options())?;
        engine.hold(Arc::new(workload.batch.clone()))?;
        series(&mut engine, workload.batch.len(), idle, busy)
    });
    let Some(series) = series else { return Ok(()) };
    let (first, last) = ends(&series);
    task.headline(format!("{first:.2} ms a step from idle, {last:.2} ms after {:.1} s", busy.as_secs_f64()));
    let points: Vec<[f64; 2]> = series.iter().map(|&(at, ms)| [round(at), round(ms)]).collect();
    task.found(json!({
        "workload": workload.name,
        "idle_seconds": idle.as_secs_f64(),
        "first_ms": first,
        "last_ms": last,
        "seconds_and_ms_a_step": points,
    }));
    Ok(())
}

fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

/// (seconds since the first step, ms per step) of groups of steps; the first group is a single step.
fn series(engine: &mut dyn Engine, samples: usize, idle: Duration, busy: Duration) -> Result<Vec<(f64, f64)>> {
    let samples: Vec<u32> = (0..samples as u32).collect();
    let still = Adam { lr: 1e-30, ..Adam::with_lr(1e-3) };
    let mut group = |n: usize| -> Result<f64> {
        let clock = Instant::now();
        for _ in 0..n {
            engine.train_held(&samples, &still)?;
        }
        engine.reports(true)?;
        Ok(clock.elapsed().as_secs_f64())
    };
    // Warm-up: compiles pipelines, and allocates buffers and lists.
    group(1)?;
    std::thread::sleep(idle);
    let begun = Instant::now();
    let mut points = Vec::new();
    let mut n = 1;
    while begun.elapsed() < busy || points.len() < 2 {
        let at = begun.elapsed().as_secs_f64();
        let seconds = group(n)?;
        points.push((at, 1e3 * seconds / n as f64));
        n = ((POINT * n as f64 / seconds.max(1e-9)) as usize).clamp(1, 2 * n).min(MOST_STEPS);
    }
    Ok(points)
}

/// The time of the first point, and the median of the last third.
fn ends(series: &[(f64, f64)]) -> (f64, f64) {
    let mut last: Vec<f64> = series[series.len() - series.len().div_ceil(3)..].iter().map(|&(_, ms)| ms).collect();
    last.sort_by(f64::total_cmp);
    (series.first().map_or(0.0, |&(_, ms)| ms), last.get(last.len() / 2).copied().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_series() {
        let series: Vec<(f64, f64)> = [9.0, 5.0, 3.0, 2.0, 1.0, 1.5].iter().map(|&ms| (0.0, ms)).collect();
        assert_eq!(ends(&series), (9.0, 1.5));
        assert_eq!(ends(&series[..2]), (9.0, 5.0));
        assert_eq!(ends(&[]), (0.0, 0.0));
    }
}
