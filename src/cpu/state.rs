//! Lists of spikes and active entries, stored flat; their memory is reused from step to step.

use super::tiles::tiles_of;
use crate::events::Event;
use crate::network::{CellConstants, Surrogate};

/// Entries written for every word of bits, even if fewer bits are set. Most words have at most two set bits, and a branch on
/// their number would be mispredicted half of the time.
const ALWAYS: usize = 2;

/// Makes `list` at least `len` long. Grows by half, a compromise between frequent growth and unused memory.
#[inline(always)]
fn room<T: Copy>(list: &mut Vec<T>, len: usize, fill: T) {
    if list.len() < len {
        let more = (len + len / 2).max(64);
        list.reserve_exact(more - list.len());
        list.resize(more, fill);
    }
}

/// Spikes of several samples of one layer, each sample's sorted by (t, j).
#[derive(Debug, Default, Clone)]
pub struct SpikeList {
    starts: Vec<u32>,
    len: usize,
    events: Vec<Event>,
}

impl SpikeList {
    /// Removes all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
        self.starts.clear();
        self.starts.push(0);
    }

    /// Appends the spikes of time `t`. Each word has the bits of 64 neurons and comes with the index of the first one.
    #[inline(always)]
    pub fn push_row(&mut self, t: usize, words: impl ExactSizeIterator<Item = (usize, u64)>) {
        room(&mut self.events, self.len + 64 * words.len() + ALWAYS, Event(0));
        let mut len = self.len;
        for (first, mut word) in words {
            let base = (t << 16 | first) as u32;
            let count = word.count_ones() as usize;
            let events = &mut self.events[len..][..64 + ALWAYS];
            for event in &mut events[..ALWAYS] {
                *event = Event(base + word.trailing_zeros() % 64);
                word &= word.wrapping_sub(1);
            }
            let mut at = ALWAYS;
            while word != 0 {
                events[at] = Event(base + word.trailing_zeros());
                word &= word - 1;
                at += 1;
            }
            len += count;
        }
        self.len = len;
    }

    /// Ends a sample.
    pub fn end_sample(&mut self) {
        self.starts.push(self.len as u32);
    }

    /// Number of spikes in all samples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The spikes from index `from` on, over all samples.
    #[inline(always)]
    pub fn since(&self, from: usize) -> &[Event] {
        &self.events[from..self.len]
    }

    /// Number of samples that were ended.
    pub fn samples(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Spikes of sample `b`.
    pub fn sample(&self, b: usize) -> &[Event] {
        &self.events[self.starts[b] as usize..self.starts[b + 1] as usize]
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.starts.capacity() + self.events.capacity())
    }
}

/// Active entries of several samples in one column tile, each sample's sorted by (t, j).
#[derive(Debug, Default, Clone)]
pub struct ActiveTile {
    starts: Vec<u32>,
    len: usize,
    events: Vec<Event>,
    /// Surrogate gradient g(V); |V - V_th| until the sample ends.
    g: Vec<f32>,
    /// Errors.
    e: Vec<f32>,
    /// All spikes of the tile's neurons if a spike sets the potential, because errors do not propagate past them.
    own: SpikeList,
    /// Whether a potential was NaN or infinite.
    not_finite: bool,
}

/// The active entries of one sample in one column tile.
#[derive(Debug, Clone, Copy)]
pub struct ActiveEntries<'a> {
    /// Time and neuron.
    pub events: &'a [Event],
    /// Surrogate gradient g(V).
    pub g: &'a [f32],
    /// Errors e = ∇S g, computed by the spike gradient.
    pub e: &'a [f32],
    /// All spikes of the neurons, sorted by time; empty unless a spike sets the potential.
    pub own: &'a [Event],
}

