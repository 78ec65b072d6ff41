//! Small random networks, weights with which they spike, and batches.

use crate::events::EventSet;
use crate::network::{
    Cell, Connection, Convolution, Initialisation, Integrator, Logits, Loss, Network, Readout, ReadoutGain,
    Regulariser, Reset, SpikingLayer, Surrogate,
};
use crate::weights::Weights;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A small random network, weights with which it spikes, and a batch, determined by the seed.
pub(crate) fn random(seed: u64) -> (Network, Weights, EventSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let init = Initialisation::Uniform { scale: 3.0 };
    let regulariser = Regulariser { lambda_up: 0.3, nu_up: 1.5, lambda_low: 1.0, nu_low: 2.5 };
    let hidden = (0..rng.random_range(1..4)).map(|_| SpikingLayer {
        neurons: rng.random_range(1..20),
        tau_ms: rng.random_range(2.0..20.0),
        v_th: rng.random_range(0.5..1.5),
        v_r: rng.random_range(-0.2..0.2),
        v_rest: rng.random_range(-0.2..0.4),
        beta: rng.random_range(1.0..100.0),
        b_th: [0.2, 0.5, 3.0, f64::INFINITY][rng.random_range(0..4)],
        init,
        ..SpikingLayer::lif(0)
    });
    let network = Network {
        hidden: hidden.collect(),
        inputs: rng.random_range(1..20),
        time_steps: rng.random_range(1..40),
        dt_ms: 1.0,
        readout: Readout::Integrator(Integrator {
            classes: rng.random_range(1..8),
            tau_ms: rng.random_range(2.0..20.0),
            gain: [ReadoutGain::One, ReadoutGain::OneMinusAlpha][rng.random_range(0..2)],
            logits: [Logits::Max, Logits::Sum][rng.random_range(0..2)],
            bias: false,
            init,
        }),
        loss: Loss::default(),
        regulariser,
    };
    let mut batch = EventSet::new(network.inputs, network.time_steps);
    for _ in 0..rng.random_range(1..6) {
        let label = rng.random_range(0..network.classes() as u32);
        let slots = (0..network.time_steps).flat_map(|t| (0..network.inputs).map(move |i| (t, i)));
        let spikes: Vec<_> = slots.filter(|_| rng.random_bool(0.2)).collect();
        batch.push(spikes, label).expect("spikes lie inside");
    }
    let weights = Weights::init(&network, seed);
    (network, weights, batch)
}

/// [`random`] with one or two convolutions as the first layers, of random extents, strides, paddings and windows.
pub(crate) fn random_conv(seed: u64) -> (Network, Weights, EventSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xc0);
    let (mut network, _, _) = random(seed);
    let (mut channels, mut height, mut width) =
        (rng.random_range(1..4), rng.random_range(3..8), rng.random_range(3..8));
    network.inputs = channels * height * width;
    network.hidden.truncate(2);
    let convs = rng.random_range(1..=network.hidden.len());
    for layer in &mut network.hidden[..convs] {
        let kernel = rng.random_range(1..4.min(height.min(width) + 1));
        let mut conv = Convolution {
            channels,
            height,
            width,
            filters: rng.random_range(1..6),
            kernel,
            stride: rng.random_range(1..3),
            padding: rng.random_range(0..kernel),
            pool: 1,
        };
        conv.pool = rng.random_range(1..=3.min(conv.rows().min(conv.columns())));
        (channels, (height, width)) = (conv.filters, conv.pooled());
        layer.neurons = conv.neurons();
        layer.connection = Connection::Conv(conv);
    }
    network.time_steps = rng.random_range(2..25);
    let mut batch = EventSet::new(network.inputs, network.time_steps);
    for _ in 0..rng.random_range(1..6) {
        let label = rng.random_range(0..network.classes() as u32);
        let slots = (0..network.time_steps).flat_map(|t| (0..network.inputs).map(move |i| (t, i)));
        let density = rng.random_range(0.01..0.2);
        let spikes: Vec<_> = slots.filter(|_| rng.random_bool(density)).collect();
        batch.push(spikes, label).expect("spikes lie inside");
    }
    let mut weights = Weights::init(&network, seed);
    // More excitation than inhibition, so that neurons with few input spikes spike, too.
    weights.layers.iter_mut().flat_map(|m| &mut m.data).for_each(|w| *w += 0.3 * w.abs());
    (network, weights, batch)
}

