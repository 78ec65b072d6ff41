//! spikegrad trains spiking neural networks with sparse spiking gradient descent
//! (Perez-Nieves & Goodman, NeurIPS 2021) on any GPU that wgpu reaches, and on the CPU.

#![warn(missing_docs)]

pub mod auto;
pub mod bench;
pub mod cpu;
pub mod data;
pub mod device;
pub mod engine;
pub mod error;
pub mod events;
mod files;
pub mod golden;
pub mod gpu;
mod limits;
pub mod memory;
pub mod network;
pub mod optimiser;
pub mod plot;
pub mod presets;
pub mod reproduce;
pub mod selfcheck;
pub mod synthetic;
pub mod system;
pub mod train;
pub mod weights;

pub use error::{Error, Result};

/// The README's example compiles and runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
