// Spiking layer forward, event-driven, with the surrogate mask:
//   V[t+1] from V[t], S[t] and the drive sum_i W_i S_i[t] + b (shared/cell.wgsl)
//   S[t] = V[t] > V_th;  active where |V[t] - V_th| < B_th, with g the surrogate gradient there (shared/surrogate.wgsl)
//
// A lane owns WIDTH quads of neurons of one sample, keeps V in registers and loops over the sample's events, which are
// sorted by (t, i), so that the order of every sum is fixed. (CURRENTS: a matrix product has summed them already, for a
// chunk of samples.) Spikes are stored as bits, 32 time steps per word. The inner loop only marks rare cases (a spike, an
// active entry), which are handled after every 8 steps. Active entries are appended in an arbitrary order of lanes, each
// with a link to the lane's previous entry, so that compact can put them in order.
#ifdef WIDE
// Two quads, so that events are read half as often: loads are expensive on software adapters.
#endif
#ifdef AHEAD
// Loads four events at once, so that the loads of their weight rows overlap; they are added one by one.
#endif
#ifdef CONV
// A convolution: every pixel of a sample is treated as a sample, with its patch as input and the filters as neurons.
#endif
#ifdef RECORD
#else
#import finite
#endif
#import params
#import index
#import sections
#import constant_cell
#import cell
#import constant_surrogate
#import surrogate
#import bias

@group(0) @binding(0) var<uniform> p: Params;
#ifdef CURRENTS
@group(0) @binding(1) var<storage, read> currents: array<vec4<f32>>;           // (chunk T, Q): row t arrives at t + 1
@group(0) @binding(2) var<storage, read_write> spike_words: array<vec4<u32>>;  // (B, words, Q)
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;     // sections, staged, samples, chains
@group(0) @binding(4) var<storage, read_write> needed: array<atomic<u32>>;     // (B, words): bit t: row (b, t) spikes or is active
@group(0) @binding(5) var<storage, read_write> staged: array<vec4<u32>>;       // chain, row b T + t, neuron, g
#ifdef RECORD
@group(0) @binding(6) var<storage, read_write> recorded_v: array<vec4<f32>>;   // (B, T, Q)
#else
@group(0) @binding(6) var<storage, read_write> status: array<atomic<u32>>;     // [1]: layers with a V that is not finite
#endif
#else
@group(0) @binding(1) var<storage, read> input_start: array<u32>;              // (B + 1), (B T + 1) or (B pixels + 1)
@group(0) @binding(2) var<storage, read> input_events: array<u32>;             // t << 16 | i, CONV: t << 16 | row
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;            // (N_in + bias, strip_quads), CONV: (patch + bias, strip_quads)
@group(0) @binding(4) var<storage, read_write> spike_words: array<vec4<u32>>;  // (B, words, Q)
@group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>>;     // sections, staged, samples, chains
@group(0) @binding(6) var<storage, read_write> needed: array<atomic<u32>>;     // (B, words): bit t: row (b, t) spikes or is active
@group(0) @binding(7) var<storage, read_write> staged: array<vec4<u32>>;       // chain, row b T + t, neuron, g
#ifdef RECORD
@group(0) @binding(8) var<storage, read_write> recorded_v: array<vec4<f32>>;   // (B, T, Q)
#else
@group(0) @binding(8) var<storage, read_write> status: array<atomic<u32>>;     // [1]: layers with a V that is not finite
#endif
#endif

#ifdef AHEAD
#import upcoming
#endif
#ifdef CONV
#import conv
#endif
const LANES: u32 = 64u;
#ifdef WIDE
const WIDTH: u32 = 2u;
#else
const WIDTH: u32 = 1u;
#endif
// Steps per block; marked cases are handled after each block.
const BLOCK: u32 = 8u;
// |V - V_th| of the block's steps: (WIDTH, BLOCK, LANES).
var<workgroup> distances: array<vec4<f32>, WIDTH * BLOCK * LANES>;

// One bit per time step from four bits per time step: set if any of the four is.
fn any_of_four(nibbles: u32) -> u32 {
    var x = nibbles | (nibbles >> 1u);
    x = (x | (x >> 2u)) & 0x11111111u;
    x = (x | (x >> 3u)) & 0x03030303u;
    x = (x | (x >> 6u)) & 0x000f000fu;
    return (x | (x >> 12u)) & 0xffu;
}

fn nibble(x: vec4<bool>) -> u32 {
    let bits = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), x);
    return bits.x | bits.y | bits.z | bits.w;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * LANES + lane;
    let lanes = (p.strip_quads + WIDTH - 1u) / WIDTH;
    let own = id % lanes * WIDTH;
