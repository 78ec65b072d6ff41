// Where the lanes of a workgroup sit in its subgroups, and whether lanes that left a loop at different turns meet again
// before the next subgroup operation.
struct LanesParams {
    turns: u32,  // iterations per step of lane % 8
}

@group(0) @binding(0) var<uniform> p: LanesParams;
@group(0) @binding(1) var<storage, read_write> seen: array<vec4<u32>>;      // (workgroups, LANES): subgroup, its size, invocation, partner's value

const LANES: u32 = 64u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
) {
    var x = lane;
    let turns = (lane % 8u) * p.turns;
    for (var k = 0u; k < turns; k++) {
        x = (x * 1664525u) + 1013904223u;
    }
    let partner = subgroupShuffle(x, invocation ^ 1u);
    seen[(workgroup.x * LANES) + lane] = vec4<u32>(subgroup, size, invocation, partner);
}
