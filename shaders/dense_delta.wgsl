// Dense baseline: reverse scan of a hidden layer, delta[t] = alpha delta[t+1] + dS[t+1] g(V[t+1]). Row t of `delta`
// holds dS[t] and is overwritten with delta[t]. A lane owns four neurons of a sample.
#import params
#import index
#import sections
#import regularisers
#import constant_surrogate
#import surrogate

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> v: array<vec4<f32>>;             // (B T, Q): row t holds V[t+1]
@group(0) @binding(2) var<storage, read> counts: array<u32>;              // presynaptic section: zeta
@group(0) @binding(3) var<storage, read> activity: array<vec4<f32>>;      // (B): .z upper gradient
@group(0) @binding(4) var<storage, read_write> delta: array<vec4<f32>>;   // (B T, Q)
#ifdef RECORD
@group(0) @binding(5) var<storage, read_write> recorded_e: array<vec4<f32>>;  // (B T, Q)
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let b = id / p.quads;
    let q = id % p.quads;
    let begin = b * p.steps * p.quads + q;
    var regularised = vec4<f32>(activity[b].z);
    for (var k = 0u; k < 4u; k++) {
        if 4u * q + k < p.neurons {
            let zeta = counts[presynaptic_index(p, b, 4u * q + k)];
            regularised += component(k, lower_gradient(p, zeta));
        }
    }
    let valid = vec4<u32>(4u * q, 4u * q + 1u, 4u * q + 2u, 4u * q + 3u) < vec4<u32>(p.neurons);
    var value = vec4<f32>(0.0);
    for (var t = p.steps; t > 0u; t--) {
        let at = begin + (t - 1u) * p.quads;
        let ds = delta[at] + regularised;
        delta[at] = value;
        // The error at t - 1 enters delta at t - 2; V[0] is 0.
        var potential = vec4<f32>(0.0);
        if t > 1u {
            potential = v[at - p.quads];
        }
        let distance = abs(potential - p.v_th);
        let e = select(vec4<f32>(0.0), ds * surrogates(p, distance), (distance < vec4<f32>(p.band)) & valid);
        value = p.alpha * value + e;
#ifdef RECORD
        recorded_e[at] = e;
#endif
    }
}
