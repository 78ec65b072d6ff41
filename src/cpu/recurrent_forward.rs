//! Forward pass of a recurrent layer. A neuron's drive has the spikes of all neurons of the layer one time step before, so time is
//! the outer loop and the column tiles of a sample take turns.
//!
//! Equations and order of sums are those of [`lif_forward`](super::lif_forward::lif_forward).

use super::lanes::{self, Advanced, Decay};
use super::lif_forward::{PotentialRecord, SpikeBits, SpikingTile, add_row, decay_at, list, valid_bits};
use super::state::{ActiveTile, SpikeList};
use super::tiles::{Aligned, Columns, LANES, WIDEST, with_width};
use crate::events::Event;
use multiversion::target::match_target;

/// The state of the neurons of a sample.
#[derive(Debug, Default)]
pub struct RecurrentState {
    /// A state for each tile.
    tiles: Vec<TileState>,
    /// The layer's spikes.
    bits: SpikeBits,
    /// Number of input spikes at each time step.
    arrivals: Vec<u32>,
}

impl RecurrentState {
    /// Makes room for samples of `steps` time steps of a layer with these tiles.
    pub fn begin(&mut self, steps: usize, columns: &[Columns]) {
        self.bits.begin(steps, columns);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.tiles.capacity() * size_of::<TileState>() + 4 * self.arrivals.capacity() + self.bits.bytes()
    }
}

#[derive(Debug, Clone)]
struct TileState {
    v: Aligned<WIDEST>,
    current: Aligned<WIDEST>,
    valid: [u64; 2],
}

/// What happens in all tiles at a time step.
struct Moment<'a> {
    t: usize,
    /// Input spikes of t - 1.
    events: &'a [Event],
    /// The layer's own spikes of t - 1.
    own: &'a [Event],
}

/// Runs one sample through the `tiles` of a recurrent layer: appends its spikes and its active entries, sorted by (t, j).
/// `input` has the presynaptic spikes, sorted by (t, i). Requires [`RecurrentState::begin`].
pub fn recurrent_forward(
    input: &[Event],
    time_steps: usize,
    tiles: &[SpikingTile],
    state: &mut RecurrentState,
    spikes: &mut SpikeList,
    active: &mut [ActiveTile],
    record: Option<PotentialRecord>,
) {
    let Some(first) = tiles.first() else { return };
    state.tiles.clear();
    state.tiles.extend(tiles.iter().map(|tile| TileState {
        v: Aligned([0.0; WIDEST]),
        current: Aligned([0.0; WIDEST]),
        valid: valid_bits(&tile.columns),
    }));
    let run = match (first.constants.synapse.is_some(), first.constants.to_value) {
        (false, false) => run::<false, false>,
        (false, true) => run::<false, true>,
        (true, false) => run::<true, false>,
        (true, true) => run::<true, true>,
    };
    run(input, time_steps, tiles, state, spikes, active, record);
    spikes.end_sample();
    for ((tile, state), active) in tiles.iter().zip(&state.tiles).zip(active) {
        active.check_finite(&state.v.0[..tile.columns.width]);
        active.end_sample(tile.constants);
    }
}

/// All time steps: with `CURRENT` the cell has a synaptic current, with `TO_VALUE` a spike sets the potential.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn run<const CURRENT: bool, const TO_VALUE: bool>(
    input: &[Event],
    time_steps: usize,
    tiles: &[SpikingTile],
    state: &mut RecurrentState,
    spikes: &mut SpikeList,
    active: &mut [ActiveTile],
    mut record: Option<PotentialRecord>,
) {
    let RecurrentState { tiles: states, arrivals, bits } = state;
    // Without a branch on times, which would be guessed wrongly at most time steps.
    arrivals.clear();
    arrivals.resize(time_steps, 0);
    input.iter().for_each(|event| arrivals[event.t()] += 1);
    let (mut arrived, mut spiked) = (0, spikes.len());
    for t in 0..time_steps {
        let arriving = if t > 0 { arrivals[t - 1] as usize } else { 0 };
        let moment = Moment { t, events: &input[arrived..arrived + arriving], own: spikes.since(spiked) };
        arrived += arriving;
        spiked = spikes.len();
        for ((tile, state), active) in tiles.iter().zip(&mut *states).zip(&mut *active) {
            let advance = |chunk: &[f32; LANES], decay: Decay| {
                match_target! {
                    "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => lanes::avx512::advance::<TO_VALUE>(chunk, decay),
                    "x86_64+avx2" => lanes::avx2::advance::<TO_VALUE>(chunk, decay),
                    _ => lanes::portable::advance::<TO_VALUE>(chunk, decay),
                }
            };
            let (width, record) = (tile.columns.width, &mut record);
            with_width!(width, step(&moment, tile, state, bits, active, record, advance) with CURRENT, TO_VALUE);
        }
        spikes.push_row(t, bits.words_at(t));
    }
}

/// A time step of a tile of `W` columns.
#[inline(always)]
fn step<const W: usize, const CURRENT: bool, const TO_VALUE: bool>(
    moment: &Moment,
    tile: &SpikingTile,
    state: &mut TileState,
    bits: &mut SpikeBits,
    active: &mut ActiveTile,
    record: &mut Option<PotentialRecord>,
    advance: impl Fn(&[f32; LANES], Decay) -> Advanced,
) {
    let (Some(kept), Some(current)) = (state.v.0.first_chunk_mut::<W>(), state.current.0.first_chunk_mut::<W>()) else {
        return;
    };
    let (t, c) = (moment.t, tile.constants);
    // These stay in registers as long as only loops with constant bounds index them; `seen` is the copy for other indices.
    let mut v = *kept;
    if t > 0 {
        if CURRENT {
            let mut driven = *current;
            driven.iter_mut().for_each(|current| *current *= c.synapse.unwrap_or(0.0));
            drive(moment, tile, &mut driven);
            for j in 0..W {
                v[j] += driven[j];
            }
            *current = driven;
        } else {
            drive(moment, tile, &mut v);
        }
    }
    let seen = Aligned(v);
    if let Some(record) = record {
        record.store(t, &tile.columns, &seen.0);
    }
    let (mut spiking, mut near) = ([0u64; 2], [0u64; 2]);
    let decay = decay_at::<TO_VALUE>(t, c);
    for (k, chunk) in v.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let next = advance(chunk, decay);
        *chunk = next.v;
        spiking[k / 4] |= u64::from(next.spiking) << (16 * (k % 4));
        near[k / 4] |= u64::from(next.active) << (16 * (k % 4));
    }
    *kept = v;
    let masked = |words: [u64; 2]| [words[0] & state.valid[0], words[1] & state.valid[1]];
    list::<W, TO_VALUE>(t, masked(spiking), masked(near), &seen.0, tile, bits, active);
}

/// Adds what arrives at a time step: input spikes, own spikes, bias.
#[inline(always)]
fn drive<const W: usize>(moment: &Moment, tile: &SpikingTile, driven: &mut [f32; W]) {
    let (weights, _) = tile.weights.as_chunks::<W>();
    let own = &weights[tile.own_row.unwrap_or(weights.len())..];
    let mut sum = *driven;
    moment.events.iter().for_each(|event| add_row(&mut sum, &weights[event.i()]));
    moment.own.iter().for_each(|event| add_row(&mut sum, &own[event.i()]));
    if let Some(bias) = weights.last().filter(|_| tile.bias) {
        add_row(&mut sum, bias);
    }
    *driven = sum;
}
