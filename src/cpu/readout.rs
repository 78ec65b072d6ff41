//! Readout: V_c[t+1] = α_r V_c[t] + gain Σ_i W_ic S_i[t], no spikes, no reset; logits are its maximum or sum over t.

use super::tiles::Columns;
use crate::events::Event;
use crate::network::Logits;

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
    /// Whether some potential was NaN or infinite.
    pub not_finite: bool,
}

impl ReadoutResult {
    /// Zeros for `width` classes, padding included.
    pub fn clear(&mut self, width: usize) {
        self.logits.clear();
        self.logits.resize(width, 0.0);
        self.peak.clear();
        self.peak.resize(width, 0);
        self.not_finite = false;
    }
}

/// Runs one sample through a column tile of the readout, as [`super::lif_forward`] does: `weights` is [N_in, W],
/// `record`, if given, takes V as [T, C] of `stride` C, at the tile's columns.
#[allow(clippy::too_many_arguments)]
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn readout<const W: usize>(
    mut input: &[Event],
    time_steps: usize,
    columns: Columns,
    weights: &[f32],
    c: &ReadoutConstants,
    out: &mut ReadoutResult,
    mut record: Option<(&mut [f32], usize)>,
) {
    let (weights, _) = weights.as_chunks::<W>();
    let mut v = [0.0f32; W];
    let mut logits = [0.0f32; W];
    let mut peak = [0u32; W];
    for t in 0..time_steps {
        let mut current = [0.0f32; W];
        // What fired at t - 1 arrives now.
        while let Some((event, later)) = input.split_first()
            && event.t() < t
        {
            let weights = &weights[event.i()];
            for j in 0..W {
                current[j] += weights[j];
            }
            input = later;
        }
        for j in 0..W {
            v[j] = c.alpha * v[j] + c.gain * current[j];
        }
        match c.logits {
            Logits::Max => {
                for j in 0..W {
                    let higher = v[j] > logits[j];
                    logits[j] = if higher { v[j] } else { logits[j] };
                    peak[j] = if higher { t as u32 } else { peak[j] };
                }
            }
            Logits::Mean | Logits::Last => {}
            Logits::Sum => {
                for j in 0..W {
                    logits[j] += v[j];
                }
            }
        }
        if let Some((record, stride)) = &mut record {
            record[t * *stride + columns.begin..][..columns.used].copy_from_slice(&v[..columns.used]);
        }
    }
    // What is NaN or infinite once stays so.
    out.not_finite |= v.iter().fold(false, |seen, v| seen | !v.is_finite());
    out.logits[columns.begin..][..W].copy_from_slice(&logits);
    out.peak[columns.begin..][..W].copy_from_slice(&peak);
}
