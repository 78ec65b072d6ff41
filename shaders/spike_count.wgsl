// Logits of a last layer that spikes: the number of spikes of each neuron. A lane owns four classes of a sample.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;              // presynaptic section: spikes of each neuron
@group(0) @binding(2) var<storage, read_write> logits: array<vec4<f32>>;  // (B, Q)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.batch * p.quads {
        return;
    }
    let b = id / p.quads;
    let first = 4u * (id % p.quads);
    var logit = vec4<f32>(0.0);
#unroll k 4
        if first + k < p.neurons {
            logit[k] = f32(counts[presynaptic_index(p, b, first + k)]);
        }
#endunroll
    logits[id] = logit;
}
