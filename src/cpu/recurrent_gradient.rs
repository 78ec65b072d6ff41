//! The spike gradient of a recurrent layer. A spike at t drives the layer's own neurons, so
//!
//! ```text
//! ∇S_i[t] = (layer above and regularisers) + Σ_j R_ij δ_j[t]        e = ∇S g
//! ```
//!
//! and δ_j[t] depends on the errors of later time steps. Time is the outer loop, from the last active entry down to the first;
//! only P, and Q of a `cuba_lif` cell, are stored, [N]. Once the errors are known, everything else runs as in other layers:
//! [`DeltaRows`](super::delta::DeltaRows) computes δ again, to the same bits.
//!
//! The sum over j has one partial sum per lane, over all tiles in order; its total is added to the part from the layer above.

use super::delta::Adjoint;
use super::lanes::{self, ROWS};
use super::state::ActiveTile;
use super::tiles::{AlignedVec, Columns, LANES, TiledMatrix, padded, with_width};
use crate::events::Event;
use multiversion::target::match_target;
use std::ops::Range;

/// The state of the recurrence in one sample.
#[derive(Debug, Default)]
pub struct RecurrentScratch {
    /// Gradient of the potentials, all tiles one after the other.
    p: AlignedVec,
    /// Gradient of the currents.
    q: AlignedVec,
    /// Number of active entries, [tiles, time steps].
    counts: Vec<u32>,
    /// Rows of the weights that belong to the entries of a time step, filled up to a multiple of [`ROWS`].
    rows: Vec<usize>,
    /// Their products with δ.
    products: Vec<f32>,
}

impl RecurrentScratch {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lists = 4 * (self.counts.capacity() + self.products.capacity()) + size_of::<usize>() * self.rows.capacity();
        self.p.bytes() + self.q.bytes() + lists
    }
}

/// A sample's lists in a tile; entries are taken from the back.
struct Lists<'a> {
    events: &'a [Event],
    g: &'a [f32],
    e: &'a mut [f32],
    /// The entries of the current time step.
    now: Range<usize>,
    /// Spikes that set the potential of these neurons, apart from those of later time steps.
    own: &'a [Event],
}

impl<'a> Lists<'a> {
    fn new(tile: &'a mut ActiveTile, b: usize) -> Self {
        let (events, g, e, own) = tile.sample_and_own_mut(b);
        Lists { events, g, e, now: events.len()..events.len(), own }
    }

    /// Goes on to the `count` entries of an earlier time step.
    #[inline(always)]
    fn go_back(&mut self, count: usize) {
        self.now = self.now.start - count..self.now.start;
    }

    /// Turns ∇S of the current entries, without `products`, into errors and adds these to the gradient of the potentials. Returns
    /// whether any is not 0. Without `products` none is added.
    #[inline(always)]
    fn enter(&mut self, products: Option<&[f32]>, p: &mut [f32]) -> bool {
        let now = self.now.clone();
        let (events, g, e) = (&self.events[now.clone()], &self.g[now.clone()], &mut self.e[now]);
        let mut any = false;
        for (k, ((event, g), e)) in events.iter().zip(g).zip(e).enumerate() {
            if let Some(products) = products {
                *e += products[k];
            }
            *e *= g;
            any |= *e != 0.0;
            p[event.i()] += *e;
        }
        any
    }

    /// Cuts the gradient of potentials that a spike at `t` set.
    #[inline(always)]
    fn cut(&mut self, t: usize, p: &mut [f32]) {
        while let Some((spike, earlier)) = self.own.split_last()
            && spike.t() >= t
        {
            if spike.t() == t {
                p[spike.i()] = 0.0;
            }
            self.own = earlier;
        }
    }
}

