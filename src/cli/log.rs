//! Prints wgpu's log on standard error if `WGPU_VALIDATION` is set.

use super::show::complain;
use ::log::{LevelFilter, Log, Metadata, Record};

/// Target prefix of the program's own log messages. Those of wgpu below warnings are not shown; there are too many.
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

/// Shows warnings and errors of the graphics API and of wgpu if `WGPU_VALIDATION` is set (and not 0, as wgpu reads it). With
/// `verbose`, shows them in any case, and the program's own messages.
pub fn begin(verbose: bool) {
    let validation = std::env::var("WGPU_VALIDATION").is_ok_and(|word| word != "0");
    if (validation || verbose) && ::log::set_logger(&Complaints).is_ok() {
        ::log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    }
}
