//! Forward pass of spiking neurons, event-driven: each spike adds its weight row when it arrives, a step later.
//!
//! V[t+1] = V_rest + α (V[t] - V_rest) - (V_th - V_r) S[t] + D[t] with the drive D[t] = Σ_i W_i S_i[t] + b, the sum in the
//! order of i and the bias last, without fused multiply-adds, so every instruction set gives the same bits. Where a spike
//! sets the potential, V_r takes the place of V[t] and of the subtraction; in a `cuba_lif` cell the current
//! I[t+1] = s I[t] + D[t] takes the place of the drive. Both are constants to the compiler: [`run`] is compiled for each.
//!
//! One sample runs through one column tile with V in registers. Spikes leave as bits, and become events when all tiles
//! of the sample are done: [`spikes_of`].

use super::state::{ActiveTile, SpikeList};
use super::tiles::{Aligned, Columns, LANES, with_width};
use crate::events::Event;
use crate::network::CellConstants;
use multiversion::{inherit_target, target::match_target};
use std::ops::Range;

/// What one sample in one column tile needs.
pub struct Tile<'a> {
    /// Which columns of the layer.
    pub columns: Columns,
    /// Its first word in a row of spike bits: [`words_of`] all before it.
    pub first_word: usize,
    /// [N_in, width], and a row more with a bias.
    pub weights: &'a [f32],
    /// Whether the last row of the weights is a bias.
    pub bias: bool,
    /// The layer's constants.
    pub constants: &'a CellConstants,
}

/// Spike bits of one sample, row after row; a tile has as many words a row as it takes.
#[derive(Debug, Default)]
pub struct SpikeBits {
    words: Vec<u64>,
    per_row: usize,
    /// The neuron of each word's lowest bit.
    first_neuron: Vec<usize>,
}

/// Words that a tile of `width` columns has in a row of bits.
pub fn words_of(width: usize) -> usize {
    width.div_ceil(64)
}

impl SpikeBits {
    /// Room for `steps` rows of a layer with these tiles.
    pub fn begin(&mut self, steps: usize, columns: &[Columns]) {
        let words =
            |columns: &Columns| (0..words_of(columns.width)).map(|k| columns.begin + 64 * k).collect::<Vec<_>>();
        self.first_neuron = columns.iter().flat_map(words).collect();
        self.per_row = self.first_neuron.len();
        // Every word is written.
        self.words.resize(steps * self.per_row, 0);
    }

    /// All bits 0.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The bits of time `t`.
    #[inline(always)]
    pub fn row(&self, t: usize) -> &[u64] {
        &self.words[t * self.per_row..][..self.per_row]
    }

    /// The bits of time `t`, to change.
    #[inline(always)]
    pub fn row_mut(&mut self, t: usize) -> &mut [u64] {
        &mut self.words[t * self.per_row..][..self.per_row]
    }

    /// Words of a row.
    pub fn per_row(&self) -> usize {
        self.per_row
    }

    /// The neuron of each word's lowest bit.
    pub fn first_neuron(&self) -> &[usize] {
        &self.first_neuron
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        8 * self.words.capacity()
    }
}

