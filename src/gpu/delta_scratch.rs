//! How much device memory δ gets on each kind of adapter.

use super::adapter::Tier;
pub use crate::engine::{DELTA_SIZES, DeltaScratch};

impl DeltaScratch {
    /// The size used if nothing is given or measured: 4 MiB on software adapters, 32 MiB on others.
    pub fn usual(tier: Tier) -> Self {
        match tier {
            Tier::Software => DeltaScratch::mib(4),
            // The smallest of the fastest sizes on an H200 (docs/performance.md).
            Tier::Hardware => DeltaScratch::mib(32),
        }
    }
}
