// Adds the parts of a product whose depth was cut: out = (its old value, or 0) + part 0 + part 1 + ..., in order.
// A lane owns four outputs.
#import index

struct SumParams {
    quads: u32,       // vec4s in a part
    parts: u32,
    accumulate: u32,  // 1: added to the old value of out
}

@group(0) @binding(0) var<uniform> p: SumParams;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;      // (parts, quads)
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;  // (quads)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.quads {
        return;
    }
    var sum = vec4<f32>(0.0);
    if p.accumulate == 1u {
        sum = out[id];
    }
    for (var part = 0u; part < p.parts; part++) {
        sum += parts[part * p.quads + id];
    }
    out[id] = sum;
}
