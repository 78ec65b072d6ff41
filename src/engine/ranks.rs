//! The processes of a run.

use crate::error::Result;
use serde::{Deserialize, Serialize};

/// What exchanges between ranks take of one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Traffic {
    /// Seconds, waiting for the others included.
    pub seconds: f64,
    /// Seconds of these until the others had come.
    pub waiting: f64,
    /// Bytes sent.
    pub bytes: u64,
}

impl Traffic {
    /// What came after `before`.
    pub fn since(self, before: Traffic) -> Traffic {
        Traffic {
            seconds: self.seconds - before.seconds,
            waiting: self.waiting - before.waiting,
            bytes: self.bytes - before.bytes,
        }
    }

    /// Adds what came later.
    pub fn add(&mut self, more: Traffic) {
        self.seconds += more.seconds;
        self.waiting += more.waiting;
        self.bytes += more.bytes;
    }
}

/// The processes that train a run together, which are numbered from 0: its ranks. Every rank makes the same calls in the same
/// order.
pub trait Ranks: Send {
    /// The number of this process.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// The name of a rank in messages: `rank 1 of 4 on node7`.
    fn name(&self, rank: usize) -> String {
        format!("rank {rank} of {}", self.size())
    }

    /// What the calls of [`exchange`](Self::exchange) have taken so far.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// Sends the `k`-th message to rank `k`; returns the messages from all ranks. That to itself comes back.
    ///
    /// # Errors
    /// [`Error::Ranks`](crate::Error::Ranks) names the ranks from which nothing came.
    fn exchange(&mut self, messages: &[&[u8]]) -> Result<Vec<Vec<u8>>>;

    /// Sends `message` to every rank; returns those of all ranks.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    fn share(&mut self, message: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.exchange(&vec![message; self.size()])
    }

    /// Rank 0's message.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    fn broadcast(&mut self, message: Vec<u8>) -> Result<Vec<u8>> {
        let mut messages = vec![&[][..]; self.size()];
        if self.rank() > 0 {
            return Ok(self.exchange(&messages)?.swap_remove(0));
        }
        messages[1..].fill(&message);
        self.exchange(&messages)?;
        Ok(message)
    }
}
