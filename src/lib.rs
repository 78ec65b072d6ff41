//! Trains spiking neural networks with sparse spiking gradient descent
//! ([Perez-Nieves & Goodman, NeurIPS 2021](https://arxiv.org/abs/2105.08810)) on the CPU, and on any GPU that
//! [wgpu](https://wgpu.rs) supports. The time and memory of a training step follow the number of spikes.
//!
//! ```
//! use spikegrad::{device::Device, engine::Method, events::EventSet, optimiser::Adam, weights::Weights};
//! use spikegrad::network::{Initialisation, Network, Readout, SpikingLayer};
//!
//! // 10 input neurons, 20 time steps; class 0 fires the lower half of the inputs, class 1 the upper half.
//! let layer = SpikingLayer::lif(30).tau_ms(10.0).init(Initialisation::Normal { scale: 20.0 });
//! let network = Network::new(10, 20).layer(layer).readout(Readout::sum(2)).build()?;
//! let mut batch = EventSet::new(10, 20);
//! for k in 0..16 {
//!     batch.push((0..5).map(|i| ((3 * i + k) % 10, i + 5 * (k % 2))), k as u32 % 2)?;
//! }
//!
//! let mut engine = Device::Cpu.open(&network, Method::Sparse, &Weights::init(&network, 1))?;
//! for _ in 0..20 {
//!     engine.train(&batch, &Adam::with_lr(1e-2))?; // queues a step; a gpu device runs it asynchronously
//! }
//! let reports = engine.reports(true)?;             // waits for all queued steps
//! assert!(reports[19].loss.total() < reports[0].loss.total());
//!
//! let mut unknown = EventSet::new(10, 20);
//! unknown.push_unlabelled((0..5).map(|i| (3 * i % 10, i + 5)))?;
//! assert_eq!(engine.predict(&unknown)?.class(0), 1);
//! # Ok::<(), spikegrad::Error>(())
//! ```
//!
//! # Modules
//!
//! - [`network`]: describes a network: layers, cells, surrogate gradients, readouts, losses, regularisers.
//! - [`events`]: data sets and batches of samples, stored as sorted spike events. [`data`]: readers for published data
//!   sets and for your own data.
//! - [`weights`]: weight matrices and their initialisation. [`optimiser`]: Adam.
//! - [`device`]: chooses a device. [`engine`]: the interface of a device with a network on it: train, predict, inspect,
//!   and forward, backward and update for a custom loss. [`cpu`] and `gpu` (feature `gpu`) are the two devices.
//! - `nir` (feature `nir`): networks to and from files in the Neuromorphic Intermediate Representation.
//! - `live` (feature `live`): a page in the browser that shows a run while it trains.
//! - [`train`]: training runs with epochs, tests, checkpoints and resuming. [`presets`]: named configurations.
//! - [`error`]: the error type.
//! - Feature `lab`: the measurements and checks `bench`, `golden`, `reproduce` and `selfcheck`. Feature `plot`:
//!   charts. [`auto`] (method selection), [`synthetic`] (random input) and [`system`] (operating system) are helpers.
//!
//! The repository's `examples/` folder has complete programs: a custom network, training loop and loss.

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
// Each feature uses only some functions of this module and of `limits`; `lab` uses all of them.
#[cfg(feature = "files")]
#[cfg_attr(not(feature = "lab"), allow(dead_code))]
mod files;
#[cfg(feature = "lab")]
pub mod golden;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(any(feature = "data", feature = "nir"))]
mod hdf5;
#[cfg(feature = "files")]
#[cfg_attr(not(feature = "lab"), allow(dead_code))]
mod limits;
#[cfg(feature = "live")]
pub mod live;
#[cfg(feature = "gpu")]
pub mod memory;
pub mod network;
#[cfg(feature = "nir")]
pub mod nir;
#[cfg(any(feature = "data", feature = "nir"))]
#[cfg_attr(not(feature = "data"), allow(dead_code))]
mod number;
pub mod optimiser;
pub mod parallel;
mod platform;
#[cfg(feature = "plot")]
pub mod plot;
pub mod presets;
#[cfg(feature = "lab")]
pub mod reproduce;
#[cfg(feature = "runs")]
pub mod results;
#[cfg(feature = "lab")]
pub mod selfcheck;
pub mod shards;
pub mod synthetic;
pub mod system;
#[cfg(feature = "runs")]
mod tensor_file;
pub mod train;
pub mod weights;

pub use error::{Error, Result};

/// The README's example compiles and runs as a test.
#[cfg(all(doctest, feature = "gpu"))]
#[doc = include_str!("../README.md")]
struct Readme;
