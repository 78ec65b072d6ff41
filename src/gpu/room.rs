//! The buffers of a step: as large as a batch, its lists and the memory of the device ask for, and grown when a list overflows.

use super::buffers::{Sizes, State, all_slots, quads};
use super::held::Resident;
use super::pieces::Piece;
use super::plan::{self, Limits, Rates};
use super::sparse::Purpose;
use super::steps::Report;
use super::{GpuEngine, lockstep};
use crate::engine::Method;
use crate::error::{Error, Result};
use crate::events::EventSet;
use std::ops::Range;

impl GpuEngine {
    /// Makes room for a batch that is not queued.
    pub(super) fn make_room(&mut self, batch: &EventSet) -> Result<()> {
        let events = |range: Range<usize>| (batch.starts()[range.end] - batch.starts()[range.start]) as usize;
        let fits = self.state.as_ref().filter(|_| batch.len() <= self.wanted).is_some_and(|state| {
            Piece::of(batch.len(), state.sizes.batch, Purpose::Train, false)
                .all(|(_, range)| events(range) <= state.sizes.input_events)
        });
        match fits {
            true => Ok(()),
            false => self.make_room_of(batch.len(), |_, range| events(range)),
        }
    }

    /// Makes buffers for steps of `samples` samples, or of as many at a time as fit the device; `events` counts the input
    /// events of a range of them. No step may be under way. Recordings that use smaller buffers are dropped.
    pub(super) fn make_room_of(&mut self, samples: usize, events: impl Fn(&Self, Range<usize>) -> usize) -> Result<()> {
        let wanted = samples.max(self.wanted);
        let mut rates = self.rates.clone().unwrap_or_else(|| {
            let set =
                self.held.as_ref().map_or(0.0, |held| held.set.events().len() as f64 / held.set.len().max(1) as f64);
            let per_sample = set.max(events(self, 0..samples) as f64 / samples as f64);
            let guess = plan::expected(plan::DENSITY_GUESS, self.network.time_steps);
            let density = self.options.density_guess.unwrap_or(guess);
            Rates::guess(&self.network, plan::SLACK * per_sample, density)
        });
        let sizes = loop {
            let sizes = self.choose(wanted, &rates)?;
            let pieces = Piece::of(samples, sizes.batch, Purpose::Train, false);
            let most = pieces.map(|(_, range)| events(self, range)).max().unwrap_or(0);
            if most <= sizes.input_events {
                break sizes;
            }
            rates.input = plan::SLACK * most as f64 / sizes.batch as f64;
        };
        self.wanted = wanted;
        self.rates = Some(rates);
        self.allocate(sizes)
    }

    fn choose(&self, samples: usize, rates: &Rates) -> Result<Sizes> {
        let limits = self.limits();
        // Dense layers keep wider rows than δ has, for as many samples.
        let chunk = self.dense_layers.most_samples(&self.network, limits.binding);
        let delta = self.delta.bytes().min(chunk.saturating_mul(plan::delta_row_bytes(&self.network, &limits)));
        match self.method {
            Method::Sparse | Method::Auto => plan::choose(&self.network, samples, rates, delta, &limits),
            // The dense step computes a whole batch at once.
            Method::Dense | Method::Reference => plan::all_at_once(&self.network, samples, rates, delta, &limits),
        }
    }

    fn allocate(&mut self, sizes: Sizes) -> Result<()> {
        self.recordings.clear();
        self.state = None;
        let state = State::new(&self.context, &self.network, &sizes)?;
        if let Err(error) = self.context.check() {
            // A smaller batch may fit.
            self.wanted = 0;
            return Err(error);
        }
        self.state = Some(state);
        Ok(())
    }

    /// Grows the lists that are too small according to some report.
    pub(super) fn grow(&mut self, reports: &[Report]) -> Result<()> {
        let (Some(state), Some(mut rates)) = (&self.state, self.rates.clone()) else { return Ok(()) };
        let batch = state.sizes.batch;
        let known = rates.clone();
        for (l, has) in state.sizes.capacity.iter().enumerate() {
            let most = |of: fn(&Report, usize) -> u32| reports.iter().map(|report| of(report, l)).max().unwrap_or(0);
            let mut counted = [(most(Report::spikes), has.events), (most(Report::active), has.active)];
            if state.sizes.lockstep.is_some_and(|first| l >= first) {
                counted[0].0 = 0;
            }
            for (rate, (needs, has)) in rates.spiking[l].iter_mut().zip(counted) {
                if needs > has {
                    *rate = plan::SLACK * f64::from(needs) / batch as f64;
                }
            }
        }
        if let (Some(first), true) = (state.sizes.lockstep, rates == known) {
            // Some sample has more entries than there is room for in each; which and how many is not known. A sample gets
            // room for more than the mean.
            let now = state.sizes.capacity.iter().map(|has| f64::from(has.active) / batch as f64);
            rates.spiking.iter_mut().zip(now).skip(first).for_each(|(rate, now)| rate[1] = rate[1].max(now));
        }
        let sizes = self.choose(self.wanted, &rates)?;
        // A list never needs more entries than its layer has slots; larger counts mean that the device computes wrongly.
        if sizes == state.sizes {
            return Err(Error::Device("a list overflowed, but no count says which, or one that cannot be".into()));
        }
        self.rates = Some(rates);
        self.allocate(sizes)
    }

    /// Memory for the state of a step: the memory to be used, minus weights and training set.
    fn limits(&self) -> Limits {
        let shapes = self.network.weight_shapes();
        let weights: u64 = shapes.into_iter().map(|(rows, cols)| 4 * plan::matrix_bytes(rows, cols)).sum();
        let resident = self.held.as_ref().and_then(|held| held.resident.as_ref()).map_or(0, Resident::bytes);
        let memory = self.options.memory.map_or(u64::MAX, |memory| memory.saturating_sub(weights + resident));
        Limits { binding: self.context.binding, memory, lockstep: self.lockstep() }
    }

    /// Most samples of a piece for `purpose`: an inspection also keeps potentials.
    pub(super) fn most_samples(&self, purpose: Purpose) -> usize {
        let most = self.state.as_ref().map_or(1, |state| state.sizes.batch);
        let together = self.lockstep().map(|first| lockstep::all_quads(&self.network, first));
        let widest = all_slots(&self.network).map(quads).chain(together).max().unwrap_or(1);
        let potentials = 16 * (self.network.time_steps * widest) as u64;
        match (purpose, self.method) {
            (Purpose::Inspect, Method::Sparse | Method::Auto) => {
                most.min((self.context.binding / potentials).max(1) as usize)
            }
            _ => most,
        }
    }
}
