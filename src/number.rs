//! Numbers as files store them: integers and floats of several sizes and byte orders.

use half::f16;

/// Storage format of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Element {
    Integer { size: usize, signed: bool, big: bool },
    Float { size: usize, big: bool },
}

impl Element {
    /// Size in bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Element::Integer { size, .. } | Element::Float { size, .. } => size,
        }
    }

    /// The bytes as an integer; `big` is the byte order.
    pub(crate) fn bits(bytes: &[u8], big: bool) -> u64 {
        let add = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    /// The integer in `bytes`, as many as an element has; `None` if it is a float.
    pub(crate) fn integer(self, bytes: &[u8]) -> Option<i128> {
        let Element::Integer { size, signed, big } = self else { return None };
        let unused = 64 - 8 * size as u32;
        Some(match signed {
            true => i128::from((Self::bits(bytes, big) << unused) as i64 >> unused),
            false => i128::from(Self::bits(bytes, big)),
        })
    }

    /// The number in `bytes`, as many as an element has.
    pub(crate) fn number(self, bytes: &[u8]) -> f64 {
        match self {
            Element::Integer { .. } => self.integer(bytes).map_or(f64::NAN, |integer| integer as f64),
            Element::Float { size, big } => {
                let bits = Self::bits(bytes, big);
                match size {
                    2 => f16::from_bits(bits as u16).to_f64(),
                    4 => f64::from(f32::from_bits(bits as u32)),
                    _ => f64::from_bits(bits),
                }
            }
        }
    }

    /// The numbers in `bytes`; `None` if they are floats.
    pub(crate) fn integers(self, bytes: &[u8]) -> Option<Vec<i128>> {
        bytes.chunks_exact(self.size()).map(|bytes| self.integer(bytes)).collect()
    }

    /// The numbers in `bytes`; `None` if they are integers.
    pub(crate) fn floats(self, bytes: &[u8]) -> Option<Vec<f64>> {
        let is_float = matches!(self, Element::Float { .. });
        is_float.then(|| bytes.chunks_exact(self.size()).map(|bytes| self.number(bytes)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_kind_are_read() {
        let integer = |size, signed, big| Element::Integer { size, signed, big };
        assert_eq!(integer(2, true, false).integers(&[0xfe, 0xff, 1, 0]), Some(vec![-2, 1]));
        assert_eq!(integer(2, false, true).integers(&[0xff, 0xfe]), Some(vec![0xfffe]));
        assert_eq!(integer(8, false, false).integers(&[0xff; 8]), Some(vec![i128::from(u64::MAX)]));
        let float = Element::Float { size: 2, big: true };
        assert_eq!(float.floats(&[0x3c, 0, 0xc0, 0]), Some(vec![1.0, -2.0]));
        assert_eq!((float.integers(&[0, 0]), integer(1, true, false).floats(&[0])), (None, None));
        assert_eq!(integer(1, true, false).number(&[0xff]), -1.0);
    }
}
