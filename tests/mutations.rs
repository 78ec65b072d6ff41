//! Tests of the tests: the comparisons of `twins.rs` and `conformance.rs` must notice each single mistake that is inserted
//! into a shader.
//!
//! If you change a kernel, adapt its mutations: it is an error if their text does not occur exactly once.

mod common;

use common::*;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use rayon::prelude::*;
use spikegrad::engine::{Engine, Inspection, LayerMethod, Method, Prediction, StepReport, TrainingState};
use spikegrad::events::EventSet;
use spikegrad::golden::{self, ConformanceDevice, DeltaInputs};
use spikegrad::gpu::shaders::ALL;
use spikegrad::gpu::{GpuEngine, GpuOptions, Tier, Variant};
use spikegrad::network::{Logits, Network, ReadoutGain};
use spikegrad::optimiser::Adam;
use spikegrad::weights::Weights;
use spikegrad::{Error, Result};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The comparison that must notice a mutation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    /// Two hidden layers, more than one block of counts, chunks of 3, 3, 3 and 2 samples, kernels of software adapters.
    Sparse,
    /// Sum readout, a chunk for each sample, kernels of hardware adapters.
    Hardware,
    /// The first list to overflow is one of active entries.
    ManyActive,
    /// The first list to overflow is one of spikes.
    ManySpikes,
    /// More than 256 blocks of 256 counts, more than 256 samples.
    ManyCounts,
    /// Samples of a training set that the device holds in several buffers, in pieces of two.
    Held,
    /// More workgroups than one dimension of a dispatch takes, more than 256 blocks of 1,024 input counts.
    ManyGroups,
    /// The dense method, weight gradients in parts.
    Dense,
    /// The same with the kernels of hardware adapters.
    DenseHardware,
    /// Weights in strips.
    Strips,
    /// The reference method.
    Reference,
    /// The sparse step with the lower layers dense, in chunks of 3, 3, 3 and 2 samples.
    Mixed,
    /// Layers above the first dense, a chunk for each sample, kernels of hardware adapters.
    MixedHardware,
    /// A linear layer below two convolutions, with biases, chunks of a sample.
    Convs,
    /// A convolution of the input, few events and long pauses between them.
    ConvInput,
    /// Current-based cells, resets to a value, spike counts, squared error; kernels of software adapters, chunks of 3.
    OtherCells,
    /// Biases, a readout of means, smoothed labels; the same kernels and chunks.
    Biased,
    /// The same with the last potentials and kernels of hardware adapters.
    LastReadout,
    /// A convolution of the input, current-based and reset to a value.
    ConvCells,
    /// A convolution of the input with biases, whose pixels see few events or none; chunks of a sample.
    ConvBiased,
    /// Recurrent layers of both cells and resets, a readout of means with biases, lists that overflow, chunks of 3 samples.
    Recurrent,
    /// As `Sparse`, by the lock-step kernels.
    InStep,
    /// Lists of a recurrent network that overflow in a training step.
    RecurrentCramped,
    /// Recurrent spike counts above a recurrent layer, a chunk for each sample, small workgroups.
    RecurrentCounts,
    /// More time steps than llvmpipe computes in one dispatch, sums.
    RecurrentLong,
    /// More neurons than a summary of spikes has bits, last potentials.
    RecurrentWide,
    /// The golden case of exact equalities, by either method.
    Ties(Method),
}

use Seen::*;

const SCENARIOS: [Seen; 28] = [
    InStep,
    Recurrent,
    RecurrentCramped,
    RecurrentCounts,
    RecurrentLong,
    RecurrentWide,
    OtherCells,
    Biased,
    LastReadout,
    ConvCells,
    ConvBiased,
    Convs,
    ConvInput,
    Sparse,
    Hardware,
    ManyActive,
    ManySpikes,
    ManyCounts,
    Held,
    ManyGroups,
    Dense,
    DenseHardware,
    Strips,
    Reference,
    Mixed,
    MixedHardware,
    Ties(Method::Sparse),
    Ties(Method::Dense),
];

impl Seen {
    fn method(self) -> Method {
        match self {
            Dense | DenseHardware => Method::Dense,
            Reference => Method::Reference,
            Ties(method) => method,
            _ => Method::Sparse,
        }
    }

    /// Which weight layers are dense, where some are.
    fn layers(self) -> Option<[LayerMethod; 3]> {
        use LayerMethod::{Dense as D, Sparse as S};
        match self {
            Mixed => Some([D, D, S]),
            MixedHardware => Some([S, D, D]),
            _ => None,
        }
    }
}

