//! LIF forward, event-driven: each spike adds its weight row to the membrane potentials.
//!
//! V[t+1] = V_rest + α (V[t] - V_rest) - (V_th - V_r) S[t] + Σ_i W_i S_i[t], summed in this order, i ascending,
//! without fused multiply-adds, so every instruction set gives the same bits.

use super::state::{ActiveTile, SpikeList};
use super::tiles::{TiledMatrix, with_width};
use crate::events::Event;
use crate::model::LifConstants;

/// What one sample needs while it runs through a layer; reused from sample to sample.
#[derive(Debug, Default)]
pub struct Scratch {
    /// V, padded to whole tiles.
    v: Vec<f32>,
    /// -(V_th - V_r) where the neuron has just spiked, else 0.
    pending_reset: Vec<f32>,
    /// Whether a tile holds a pending reset.
    tile_spiked: Vec<bool>,
}

/// Runs one sample through a layer and appends its spikes and active entries, both in (t, j) order.
///
/// `record`, if given, takes V as [T, N].
#[allow(clippy::too_many_arguments)]
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn lif_forward(
    input: &[Event],
    time_steps: usize,
    weights: &TiledMatrix,
    constants: &LifConstants,
    scratch: &mut Scratch,
    spikes: &mut SpikeList,
    active: &mut [ActiveTile],
    mut record: Option<&mut [f32]>,
) {
    let Scratch { v, pending_reset, tile_spiked } = scratch;
    let padded = super::tiles::padded(weights.cols);
    v.clear();
    v.resize(padded, 0.0);
    pending_reset.clear();
    pending_reset.resize(padded, 0.0);
    tile_spiked.clear();
    tile_spiked.resize(weights.tiles.len(), false);

    let mut arriving: &[Event] = &[];
    let mut rest = input;
    for t in 0..time_steps {
        for (k, columns) in weights.columns.iter().enumerate() {
            let span = columns.begin..columns.begin + columns.width;
            let tile = Tile {
                weights: &weights.tiles[k],
                v: &mut v[span.clone()],
                pending_reset: &mut pending_reset[span],
                spiked: &mut tile_spiked[k],
                first: columns.begin,
                neurons: columns.width.min(weights.cols - columns.begin),
            };
            with_width!(columns.width, advance(tile, t, arriving, constants, spikes, &mut active[k]));
        }
        if let Some(record) = record.as_deref_mut() {
            record[t * weights.cols..][..weights.cols].copy_from_slice(&v[..weights.cols]);
        }
        // What fires at t arrives at t + 1.
        let now = rest.iter().take_while(|event| event.t() == t).count();
        (arriving, rest) = rest.split_at(now);
    }
    spikes.end_sample();
    active.iter_mut().for_each(ActiveTile::end_sample);
}

struct Tile<'a> {
    weights: &'a [f32],
    v: &'a mut [f32],
    pending_reset: &'a mut [f32],
    spiked: &'a mut bool,
    first: usize,
    neurons: usize,
}

/// Brings one tile to time `t` and notes who spikes and who is active there.
#[inline(always)]
fn advance<const W: usize>(
    tile: Tile,
    t: usize,
    arriving: &[Event],
    c: &LifConstants,
    spikes: &mut SpikeList,
    active: &mut ActiveTile,
) {
    let (rows, _) = tile.weights.as_chunks::<W>();
    let (Some(v), Some(pending_reset)) = (tile.v.first_chunk_mut::<W>(), tile.pending_reset.first_chunk_mut::<W>())
    else {
        return;
    };
    let mut x = *v;
    if t > 0 {
        for x in &mut x {
            *x = c.v_rest + c.alpha * (*x - c.v_rest);
        }
        if *tile.spiked {
            for j in 0..W {
                x[j] += pending_reset[j];
            }
            *pending_reset = [0.0; W];
            *tile.spiked = false;
        }
        for event in arriving {
            let row = &rows[event.i()];
            for j in 0..W {
                x[j] += row[j];
            }
        }
    }
    *v = x;
    // Nothing at or below this can spike or be active; most of the time that is everyone.
    let quiet = quiet_below(c);
    for (first, group) in v.as_chunks::<16>().0.iter().enumerate() {
        let mut above = 0u32;
        for l in 0..16 {
            // The sign bit of the difference rather than a comparison: it stays in vectors.
            above |= ((quiet - group[l]).to_bits() >> 31) << l;
        }
        while above != 0 {
            let j = 16 * first + above.trailing_zeros() as usize;
            above &= above - 1;
            if j >= tile.neurons {
                break;
            }
            let event = Event::new(t, tile.first + j);
            if t > 0 && v[j] > c.v_th {
                spikes.events.push(event);
                pending_reset[j] = -c.reset;
                *tile.spiked = true;
            }
            if let Some(g) = c.surrogate(v[j]) {
                active.events.push(event);
                active.g.push(g);
            }
        }
    }
}

/// A bound that every spiking and every active neuron lies above: V_th - B_th, less what rounding may add.
#[inline(always)]
fn quiet_below(c: &LifConstants) -> f32 {
    let slack = 1e-6 * (c.v_th.abs() + c.b_th);
    (c.v_th - c.b_th - slack).max(f32::MIN)
}

impl Scratch {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.v.capacity() + self.pending_reset.capacity()) + self.tile_spiked.capacity()
    }
}
