//! Gradients of the input and the weights of convolutions, one sample at a time, by `spike_gradient` and `weight_gradient`
//! with places in the role of samples.

use super::conv::{Conv, ConvSample, Patches};
use super::delta::{Adjoint, BlockRows, DeltaRows};
use super::spike_gradient::{spike_gradient, tile_ranges};
use super::state::ActiveTile;
use super::tiles::{AlignedVec, TiledMatrix, with_width};
use super::weight_gradient::{Presynaptic, weight_gradient};
use crate::events::Event;

/// The entries of a layer in one sample that need ∇S, sorted by time. Neurons are numbered as the layer above sees them.
#[derive(Debug, Default)]
pub struct GradientRequests {
    /// Time, neuron and ∇S of each, as a list of one sample.
    pub list: ActiveTile,
    /// Where each came from: the column tile, and the index in the tile's list.
    sources: Vec<(u32, u32)>,
    /// For each time step, where its next entry goes.
    next: Vec<u32>,
    /// The entries sorted by the places of a convolution above that see them.
    patches: Patches,
    /// The entries that one place sees.
    of_place: ActiveTile,
}

impl GradientRequests {
    /// Collects the entries of all column tiles of a layer, each with its index in its tile's list. Entries of the same time
    /// step keep their order.
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
        self.sources.resize(all, (0, 0));
        for (tile, entries) in tiles.enumerate() {
            for (event, entry) in entries {
                let at = &mut self.next[event.t()];
                events[*at as usize] = event;
                self.sources[*at as usize] = (tile as u32, entry);
                *at += 1;
            }
        }
    }

    /// Adds ∇S to the entries that were collected.
    pub fn scatter(&self, active: &mut [ActiveTile]) {
        for (&(tile, entry), e) in self.sources.iter().zip(self.list.sample(0).e) {
            active[tile as usize].all_mut().1[entry as usize] += e;
        }
    }

    /// Adds ∇S from a convolution above, whose errors in this sample are done.
    pub fn add_from_conv(
        &mut self,
        conv: &Conv,
        above: &ConvSample,
        weights: &TiledMatrix,
        adjoint: Adjoint,
        time_steps: usize,
        rows: &mut BlockRows,
    ) {
        self.patches.sort(conv, self.list.sample(0).events);
        for place in 0..conv.pixels.len() {
            let seen = self.patches.of(place);
            if seen.is_empty() || above.active.iter().all(|tile| tile.sample(place).events.is_empty()) {
                continue;
            }
            self.of_place.one_sample(seen.len()).copy_from_slice(seen);
            for range in tile_ranges(weights) {
                let mut delta: Vec<DeltaRows> =
                    (range.clone()).map(|tile| delta_of(above, place, tile, weights, adjoint, time_steps)).collect();
                let list = std::slice::from_mut(&mut self.of_place);
                spike_gradient(0, time_steps, weights, range, &mut delta, list, rows);
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
        lists + 8 * self.sources.capacity() + 4 * self.next.capacity()
    }
}

/// δ of a place of a convolution in a column tile.
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
    /// Completes ∇S and turns it into e = ∇S g. `upper` is the part of ∇S that all entries share.
    pub fn finish(&mut self, requests: &GradientRequests, upper: f32) {
        self.active.iter_mut().flat_map(|tile| tile.all_mut().1).for_each(|e| *e += upper);
        requests.scatter(&mut self.active);
        for tile in &mut self.active {
            let (g, e) = tile.all_mut();
            e.iter_mut().zip(g).for_each(|(e, g)| *e *= g);
        }
    }

    /// Adds this sample's ∇W, and with a `bias` ∇b, to `gradient`, a vector per column tile, place by place.
    pub fn weight_gradient(
        &self,
        weights: &TiledMatrix,
        bias: bool,
        adjoint: Adjoint,
        time_steps: usize,
        rows: &mut BlockRows,
        gradient: &mut [AlignedVec],
    ) {
        for (tile, (columns, gradient)) in weights.columns.iter().zip(gradient).enumerate() {
            for place in 0..self.active[tile].samples() {
                let spikes = self.patches.of(place);
                let delta = delta_of(self, place, tile, weights, adjoint, time_steps);
                if (!spikes.is_empty() || bias) && !delta.is_zero() {
                    let sources = &mut [Presynaptic { spikes, row: 0 }];
                    with_width!(columns.width, weight_gradient(sources, delta, time_steps, rows, gradient, bias));
                }
            }
        }
    }
}
