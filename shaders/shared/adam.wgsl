// Adam with bias correction and decoupled decay: W -= step_size m / (sqrt(v) inv_sqrt_correction + epsilon) + decay W.
struct AdamParams {
    beta1: f32,
    beta2: f32,
    step_size: f32,            // lr / (1 - beta1^n)
    inv_sqrt_correction: f32,  // 1 / sqrt(1 - beta2^n)
    epsilon: f32,
    decay: f32,                // lr times the weight decay
}

// Updates weights[i] and its moments with the gradient g. status[2] collects the bits of layers with a weight that is not finite.
fn apply_adam(i: u32, g: vec4<f32>, layer_bit: u32) {
    let m = a.beta1 * first[i] + (1.0 - a.beta1) * g;
    let v = a.beta2 * second[i] + (1.0 - a.beta2) * g * g;
    first[i] = m;
    second[i] = v;
    let before = weights[i];
    let w = before - (a.step_size * m / (sqrt(v) * a.inv_sqrt_correction + a.epsilon) + a.decay * before);
    weights[i] = w;
    // The square of a gradient that is not finite is not, either.
    if not_finite(v) || not_finite(w) {
        atomicOr(&status[2], layer_bit);
    }
}
