// Weight gradient dW_ij = sum_t S_i[t] delta_j[t] over a chunk of samples: no trace, no atomics. A lane owns four
// weights of a presynaptic neuron and sums the delta rows of its spikes in (b, t) order; chunks follow in order.
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> presynaptic_start: array<u32>;      // where each neuron's rows begin
@group(0) @binding(2) var<storage, read> presynaptic: array<u32>;            // rows of delta, neuron by neuron
@group(0) @binding(3) var<storage, read> delta: array<vec4<f32>>;            // (chunk T, Q)
@group(0) @binding(4) var<storage, read_write> gradient: array<vec4<f32>>;   // (N_in, Q)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.inputs * p.quads {
        return;
    }
    let i = id / p.quads;
    let q = id % p.quads;
    let base = presynaptic_start[p.presynaptic_base];
    let at = p.presynaptic_at + i * p.presynaptic_stride;
    let begin = min(presynaptic_start[at] - base, p.input_capacity);
    let end = min(presynaptic_start[at + p.presynaptic_stride] - base, p.input_capacity);
    var sum = vec4<f32>(0.0);
    if p.first_sample > 0u || p.accumulate != 0u {
        sum = gradient[id];
    }
    let rows = p.chunk_samples * p.steps;
    for (var k = begin; k < end; k++) {
        let row = presynaptic[k];
        // A stale row of a list that overflowed must not reach past this chunk.
        if row < rows {
            sum += delta[row * p.quads + q];
        }
    }
    gradient[id] = sum;
}
