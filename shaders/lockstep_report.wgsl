// What the host is told of each layer that lockstep_forward computes: spikes, active entries and the regularisers
//   sum_b lambda_up max(0, mean_i zeta_i - nu_up),  sum_b (lambda_low / N) sum_i max(0, nu_low - zeta_i)^2
// A workgroup owns a layer. If the list of a sample would overflow, it raises the flag that withholds the update.
#import params
#import index
#import sections
#import layers
#import lockstep_counts

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<uniform> layers: Layers;
@group(0) @binding(2) var<storage, read> counts: array<u32>;         // of each layer: sections, needed rows
@group(0) @binding(3) var<storage, read_write> report: array<u32>;   // of each layer: spikes, active entries, upper and lower term
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>>;   // [0]: some list overflowed

const LANES: u32 = 64u;
var<workgroup> sums: array<vec2<u32>, LANES>;
var<workgroup> terms: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let l = linear_group(workgroup);
    if l >= p.layers || layer(l).spiking == 0u {
        return;
    }
    let p = layer(l);
    var sum = vec2<u32>(0u);
    var term = vec2<f32>(0.0);
    for (var b = lane; b < p.batch; b += LANES) {
        let spikes = counts[p.counts_at + sample_section(p) + b];
        sum += vec2<u32>(spikes, counts[all_entries_index(p, b)]);
        let over = max(0.0, f32(spikes) / f32(p.neurons) - p.nu_up);
        term += vec2<f32>(over, bitcast<f32>(counts[low_index(p, b)]));
    }
    sums[lane] = sum;
    terms[lane] = term;
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width {
            sums[lane] += sums[lane + width];
            terms[lane] += terms[lane + width];
        }
    }
    if lane != 0u {
        return;
    }
    report[p.report_at] = sums[0].x;
    report[p.report_at + 1u] = sums[0].y;
    report[p.report_at + 2u] = bitcast<u32>(p.lambda_up * terms[0].x);
    report[p.report_at + 3u] = bitcast<u32>(p.lambda_low / f32(p.neurons) * terms[0].y);
    if counts[most_entries_index(p)] > p.room {
        atomicOr(&status[0], 1u);
    }
}
