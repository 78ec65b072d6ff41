// A dispatch of more than 65,535 workgroups is folded into y.
const FOLD: u32 = 65535u;

fn linear_group(workgroup: vec3<u32>) -> u32 {
    return workgroup.y * FOLD + workgroup.x;
}
