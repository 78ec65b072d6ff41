//! What ranks send each other.

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
