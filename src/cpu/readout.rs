//! Readout of leaky integrators without spikes and reset: V_c[t+1] = α_r V_c[t] + gain (Σ_i W_ic S_i[t] + b_c). The logit of
//! a class is the maximum, sum or mean of V_c over time, or its last value.

use super::lif_forward::PotentialRecord;
use super::tiles::Columns;
use crate::events::Event;
use crate::network::{Integrator, Logits};

/// The constants of the integrators.
#[derive(Debug, Clone, Copy)]
pub struct IntegratorConstants {
    /// exp(-Δt/τ_r).
    pub alpha: f32,
    /// Factor on the input current.
    pub gain: f32,
    /// How potentials become logits.
    pub logits: Logits,
    /// 1/T, the factor on the sum of potentials for [`Logits::Mean`].
    pub share: f32,
}

impl IntegratorConstants {
    /// The constants of `readout` for `time_steps` time steps of `dt_ms`.
    pub fn new(readout: &Integrator, dt_ms: f64, time_steps: usize) -> Self {
        IntegratorConstants {
            alpha: readout.alpha(dt_ms) as f32,
            gain: readout.gain_value(dt_ms) as f32,
            logits: readout.logits,
            share: (1.0 / time_steps as f64) as f32,
        }
    }
}

/// A column tile of the readout.
#[derive(Clone, Copy)]
pub struct ReadoutTile<'a> {
    /// Which columns of the layer.
    pub columns: Columns,
    /// [N_in, width]; with a bias [N_in + 1, width].
    pub weights: &'a [f32],
    /// Whether the last row of the weights is a bias.
    pub bias: bool,
}

/// Logits of one sample; vectors have the padded length.
#[derive(Debug, Default)]
pub struct ReadoutResult {
    /// Logits.
    pub logits: Vec<f32>,
    /// First time step of each maximum; 0 unless the logits are maxima.
    pub peak: Vec<u32>,
    /// Whether a potential was NaN or infinite.
    pub not_finite: bool,
}

impl ReadoutResult {
    /// Resets to zeros for `width` classes, padding included.
    pub fn clear(&mut self, width: usize) {
        self.logits.clear();
        self.logits.resize(width, 0.0);
        self.peak.clear();
        self.peak.resize(width, 0);
        self.not_finite = false;
    }
}

/// Runs one sample through a column tile of the readout, as [`super::lif_forward`] does for spiking neurons.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn readout<const W: usize>(
    mut input: &[Event],
    time_steps: usize,
    tile: &ReadoutTile,
    c: &IntegratorConstants,
    out: &mut ReadoutResult,
    mut record: Option<PotentialRecord>,
) {
    let ReadoutTile { columns, weights, bias } = *tile;
    let (weights, _) = weights.as_chunks::<W>();
    let bias = weights.last().filter(|_| bias);
    let mut v = [0.0f32; W];
    let mut logits = [0.0f32; W];
    let mut peak = [0u32; W];
    for t in 0..time_steps {
        let mut current = [0.0f32; W];
        // Spikes of t - 1 arrive now.
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
        if let Some(record) = &mut record {
            record.store(t, &columns, &v);
        }
    }
    match c.logits {
        Logits::Max | Logits::Sum => {}
        Logits::Mean => logits.iter_mut().for_each(|logit| *logit *= c.share),
        Logits::Last => logits = v,
    }
    // A potential that becomes NaN or infinite stays so.
    out.not_finite |= v.iter().fold(false, |seen, v| seen | !v.is_finite());
    out.logits[columns.begin..][..W].copy_from_slice(&logits);
    out.peak[columns.begin..][..W].copy_from_slice(&peak);
}
