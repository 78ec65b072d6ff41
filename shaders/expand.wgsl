// The spikes of a hidden layer in a chunk of samples as a dense array of 0 and 1, for matrix products. A lane owns four
// neurons at one time.
#import params
#import index

// Parameters are those of the layer above: N_in input neurons in Q_in quads.
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> spike_words: array<vec4<u32>>;     // (B, words, Q_in)
@group(0) @binding(2) var<storage, read_write> spikes: array<vec4<f32>>;    // (chunk T, Q_in)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    let quads = (p.inputs + 3u) / 4u;
    let row = id / quads;
    let q = id % quads;
    if row >= p.chunk_samples * p.steps {
        return;
    }
    let b = p.first_sample + row / p.steps;
    let t = row % p.steps;
    let word = spike_words[(b * p.words + t / 32u) * quads + q];
    spikes[id] = vec4<f32>((word >> vec4<u32>(t & 31u)) & vec4<u32>(1u));
}
