//! Gradients into and out of convolutions, one sample at a time; the sums are those of `spike_gradient` and
//! `weight_gradient`, over places in the role of samples.

use super::conv::{Conv, ConvSample, Patches};
use super::delta::{Adjoint, DeltaRows, Rows};
use super::spike_gradient::{spike_gradient, stretches};
use super::state::ActiveTile;
use super::tiles::{AlignedVec, TiledMatrix, with_width};
use super::weight_gradient::weight_gradient;
use crate::events::Event;

/// Entries of a layer at which ∇S is asked for, as neurons that the layer above sees, sorted by time.
#[derive(Debug, Default)]
pub struct Wanted {
    /// One sample: time, neuron, ∇S.
    pub list: ActiveTile,
    /// The tile and the entry in it that each came from.
    slots: Vec<(u32, u32)>,
    next: Vec<u32>,
    patches: Patches,
    of_place: ActiveTile,
}

impl Wanted {
    /// Takes the entries of all column tiles of a layer, each with its place in its tile's list; keeps their order
    /// among those of one time.
    pub fn collect<'a, I>(&mut self, time_steps: usize, tiles: impl Iterator<Item = I> + Clone)
    where
        I: Iterator<Item = (Event, u32)> + 'a,
    {
        self.next.clear();
        self.next.resize(time_steps + 1, 0);
        for (event, _) in tiles.clone().flatten() {
            self.next[event.t() + 1] += 1;
        }
        for t in 0..time_steps {
            self.next[t + 1] += self.next[t];
        }
        let all = self.next[time_steps] as usize;
        let events = self.list.one_sample(all);
        self.slots.resize(all, (0, 0));
        for (tile, entries) in tiles.enumerate() {
            for (event, entry) in entries {
                let at = &mut self.next[event.t()];
                events[*at as usize] = event;
                self.slots[*at as usize] = (tile as u32, entry);
                *at += 1;
            }
        }
    }

    /// Adds ∇S to the entries that it was collected from, numbered within all of their tile's list.
    pub fn give_back(&self, active: &mut [ActiveTile]) {
        for (&(tile, entry), e) in self.slots.iter().zip(self.list.sample(0).e) {
            active[tile as usize].all_mut().1[entry as usize] += e;
        }
    }

    /// Adds what comes through a convolution above, whose errors in this sample are done.
    pub fn through_conv(
        &mut self,
        conv: &Conv,
        above: &ConvSample,
        weights: &TiledMatrix,
        adjoint: Adjoint,
        time_steps: usize,
        rows: &mut Rows,
    ) {
        self.patches.sort(conv, self.list.sample(0).events);
        for place in 0..conv.pixels.len() {
            let seen = self.patches.of(place);
            if seen.is_empty() || above.active.iter().all(|tile| tile.sample(place).events.is_empty()) {
                continue;
            }
            self.of_place.one_sample(seen.len()).copy_from_slice(seen);
            for stretch in stretches(weights) {
                let mut delta: Vec<DeltaRows> =
                    (stretch.clone()).map(|tile| delta_of(above, place, tile, weights, adjoint, time_steps)).collect();
                let list = std::slice::from_mut(&mut self.of_place);
                spike_gradient(0, time_steps, weights, stretch, &mut delta, list, rows);
            }
            let sum = self.list.all_mut().1;
            for (&source, e) in self.patches.sources(place).iter().zip(self.of_place.sample(0).e) {
                sum[source as usize] += e;
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lists = self.list.bytes() + self.of_place.bytes() + self.patches.bytes();
        lists + 8 * self.slots.capacity() + 4 * self.next.capacity()
    }
}

/// δ of a place in a column tile.
fn delta_of<'a>(
    sample: &'a ConvSample,
    place: usize,
    tile: usize,
    weights: &TiledMatrix,
    adjoint: Adjoint,
    time_steps: usize,
) -> DeltaRows<'a> {
    DeltaRows::new(sample.active[tile].sample(place), &[], adjoint, weights.columns[tile].begin, time_steps)
}

impl ConvSample {
    /// Turns ∇S into e = ∇S g; `upper` is the part of ∇S that all entries share.
    pub fn finish(&mut self, wanted: &Wanted, upper: f32) {
        self.active.iter_mut().flat_map(|tile| tile.all_mut().1).for_each(|e| *e += upper);
        wanted.give_back(&mut self.active);
        for tile in &mut self.active {
            let (g, e) = tile.all_mut();
            e.iter_mut().zip(g).for_each(|(e, g)| *e *= g);
        }
    }

    /// Adds this sample's ∇W of every column tile of `weights` to `gradient`, place after place.
    pub fn weight_gradient(
        &self,
        weights: &TiledMatrix,
        adjoint: Adjoint,
        time_steps: usize,
        rows: &mut Rows,
        gradient: &mut [AlignedVec],
    ) {
        for (tile, (columns, gradient)) in weights.columns.iter().zip(gradient).enumerate() {
            for place in 0..self.active[tile].samples() {
                let spikes = self.patches.of(place);
                let delta = delta_of(self, place, tile, weights, adjoint, time_steps);
                if !spikes.is_empty() && !delta.is_zero() {
                    with_width!(columns.width, weight_gradient(spikes, delta, time_steps, rows, gradient, false));
                }
            }
        }
    }
}
