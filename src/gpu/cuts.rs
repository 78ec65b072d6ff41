//! Times of kernels without timestamps: the first 1, 2, 3 … dispatches of a step are replayed and timed by the host's clock.
//! The difference that a dispatch makes is its time.

use super::GpuEngine;
use super::pieces::Piece;
use super::sparse::Purpose;
use crate::engine::{Engine, KernelTime};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::optimiser::Adam;
use crate::platform::Instant;
use std::time::Duration;

/// Replays of a part take at least this long together.
const LEAST_SECONDS: f64 = 4e-3;
/// Measurements of a part, of which the shortest counts.
const ROUNDS: usize = 3;
/// Most replays in one submit.
const MOST_REPLAYS: f64 = 64.0;

/// The measured times.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Cuts {
    /// Each kernel. Differences of noisy times: those of short kernels may be negative.
    pub kernels: Vec<KernelTime>,
    /// Dispatches of a step.
    pub dispatches: usize,
    /// The dispatches measured before time was up, from the first on.
    pub measured: usize,
    /// Time of all that were measured together, ms; with the clears before the first, which count to no kernel.
    pub total_ms: f64,
    /// The clears alone, ms.
    pub clears_ms: f64,
}

/// Measures the kernels of a training step on `batch`, for `most` at the longest. `adam` should move no weight
/// (a vanishing rate), since the step is computed again and again.
///
/// # Errors
/// A batch that the device computes in pieces, or a device that fails.
pub fn cuts(engine: &mut GpuEngine, batch: &EventSet, adam: &Adam, most: Duration) -> Result<Cuts> {
    let begun = Instant::now();
    // Afterwards every list is long enough.
    engine.train(batch, adam)?;
    engine.reports(true)?;
    engine.make_room(batch)?;
    let pieces: Vec<_> = Piece::of(batch.len(), engine.most_samples(Purpose::Train), Purpose::Train, false).collect();
    let [(piece, _)] = &pieces[..] else {
        return Err(Error::Unsupported(format!("cuts of a batch that is computed in {} pieces", pieces.len())));
    };
    engine.record(*piece)?;
    engine.write_batch(batch);
    engine.write_constants(engine.step, adam);
    let Some(recording) = engine.recordings.get(piece) else {
        return Err(Error::Device("the step was not recorded".into()));
    };
    let context = &engine.context;
    let seconds = |dispatches: usize, replays: usize| -> Result<f64> {
        let mut encoder = context.device.create_command_encoder(&Default::default());
        for _ in 0..replays {
            recording.encode_clears(&mut encoder);
            let mut pass = encoder.begin_compute_pass(&Default::default());
            recording.dispatches[..dispatches].iter().for_each(|dispatch| dispatch.encode(&mut pass));
        }
        let commands = encoder.finish();
        let clock = Instant::now();
        let submission = context.queue.submit([commands]);
        context.wait(Some(submission))?;
        Ok(clock.elapsed().as_secs_f64() / replays as f64)
    };
    let best = |dispatches: usize| -> Result<f64> {
        let once = seconds(dispatches, 1)?;
        let replays = (LEAST_SECONDS / once.max(1e-7)).ceil().clamp(1.0, MOST_REPLAYS) as usize;
        (0..ROUNDS).map(|_| seconds(dispatches, replays)).try_fold(once, |best, next| Ok(next?.min(best)))
    };
    let clears = best(0)?;
    let (mut before, mut measured) = (clears, 0);
    let mut kernels: Vec<KernelTime> = Vec::new();
    for (k, dispatch) in recording.dispatches.iter().enumerate() {
        if begun.elapsed() > most {
            break;
        }
        let now = best(k + 1)?;
        let ms = 1e3 * (now - before);
        (before, measured) = (now, k + 1);
        match kernels.iter_mut().find(|kernel| kernel.name == dispatch.label) {
            Some(kernel) => {
                kernel.calls += 1;
                kernel.ms = kernel.ms.map(|sum| sum + ms);
            }
            None => kernels.push(KernelTime { name: dispatch.label.clone(), calls: 1, ms: Some(ms) }),
        }
    }
    context.check()?;
    Ok(Cuts {
        kernels,
        dispatches: recording.dispatches.len(),
        measured,
        total_ms: 1e3 * before,
        clears_ms: 1e3 * clears,
    })
}
