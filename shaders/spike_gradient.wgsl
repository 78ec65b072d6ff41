// Spike gradient at the active entries of a hidden layer, for a chunk of samples:
//   dS_i[t] = sum_j W_ij delta_j[t] + regularisers,  e = dS g(V)
#ifdef COOPERATIVE
// Eight lanes own an entry and read its weight row and delta row together.
#else
// A lane owns an entry: for software adapters, where neighbouring lanes gain nothing from neighbouring addresses.
#endif
// GATHER: a matrix product has made all of them; the active ones are picked out.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
#ifdef GATHER
@group(0) @binding(1) var<storage, read> products: array<f32>;             // (chunk T, Q, 4): W delta
@group(0) @binding(2) var<storage, read> offsets: array<u32>;              // quad section
@group(0) @binding(3) var<storage, read> active_key: array<vec2<u32>>;     // row b T + t, neuron
@group(0) @binding(4) var<storage, read> active_g: array<f32>;             // surrogate gradient
@group(0) @binding(5) var<storage, read> counts: array<u32>;               // presynaptic section: zeta
@group(0) @binding(6) var<storage, read> activity: array<vec4<f32>>;       // (B): .z upper gradient
@group(0) @binding(7) var<storage, read_write> active_e: array<f32>;       // errors
#else
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;        // (N, Q above)
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;          // (chunk T, Q above)
@group(0) @binding(3) var<storage, read> offsets: array<u32>;              // quad section
@group(0) @binding(4) var<storage, read> active_key: array<vec2<u32>>;     // row b T + t, neuron
@group(0) @binding(5) var<storage, read> active_g: array<f32>;             // surrogate gradient
@group(0) @binding(6) var<storage, read> counts: array<u32>;               // presynaptic section: zeta
@group(0) @binding(7) var<storage, read> activity: array<vec4<f32>>;       // (B): .z upper gradient
@group(0) @binding(8) var<storage, read_write> active_e: array<f32>;       // errors
#endif

const LANES: u32 = 64u;
#ifdef COOPERATIVE
const SHARE: u32 = 8u;
var<workgroup> partial: array<f32, LANES>;
#else
const SHARE: u32 = 1u;
#endif

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let section = quad_section(p);
    let base = offsets[section];
    let begin = offsets[section + p.first_sample * p.quads] - base;
    let end = min(offsets[section + (p.first_sample + p.chunk_samples) * p.quads] - base, p.active_capacity);
    let k = begin + (linear_group(workgroup) * LANES + lane) / SHARE;
    var key = vec2<u32>(p.first_sample * p.steps, 0u);
    if k < end {
        key = active_key[k];
    }
    let row = key.x - p.first_sample * p.steps;
    let inside = k < end && row < p.chunk_samples * p.steps;
    var sum = vec4<f32>(0.0);
    if inside {
#ifdef GATHER
        if lane % SHARE == 0u {
            sum.x = products[row * 4u * p.quads + min(key.y, 4u * p.quads - 1u)];
        }
#else
        let w = key.y * p.above_quads;
        let d = row * p.above_quads;
        for (var q = lane % SHARE; q < p.above_quads; q += SHARE) {
            sum += weights[w + q] * delta[d + q];
        }
#endif
    }
    var total = (sum.x + sum.y) + (sum.z + sum.w);
#ifdef COOPERATIVE
    partial[lane] = total;
    workgroupBarrier();
    if lane % SHARE != 0u {
        return;
    }
    total = 0.0;
    for (var l = 0u; l < SHARE; l++) {
        total += partial[lane + l];
    }
#endif
    if inside {
        let b = key.x / p.steps;
        let zeta = f32(counts[presynaptic_index(p, b, key.y)]);
        let low = -2.0 * p.lambda_low * max(0.0, p.nu_low - zeta) / (f32(p.neurons) * f32(p.total));
        active_e[k] = (total + activity[b].z + low) * active_g[k];
    }
}