/// File, text that occurs in it once, its replacement, and the scenarios that must notice it.
type Mutation = (&'static str, &'static str, &'static str, Seen);

#[rustfmt::skip]
const MUTATIONS: &[Mutation] = &[
    ("lockstep_forward", "next = atomicLoad(&counts[p.next_at + b]);", "next += 0u;", RecurrentLong),
    ("lockstep_forward", "mark(p, last % 3u, q, bits);", "mark(p, p.from_step % 3u, q, bits);", RecurrentLong),
    ("lockstep_forward", "= atomicLoad(&counts[all_entries_index(layer(lane), b)]);", "= 0u;", RecurrentLong),
    ("lockstep_forward", "let old = (t + 2u) % 3u;", "let old = (t + 1u) % 3u;", Recurrent),
    ("lockstep_forward", "atomicStore(&masks[coming * MOST_WORDS + k], 0u);", "atomicLoad(&masks[k]);", Recurrent),
    ("lockstep_forward", "                row = loaded;\n", "                row += loaded;\n", Recurrent),
    ("lockstep_forward", "return input + row;", "return input;", Recurrent),
    ("lockstep_forward", "let w = 32u * s + firstTrailingBit(words);", "let w = firstTrailingBit(words);", RecurrentWide),
    ("lockstep_forward", "s * 1024u < below.neurons", "s < 1u", RecurrentWide),
    ("lockstep_forward", "p.summary_at + w / 32u]", "p.summary_at]", RecurrentWide),
    ("lockstep_forward", "first + p.inputs * p.quads", "first", Recurrent),
    ("lockstep_forward", "current += weights[p.weights_at + p.bias_row * p.quads + q];", "current += 0.0 * weights[0];", Recurrent),
    ("lockstep_forward", "next_then += how_many(ahead_then, t);", "next_then += 4u;", Recurrent),
    ("shared/integrator", "p.gain * input", "input", Recurrent),
    ("shared/integrator", "all.value * p.logit_scale", "all.value", Recurrent),
    ("shared/integrator", "Logits(v, vec4<u32>", "Logits(all.value + v, vec4<u32>", RecurrentWide),
    ("lockstep_forward", "so_far = up_to(p, t, Logits(state[logit_at]", "so_far = up_to(p, t, Logits(0.5 * state[logit_at]", InStep),
    ("shared/integrator", "select(before.peak, vec4<u32>(t), higher)", "vec4<u32>(t)", InStep),
    ("lockstep_forward", "vec4<f32>(p.kick), fired)", "vec4<f32>(p.kick), valid)", Recurrent),
    ("lockstep_forward", "let active_now = (distance < vec4<f32>(p.band)) & valid;", "let active_now = distance < vec4<f32>(p.band);", RecurrentLong),
    ("lockstep_forward", "spike_words[words_at] |=", "spike_words[words_at] =", Recurrent),
    ("lockstep_forward", "sample_section(p) + b], countOneBits(spikes));", "sample_section(p) + b], 1u);", Recurrent),
    ("lockstep_forward", "presynaptic_index(p, b, neurons[k])], 1u);", "presynaptic_index(p, b, neurons[k])], 2u);", Recurrent),
    ("lockstep_forward", "entry += atomicAdd(&fresh[now * MOST_LAYERS + l], countOneBits(actives));", "entry += atomicAdd(&fresh[now * MOST_LAYERS + l], 1u);", Recurrent),
    ("lockstep_forward", "entries[entry_at] = t;", "entries[entry_at] = t + 1u;", Recurrent),
    ("lockstep_forward", "bitcast<u32>(surrogate(p, distance[k]))", "bitcast<u32>(surrogate(p, 2.0 * distance[k]))", Recurrent),
    ("lockstep_forward", "atomicOr(&counts[p.needed_at + row], 1u << (t & 31u));", "atomicOr(&counts[p.needed_at + row], 1u);", Recurrent),
    ("lockstep_forward", "v = after_spike(p, v, spike);", "v = after_spike(p, v, active_now);", RecurrentCounts),
    ("lockstep_forward", "atomicMax(&counts[most_entries_index(p)], all);", "atomicMax(&counts[most_entries_index(p)], 1u);", Recurrent),
    ("lockstep_forward", "low += missing * missing;", "low += missing;", Recurrent),
    ("lockstep_forward", "                    low += lows[k];", "                    low = lows[k];", Recurrent),
    ("lockstep_report", "vec2<u32>(spikes, counts", "vec2<u32>(1u, counts", Recurrent),
    ("lockstep_report", "counts[all_entries_index(p, b)]", "spikes", Recurrent),
    ("lockstep_report", "- p.nu_up", "+ p.nu_up", Recurrent),
    ("lockstep_report", "p.lambda_low / f32(p.neurons)", "p.lambda_low", Recurrent),
    ("lockstep_report", "counts[most_entries_index(p)] > p.room", "false", RecurrentCramped),
    ("lockstep_backward", "return min(counts[all_entries_index(p, b)], p.room);", "return 0u;", Recurrent),
    ("lockstep_backward", "weights[row + q] * state[d + q]", "weights[row + q] * state[d]", Recurrent),
    ("lockstep_backward", "above.weights_at + i * above.quads", "above.weights_at", Recurrent),
    ("lockstep_backward", "(own.inputs + i) * own.quads", "i * own.quads", Recurrent),
    ("lockstep_backward", "total += partial[lane + k];", "total = partial[lane + k];", Recurrent),
    ("lockstep_backward", "ds += total.y;", "ds -= total.y;", Recurrent),
    ("lockstep_backward", "ds = ds + up + low;", "ds = ds + up;", Recurrent),
    ("lockstep_backward", "ds = ds + up + low;", "ds = ds + low;", Recurrent),
    ("lockstep_backward", "total.x = errors[b * own.quads + i / 4u][i & 3u];", "total.x = errors[i / 4u][i & 3u];", RecurrentCounts),
    ("lockstep_backward", "entry += first;", "entry += 0u;", Recurrent),
    ("lockstep_backward", "entry -= n;", "entry -= 0u;", RecurrentCounts),
    ("lockstep_backward", "var read = p.recurrent != 0u && needs(", "var read = false && needs(", Recurrent),
    ("lockstep_backward", "read = read || needs(", "read = read && needs(", Recurrent),
    ("lockstep_backward", "read = read || ((needed[", "read = read && ((needed[", Recurrent),
    ("lockstep_backward", "            potential *= p.alpha;\n", "", Recurrent),
    ("lockstep_backward", "potential += error;", "potential = error;", Recurrent),
    ("lockstep_backward", "error, peak == vec4<u32>(t));", "error, peak <= vec4<u32>(t));", InStep),
    ("lockstep_backward", "fired == vec4<u32>(1u));", "fired == vec4<u32>(2u));", RecurrentCounts),
    ("lockstep_backward", "potential += bitcast<vec4<f32>>(bits);", "potential -= bitcast<vec4<f32>>(bits);", Recurrent),
    ("lockstep_backward", "                        entries[e + k] = 0u;\n", "", Recurrent),
    ("lockstep_backward", "current = p.synapse * current + potential;", "current = p.synapse * current;", RecurrentCounts),
    ("lockstep_backward", "            state[at] = potential;\n", "            state[at] = vec4<f32>(0.0);\n", Recurrent),
    ("lockstep_backward", "if p.bias_row != 0u && t > 0u {", "if p.bias_row != 0u {", RecurrentCounts),
    ("lockstep_backward", "if p.to_step == p.steps {", "if p.to_step > 0u {", RecurrentLong),
    ("lockstep_weights", "+ local)] != 0u", "+ local)] == 0u", Recurrent),
    ("shared/cut_short", "iterations < 2u", "iterations < 3u", Recurrent),
    ("lockstep_weights", "select(0u, own.inputs, l == 0u)", "select(0u, own.inputs, true)", Recurrent),
    ("lockstep_weights", "sum = gradient[at];", "sum = vec4<f32>(0.0);", Recurrent),
    ("lockstep_weights", "for (var local = 0u; local < p.chunk_samples; local++) {", "for (var local = 0u; local < 1u; local++) {", Recurrent),
    ("lockstep_weights", "            i = row;\n", "            i = 0u;\n", Recurrent),
    ("lockstep_weights", "p.first_sample * p.words * spiking.quads", "0u", Recurrent),
    ("lockstep_weights", "w % p.words * 32u;", "0u;", Recurrent),
    ("lockstep_weights", "select(0u, roots[k], k < lane / ROOT)", "0u", RecurrentLong),
    ("lockstep_weights", "place += counted[k];", "place += 0u;", Recurrent),
    ("lockstep_weights", "if atomicLoad(&status[0]) != 0u {", "if atomicLoad(&status[0]) == 7u {", RecurrentCramped),
    ("lockstep_weights", "apply_adam(at, sum,", "apply_adam(at, 2.0 * sum,", Recurrent),
    ("shared/adam", "    first[i] = m;\n", "", Recurrent),
    ("lif_forward", "let b = list / pixels;", "let b = list % p.batch;", Convs),
    ("lif_forward", "let q = list % pixels * p.strip_quads + own;", "let q = (pixels - 1u - list % pixels) * p.strip_quads + own;", Convs),
    ("lif_forward", "    placed = true;\n", "", Convs),
    ("patches", "tile > 0u; tile--", "tile > 1u; tile--", Convs),
    ("patches", "entry < p.kernel * p.kernel;", "entry < p.kernel * p.kernel - 1u;", Convs),
    ("patches", "entry / p.kernel, entry % p.kernel)", "entry % p.kernel, entry / p.kernel)", Convs),
    ("patches", "if pixel != NOT_SEEN {", "if pixel != 0u {", Convs),
    ("patches", "(i / map * p.kernel * p.kernel + entry)", "entry", Convs),
    ("shared/conv", "let y = at / p.map_width + p.padding - ky;", "let y = at / p.map_width - ky;", Convs),
    ("shared/conv", "let x = at % p.map_width + p.padding - kx;", "let x = at % p.map_width + p.padding - ky;", Convs),
    ("shared/conv", "row * p.stride == y && ", "", Convs),
    ("shared/conv", "row < p.rows && column < p.columns", "row < p.rows", Convs),
    ("shared/windows", "(w / p.pooled_columns * p.pool_columns +", "(w / p.pooled_columns * p.pooled_columns +", Convs),
    ("shared/windows", "first + k / p.pool * p.pool_columns", "first + k / p.pool", Convs),
    ("pool", "n < p.pool * p.pool", "n < p.pool", Convs),
    ("pool", "let lanes = p.windows * p.pool_quads;", "let lanes = p.quads;", Convs),
    ("pool", "let quad = id % p.pool_quads;", "let quad = 0u;", Convs),
    ("pool", "spikes += countOneBits(words);", "spikes += min(words, vec4<u32>(1u));", Convs),
    ("pool", "+ j + k * p.windows] = words[k];", "+ j + k * p.windows] = words.x;", Convs),
    ("pool", "(fired.x + fired.y) + (fired.z + fired.w)", "1u", Convs),
    ("delta", "own / p.filter_quads;", "own % p.filter_quads;", ConvInput),
    ("delta", "let first = patch_start[list];", "let first = patch_start[list] + 1u;", ConvInput),
    ("lif_forward", "let below = (v[n] <= vec4<f32>(p.v_th)) &", "let below =", ConvInput),
    ("lif_forward", "&& (event >> 16u) + 1u >= stop;", "&& (event >> 16u) + 3u >= stop;", ConvInput),
    ("lif_forward", "                    v[n] *= p.alpha;\n", "", ConvInput),
    ("lif_forward", "let from_step = select(begin, stop, away);", "let from_step = select(begin, stop, away || begin == 8u);", ConvInput),
    ("spike_gradient_conv", "var winner = first;", "var winner = pixel;", Convs),
    ("spike_gradient_conv", "for (var dx = p.pool; dx > 0u; dx--) {", "for (var dx = 1u; dx <= p.pool; dx++) {", Convs),
    ("spike_gradient_conv", "(dy - 1u) * p.pool_columns", "(dy - 1u)", Convs),
    ("spike_gradient_conv", "own * p.windows + w, winner == pixel", "own * p.windows + w, winner <= pixel", Convs),
    ("spike_gradient_conv", "column >= p.pooled_columns || ", "", Convs),
    ("spike_gradient_conv", "k < p.kernel * p.kernel; k++", "k < p.kernel; k++", Convs),
    ("spike_gradient_conv", "(channel * p.kernel * p.kernel + k)", "k", Convs),
    ("spike_gradient_conv", "weights[i * p.strip_quads + q]", "weights[q]", Convs),
    ("spike_gradient_conv", "(total + up + low)", "(total + up)", Convs),
    ("weight_gradient_conv", "first + y * p.map_width + x;", "y * p.map_width + x;", Convs),
    ("weight_gradient_conv", "row * p.stride + ky - p.padding", "row * p.stride + ky", Convs),
    ("weight_gradient_conv", "if x < p.map_width {", "if x <= p.map_width {", Convs),
    ("weight_gradient_conv", "if p.first_sample > 0u || p.accumulate != 0u {", "if p.accumulate != 0u {", Convs),
    ("weight_gradient_conv", "(spike * pixels + pixel)", "(spike * pixels)", Convs),
    ("weight_gradient_conv", "let kx = entry % p.kernel;", "let kx = ky;", Convs),
    ("lif_forward", "kick[n] = select(vec4<f32>(0.0), vec4<f32>(p.kick), spike);", "kick[n] = vec4<f32>(0.0);", Sparse),
    ("shared/cell", "p.alpha * v + p.leak", "(p.alpha + 1e-3) * v + p.leak", Sparse),
    ("shared/cell", "p.alpha * v + p.leak", "p.alpha * v", Sparse),
    ("shared/cell", " - kick;", ";", Sparse),
    ("shared/cell", "p.synapse * current", "current", OtherCells),
    ("shared/cell", "return v + input;", "return input;", OtherCells),
    ("shared/cell", "vec4<f32>(p.v_r), spike", "vec4<f32>(0.0), spike", OtherCells),
    ("shared/cell", "return current;", "return potential;", OtherCells),
    ("lif_forward", "input[n] += bias[n];", "input[n] += 0.5 * bias[n];", Biased),
    ("lif_forward", "p.strip_quads + own + min(n, width - 1u)];", "p.strip_quads + own];", Biased),
    ("lif_forward", "current[n] = select(input[n], vec4<f32>(0.0), t == 0u);", "current[n] = input[n];", OtherCells),
    ("lif_forward", "v[n] = after_spike(p, v[n], spike);", "", OtherCells),
    ("lif_forward", "var calm = !CUBA && ", "var calm = ", ConvCells),
    ("lif_forward", "let g = surrogate(", "let g = 0.5 * surrogate(", Sparse),
    ("shared/surrogate", "((x + 1.0) * (x + 1.0))", "(x + 1.0)", Sparse),
    ("shared/surrogate", "p.beta * z /", "z /", OtherCells),
    ("shared/surrogate", "1.5707964 * x", "x", OtherCells),
    ("shared/surrogate", "max(0.0, 1.0 - x)", "max(0.0, 1.0 - 0.5 * x)", Biased),
    ("shared/surrogate", "shape = 0.5 * p.beta;", "shape = p.beta;", Biased),
    ("shared/surrogate", "0.3989423", "0.4", OtherCells),
    ("shared/surrogate", "exp(-0.5 * x * x)", "exp(-x * x)", OtherCells),
    ("shared/surrogate", "p.surrogate_scale * shape", "shape", Biased),
    ("shared/surrogate", "surrogate(p, d.y)", "surrogate(p, d.x)", Dense),
    ("shared/surrogate", "surrogate(p, d.w)", "surrogate(p, d.x)", Reference),
    ("lif_forward", "(event >> 16u) < t", "(event >> 16u) + 1u < t", Sparse),
    ("lif_forward", "(v[n] > vec4<f32>(p.v_th))", "(v[n] >= vec4<f32>(p.v_th))", Ties(Method::Sparse)),
    ("lif_forward", "(distance < vec4<f32>(p.band))", "(distance <= vec4<f32>(p.band))", Ties(Method::Sparse)),
    ("lif_forward", "vec4<u32>(chain[n], row,", "vec4<u32>(0u, row,", Sparse),
    ("lif_forward", "atomicAdd(&counts[sample_section(p) + b], all);", "atomicAdd(&counts[sample_section(p) + b], all + 1u);",
        Sparse),
    ("lif_forward", "any_of_four(any_spike | any_active)", "any_of_four(any_spike)", Sparse),
    ("lif_forward", "let end = min(input_start[(list + 1u) * p.input_stride], p.input_capacity);",
        "let end = max(1u, min(input_start[(list + 1u) * p.input_stride], p.input_capacity)) - 1u;", Sparse),

    ("scan_reduce", "k < min(begin + per_lane, p.counts)", "k + 1u < min(begin + per_lane, p.counts)", ManyGroups),
    ("scan_reduce", "width = LANES / 2u", "width = LANES / 4u", ManyGroups),
    ("scan_blocks", "carry + sums[lane] - own", "carry + sums[lane]", Sparse),
    ("scan_blocks", "carry + sums[lane] - own", "sums[lane] - own", ManyGroups),
    ("scan_apply", "block_sums[block] + sums[lane] - own", "block_sums[0] + sums[lane] - own", ManyGroups),
    ("scan_apply", "sums[lane] - own", "sums[lane]", Sparse),
    ("scan_apply", "if end == p.counts {", "if end > p.counts {", Sparse),

    ("summarise", "k < min(begin + per_lane, p.scanned)", "k + 1u < min(begin + per_lane, p.scanned)", Sparse),
    ("summarise", "k < (lane + 1u) * ROOT", "k + 1u < (lane + 1u) * ROOT", Sparse),
    ("summarise", "sum > p.event_capacity || entries > p.active_capacity", "sum > p.event_capacity", ManyActive),
    ("summarise", "sum > p.event_capacity || entries > p.active_capacity", "entries > p.active_capacity", ManySpikes),
    ("summarise", "report[p.report_at] = sum;", "report[p.report_at] = sum + 1u;", Sparse),
    ("summarise", "b += LANES", "b += 2u * LANES", ManyCounts),
    ("summarise", "f32(spikes) / f32(p.neurons) - p.nu_up", "f32(spikes) / f32(p.neurons)", Sparse),
    ("summarise", "p.lambda_up * term", "term", Sparse),
    ("summarise", "term += missing * missing;", "term += missing;", Sparse),
    ("summarise", "k >= neurons && k < quads", "k < quads", Sparse),
    ("summarise", "&& is_neuron(k - neurons)", "", Convs),
    ("summarise", "% (4u * p.filter_quads)", "% 4u", Convs),

    ("compact", "k < min(block, blocks)", "k < 0u * min(block, blocks)", ManyCounts),
    ("compact", "k += LANES", "k += 2u * LANES", ManyCounts),
    ("compact", "sums[k] = own;", "sums[k] = own + one;", Sparse),
    ("compact", "root_sums[lane / ROOT] + sums[padded]", "root_sums[lane / ROOT]", Sparse),
    ("compact", "offsets[p.scanned] = sum;", "offsets[p.scanned] = sum + 1u;", Sparse),
    ("compact", "p.lambda_low / f32(p.neurons) * low", "p.lambda_low * low", Sparse),
    ("compact", "| (4u * q + j)", "| (4u * q + 3u - j)", Hardware),
    ("compact", "vec4<u32>(t & 31u)", "vec4<u32>(t & 15u)", Hardware),
    ("compact", "offset - spikes", "offset - spikes + 1u", Hardware),
    ("compact", "offset - 2u * spikes", "offset - spikes", Hardware),
    ("shared/place_presynaptic", "own.local * p.steps + 32u * w", "(own.first + own.local) * p.steps + 32u * w", Sparse),
    ("shared/place_presynaptic", "w < p.words", "w + 1u < p.words", Sparse),
    ("shared/sections", "% samples, (k", "% p.chunk, (k", Sparse),
    ("shared/place_active", "link = entry.x;", "link = link - 1u;", Sparse),
    ("scatter_rows", "next[t * LANES + lane] = to + 1u;", "", Sparse),
    ("scatter_rows", "word.z != 0u", "word.z == 0u", Sparse),
    ("scatter_rows", "(begin + t) << 16u", "t << 16u", Sparse),
    ("scatter_rows", "min(32u, p.steps - begin)", "min(31u, p.steps - begin)", Sparse),
    ("scatter_presynaptic", "offset - offsets[section]", "offset", Sparse),
    ("scatter_presynaptic", "offsets[section + k + 1u] - offset", "1u", Sparse),
    ("scatter_active", "offset - offsets[section]", "offset", Sparse),

    ("gather", "event & 0xffffu)], 1u)", "event & 0xffffu)], 2u)", Sparse),
    ("gather", "1u << (t & 31u)", "1u << (t & 15u)", Sparse),
    ("gather", "sample.y != p.bank", "sample.y > p.bank", Held),
    ("gather", "held[sample.x + (k - begin)]", "held[sample.x + k]", Held),
    ("gather", "labels[b] = sample.z;", "labels[b] = sample.z & 0u;", Held),
    ("gather", "starts[p.batch] = end;", "starts[p.batch] = begin;", Held),
    ("scatter_input", "first_row + (event >> 16u)", "first_row + (event >> 16u) + 1u", Sparse),
    ("scatter_input", "b % p.chunk * p.steps", "b * p.steps", Sparse),
    ("scatter_input", "begin + (tile - 1u) * LANES + lane", "begin + lane", Sparse),
    ("sort_input", "presynaptic[at] = row;", "presynaptic[k] = row;", Sparse),
    ("sort_input", "presynaptic[at] = before;", "presynaptic[at] = row;", Sparse),
    ("shared/input_lists", "first * p.inputs + i * samples", "first * p.inputs + i * p.chunk", Sparse),

    ("shared/integrator", "v > before.value", "v >= before.value", Ties(Method::Sparse)),
    ("shared/integrator", "p.gain * input", "input", Sparse),
    ("readout", "up_to(p, t, so_far, v)", "up_to(p, t - 1u, so_far, v)", Sparse),
    ("shared/integrator", "before.value + v", "v", Hardware),
    ("readout", "bias = weights[p.inputs * p.strip_quads + own];", "bias = 0.5 * weights[p.inputs * p.strip_quads + own];", Biased),
    ("shared/integrator", "all.value * p.logit_scale", "all.value", Biased),
    ("readout", "completed(p, so_far, v)", "completed(p, so_far, 0.5 * v)", LastReadout),
    ("shared/integrator", "vec4<u32>(p.steps - 1u)", "all.peak", LastReadout),
    ("spike_count", "presynaptic_index(p, b, first + k)", "presynaptic_index(p, b, first)", OtherCells),
    ("spike_count", "if first + k < p.neurons {", "if first + k + 1u < p.neurons {", OtherCells),
    ("loss", "let missing = logits[begin + c] - select(p.off, p.on, c == label);",
        "let missing = logits[begin + c] - select(p.on, p.off, c == label);", OtherCells),
    ("loss", "let aim = select(p.off, p.on, c == label);", "let aim = select(p.on, p.off, c == label);", OtherCells),
    ("loss", "let aim = select(p.off, p.on, c == label);", "let aim = select(0.0, p.on, c == label);", Biased),
    ("loss", "2.0 / classes *", "2.0 *", OtherCells),
    ("loss", "var loss = total.x / classes;", "var loss = total.x;", OtherCells),
    ("loss", "sum.x += missing * missing;", "sum.x += missing;", OtherCells),
    ("loss", "sum.y += logits[begin + c] - top;", "sum.y += logits[begin + c];", Biased),
    ("loss", "loss -= p.off * total.y;", "", Biased),
    ("loss", "- aim / batch;", "- aim;", Sparse),
    ("loss", "errors[begin + c] = p.gain * error;", "errors[begin + c] = error;", Sparse),
    ("loss", "where_highest[0] == label", "where_highest[0] != label", Sparse),
    ("loss", "log(total.x) - (p.on - p.off) * (logits[begin + label] - top)", "log(total.x)", Sparse),
    ("loss", "log(total.x) - (p.on - p.off) *", "log(total.x) -", Biased),
    ("shared/regularisers", "p.lambda_up / (f32(p.neurons) * f32(p.total))", "p.lambda_up / f32(p.neurons)", Dense),
    ("activity", "low += missing * missing;", "low += missing;", Dense),
    ("activity", "p.lambda_up * max(0.0, over)", "p.lambda_up * over", Dense),
    ("report", "bitcast<u32>(sums[0].x)", "0u", Sparse),
    ("report", "bitcast<u32>(sums[0].y)", "bitcast<u32>(sums[0].x)", Sparse),
    ("report", "b < p.batch", "b < min(p.batch, LANES)", ManyCounts),
    ("report", "report[1] = status[0];", "report[1] = 0u * status[0];", ManyActive),
    ("report", "report[0] = step[0];", "report[0] = step[0] + 1u;", Sparse),

    ("delta_readout", "p.first_sample + local", "local", Sparse),
    ("delta_readout", "peak == vec4<u32>(now)", "peak == vec4<u32>(now - 1u)", Sparse),
    ("delta_readout", "value += error;", "value = error;", Hardware),
    ("delta", "p.first_sample + local", "local", Sparse),
    ("delta", "potential *= p.alpha;", "potential *= p.alpha - 1e-3;", Sparse),
    ("delta", "if TO_VALUE {", "if false {", OtherCells),
    ("delta", "if TO_VALUE {", "if false {", ConvCells),
    ("delta", "(now >> 5u)", "(t >> 5u)", OtherCells),
    ("delta", "(now & 31u)", "(t & 31u)", OtherCells),
    ("delta", "current = p.synapse * current + potential;", "current = p.synapse * current;", OtherCells),
    ("delta", "current = p.synapse * current + potential;", "current += potential;", OtherCells),
    ("delta", " || any(current != vec4<f32>(0.0))", "", ConvCells),
    ("delta", "word |= 1u;", "", Biased),
    ("delta", "sum += drive_gradient(p, potential, current);", "sum = drive_gradient(p, potential, current);", Biased),
    ("delta", "(p.chunk_samples * p.steps + local)", "(p.chunk_samples * p.steps)", Biased),
    ("delta", "                more = event > first || BIAS;", "                more = event > first;", ConvBiased),
    ("delta", "var more = event > first || BIAS;", "var more = event > first;", ConvBiased),
    ("lif_forward", "let rows = patch_size(p);", "let rows = patch_size(p) - 1u;", ConvBiased),
    ("lif_forward", "!CUBA && !BIAS && p.leak", "!CUBA && p.leak", ConvBiased),
    ("shared/conv", "p.kernel * p.kernel;", "p.kernel;", Convs),
    ("weight_gradient_conv", "let first_row = p.chunk_samples * p.steps;", "let first_row = 0u;", ConvBiased),
    ("weight_gradient_conv", "sum += delta[(first_row", "sum = delta[(first_row", Convs),
    ("delta_readout", "word |= 1u;", "", Biased),
    ("delta_readout", "sum += value;", "sum = value;", Biased),
    ("delta_readout", "(p.chunk_samples * p.steps + local)", "(p.chunk_samples * p.steps)", Biased),
    ("weight_gradient", "(p.inputs + select(0u, 1u, BIAS)) * lanes", "p.inputs * lanes", Biased),
    ("weight_gradient", "let past = select(at + p.presynaptic_stride, at, is_bias);", "let past = at + p.presynaptic_stride;", Biased),
    ("weight_gradient", "if is_bias {", "if false {", Biased),
    ("weight_gradient", "local < p.chunk_samples; local++", "local + 1u < p.chunk_samples; local++", Biased),
    ("weight_gradient", "delta[behind + min(n, width - 1u)]", "delta[behind]", Biased),
    ("spike_gradient", "errors[at / p.steps * 4u * p.quads + i]", "errors[i]", OtherCells),
    ("spike_gradient", "entry_errors[k] = total * active_entries[k].g;", "entry_errors[k] = total;", OtherCells),
    ("delta", "(local * p.steps + t) * p.strip_quads + own", "(local * p.steps + t + 1u) * p.strip_quads + own", Sparse),
    ("delta", "var left = min(offsets[quad + 1u] - offsets[section], p.active_capacity);",
        "var left = max(begin + 1u, min(offsets[quad + 1u] - offsets[section], p.active_capacity)) - 1u;", Sparse),
    ("delta", "any(potential != vec4<f32>(0.0)) ||", "", Sparse),
    ("spike_gradient", "(total + up + low)", "(total - up + low)", Sparse),
    ("spike_gradient", "(total + up + low)", "(total + up + 0.5 * low)", Sparse),
    ("shared/regularisers", "p.lambda_up / (f32(p.neurons) * f32(p.total))", "p.lambda_up / f32(p.neurons)", Sparse),
    ("spike_gradient", "first += p.sweep", "first += 2u * p.sweep", ManyActive),
    ("spike_gradient", "let row = at - p.first_sample * p.steps;", "let row = at;", Sparse),
    ("spike_gradient", "q += PARTS)", "q += PARTS + 1u)", Hardware),
    ("spike_gradient", "weights[w + q + 3u * PARTS]", "weights[w + q + 2u * PARTS]", Hardware),
    ("spike_gradient", "part += SHARE", "part += 2u * SHARE", Sparse),
    ("spike_gradient", "linear_group(workgroup) * entries", "linear_group(workgroup)", Hardware),
    ("spike_gradient", "total += partial[lane + l];", "total += partial[lane];", Hardware),
    ("weight_gradient", "if p.first_sample > 0u ||", "if p.first_sample > p.batch ||", Sparse),
    ("weight_gradient", "(; k < end; k++)", "(; k + 1u < end; k++)", Sparse),
    ("weight_gradient", "sum[n] += d3;", "", Sparse),
    ("weight_gradient", "k + 3u < end", "k + 2u < end", Sparse),
    ("weight_gradient", "k + 15u < end", "k + 14u < end", Hardware),
    ("weight_gradient", "presynaptic[k + n]", "presynaptic[k]", Hardware),
    ("weight_gradient", " || p.accumulate != 0u", "", Held),
    ("loss", "f32(p.total)", "f32(p.batch)", Held),
    ("shared/regularisers", "p.lambda_up / (f32(p.neurons) * f32(p.total))", "p.lambda_up / (f32(p.neurons) * f32(p.batch))", Held),

    ("weight_gradient", "if atomicLoad(&status[0]) != 0u {", "if atomicLoad(&status[0]) > 1u {", ManyActive),
    ("weight_gradient", "apply_adam(own + n, sum[n],", "apply_adam(own + n, 2.0 * sum[n],", Sparse),

    ("adam", "gradient[id]", "2.0 * gradient[id]", Dense),
    ("shared/adam", "before - (a.step_size", "before + (a.step_size", Dense),
    ("shared/adam", "a.decay * before", "a.decay * m", Dense),
    ("shared/adam", "second[i] = v;", "second[i] = m;", Dense),
    ("shared/upcoming", "(ahead.z & 0xffffu)", "(ahead.y & 0xffffu)", Hardware),
    ("shared/upcoming", "(due.x + due.y) + (due.z + due.w)", "1u", Hardware),
    ("shared/upcoming", "input_events[next + 3u]", "input_events[next + 2u]", Hardware),
    ("shared/adam", "sqrt(v) * a.inv_sqrt_correction", "sqrt(v)", Sparse),
    ("shared/adam", "(1.0 - a.beta1) * g", "g", Sparse),
    ("shared/adam", " + a.epsilon", "", ManyActive),
    ("shared/adam", " + a.decay * before", "", Sparse),
    ("shared/adam", "+ a.decay * before", "- a.decay * before", Dense),

    ("dense_input", "input_start[b] + lane", "input_start[b] + lane + 1u", Dense),
    ("gemm", "s33 = multiply_add(s33, y3, x3);", "s33 = multiply_add(s33, y3, x2);", Dense),
    ("gemm", "s21 = outer(s21, y2, x1);", "s21 = outer(s21, y1, x1);", Dense),
    ("gemm", "(part * p.rows + row) * p.out_quads", "row * p.out_quads", Dense),
    ("gemm", "vec4<f32>(y.w), x, sums[3]", "vec4<f32>(y.z), x, sums[3]", Dense),
    ("gemm", "vec4<f32>(x.w), y[3]", "vec4<f32>(x.w), y[2]", DenseHardware),
    ("gemm", "d < STEP", "d + 4u < STEP", DenseHardware),
    ("gemm", "mat4x4<f32>(a_tile[at + 8u + y]", "mat4x4<f32>(a_tile[at + y]", DenseHardware),
    ("gemm", "let b_depths = lane / 16u;", "let b_depths = lane % 4u;", DenseHardware),
    ("gemm", "row + 32u + 4u * y, q + 8u, s11", "row + 32u + 4u * y, q + 8u, s10", DenseHardware),
    ("gemm_sum", "part < p.parts", "part + 1u < p.parts", Dense),
    ("gemm_sum", "sum += parts[part", "sum = parts[part", DenseHardware),
    ("dense_lif", " - p.kick * spike", "", Dense),
    ("dense_lif", "potential > vec4<f32>(p.v_th)", "potential >= vec4<f32>(p.v_th)", Ties(Method::Dense)),
    ("dense_lif", "if t + 1u < p.steps {", "if t < p.steps {", Dense),
    ("shared/integrator", "v > before.value", "v >= before.value", Ties(Method::Dense)),
    ("dense_readout", "integrated(p, potential, v[at])", "integrated(p, potential, 0.5 * v[at])", Dense),
    ("dense_delta_readout", "peak == vec4<u32>(t)", "peak == vec4<u32>(t - 1u)", Dense),
    ("dense_delta_readout", "value *= p.alpha;", "", Dense),
    ("dense_delta", "(distance < vec4<f32>(p.band))", "(distance <= vec4<f32>(p.band))", Ties(Method::Dense)),
    ("lif_forward", "p.first_quad + own", "own", Strips),
    ("lif_forward", "(event & 0xffffu) * p.strip_quads + own", "(event & 0xffffu) * p.quads + q", Strips),
    ("lif_forward", "weights[row + min(n, width - 1u)]", "weights[row + min(n, 0u)]", Sparse),
    ("lif_forward", "select(0u, neurons, n < width)", "neurons", Strips),
    ("readout", "p.first_quad + own", "own", Strips),
    ("readout", "let b = id / p.strip_quads;", "let b = id / p.quads;", Strips),
    ("delta", "p.first_quad + own", "own", Strips),
    ("delta_readout", "p.first_quad + own", "own", Strips),
    ("spike_gradient", "total += entry_errors[k];", "", Strips),
    ("spike_gradient", "p.last_strip == 1u", "true", Strips),
    ("weight_gradient", "let own = i * p.strip_quads + q;", "let own = i * p.quads + q;", Strips),
    ("weight_gradient", "sum[n] += delta[row + min(n, width - 1u)];", "sum[n] += delta[row];", Sparse),
    ("dense_delta", "delta[at] + regularised", "delta[at]", Dense),
    ("dense_delta", "< vec4<f32>(p.band)) & valid", "< vec4<f32>(p.band)) | valid", Dense),
    ("dense_delta", "p.alpha * value + e", "p.alpha * (value + e)", Dense),

    ("expand", "t & 31u", "t & 15u", Mixed),
    ("expand", "p.first_sample + row / p.steps", "row / p.steps", Mixed),
    ("dense_input", "spikes[begin + k] = 0.0;", "spikes[begin + k] *= 1.0;", Mixed),
    ("dense_input", "let b = p.first_sample + local;", "let b = local;", Mixed),
    ("lif_forward", "(max(t, 1u) - 1u) * p.quads", "t * p.quads", Mixed),
    ("lif_forward", "let b = p.first_sample + id / lanes;", "let b = id / lanes;", Mixed),
    ("readout", "let arriving = (b - p.first_sample) * p.steps", "let arriving = b * p.steps", MixedHardware),
    ("readout", "p.first_sample + id / p.strip_quads", "id / p.strip_quads", MixedHardware),
    ("spike_gradient", "products[row * 4u * p.quads + i]", "products[row * p.quads + i]", Mixed),
    ("spike_gradient", "total = products", "total = 0.5 * products", MixedHardware),
    ("gemm_sum", "p.accumulate == 1u", "p.accumulate == 2u", Mixed),

    ("reference_lif", "p.kick * spike", "0.0 * spike", Reference),
    ("reference_lif", "spikes[at] = spike;", "spikes[at] = spike + 1.0;", Reference),
    ("reference_lif", "p.alpha * before + p.leak", "p.alpha * before", Reference),
    ("reference_count", "t < p.steps", "t + 1u < p.steps", Reference),
    ("reference_count", "neurons * p.steps", "neurons", Reference),
    ("reference_delta", "ds[at] + regularised", "ds[at]", Reference),
    ("reference_delta", "p.alpha * later + e", "p.alpha * (later + e)", Reference),
    ("reference_delta", "v[at - p.quads]", "v[at]", Reference),
    ("reference_accumulate", "gradient[id] += share;", "gradient[id] = share;", Reference),
    ("reference_accumulate", "row % p.steps == p.time", "row % p.steps == p.time + 1u", Reference),

    ("shared/index", "workgroup.y * FOLD + workgroup.x", "workgroup.x", ManyGroups),
    ("shared/index", "== vec4<u32>(k)", "== vec4<u32>(k ^ 1u)", Sparse),
    ("shared/sections", "first * p.slots + i * samples", "first * p.slots + i * p.chunk", Sparse),
    ("shared/params", "kick: f32,\n    beta: f32,", "beta: f32,\n    kick: f32,", Sparse),
];

fn shaders() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders")
}

