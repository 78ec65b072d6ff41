//! `spikegrad-bindgen INPUT.wasm FOLDER`: writes the module for browsers, and the JavaScript that loads it.

use anyhow::{Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder] = arguments.as_slice() else { bail!("usage: spikegrad-bindgen INPUT.wasm FOLDER") };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).typescript(false);
    // Names of functions take a quarter of the module.
    bindgen.remove_name_section(true).remove_producers_section(true);
    bindgen.web(true)?.generate(folder)
}
