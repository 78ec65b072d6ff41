//! Peak bandwidth and arithmetic throughput of the adapter, each measured by a kernel of its own.

use super::GpuOptions;
use super::context::Context;
use super::params::{MultiplyAddParams, StreamParams};
use super::probe::copied;
use super::recording::{Recorder, Recording, Work};
use super::shaders::{MEASURE_MULTIPLY_ADD, MEASURE_STREAM};
use super::squeeze::{FEWEST_LANES, WIDE_LANES};
use crate::error::Result;
use crate::platform::Instant;
use serde::Serialize;

/// Bytes of each of the two arrays that are copied: larger than any cache. Less if a binding holds less.
const ARRAY: u64 = 64 << 20;
/// Most lanes of the arithmetic kernel: enough for a large GPU.
const LANES: u64 = 1 << 18;
/// Iterations of its loop, 32 multiply-adds each.
const TURNS: u64 = 64;
/// A measurement takes at least this long, so that submitting it does not count.
const LEAST_SECONDS: f64 = 0.05;

/// A device's measured ceilings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ceilings {
    /// Bytes read and written per second, when copying arrays too large for caches.
    pub bytes_per_second: f64,
    /// Float multiply-adds per second, in registers. On the CPU, as in its kernels, a multiplication and an addition that are
    /// not fused.
    pub multiply_adds_per_second: f64,
}

/// Measures.
///
/// # Errors
/// No such adapter, or one that fails.
pub fn ceilings(options: &GpuOptions) -> Result<Ceilings> {
    let mut context = Context::open(&GpuOptions { instrument: None, ..options.clone() })?;
    let in_group = u64::from(if context.narrow { FEWEST_LANES } else { WIDE_LANES });
    let row = 16 * in_group;
    let array = ARRAY.min(context.binding) / row * row;
    let source = context.storage("stream source", array)?;
    let target = context.storage("stream target", array)?;
    // x = m x + a that neither grows nor vanishes.
    source.write(&context.queue, 0, bytemuck::cast_slice(&[[0.5f32; 4], [0.25; 4]]));
    let (lanes, busy) = (array / 16, LANES.min(array / 16));
    let mut r = Recorder::new(&mut context);
    let groups = Work::Groups(lanes / in_group);
    let buffers = copied(&source, &target);
    r.add("stream", MEASURE_STREAM, StreamParams { lanes: lanes as u32 }, &buffers, groups);
    let stream = r.finish();
    let mut r = Recorder::new(&mut context);
    let params = MultiplyAddParams { turns: TURNS as u32, lanes: busy as u32 };
    r.add("multiply_add", MEASURE_MULTIPLY_ADD, params, &buffers, Work::Groups(busy / in_group));
    let arithmetic = r.finish();
    context.check()?;
    Ok(Ceilings {
        bytes_per_second: 2.0 * array as f64 / seconds(&context, &stream)?,
        multiply_adds_per_second: (32 * busy * TURNS) as f64 / seconds(&context, &arithmetic)?,
    })
}

/// The shortest time of one replay, of several measured together.
fn seconds(context: &Context, recording: &Recording) -> Result<f64> {
    let run = |n: u32| -> Result<f64> {
        let mut encoder = context.device.create_command_encoder(&Default::default());
        (0..n).for_each(|_| recording.encode(&mut encoder));
        let clock = Instant::now();
        let submission = context.submit(encoder)?;
        context.wait(Some(submission))?;
        Ok(clock.elapsed().as_secs_f64() / f64::from(n))
    };
    run(1)?;
    let once = run(1)?.max(1e-7);
    // Short enough that no driver takes the submit for hung.
    let n = (LEAST_SECONDS / once).ceil().clamp(1.0, 500.0) as u32;
    (0..4).map(|_| run(n)).try_fold(once, |best, next| Ok(next?.min(best)))
}
