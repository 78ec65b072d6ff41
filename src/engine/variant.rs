//! The word for a variant of the gpu device's sparse kernels. A run's configuration keeps it, also where there is no GPU.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which of the variants the sparse kernels run in. All sum in the same order. Their results were the same bits on every
/// adapter tried; a driver may still contract products and sums in one and not in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// A lane walks its list alone, one entry after the other.
    Plain,
    /// Lanes share rows and meet in workgroup memory; more loads are under way at once.
    Cooperative,
    /// As `Cooperative`, and the spike gradient's lanes meet in subgroups, if those have eight lanes or more.
    Subgroups,
}

/// All variants, the plainest first.
pub const VARIANTS: [Variant; 3] = [Variant::Plain, Variant::Cooperative, Variant::Subgroups];

impl Variant {
    /// Its name: `plain`, `cooperative`, `subgroups`.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::Cooperative => "cooperative",
            Variant::Subgroups => "subgroups",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let known = VARIANTS.into_iter().find(|variant| variant.name() == word);
        known.ok_or_else(|| Error::Config(format!("kernels `{word}`: must be plain, cooperative or subgroups")))
    }
}