/// Where a sample's drive comes from.
pub enum Input<'a> {
    /// Events, sorted by (t, i), each adding its weight row; a bias is added at every time.
    Events(&'a [Event]),
    /// Rows [T - 1, width] computed beforehand: row t arrives at t + 1.
    Drive(&'a [f32]),
}

/// Runs one sample through a tile: appends its active entries in (t, j) order and sets its spike bits.
///
/// `record`, if given, takes V as [T, N] of `stride` N, at the tile's columns.
///
/// With `quiet`, which [`is_quiet`] allows, times at which nothing can happen are passed over: those before the first
/// event, those after the last one from when all potentials are below the band on, and as many between two events. The
/// spike bits must be 0 beforehand then, and V is not recorded where it is passed over. Everything else is the same, to
/// the last bit. Returns the times looked at, all that have spikes or active entries among them.
pub fn lif_forward(
    input: Input,
    time_steps: usize,
    tile: &Tile,
    bits: &mut SpikeBits,
    active: &mut ActiveTile,
    record: Option<(&mut [f32], usize)>,
    quiet: bool,
) -> Range<usize> {
    let (width, c) = (tile.columns.width, tile.constants);
    match (c.synapse.is_some(), c.to_value, quiet) {
        (false, false, false) => {
            with_width!(width, run(input, time_steps, tile, bits, active, record) with false, false, false)
        }
        (false, false, true) => {
            with_width!(width, run(input, time_steps, tile, bits, active, record) with false, false, true)
        }
        (false, true, false) => {
            with_width!(width, run(input, time_steps, tile, bits, active, record) with false, true, false)
        }
        (false, true, true) => {
            with_width!(width, run(input, time_steps, tile, bits, active, record) with false, true, true)
        }
        (true, false, _) => {
            with_width!(width, run(input, time_steps, tile, bits, active, record) with true, false, false)
        }
        (true, true, _) => {
            with_width!(width, run(input, time_steps, tile, bits, active, record) with true, true, false)
        }
    }
}

/// [`lif_forward`] of a tile of `W` columns, for a cell with or without a current and either reset.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn run<const W: usize, const CURRENT: bool, const TO_VALUE: bool, const QUIET: bool>(
    input: Input,
    time_steps: usize,
    tile: &Tile,
    bits: &mut SpikeBits,
    active: &mut ActiveTile,
    mut record: Option<(&mut [f32], usize)>,
) -> Range<usize> {
    /// V of 16 neurons without the drive of the next step, and their bits: who spikes, who is active. A spike subtracts
    /// `reset`, or sets the potential to it.
    #[inherit_target]
    fn pass<const TO_VALUE: bool>(
        v: &[f32; LANES],
        c: &CellConstants,
        leak: f32,
        reset: f32,
    ) -> ([f32; LANES], u16, u16) {
        match_target! {
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => {
                use std::arch::x86_64::*;
                let v: __m512 = bytemuck::cast(*v);
                let spiking = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v, _mm512_set1_ps(c.v_th));
                let distance = _mm512_abs_ps(_mm512_sub_ps(v, _mm512_set1_ps(c.v_th)));
                let near = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(distance, _mm512_set1_ps(c.band));
                let v = if TO_VALUE { _mm512_mask_mov_ps(v, spiking, _mm512_set1_ps(reset)) } else { v };
                let mut next = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(c.alpha), v), _mm512_set1_ps(leak));
                if !TO_VALUE {
                    next = _mm512_mask_sub_ps(next, spiking, next, _mm512_set1_ps(reset));
                }
                (bytemuck::cast(next), spiking, near)
            },
            "x86_64+avx2" => {
                use std::arch::x86_64::*;
                let halves: [__m256; 2] = bytemuck::cast(*v);
                let (mut spikes, mut active) = (0, 0);
                let mut next = [_mm256_setzero_ps(); 2];
                for (k, v) in halves.into_iter().enumerate() {
                    let spiking = _mm256_cmp_ps::<_CMP_GT_OQ>(v, _mm256_set1_ps(c.v_th));
                    let away = _mm256_sub_ps(v, _mm256_set1_ps(c.v_th));
                    let distance = _mm256_andnot_ps(_mm256_set1_ps(-0.0), away);
                    let near = _mm256_cmp_ps::<_CMP_LT_OQ>(distance, _mm256_set1_ps(c.band));
                    let v = if TO_VALUE { _mm256_blendv_ps(v, _mm256_set1_ps(reset), spiking) } else { v };
                    next[k] = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(c.alpha), v), _mm256_set1_ps(leak));
                    if !TO_VALUE {
                        next[k] = _mm256_sub_ps(next[k], _mm256_and_ps(spiking, _mm256_set1_ps(reset)));
                    }
                    spikes |= (_mm256_movemask_ps(spiking) as u16) << (8 * k);
                    active |= (_mm256_movemask_ps(near) as u16) << (8 * k);
                }
                (bytemuck::cast(next), spikes, active)
            },
            _ => {
                let (mut next, mut spikes, mut active) = ([0.0; LANES], 0, 0);
                for l in 0..LANES {
                    let spiking = v[l] > c.v_th;
                    spikes |= u16::from(spiking) << l;
                    active |= u16::from((v[l] - c.v_th).abs() < c.band) << l;
                    let v = if TO_VALUE && spiking { reset } else { v[l] };
                    next[l] = c.alpha * v + leak - if !TO_VALUE && spiking { reset } else { 0.0 };
                }
                (next, spikes, active)
            },
        }
    }

    let Tile { columns, first_word, weights, bias, constants: c } = tile;
    let (weights, _) = weights.as_chunks::<W>();
    let bias = weights.last().filter(|_| *bias);
    let (leak, synapse) = (c.leak, c.synapse.unwrap_or(0.0));
    // Padding neurons have weights 0 but may drift to V_rest: they never count.
    let valid = [0, 64].map(|first| match columns.used.saturating_sub(first) {
        n @ 0..64 => (1u64 << n) - 1,
        _ => u64::MAX,
    });
    // Registers, as long as nothing indexes it but these loops; what is indexed is the copy.
    let (mut v, mut current) = ([0.0f32; W], [0.0f32; W]);
    let mut seen = Aligned([0.0f32; W]);
    let mut next = 0;
    let when = |next: usize| match &input {
        Input::Events(events) => events.get(next).map_or(time_steps, |event| event.t() + 1),
        Input::Drive(_) => 0,
    };
    let begin = if QUIET { when(0) } else { 0 };
    let (mut t, mut end) = (begin, begin);
    while t < time_steps {
        if t > 0 {
            if CURRENT {
                for j in 0..W {
                    current[j] *= synapse;
                }
            }
            let driven = if CURRENT { &mut current } else { &mut v };
            match &input {
                Input::Events(events) => {
                    // What fired at t - 1 arrives now.
                    while let Some(event) = events.get(next)
                        && event.t() < t
                    {
                        let weights = &weights[event.i()];
                        for j in 0..W {
                            driven[j] += weights[j];
                        }
                        next += 1;
                    }
                    if let Some(bias) = bias {
                        for j in 0..W {
                            driven[j] += bias[j];
                        }
                    }
                }
                Input::Drive(drive) => {
                    let row = &drive[(t - 1) * W..][..W];
                    for j in 0..W {
                        driven[j] += row[j];
                    }
                }
            }
            if CURRENT {
                for j in 0..W {
                    v[j] += current[j];
                }
            }
        }
        seen.0 = v;
        if let Some((record, stride)) = &mut record {
            record[t * *stride + columns.begin..][..columns.used].copy_from_slice(&seen.0[..columns.used]);
        }
        let (mut spiking, mut near) = ([0u64; 2], [0u64; 2]);
        // S[0] is 0, whatever V_th is: nothing is subtracted, and V[0] is set to 0, which it is.
        let reset = match t {
            0 => 0.0,
            _ if TO_VALUE => c.v_r,
            _ => c.kick,
        };
        for (k, chunk) in v.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let (next, s, a) = pass::<TO_VALUE>(chunk, c, leak, reset);
            *chunk = next;
            spiking[k / 4] |= u64::from(s) << (16 * (k % 4));
            near[k / 4] |= u64::from(a) << (16 * (k % 4));
        }
        let nothing = QUIET && spiking[0] | spiking[1] | near[0] | near[1] == 0;
        if !nothing {
            active.make_room(W);
            for k in 0..W.div_ceil(64) {
                spiking[k] = if t > 0 { spiking[k] & valid[k] } else { 0 };
                bits.words[t * bits.per_row + first_word + k] = spiking[k];
                active.push_all(near[k] & valid[k], t, columns.begin, 64 * k, &seen.0, c.v_th);
            }
            if TO_VALUE && spiking[0] | spiking[1] != 0 {
                active.push_own(t, columns.begin, &spiking[..W.div_ceil(64)]);
                active.look_at(&seen.0);
            }
        }
        t += 1;
        end = t;
        if nothing {
            // All are below the band: until the next event they decay, further below.
            let event = when(next);
            if event >= time_steps {
                break;
            }
            while t < event {
                for j in 0..W {
                    v[j] = c.alpha * v[j] + leak;
                }
                t += 1;
            }
        }
    }
    seen.0 = v;
    active.look_at(&seen.0);
    active.end_sample(c);
    begin..end
}

/// Whether a neuron without input does nothing and, once below the band of active potentials, stays there.
pub fn is_quiet(c: &CellConstants) -> bool {
    c.synapse.is_none() && c.leak == 0.0 && c.v_th >= 0.0 && c.surrogate_at(0.0).is_none() && c.alpha <= 1.0
}

/// Turns the bits of one sample into events in (t, j) order and appends them.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn spikes_of(bits: &SpikeBits, spikes: &mut SpikeList) {
    for (t, row) in bits.words.chunks_exact(bits.per_row).enumerate() {
        spikes.push_row(t, bits.first_neuron.iter().copied().zip(row.iter().copied()));
    }
    spikes.end_sample();
}
