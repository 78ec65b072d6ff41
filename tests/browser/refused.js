// Invalid WGSL that the browser must refuse. naga, the compiler of the native program, accepts most of it, so such mistakes
// would go unnoticed in the native program.
const main = (body) => `
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let t = data[0];
    let x = data[1];
    ${body}
}`;

export const refused = [
  { name: "`<<` and `|` without parentheses", wgsl: main("data[2] = t << 16u | x;") },
  { name: "`|` and `>>` without parentheses", wgsl: main("data[2] = x | x >> 2u;") },
  { name: "`>>` and `&` without parentheses", wgsl: main("data[2] = x >> (t & 31u) & 1u;") },
  { name: "`+` and `<<` without parentheses", wgsl: main("data[2] = 4u * t + 1u << 2u;") },
  { name: "`&&` and `||` without parentheses", wgsl: main("if t > 1u && x > 2u || t == x { data[2] = 1u; }") },
  { name: "a literal beyond f32", wgsl: main("var best = -3.4028235e38; if f32(t) > best { data[2] = 1u; }") },
  { name: "a barrier that not every lane reaches", wgsl: main("if lane < 7u { workgroupBarrier(); } data[lane] = x;") },
];
