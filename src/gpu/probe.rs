//! Small kernels with known results: how an adapter behaves where the standard leaves a choice, whether it complies with the
//! standard, and the cost of the simplest commands.

use super::GpuOptions;
use super::context::Context;
use super::params::{AtomicsParams, NumbersParams, StreamParams};
use super::recording::{Bind, Recorder, Recording, Work};
use super::region::Region;
use super::shaders::{MEASURE_ATOMICS, MEASURE_NUMBERS, MEASURE_STREAM};
use crate::error::Result;
use crate::platform::Instant;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Lanes of a workgroup of these kernels.
const LANES: usize = 64;
/// Samples of each kind of arithmetic.
const SAMPLES: usize = 4096;
/// Workgroups of the test of atomics.
const ATOMIC_GROUPS: usize = 1024;
/// Counters that the lanes share: not a power of two, so that neighbouring lanes share some.
const COUNTERS: usize = 7;

/// An open adapter to be probed.
pub struct Prober {
    context: Context,
}

/// Properties of float arithmetic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Numbers {
    /// Results of `a * b + c` for samples where contraction changes the result.
    pub multiply_add: Roundings,
    /// Results of `((a + b) + c) + d` for samples where another order changes the result.
    pub sum: Roundings,
    /// Products that should be denormal but were 0, of all.
    pub denormal_products_flushed: [usize; 2],
    /// Denormals that became 0 by adding 0, of all.
    pub denormal_sums_flushed: [usize; 2],
    /// Denormals that were not greater than 0, of all.
    pub denormal_comparisons_flushed: [usize; 2],
    /// Worst error of each operation.
    pub accuracy: Vec<Accuracy>,
}

/// How often a result was rounded after each operation as written, and how often otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Roundings {
    /// As written.
    pub as_written: usize,
    /// As if contracted (of a product and a sum), or as if summed in another order (of a sum).
    pub rearranged: usize,
    /// Neither.
    pub other: usize,
}

/// The worst error of an operation over the samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accuracy {
    /// The operation.
    pub operation: &'static str,
    /// In units of the last place of the exact result.
    pub worst_ulp: f64,
    /// The operands.
    pub at: Vec<f32>,
    /// Units that the WGSL standard allows for them.
    pub allowed_ulp: f64,
    /// Samples beyond what the standard allows.
    pub beyond: usize,
}

/// Results of the test of atomics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Atomics {
    /// Whether every counter counted every lane.
    pub counts: bool,
    /// Whether the tickets drawn from each counter were all different and without a gap.
    pub tickets: bool,
    /// Whether no set bit was lost.
    pub bits: bool,
    /// Whether sums in workgroup memory were correct.
    pub workgroup_sums: bool,
}

impl Atomics {
    /// Whether all of it was correct.
    pub fn right(&self) -> bool {
        self.counts && self.tickets && self.bits && self.workgroup_sums
    }
}

/// The cost of the simplest commands, µs; `None` if below the noise of a busy machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// Each further empty dispatch that waits for the previous one.
    pub empty_dispatch_us: Option<f64>,
    /// Each further clear of 1 KiB.
    pub clear_us: Option<f64>,
    /// A submit of one such dispatch, waited for: median.
    pub submit_us: f64,
    /// A submit whose 4 bytes are copied and read on the host: median.
    pub submit_and_read_us: f64,
}

/// Timestamps of work whose time the host has measured as well.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timestamps {
    /// Nanoseconds of a tick.
    pub period_ns: f64,
    /// The host's time of the submit, ms.
    pub clock_ms: f64,
    /// The difference of the two timestamps, ms; `None` without timestamps.
    pub ms: Option<f64>,
    /// `ok`, `missing`, `zero`, `backwards` or `longer than the submit`.
    pub verdict: &'static str,
}

/// The bindings of `measure/stream`.
pub(super) fn copied<'a>(source: &'a Region, target: &'a Region) -> [Bind<'a>; 2] {
    [("source", source), ("target_array", target)]
}

fn submit(context: &Context, recording: &Recording) -> wgpu::SubmissionIndex {
    let mut encoder = context.device.create_command_encoder(&Default::default());
    recording.encode(&mut encoder);
    context.queue.submit([encoder.finish()])
}

