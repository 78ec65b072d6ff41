// Dense baseline: out [rows, cols] = a [rows, depth] b [depth, cols]; strides let either be transposed.
// A workgroup owns a tile of 64 x 64 outputs and a lane 4 x 4 of them; 16 of the depth at a time pass through
// workgroup memory.
#import index

// The twin of `GemmParams` in src/gpu/params.rs.
struct GemmParams {
    rows: u32,
    cols: u32,
    depth: u32,
    a_row: u32,    // strides, in elements
    a_col: u32,
    b_row: u32,
    b_col: u32,
    out_row: u32,
}

@group(0) @binding(0) var<uniform> p: GemmParams;
@group(0) @binding(1) var<storage, read> a: array<f32>;          // (rows, depth)
@group(0) @binding(2) var<storage, read> b: array<f32>;          // (depth, cols)
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // (rows, cols)

const TILE: u32 = 64u;
const STEP: u32 = 16u;
var<workgroup> a_tile: array<vec4<f32>, STEP * TILE / 4u>;  // (STEP, TILE)
var<workgroup> b_tile: array<vec4<f32>, STEP * TILE / 4u>;  // (STEP, TILE)

fn a_at(row: u32, k: u32) -> f32 {
    if row < p.rows && k < p.depth {
        return a[row * p.a_row + k * p.a_col];
    }
    return 0.0;
}

fn b_at(k: u32, col: u32) -> f32 {
    if k < p.depth && col < p.cols {
        return b[k * p.b_row + col * p.b_col];
    }
    return 0.0;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles_across = (p.cols + TILE - 1u) / TILE;
    let tile = linear_group(workgroup);
    let row0 = tile / tiles_across * TILE;
    let col0 = tile % tiles_across * TILE;
    let y = lane / 16u;
    let x = lane % 16u;
    var sums: array<vec4<f32>, 4>;
    for (var k0 = 0u; k0 < p.depth; k0 += STEP) {
        // Lane (y, x) loads four neighbours of depth k0 + y.
        let k = k0 + y;
        let i = row0 + 4u * x;
        let j = col0 + 4u * x;
        a_tile[lane] = vec4<f32>(a_at(i, k), a_at(i + 1u, k), a_at(i + 2u, k), a_at(i + 3u, k));
        b_tile[lane] = vec4<f32>(b_at(k, j), b_at(k, j + 1u), b_at(k, j + 2u), b_at(k, j + 3u));
        workgroupBarrier();
        for (var d = 0u; d < STEP; d++) {
            let left = a_tile[d * 16u + y];
            let right = b_tile[d * 16u + x];
            sums[0] += left.x * right;
            sums[1] += left.y * right;
            sums[2] += left.z * right;
            sums[3] += left.w * right;
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < 4u; r++) {
        let row = row0 + 4u * y + r;
        if row < p.rows {
            for (var c = 0u; c < 4u; c++) {
                let col = col0 + 4u * x + c;
                if col < p.cols {
                    out[row * p.out_row + col] = sums[r][c];
                }
            }
        }
    }
}
