//! The dense baseline of convolutions: a matrix product over the patches of each time step of each sample.
//!
//! Arrays are [B T, neurons] and are processed row by row, so only the patches of one row are held at a time.

use super::matmul::{Strided, Threads, matmul};
use crate::network::Convolution;
use crate::weights::Matrix;
use rayon::prelude::*;

/// Calls `f` with (patch entry, pixel, neuron below) for every connection.
fn connections(c: &Convolution, mut f: impl FnMut(usize, usize, usize)) {
    let (rows, columns) = (c.rows(), c.columns());
    for entry in 0..c.patch() {
        let (channel, ky, kx) = (entry / (c.kernel * c.kernel), entry / c.kernel % c.kernel, entry % c.kernel);
        for row in 0..rows {
            let Some(y) = (row * c.stride + ky).checked_sub(c.padding).filter(|&y| y < c.height) else { continue };
            for column in 0..columns {
                let x = (column * c.stride + kx).checked_sub(c.padding).filter(|&x| x < c.width);
                if let Some(x) = x {
                    f(entry, row * columns + column, (channel * c.height + y) * c.width + x);
                }
            }
        }
    }
}

/// The patches of one row as [patch, pixels].
fn patches<'a>(c: &Convolution, below: &[f32], out: &'a mut Vec<f32>) -> &'a [f32] {
    let pixels = c.pixels();
    out.clear();
    out.resize(c.patch() * pixels, 0.0);
    connections(c, |entry, pixel, neuron| out[entry * pixels + pixel] = below[neuron]);
    out
}

/// Input currents [B T, N] from spikes [B T, inputs].
pub fn currents(c: &Convolution, weights: &Matrix, spikes: &[f32], out: &mut [f32]) {
    let extents = (c.filters, c.patch(), c.pixels());
    let rows = out.par_chunks_mut(c.neurons()).zip(spikes.par_chunks(c.inputs()));
    rows.for_each_init(Vec::new, |buffer, (out, spikes)| {
        let patches = patches(c, spikes, buffer);
        let transposed = Strided::transposed(&weights.data, c.filters);
        matmul(extents, transposed, Strided::rows(patches, c.pixels()), out, false, Threads::One);
    });
}

/// Calls `f` with the neurons of each pooling window, row-major, and the pooled neuron.
fn windows(c: &Convolution, mut f: impl FnMut(&[usize], usize)) {
    let (columns, (pooled_rows, pooled_columns)) = (c.columns(), c.pooled());
    let mut window = vec![0; c.pool * c.pool];
    for neuron in 0..c.outputs() {
        let (map, at) = (neuron / (pooled_rows * pooled_columns), neuron % (pooled_rows * pooled_columns));
        let corner = map * c.pixels() + at / pooled_columns * c.pool * columns + at % pooled_columns * c.pool;
        for (k, neuron) in window.iter_mut().enumerate() {
            *neuron = corner + k / c.pool * columns + k % c.pool;
        }
        f(&window, neuron);
    }
}

/// Pooled spikes [B T, outputs] from spikes [B T, N].
pub fn pool(c: &Convolution, spikes: &[f32], out: &mut [f32]) {
    out.par_chunks_mut(c.outputs()).zip(spikes.par_chunks(c.neurons())).for_each(|(out, spikes)| {
        windows(c, |window, pooled| out[pooled] = window.iter().fold(0.0, |most, &k| f32::max(most, spikes[k])));
    });
}

/// ∇S [B T, N] from ∇S of the pooled spikes [B T, outputs], which goes to the first maximum of each window.
pub fn unpool(c: &Convolution, spikes: &[f32], pooled: &[f32], out: &mut [f32]) {
    let rows = out.par_chunks_mut(c.neurons()).zip(spikes.par_chunks(c.neurons()));
    rows.zip(pooled.par_chunks(c.outputs())).for_each(|((out, spikes), pooled)| {
        out.fill(0.0);
        windows(c, |window, at| {
            let first = window.iter().find(|&&k| spikes[k] > 0.0).unwrap_or(&window[0]);
            out[*first] = pooled[at];
        });
    });
}

/// ∇S [B T, inputs] of the spikes that the convolution reads, from its δ [B T, N].
pub fn spike_gradient(c: &Convolution, weights: &Matrix, delta: &[f32], out: &mut [f32]) {
    let (patch, pixels) = (c.patch(), c.pixels());
    let rows = out.par_chunks_mut(c.inputs()).zip(delta.par_chunks(c.neurons()));
    rows.for_each_init(
        || vec![0.0; patch * pixels],
        |of_patches, (out, delta)| {
            let extents = (patch, c.filters, pixels);
            matmul(
                extents,
                Strided::rows(&weights.data, c.filters),
                Strided::rows(delta, pixels),
                of_patches,
                false,
                Threads::One,
            );
            out.fill(0.0);
            connections(c, |entry, pixel, neuron| out[neuron] += of_patches[entry * pixels + pixel]);
        },
    );
}

/// ∇W [patch, filters] from spikes [B T, inputs] and δ [B T, N], with `steps` rows per sample.
pub fn weight_gradient(c: &Convolution, steps: usize, spikes: &[f32], delta: &[f32]) -> Matrix {
    let (patch, pixels) = (c.patch(), c.pixels());
    let samples = spikes.par_chunks(steps * c.inputs()).zip(delta.par_chunks(steps * c.neurons()));
    let parts: Vec<Vec<f32>> = samples
        .map(|(spikes, delta)| {
            let (mut sum, mut buffer) = (vec![0.0; patch * c.filters], Vec::new());
            for (spikes, delta) in spikes.chunks(c.inputs()).zip(delta.chunks(c.neurons())) {
                let patches = patches(c, spikes, &mut buffer);
                let extents = (patch, pixels, c.filters);
                matmul(
                    extents,
                    Strided::rows(patches, pixels),
                    Strided::transposed(delta, pixels),
                    &mut sum,
                    true,
                    Threads::One,
                );
            }
            sum
        })
        .collect();
    let mut gradient = Matrix::zeros(patch, c.filters);
    // In order, so that the sum does not depend on the number of threads.
    for part in parts {
        gradient.data.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    gradient
}
