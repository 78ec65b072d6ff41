//! Readout: V_c[t+1] = α_r V_c[t] + gain Σ_i W_ic S_i[t], no spikes, no reset; logits are its maximum or sum over t.

use super::tiles::{TiledMatrix, padded, with_width};
use crate::events::Event;
use crate::model::Logits;

/// The readout's constants as the kernels use them.
#[derive(Debug, Clone, Copy)]
pub struct ReadoutConstants {
    /// exp(-Δt/τ_r).
    pub alpha: f32,
    /// Factor on the input current.
    pub gain: f32,
    /// Maximum or sum.
    pub logits: Logits,
}

/// Logits of one sample and, for each, the time of its maximum; vectors padded to whole lanes.
#[derive(Debug, Default)]
pub struct ReadoutResult {
    /// Logits.
    pub logits: Vec<f32>,
    /// First time of the maximum (0 for the sum).
    pub peak: Vec<u32>,
}

/// Runs one sample through the readout. `record`, if given, takes V as [T, C].
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn readout(
    input: &[Event],
    time_steps: usize,
    weights: &TiledMatrix,
    constants: &ReadoutConstants,
    out: &mut ReadoutResult,
    mut record: Option<&mut [f32]>,
) {
    let width = padded(weights.cols);
    out.logits.clear();
    out.logits.resize(width, 0.0);
    out.peak.clear();
    out.peak.resize(width, 0);
    for (columns, tile) in weights.columns.iter().zip(&weights.tiles) {
        let span = columns.begin..columns.begin + columns.width;
        let (logits, peak) = (&mut out.logits[span.clone()], &mut out.peak[span]);
        let mut note = |t: usize, v: &[f32]| {
            if let Some(record) = record.as_deref_mut() {
                let used = v.len().min(weights.cols - columns.begin);
                record[t * weights.cols + columns.begin..][..used].copy_from_slice(&v[..used]);
            }
        };
        with_width!(columns.width, integrate(input, time_steps, tile, constants, logits, peak, &mut note));
    }
}

#[inline(always)]
fn integrate<const W: usize>(
    input: &[Event],
    time_steps: usize,
    weights: &[f32],
    c: &ReadoutConstants,
    logits: &mut [f32],
    peak: &mut [u32],
    note: &mut impl FnMut(usize, &[f32]),
) {
    let (rows, _) = weights.as_chunks::<W>();
    let (Some(logits), Some(peak)) = (logits.first_chunk_mut::<W>(), peak.first_chunk_mut::<W>()) else { return };
    let mut v = [0.0f32; W];
    note(0, &v);
    let mut rest = input;
    for t in 1..time_steps {
        let mut current = [0.0f32; W];
        while let Some((event, later)) = rest.split_first()
            && event.t() < t
        {
            let row = &rows[event.i()];
            for j in 0..W {
                current[j] += row[j];
            }
            rest = later;
        }
        for j in 0..W {
            v[j] = c.alpha * v[j] + c.gain * current[j];
        }
        note(t, &v);
        match c.logits {
            Logits::Max => {
                for j in 0..W {
                    let higher = v[j] > logits[j];
                    logits[j] = if higher { v[j] } else { logits[j] };
                    peak[j] = if higher { t as u32 } else { peak[j] };
                }
            }
            Logits::Sum => {
                for j in 0..W {
                    logits[j] += v[j];
                }
            }
        }
    }
}
