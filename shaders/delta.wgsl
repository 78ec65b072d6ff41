// Sparse delta recurrence of a hidden layer (Proposition 1), for a chunk of samples:
//   delta[t] = alpha delta[t+1] + e[t+1]
// A lane owns four neurons of a sample, keeps delta in registers, and walks backwards from the sample's last needed
// time to its first; e is read from the lane's own stretch of the active list. A row is written only where the layer
// below spikes or is active; rows later than the lane's last error get 0.
#ifdef PATCHES
// A convolution of the input: where the pixel sees an event, which is all that weight_gradient_conv reads.
#endif
#import params
#import index
#import sections
#import active_entry

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;             // quad section
@group(0) @binding(2) var<storage, read> active_entries: array<ActiveEntry>;  // in the order of b, quad, t
@group(0) @binding(3) var<storage, read> entry_errors: array<f32>;        // e of each
@group(0) @binding(4) var<storage, read_write> delta: array<vec4<f32>>;   // (chunk T, shard_quads)
#ifdef PATCHES
@group(0) @binding(5) var<storage, read> patch_start: array<u32>;         // (B pixels + 1)
@group(0) @binding(6) var<storage, read> patches: array<u32>;             // t << 16 | row
#else
@group(0) @binding(5) var<storage, read> needed: array<u32>;              // (B, words), of the layer below
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.chunk_samples * p.shard_quads {
        return;
    }
    let local = id / p.shard_quads;
    let own = id % p.shard_quads;
    let q = p.first_quad + own;
    let b = p.first_sample + local;
    let section = quad_section(p);
    let quad = section + b * p.quads + q;
    let begin = min(offsets[quad] - offsets[section], p.active_capacity);
    var left = min(offsets[quad + 1u] - offsets[section], p.active_capacity);
    var value = vec4<f32>(0.0);
    // Time of the next error on the way down; 0 when there is none left (an error at 0 reaches no delta).
    var next = 0u;
    if left > begin {
        next = active_entries[left - 1u].row - b * p.steps;
    }
    // `value` is delta[now].
    var now = p.steps - 1u;
#ifdef PATCHES
    let list = b * p.rows * p.columns + own / p.filter_quads;
    var event = min(patch_start[list + 1u], arrayLength(&patches));
    {
        while event > patch_start[list] {
            event--;
            // A stale event of a list that overflowed must not reach past the sample.
            let t = min(patches[event] >> 16u, p.steps - 1u);
#else
    for (var w = p.words; w > 0u; w--) {
        var word = needed[b * p.words + w - 1u];
        while word != 0u {
            let bit = firstLeadingBit(word);
            word &= ~(1u << bit);
            let t = 32u * (w - 1u) + bit;
#endif
            // Nothing happens above the lane's last error.
            now = select(max(t, min(now, next)), now, any(value != vec4<f32>(0.0)));
            while now > t {
                value *= p.alpha;
                while left > begin && next == now {
                    left--;
                    value += component(active_entries[left].neuron & 3u, entry_errors[left]);
                    next = 0u;
                    if left > begin {
                        next = active_entries[left - 1u].row - b * p.steps;
                    }
                }
                now--;
            }
            delta[(local * p.steps + t) * p.shard_quads + own] = value;
        }
    }
}