/// A random float whose exponent is uniform in `2^low..2^high`.
fn log_uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f32 {
    let exponent: f64 = low + (high - low) * rng.random::<f64>();
    exponent.exp2() as f32
}

/// Inputs of a kind of sample: (a, b, c, d) of each lane.
struct Inputs {
    all: Vec<[f32; 4]>,
}

impl Inputs {
    /// Appends samples; returns where they begin.
    fn add(&mut self, sample: impl FnMut(usize) -> [f32; 4]) -> std::ops::Range<usize> {
        let begin = self.all.len();
        self.all.extend((0..SAMPLES).map(sample));
        begin..self.all.len()
    }
}

/// The error of `got` in units of the last place of `exact`.
fn ulp(got: f32, exact: f64) -> f64 {
    let exponent = exact.abs().log2().floor().max(-126.0);
    let error = (f64::from(got) - exact).abs() / (exponent - 23.0).exp2();
    // NaN counts as the largest error; JSON has no infinity.
    if error.is_finite() { error } else { f64::MAX }
}

/// Whether two floats are the same number; 0 and -0 are.
fn same(a: f32, b: f32) -> bool {
    a == b
}

fn roundings(results: impl Iterator<Item = (f32, f32, f32)>) -> Roundings {
    let mut seen = Roundings::default();
    for (got, written, rearranged) in results {
        match got {
            _ if same(got, written) => seen.as_written += 1,
            _ if same(got, rearranged) => seen.rearranged += 1,
            _ => seen.other += 1,
        }
    }
    seen
}

fn accuracy(
    operation: &'static str,
    allowed: impl Fn(&[f32]) -> f64,
    samples: impl Iterator<Item = (Vec<f32>, f32, f64)>,
) -> Accuracy {
    let mut worst = Accuracy { operation, worst_ulp: 0.0, at: Vec::new(), allowed_ulp: 0.0, beyond: 0 };
    let mut share = -1.0;
    for (at, got, exact) in samples {
        let (error, most) = (ulp(got, exact), allowed(&at));
        worst.beyond += usize::from(error > most);
        if error / most > share {
            share = error / most;
            (worst.worst_ulp, worst.at, worst.allowed_ulp) = (error, at, most);
        }
    }
    worst
}

impl Prober {
    /// Opens the adapter that `options` ask for.
    ///
    /// # Errors
    /// No such adapter.
    pub fn open(options: &GpuOptions) -> Result<Self> {
        Ok(Prober { context: Context::open(options)? })
    }

