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
use super::lanes;
use super::state::ActiveTile;
use super::tiles::{AlignedVec, LANES, TiledMatrix, padded, with_width};
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
}

impl RecurrentScratch {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.p.bytes() + self.q.bytes()
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

    /// Goes on to the entries of time `t`; those of later time steps are done.
    #[inline(always)]
    fn go_to(&mut self, t: usize) {
        let end = self.now.start;
        let own = self.events[..end].iter().rev().take_while(|event| event.t() == t).count();
        self.now = end - own..end;
    }

    /// The last time step before the current one with an entry.
    fn next(&self) -> Option<usize> {
        self.events[..self.now.start].last().map(|event| event.t())
    }

    /// Turns ∇S of the current entries into errors; returns whether any is not 0.
    #[inline(always)]
    fn finish(&mut self) -> bool {
        let errors = self.e[self.now.clone()].iter_mut().zip(&self.g[self.now.clone()]);
        errors.fold(false, |any, (e, g)| {
            *e *= g;
            any | (*e != 0.0)
        })
    }

    /// Adds the errors of the current entries to the gradient of the potentials.
    #[inline(always)]
    fn enter(&self, p: &mut [f32]) {
        for (event, e) in self.events[self.now.clone()].iter().zip(&self.e[self.now.clone()]) {
            p[event.i()] += e;
        }
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
    let RecurrentScratch { p, q } = scratch;
    for state in [&mut *p, &mut *q] {
        state.resize(padded(weights.cols));
        state.fill(0.0);
    }
    let mut tiles: Vec<Lists> = active.iter_mut().map(|tile| Lists::new(tile, b)).collect();
    let mut next = tiles.iter().filter_map(Lists::next).max();
    let mut alive = false;
    for t in (0..next.map_or(0, |last| last + 1)).rev() {
        // P and Q are those of t + 1 here.
        let due = next == Some(t);
        let mut error = false;
        if due {
            tiles.iter_mut().for_each(|tile| tile.go_to(t));
            if alive {
                add_own(weights, own_row, if adjoint.synapse.is_some() { q } else { p }, &mut tiles);
            }
            error = tiles.iter_mut().fold(false, |any, tile| any | tile.finish());
            next = tiles.iter().filter_map(Lists::next).max();
            if next.is_none() {
                return;
            }
        }
        if alive {
            tiles.iter_mut().for_each(|tile| tile.cut(t, p));
            p.iter_mut().for_each(|p| *p *= adjoint.alpha);
        }
        if due {
            tiles.iter().for_each(|tile| tile.enter(p));
        }
        alive |= error;
        if let Some(synapse) = adjoint.synapse
            && alive
        {
            q.iter_mut().zip(p.iter()).for_each(|(q, p)| *q = synapse * *q + p);
        }
    }
}

/// Adds Σ_j R_ij δ_j to ∇S of the current entries.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_own(weights: &TiledMatrix, own_row: usize, delta: &[f32], tiles: &mut [Lists]) {
    for Lists { events, e, now, .. } in tiles {
        for (event, e) in events[now.clone()].iter().zip(&mut e[now.clone()]) {
            let row = own_row + event.i();
            let mut sum = [0.0; LANES];
            for (columns, tile) in weights.columns.iter().zip(&weights.tiles) {
                let (w, delta) = (&tile[row * columns.width..], &delta[columns.begin..]);
                sum = match_target! {
                    "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => {
                        with_width!(columns.width, lanes::avx512::add_products(w, delta, sum))
                    }
                    "x86_64+avx2" => with_width!(columns.width, lanes::avx2::add_products(w, delta, sum)),
                    _ => with_width!(columns.width, lanes::portable::add_products(w, delta, sum)),
                };
            }
            *e += match_target! {
                "x86_64+avx512f+avx512bw+avx512dq+avx512vl" => lanes::avx512::total(sum),
                "x86_64+avx2" => lanes::avx2::total(sum),
                _ => lanes::portable::total(sum),
            };
        }
    }
}
