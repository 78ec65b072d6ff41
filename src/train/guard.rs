//! Detects problems during training: layers that are dead, silent, saturated or always spike, a loss far above that of guessing, and
//! numbers that are not finite.

use super::RunConfig;
use super::progress::EpochSums;
use crate::engine::{Method, NotFinite, Quantity, StepReport};
use crate::error::{Error, Result};
use crate::network::{Loss, Network, SpikingLayer};

/// A layer is saturated if more than this fraction of its entries is active.
pub const SATURATED: f64 = 1.0 / 3.0;
/// Most spikes are without meaning if a layer has them in more than this fraction of its entries.
pub const ALWAYS_SPIKING: f64 = 0.5;
/// A loss is absurd if it exceeds that of guessing by this factor.
pub const ABSURD_LOSS: f64 = 100.0;

/// Kind of a [`Warning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarningKind {
    /// No entry of the layer was active: its gradient is exactly 0.
    Dead,
    /// The layer did not spike.
    Silent,
    /// More than [`SATURATED`] of the layer's entries were active.
    Saturated,
    /// The layer spiked in more than [`ALWAYS_SPIKING`] of its entries.
    AlwaysSpiking,
    /// The loss was more than [`ABSURD_LOSS`] times that of guessing.
    AbsurdLoss,
    /// The run is continued on another device.
    OtherDevice,
    /// The device was lost and reopened.
    DeviceLost,
}

/// A problem that the user may want to fix.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Warning {
    /// The kind of problem.
    pub kind: WarningKind,
    /// The spiking layer, from 0.
    pub layer: Option<usize>,
    /// Message with the layer, the problem, and what to change.
    pub text: String,
}

/// Checks the sums of an epoch for layers that are dead, silent, saturated or always spike, and for an absurd loss.
pub fn inspect(config: &RunConfig, sums: &EpochSums) -> Vec<Warning> {
    let network = &config.network;
    // The other methods do not profit from few active entries, and `reference` ignores B_th.
    let sparse = matches!(config.method, Method::Sparse | Method::Auto);
    let activity = sums.activity(network);
    let density = sums.spike_density(network);
    let mut warnings = Vec::new();
    for (l, layer) in network.spiking().enumerate() {
        let name = format!("{} ({} neurons)", network.layer_name(l), layer.neurons);
        let spikes = density[l] > 0.0;
        let seen = match activity[l] {
            _ if density[l] > ALWAYS_SPIKING => {
                Some((WarningKind::AlwaysSpiking, always_spiking(&name, layer, density[l])))
            }
            0.0 => Some((WarningKind::Dead, dead(&name, layer, spikes))),
            _ if !spikes => Some((WarningKind::Silent, silent(&name, layer, l < network.hidden.len()))),
            a if a > SATURATED && layer.b_th.is_finite() && sparse => {
                Some((WarningKind::Saturated, saturated(&name, layer, a)))
            }
            _ => None,
        };
        warnings.extend(seen.map(|(kind, text)| Warning { kind, layer: Some(l), text }));
    }
    let text = absurd_loss(config, sums.mean_loss().task);
    warnings.extend(text.map(|text| Warning { kind: WarningKind::AbsurdLoss, layer: None, text }));
    warnings
}

fn always_spiking(name: &str, layer: &SpikingLayer, density: f64) -> String {
    format!(
        "{name} spikes in {:.0} % of its entries, so its spikes carry little information. Increase its v_th = {}, or decrease \
         its init.scale",
        100.0 * density,
        layer.v_th
    )
}

/// The text of the warning, if the mean task loss is absurd.
fn absurd_loss(config: &RunConfig, loss: f64) -> Option<String> {
    let guessing = match config.network.loss {
        Loss::CrossEntropy { .. } => (config.network.classes() as f64).ln(),
        Loss::MeanSquaredError { on, off } => on.powi(2).max(off.powi(2)),
    };
    let guessing = guessing.max(1.0);
    (loss > ABSURD_LOSS * guessing).then(|| {
        format!(
            "the loss is {loss:.3e}, and about {guessing:.2} for a network that guesses: training diverges. Start again with a lower \
             learning rate (adam.lr, now {}) or smaller weights (init.scale)",
            config.adam.lr
        )
    })
}

