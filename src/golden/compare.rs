//! Comparisons of computed with expected values.

use std::fmt;

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Name of the compared values, as in the file: `dw.0`.
    pub name: String,
    /// What `value` measures.
    pub measure: Measure,
    /// The result.
    pub value: f64,
    /// The largest `value` that passes; for [`Measure::Length`], the only one.
    pub limit: f64,
}

/// How a [`Check`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// ‖actual - expected‖ / ‖expected‖ (Frobenius norms in f64), or ‖actual‖ if all expected values are 0.
    Error,
    /// Number of entries that differ; none may.
    Mismatches,
    /// Number of values. Replaces the comparison if it is wrong.
    Length,
}

impl Check {
    /// Whether the check passed. NaN never passes.
    pub fn passed(&self) -> bool {
        match self.measure {
            Measure::Length => self.value == self.limit,
            Measure::Error | Measure::Mismatches => self.value <= self.limit,
        }
    }
}

/// Name and result: `s.0 12 mismatches`, `dw.1 3.0e-2 > 1e-4`.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Check { name, value, limit, .. } = self;
        match self.measure {
            Measure::Mismatches if *value == 1.0 => write!(f, "{name} 1 mismatch"),
            Measure::Mismatches => write!(f, "{name} {value} mismatches"),
            Measure::Length => write!(f, "{name} has {value} values instead of {limit}"),
            Measure::Error if value.is_nan() => write!(f, "{name} NaN"),
            Measure::Error if *limit == 0.0 && self.passed() => write!(f, "{name} all zeros"),
            Measure::Error if *limit == 0.0 => write!(f, "{name} norm {value:.1e} instead of zeros"),
            Measure::Error => write!(f, "{name} {value:.1e} {} {limit:e}", if self.passed() { "of" } else { ">" }),
        }
    }
}

/// Relative Frobenius error. If all expected values are 0, only zeros pass.
pub(super) fn relative<T: Copy + Into<f64>>(
    name: impl Into<String>,
    actual: &[T],
    expected: &[f64],
    limit: f64,
) -> Check {
    let name = name.into();
    if actual.len() != expected.len() {
        return length(name, actual.len(), expected.len());
    }
    // Scaled, so that squares of small numbers do not underflow.
    let largest = expected.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| (x / scale).powi(2)).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(expected).map(|(&a, e)| a.into() - e));
    let (value, limit) = match largest > 0.0 {
        true => (difference / norm(&mut expected.iter().copied()), limit),
        // The sum of squares may underflow although the numbers are not 0.
        false if difference == 0.0 && actual.iter().any(|&a| a.into() != 0.0) => (f64::MIN_POSITIVE, 0.0),
        false => (difference, 0.0),
    };
    Check { name, measure: Measure::Error, value, limit }
}

/// Counts entries that differ between two masks.
pub(super) fn exact(name: impl Into<String>, actual: &[bool], expected: &[bool]) -> Check {
    match actual.len() == expected.len() {
        true => count(name, actual.iter().zip(expected).filter(|(a, e)| a != e).count()),
        false => length(name, actual.len(), expected.len()),
    }
}

/// A check from a number of mismatches.
pub(super) fn count(name: impl Into<String>, mismatches: usize) -> Check {
    Check { name: name.into(), measure: Measure::Mismatches, value: mismatches as f64, limit: 0.0 }
}

/// Checks a number of values.
pub(super) fn length(name: impl Into<String>, actual: usize, expected: usize) -> Check {
    Check { name: name.into(), measure: Measure::Length, value: actual as f64, limit: expected as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_error_is_that_of_the_whole_array() {
        let check = relative("dw.0", &[3.0, 4.5], &[3.0, 4.0], 0.1001);
        assert!((check.value - 0.1).abs() < 1e-15 && check.passed());
        assert!(!relative("dw.0", &[3.0, 4.5], &[3.0, 4.0], 0.0999).passed());
        assert!((relative("tiny", &[1.5e-250], &[1e-250], 1.0).value - 0.5).abs() < 1e-12);
    }

    #[test]
    fn zeros_are_demanded_where_zeros_are_expected() {
        assert!(relative("dw.0", &[0.0, -0.0], &[0.0, 0.0], 1e-4).passed());
        for small in [1e-7, f32::MIN_POSITIVE, f32::from_bits(1)] {
            assert!(!relative("dw.0", &[0.0, small], &[0.0, 0.0], 1e-4).passed(), "{small}");
        }
        assert!(!relative("dw.0", &[1e-300], &[0.0], 1e-4).passed());
    }

    #[test]
    fn nan_and_infinity_never_pass() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for expected in [[1.0, 2.0], [0.0, 0.0]] {
                assert!(!relative("v.0", &[1.0, bad], &expected, 1e300).passed(), "{bad} {expected:?}");
            }
        }
    }

    #[test]
    fn lengths_must_agree() {
        assert_eq!(relative("e.0", &[1.0], &[1.0, 0.0], 1.0).to_string(), "e.0 has 1 values instead of 2");
        assert!(!exact("s.0", &[true; 3], &[true; 2]).passed());
        assert!(!exact("s.0", &[true; 1], &[true; 2]).passed());
    }

    #[test]
    fn findings_read_as_one_would_say_them() {
        assert_eq!(exact("s.0", &[true, false, false], &[false, true, false]).to_string(), "s.0 2 mismatches");
        assert_eq!(relative("dw.1", &[1.03], &[1.0], 1e-4).to_string(), "dw.1 3.0e-2 > 1e-4");
        assert_eq!(relative("dw.1", &[0.5], &[0.0], 1e-4).to_string(), "dw.1 norm 5.0e-1 instead of zeros");
    }
}
