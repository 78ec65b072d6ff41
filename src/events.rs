//! Spikes as sorted lists of events, in place of dense [B, T, N] arrays.

use crate::error::{Error, Result};
use crate::network::MAX_EXTENT;
use bytemuck::{Pod, Zeroable};
use std::borrow::Cow;

/// One spike: time step `t` in the upper 16 bits, neuron `i` in the lower, so that events sort by (t, i).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Event(pub u32);

impl Event {
    /// A spike of neuron `i` at time step `t`; both must be below [`MAX_EXTENT`].
    #[inline(always)]
    pub fn new(t: usize, i: usize) -> Self {
        debug_assert!(t < MAX_EXTENT && i < MAX_EXTENT);
        Event((t as u32) << 16 | i as u32)
    }

    /// Time step.
    #[inline(always)]
    pub fn t(self) -> usize {
        (self.0 >> 16) as usize
    }

    /// Neuron.
    #[inline(always)]
    pub fn i(self) -> usize {
        (self.0 & 0xffff) as usize
    }
}

/// Samples as spike events, with or without labels: a data set or a batch.
///
/// The events of sample `b` are `events[starts[b]..starts[b + 1]]`, sorted by (t, i), each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSet {
    neurons: usize,
    time_steps: usize,
    starts: Vec<u32>,
    events: Vec<Event>,
    labels: Vec<u32>,
}

impl EventSet {
    /// The label that marks an unlabelled sample.
    pub const UNLABELLED: u32 = u32::MAX;

    /// An empty set for samples of `neurons` neurons and `time_steps` time steps.
    pub fn new(neurons: usize, time_steps: usize) -> Self {
        EventSet { neurons, time_steps, starts: vec![0], events: Vec::new(), labels: Vec::new() }
    }

    /// Appends a sample given as (t, i) pairs in any order. Duplicates count once.
    ///
    /// # Errors
    /// A time step or neuron out of range, or more than 2³² - 1 events in total.
    pub fn push(&mut self, spikes: impl IntoIterator<Item = (usize, usize)>, label: u32) -> Result<()> {
        let begin = self.events.len();
        for (t, i) in spikes {
            if t >= self.time_steps.min(MAX_EXTENT) || i >= self.neurons.min(MAX_EXTENT) {
                self.events.truncate(begin);
                return Err(Error::Data(format!(
                    "sample {}: spike of neuron {i} at time step {t} is outside the range of {} neurons × {} time steps",
                    self.len(),
                    self.neurons,
                    self.time_steps
                )));
            }
            self.events.push(Event::new(t, i));
        }
        self.events[begin..].sort_unstable();
        let mut last = None;
        let mut keep = begin;
        for k in begin..self.events.len() {
            let event = self.events[k];
            if last != Some(event) {
                self.events[keep] = event;
                keep += 1;
                last = Some(event);
            }
        }
        self.events.truncate(keep);
        let Ok(end) = u32::try_from(keep) else {
            self.events.truncate(begin);
            return Err(Error::Data("a set holds at most 2^32 - 1 events; split it".into()));
        };
        self.starts.push(end);
        self.labels.push(label);
        Ok(())
    }

