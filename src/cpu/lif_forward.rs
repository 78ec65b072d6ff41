//! Forward pass of spiking neurons, event-driven: each spike adds its weight row one time step later.
//!
//! V[t+1] = V_rest + α (V[t] - V_rest) - (V_th - V_r) S[t] + D[t] with the drive D[t] = Σ_i W_i S^in_i[t] + Σ_k R_k S_k[t] + b.
//! The sum runs in the order of i, then of k, the bias comes last, and there are no fused multiply-adds, so every instruction set
//! gives the same bits.
//! If a spike sets the potential, V_r replaces V[t] and nothing is subtracted. In a `cuba_lif` cell the current
//! I[t+1] = s I[t] + D[t] replaces the drive. Both choices are compile-time constants of [`run`].
//!
//! One sample runs through one column tile with V in registers. Its spikes are stored as bits; once all tiles of the sample
//! are done, [`spikes_of`] turns them into events. The tiles of a recurrent layer run step by step, in turn
//! ([`recurrent_forward`](super::recurrent_forward::recurrent_forward)).

use super::lanes::{self, Decay};
use super::state::{ActiveTile, SpikeList};
use super::tiles::{Aligned, Columns, LANES, TiledMatrix, with_width};
use crate::events::Event;
use crate::network::CellConstants;
use multiversion::target::match_target;
use std::ops::Range;

/// A column tile of a spiking layer.
pub struct SpikingTile<'a> {
    /// Which columns of the layer.
    pub columns: Columns,
    /// Index of its first word in a row of spike bits: the sum of [`words_of`] over all tiles before it.
    pub first_word: usize,
    /// [N_in, width]; then [N, width] in a recurrent layer, and [1, width] with a bias.
    pub weights: &'a [f32],
    /// First row of the recurrent weights, if there are any.
    pub own_row: Option<usize>,
    /// Whether the last row of the weights is a bias.
    pub bias: bool,
    /// The layer's constants.
    pub constants: &'a CellConstants,
}

impl<'a> SpikingTile<'a> {
    /// All tiles of a layer.
    pub fn of(
        weights: &'a TiledMatrix,
        own_row: Option<usize>,
        bias: bool,
        constants: &'a CellConstants,
    ) -> impl Iterator<Item = Self> {
        weights.columns.iter().zip(&weights.tiles).scan(0, move |words, (&columns, tile)| {
            let first_word = *words;
            *words += words_of(columns.width);
            Some(SpikingTile { columns, first_word, weights: tile, own_row, bias, constants })
        })
    }
}

/// Spike bits of one sample, a row per time step. In each row a tile has [`words_of`] its width words.
#[derive(Debug, Default)]
pub struct SpikeBits {
    words: Vec<u64>,
    per_row: usize,
    /// The neuron of each word's lowest bit.
    first_neuron: Vec<usize>,
}

/// Words of spike bits per row for a tile of `width` columns.
pub fn words_of(width: usize) -> usize {
    width.div_ceil(64)
}

impl SpikeBits {
    /// Makes room for `steps` rows of a layer with these tiles; bits keep their old values.
    pub fn begin(&mut self, steps: usize, columns: &[Columns]) {
        let words =
            |columns: &Columns| (0..words_of(columns.width)).map(|k| columns.begin + 64 * k).collect::<Vec<_>>();
        self.first_neuron = columns.iter().flat_map(words).collect();
        self.per_row = self.first_neuron.len();
        self.words.resize(steps * self.per_row, 0);
    }

    /// Sets all bits to 0.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The bits of time `t`.
    #[inline(always)]
    pub fn row(&self, t: usize) -> &[u64] {
        &self.words[t * self.per_row..][..self.per_row]
    }

    /// The bits of time `t`, mutable.
    #[inline(always)]
    pub fn row_mut(&mut self, t: usize) -> &mut [u64] {
        &mut self.words[t * self.per_row..][..self.per_row]
    }

    /// The words of time `t`, each with its first neuron.
    #[inline(always)]
    pub fn words_at(&self, t: usize) -> impl ExactSizeIterator<Item = (usize, u64)> {
        self.first_neuron.iter().copied().zip(self.row(t).iter().copied())
    }

