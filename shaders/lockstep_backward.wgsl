// Several layers backward, in step (Proposition 1 with recurrent weights, for a chunk of samples): a workgroup goes back in time
// with all neurons of a sample. At each time step t it knows D[t] of all layers, the gradients of their drives; then
//   dS_i[t] = sum_j W_ij D_j[t] (layer above) + sum_j R_ij D_j[t] (own layer) + regularisers      at active entries alone
//   e = dS g(V),  P[t] = alpha k[t] P[t+1] + e[t],  Q[t] = s Q[t+1] + P[t]                        as in delta
// and D[t-1] is P[t] (lif) or Q[t] (cuba_lif). The readout's D is as in delta_readout. D[t] is written as a row of delta where a
// weight gradient reads it: where a neuron of the layer below, or of the layer itself if it is recurrent, spikes or is active.
// Sums have the order that spike_gradient has: eight lanes share an entry, each with every eighth quad.
#import params
#import index
#import sections
#import layers
#import lockstep_counts
#import cut_short
#import cell
#import regularisers

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<uniform> layers: Layers;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;       // of all layers: (N_in + own + bias, Q)
@group(0) @binding(3) var<storage, read> spike_words: array<vec4<u32>>;   // of each layer (B, words, Q)
@group(0) @binding(4) var<storage, read> counts: array<u32>;              // of each layer: sections, needed rows (B, words)
@group(0) @binding(5) var<storage, read> needed: array<u32>;              // (B, words), of the layer below the first
@group(0) @binding(6) var<storage, read> errors: array<vec4<f32>>;        // (B, Q): of the readout
@group(0) @binding(7) var<storage, read_write> entries: array<u32>;       // of each layer (B, room, 4); error sums (B, quads, 4); whether cut short (B)
@group(0) @binding(8) var<storage, read_write> state: array<vec4<f32>>;   // (B, 2, quads): P and Q; logits; peaks
@group(0) @binding(9) var<storage, read_write> delta: array<vec4<f32>>;   // of each layer (chunk T + bias chunk, Q)

// Or 64, for devices that allow no more. The array has room for the most.
override LANES: u32 = 128u;
const MOST_LANES: u32 = 128u;
const PARTS: u32 = 8u;
// Of each lane its part of the sum over the layer above, and over its own layer.
var<workgroup> partial: array<vec2<f32>, MOST_LANES>;

// The active entries of a layer in a sample: those before time step t.
fn entries_before(p: Params, b: u32, t: u32) -> u32 {
    if t == p.steps {
        return min(counts[all_entries_index(p, b)], p.room);
    }
    return min(counts[entries_index(p, b, t)], p.room);
}

