// Weight gradient of a convolution over a chunk of samples:
//   dW_kf = sum_b sum_pixels sum_t S_k[t] delta_f[t],  k the entry of the pixel's patch;  db_f = sum_b sum_pixels sum_t delta_f[t]
// A lane owns four filters of one entry (channel, row, column) of the kernel. Sample by sample and pixel by pixel, it adds a
// row of delta for each spike of the neuron at this entry of the pixel's patch. Chunks follow in order.
// BIAS: the last row is the bias. delta writes the sum over all times for each sample, after the chunk's rows.
#import params
#import index
#import bias
#import conv

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> presynaptic_start: array<u32>;      // where each neuron's rows begin
@group(0) @binding(2) var<storage, read> presynaptic: array<u32>;            // rows of delta, neuron by neuron
@group(0) @binding(3) var<storage, read> delta: array<vec4<f32>>;            // (chunk T + bias chunk, pixels filter_quads)
@group(0) @binding(4) var<storage, read_write> gradient: array<vec4<f32>>;   // (patch + bias, filter_quads)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= arrayLength(&gradient) {
        return;
    }
    let quad = id % p.filter_quads;
    let entry = id / p.filter_quads;
    let kernel = p.kernel * p.kernel;
    let first = entry / kernel * p.map_height * p.map_width;
    let ky = entry % kernel / p.kernel;
    let kx = entry % p.kernel;
    let base = presynaptic_start[p.presynaptic_base];
    // A stale row of a list that overflowed must not reach past this chunk.
    let last_row = p.chunk_samples * p.steps - 1u;
    var sum = vec4<f32>(0.0);
    if p.first_sample > 0u || p.accumulate != 0u {
        sum = gradient[id];
    }
    let pixels = p.rows * p.columns;
    if BIAS && entry == patch_size(p) {
        let first_row = p.chunk_samples * p.steps;
        for (var k = 0u; k < p.chunk_samples * pixels; k++) {
            sum += delta[(first_row * pixels + k) * p.filter_quads + quad];
        }
        gradient[id] = sum;
        return;
    }
    for (var local = 0u; local < p.chunk_samples; local++) {
        for (var row = 0u; row < p.rows; row++) {
            // Wraps to a large number in the padding before the map.
            let y = row * p.stride + ky - p.padding;
            for (var column = 0u; y < p.map_height && column < p.columns; column++) {
                let x = column * p.stride + kx - p.padding;
                if x < p.map_width {
                    let i = first + y * p.map_width + x;
                    let list = p.presynaptic_at + i * p.presynaptic_stride + local;
                    let end = min(presynaptic_start[list + 1u] - base, p.input_capacity);
                    for (var k = presynaptic_start[list] - base; k < end; k++) {
                        let spike = min(presynaptic[k], last_row);
                        let pixel = row * p.columns + column;
                        sum += delta[(spike * pixels + pixel) * p.filter_quads + quad];
                    }
                }
            }
        }
    }
    gradient[id] = sum;
}