fn source(file: &str) -> String {
    std::fs::read_to_string(shaders().join(file).with_extension("wgsl")).unwrap()
}

/// Writes the shaders that a mutation changes into a folder: one, or all that import a shared text.
fn write(&(file, from, to, _): &Mutation, folder: &Path) -> Vec<&'static str> {
    let original = source(file);
    assert_eq!(original.matches(from).count(), 1, "{file}: `{from}` must occur once; adapt the mutation");
    let mutated = original.replace(from, to);
    let put = |name: &str, text: &str| std::fs::write(folder.join(name).with_extension("wgsl"), text).unwrap();
    let Some(shared) = file.strip_prefix("shared/") else {
        put(file, &mutated);
        return vec![file];
    };
    let import = format!("#import {shared}\n");
    let users = ALL.iter().map(|kernel| (kernel.name, source(kernel.name)));
    users
        .filter(|(_, text)| text.contains(&import))
        .map(|(name, text)| {
            put(name, &text.replace(&import, &mutated));
            name
        })
        .collect()
}

/// A network and a batch, with what the cpu device makes of them.
struct Case {
    scenario: Seen,
    network: Network,
    batch: EventSet,
    state: TrainingState,
    options: GpuOptions,
    inspection: Inspection,
    evaluation: Prediction,
    report: StepReport,
    after: TrainingState,
}

