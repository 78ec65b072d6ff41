// Several layers forward, in step: a workgroup advances all neurons of a sample by one time step, then the next. What spiked
// in the step before is a bit mask in workgroup memory, so layers may read their own spikes (recurrent weights) and those of
// the layer below without lists. Every sum has the order that lif_forward and readout have: the bias, input neurons ascending,
// then own neurons ascending.
//
// A lane owns every LANES-th quad of neurons of all layers, and keeps its state in the sample's part of `state`. Active entries
// are appended to the sample's own list, time step after time step; those of one step have an arbitrary order.
#ifdef RECORD
#else
// status[1]: layers with a V that is not finite; status[3]: whether a driver ended loops before their time.
#endif
#import finite
#import params
#import index
#import sections
#import layers
#import lockstep_counts
#import integrator
#import cell
#import surrogate

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<uniform> layers: Layers;
@group(0) @binding(2) var<storage, read> input_start: array<u32>;              // (B + 1) or (B T + 1), of the first layer
@group(0) @binding(3) var<storage, read> input_events: array<u32>;             // t << 16 | i
@group(0) @binding(4) var<storage, read> weights: array<vec4<f32>>;            // of all layers: (N_in + own + bias, Q)
@group(0) @binding(5) var<storage, read_write> spike_words: array<vec4<u32>>;  // of each layer (B, words, Q)
@group(0) @binding(6) var<storage, read_write> counts: array<atomic<u32>>;     // of each layer: sections, needed rows (B, words); next events (B)
@group(0) @binding(7) var<storage, read_write> entries: array<u32>;            // of each layer (B, room, 4): t, neuron, g, e
@group(0) @binding(8) var<storage, read_write> state: array<vec4<f32>>;        // (B, 2, quads): V and I; logits; peaks
#ifdef RECORD
@group(0) @binding(9) var<storage, read_write> recorded_v: array<vec4<f32>>;   // (B, T, quads)
#else
@group(0) @binding(9) var<storage, read_write> status: array<atomic<u32>>;
#endif

#import upcoming
#ifdef RECORD
#else
#import cut_short
#endif
// Or 64, for devices that allow no more. The array has room for the most.
override LANES: u32 = 128u;
const MOST_LANES: u32 = 128u;
// Words of spikes of all layers in a time step, 32 neurons each, and words with a bit for each of those that is not 0.
const MOST_WORDS: u32 = 512u;
const MOST_SUMMARIES: u32 = 32u;
// Of three time steps each: the step before, which is read; this one, which is written; the next one, which is cleared.
var<workgroup> masks: array<atomic<u32>, 3 * MOST_WORDS>;
var<workgroup> summaries: array<atomic<u32>, 3 * MOST_SUMMARIES>;
// Active entries of each layer: of the step alone, and of all steps before it.
var<workgroup> fresh: array<atomic<u32>, 3 * MOST_LAYERS>;
var<workgroup> earlier: array<u32, 3 * MOST_LAYERS>;
var<workgroup> lows: array<f32, MOST_LANES>;

// Adds the weight rows of the neurons of `below` that spiked in the step `old`, ascending; the row of neuron 0 is at `first`.
// A row is added after the next one is loaded, so that two loads overlap.
fn add_spikes(before: vec4<f32>, below: Params, old: u32, first: u32, stride: u32) -> vec4<f32> {
    var input = before;
    var row = vec4<f32>(0.0);
    for (var s = 0u; s * 1024u < below.neurons; s++) {
        var words = atomicLoad(&summaries[old * MOST_SUMMARIES + below.summary_at + s]);
        while words != 0u {
            let w = 32u * s + firstTrailingBit(words);
            words &= words - 1u;
            var spikes = atomicLoad(&masks[old * MOST_WORDS + below.mask_at + w]);
            while spikes != 0u {
                let loaded = weights[first + (32u * w + firstTrailingBit(spikes)) * stride];
                spikes &= spikes - 1u;
                input += row;
                row = loaded;
            }
        }
    }
    return input + row;
}

// Marks the spikes of a quad in the masks of the step `now`.
fn mark(p: Params, now: u32, q: u32, bits: u32) {
    let w = q / 8u;
    atomicOr(&masks[now * MOST_WORDS + p.mask_at + w], bits << (4u * (q & 7u)));
    atomicOr(&summaries[now * MOST_SUMMARIES + p.summary_at + w / 32u], 1u << (w & 31u));
}

fn nibble(x: vec4<bool>) -> u32 {
    let bits = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), x);
    return bits.x | bits.y | bits.z | bits.w;
}

