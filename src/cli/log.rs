//! What wgpu logs, on standard error: under `WGPU_VALIDATION`, when someone wants to know.

use super::show::complain;
use ::log::{LevelFilter, Log, Metadata, Record};

/// The program's own notes begin so; wgpu's are many.
const OWN: &str = "spikegrad::";

struct Complaints;

impl Log for Complaints {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= LevelFilter::Warn || metadata.target().starts_with(OWN)
    }
    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            complain(format_args!("{} {}: {}", record.level(), record.target(), record.args()));
        }
    }
    fn flush(&self) {}
}

/// Shows warnings and errors of the graphics API and of wgpu, where the environment asks for validation as wgpu reads it, and
/// with `verbose` in any case, with the program's own notes.
pub fn begin(verbose: bool) {
    let validation = std::env::var("WGPU_VALIDATION").is_ok_and(|word| word != "0");
    if (validation || verbose) && ::log::set_logger(&Complaints).is_ok() {
        ::log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    }
}
