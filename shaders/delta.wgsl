// Sparse delta recurrence of a spiking layer (Proposition 1), for a chunk of samples. With P = dL/dV and Q = dL/dI,
// both 0 at T, and k[t] = 0 where a reset to a value follows t, else 1:
//   P[t] = alpha k[t] P[t+1] + e[t]                       delta[t] = P[t+1]   (lif)
//   Q[t] = s Q[t+1] + P[t]                                delta[t] = Q[t+1]   (cuba_lif)
// delta is the gradient of the drive: an input spike or the bias at t reaches V and I at t + 1.
// A lane owns four neurons of a sample, keeps P and Q in registers, and goes backwards from the sample's last needed time
// to its first; it reads e from its own range of the active list. A row is written only where the layer below spikes or is
// active; rows after the lane's last error are 0.
#ifdef PATCHES
// A convolution of the input: rows are written where the pixel sees an event, as weight_gradient_conv reads no others.
#endif
#import params
#import index
#import sections
#import active_entry
#import constant_cell
#import cell
// BIAS: the sum of delta over all times, the gradient of the bias for this sample (in a convolution, of this pixel), follows
// the chunk's rows.
#import bias

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;             // quad section
@group(0) @binding(2) var<storage, read> active_entries: array<ActiveEntry>;  // in the order of b, quad, t
@group(0) @binding(3) var<storage, read> entry_errors: array<f32>;        // e of each
@group(0) @binding(4) var<storage, read_write> delta: array<vec4<f32>>;   // (chunk T + bias chunk, strip_quads)
@group(0) @binding(5) var<storage, read> spike_words: array<vec4<u32>>;   // (B, words, Q), of the layer itself
#ifdef PATCHES
@group(0) @binding(6) var<storage, read> patch_start: array<u32>;         // (B pixels + 1)
@group(0) @binding(7) var<storage, read> patches: array<u32>;             // t << 16 | row
#else
@group(0) @binding(6) var<storage, read> needed: array<u32>;              // (B, words), of the layer below
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = linear_group(workgroup) * 64u + lane;
    if id >= p.chunk_samples * p.strip_quads {
        return;
    }
    let local = id / p.strip_quads;
    let own = id % p.strip_quads;
    let q = p.first_quad + own;
    let b = p.first_sample + local;
    let section = quad_section(p);
    let quad = section + b * p.quads + q;
    let begin = min(offsets[quad] - offsets[section], p.active_capacity);
    var left = min(offsets[quad + 1u] - offsets[section], p.active_capacity);
    // P[now + 1] and Q[now + 1].
    var potential = vec4<f32>(0.0);
    var current = vec4<f32>(0.0);
    var sum = vec4<f32>(0.0);
    // Time of the next error, going backwards; 0 if there is none left (an error at 0 reaches no delta).
    var next = 0u;
    if left > begin {
        next = active_entries[left - 1u].row - b * p.steps;
    }
    var now = p.steps - 1u;
#ifdef PATCHES
    let list = b * p.rows * p.columns + own / p.filter_quads;
    let first = patch_start[list];
    var event = min(patch_start[list + 1u], arrayLength(&patches));
    // The gradient of a bias needs all times, down to 0 after the first event.
    var more = event > first || BIAS;
    {
        while more {
            more = event > first;
            var t = 0u;
            if more {
                event--;
                // A stale event of a list that overflowed must not reach past the sample.
                t = min(patches[event] >> 16u, p.steps - 1u);
                more = event > first || BIAS;
            }
#else
    for (var w = p.words; w > 0u; w--) {
        var word = needed[b * p.words + w - 1u];
        if BIAS && w == 1u {
            // The gradient of a bias needs all times.
            word |= 1u;
        }
        while word != 0u {
            let bit = firstLeadingBit(word);
            word &= ~(1u << bit);
            let t = 32u * (w - 1u) + bit;
#endif
            // Everything is 0 after the lane's last error.
            now = select(max(t, min(now, next)), now, any(potential != vec4<f32>(0.0)) || any(current != vec4<f32>(0.0)));
            while now > t {
                potential *= p.alpha;
                if TO_VALUE {
                    let words = spike_words[(b * p.words + (now >> 5u)) * p.quads + q];
                    let fired = (words >> vec4<u32>(now & 31u)) & vec4<u32>(1u);
                    potential = select(potential, vec4<f32>(0.0), fired == vec4<u32>(1u));
                }
                while left > begin && next == now {
                    left--;
                    potential += component(active_entries[left].neuron & 3u, entry_errors[left]);
                    next = 0u;
                    if left > begin {
                        next = active_entries[left - 1u].row - b * p.steps;
                    }
                }
                if CUBA {
                    current = p.synapse * current + potential;
                }
                now--;
                if BIAS {
                    sum += drive_gradient(p, potential, current);
                }
            }
            delta[(local * p.steps + t) * p.strip_quads + own] = drive_gradient(p, potential, current);
        }
    }
    if BIAS {
        delta[(p.chunk_samples * p.steps + local) * p.strip_quads + own] = sum;
    }
}
