// Reference: one time step of delta[t-1] = alpha delta[t] + e[t], e[t] = dS[t] g(V[t]), for all samples, t = `time`; the
// surrogate is not masked. The steps come from the last to the first. A lane owns four neurons of a sample.
#import params
#import index
#import sections
#import regularisers
#import constant_surrogate
#import surrogate

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> v: array<vec4<f32>>;           // (B T, Q): row t holds V[t+1]
@group(0) @binding(2) var<storage, read> counts: array<u32>;            // presynaptic section: zeta
@group(0) @binding(3) var<storage, read> activity: array<vec4<f32>>;    // (B): .z upper gradient
@group(0) @binding(4) var<storage, read> ds: array<vec4<f32>>;          // (B T, Q)
@group(0) @binding(5) var<storage, read_write> now: array<vec4<f32>>;   // (B, Q): delta[time - 1]
#ifdef RECORD
@group(0) @binding(6) var<storage, read_write> recorded_e: array<vec4<f32>>;  // (B T, Q)
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let b = id / p.quads;
    let q = id % p.quads;
    let at = (b * p.steps + p.time) * p.quads + q;
    var regularised = vec4<f32>(activity[b].z);
    var valid = vec4<f32>(0.0);
    for (var k = 0u; k < 4u; k++) {
        if 4u * q + k < p.neurons {
            let zeta = counts[presynaptic_index(p, b, 4u * q + k)];
            regularised += component(k, lower_gradient(p, zeta));
            valid += component(k, 1.0);
        }
    }
    // V[0] is 0.
    var potential = vec4<f32>(0.0);
    if p.time > 0u {
        potential = v[at - p.quads];
    }
    let e = valid * (ds[at] + regularised) * surrogates(p, abs(potential - p.v_th));
    var later = vec4<f32>(0.0);
    if p.time + 1u < p.steps {
        later = now[id];
    }
    now[id] = p.alpha * later + e;
#ifdef RECORD
    recorded_e[at] = e;
#endif
}
