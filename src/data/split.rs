//! Selects the training samples held out for validation, and the speakers to test on.

use crate::data::order::order;
use crate::error::{Error, Result};
use crate::events::EventSet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which training samples are held out for validation. If any are, they are evaluated after each epoch, and the test set
/// is only used by `eval`.
///
/// As text: `none`, `last:1000`, `fraction:0.1`, `fraction:0.1:7` (with a seed, 0 by default) or `speakers:4,5`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Validation {
    /// No samples; the test set is evaluated after each epoch.
    #[serde(rename = "none")]
    Off {},
    /// The last samples of the training set.
    Last {
        /// Number of samples, at least 1.
        samples: usize,
    },
    /// A random part of the training set. The seed is not the run's, so that runs with other seeds hold out the same
    /// samples.
    Fraction {
        /// Fraction of the samples, between 0 and 1.
        fraction: f64,
        /// Seed of the random selection.
        #[serde(default)]
        seed: u64,
    },
    /// All recordings of these speakers (SHD).
    Speakers {
        /// Their numbers.
        speakers: Vec<u32>,
    },
}

impl Default for Validation {
    fn default() -> Self {
        Validation::Off {}
    }
}

impl Validation {
    /// Whether samples are held out.
    pub fn is_on(&self) -> bool {
        *self != Validation::Off {}
    }

    /// Checks the numbers, independent of the data.
    ///
    /// # Errors
    /// [`Error::Field`].
    pub fn check(&self) -> Result<()> {
        let bad = |field: &str, value: &dyn fmt::Display, want: &str| {
            Err(Error::field(format!("validation.{field}"), value, want))
        };
        match self {
            Validation::Last { samples: 0 } => bad("samples", &0, "1 or more"),
            Validation::Fraction { fraction, .. } if !(*fraction > 0.0 && *fraction < 1.0) => {
                bad("fraction", fraction, "between 0 and 1")
            }
            Validation::Fraction { seed, .. } if *seed > i64::MAX as u64 => {
                bad("seed", seed, "below 2^63, the limit of TOML")
            }
            Validation::Speakers { speakers } if speakers.is_empty() => bad("speakers", &"[]", "a list of one or more"),
            _ => Ok(()),
        }
    }

    /// The indices of the samples that are held out, ascending. `speakers` has the speaker of each sample, or is empty.
    ///
    /// # Errors
    /// [`Error::Data`] if that is all samples or none, or if speakers are to be held out and the data have none.
    fn held_out(&self, set: &EventSet, speakers: &[u32]) -> Result<Vec<u32>> {
        let n = set.len();
        let held: Vec<u32> = match self {
            Validation::Off {} => return Ok(Vec::new()),
            Validation::Last { samples } => (n.saturating_sub(*samples) as u32..n as u32).collect(),
            Validation::Fraction { fraction, seed } => {
                let mut held = order(*seed, 0, n);
                held.truncate(drawn(*fraction, n));
                held.sort_unstable();
                held
            }
            Validation::Speakers { speakers: wanted } => said_by(wanted, speakers, n)?,
        };
        match held.len() {
            0 => Err(Error::Data(format!("{self} selects none of {n} samples; use more samples, or another fraction"))),
            all if all == n => Err(Error::Data(format!("validation {self}: leaves none of {n} samples for training"))),
            _ => Ok(held),
        }
    }

    /// Splits `set` into the remaining and the held-out samples; the latter are `None` if none are held out. `speakers` has
    /// the speaker of each sample, or is empty.
    ///
    /// # Errors
    /// [`Error::Data`] if all samples or none would be held out, or if speakers are to be held out and the data have none.
    pub fn split(&self, set: EventSet, speakers: &[u32]) -> Result<(EventSet, Option<EventSet>)> {
        let held = self.held_out(&set, speakers)?;
        if held.is_empty() {
            return Ok((set, None));
        }
        let rest: Vec<u32> = (0..set.len() as u32).filter(|b| held.binary_search(b).is_err()).collect();
        let [mut train, mut validation] = [EventSet::new(0, 0), EventSet::new(0, 0)];
        train.gather(&set, &rest);
        validation.gather(&set, &held);
        Ok((train, Some(validation)))
    }
}

/// The number of samples that a fraction of `n` is.
pub(super) fn drawn(fraction: f64, n: usize) -> usize {
    (fraction * n as f64).round() as usize
}