fn dead(name: &str, layer: &SpikingLayer, spikes: bool) -> String {
    let SpikingLayer { v_th, b_th, .. } = layer;
    let why = match spikes {
        false => format!("no potential was within b_th = {b_th} of v_th = {v_th}. Increase its init.scale or b_th"),
        true => format!(
            "no potential was within b_th = {b_th} of v_th = {v_th} although the layer spiked. Increase its b_th or \
             decrease its init.scale"
        ),
    };
    format!("{name} is dead: it had no active entries in the epoch, so its gradient is exactly 0; {why}")
}

fn silent(name: &str, layer: &SpikingLayer, hidden: bool) -> String {
    let (effect, also) = match hidden {
        true => ("the layers above have no input", ", or increase network.regulariser.lambda_low"),
        false => ("all logits are 0", ""),
    };
    format!(
        "{name} is silent: it had no spikes in the epoch, so {effect}. Increase its init.scale, or decrease its v_th = \
         {}{also}",
        layer.v_th
    )
}

fn saturated(name: &str, layer: &SpikingLayer, activity: f64) -> String {
    format!(
        "{name} is saturated: {:.0} % of its entries are active, so the sparse method saves little. Decrease its b_th = {} \
         or its init.scale",
        100.0 * activity,
        layer.b_th
    )
}

