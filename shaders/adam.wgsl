// Adam with bias correction: W -= step_size m / (sqrt(v) inv_sqrt_correction + epsilon).
// Withheld while the overflow flag is up: never an update from a wrong gradient. A lane owns four weights.
#import index

// The twin of `AdamParams` in src/gpu/params.rs.
struct AdamParams {
    beta1: f32,
    beta2: f32,
    step_size: f32,            // lr / (1 - beta1^n)
    inv_sqrt_correction: f32,  // 1 / sqrt(1 - beta2^n)
    epsilon: f32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> a: AdamParams;
@group(0) @binding(1) var<storage, read> status: array<u32>;                // [0]: some list overflowed
@group(0) @binding(2) var<storage, read> gradient: array<vec4<f32>>;        // (N_in, Q)
@group(0) @binding(3) var<storage, read_write> weights: array<vec4<f32>>;   // (N_in, Q)
@group(0) @binding(4) var<storage, read_write> first: array<vec4<f32>>;     // (N_in, Q)
@group(0) @binding(5) var<storage, read_write> second: array<vec4<f32>>;    // (N_in, Q)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= arrayLength(&weights) || status[0] != 0u {
        return;
    }
    let g = gradient[id];
    let m = a.beta1 * first[id] + (1.0 - a.beta1) * g;
    let v = a.beta2 * second[id] + (1.0 - a.beta2) * g * g;
    first[id] = m;
    second[id] = v;
    weights[id] -= a.step_size * m / (sqrt(v) * a.inv_sqrt_correction + a.epsilon);
}
