// First half of the prefix sum of a hidden layer's counts (compact is the second): the sum of each block of
// 256 per_lane counts. On the way each block of neurons sums the lower regulariser's max(0, nu_low - zeta)^2.
//
// One additional workgroup, the last, sums over the samples: it reports spikes, active entries and the upper regulariser's
//   sum_b lambda_up max(0, mean_i zeta_i - nu_up)
// and, if a list would overflow its buffer, raises the flag that withholds the update.
#import params
#import index
#import sections

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;   // sections; blocks are written here
@group(0) @binding(2) var<storage, read_write> report: array<u32>;   // here: spikes, active entries, upper term
@group(0) @binding(3) var<storage, read_write> status: array<u32>;   // [0]: some list overflowed

#import lanes
#import root_lanes
var<workgroup> sums: array<u32, MOST_LANES>;
var<workgroup> terms: array<f32, MOST_LANES>;
var<workgroup> root_sums: array<u32, MOST_ROOT>;
var<workgroup> root_terms: array<f32, MOST_ROOT>;

// Whether the k-th slot of the presynaptic section is a neuron, not padding of a quad of filters.
fn is_neuron(k: u32) -> bool {
    if p.slots == p.neurons {
        return true;
    }
    return counted(p, k).neuron % (4u * p.filter_quads) < p.neurons / (p.rows * p.columns);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // A block has 256 per_lane counts, whatever the number of lanes.
    let per_lane = p.per_lane * (256u / LANES);
    let block = linear_group(workgroup);
    let blocks = (p.scanned + LANES * per_lane - 1u) / (LANES * per_lane);
    var sum = 0u;
    var term = 0.0;
    if block < blocks {
        let begin = (block * LANES + lane) * per_lane;
        let neurons = presynaptic_section(p);
        let quads = quad_section(p);
        for (var k = begin; k < min(begin + per_lane, p.scanned); k++) {
            let n = counts[k];
            sum += n;
            if k >= neurons && k < quads && is_neuron(k - neurons) {
                let missing = max(0.0, p.nu_low - f32(n));
                term += missing * missing;
            }
        }
    } else {
        for (var b = lane; b < p.batch; b += LANES) {
            let spikes = counts[sample_section(p) + b];
            sum += spikes;
            term += max(0.0, f32(spikes) / f32(p.neurons) - p.nu_up);
        }
    }
    sums[lane] = sum;
    terms[lane] = term;
    workgroupBarrier();
    if lane < ROOT {
        sum = 0u;
        term = 0.0;
        for (var k = lane * ROOT; k < (lane + 1u) * ROOT; k++) {
            sum += sums[k];
            term += terms[k];
        }
        root_sums[lane] = sum;
        root_terms[lane] = term;
    }
    workgroupBarrier();
    if lane != 0u || block > blocks {
        return;
    }
    sum = 0u;
    term = 0.0;
    for (var k = 0u; k < ROOT; k++) {
        sum += root_sums[k];
        term += root_terms[k];
    }
    if block < blocks {
        counts[block_section(p) + 2u * block] = sum;
        counts[block_section(p) + 2u * block + 1u] = bitcast<u32>(term);
    } else {
        let entries = counts[p.counts];
        report[p.report_at] = sum;
        report[p.report_at + 1u] = entries;
        report[p.report_at + 2u] = bitcast<u32>(p.lambda_up * term);
        if sum > p.event_capacity || entries > p.active_capacity {
            status[0] = 1u;
        }
    }
}
