// Turns the scanned totals of a hidden layer into indirect dispatch arguments, its part of the report, and, where a
// list would overflow its buffer, the flag that withholds the update. Counts are clamped here: nothing downstream is
// dispatched or reads past a buffer's end.
//
// Dispatch arguments: one triple for scatter_active, then one for the spike gradient of each chunk.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;              // (counts + 1)
@group(0) @binding(2) var<storage, read> offsets: array<u32>;             // (counts + 1)
@group(0) @binding(3) var<storage, read_write> dispatches: array<u32>;    // (1 + chunks, 3)
@group(0) @binding(4) var<storage, read_write> report: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> status: array<atomic<u32>>; // [0]: some list overflowed

// Active entries that a workgroup of the spike gradient takes.
#ifdef COOPERATIVE
const ENTRIES_PER_GROUP: u32 = 8u;
#else
const ENTRIES_PER_GROUP: u32 = 64u;
#endif

fn write_dispatch(at: u32, groups: u32) {
    dispatches[3u * at] = min(groups, FOLD);
    dispatches[3u * at + 1u] = min((groups + FOLD - 1u) / FOLD, FOLD);
    dispatches[3u * at + 2u] = 1u;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let spikes = offsets[presynaptic_section(p)];
    let entries = counts[p.counts];
    if lane == 0u {
        atomicStore(&report[p.report_at], spikes);
        atomicStore(&report[p.report_at + 1u], entries);
        if spikes > p.event_capacity || entries > p.active_capacity {
            atomicStore(&status[0], 1u);
        }
        write_dispatch(0u, (min(entries, p.active_capacity) + 63u) / 64u);
    }
    let section = quad_section(p);
    for (var c = lane; c < p.chunks; c += 64u) {
        let begin = offsets[section + c * p.chunk * p.quads] - offsets[section];
        let end = offsets[section + min((c + 1u) * p.chunk, p.batch) * p.quads] - offsets[section];
        let own = min(end, p.active_capacity) - min(begin, p.active_capacity);
        write_dispatch(1u + c, (own + ENTRIES_PER_GROUP - 1u) / ENTRIES_PER_GROUP);
    }
}
