//! The size of the δ scratch.

use crate::error::{Error, Result};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const MIB: f64 = (1 << 20) as f64;
/// Largest size in MiB; larger than the largest binding of any device.
const MOST_MIB: f64 = 65_536.0;

/// Size of the gpu device's buffer for δ, the gradient with respect to input currents. The backward pass computes as many
/// samples at a time (a *chunk*) as fit into it, and repeats its kernels for each chunk.
///
/// A GPU is faster with large chunks, which keep all cores busy with few dispatches. A software adapter is faster if δ
/// stays in the processor's cache. The results of the method `sparse` do not depend on the size. Layers that `auto`
/// computes densely sum their gradient chunk by chunk, so the size affects rounding; therefore a run's configuration
/// stores it ([`delta_mib`](crate::train::RunConfig::delta_mib)).
///
/// As text and in files it is a number of MiB, or `whole`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct DeltaScratch(u64);

/// Sizes that tuning compares.
pub const DELTA_SIZES: [DeltaScratch; 5] =
    [DeltaScratch::mib(8), DeltaScratch::mib(32), DeltaScratch::mib(64), DeltaScratch::mib(256), DeltaScratch::WHOLE];

impl DeltaScratch {
    /// All samples in one chunk, unless the largest binding or the memory is too small.
    pub const WHOLE: DeltaScratch = DeltaScratch(u64::MAX);

    /// Size in MiB.
    pub const fn mib(mib: u32) -> Self {
        DeltaScratch((mib as u64) << 20)
    }

    /// Size in bytes. A chunk has at least one sample, even if its δ takes more.
    pub const fn of_bytes(bytes: u64) -> Self {
        DeltaScratch(bytes)
    }

    /// Size in bytes, for `GpuOptions::delta_bytes`.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Samples per chunk, for batches of `batch` samples with `row_bytes` bytes of δ per sample.
    pub fn chunk(self, row_bytes: u64, batch: usize) -> usize {
        (self.0 / row_bytes.max(1)).clamp(1, batch.max(1) as u64) as usize
    }

    /// Size in MiB; `None` for [`WHOLE`](Self::WHOLE).
    fn number(self) -> Option<f64> {
        (self != Self::WHOLE).then_some(self.0 as f64 / MIB)
    }

    fn from_number(mib: f64) -> Result<Self> {
        match mib > 0.0 && mib <= MOST_MIB {
            true => Ok(DeltaScratch((mib * MIB).ceil() as u64)),
            false => Err(refused(&mib)),
        }
    }
}

fn refused(value: &dyn fmt::Display) -> Error {
    Error::field("delta_mib", value, want())
}

fn want() -> String {
    format!("a number of MiB (more than 0, at most {MOST_MIB}; usually 8, 32, 64 or 256) or whole")
}

impl fmt::Display for DeltaScratch {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.number() {
            Some(mib) => write!(f, "{mib}"),
            None => f.write_str("whole"),
        }
    }
}

impl FromStr for DeltaScratch {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match (word, word.parse()) {
            ("whole", _) => Ok(Self::WHOLE),
            (_, Ok(mib)) => Self::from_number(mib).map_err(|_| refused(&word)),
            (_, Err(_)) => Err(refused(&word)),
        }
    }
}

/// Representation in files.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Whole(u32),
    Number(f64),
    Word(String),
    #[serde(skip_serializing)]
    Other(IgnoredAny),
}

impl TryFrom<Written> for DeltaScratch {
    type Error = String;

    /// The error lacks the field and its value, which whoever reads the file adds.
    fn try_from(written: Written) -> Result<Self, String> {
        let size = match written {
            Written::Whole(mib) => Self::from_number(mib.into()),
            Written::Number(mib) => Self::from_number(mib),
            Written::Word(word) => word.parse(),
            Written::Other(_) => return Err(format!("must be {}", want())),
        };
        size.map_err(|_| format!("must be {}", want()))
    }
}

impl From<DeltaScratch> for Written {
    fn from(size: DeltaScratch) -> Self {
        match size.number() {
            Some(mib) if mib.fract() == 0.0 => Written::Whole(mib as u32),
            Some(mib) => Written::Number(mib),
            None => Written::Word(size.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (word, json, bytes) in
            [("8", "8", 8 << 20), ("256", "256", 256 << 20), ("0.5", "0.5", 1 << 19), ("whole", "\"whole\"", u64::MAX)]
        {
            let size: DeltaScratch = word.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string()), (bytes, word.into()));
            assert_eq!(serde_json::to_string(&size).unwrap(), json);
            assert_eq!(serde_json::from_str::<DeltaScratch>(json).unwrap(), size);
        }
        let odd = DeltaScratch::of_bytes(12_345_679);
        assert_eq!(serde_json::from_str::<DeltaScratch>(&serde_json::to_string(&odd).unwrap()).unwrap(), odd);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for word in ["0", "-3", "much", "", "nan", "inf", "1e9", "8MiB"] {
            let error = word.parse::<DeltaScratch>().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("or whole"), "{error}");
        }
        for json in ["0", "-1", "1e300", "\"half\"", "null", "[8]"] {
            assert!(serde_json::from_str::<DeltaScratch>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_chunk_is_as_many_samples_as_have_room() {
        assert_eq!(DeltaScratch::mib(1).chunk(1 << 18, 256), 4);
        assert_eq!(DeltaScratch::mib(1).chunk(1 << 21, 256), 1);
        assert_eq!(DeltaScratch::WHOLE.chunk(1 << 21, 256), 256);
    }
}
