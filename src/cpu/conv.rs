//! Convolutions. A *place* is a position of the kernel. It is treated as a sample of its own, whose input is its patch.
//!
//! Input events are sorted by the places that see them ([`Patches`]). A place is then like a sample in a fully connected
//! layer with `channels · kernel²` inputs and `filters` neurons, and the same functions run over it: `lif_forward`,
//! `spike_gradient`, `weight_gradient`. Places without events are skipped.
//!
//! Places are numbered pooling window by pooling window. When the places of a window are done, its spike bits are pooled,
//! and the active entries that will receive the gradient of the pooled neuron are listed in `winners`.

use super::lif_forward::{DriveSource, Pace, PotentialRecord, SpikeBits, SpikingTile, is_quiet, lif_forward, words_of};
use super::loss::ActivityLoss;
use super::state::{ActiveTile, SpikeList};
use super::tiles::{LANES, TiledMatrix};
use crate::events::Event;
use crate::network::{CellConstants, Convolution};
use std::ops::Range;

/// Which places of a convolution see which neurons of the layer below.
#[derive(Debug, Clone)]
pub struct Conv {
    /// The convolution.
    pub shape: Convolution,
    /// The pixel (row · columns + column) of each place: window by window, row-major within a window, then the pixels outside
    /// all windows.
    pub pixels: Vec<u32>,
    /// Number of pooling windows.
    pub windows: usize,
    /// Where the list of each position of an input map begins in `seen`.
    starts: Vec<u32>,
    /// The places that see each position, and the kernel entry with which they see it.
    seen: Vec<(u32, u32)>,
}

impl Conv {
    /// Lists the places of a convolution.
    pub fn new(shape: &Convolution) -> Self {
        let (columns, (pooled_rows, pooled_columns)) = (shape.columns(), shape.pooled());
        let (pool, windows) = (shape.pool, pooled_rows * pooled_columns);
        let within = |window: usize| {
            let corner = window / pooled_columns * pool * columns + window % pooled_columns * pool;
            (0..pool * pool).map(move |k| (corner + k / pool * columns + k % pool) as u32)
        };
        let mut pixels: Vec<u32> = (0..windows).flat_map(within).collect();
        let outside =
            |&pixel: &usize| pixel / columns >= pooled_rows * pool || pixel % columns >= pooled_columns * pool;
        pixels.extend((0..shape.pixels()).filter(outside).map(|pixel| pixel as u32));
        let mut places = vec![0; pixels.len()];
        pixels.iter().enumerate().for_each(|(place, &pixel)| places[pixel as usize] = place as u32);

        let mut conv = Conv { shape: *shape, pixels, windows, starts: vec![0], seen: Vec::new() };
        // Along one axis: the places of the kernel that cover `at`, and the kernel entry that lies on it.
        let seen_by = |at: usize, places: usize| {
            let entry = move |place: usize| (at + shape.padding).checked_sub(place * shape.stride);
            (0..places).filter_map(move |place| Some((place, entry(place).filter(|&k| k < shape.kernel)?)))
        };
        for at in 0..shape.height * shape.width {
            for (row, ky) in seen_by(at / shape.width, shape.rows()) {
                for (column, kx) in seen_by(at % shape.width, columns) {
                    conv.seen.push((places[row * columns + column], (ky * shape.kernel + kx) as u32));
                }
            }
            conv.starts.push(conv.seen.len() as u32);
        }
        conv
    }

    /// The places that see neuron `i` of the layer below, and its index in their patches.
    #[inline(always)]
    fn seen(&self, i: usize) -> impl Iterator<Item = (usize, usize)> {
        let map = self.starts.len() - 1;
        let (channel, at) = (i / map, i % map);
        let first = channel * self.shape.kernel * self.shape.kernel;
        let seen = &self.seen[self.starts[at] as usize..self.starts[at + 1] as usize];
        seen.iter().map(move |&(place, entry)| (place as usize, first + entry as usize))
    }

    /// The neuron of filter `c` at `place`.
    pub fn neuron(&self, c: usize, place: usize) -> usize {
        c * self.pixels.len() + self.pixels[place] as usize
    }
}

/// Events sorted by the places that see them.
#[derive(Debug, Default, Clone)]
pub struct Patches {
    starts: Vec<u32>,
    events: Vec<Event>,
    /// The index of each among the events that were sorted.
    sources: Vec<u32>,
}

