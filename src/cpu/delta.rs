//! The δ recurrence alone (Proposition 1): δ[t] = α δ[t+1] + e[t+1], walked over active times only.

/// δ of one neuron at the `needed` times, 0 elsewhere.
///
/// `errors` are (t, e) at the neuron's active times, ascending. Over a gap of n steps `δ[t] = αⁿ δ[t+n]`, by repeated
/// multiplication. The walk starts at the neuron's own last error, whatever the presynaptic times, and stops at the
/// earliest needed time.
pub fn delta(alpha: f32, errors: &[(usize, f32)], needed: &[bool]) -> Vec<f32> {
    let mut out = vec![0.0; needed.len()];
    let (Some(stop), Some(&(last, _))) = (needed.iter().position(|&n| n), errors.last()) else { return out };
    let mut left = errors;
    let mut value = 0.0;
    for t in (stop..last.min(needed.len())).rev() {
        value *= alpha;
        while let Some((&(k, e), earlier)) = left.split_last()
            && k > t
        {
            value += e;
            left = earlier;
        }
        if needed[t] {
            out[t] = value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::delta;

    #[test]
    fn no_error_no_need_and_late_errors() {
        assert_eq!(delta(0.5, &[], &[true; 3]), [0.0; 3]);
        assert_eq!(delta(0.5, &[(2, 1.0)], &[false; 3]), [0.0; 3]);
        assert_eq!(delta(0.5, &[(3, 8.0)], &[true, false, true, true]), [2.0, 0.0, 8.0, 0.0]);
        assert_eq!(delta(0.5, &[(1, 1.0), (3, 8.0)], &[true, true, false, false]), [3.0, 4.0, 0.0, 0.0]);
    }
}