// Every eighth product of a weight row at `row` and D of a layer.
fn part_of_row(p: Params, b: u32, row: u32, part: u32) -> f32 {
    let d = drive_index(p, b, p.state_at);
    var sum = vec4<f32>(0.0);
    for (var q = part; q < p.quads; q += PARTS) {
        sum += weights[row + q] * state[d + q];
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// Whether the bit of time step t is set in the words of a sample that begin at `at`.
fn needs(at: u32, t: u32) -> bool {
    return ((counts[at + t / 32u] >> (t & 31u)) & 1u) != 0u;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let local = linear_group(workgroup);
    if local >= p.chunk_samples {
        return;
    }
    let b = p.first_sample + local;
    let part = lane % PARTS;
    let errors_at = p.errors_at + 4u * b * p.all_quads;
    if lane == 0u && p.to_step == p.steps {
        entries[cut_at(p, b)] = 0u;
    }
    for (var s = lane; s < p.all_quads; s += LANES) {
#unroll k 4
        entries[errors_at + 4u * s + k] = 0u;
#endunroll
        if p.to_step == p.steps {
            state[state_index(p, b, 0u, s)] = vec4<f32>(0.0);
            state[state_index(p, b, 1u, s)] = vec4<f32>(0.0);
            let p = layer(layer_of(s));
            if p.bias_row != 0u {
                delta[p.delta_rows * p.state_at + (p.chunk_samples * p.steps + local) * p.quads + (s - p.state_at)] =
                    vec4<f32>(0.0);
            }
        }
    }
    for (var t = p.to_step; t > p.from_step;) {
        t--;
        var all = 0u;
        for (var l = 0u; l < p.layers; l++) {
            let p = layer(l);
            if p.spiking != 0u {
                all += entries_before(p, b, t + 1u) - entries_before(p, b, t);
            }
        }
        if all > 0u {
            // D[t] of all lanes.
            storageBarrier();
            workgroupBarrier();
            for (var begin = 0u; begin < all; begin += LANES / PARTS) {
                var l = 0u;
                var entry = begin + lane / PARTS;
                let inside = entry < all;
                if inside {
                    for (; l < p.layers; l++) {
                        let p = layer(l);
                        if p.spiking != 0u {
                            let first = entries_before(p, b, t);
                            let n = entries_before(p, b, t + 1u) - first;
                            if entry < n {
                                entry += first;
                                break;
                            }
                            entry -= n;
                        }
                    }
                }
                let own = layer(l);
                let entry_at = own.entries_at + 4u * (b * own.room + entry);
                var i = 0u;
                var sums = vec2<f32>(0.0);
                if inside {
                    i = min(entries[entry_at + 1u], own.neurons - 1u);
                    if l + 1u < p.layers {
                        let above = layer(l + 1u);
                        sums.x = part_of_row(above, b, above.weights_at + i * above.quads, part);
                    }
                    if own.recurrent != 0u {
                        sums.y = part_of_row(own, b, own.weights_at + (own.inputs + i) * own.quads, part);
                    }
                }
                partial[lane] = sums;
                workgroupBarrier();
                if inside && part == 0u {
                    var total = vec2<f32>(0.0);
                    for (var k = 0u; k < PARTS; k++) {
                        total += partial[lane + k];
                    }
                    if l + 1u == p.layers {
                        // Its spike counts are the logits: the gradient of the loss, the same at every time.
                        total.x = errors[b * own.quads + i / 4u][i & 3u];
                    }
                    var ds = total.x;
                    if own.recurrent != 0u {
                        ds += total.y;
                    }
                    if l + 1u < p.layers {
                        let up = upper_gradient(own, counts[own.counts_at + sample_section(own) + b]);
                        let low = lower_gradient(own, counts[own.counts_at + presynaptic_index(own, b, i)]);
                        ds = ds + up + low;
                    }
                    let e = ds * bitcast<f32>(entries[entry_at + 2u]);
                    entries[entry_at + 3u] = bitcast<u32>(e);
                    entries[errors_at + 4u * own.state_at + i] = bitcast<u32>(e);
                }
                storageBarrier();
                workgroupBarrier();
            }
        }
        for (var s = lane; s < p.all_quads; s += LANES) {
            let l = layer_of(s);
            let p = layer(l);
            let q = s - p.state_at;
            let at = state_index(p, b, 0u, s);
            let first_row = p.delta_rows * p.state_at;
            var potential = state[at];
            var current = vec4<f32>(0.0);
            if is_cuba(p) {
                current = state[state_index(p, b, 1u, s)];
            }
            var read = p.recurrent != 0u && needs(p.needed_at + b * p.words, t);
            if l == 0u {
                read = read || ((needed[b * p.words + t / 32u] >> (t & 31u)) & 1u) != 0u;
            } else {
                read = read || needs(layer(l - 1u).needed_at + b * p.words, t);
            }
            if read {
                delta[first_row + (local * p.steps + t) * p.quads + q] = drive_gradient(p, potential, current);
            }
            potential *= p.alpha;
            if p.spiking == 0u {
                let error = errors[b * p.quads + q];
                if p.sum_readout == 1u {
                    potential += error;
                } else {
                    let peak = bitcast<vec4<u32>>(state[p.peaks_at + b * p.quads + q]);
                    potential += select(vec4<f32>(0.0), error, peak == vec4<u32>(t));
                }
            } else {
                if is_to_value(p) {
                    let words = spike_words[p.words_at + (b * p.words + t / 32u) * p.quads + q];
                    let fired = (words >> vec4<u32>(t & 31u)) & vec4<u32>(1u);
                    potential = select(potential, vec4<f32>(0.0), fired == vec4<u32>(1u));
                }
                if all > 0u {
                    let e = errors_at + 4u * s;
                    let bits = vec4<u32>(entries[e], entries[e + 1u], entries[e + 2u], entries[e + 3u]);
                    if any(bits != vec4<u32>(0u)) {
                        potential += bitcast<vec4<f32>>(bits);
#unroll k 4
                        entries[e + k] = 0u;
#endunroll
                    }
                }
            }
            if is_cuba(p) {
                current = p.synapse * current + potential;
                state[state_index(p, b, 1u, s)] = current;
            }
            state[at] = potential;
            if p.bias_row != 0u && t > 0u {
                delta[first_row + (p.chunk_samples * p.steps + local) * p.quads + q] += drive_gradient(p, potential, current);
            }
        }
    }
    if lane == 0u && cut_short(p.layers) {
        entries[cut_at(p, b)] = 1u;
    }
}
