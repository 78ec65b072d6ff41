//! What the passes hand to each other: spike lists and active entries, flat and reused from step to step.

use super::tiles::tiles_of;
use crate::events::Event;

/// Spikes of several samples of one layer, each sample's sorted by (t, j).
#[derive(Debug, Default, Clone)]
pub struct SpikeList {
    /// Where each sample's events begin, and the end of the last.
    pub starts: Vec<u32>,
    /// The events.
    pub events: Vec<Event>,
}

impl SpikeList {
    /// Forgets all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.starts.clear();
        self.starts.push(0);
    }

    /// Closes a sample.
    pub fn end_sample(&mut self) {
        self.starts.push(self.events.len() as u32);
    }

    /// Spikes of sample `b`.
    pub fn sample(&self, b: usize) -> &[Event] {
        &self.events[self.starts[b] as usize..self.starts[b + 1] as usize]
    }
}

/// Active entries of several samples in one column tile, each sample's sorted by (t, j).
#[derive(Debug, Default, Clone)]
pub struct ActiveTile {
    /// Where each sample's entries begin, and the end of the last.
    pub starts: Vec<u32>,
    /// Time and neuron.
    pub events: Vec<Event>,
    /// Surrogate gradient g(V).
    pub g: Vec<f32>,
    /// e = ∇S g, filled by the spike gradient.
    pub e: Vec<f32>,
}

impl ActiveTile {
    /// Forgets all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.starts.push(0);
        self.events.clear();
        self.g.clear();
        self.e.clear();
    }

    /// Closes a sample.
    pub fn end_sample(&mut self) {
        self.starts.push(self.events.len() as u32);
        self.e.resize(self.events.len(), 0.0);
    }

    /// Range of sample `b`'s entries.
    pub fn range(&self, b: usize) -> std::ops::Range<usize> {
        self.starts[b] as usize..self.starts[b + 1] as usize
    }
}

/// Active entries of a whole layer, a list for each column tile.
pub fn active_tiles(neurons: usize) -> Vec<ActiveTile> {
    vec![ActiveTile::default(); tiles_of(neurons).len()]
}
