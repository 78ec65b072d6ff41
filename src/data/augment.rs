//! Augmentation: samples changed a little each time they are trained, so that the network learns less by heart.
//!
//! A pure function of the run's seed, the epoch and the sample, so that a resumed run needs no stored state.

use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::presets;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Set in the numbers of the streams that augment; those of initial weights and of the order have others.
const STREAMS: u64 = 1 << 62;

/// What is done to a sample each time it is trained; the default does nothing. The test set stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Images are moved by up to so many pixels, each direction for itself; what leaves the frame is lost.
    #[serde(default)]
    pub shift: usize,
    /// Half of the images are mirrored, left to right.
    #[serde(default)]
    pub flip: bool,
    /// Each input spike is dropped with this probability.
    #[serde(default)]
    pub drop: f64,
}

/// Width and height of the images of a preset; `None` where its samples are no images.
fn frame(preset: &str) -> Option<(usize, usize)> {
    (presets::data_set(preset) == "fmnist").then_some((28, 28))
}

impl Augment {
    /// Whether samples are changed at all.
    pub fn is_on(&self) -> bool {
        *self != Augment::default()
    }

    /// Says which field cannot work for the data of `preset`.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field, its value and what it must be.
    pub fn check(&self, preset: &str) -> Result<()> {
        let Augment { shift, flip, drop } = *self;
        let bad = |text: String| Err(Error::Config(format!("augment.{text}")));
        if !(0.0..1.0).contains(&drop) {
            return bad(format!("drop = {drop}: must be at least 0 and below 1"));
        }
        match frame(preset) {
            None if shift > 0 => bad(format!("shift = {shift}: must be 0, as the samples of {preset} are no images")),
            None if flip => bad(format!("flip = true: must be false, as the samples of {preset} are no images")),
            Some((width, height)) if shift >= width.min(height) => {
                bad(format!("shift = {shift}: must be below {}, the images' width", width.min(height)))
            }
            _ => Ok(()),
        }
    }

    /// The given samples of `source`, changed for `epoch`, as a batch in that order.
    ///
    /// # Errors
    /// [`Error::Data`] where the samples are not as large as the images of `preset`.
    ///
    /// # Panics
    /// Where an index is not below `source.len()`.
    pub fn batch(&self, source: &EventSet, samples: &[u32], preset: &str, seed: u64, epoch: u64) -> Result<EventSet> {
        let frame = frame(preset).filter(|_| self.shift > 0 || self.flip);
        if let Some((width, height)) = frame
            && source.neurons() != width * height
        {
            let neurons = source.neurons();
            return Err(Error::Data(format!("the samples have {neurons} neurons, images have {width} × {height}")));
        }
        let changed: Vec<Vec<(usize, usize)>> = samples
            .par_iter()
            .with_min_len(16)
            .map(|&sample| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(STREAMS | (epoch << 32 & (STREAMS - 1)) | u64::from(sample));
                self.sample(source.sample(sample as usize).iter().map(|event| (event.t(), event.i())), frame, &mut rng)
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
        frame: Option<(usize, usize)>,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(usize, usize)> {
        // A draw of 32 bits each: how rand makes ranges may change from version to version, this may not.
        let mut below = |n: usize| ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize;
        let (right, down) = (below(2 * self.shift + 1), below(2 * self.shift + 1));
        let mirrored = below(2) == 1 && self.flip;
        let keep = ((1.0 - self.drop) * 2f64.powi(32)) as u64;
        spikes
            .filter(|_| self.drop == 0.0 || u64::from(rng.next_u32()) < keep)
            .filter_map(|(t, i)| {
                let Some((width, height)) = frame else { return Some((t, i)) };
                let (x, y) = (i % width, i / width);
                let x = if mirrored { width - 1 - x } else { x };
                let (x, y) = ((x + right).checked_sub(self.shift)?, (y + down).checked_sub(self.shift)?);
                (x < width && y < height).then_some((t, y * width + x))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let batch = shift.batch(&set, &[0, 1], "fmnist", 7, epoch).unwrap();
            assert_eq!(batch.labels(), [0, 1]);
            let (x, y) = pixels(&batch, 0)[0];
            seen[y - 18][x - 8] += 1;
            lost += usize::from(batch.sample(1).is_empty());
        }
        // 80 expected of each, standard deviation 9; a corner stays in 9 of 25 cases.
        assert!(seen.as_flattened().iter().all(|n| (40..=120).contains(n)), "{seen:?}");
        assert!((1180..=1380).contains(&lost), "{lost}");
    }

    #[test]
    fn half_of_the_images_are_mirrored() {
        let set = dots(&[(3, 5)]);
        let flip = Augment { flip: true, ..Augment::default() };
        let mirrored = |epoch| pixels(&flip.batch(&set, &[0], "fmnist", 1, epoch).unwrap(), 0) == [(24, 5)];
        let count = (1..=1000).filter(|&epoch| mirrored(epoch)).count();
        assert!((430..=570).contains(&count), "{count}");
        let same = flip.batch(&set, &[0], "fmnist", 1, (1..).find(|&e| !mirrored(e)).unwrap()).unwrap();
        assert_eq!(same, set);
    }

    #[test]
    fn spikes_are_dropped_one_by_one() {
        let mut set = EventSet::new(20, 50);
        set.push((0..1000).map(|k| (k % 50, k / 50)), 4).unwrap();
        let drop = Augment { drop: 0.25, ..Augment::default() };
        let batch = drop.batch(&set, &[0, 0], "shd", 1, 1).unwrap();
        assert!((680..=820).contains(&batch.sample(0).len()), "{}", batch.sample(0).len());
        assert!(batch.sample(0).iter().all(|event| set.sample(0).contains(event)));
    }

    #[test]
    fn seed_epoch_and_sample_decide_and_nothing_else() {
        let mut set = EventSet::new(784, 50);
        (0..3).for_each(|label| set.push((0..600).map(|k| (k % 50, k)), label).unwrap());
        let all = Augment { shift: 3, flip: true, drop: 0.5 };
        let sample = |samples: &[u32], k, seed, epoch| {
            all.batch(&set, samples, "fmnist", seed, epoch).unwrap().sample(k).to_vec()
        };
        let one = sample(&[1], 0, 3, 4);
        assert_eq!(one, sample(&[2, 0, 1], 2, 3, 4));
        assert!(one != sample(&[2], 0, 3, 4) && one != sample(&[1], 0, 2, 4) && one != sample(&[1], 0, 3, 5));
        assert!(Augment::default().batch(&set, &[0, 1, 2], "fmnist", 3, 4).unwrap() == set);
    }

    /// A resumed run of a later version must go on with the same bits.
    #[test]
    fn what_a_seed_does_stays_what_it_was() {
        let all = Augment { shift: 2, flip: true, drop: 0.3 };
        let batch = all.batch(&dots(&[(10, 10); 6]), &[0, 1, 2, 3, 4, 5], "fmnist", 1, 1).unwrap();
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
        refused(Augment { shift: 28, ..off }, "fmnist", "augment.shift = 28");
        refused(Augment { shift: 1, ..off }, "shd", "augment.shift = 1");
        refused(Augment { flip: true, ..off }, "nmnist", "augment.flip");
        off.check("shd").unwrap();
        let all = Augment { shift: 2, flip: true, drop: 0.1 };
        all.check("fmnist").unwrap();
        assert!(matches!(all.batch(&EventSet::new(700, 10), &[], "fmnist", 0, 1), Err(Error::Data(_))));
    }
}
