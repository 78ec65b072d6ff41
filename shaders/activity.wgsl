// Activity regularisers of a hidden layer, zeta_i = spikes of neuron i in the sample:
//   lambda_up max(0, mean_i zeta_i - nu_up),  (lambda_low / N) sum_i max(0, nu_low - zeta_i)^2
// and the upper term's part of the spike gradient. A workgroup owns a sample.
#import params
#import index
#import sections
#import regularisers

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;                // presynaptic section: zeta
@group(0) @binding(2) var<storage, read_write> activity: array<vec4<f32>>;  // (B): upper, lower term, upper gradient, 0

const LANES: u32 = 64u;
var<workgroup> totals: array<u32, LANES>;
var<workgroup> lows: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let b = linear_group(workgroup);
    let inside = b < p.batch;
    var total = 0u;
    var low = 0.0;
    if inside {
        for (var i = lane; i < p.neurons; i += LANES) {
            let zeta = counts[presynaptic_index(p, b, i)];
            let missing = max(0.0, p.nu_low - f32(zeta));
            total += zeta;
            low += missing * missing;
        }
    }
    totals[lane] = total;
    lows[lane] = low;
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width {
            totals[lane] += totals[lane + width];
            lows[lane] += lows[lane + width];
        }
    }
    if inside && lane == 0u {
        let n = f32(p.neurons);
        let over = f32(totals[0]) / n - p.nu_up;
        let low = p.lambda_low * lows[0] / n;
        activity[b] = vec4<f32>(p.lambda_up * max(0.0, over), low, upper_gradient(p, totals[0]), 0.0);
    }
}
