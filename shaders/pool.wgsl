// Max pool over the spikes of a convolution: a pooled neuron spikes where any of its window does. A lane owns four pooled
// neurons of a sample and joins the spike words of their windows; what it leaves is what lif_forward leaves of a hidden
// layer without active entries, so summarise and compact make the lists that the layer above reads.
#import params
#import index
#import sections
#import windows

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> spike_words: array<vec4<u32>>;           // (B, words, inputs): inputs quads of the convolution
@group(0) @binding(2) var<storage, read_write> pooled_words: array<vec4<u32>>;    // (B, words, Q)
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;        // sections of the pooled layer

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let b = id / p.quads;
    let q = id % p.quads;
    var spikes = vec4<u32>(0u);
    for (var w = 0u; w < p.words; w++) {
        let row = b * p.words + w;
        var words = vec4<u32>(0u);
        for (var k = 0u; k < 4u; k++) {
            let j = 4u * q + k;
            if j < p.neurons {
                let own = j / p.windows;
                let first = corner(p, j % p.windows);
                var word = 0u;
                for (var n = 0u; n < p.pool * p.pool; n++) {
                    let quad = pixel_of(p, first, n) * p.pool_quads + own / 4u;
                    word |= spike_words[row * p.inputs + quad][own & 3u];
                }
                // Not words[k]: FXC, a compiler of DX12, stores to no component by an index that it does not know.
                let here = vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(k);
                words |= select(vec4<u32>(0u), vec4<u32>(word), here);
                spikes += select(vec4<u32>(0u), vec4<u32>(countOneBits(word)), here);
                while word != 0u {
                    atomicAdd(&counts[b * p.steps + 32u * w + firstTrailingBit(word)], 1u);
                    word &= word - 1u;
                }
            }
        }
        pooled_words[row * p.quads + q] = words;
    }
    for (var k = 0u; k < 4u; k++) {
        if 4u * q + k < p.neurons {
            atomicStore(&counts[presynaptic_index(p, b, 4u * q + k)], spikes[k]);
        }
    }
    let all = (spikes.x + spikes.y) + (spikes.z + spikes.w);
    if all != 0u {
        atomicAdd(&counts[sample_section(p) + b], all);
    }
}