    /// [`push`](Self::push) of an unlabelled sample, which can be used for prediction only.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_unlabelled(&mut self, spikes: impl IntoIterator<Item = (usize, usize)>) -> Result<()> {
        self.push(spikes, Self::UNLABELLED)
    }

    /// Replaces the set's samples with the given samples of `source`, in that order. Memory is reused.
    ///
    /// # Panics
    /// If an index is not below `source.len()`, or the total exceeds 2³² - 1 events.
    pub fn gather(&mut self, source: &EventSet, samples: &[u32]) {
        self.neurons = source.neurons;
        self.time_steps = source.time_steps;
        self.events.clear();
        self.labels.clear();
        self.starts.clear();
        self.starts.push(0);
        for &sample in samples {
            self.events.extend_from_slice(source.sample(sample as usize));
            self.starts.push(self.events.len() as u32);
            self.labels.push(source.labels[sample as usize]);
        }
        assert!(u32::try_from(self.events.len()).is_ok(), "a set holds at most 2^32 - 1 events");
    }

    /// The first `n` samples, or all if there are fewer.
    pub fn head(&self, n: usize) -> EventSet {
        let mut out = EventSet::new(self.neurons, self.time_steps);
        let samples: Vec<u32> = (0..n.min(self.len()) as u32).collect();
        out.gather(self, &samples);
        out
    }

    /// The set with all samples and labels, but with the events of those samples alone that `keep` names.
    pub fn only(&self, keep: impl Fn(usize) -> bool) -> EventSet {
        let mut out = EventSet { labels: self.labels.clone(), ..EventSet::new(self.neurons, self.time_steps) };
        for sample in 0..self.len() {
            if keep(sample) {
                out.events.extend_from_slice(self.sample(sample));
            }
            out.starts.push(out.events.len() as u32);
        }
        out
    }

    /// A set from its parts, as returned by the methods of the same names.
    ///
    /// # Errors
    /// [`Error::Data`]: `starts` does not begin at 0, is not ascending, or does not end at the number of events; events
    /// are out of range, unsorted or duplicate; extents exceed [`MAX_EXTENT`].
    pub fn from_parts(
        neurons: usize,
        time_steps: usize,
        starts: Vec<u32>,
        events: Vec<Event>,
        labels: Vec<u32>,
    ) -> Result<Self> {
        let wrong = |what: &str| Err(Error::Data(format!("invalid event set: {what}")));
        if neurons > MAX_EXTENT || time_steps > MAX_EXTENT {
            return wrong("its extents are too large");
        }
        if starts.first() != Some(&0)
            || starts.last().map(|&end| end as usize) != Some(events.len())
            || !starts.is_sorted()
            || starts.len() != labels.len() + 1
        {
            return wrong("the samples' start indices do not match the events and labels");
        }
        let set = EventSet { neurons, time_steps, starts, events, labels };
        let sound = |(_, events): (u32, &[Event])| {
            events.windows(2).all(|pair| pair[0] < pair[1])
                && events.iter().all(|event| event.i() < neurons && event.t() < time_steps)
        };
        if !set.iter().all(sound) {
            return wrong("events are unsorted, duplicate or out of range");
        }
        Ok(set)
    }

    /// The same samples in a set of other extents.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn with_extents(self, neurons: usize, time_steps: usize) -> Result<Self> {
        EventSet::from_parts(neurons, time_steps, self.starts, self.events, self.labels)
    }

    /// Iterates over the samples: label, and events sorted by (t, i).
    ///
    /// ```
    /// # use spikegrad::events::EventSet;
    /// let mut set = EventSet::new(5, 4);
    /// set.push([(3, 0), (1, 4)], 7)?;
    /// for (label, events) in set.iter() {
    ///     let spikes: Vec<_> = events.iter().map(|event| (event.t(), event.i())).collect();
    ///     assert_eq!((label, spikes), (7, vec![(1, 4), (3, 0)]));
    /// }
    /// # Ok::<(), spikegrad::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &[Event])> {
        (0..self.len()).map(|b| (self.labels[b], self.sample(b)))
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Events per (sample, time step, neuron) entry; 0 without entries.
    pub fn density(&self) -> f64 {
        let entries = self.len() as f64 * self.neurons() as f64 * self.time_steps() as f64;
        if entries > 0.0 { self.events().len() as f64 / entries } else { 0.0 }
    }

    /// Whether the set has no samples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of input neurons.
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// Number of time steps.
    pub fn time_steps(&self) -> usize {
        self.time_steps
    }

    /// The events of sample `b`, sorted by (t, i).
    pub fn sample(&self, b: usize) -> &[Event] {
        &self.events[self.starts[b] as usize..self.starts[b + 1] as usize]
    }

    /// The start index of each sample's events, and the end of the last: `len() + 1` numbers.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// All events, sample after sample.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The label of each sample, or [`UNLABELLED`](Self::UNLABELLED).
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The set with missing labels replaced by class 0, for forward passes, which ignore labels.
    pub(crate) fn labelled(&self) -> Cow<'_, EventSet> {
        match self.labels.contains(&Self::UNLABELLED) {
            false => Cow::Borrowed(self),
            true => {
                let labels =
                    self.labels.iter().map(|&label| if label == Self::UNLABELLED { 0 } else { label }).collect();
                Cow::Owned(EventSet { labels, ..self.clone() })
            }
        }
    }

    /// Checks that a network with these extents can be trained on this set.
    ///
    /// # Errors
    /// [`Error::Data`]: the extents differ, a label is out of range, or a sample has no label.
    pub fn check_fits(&self, inputs: usize, time_steps: usize, classes: usize) -> Result<()> {
        if self.neurons != inputs || self.time_steps != time_steps {
            return Err(Error::Data(format!(
                "the data have {} neurons and {} time steps, the network requires {inputs} and {time_steps}",
                self.neurons, self.time_steps
            )));
        }
        match self.labels.iter().position(|&label| label as usize >= classes) {
            Some(b) if self.labels[b] == Self::UNLABELLED => {
                Err(Error::Data(format!("sample {b} has no label; training requires one")))
            }
            Some(b) => Err(Error::Data(format!(
                "sample {b} has label {}, the readout has {classes} classes (0 to {})",
                self.labels[b],
                classes - 1
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn push_sorts_and_counts_duplicates_once() {
        let mut set = EventSet::new(5, 4);
        set.push([(3, 0), (0, 4), (3, 0), (0, 1)], 2).unwrap();
        assert_eq!(set.sample(0), [Event::new(0, 1), Event::new(0, 4), Event::new(3, 0)]);
    }

    #[test]
    fn push_refuses_what_lies_outside_and_keeps_the_set() {
        let mut set = EventSet::new(5, 4);
        set.push([(1, 1)], 0).unwrap();
        assert!(set.push([(0, 0), (4, 0)], 0).is_err());
        assert!(set.push([(0, 5)], 0).is_err());
        assert_eq!((set.len(), set.events().len()), (1, 1));
    }

    #[test]
    fn a_set_is_its_parts_and_other_parts_are_none() {
        let mut set = EventSet::new(5, 4);
        set.push([(3, 0), (0, 4)], 2).unwrap();
        set.push([(1, 1)], 0).unwrap();
        let (starts, events, labels) = (set.starts().to_vec(), set.events().to_vec(), set.labels().to_vec());
        let from = |starts: &[u32], events: &[Event], labels: &[u32]| {
            EventSet::from_parts(5, 4, starts.to_vec(), events.to_vec(), labels.to_vec())
        };
        assert_eq!(from(&starts, &events, &labels).unwrap(), set);
        assert_eq!(set.iter().map(|(label, events)| (label, events.len())).collect::<Vec<_>>(), [(2, 2), (0, 1)]);
        for starts in [&[1, 2, 3][..], &[0, 2, 2], &[0, 3], &[0, 4, 3], &[]] {
            assert!(from(starts, &events, &labels).is_err(), "{starts:?}");
        }
        for wrong in [Event::new(0, 4), Event::new(4, 0), Event::new(3, 5)] {
            assert!(from(&starts, &[events[0], wrong, events[2]], &labels).is_err(), "{wrong:?}");
        }
        assert!(EventSet::from_parts(MAX_EXTENT + 1, 4, vec![0], vec![], vec![]).is_err());
    }

    #[test]
    fn a_missing_label_is_named_and_filled_in_for_a_forward_pass() {
        let mut set = EventSet::new(3, 3);
        set.push([(0, 0)], 1).unwrap();
        assert!(matches!(set.labelled(), Cow::Borrowed(_)));
        set.push_unlabelled([(1, 1)]).unwrap();
        let error = set.check_fits(3, 3, 2).unwrap_err().to_string();
        assert!(error.contains("sample 1 has no label"), "{error}");
        let filled = set.labelled();
        assert_eq!((filled.labels(), filled.events()), (&[1, 0][..], set.events()));
        filled.check_fits(3, 3, 2).unwrap();
    }

    #[test]
    fn gather_follows_the_order_given() {
        let mut set = EventSet::new(3, 3);
        for k in 0..3 {
            set.push([(k, k)], k as u32).unwrap();
        }
        let mut batch = EventSet::new(0, 0);
        batch.gather(&set, &[2, 0]);
        assert_eq!(batch.labels(), [2, 0]);
        assert_eq!(batch.sample(0), [Event::new(2, 2)]);
    }
}
