// Looks at the bits, because WGSL lets compilers assume that no number is NaN or infinite.
fn not_finite(x: vec4<f32>) -> bool {
    let exponents = bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u);
    return any(exponents == vec4<u32>(0x7f800000u));
}
