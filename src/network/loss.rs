//! What training minimises: the task's loss and the activity regularisers.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The task's loss, a mean over the batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Loss {
    /// -Σ_c q_c log softmax(logits)_c with q_c = (1 - `label_smoothing`) \[c = label\] + `label_smoothing` / C.
    CrossEntropy {
        /// Share of the target that is spread over all classes, 0 to below 1.
        #[serde(default)]
        label_smoothing: f64,
    },
    /// (1/C) Σ_c (logits_c - target_c)².
    #[serde(rename = "mse")]
    MeanSquaredError {
        /// Target of the label's logit.
        on: f64,
        /// Target of the other logits.
        off: f64,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Loss::CrossEntropy { label_smoothing: 0.0 }
    }
}

/// A loss as the kernels of both devices know it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossConstants {
    /// 0: cross entropy; 1: mean squared error.
    pub kind: u32,
    /// Target of the label: of its probability q_label (cross entropy) or its logit (squared error).
    pub on: f32,
    /// Target of each other class.
    pub off: f32,
}

impl Loss {
    /// Its constants for `classes` classes.
    ///
    /// The targets of cross entropy are computed here, once: devices whose divisions round differently agree on them, and the
    /// gradient of a network with one class is exactly 0.
    pub fn constants(&self, classes: usize) -> LossConstants {
        match *self {
            Loss::CrossEntropy { label_smoothing } => {
                let off = label_smoothing / classes as f64;
                let on = 1.0 - off * (classes - 1) as f64;
                LossConstants { kind: 0, on: on as f32, off: off as f32 }
            }
            Loss::MeanSquaredError { on, off } => LossConstants { kind: 1, on: on as f32, off: off as f32 },
        }
    }

    /// The loss of one sample, in f64.
    ///
    /// # Panics
    /// If `label` is not below the number of logits.
    pub fn of(&self, logits: &[f32], label: usize) -> f64 {
        let LossConstants { on, off, .. } = self.constants(logits.len());
        let target = |c| f64::from(if c == label { on } else { off });
        let logits = logits.iter().map(|&x| f64::from(x));
        match self {
            Loss::CrossEntropy { .. } => {
                let highest = logits.clone().fold(f64::MIN, f64::max);
                let log_sum = logits.clone().map(|x| (x - highest).exp()).sum::<f64>().ln();
                logits.enumerate().map(|(c, x)| target(c) * (log_sum - (x - highest))).sum()
            }
            Loss::MeanSquaredError { .. } => {
                let count = logits.len() as f64;
                logits.enumerate().map(|(c, x)| (x - target(c)).powi(2)).sum::<f64>() / count
            }
        }
    }

    /// What the paper's loss, plain cross entropy, does not have.
    pub(super) fn beyond_paper(&self) -> Option<String> {
        match *self {
            Loss::CrossEntropy { label_smoothing: 0.0 } => None,
            Loss::CrossEntropy { label_smoothing } => Some(format!("loss.label_smoothing = {label_smoothing}")),
            Loss::MeanSquaredError { .. } => Some("loss.kind = mse".into()),
        }
    }

    /// Says which number cannot work.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |name: &str, value: f64, want: &str| Err(Error::field(format!("loss.{name}"), value, want));
        match *self {
            Loss::CrossEntropy { label_smoothing } if !(0.0..1.0).contains(&label_smoothing) => {
                bad("label_smoothing", label_smoothing, "at least 0 and below 1")
            }
            Loss::MeanSquaredError { on, .. } if !(on as f32).is_finite() => bad("on", on, "a finite 32-bit number"),
            Loss::MeanSquaredError { off, .. } if !(off as f32).is_finite() => {
                bad("off", off, "a finite 32-bit number")
            }
            _ => Ok(()),
        }
    }
}

/// Activity regularisers; ζ_i is the spike count of neuron i of a hidden layer in a sample.
///
/// The loss gets (1/B) Σ_b Σ_hidden [ λ_up max(0, mean_i ζ_i - ν_up) + (λ_low/N) Σ_i max(0, ν_low - ζ_i)² ].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
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
    /// Says which number cannot work.
    pub(super) fn check(&self) -> Result<()> {
        let fields = [
            ("lambda_up", self.lambda_up),
            ("nu_up", self.nu_up),
            ("lambda_low", self.lambda_low),
            ("nu_low", self.nu_low),
        ];
        match fields.into_iter().find(|(_, value)| !(*value >= 0.0 && (*value as f32).is_finite())) {
            Some((name, value)) => {
                Err(Error::field(format!("regulariser.{name}"), value, "0 or a positive 32-bit number"))
            }
            None => Ok(()),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_sum_to_one() {
        for classes in [1, 2, 3, 10, 35] {
            for label_smoothing in [0.0, 0.1, 0.9] {
                let LossConstants { on, off, .. } = Loss::CrossEntropy { label_smoothing }.constants(classes);
                let sum = f64::from(on) + f64::from(off) * (classes - 1) as f64;
                assert!((sum - 1.0).abs() < 1e-7 && (classes > 1 || on == 1.0), "{classes}, {label_smoothing}: {sum}");
            }
        }
    }

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
