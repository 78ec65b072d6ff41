//! Data augmentation: random changes of the training samples, against overfitting.
//!
//! A pure function of the run's seed, the epoch and the sample, so that a resumed run needs no stored state.

use super::{Shape, data_set};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::MAX_EXTENT;
use crate::shards::Shards;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Random number streams of augmentation, distinct from those of initial weights and of the sample order.
const STREAMS: u64 = 1 << 62;

/// Random changes of training samples; none by default. Test samples are never changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Shift images by up to this many pixels horizontally and vertically, sounds by up to this many channels. Spikes
    /// shifted out of the frame are dropped.
    #[serde(default)]
    pub shift: usize,
    /// Shift samples by up to this many time steps in either direction. Spikes shifted out of range are dropped.
    #[serde(default)]
    pub shift_steps: usize,
    /// Mirror images horizontally with probability 1/2.
    #[serde(default)]
    pub flip: bool,
    /// Drop each input spike with this probability.
    #[serde(default)]
    pub drop: f64,
    /// Stretch the time of each sample by a factor between 1 - `stretch` and 1 + `stretch`. Spikes stretched out of range are
    /// dropped.
    #[serde(default)]
    pub stretch: f64,
    /// Move each spike by itself, by up to this many pixels horizontally and vertically, or by up to this many channels.
    /// Spikes moved out of the frame are dropped.
    #[serde(default)]
    pub jitter: usize,
    /// With this probability, replace about half of a sample's spikes by about half of those of another sample of its class (and
    /// of its shard).
    #[serde(default)]
    pub blend: f64,
}

impl Augment {
    /// Whether any augmentation is enabled.
    pub fn is_on(&self) -> bool {
        *self != Augment::default()
    }

    /// Checks the fields for the data of `preset`.
    ///
    /// # Errors
    /// [`Error::Field`].
    pub fn check(&self, preset: &str) -> Result<()> {
        let Augment { shift, shift_steps, flip, drop, stretch, jitter, blend } = *self;
        let bad = |field: &str, value: &dyn fmt::Display, want: String| {
            Err(Error::field(format!("augment.{field}"), value, want))
        };
        if !(0.0..1.0).contains(&drop) {
            return bad("drop", &drop, "at least 0 and below 1".into());
        }
        if !(0.0..1.0).contains(&stretch) {
            return bad("stretch", &stretch, "at least 0 and below 1".into());
        }
        if !(0.0..=1.0).contains(&blend) {
            return bad("blend", &blend, "a probability, 0 to 1".into());
        }
        if jitter >= MAX_EXTENT {
            return bad("jitter", &jitter, format!("below {MAX_EXTENT}"));
        }
        if shift_steps > MAX_EXTENT {
            return bad("shift_steps", &shift_steps, format!("at most {MAX_EXTENT}"));
        }
        if shift >= MAX_EXTENT {
            return bad("shift", &shift, format!("below {MAX_EXTENT}"));
        }
        // Mirrored digits are no digits, and a mirrored sound has its frequencies upside down.
        match flip && ["nmnist", "shd"].contains(&data_set(preset)) {
            true => bad("flip", &flip, format!("false, since the samples of {preset} are not images")),
            false => Ok(()),
        }
    }

