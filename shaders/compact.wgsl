// Prefix sum of a hidden layer's counts, second of two: exclusive offsets of all counts, offsets[scanned] their total.
// PLACE: each lane also writes the list entries of its counts. (Software adapters, which run both sides of a branch, use
// separate kernels for that: scatter_rows, scatter_presynaptic, scatter_active.)
//   rows         spikes as the next layer's input, events in (b, t, j) order
//   presynaptic  spikes for the weight gradient above: for each chunk of samples, each neuron's spikes in (b, t) order,
//                as rows (b - first sample of the chunk) T + t of the chunk's deltas
//   quads        active entries in (b, quad, t, neuron) order, from the chains that lif_forward staged in an arbitrary
//                order of lanes
// A workgroup owns a block of 256 per_lane counts. One additional workgroup, the last, sums the lower regulariser:
//   sum_b (lambda_low / N) sum_i max(0, nu_low - zeta_i)^2
#import params
#import index
#import sections
#ifdef PLACE
#import active_entry
#endif

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;                  // sections, staged, samples, chains, blocks
@group(0) @binding(2) var<storage, read_write> offsets: array<u32>;           // (scanned + 1)
@group(0) @binding(3) var<storage, read_write> report: array<u32>;            // read: spikes; written: lower term
#ifdef PLACE
@group(0) @binding(4) var<storage, read> spike_words: array<vec4<u32>>;       // (B, words, Q)
@group(0) @binding(5) var<storage, read> staged: array<vec4<u32>>;            // chain, row b T + t, neuron, g
@group(0) @binding(6) var<storage, read_write> events: array<u32>;            // t << 16 | j
@group(0) @binding(7) var<storage, read_write> presynaptic: array<u32>;       // rows of delta
@group(0) @binding(8) var<storage, read_write> active_entries: array<ActiveEntry>;
#endif

#import lanes
#import root_lanes
// One word of padding per ROOT words, to avoid bank conflicts of ROOT lanes with ROOT words each.
const PADDED: u32 = MOST_LANES + MOST_ROOT;
var<workgroup> sums: array<u32, PADDED>;
var<workgroup> sums_before: array<u32, PADDED>;
var<workgroup> lows: array<f32, PADDED>;
var<workgroup> root_sums: array<u32, MOST_ROOT>;
var<workgroup> root_before: array<u32, MOST_ROOT>;
var<workgroup> root_lows: array<f32, MOST_ROOT>;

#ifdef PLACE
// The n spikes of row k = b T + t.
fn place_row(k: u32, n: u32, offset: u32) {
    let t = k % p.steps;
    let begin = (k / p.steps * p.words + (t >> 5u)) * p.quads;
    let end = min(offset + n, p.event_capacity);
    var at = offset;
    for (var q = 0u; q < p.quads && at < end; q++) {
        let fired = (spike_words[begin + q] >> vec4<u32>(t & 31u)) & vec4<u32>(1u);
        if any(fired != vec4<u32>(0u)) {
#unroll j 4
                if fired[j] != 0u && at < end {
                    events[at] = (t << 16u) | (4u * q + j);
                    at++;
                }
#endunroll
        }
    }
}

#import place_presynaptic
#import place_active
#endif

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // A block has 256 per_lane counts, whatever the number of lanes.
    let per_lane = p.per_lane * (256u / LANES);
    let block = linear_group(workgroup);
    let blocks = (p.scanned + LANES * per_lane - 1u) / (LANES * per_lane);
    var before = 0u;
    var low = 0.0;
    for (var k = lane; k < min(block, blocks); k += LANES) {
        before += counts[block_section(p) + 2u * k];
        low += bitcast<f32>(counts[block_section(p) + 2u * k + 1u]);
    }
    let begin = min((block * LANES + lane) * per_lane, p.scanned);
    let end = min(begin + per_lane, p.scanned);
    var own = 0u;
    for (var k = begin; k < end; k++) {
        own += counts[k];
    }
    let padded = lane + lane / ROOT;
    sums[padded] = own;
    sums_before[padded] = before;
    lows[padded] = low;
    workgroupBarrier();
    if lane < ROOT {
        own = 0u;
        before = 0u;
        low = 0.0;
        for (var k = lane * (ROOT + 1u); k < lane * (ROOT + 1u) + ROOT; k++) {
            let one = sums[k];
            sums[k] = own;
            own += one;
            before += sums_before[k];
            low += lows[k];
        }
        root_sums[lane] = own;
        root_before[lane] = before;
        root_lows[lane] = low;
    }
    workgroupBarrier();
    if lane == 0u {
        var sum = 0u;
        low = 0.0;
        for (var k = 0u; k < ROOT; k++) {
            sum += root_before[k];
            low += root_lows[k];
        }
        if block == blocks {
            offsets[p.scanned] = sum;
            report[p.report_at + 3u] = bitcast<u32>(p.lambda_low / f32(p.neurons) * low);
        }
        for (var k = 0u; k < ROOT; k++) {
            let one = root_sums[k];
            root_sums[k] = sum;
            sum += one;
        }
    }
    workgroupBarrier();
    var offset = root_sums[lane / ROOT] + sums[padded];
#ifdef PLACE
    // Rows and neurons count the same spikes.
    let spikes = report[p.report_at];
#endif
    for (var k = begin; k < end; k++) {
        let n = counts[k];
        offsets[k] = offset;
#ifdef PLACE
        if n != 0u {
            if k < presynaptic_section(p) {
                place_row(k, n, offset);
            } else if k < quad_section(p) {
                place_presynaptic(k - presynaptic_section(p), n, offset - spikes);
            } else {
                place_active(k - quad_section(p), n, offset - 2u * spikes);
            }
        }
#endif
        offset += n;
    }
}
