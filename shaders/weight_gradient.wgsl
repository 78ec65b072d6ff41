// Weight gradient dW_ij = sum_t S_i[t] delta_j[t] over a chunk of samples: no trace, no atomics. A lane owns four
// weights of a presynaptic neuron and sums the delta rows of its spikes in (b, t) order; chunks follow in order.
#ifdef COOPERATIVE
// Four lanes share the spikes, a quarter each.
#endif
#ifdef ADAM
// After the last chunk the sum is whole, and its owner applies Adam on the spot: the gradient is never stored. Withheld
// while the overflow flag is up: never an update from a wrong gradient.
#endif
#import params
#import index
#ifdef ADAM
#import adam
#endif

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> presynaptic_start: array<u32>;      // where each neuron's rows begin
@group(0) @binding(2) var<storage, read> presynaptic: array<u32>;            // rows of delta, neuron by neuron
@group(0) @binding(3) var<storage, read> delta: array<vec4<f32>>;            // (chunk T, shard_quads)
#ifdef ADAM
@group(0) @binding(4) var<storage, read> gradient: array<vec4<f32>>;         // (N_in, shard_quads), of the chunks before
@group(0) @binding(5) var<storage, read> status: array<u32>;                 // [0]: some list overflowed
@group(0) @binding(6) var<storage, read_write> weights: array<vec4<f32>>;    // (N_in, shard_quads)
@group(0) @binding(7) var<storage, read_write> first: array<vec4<f32>>;      // (N_in, shard_quads)
@group(0) @binding(8) var<storage, read_write> second: array<vec4<f32>>;     // (N_in, shard_quads)
@group(0) @binding(9) var<uniform> a: AdamParams;
#else
@group(0) @binding(4) var<storage, read_write> gradient: array<vec4<f32>>;   // (N_in, shard_quads)
#endif

const LANES: u32 = 64u;
#ifdef COOPERATIVE
const SHARE: u32 = 4u;
var<workgroup> partial: array<vec4<f32>, LANES>;
#else
const SHARE: u32 = 1u;
#endif

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let owners = LANES / SHARE;
    let id = linear_group(workgroup) * owners + lane % owners;
    let part = lane / owners;
    let inside = id < p.inputs * p.shard_quads;
    let i = min(id / p.shard_quads, p.inputs - 1u);
    let q = id % p.shard_quads;
    let base = presynaptic_start[p.presynaptic_base];
    let at = p.presynaptic_at + i * p.presynaptic_stride;
    let begin = min(presynaptic_start[at] - base, p.input_capacity);
    let end = max(begin, min(presynaptic_start[at + p.presynaptic_stride] - base, p.input_capacity));
    let most = (end - begin + SHARE - 1u) / SHARE;
    let first_spike = min(begin + part * most, end);
    let last_spike = min(first_spike + most, end);
    var sum = vec4<f32>(0.0);
    if (p.first_sample > 0u || p.accumulate != 0u) && part == 0u && inside {
        sum = gradient[id];
    }
    // A stale row of a list that overflowed must not reach past this chunk.
    let last_row = p.chunk_samples * p.steps - 1u;
    var k = first_spike;
    // Four rows on the way at once, added one by one.
    for (; k + 3u < last_spike; k += 4u) {
        let d0 = delta[min(presynaptic[k], last_row) * p.shard_quads + q];
        let d1 = delta[min(presynaptic[k + 1u], last_row) * p.shard_quads + q];
        let d2 = delta[min(presynaptic[k + 2u], last_row) * p.shard_quads + q];
        let d3 = delta[min(presynaptic[k + 3u], last_row) * p.shard_quads + q];
        sum += d0;
        sum += d1;
        sum += d2;
        sum += d3;
    }
    for (; k < last_spike; k++) {
        sum += delta[min(presynaptic[k], last_row) * p.shard_quads + q];
    }
#ifdef COOPERATIVE
    partial[lane] = sum;
    workgroupBarrier();
    if part != 0u {
        return;
    }
    for (var l = owners; l < LANES; l += owners) {
        sum += partial[lane + l];
    }
#endif
    if !inside {
        return;
    }
#ifdef ADAM
    if status[0] != 0u {
        return;
    }
    let m = first_moment(a, first[id], sum);
    let v = second_moment(a, second[id], sum);
    first[id] = m;
    second[id] = v;
    weights[id] -= update(a, m, v);
#else
    gradient[id] = sum;
#endif
}
