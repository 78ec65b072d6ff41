//! Data sets: found, read, and turned into spike events.

pub mod idx;
pub mod latency;
pub mod order;
