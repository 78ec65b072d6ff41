//! Readout of leaky integrators: V_c[t+1] = α_r V_c[t] + gain (Σ_i W_ic S_i[t] + b_c), no spikes, no reset; logits are its
//! maximum, sum or mean over t, or its last value.

use super::tiles::Columns;
use crate::events::Event;
use crate::network::{Integrator, Logits};

/// The integrators' constants as the kernels use them.
#[derive(Debug, Clone, Copy)]
pub struct IntegratorConstants {
    /// exp(-Δt/τ_r).
    pub alpha: f32,
    /// Factor on the input current.
    pub gain: f32,
    /// How potentials become logits.
    pub logits: Logits,
    /// Factor on the sum of potentials that [`Logits::Mean`] takes: 1/T.
    pub share: f32,
}

impl IntegratorConstants {
    /// Those of `readout` in a network of `time_steps` of `dt_ms`.
    pub fn new(readout: &Integrator, dt_ms: f64, time_steps: usize) -> Self {
        IntegratorConstants {
            alpha: readout.alpha(dt_ms) as f32,
            gain: readout.gain_value(dt_ms) as f32,
            logits: readout.logits,
            share: (1.0 / time_steps as f64) as f32,
        }
    }
}

/// The weights of a column tile.
#[derive(Clone, Copy)]
pub struct ReadoutTile<'a> {
    /// Which columns of the layer.
    pub columns: Columns,
    /// [N_in, width], and a row more with a bias.
    pub weights: &'a [f32],
    /// Whether the last row of the weights is a bias.
    pub bias: bool,
}

/// Logits of one sample and, for each, the time of its maximum; vectors padded to whole lanes.
#[derive(Debug, Default)]
pub struct ReadoutResult {
    /// Logits.
    pub logits: Vec<f32>,
    /// First time of the maximum; 0 unless the logits are maxima.
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

/// Runs one sample through a column tile of the readout, as [`super::lif_forward`] does; `record`, if given, takes V as
/// [T, C] of `stride` C, at the tile's columns.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn readout<const W: usize>(
    mut input: &[Event],
    time_steps: usize,
    tile: &ReadoutTile,
    c: &IntegratorConstants,
    out: &mut ReadoutResult,
    mut record: Option<(&mut [f32], usize)>,
) {
    let ReadoutTile { columns, weights, bias } = *tile;
    let (weights, _) = weights.as_chunks::<W>();
    let bias = weights.last().filter(|_| bias);
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
        if let Some(bias) = bias
            && t > 0
        {
            for j in 0..W {
                current[j] += bias[j];
            }
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
            Logits::Sum | Logits::Mean => {
                for j in 0..W {
                    logits[j] += v[j];
                }
            }
            Logits::Last => {}
        }
        if let Some((record, stride)) = &mut record {
            record[t * *stride + columns.begin..][..columns.used].copy_from_slice(&v[..columns.used]);
        }
    }
    match c.logits {
        Logits::Max | Logits::Sum => {}
        Logits::Mean => logits.iter_mut().for_each(|logit| *logit *= c.share),
        Logits::Last => logits = v,
    }
    // What is NaN or infinite once stays so.
    out.not_finite |= v.iter().fold(false, |seen, v| seen | !v.is_finite());
    out.logits[columns.begin..][..W].copy_from_slice(&logits);
    out.peak[columns.begin..][..W].copy_from_slice(&peak);
}
