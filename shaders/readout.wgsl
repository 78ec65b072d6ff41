// Readout: integrates the input sum_i W_i S_i[t] + b and makes logits of the potentials V. A lane owns four classes of one
// sample.
// CURRENTS: a matrix product has summed the input already, for a chunk of samples.
#ifdef AHEAD
// Loads four events at once, so that the loads of their weight rows overlap; they are added one by one.
#endif
#import params
#import index
#import finite
#import bias
#import integrator

@group(0) @binding(0) var<uniform> p: Params;
#ifdef CURRENTS
@group(0) @binding(1) var<storage, read> currents: array<vec4<f32>>;      // (chunk T, Q): row t arrives at t + 1
@group(0) @binding(2) var<storage, read_write> logits: array<vec4<f32>>;  // (B, Q)
@group(0) @binding(3) var<storage, read_write> peaks: array<vec4<u32>>;   // (B, Q): time of the maximum
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>>;  // [1]: layers with a V that is not finite
#ifdef RECORD
@group(0) @binding(5) var<storage, read_write> recorded_v: array<vec4<f32>>;  // (B, T, Q)
#endif
#else
@group(0) @binding(1) var<storage, read> input_start: array<u32>;         // (B + 1) or (B T + 1)
@group(0) @binding(2) var<storage, read> input_events: array<u32>;        // t << 16 | i
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;       // (N_in + bias, strip_quads)
@group(0) @binding(4) var<storage, read_write> logits: array<vec4<f32>>;  // (B, Q)
@group(0) @binding(5) var<storage, read_write> peaks: array<vec4<u32>>;   // (B, Q): time of the maximum
@group(0) @binding(6) var<storage, read_write> status: array<atomic<u32>>;  // [1]: layers with a V that is not finite
#ifdef RECORD
@group(0) @binding(7) var<storage, read_write> recorded_v: array<vec4<f32>>;  // (B, T, Q)
#endif
#endif

#ifdef AHEAD
#import upcoming
#endif
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    let own = id % p.strip_quads;
    let q = p.first_quad + own;
#ifdef CURRENTS
    if id >= p.chunk_samples * p.strip_quads {
        return;
    }
    let b = p.first_sample + id / p.strip_quads;
#else
    if id >= p.batch * p.strip_quads {
        return;
    }
    let b = id / p.strip_quads;
#endif
    let quad = b * p.quads + q;
#ifdef CURRENTS
    let arriving = (b - p.first_sample) * p.steps * p.quads + q;
#else
    var next = min(input_start[b * p.input_stride], p.input_capacity);
    let end = min(input_start[(b + 1u) * p.input_stride], p.input_capacity);
#ifdef AHEAD
    var ahead = upcoming(next, end);
#else
    var event = 0xffffffffu;
    if next < end {
        event = input_events[next];
    }
#endif
#endif
    var bias = vec4<f32>(0.0);
#ifdef CURRENTS
#else
    if BIAS {
        bias = weights[p.inputs * p.strip_quads + own];
    }
#endif
    var v = vec4<f32>(0.0);
    var so_far = Logits();
#ifdef RECORD
    recorded_v[b * p.steps * p.quads + q] = v;
#endif
    for (var t = 1u; t < p.steps; t++) {
#ifdef CURRENTS
        let current = currents[arriving + (t - 1u) * p.quads];
#else
        var current = bias;
#ifdef AHEAD
        while (ahead.x >> 16u) < t {
            let rows = arrived(ahead, t, own, p.strip_quads);
            current += rows[0];
            current += rows[1];
            current += rows[2];
            current += rows[3];
            next += how_many(ahead, t);
            ahead = upcoming(next, end);
        }
#else
        while (event >> 16u) < t {
            current += weights[(event & 0xffffu) * p.strip_quads + own];
            next++;
            event = 0xffffffffu;
            if next < end {
                event = input_events[next];
            }
        }
#endif
#endif
        v = integrated(p, v, current);
#ifdef RECORD
        recorded_v[(b * p.steps + t) * p.quads + q] = v;
#endif
        so_far = up_to(p, t, so_far, v);
    }
    if not_finite(v) {
        atomicOr(&status[1], p.layer_bit);
    }
    so_far = completed(p, so_far, v);
    logits[quad] = so_far.value;
    peaks[quad] = so_far.peak;
}
