// The input of a convolution by pixel: for each pixel of a sample, the events in its patch, as t << 16 | row of the weights.
// lif_forward treats a pixel and its list like a sample of a fully connected layer.
#ifdef PLACE
// Writes the lists, from a sample's last event to its first, as scatter_input does; sort_input completes the order: that of
// (t, row) is that of (t, i).
#else
// Counts the events.
#endif
// A workgroup owns a sample and takes its events 64 at a time.
#import params
#import index
#import conv

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input_start: array<u32>;           // (B + 1) or (B T + 1)
@group(0) @binding(2) var<storage, read> input_events: array<u32>;          // t << 16 | i
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;  // (B, pixels), PLACE: events not yet placed
#ifdef PLACE
@group(0) @binding(4) var<storage, read> offsets: array<u32>;               // (B, pixels), then the total
@group(0) @binding(5) var<storage, read_write> patches: array<u32>;         // t << 16 | row
#endif

const LANES: u32 = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let b = linear_group(workgroup);
    if b >= p.batch {
        return;
    }
    let begin = min(input_start[b * p.input_stride], p.input_capacity);
    let end = min(input_start[(b + 1u) * p.input_stride], p.input_capacity);
    let map = p.map_height * p.map_width;
    for (var tile = (max(end, begin) - begin + LANES - 1u) / LANES; tile > 0u; tile--) {
        let k = begin + (tile - 1u) * LANES + lane;
        if k < end {
            let event = input_events[k];
            let i = event & 0xffffu;
            for (var entry = 0u; entry < p.kernel * p.kernel; entry++) {
                let pixel = seen_from(p, i, entry / p.kernel, entry % p.kernel);
                if pixel != NOT_SEEN {
                    let list = b * p.rows * p.columns + pixel;
#ifdef PLACE
                    let at = offsets[list] + atomicSub(&counts[list], 1u) - 1u;
                    if at < arrayLength(&patches) {
                        patches[at] = ((event >> 16u) << 16u) | (i / map * p.kernel * p.kernel + entry);
                    }
#else
                    atomicAdd(&counts[list], 1u);
#endif
                }
            }
        }
#ifdef PLACE
        storageBarrier();
#endif
    }
}