impl Patches {
    /// Sorts `events`; those of a place keep their order.
    pub fn sort(&mut self, conv: &Conv, events: &[Event]) {
        let places = conv.pixels.len();
        self.starts.clear();
        self.starts.resize(places + 2, 0);
        // Counts are stored two places further on: filling in advances `starts[place + 1]` to where the next place begins.
        for event in events {
            conv.seen(event.i()).for_each(|(place, _)| self.starts[place + 2] += 1);
        }
        for place in 0..places {
            self.starts[place + 2] += self.starts[place + 1];
        }
        let all = self.starts[places + 1] as usize;
        self.events.resize(all, Event(0));
        self.sources.resize(all, 0);
        for (k, event) in events.iter().enumerate() {
            for (place, input) in conv.seen(event.i()) {
                let at = self.starts[place + 1] as usize;
                self.starts[place + 1] += 1;
                self.events[at] = Event::new(event.t(), input);
                self.sources[at] = k as u32;
            }
        }
    }

    fn range(&self, place: usize) -> Range<usize> {
        self.starts[place] as usize..self.starts[place + 1] as usize
    }

    /// The events that `place` sees: time and index in the patch.
    pub fn of(&self, place: usize) -> &[Event] {
        &self.events[self.range(place)]
    }

    /// The index of each event of `place` among the events that were sorted.
    pub fn sources(&self, place: usize) -> &[u32] {
        &self.sources[self.range(place)]
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.starts.capacity() + self.events.capacity() + self.sources.capacity())
    }
}

/// Spikes of a convolution in one sample, before pooling.
#[derive(Debug, Default, Clone, Copy)]
pub struct SpikeSums {
    /// Number of spikes.
    pub count: u32,
    /// Sum of [`ActivityLoss::low`] over the neurons.
    pub low: f64,
}

/// Results of a convolution for one sample.
#[derive(Debug, Default, Clone)]
pub struct ConvSample {
    /// The input, sorted by place.
    pub patches: Patches,
    /// Active entries, a list per column tile, with places as samples and filters as neurons.
    pub active: Vec<ActiveTile>,
    /// The active entries that receive the gradient of a pooled neuron, a list per column tile: time and pooled neuron, and
    /// the index of the entry in the tile's list.
    pub winners: Vec<Vec<(Event, u32)>>,
    /// All spikes as (t, neuron), sorted; only filled for an inspection.
    pub spikes: Vec<Event>,
    /// Sums for loss and report.
    pub sums: SpikeSums,
}

impl ConvSample {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.patches.bytes()
            + self.active.iter().map(ActiveTile::bytes).sum::<usize>()
            + self.winners.iter().map(|list| 8 * list.capacity()).sum::<usize>()
            + 4 * self.spikes.capacity()
    }
}

/// A thread's memory for the forward pass of convolutions.
#[derive(Debug, Default)]
pub struct ConvScratch {
    /// Spikes of each place of a window; after pooling, which of its entries receive the gradient.
    bits: Vec<SpikeBits>,
    /// Spike counts of one place.
    counts: Vec<u32>,
    /// Gradient of the lower regulariser at one place.
    own: Vec<f32>,
    /// Bits of pooled spikes, [T, pooled neurons / 64]; all 0 between two samples.
    pooled: Vec<u64>,
    /// V of one place, [T, filters].
    v: Vec<f32>,
}

impl ConvScratch {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let bits = self.bits.iter().map(SpikeBits::bytes).sum::<usize>();
        bits + 4 * (self.counts.capacity() + self.own.capacity() + self.v.capacity()) + 8 * self.pooled.capacity()
    }
}

/// A convolution with its weights and constants.
pub struct ConvLayer<'a> {
    /// Its places.
    pub conv: &'a Conv,
    /// [patch, filters]; with a bias [patch + 1, filters].
    pub weights: &'a TiledMatrix,
    /// Whether the last row of the weights is a bias.
    pub bias: bool,
    /// Constants of its neurons.
    pub constants: &'a CellConstants,
    /// Its regularisers; `None` if no backward pass follows.
    pub activity: Option<ActivityLoss>,
    /// T.
    pub time_steps: usize,
}

