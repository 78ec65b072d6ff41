//! Numbers as files store them: integers and floats of several sizes and byte orders.

use half::f16;

/// Storage format of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Element {
    Integer { size: usize, signed: bool, big: bool },
    Float { size: usize, big: bool },
}

impl Element {
    /// Size in bytes.
    pub(super) fn size(self) -> usize {
        match self {
            Element::Integer { size, .. } | Element::Float { size, .. } => size,
        }
    }

    /// The bytes as an integer; `big` is the byte order.
    pub(super) fn bits(bytes: &[u8], big: bool) -> u64 {
        let add = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    /// The numbers in `bytes`; `None` if they are floats.
    pub(super) fn integers(self, bytes: &[u8]) -> Option<Vec<i128>> {
        let Element::Integer { size, signed, big } = self else { return None };
        let unused = 64 - 8 * size as u32;
        let number = |bytes: &[u8]| match signed {
            true => i128::from((Self::bits(bytes, big) << unused) as i64 >> unused),
            false => i128::from(Self::bits(bytes, big)),
        };
        Some(bytes.chunks_exact(size).map(number).collect())
    }

    /// The numbers in `bytes`; `None` if they are integers.
    pub(super) fn floats(self, bytes: &[u8]) -> Option<Vec<f64>> {
        let Element::Float { size, big } = self else { return None };
        let number = |bytes: &[u8]| {
            let bits = Self::bits(bytes, big);
            match size {
                2 => f16::from_bits(bits as u16).to_f64(),
                4 => f64::from(f32::from_bits(bits as u32)),
                _ => f64::from_bits(bits),
            }
        };
        Some(bytes.chunks_exact(size).map(number).collect())
    }
}
