// Spike gradient at the active entries of a hidden layer, for a chunk of samples:
//   dS_i[t] = sum_j W_ij delta_j[t] + regularisers,  e = dS g(V)
// p.sweep workgroups share the chunk's entries, whose number is not known when recording. If the weights of the layer above
// are in strips, e holds the sum over the strips so far; the last one completes it. A row is summed in PARTS of every eighth
// quad each, which are added in one order whatever the variant, so that all variants give the same bits.
#ifdef COOPERATIVE
// Eight lanes own an entry and read its weight row and delta row together, one part each.
#else
// A lane owns an entry: for software adapters, where lanes gain nothing from adjacent addresses.
#endif
#ifdef GATHER
// A matrix product has computed W delta of all neurons and times; a lane owns an active entry and reads its value.
#endif
#ifdef COUNT
// The last layer, whose spike counts are the logits: dS is the gradient of the loss, the same at every time. A lane owns an
// entry.
#endif
#import params
#import index
#import sections
#import active_entry
#ifdef COUNT
#else
#import regularisers
#endif

@group(0) @binding(0) var<uniform> p: Params;
#ifdef GATHER
@group(0) @binding(1) var<storage, read> products: array<f32>;             // (chunk T, Q, 4): W delta
@group(0) @binding(2) var<storage, read> offsets: array<u32>;              // quad section
@group(0) @binding(3) var<storage, read> counts: array<u32>;               // zeta of neurons and samples
@group(0) @binding(4) var<storage, read> active_entries: array<ActiveEntry>;
@group(0) @binding(5) var<storage, read_write> entry_errors: array<f32>;   // e of each
#else
#ifdef COUNT
@group(0) @binding(1) var<storage, read> errors: array<f32>;               // (B, Q, 4)
@group(0) @binding(2) var<storage, read> offsets: array<u32>;              // quad section
@group(0) @binding(3) var<storage, read> active_entries: array<ActiveEntry>;
@group(0) @binding(4) var<storage, read_write> entry_errors: array<f32>;   // e of each
#else
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;        // (N, strip_quads): columns of the layer above
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;          // (chunk T, strip_quads)
@group(0) @binding(3) var<storage, read> offsets: array<u32>;              // quad section
@group(0) @binding(4) var<storage, read> counts: array<u32>;               // zeta of neurons and samples
@group(0) @binding(5) var<storage, read> active_entries: array<ActiveEntry>;
@group(0) @binding(6) var<storage, read_write> entry_errors: array<f32>;   // e of each
#endif
#endif

const LANES: u32 = 64u;
const PARTS: u32 = 8u;
#ifdef COOPERATIVE
const SHARE: u32 = PARTS;
var<workgroup> partial: array<f32, LANES>;
#else
const SHARE: u32 = 1u;
#endif

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_part = lane % SHARE;
    let own = lane / SHARE;
    let entries = LANES / SHARE;
    let section = quad_section(p);
    let base = offsets[section];
    let begin = min(offsets[section + p.first_sample * p.quads] - base, p.active_capacity);
    let end = min(offsets[section + (p.first_sample + p.chunk_samples) * p.quads] - base, p.active_capacity);
    for (var first = begin + linear_group(workgroup) * entries; first < end; first += p.sweep * entries) {
        let k = first + own;
        var at = p.first_sample * p.steps;
        var i = 0u;
        if k < end {
            at = active_entries[k].row;
            i = active_entries[k].neuron;
        }
        let row = at - p.first_sample * p.steps;
        // A stale entry of a list that overflowed must not reach past this chunk or layer.
        let inside = k < end && row < p.chunk_samples * p.steps && i < p.neurons;
        var total = 0.0;
        if inside {
#ifdef GATHER
            total = products[row * 4u * p.quads + i];
#else
#ifdef COUNT
            total = errors[at / p.steps * 4u * p.quads + i];
#else
            let w = i * p.strip_quads;
            let d = row * p.strip_quads;
            for (var part = first_part; part < min(PARTS, p.strip_quads); part += SHARE) {
                var sum = vec4<f32>(0.0);
                var q = part;
                // (Without this loop lavapipe takes a third longer, even if the loop has no iteration.)
                for (; q + 3u * PARTS < p.strip_quads; q += 4u * PARTS) {
                    sum += weights[w + q] * delta[d + q];
                    sum += weights[w + q + PARTS] * delta[d + q + PARTS];
                    sum += weights[w + q + 2u * PARTS] * delta[d + q + 2u * PARTS];
                    sum += weights[w + q + 3u * PARTS] * delta[d + q + 3u * PARTS];
                }
                for (; q < p.strip_quads; q += PARTS) {
                    sum += weights[w + q] * delta[d + q];
                }
                total += (sum.x + sum.y) + (sum.z + sum.w);
            }
#endif
#endif
        }
#ifdef COOPERATIVE
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
        if inside && first_part == 0u {
#ifdef COUNT
            // Regularisers do not apply to this layer.
            entry_errors[k] = total * active_entries[k].g;
#else
            let b = at / p.steps;
            let up = upper_gradient(p, counts[sample_section(p) + b]);
            let low = lower_gradient(p, counts[presynaptic_index(p, b, i)]);
            if p.first_quad > 0u {
                total += entry_errors[k];
            }
            let e = (total + up + low) * active_entries[k].g;
            entry_errors[k] = select(total, e, p.last_strip == 1u);
#endif
        }
    }
}
