//! What is said of recorded events outside of a sample's time steps.

use super::Clock;
use super::recordings::{Bins, Half};
use crate::error::{Error, Result};
use std::path::Path;

/// Share of dropped events beyond which there is a warning.
const FEW: f64 = 0.03;
/// Share of a sample's duration by which all recordings begin late if their clock started elsewhere.
const LATE_START: f64 = 0.5;

/// Whether the clock of recordings started elsewhere: `first_ms` is the earliest time of all events, `end_ms` the end of the
/// longest recording.
pub(super) fn started_elsewhere(first_ms: f64, end_ms: f64) -> bool {
    first_ms.is_finite() && (first_ms < 0.0 || first_ms > LATE_START * end_ms)
}

/// That both halves begin late, although few or no events are dropped.
pub(super) fn late(halves: &[(&Half, &Path)], bins: &Bins) -> Option<String> {
    let first_ms = earliest(halves);
    let empty = bins.of(first_ms).filter(|&empty| empty > 0 && bins.clock == Clock::Recording)?;
    let s = if empty == 1 { " is" } else { "s are" };
    started_elsewhere(first_ms, bins.duration_ms()).then(|| {
        format!(
            "all recordings begin at {first_ms:.0} ms or later: the first {empty} step{s} empty; set data.clock=first_event \
             (--set data.clock=first_event) to take the first event of each recording as time 0"
        )
    })
}

/// The earliest time of an event, ms; infinite if there is none.
fn earliest(halves: &[(&Half, &Path)]) -> f64 {
    halves.iter().fold(f64::INFINITY, |first, (half, _)| first.min(half.first_ms))
}

/// What is to be said of both halves: a part of the data line, and a warning.
///
/// # Errors
/// [`Error::Format`] if a half has events, but none in the time steps.
pub(super) fn judge(halves: &[(&Half, &Path)], bins: &Bins) -> Result<(String, Option<String>)> {
    for (half, path) in halves {
        if half.recorded > 0 && half.dropped == half.recorded {
            return Err(Error::format(
                path,
                format!(
                    "none of its {} events is in the {} steps of {} ms of a sample; they begin at {:.1} ms. {}",
                    half.recorded,
                    bins.time_steps,
                    bins.dt_ms,
                    half.first_ms,
                    remedy(half.first_ms, bins)
                ),
            ));
        }
    }
    let sum = |of: fn(&Half) -> u64| halves.iter().map(|(half, _)| of(half)).sum::<u64>();
    let (dropped, recorded) = (sum(|half| half.dropped), sum(|half| half.recorded));
    let (mut line, mut warning) = (String::new(), None);
    let share = dropped as f64 / recorded.max(1) as f64;
    if dropped > 0 {
        line = format!("; {:.2} % of their events are after step {} and are ignored", 100.0 * share, bins.time_steps);
    }
    let first_ms = earliest(halves);
    if first_ms < 0.0 && dropped > 0 {
        line = line.replace("are after", "are before step 0 or after");
    }
    if share > FEW {
        warning = Some(format!(
            "{:.1} % of the events are outside of the {} steps of {} ms of a sample and are ignored; the recordings begin at \
             {first_ms:.1} ms. {}",
            100.0 * share,
            bins.time_steps,
            bins.dt_ms,
            remedy(first_ms, bins)
        ));
    }
    match sum(|half| half.disordered) {
        0 => {}
        1 => line.push_str("; the events of 1 recording were out of order and are sorted"),
        n => line.push_str(&format!("; the events of {n} recordings were out of order and are sorted")),
    }
    Ok((line, warning))
}

fn remedy(first_ms: f64, bins: &Bins) -> &'static str {
    match bins.clock == Clock::Recording && started_elsewhere(first_ms, bins.duration_ms()) {
        true => {
            "The clock seems to have started elsewhere: set data.clock=first_event to take the first event of each \
             recording as time 0"
        }
        false => {
            "Use more or longer time steps: network.time_steps=N, network.dt_ms=X. Integer times in .npz and .safetensors files are \
             time steps unless t_unit says s, ms or us"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventSet;

    const BINS: Bins = Bins { time_steps: 100, dt_ms: 2.0, clock: Clock::Recording };

    fn half(recorded: u64, dropped: u64, first_ms: f64) -> Half {
        let set = EventSet::new(1, 100);
        Half { recorded, dropped, first_ms, ..Half::of(set) }
    }

    #[test]
    fn few_are_noted_more_warned_of_and_all_refused() {
        let judged = |half: Half| judge(&[(&half, Path::new("a.npz"))], &BINS);
        assert_eq!(judged(half(100, 0, 1.0)).unwrap(), (String::new(), None));
        let (line, warning) = judged(half(1000, 20, 1.0)).unwrap();
        assert_eq!((line.as_str(), warning), ("; 2.00 % of their events are after step 100 and are ignored", None));
        let (_, warning) = judged(half(1000, 200, 1.0)).unwrap();
        assert!(
            warning
                .as_ref()
                .is_some_and(|warning| warning.starts_with("20.0 %") && warning.contains("network.time_steps"))
        );
        let (line, warning) = judged(half(1000, 200, -5.0)).unwrap();
        assert!(
            warning.unwrap().contains("data.clock=first_event") && line.contains("before step 0 or after step 100")
        );
        let error = judged(half(7, 7, 5000.0)).unwrap_err().to_string();
        assert!(error.starts_with("a.npz: none of its 7 events") && error.contains("begin at 5000.0 ms"), "{error}");
        assert!(error.contains("data.clock=first_event"), "{error}");
    }

    /// Whether T is that of the data or not.
    #[test]
    fn a_late_start_is_told_although_no_event_is_dropped() {
        let late = |first_ms: f64, bins: &Bins| {
            let (one, other) = (half(9, 0, first_ms), half(9, 0, first_ms + 7.0));
            late(&[(&one, Path::new("a")), (&other, Path::new("b"))], bins)
        };
        let told = late(150.0, &BINS).unwrap();
        assert!(
            told.starts_with("all recordings begin at 150 ms or later: the first 75 steps are empty; set data.clock")
        );
        assert_eq!((late(99.0, &BINS), late(f64::INFINITY, &BINS)), (None, None));
        assert_eq!(late(150.0, &Bins { clock: Clock::FirstEvent, ..BINS }), None);
    }

    #[test]
    fn recordings_out_of_order_are_counted() {
        let one = Half { disordered: 1, ..half(9, 0, 0.0) };
        let line = judge(&[(&one, Path::new("a")), (&one, Path::new("b"))], &BINS).unwrap().0;
        assert_eq!(line, "; the events of 2 recordings were out of order and are sorted");
    }
}
