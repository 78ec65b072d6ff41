//! Common code of the readers of recorded events: binning, reading in parallel, and handling of damaged recordings.

use super::Clock;
use crate::error::{Error, Result};
use crate::events::{Event, EventSet};
use crate::network::MAX_EXTENT;
use rayon::prelude::*;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// Number of recordings read in parallel before they are added to the set. Limits the memory for events held twice.
pub(super) const AT_ONCE: usize = 512;

/// What is called from time to time with the progress of reading.
pub(super) type Tell<'a> = &'a (dyn Fn(LoadProgress) + Sync);

/// The time steps to which recorded times are rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bins {
    /// Time steps, T.
    pub time_steps: usize,
    /// Length of a step, ms.
    pub dt_ms: f64,
    /// What time 0 is.
    pub clock: Clock,
}

impl Bins {
    /// The time step nearest to a time in ms, the even one on ties; `None` if it is negative or not below T.
    pub fn of(&self, ms: f64) -> Option<usize> {
        let t = (ms / self.dt_ms).round_ties_even();
        (t >= 0.0 && t < self.time_steps.min(MAX_EXTENT) as f64).then_some(t as usize)
    }

    /// Duration of all time steps, ms.
    pub(super) fn duration_ms(&self) -> f64 {
        self.time_steps as f64 * self.dt_ms
    }

    /// Time 0 of the recording, ms.
    pub(super) fn origin(&self, recording: &Recording) -> f64 {
        match self.clock {
            Clock::Recording => 0.0,
            Clock::FirstEvent => first_ms(recording),
        }
    }

    /// The recording as sorted events without duplicates.
    fn sample(&self, recording: &Recording) -> Sample {
        let Recording { label, speaker, spikes } = recording;
        let (first_ms, origin) = (first_ms(recording), self.origin(recording));
        let last_ms = spikes.iter().fold(f64::NEG_INFINITY, |last, (ms, _)| last.max(*ms)) - origin;
        let mut events: Vec<Event> =
            spikes.iter().filter_map(|&(ms, i)| Some(Event::new(self.of(ms - origin)?, i as usize))).collect();
        let recorded = spikes.len() as u64;
        let dropped = recorded - events.len() as u64;
        // Events of a time step have no order.
        let disordered = events.windows(2).any(|pair| pair[1].t() < pair[0].t());
        events.sort_unstable();
        events.dedup();
        // Hundreds of lists are held at once, and each may have had many duplicates.
        events.shrink_to_fit();
        Sample { label: *label, speaker: *speaker, events, recorded, dropped, disordered, first_ms, last_ms }
    }
}

/// A recording as it is in its file.
#[derive(Debug, Clone, Default)]
pub(super) struct Recording {
    /// Its class.
    pub label: u32,
    /// The number of its speaker, if it has one.
    pub speaker: Option<u32>,
    /// (time in ms, input neuron) of each event, in any order.
    pub spikes: Vec<(f64, u32)>,
}

/// The time of the first event, ms; infinite if there is none.
fn first_ms(recording: &Recording) -> f64 {
    recording.spikes.iter().fold(f64::INFINITY, |first, (ms, _)| first.min(*ms))
}

/// A recording, binned.
struct Sample {
    label: u32,
    speaker: Option<u32>,
    /// Sorted, without duplicates.
    events: Vec<Event>,
    /// Number of recorded events before binning.
    recorded: u64,
    /// Number of recorded events before the first or after the last time step.
    dropped: u64,
    /// Whether events were not in the order of their time steps.
    disordered: bool,
    /// Time of the first event, ms; infinite if there is none.
    first_ms: f64,
    /// Time of the last event since time 0, ms; not finite if there is none.
    last_ms: f64,
}

