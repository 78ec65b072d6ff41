// The task's loss of each sample and its gradient, as the error that enters the last layer's recurrence.
//   cross entropy:  -sum_c q_c log softmax_c,  q_c = `on` where c is the label, else `off`
//                   error = gain (softmax - q) / samples of the step
//   squared error:  (1 / C) sum_c (logit_c - target_c)^2,  target_c = `on` where c is the label, else `off`
//                   error = gain 2 / C (logit - target) / samples of the step
// A workgroup owns a sample.
#import index

struct LossParams {
    batch: u32,           // B
    classes: u32,         // C
    quads: u32,           // Q = ceil(C / 4)
    total: u32,           // samples of the whole step, of which B are computed now
    kind: u32,            // CROSS_ENTROPY or SQUARED_ERROR, as Loss::constants numbers them
    on: f32,              // target of the label
    off: f32,             // target of each other class
    gain: f32,            // what an error is multiplied by where it enters: of the readout's input and of its mean
}

const CROSS_ENTROPY: u32 = 0u;
const SQUARED_ERROR: u32 = 1u;

@group(0) @binding(0) var<uniform> p: LossParams;
@group(0) @binding(1) var<storage, read> logits: array<f32>;                 // (B, Q, 4)
@group(0) @binding(2) var<storage, read> labels: array<u32>;                 // (B)
@group(0) @binding(3) var<storage, read_write> errors: array<f32>;           // (B, Q, 4)
@group(0) @binding(4) var<storage, read_write> sample_loss: array<vec4<f32>>; // (B): loss, rightly classified

const LANES: u32 = 64u;
var<workgroup> highest: array<f32, LANES>;
var<workgroup> where_highest: array<u32, LANES>;
// Of cross entropy the exponentials and the logits, of squared error the squares.
var<workgroup> sums: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let b = linear_group(workgroup);
    let stride = 4u * p.quads;
    let inside = b < p.batch;
    let begin = select(0u, b * stride, inside);
    // The first class of the largest logit.
    var best = -3.4028234e38;
    var best_class = p.classes;
    for (var c = lane; c < p.classes; c += LANES) {
        if logits[begin + c] > best || best_class == p.classes {
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
    let label = labels[select(0u, b, inside)];
    var sum = vec2<f32>(0.0);
    for (var c = lane; c < p.classes; c += LANES) {
        if p.kind == SQUARED_ERROR {
            let missing = logits[begin + c] - select(p.off, p.on, c == label);
            sum.x += missing * missing;
        } else {
            sum.x += exp(logits[begin + c] - top);
            sum.y += logits[begin + c] - top;
        }
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
    let batch = f32(p.total);
    let classes = f32(p.classes);
    for (var c = lane; c < stride; c += LANES) {
        var error = 0.0;
        let aim = select(p.off, p.on, c == label);
        if c < p.classes && p.kind == SQUARED_ERROR {
            error = 2.0 / classes * (logits[begin + c] - aim) / batch;
        } else if c < p.classes {
            error = exp(logits[begin + c] - top) / (total.x * batch) - aim / batch;
        }
        errors[begin + c] = p.gain * error;
    }
    if lane == 0u {
        let right = select(0.0, 1.0, where_highest[0] == label);
        var loss = total.x / classes;
        if p.kind == CROSS_ENTROPY {
            loss = log(total.x) - (p.on - p.off) * (logits[begin + label] - top);
            // Not multiplied by 0: a logit may be infinitely far below.
            if p.off > 0.0 {
                loss -= p.off * total.y;
            }
        }
        sample_loss[b] = vec4<f32>(loss, right, 0.0, 0.0);
    }
}
