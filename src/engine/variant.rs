//! The names of the variants of the gpu device's sparse kernels. Run configurations store one, so this module does not
//! depend on the feature `gpu`.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Variant of the gpu device's sparse kernels. All variants add in the same order and gave bit-identical results on every
/// adapter tested. A driver may still contract multiplications and additions differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Each invocation processes its list alone, entry by entry.
    Plain,
    /// Several invocations share a row and combine sums in workgroup memory, so that more loads are in flight.
    Cooperative,
    /// A workgroup advances all layers of a sample together, time step by time step: few dispatches. For networks that
    /// are not too wide, without recurrent layers; those with recurrent layers have such kernels in any case.
    Lockstep,
}

/// All variants.
pub const VARIANTS: [Variant; 3] = [Variant::Plain, Variant::Cooperative, Variant::Lockstep];

impl Variant {
    /// `plain`, `cooperative` or `lockstep`.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::Cooperative => "cooperative",
            Variant::Lockstep => "lockstep",
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
        known.ok_or_else(|| Error::Config(format!("kernels `{word}`: must be plain, cooperative or lockstep")))
    }
}
