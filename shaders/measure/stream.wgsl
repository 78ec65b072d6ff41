// How fast the device moves memory: out = in, four floats a lane. Bytes moved: 32 a lane.
struct StreamParams {
    lanes: u32,
}

@group(0) @binding(0) var<uniform> p: StreamParams;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> target_array: array<vec4<f32>>;

#import lanes

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = (workgroup.y * 65535u + workgroup.x) * LANES + lane;
    if id < p.lanes {
        target_array[id] = source[id];
    }
}
