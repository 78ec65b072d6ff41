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

impl Initialisation {
    /// Checks the scale. `name` is the field's name.
    pub(super) fn check(self, name: &str) -> Result<()> {
        let (Initialisation::Uniform { scale } | Initialisation::Normal { scale }) = self;
        match scale.is_finite() && scale > 0.0 {
            true => Ok(()),
            false => Err(Error::field(format!("{name}.scale"), scale, "a positive number")),
        }
    }
}
