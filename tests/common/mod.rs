//! Small networks, random batches and comparisons for the tests.
#![allow(dead_code)]

use spikegrad::cpu::CpuEngine;
use spikegrad::engine::{Engine, Inspection, Method, TrainingState};
use spikegrad::events::EventSet;
use spikegrad::gpu::{GpuEngine, GpuOptions};
use spikegrad::network::*;
use spikegrad::weights::Weights;

/// A small reproducible random source (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }
}

pub fn network(inputs: usize, hidden: &[usize], classes: usize, steps: usize) -> Network {
    let init = Initialisation::Normal { scale: 20.0 };
    // Gentler than the presets' 100, which turns a last-place difference in V into 1e-4 of g.
    let layer = |&neurons| SpikingLayer::lif(neurons).surrogate(Surrogate::FastSigmoid, 20.0).init(init);
    let builder = hidden.iter().map(layer).fold(Network::new(inputs, steps), NetworkBuilder::layer);
    builder
        .readout(Readout::max(classes).tau_ms(15.0).gain(ReadoutGain::One).init(init))
        .regulariser(Regulariser { lambda_up: 0.06, nu_up: 0.4, lambda_low: 10.0, nu_low: 1.5 })
        .build()
        .unwrap()
}

/// Makes hidden layer `l` a convolution.
pub fn set_conv(network: &mut Network, l: usize, conv: Convolution) {
    network.hidden[l].neurons = conv.neurons();
    network.hidden[l].connection = Connection::Conv(conv);
}

/// A network in which a convolution follows a linear layer, another one follows it, and the readout that: windows that
/// leave a rest, a stride, a padding.
pub fn stacked_convs(steps: usize) -> Network {
    let mut network = network(20, &[98, 1, 1], 5, steps);
    let first = Convolution { channels: 2, height: 7, width: 7, filters: 6, kernel: 3, stride: 1, padding: 1, pool: 2 };
    let second =
        Convolution { channels: 6, height: 3, width: 3, filters: 3, kernel: 2, stride: 2, padding: 1, pool: 1 };
    set_conv(&mut network, 1, first);
    set_conv(&mut network, 2, second);
    network
}

/// A convolution of the input.
pub fn input_conv(steps: usize) -> Network {
    let mut network = network(98, &[1], 5, steps);
    let conv = Convolution { channels: 2, height: 7, width: 7, filters: 5, kernel: 3, stride: 1, padding: 1, pool: 2 };
    set_conv(&mut network, 0, conv);
    network
}

/// Three layers of current-based cells, the last of which counts spikes; each reset, biases, three surrogates.
pub fn other_cells(steps: usize) -> Network {
    let init = Initialisation::Uniform { scale: 1.0 };
    let last = SpikingLayer::cuba_lif(5, 3.0).v_th(6.0).b_th(2.0).surrogate(Surrogate::Sigmoid, 1.5).bias().init(init);
    Network::new(30, steps)
        .layer(
            SpikingLayer::cuba_lif(40, 4.0)
                .reset(Reset::ToValue)
                .v_th(5.0)
                .v_r(0.2)
                .b_th(1.5)
                .surrogate(Surrogate::Arctan, 3.0)
                .bias(),
        )
        .layer(SpikingLayer::lif(20).reset(Reset::ToValue).v_th(3.0).b_th(0.6).surrogate(Surrogate::Gaussian, 2.0))
        .readout(Readout::spike_count(last))
        .loss(Loss::MeanSquaredError { on: 12.0, off: 4.0 })
        .regulariser(Regulariser { lambda_up: 0.06, nu_up: 8.5, lambda_low: 0.1, nu_low: 4.5 })
        .build()
        .unwrap()
}

