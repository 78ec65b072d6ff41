//! What ranks send each other.
//!
//! Gradients are sparse: neurons that never come near the threshold have none, and neither have the weights of neurons that do not
//! spike. So of each block of 64 numbers a mask says which are not zero, and these follow.

use crate::engine::{LossTerms, NotFinite, Quantity, StepReport};
use crate::error::{Error, Result};
use crate::network::Network;

/// Reads a message from its beginning.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Reader(message)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let short = || Error::Ranks("a message of another rank is too short".into());
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn word(&mut self) -> Result<u64> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(word))
    }

    pub fn floats(&mut self, n: usize) -> Result<Vec<f32>> {
        // Messages are not aligned.
        Ok(bytemuck::pod_collect_to_vec(self.take(4 * n)?))
    }

    /// `n` numbers of [`put_sparse`].
    pub fn sparse(&mut self, n: usize) -> Result<Vec<f32>> {
        let mut numbers = vec![0.0; n];
        for block in numbers.chunks_mut(BLOCK) {
            let mut mask = self.word()?;
            let (values, _) = self.take(4 * mask.count_ones() as usize)?.as_chunks();
            for value in values {
                let place = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let number =
                    block.get_mut(place).ok_or_else(|| Error::Ranks("a message of another rank is damaged".into()))?;
                *number = f32::from_le_bytes(*value);
            }
        }
        Ok(numbers)
    }
}

/// Numbers that a mask covers.
const BLOCK: usize = 64;

/// Appends numbers, of which many are zero. Their bits are kept: -0 is not left out.
pub fn put_sparse(message: &mut Vec<u8>, numbers: &[f32]) {
    for block in numbers.chunks(BLOCK) {
        let set = |(place, number): (usize, &f32)| u64::from(number.to_bits() != 0) << place;
        let mask = block.iter().enumerate().map(set).fold(0, |mask, bit| mask | bit);
        message.extend(mask.to_le_bytes());
        block.iter().filter(|number| number.to_bits() != 0).for_each(|number| message.extend(number.to_le_bytes()));
    }
}

/// A report as a message.
pub fn bytes_of_report(report: &StepReport) -> Vec<u8> {
    let StepReport { step, samples, loss, correct, spikes, active, not_finite } = report;
    let broken = match not_finite {
        None => 0,
        Some(NotFinite { layer, what: Quantity::Potential }) => 1 + 2 * *layer as u64,
        Some(NotFinite { layer, what: Quantity::Gradient }) => 2 + 2 * *layer as u64,
    };
    let terms = [loss.task, loss.upper, loss.lower].map(f64::to_bits);
    let words = [*step, *samples as u64, *correct as u64, broken].into_iter().chain(terms);
    words.chain(spikes.iter().copied()).chain(active.iter().copied()).flat_map(u64::to_le_bytes).collect()
}

/// The report of a message.
///
/// # Errors
/// The message is too short.
pub fn report_of(reader: &mut Reader, network: &Network) -> Result<StepReport> {
    let spiking = network.spiking().count();
    let (step, samples, correct, broken) = (reader.word()?, reader.word()?, reader.word()?, reader.word()?);
    let [task, upper, lower] = [reader.word()?, reader.word()?, reader.word()?].map(f64::from_bits);
    let mut counts = |n: usize| (0..n).map(|_| reader.word()).collect::<Result<Vec<_>>>();
    let (spikes, active) = (counts(1 + spiking)?, counts(spiking)?);
    let what = if broken % 2 == 1 { Quantity::Potential } else { Quantity::Gradient };
    let not_finite = broken.checked_sub(1).map(|code| NotFinite { layer: (code / 2) as usize, what });
    let loss = LossTerms { task, upper, lower };
    Ok(StepReport { step, samples: samples as usize, loss, correct: correct as usize, spikes, active, not_finite })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sparse_numbers_come_as_they_are(numbers in prop::collection::vec((any::<u32>(), 0u32..3), 0..300)) {
            let numbers: Vec<f32> = numbers.into_iter().map(|(bits, kept)| f32::from_bits(if kept == 0 { bits } else { 0 })).collect();
            let mut message = Vec::new();
            put_sparse(&mut message, &numbers);
            let mut reader = Reader::new(&message);
            let read = reader.sparse(numbers.len()).unwrap();
            prop_assert!(reader.is_empty());
            prop_assert!(read.iter().map(|x| x.to_bits()).eq(numbers.iter().map(|x| x.to_bits())));
            let short = &message[..message.len().saturating_sub(1)];
            prop_assert!(message.is_empty() || Reader::new(short).sparse(numbers.len()).is_err());
        }
    }

    #[test]
    fn zeros_take_a_bit_each_and_a_damaged_mask_is_refused() {
        let mut message = Vec::new();
        put_sparse(&mut message, &[0.0; 640]);
        assert_eq!(message.len(), 80);
        put_sparse(&mut message, &[-0.0, 0.0, 1.0]);
        assert_eq!(message.len(), 80 + 8 + 8);
        message[80] |= 1 << 5;
        message.extend([0; 4]);
        assert!(Reader::new(&message[80..]).sparse(3).unwrap_err().to_string().contains("damaged"));
    }
}
