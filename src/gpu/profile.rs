//! One training step with a pass and two timestamps for each kernel; a loop of dispatches under one label is one pass.

use super::GpuEngine;
use super::buffers::report_words;
use super::pieces::Piece;
use super::recording::Phase;
use super::region::Region;
use super::sparse::Purpose;
use super::steps::{Report, part};
use crate::engine::{KernelTime, Profile, Slice, check_batch};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::optimiser::Adam;

/// Dispatches timed at once: a query set holds at most 4,096 timestamps.
const MOST: usize = 2048;

/// Runs the step. Times are `None` if the device has no timestamps, or wrong ones.
pub fn profile(engine: &mut GpuEngine, batch: &EventSet, adam: &Adam) -> Result<Profile> {
    check_batch(&engine.network, batch)?;
    engine.make_room(batch)?;
    engine.step += 1;
    engine.write_constants(engine.step, adam);
    let mut kernels: Vec<(Phase, KernelTime)> = Vec::new();
    let (mut slices, mut origin) = (Vec::new(), None);
    let mut reports = Vec::new();
    let most = engine.most_samples(Purpose::Train);
    let pieces: Vec<_> = Piece::of(batch.len(), most, Purpose::Train, false).collect();
    for (piece, range) in &pieces {
        let ran = engine.record(*piece).and_then(|()| {
            engine.write_batch(&part(batch, range, pieces.len()));
            run(engine, piece, &mut kernels, &mut slices, &mut origin)
        });
        // A failed step does not count.
        reports.push(ran.inspect_err(|_| engine.step -= 1)?);
    }
    if reports.iter().any(Report::overflowed) {
        // The update was withheld: repeat the step with longer lists.
        engine.step -= 1;
        engine.grow(&reports)?;
        return profile(engine, batch, adam);
    }
    let sum = |phase: Phase| {
        let of_phase = kernels.iter().filter(|(p, _)| *p == phase);
        of_phase.map(|(_, kernel)| kernel.ms).sum::<Option<f64>>()
    };
    Ok(Profile {
        forward_ms: sum(Phase::Forward),
        backward_ms: sum(Phase::Backward),
        kernels: kernels.iter().map(|(_, kernel)| kernel.clone()).collect(),
        slices,
    })
}

/// Runs a piece and adds its times to `kernels` and `slices`; `origin` is the step's first timestamp.
fn run(
    engine: &GpuEngine,
    piece: &Piece,
    kernels: &mut Vec<(Phase, KernelTime)>,
    slices: &mut Vec<Slice>,
    origin: &mut Option<u64>,
) -> Result<Report> {
    let context = &engine.context;
    let (Some(state), Some(recording)) = (&engine.state, engine.recordings.get(piece)) else {
        return Err(Error::Device("the step was not recorded".into()));
    };

    let timed = context.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
    // Otherwise the reference's loops over time would be thousands of passes.
    let loops: Vec<_> = recording.dispatches.chunk_by(|a, b| a.label == b.label).collect();
    let n = loops.len().min(MOST);
    let queries = timed.then(|| {
        context.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count: 2 * n as u32,
        })
    });
    let mut encoder = context.device.create_command_encoder(&Default::default());
    recording.encode_clears(&mut encoder);
    for (k, dispatches) in loops.iter().enumerate() {
        let timestamp_writes = queries.as_ref().filter(|_| k < n).map(|query_set| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(2 * k as u32),
            end_of_pass_write_index: Some(2 * k as u32 + 1),
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        dispatches.iter().for_each(|dispatch| dispatch.encode(&mut pass));
    }
    let stamps = match &queries {
        Some(queries) => {
            let resolved = context.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: 16 * n as u64,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            encoder.resolve_query_set(queries, 0..2 * n as u32, &resolved, 0);
            context.submit(encoder)?;
            context.read_as::<u64>(&Region::whole(resolved), 2 * n)?
        }
        None => {
            let submission = context.submit(encoder)?;
            context.wait(Some(submission))?;
            Vec::new()
        }
    };
    let report = Report(context.read_as(&state.report, report_words(engine.network.spiking().count()))?);
    report.check(context, engine.step as u32)?;
    let period = f64::from(context.queue.get_timestamp_period());
    let origin = *origin.get_or_insert(stamps.first().copied().unwrap_or(0));
    for (k, dispatches) in loops.iter().enumerate() {
        let (dispatch, calls) = (&dispatches[0], dispatches.len() as u32);
        // Zero or backwards means that the platform did not really measure.
        let ms = match stamps.get(2 * k..2 * k + 2) {
            Some(&[begin, end]) if begin > 0 && end >= begin => Some((end - begin) as f64 * period / 1e6),
            _ => None,
        };
        if let (Some(ms), Some(&begin)) = (ms, stamps.get(2 * k)) {
            let begin_ms = begin.saturating_sub(origin) as f64 * period / 1e6;
            slices.push(Slice { kernel: dispatch.label.clone(), begin_ms, ms });
        }
        match kernels.iter_mut().find(|(_, kernel)| kernel.name == dispatch.label) {
            Some((_, kernel)) => {
                kernel.calls += calls;
                kernel.ms = kernel.ms.zip(ms).map(|(a, b)| a + b);
            }
            None => kernels.push((dispatch.phase, KernelTime { name: dispatch.label.clone(), calls, ms })),
        }
    }
    Ok(report)
}