/// Biases in hidden layers and a readout of means.
pub fn biased(steps: usize) -> Network {
    Network::new(30, steps)
        .layer(SpikingLayer::lif(40).surrogate(Surrogate::Triangular, 4.0).b_th(0.3).bias())
        .layer(
            SpikingLayer::cuba_lif(20, 6.0)
                .v_th(20.0)
                .b_th(f64::INFINITY)
                .surrogate(Surrogate::Rectangular, 0.4)
                .surrogate_scale(0.5)
                .bias(),
        )
        .readout(Readout::mean(5).tau_ms(15.0).bias())
        .loss(Loss::CrossEntropy { label_smoothing: 0.1 })
        .regulariser(Regulariser { lambda_up: 0.06, nu_up: 8.5, lambda_low: 0.1, nu_low: 4.5 })
        .build()
        .unwrap()
}

/// The same network of current-based cells that are reset to a value.
pub fn with_other_cells(mut network: Network) -> Network {
    for layer in &mut network.hidden {
        (layer.cell, layer.reset, layer.v_r) = (Cell::CubaLif { tau_syn_ms: 3.0 }, Reset::ToValue, 0.1);
        (layer.surrogate, layer.beta, layer.bias) = (Surrogate::Arctan, 4.0, true);
    }
    network
}

/// A random network of one or two convolutions and perhaps a linear layer.
pub fn random_convs(seed: u64) -> Network {
    let mut random = Random::new(seed ^ 0xc0);
    let mut one_of = |from: usize, to: usize| from + random.below(to + 1 - from);
    let (mut channels, mut height, mut width) = (one_of(1, 3), one_of(3, 7), one_of(3, 7));
    let (convs, linear) = (one_of(1, 2), one_of(0, 1));
    let mut network = network(channels * height * width, &vec![13; convs + linear], 4, one_of(2, 40));
    for l in 0..convs {
        let kernel = one_of(1, 3.min(height).min(width));
        let mut conv = Convolution {
            channels,
            height,
            width,
            filters: one_of(1, 9),
            kernel,
            stride: one_of(1, 2),
            padding: one_of(0, kernel - 1),
            pool: 1,
        };
        conv.pool = one_of(1, 3.min(conv.rows()).min(conv.columns()));
        (channels, (height, width)) = (conv.filters, conv.pooled());
        set_conv(&mut network, l, conv);
    }
    network
}

/// Weights under which every layer spikes, whatever its width.
pub fn strong_weights(network: &Network, seed: u64) -> Weights {
    let mut random = Random::new(seed);
    let mut weights = Weights::zeros_of(network);
    for (matrix, bias) in weights.layers.iter_mut().zip(network.biases()) {
        let scale = 3.0 / (matrix.rows as f64).sqrt();
        matrix.data.iter_mut().for_each(|w| *w = (scale * (random.unit() - 0.3)) as f32);
        // A bias arrives at every step.
        let biases = if bias { matrix.cols } else { 0 };
        matrix.data.iter_mut().rev().take(biases).for_each(|b| *b = (0.15 * (random.unit() - 0.3)) as f32);
    }
    weights
}

/// Gives every layer a cell, a reset, a surrogate and perhaps a bias at random, and the network a readout and a loss.
pub fn generalise(network: &mut Network, seed: u64) {
    let mut random = Random::new(seed ^ 0xce11);
    let classes = network.classes();
    network.hidden.iter_mut().for_each(|layer| generalise_layer(layer, &mut random));
    let init = Initialisation::Uniform { scale: 1.0 };
    network.readout = match random.below(6) {
        0 | 1 => {
            let mut layer = SpikingLayer::lif(classes).init(init);
            generalise_layer(&mut layer, &mut random);
            Readout::spike_count(layer)
        }
        kind => {
            let kinds = [Readout::max, Readout::sum, Readout::mean, Readout::last];
            let mut readout = kinds[kind - 2](classes).tau_ms(15.0).init(init);
            readout.bias = random.below(2) == 0;
            readout.into()
        }
    };
    network.loss = match random.below(3) {
        0 => Loss::CrossEntropy { label_smoothing: 0.0 },
        1 => Loss::CrossEntropy { label_smoothing: 0.1 },
        _ => Loss::MeanSquaredError { on: 3.0, off: -1.0 },
    };
}