    /// Words per row.
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
pub enum DriveSource<'a> {
    /// Presynaptic spikes, sorted by (t, i). Each adds its weight row; a bias is added at every time step.
    Events(&'a [Event]),
    /// Precomputed rows [T - 1, width]: row t arrives at t + 1.
    Rows(&'a [f32]),
}

/// How far a sample runs through a tile.
#[derive(Clone, Copy)]
pub enum Pace {
    /// Through all time steps.
    Whole,
    /// Through all time steps at which something can happen; requires [`is_quiet`]. Skipped are those before the first event, and
    /// those between two events or after the last one once all potentials are below the band of active potentials. The spike
    /// bits must be 0 beforehand, and V is not recorded at skipped time steps. All other results are the same to the last bit.
    Quiet,
}

/// Where the potentials of one sample are recorded.
pub struct PotentialRecord<'a> {
    /// [T, N].
    pub v: &'a mut [f32],
    /// N.
    pub stride: usize,
}

impl PotentialRecord<'_> {
    /// Stores the potentials `v` of a tile at time `t`.
    #[inline(always)]
    pub fn store(&mut self, t: usize, columns: &Columns, v: &[f32]) {
        self.v[t * self.stride + columns.begin..][..columns.used].copy_from_slice(&v[..columns.used]);
    }
}

/// Runs one sample through a tile: appends its active entries in (t, j) order and sets its spike bits. Returns the time
/// steps it looked at, which include all with spikes or active entries.
pub fn lif_forward(
    drive: DriveSource,
    time_steps: usize,
    tile: &SpikingTile,
    bits: &mut SpikeBits,
    active: &mut ActiveTile,
    record: Option<PotentialRecord>,
    pace: Pace,
) -> Range<usize> {
    let (width, c) = (tile.columns.width, tile.constants);
    macro_rules! run_with {
        ($current:tt, $to_value:tt, $quiet:tt) => {
            with_width!(width, run(drive, time_steps, tile, bits, active, record) with $current, $to_value, $quiet)
        };
    }
    match (c.synapse.is_some(), c.to_value, pace) {
        (false, false, Pace::Whole) => run_with!(false, false, false),
        (false, false, Pace::Quiet) => run_with!(false, false, true),
        (false, true, Pace::Whole) => run_with!(false, true, false),
        (false, true, Pace::Quiet) => run_with!(false, true, true),
        (true, false, _) => run_with!(true, false, false),
        (true, true, _) => run_with!(true, true, false),
    }
}

/// [`lif_forward`] for a tile of `W` columns: with `CURRENT` the cell has a synaptic current, with `TO_VALUE` a spike sets
/// the potential; `QUIET` is [`Pace::Quiet`].
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn run<const W: usize, const CURRENT: bool, const TO_VALUE: bool, const QUIET: bool>(
    drive: DriveSource,
    time_steps: usize,
    tile: &SpikingTile,
    bits: &mut SpikeBits,
    active: &mut ActiveTile,
    mut record: Option<PotentialRecord>,
) -> Range<usize> {
    let (c, synapse) = (tile.constants, tile.constants.synapse.unwrap_or(0.0));
    let mut arrivals = Arrivals::<W>::new(drive, tile);
    let valid = valid_bits(&tile.columns);
    // These stay in registers as long as only loops with constant bounds index them; `seen` is the copy for other indices.
    let (mut v, mut current) = ([0.0f32; W], [0.0f32; W]);
    let mut seen = Aligned([0.0f32; W]);
    let begin = if QUIET { arrivals.next_time(time_steps) } else { 0 };
    let (mut t, mut end) = (begin, begin);
    while t < time_steps {
        if t > 0 {
            if CURRENT {
                current.iter_mut().for_each(|current| *current *= synapse);
                arrivals.add(t, &mut current);
                for j in 0..W {
                    v[j] += current[j];
                }
            } else {
                arrivals.add(t, &mut v);
            }
        }
        seen.0 = v;
        record.iter_mut().for_each(|record| record.store(t, &tile.columns, &seen.0));
        let (mut spiking, mut near) = ([0u64; 2], [0u64; 2]);
        let decay = decay_at::<TO_VALUE>(t, c);
        for (k, chunk) in v.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let next = match_target! {
                "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => lanes::avx512::advance::<TO_VALUE>(chunk, decay),
                "x86_64+avx2" => lanes::avx2::advance::<TO_VALUE>(chunk, decay),
                _ => lanes::portable::advance::<TO_VALUE>(chunk, decay),
            };
            *chunk = next.v;
            spiking[k / 4] |= u64::from(next.spiking) << (16 * (k % 4));
            near[k / 4] |= u64::from(next.active) << (16 * (k % 4));
        }
        let nothing = QUIET && spiking[0] | spiking[1] | near[0] | near[1] == 0;
        if !nothing {
            let masked = |words: [u64; 2]| [words[0] & valid[0], words[1] & valid[1]];
            list::<W, TO_VALUE>(t, masked(spiking), masked(near), &seen.0, tile, bits, active);
        }
        t += 1;
        end = t;
        if nothing {
            // All potentials are below the band and only decay until the next event.
            let event = arrivals.next_time(time_steps);
            if event >= time_steps {
                break;
            }
            for _ in t..event {
                v.iter_mut().for_each(|v| *v = c.alpha * *v + c.leak);
            }
            t = event;
        }
    }
    seen.0 = v;
    active.check_finite(&seen.0);
    active.end_sample(c);
    begin..end
}

