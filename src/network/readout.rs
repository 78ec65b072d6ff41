//! The last layer and the logits.

use super::init::LONGEST_TAU;
use super::{Cell, Connection, Initialisation, Reset, SpikingLayer, Surrogate, number};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The last layer, with one neuron and one logit per class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ReadoutFields", into = "ReadoutFields")]
#[non_exhaustive]
pub enum Readout {
    /// Leaky integrators, which neither spike nor reset.
    Integrator(Integrator),
    /// A spiking layer. The logits are the neurons' spike counts. The activity regularisers do not apply to it.
    SpikeCount(SpikingLayer),
}

/// Leaky integrators: V\[0\] = 0, V\[t+1\] = a_r V\[t\] + gain (Σ_i W_i S_i\[t\] + b) with a_r = exp(-Δt/τ_r).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Integrator {
    /// Number of classes, C.
    pub classes: usize,
    /// Membrane time constant τ_r, ms.
    pub tau_ms: f64,
    /// Factor on the input current, including the bias.
    pub gain: ReadoutGain,
    /// How the logits follow from the potentials.
    pub logits: Logits,
    /// Whether each class has a bias.
    pub bias: bool,
    /// Distribution of initial weights. Initial biases are 0.
    pub init: Initialisation,
}

/// Factor on an integrator's input current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadoutGain {
    /// 1, as printed in the paper.
    One,
    /// 1 - α_r, as in the authors' published code.
    OneMinusAlpha,
}

/// How a logit follows from an integrator's potentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Logits {
    /// The maximum over t = 0..T-1. On ties, the gradient goes to the first time.
    Max,
    /// The sum over t = 0..T-1.
    Sum,
    /// The mean over t = 0..T-1.
    Mean,
    /// The potential at T-1.
    Last,
}

impl Readout {
    /// The fields of either kind that mean the same in the other.
    #[cfg(feature = "runs")]
    pub(crate) const COMMON_FIELDS: [&str; 3] = ["classes", "tau_ms", "bias"];

    /// Integrators whose logits are their largest potentials: τ_r = 10 ms, gain 1 - α_r, no bias, uniform initial weights.
    pub fn max(classes: usize) -> Integrator {
        Integrator {
            classes,
            tau_ms: 10.0,
            gain: ReadoutGain::OneMinusAlpha,
            logits: Logits::Max,
            bias: false,
            init: Initialisation::Uniform { scale: 1.0 },
        }
    }

    /// [`max`](Self::max), but the logits are sums over time.
    pub fn sum(classes: usize) -> Integrator {
        Integrator { logits: Logits::Sum, ..Self::max(classes) }
    }

    /// [`max`](Self::max), but the logits are means over time.
    pub fn mean(classes: usize) -> Integrator {
        Integrator { logits: Logits::Mean, ..Self::max(classes) }
    }

    /// [`max`](Self::max), but the logits are the last potentials.
    pub fn last(classes: usize) -> Integrator {
        Integrator { logits: Logits::Last, ..Self::max(classes) }
    }

    /// Logits are the spike counts of `layer`, which has one neuron per class.
    pub fn spike_count(layer: SpikingLayer) -> Self {
        Readout::SpikeCount(layer)
    }

    /// Number of classes, C.
    pub fn classes(&self) -> usize {
        match self {
            Readout::Integrator(readout) => readout.classes,
            Readout::SpikeCount(layer) => layer.neurons,
        }
    }

    /// Whether the layer has biases.
    pub fn bias(&self) -> bool {
        match self {
            Readout::Integrator(readout) => readout.bias,
            Readout::SpikeCount(layer) => layer.bias,
        }
    }

    /// Distribution of initial weights.
    pub fn init(&self) -> Initialisation {
        match self {
            Readout::Integrator(readout) => readout.init,
            Readout::SpikeCount(layer) => layer.init,
        }
    }

