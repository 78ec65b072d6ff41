// Whether atomics lose anything: tickets drawn from shared counters, bits set in shared words, a sum in workgroup memory.
struct AtomicsParams {
    counters: u32,
}

@group(0) @binding(0) var<uniform> p: AtomicsParams;
@group(0) @binding(1) var<storage, read_write> counters: array<atomic<u32>>;  // (counters)
@group(0) @binding(2) var<storage, read_write> tickets: array<u32>;         // (lanes)
@group(0) @binding(3) var<storage, read_write> bits: array<atomic<u32>>;    // (lanes / 32)
@group(0) @binding(4) var<storage, read_write> sums: array<u32>;            // (workgroups): the lanes' numbers, added

const LANES: u32 = 64u;
var<workgroup> own: atomic<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = (workgroup.x * LANES) + lane;
    if lane == 0u {
        atomicStore(&own, 0u);
    }
    workgroupBarrier();
    tickets[id] = atomicAdd(&counters[id % p.counters], 1u);
    // Neighbouring lanes set bits of different words.
    let word = id % (LANES / 32u);
    let bit = (id / (LANES / 32u)) % 32u;
    atomicOr(&bits[(workgroup.x * (LANES / 32u)) + word], 1u << bit);
    atomicAdd(&own, lane);
    workgroupBarrier();
    if lane == 0u {
        sums[workgroup.x] = atomicLoad(&own);
    }
}
