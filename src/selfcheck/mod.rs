//! `spikegrad selfcheck`: tests and measures a GPU and writes a file that users can send to the project.
//!
//! [`check`] runs the sections one after the other, each in a separate process that calls [`run_section`]. A section
//! reports each result at once ([`Message`]), so that a driver that hangs, crashes or loses its device affects one section
//! only and no earlier results. The file ([`Report`]) is rewritten after each section.

mod adapters;
mod budget;
mod child;
mod clocks;
mod determinism;
mod golden;
mod message;
mod pipelines;
mod probes;
mod report;
mod scrub;
mod task;
mod workloads;

pub use child::{Settings, Time, check};
pub use message::Message;
pub use report::{Report, SectionReport, Verdict};
pub use scrub::Scrubber;

use crate::error::{Error, Result};
use std::str::FromStr;
use std::time::Duration;
use task::Task;

/// Time limit of the check in s, which holds even if sections hang; it is multiplied by [`Settings::patience`].
pub const MOST_SECONDS: u64 = 175;

/// A part of the check, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Lists the adapters and selects the one to check.
    Adapters,
    /// Tests arithmetic, atomics and timestamps, and measures the cost of commands.
    Probes,
    /// Measures the compile times of pipelines, before later sections bring them into the driver's cache.
    Pipelines,
    /// Runs golden cases.
    Golden,
    /// Compares the bits of weights after some steps, with different options and repeatedly.
    Determinism,
    /// Measures steps after idling, which show how the clock rate rises.
    Clocks,
    /// Measures steps of four networks, and their kernels.
    Workloads,
}

/// All sections.
pub const SECTIONS: [Section; 7] = [
    Section::Adapters,
    Section::Probes,
    Section::Pipelines,
    Section::Golden,
    Section::Determinism,
    Section::Clocks,
    Section::Workloads,
];

impl Section {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Section::Adapters => "adapters",
            Section::Probes => "probes",
            Section::Pipelines => "pipelines",
            Section::Golden => "golden",
            Section::Determinism => "determinism",
            Section::Clocks => "clocks",
            Section::Workloads => "workloads",
        }
    }

    /// Time limits in s: after the first it begins nothing new, after the second it is killed.
    pub fn seconds(self, quick: bool) -> (u64, u64) {
        // A quick check does little; its limits allow for busy machines.
        let (whole, short) = match self {
            Section::Adapters => (4, 10),
            Section::Probes => (12, 20),
            Section::Pipelines => (14, 20),
            Section::Golden => (28, 30),
            Section::Determinism => (28, 20),
            Section::Clocks => (6, 10),
            Section::Workloads => (58, 30),
        };
        let seconds = if quick { short } else { whole };
        (seconds, seconds + 15)
    }
}

impl FromStr for Section {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let known = SECTIONS.into_iter().find(|section| section.name() == word);
        known.ok_or_else(|| Error::Config(format!("unknown section `{word}`")))
    }
}

/// Runs one section in this process, on adapter `device` (`None`: the best). Passes results and failures to `emit`. Begins
/// nothing new after `time`.
pub fn run_section(
    section: Section,
    device: Option<usize>,
    quick: bool,
    time: Duration,
    emit: &mut dyn FnMut(Message),
) {
    let mut task = Task::new(device, quick, time, emit);
    let outcome = match section {
        Section::Adapters => adapters::run(&mut task),
        Section::Probes => probes::run(&mut task),
        Section::Pipelines => pipelines::run(&mut task),
        Section::Golden => golden::run(&mut task),
        Section::Determinism => determinism::run(&mut task),
        Section::Clocks => clocks::run(&mut task),
        Section::Workloads => workloads::run(&mut task),
    };
    if let Err(error) = outcome {
        task.failed(error.to_string());
    }
    task.end();
}