    /// Checks that samples of this shape can be augmented. `inputs` is the network's number of inputs.
    ///
    /// # Errors
    /// [`Error::Field`]; [`Error::Data`] if the shape is not that of the inputs.
    pub fn check_shape(&self, shape: Option<Shape>, inputs: usize) -> Result<()> {
        let bad = |field: &str, value: &dyn fmt::Display, want: String| {
            Err(Error::field(format!("augment.{field}"), value, want))
        };
        if !self.moves() {
            return Ok(());
        }
        let unknown = "since the shape of the samples is unknown; set data.shape = [channels, height, width]";
        match shape {
            None if self.shift > 0 => bad("shift", &self.shift, format!("0, {unknown}")),
            None if self.jitter > 0 => bad("jitter", &self.jitter, format!("0, {unknown}")),
            None => bad("flip", &self.flip, format!("false, {unknown}")),
            Some(shape) if shape.inputs() != inputs => {
                let product = shape.inputs();
                Err(Error::Data(format!("the samples have {inputs} neurons, but their shape {shape} has {product}")))
            }
            Some(Shape { width, .. }) if self.shift >= width => {
                bad("shift", &self.shift, format!("below {width}, the width"))
            }
            Some(Shape { width, .. }) if self.jitter >= width => {
                bad("jitter", &self.jitter, format!("below {width}, the width"))
            }
            Some(Shape { height: 1, .. }) if self.flip => {
                bad("flip", &self.flip, "false, since the samples are not images".into())
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether neurons change, and not only times.
    fn moves(&self) -> bool {
        self.shift > 0 || self.flip || self.jitter > 0
    }

    /// A batch of the given samples of `source`, which have this shape, in that order, augmented for `epoch`. Samples are blended
    /// with those of their own shard.
    ///
    /// # Errors
    /// As [`check_shape`](Self::check_shape).
    ///
    /// # Panics
    /// If an index is not below `source.len()`.
    pub fn batch(
        &self,
        source: &EventSet,
        samples: &[u32],
        shape: Option<Shape>,
        shards: Shards,
        seed: u64,
        epoch: u64,
    ) -> Result<EventSet> {
        self.check_shape(shape, source.neurons())?;
        let shape = shape.filter(|_| self.moves());
        let changed: Vec<Vec<(usize, usize)>> = samples
            .par_iter()
            .with_min_len(16)
            .map(|&sample| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(STREAMS | (epoch << 32 & (STREAMS - 1)) | u64::from(sample));
                let spikes = |k: usize| source.sample(k).iter().map(|event| (event.t(), event.i()));
                let own = spikes(sample as usize);
                if self.blend == 0.0 || !chance(&mut rng, self.blend) {
                    return self.sample(own, shape, source.time_steps(), &mut rng);
                }
                let other = spikes(sibling(source, sample as usize, shards, &mut rng));
                let both: Vec<_> = own.chain(other).filter(|_| chance(&mut rng, 0.5)).collect();
                self.sample(both.into_iter(), shape, source.time_steps(), &mut rng)
            })
            .collect();
        let mut batch = EventSet::new(source.neurons(), source.time_steps());
        for (spikes, &sample) in changed.into_iter().zip(samples) {
            batch.push(spikes, source.labels()[sample as usize])?;
        }
        Ok(batch)
    }

    fn sample(
        &self,
        spikes: impl Iterator<Item = (usize, usize)>,
        shape: Option<Shape>,
        steps: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(usize, usize)> {
        let (right, down) = (below(rng, 2 * self.shift + 1), below(rng, 2 * self.shift + 1));
        let mirrored = below(rng, 2) == 1 && self.flip;
        let later = if self.shift_steps > 0 { below(rng, 2 * self.shift_steps + 1) } else { 0 };
        let factor = if self.stretch > 0.0 { 1.0 + self.stretch * (2.0 * uniform(rng) - 1.0) } else { 1.0 };
        let still = self.shift + self.jitter;
        spikes
            .filter_map(|(t, i)| {
                if self.drop > 0.0 && !chance(rng, 1.0 - self.drop) {
                    return None;
                }
                // Somewhere within its step, so that no steps are left empty.
                let t = if self.stretch > 0.0 { ((t as f64 + uniform(rng)) * factor) as usize } else { t };
                let t = (t + later).checked_sub(self.shift_steps).filter(|&t| t < steps)?;
                let Some(Shape { height, width, .. }) = shape else { return Some((t, i)) };
                let (x, row) = (i % width, i / width);
                let (channel, y) = (row / height, row % height);
                let x = if mirrored { width - 1 - x } else { x };
                let mut own = || if self.jitter > 0 { below(rng, 2 * self.jitter + 1) } else { 0 };
                let x = (x + right + own()).checked_sub(still)?;
                let y = if height > 1 { (y + down + own()).checked_sub(still)? } else { y };
                (x < width && y < height).then_some((t, (channel * height + y) * width + x))
            })
            .collect()
    }
}

// Computed here because rand's ranges may change from version to version, and the same seed must always give the same samples.

/// A random number below `n`.
fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize
}

/// A random number in [0, 1).
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / 2f64.powi(32)
}

/// True with this probability.
fn chance(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    u64::from(rng.next_u32()) < (probability * 2f64.powi(32)) as u64
}

/// A random sample of the class and the shard of `sample`: itself, if no other is found soon.
fn sibling(source: &EventSet, sample: usize, shards: Shards, rng: &mut ChaCha8Rng) -> usize {
    let labels = source.labels();
    let alike = |k: usize| k != sample && labels[k] == labels[sample] && shards.of(k) == shards.of(sample);
    (0..1000).map(|_| below(rng, source.len())).find(|&k| alike(k)).unwrap_or(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches that are not cut.
    const WHOLE: Shards = Shards { samples: 0, batch: 1, shards: 0 };
    const IMAGE: Option<Shape> = Some(Shape { channels: 1, height: 28, width: 28 });

    fn pixels(set: &EventSet, sample: usize) -> Vec<(usize, usize)> {
        set.sample(sample).iter().map(|event| (event.i() % 28, event.i() / 28)).collect()
    }

    /// Samples with one spike each at (x, y), at step 3.
    fn dots(at: &[(usize, usize)]) -> EventSet {
        let mut set = EventSet::new(784, 10);
        for (k, &(x, y)) in at.iter().enumerate() {
            set.push([(3, 28 * y + x)], k as u32).unwrap();
        }
        set
    }

    #[test]
    fn images_move_in_each_direction_alike_and_lose_what_leaves_the_frame() {
        let set = dots(&[(10, 20), (0, 27)]);
        let shift = Augment { shift: 2, ..Augment::default() };
        let (mut seen, mut lost) = ([[0; 5]; 5], 0);
        for epoch in 1..=2000 {
            let batch = shift.batch(&set, &[0, 1], IMAGE, WHOLE, 7, epoch).unwrap();
            assert_eq!(batch.labels(), [0, 1]);
            let (x, y) = pixels(&batch, 0)[0];
            seen[y - 18][x - 8] += 1;
            lost += usize::from(batch.sample(1).is_empty());
        }
        // 80 expected of each, standard deviation 9; a corner stays in 9 of 25 cases.
        assert!(seen.as_flattened().iter().all(|n| (40..=120).contains(n)), "{seen:?}");
        assert!((1180..=1380).contains(&lost), "{lost}");
    }

    /// The same 784 pixels in another shape, and in two maps.
    #[test]
    fn images_of_any_shape_move_within_their_maps() {
        let flip = Augment { flip: true, ..Augment::default() };
        for (shape, at, mirrored) in
            [([1, 14, 56], 56 * 3 + 5, 56 * 3 + 50), ([2, 14, 28], 392 + 28 + 1, 392 + 28 + 26)]
        {
            let mut set = EventSet::new(784, 10);
            set.push([(3, at)], 0).unwrap();
            let seen = |epoch| flip.batch(&set, &[0], Some(shape.into()), WHOLE, 1, epoch).unwrap().sample(0)[0].i();
            let mut seen: Vec<usize> = (1..=50).map(seen).collect();
            seen.sort_unstable();
            seen.dedup();
            let mut expected = [at, mirrored];
            expected.sort_unstable();
            assert_eq!(seen, expected);
        }
        // Nothing leaves one map for the next.
        let shift = Augment { shift: 1, ..Augment::default() };
        let mut set = EventSet::new(18, 10);
        set.push([(3, 8)], 0).unwrap();
        for epoch in 1..=60 {
            let batch = shift.batch(&set, &[0], Some([2, 3, 3].into()), WHOLE, 1, epoch).unwrap();
            assert!(batch.sample(0).iter().all(|event| event.i() < 9));
        }
    }

    #[test]
    fn half_of_the_images_are_mirrored() {
        let set = dots(&[(3, 5)]);
        let flip = Augment { flip: true, ..Augment::default() };
        let mirrored = |epoch| pixels(&flip.batch(&set, &[0], IMAGE, WHOLE, 1, epoch).unwrap(), 0) == [(24, 5)];
        let count = (1..=1000).filter(|&epoch| mirrored(epoch)).count();
        assert!((430..=570).contains(&count), "{count}");
        let same = flip.batch(&set, &[0], IMAGE, WHOLE, 1, (1..).find(|&e| !mirrored(e)).unwrap()).unwrap();
        assert_eq!(same, set);
    }

    #[test]
    fn sounds_move_in_channels_and_time_and_digits_in_both_directions() {
        let mut set = EventSet::new(700, 50);
        set.push([(0, 300), (20, 300), (20, 301)], 0).unwrap();
        let both = Augment { shift: 3, shift_steps: 2, ..Augment::default() };
        let mut seen = [[0; 7]; 5];
        for epoch in 1..=1500 {
            let batch = both.batch(&set, &[0], Some(Shape::row(700)), WHOLE, 1, epoch).unwrap();
            let spikes: Vec<_> = batch.sample(0).iter().map(|event| (event.t(), event.i())).collect();
            let [.., (t, i), (u, j)] = spikes[..] else { panic!("{spikes:?}") };
            seen[t - 18][i - 297] += 1;
            assert_eq!((u, j), (t, i + 1), "as one");
            assert_eq!(spikes.len() == 3, t >= 20, "none before the beginning: {spikes:?}");
        }
        // 43 expected of each, standard deviation 6.5.
        assert!(seen.as_flattened().iter().all(|n| (15..=75).contains(n)), "{seen:?}");

        let mut set = EventSet::new(34 * 34, 300);
        set.push([(7, 34 * 20 + 10)], 0).unwrap();
        let moved = |epoch| both.batch(&set, &[0], Some([1, 34, 34].into()), WHOLE, 1, epoch).unwrap().sample(0)[0].i();
        let mut places: Vec<usize> = (1..=1000).map(moved).collect();
        places.sort_unstable();
        places.dedup();
        let expected: Vec<usize> = (17..24).flat_map(|y| (7..14).map(move |x| 34 * y + x)).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn spikes_are_dropped_one_by_one() {
        let mut set = EventSet::new(20, 50);
        set.push((0..1000).map(|k| (k % 50, k / 50)), 4).unwrap();
        let drop = Augment { drop: 0.25, ..Augment::default() };
        let batch = drop.batch(&set, &[0, 0], None, WHOLE, 1, 1).unwrap();
        assert!((680..=820).contains(&batch.sample(0).len()), "{}", batch.sample(0).len());
        assert!(batch.sample(0).iter().all(|event| set.sample(0).contains(event)));
    }

    #[test]
    fn time_is_stretched_by_one_factor_per_sample_and_no_steps_are_left_empty() {
        let mut set = EventSet::new(100, 300);
        set.push((0..20_000).map(|k| (k % 200, k / 200)), 0).unwrap();
        let stretch = Augment { stretch: 0.3, ..Augment::default() };
        let lengths: Vec<usize> = (1..=40)
            .map(|epoch| {
                let batch = stretch.batch(&set, &[0], None, WHOLE, 1, epoch).unwrap();
                let mut steps: Vec<usize> = batch.sample(0).iter().map(|event| event.t()).collect();
                steps.dedup();
                assert!(steps.iter().enumerate().all(|(k, &t)| k == t), "every step has spikes: {steps:?}");
                steps.len()
            })
            .collect();
        assert!(lengths.iter().all(|length| (139..=261).contains(length)), "{lengths:?}");
        assert!(lengths.iter().any(|&n| n < 170) && lengths.iter().any(|&n| n > 230), "{lengths:?}");
        // What is stretched out of range is dropped.
        let mut late = EventSet::new(1, 10);
        late.push([(9, 0)], 0).unwrap();
        let left =
            (1..=100).filter(|&e| stretch.batch(&late, &[0], None, WHOLE, 1, e).unwrap().sample(0).is_empty()).count();
        assert!((20..=60).contains(&left), "{left}");
    }

    #[test]
    fn each_spike_jitters_by_itself() {
        let mut set = EventSet::new(700, 50);
        set.push((0..50).map(|t| (t, 300)).chain([(0, 0)]), 0).unwrap();
        let jitter = Augment { jitter: 2, ..Augment::default() };
        let mut seen = [0; 5];
        for epoch in 1..=20 {
            let batch = jitter.batch(&set, &[0], Some(Shape::row(700)), WHOLE, 1, epoch).unwrap();
            let channels = batch.sample(0).iter().map(|event| event.i());
            channels.filter(|&i| i > 10).for_each(|i| seen[i - 298] += 1);
        }
        // 200 expected of each, standard deviation 13.
        assert!(seen.iter().all(|n| (140..=260).contains(n)), "{seen:?}");
        let image = dots(&[(10, 20)]);
        let mut at: Vec<_> =
            (1..=400).map(|e| pixels(&jitter.batch(&image, &[0], IMAGE, WHOLE, 1, e).unwrap(), 0)[0]).collect();
        at.sort_unstable();
        at.dedup();
        assert_eq!(at.len(), 25, "each of 5 × 5 pixels: {at:?}");
    }

    #[test]
    fn a_blend_has_half_of_each_of_two_samples_of_a_class() {
        let mut set = EventSet::new(40, 50);
        for (k, label) in [0, 1, 0, 1].into_iter().enumerate() {
            set.push((0..500).map(|n| (n % 50, 10 * k + n / 50)), label).unwrap();
        }
        let blend = Augment { blend: 0.5, ..Augment::default() };
        let mut blended = 0;
        for epoch in 1..=200 {
            let batch = blend.batch(&set, &[1], None, WHOLE, 1, epoch).unwrap();
            let mut from = [0; 4];
            batch.sample(0).iter().for_each(|event| from[event.i() / 10] += 1);
            match from {
                [0, 500, 0, 0] => {}
                [0, a, 0, b] if (190..=310).contains(&a) && (190..=310).contains(&b) => blended += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!((65..=135).contains(&blended), "{blended}");
        // Samples of another shard are not blended with.
        let shards = Shards { samples: 4, batch: 4, shards: 2 };
        let always = Augment { blend: 1.0, ..Augment::default() };
        let batch = always.batch(&set, &[1], None, shards, 1, 1).unwrap();
        assert!(batch.sample(0).iter().all(|event| event.i() / 10 == 1));
        // The only sample of its class has nothing to blend with.
        let mut one = EventSet::new(40, 50);
        (0..2).for_each(|label| one.push([(3, 4)], label).unwrap());
        assert!((1..=20).all(|epoch| {
            always
                .batch(&one, &[0], None, WHOLE, 1, epoch)
                .unwrap()
                .sample(0)
                .iter()
                .all(|event| (event.t(), event.i()) == (3, 4))
        }));
    }

    #[test]
    fn seed_epoch_and_sample_decide_and_nothing_else() {
        let mut set = EventSet::new(784, 50);
        (0..3).for_each(|label| set.push((0..600).map(|k| (k % 50, k)), label).unwrap());
        let all = Augment { shift: 3, shift_steps: 2, flip: true, drop: 0.5, stretch: 0.1, jitter: 1, blend: 0.5 };
        let sample = |samples: &[u32], k, seed, epoch| {
            all.batch(&set, samples, IMAGE, WHOLE, seed, epoch).unwrap().sample(k).to_vec()
        };
        let one = sample(&[1], 0, 3, 4);
        assert_eq!(one, sample(&[2, 0, 1], 2, 3, 4));
        assert!(one != sample(&[2], 0, 3, 4) && one != sample(&[1], 0, 2, 4) && one != sample(&[1], 0, 3, 5));
        assert!(Augment::default().batch(&set, &[0, 1, 2], IMAGE, WHOLE, 3, 4).unwrap() == set);
    }

    /// A run resumed with a later version must use the same random changes.
    #[test]
    fn what_a_seed_does_stays_what_it_was() {
        let all = Augment { shift: 2, flip: true, drop: 0.3, ..Augment::default() };
        let batch = all.batch(&dots(&[(10, 10); 6]), &[0, 1, 2, 3, 4, 5], IMAGE, WHOLE, 1, 1).unwrap();
        let at: Vec<_> = (0..6).map(|k| pixels(&batch, k)).collect();
        assert_eq!(format!("{at:?}"), "[[(10, 8)], [(18, 9)], [], [], [], []]");
    }

    #[test]
    fn what_cannot_work_is_named() {
        let refused = |augment: Augment, preset, part: &str| {
            let error = augment.check(preset).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let off = Augment::default();
        refused(Augment { drop: 1.0, ..off }, "shd", "augment.drop = 1");
        refused(Augment { drop: f64::NAN, ..off }, "shd", "augment.drop = NaN");
        refused(Augment { shift: 70_000, ..off }, "fmnist", "augment.shift = 70000");
        refused(Augment { shift_steps: 70_000, ..off }, "shd", "augment.shift_steps = 70000");
        refused(Augment { stretch: 1.0, ..off }, "shd", "augment.stretch = 1");
        refused(Augment { jitter: 70_000, ..off }, "shd", "augment.jitter = 70000");
        refused(Augment { blend: 1.1, ..off }, "shd", "augment.blend = 1.1");
        refused(Augment { flip: true, ..off }, "nmnist", "augment.flip");
        off.check("shd").unwrap();
        let refused = |augment: Augment, shape: Option<Shape>, part: &str| {
            let error = augment.check_shape(shape, shape.map_or(9, |shape| shape.inputs())).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refused(Augment { shift: 28, ..off }, IMAGE, "augment.shift = 28: must be below 28");
        refused(Augment { shift: 14, ..off }, Some([1, 56, 14].into()), "below 14, the width");
        refused(Augment { flip: true, ..off }, Some(Shape::row(700)), "not images");
        refused(Augment { flip: true, ..off }, None, "set data.shape");
        refused(Augment { jitter: 2, ..off }, None, "augment.jitter = 2");
        off.check_shape(None, 9).unwrap();
        let all = Augment { shift: 2, shift_steps: 5, flip: true, drop: 0.1, stretch: 0.1, jitter: 3, blend: 1.0 };
        all.check("fmnist").unwrap();
        assert!(matches!(all.batch(&EventSet::new(700, 10), &[], IMAGE, WHOLE, 0, 1), Err(Error::Data(_))));
    }
}
