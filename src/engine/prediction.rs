//! The result of a forward pass over a batch.

/// Logits of a batch, and the network's spike counts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Prediction {
    /// [B, C], row-major.
    pub logits: Vec<f32>,
    /// Spikes of each spiking layer: the hidden layers, then a readout that counts spikes.
    pub spikes: Vec<u64>,
    classes: usize,
}

impl Prediction {
    /// `logits` is [B, `classes`].
    pub(crate) fn new(logits: Vec<f32>, classes: usize, spikes: Vec<u64>) -> Self {
        Prediction { logits, spikes, classes }
    }

    /// Number of classes, C.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The logits of sample `b`.
    ///
    /// # Panics
    /// If the batch has no sample `b`.
    pub fn logits(&self, b: usize) -> &[f32] {
        &self.logits[b * self.classes..(b + 1) * self.classes]
    }

    /// The class predicted for sample `b`: that of its largest logit, the first on ties.
    ///
    /// # Panics
    /// If the batch has no sample `b`.
    pub fn class(&self, b: usize) -> usize {
        first_largest(self.logits(b))
    }

    /// The class predicted for each sample.
    pub fn predicted(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.logits.chunks_exact(self.classes).map(first_largest)
    }
}

/// The predicted class: the index of the largest logit, the first on ties.
pub fn first_largest(logits: &[f32]) -> usize {
    let mut best = 0;
    for (c, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = c;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(first_largest(&[-1.0, 2.0, 2.0]), 1);
        assert_eq!(first_largest(&[-0.0, 0.0]), 0);
    }

    #[test]
    fn every_sample_has_its_own_class() {
        let prediction = Prediction::new(vec![0.5, 1.0, -1.0, 3.0, 3.0, -2.0], 3, vec![4]);
        assert_eq!(prediction.predicted().collect::<Vec<_>>(), [1, 0]);
        assert_eq!((prediction.class(0), prediction.class(1), prediction.classes()), (1, 0, 3));
        assert_eq!(prediction.logits(1), [3.0, 3.0, -2.0]);
    }
}
