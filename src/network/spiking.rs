//! Spiking layers, and the constants that kernels use.

use super::{Connection, Convolution, Initialisation, Surrogate, extent, number};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A layer of spiking neurons.
///
/// With the drive D_j\[t\] = Σ_i W_ij S^in_i\[t\] + Σ_k R_kj S_k\[t\] + b_j, a = exp(-Δt/τ) and s = exp(-Δt/τ_syn), all states
/// 0 at t = 0:
///
/// ```text
/// lif        V[t+1] = V_rest + a (V~[t] - V_rest) + D[t] - kick[t]
/// cuba_lif   I[t+1] = s I[t] + D[t],   V[t+1] = V_rest + a (V~[t] - V_rest) + I[t+1] - kick[t]
/// subtract   V~ = V,                          kick = (V_th - V_r) S[t]
/// to_value   V~ = V_r where S[t] = 1, else V, kick = 0
/// S[t+1] = V[t+1] > V_th
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SpikingLayer {
    /// Number of neurons, N. For a convolution, those of all maps before pooling.
    pub neurons: usize,
    /// The neuron model.
    #[serde(default)]
    pub cell: Cell,
    /// Membrane time constant τ, ms.
    pub tau_ms: f64,
    /// Threshold: a neuron spikes if V > V_th, strictly.
    pub v_th: f64,
    /// Reset potential V_r, which `reset` uses.
    pub v_r: f64,
    /// Resting potential V_rest, towards which V decays. The initial potential is 0 regardless.
    pub v_rest: f64,
    /// How a spike resets the potential.
    #[serde(default)]
    pub reset: Reset,
    /// Shape of the surrogate gradient.
    #[serde(default)]
    pub surrogate: Surrogate,
    /// Slope β of the surrogate gradient.
    pub beta: f64,
    /// Factor on the surrogate gradient.
    #[serde(default = "one")]
    pub surrogate_scale: f64,
    /// Backward threshold: the surrogate is 0 unless |V - V_th| < B_th. Infinite means unmasked.
    pub b_th: f64,
    /// Whether each neuron, or each filter of a convolution, has a bias, which is added to its drive at every time step.
    #[serde(default)]
    pub bias: bool,
    /// Whether the neurons are also connected with each other and with themselves, by recurrent weights R \[N, N\]: a spike at t
    /// adds its row of R to the drive of t, which arrives at t + 1. Not for convolutions.
    #[serde(default)]
    pub recurrent: bool,
    /// Distribution of initial weights. Recurrent weights have half the scale, and N in place of N_in. Initial biases are 0.
    pub init: Initialisation,
    /// Connection to the layer below.
    #[serde(default)]
    pub connection: Connection,
}

fn one() -> f64 {
    1.0
}

/// Neuron model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Cell {
    /// Leaky integrate-and-fire (LIF): input spikes add to the potential.
    #[default]
    Lif,
    /// Current-based LIF: input spikes add to a current, which decays and drives the potential.
    CubaLif {
        /// Time constant of the current τ_syn, ms.
        tau_syn_ms: f64,
    },
}

/// How a spike resets the neuron's potential in the next time step. No gradient flows through the reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// Subtracts V_th - V_r.
    #[default]
    Subtract,
    /// Sets the potential to V_r before it decays. The current of a `cuba_lif` cell is not reset.
    ToValue,
}

impl SpikingLayer {
    /// `neurons` LIF neurons with the defaults τ = 10 ms, V_th = 1, V_r = V_rest = 0, the paper's surrogate with β = 10
    /// and B_th = 0.2, no bias, normal initial weights. The methods below change these.
    pub fn lif(neurons: usize) -> Self {
        SpikingLayer {
            neurons,
            cell: Cell::Lif,
            tau_ms: 10.0,
            v_th: 1.0,
            v_r: 0.0,
            v_rest: 0.0,
            reset: Reset::Subtract,
            surrogate: Surrogate::FastSigmoid,
            beta: 10.0,
            surrogate_scale: 1.0,
            b_th: 0.2,
            bias: false,
            recurrent: false,
            // The paper's scale for Fashion-MNIST. With a tenth of it, small networks do not spike and cannot learn.
            init: Initialisation::Normal { scale: 20.0 },
            connection: Connection::Linear,
        }
    }

    /// [`lif`](Self::lif) with a current of this time constant, ms.
    pub fn cuba_lif(neurons: usize, tau_syn_ms: f64) -> Self {
        SpikingLayer { cell: Cell::CubaLif { tau_syn_ms }, ..Self::lif(neurons) }
    }