#ifdef CURRENTS
    if id >= p.chunk_samples * lanes {
        return;
    }
    let b = p.first_sample + id / lanes;
    let arriving = (b - p.first_sample) * p.steps * p.quads + own;
#else
#ifdef CONV
    let pixels = p.rows * p.columns;
#else
    let pixels = 1u;
#endif
    let list = id / lanes;
    if list >= p.batch * pixels {
        return;
    }
    let b = list / pixels;
    var next = min(input_start[list * p.input_stride], p.input_capacity);
    let end = min(input_start[(list + 1u) * p.input_stride], p.input_capacity);
#ifdef AHEAD
    var ahead = upcoming(next, end);
#else
    // The end of the list is an event that never comes.
    var event = 0xffffffffu;
    if next < end {
        event = input_events[next];
    }
#endif
#endif
#ifdef CONV
    let q = list % pixels * p.strip_quads + own;
#else
    let q = p.first_quad + own;
#endif
    // Quads of this lane that the strip has.
    let width = min(WIDTH, p.strip_quads - own);
    var valid: array<vec4<bool>, WIDTH>;
#unroll n WIDTH
#ifdef CONV
        // The filters of a pixel fill all of its quads except the last.
        let j = 4u * (own + n);
        let neurons = p.neurons / pixels;
#else
        let j = 4u * (q + n);
        let neurons = p.neurons;
#endif
        valid[n] = vec4<u32>(j, j + 1u, j + 2u, j + 3u) < vec4<u32>(select(0u, neurons, n < width));
#endunroll

    // V~: after the reset.
    var v: array<vec4<f32>, WIDTH>;
    var kick: array<vec4<f32>, WIDTH>;
    // I of a cuba_lif cell.
    var current: array<vec4<f32>, WIDTH>;
    var bias: array<vec4<f32>, WIDTH>;
#ifdef CURRENTS
#else
    if BIAS {
#ifdef CONV
        let rows = patch_size(p);
#else
        let rows = p.inputs;
#endif
#unroll n WIDTH
            bias[n] = weights[rows * p.strip_quads + own + min(n, width - 1u)];
#endunroll
    }
#endif
#ifdef RECORD
#else
    // Whether some potential was NaN or infinite before a reset hid it.
    var strange = false;
#endif
    var word: array<vec4<u32>, WIDTH>;
    var spikes: array<vec4<u32>, WIDTH>;
    var entries: array<u32, WIDTH>;
    var chain: array<u32, WIDTH>;
    var needed_word = 0u;
#ifdef CONV
    // A pixel sees few events. In a block without any, potentials below threshold and band only decay towards 0, if that is
    // the resting potential and below them too.
    var calm = !CUBA && !BIAS && p.leak == 0.0 && p.v_th >= max(p.band, 0.0) && p.alpha <= 1.0;
#ifdef RECORD
    calm = false;
#endif
    // Spikes are read after pooling, so the spikes of a time step need no list, except in an inspection.
    var placed = false;
#ifdef RECORD
    placed = true;
#endif
#else
    let placed = true;
