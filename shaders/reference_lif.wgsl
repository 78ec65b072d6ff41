// Reference: one time step of the LIF neurons of all samples. Row `time` of `v` holds the current of that step and is
// overwritten with V[time + 1]; S[time + 1] is written. A lane owns four neurons of a sample.
#import params
#import index
#import finite

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> v: array<vec4<f32>>;       // (B T, Q)
@group(0) @binding(2) var<storage, read_write> spikes: array<vec4<f32>>;  // (B T, Q)
@group(0) @binding(3) var<storage, read_write> status: array<atomic<u32>>;  // [1]: layers with a V that is not finite

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let q = id % p.quads;
    let at = (id / p.quads * p.steps + p.time) * p.quads + q;
    let valid = vec4<u32>(4u * q, 4u * q + 1u, 4u * q + 2u, 4u * q + 3u) < vec4<u32>(p.neurons);
    var before = vec4<f32>(0.0);
    var spike = vec4<f32>(0.0);
    if p.time > 0u {
        before = v[at - p.quads];
        spike = spikes[at];
    } else {
        spikes[at] = spike;
    }
    let potential = p.alpha * before + p.leak - p.kick * spike + v[at];
    v[at] = potential;
    if not_finite(potential) {
        atomicOr(&status[1], p.layer_bit);
    }
    spikes[at + p.quads] = select(vec4<f32>(0.0), vec4<f32>(1.0), (potential > vec4<f32>(p.v_th)) & valid);
}
