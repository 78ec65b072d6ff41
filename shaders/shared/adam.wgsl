// Adam with bias correction and decoupled decay: W -= step_size m / (sqrt(v) inv_sqrt_correction + epsilon) + decay W.
struct AdamParams {
    beta1: f32,
    beta2: f32,
    step_size: f32,            // lr / (1 - beta1^n)
    inv_sqrt_correction: f32,  // 1 / sqrt(1 - beta2^n)
    epsilon: f32,
    decay: f32,                // lr times the weight decay
}

fn first_moment(a: AdamParams, before: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    return a.beta1 * before + (1.0 - a.beta1) * g;
}

fn second_moment(a: AdamParams, before: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    return a.beta2 * before + (1.0 - a.beta2) * g * g;
}

fn update(a: AdamParams, w: vec4<f32>, m: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    return a.step_size * m / (sqrt(v) * a.inv_sqrt_correction + a.epsilon) + a.decay * w;
}
