//! Detects problems during training: layers that are dead, silent or saturated, and numbers that are not finite.

use super::progress::EpochSums;
use crate::engine::{NotFinite, Quantity, StepReport};
use crate::error::{Error, Result};
use crate::network::{Network, SpikingLayer};

/// A layer is saturated if more than this fraction of its entries is active.
pub const SATURATED: f64 = 1.0 / 3.0;

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

/// Checks the sums of an epoch for dead, silent and saturated layers.
pub fn inspect(network: &Network, sums: &EpochSums) -> Vec<Warning> {
    let activity = sums.activity(network);
    let density = sums.spike_density(network);
    let mut warnings = Vec::new();
    for (l, layer) in network.spiking().enumerate() {
        let name = format!("{} ({} neurons)", network.layer_name(l), layer.neurons);
        let spikes = density[l] > 0.0;
        let seen = match activity[l] {
            0.0 => Some((WarningKind::Dead, dead(&name, layer, spikes))),
            _ if !spikes => Some((WarningKind::Silent, silent(&name, layer, l < network.hidden.len()))),
            a if a > SATURATED && layer.b_th.is_finite() => Some((WarningKind::Saturated, saturated(&name, layer, a))),
            _ => None,
        };
        warnings.extend(seen.map(|(kind, text)| Warning { kind, layer: Some(l), text }));
    }
    warnings
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
         or its init.scale, or increase network.regulariser.lambda_up",
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
        "The last checkpoint is kept; start again with a lower learning rate (--lr, now {lr}) or smaller weights \
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
        ("cross entropy", report.loss.task),
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
        inspect(network, &sums(network, spikes, active)).into_iter().map(|w| (w.kind, w.layer, w.text)).collect()
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
        ];
        for (spikes, active, kind, layer, parts) in checks {
            let warnings = seen(&network, spikes, active);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert_eq!((warnings[0].0, warnings[0].1), (kind, Some(layer)));
            assert!(parts.iter().all(|part| warnings[0].2.contains(part)), "{}", warnings[0].2);
        }
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
        for part in ["step 12 (epoch 3)", "upper regulariser is inf", "--lr, now 0.5"] {
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