/// [`random`], or with `convs` [`random_conv`], with any cell, reset, surrogate, bias, readout and loss.
pub(crate) fn random_cells(seed: u64, convs: bool) -> (Network, Weights, EventSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xce11);
    let (mut network, _, batch) = if convs { random_conv(seed) } else { random(seed) };
    let change = |layer: &mut SpikingLayer, rng: &mut ChaCha8Rng| {
        let tau_syn_ms = rng.random_range(1.0..15.0);
        layer.cell = [Cell::Lif, Cell::CubaLif { tau_syn_ms }][rng.random_range(0..2)];
        layer.reset = [Reset::Subtract, Reset::ToValue][rng.random_range(0..2)];
        layer.surrogate = Surrogate::ALL[rng.random_range(0..Surrogate::ALL.len())];
        // So small that no sigmoid or Gaussian surrogate underflows where entries are active.
        layer.beta = rng.random_range(0.5..6.0);
        layer.surrogate_scale = [1.0, 0.3][rng.random_range(0..2)];
        layer.b_th = [0.2, 0.5, 1.5][rng.random_range(0..3)];
        layer.bias = rng.random_bool(0.5);
    };
    network.hidden.iter_mut().for_each(|layer| change(layer, &mut rng));
    let classes = network.classes();
    network.readout = if rng.random_bool(0.4) {
        let mut layer = SpikingLayer { v_rest: 0.1, ..SpikingLayer::lif(classes) };
        change(&mut layer, &mut rng);
        Readout::SpikeCount(layer.init(Initialisation::Uniform { scale: 3.0 }))
    } else {
        let logits = [Logits::Max, Logits::Sum, Logits::Mean, Logits::Last][rng.random_range(0..4)];
        let bias = rng.random_bool(0.5);
        let init = Initialisation::Uniform { scale: 3.0 };
        Readout::Integrator(Integrator { logits, bias, init, ..Readout::max(classes) })
    };
    network.loss = match rng.random_range(0..3) {
        0 => Loss::CrossEntropy { label_smoothing: 0.0 },
        1 => Loss::CrossEntropy { label_smoothing: 0.2 },
        _ => Loss::MeanSquaredError { on: 3.0, off: -0.5 },
    };
    let weights = excited(&network, seed, &mut rng);
    (network, weights, batch)
}

/// [`random_cells`] with recurrent weights in one or more layers.
pub(crate) fn random_recurrent(seed: u64, convs: bool) -> (Network, Weights, EventSet) {
    let (mut network, _, batch) = random_cells(seed, convs);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x4ec);
    let mut layers: Vec<&mut SpikingLayer> = network.hidden.iter_mut().filter(|layer| layer.conv().is_none()).collect();
    if let Readout::SpikeCount(layer) = &mut network.readout {
        layers.push(layer);
    }
    let certain = rng.random_range(0..layers.len().max(1));
    layers.iter_mut().enumerate().for_each(|(k, layer)| layer.recurrent = k == certain || rng.random_bool(0.5));
    let weights = excited(&network, seed, &mut rng);
    (network, weights, batch)
}

/// Initial weights with more excitation than inhibition, so that later layers spike, too, and biases.
pub(crate) fn excited(network: &Network, seed: u64, rng: &mut ChaCha8Rng) -> Weights {
    let mut weights = Weights::init(network, seed);
    for (matrix, bias) in weights.layers.iter_mut().zip(network.biases()) {
        matrix.data.iter_mut().for_each(|w| *w += 0.2 * w.abs());
        let begin = matrix.data.len() - if bias { matrix.cols } else { 0 };
        matrix.data[begin..].iter_mut().for_each(|b| *b = rng.random_range(-0.05..0.15));
    }
    weights
}
