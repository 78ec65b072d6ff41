//! Measures steps that are queued without waiting in between, as in training.

use super::measure::{MeasurementPlan, median, min_max};
use crate::engine::{Engine, TrainingState};
use crate::error::{Error, Result};
use crate::optimiser::Adam;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Seconds of warm-up, since an idle GPU runs at a fraction of its clock rate.
const WARM_UP_SECONDS: f64 = 1.0;
/// Number of groups into which the measured time is divided.
const GROUPS: f64 = 20.0;
/// Minimum number of groups, regardless of how long a step takes.
const FEWEST_GROUPS: usize = 5;
/// Maximum number of steps that are queued before the host waits.
const MOST_STEPS: usize = 100_000;

/// Time per step of queued steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steady {
    /// Milliseconds per step: the median over groups of steps queued without waiting in between.
    pub ms: f64,
    /// Milliseconds per step of the fastest and the slowest group.
    pub ms_min_max: [f64; 2],
    /// Number of measured groups.
    pub groups: usize,
    /// Total number of measured steps.
    pub steps: usize,
    /// Number of warm-up steps.
    pub warm_up_steps: usize,
    /// Duration of the warm-up, s.
    pub warm_up_seconds: f64,
    /// Whether the batch was in device memory. If not, it was uploaded for each step.
    pub resident: bool,
}

/// Measures steps of `plan`'s batch and weights for about `seconds`, queued as in training: the batch is in device memory,
/// if the device supports it, and the host waits once per group of steps. The learning rate is so small that neither
/// weights nor activity change, but all computations are done.
///
/// In contrast to [`measure`](super::measure), which waits for each step, times do not include the latency of
/// communication with the GPU.
///
/// # Errors
/// `seconds` is not a positive number, a device error, or a loss that is not finite.
pub fn steady(engine: &mut dyn Engine, plan: &MeasurementPlan, seconds: f64) -> Result<Steady> {
    steady_after(engine, plan, WARM_UP_SECONDS, FEWEST_GROUPS, seconds)
}

/// [`steady`] with `warm_up` seconds of warm-up and at least `fewest` groups. A device that has just been busy requires less
/// warm-up, and for slow steps there may be time for few groups only.
///
/// # Errors
/// As [`steady`].
pub fn steady_after(
    engine: &mut dyn Engine,
    plan: &MeasurementPlan,
    warm_up: f64,
    fewest: usize,
    seconds: f64,
) -> Result<Steady> {
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
            _ => Err(Error::Device(format!("the device reported {} of {n} training steps", reports.len()))),
        }
    };
    let (mut warm_up_steps, mut warm_up_seconds, mut group) = (0, 0.0, 1);
    while warm_up_steps == 0 || warm_up_seconds < warm_up {
        let took = run(group)?;
        warm_up_steps += group;
        warm_up_seconds += took;
        // The first step may be slow, so the size of a group at most doubles.
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

/// Number of steps per group, if `n` steps took `took` and all groups are to take `seconds`.
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
        let plan = MeasurementPlan { batch: &batch, weights: &weights, adam: Adam::with_lr(0.1), repeat: 1 };
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
        // 0.3 ms per step, 3 s in 20 groups.
        assert_eq!(group_size(100, 0.03, 3.0), 500);
        assert_eq!(group_size(1, 1.7, 3.0), 1);
        assert_eq!(group_size(1, 0.0, 3.0), MOST_STEPS);
    }
}
