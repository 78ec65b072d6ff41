// Dense products: out [rows, cols] = a [rows, depth] b [depth, cols], on matrices whose rows are whole vec4s. The
// padding of a and b is 0 and that of out stays 0. The unit of work is a block of 4 x 4, so that a transposed operand costs
// a transposition in registers. For products with few outputs and a long depth, the depth may be cut into parts: part n is
// written after part n - 1, and gemm_sum adds them in order.
#ifdef COOPERATIVE
// A workgroup owns a tile of 64 x 64 outputs and a lane four blocks of it; workgroup memory holds 16 of the depth at a
// time.
#else
// A lane owns a tile of 16 x 16 outputs and loads its operands itself: for software adapters, where workgroup memory is as
// slow as any other, and loads are the bottleneck.
#endif
#import index

struct GemmParams {
    rows: u32,
    cols: u32,
    depth: u32,
    a_quads: u32,     // vec4s from a row to the next
    b_quads: u32,
    out_quads: u32,
    part_depth: u32,  // of a part: a multiple of 16
}

@group(0) @binding(0) var<uniform> p: GemmParams;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;          // (rows, depth), or (depth, rows): A_TRANSPOSED
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;          // (depth, cols), or (cols, depth): B_TRANSPOSED
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;  // (parts, rows, cols)

// Rows row .. row + 3 at depths k .. k + 3: a column of the matrix for each row.
fn a_block(row: u32, k: u32, end: u32) -> mat4x4<f32> {
#ifdef A_TRANSPOSED
    let q = min(row / 4u, p.a_quads - 1u);
    return transpose(mat4x4<f32>(a_at(k, q, end), a_at(k + 1u, q, end), a_at(k + 2u, q, end), a_at(k + 3u, q, end)));
#else
    let q = min(k / 4u, p.a_quads - 1u);
    return mat4x4<f32>(a_at(row, q, k, end), a_at(row + 1u, q, k, end), a_at(row + 2u, q, k, end), a_at(row + 3u, q, k, end));
#endif
}

#ifdef A_TRANSPOSED
fn a_at(k: u32, q: u32, end: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), a[min(k, p.depth - 1u) * p.a_quads + q], k < end);
}
#else
fn a_at(row: u32, q: u32, k: u32, end: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), a[min(row, p.rows - 1u) * p.a_quads + q], k < end);
}
#endif

// Depths k .. k + 3 of columns col .. col + 3: a column of the matrix for each depth. Values past the end of the depth are
// multiplied with a's zeros.
fn b_block(k: u32, col: u32) -> mat4x4<f32> {
#ifdef B_TRANSPOSED
    let q = min(k / 4u, p.b_quads - 1u);
    return transpose(mat4x4<f32>(b_at(col, q), b_at(col + 1u, q), b_at(col + 2u, q), b_at(col + 3u, q)));
#else
    let q = min(col / 4u, p.b_quads - 1u);
    return mat4x4<f32>(b_at(k, q), b_at(k + 1u, q), b_at(k + 2u, q), b_at(k + 3u, q));
#endif
}

fn b_at(row: u32, q: u32) -> vec4<f32> {
#ifdef B_TRANSPOSED
    return select(vec4<f32>(0.0), b[min(row, p.cols - 1u) * p.b_quads + q], row < p.cols);
#else
    return b[min(row, p.depth - 1u) * p.b_quads + q];
#endif
}

// One row of four outputs, four depths further.
fn further(sum: vec4<f32>, x: vec4<f32>, y: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(x.w), y[3], fma(vec4<f32>(x.z), y[2], fma(vec4<f32>(x.y), y[1], fma(vec4<f32>(x.x), y[0], sum))));
}

fn multiply_add(sums: mat4x4<f32>, x: mat4x4<f32>, y: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(further(sums[0], x[0], y), further(sums[1], x[1], y), further(sums[2], x[2], y), further(sums[3], x[3], y));
}

#ifdef A_TRANSPOSED
// Four rows of four outputs, one depth further.
fn outer(sums: mat4x4<f32>, y: vec4<f32>, x: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(fma(vec4<f32>(y.x), x, sums[0]), fma(vec4<f32>(y.y), x, sums[1]), fma(vec4<f32>(y.z), x, sums[2]), fma(vec4<f32>(y.w), x, sums[3]));
}
#endif

fn put(part: u32, row: u32, q: u32, sum: vec4<f32>) {
    if row < p.rows && q < p.out_quads {
        out[(part * p.rows + row) * p.out_quads + q] = sum;
    }
}

