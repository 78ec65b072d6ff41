//! Writes all variants of all kernels to standard output as a JSON array of `{"name", "defined", "wgsl"}`, with the WGSL
//! that browsers require. `scripts/browser` compiles them in Chromium.
//!
//!     cargo run --example shaders > shaders.json

use serde_json::json;
use spikegrad::gpu::shaders::variants;
use std::io::Write;

fn main() -> std::io::Result<()> {
    let all: Vec<_> = variants()
        .map(|(kernel, defined)| {
            json!({
                "name": kernel.variant_name(defined),
                "defined": defined,
                "wgsl": kernel.wgsl(defined),
            })
        })
        .collect();
    writeln!(std::io::stdout().lock(), "{}", serde_json::Value::from(all))
}
