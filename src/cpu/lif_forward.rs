//! LIF forward, event-driven: each spike adds its weight row to the currents of the time at which it arrives.
//!
//! V[t+1] = V_rest + α (V[t] - V_rest) - (V_th - V_r) S[t] + Σ_i W_i S_i[t], the sum in the order of i, without fused
//! multiply-adds, so every instruction set gives the same bits.
//!
//! One sample runs through one column tile with V in registers. Spikes leave as bits, and become events when all tiles
//! of the sample are done: [`spikes_of`].

use super::state::{ActiveTile, SpikeList};
use super::tiles::{Aligned, Columns, LANES};
use crate::events::Event;
use crate::model::LifConstants;
use multiversion::{inherit_target, target::match_target};

/// What one sample in one column tile needs.
pub struct Tile<'a> {
    /// Which columns of the layer.
    pub columns: Columns,
    /// Its first word in a row of spike bits: [`words_of`] all before it.
    pub first_word: usize,
    /// [N_in, width].
    pub weights: &'a [f32],
    /// The layer's constants.
    pub constants: &'a LifConstants,
}

/// Spike bits of one sample, row after row; a tile has as many words a row as it takes.
#[derive(Debug, Default)]
pub struct SpikeBits {
    words: Vec<u64>,
    per_row: usize,
}

/// Words that a tile of `width` columns has in a row of bits.
pub fn words_of(width: usize) -> usize {
    width.div_ceil(64)
}

impl SpikeBits {
    /// Room for `steps` rows of a layer with these tiles.
    pub fn begin(&mut self, steps: usize, columns: &[Columns]) {
        self.per_row = columns.iter().map(|columns| words_of(columns.width)).sum();
        // Every word is written.
        self.words.resize(steps * self.per_row, 0);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        8 * self.words.capacity()
    }
}

/// Where the currents of a block of rows come from.
pub enum Input<'a> {
    /// Events, sorted by (t, i), each adding its weight row.
    Events(&'a [Event]),
    /// Rows [T - 1, width] computed beforehand: row t arrives at t + 1.
    Currents(&'a [f32]),
}

/// Runs one sample through a tile: appends its active entries in (t, j) order and sets its spike bits.
///
/// `record`, if given, takes V as [T, N] of `stride` N, at the tile's columns.
#[allow(clippy::too_many_arguments)]
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn lif_forward<const W: usize>(
    input: Input,
    time_steps: usize,
    tile: &Tile,
    bits: &mut SpikeBits,
    active: &mut ActiveTile,
    mut record: Option<(&mut [f32], usize)>,
) {
    /// Bit l: lane l spikes; bit l: lane l is active.
    #[inherit_target]
    fn classify(v: &[f32; LANES], c: &LifConstants) -> (u16, u16) {
        match_target! {
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => {
                use std::arch::x86_64::*;
                let v: __m512 = bytemuck::cast(*v);
                let distance = _mm512_abs_ps(_mm512_sub_ps(v, _mm512_set1_ps(c.v_th)));
                (
                    _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v, _mm512_set1_ps(c.v_th)),
                    _mm512_cmp_ps_mask::<_CMP_LT_OQ>(distance, _mm512_set1_ps(c.b_th)),
                )
            },
            "x86_64+avx2" => {
                use std::arch::x86_64::*;
                let halves: [__m256; 2] = bytemuck::cast(*v);
                let (mut spikes, mut active) = (0, 0);
                for (k, v) in halves.into_iter().enumerate() {
                    let away = _mm256_sub_ps(v, _mm256_set1_ps(c.v_th));
                    let distance = _mm256_andnot_ps(_mm256_set1_ps(-0.0), away);
                    let spiking = _mm256_cmp_ps::<_CMP_GT_OQ>(v, _mm256_set1_ps(c.v_th));
                    let near = _mm256_cmp_ps::<_CMP_LT_OQ>(distance, _mm256_set1_ps(c.b_th));
                    spikes |= (_mm256_movemask_ps(spiking) as u16) << (8 * k);
                    active |= (_mm256_movemask_ps(near) as u16) << (8 * k);
                }
                (spikes, active)
            },
            _ => {
                let (mut spikes, mut active) = (0, 0);
                for l in 0..LANES {
                    spikes |= u16::from(v[l] > c.v_th) << l;
                    active |= u16::from((v[l] - c.v_th).abs() < c.b_th) << l;
                }
                (spikes, active)
            },
        }
    }

    let Tile { columns, first_word, weights, constants: c } = tile;
    let (weights, _) = weights.as_chunks::<W>();
    let leak = c.v_rest - c.alpha * c.v_rest;
    // Padding neurons have weights 0 but may drift to V_rest: they never count.
    let valid = [0, 64].map(|first| match columns.used.saturating_sub(first) {
        n @ 0..64 => (1u64 << n) - 1,
        _ => u64::MAX,
    });
    // Registers, as long as nothing indexes it but these loops; what is indexed is the copy.
    let mut v = [0.0f32; W];
    let mut seen = Aligned([0.0f32; W]);
    let mut next = 0;
    for t in 0..time_steps {
        if t > 0 {
            // S[0] is 0, whatever V_th is.
            let reset = if t > 1 { c.reset } else { 0.0 };
            for j in 0..W {
                let fired = if v[j] > c.v_th { reset } else { 0.0 };
                v[j] = c.alpha * v[j] + leak - fired;
            }
            match &input {
                Input::Events(events) => {
                    // What fired at t - 1 arrives now.
                    while let Some(event) = events.get(next)
                        && event.t() < t
                    {
                        let weights = &weights[event.i()];
                        for j in 0..W {
                            v[j] += weights[j];
                        }
                        next += 1;
                    }
                }
                Input::Currents(currents) => {
                    let row = &currents[(t - 1) * W..][..W];
                    for j in 0..W {
                        v[j] += row[j];
                    }
                }
            }
        }
        seen.0 = v;
        if let Some((record, stride)) = &mut record {
            record[t * *stride + columns.begin..][..columns.used].copy_from_slice(&seen.0[..columns.used]);
        }
        let (mut spiking, mut near) = ([0u64; 2], [0u64; 2]);
        for (k, chunk) in seen.0.as_chunks::<LANES>().0.iter().enumerate() {
            let (s, a) = classify(chunk, c);
            spiking[k / 4] |= u64::from(s) << (16 * (k % 4));
            near[k / 4] |= u64::from(a) << (16 * (k % 4));
        }
        active.make_room(W);
        for k in 0..W.div_ceil(64) {
            bits.words[t * bits.per_row + first_word + k] = if t > 0 { spiking[k] & valid[k] } else { 0 };
            active.push_all(near[k] & valid[k], t, columns.begin, 64 * k, &seen.0, c.v_th);
        }
    }
    active.end_sample(c.beta);
}

/// Turns the bits of one sample into events in (t, j) order and appends them.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn spikes_of(bits: &SpikeBits, columns: &[Columns], spikes: &mut SpikeList) {
    for (t, row) in bits.words.chunks_exact(bits.per_row).enumerate() {
        let mut words = row.iter();
        for columns in columns {
            for (k, word) in words.by_ref().take(words_of(columns.width)).enumerate() {
                spikes.push_all(*word, t, columns.begin + 64 * k);
            }
        }
    }
    spikes.end_sample();
}
