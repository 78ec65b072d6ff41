// Max pooling over the spikes of a convolution: a pooled neuron spikes if any neuron of its window does. A lane owns four
// filters of a window of a sample and joins the spike words of the window's pixels. The output is that of lif_forward for a
// hidden layer without active entries, so that summarise and compact can make the lists for the layer above.
#import params
#import index
#import sections
#import windows

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> spike_words: array<vec4<u32>>;           // (B, words, inputs): inputs quads of the convolution
@group(0) @binding(2) var<storage, read_write> pooled_words: array<u32>;          // (B, words, 4 Q)
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;        // sections of the pooled layer

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    let lanes = p.windows * p.pool_quads;
    if id >= p.batch * lanes {
        return;
    }
    let b = id / lanes;
    let window = id % lanes / p.pool_quads;
    let quad = id % p.pool_quads;
    let first = corner(p, window);
    // The window of the quad's first filter; each further filter is one map further on.
    let j = 4u * quad * p.windows + window;
    var spikes = vec4<u32>(0u);
    for (var w = 0u; w < p.words; w++) {
        let row = b * p.words + w;
        var words = vec4<u32>(0u);
        for (var n = 0u; n < p.pool * p.pool; n++) {
            words |= spike_words[row * p.inputs + pixel_of(p, first, n) * p.pool_quads + quad];
        }
        spikes += countOneBits(words);
#unroll k 4
            if j + k * p.windows < p.neurons {
                pooled_words[row * 4u * p.quads + j + k * p.windows] = words[k];
            }
#endunroll
        var any = (words.x | words.y) | (words.z | words.w);
        while any != 0u {
            let bit = firstTrailingBit(any);
            any &= any - 1u;
            let fired = (words >> vec4<u32>(bit)) & vec4<u32>(1u);
            atomicAdd(&counts[b * p.steps + 32u * w + bit], (fired.x + fired.y) + (fired.z + fired.w));
        }
    }
#unroll k 4
        if j + k * p.windows < p.neurons {
            atomicStore(&counts[presynaptic_index(p, b, j + k * p.windows)], spikes[k]);
        }
#endunroll
    let all = (spikes.x + spikes.y) + (spikes.z + spikes.w);
    if all != 0u {
        atomicAdd(&counts[sample_section(p) + b], all);
    }
}