    /// A convolution of LIF neurons with the defaults of [`lif`](Self::lif).
    pub fn convolution(shape: Convolution) -> Self {
        SpikingLayer { connection: Connection::Conv(shape), ..Self::lif(shape.neurons()) }
    }

    /// Sets the membrane time constant τ, ms.
    pub fn tau_ms(self, tau_ms: f64) -> Self {
        SpikingLayer { tau_ms, ..self }
    }

    /// Sets the threshold.
    pub fn v_th(self, v_th: f64) -> Self {
        SpikingLayer { v_th, ..self }
    }

    /// Sets the reset potential.
    pub fn v_r(self, v_r: f64) -> Self {
        SpikingLayer { v_r, ..self }
    }

    /// Sets the resting potential.
    pub fn v_rest(self, v_rest: f64) -> Self {
        SpikingLayer { v_rest, ..self }
    }

    /// Sets the reset.
    pub fn reset(self, reset: Reset) -> Self {
        SpikingLayer { reset, ..self }
    }

    /// Sets the surrogate's shape and its slope β.
    pub fn surrogate(self, surrogate: Surrogate, beta: f64) -> Self {
        SpikingLayer { surrogate, beta, ..self }
    }

    /// Sets the factor on the surrogate gradient.
    pub fn surrogate_scale(self, surrogate_scale: f64) -> Self {
        SpikingLayer { surrogate_scale, ..self }
    }

    /// Sets the backward threshold; `f64::INFINITY` for an unmasked surrogate.
    pub fn b_th(self, b_th: f64) -> Self {
        SpikingLayer { b_th, ..self }
    }

    /// Gives each neuron, or each filter of a convolution, a bias.
    pub fn bias(self) -> Self {
        SpikingLayer { bias: true, ..self }
    }

    /// Gives the layer recurrent weights.
    pub fn recurrent(self) -> Self {
        SpikingLayer { recurrent: true, ..self }
    }

    /// Sets the distribution of initial weights.
    pub fn init(self, init: Initialisation) -> Self {
        SpikingLayer { init, ..self }
    }

    /// The layer's convolution, if it is one.
    pub fn conv(&self) -> Option<&Convolution> {
        match &self.connection {
            Connection::Linear => None,
            Connection::Conv(conv) => Some(conv),
        }
    }

    /// Number of inputs that the layer is for the layer above. For a convolution, the pooled neurons.
    pub fn outputs(&self) -> usize {
        self.conv().map_or(self.neurons, Convolution::outputs)
    }

    /// Index of neuron `j` as seen by the layer above: `j` itself, or its pooling window for a convolution; `None` if it
    /// is in no window.
    pub fn output_of(&self, j: usize) -> Option<usize> {
        self.conv().map_or(Some(j), |conv| conv.output_of(j))
    }

    /// exp(-Δt/τ).
    pub fn alpha(&self, dt_ms: f64) -> f64 {
        (-dt_ms / self.tau_ms).exp()
    }

    /// The constants that kernels use.
    pub fn constants(&self, dt_ms: f64) -> CellConstants {
        let alpha = self.alpha(dt_ms);
        let to_value = self.reset == Reset::ToValue;
        CellConstants {
            alpha: alpha as f32,
            synapse: match self.cell {
                Cell::Lif => None,
                Cell::CubaLif { tau_syn_ms } => Some((-dt_ms / tau_syn_ms).exp() as f32),
            },
            leak: ((1.0 - alpha) * self.v_rest) as f32,
            v_th: self.v_th as f32,
            v_r: self.v_r as f32,
            kick: if to_value { 0.0 } else { (self.v_th - self.v_r) as f32 },
            to_value,
            surrogate: self.surrogate,
            beta: self.beta as f32,
            surrogate_scale: self.surrogate_scale as f32,
            band: (self.b_th.min(self.surrogate.reach(self.beta)) as f32).min(f32::MAX),
        }
    }

