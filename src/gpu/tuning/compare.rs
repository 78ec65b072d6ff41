//! Finds the fastest of several candidates.
//!
//! An idle GPU lowers its clock, and waiting for a single short step costs more than the step. So there is a warm-up, each
//! measurement queues several steps and waits once, and the candidates take turns, so that a slow moment affects all.

use crate::error::Result;

/// Seconds of steps before the first measurement.
pub const WARM_UP: f64 = 0.2;
/// Shortest measurement, seconds.
pub const MEASUREMENT: f64 = 0.05;
/// Most steps per measurement, however short they are.
const MOST_STEPS: usize = 10_000;
/// Measurements of each candidate, if time allows; the shortest counts.
const ROUNDS: usize = 4;
/// A candidate replaces the default only if its time is below this fraction of the default's.
const GAIN: f64 = 0.95;

/// Steps of one candidate at a time.
pub trait Steps<C> {
    /// Switches to a candidate.
    ///
    /// # Errors
    /// The device fails.
    fn switch(&mut self, to: C) -> Result<()>;

    /// Queues `n` steps and waits for them: seconds.
    ///
    /// # Errors
    /// The device fails, or has no memory for this candidate.
    fn run(&mut self, n: usize) -> Result<f64>;
}

/// How many steps would take a little more than [`MEASUREMENT`], if `n` took `seconds`.
fn enough(n: usize, seconds: f64) -> usize {
    let wanted = 1.2 * MEASUREMENT * n as f64 / seconds.max(1e-9);
    (wanted.ceil() as usize).clamp(1, MOST_STEPS)
}

/// Steps, and the seconds that all of them took.
struct Spent<'a, C> {
    steps: &'a mut dyn Steps<C>,
    seconds: f64,
}

impl<C> Spent<'_, C> {
    fn run(&mut self, n: usize) -> Result<f64> {
        let seconds = self.steps.run(n)?;
        self.seconds += seconds;
        Ok(seconds)
    }

    /// Runs the current candidate for `seconds` of steps, if that is less than `most` in all.
    fn warm_up(&mut self, seconds: f64, most: f64) -> Result<()> {
        let (mut worked, mut n) = (0.0, 1);
        while worked < seconds && self.seconds < most {
            let took = self.run(n)?;
            worked += took;
            n = enough(n, took).min(2 * n);
        }
        Ok(())
    }

    /// Seconds per step. The first step after a switch is a measurement only if it is long: it may include making buffers.
    /// `n` is how many steps it took the last time.
    fn measure(&mut self, to: C, n: &mut usize) -> Result<f64> {
        self.steps.switch(to)?;
        let one = self.run(1)?;
        if one >= MEASUREMENT {
            return Ok(one);
        }
        *n = (*n).max(enough(1, one));
        loop {
            let seconds = self.run(*n)?;
            if seconds >= MEASUREMENT || *n == MOST_STEPS {
                let per_step = seconds / *n as f64;
                *n = enough(*n, seconds);
                return Ok(per_step);
            }
            *n = enough(*n, seconds).max(*n + 1).min(MOST_STEPS);
        }
    }
}

/// Seconds per step of each candidate, or infinity if it failed or there was no time for it. The first candidate is
/// measured first, after `warm` seconds of steps. No measurement begins after `most` seconds of steps, not counting the first
/// step of each candidate, which compiles its pipelines.
pub fn compare<C: Copy>(steps: &mut dyn Steps<C>, candidates: &[C], warm: f64, most: f64) -> Vec<f64> {
    let mut works: Vec<bool> =
        candidates.iter().map(|&candidate| steps.switch(candidate).and_then(|()| steps.run(1)).is_ok()).collect();
    let mut spent = Spent { steps, seconds: 0.0 };
    if let Some(k) = works.iter().position(|&works| works) {
        works[k] = spent.steps.switch(candidates[k]).and_then(|()| spent.warm_up(warm, most)).is_ok();
    }
    let mut times = vec![f64::INFINITY; candidates.len()];
    let mut counts = vec![1; candidates.len()];
    for _ in 0..ROUNDS {
        for (k, &candidate) in candidates.iter().enumerate() {
            if spent.seconds >= most {
                return times;
            }
            if works[k] {
                match spent.measure(candidate, &mut counts[k]) {
                    Ok(seconds) => times[k] = times[k].min(seconds),
                    Err(_) => works[k] = false,
                }
            }
        }
    }
    times
}

