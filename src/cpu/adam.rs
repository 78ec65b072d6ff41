//! Adam with bias correction: W -= lr m̂ / (√v̂ + ε).

use crate::model::AdamConstants;

/// Updates weights and moments with the gradient; all four of the same length.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn adam(gradient: &[f32], weights: &mut [f32], first: &mut [f32], second: &mut [f32], c: &AdamConstants) {
    for (((&g, w), m), v) in gradient.iter().zip(weights).zip(first).zip(second) {
        *m = c.beta1 * *m + (1.0 - c.beta1) * g;
        *v = c.beta2 * *v + (1.0 - c.beta2) * g * g;
        *w -= c.step_size * *m / (v.sqrt() * c.inv_sqrt_correction + c.epsilon);
    }
}