impl ConvLayer<'_> {
    /// Runs one sample forward and pools its spikes into `pooled`. `record`, if given, receives V as [T, N].
    pub fn forward(
        &self,
        input: &[Event],
        sample: &mut ConvSample,
        pooled: &mut SpikeList,
        scratch: &mut ConvScratch,
        mut record: Option<&mut [f32]>,
    ) {
        let ConvLayer { conv, weights, bias, constants, time_steps: steps, .. } = *self;
        let quiet = is_quiet(constants) && !bias && record.is_none();
        let per_window = conv.shape.pool * conv.shape.pool;
        sample.patches.sort(conv, input);
        sample.active.resize_with(weights.tiles.len(), ActiveTile::default);
        sample.active.iter_mut().for_each(ActiveTile::clear);
        sample.winners.resize_with(weights.tiles.len(), Vec::new);
        sample.winners.iter_mut().for_each(Vec::clear);
        sample.spikes.clear();
        sample.sums = SpikeSums::default();
        scratch.bits.resize_with(per_window, SpikeBits::default);
        scratch.bits.iter_mut().for_each(|bits| bits.begin(steps, &weights.columns));
        let words = conv.shape.outputs().div_ceil(64);
        scratch.pooled.resize(steps * words, 0);

        let places = conv.pixels.len();
        let mut place = 0;
        while place < places {
            let window = Some(place / per_window).filter(|&window| window < conv.windows);
            let size = if window.is_some() { per_window } else { 1 };
            let mut span = steps..0;
            for k in 0..size {
                let events = sample.patches.of(place + k);
                let bits = &mut scratch.bits[k];
                bits.clear();
                if record.is_some() {
                    scratch.v.resize(steps * weights.cols, 0.0);
                }
                for (tile, active) in SpikingTile::of(weights, None, bias, constants).zip(&mut sample.active) {
                    if quiet && events.is_empty() {
                        active.end_sample(constants);
                        continue;
                    }
                    let v = record.is_some().then_some(PotentialRecord { v: &mut scratch.v, stride: weights.cols });
                    let pace = if quiet { Pace::Quiet } else { Pace::Whole };
                    let times = lif_forward(DriveSource::Events(events), steps, &tile, bits, active, v, pace);
                    span = span.start.min(times.start)..span.end.max(times.end);
                }
                if let Some(record) = record.as_deref_mut() {
                    self.spread(place + k, &scratch.v, bits, record, &mut sample.spikes);
                }
            }
            if !span.is_empty() {
                self.pool(window, size, span.clone(), sample, scratch, place);
            } else if let Some(activity) = &self.activity {
                sample.sums.low += (size * weights.cols) as f64 * activity.low(0);
            }
            place += size;
        }
        sample.spikes.sort_unstable();
        sweep(&mut scratch.pooled, words, pooled);
    }

    /// Pools the spikes of the places `first..first + size`, which are those of `window` or one place outside all windows,
    /// into `scratch.pooled`; counts them; and lists the active entries that receive a pooled gradient.
    fn pool(
        &self,
        window: Option<usize>,
        size: usize,
        span: Range<usize>,
        sample: &mut ConvSample,
        scratch: &mut ConvScratch,
        first: usize,
    ) {
        let ConvLayer { conv, weights, .. } = *self;
        let filters = weights.cols;
        let row = conv.shape.outputs().div_ceil(64);
        let ConvScratch { bits, counts, own, pooled, .. } = scratch;
        let counts = if self.activity.is_some() { counts } else { &mut Vec::new() };
        counts.clear();
        if self.activity.is_some() {
            counts.resize(size * filters, 0);
        }
        let target = window.map(|window| PoolTarget { window, windows: conv.windows, words_per_row: row });
        sample.sums.count += join(&mut bits[..size], span, counts, filters, target, pooled);
        let Some(activity) = &self.activity else { return };
        for k in 0..size {
            let counts = &counts[k * filters..][..filters];
            own.resize(filters, 0.0);
            sample.sums.low += regularise(activity, counts, own);
            let mut first_word = 0;
            for ((columns, active), winners) in weights.columns.iter().zip(&mut sample.active).zip(&mut sample.winners)
            {
                let begin = active.begin_of(first + k);
                let (events, _, e) = active.sample_mut(first + k);
                // Every entry is written and only winners advance `len`: a branch would often be mispredicted.
                let mut len = winners.len();
                winners.resize(len + events.len() + 1, (Event(0), 0));
                for (n, (event, e)) in events.iter().zip(e).enumerate() {
                    let c = event.i();
                    *e = own[c];
                    let at = c - columns.begin;
                    let wins = bits[k].row(event.t())[first_word + at / 64] >> (at % 64) & 1;
                    if let Some(window) = window {
                        winners[len] = (Event::new(event.t(), c * conv.windows + window), begin + n as u32);
                        len += wins as usize;
                    }
                }
                winners.truncate(len);
                first_word += words_of(columns.width);
            }
        }
    }

    /// Stores V and spikes of one place at the indices of its neurons.
    fn spread(&self, place: usize, v: &[f32], bits: &SpikeBits, record: &mut [f32], spikes: &mut Vec<Event>) {
        let (filters, neurons) = (self.weights.cols, self.conv.shape.neurons());
        for t in 0..self.time_steps {
            for c in 0..filters {
                record[t * neurons + self.conv.neuron(c, place)] = v[t * filters + c];
            }
            for (&first, &word) in bits.first_neuron().iter().zip(bits.row(t)) {
                each_bit(word, |bit| spikes.push(Event::new(t, self.conv.neuron(first + bit, place))));
            }
        }
    }
}

