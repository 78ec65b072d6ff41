//! Adam with bias correction and decoupled weight decay: W -= lr m̂ / (√v̂ + ε) + lr λ W.

use crate::optimiser::AdamConstants;

/// Updates weights and moments with the gradient; all four have the same length. Returns whether all results are finite.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn adam(gradient: &[f32], weights: &mut [f32], first: &mut [f32], second: &mut [f32], c: &AdamConstants) -> bool {
    // The bits of non-negative floats are ordered like the floats; infinity and then NaN are the largest.
    let mut largest = 0u32;
    for (((&g, w), m), v) in gradient.iter().zip(weights).zip(first).zip(second) {
        *m = c.beta1 * *m + (1.0 - c.beta1) * g;
        *v = c.beta2 * *v + (1.0 - c.beta2) * g * g;
        *w -= c.step_size * *m / (v.sqrt() * c.inv_sqrt_correction + c.epsilon) + c.decay * *w;
        // A gradient that is not finite makes v not finite.
        largest = largest.max(w.abs().to_bits()).max(v.abs().to_bits());
    }
    largest < f32::INFINITY.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimiser::Adam;

    #[test]
    fn non_finite_gradients_are_reported() {
        let constants = Adam::with_lr(1e-3).constants(1);
        for g in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN, 1e30] {
            let (mut w, mut m, mut v, mut gradient) = ([1.0; 37], [0.0; 37], [0.0; 37], [0.5; 37]);
            assert!(adam(&gradient, &mut w, &mut m, &mut v, &constants));
            gradient[33] = g;
            assert!(!adam(&gradient, &mut w, &mut m, &mut v, &constants), "{g}");
        }
    }

    /// Compares with AdamW as published, in float64: the decay does not enter the moments.
    #[test]
    fn weight_decay_is_decoupled_from_the_moments() {
        let plain = Adam { beta1: 0.8, beta2: 0.9, ..Adam::with_lr(0.01) };
        let decaying = Adam { weight_decay: 3.0, ..plain };
        let gradients = [[0.5f32, 0.0, -2e-3], [0.1, 0.0, 4.0]];
        let begin = [1.0f32, -2.0, 0.25];
        for adam_of in [plain, decaying] {
            let (mut w, mut m, mut v) = (begin, [0.0; 3], [0.0; 3]);
            let (mut expected, mut first, mut second) = (begin.map(f64::from), [0.0; 3], [0.0; 3]);
            for (n, g) in (1..).zip(&gradients) {
                assert!(adam(g, &mut w, &mut m, &mut v, &adam_of.constants(n)));
                for k in 0..3 {
                    let g = f64::from(g[k]);
                    first[k] = 0.8 * first[k] + 0.2 * g;
                    second[k] = 0.9 * second[k] + 0.1 * g * g;
                    let (m, v) = (first[k] / (1.0 - 0.8f64.powf(n as f64)), second[k] / (1.0 - 0.9f64.powf(n as f64)));
                    expected[k] -= 0.01 * (m / (v.sqrt() + 1e-8) + adam_of.weight_decay * expected[k]);
                    assert!((f64::from(w[k]) - expected[k]).abs() < 1e-6, "{w:?} for {expected:?}");
                }
            }
            assert!(m.iter().zip(first).all(|(&m, first)| (f64::from(m) - first).abs() < 1e-6), "{m:?} for {first:?}");
        }
    }
}