fn adam() -> Adam {
    // The decay moves weights by 1e-3 of themselves, far more than rounding does.
    Adam { weight_decay: 1.0, ..Adam::with_lr(1e-3) }
}

impl Case {
    /// The first seed whose potentials keep clear of the thresholds.
    fn new(scenario: Seen) -> Case {
        (0..60).find_map(|seed| Case::of_seed(scenario, seed)).expect("some seed keeps clear of the thresholds")
    }

    fn of_seed(scenario: Seen, seed: u64) -> Option<Case> {
        let rows = |samples: u64, quads: u64, steps: u64| Some(16 * samples * quads * steps);
        let software = GpuOptions { variant: Some(Variant::Plain), ..GpuOptions::default() };
        let cramped = GpuOptions { density_guess: Some(1e-9), ..software.clone() };
        let chunked = GpuOptions { delta_bytes: rows(3, 8, 70), ..software.clone() };
        let cut = GpuOptions { density_guess: Some(1.0), max_binding: Some(2 * 16 * 70 * 29), ..software.clone() };
        let strips = GpuOptions { max_binding: Some(64 * 5 * 33), ..software.clone() };
        let hardware = GpuOptions { tier: Some(Tier::Hardware), delta_bytes: Some(1), ..GpuOptions::default() };
        let cooperative = GpuOptions { variant: Some(Variant::Cooperative), ..GpuOptions::default() };
        let chunks_of_one =
            |variant| GpuOptions { variant: Some(variant), delta_bytes: Some(1), ..GpuOptions::default() };
        let (mut network, options, samples, density) = match scenario {
            Sparse | Mixed | Ties(_) => (network(37, &[29, 17], 5, 70), chunked, 11, 0.05),
            Hardware | MixedHardware => (network(20, &[11, 101], 6, 40), hardware.clone(), 5, 0.1),
            ManyActive => (network(20, &[30, 9], 3, 20), cramped, 9, 0.01),
            ManySpikes => (network(20, &[30, 9], 3, 40), cramped, 9, 0.2),
            Strips => (network(137, &[129, 117], 125, 5), strips, 6, 0.1),
            Held => (network(37, &[29, 17], 5, 70), cut, 11, 0.05),
            ManyCounts => (network(2, &[3], 2, 900), cooperative.clone(), 320, 0.0005),
            ManyGroups => (network(5, &[1], 2, 2), cooperative, 65_700, 0.5),
            Dense => (network(75, &[70, 13], 5, 40), software, 13, 0.05),
            DenseHardware => (network(75, &[70, 13], 5, 40), hardware, 13, 0.05),
            Reference => (network(30, &[21, 13], 5, 30), software, 6, 0.05),
            ConvInput => (input_conv(90), chunks_of_one(Variant::Plain), 4, 0.02),
            Convs => (stacked_convs(30), chunks_of_one(Variant::Plain), 4, 0.15),
            OtherCells => (other_cells(40), GpuOptions { delta_bytes: rows(3, 10, 41), ..software.clone() }, 7, 0.1),
            Biased => (biased(40), GpuOptions { delta_bytes: rows(3, 10, 41), ..software.clone() }, 7, 0.1),
            LastReadout => (biased(40), hardware.clone(), 7, 0.1),
            Recurrent => {
                (recurrent(biased(40)), GpuOptions { delta_bytes: rows(3, 21, 41), ..cramped.clone() }, 7, 0.1)
            }
            InStep => {
                (network(37, &[29, 17], 5, 70), GpuOptions { variant: Some(Variant::Lockstep), ..chunked }, 11, 0.05)
            }
            RecurrentCramped => (recurrent(network(37, &[29, 17], 5, 70)), cramped, 7, 0.05),
            RecurrentCounts => {
                let narrow = GpuOptions { limits: "downlevel,lanes=64".parse().ok(), ..chunks_of_one(Variant::Plain) };
                (recurrent(other_cells(40)), narrow, 5, 0.1)
            }
            RecurrentLong => (recurrent(network(9, &[13], 3, 2700)), software, 3, 0.02),
            RecurrentWide => (recurrent(network(60, &[1060], 3, 12)), software, 2, 0.3),
            ConvCells => (with_other_cells(input_conv(90)), chunks_of_one(Variant::Plain), 4, 0.02),
            ConvBiased => (input_conv(90), chunks_of_one(Variant::Plain), 4, 0.002),
        };
        if let Some(readout) = network.integrator_mut() {
            readout.gain = ReadoutGain::OneMinusAlpha;
            match scenario {
                Hardware | MixedHardware => readout.logits = Logits::Sum,
                // Fast, so that the last potential is not the largest.
                RecurrentLong => readout.logits = Logits::Sum,
                LastReadout | RecurrentWide => (readout.logits, readout.tau_ms) = (Logits::Last, 2.0),
                _ => {}
            }
        }
        for layer in &mut network.hidden {
            layer.v_rest = if scenario == RecurrentLong {
                // What fills a quad of neurons would be active.
                0.85
            } else if matches!(scenario, ConvInput | ConvCells | ConvBiased | Convs) {
                0.0
            } else {
                0.05
            };
            if layer.conv().is_some() {
                layer.bias = matches!(scenario, Convs | ConvBiased);
            }
            match scenario {
                ManyActive => layer.b_th = 1.5,
                ManySpikes => layer.b_th = 0.01,
                _ => {}
            }
        }
        // Some samples and neurons on either side of both.
        let nu_low = if scenario == Recurrent { 100.0 } else { 4.5 };
        (network.regulariser.nu_up, network.regulariser.nu_low) = (8.5, nu_low);
        let batch = batch(network.inputs, network.time_steps, network.classes(), samples, density, seed);

        // One update lies behind, so that Adam remembers something.
        let mut cpu = cpu(&network, scenario.method(), &TrainingState::new(strong_weights(&network, seed)));
        cpu.train(&batch, &adam()).unwrap();
        cpu.reports(true).unwrap();
        let state = cpu.store().unwrap();
        let inspection = cpu.inspect(&batch).unwrap();
        if nearest_threshold(&network, &inspection) < 4e-6 || nearest_tie(&network, &inspection) < 4e-6 {
            return None;
        }
        let evaluation = cpu.predict(&batch).unwrap();
        cpu.train(&batch, &adam()).unwrap();
        let report = cpu.reports(true).unwrap().remove(0);
        let after = cpu.store().unwrap();
        // A list begins with room for 256.
        let most = |counts: &[u64]| counts.iter().max().copied().unwrap_or(0);
        match scenario {
            ManyActive => assert!(most(&report.spikes[1..]) <= 256 && most(&report.active) > 256, "{report:?}"),
            ManySpikes => assert!(most(&report.spikes[1..]) > 256 && most(&report.active) <= 256, "{report:?}"),
            _ => {}
        }
        Some(Case { scenario, network, batch, state, options, inspection, evaluation, report, after })
    }