/// Turns the bits of a sample, `words` per row, into events in (t, neuron) order, and clears them.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+bmi1+popcnt"))]
fn sweep(bits: &mut [u64], words: usize, spikes: &mut SpikeList) {
    for (t, row) in bits.chunks_exact_mut(words).enumerate() {
        spikes.push_row(t, row.iter().enumerate().map(|(k, &word)| (64 * k, word)));
        row.fill(0);
    }
    spikes.end_sample();
}

/// Where the pooled spikes of a window are stored.
struct PoolTarget {
    window: usize,
    /// Number of windows.
    windows: usize,
    /// Words per row of pooled spikes.
    words_per_row: usize,
}

/// Pools the spikes of a window's places into `pooled`, if there is a `target`. Counts the spikes of each filter at each
/// place, unless `counts` is empty. Leaves in `bits` which place receives the gradient of the pooled neuron: the first that
/// spikes, or if none does, the first. Returns the number of spikes.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+bmi1+popcnt"))]
fn join(
    bits: &mut [SpikeBits],
    span: Range<usize>,
    counts: &mut [u32],
    filters: usize,
    target: Option<PoolTarget>,
    pooled: &mut [u64],
) -> u32 {
    let mut spikes = 0;
    let Some(per_row) = bits.first().map(SpikeBits::per_row) else { return 0 };
    for t in span {
        for word in 0..per_row {
            let any = bits.iter().fold(0, |any, bits| any | bits.row(t)[word]);
            if any == 0 {
                bits[0].row_mut(t)[word] = u64::MAX;
                continue;
            }
            let channel = bits[0].first_neuron()[word];
            let mut before = 0;
            for (k, bits) in bits.iter_mut().enumerate() {
                let here = &mut bits.row_mut(t)[word];
                spikes += here.count_ones();
                if !counts.is_empty() {
                    let counts = &mut counts[k * filters + channel..];
                    each_bit(*here, |bit| counts[bit] += 1);
                }
                (*here, before) = (*here & !before, before | *here);
            }
            bits[0].row_mut(t)[word] |= !any;
            if let Some(PoolTarget { window, windows, words_per_row }) = target {
                each_bit(any, |bit| {
                    let neuron = (channel + bit) * windows + window;
                    pooled[t * words_per_row + neuron / 64] |= 1 << (neuron % 64);
                });
            }
        }
    }
    spikes
}

/// Writes the gradient of the lower regulariser of the neurons of one place to `own`; returns the sum of
/// [`ActivityLoss::low`] over them.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn regularise(activity: &ActivityLoss, counts: &[u32], own: &mut [f32]) -> f64 {
    for (own, &zeta) in own.iter_mut().zip(counts) {
        *own = activity.lower_gradient(zeta);
    }
    let (chunks, rest) = counts.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for k in 0..LANES {
            sums[k] += activity.low(chunk[k]);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&zeta| activity.low(zeta)).sum::<f64>()
}

/// Calls `f` with the index of each set bit, in ascending order.
#[inline(always)]
fn each_bit(mut word: u64, mut f: impl FnMut(usize)) {
    while word != 0 {
        f(word.trailing_zeros() as usize);
        word &= word - 1;
    }
}
