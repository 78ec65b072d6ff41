// Reference: spikes of each neuron of each sample, from the dense array. Every entry is active, as nothing is masked. A
// lane owns four neurons of a sample.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> spikes: array<vec4<f32>>;           // (B T, Q)
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;           // presynaptic section: zeta
@group(0) @binding(3) var<storage, read_write> report: array<atomic<u32>>;   // spikes, active

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let b = id / p.quads;
    let q = id % p.quads;
    var zeta = vec4<u32>(0u);
    // S[0] is 0, whatever the array holds.
    for (var t = 1u; t < p.steps; t++) {
        zeta += vec4<u32>(spikes[(b * p.steps + t) * p.quads + q]);
    }
    var neurons = 0u;
    for (var k = 0u; k < 4u; k++) {
        if 4u * q + k < p.neurons {
            counts[presynaptic_index(p, b, 4u * q + k)] = zeta[k];
            neurons++;
        }
    }
    atomicAdd(&report[p.report_at], zeta.x + zeta.y + zeta.z + zeta.w);
    atomicAdd(&report[p.report_at + 1u], neurons * p.steps);
}
