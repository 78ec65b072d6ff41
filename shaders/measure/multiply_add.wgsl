// How fast the device multiplies and adds: eight independent chains x = m x + a of four floats a lane, in registers.
// Multiply-adds: 32 a turn and lane.
struct MultiplyAddParams {
    turns: u32,  // of the loop
    lanes: u32,
}

@group(0) @binding(0) var<uniform> p: MultiplyAddParams;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;          // m, a
@group(0) @binding(2) var<storage, read_write> target_array: array<vec4<f32>>;

#import lanes

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = (workgroup.y * 65535u + workgroup.x) * LANES + lane;
    if id >= p.lanes {
        return;
    }
    let m = source[0];
    let a = source[1];
    var x0 = vec4<f32>(f32(lane));
    var x1 = x0 + 1.0;
    var x2 = x0 + 2.0;
    var x3 = x0 + 3.0;
    var x4 = x0 + 4.0;
    var x5 = x0 + 5.0;
    var x6 = x0 + 6.0;
    var x7 = x0 + 7.0;
    for (var k = 0u; k < p.turns; k++) {
        x0 = m * x0 + a;
        x1 = m * x1 + a;
        x2 = m * x2 + a;
        x3 = m * x3 + a;
        x4 = m * x4 + a;
        x5 = m * x5 + a;
        x6 = m * x6 + a;
        x7 = m * x7 + a;
    }
    target_array[id] = ((x0 + x1) + (x2 + x3)) + ((x4 + x5) + (x6 + x7));
}
