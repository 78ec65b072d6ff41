//! Measuring whole training steps: random input, weights of a known activity, medians over repeats, and what the
//! figures are to be held against.
//!
//! What a step costs follows its spikes and active entries, so figures mean something only at a known activity. Batch
//! and weights are therefore made the same way for every device and method: [`scaled_weights`] lets each hidden layer
//! spike at a given density, and [`measure`] puts the weights back before every measured step.

mod ceilings;
pub mod least;
mod measure;
mod steady;
pub mod sweep;
pub mod trace;

pub use crate::synthetic::{TARGET_DENSITY, random_spikes, scaled_weights};
pub use ceilings::{Ceilings, ceilings};
pub use least::{Facts, Least, least, least_among};
pub use measure::{KernelFigures, Measurement, Memory, Plan, measure};
pub use steady::{Steady, steady, steady_after};
