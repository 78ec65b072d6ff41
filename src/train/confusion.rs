//! Confusion matrices.

/// How many samples of each class were predicted as each class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// Zeros for `classes` classes.
    pub fn new(classes: usize) -> Self {
        Confusion { classes, counts: vec![0; classes * classes] }
    }

    /// Number of classes, C.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts a sample. A label or prediction beyond the classes is ignored.
    pub fn add(&mut self, label: usize, predicted: usize) {
        if label < self.classes && predicted < self.classes {
            self.counts[label * self.classes + predicted] += 1;
        }
    }

    /// Samples of class `label`, by predicted class: \[C\].
    ///
    /// # Panics
    /// If `label` is not below C.
    pub fn row(&self, label: usize) -> &[u64] {
        &self.counts[label * self.classes..][..self.classes]
    }

    /// Number of samples of class `label`.
    ///
    /// # Panics
    /// If `label` is not below C.
    pub fn samples(&self, label: usize) -> u64 {
        self.row(label).iter().sum()
    }

    /// Fraction of the samples of class `label` that were classified correctly; `None` if there are none.
    ///
    /// # Panics
    /// If `label` is not below C.
    pub fn accuracy(&self, label: usize) -> Option<f64> {
        let samples = self.samples(label);
        (samples > 0).then(|| self.row(label)[label] as f64 / samples as f64)
    }

    /// The class that samples of class `label` are most often mistaken for, and how often; `None` if never.
    ///
    /// # Panics
    /// If `label` is not below C.
    pub fn most_mistaken_for(&self, label: usize) -> Option<(usize, u64)> {
        let others = self.row(label).iter().copied().enumerate().filter(|&(class, n)| class != label && n > 0);
        // The first of equal counts.
        others.rev().max_by_key(|&(_, n)| n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_labels_and_columns_predictions() {
        let mut confusion = Confusion::new(3);
        for (label, predicted) in [(0, 0), (0, 2), (0, 2), (0, 1), (2, 2), (9, 0), (0, 9)] {
            confusion.add(label, predicted);
        }
        assert_eq!([0, 1, 2].map(|label| confusion.row(label).to_vec()), [[1, 1, 2], [0, 0, 0], [0, 0, 1]]);
        assert_eq!([0, 1, 2].map(|label| confusion.accuracy(label)), [Some(0.25), None, Some(1.0)]);
        assert_eq!([0, 1, 2].map(|label| confusion.most_mistaken_for(label)), [Some((2, 2)), None, None]);
        assert_eq!((confusion.samples(0), confusion.classes()), (4, 3));
    }
}
