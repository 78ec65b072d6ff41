// Spikes of a hidden layer as the next layer's input: events in (b, t, j) order, each row of time at its offset.
// A lane owns 32 time steps of a sample, and reads each word of spikes once.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;             // rows: (B T)
@group(0) @binding(2) var<storage, read> spike_words: array<vec4<u32>>;   // (B, words, Q)
@group(0) @binding(3) var<storage, read_write> events: array<u32>;        // t << 16 | j

const LANES: u32 = 64u;
// Index for the next spike of each time step: (32, LANES).
var<workgroup> next: array<u32, 32u * LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = linear_group(workgroup) * LANES + lane;
    if at >= p.batch * p.words {
        return;
    }
    let begin = 32u * (at % p.words);
    let row = at / p.words * p.steps + begin;
    for (var t = 0u; t < min(32u, p.steps - begin); t++) {
        next[t * LANES + lane] = offsets[row + t];
    }
    for (var q = 0u; q < p.quads; q++) {
        var word = spike_words[at * p.quads + q];
        while any(word != vec4<u32>(0u)) {
            // The spikes of the quad's first neuron, then of the next: those of a time step in the order of neurons.
            let k = select(select(select(3u, 2u, word.z != 0u), 1u, word.y != 0u), 0u, word.x != 0u);
            let own = vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(k);
            let bits = word[k];
            let t = firstTrailingBit(bits);
            word = select(word, vec4<u32>(bits & (bits - 1u)), own);
            let to = next[t * LANES + lane];
            next[t * LANES + lane] = to + 1u;
            if to < p.event_capacity {
                events[to] = ((begin + t) << 16u) | (4u * q + k);
            }
        }
    }
}
