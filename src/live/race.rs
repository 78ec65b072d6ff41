//! The methods `sparse` and `dense` side by side on the same batches, beside a run.

use super::message::{Message, Runner};
use crate::data::DataSet;
use crate::engine::{Engine, Method};
use crate::error::Result;
use crate::events::EventSet;
use crate::platform::Instant;
use crate::train::RunConfig;
use crate::weights::Weights;

/// Most samples in a batch: the dense method's arrays and time grow with it, and a browser has one thread.
const MOST_SAMPLES: usize = if cfg!(target_family = "wasm") { 16 } else { 64 };
/// Steps of which the median is taken.
const STEPS: usize = 31;

/// Whether both methods compute the network of `config`.
pub fn is_possible(config: &RunConfig) -> bool {
    config.network.beyond_paper().is_none()
}

/// Two networks with the same weights at the start.
pub struct Race {
    lanes: [Lane; 2],
    batch: EventSet,
    /// The sample with which the next batch begins.
    next: usize,
}

struct Lane {
    engine: Box<dyn Engine>,
    times: Times,
    runner: Runner,
}

impl Race {
    /// Opens both on the run's device.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn begin(config: &RunConfig, weights: &Weights) -> Result<Self> {
        let device = config.devices()?[0];
        let lane = |method| -> Result<Lane> {
            let engine = device.open(&config.network, method, weights)?;
            Ok(Lane { engine, times: Times::default(), runner: Runner::default() })
        };
        Ok(Race { lanes: [lane(Method::Sparse)?, lane(Method::Dense)?], batch: EventSet::new(0, 0), next: 0 })
    }

    /// Trains both on the next batch.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn run(&mut self, config: &RunConfig, data: &DataSet) -> Result<Message> {
        let all = data.train.len();
        let samples = config.batch.min(MOST_SAMPLES).min(all);
        let numbers: Vec<u32> = (self.next..self.next + samples).map(|k| (k % all) as u32).collect();
        self.next = (self.next + samples) % all;
        self.batch.gather(&data.train, &numbers);
        for lane in &mut self.lanes {
            let begun = Instant::now();
            lane.engine.train(&self.batch, &config.adam)?;
            let reports = lane.engine.reports(true)?;
            lane.times.add(1e3 * begun.elapsed().as_secs_f64());
            lane.runner.ms = lane.times.median();
            for report in reports {
                lane.runner.steps += 1;
                lane.runner.loss = report.loss.total() / report.samples as f64;
            }
        }
        let [sparse, dense] = [&self.lanes[0], &self.lanes[1]].map(|lane| lane.runner);
        Ok(Message::Race { sparse, dense })
    }
}

/// The last times of something.
#[derive(Debug, Default)]
pub struct Times {
    ms: Vec<f64>,
    next: usize,
}

impl Times {
    /// Adds one, and forgets the oldest.
    pub fn add(&mut self, ms: f64) {
        match self.ms.get_mut(self.next) {
            Some(oldest) => *oldest = ms,
            None => self.ms.push(ms),
        }
        self.next = (self.next + 1) % STEPS;
    }

    /// Their median; 0 if there are none.
    pub fn median(&self) -> f64 {
        let mut sorted = self.ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_last_times() {
        let mut times = Times::default();
        assert_eq!(times.median(), 0.0);
        (0..100).for_each(|ms| times.add(f64::from(ms)));
        assert_eq!(times.median(), 84.0);
    }
}
