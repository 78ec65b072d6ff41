//! Golden cases: small networks with the expected results of a training step.
//!
//! A case is a safetensors file, written by an independent float64 implementation (see `tests/golden/`). [`run`] runs it
//! on a device and compares all results with the expected values.

mod case;
mod cells;
mod compare;
mod conformance;
mod device;
mod file;
#[cfg(test)]
mod formula_tests;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod recurrent_tests;
#[cfg(test)]
pub(crate) mod reference;

pub use case::{Case, DeltaCase, DeltaInputs, Expected, ExpectedLayer, NetworkCase};
pub use compare::{Check, Measure};
pub use conformance::{CaseReport, ConformanceDevice, run, run_case};
