//! The machine on which a figure was computed.

use serde::{Deserialize, Serialize};
use sysinfo::System;

/// Properties of a machine that affect times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Number of threads that the program uses.
    pub threads: usize,
    /// Memory, bytes.
    pub memory: u64,
    /// The operating system and its version.
    pub system: String,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let mut system = System::new();
        system.refresh_memory();
        system.refresh_cpu_all();
        let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_string()).unwrap_or_default();
        Machine {
            processor: if brand.is_empty() { std::env::consts::ARCH.into() } else { brand },
            threads: rayon::current_num_threads(),
            memory: system.total_memory(),
            system: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.into()),
        }
    }

    /// Short description for legends.
    pub fn short(&self) -> String {
        format!("{} ({} threads)", self.processor, self.threads)
    }
}