/// Writes the spikes and active entries of a tile at time `t` to their lists.
#[inline(always)]
pub(super) fn list<const W: usize, const TO_VALUE: bool>(
    t: usize,
    mut spiking: [u64; 2],
    near: [u64; 2],
    v: &[f32; W],
    tile: &SpikingTile,
    bits: &mut SpikeBits,
    active: &mut ActiveTile,
) {
    active.make_room(W);
    for k in 0..W.div_ceil(64) {
        if t == 0 {
            spiking[k] = 0;
        }
        bits.words[t * bits.per_row + tile.first_word + k] = spiking[k];
        active.push_all(near[k], t, tile.columns.begin, 64 * k, v, tile.constants.v_th);
    }
    if TO_VALUE && spiking[0] | spiking[1] != 0 {
        active.push_own(t, tile.columns.begin, &spiking[..W.div_ceil(64)]);
        active.check_finite(v);
    }
}

/// Decay and reset at time `t`. S[0] is 0 whatever V_th is: nothing is subtracted from V[0], or it is set to 0, its value.
#[inline(always)]
pub(super) fn decay_at<const TO_VALUE: bool>(t: usize, constants: &CellConstants) -> Decay<'_> {
    let reset = match t {
        0 => 0.0,
        _ if TO_VALUE => constants.v_r,
        _ => constants.kick,
    };
    Decay { constants, reset }
}

/// Bits of the neurons of a tile without its padding. Padding neurons have weights 0, but V_rest may exceed the threshold.
#[inline(always)]
pub(super) fn valid_bits(columns: &Columns) -> [u64; 2] {
    [0, 64].map(|first| match columns.used.saturating_sub(first) {
        n @ 0..64 => (1u64 << n) - 1,
        _ => u64::MAX,
    })
}

/// The drive of one sample in a tile, in order of time.
struct Arrivals<'a, const W: usize> {
    drive: DriveSource<'a>,
    weights: &'a [[f32; W]],
    bias: Option<&'a [f32; W]>,
    /// The first event that has not arrived yet.
    next: usize,
}

impl<'a, const W: usize> Arrivals<'a, W> {
    #[inline(always)]
    fn new(drive: DriveSource<'a>, tile: &SpikingTile<'a>) -> Self {
        let (weights, _) = tile.weights.as_chunks::<W>();
        Arrivals { drive, weights, bias: weights.last().filter(|_| tile.bias), next: 0 }
    }

    /// When the next event arrives; `time_steps` if there is none.
    #[inline(always)]
    fn next_time(&self, time_steps: usize) -> usize {
        match &self.drive {
            DriveSource::Events(events) => events.get(self.next).map_or(time_steps, |event| event.t() + 1),
            DriveSource::Rows(_) => 0,
        }
    }

    /// Adds what arrives at `t`, at least 1: the drive of t - 1.
    #[inline(always)]
    fn add(&mut self, t: usize, driven: &mut [f32; W]) {
        match &self.drive {
            DriveSource::Events(events) => {
                while let Some(event) = events.get(self.next)
                    && event.t() < t
                {
                    add_row(driven, &self.weights[event.i()]);
                    self.next += 1;
                }
                if let Some(bias) = self.bias {
                    add_row(driven, bias);
                }
            }
            DriveSource::Rows(rows) => {
                let row = &rows[(t - 1) * W..][..W];
                for j in 0..W {
                    driven[j] += row[j];
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn add_row<const W: usize>(sum: &mut [f32; W], row: &[f32; W]) {
    for j in 0..W {
        sum[j] += row[j];
    }
}

/// Whether a neuron without input is never active and, once below the band of active potentials, stays there.
pub fn is_quiet(c: &CellConstants) -> bool {
    c.synapse.is_none() && c.leak == 0.0 && c.v_th >= 0.0 && c.surrogate_at(0.0).is_none() && c.alpha <= 1.0
}

/// Turns the bits of one sample into events in (t, j) order and appends them.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn spikes_of(bits: &SpikeBits, spikes: &mut SpikeList) {
    for t in 0..bits.words.len() / bits.per_row {
        spikes.push_row(t, bits.words_at(t));
    }
    spikes.end_sample();
}
