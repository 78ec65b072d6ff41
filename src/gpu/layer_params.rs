//! What kernels are told of a layer, of the chunk of samples and of the strip that they work on.

use super::buffers::{State, Strip, all_slots, quads};
use super::params::Params;
use super::shaders::{self as k, Constants};
use crate::engine::layer_bit;
use crate::network::{Convolution, Logits, Network};

/// Parameters that depend on the network, the layer and the batch alone; `l` may be the readout's.
pub fn layer_params(network: &Network, state: &State, l: usize, batch: usize) -> Params {
    let (inputs, neurons) = (network.fan_in()[l], network.sizes()[l + 1]);
    let slots = all_slots(network).nth(l).unwrap_or(neurons);
    // Regularisers apply to hidden layers only.
    let (r, is_hidden) = (&network.regulariser, f32::from(l < network.hidden.len()));
    let readout = network.integrator().map(|readout| readout.logits);
    let mut p = Params {
        batch: batch as u32,
        steps: network.time_steps as u32,
        words: network.time_steps.div_ceil(32) as u32,
        inputs: inputs as u32,
        neurons: neurons as u32,
        slots: slots as u32,
        quads: quads(slots) as u32,
        strip_quads: quads(slots) as u32,
        last_strip: 1,
        input_stride: if l == 0 { 1 } else { network.time_steps as u32 },
        chunk: state.chunk as u32,
        chunk_samples: batch as u32,
        counts: (batch * (network.time_steps + slots + quads(slots))) as u32,
        sum_readout: u32::from(matches!(readout, Some(Logits::Sum | Logits::Mean))),
        last_readout: u32::from(readout == Some(Logits::Last)),
        logit_scale: logit_scale(network),
        report_at: 4 + 4 * l as u32,
        lambda_up: is_hidden * r.lambda_up as f32,
        nu_up: r.nu_up as f32,
        most_spikes: r.most_spikes(neurons),
        lambda_low: is_hidden * r.lambda_low as f32,
        nu_low: r.nu_low as f32,
        input_capacity: if l == 0 { state.sizes.input_events as u32 } else { state.sizes.capacity[l - 1].events },
        total: batch as u32,
        layer_bit: layer_bit(l),
        ..Params::default()
    };
    p.scanned = p.counts;
    match network.spiking_layer(l) {
        Some(layer) => {
            let c = layer.constants(network.dt_ms);
            (p.alpha, p.leak, p.v_th, p.kick, p.beta, p.band) = (c.alpha, c.leak, c.v_th, c.kick, c.beta, c.band);
            (p.synapse, p.v_r, p.surrogate_scale) = (c.synapse.unwrap_or(0.0), c.v_r, c.surrogate_scale);
            let lists = state.sizes.capacity[l];
            (p.event_capacity, p.active_capacity) = (lists.events, lists.active);
            if let Some(conv) = layer.conv() {
                p = pooling(reading(p, conv), conv);
            }
        }
        None => {
            p.alpha = network.readout.alpha(network.dt_ms) as f32;
            p.gain = gain(network);
        }
    }
    p
}

/// Factor on the input of the readout's integrators; 1 if it has none.
fn gain(network: &Network) -> f32 {
    network.integrator().map_or(1.0, |readout| readout.gain_value(network.dt_ms)) as f32
}

/// Factor on the gradient of a logit where it enters the readout.
pub fn error_scale(network: &Network) -> f32 {
    gain(network) * logit_scale(network)
}

/// Factor on logits that are sums of potentials.
fn logit_scale(network: &Network) -> f32 {
    match network.integrator().map(|readout| readout.logits) {
        Some(Logits::Mean) => 1.0 / network.time_steps as f32,
        _ => 1.0,
    }
}

/// The pipeline-overridable constants of the kernels of weight layer `l`.
pub fn layer_constants(network: &Network, l: usize) -> Constants {
    match network.spiking_layer(l) {
        Some(layer) => k::of_cell(&layer.constants(network.dt_ms), layer.bias),
        None => k::of_readout(network.readout.bias()),
    }
}

/// `p` with the input and the kernel of a convolution.
pub fn reading(p: Params, conv: &Convolution) -> Params {
    Params {
        map_height: conv.height as u32,
        map_width: conv.width as u32,
        kernel: conv.kernel as u32,
        stride: conv.stride as u32,
        padding: conv.padding as u32,
        rows: conv.rows() as u32,
        columns: conv.columns() as u32,
        filter_quads: quads(conv.filters) as u32,
        ..p
    }
}

/// `p` with the pooling of a convolution.
fn pooling(p: Params, conv: &Convolution) -> Params {
    let (rows, columns) = conv.pooled();
    Params {
        pool: conv.pool as u32,
        pool_columns: conv.columns() as u32,
        pooled_columns: columns as u32,
        windows: (rows * columns) as u32,
        pool_quads: quads(conv.filters) as u32,
        ..p
    }
}

/// Samples of the backward pass that share the scratch of δ.
#[derive(Clone, Copy)]
pub struct Chunk {
    pub first: usize,
    pub samples: usize,
}

/// `p` for a dispatch that works on one chunk of samples.
pub fn of_chunk(p: Params, chunk: Chunk) -> Params {
    Params { first_sample: chunk.first as u32, chunk_samples: chunk.samples as u32, ..p }
}

/// `p` for a dispatch that works on one strip.
pub fn of_strip(p: Params, strip: &Strip) -> Params {
    Params { first_quad: strip.first_quad as u32, strip_quads: strip.quads as u32, ..p }
}
