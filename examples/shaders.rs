//! Writes every variant of every kernel to standard output as a JSON array of `{"name", "constants", "wgsl"}`, with the defaults of
//! its pipeline-overridable constants and with other values of all of them. `scripts/browser` compiles them in Chromium.
//!
//!     cargo run --example shaders > shaders.json

use serde_json::json;
use spikegrad::gpu::shaders::variants;
use std::collections::BTreeMap;
use std::io::Write;

fn main() -> std::io::Result<()> {
    let all: Vec<_> = variants()
        .flat_map(|(kernel, defined)| {
            let mut programs = kernel.programs(defined);
            let last = programs.split_off(1).pop();
            programs.into_iter().chain(last)
        })
        .map(|program| {
            json!({
                "name": program.name(),
                "constants": program.constants.iter().copied().collect::<BTreeMap<_, _>>(),
                "wgsl": program.kernel.wgsl(&program.defined),
            })
        })
        .collect();
    writeln!(std::io::stdout().lock(), "{}", serde_json::Value::from(all))
}