/// Checks that no number in a step became NaN or infinite.
///
/// # Errors
/// [`Error::NotFinite`] naming the step, the layer or the term of the loss, and what to change.
pub fn check_step(report: &StepReport, network: &Network, epoch: u64, lr: f64) -> Result<()> {
    let remedy = format!(
        "The last checkpoint is kept; start again with a lower learning rate (adam.lr, now {lr}) or smaller weights \
         (init.scale)"
    );
    let step = format!("step {} (epoch {epoch})", report.step);
    if let Some(NotFinite { layer, what }) = report.not_finite {
        let layer = network.layer_name(layer);
        let what = match what {
            Quantity::Potential => "membrane potentials",
            Quantity::Gradient => "weight gradients",
        };
        return Err(Error::NotFinite(format!("{step}: {what} of {layer} became NaN or infinite. {remedy}")));
    }
    let terms = [
        ("task's loss", report.loss.task),
        ("upper regulariser", report.loss.upper),
        ("lower regulariser", report.loss.lower),
    ];
    match terms.into_iter().find(|(_, value)| !value.is_finite()) {
        Some((term, value)) => Err(Error::NotFinite(format!("{step}: the {term} is {value}. {remedy}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::LossTerms;
    use crate::train::testing;

    fn sums(network: &Network, spikes: [f64; 2], active: [f64; 2]) -> EpochSums {
        let entries = |l: usize, fraction: f64| {
            (fraction * (100 * network.time_steps * network.hidden[l].neurons) as f64).round() as u64
        };
        EpochSums {
            samples: 100,
            spikes: vec![5, entries(0, spikes[0]), entries(1, spikes[1])],
            active: vec![entries(0, active[0]), entries(1, active[1])],
            ..EpochSums::new(network)
        }
    }

    fn seen(network: &Network, spikes: [f64; 2], active: [f64; 2]) -> Vec<(WarningKind, Option<usize>, String)> {
        let config = RunConfig { network: network.clone(), ..testing::config() };
        inspect(&config, &sums(network, spikes, active)).into_iter().map(|w| (w.kind, w.layer, w.text)).collect()
    }

    #[test]
    fn healthy_layers_are_not_spoken_of() {
        let network = testing::config().network;
        assert_eq!(seen(&network, [0.02, 0.01], [0.01, SATURATED - 0.01]), []);
    }

    #[test]
    fn each_fault_names_layer_and_remedy() {
        let network = testing::config().network;
        let checks = [
            (
                [0.1, 0.0],
                [0.1, 0.0],
                WarningKind::Dead,
                1,
                ["hidden[1] (3 neurons) is dead", "Increase its init.scale"],
            ),
            ([0.1, 0.1], [0.0, 0.1], WarningKind::Dead, 0, ["hidden[0] (4 neurons) is dead", "Increase its b_th"]),
            ([0.1, 0.0], [0.1, 0.1], WarningKind::Silent, 1, ["hidden[1] (3 neurons) is silent", "lambda_low"]),
            ([0.1, 0.1], [0.4, 0.1], WarningKind::Saturated, 0, ["40 %", "Decrease its b_th = 0.2"]),
            ([0.9, 0.1], [0.0, 0.1], WarningKind::AlwaysSpiking, 0, ["spikes in 90 %", "Increase its v_th = 1"]),
        ];
        for (spikes, active, kind, layer, parts) in checks {
            let warnings = seen(&network, spikes, active);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert_eq!((warnings[0].0, warnings[0].1), (kind, Some(layer)));
            assert!(parts.iter().all(|part| warnings[0].2.contains(part)), "{}", warnings[0].2);
        }
    }

    #[test]
    fn advice_fits_the_method() {
        let mut config = testing::config();
        for (method, warned) in [(Method::Sparse, 1), (Method::Auto, 1), (Method::Dense, 0), (Method::Reference, 0)] {
            config.method = method;
            let warnings = inspect(&config, &sums(&config.network, [0.1, 0.1], [0.9, 0.1]));
            assert_eq!(warnings.len(), warned, "{method:?}: {warnings:?}");
        }
    }

    #[test]
    fn a_loss_far_above_that_of_guessing_is_named() {
        let config = testing::config();
        let of = |loss: f64| {
            let healthy = sums(&config.network, [0.1, 0.1], [0.1, 0.1]);
            inspect(&config, &EpochSums { loss: LossTerms { task: 100.0 * loss, upper: 0.0, lower: 0.0 }, ..healthy })
        };
        assert_eq!(of(50.0), []);
        let warnings = of(1e6);
        assert_eq!((warnings.len(), warnings[0].kind), (1, WarningKind::AbsurdLoss));
        assert!(
            warnings[0].text.contains("1.000e6") && warnings[0].text.contains("adam.lr, now"),
            "{}",
            warnings[0].text
        );
    }

    #[test]
    fn an_unmasked_layer_is_active_everywhere_by_choice() {
        let mut network = testing::config().network;
        network.hidden[0].b_th = f64::INFINITY;
        assert_eq!(seen(&network, [0.1, 0.1], [1.0, 0.1]), []);
    }

    #[test]
    fn what_is_no_number_stops_with_its_step() {
        let network = testing::config().network;
        let mut report = StepReport {
            step: 12,
            samples: 1,
            loss: LossTerms { task: 1.0, upper: f64::INFINITY, lower: 0.0 },
            correct: 0,
            spikes: vec![],
            active: vec![],
            not_finite: None,
        };
        let error = check_step(&report, &network, 3, 0.5).unwrap_err();
        assert!(matches!(error, Error::NotFinite(_)));
        let error = error.to_string();
        for part in ["step 12 (epoch 3)", "upper regulariser is inf", "adam.lr, now 0.5"] {
            assert!(error.contains(part), "{error}");
        }
        report.loss.upper = 0.0;
        check_step(&report, &network, 3, 0.5).unwrap();
        for (layer, what, words) in [
            (1, Quantity::Potential, "membrane potentials of hidden[1]"),
            (2, Quantity::Gradient, "weight gradients of readout"),
        ] {
            report.not_finite = Some(NotFinite { layer, what });
            let error = check_step(&report, &network, 3, 0.5).unwrap_err().to_string();
            assert!(error.contains("step 12 (epoch 3)") && error.contains(words), "{error}");
        }
    }
}
