//! Lists the GPU adapters of this machine. Exit code 1 if none can run the kernels.
//!
//!     cargo run --release --example adapters

use spikegrad::gpu::{adapter, adapters};
use std::process::ExitCode;

fn main() -> ExitCode {
    let found = adapters();
    for a in &found {
        let usable = if a.usable { "" } else { ", lacks what the kernels need" };
        println!("gpu:{}  {} ({}, {}, {}{usable})", a.index, a.name, a.kind, a.backend, a.driver);
    }
    // `true`: software adapters count, as they do for `--device gpu`.
    match adapter::best(&found, true) {
        Some(index) => {
            println!("--device gpu takes gpu:{index}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no usable GPU adapter; {}", adapter::how_to_get_driver());
            ExitCode::FAILURE
        }
    }
}
