//! The engine of the page in a browser: a training run in a Web Worker (`worker.js`), which the page watches and controls as
//! it does one of the program.
//!
//! The run is the library's own, waits included: where it waits, the browser suspends it (JSPI), so that messages to the worker
//! and answers of the GPU arrive.

#[cfg(target_family = "wasm")]
mod browser;
mod first_steps;
mod session;

pub use first_steps::first_steps;
pub use session::session;
