// Compaction of spikes for the weight gradient above: for each chunk of samples, each neuron's spikes in (b, t) order,
// as rows (b - first sample of the chunk) T + t of the chunk's deltas. A lane owns a neuron of a sample.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> spike_words: array<u32>;         // (B, words, Q, 4)
@group(0) @binding(2) var<storage, read> offsets: array<u32>;             // presynaptic section
@group(0) @binding(3) var<storage, read_write> presynaptic: array<u32>;   // rows

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.neurons {
        return;
    }
    let b = id / p.neurons;
    let i = id % p.neurons;
    var at = offsets[presynaptic_index(p, b, i)] - offsets[presynaptic_section(p)];
    let first_row = b % p.chunk * p.steps;
    for (var w = 0u; w < p.words; w++) {
        var word = spike_words[(b * p.words + w) * p.quads * 4u + i];
        while word != 0u {
            let t = 32u * w + firstTrailingBit(word);
            word &= word - 1u;
            if at < p.event_capacity {
                presynaptic[at] = first_row + t;
            }
            at++;
        }
    }
}
