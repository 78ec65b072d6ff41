// The input events of a chunk of samples as a dense array of 0 and 1. A workgroup owns a sample.
#ifdef CLEAR
// The array is overwritten.
#else
// The array was cleared before.
#endif
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input_start: array<u32>;     // (B + 1)
@group(0) @binding(2) var<storage, read> input_events: array<u32>;    // t << 16 | i
@group(0) @binding(3) var<storage, read_write> spikes: array<f32>;    // (chunk T, Q_in, 4)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let local = linear_group(workgroup);
    if local >= p.chunk_samples {
        return;
    }
    let b = p.first_sample + local;
    let stride = (p.inputs + 3u) / 4u * 4u;
    let begin = local * p.steps * stride;
#ifdef CLEAR
    for (var k = lane; k < p.steps * stride; k += 64u) {
        spikes[begin + k] = 0.0;
    }
    storageBarrier();
#endif
    let end = min(input_start[b + 1u], p.input_capacity);
    for (var k = input_start[b] + lane; k < end; k += 64u) {
        let event = input_events[k];
        spikes[begin + (event >> 16u) * stride + (event & 0xffffu)] = 1.0;
    }
}
