// Input spikes neuron by neuron, for the weight gradient of the first layer: for each chunk of samples, each neuron's
// spikes as rows (b - first sample of the chunk) T + t of the chunk's deltas.
//
// A workgroup owns a sample and takes its events 64 at a time, from the last to the first; an event goes to the last free
// place of its neuron and sample, so that later times come after earlier ones. Only spikes of a neuron within the same 64
// have an arbitrary order, which sort_input corrects.
#import params
#import index
#import input_lists

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> starts: array<u32>;                // (B + 1)
@group(0) @binding(2) var<storage, read> events: array<u32>;                // t << 16 | i, (b, t, i) order
@group(0) @binding(3) var<storage, read> offsets: array<u32>;               // (chunk, N_in, samples of it), then the total
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;  // as offsets: spikes not yet placed
@group(0) @binding(5) var<storage, read_write> presynaptic: array<u32>;     // rows

const LANES: u32 = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let b = linear_group(workgroup);
    if b >= p.batch {
        return;
    }
    let begin = starts[b];
    let end = min(starts[b + 1u], p.input_capacity);
    let first_row = b % p.chunk * p.steps;
    for (var tile = (max(end, begin) - begin + LANES - 1u) / LANES; tile > 0u; tile--) {
        let k = begin + (tile - 1u) * LANES + lane;
        if k < end {
            let event = events[k];
            let index = input_index(p, b, event & 0xffffu);
            let at = offsets[index] + atomicSub(&counts[index], 1u) - 1u;
            if at < p.input_capacity {
                presynaptic[at] = first_row + (event >> 16u);
            }
        }
        storageBarrier();
    }
}
