// Sums of the first two components of a per-sample vector over the batch, in fixed order, and the number of the step,
// which proves to the host that the step ran, into the report. One workgroup.
#import params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> per_sample: array<vec4<f32>>;      // (B)
@group(0) @binding(2) var<storage, read> status: array<u32>;                // [0]: some list overflowed
@group(0) @binding(3) var<storage, read> step: array<u32>;                  // [0]: the step's number
@group(0) @binding(4) var<storage, read_write> report: array<u32>;

#import lanes
var<workgroup> sums: array<vec2<f32>, MOST_LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = vec2<f32>(0.0);
    for (var b = lane; b < p.batch; b += LANES) {
        sum += per_sample[b].xy;
    }
    sums[lane] = sum;
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width {
            sums[lane] += sums[lane + width];
        }
    }
    if lane == 0u {
        report[0] = step[0];
        report[1] = status[0];
        report[p.report_at] = bitcast<u32>(sums[0].x);
        report[p.report_at + 1u] = bitcast<u32>(sums[0].y);
    }
}
