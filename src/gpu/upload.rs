//! A batch as the device wants it: events, and the same spikes neuron by neuron for the weight gradient.

use crate::events::EventSet;

/// Host-side lists of one batch; reused from step to step.
#[derive(Debug, Default)]
pub struct Upload {
    /// (chunks, N₀) + 1: where each neuron's rows begin, chunk after chunk of samples.
    pub presynaptic_starts: Vec<u32>,
    /// Rows (b - first sample of the chunk) T + t, in (chunk, neuron, b, t) order.
    pub presynaptic: Vec<u32>,
    /// (B, words): bit t where the sample has a spike at t.
    pub needed: Vec<u32>,
}

impl Upload {
    /// Sorts the batch's events by neuron within each chunk of `chunk` samples (a counting sort).
    pub fn prepare(&mut self, batch: &EventSet, chunk: usize) {
        let (inputs, steps) = (batch.neurons(), batch.time_steps());
        let words = steps.div_ceil(32);
        let chunks = batch.len().div_ceil(chunk);
        self.needed.clear();
        self.needed.resize(batch.len() * words, 0);
        let starts = &mut self.presynaptic_starts;
        starts.clear();
        starts.resize(chunks * inputs + 1, 0);
        for b in 0..batch.len() {
            for event in batch.sample(b) {
                self.needed[b * words + event.t() / 32] |= 1 << (event.t() % 32);
                starts[b / chunk * inputs + event.i() + 1] += 1;
            }
        }
        for k in 1..starts.len() {
            starts[k] += starts[k - 1];
        }
        self.presynaptic.clear();
        self.presynaptic.resize(batch.events().len(), 0);
        let mut next = starts.clone();
        for b in 0..batch.len() {
            for event in batch.sample(b) {
                let at = &mut next[b / chunk * inputs + event.i()];
                self.presynaptic[*at as usize] = (b % chunk * steps + event.t()) as u32;
                *at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_follow_chunks_neurons_samples_and_times() {
        let mut batch = EventSet::new(2, 40);
        batch.push([(0, 1), (39, 0)], 0).unwrap();
        batch.push([(5, 1)], 0).unwrap();
        batch.push([(7, 0), (8, 0)], 0).unwrap();
        let mut upload = Upload::default();
        upload.prepare(&batch, 2);
        assert_eq!(upload.presynaptic_starts, [0, 1, 3, 5, 5]);
        assert_eq!(upload.presynaptic, [39, 0, 45, 7, 8]);
        assert_eq!(upload.needed, [1, 1 << 7, 1 << 5, 0, 0b11 << 7, 0]);
    }
}
