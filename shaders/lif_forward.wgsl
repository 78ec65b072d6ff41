// LIF forward, event-driven, with the surrogate mask:
//   V[t+1] = V_rest + alpha (V[t] - V_rest) - (V_th - V_r) S[t] + sum_i W_i S_i[t]
//   S[t] = V[t] > V_th;  active where |V[t] - V_th| < B_th, with g = 1 / (beta |V - V_th| + 1)^2
//
// A lane owns four neurons of one sample, keeps V in registers and walks the sample's events, which are sorted by
// (t, i); so the order of every sum is fixed. Spikes leave as bits, 32 time steps a word. Active entries are appended
// in the accidental order of lanes, each with its rank among the lane's own, which is all that scatter_active needs
// to put them in order.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input_start: array<u32>;              // (B + 1) or (B T + 1)
@group(0) @binding(2) var<storage, read> input_events: array<u32>;             // t << 16 | i
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;            // (N_in, Q)
@group(0) @binding(4) var<storage, read_write> spike_words: array<vec4<u32>>;  // (B, words, Q)
@group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>>;     // sections, then the staged count
@group(0) @binding(6) var<storage, read_write> needed: array<atomic<u32>>;     // (B, words): bit t: row (b, t) spikes or is active
@group(0) @binding(7) var<storage, read_write> staged: array<vec4<u32>>;       // quad b Q + q, rank, t << 2 | lane, g
#ifdef RECORD
@group(0) @binding(8) var<storage, read_write> recorded_v: array<vec4<f32>>;   // (B, T, Q)
#endif

const LANES: u32 = 64u;
const STAGE: u32 = 8u;
// Entries a lane has not flushed yet: t << 2 | lane, g.
var<workgroup> stage: array<vec2<u32>, LANES * STAGE>;

fn flush(begin: u32, n: u32, quad: u32, first_rank: u32) {
    let at = atomicAdd(&counts[p.counts], n);
    for (var k = 0u; k < n; k++) {
        if at + k < p.active_capacity {
            let entry = stage[begin + k];
            staged[at + k] = vec4<u32>(quad, first_rank + k, entry.x, entry.y);
        }
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quad = linear_group(workgroup) * LANES + lane;
    if quad >= p.batch * p.quads {
        return;
    }
    let b = quad / p.quads;
    let q = quad % p.quads;
    let valid = vec4<u32>(4u * q, 4u * q + 1u, 4u * q + 2u, 4u * q + 3u) < vec4<u32>(p.neurons);
    let start = input_start[0];
    var next = min(input_start[b * p.input_stride] - start, p.input_capacity);
    let end = min(input_start[(b + 1u) * p.input_stride] - start, p.input_capacity);
    // An event that never comes stands for the end of the list.
    var event = 0xffffffffu;
    if next < end {
        event = input_events[next];
    }

    var v = vec4<f32>(0.0);
    var spike = vec4<bool>(false);
    var word = vec4<u32>(0u);
    var needed_word = 0u;
    var spikes = vec4<u32>(0u);
    var rank = 0u;
    var pending = 0u;
    for (var t = 0u; t < p.steps; t++) {
        if t > 0u {
            v = p.v_rest + p.alpha * (v - p.v_rest);
            v -= select(vec4<f32>(0.0), vec4<f32>(p.reset), spike);
            // What fired at t - 1 arrives now.
            while (event >> 16u) < t {
                v += weights[(event & 0xffffu) * p.quads + q];
                next++;
                event = 0xffffffffu;
                if next < end {
                    event = input_events[next];
                }
            }
            spike = (v > vec4<f32>(p.v_th)) & valid;
        }
#ifdef RECORD
        recorded_v[(b * p.steps + t) * p.quads + q] = v;
#endif
        let distance = abs(v - p.v_th);
        let near = (distance < vec4<f32>(p.b_th)) & valid;
        let bit = t & 31u;
        if any(spike | near) {
            let fired = select(vec4<u32>(0u), vec4<u32>(1u), spike);
            word |= fired << vec4<u32>(bit);
            needed_word |= 1u << bit;
            let fired_now = fired.x + fired.y + fired.z + fired.w;
            if fired_now > 0u {
                spikes += fired;
                atomicAdd(&counts[b * p.steps + t], fired_now);
            }
            for (var k = 0u; k < 4u; k++) {
                if near[k] {
                    let x = p.beta * distance[k] + 1.0;
                    stage[lane * STAGE + pending] = vec2<u32>(t << 2u | k, bitcast<u32>(1.0 / (x * x)));
                    pending++;
                    rank++;
                    if pending == STAGE {
                        flush(lane * STAGE, pending, quad, rank - pending);
                        pending = 0u;
                    }
                }
            }
        }
        if bit == 31u || t + 1u == p.steps {
            let at = b * p.words + (t >> 5u);
            spike_words[at * p.quads + q] = word;
            if needed_word != 0u {
                atomicOr(&needed[at], needed_word);
            }
            word = vec4<u32>(0u);
            needed_word = 0u;
        }
    }
    if pending > 0u {
        flush(lane * STAGE, pending, quad, rank - pending);
    }
    for (var k = 0u; k < 4u; k++) {
        if valid[k] {
            atomicStore(&counts[presynaptic_index(p, b, 4u * q + k)], spikes[k]);
        }
    }
    atomicStore(&counts[quad_section(p) + quad], rank);
}
