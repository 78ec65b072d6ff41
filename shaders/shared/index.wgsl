// A dispatch of more than 65,535 workgroups is folded into y.
const FOLD: u32 = 65535u;

fn linear_group(workgroup: vec3<u32>) -> u32 {
    return workgroup.y * FOLD + workgroup.x;
}

// x in component k, 0 in the others. (FXC, a compiler for DX12, cannot store to a component by a computed index.)
fn component(k: u32, x: f32) -> vec4<f32> {
    return select(vec4<f32>(0.0), vec4<f32>(x), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(k));
}