impl ActiveTile {
    /// Removes all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.starts.push(0);
        self.len = 0;
        self.own.clear();
        self.not_finite = false;
    }

    /// Checks potentials for NaN and infinity. They persist, so the last potentials of a sample suffice; if a spike sets the
    /// potential, the potentials at every spike must be checked too.
    #[inline(always)]
    pub fn check_finite(&mut self, v: &[f32]) {
        self.not_finite |= v.iter().fold(false, |seen, v| seen | !v.is_finite());
    }

    /// Whether [`check_finite`](Self::check_finite) found NaN or infinity.
    pub fn not_finite(&self) -> bool {
        self.not_finite
    }

    /// Makes room for `more` entries.
    #[inline(always)]
    pub fn make_room(&mut self, more: usize) {
        room(&mut self.events, self.len + more + 64 + ALWAYS, Event(0));
        room(&mut self.g, self.len + more + 64 + ALWAYS, 0.0);
    }

    /// For each set bit `j - from` of `word`, appends the entry of neuron `first + j` at `t` with |v[j] - V_th|. Requires
    /// [`make_room`](Self::make_room).
    #[inline(always)]
    pub fn push_all<const W: usize>(
        &mut self,
        mut word: u64,
        t: usize,
        first: usize,
        from: usize,
        v: &[f32; W],
        v_th: f32,
    ) {
        let (events, g) = (&mut self.events[self.len..][..64 + ALWAYS], &mut self.g[self.len..][..64 + ALWAYS]);
        let base = (t << 16 | first) as u32;
        self.len += word.count_ones() as usize;
        let mut at = 0;
        while at < ALWAYS || word != 0 {
            let j = from + word.trailing_zeros() as usize % 64;
            events[at] = Event(base + j as u32);
            // For an empty word j may be out of range; the entry written then is not counted.
            g[at] = (v[j.min(W - 1)] - v_th).abs();
            word &= word.wrapping_sub(1);
            at += 1;
        }
    }

    /// Appends an error of a neuron without a surrogate gradient.
    pub fn push_error(&mut self, event: Event, e: f32) {
        self.make_room(1);
        room(&mut self.e, self.len + 1, 0.0);
        (self.events[self.len], self.e[self.len]) = (event, e);
        self.len += 1;
    }

    /// Appends the spikes of time `t` if a spike sets the potential; each word has the bits of 64 neurons, the first word from
    /// neuron `first` on.
    #[inline(always)]
    pub fn push_own(&mut self, t: usize, first: usize, words: &[u64]) {
        self.own.push_row(t, words.iter().enumerate().map(|(k, &word)| (first + 64 * k, word)));
    }

    /// Ends a sample: distances from the threshold become surrogate gradients.
    #[inline(always)]
    pub fn end_sample(&mut self, c: &CellConstants) {
        /// With a constant shape the loop is vectorised, unless the shape has an exponential.
        #[inline(always)]
        fn differentiate(distances: &mut [f32], c: &CellConstants, surrogate: Surrogate) {
            let c = CellConstants { surrogate, ..*c };
            distances.iter_mut().for_each(|g| *g = c.gradient(*g));
        }
        let begin = self.starts[self.starts.len() - 1] as usize;
        let distances = &mut self.g[begin..self.len];
        match c.surrogate {
            Surrogate::FastSigmoid => differentiate(distances, c, Surrogate::FastSigmoid),
            Surrogate::Sigmoid => differentiate(distances, c, Surrogate::Sigmoid),
            Surrogate::Arctan => differentiate(distances, c, Surrogate::Arctan),
            Surrogate::Triangular => differentiate(distances, c, Surrogate::Triangular),
            Surrogate::Rectangular => differentiate(distances, c, Surrogate::Rectangular),
            Surrogate::Gaussian => differentiate(distances, c, Surrogate::Gaussian),
        }
        if c.to_value {
            self.own.end_sample();
        }
        self.end_errors();
    }

    /// Ends a sample of errors.
    pub fn end_errors(&mut self) {
        self.starts.push(self.len as u32);
        room(&mut self.e, self.len, 0.0);
    }

    /// Becomes a list of one sample with `n` entries, whose errors are 0 and whose surrogate gradients are unused. Returns
    /// their times and neurons, to be filled in.
    pub fn one_sample(&mut self, n: usize) -> &mut [Event] {
        self.clear();
        room(&mut self.events, n, Event(0));
        room(&mut self.g, n, 0.0);
        self.len = n;
        self.end_errors();
        self.e[..n].fill(0.0);
        &mut self.events[..n]
    }

    /// Number of entries in all samples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.starts.len() - 1
    }

    /// Index of the first entry of sample `b` among those of all samples.
    pub fn begin_of(&self, b: usize) -> u32 {
        self.starts[b]
    }

    /// Surrogate gradients and errors of all samples.
    pub fn all_mut(&mut self) -> (&[f32], &mut [f32]) {
        (&self.g[..self.len], &mut self.e[..self.len])
    }

    /// Entries of sample `b`.
    pub fn sample(&self, b: usize) -> ActiveEntries<'_> {
        let range = self.starts[b] as usize..self.starts[b + 1] as usize;
        let own = if b < self.own.samples() { self.own.sample(b) } else { &[] };
        ActiveEntries { events: &self.events[range.clone()], g: &self.g[range.clone()], e: &self.e[range], own }
    }

    /// Time and neuron of each entry of sample `b`, with its index among the entries of all samples.
    pub fn numbered(&self, b: usize) -> impl Iterator<Item = (Event, u32)> {
        self.sample(b).events.iter().copied().zip(self.begin_of(b)..)
    }

    /// Entries of sample `b`: times and neurons, surrogate gradients, and errors to fill.
    pub fn sample_mut(&mut self, b: usize) -> (&[Event], &[f32], &mut [f32]) {
        let range = self.starts[b] as usize..self.starts[b + 1] as usize;
        (&self.events[range.clone()], &self.g[range.clone()], &mut self.e[range])
    }

    /// [`sample_mut`](Self::sample_mut), and all spikes of the neurons if a spike sets the potential.
    pub fn sample_and_own_mut(&mut self, b: usize) -> (&[Event], &[f32], &mut [f32], &[Event]) {
        let range = self.starts[b] as usize..self.starts[b + 1] as usize;
        let own = if b < self.own.samples() { self.own.sample(b) } else { &[] };
        (&self.events[range.clone()], &self.g[range.clone()], &mut self.e[range], own)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lists = self.starts.capacity() + self.events.capacity() + self.g.capacity() + self.e.capacity();
        4 * lists + self.own.bytes()
    }
}

/// Empty lists of active entries, one per column tile of a layer.
pub fn active_tiles(neurons: usize) -> Vec<ActiveTile> {
    vec![ActiveTile::default(); tiles_of(neurons).len()]
}
