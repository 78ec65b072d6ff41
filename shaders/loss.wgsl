// Softmax cross entropy of each sample and its gradient, as the error that enters the readout's recurrence:
//   error = gain (softmax - one-hot) / samples of the step
// A workgroup owns a sample.
#import params
#import index

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;                 // (B, Q, 4)
@group(0) @binding(2) var<storage, read> labels: array<u32>;                 // (B)
@group(0) @binding(3) var<storage, read_write> errors: array<f32>;           // (B, Q, 4)
@group(0) @binding(4) var<storage, read_write> sample_loss: array<vec4<f32>>; // (B): cross entropy, rightly classified

const LANES: u32 = 64u;
var<workgroup> highest: array<f32, LANES>;
var<workgroup> where_highest: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let b = linear_group(workgroup);
    let stride = 4u * p.quads;
    let inside = b < p.batch;
    let begin = select(0u, b * stride, inside);
    // The first class of the largest logit.
    var best = -3.4028234e38;
    var best_class = p.neurons;
    for (var c = lane; c < p.neurons; c += LANES) {
        if logits[begin + c] > best || best_class == p.neurons {
            best = logits[begin + c];
            best_class = c;
        }
    }
    highest[lane] = best;
    where_highest[lane] = best_class;
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width {
            let other = highest[lane + width];
            let other_class = where_highest[lane + width];
            if other > highest[lane] || (other == highest[lane] && other_class < where_highest[lane]) {
                highest[lane] = other;
                where_highest[lane] = other_class;
            }
        }
    }
    workgroupBarrier();
    let top = highest[0];
    var sum = 0.0;
    for (var c = lane; c < p.neurons; c += LANES) {
        sum += exp(logits[begin + c] - top);
    }
    sums[lane] = sum;
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width {
            sums[lane] += sums[lane + width];
        }
    }
    workgroupBarrier();
    if !inside {
        return;
    }
    let total = sums[0];
    let label = labels[b];
    let batch = f32(p.total);
    for (var c = lane; c < stride; c += LANES) {
        var error = 0.0;
        if c < p.neurons {
            error = exp(logits[begin + c] - top) / (total * batch);
            if c == label {
                error -= 1.0 / batch;
            }
        }
        errors[begin + c] = p.gain * error;
    }
    if lane == 0u {
        let right = select(0.0, 1.0, where_highest[0] == label);
        sample_loss[b] = vec4<f32>(log(total) - (logits[begin + label] - top), right, 0.0, 0.0);
    }
}
