// Weight gradients of the layers of a lock-step kernel, all in one dispatch, for a chunk of samples: as weight_gradient, but
// spikes are read from the masks. Of the first layer only own rows and the bias: its input is read from lists by weight_gradient.
// A workgroup owns one row of weights and up to LANES of its quads; it lists the row's spikes in (b, t) order, some words of the
// masks at a time, then every lane adds the rows of delta.
#ifdef ADAM
// After the last chunk the sum is complete, and the lane applies Adam without storing the gradient, unless the overflow
// flag is set: the gradient would be wrong.
#endif
#import params
#import index
#import layers
#ifdef ADAM
#import adam
#import finite
#endif
#import cut_short

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<uniform> layers: Layers;
@group(0) @binding(2) var<storage, read> spike_words: array<vec4<u32>>;      // of each layer (B, words, Q)
@group(0) @binding(3) var<storage, read> delta: array<vec4<f32>>;            // of each layer (chunk T + bias chunk, Q)
// [0]: some list overflowed; [2]: layers with a weight that is not finite; [3]: whether a driver ended loops before their time
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read> entries: array<u32>;                // at the end: of each sample whether cut short (B)
#ifdef ADAM
@group(0) @binding(6) var<storage, read> gradient: array<vec4<f32>>;         // of all layers, of the chunks before
@group(0) @binding(7) var<storage, read_write> weights: array<vec4<f32>>;    // of all layers
@group(0) @binding(8) var<storage, read_write> first: array<vec4<f32>>;      // of all layers
@group(0) @binding(9) var<storage, read_write> second: array<vec4<f32>>;     // of all layers
@group(0) @binding(10) var<uniform> a: AdamParams;
#else
@group(0) @binding(6) var<storage, read_write> gradient: array<vec4<f32>>;   // of all layers
#endif

const LANES: u32 = 64u;
const ROOT: u32 = 8u;
var<workgroup> counted: array<u32, LANES>;
var<workgroup> roots: array<u32, ROOT>;
// Words that are read at a time, and the rows of delta of a neuron's spikes in them.
const WORDS: u32 = 48u;
var<workgroup> rows: array<u32, 32 * WORDS>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = linear_group(workgroup);
    if group >= p.all_groups {
        return;
    }
    var l = 0u;
    while l + 1u < p.layers && group >= layer(l + 1u).groups_at {
        l++;
    }
    let own = layer(l);
    let tiles = (own.quads + LANES - 1u) / LANES;
    // The first layer's input rows are left out.
    let row = (group - own.groups_at) / tiles + select(0u, own.inputs, l == 0u);
    let q = (group - own.groups_at) % tiles * LANES + lane;
    let inside = q < own.quads;
    let at = own.weights_at + row * own.quads + q;
    let first_delta = own.delta_rows * own.state_at + q;
    var sum = vec4<f32>(0.0);
    if inside && (p.first_sample > 0u || p.accumulate != 0u) {
        sum = gradient[at];
    }
    if own.bias_row != 0u && row == own.bias_row {
        if inside {
            for (var local = 0u; local < p.chunk_samples; local++) {
                sum += delta[first_delta + (p.chunk_samples * p.steps + local) * own.quads];
            }
        }
    } else {
        // The neuron whose spikes these are, and its layer: the one below, or the layer itself.
        var source = l;
        var i = row - own.inputs;
        if row < own.inputs {
            source = l - 1u;
            i = row;
        }
        let spiking = layer(source);
        let words = p.chunk_samples * p.words;
        let first_word = spiking.words_at + p.first_sample * p.words * spiking.quads + i / 4u;
        for (var begin = 0u; begin < words; begin += WORDS) {
            let w = begin + lane;
            var spikes = 0u;
            if lane < WORDS && w < words {
                spikes = spike_words[first_word + w * spiking.quads][i & 3u];
            }
            counted[lane] = countOneBits(spikes);
            workgroupBarrier();
            if lane < ROOT {
                var n = 0u;
                for (var k = lane * ROOT; k < (lane + 1u) * ROOT; k++) {
                    n += counted[k];
                }
                roots[lane] = n;
            }
            workgroupBarrier();
            var place = 0u;
            var all = 0u;
            for (var k = 0u; k < ROOT; k++) {
                place += select(0u, roots[k], k < lane / ROOT);
                all += roots[k];
            }
            for (var k = lane / ROOT * ROOT; k < lane; k++) {
                place += counted[k];
            }
            let first_row = w / p.words * p.steps + w % p.words * 32u;
            while spikes != 0u {
                rows[place] = first_row + firstTrailingBit(spikes);
                spikes &= spikes - 1u;
                place++;
            }
            workgroupBarrier();
            if inside {
                var k = 0u;
                // Sixteen rows are loaded at once and added one by one.
                for (; k + 15u < all; k += 16u) {
                    var loaded = array<vec4<f32>, 16>();
#unroll n 16
                    loaded[n] = delta[first_delta + rows[k + n] * own.quads];
#endunroll
#unroll n 16
                    sum += loaded[n];
#endunroll
                }
                for (; k < all; k++) {
                    sum += delta[first_delta + rows[k] * own.quads];
                }
            }
            workgroupBarrier();
        }
    }
    if group == 0u {
        for (var local = lane; local < p.chunk_samples; local += LANES) {
            if entries[cut_at(p, p.first_sample + local)] != 0u {
                atomicOr(&status[3], 1u);
            }
        }
    }
    if cut_short(p.layers) {
        atomicOr(&status[3], 1u);
    }
    if !inside {
        return;
    }
#ifdef ADAM
    if atomicLoad(&status[0]) != 0u {
        return;
    }
    apply_adam(at, sum, own.layer_bit);
#else
    gradient[at] = sum;
#endif
}