    /// Properties of float arithmetic.
    ///
    /// # Errors
    /// An adapter that fails.
    pub fn numbers(&mut self) -> Result<Numbers> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut inputs = Inputs { all: Vec::new() };
        // a b + c is 0 if the product is rounded first, else the rounding error.
        let multiply_add = inputs.add(|_| {
            loop {
                let (a, b) = (1.0 + rng.random::<f32>(), 1.0 + rng.random::<f32>());
                if f64::from(a * b) != f64::from(a) * f64::from(b) {
                    return [a, b, -(a * b), 1.0];
                }
            }
        });
        // ((a + b) - a) + 0: b if the sums are simplified, else b rounded to the last place of a.
        let sum = inputs.add(|_| {
            loop {
                let (a, b) = (1000.0 * (1.0 + rng.random::<f32>()), rng.random::<f32>());
                if (a + b) - a != b {
                    return [a, b, -a, 0.0];
                }
            }
        });
        let products =
            inputs.add(|_| [log_uniform(&mut rng, -64.0, -63.0), log_uniform(&mut rng, -66.0, -65.0), 1.0, 1.0]);
        let denormals = inputs.add(|k| {
            let x = f32::from_bits(1 + (k as u32).wrapping_mul(2_654_435_761) % 0x007f_fffe);
            [x, 0.0, x, 0.0]
        });
        let functions = inputs.add(|_| {
            let (a, d) = (log_uniform(&mut rng, -60.0, 60.0), log_uniform(&mut rng, -60.0, 60.0));
            [a, 80.0 * (2.0 * rng.random::<f32>() - 1.0), 1.0, d]
        });
        let results = self.numbers_of(&inputs.all)?;
        let at = |range: &std::ops::Range<usize>| range.clone().map(|k| (inputs.all[k], &results[8 * k..8 * k + 8]));
        let flushed = |range: &std::ops::Range<usize>, result: usize| {
            [at(range).filter(|(_, out)| out[result] == 0.0).count(), range.len()]
        };
        // The third summand of denormals is one too, which `a + 0 + c` would double: still no 0.
        let exact = |x: f32| f64::from(x);
        Ok(Numbers {
            multiply_add: roundings(at(&multiply_add).map(|([a, b, c, _], out)| (out[0], a * b + c, a.mul_add(b, c)))),
            sum: roundings(at(&sum).map(|([a, b, c, d], out)| (out[1], ((a + b) + c) + d, b))),
            denormal_products_flushed: flushed(&products, 6),
            denormal_sums_flushed: flushed(&denormals, 1),
            denormal_comparisons_flushed: flushed(&denormals, 7),
            accuracy: vec![
                accuracy(
                    "division",
                    |_| 2.5,
                    at(&functions).map(|([a, _, _, d], out)| (vec![a, d], out[2], exact(a) / exact(d))),
                ),
                // sqrt(x) is as exact as 1 / inverseSqrt(x): 2 units for the one, 2.5 for the other.
                accuracy("sqrt", |_| 4.5, at(&functions).map(|([a, ..], out)| (vec![a], out[3], exact(a).sqrt()))),
                accuracy(
                    "exp",
                    |at| 3.0 + 2.0 * f64::from(at[0].abs()),
                    at(&functions).map(|([_, b, ..], out)| (vec![b], out[4], exact(b).exp())),
                ),
                // Between 0.5 and 2 the standard bounds the absolute error.
                accuracy(
                    "log",
                    |_| 3.0,
                    at(&functions)
                        .filter(|([a, ..], _)| !(0.5..=2.0).contains(a))
                        .map(|([a, ..], out)| (vec![a], out[5], exact(a).ln())),
                ),
            ],
        })
    }

    /// Eight results for each input.
    fn numbers_of(&mut self, inputs: &[[f32; 4]]) -> Result<Vec<f32>> {
        let n = inputs.len();
        let source = self.context.storage("inputs", 16 * n as u64)?;
        let target = self.context.storage("results", 32 * n as u64)?;
        source.write(&self.context.queue, 0, bytemuck::cast_slice(inputs));
        let mut r = Recorder::new(&mut self.context);
        let groups = Work::Groups(n.div_ceil(LANES) as u64);
        let bindings = [("inputs", &source), ("results", &target)];
        r.add("numbers", MEASURE_NUMBERS, NumbersParams { lanes: n as u32 }, &bindings, groups);
        let recording = r.finish();
        submit(&self.context, &recording);
        let results = self.context.read_as(&target, 8 * n)?;
        self.context.check()?;
        Ok(results)
    }

    /// Whether atomics lose anything.
    ///
    /// # Errors
    /// An adapter that fails.
    pub fn atomics(&mut self) -> Result<Atomics> {
        let n = ATOMIC_GROUPS * LANES;
        let context = &mut self.context;
        let counters = context.storage("counters", 4 * COUNTERS as u64)?;
        let tickets = context.storage("tickets", 4 * n as u64)?;
        let bits = context.storage("bits", 4 * (n / 32) as u64)?;
        let sums = context.storage("sums", 4 * ATOMIC_GROUPS as u64)?;
        let mut r = Recorder::new(context);
        let bindings = [("counters", &counters), ("tickets", &tickets), ("bits", &bits), ("sums", &sums)];
        let groups = Work::Groups(ATOMIC_GROUPS as u64);
        r.add("atomics", MEASURE_ATOMICS, AtomicsParams { counters: COUNTERS as u32 }, &bindings, groups);
        let recording = r.finish();
        submit(context, &recording);
        let counters: Vec<u32> = context.read_as(&counters, COUNTERS)?;
        let tickets: Vec<u32> = context.read_as(&tickets, n)?;
        let bits: Vec<u32> = context.read_as(&bits, n / 32)?;
        let sums: Vec<u32> = context.read_as(&sums, ATOMIC_GROUPS)?;
        context.check()?;
        let permutation = |counter: usize| {
            let mut drawn: Vec<u32> = tickets.iter().skip(counter).step_by(COUNTERS).copied().collect();
            drawn.sort_unstable();
            drawn.iter().enumerate().all(|(k, &ticket)| ticket == k as u32)
        };
        Ok(Atomics {
            counts: (0..COUNTERS).all(|k| counters[k] as usize == (n - k).div_ceil(COUNTERS)),
            tickets: (0..COUNTERS).all(permutation),
            bits: bits.iter().all(|&word| word == u32::MAX),
            workgroup_sums: sums.iter().all(|&sum| sum as usize == LANES * (LANES - 1) / 2),
        })
    }

    /// The cost of the simplest commands.
    ///
    /// # Errors
    /// An adapter that fails.
    pub fn costs(&mut self) -> Result<Costs> {
        let (source, target) = (self.context.storage("source", 1024)?, self.context.storage("target", 1024)?);
        let mut r = Recorder::new(&mut self.context);
        r.add("empty", MEASURE_STREAM, StreamParams { lanes: 0 }, &copied(&source, &target), Work::Groups(1));
        let empty = r.finish();
        self.context.check()?;
        let context = &self.context;
        let seconds = |encode: &dyn Fn(&mut wgpu::CommandEncoder)| -> Result<f64> {
            let mut encoder = context.device.create_command_encoder(&Default::default());
            encode(&mut encoder);
            let commands = encoder.finish();
            let clock = Instant::now();
            let submission = context.queue.submit([commands]);
            context.wait(Some(submission))?;
            Ok(clock.elapsed().as_secs_f64())
        };
        let best = |encode: &dyn Fn(&mut wgpu::CommandEncoder)| -> Result<f64> {
            (0..5).map(|_| seconds(encode)).try_fold(f64::INFINITY, |best, next| Ok(next?.min(best)))
        };
        let each = |encode: &dyn Fn(&mut wgpu::CommandEncoder, usize)| -> Result<Option<f64>> {
            let (few, many) = (64, 576);
            let few_seconds = best(&|encoder| encode(encoder, few))?;
            let many_seconds = best(&|encoder| encode(encoder, many))?;
            let us = 1e6 * (many_seconds - few_seconds) / (many - few) as f64;
            Ok(Some(us).filter(|us| *us > 0.0))
        };
        let dispatches = |encoder: &mut wgpu::CommandEncoder, n: usize| {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for dispatch in std::iter::repeat_n(&empty.dispatches, n).flatten() {
                dispatch.encode(&mut pass);
            }
        };
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            1e6 * times[times.len() / 2]
        };
        let repeats = 31;
        let submits = (0..repeats).map(|_| seconds(&|encoder| dispatches(encoder, 1))).collect::<Result<_>>()?;
        let reads = (0..repeats).map(|_| {
            let clock = Instant::now();
            submit(context, &empty);
            context.read_as::<u8>(&target, 4)?;
            Ok(clock.elapsed().as_secs_f64())
        });
        Ok(Costs {
            empty_dispatch_us: each(&dispatches)?,
            clear_us: each(&|encoder, n| (0..n).for_each(|_| target.part(0, 1024).clear(encoder, 0)))?,
            submit_us: median(submits),
            submit_and_read_us: median(reads.collect::<Result<_>>()?),
        })
    }

    /// Timestamps of copies that take some ms.
    ///
    /// # Errors
    /// An adapter that fails.
    pub fn timestamps(&mut self) -> Result<Timestamps> {
        let bytes = (16u64 << 20).min(self.context.binding);
        let (source, target) = (self.context.storage("source", bytes)?, self.context.storage("target", bytes)?);
        let in_group = if self.context.narrow { 64 } else { 256 };
        let lanes = bytes / 16 / in_group * in_group;
        let mut r = Recorder::new(&mut self.context);
        let params = StreamParams { lanes: lanes as u32 };
        r.add("stream", MEASURE_STREAM, params, &copied(&source, &target), Work::Groups(lanes / in_group));
        let copy = r.finish();
        self.context.check()?;
        let context = &self.context;
        let timed = context.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let queries = timed.then(|| {
            context.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("probe"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            })
        });
        let resolved = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("timestamps"),
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let mut clock_ms = 0.0;
        // Once for the caches and the clock.
        for _ in 0..2 {
            let mut encoder = context.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: queries.as_ref().map(|query_set| wgpu::ComputePassTimestampWrites {
                    query_set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            });
            for dispatch in std::iter::repeat_n(&copy.dispatches, 16).flatten() {
                dispatch.encode(&mut pass);
            }
            drop(pass);
            if let Some(queries) = &queries {
                encoder.resolve_query_set(queries, 0..2, &resolved, 0);
            }
            let commands = encoder.finish();
            let clock = Instant::now();
            let submission = context.queue.submit([commands]);
            context.wait(Some(submission))?;
            clock_ms = 1e3 * clock.elapsed().as_secs_f64();
        }
        let period_ns = f64::from(context.queue.get_timestamp_period());
        let stamps = if timed { Some(context.read_as::<u64>(&Region::whole(resolved), 2)?) } else { None };
        let (ms, verdict) = match stamps.as_deref() {
            Some(&[begin, end]) => judge_timestamps(begin, end, period_ns, clock_ms),
            _ => (None, "missing"),
        };
        Ok(Timestamps { period_ns, clock_ms, ms, verdict })
    }
}

