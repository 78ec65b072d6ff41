// Spikes of a hidden layer for the weight gradient above: for each chunk of samples, each neuron's spikes in (b, t)
// order, as rows of the chunk's deltas. A lane owns a neuron of a sample.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;             // presynaptic section
@group(0) @binding(2) var<storage, read> spike_words: array<vec4<u32>>;   // (B, words, Q)
@group(0) @binding(3) var<storage, read_write> presynaptic: array<u32>;   // rows of delta

#import place_presynaptic

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k = linear_group(workgroup) * 64u + lane;
    if k >= p.batch * p.slots {
        return;
    }
    let section = presynaptic_section(p);
    let offset = offsets[section + k];
    place_presynaptic(k, offsets[section + k + 1u] - offset, offset - offsets[section]);
}