    /// Checks the layer. `name` is its name in errors.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        match self {
            Readout::Integrator(readout) => {
                number(&format!("{name}.tau_ms"), readout.tau_ms, readout.tau_ms > 0.0, "positive")?;
                let tau = format!("{name}.tau_ms");
                if readout.gain == ReadoutGain::OneMinusAlpha && readout.tau_ms > LONGEST_TAU {
                    let want = format!("{LONGEST_TAU:e} at most with the gain one_minus_alpha, which would be 0");
                    return Err(Error::field(tau, readout.tau_ms, want));
                }
                readout.init.check(&format!("{name}.init"), &tau, readout.tau_ms)
            }
            Readout::SpikeCount(layer) if layer.connection != Connection::Linear => {
                Err(Error::Config(format!("{name}.connection: a readout cannot be a convolution")))
            }
            Readout::SpikeCount(layer) => layer.check(name),
        }
    }

    /// exp(-Δt/τ) of the membrane potential.
    pub fn alpha(&self, dt_ms: f64) -> f64 {
        match self {
            Readout::Integrator(readout) => readout.alpha(dt_ms),
            Readout::SpikeCount(layer) => layer.alpha(dt_ms),
        }
    }
}

impl From<Integrator> for Readout {
    fn from(readout: Integrator) -> Self {
        Readout::Integrator(readout)
    }
}

impl Integrator {
    /// Sets the membrane time constant τ_r, ms.
    pub fn tau_ms(self, tau_ms: f64) -> Self {
        Integrator { tau_ms, ..self }
    }

    /// Sets the factor on the input current.
    pub fn gain(self, gain: ReadoutGain) -> Self {
        Integrator { gain, ..self }
    }

    /// Gives each class a bias.
    pub fn bias(self) -> Self {
        Integrator { bias: true, ..self }
    }

    /// Sets the distribution of initial weights.
    pub fn init(self, init: Initialisation) -> Self {
        Integrator { init, ..self }
    }

    /// What the paper's readouts do not have, as `field = value`.
    pub(super) fn beyond_paper(&self) -> Option<String> {
        match self.logits {
            _ if self.bias => Some("readout.bias = true".into()),
            Logits::Max | Logits::Sum => None,
            Logits::Mean => Some("readout.logits = mean".into()),
            Logits::Last => Some("readout.logits = last".into()),
        }
    }

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

/// The field `kind` of a readout in files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadoutKind {
    #[default]
    Integrator,
    SpikeCount,
}

/// Representation of a readout in files: the fields of both kinds. Files of earlier versions have no `kind`, which means
/// integrators.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadoutFields {
    #[serde(default)]
    kind: ReadoutKind,
    classes: usize,
    tau_ms: f64,
    init: Option<Initialisation>,
    #[serde(default)]
    bias: bool,
    gain: Option<ReadoutGain>,
    logits: Option<Logits>,
    cell: Option<Cell>,
    v_th: Option<f64>,
    v_r: Option<f64>,
    v_rest: Option<f64>,
    reset: Option<Reset>,
    surrogate: Option<Surrogate>,
    beta: Option<f64>,
    surrogate_scale: Option<f64>,
    b_th: Option<f64>,
    recurrent: Option<bool>,
}

impl TryFrom<ReadoutFields> for Readout {
    type Error = String;