    /// Compares everything with the cpu device; panics where something differs.
    fn compare(&self, shaders: &Path) -> Result<()> {
        let options = GpuOptions { shaders: Some(shaders.into()), ..self.options.clone() };
        if let Ties(method) = self.scenario {
            let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ties.safetensors");
            let report = golden::run(&case, &mut Player { method, options })?;
            assert!(report.passed(), "{report}");
            return Ok(());
        }
        let layers = self.scenario.layers();
        let method = layers.map_or(self.scenario.method(), |_| Method::Auto);
        let mut gpu = GpuEngine::new(&self.network, method, &self.state.weights, options)?;
        if let Some(layers) = layers {
            gpu.set_layer_methods(&layers)?;
        }
        gpu.load(&self.state)?;
        // An inspection would make room for the step.
        if !matches!(self.scenario, ManyActive | ManySpikes | RecurrentCramped) {
            assert_same(&gpu.inspect(&self.batch)?, &self.inspection);
            let evaluation = gpu.predict(&self.batch)?;
            assert_eq!(evaluation.spikes, self.evaluation.spikes, "spikes of an evaluation");
            assert_close("logits of an evaluation", &evaluation.logits, &self.evaluation.logits, 1e-5);
        }
        if self.scenario == Held {
            // The samples in reverse order, with room between them: the set takes several buffers.
            let mut set = EventSet::new(self.network.inputs, self.network.time_steps);
            let events = |b: usize| self.batch.sample(b).iter().map(|event| (event.t(), event.i()));
            for b in (0..self.batch.len()).rev() {
                (0..20).for_each(|k| set.push(events((b + k) % self.batch.len()), 0).unwrap());
                set.push(events(b), self.batch.labels()[b])?;
            }
            gpu.hold(set.into())?;
            let samples: Vec<u32> = (1..=self.batch.len() as u32).rev().map(|b| 21 * b - 1).collect();
            gpu.train_held(&samples, &adam())?;
        } else {
            gpu.train(&self.batch, &adam())?;
        }
        let reports = gpu.reports(true)?;
        assert_eq!(reports.len(), 1, "reports");
        self.compare_step(&reports[0], &gpu.store()?);
        Ok(())
    }

