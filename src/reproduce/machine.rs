//! The machine that a figure was computed on.

use serde::Serialize;
use sysinfo::System;

/// What decides times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// The processor, as it calls itself.
    pub processor: String,
    /// Threads that the program takes.
    pub threads: usize,
    /// Memory, bytes.
    pub memory: u64,
    /// The operating system and its version.
    pub system: String,
}

impl Machine {
    /// This one.
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

    /// A few words for a legend.
    pub fn short(&self) -> String {
        format!("{} ({} threads)", self.processor, self.threads)
    }
}