fn put_block(part: u32, row: u32, q: u32, sums: mat4x4<f32>) {
    put(part, row, q, sums[0]);
    put(part, row + 1u, q, sums[1]);
    put(part, row + 2u, q, sums[2]);
    put(part, row + 3u, q, sums[3]);
}

#ifdef COOPERATIVE
const TILE: u32 = 64u;
const STEP: u32 = 16u;
var<workgroup> a_tile: array<vec4<f32>, STEP * 16u>;  // (STEP / 4, row in block, block of rows): four depths
var<workgroup> b_tile: array<vec4<f32>, STEP * 16u>;  // (STEP, block of columns): four columns

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let across = (p.cols + TILE - 1u) / TILE;
    let tiles = across * ((p.rows + TILE - 1u) / TILE);
    let group = linear_group(workgroup);
    let part = group / tiles;
    let tile = group % tiles;
    let row = tile / across * TILE;
    let col = tile % across * TILE;
    // A dispatch of two dimensions has more workgroups than there are parts.
    if part * p.part_depth >= p.depth {
        return;
    }
    let begin = part * p.part_depth;
    let end = min(begin + p.part_depth, p.depth);
    // The block of either tile that this lane loads: neighbours read adjacent addresses.
#ifdef A_TRANSPOSED
    let a_rows = lane % 16u;
    let a_depths = lane / 16u;
#else
    let a_rows = lane / 4u;
    let a_depths = lane % 4u;
#endif
#ifdef B_TRANSPOSED
    let b_cols = lane / 4u;
    let b_depths = lane % 4u;
#else
    let b_cols = lane % 16u;
    let b_depths = lane / 16u;
#endif
    // The lane's blocks: y and y + 8 down, x and x + 8 across.
    let y = lane / 8u;
    let x = lane % 8u;
    var s00 = mat4x4<f32>();
    var s01 = mat4x4<f32>();
    var s10 = mat4x4<f32>();
    var s11 = mat4x4<f32>();
    for (var k = begin; k < end; k += STEP) {
        let left = a_block(row + 4u * a_rows, k + 4u * a_depths, end);
        let right = b_block(k + 4u * b_depths, col + 4u * b_cols);
#unroll n 4
            a_tile[(4u * a_depths + n) * 16u + a_rows] = left[n];
            b_tile[(4u * b_depths + n) * 16u + b_cols] = right[n];
#endunroll
        workgroupBarrier();
        for (var d = 0u; d < STEP; d += 4u) {
            let at = d * 16u;
            let x0 = mat4x4<f32>(b_tile[at + x], b_tile[at + 16u + x], b_tile[at + 32u + x], b_tile[at + 48u + x]);
            let x1 = mat4x4<f32>(b_tile[at + 8u + x], b_tile[at + 24u + x], b_tile[at + 40u + x], b_tile[at + 56u + x]);
            let y0 = mat4x4<f32>(a_tile[at + y], a_tile[at + 16u + y], a_tile[at + 32u + y], a_tile[at + 48u + y]);
            s00 = multiply_add(s00, y0, x0);
            s01 = multiply_add(s01, y0, x1);
            let y1 = mat4x4<f32>(a_tile[at + 8u + y], a_tile[at + 24u + y], a_tile[at + 40u + y], a_tile[at + 56u + y]);
            s10 = multiply_add(s10, y1, x0);
            s11 = multiply_add(s11, y1, x1);
        }
        workgroupBarrier();
    }
    let q = col / 4u + x;
    put_block(part, row + 4u * y, q, s00);
    put_block(part, row + 4u * y, q + 8u, s01);
    put_block(part, row + 32u + 4u * y, q, s10);
    put_block(part, row + 32u + 4u * y, q + 8u, s11);
}
#else
const TILE: u32 = 16u;
const LANES: u32 = 16u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let across = (p.cols + TILE - 1u) / TILE;
    let tiles = across * ((p.rows + TILE - 1u) / TILE);
    let id = linear_group(workgroup) * LANES + lane;
    let part = id / tiles;
    let tile = id % tiles;
    let row = tile / across * TILE;
    let col = tile % across * TILE;
    let begin = min(part * p.part_depth, p.depth);
    let end = min(begin + p.part_depth, p.depth);
    if part * p.part_depth >= p.depth {
        return;
    }
    var s00 = mat4x4<f32>();
    var s01 = mat4x4<f32>();
    var s02 = mat4x4<f32>();
    var s03 = mat4x4<f32>();
    var s10 = mat4x4<f32>();
    var s11 = mat4x4<f32>();
    var s12 = mat4x4<f32>();
    var s13 = mat4x4<f32>();
    var s20 = mat4x4<f32>();
    var s21 = mat4x4<f32>();
    var s22 = mat4x4<f32>();
    var s23 = mat4x4<f32>();
    var s30 = mat4x4<f32>();
    var s31 = mat4x4<f32>();
    var s32 = mat4x4<f32>();
    var s33 = mat4x4<f32>();
