//! Peak memory bandwidth and arithmetic rate of a device, measured with loops that do nothing else.

use crate::device::Device;
use crate::error::Result;
pub use crate::gpu::ceilings::Ceilings;
use crate::gpu::{self, GpuOptions};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Measures `device`, which takes about a second.
///
/// # Errors
/// No such adapter, or one that fails.
pub fn ceilings(device: Device) -> Result<Ceilings> {
    match device.resolve() {
        Device::Gpu(adapter) => gpu::ceilings::ceilings(&GpuOptions { adapter, ..GpuOptions::default() }),
        _ => Ok(Ceilings { bytes_per_second: cpu_bytes(), multiply_adds_per_second: cpu_multiply_adds() }),
    }
}

/// Number of floats in each of the two arrays for copying; larger than any cache.
const ARRAY: usize = 32 << 20;
/// Number of floats that a thread copies at a time.
const PIECE: usize = 1 << 16;
const ROUNDS: usize = 5;

fn best_seconds(mut work: impl FnMut()) -> f64 {
    let time = |work: &mut dyn FnMut()| {
        let clock = Instant::now();
        work();
        clock.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| time(&mut work)).fold(f64::INFINITY, f64::min)
}

fn cpu_bytes() -> f64 {
    let source = vec![1.0f32; ARRAY];
    let mut target = vec![0.0f32; ARRAY];
    let seconds = best_seconds(|| {
        target.par_chunks_mut(PIECE).zip(source.par_chunks(PIECE)).for_each(|(out, input)| out.copy_from_slice(input));
        black_box(&mut target);
    });
    (2 * 4 * ARRAY) as f64 / seconds
}

/// Number of independent chains of multiply-adds per thread, enough to fill the pipelines of the widest instruction set.
const CHAINS: usize = 16 * 10;
const TURNS: usize = 1 << 17;

fn cpu_multiply_adds() -> f64 {
    let threads = rayon::current_num_threads();
    let seconds = best_seconds(|| {
        (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
            black_box(chains(black_box(TURNS), black_box(0.5), black_box(0.25)));
        });
    });
    (threads * TURNS * CHAINS) as f64 / seconds
}

#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn chains(turns: usize, m: f32, a: f32) -> f32 {
    let mut x = [0.0f32; CHAINS];
    x.iter_mut().enumerate().for_each(|(k, x)| *x = k as f32);
    for _ in 0..turns {
        x.iter_mut().for_each(|x| *x = m * *x + a);
    }
    x.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_devices_have_ceilings_of_this_world() {
        for device in [Device::Cpu, Device::Gpu(None)] {
            let Ceilings { bytes_per_second, multiply_adds_per_second } = ceilings(device).unwrap();
            // The range from a slow, busy laptop to the largest accelerator.
            assert!((1e7..1e14).contains(&bytes_per_second), "{device}: {bytes_per_second:e} B/s");
            assert!((1e6..1e16).contains(&multiply_adds_per_second), "{device}: {multiply_adds_per_second:e} /s");
        }
    }
}