/// Adds to ∇S of sample `b` what comes through the recurrent weights, which begin at row `own_row` of `weights`, and turns it into
/// e = ∇S g.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn recurrent_errors(
    b: usize,
    weights: &TiledMatrix,
    own_row: usize,
    adjoint: Adjoint,
    active: &mut [ActiveTile],
    scratch: &mut RecurrentScratch,
) {
    let RecurrentScratch { p, q, counts, rows, products } = scratch;
    for state in [&mut *p, &mut *q] {
        state.resize(padded(weights.cols));
        state.fill(0.0);
    }
    let (p, q): (&mut [f32], &mut [f32]) = (p, q);
    let mut tiles: Vec<Lists> = active.iter_mut().map(|tile| Lists::new(tile, b)).collect();
    let Some(times) = count(&tiles, counts) else { return };
    let steps = times.end;
    let mut alive = false;
    for t in times.rev() {
        // P and Q are those of t + 1 here.
        rows.clear();
        for (tile, counts) in tiles.iter_mut().zip(counts.chunks_exact(steps)) {
            tile.go_back(counts[t] as usize);
            rows.extend(tile.events[tile.now.clone()].iter().map(|event| own_row + event.i()));
        }
        if alive {
            rows.resize(rows.len().next_multiple_of(ROWS), own_row);
            products.resize(rows.len(), 0.0);
            let delta = if adjoint.synapse.is_some() { &*q } else { &*p };
            own_products(weights, rows, delta, products);
            tiles.iter_mut().for_each(|tile| tile.cut(t, p));
            p.iter_mut().for_each(|p| *p *= adjoint.alpha);
        }
        let mut left = alive.then_some(&products[..]);
        for tile in &mut tiles {
            alive |= tile.enter(left, p);
            left = left.map(|left| &left[tile.now.len()..]);
        }
        if let Some(synapse) = adjoint.synapse
            && alive
        {
            q.iter_mut().zip(p.iter()).for_each(|(q, p)| *q = synapse * *q + p);
        }
    }
}

/// Counts the entries of each tile at each time step, [tiles, last time step + 1]. Returns the time steps from the first entry to the
/// last one, if there are any.
fn count(tiles: &[Lists], counts: &mut Vec<u32>) -> Option<Range<usize>> {
    let first = tiles.iter().filter_map(|tile| tile.events.first()).map(|event| event.t()).min()?;
    let last = tiles.iter().filter_map(|tile| tile.events.last()).map(|event| event.t()).max()?;
    counts.clear();
    counts.resize(tiles.len() * (last + 1), 0);
    for (tile, counts) in tiles.iter().zip(counts.chunks_exact_mut(last + 1)) {
        tile.events.iter().for_each(|event| counts[event.t()] += 1);
    }
    Some(first..last + 1)
}

/// Σ_j R_ij δ_j for each of the `rows` of the weights.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn own_products(weights: &TiledMatrix, rows: &[usize], delta: &[f32], products: &mut [f32]) {
    for (rows, products) in rows.as_chunks::<ROWS>().0.iter().zip(products.as_chunks_mut::<ROWS>().0) {
        let mut sums = [[0.0; LANES]; ROWS];
        for (&Columns { begin, width, .. }, tile) in weights.columns.iter().zip(&weights.tiles) {
            let row = |k: usize| &tile[rows[k] * width..];
            let (w, delta) = ([row(0), row(1), row(2), row(3)], &delta[begin..]);
            sums = match_target! {
                "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => {
                    with_width!(width, lanes::avx512::add_products_of_rows(w, delta, sums))
                }
                "x86_64+avx2" => with_width!(width, lanes::avx2::add_products_of_rows(w, delta, sums)),
                _ => with_width!(width, lanes::portable::add_products_of_rows(w, delta, sums)),
            };
        }
        for (product, sum) in products.iter_mut().zip(sums) {
            *product = match_target! {
                "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => lanes::avx512::total(sum),
                "x86_64+avx2" => lanes::avx2::total(sum),
                _ => lanes::portable::total(sum),
            };
        }
    }
}
