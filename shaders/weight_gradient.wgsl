// Weight gradient dW_ij = sum_t S_i[t] delta_j[t] over a chunk of samples: no trace, no atomics. A lane owns WIDTH quads
// of weights of a presynaptic neuron and sums the delta rows of its spikes in (b, t) order; chunks follow in order.
#ifdef WIDE
// Two quads, so that spikes are read half as often: loads are expensive on software adapters.
#endif
#ifdef AHEAD
// Loads sixteen rows at once, because there are too few lanes to hide the latency of loads on a large GPU. They are added
// one by one, so that all variants give the same bits.
#endif
#ifdef ADAM
// After the last chunk the sum is complete, and the lane applies Adam without storing the gradient, unless the overflow
// flag is set: the gradient would be wrong.
#endif
// BIAS: the last row is the bias. Its gradient is the sum of delta over all times, which delta and delta_readout write for
// each sample after the chunk's rows.
#import params
#import index
#import bias
#ifdef ADAM
#import adam
#import finite
#endif

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> presynaptic_start: array<u32>;      // where each neuron's rows begin
@group(0) @binding(2) var<storage, read> presynaptic: array<u32>;            // rows of delta, neuron by neuron
@group(0) @binding(3) var<storage, read> delta: array<vec4<f32>>;            // (chunk T + bias chunk, strip_quads)
#ifdef ADAM
@group(0) @binding(4) var<storage, read> gradient: array<vec4<f32>>;         // (N_in + bias, strip_quads), of the chunks before
@group(0) @binding(5) var<storage, read_write> status: array<atomic<u32>>;   // [0]: some list overflowed; [2]: layers with a weight that is not finite
@group(0) @binding(6) var<storage, read_write> weights: array<vec4<f32>>;    // (N_in + bias, strip_quads)
@group(0) @binding(7) var<storage, read_write> first: array<vec4<f32>>;      // (N_in + bias, strip_quads)
@group(0) @binding(8) var<storage, read_write> second: array<vec4<f32>>;     // (N_in + bias, strip_quads)
@group(0) @binding(9) var<uniform> a: AdamParams;
#else
@group(0) @binding(4) var<storage, read_write> gradient: array<vec4<f32>>;   // (N_in + bias, strip_quads)
#endif

const LANES: u32 = 64u;
#ifdef WIDE
const WIDTH: u32 = 2u;
#else
const WIDTH: u32 = 1u;
#endif

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let lanes = (p.strip_quads + WIDTH - 1u) / WIDTH;
    let id = linear_group(workgroup) * LANES + lane;
    if id >= (p.inputs + select(0u, 1u, BIAS)) * lanes {
        return;
    }
    let i = id / lanes;
    let is_bias = BIAS && i == p.inputs;
    let q = id % lanes * WIDTH;
    // Quads of this lane that are in the strip, and their indices.
    let width = min(WIDTH, p.strip_quads - q);
    let own = i * p.strip_quads + q;
    let base = presynaptic_start[p.presynaptic_base];
    // A bias has no spikes: its list begins where that of the last neuron ends.
    let at = p.presynaptic_at + i * p.presynaptic_stride;
    let past = select(at + p.presynaptic_stride, at, is_bias);
    var k = min(presynaptic_start[at] - base, p.input_capacity);
    let end = min(presynaptic_start[past] - base, p.input_capacity);
    var sum: array<vec4<f32>, WIDTH>;
    if p.first_sample > 0u || p.accumulate != 0u {
#unroll n WIDTH
            sum[n] = gradient[own + min(n, width - 1u)];
#endunroll
    }
    // A stale row of a list that overflowed must not reach past this chunk.
    let last_row = p.chunk_samples * p.steps - 1u;
#ifdef AHEAD
    for (; k + 15u < end; k += 16u) {
        var rows = array<vec4<f32>, 16>();
#unroll n 16
            rows[n] = delta[min(presynaptic[k + n], last_row) * p.strip_quads + q];
#endunroll
#unroll n 16
            sum[0] += rows[n];
#endunroll
    }
#endif
    // Four rows loaded at once, added one by one.
    for (; k + 3u < end; k += 4u) {
        let r0 = min(presynaptic[k], last_row) * p.strip_quads + q;
        let r1 = min(presynaptic[k + 1u], last_row) * p.strip_quads + q;
        let r2 = min(presynaptic[k + 2u], last_row) * p.strip_quads + q;
        let r3 = min(presynaptic[k + 3u], last_row) * p.strip_quads + q;
#unroll n WIDTH
            let beside = min(n, width - 1u);
            let d0 = delta[r0 + beside];
            let d1 = delta[r1 + beside];
            let d2 = delta[r2 + beside];
            let d3 = delta[r3 + beside];
            sum[n] += d0;
            sum[n] += d1;
            sum[n] += d2;
            sum[n] += d3;
#endunroll
    }
    for (; k < end; k++) {
        let row = min(presynaptic[k], last_row) * p.strip_quads + q;
#unroll n WIDTH
            sum[n] += delta[row + min(n, width - 1u)];
#endunroll
    }
    if is_bias {
        for (var local = 0u; local < p.chunk_samples; local++) {
            let behind = (p.chunk_samples * p.steps + local) * p.strip_quads + q;
#unroll n WIDTH
                sum[n] += delta[behind + min(n, width - 1u)];
#endunroll
        }
    }
#ifdef ADAM
    if atomicLoad(&status[0]) != 0u {
        return;
    }
#unroll n WIDTH
        if n < width {
            apply_adam(own + n, sum[n], p.layer_bit);
        }
#endunroll
#else
#unroll n WIDTH
        if n < width {
            gradient[own + n] = sum[n];
        }
#endunroll
#endif
}
