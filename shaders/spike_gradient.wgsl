// Spike gradient at the active entries of a hidden layer, for a chunk of samples:
//   dS_i[t] = sum_j W_ij delta_j[t] + regularisers,  e = dS g(V)
// p.sweep workgroups sweep over the chunk's entries together: how many there are need not be known when recording.
// Where the columns of the layer above are in shards, e holds the sum over those before (0 at first); the last ends it.
// A row is summed in PARTS: every eighth quad, from a different one on. Whoever sums them, they meet in one order, so that
// all variants give the same bits.
#ifdef COOPERATIVE
// Eight lanes own an entry and read its weight row and delta row together, a part each.
#ifdef SUBGROUPS
// They are of one subgroup, and their parts meet without workgroup memory.
// (naga needs, and knows, no `enable subgroups;`; a browser would.)
#endif
#else
// A lane owns an entry: for software adapters, where neighbouring lanes gain nothing from neighbouring addresses.
#endif
#ifdef GATHER
// A matrix product has made all of them; the active ones are picked out, by a lane each.
#endif
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
#ifdef GATHER
@group(0) @binding(1) var<storage, read> products: array<f32>;             // (chunk T, Q, 4): W delta
@group(0) @binding(2) var<storage, read> offsets: array<u32>;              // quad section
@group(0) @binding(3) var<storage, read> counts: array<u32>;               // zeta of neurons and samples
@group(0) @binding(4) var<storage, read_write> active_entries: array<vec4<u32>>;  // row b T + t, neuron, g, e
#else
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;        // (N, shard_quads): columns of the layer above
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;          // (chunk T, shard_quads)
@group(0) @binding(3) var<storage, read> offsets: array<u32>;              // quad section
@group(0) @binding(4) var<storage, read> counts: array<u32>;               // zeta of neurons and samples
@group(0) @binding(5) var<storage, read_write> active_entries: array<vec4<u32>>;  // row b T + t, neuron, g, e
#endif

const LANES: u32 = 64u;
const PARTS: u32 = 8u;
#ifdef COOPERATIVE
const SHARE: u32 = PARTS;
#ifdef SUBGROUPS
#else
var<workgroup> partial: array<f32, LANES>;
#endif
#else
const SHARE: u32 = 1u;
#endif

@compute @workgroup_size(LANES)
#ifdef SUBGROUPS
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
) {
    let lane = subgroup * size + invocation;
#else
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
#endif
    let first_part = lane % SHARE;
    let own = lane / SHARE;
    let entries = LANES / SHARE;
    let section = quad_section(p);
    let base = offsets[section];
    let begin = min(offsets[section + p.first_sample * p.quads] - base, p.active_capacity);
    let end = min(offsets[section + (p.first_sample + p.chunk_samples) * p.quads] - base, p.active_capacity);
    for (var first = begin + linear_group(workgroup) * entries; first < end; first += p.sweep * entries) {
        let k = first + own;
        var key = vec2<u32>(p.first_sample * p.steps, 0u);
        if k < end {
            key = active_entries[k].xy;
        }
        let row = key.x - p.first_sample * p.steps;
        let inside = k < end && row < p.chunk_samples * p.steps;
        var total = 0.0;
        if inside {
#ifdef GATHER
            total = products[row * 4u * p.quads + min(key.y, 4u * p.quads - 1u)];
#else
            let w = key.y * p.shard_quads;
            let d = row * p.shard_quads;
            for (var part = first_part; part < min(PARTS, p.shard_quads); part += SHARE) {
                var sum = vec4<f32>(0.0);
                var q = part;
                // (Without this loop lavapipe takes a third longer, even where it has no turn.)
                for (; q + 3u * PARTS < p.shard_quads; q += 4u * PARTS) {
                    sum += weights[w + q] * delta[d + q];
                    sum += weights[w + q + PARTS] * delta[d + q + PARTS];
                    sum += weights[w + q + 2u * PARTS] * delta[d + q + 2u * PARTS];
                    sum += weights[w + q + 3u * PARTS] * delta[d + q + 3u * PARTS];
                }
                for (; q < p.shard_quads; q += PARTS) {
                    sum += weights[w + q] * delta[d + q];
                }
                total += (sum.x + sum.y) + (sum.z + sum.w);
            }
#endif
        }
#ifdef COOPERATIVE
#ifdef SUBGROUPS
        let own_part = total;
        total = 0.0;
        for (var l = 0u; l < SHARE; l++) {
            total += subgroupShuffle(own_part, invocation - first_part + l);
        }
#else
        partial[lane] = total;
        workgroupBarrier();
        if first_part == 0u {
            total = 0.0;
            for (var l = 0u; l < SHARE; l++) {
                total += partial[lane + l];
            }
        }
        workgroupBarrier();
#endif
#endif
        if inside && first_part == 0u {
            let b = key.x / p.steps;
            let n = f32(p.neurons);
            let zeta = f32(counts[presynaptic_index(p, b, key.y)]);
            let low = -2.0 * p.lambda_low * max(0.0, p.nu_low - zeta) / (n * f32(p.total));
            let over = f32(counts[sample_section(p) + b]) / n - p.nu_up;
            let up = select(0.0, p.lambda_up / (n * f32(p.total)), over > 0.0);
            total += bitcast<f32>(active_entries[k].w);
            let e = (total + up + low) * bitcast<f32>(active_entries[k].z);
            active_entries[k].w = bitcast<u32>(select(total, e, p.last_shard == 1u));
        }
    }
}
