// Dense baseline: the input events as a [B, T, N] array of 0 and 1, which was cleared before. A workgroup owns a sample.
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input_start: array<u32>;     // (B + 1)
@group(0) @binding(2) var<storage, read> input_events: array<u32>;    // t << 16 | i
@group(0) @binding(3) var<storage, read_write> spikes: array<f32>;    // (B T, Q, 4) of the input

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let b = linear_group(workgroup);
    if b >= p.batch {
        return;
    }
    let stride = (p.inputs + 3u) / 4u * 4u;
    for (var k = input_start[b] + lane; k < input_start[b + 1u]; k += 64u) {
        let event = input_events[k];
        spikes[(b * p.steps + (event >> 16u)) * stride + (event & 0xffffu)] = 1.0;
    }
}
