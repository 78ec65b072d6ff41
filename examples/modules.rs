//! Prints the modules that each module uses, as text or as a graph.
//!
//!     cargo run --example modules [-- mermaid | dot]

#[path = "../tests/common/modules.rs"]
#[allow(dead_code)]
mod modules;

use modules::{graph_of_sources, graphviz, layers_of_architecture, mermaid};

fn main() {
    let (graph, layers) = (graph_of_sources(), layers_of_architecture());
    match std::env::args().nth(1).as_deref() {
        Some("mermaid") => print!("{}", mermaid(&graph, &layers)),
        Some("dot") => print!("{}", graphviz(&graph, &layers)),
        Some(other) => eprintln!("`{other}`: must be mermaid or dot"),
        None => {
            for module in layers.iter().flatten() {
                let uses: Vec<&str> =
                    graph.get(module).into_iter().flat_map(|uses| uses.keys().map(String::as_str)).collect();
                println!("{module:>10} uses {}", uses.join(" "));
            }
        }
    }
}
