//! `spikegrad selfcheck`: one command that finds out what a stranger's GPU does, and leaves one file to send.
//!
//! [`check`] runs the sections one after the other, each in a process of its own that [`run_section`] is the work of. A
//! section tells what it finds line by line ([`Message`]), so that a driver that hangs, crashes or loses its device costs one
//! section and nothing that was found before. The file ([`Report`]) is rewritten after each.

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

/// The whole check ends within this time, whatever hangs; without patience.
pub const MOST_SECONDS: u64 = 175;

/// A part of the check, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Every adapter, and which one is checked.
    Adapters,
    /// What the adapter does where the standard leaves it a choice, and what commands cost.
    Probes,
    /// How long pipelines take to compile. Before the sections that would leave them in a driver's cache.
    Pipelines,
    /// Golden cases.
    Golden,
    /// Bits of weights after some steps, in different ways and again and again.
    Determinism,
    /// Steps over some seconds: how the clock rises.
    Clocks,
    /// Steps of four networks, and their kernels.
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

    /// Seconds after which it begins nothing new, and those after which it counts as hung.
    pub fn seconds(self, quick: bool) -> (u64, u64) {
        // A quick check has little to do; its time is for machines that are busy.
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
        known.ok_or_else(|| Error::Config(format!("section `{word}`: there is none of that name")))
    }
}

/// Runs one section in this process, on adapter `device` (the best where `None`), and tells `emit` what it finds, what fails
/// included. It begins nothing new after `time`.
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
