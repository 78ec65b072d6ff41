// LIF forward, event-driven, with the surrogate mask:
//   V[t+1] = V_rest + alpha (V[t] - V_rest) - (V_th - V_r) S[t] + sum_i W_i S_i[t]
//   S[t] = V[t] > V_th;  active where |V[t] - V_th| < B_th, with g = 1 / (beta |V - V_th| + 1)^2
//
// A lane owns four neurons of one sample, keeps V in registers and walks the sample's events, which are sorted by
// (t, i); so the order of every sum is fixed. (CURRENTS: a matrix product has summed them already, for a chunk of
// samples.) Spikes leave as bits, 32 time steps a word. What happens seldom (a spike, an active entry) is only noted in
// the inner loop and dealt with after every 8 steps. Active entries are appended in the accidental order of lanes, each
// with a link to the lane's one before, which is all that compact needs to put them in order.
#ifdef AHEAD
// Events are taken four at a time, so that their weight rows are on the way together; they are added one by one.
#endif
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
#ifdef CURRENTS
@group(0) @binding(1) var<storage, read> currents: array<vec4<f32>>;           // (chunk T, Q): row t arrives at t + 1
@group(0) @binding(2) var<storage, read_write> spike_words: array<vec4<u32>>;  // (B, words, Q)
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;     // sections, then the staged count
@group(0) @binding(4) var<storage, read_write> needed: array<atomic<u32>>;     // (B, words): bit t: row (b, t) spikes or is active
@group(0) @binding(5) var<storage, read_write> staged: array<vec4<u32>>;       // quad b Q + q, rank, t << 2 | lane, g
#ifdef RECORD
@group(0) @binding(6) var<storage, read_write> recorded_v: array<vec4<f32>>;   // (B, T, Q)
#endif
#else
@group(0) @binding(1) var<storage, read> input_start: array<u32>;              // (B + 1) or (B T + 1)
@group(0) @binding(2) var<storage, read> input_events: array<u32>;             // t << 16 | i
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;            // (N_in, shard_quads)
@group(0) @binding(4) var<storage, read_write> spike_words: array<vec4<u32>>;  // (B, words, Q)
@group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>>;     // sections, staged, samples, chains
@group(0) @binding(6) var<storage, read_write> needed: array<atomic<u32>>;     // (B, words): bit t: row (b, t) spikes or is active
@group(0) @binding(7) var<storage, read_write> staged: array<vec4<u32>>;       // chain, row b T + t, neuron, g
#ifdef RECORD
@group(0) @binding(8) var<storage, read_write> recorded_v: array<vec4<f32>>;   // (B, T, Q)
#endif
#endif

#ifdef AHEAD
#import upcoming
#endif
const LANES: u32 = 64u;
// Steps between two looks at what happened.
const BLOCK: u32 = 8u;
// |V - V_th| of the block's steps: (BLOCK, LANES).
var<workgroup> distances: array<vec4<f32>, BLOCK * LANES>;

// One bit a time step from four bits a time step: set where any of the four is.
fn any_of_four(nibbles: u32) -> u32 {
    var x = nibbles | nibbles >> 1u;
    x = (x | x >> 2u) & 0x11111111u;
    x = (x | x >> 3u) & 0x03030303u;
    x = (x | x >> 6u) & 0x000f000fu;
    return (x | x >> 12u) & 0xffu;
}

fn nibble(x: vec4<bool>) -> u32 {
    let bits = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), x);
    return bits.x | bits.y | bits.z | bits.w;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * LANES + lane;
    let own = id % p.shard_quads;
    let q = p.first_quad + own;
#ifdef CURRENTS
    if id >= p.chunk_samples * p.shard_quads {
        return;
    }
    let b = p.first_sample + id / p.shard_quads;
#else
    if id >= p.batch * p.shard_quads {
        return;
    }
    let b = id / p.shard_quads;
#endif
    let quad = b * p.quads + q;
    let valid = vec4<u32>(4u * q, 4u * q + 1u, 4u * q + 2u, 4u * q + 3u) < vec4<u32>(p.neurons);
#ifdef CURRENTS
    let arriving = (b - p.first_sample) * p.steps * p.quads + q;
#else
    var next = min(input_start[b * p.input_stride], p.input_capacity);
    let end = min(input_start[(b + 1u) * p.input_stride], p.input_capacity);
