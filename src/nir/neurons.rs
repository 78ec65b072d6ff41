//! The equations of NIR's neurons as those of our layers.
//!
//! NIR steps a differential equation with forward Euler, `v += dt/τ (v_leak - v + r I)`. With a = 1 - dt/τ that is
//! `v = v_leak + a (v - v_leak) + (dt/τ) r I`: our layer with α = a, the gain (dt/τ) r in its weights and biases. Our α is
//! exp(-Δt/τ'), so τ' = -Δt / ln a. Potentials of a neuron times any positive number give the same spikes if weights, thresholds
//! and resets are multiplied too: so thresholds that differ within a layer become equal.

use super::Import;
use super::parameters::{Parameters, TOLERANCE, range, uniform};
use crate::error::Result;
use crate::network::{Cell, Initialisation, Integrator, Readout, ReadoutGain, Reset, SpikingLayer};

/// Time steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Of the file, s.
    pub dt: f64,
    /// Of the network, ms.
    pub dt_ms: f64,
}

/// A layer of neurons, and what its weights and biases are multiplied by.
#[derive(Debug, Clone)]
pub(super) struct Neurons<L> {
    pub layer: L,
    /// The factor of each neuron's weights and bias.
    pub factors: Vec<f64>,
    /// What each neuron's bias has in addition, after the factors; empty for nothing.
    pub drift: Vec<f64>,
}

impl Step {
    /// dt/τ, which may be 1 but for rounding.
    fn ratio(self, node: Parameters, name: &str, tau: f64) -> Result<f64> {
        let ratio = self.dt / tau;
        match ratio {
            _ if ratio <= 1.0 => Ok(ratio),
            _ if ratio <= 1.0 + TOLERANCE => Ok(1.0),
            _ => Err(node.error(format!(
                "its `{name}` of {tau} s is smaller than the time step of {} s, so the potential would overshoot; give the time \
                 step that the file was made for with option dt, or correct the time constant (Norse multiplies them by dt when it \
                 exports: pass dt=1 to its to_nir)",
                self.dt
            ))),
        }
    }

    /// τ' in ms with exp(-Δt/τ') = 1 - ratio.
    fn tau_ms(self, ratio: f64) -> f64 {
        match ratio {
            // exp(-1000) is 0.
            1.0 => self.dt_ms / 1000.0,
            _ => -self.dt_ms / (-ratio).ln_1p(),
        }
    }
}

/// A spiking layer of `n` neurons from a LIF, IF or CubaLIF node. Its number of neurons, connection and biases are open.
pub(super) fn spiking(node: Parameters, n: usize, step: Step, import: &Import) -> Result<Neurons<SpikingLayer>> {
    let mut layer = SpikingLayer::lif(n).init(Initialisation::Uniform { scale: 1.0 });
    let r = node.per_neuron("r", n)?;
    let mut leak = vec![0.0; n];
    let mut share = 0.0;
    let gain = match node.step.kind.as_str() {
        "LIF" => {
            node.only(&["tau", "r", "v_leak", "v_threshold", "v_reset"])?;
            share = step.ratio(node, "tau", node.shared_positive("tau", n)?)?;
            leak = node.per_neuron("v_leak", n)?;
            layer.tau_ms = step.tau_ms(share);
            share
        }
        "CubaLIF" => {
            node.only(&["tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset"])?;
            share = step.ratio(node, "tau_mem", node.shared_positive("tau_mem", n)?)?;
            let synapse = step.ratio(node, "tau_syn", node.shared_positive("tau_syn", n)?)?;
            leak = node.per_neuron("v_leak", n)?;
            layer.tau_ms = step.tau_ms(share);
            layer.cell = Cell::CubaLif { tau_syn_ms: step.tau_ms(synapse) };
            share * synapse
        }
        _ => {
            node.only(&["r", "v_threshold", "v_reset"])?;
            layer.tau_ms = f64::INFINITY;
            step.dt
        }
    };
    // nir 0.2.0 forgets w_in, which is then 1.
    let w_in = if node.has("w_in") { node.per_neuron("w_in", n)? } else { vec![1.0; n] };
    let threshold = node.per_neuron("v_threshold", n)?;
    let scales = scales(node, &threshold)?;
    layer.v_th = uniform(&threshold).unwrap_or_else(|| range(&threshold).1);
    set_reset(node, &mut layer, &scales, share, import)?;

    let factors = (0..n).map(|j| snapped(gain * r[j] * w_in[j] * scales[j])).collect();
    let rest: Vec<f64> = leak.iter().zip(&scales).map(|(v, scale)| v * scale).collect();
    let mut drift = Vec::new();
    match (uniform(&rest), layer.cell) {
        (Some(rest), _) => layer.v_rest = rest,
        (None, Cell::Lif) => drift = rest.iter().map(|v| share * v).collect(),
        (None, Cell::CubaLif { .. }) => {
            return Err(node.error(
                "its `v_leak`, relative to `v_threshold`, differs from neuron to neuron, the neurons of a CubaLIF layer must \
                 share it",
            ));
        }
    }
    // The same share of neurons is active whatever the unit of the potential.
    if layer.v_th > 0.0 && layer.v_th != 1.0 {
        (layer.b_th, layer.beta) = (layer.b_th * layer.v_th, layer.beta / layer.v_th);
    }
    Ok(Neurons { layer, factors, drift })
}