/// Recordings that can be read in any order by several threads.
pub(super) trait Recordings: Sync {
    /// The file or folder.
    fn path(&self) -> &Path;
    /// Number of recordings.
    fn len(&self) -> usize;
    /// Reads recording `k`. Images become spikes in time steps of `bins`.
    fn read(&self, k: usize, bins: &Bins) -> Result<Recording>;
    /// Whether events are recorded one after the other, so that another order is worth a note.
    fn ordered(&self) -> bool {
        false
    }
    /// The name of recording `k`, if each is a file.
    fn name(&self, _k: usize) -> Option<String> {
        None
    }
    /// What is probably wrong if there are far too many time steps, with the remedy.
    fn doubt(&self) -> Option<&'static str> {
        None
    }
    /// What is probably wrong if there are far too few time steps; nothing if they can be right, as those of images can.
    fn few_steps(&self) -> FewSteps {
        FewSteps::Strange
    }
    /// An error in recording `k`.
    fn fault(&self, k: usize, what: String) -> Error {
        Error::format(self.path(), format!("recording {k}: {what}"))
    }
}

/// What it means that all events are in very few time steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FewSteps {
    /// Nothing.
    Usual,
    /// All of them in one step is strange.
    Strange,
    /// The unit of the times is probably another; with the remedy.
    Unit(&'static str),
}

/// Numbers of input neurons and classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extents {
    pub inputs: usize,
    pub classes: usize,
}

impl Extents {
    /// Checks neurons and label.
    fn check(&self, recording: &Recording) -> Result<(), String> {
        let Extents { inputs, classes } = *self;
        let beyond = |what: &str, found: u32, limit: usize, field: &str| {
            let (last, set) = (limit.saturating_sub(1), u64::from(found) + 1);
            let remedy = match limit < MAX_EXTENT {
                true => format!("set {field} to {set} or more if that is right"),
                false => format!("a network has at most {MAX_EXTENT}"),
            };
            Err(format!("{what} {found} found, 0 to {last} expected; {remedy}"))
        };
        if let Some((_, i)) = recording.spikes.iter().find(|(_, i)| *i as usize >= inputs) {
            return beyond("input neuron", *i, inputs, "network.inputs");
        }
        match recording.label as usize >= classes && recording.label != EventSet::UNLABELLED {
            true => beyond("label", recording.label, classes, "network.readout.classes"),
            false => Ok(()),
        }
    }
}

/// The training or test half of a data set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Half {
    pub set: EventSet,
    /// The speaker of each sample; empty if unknown.
    pub speakers: Vec<u32>,
    /// Number of recorded events before binning.
    pub recorded: u64,
    /// Number of recorded events before the first or after the last time step.
    pub dropped: u64,
    /// Number of recordings whose events were not in the order of their time steps.
    pub disordered: u64,
    /// The earliest time of an event, ms; infinite if there is none.
    pub first_ms: f64,
    /// The latest time of an event since time 0, ms; not finite if there is none, or if the half is from the cache.
    pub last_ms: f64,
    /// Errors of the recordings that were skipped.
    pub bad: Vec<String>,
    /// The numbers of these recordings.
    pub skipped: Vec<usize>,
}

impl Half {
    /// The extents of the events and labels in the set: inputs, time steps and classes.
    pub(super) fn extents(&self) -> [usize; 3] {
        let events = self.set.events().iter();
        let [inputs, steps] =
            events.fold([0; 2], |[inputs, steps], event| [inputs.max(event.i() + 1), steps.max(event.t() + 1)]);
        let labels = self.set.labels().iter().filter(|&&label| label != EventSet::UNLABELLED);
        [inputs, steps, labels.max().map_or(0, |&label| label as usize + 1)]
    }

    /// The number of each sample among the recordings; empty if none was skipped.
    pub(super) fn numbers(&self) -> Vec<usize> {
        match self.skipped.is_empty() {
            true => Vec::new(),
            false => self.read(self.set.len() + self.skipped.len()).collect(),
        }
    }

    /// The numbers of those of `n` recordings that were read.
    pub(super) fn read(&self, n: usize) -> impl Iterator<Item = usize> {
        (0..n).filter(|k| self.skipped.binary_search(k).is_err())
    }

