//! Golden cases: small networks with the values that every device must compute.
//!
//! A case is one safetensors file, written by an independent float64 implementation (see `tests/golden/`).
//! [`run`] plays it on a device and says, in one line, whether the device computes the same.

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
pub(crate) mod reference;

pub use case::{Case, DeltaCase, DeltaInputs, Expected, ExpectedLayer, NetworkCase};
pub use compare::{Check, Measure};
pub use conformance::{CaseReport, ConformanceDevice, run, run_case};
