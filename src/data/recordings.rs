//! Common code of the readers of recorded events: binning, reading in parallel, and handling of damaged recordings.

use crate::error::{Error, Result};
use crate::events::{Event, EventSet};
use crate::network::MAX_EXTENT;
use rayon::prelude::*;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// Number of recordings read in parallel before they are added to the set. Limits the memory for events held twice.
const AT_ONCE: usize = 512;

/// The time steps to which recorded times are rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bins {
    /// Time steps, T.
    pub time_steps: usize,
    /// Length of a step, ms.
    pub dt_ms: f64,
}

impl Bins {
    /// The time step nearest to a time in ms, the even one on ties; `None` if it is negative or not below T.
    pub fn of(&self, ms: f64) -> Option<usize> {
        let t = (ms / self.dt_ms).round_ties_even();
        (t >= 0.0 && t < self.time_steps.min(MAX_EXTENT) as f64).then_some(t as usize)
    }

    /// The events of (ms, neuron) pairs, sorted and without duplicates, and the number of spikes after the last step.
    pub(super) fn events(&self, spikes: impl Iterator<Item = (f64, usize)>) -> (Vec<Event>, u64) {
        let mut late = 0;
        let mut events: Vec<Event> = Vec::new();
        for (ms, i) in spikes {
            match self.of(ms) {
                Some(t) => events.push(Event::new(t, i)),
                None => late += 1,
            }
        }
        events.sort_unstable();
        events.dedup();
        // Hundreds of lists are held at once, and each may have had many duplicates.
        events.shrink_to_fit();
        (events, late)
    }
}

/// A recording, binned.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub label: u32,
    pub speaker: Option<u32>,
    /// Sorted, without duplicates.
    pub events: Vec<Event>,
    /// Number of recorded events before binning.
    pub recorded: u64,
    /// Number of recorded events after the last time step.
    pub late: u64,
}

/// Recordings that can be read in any order by several threads.
pub(super) trait Recordings: Sync {
    /// The file or folder.
    fn path(&self) -> &Path;
    /// Number of recordings.
    fn len(&self) -> usize;
    /// Number of input neurons.
    fn neurons(&self) -> usize;
    /// Reads recording `k`.
    fn read(&self, k: usize, bins: &Bins) -> Result<Sample>;
}

/// The training or test half of a data set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Half {
    pub set: EventSet,
    /// The speaker of each sample; empty if unknown.
    pub speakers: Vec<u32>,
    /// Number of recorded events before binning.
    pub recorded: u64,
    /// Number of recorded events after the last time step.
    pub late: u64,
    /// Errors of the recordings that were skipped.
    pub bad: Vec<String>,
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
    bins: &Bins,
    skip_bad: bool,
    progress: &(dyn Fn(LoadProgress) + Sync),
) -> Result<Half> {
    let mut half = Half {
        set: EventSet::new(recordings.neurons(), bins.time_steps),
        speakers: Vec::new(),
        recorded: 0,
        late: 0,
        bad: Vec::new(),
    };
    let of = recordings.len();
    for begin in (0..of).step_by(AT_ONCE) {
        let end = of.min(begin + AT_ONCE);
        let samples: Vec<Result<Sample>> = (begin..end).into_par_iter().map(|k| recordings.read(k, bins)).collect();
        for sample in samples {
            match sample {
                Ok(sample) => {
                    half.set.push(sample.events.iter().map(|e| (e.t(), e.i())), sample.label)?;
                    half.speakers.extend(sample.speaker);
                    half.recorded += sample.recorded;
                    half.late += sample.late;
                }
                Err(error) if skip_bad => half.bad.push(error.to_string()),
                Err(Error::Format { path, what }) => {
                    return Err(Error::Format {
                        path,
                        what: format!("{what}; use --skip-bad to skip such recordings"),
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
        fn neurons(&self) -> usize {
            3
        }
        fn read(&self, k: usize, bins: &Bins) -> Result<Sample> {
            if self.bad.contains(&k) {
                return Err(Error::format(self.path(), format!("recording {k} is broken")));
            }
            let (events, late) = bins.events([(k as f64, k % 3), (1e9, 0)].into_iter());
            Ok(Sample { label: k as u32, speaker: Some(7), events, recorded: 2, late })
        }
    }

    const BINS: Bins = Bins { time_steps: 2000, dt_ms: 1.0 };

    #[test]
    fn times_are_rounded_as_numpy_rounds_them() {
        let bins = Bins { time_steps: 500, dt_ms: 2.0 };
        // numpy.round([0.99, 1.0, 1.01, 3.0, 125.0, 998.99, 999.0] / 2)
        let of = [0.99, 1.0, 1.01, 3.0, 125.0, 998.99, 999.0].map(|ms| bins.of(ms));
        assert_eq!(of, [Some(0), Some(0), Some(1), Some(2), Some(62), Some(499), None]);
        assert_eq!([-0.9, -1.1, f64::NAN, f64::INFINITY].map(|ms| bins.of(ms)), [Some(0), None, None, None]);
        assert_eq!(Bins { time_steps: usize::MAX, dt_ms: 1e-9 }.of(1.0), None, "no event holds such a time");
    }

    #[test]
    fn recordings_come_in_their_order_and_progress_reaches_the_end() {
        let told = Mutex::new(Vec::new());
        let tell = |progress: LoadProgress| told.lock().unwrap().push((progress.done, progress.of));
        let half = collect(&Fake { of: 1100, bad: vec![] }, &BINS, false, &tell).unwrap();
        assert!(half.set.labels().iter().copied().eq(0..1100));
        assert_eq!((half.speakers.len(), half.recorded, half.late), (1100, 2200, 1100));
        assert_eq!(told.into_inner().unwrap(), [(512, 1100), (1024, 1100), (1100, 1100)]);
    }

    #[test]
    fn a_bad_recording_ends_the_reading_or_is_listed() {
        let fake = Fake { of: 600, bad: vec![3, 599] };
        let error = collect(&fake, &BINS, false, &|_| {}).unwrap_err().to_string();
        assert_eq!(error, "fake.zip: recording 3 is broken; use --skip-bad to skip such recordings");
        let half = collect(&fake, &BINS, true, &|_| {}).unwrap();
        assert_eq!((half.set.len(), half.speakers.len()), (598, 598));
        assert_eq!(half.bad, ["fake.zip: recording 3 is broken", "fake.zip: recording 599 is broken"]);
        assert!(!half.set.labels().contains(&3));
        let error = collect(&Fake { of: 2, bad: vec![0, 1] }, &BINS, true, &|_| {}).unwrap_err().to_string();
        assert!(error.contains("none of its 2 recordings") && error.contains("recording 0"), "{error}");
    }
}