/// Recurrent weights in some of the fully connected layers above the last convolution, at least in one; in the readout as well
/// if it spikes.
pub fn recur(network: &mut Network, seed: u64) {
    let mut random = Random::new(seed ^ 0x4ec);
    let first = network.hidden.iter().rposition(|layer| layer.conv().is_some()).map_or(0, |conv| conv + 1);
    let spiking = network.spiking().count();
    assert!(first < spiking, "no layer can be recurrent");
    let always = first + random.below(spiking - first);
    for l in first..spiking {
        let recurrent = l == always || random.below(2) == 0;
        let layer = match (network.hidden.get_mut(l), &mut network.readout) {
            (Some(layer), _) | (None, Readout::SpikeCount(layer)) => layer,
            _ => continue,
        };
        layer.recurrent = recurrent;
    }
}

/// Gives every spiking layer recurrent weights; no layer may be a convolution.
pub fn recurrent(mut network: Network) -> Network {
    network.hidden.iter_mut().for_each(|layer| layer.recurrent = true);
    if let Readout::SpikeCount(layer) = &mut network.readout {
        layer.recurrent = true;
    }
    network
}

fn generalise_layer(layer: &mut SpikingLayer, random: &mut Random) {
    let tau_syn_ms = 1.0 + 12.0 * random.unit();
    layer.cell = [Cell::Lif, Cell::CubaLif { tau_syn_ms }][random.below(2)];
    layer.reset = [Reset::Subtract, Reset::ToValue][random.below(2)];
    layer.v_r = [0.0, 0.2][random.below(2)];
    layer.surrogate = Surrogate::ALL[random.below(Surrogate::ALL.len())];
    layer.beta = 0.5 + 6.0 * random.unit();
    layer.surrogate_scale = [1.0, 0.5][random.below(2)];
    layer.bias = random.below(2) == 0;
}

pub fn batch(inputs: usize, steps: usize, classes: usize, samples: usize, density: f64, seed: u64) -> EventSet {
    let mut random = Random::new(seed ^ 0xabcd);
    let mut set = EventSet::new(inputs, steps);
    for _ in 0..samples {
        let spikes: Vec<(usize, usize)> =
            (0..steps).flat_map(|t| (0..inputs).map(move |i| (t, i))).filter(|_| random.unit() < density).collect();
        set.push(spikes, random.below(classes) as u32).unwrap();
    }
    set
}

pub fn cpu(network: &Network, method: Method, state: &TrainingState) -> CpuEngine {
    let mut engine = CpuEngine::new(network, method, &state.weights).unwrap();
    engine.load(state).unwrap();
    engine
}

/// Fails, and says what to install, where there is no adapter: a GPU test that cannot run is a failure.
pub fn gpu(network: &Network, method: Method, state: &TrainingState, options: GpuOptions) -> GpuEngine {
    let mut engine = GpuEngine::new(network, method, &state.weights, options).unwrap_or_else(|e| panic!("{e}"));
    engine.load(state).unwrap();
    engine
}

/// Distance of the potential nearest to V_th or V_th ± B_th in any hidden layer, V = 0 at rest left out.
pub fn nearest_threshold(network: &Network, seen: &Inspection) -> f32 {
    let mut nearest = f32::INFINITY;
    for (layer, seen) in network.spiking().zip(&seen.spiking) {
        let c = layer.constants(network.dt_ms);
        for &v in seen.v.iter().filter(|v| **v != 0.0) {
            let distance = (v - c.v_th).abs();
            nearest = nearest.min(distance).min((distance - c.band).abs());
        }
    }
    nearest
}

/// Smallest lead of a readout maximum over the potential at any other time that is not equal to it.
pub fn nearest_tie(network: &Network, seen: &Inspection) -> f32 {
    if network.integrator().is_none_or(|readout| readout.logits != Logits::Max) {
        return f32::INFINITY;
    }
    let (classes, steps) = (network.classes(), network.time_steps);
    let mut nearest = f32::INFINITY;
    for (b, logits) in seen.logits.chunks(classes).enumerate() {
        for t in 0..steps {
            for (c, &logit) in logits.iter().enumerate() {
                let lead = logit - seen.readout_v[(b * steps + t) * classes + c];
                if lead > 0.0 {
                    nearest = nearest.min(lead / logit.abs().max(1.0));
                }
            }
        }
    }
    nearest
}

