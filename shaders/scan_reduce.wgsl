// Prefix sum, first of three: the sum of each block of 256 per_lane counts.
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;            // (counts)
@group(0) @binding(2) var<storage, read_write> block_sums: array<u32>;  // (blocks)

#import lanes
var<workgroup> sums: array<u32, MOST_LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // A block has 256 per_lane counts, whatever the number of lanes.
    let per_lane = p.per_lane * (256u / LANES);
    let block = linear_group(workgroup);
    let begin = (block * LANES + lane) * per_lane;
    var sum = 0u;
    for (var k = begin; k < min(begin + per_lane, p.counts); k++) {
        sum += counts[k];
    }
    sums[lane] = sum;
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width {
            sums[lane] += sums[lane + width];
        }
    }
    if lane == 0u && block * LANES * per_lane < p.counts {
        block_sums[block] = sums[0];
    }
}