#ifdef A_TRANSPOSED
    // Both operands have their outputs side by side: a depth at a time needs the fewest registers.
    let a_quads = p.a_quads;
    let b_quads = p.b_quads;
    let a0 = min(row / 4u + 0u, a_quads - 1u);
    let a1 = min(row / 4u + 1u, a_quads - 1u);
    let a2 = min(row / 4u + 2u, a_quads - 1u);
    let a3 = min(row / 4u + 3u, a_quads - 1u);
    let b0 = min(col / 4u + 0u, b_quads - 1u);
    let b1 = min(col / 4u + 1u, b_quads - 1u);
    let b2 = min(col / 4u + 2u, b_quads - 1u);
    let b3 = min(col / 4u + 3u, b_quads - 1u);
    for (var k = begin; k < end; k++) {
        let y0 = a[k * a_quads + a0];
        let y1 = a[k * a_quads + a1];
        let y2 = a[k * a_quads + a2];
        let y3 = a[k * a_quads + a3];
        let x0 = b[k * b_quads + b0];
        s00 = outer(s00, y0, x0);
        s10 = outer(s10, y1, x0);
        s20 = outer(s20, y2, x0);
        s30 = outer(s30, y3, x0);
        let x1 = b[k * b_quads + b1];
        s01 = outer(s01, y0, x1);
        s11 = outer(s11, y1, x1);
        s21 = outer(s21, y2, x1);
        s31 = outer(s31, y3, x1);
        let x2 = b[k * b_quads + b2];
        s02 = outer(s02, y0, x2);
        s12 = outer(s12, y1, x2);
        s22 = outer(s22, y2, x2);
        s32 = outer(s32, y3, x2);
        let x3 = b[k * b_quads + b3];
        s03 = outer(s03, y0, x3);
        s13 = outer(s13, y1, x3);
        s23 = outer(s23, y2, x3);
        s33 = outer(s33, y3, x3);
    }
#else
    for (var k = begin; k < end; k += 4u) {
        let y0 = a_block(row, k, end);
        let y1 = a_block(row + 4u, k, end);
        let y2 = a_block(row + 8u, k, end);
        let y3 = a_block(row + 12u, k, end);
        let x0 = b_block(k, col);
        s00 = multiply_add(s00, y0, x0);
        s10 = multiply_add(s10, y1, x0);
        s20 = multiply_add(s20, y2, x0);
        s30 = multiply_add(s30, y3, x0);
        let x1 = b_block(k, col + 4u);
        s01 = multiply_add(s01, y0, x1);
        s11 = multiply_add(s11, y1, x1);
        s21 = multiply_add(s21, y2, x1);
        s31 = multiply_add(s31, y3, x1);
        let x2 = b_block(k, col + 8u);
        s02 = multiply_add(s02, y0, x2);
        s12 = multiply_add(s12, y1, x2);
        s22 = multiply_add(s22, y2, x2);
        s32 = multiply_add(s32, y3, x2);
        let x3 = b_block(k, col + 12u);
        s03 = multiply_add(s03, y0, x3);
        s13 = multiply_add(s13, y1, x3);
        s23 = multiply_add(s23, y2, x3);
        s33 = multiply_add(s33, y3, x3);
    }
#endif
    let q = col / 4u;
    put_block(part, row, q, s00);
    put_block(part, row, q + 1u, s01);
    put_block(part, row, q + 2u, s02);
    put_block(part, row, q + 3u, s03);
    put_block(part, row + 4u, q, s10);
    put_block(part, row + 4u, q + 1u, s11);
    put_block(part, row + 4u, q + 2u, s12);
    put_block(part, row + 4u, q + 3u, s13);
    put_block(part, row + 8u, q, s20);
    put_block(part, row + 8u, q + 1u, s21);
    put_block(part, row + 8u, q + 2u, s22);
    put_block(part, row + 8u, q + 3u, s23);
    put_block(part, row + 12u, q, s30);
    put_block(part, row + 12u, q + 1u, s31);
    put_block(part, row + 12u, q + 2u, s32);
    put_block(part, row + 12u, q + 3u, s33);
}
#endif