    fn compare_step(&self, report: &StepReport, after: &TrainingState) {
        let expected = &self.report;
        let counts = |r: &StepReport| (r.step, r.samples, r.correct, r.spikes.clone(), r.active.clone());
        assert_eq!(counts(report), counts(expected), "step, samples, correct, spikes, active");
        let terms = |r: &StepReport| [r.loss.task as f32, r.loss.upper as f32, r.loss.lower as f32];
        for (k, term) in ["cross entropy", "upper regulariser", "lower regulariser"].into_iter().enumerate() {
            assert_close(term, &terms(report)[k..=k], &terms(expected)[k..=k], 1e-5);
        }
        for l in 0..self.state.weights.layers.len() {
            let of = |weights: &Weights| weights.layers[l].data.clone();
            let first = of(&self.after.first);
            assert_close("first moments", &of(&after.first), &first, 2e-4);
            assert_close("second moments", &of(&after.second), &of(&self.after.second), 4e-4);
            // Where a gradient is tiny, Adam turns its rounding into a whole step.
            let largest = first.iter().fold(0.0f32, |x, y| x.max(y.abs()));
            let (got, expected, before) = (of(&after.weights), of(&self.after.weights), of(&self.state.weights));
            for k in 0..got.len() {
                let limit = if first[k].abs() > 1e-3 * largest { 1e-5 } else { 3e-3 };
                assert!(
                    (got[k] - expected[k]).abs() < limit,
                    "weight {k} of layer {l}: {} for {}",
                    got[k],
                    expected[k]
                );
                // Decays by one rounding or two.
                let decayed = before[k] - adam().constants(1).decay * before[k];
                let moved = first[k] == 0.0 && (got[k] - decayed).abs() > 2e-7 * before[k].abs();
                assert!(!moved, "weight {k} of layer {l} moved without a gradient");
            }
        }
    }
}

