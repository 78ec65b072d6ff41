// The input of a step: counts of each input neuron's spikes in each sample, and the rows (b, t) that have any.
#ifdef HELD
// Copies events, starts and labels of the samples from the training set in device memory. The set may be in several
// buffers, with a dispatch for each; a sample is in one of them.
#endif
// A workgroup owns a sample. Counts and bits do not depend on the order of their atomics.
#import params
#import index
#import input_lists

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> counts: array<atomic<u32>>;  // (chunk, N_in, samples of it)
@group(0) @binding(2) var<storage, read_write> needed: array<atomic<u32>>;  // (B, words): bit t: the sample spikes at t
#ifdef HELD
// (B + 1): where the sample's events begin in the held buffer, index of that buffer, label, where they begin in the batch.
@group(0) @binding(3) var<storage, read> samples: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> held: array<u32>;                  // t << 16 | i
@group(0) @binding(5) var<storage, read_write> starts: array<u32>;          // (B + 1)
@group(0) @binding(6) var<storage, read_write> labels: array<u32>;          // (B)
@group(0) @binding(7) var<storage, read_write> events: array<u32>;          // t << 16 | i, (b, t, i) order
#else
@group(0) @binding(3) var<storage, read> starts: array<u32>;                // (B + 1)
@group(0) @binding(4) var<storage, read> events: array<u32>;                // t << 16 | i, (b, t, i) order
#endif

const LANES: u32 = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let b = linear_group(workgroup);
    if b >= p.batch {
        return;
    }
#ifdef HELD
    let sample = samples[b];
    if sample.y != p.bank {
        return;
    }
    let begin = sample.w;
    let end = min(samples[b + 1u].w, p.input_capacity);
    if lane == 0u {
        starts[b] = begin;
        labels[b] = sample.z;
        if b + 1u == p.batch {
            starts[p.batch] = end;
        }
    }
#else
    let begin = starts[b];
    let end = min(starts[b + 1u], p.input_capacity);
#endif
    for (var i = lane; i < p.inputs; i += LANES) {
        atomicStore(&counts[input_index(p, b, i)], 0u);
    }
    for (var w = lane; w < p.words; w += LANES) {
        atomicStore(&needed[b * p.words + w], 0u);
    }
    storageBarrier();
    for (var k = begin + lane; k < end; k += LANES) {
#ifdef HELD
        let event = held[sample.x + (k - begin)];
        events[k] = event;
#else
        let event = events[k];
#endif
        let t = event >> 16u;
        atomicAdd(&counts[input_index(p, b, event & 0xffffu)], 1u);
        atomicOr(&needed[b * p.words + (t >> 5u)], 1u << (t & 31u));
    }
}