/// The indices of the `n` samples whose speaker is in `wanted`, ascending.
fn said_by(wanted: &[u32], speakers: &[u32], n: usize) -> Result<Vec<u32>> {
    if speakers.len() != n {
        return Err(Error::Data("these data have no speakers; only shd has".into()));
    }
    if let Some(missing) = wanted.iter().find(|speaker| !speakers.contains(speaker)) {
        let mut there = speakers.to_vec();
        there.sort_unstable();
        there.dedup();
        return Err(Error::Data(format!("speaker {missing} does not occur; the speakers are {}", list(&there))));
    }
    Ok((0..n as u32).filter(|&b| wanted.contains(&speakers[b as usize])).collect())
}

/// The samples of the speakers in `wanted`.
#[cfg(feature = "data")]
pub(super) fn by_speakers(set: &EventSet, wanted: &[u32], speakers: &[u32]) -> Result<EventSet> {
    let mut out = EventSet::new(0, 0);
    out.gather(set, &said_by(wanted, speakers, set.len())?);
    Ok(out)
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Validation {
    /// The text that parses to the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Validation::Off {} => f.write_str("none"),
            Validation::Last { samples } => write!(f, "last:{samples}"),
            Validation::Fraction { fraction, seed: 0 } => write!(f, "fraction:{fraction}"),
            Validation::Fraction { fraction, seed } => write!(f, "fraction:{fraction}:{seed}"),
            Validation::Speakers { speakers } => write!(f, "speakers:{}", list(speakers)),
        }
    }
}

impl FromStr for Validation {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let parse = || -> Option<Self> {
            if word == "none" {
                return Some(Validation::Off {});
            }
            let (kind, rest) = word.split_once(':')?;
            Some(match kind {
                "last" => Validation::Last { samples: rest.parse().ok()? },
                "fraction" => {
                    let (fraction, seed) = rest.split_once(':').unwrap_or((rest, "0"));
                    Validation::Fraction { fraction: fraction.parse().ok()?, seed: seed.parse().ok()? }
                }
                "speakers" => {
                    let speakers = rest.split(',').map(|number| number.trim().parse().ok());
                    Validation::Speakers { speakers: speakers.collect::<Option<_>>()? }
                }
                _ => return None,
            })
        };
        let wrong = || Error::Config("must be none, last:N, fraction:F, fraction:F:SEED or speakers:A,B".into());
        let parsed = parse().ok_or_else(wrong)?;
        parsed.check().map(|()| parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 samples, the label of each its number; speakers 0 to 3 in turn.
    fn set() -> (EventSet, Vec<u32>) {
        let mut set = EventSet::new(2, 2);
        (0..20).for_each(|k| set.push([(0, 0)], k).unwrap());
        (set, (0..20).map(|k| k % 4).collect())
    }

    fn split(word: &str) -> (Vec<u32>, Vec<u32>) {
        let (set, speakers) = set();
        let (train, held) = word.parse::<Validation>().unwrap().split(set, &speakers).unwrap();
        (train.labels().to_vec(), held.map_or(vec![], |held| held.labels().to_vec()))
    }

    #[test]
    fn each_sample_is_on_one_side_in_its_order() {
        assert_eq!(split("none"), ((0..20).collect(), vec![]));
        assert_eq!(split("last:3"), ((0..17).collect(), vec![17, 18, 19]));
        assert_eq!(split("speakers:1,3").1, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
        let (train, held) = split("fraction:0.25");
        assert_eq!((train.len(), held.len()), (15, 5));
        let mut all = [train, held.clone()].concat();
        assert!(held.is_sorted());
        all.sort_unstable();
        assert!(all.into_iter().eq(0..20));
        assert_ne!(split("fraction:0.25:1").1, held);
        assert_eq!(split("fraction:0.25:0").1, held);
    }

    #[test]
    fn splits_that_leave_nothing_are_refused() {
        let (set, speakers) = set();
        let refused = |word: &str, speakers: &[u32]| {
            let validation: Validation = word.parse().unwrap();
            validation.split(set.clone(), speakers).unwrap_err().to_string()
        };
        assert!(refused("last:20", &speakers).contains("leaves none of 20"));
        assert!(refused("fraction:0.01", &speakers).contains("selects none of 20"));
        assert_eq!(refused("speakers:3,9", &speakers), "speaker 9 does not occur; the speakers are 0,1,2,3");
        assert!(refused("speakers:0,1,2,3", &speakers).contains("leaves none"));
        assert!(refused("speakers:1", &[]).contains("no speakers"));
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in ["none", "last:7", "fraction:0.1", "fraction:0.1:9", "speakers:4,5"] {
            assert_eq!(word.parse::<Validation>().unwrap().to_string(), word);
        }
        for word in
            ["", "last", "last:0", "last:-1", "fraction:1", "fraction:nan", "speakers:", "speakers:a", "first:3"]
        {
            assert!(word.parse::<Validation>().is_err(), "{word}");
        }
    }
}
