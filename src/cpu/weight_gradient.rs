//! Weight gradient ∇W_ij = Σ_t S_i[t] δ_j[t]: driven by presynaptic spikes, no trace stored.
//!
//! The owner of a column tile runs δ of those columns through every sample again (cheaper than storing it) and adds
//! it to the row of each presynaptic spike. One owner, samples in order: the same bits whatever the number of threads.

use super::state::ActiveTile;
use super::tiles::with_width;
use crate::events::Event;

/// One sample, as the owner of a tile sees it.
pub struct TileSample<'a> {
    /// Presynaptic spikes, sorted by (t, i).
    pub spikes: &'a [Event],
    /// The tile's active entries.
    pub active: &'a ActiveTile,
    /// Which sample of `active`.
    pub b: usize,
    /// Errors that enter at every time (sum readout); empty otherwise.
    pub constant: &'a [f32],
}

/// Sums the gradient of a tile of `width` columns beginning at `first` over `samples` into `gradient`
/// [N_in, width], which is overwritten.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn weight_gradient<'a>(
    width: usize,
    first: usize,
    alpha: f32,
    time_steps: usize,
    samples: &mut dyn Iterator<Item = TileSample<'a>>,
    gradient: &mut [f32],
) {
    gradient.fill(0.0);
    for sample in samples {
        with_width!(width, accumulate(&sample, first, alpha, time_steps, gradient));
    }
}

#[inline(always)]
fn accumulate<const W: usize>(sample: &TileSample, first: usize, alpha: f32, time_steps: usize, gradient: &mut [f32]) {
    let (rows, _) = gradient.as_chunks_mut::<W>();
    let range = sample.active.range(sample.b);
    let (events, e) = (&sample.active.events[range.clone()], &sample.active.e[range]);
    let mut next = events.len();
    // δ is 0 from the last error on: nothing before it in this walk matters.
    let start = match (sample.constant.is_empty(), events.last()) {
        (false, _) => time_steps - 1,
        (true, Some(last)) => last.t(),
        (true, None) => return,
    };
    let mut delta = [0.0f32; W];
    let mut spikes = &sample.spikes[..sample.spikes.partition_point(|event| event.t() < start)];
    // `delta` holds δ[t] at the top of the loop, for t from `start` down to the first presynaptic spike.
    let mut t = start;
    while let Some(spike) = spikes.last() {
        for j in 0..W {
            delta[j] *= alpha;
        }
        while next > 0 && events[next - 1].t() == t {
            next -= 1;
            delta[events[next].i() - first] += e[next];
        }
        if let Some(constant) = sample.constant.first_chunk::<W>() {
            for j in 0..W {
                delta[j] += constant[j];
            }
        }
        t -= 1;
        if spike.t() < t {
            continue;
        }
        while let Some((spike, earlier)) = spikes.split_last()
            && spike.t() == t
        {
            let row = &mut rows[spike.i()];
            for j in 0..W {
                row[j] += delta[j];
            }
            spikes = earlier;
        }
    }
}