fn judge_timestamps(begin: u64, end: u64, period_ns: f64, clock_ms: f64) -> (Option<f64>, &'static str) {
    let ms = (end.wrapping_sub(begin) as i64) as f64 * period_ns / 1e6;
    let verdict = match ms {
        _ if begin == 0 || end == 0 || ms == 0.0 => "zero",
        _ if ms < 0.0 => "backwards",
        // Clocks of host and device differ by some parts in a million.
        _ if ms > 1.01 * clock_ms + 0.01 => "longer than the submit",
        _ => "ok",
    };
    (Some(ms), verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_judged() {
        assert_eq!(judge_timestamps(1000, 3_001_000, 1.0, 3.1), (Some(3.0), "ok"));
        assert_eq!(judge_timestamps(0, 0, 1.0, 3.1).1, "zero");
        assert_eq!(judge_timestamps(5, 5, 1.0, 3.1).1, "zero");
        assert_eq!(judge_timestamps(10, 5, 1.0, 3.1).1, "backwards");
        assert_eq!(judge_timestamps(1000, 9_001_000, 1.0, 3.1).1, "longer than the submit");
    }

    #[test]
    fn errors_are_counted_in_last_places() {
        assert_eq!(ulp(1.0, 1.0), 0.0);
        assert_eq!(ulp(1.0 + f32::EPSILON, 1.0), 1.0);
        assert_eq!(ulp(1024.0, 1024.0 + 2.0 * 1024.0 * f64::from(f32::EPSILON)), 2.0);
        assert_eq!(ulp(f32::NAN, 1.0), f64::MAX);
    }

    /// Any adapter complies with the standard.
    #[test]
    fn what_is_demanded_holds_here() {
        let mut prober = Prober::open(&GpuOptions::default()).unwrap();
        assert!(prober.atomics().unwrap().right());
        let numbers = prober.numbers().unwrap();
        assert_eq!(numbers.accuracy.len(), 4);
        for accuracy in &numbers.accuracy {
            assert_eq!(accuracy.beyond, 0, "{accuracy:?}");
        }
        let seen = |r: Roundings| (r.as_written + r.rearranged + r.other, r.other);
        assert_eq!((seen(numbers.multiply_add), seen(numbers.sum)), ((SAMPLES, 0), (SAMPLES, 0)), "{numbers:?}");
        let costs = prober.costs().unwrap();
        assert!(costs.submit_us > 0.0 && costs.submit_and_read_us > 0.0, "{costs:?}");
        assert!(prober.timestamps().unwrap().clock_ms > 0.0);
    }
}
