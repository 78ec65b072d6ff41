// Compaction of spikes into the next layer's input: events in (b, t, j) order. A lane owns the row (b, t).
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> spike_words: array<vec4<u32>>;  // (B, words, Q)
@group(0) @binding(2) var<storage, read> offsets: array<u32>;            // rows first: (B, T)
@group(0) @binding(3) var<storage, read_write> events: array<u32>;       // t << 16 | j

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(workgroup) * 64u + lane;
    if row >= p.batch * p.steps {
        return;
    }
    var at = offsets[row];
    let end = min(offsets[row + 1u], p.event_capacity);
    let t = row % p.steps;
    let bit = t & 31u;
    let begin = (row / p.steps * p.words + (t >> 5u)) * p.quads;
    for (var q = 0u; q < p.quads && at < end; q++) {
        let fired = (spike_words[begin + q] >> vec4<u32>(bit)) & vec4<u32>(1u);
        if any(fired != vec4<u32>(0u)) {
            for (var k = 0u; k < 4u; k++) {
                if fired[k] != 0u && at < end {
                    events[at] = t << 16u | (4u * q + k);
                    at++;
                }
            }
        }
    }
}
