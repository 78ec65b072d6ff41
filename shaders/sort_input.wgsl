// Sorts the rows of each input neuron in each sample, which scatter_input leaves nearly in order, or the events of each pixel
// of a convolution, after patches. A lane owns a neuron or pixel of a sample and sorts by insertion.
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;            // (counts + 1): a list each
@group(0) @binding(2) var<storage, read_write> presynaptic: array<u32>;  // rows

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let list = linear_group(workgroup) * 64u + lane;
    if list >= p.counts {
        return;
    }
    let begin = offsets[list];
    let end = min(offsets[list + 1u], p.input_capacity);
    for (var k = begin + 1u; k < end; k++) {
        let row = presynaptic[k];
        var at = k;
        while at > begin {
            let before = presynaptic[at - 1u];
            if before <= row {
                break;
            }
            presynaptic[at] = before;
            at--;
        }
        presynaptic[at] = row;
    }
}