/// The fastest candidate if it is clearly faster than the first, which is the default; else the default.
pub fn clearly_fastest<C: Copy>(candidates: &[C], times: &[f64]) -> Option<C> {
    let (&usual, &limit) = (candidates.first()?, times.first()?);
    let best = candidates.iter().zip(times).min_by(|a, b| a.1.total_cmp(b.1));
    // Without a time for the default there is nothing to compare with.
    best.filter(|(_, time)| limit.is_finite() && **time < GAIN * limit)
        .map_or(Some(usual), |(&candidate, _)| Some(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// A device whose steps take the given time.
    struct Pretended {
        /// Seconds per step of each candidate; `None` fails.
        per_step: Vec<Option<f64>>,
        /// Seconds that waiting costs, once for each run, and making the pipelines of a candidate, in its first.
        wait: f64,
        build: f64,
        current: usize,
        built: Vec<bool>,
        /// Candidate, steps, seconds.
        runs: Vec<(usize, usize, f64)>,
    }

    fn pretended(per_step: &[Option<f64>]) -> Pretended {
        let built = vec![false; per_step.len()];
        Pretended { per_step: per_step.into(), wait: 1e-4, build: 2.5, current: 0, built, runs: Vec::new() }
    }

    impl Steps<usize> for Pretended {
        fn switch(&mut self, to: usize) -> Result<()> {
            self.current = to;
            Ok(())
        }

        fn run(&mut self, n: usize) -> Result<f64> {
            let Some(per_step) = self.per_step[self.current] else {
                return Err(Error::Device("out of memory".into()));
            };
            let build = if self.built[self.current] { 0.0 } else { self.build };
            self.built[self.current] = true;
            let seconds = build + self.wait + n as f64 * per_step;
            self.runs.push((self.current, n, seconds));
            Ok(seconds)
        }
    }

    impl Pretended {
        /// Seconds of all runs but those that made pipelines.
        fn seconds(&self) -> f64 {
            self.runs.iter().map(|run| run.2).filter(|&seconds| seconds < self.build).sum()
        }
    }

    #[test]
    fn short_steps_are_queued_after_a_warm_up_in_turn() {
        let mut device = pretended(&[Some(3e-4), Some(2e-4), Some(4e-4)]);
        let times = compare(&mut device, &[0, 1, 2], WARM_UP, 1.5);
        for (time, real) in times.iter().zip([3e-4, 2e-4, 4e-4]) {
            assert!((time / real - 1.0).abs() < 0.01, "{time} of {real}");
        }
        assert_eq!(clearly_fastest(&[0, 1, 2], &times), Some(1));
        assert!(device.seconds() < 1.5, "{}", device.seconds());
        // The first run of each makes its pipelines. Then 200 ms of steps pass before the usual one is measured.
        let mut warm = device.runs[3..].iter().scan(0.0, |sum, run| {
            *sum += run.2;
            Some(*sum)
        });
        let measured = 3 + warm.position(|sum| sum >= WARM_UP).unwrap() + 1;
        assert!(device.runs[3..measured].iter().all(|run| run.0 == 0), "{:?}", device.runs);
        // A measurement is at least 50 ms of steps, and the candidates take turns.
        let long = device.runs[measured..].iter().filter(|run| run.2 >= MEASUREMENT);
        assert_eq!(long.map(|run| run.0).collect::<Vec<_>>(), [0, 1, 2].repeat(ROUNDS));
    }

    #[test]
    fn a_long_step_is_a_measurement_and_time_is_bounded() {
        let mut device = pretended(&[Some(0.3), Some(0.2)]);
        let times = compare(&mut device, &[0, 1], WARM_UP, 1.5);
        assert!((times[0] - 0.3).abs() < 1e-3 && (times[1] - 0.2).abs() < 1e-3, "{times:?}");
        assert!(device.runs.iter().all(|run| run.1 == 1), "{:?}", device.runs);
        // At most one step beyond.
        assert!(device.seconds() < 1.81, "{}", device.seconds());
        // So slow that one of two is measured, or none: nothing is chosen.
        for slow in [1.0, 2.0] {
            let mut device = pretended(&[Some(slow), Some(0.5 * slow)]);
            let times = compare(&mut device, &[0, 1], WARM_UP, 1.5);
            assert!(times[1].is_infinite() && clearly_fastest(&[0, 1], &times) == Some(0), "{times:?}");
        }
    }

    #[test]
    fn steps_that_take_no_time_end_too() {
        let mut device = Pretended { wait: 0.0, build: 0.0, ..pretended(&[Some(0.0), Some(1e-9)]) };
        assert_eq!(compare(&mut device, &[0, 1], 0.0, 1.0)[0], 0.0);
        assert!(device.runs.iter().all(|run| run.1 <= MOST_STEPS));
    }

    #[test]
    fn a_candidate_that_fails_is_passed_over() {
        let mut device = pretended(&[Some(3e-3), None, Some(1e-3), None]);
        let times = compare(&mut device, &[0, 1, 2, 3], WARM_UP, 3.0);
        assert!(times[1].is_infinite() && times[3].is_infinite(), "{times:?}");
        assert_eq!(clearly_fastest(&[0, 1, 2, 3], &times), Some(2));
        let mut device = pretended(&[None, Some(1e-3)]);
        let times = compare(&mut device, &[0, 1], WARM_UP, 3.0);
        assert!(times[1].is_finite());
        assert_eq!(clearly_fastest(&[0, 1], &times), Some(0), "nothing to be faster than");
    }

    #[test]
    fn only_a_clear_gain_leaves_the_usual() {
        assert_eq!(clearly_fastest(&['u', 'a', 'b'], &[1.0, 0.97, 2.0]), Some('u'));
        assert_eq!(clearly_fastest(&['u', 'a', 'b'], &[1.0, 0.9, 0.8]), Some('b'));
        assert_eq!(clearly_fastest(&['u', 'a'], &[1.0, 0.5]), Some('a'));
        assert_eq!(clearly_fastest(&['u', 'a'], &[f64::INFINITY, f64::INFINITY]), Some('u'));
        assert_eq!(clearly_fastest::<char>(&[], &[]), None);
    }
}
