// Float arithmetic whose exact result the host knows: whether products and sums are contracted, sums reassociated,
// denormals flushed, and how far division, square root, exponential and logarithm are off.
struct NumbersParams {
    lanes: u32,
}

@group(0) @binding(0) var<uniform> p: NumbersParams;
@group(0) @binding(1) var<storage, read> inputs: array<vec4<f32>>;          // a, b, c, d
@group(0) @binding(2) var<storage, read_write> results: array<vec4<f32>>;   // (lanes, 2)

const LANES: u32 = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = (workgroup.x * LANES) + lane;
    if id >= p.lanes {
        return;
    }
    let v = inputs[id];
    results[2u * id] = vec4<f32>((v.x * v.y) + v.z, ((v.x + v.y) + v.z) + v.w, v.x / v.w, sqrt(v.x));
    results[(2u * id) + 1u] = vec4<f32>(exp(v.y), log(v.x), v.x * v.y, select(0.0, 1.0, v.z > 0.0));
}
