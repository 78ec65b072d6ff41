// Prefix sum, second of three: one workgroup turns the block sums into exclusive offsets, 256 at a time.
#import params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> block_sums: array<u32>;  // (blocks)

#import lanes
var<workgroup> sums: array<u32, MOST_LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    // A block has 256 per_lane counts, whatever the number of lanes.
    let per_lane = p.per_lane * (256u / LANES);
    let blocks = (p.counts + LANES * per_lane - 1u) / (LANES * per_lane);
    var carry = 0u;
    for (var begin = 0u; begin < blocks; begin += LANES) {
        let at = begin + lane;
        var own = 0u;
        if at < blocks {
            own = block_sums[at];
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
        if at < blocks {
            block_sums[at] = carry + sums[lane] - own;
        }
        carry += sums[LANES - 1u];
        workgroupBarrier();
    }
}
