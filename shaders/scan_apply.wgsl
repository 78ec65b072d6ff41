// Prefix sum, third of three: exclusive offsets of all counts; offsets[counts] is their total.
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;          // (counts)
@group(0) @binding(2) var<storage, read> block_sums: array<u32>;      // (blocks), exclusive
@group(0) @binding(3) var<storage, read_write> offsets: array<u32>;   // (counts + 1)

#import lanes
var<workgroup> sums: array<u32, MOST_LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // A block has 256 per_lane counts, whatever the number of lanes.
    let per_lane = p.per_lane * (256u / LANES);
    let block = linear_group(workgroup);
    let begin = (block * LANES + lane) * per_lane;
    let end = min(begin + per_lane, p.counts);
    var own = 0u;
    for (var k = begin; k < end; k++) {
        own += counts[k];
    }
    sums[lane] = own;
    workgroupBarrier();
    for (var width = 1u; width < LANES; width *= 2u) {
        var left = 0u;
        if lane >= width {
            left = sums[lane - width];
        }
        workgroupBarrier();
        sums[lane] += left;
        workgroupBarrier();
    }
    if begin >= p.counts {
        return;
    }
    var sum = block_sums[block] + sums[lane] - own;
    for (var k = begin; k < end; k++) {
        offsets[k] = sum;
        sum += counts[k];
    }
    if end == p.counts {
        offsets[end] = sum;
    }
}