    fn try_from(f: ReadoutFields) -> std::result::Result<Self, String> {
        let spiking = [
            ("cell", f.cell.is_some()),
            ("v_th", f.v_th.is_some()),
            ("v_r", f.v_r.is_some()),
            ("v_rest", f.v_rest.is_some()),
            ("reset", f.reset.is_some()),
            ("surrogate", f.surrogate.is_some()),
            ("beta", f.beta.is_some()),
            ("surrogate_scale", f.surrogate_scale.is_some()),
            ("b_th", f.b_th.is_some()),
            ("recurrent", f.recurrent.is_some()),
        ];
        let integrating = [("gain", f.gain.is_some()), ("logits", f.logits.is_some())];
        let others = |fields: &[(&str, bool)], kind: &str, other: &str| match fields.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(format!("`{name}` is not a field of the kind `{kind}`, but of `{other}`")),
            None => Ok(()),
        };
        match f.kind {
            ReadoutKind::Integrator => {
                others(&spiking, "integrator", "spike_count")?;
                let usual = Readout::max(f.classes);
                Ok(Readout::Integrator(Integrator {
                    tau_ms: f.tau_ms,
                    gain: f.gain.unwrap_or(usual.gain),
                    logits: f.logits.unwrap_or(usual.logits),
                    bias: f.bias,
                    init: f.init.unwrap_or(usual.init),
                    ..usual
                }))
            }
            ReadoutKind::SpikeCount => {
                others(&integrating, "spike_count", "integrator")?;
                let usual = SpikingLayer::lif(f.classes);
                Ok(Readout::SpikeCount(SpikingLayer {
                    tau_ms: f.tau_ms,
                    cell: f.cell.unwrap_or(usual.cell),
                    v_th: f.v_th.unwrap_or(usual.v_th),
                    v_r: f.v_r.unwrap_or(usual.v_r),
                    v_rest: f.v_rest.unwrap_or(usual.v_rest),
                    reset: f.reset.unwrap_or(usual.reset),
                    surrogate: f.surrogate.unwrap_or(usual.surrogate),
                    beta: f.beta.unwrap_or(usual.beta),
                    surrogate_scale: f.surrogate_scale.unwrap_or(usual.surrogate_scale),
                    b_th: f.b_th.unwrap_or(usual.b_th),
                    bias: f.bias,
                    recurrent: f.recurrent.unwrap_or(usual.recurrent),
                    init: f.init.unwrap_or(usual.init),
                    ..usual
                }))
            }
        }
    }
}

impl From<Readout> for ReadoutFields {
    fn from(readout: Readout) -> Self {
        let common = ReadoutFields {
            classes: readout.classes(),
            bias: readout.bias(),
            init: Some(readout.init()),
            ..ReadoutFields::default()
        };
        match readout {
            Readout::Integrator(r) => {
                ReadoutFields { tau_ms: r.tau_ms, gain: Some(r.gain), logits: Some(r.logits), ..common }
            }
            Readout::SpikeCount(layer) => ReadoutFields {
                kind: ReadoutKind::SpikeCount,
                tau_ms: layer.tau_ms,
                cell: Some(layer.cell),
                v_th: Some(layer.v_th),
                v_r: Some(layer.v_r),
                v_rest: Some(layer.v_rest),
                reset: Some(layer.reset),
                surrogate: Some(layer.surrogate),
                beta: Some(layer.beta),
                surrogate_scale: Some(layer.surrogate_scale),
                b_th: Some(layer.b_th),
                recurrent: Some(layer.recurrent),
                ..common
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_kind_survives_a_file() {
        let counting =
            SpikingLayer::cuba_lif(3, 4.0).bias().recurrent().reset(Reset::ToValue).surrogate(Surrogate::Arctan, 2.0);
        for readout in [Readout::from(Readout::mean(4).bias()), Readout::spike_count(counting)] {
            let text = toml::to_string(&readout).unwrap();
            assert_eq!(toml::from_str::<Readout>(&text).unwrap(), readout, "{text}");
        }
    }

    #[test]
    fn fields_of_the_other_kind_are_named() {
        let old =
            "classes = 10\ntau_ms = 10.0\ngain = 'one'\nlogits = 'max'\ninit = { kind = 'uniform', scale = 1.0 }\n";
        assert_eq!(toml::from_str::<Readout>(old).unwrap().classes(), 10);
        let error = |text: &str| toml::from_str::<Readout>(text).unwrap_err().to_string();
        assert!(
            error(&format!("{old}v_th = 1.0"))
                .contains("`v_th` is not a field of the kind `integrator`, but of `spike_count`")
        );
        assert!(
            error(&format!("kind = 'spike_count'\n{old}")).contains("`gain` is not a field of the kind `spike_count`")
        );
        assert_eq!(toml::from_str::<Readout>("classes = 3\ntau_ms = 10.0").unwrap(), Readout::max(3).into());
    }
}
