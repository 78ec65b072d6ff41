// Dense baseline: LIF scan over input currents. Row t of `v` holds the current of step t and is overwritten with
// V[t+1]; the spikes are written as a dense array. A lane owns four neurons of a sample.
#import params
#import index
#import finite
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> v: array<vec4<f32>>;             // (B T, Q)
@group(0) @binding(2) var<storage, read_write> spikes: array<vec4<f32>>;        // (B T, Q)
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;              // presynaptic section: zeta
@group(0) @binding(4) var<storage, read_write> report: array<atomic<u32>>;      // spikes, active
@group(0) @binding(5) var<storage, read_write> status: array<atomic<u32>>;      // [1]: layers with a V that is not finite

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let b = id / p.quads;
    let q = id % p.quads;
    let valid = vec4<u32>(4u * q, 4u * q + 1u, 4u * q + 2u, 4u * q + 3u) < vec4<u32>(p.neurons);
    var potential = vec4<f32>(0.0);
    var spike = vec4<f32>(0.0);
    var zeta = vec4<u32>(0u);
    var near_count = vec4<u32>(0u);
    var at = b * p.steps * p.quads + q;
    for (var t = 0u; t < p.steps; t++) {
        let near = (abs(potential - p.v_th) < vec4<f32>(p.band)) & valid;
        near_count += select(vec4<u32>(0u), vec4<u32>(1u), near);
        spikes[at] = spike;
        potential = p.alpha * potential + p.leak - p.kick * spike + v[at];
        v[at] = potential;
        let fired = (potential > vec4<f32>(p.v_th)) & valid;
        spike = select(vec4<f32>(0.0), vec4<f32>(1.0), fired);
        // The last potential, V[T], is past the end.
        if t + 1u < p.steps {
            zeta += select(vec4<u32>(0u), vec4<u32>(1u), fired);
        }
        at += p.quads;
    }
    for (var k = 0u; k < 4u; k++) {
        if valid[k] {
            counts[presynaptic_index(p, b, 4u * q + k)] = zeta[k];
        }
    }
    if not_finite(potential) {
        atomicOr(&status[1], p.layer_bit);
    }
    atomicAdd(&report[p.report_at], zeta.x + zeta.y + zeta.z + zeta.w);
    atomicAdd(&report[p.report_at + 1u], near_count.x + near_count.y + near_count.z + near_count.w);
}
