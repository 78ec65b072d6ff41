// Compaction of active entries: each staged entry goes to its exact place, offset of its quad + its rank, so the list
// is in (b, quad, t, neuron) order whatever the order of staging was. A lane owns a staged entry.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;                   // the last: staged entries
@group(0) @binding(2) var<storage, read> offsets: array<u32>;                  // quad section
@group(0) @binding(3) var<storage, read> staged: array<vec4<u32>>;             // quad, rank, t << 2 | lane, g
@group(0) @binding(4) var<storage, read_write> active_key: array<vec2<u32>>;   // row b T + t, neuron
@group(0) @binding(5) var<storage, read_write> active_g: array<f32>;           // surrogate gradient

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k = linear_group(workgroup) * 64u + lane;
    if k >= min(counts[p.counts], p.active_capacity) {
        return;
    }
    let entry = staged[k];
    let section = quad_section(p);
    let at = offsets[section + entry.x] - offsets[section] + entry.y;
    if at < p.active_capacity {
        let row = entry.x / p.quads * p.steps + (entry.z >> 2u);
        active_key[at] = vec2<u32>(row, entry.x % p.quads * 4u + (entry.z & 3u));
        active_g[at] = bitcast<f32>(entry.w);
    }
}