#endif
    for (var begin = 0u; begin < p.steps; begin += BLOCK) {
        // Bit 4 (t - begin) + k: neuron k spikes, or is active, at t.
        var spike_bits = array<u32, WIDTH>();
        var active_bits = array<u32, WIDTH>();
        let stop = min(begin + BLOCK, p.steps);
#ifdef CONV
#ifdef AHEAD
        var away = calm && (ahead.x >> 16u) + 1u >= stop;
#else
        var away = calm && (event >> 16u) + 1u >= stop;
#endif
#unroll n WIDTH
            let below = (v[n] <= vec4<f32>(p.v_th)) & (abs(v[n] - p.v_th) >= vec4<f32>(p.band));
            away = away && all(below | !valid[n]);
#endunroll
        if away && next < end {
            for (var t = begin; t < stop; t++) {
#unroll n WIDTH
                    v[n] *= p.alpha;
#endunroll
            }
        }
        let from_step = select(begin, stop, away);
#else
        let from_step = begin;
#endif
        for (var t = from_step; t < stop; t++) {
            var input = array<vec4<f32>, WIDTH>();
#unroll n WIDTH
                v[n] = decayed(p, v[n], kick[n]);
                input[n] = before_input(p, v[n], current[n]);
                if BIAS {
                    input[n] += bias[n];
                }
#endunroll
            // Spikes of t - 1 arrive now.
#ifdef CURRENTS
            input[0] += currents[arriving + (max(t, 1u) - 1u) * p.quads];
#else
#ifdef AHEAD
            while (ahead.x >> 16u) < t {
                let rows = arrived(ahead, t, own, p.strip_quads);
                input[0] += rows[0];
                input[0] += rows[1];
                input[0] += rows[2];
                input[0] += rows[3];
                next += how_many(ahead, t);
                ahead = upcoming(next, end);
            }
#else
            while (event >> 16u) < t {
                let row = (event & 0xffffu) * p.strip_quads + own;
#unroll n WIDTH
                    input[n] += weights[row + min(n, width - 1u)];
#endunroll
                next++;
                event = 0xffffffffu;
                if next < end {
                    event = input_events[next];
                }
            }
#endif
#endif
#unroll n WIDTH
                // V[0] and I[0] are 0, and nothing spikes at 0.
                current[n] = select(input[n], vec4<f32>(0.0), t == 0u);
                v[n] = select(with_input(p, v[n], input[n]), vec4<f32>(0.0), t == 0u);
                let spike = (v[n] > vec4<f32>(p.v_th)) & valid[n] & vec4<bool>(t > 0u);
                kick[n] = select(vec4<f32>(0.0), vec4<f32>(p.kick), spike);
                let distance = abs(v[n] - p.v_th);
#ifdef RECORD
                if n < width {
                    recorded_v[(b * p.steps + t) * p.quads + q + n] = v[n];
                }
#else
                if TO_VALUE {
                    strange = strange || not_finite(v[n]);
                }
#endif
                v[n] = after_spike(p, v[n], spike);
                distances[(n * BLOCK + t - begin) * LANES + lane] = distance;
                let fired = select(vec4<u32>(0u), vec4<u32>(1u), spike);
                word[n] |= fired << vec4<u32>(t & 31u);
                spikes[n] += fired;
                let shift = 4u * (t - begin);
                spike_bits[n] |= nibble(spike) << shift;
                active_bits[n] |= nibble((distance < vec4<f32>(p.band)) & valid[n]) << shift;
#endunroll
        }

        var any_spike = 0u;
        var any_active = 0u;
#unroll n WIDTH
            any_spike |= spike_bits[n];
            any_active |= active_bits[n];
#endunroll
        needed_word |= any_of_four(any_spike | any_active) << (begin & 31u);
        while placed && any_spike != 0u {
            let step = firstTrailingBit(any_spike) / 4u;
            let four = 15u << (4u * step);
            var fired = 0u;
#unroll n WIDTH
                fired += countOneBits(spike_bits[n] & four);
#endunroll
            atomicAdd(&counts[b * p.steps + begin + step], fired);
            any_spike &= ~four;
        }
#unroll n WIDTH
            if active_bits[n] != 0u {
                var at = atomicAdd(&counts[p.counts], countOneBits(active_bits[n]));
                while active_bits[n] != 0u {
                    let bit = firstTrailingBit(active_bits[n]);
                    active_bits[n] &= active_bits[n] - 1u;
                    let g = surrogate(p, distances[(n * BLOCK + bit / 4u) * LANES + lane][bit & 3u]);
                    if at < p.active_capacity {
                        let row = b * p.steps + begin + bit / 4u;
                        staged[at] = vec4<u32>(chain[n], row, 4u * (q + n) + (bit & 3u), bitcast<u32>(g));
                        chain[n] = at + 1u;
                    }
                    at++;
                    entries[n]++;
                }
            }
#endunroll
        if (stop & 31u) == 0u || stop == p.steps {
            let at = b * p.words + (begin >> 5u);
#unroll n WIDTH
                if n < width {
                    spike_words[at * p.quads + q + n] = word[n];
                }
                word[n] = vec4<u32>(0u);
#endunroll
            if needed_word != 0u {
                atomicOr(&needed[at], needed_word);
            }
            needed_word = 0u;
        }
    }
    var all = 0u;
#unroll n WIDTH
#unroll k 4
            if valid[n][k] {
                atomicStore(&counts[presynaptic_index(p, b, 4u * (q + n) + k)], spikes[n][k]);
            }
#endunroll
        if n < width {
            let quad = b * p.quads + q + n;
            atomicStore(&counts[quad_section(p) + quad], entries[n]);
            atomicStore(&counts[chain_section(p) + quad], chain[n]);
        }
        all += (spikes[n].x + spikes[n].y) + (spikes[n].z + spikes[n].w);
#ifdef RECORD
#else
        // A potential that is NaN or infinite stays so unless it is reset.
        if strange || not_finite(v[n]) {
            atomicOr(&status[1], p.layer_bit);
        }
#endif
#endunroll
    if all != 0u {
        atomicAdd(&counts[sample_section(p) + b], all);
    }
}
