//! Writes docs/configuration.md: every field of a run's TOML file.
//!
//!     cargo run --example configuration

#[path = "../tests/common/configuration.rs"]
#[allow(dead_code)]
mod configuration;

fn main() -> std::io::Result<()> {
    let page = configuration::Types::read().page();
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md"), page)
}