    /// Checks the layer. `name` is its name in errors.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let field = |field: &str| format!("{name}.{field}");
        let finite = |value: f64| (value as f32).is_finite();
        extent(&field("neurons"), self.neurons)?;
        number(&field("tau_ms"), self.tau_ms, self.tau_ms > 0.0, "positive")?;
        if let Cell::CubaLif { tau_syn_ms } = self.cell {
            number(&field("cell.tau_syn_ms"), tau_syn_ms, tau_syn_ms > 0.0, "positive")?;
        }
        for (name, value) in [("v_th", self.v_th), ("v_r", self.v_r), ("v_rest", self.v_rest)] {
            number(&field(name), value, finite(value), "a finite 32-bit number")?;
        }
        match self.surrogate {
            // β = 0 is valid: g(V) is 1 everywhere.
            Surrogate::FastSigmoid => number(
                &field("beta"),
                self.beta,
                self.beta >= 0.0 && finite(self.beta),
                "0 or a positive 32-bit number",
            )?,
            _ => {
                let fits = self.beta > 0.0 && finite(self.beta) && finite(1.0 / self.beta);
                number(&field("beta"), self.beta, fits, "a positive 32-bit number")?;
            }
        }
        let scale = self.surrogate_scale;
        number(&field("surrogate_scale"), scale, scale as f32 > 0.0 && finite(scale), "a positive 32-bit number")?;
        number(&field("b_th"), self.b_th, self.b_th >= 0.0, "0 or more (`inf` for an unmasked surrogate)")?;
        let reset = self.v_th as f32 - self.v_r as f32;
        number(&field("v_th - v_r"), reset.into(), reset.is_finite(), "a finite 32-bit number")?;
        if self.recurrent && self.conv().is_some() {
            let want = "false for a convolution; put the recurrent weights into a fully connected layer above it";
            return Err(Error::field(field("recurrent"), true, want));
        }
        self.init.check(&field("init"), &field("tau_ms"), self.tau_ms)
    }

    /// The first property that the paper's layers do not have, as `field = value`.
    pub fn beyond_paper(&self) -> Option<String> {
        match self {
            SpikingLayer { cell: Cell::CubaLif { .. }, .. } => Some("cell.kind = cuba_lif".into()),
            SpikingLayer { reset: Reset::ToValue, .. } => Some("reset = to_value".into()),
            SpikingLayer { bias: true, .. } => Some("bias = true".into()),
            SpikingLayer { recurrent: true, .. } => Some("recurrent = true".into()),
            SpikingLayer { surrogate, .. } if *surrogate != Surrogate::FastSigmoid => {
                Some(format!("surrogate = {}", surrogate.name()))
            }
            SpikingLayer { surrogate_scale, .. } if *surrogate_scale != 1.0 => {
                Some(format!("surrogate_scale = {surrogate_scale}"))
            }
            _ => None,
        }
    }
}

/// The constants of a spiking layer that kernels use: V\[t+1\] = α V~\[t\] + leak - kick + drive or current.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellConstants {
    /// α = exp(-Δt/τ).
    pub alpha: f32,
    /// s = exp(-Δt/τ_syn) of a `cuba_lif` cell; `None` for a `lif` cell.
    pub synapse: Option<f32>,
    /// (1 - α) V_rest.
    pub leak: f32,
    /// Threshold.
    pub v_th: f32,
    /// Reset potential, to which a spike sets V~ with `to_value`.
    pub v_r: f32,
    /// V_th - V_r, subtracted in the step after a spike; 0 with `to_value`.
    pub kick: f32,
    /// Whether the reset is `to_value`.
    pub to_value: bool,
    /// Shape of the surrogate gradient.
    pub surrogate: Surrogate,
    /// Slope of the surrogate gradient.
    pub beta: f32,
    /// Factor on the surrogate gradient.
    pub surrogate_scale: f32,
    /// An entry is active if |V - V_th| < band, the smaller of B_th and the surrogate's [`reach`](Surrogate::reach).
    /// Infinity becomes `f32::MAX`, because WGSL may assume that there are no infinities.
    pub band: f32,
}

impl CellConstants {
    /// The surrogate gradient at `distance` = |V - V_th| of an active entry.
    #[inline(always)]
    pub fn gradient(&self, distance: f32) -> f32 {
        self.surrogate_scale * self.surrogate.gradient(self.beta, distance)
    }

    /// The surrogate gradient g(V); `None` if the entry is not active.
    #[inline(always)]
    pub fn surrogate_at(&self, v: f32) -> Option<f32> {
        let distance = (v - self.v_th).abs();
        (distance < self.band).then(|| self.gradient(distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_fold_reset_and_reach_in() {
        let layer = SpikingLayer::cuba_lif(3, 5.0).v_rest(0.5).v_r(0.25).surrogate(Surrogate::Triangular, 10.0);
        let c = layer.constants(1.0);
        assert_eq!((c.kick, c.band, c.synapse), (0.75, 0.1, Some((-0.2f64).exp() as f32)));
        let c = layer.reset(Reset::ToValue).b_th(0.05).constants(1.0);
        assert_eq!((c.kick, c.band, c.v_r), (0.0, 0.05, 0.25));
        assert_eq!(SpikingLayer::lif(1).b_th(f64::INFINITY).constants(1.0).band, f32::MAX);
        assert_eq!((c.surrogate_at(1.05 + 1e-3), c.surrogate_at(1.0)), (None, Some(10.0)));
    }
}