#ifdef AHEAD
    var ahead = upcoming(next, end);
#else
    // An event that never comes stands for the end of the list.
    var event = 0xffffffffu;
    if next < end {
        event = input_events[next];
    }
#endif
#endif

    var v = vec4<f32>(0.0);
    var reset = vec4<f32>(0.0);
    var word = vec4<u32>(0u);
    var needed_word = 0u;
    var spikes = vec4<u32>(0u);
    var entries = 0u;
    var chain = 0u;
    for (var begin = 0u; begin < p.steps; begin += BLOCK) {
        // Bit 4 (t - begin) + k: neuron k spikes, or is active, at t.
        var spike_bits = 0u;
        var active_bits = 0u;
        let stop = min(begin + BLOCK, p.steps);
        for (var t = begin; t < stop; t++) {
            v = (p.v_rest + p.alpha * (v - p.v_rest)) - reset;
            // What fired at t - 1 arrives now.
#ifdef CURRENTS
            v += currents[arriving + (max(t, 1u) - 1u) * p.quads];
#else
#ifdef AHEAD
            while (ahead.x >> 16u) < t {
                let rows = arrived(ahead, t, own);
                v += rows[0];
                v += rows[1];
                v += rows[2];
                v += rows[3];
                next += how_many(ahead, t);
                ahead = upcoming(next, end);
            }
#else
            while (event >> 16u) < t {
                v += weights[(event & 0xffffu) * p.shard_quads + own];
                next++;
                event = 0xffffffffu;
                if next < end {
                    event = input_events[next];
                }
            }
#endif
#endif
            // V[0] is 0, and nothing spikes at 0.
            v = select(v, vec4<f32>(0.0), t == 0u);
            let spike = (v > vec4<f32>(p.v_th)) & valid & vec4<bool>(t > 0u);
            reset = select(vec4<f32>(0.0), vec4<f32>(p.reset), spike);
#ifdef RECORD
            recorded_v[(b * p.steps + t) * p.quads + q] = v;
#endif
            let distance = abs(v - p.v_th);
            distances[(t - begin) * LANES + lane] = distance;
            let fired = select(vec4<u32>(0u), vec4<u32>(1u), spike);
            word |= fired << vec4<u32>(t & 31u);
            spikes += fired;
            let shift = 4u * (t - begin);
            spike_bits |= nibble(spike) << shift;
            active_bits |= nibble((distance < vec4<f32>(p.b_th)) & valid) << shift;
        }

        needed_word |= any_of_four(spike_bits | active_bits) << (begin & 31u);
        while spike_bits != 0u {
            let step = firstTrailingBit(spike_bits) / 4u;
            atomicAdd(&counts[b * p.steps + begin + step], countOneBits(spike_bits & (15u << (4u * step))));
            spike_bits &= ~(15u << (4u * step));
        }
        if active_bits != 0u {
            var at = atomicAdd(&counts[p.counts], countOneBits(active_bits));
            while active_bits != 0u {
                let bit = firstTrailingBit(active_bits);
                active_bits &= active_bits - 1u;
                let x = p.beta * distances[bit / 4u * LANES + lane][bit & 3u] + 1.0;
                if at < p.active_capacity {
                    let row = b * p.steps + begin + bit / 4u;
                    staged[at] = vec4<u32>(chain, row, 4u * q + (bit & 3u), bitcast<u32>(1.0 / (x * x)));
                    chain = at + 1u;
                }
                at++;
                entries++;
            }
        }
        if (stop & 31u) == 0u || stop == p.steps {
            let at = b * p.words + (begin >> 5u);
            spike_words[at * p.quads + q] = word;
            if needed_word != 0u {
                atomicOr(&needed[at], needed_word);
            }
            word = vec4<u32>(0u);
            needed_word = 0u;
        }
    }
    for (var k = 0u; k < 4u; k++) {
        if valid[k] {
            atomicStore(&counts[presynaptic_index(p, b, 4u * q + k)], spikes[k]);
        }
    }
    atomicStore(&counts[quad_section(p) + quad], entries);
    atomicStore(&counts[chain_section(p) + quad], chain);
    let all = (spikes.x + spikes.y) + (spikes.z + spikes.w);
    if all != 0u {
        atomicAdd(&counts[sample_section(p) + b], all);
    }
}
