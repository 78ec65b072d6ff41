//! Messages of a section to the process that started it: one line of JSON each, sent at once, so that a crash does not
//! lose earlier messages.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// What begins now. If the process ends without a further message, it failed here.
    Doing(String),
    /// A result.
    Found(Value),
    /// The adapter to check: its number and description.
    Adapter(usize, String),
    /// The text after the verdict in the section's printed line; replaces any earlier one.
    Headline(String),
    /// A workload's name and the time of its step, ms.
    StepMs(String, f64),
    /// A difference that is allowed.
    Differs(String),
    /// A failure.
    Failed(String),
    /// Items skipped for lack of time.
    Cut(String),
    /// The section has finished.
    Done,
}
