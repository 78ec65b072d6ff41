// Delta of the readout, for a chunk of samples: delta[t] = alpha_r delta[t+1] + e[t+1], where the error enters at the
// time of the maximum (or the last), or at every time for the sum (or mean). A lane owns four classes of a sample; a row
// is written only where the layer below spikes or is active. BIAS: the sum of delta over all times, the gradient of the
// bias for this sample, follows the chunk's rows.
#import params
#import index
#import bias

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> errors: array<vec4<f32>>;        // (B, Q)
@group(0) @binding(2) var<storage, read> peaks: array<vec4<u32>>;         // (B, Q)
@group(0) @binding(3) var<storage, read> needed: array<u32>;              // (B, words), of the layer below
@group(0) @binding(4) var<storage, read_write> delta: array<vec4<f32>>;   // (chunk T + bias chunk, strip_quads)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.chunk_samples * p.strip_quads {
        return;
    }
    let local = id / p.strip_quads;
    let own = id % p.strip_quads;
    let q = p.first_quad + own;
    let b = p.first_sample + local;
    let error = errors[b * p.quads + q];
    let peak = peaks[b * p.quads + q];
    var value = vec4<f32>(0.0);
    var sum = vec4<f32>(0.0);
    var now = p.steps - 1u;
    for (var w = p.words; w > 0u; w--) {
        var word = needed[b * p.words + w - 1u];
        if BIAS && w == 1u {
            // The gradient of a bias needs all times.
            word |= 1u;
        }
        while word != 0u {
            let bit = firstLeadingBit(word);
            word &= ~(1u << bit);
            let t = 32u * (w - 1u) + bit;
            while now > t {
                value *= p.alpha;
                if p.sum_readout == 1u {
                    value += error;
                } else {
                    value += select(vec4<f32>(0.0), error, peak == vec4<u32>(now));
                }
                now--;
                if BIAS {
                    sum += value;
                }
            }
            delta[(local * p.steps + t) * p.strip_quads + own] = value;
        }
    }
    if BIAS {
        delta[(p.chunk_samples * p.steps + local) * p.strip_quads + own] = sum;
    }
}
