// Adam, apart from the weight gradient: for gradients that other kernels computed.
// Withheld while the overflow flag is up: never an update from a wrong gradient. A lane owns four weights.
#import params
#import index
#import adam
#import finite

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> status: array<atomic<u32>>;  // [0]: some list overflowed; [2]: layers with a weight that is not finite
@group(0) @binding(2) var<storage, read> gradient: array<vec4<f32>>;        // (N_in, Q)
@group(0) @binding(3) var<storage, read_write> weights: array<vec4<f32>>;   // (N_in, Q)
@group(0) @binding(4) var<storage, read_write> first: array<vec4<f32>>;     // (N_in, Q)
@group(0) @binding(5) var<storage, read_write> second: array<vec4<f32>>;    // (N_in, Q)
@group(0) @binding(6) var<uniform> a: AdamParams;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= arrayLength(&weights) || atomicLoad(&status[0]) != 0u {
        return;
    }
    apply_adam(id, gradient[id], p.layer_bit);
}
