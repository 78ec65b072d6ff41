// Weight gradient of a convolution over a chunk of samples:
//   dW_kf = sum_b sum_pixels sum_t S_k[t] delta_f[t],  k the entry of the pixel's patch
// A lane owns four filters of one entry (channel, row, column) of the kernel. It walks through the chunk's input events of
// its channel in order and adds, for the pixel that sees the event as this entry, the row of delta. Chunks follow in order.
#import params
#import index
#import conv

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input_start: array<u32>;            // (B + 1) or (B T + 1)
@group(0) @binding(2) var<storage, read> input_events: array<u32>;           // t << 16 | i
@group(0) @binding(3) var<storage, read> delta: array<vec4<f32>>;            // (chunk T, pixels filter_quads)
@group(0) @binding(4) var<storage, read_write> gradient: array<vec4<f32>>;   // (patch, filter_quads)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= arrayLength(&gradient) {
        return;
    }
    let quad = id % p.filter_quads;
    let entry = id / p.filter_quads;
    let kernel = p.kernel * p.kernel;
    let channel = entry / kernel;
    let ky = entry % kernel / p.kernel;
    let kx = entry % p.kernel;
    let map = p.map_height * p.map_width;
    var sum = vec4<f32>(0.0);
    if p.first_sample > 0u || p.accumulate != 0u {
        sum = gradient[id];
    }
    for (var local = 0u; local < p.chunk_samples; local++) {
        let b = p.first_sample + local;
        let end = min(input_start[(b + 1u) * p.input_stride], p.input_capacity);
        for (var k = input_start[b * p.input_stride]; k < end; k++) {
            let event = input_events[k];
            let i = event & 0xffffu;
            let t = event >> 16u;
            if i / map == channel && t < p.steps {
                let pixel = seen_from(p, i, ky, kx);
                if pixel != NOT_SEEN {
                    sum += delta[((local * p.steps + t) * p.rows * p.columns + pixel) * p.filter_quads + quad];
                }
            }
        }
    }
    gradient[id] = sum;
}
