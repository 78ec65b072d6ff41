//! Steps as a long training queues them.

use super::measure::{Plan, median, min_max};
use crate::engine::{Engine, TrainingState};
use crate::error::{Error, Result};
use crate::optimiser::Adam;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Seconds of steps before the first that is measured: an idle GPU runs at a fraction of its clock.
const WARM_UP_SECONDS: f64 = 1.0;
/// Groups that the measured time is divided into.
const GROUPS: f64 = 20.0;
/// Fewest groups, however long a step takes.
const FEWEST_GROUPS: usize = 5;
/// Most steps that are queued before the host waits.
const MOST_STEPS: usize = 100_000;

/// Time per step of many queued ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steady {
    /// Milliseconds per step: the median over groups of steps, each queued without waiting in between.
    pub ms: f64,
    /// The fastest and the slowest group.
    pub ms_min_max: [f64; 2],
    /// Measured groups.
    pub groups: usize,
    /// Measured steps in all.
    pub steps: usize,
    /// Steps before them.
    pub warm_up_steps: usize,
    /// How long those took, seconds.
    pub warm_up_seconds: f64,
    /// Whether the batch lay in the device's memory. If not, it was uploaded for each step.
    pub resident: bool,
}

/// Measures steps of `plan`'s batch for about `seconds`, from its weights, as training queues them: the batch is held by the
/// device, if it can hold one, and the host waits once for a whole group of steps. Weights do not move, as the learning rate
/// is vanishing, and neither does the activity; everything is computed all the same.
///
/// Steps of the gpu device that are waited for one by one ([`measure`](super::measure)) include the way to the GPU and back;
/// these do not, as in training.
///
/// # Errors
/// `seconds` that are no positive number, a device that fails, or a loss that is no number.
pub fn steady(engine: &mut dyn Engine, plan: &Plan, seconds: f64) -> Result<Steady> {
    steady_after(engine, plan, WARM_UP_SECONDS, FEWEST_GROUPS, seconds)
}

/// [`steady`] with `warm_up` seconds of steps before those that are measured, and `fewest` groups of these: less suffices on
/// a device that has just been busy, and where steps are slow there may be no time for more.
///
/// # Errors
/// As those of [`steady`].
pub fn steady_after(engine: &mut dyn Engine, plan: &Plan, warm_up: f64, fewest: usize, seconds: f64) -> Result<Steady> {
    if !(seconds > 0.0 && seconds.is_finite()) {
        return Err(Error::Config(format!("{seconds} seconds: must be more than 0")));
    }
    engine.load(&TrainingState::new(plan.weights.clone()))?;
    engine.hold(Arc::new(plan.batch.clone()))?;
    let samples: Vec<u32> = (0..plan.batch.len() as u32).collect();
    let adam = Adam { lr: 1e-30, ..plan.adam };
    let mut run = |n: usize| -> Result<f64> {
        let clock = Instant::now();
        for _ in 0..n {
            engine.train_held(&samples, &adam)?;
        }
        let reports = engine.reports(true)?;
        let seconds = clock.elapsed().as_secs_f64();
        match reports.last().map(|report| report.loss.total()) {
            Some(loss) if loss.is_finite() && reports.len() == n => Ok(seconds),
            Some(loss) if reports.len() == n => Err(Error::NotFinite(format!("the loss of a measured step is {loss}"))),
            _ => Err(Error::Device(format!("{n} steps were trained, {} were reported", reports.len()))),
        }
    };
    let (mut warm_up_steps, mut warm_up_seconds, mut group) = (0, 0.0, 1);
    while warm_up_steps == 0 || warm_up_seconds < warm_up {
        let took = run(group)?;
        warm_up_steps += group;
        warm_up_seconds += took;
        // The first step may be a slow one, so groups grow by doubling.
        group = group_size(group, took, seconds).min(2 * group);
    }
    let mut ms = Vec::new();
    let (mut steps, mut measured) = (0, 0.0);
    while measured < seconds || ms.len() < fewest.max(1) {
        let took = run(group)?;
        steps += group;
        measured += took;
        ms.push(1e3 * took / group as f64);
        group = group.max(group_size(group, took, seconds));
    }
    let resident = engine.is_resident();
    Ok(Steady {
        ms: median(ms.iter().copied().map(Some)).unwrap_or(f64::NAN),
        ms_min_max: min_max(ms.iter().copied().map(Some)).unwrap_or([f64::NAN; 2]),
        groups: ms.len(),
        steps,
        warm_up_steps,
        warm_up_seconds,
        resident,
    })
}

/// Steps that take a group's share of `seconds`, if `n` steps took `took`.
fn group_size(n: usize, took: f64, seconds: f64) -> usize {
    let share = seconds / GROUPS;
    ((share * n as f64 / took.max(1e-9)).round() as usize).clamp(1, MOST_STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{TARGET_DENSITY, random_spikes, scaled_weights};
    use crate::device::Device;
    use crate::engine::Method;
    use crate::presets;

    #[test]
    fn steady_steps_are_measured_on_both_devices_and_move_nothing() {
        let mut network = presets::paper("nmnist").unwrap().network;
        (network.inputs, network.time_steps) = (40, 30);
        network.set_hidden(&[30, 30]).unwrap();
        let batch = random_spikes(&network, 8, 0.03, 1).unwrap();
        let weights = scaled_weights(&network, &batch, TARGET_DENSITY, 1).unwrap();
        let plan = Plan { batch: &batch, weights: &weights, adam: Adam::with_lr(0.1), repeat: 1 };
        for device in [Device::Cpu, Device::Gpu(None)] {
            let mut engine = device.open(&network, Method::Sparse, &weights).unwrap();
            let steady = steady(engine.as_mut(), &plan, 0.1).unwrap();
            let [least, most] = steady.ms_min_max;
            assert!(least > 0.0 && least <= steady.ms && steady.ms <= most, "{steady:?}");
            assert!(steady.groups >= FEWEST_GROUPS && steady.steps >= steady.groups && steady.resident, "{steady:?}");
            assert!(steady.warm_up_seconds >= WARM_UP_SECONDS);
            let state = engine.store().unwrap();
            assert_eq!(state.step as usize, steady.steps + steady.warm_up_steps);
            assert_eq!(state.weights, weights);
            assert!(super::steady(engine.as_mut(), &plan, 0.0).is_err());
        }
    }

    #[test]
    fn groups_share_the_time() {
        // 0.3 ms a step, 3 s in 20 groups.
        assert_eq!(group_size(100, 0.03, 3.0), 500);
        assert_eq!(group_size(1, 1.7, 3.0), 1);
        assert_eq!(group_size(1, 0.0, 3.0), MOST_STEPS);
    }
}
