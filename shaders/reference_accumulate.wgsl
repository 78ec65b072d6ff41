// Reference: adds a gradient that is the step's delta at one time and 0 at all others to a whole [B, T, N] array, as
// automatic differentiation of a slice does. The first of these passes, for the last step, overwrites. A lane owns four
// entries.
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> now: array<vec4<f32>>;              // (B, Q)
@group(0) @binding(2) var<storage, read_write> gradient: array<vec4<f32>>;   // (B T, Q)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.steps * p.quads {
        return;
    }
    let row = id / p.quads;
    var share = vec4<f32>(0.0);
    if row % p.steps == p.time {
        share = now[row / p.steps * p.quads + id % p.quads];
    }
    // Wraps if there is a single step, whose gradient is 0.
    if p.time == p.steps - 2u {
        gradient[id] = share;
    } else {
        gradient[id] += share;
    }
}
