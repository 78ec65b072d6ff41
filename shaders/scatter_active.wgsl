// Active entries of a hidden layer in (b, quad, t, neuron) order, from the chains that lif_forward staged in an
// arbitrary order of lanes. A lane owns a quad of a sample.
#import params
#import index
#import sections
#import active_entry

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;              // chains
@group(0) @binding(2) var<storage, read> offsets: array<u32>;             // quads
@group(0) @binding(3) var<storage, read> staged: array<vec4<u32>>;        // chain, row b T + t, neuron, g
@group(0) @binding(4) var<storage, read_write> active_entries: array<ActiveEntry>;

#import place_active

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k = linear_group(workgroup) * 64u + lane;
    if k >= p.batch * p.quads {
        return;
    }
    let section = quad_section(p);
    let offset = offsets[section + k];
    place_active(k, offsets[section + k + 1u] - offset, offset - offsets[section]);
}
