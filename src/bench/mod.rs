//! Measures training steps, and compares them with the theoretical minimum and the device's peak rates.
//!
//! The cost of a step depends on its spikes and active entries, so results are only meaningful at a known activity. Batch
//! and weights are therefore the same for all devices and methods: [`scaled_weights`] gives each hidden layer a chosen
//! spike density, and [`measure`] restores the weights before each measured step.

mod ceilings;
pub mod least;
mod measure;
mod steady;
pub mod sweep;
pub mod trace;

pub use crate::synthetic::{TARGET_DENSITY, random_spikes, scaled_weights};
pub use ceilings::{Ceilings, ceilings};
pub use least::{Facts, Least, least, least_among};
pub use measure::{KernelFigures, Measurement, MeasurementPlan, Memory, measure};
pub use steady::{Steady, steady, steady_after};
