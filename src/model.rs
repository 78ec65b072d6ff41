//! The network: hidden leaky integrate-and-fire (LIF) layers, a non-spiking readout, the loss.
//!
//! These are descriptions, with the constants as their users know them (milliseconds, thresholds).
//! What the kernels use is derived in one place: [`LifConstants`] and [`Readout::alpha`].

mod conv;

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

pub use conv::{Connection, Convolution};

/// Most weights in a network: four copies of them (weights, gradient, two moments) then take 16 GiB.
pub const MAX_WEIGHTS: usize = 1 << 30;
/// Most hidden layers.
pub const MAX_LAYERS: usize = 1024;
/// Most neurons in a layer, and most time steps: an [`Event`](crate::events::Event) holds both in 32 bits.
pub const MAX_EXTENT: usize = 1 << 16;
/// Most time steps × neurons of a layer: devices count the spikes of up to eight samples in 32 bits.
pub const MAX_SLOTS: usize = 1 << 28;

/// A spiking network: `inputs` → hidden LIF layers → readout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Input neurons, N₀.
    pub inputs: usize,
    /// Time steps, T. The input at T-1 is never used: every layer delays by one step.
    pub time_steps: usize,
    /// Length of a time step, Δt, in ms.
    pub dt_ms: f64,
    /// The spiking layers, in order; with none, the input goes straight to the readout.
    pub hidden: Vec<HiddenLayer>,
    /// The readout layer.
    pub readout: Readout,
    /// Activity regularisers, added to the mean cross entropy.
    pub regulariser: Regulariser,
}

/// One hidden layer of LIF neurons (paper, eqs. 1-3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HiddenLayer {
    /// Neurons, N; of a convolution all of its maps', before pooling.
    pub neurons: usize,
    /// Membrane time constant τ, ms.
    pub tau_ms: f64,
    /// Threshold: a neuron spikes where V > V_th, strictly.
    pub v_th: f64,
    /// Reset potential: a spike subtracts V_th - V_r in the next step.
    pub v_r: f64,
    /// Resting potential, towards which V decays. V starts at 0, not here.
    pub v_rest: f64,
    /// Slope β of the surrogate gradient 1 / (β |V - V_th| + 1)².
    pub beta: f64,
    /// Backward threshold: the surrogate is 0 unless |V - V_th| < B_th. Infinite means unmasked.
    pub b_th: f64,
    /// How the layer's weights begin.
    pub init: Initialisation,
    /// How it is connected to the layer below.
    #[serde(default)]
    pub connection: Connection,
}

/// The last layer: it integrates and neither spikes nor resets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readout {
    /// Output classes, C.
    pub classes: usize,
    /// Membrane time constant τ_r, ms.
    pub tau_ms: f64,
    /// Factor on the input current.
    pub gain: ReadoutGain,
    /// How potentials over time become logits.
    pub logits: Logits,
    /// How the layer's weights begin.
    pub init: Initialisation,
}

/// Factor on the readout's input current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadoutGain {
    /// 1, as printed in the paper.
    One,
    /// 1 - α_r, as in the authors' published code.
    OneMinusAlpha,
}

/// How the readout's potentials over time become logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Logits {
    /// The maximum over t = 0..T-1, the first time on ties.
    Max,
    /// The sum over t = 0..T-1.
    Sum,
}

/// How weights begin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Initialisation {
    /// Uniform on ±`scale`/√N_in (N-MNIST and SHD in the paper, with scale 1).
    Uniform {
        /// Half the width, times √N_in.
        scale: f64,
    },
    /// Normal with σ = `scale` (1 - α)/√N_in (Fashion-MNIST in the paper, with scale 20).
    Normal {
        /// σ √N_in / (1 - α).
        scale: f64,
    },
}

/// Activity regularisers; ζ_i is the spike count of neuron i of a hidden layer in a sample.
///
/// The loss gets (1/B) Σ_b Σ_hidden [ λ_up max(0, mean_i ζ_i - ν_up) + (λ_low/N) Σ_i max(0, ν_low - ζ_i)² ].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regulariser {
    /// Weight of the upper term.
    pub lambda_up: f64,
    /// Mean spikes per neuron and sample above which the upper term acts.
    pub nu_up: f64,
    /// Weight of the lower term.
    pub lambda_low: f64,
    /// Spikes of a neuron in a sample below which the lower term acts.
    pub nu_low: f64,
}

