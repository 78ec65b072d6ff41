//! What a section tells the program that started it: a line of JSON for each thing, as it happens, so that a crash loses
//! nothing that was said.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// What is under way: where it stood if nothing follows.
    Doing(String),
    /// A result.
    Found(Value),
    /// The adapter that `--device` stands for: its number, and a line about it.
    Adapter(usize, String),
    /// The part of the section's printed line behind its verdict; the last one holds.
    Headline(String),
    /// Milliseconds of a workload's step.
    StepMs(String, f64),
    /// Something that may differ from device to device, and does here.
    Differs(String),
    /// Something that must not be.
    Failed(String),
    /// What there was no time for.
    Cut(String),
    /// All is said.
    Done,
}