    /// A half without recordings of which anything more could be said.
    pub(super) fn of(set: EventSet) -> Self {
        Half {
            set,
            speakers: Vec::new(),
            recorded: 0,
            dropped: 0,
            disordered: 0,
            first_ms: f64::INFINITY,
            last_ms: f64::NEG_INFINITY,
            bad: Vec::new(),
            skipped: Vec::new(),
        }
    }
}

/// Progress of reading.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LoadProgress<'a> {
    /// The file or folder.
    pub path: &'a Path,
    /// Number of recordings read.
    pub done: usize,
    /// Total number of recordings.
    pub of: usize,
}

/// Reads all recordings in parallel into a set, in their order. With `skip_bad`, damaged ones are skipped and listed.
///
/// # Errors
/// That of the first damaged recording; with `skip_bad`, only if all are damaged.
pub(super) fn collect(
    recordings: &dyn Recordings,
    extents: Extents,
    bins: &Bins,
    skip_bad: bool,
    progress: Tell,
) -> Result<Half> {
    let mut half = Half::of(EventSet::new(extents.inputs, bins.time_steps));
    let of = recordings.len();
    for begin in (0..of).step_by(AT_ONCE) {
        let end = of.min(begin + AT_ONCE);
        let sample = |k| {
            let recording = recordings.read(k, bins)?;
            extents.check(&recording).map_err(|what| recordings.fault(k, what))?;
            Ok(bins.sample(&recording))
        };
        let samples: Vec<Result<Sample>> = (begin..end).into_par_iter().map(sample).collect();
        for (k, sample) in (begin..).zip(samples) {
            match sample {
                Ok(sample) => {
                    half.set.push(sample.events.iter().map(|e| (e.t(), e.i())), sample.label)?;
                    half.speakers.extend(sample.speaker);
                    half.recorded += sample.recorded;
                    half.dropped += sample.dropped;
                    half.disordered += u64::from(sample.disordered && recordings.ordered());
                    half.first_ms = half.first_ms.min(sample.first_ms);
                    half.last_ms = half.last_ms.max(sample.last_ms);
                }
                Err(error) if skip_bad => {
                    half.bad.push(error.to_string());
                    half.skipped.push(k);
                }
                Err(Error::Format { path, what }) => {
                    return Err(Error::Format {
                        path,
                        what: format!("{what}; set skip_bad (--skip-bad) to skip such recordings"),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        progress(LoadProgress { path: recordings.path(), done: end, of });
    }
    match half.bad.first() {
        Some(first) if half.set.is_empty() => Err(Error::format(
            recordings.path(),
            format!("none of its {of} recordings can be read; first error: {first}"),
        )),
        _ => Ok(half),
    }
}

/// A checksum as text.
pub(super) fn hex(hash: &Xxh3) -> String {
    format!("{:032x}", hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Recording k spikes once, at step k; every one whose number is in `bad` is broken.
    struct Fake {
        of: usize,
        bad: Vec<usize>,
    }

    impl Recordings for Fake {
        fn path(&self) -> &Path {
            Path::new("fake.zip")
        }
        fn len(&self) -> usize {
            self.of
        }
        fn read(&self, k: usize, _: &Bins) -> Result<Recording> {
            if self.bad.contains(&k) {
                return Err(Error::format(self.path(), format!("recording {k} is broken")));
            }
            let spikes = vec![(k as f64, k as u32 % 3), (1e9, 0)];
            Ok(Recording { label: k as u32, speaker: Some(7), spikes })
        }
    }

    const BINS: Bins = Bins { time_steps: 2000, dt_ms: 1.0, clock: Clock::Recording };
    const EXTENTS: Extents = Extents { inputs: 3, classes: 2000 };

    #[test]
    fn times_are_rounded_as_numpy_rounds_them() {
        let bins = Bins { time_steps: 500, dt_ms: 2.0, ..BINS };
        // numpy.round([0.99, 1.0, 1.01, 3.0, 125.0, 998.99, 999.0] / 2)
        let of = [0.99, 1.0, 1.01, 3.0, 125.0, 998.99, 999.0].map(|ms| bins.of(ms));
        assert_eq!(of, [Some(0), Some(0), Some(1), Some(2), Some(62), Some(499), None]);
        assert_eq!([-0.9, -1.1, f64::NAN, f64::INFINITY].map(|ms| bins.of(ms)), [Some(0), None, None, None]);
        assert_eq!(Bins { time_steps: usize::MAX, dt_ms: 1e-9, ..BINS }.of(1.0), None, "no event holds such a time");
    }

    #[test]
    fn recordings_come_in_their_order_and_progress_reaches_the_end() {
        let told = Mutex::new(Vec::new());
        let tell = |progress: LoadProgress| told.lock().unwrap().push((progress.done, progress.of));
        let half = collect(&Fake { of: 1100, bad: vec![] }, EXTENTS, &BINS, false, &tell).unwrap();
        assert!(half.set.labels().iter().copied().eq(0..1100));
        assert_eq!((half.speakers.len(), half.recorded, half.dropped), (1100, 2200, 1100));
        assert_eq!(told.into_inner().unwrap(), [(512, 1100), (1024, 1100), (1100, 1100)]);
    }

    #[test]
    fn a_bad_recording_ends_the_reading_or_is_listed() {
        let fake = Fake { of: 600, bad: vec![3, 599] };
        let error = collect(&fake, EXTENTS, &BINS, false, &|_| {}).unwrap_err().to_string();
        assert_eq!(error, "fake.zip: recording 3 is broken; set skip_bad (--skip-bad) to skip such recordings");
        let half = collect(&fake, EXTENTS, &BINS, true, &|_| {}).unwrap();
        assert_eq!((half.set.len(), half.speakers.len()), (598, 598));
        assert_eq!(half.bad, ["fake.zip: recording 3 is broken", "fake.zip: recording 599 is broken"]);
        assert!(!half.set.labels().contains(&3));
        let error = collect(&Fake { of: 2, bad: vec![0, 1] }, EXTENTS, &BINS, true, &|_| {}).unwrap_err().to_string();
        assert!(error.contains("none of its 2 recordings") && error.contains("recording 0"), "{error}");
    }

    #[test]
    fn events_are_sorted_and_the_disorder_is_noticed() {
        let recording =
            |times: &[f64]| Recording { spikes: times.iter().map(|&ms| (ms, 1)).collect(), ..Default::default() };
        let sample = BINS.sample(&recording(&[5.2, 0.7, 5.1, -3.0]));
        assert_eq!(sample.events, [Event::new(1, 1), Event::new(5, 1)]);
        assert_eq!((sample.recorded, sample.dropped, sample.disordered, sample.first_ms), (4, 1, true, -3.0));
        assert!(!BINS.sample(&recording(&[5.2, 4.9, 7.0])).disordered, "5.2 and 4.9 ms are one step");
    }

    #[test]
    fn the_first_event_can_be_time_zero() {
        let recording = Recording { spikes: vec![(9007.0, 2), (9000.0, 0)], ..Default::default() };
        assert_eq!((BINS.sample(&recording).dropped, BINS.sample(&recording).first_ms), (2, 9000.0));
        let sample = Bins { clock: Clock::FirstEvent, ..BINS }.sample(&recording);
        assert_eq!(sample.events, [Event::new(0, 0), Event::new(7, 2)]);
    }

    #[test]
    fn neurons_and_labels_beyond_the_network_are_named() {
        let fake = Fake { of: 9, bad: vec![] };
        let refused = |extents| collect(&fake, extents, &BINS, false, &|_| {}).unwrap_err().to_string();
        let error = refused(Extents { classes: 7, ..EXTENTS });
        assert!(
            error
                .starts_with("fake.zip: recording 7: label 7 found, 0 to 6 expected; set network.readout.classes to 8")
        );
        let error = refused(Extents { inputs: 2, ..EXTENTS });
        assert!(
            error.contains("recording 2: input neuron 2 found, 0 to 1 expected; set network.inputs to 3"),
            "{error}"
        );
    }
}