impl Regulariser {
    /// The most spikes of a sample in a layer of `neurons` for which the upper term has no gradient: mean_i ζ_i is not
    /// above ν_up, both in f32.
    ///
    /// A whole number, so that devices whose divisions round differently take the same side.
    pub fn most_spikes(&self, neurons: usize) -> u32 {
        let above = |spikes: u32| spikes as f32 / neurons as f32 > self.nu_up as f32;
        // The mean does not fall with the spikes: the first that is above is found by bisection.
        let (mut low, mut high) = (0, u32::MAX);
        if !above(high) {
            return high;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match above(middle) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        high.saturating_sub(1)
    }
}

/// Adam with bias correction, and AdamW's decay of the weights, which does not pass through the moments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Each update shrinks every weight by `lr` times this (times the schedule's factor); 0 for plain Adam.
    #[serde(default)]
    pub weight_decay: f64,
}

impl Adam {
    /// β₁ = 0.9, β₂ = 0.999, ε = 1e-8, no weight decay.
    pub fn with_lr(lr: f64) -> Self {
        Adam { lr, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// The constants of update `step` (from 1), with the bias corrections folded in, as both devices use them.
    pub fn constants(&self, step: u64) -> AdamConstants {
        let n = step as f64;
        AdamConstants {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            step_size: (self.lr / (1.0 - self.beta1.powf(n))) as f32,
            inv_sqrt_correction: (1.0 / (1.0 - self.beta2.powf(n)).sqrt()) as f32,
            epsilon: self.epsilon as f32,
            decay: (self.lr * self.weight_decay) as f32,
        }
    }

    /// Says which constant cannot work.
    pub fn check(&self) -> Result<()> {
        let bad =
            |name: &str, value: f64, want: &str| Err(Error::Config(format!("adam.{name} = {value}: must be {want}")));
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return bad("lr", self.lr, "a positive number");
        }
        for (name, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return bad(name, value, "at least 0 and below 1");
            }
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return bad("epsilon", self.epsilon, "a positive number");
        }
        if !(self.weight_decay >= 0.0 && self.lr * self.weight_decay < 1.0) {
            return bad("weight_decay", self.weight_decay, "0 or more, and below 1 / adam.lr");
        }
        Ok(())
    }
}

/// What one Adam update needs: W -= step_size m / (√v · inv_sqrt_correction + ε) + decay W.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConstants {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// lr / (1 - β₁ⁿ).
    pub step_size: f32,
    /// 1 / √(1 - β₂ⁿ).
    pub inv_sqrt_correction: f32,
    /// ε.
    pub epsilon: f32,
    /// lr · weight_decay.
    pub decay: f32,
}

/// The constants of a LIF layer as the kernels use them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LifConstants {
    /// exp(-Δt/τ).
    pub alpha: f32,
    /// Resting potential.
    pub v_rest: f32,
    /// Threshold.
    pub v_th: f32,
    /// V_th - V_r, subtracted in the step after a spike.
    pub reset: f32,
    /// Slope of the surrogate.
    pub beta: f32,
    /// Backward threshold; an infinite one becomes `f32::MAX`, because WGSL assumes no infinities.
    pub b_th: f32,
}

impl LifConstants {
    /// The surrogate gradient g(V), or `None` where the entry is not active (|V - V_th| ≥ B_th).
    #[inline(always)]
    pub fn surrogate(&self, v: f32) -> Option<f32> {
        let distance = (v - self.v_th).abs();
        (distance < self.b_th).then(|| {
            let x = self.beta * distance + 1.0;
            1.0 / (x * x)
        })
    }
}

impl HiddenLayer {
    /// The convolution that the layer is, if it is one.
    pub fn conv(&self) -> Option<&Convolution> {
        match &self.connection {
            Connection::Linear => None,
            Connection::Conv(conv) => Some(conv),
        }
    }

    /// Neurons that the layer above sees: of a convolution the pooled ones.
    pub fn outputs(&self) -> usize {
        self.conv().map_or(self.neurons, Convolution::outputs)
    }

    /// As what the layer above sees neuron `j`: itself, of a convolution its window; `None` outside of all windows.
    pub fn output_of(&self, j: usize) -> Option<usize> {
        self.conv().map_or(Some(j), |conv| conv.output_of(j))
    }

