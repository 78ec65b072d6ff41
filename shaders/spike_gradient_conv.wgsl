// Spike gradient at the active entries of a hidden layer, for a chunk of samples, as in spike_gradient:
//   dS_i[t] = sum_j W_ij delta_j[t] + regularisers,  e = dS g(V)
// A lane owns an entry; p.sweep workgroups share the chunk's entries.
#ifdef POOL
// The layer is pooled: the sum goes to the first neuron of a window that spikes at t or, if none does, to its first neuron;
// the other entries have the regularisers only.
#endif
#ifdef CONV
// The layer above is a convolution: the sum runs over the pixels that see the neuron.
#endif
#import params
#import index
#import sections
#import active_entry
#import regularisers
#ifdef CONV
#import conv
#endif

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;        // (N, strip_quads), CONV: (patch, filter_quads)
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;          // (chunk T, strip_quads), CONV: (chunk T, pixels filter_quads)
@group(0) @binding(3) var<storage, read> offsets: array<u32>;              // quad section
@group(0) @binding(4) var<storage, read> counts: array<u32>;               // zeta of neurons and samples
@group(0) @binding(5) var<storage, read> active_entries: array<ActiveEntry>;
@group(0) @binding(6) var<storage, read_write> entry_errors: array<f32>;   // e of each
#ifdef POOL
@group(0) @binding(7) var<storage, read> spike_words: array<vec4<u32>>;    // (B, words, Q)
#endif

const LANES: u32 = 64u;
const NOBODY: u32 = 0xffffffffu;

#ifdef POOL
// The pooled neuron whose gradient goes to neuron j at time t of sample b; NOBODY if there is none.
fn pooled_neuron(b: u32, t: u32, j: u32) -> u32 {
    // (No remainders: divisions are expensive on software adapters.)
    let filters = 4u * p.pool_quads;
    let pixel = j / filters;
    let own = j - pixel * filters;
    let y = pixel / p.pool_columns;
    let row = y / p.pool;
    let column = (pixel - y * p.pool_columns) / p.pool;
    let w = row * p.pooled_columns + column;
    if column >= p.pooled_columns || w >= p.windows {
        return NOBODY;
    }
    let first = (row * p.pool_columns + column) * p.pool;
    let words = (b * p.words + (t >> 5u)) * p.quads + own / 4u;
    // The last one found is the first of the window that spikes; if none does, the first of the window.
    var winner = first;
    for (var dy = p.pool; dy > 0u; dy--) {
        for (var dx = p.pool; dx > 0u; dx--) {
            let one = first + (dy - 1u) * p.pool_columns + (dx - 1u);
            let fires = ((spike_words[words + one * p.pool_quads][own & 3u] >> (t & 31u)) & 1u) == 1u;
            winner = select(winner, one, fires);
        }
    }
    return select(NOBODY, own * p.windows + w, winner == pixel);
}
#endif

// sum_j W_ij delta_j of a row of deltas.
fn through(i: u32, row: u32) -> f32 {
    var sum = vec4<f32>(0.0);
#ifdef CONV
    let d = row * p.rows * p.columns * p.filter_quads;
    let channel = i / (p.map_height * p.map_width);
    for (var k = 0u; k < p.kernel * p.kernel; k++) {
        let pixel = seen_from(p, i, k / p.kernel, k % p.kernel);
        if pixel != NOT_SEEN {
            let w = (channel * p.kernel * p.kernel + k) * p.filter_quads;
            for (var q = 0u; q < p.filter_quads; q++) {
                sum += weights[w + q] * delta[d + pixel * p.filter_quads + q];
            }
        }
    }
#else
    for (var q = 0u; q < p.strip_quads; q++) {
        sum += weights[i * p.strip_quads + q] * delta[row * p.strip_quads + q];
    }
#endif
    return (sum.x + sum.y) + (sum.z + sum.w);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let section = quad_section(p);
    let base = offsets[section];
    let begin = min(offsets[section + p.first_sample * p.quads] - base, p.active_capacity);
    let end = min(offsets[section + (p.first_sample + p.chunk_samples) * p.quads] - base, p.active_capacity);
    for (var k = begin + linear_group(workgroup) * LANES + lane; k < end; k += p.sweep * LANES) {
        let at = active_entries[k].row;
        let own = active_entries[k].neuron;
        let row = at - p.first_sample * p.steps;
        // A stale entry of a list that overflowed must not reach past this chunk or layer.
        if row >= p.chunk_samples * p.steps || own >= p.slots {
            continue;
        }
        let b = at / p.steps;
#ifdef POOL
        let i = pooled_neuron(b, at - b * p.steps, own);
#else
        let i = own;
#endif
        var total = 0.0;
        if p.first_quad > 0u {
            total = entry_errors[k];
        }
        if i != NOBODY {
            total += through(i, row);
        }
        let up = upper_gradient(p, counts[sample_section(p) + b]);
        let low = lower_gradient(p, counts[presynaptic_index(p, b, own)]);
        let e = (total + up + low) * active_entries[k].g;
        entry_errors[k] = select(total, e, p.last_strip == 1u);
    }
}