fn of_nibble(bits: u32) -> vec4<bool> {
    return (vec4<u32>(bits) & vec4<u32>(1u, 2u, 4u, 8u)) != vec4<u32>(0u);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let b = linear_group(workgroup);
    if b >= p.batch {
        return;
    }
    let end = min(input_start[(b + 1u) * p.input_stride], p.input_capacity);
    var next = min(input_start[b * p.input_stride], p.input_capacity);
    if p.from_step > 0u {
        next = atomicLoad(&counts[p.next_at + b]);
    }
    var ahead = upcoming(next, end);
    for (var k = lane; k < 3u * MOST_WORDS; k += LANES) {
        atomicStore(&masks[k], 0u);
    }
    for (var k = lane; k < 3u * MOST_SUMMARIES; k += LANES) {
        atomicStore(&summaries[k], 0u);
    }
    for (var k = lane; k < 3u * MOST_LAYERS; k += LANES) {
        atomicStore(&fresh[k], 0u);
        earlier[k] = 0u;
    }
    workgroupBarrier();
    if p.from_step > 0u {
        // What the dispatch before this one left.
        let last = p.from_step - 1u;
        for (var s = lane; s < p.all_quads; s += LANES) {
            let p = layer(layer_of(s));
            if p.spiking != 0u {
                let q = s - p.state_at;
                let words = spike_words[p.words_at + (b * p.words + last / 32u) * p.quads + q];
                let bits = nibble(((words >> vec4<u32>(last & 31u)) & vec4<u32>(1u)) != vec4<u32>(0u));
                if bits != 0u {
                    mark(p, last % 3u, q, bits);
                }
            }
        }
        if lane < p.layers && layer(lane).spiking != 0u {
            earlier[last % 3u * MOST_LAYERS + lane] = atomicLoad(&counts[all_entries_index(layer(lane), b)]);
        }
    }
    workgroupBarrier();
    for (var t = p.from_step; t < p.to_step; t++) {
        let old = (t + 2u) % 3u;
        let now = t % 3u;
        let coming = (t + 1u) % 3u;
        for (var k = lane; k < p.all_words; k += LANES) {
            atomicStore(&masks[coming * MOST_WORDS + k], 0u);
        }
        if lane < MOST_SUMMARIES {
            atomicStore(&summaries[coming * MOST_SUMMARIES + lane], 0u);
        }
        if lane < p.layers {
            atomicStore(&fresh[coming * MOST_LAYERS + lane], 0u);
            let so_far = earlier[old * MOST_LAYERS + lane] + atomicLoad(&fresh[old * MOST_LAYERS + lane]);
            earlier[now * MOST_LAYERS + lane] = so_far;
            let p = layer(lane);
            if p.spiking != 0u {
                atomicStore(&counts[entries_index(p, b, t)], so_far);
            }
        }
        var next_then = next;
        var ahead_then = ahead;
        for (var s = lane; s < p.all_quads; s += LANES) {
            let l = layer_of(s);
            let p = layer(l);
            let q = s - p.state_at;
            let neurons = 4u * q + vec4<u32>(0u, 1u, 2u, 3u);
            let valid = neurons < vec4<u32>(p.neurons);
            let at = state_index(p, b, 0u, s);
            let current_at = state_index(p, b, 1u, s);
            var v = vec4<f32>(0.0);
            var current = vec4<f32>(0.0);
            if t > 0u {
                v = state[at];
                if p.spiking != 0u {
                    let fired = of_nibble(atomicLoad(&masks[old * MOST_WORDS + p.mask_at + q / 8u]) >> (4u * (q & 7u)));
                    v = decayed(p, v, select(vec4<f32>(0.0), vec4<f32>(p.kick), fired));
                    if is_cuba(p) {
                        current = state[current_at];
                    }
                    current = before_input(p, v, current);
                }
                if p.bias_row != 0u {
                    current += weights[p.weights_at + p.bias_row * p.quads + q];
                }
                let first = p.weights_at + q;
                if l == 0u {
                    // Every quad of the first layer reads the same events.
                    next_then = next;
                    ahead_then = ahead;
                    while (ahead_then.x >> 16u) < t {
                        let rows = arrived(ahead_then, t, first, p.quads);
                        current += rows[0];
                        current += rows[1];
                        current += rows[2];
                        current += rows[3];
                        next_then += how_many(ahead_then, t);
                        ahead_then = upcoming(next_then, end);
                    }
                } else {
                    current = add_spikes(current, layer(l - 1u), old, first, p.quads);
                }
                if p.recurrent != 0u {
                    current = add_spikes(current, p, old, first + p.inputs * p.quads, p.quads);
                }
                if p.spiking != 0u {
                    v = with_input(p, v, current);
                } else {
                    v = integrated(p, v, current);
                }
            }
#ifdef RECORD
            recorded_v[(b * p.steps + t) * p.all_quads + s] = v;
#endif
            if p.spiking == 0u {
                let logit_at = p.logits_at + b * p.quads + q;
                let peak_at = p.peaks_at + b * p.quads + q;
                var so_far = Logits();
                if t > 0u {
                    so_far = up_to(p, t, Logits(state[logit_at], bitcast<vec4<u32>>(state[peak_at])), v);
                }
                if t + 1u == p.steps {
                    so_far = completed(p, so_far, v);
                }
                state[logit_at] = so_far.value;
                state[peak_at] = bitcast<vec4<f32>>(so_far.peak);
                state[at] = v;
            } else {
                let spike = (v > vec4<f32>(p.v_th)) & valid & vec4<bool>(t > 0u);
                let distance = abs(v - p.v_th);
                let active_now = (distance < vec4<f32>(p.band)) & valid;
                let row = b * p.words + t / 32u;
                let words_at = p.words_at + row * p.quads + q;
                if (t & 31u) == 0u {
                    spike_words[words_at] = vec4<u32>(0u);
                }
                let spikes = nibble(spike);
                if spikes != 0u {
                    mark(p, now, q, spikes);
                    spike_words[words_at] |= select(vec4<u32>(0u), vec4<u32>(1u << (t & 31u)), spike);
                    atomicAdd(&counts[p.counts_at + sample_section(p) + b], countOneBits(spikes));
#unroll k 4
                    if spike[k] {
                        atomicAdd(&counts[p.counts_at + presynaptic_index(p, b, neurons[k])], 1u);
                    }
#endunroll
                }
                let actives = nibble(active_now);
                if actives != 0u {
                    var entry = earlier[old * MOST_LAYERS + l] + atomicLoad(&fresh[old * MOST_LAYERS + l]);
                    entry += atomicAdd(&fresh[now * MOST_LAYERS + l], countOneBits(actives));
#unroll k 4
                    if active_now[k] {
                        if entry < p.room {
                            let entry_at = p.entries_at + 4u * (b * p.room + entry);
                            entries[entry_at] = t;
                            entries[entry_at + 1u] = neurons[k];
                            entries[entry_at + 2u] = bitcast<u32>(surrogate(p, distance[k]));
                        }
                        entry++;
                    }
#endunroll
                }
                if (spikes | actives) != 0u {
                    atomicOr(&counts[p.needed_at + row], 1u << (t & 31u));
                }
#ifdef RECORD
#else
                // A potential that is NaN or infinite stays so unless it is reset.
                if is_to_value(p) && not_finite(v) {
                    atomicOr(&status[1], p.layer_bit);
                }
#endif
                v = after_spike(p, v, spike);
                state[at] = v;
                if is_cuba(p) {
                    state[current_at] = current;
                }
            }
#ifdef RECORD
#else
            if t + 1u == p.to_step && not_finite(v) {
                atomicOr(&status[1], p.layer_bit);
            }
#endif
        }
        next = next_then;
        ahead = ahead_then;
        workgroupBarrier();
    }
    storageBarrier();
    for (var l = 0u; l < p.layers; l++) {
        let p = layer(l);
        if p.spiking != 0u && p.to_step == p.steps {
            var low = 0.0;
            for (var j = lane; j < p.neurons; j += LANES) {
                let zeta = atomicLoad(&counts[p.counts_at + presynaptic_index(p, b, j)]);
                let missing = max(0.0, p.nu_low - f32(zeta));
                low += missing * missing;
            }
            lows[lane] = low;
            workgroupBarrier();
            if lane == 0u {
                low = 0.0;
                for (var k = 0u; k < LANES; k++) {
                    low += lows[k];
                }
                atomicStore(&counts[low_index(p, b)], bitcast<u32>(low));
            }
            workgroupBarrier();
        }
    }
    if lane == 0u {
        atomicStore(&counts[p.next_at + b], next);
    }
    if lane < p.layers {
        let last = (p.to_step + 2u) % 3u * MOST_LAYERS + lane;
        let all = earlier[last] + atomicLoad(&fresh[last]);
        let p = layer(lane);
        if p.spiking != 0u {
            atomicStore(&counts[all_entries_index(p, b)], all);
            if p.to_step == p.steps {
                atomicMax(&counts[most_entries_index(p)], all);
            }
        }
    }
#ifdef RECORD
#else
    if cut_short(p.layers) {
        atomicOr(&status[3], 1u);
    }
#endif
}