    /// exp(-Δt/τ).
    pub fn alpha(&self, dt_ms: f64) -> f64 {
        (-dt_ms / self.tau_ms).exp()
    }

    /// The constants as the kernels use them.
    pub fn constants(&self, dt_ms: f64) -> LifConstants {
        LifConstants {
            alpha: self.alpha(dt_ms) as f32,
            v_rest: self.v_rest as f32,
            v_th: self.v_th as f32,
            reset: (self.v_th - self.v_r) as f32,
            beta: self.beta as f32,
            b_th: (self.b_th as f32).min(f32::MAX),
        }
    }
}

impl Readout {
    /// exp(-Δt/τ_r).
    pub fn alpha(&self, dt_ms: f64) -> f64 {
        (-dt_ms / self.tau_ms).exp()
    }

    /// The factor on the input current.
    pub fn gain_value(&self, dt_ms: f64) -> f64 {
        match self.gain {
            ReadoutGain::One => 1.0,
            ReadoutGain::OneMinusAlpha => 1.0 - self.alpha(dt_ms),
        }
    }
}

impl Network {
    /// Neurons of the input, of every hidden layer and of the readout.
    pub fn sizes(&self) -> Vec<usize> {
        let hidden = self.hidden.iter().map(|layer| layer.neurons);
        std::iter::once(self.inputs).chain(hidden).chain([self.readout.classes]).collect()
    }

    /// What every weight layer reads, the readout's last: the input, then each hidden layer, pooled where it pools.
    pub fn fan_in(&self) -> Vec<usize> {
        std::iter::once(self.inputs).chain(self.hidden.iter().map(HiddenLayer::outputs)).collect()
    }

    /// (rows, columns) of every weight matrix, the readout's last: (N_in, N_out), of a convolution
    /// (channels · kernel², filters).
    pub fn weight_shapes(&self) -> Vec<(usize, usize)> {
        let columns = self.hidden.iter().map(|layer| (layer.conv(), layer.neurons));
        let shape = |(below, (conv, neurons)): (usize, (Option<&Convolution>, usize))| match conv {
            None => (below, neurons),
            Some(conv) => (conv.patch(), conv.filters),
        };
        self.fan_in().into_iter().zip(columns.chain([(None, self.readout.classes)])).map(shape).collect()
    }

    /// Extents of every weight tensor in files: [N_in, N_out], of a convolution [filters, channels, kernel, kernel].
    pub fn weight_extents(&self) -> Vec<Vec<usize>> {
        let convs = self.hidden.iter().map(HiddenLayer::conv).chain([None]);
        let extents = |((rows, cols), conv): ((usize, usize), Option<&Convolution>)| match conv {
            None => vec![rows, cols],
            Some(conv) => conv.weight_extents().to_vec(),
        };
        self.weight_shapes().into_iter().zip(convs).map(extents).collect()
    }

    /// Sets the widths of the hidden layers, but for convolutions, which stay and are not counted; new layers copy the
    /// constants of the last.
    ///
    /// # Errors
    /// Widths that cannot work, or no layer to copy.
    pub fn set_hidden(&mut self, widths: &[usize]) -> Result<()> {
        let linear = |layer: &HiddenLayer| HiddenLayer { connection: Connection::Linear, ..layer.clone() };
        let Some(last) = self.hidden.last().map(linear) else {
            return match widths {
                [] => self.check(),
                _ => Err(Error::Config("a network without hidden layers has no constants to copy".into())),
            };
        };
        let mut left = widths.iter();
        self.hidden.retain_mut(|layer| match (layer.conv(), left.as_slice()) {
            (Some(_), _) => true,
            (None, []) => false,
            (None, _) => {
                layer.neurons = left.next().copied().unwrap_or_default();
                true
            }
        });
        self.hidden.extend(left.map(|&neurons| HiddenLayer { neurons, ..last.clone() }));
        self.check()
    }

