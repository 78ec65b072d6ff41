// Dense baseline: delta of the readout at every time. A lane owns four classes of a sample.
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> errors: array<vec4<f32>>;       // (B, Q)
@group(0) @binding(2) var<storage, read> peaks: array<vec4<u32>>;        // (B, Q)
@group(0) @binding(3) var<storage, read_write> delta: array<vec4<f32>>;  // (B T, Q)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let begin = id / p.quads * p.steps * p.quads + id % p.quads;
    let error = errors[id];
    let peak = peaks[id];
    var value = vec4<f32>(0.0);
    for (var t = p.steps; t > 0u; t--) {
        // `value` becomes delta[t - 1], which includes the error at t.
        if t < p.steps {
            value *= p.alpha;
            if p.sum_readout == 1u {
                value += error;
            } else {
                value += select(vec4<f32>(0.0), error, peak == vec4<u32>(t));
            }
        }
        delta[begin + (t - 1u) * p.quads] = value;
    }
}
