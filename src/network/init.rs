//! Weight initialisation.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Distribution of initial weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Initialisation {
    /// Uniform on ±`scale`/√N_in (N-MNIST and SHD in the paper, with scale 1).
    Uniform {
        /// Half width of the interval, times √N_in.
        scale: f64,
    },
    /// Normal with σ = `scale` (1 - α)/√N_in (Fashion-MNIST in the paper, with scale 20).
    Normal {
        /// σ √N_in / (1 - α).
        scale: f64,
    },
}

/// The longest time constant, ms, with which 1 - α is a useful factor.
pub(super) const LONGEST_TAU: f64 = 1e12;

impl Initialisation {
    /// Checks the scale, and that normal weights do not vanish with a long time constant. `name` and `tau` are the fields' names.
    pub(super) fn check(self, name: &str, tau: &str, tau_ms: f64) -> Result<()> {
        let (Initialisation::Uniform { scale } | Initialisation::Normal { scale }) = self;
        if matches!(self, Initialisation::Normal { .. }) && tau_ms > LONGEST_TAU {
            let want =
                format!("{LONGEST_TAU:e} at most with {name}.kind = normal, whose weights would be 0; use uniform");
            return Err(Error::field(tau, tau_ms, want));
        }
        match scale.is_finite() && scale > 0.0 {
            true => Ok(()),
            false => Err(Error::field(format!("{name}.scale"), scale, "a positive number")),
        }
    }
}