    /// Says which number of the description cannot work, and why.
    pub fn check(&self) -> Result<()> {
        let extent = |name: String, value: usize| match value {
            1..=MAX_EXTENT => Ok(()),
            _ => Err(Error::Config(format!("{name} = {value}: must be 1 to {MAX_EXTENT}"))),
        };
        let number = |name: String, value: f64, fits: bool, want: &str| match fits && !value.is_nan() {
            true => Ok(()),
            false => Err(Error::Config(format!("{name} = {value}: must be {want}"))),
        };
        extent("inputs".into(), self.inputs)?;
        extent("time_steps".into(), self.time_steps)?;
        extent("readout.classes".into(), self.readout.classes)?;
        number("dt_ms".into(), self.dt_ms, self.dt_ms.is_finite() && self.dt_ms > 0.0, "a positive number")?;
        if self.hidden.len() > MAX_LAYERS {
            let n = self.hidden.len();
            return Err(Error::Config(format!("hidden has {n} layers: must be {MAX_LAYERS} at most")));
        }
        for (l, layer) in self.hidden.iter().enumerate() {
            let name = |field: &str| format!("hidden[{l}].{field}");
            extent(name("neurons"), layer.neurons)?;
            number(name("tau_ms"), layer.tau_ms, layer.tau_ms > 0.0, "positive")?;
            for (field, value) in [("v_th", layer.v_th), ("v_r", layer.v_r), ("v_rest", layer.v_rest)] {
                number(name(field), value, (value as f32).is_finite(), "a finite 32-bit number")?;
            }
            number(name("beta"), layer.beta, layer.beta >= 0.0 && (layer.beta as f32).is_finite(), "0 or more")?;
            number(name("b_th"), layer.b_th, layer.b_th >= 0.0, "0 or more (`inf` for an unmasked surrogate)")?;
            let reset = layer.v_th as f32 - layer.v_r as f32;
            number(name("v_th - v_r"), reset.into(), reset.is_finite(), "a finite 32-bit number")?;
            check_init(name("init"), layer.init)?;
            if let Some(conv) = layer.conv() {
                let below = l.checked_sub(1).map_or(self.inputs, |below| self.hidden[below].outputs());
                conv.check(&format!("hidden[{l}]"), below, layer.neurons)?;
            }
        }
        for (l, neurons) in self.sizes().into_iter().enumerate() {
            let slots = self.time_steps * neurons;
            if slots > MAX_SLOTS {
                let name = l.checked_sub(1).map_or("inputs".into(), |l| format!("layer {l}"));
                return Err(Error::Config(format!(
                    "time_steps = {} times the {neurons} neurons of {name} are {slots}: must be at most {MAX_SLOTS}",
                    self.time_steps
                )));
            }
        }
        let weights: usize = self.weight_shapes().iter().map(|(rows, cols)| rows * cols).sum();
        if weights > MAX_WEIGHTS {
            return Err(Error::Config(format!(
                "the layers {:?} have {weights} weights, more than {MAX_WEIGHTS}; make them narrower",
                self.sizes()
            )));
        }
        number("readout.tau_ms".into(), self.readout.tau_ms, self.readout.tau_ms > 0.0, "positive")?;
        check_init("readout.init".into(), self.readout.init)?;
        let r = &self.regulariser;
        for (field, value) in
            [("lambda_up", r.lambda_up), ("nu_up", r.nu_up), ("lambda_low", r.lambda_low), ("nu_low", r.nu_low)]
        {
            number(format!("regulariser.{field}"), value, value >= 0.0 && (value as f32).is_finite(), "0 or more")?;
        }
        Ok(())
    }
}

fn check_init(name: String, init: Initialisation) -> Result<()> {
    let (Initialisation::Uniform { scale } | Initialisation::Normal { scale }) = init;
    match scale.is_finite() && scale > 0.0 {
        true => Ok(()),
        false => Err(Error::Config(format!("{name}.scale = {scale}: must be a positive number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_spikes_are_where_the_mean_passes_nu_up() {
        for neurons in [1, 3, 15, 200, 257, 1000, 65_535] {
            for nu_up in [0.0, 0.1, 0.4, 1.0 / 3.0, 1.0, 10.0, 8.5, 99.9, 1e9] {
                let most = Regulariser { lambda_up: 1.0, nu_up, lambda_low: 0.0, nu_low: 0.0 }.most_spikes(neurons);
                let above = |spikes: u32| spikes as f32 / neurons as f32 > nu_up as f32;
                assert!(!above(most) && (most == u32::MAX || above(most + 1)), "{nu_up} of {neurons}: {most}");
            }
        }
    }
}