/// Plays golden cases with shaders from a folder.
struct Player {
    method: Method,
    options: GpuOptions,
}

impl ConformanceDevice for Player {
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>> {
        Ok(Box::new(GpuEngine::new(network, self.method, weights, self.options.clone())?))
    }

    fn delta(&mut self, _: &DeltaInputs) -> Result<Vec<f32>> {
        Err(Error::Unsupported("networks only".into()))
    }
}

thread_local! {
    /// Whether a panic on this thread is a comparison at work.
    static COMPARING: Cell<bool> = const { Cell::new(false) };
}

/// The difference that the comparison noticed; `None` if it passed.
fn noticed(case: &Case, shaders: &Path) -> Option<String> {
    COMPARING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| case.compare(shaders)));
    COMPARING.set(false);
    match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(words), _) => words.clone(),
            (_, Some(words)) => words.to_string(),
            _ => "a panic without words".into(),
        }),
    }
}

#[test]
fn every_mutation_is_noticed_and_the_shaders_themselves_pass() {
    let usual = take_hook();
    set_hook(Box::new(move |info| {
        if !COMPARING.get() {
            usual(info);
        }
    }));
    let cases: Vec<Case> = SCENARIOS.into_iter().map(Case::new).collect();
    for case in &cases {
        if let Some(words) = noticed(case, &shaders()) {
            panic!("the shaders as they are, {:?}: {words}", case.scenario);
        }
    }
    let missed: Vec<String> = MUTATIONS
        .par_iter()
        .filter_map(|mutation| {
            let &(file, from, to, scenario) = mutation;
            let folder = tempfile::tempdir().unwrap();
            write(mutation, folder.path());
            let case = cases.iter().find(|case| case.scenario == scenario).unwrap();
            let clock = Instant::now();
            match noticed(case, folder.path()) {
                // A binding that is no longer used fails before anything is computed.
                Some(words) if words.contains("Validation Error") => {
                    Some(format!("{file}: {to:?} cannot run: {words}"))
                }
                Some(words) => {
                    let first = words.lines().next().unwrap_or_default();
                    println!("{:5.2} s  {file}, {to:?}: {first}", clock.elapsed().as_secs_f64());
                    None
                }
                None => Some(format!("{file}: {from:?} as {to:?}, {scenario:?}")),
            }
        })
        .collect();
    assert!(missed.is_empty(), "{} of {} not noticed:\n{}", missed.len(), MUTATIONS.len(), missed.join("\n"));
}

/// All mutated shaders compile; otherwise they would be noticed without any comparison.
#[test]
fn every_shader_has_mutations_and_all_of_them_are_valid() {
    for kernel in ALL {
        assert!(MUTATIONS.iter().any(|mutation| mutation.0 == kernel.name), "{} has no mutation", kernel.name);
    }
    for mutation in MUTATIONS {
        let folder = tempfile::tempdir().unwrap();
        let written = write(mutation, folder.path());
        assert!(!written.is_empty(), "{mutation:?} changes nothing");
        for kernel in ALL.iter().filter(|kernel| written.contains(&kernel.name)) {
            for defined in kernel.variants {
                let text = kernel.edited(folder.path(), defined).unwrap();
                let module = naga::front::wgsl::parse_str(&text)
                    .unwrap_or_else(|e| panic!("{mutation:?}: {}", e.emit_to_string(&text)));
                Validator::new(ValidationFlags::all(), Capabilities::empty())
                    .validate(&module)
                    .unwrap_or_else(|e| panic!("{mutation:?}: {}", e.emit_to_string(&text)));
            }
        }
    }
}