/// What the potentials of each neuron are multiplied by, so that all have the largest threshold.
fn scales(node: Parameters, threshold: &[f64]) -> Result<Vec<f64>> {
    let (low, high) = range(threshold);
    match uniform(threshold) {
        Some(_) => Ok(vec![1.0; threshold.len()]),
        None if low > 0.0 => Ok(threshold.iter().map(|v_th| high / v_th).collect()),
        None => Err(node.error(format!(
            "its `v_threshold` differs from neuron to neuron ({low} to {high}), which can be imported only if all are positive"
        ))),
    }
}

/// `share` is dt/τ, 0 for IF.
fn set_reset(node: Parameters, layer: &mut SpikingLayer, scales: &[f64], share: f64, import: &Import) -> Result<()> {
    if !node.has("v_reset") {
        layer.reset = import.missing_reset.unwrap_or(Reset::ToValue);
        if layer.reset == Reset::Subtract {
            // v - v_threshold before the decay subtracts α v_threshold after it, where we subtract v_th - v_r.
            layer.v_r = layer.v_th * share;
        }
        return Ok(());
    }
    layer.reset = Reset::ToValue;
    let reset = node.per_neuron("v_reset", scales.len())?;
    let reset: Vec<f64> = reset.iter().zip(scales).map(|(v, scale)| v * scale).collect();
    layer.v_r = uniform(&reset).ok_or_else(|| {
        node.error(
            "its `v_reset`, relative to `v_threshold`, differs from neuron to neuron, the neurons of a layer must share it; train \
             a network with one reset potential per layer",
        )
    })?;
    Ok(())
}

/// 1 where single precision cannot tell it from 1, so that weights keep their bits.
fn snapped(factor: f64) -> f64 {
    if (factor - 1.0).abs() <= TOLERANCE { 1.0 } else { factor }
}

/// A readout of `n` leaky integrators from a LI node.
pub(super) fn integrator(node: Parameters, n: usize, step: Step) -> Result<Neurons<Integrator>> {
    node.only(&["tau", "r", "v_leak"])?;
    let share = step.ratio(node, "tau", node.shared_positive("tau", n)?)?;
    let (r, leak) = (node.per_neuron("r", n)?, node.per_neuron("v_leak", n)?);
    let gain = if r.iter().all(|&r| snapped(r) == 1.0) { ReadoutGain::OneMinusAlpha } else { ReadoutGain::One };
    let inside = if gain == ReadoutGain::One { share } else { 1.0 };
    let factors = r.iter().map(|r| snapped(r * inside)).collect();
    let drift = if leak.iter().any(|&v| v != 0.0) { leak.iter().map(|v| v * inside).collect() } else { Vec::new() };
    let layer = Readout::max(n).tau_ms(step.tau_ms(share)).gain(gain);
    Ok(Neurons { layer, factors, drift })
}

/// A readout of `n` integrators that hold the last step's input only: a graph that ends in weights.
pub(super) fn plain_output(n: usize, step: Step) -> Neurons<Integrator> {
    let layer = Readout::max(n).tau_ms(step.tau_ms(1.0)).gain(ReadoutGain::One);
    Neurons { layer, factors: vec![1.0; n], drift: Vec::new() }
}
