//! The buffers that the layers of the lock-step kernels share, and where each layer's parts begin in them.

use super::buffers::{Sizes, joint_offsets, offsets, quads};
use super::region::Region;
use crate::error::Result;
use crate::network::Network;

/// Where the parts of a layer begin in the buffers of the lock-step kernels, and how large some are; as the kernels call them.
pub struct Place<B = Region> {
    /// Quads of neurons.
    pub quads: usize,
    /// Quads of the layers before it, the first of the lock-step kernels being 0.
    pub state_at: u32,
    /// In vec4.
    pub words_at: u32,
    /// In words.
    pub counts_at: u32,
    /// In words.
    pub needed_at: u32,
    /// In words.
    pub entries_at: u32,
    /// Active entries that there is room for in each sample.
    pub room: u32,
    /// In words of 32 neurons.
    pub mask_at: u32,
    /// In words of 1,024 neurons.
    pub summary_at: u32,
    /// In vec4.
    pub weights_at: u32,
    /// Its counts; `None` if it does not spike.
    pub counts: Option<B>,
    /// Its spike masks, likewise.
    pub spike_words: Option<B>,
}

/// The results of the layers that lock-step kernels compute.
pub struct LockstepState<B = Region> {
    /// Of each layer (B, words, Q) vec4<u32>.
    pub spike_words: B,
    /// Of each layer its sections, then (B, words) needed rows; behind all of them (B) next input events.
    pub counts: B,
    /// Of each layer its active entries, (B, room, 4); then a number for each neuron of a sample, (B, quads, 4), and (B) whether
    /// the backward pass was cut short.
    pub entries: B,
    /// (B, 2, quads) vec4, then logits and peaks.
    pub state: B,
    /// The layers, the readout included.
    pub places: Vec<Place<B>>,
    /// Words of spikes of a time step.
    pub mask_words: usize,
    /// Where the numbers of neurons begin in `entries`, in words.
    pub errors_at: u32,
    /// Where the next input events begin in `counts`, in words.
    pub next_at: u32,
    /// In vec4.
    pub logits_at: u32,
    /// In vec4.
    pub peaks_at: u32,
}

/// Something that has parts: a region, or in a plan its bytes.
pub trait Part {
    /// `bytes` bytes from `offset` on.
    fn part(&self, offset: u64, bytes: u64) -> Self;
}

impl Part for Region {
    fn part(&self, offset: u64, bytes: u64) -> Self {
        Region::part(self, offset, bytes)
    }
}

impl Part for u64 {
    fn part(&self, _: u64, bytes: u64) -> Self {
        bytes
    }
}

/// Where the active entries of each sample are counted in the counts of a layer of `n` neurons
/// (`shaders/shared/lockstep_counts.wgsl`).
pub fn entry_counts_at(batch: usize, steps: usize, n: usize) -> u64 {
    (batch * (steps + n + quads(n)) + 1 + batch + 1) as u64
}

impl<B: Part> LockstepState<B> {
    /// The layers from `first` on; `storage` makes a buffer for what it is told, of so many bytes.
    ///
    /// # Errors
    /// Those of `storage`.
    pub fn lay_out(
        network: &Network,
        sizes: &Sizes,
        first: usize,
        storage: &mut dyn FnMut(&str, u64) -> Result<B>,
    ) -> Result<Self> {
        let (b, words) = (sizes.batch as u64, network.time_steps.div_ceil(32) as u64);
        let neurons = &network.sizes()[first + 1..];
        let spiking = network.spiking().count().saturating_sub(first);
        let quads: Vec<u64> = neurons.iter().map(|&n| quads(n) as u64).collect();
        let all_quads: u64 = quads.iter().sum();
        let room: Vec<u64> = (first..first + spiking).map(|l| u64::from(sizes.capacity[l].active) / b).collect();

        let of_spiking = |bytes: &dyn Fn(usize) -> u64| offsets((0..spiking).map(bytes));
        let words_at = of_spiking(&|k| 16 * b * words * quads[k]);
        let count_words: Vec<u64> =
            neurons[..spiking].iter().map(|&n| entry_counts_at(sizes.batch, network.time_steps, n) + 2 * b).collect();
        let counts_at = of_spiking(&|k| 4 * (count_words[k] + b * words));
        let entries_at = of_spiking(&|k| 16 * b * room[k]);
        let weights_at = joint_offsets(&network.weight_shapes()[first..]);
        let readout = 16 * b * quads.last().copied().unwrap_or(0);
        let state_at = offsets([32 * b * all_quads, readout, readout]);

        let end = |offsets: &[u64]| offsets.last().copied().unwrap_or(0);
        let spike_words = storage("spike masks", end(&words_at))?;
        let counts = storage("counts", end(&counts_at) + 4 * b)?;
        let entries = storage("active entries", end(&entries_at) + 16 * b * all_quads + 4 * b)?;
        let state = storage("potentials", end(&state_at))?;
        let mut places = Vec::new();
        let (mut quads_before, mut mask_words, mut summaries) = (0, 0, 0);
        for (k, &n) in neurons.iter().enumerate() {
            let spikes = k < spiking;
            let at = |offsets: &[u64], unit: u64| if spikes { (offsets[k] / unit) as u32 } else { 0 };
            places.push(Place {
                quads: quads[k] as usize,
                state_at: quads_before,
                words_at: at(&words_at, 16),
                counts_at: at(&counts_at, 4),
                needed_at: at(&counts_at, 4) + count_words.get(k).map_or(0, |&words| words as u32),
                entries_at: at(&entries_at, 4),
                room: room.get(k).map_or(0, |&room| room as u32),
                mask_at: mask_words as u32,
                summary_at: summaries,
                weights_at: (weights_at[k] / 16) as u32,
                counts: spikes.then(|| counts.part(counts_at[k], 4 * count_words[k])),
                spike_words: spikes.then(|| spike_words.part(words_at[k], 16 * b * words * quads[k])),
            });
            quads_before += quads[k] as u32;
            if spikes {
                mask_words += n.div_ceil(32);
                summaries += n.div_ceil(1024) as u32;
            }
        }
        Ok(LockstepState {
            spike_words,
            counts,
            entries,
            state,
            places,
            mask_words,
            errors_at: (end(&entries_at) / 4) as u32,
            next_at: (end(&counts_at) / 4) as u32,
            logits_at: (state_at[1] / 16) as u32,
            peaks_at: (state_at[2] / 16) as u32,
        })
    }
}
