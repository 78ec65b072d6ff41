//! Adam, the optimiser.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Adam with bias correction and the decoupled weight decay of AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// ε, added to the square root of the second moment.
    pub epsilon: f64,
    /// Weight decay: each update subtracts `lr` · `weight_decay` · W from the weights W. 0 for plain Adam.
    #[serde(default)]
    pub weight_decay: f64,
}

impl Adam {
    /// β₁ = 0.9, β₂ = 0.999, ε = 1e-8, no weight decay.
    pub fn with_lr(lr: f64) -> Self {
        Adam { lr, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// The constants of update `step` (from 1), including the bias corrections.
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

    /// Checks the constants.
    ///
    /// # Errors
    /// [`Error::Field`].
    pub fn check(&self) -> Result<()> {
        let bad = |name: &str, value: f64, want: &str| Err(Error::field(format!("adam.{name}"), value, want));
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
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return bad("weight_decay", self.weight_decay, "0 or a positive number");
        }
        if self.lr * self.weight_decay >= 1.0 {
            let valid = format!("below 1 / adam.weight_decay = {}, or smaller weight decay", 1.0 / self.weight_decay);
            return bad("lr", self.lr, &valid);
        }
        Ok(())
    }
}

/// Constants of one update: W -= step_size m / (√v · inv_sqrt_correction + ε) + decay W.
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
