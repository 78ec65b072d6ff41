// Dense baseline: readout scan over input currents; row t of `v` is overwritten with V[t+1]. A lane owns four classes
// of a sample.
#import params
#import index
#import finite
#import integrator

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> v: array<vec4<f32>>;       // (B T, Q)
@group(0) @binding(2) var<storage, read_write> logits: array<vec4<f32>>;  // (B, Q)
@group(0) @binding(3) var<storage, read_write> peaks: array<vec4<u32>>;   // (B, Q): time of the maximum
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>>;  // [1]: layers with a V that is not finite

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let begin = id / p.quads * p.steps * p.quads + id % p.quads;
    var potential = vec4<f32>(0.0);
    var so_far = Logits();
    for (var t = 1u; t < p.steps; t++) {
        let at = begin + (t - 1u) * p.quads;
        potential = integrated(p, potential, v[at]);
        v[at] = potential;
        so_far = up_to(p, t, so_far, potential);
    }
    if not_finite(potential) {
        atomicOr(&status[1], p.layer_bit);
    }
    logits[id] = so_far.value;
    peaks[id] = so_far.peak;
}
