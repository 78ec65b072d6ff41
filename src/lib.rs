//! spikegrad trains spiking neural networks with sparse spiking gradient descent
//! (Perez-Nieves & Goodman, NeurIPS 2021) on any GPU that wgpu reaches, and on the CPU.

#![warn(missing_docs)]

pub mod auto;
#[cfg(feature = "lab")]
pub mod bench;
pub mod cpu;
pub mod data;
pub mod device;
pub mod engine;
pub mod error;
pub mod events;
// Each feature uses a part of this and of `limits`; with all of them, nothing may be left over.
#[cfg(feature = "files")]
#[cfg_attr(not(feature = "lab"), allow(dead_code))]
mod files;
#[cfg(feature = "lab")]
pub mod golden;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(feature = "files")]
#[cfg_attr(not(feature = "lab"), allow(dead_code))]
mod limits;
#[cfg(feature = "lab")]
pub mod memory;
pub mod network;
pub mod optimiser;
mod platform;
#[cfg(feature = "plot")]
pub mod plot;
pub mod presets;
#[cfg(feature = "lab")]
pub mod reproduce;
#[cfg(feature = "lab")]
pub mod selfcheck;
pub mod synthetic;
pub mod system;
pub mod train;
pub mod weights;

pub use error::{Error, Result};

/// The README's example compiles and runs as a test.
#[cfg(all(doctest, feature = "gpu"))]
#[doc = include_str!("../README.md")]
struct Readme;
