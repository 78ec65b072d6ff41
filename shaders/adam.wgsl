// Adam, apart from the weight gradient: for gradients that other kernels computed.
// Withheld while the overflow flag is up: never an update from a wrong gradient. A lane owns four weights.
#import index
#import adam

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
    let m = first_moment(a, first[id], g);
    let v = second_moment(a, second[id], g);
    first[id] = m;
    second[id] = v;
    let w = weights[id];
    weights[id] = w - update(a, w, m, v);
}