/// Potentials beyond this are off by 1e-6 and more from rounding alone; 2 β of that is the error of the surrogate.
const LARGEST: f32 = 16.0;

/// Largest potential of any hidden layer, either sign.
fn largest_potential(seen: &Inspection) -> f32 {
    seen.spiking.iter().flat_map(|layer| &layer.v).fold(0.0, |largest, v| largest.max(v.abs()))
}

/// Whether two devices must agree on a case: no potential within rounding of a threshold, no near tie of a maximum,
/// no potential so large that its rounding, a sum's order being what it may, shows in the slope of the surrogate, and
/// no sample classified with such certainty that softmax - 1 is but rounding.
pub fn comparable(network: &Network, batch: &EventSet, seen: &Inspection) -> bool {
    let doubt = |(logits, &label): (&[f32], &u32)| {
        let highest = logits.iter().fold(f32::MIN, |a, &b| a.max(b));
        let sum: f32 = logits.iter().map(|x| (x - highest).exp()).sum();
        1.0 - (logits[label as usize] - highest).exp() / sum
    };
    let classes = network.classes();
    let doubts = seen.logits.chunks(classes).zip(batch.labels()).map(doubt);
    largest_potential(seen) < LARGEST
        && nearest_threshold(network, seen) > 4e-6
        && nearest_tie(network, seen) > 4e-6
        && (classes == 1 || doubts.fold(1.0, f32::min) > 1e-2)
}

/// Relative Frobenius distance below `limit`; exact where everything expected is 0.
pub fn assert_close(what: &str, got: &[f32], expected: &[f32], limit: f64) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    let norm = |it: &mut dyn Iterator<Item = f64>| it.map(|x| x * x).sum::<f64>().sqrt();
    let size = norm(&mut expected.iter().map(|&x| f64::from(x)));
    let distance = norm(&mut got.iter().zip(expected).map(|(&x, &y)| f64::from(x) - f64::from(y)));
    assert!(distance <= limit * size, "{what}: relative distance {:e}, limit {limit:e}", distance / size);
}

/// Spikes and masks exactly, numbers within the tolerances of the golden cases.
pub fn assert_same(got: &Inspection, expected: &Inspection) {
    for (l, (a, b)) in got.spiking.iter().zip(&expected.spiking).enumerate() {
        assert_eq!(a.spikes, b.spikes, "spikes of hidden[{l}]");
        let keys = |entries: &[spikegrad::engine::ActiveEntry]| -> Vec<(u32, u32, u32)> {
            entries.iter().map(|e| (e.b, e.t, e.j)).collect()
        };
        assert_eq!(keys(&a.active), keys(&b.active), "active entries of hidden[{l}]");
        assert_close(&format!("V of hidden[{l}]"), &a.v, &b.v, 1e-5);
        let g = |layer: &spikegrad::engine::LayerInspection| layer.active.iter().map(|e| e.g).collect::<Vec<_>>();
        let e = |layer: &spikegrad::engine::LayerInspection| layer.active.iter().map(|e| e.e).collect::<Vec<_>>();
        assert_close(&format!("g of hidden[{l}]"), &g(a), &g(b), 1e-4);
        assert_close(&format!("e of hidden[{l}]"), &e(a), &e(b), 2e-4);
    }
    assert_close("V of the readout", &got.readout_v, &expected.readout_v, 1e-5);
    assert_close("logits", &got.logits, &expected.logits, 1e-5);
    for (what, a, b) in [
        ("cross entropy", got.loss.task, expected.loss.task),
        ("upper regulariser", got.loss.upper, expected.loss.upper),
        ("lower regulariser", got.loss.lower, expected.loss.lower),
    ] {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{what}: {a} instead of {b}");
    }
    for (l, (a, b)) in got.gradient.layers.iter().zip(&expected.gradient.layers).enumerate() {
        assert_close(&format!("gradient {l}"), &a.data, &b.data, 2e-4);
    }
}
