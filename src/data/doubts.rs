//! What is suspicious about samples that can be read: no events, all of them in a few time steps, classes without samples.

use super::recordings::{Bins, FewSteps, Half};
use crate::error::{Error, Result};
use crate::events::EventSet;
use std::collections::BTreeSet;
use std::path::Path;

/// Number of time steps below which times of an unknown unit are doubted.
const FEW_STEPS: usize = 5;
/// Number of empty classes that are listed.
const LISTED: usize = 8;

/// Refuses halves that have no events at all; `path` is that of the training half.
pub(super) fn any_events<'a>(halves: impl IntoIterator<Item = &'a Half>, path: &Path) -> Result<()> {
    let recorded: Vec<u64> = halves.into_iter().map(|half| half.recorded).collect();
    match !recorded.is_empty() && recorded.iter().all(|&n| n == 0) {
        true => Err(Error::format(path, "has no events, so there is nothing to train on")),
        false => Ok(()),
    }
}

/// That all events are in very few time steps.
#[derive(Debug, PartialEq)]
pub(super) struct Few {
    pub text: String,
    /// Whether nothing can be learned from times of this unit.
    pub hopeless: bool,
}

/// Whether all events of these halves are in very few time steps.
pub(super) fn few_steps(halves: &[&Half], meaning: FewSteps, bins: &Bins) -> Option<Few> {
    let sum = |of: fn(&Half) -> u64| halves.iter().map(|half| of(half)).sum::<u64>();
    // Samples of one event each need no second step.
    if sum(|half| half.dropped) > 0 || sum(|half| half.recorded) <= sum(|half| half.set.len() as u64) {
        return None;
    }
    let steps = || halves.iter().flat_map(|half| half.set.events()).map(|event| event.t());
    let used = steps().max()? - steps().min()? + 1;
    let remedy = match meaning {
        FewSteps::Unit(remedy) if used < FEW_STEPS => format!(": {remedy}"),
        FewSteps::Strange if used == 1 => String::new(),
        _ => return None,
    };
    let s = if used == 1 { "" } else { "s" };
    let differ = halves.iter().any(|half| half.last_ms.is_finite() && half.last_ms != 0.0);
    Some(Few {
        text: format!("all events fall into {used} time step{s} of {} ms{remedy}", bins.dt_ms),
        hopeless: used == 1 && differ && meaning != FewSteps::Strange,
    })
}

/// What is suspicious about the classes of labelled samples: those below the highest that have none, or that there is only one.
pub(super) fn classes(sets: &[&EventSet]) -> Vec<String> {
    let labels = sets.iter().flat_map(|set| set.labels()).filter(|&&label| label != EventSet::UNLABELLED);
    let there: BTreeSet<u32> = labels.copied().collect();
    let empty: Vec<u32> = (0..there.last().copied().unwrap_or(0)).filter(|class| !there.contains(class)).collect();
    let listed: Vec<String> = empty.iter().take(LISTED).map(u32::to_string).collect();
    let mut warnings = Vec::new();
    match &empty[..] {
        [] => {}
        [0] => warnings.push("no sample has the class 0: labels count from 0".into()),
        [only] => warnings.push(format!("no sample has the class {only}")),
        [first, ..] => {
            let more = empty.len() - listed.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let count = if *first == 0 { ": labels count from 0" } else { "" };
            warnings.push(format!("no sample has the classes {}{more}{count}", listed.join(", ")));
        }
    }
    if there.len() == 1 {
        warnings.push("all samples have one class, so there is nothing to tell apart".into());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Clock;

    const BINS: Bins = Bins { time_steps: 10, dt_ms: 1.0, clock: Clock::Recording };

    fn half(steps: &[usize]) -> Half {
        let mut set = EventSet::new(2, 10);
        set.push(steps.iter().map(|&t| (t, 0)), 0).unwrap();
        Half { recorded: 9, last_ms: 0.3, ..Half::of(set) }
    }

    #[test]
    fn few_steps_are_doubted_by_their_meaning() {
        let of = |steps: &[usize], meaning| few_steps(&[&half(steps)], meaning, &BINS);
        let seconds = of(&[0], FewSteps::Unit("in s?")).unwrap();
        assert_eq!(
            (seconds.text.as_str(), seconds.hopeless),
            ("all events fall into 1 time step of 1 ms: in s?", true)
        );
        let two = of(&[3, 4], FewSteps::Unit("in s?")).unwrap();
        assert_eq!((two.text.as_str(), two.hopeless), ("all events fall into 2 time steps of 1 ms: in s?", false));
        assert_eq!(of(&[0, 7], FewSteps::Unit("in s?")), None);
        let strange = Few { text: "all events fall into 1 time step of 1 ms".into(), hopeless: false };
        assert_eq!(of(&[0], FewSteps::Strange), Some(strange));
        assert_eq!((of(&[0, 1], FewSteps::Strange), of(&[0], FewSteps::Usual)), (None, None));
        let zero = Half { last_ms: 0.0, ..half(&[0]) };
        assert!(!few_steps(&[&zero], FewSteps::Unit(""), &BINS).unwrap().hopeless);
        let single = Half { recorded: 1, ..half(&[0]) };
        assert_eq!(few_steps(&[&single], FewSteps::Strange, &BINS), None);
    }

    #[test]
    fn empty_and_single_classes_are_told() {
        let told = |labels: &[u32]| {
            let mut set = EventSet::new(1, 1);
            labels.iter().for_each(|&label| set.push([], label).unwrap());
            classes(&[&set])
        };
        assert_eq!(told(&[0, 1, 2, EventSet::UNLABELLED]), Vec::<String>::new());
        assert_eq!(told(&[1, 2]), ["no sample has the class 0: labels count from 0"]);
        assert_eq!(told(&[0, 2]), ["no sample has the class 1"]);
        assert_eq!(told(&[3, 9])[0], "no sample has the classes 0, 1, 2, 4, 5, 6, 7, 8: labels count from 0");
        assert!(told(&[0, 0])[0].starts_with("all samples have one class"));
    }

    #[test]
    fn halves_without_events_are_refused() {
        let none = Half { recorded: 0, ..half(&[]) };
        let refused = any_events([&none, &none], Path::new("a.npz")).unwrap_err().to_string();
        assert!(refused.starts_with("a.npz: has no events"), "{refused}");
        any_events([&none, &half(&[1])], Path::new("a.npz")).unwrap();
        any_events([], Path::new("a.npz")).unwrap();
    }
}
