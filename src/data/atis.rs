//! The format of N-MNIST files: events of an ATIS camera, five bytes each, no header.
//!
//! | byte | content |
//! |---|---|
//! | 0 | x, 0 to 33, left to right |
//! | 1 | y, 0 to 33, top to bottom; 240 marks an overflow of the timer |
//! | 2 | bit 7: polarity; bits 6 to 0: time bits 22 to 16 |
//! | 3, 4 | time bits 15 to 0, big-endian, in µs |
//!
//! An overflow event does not belong to a pixel: it adds 2¹³ µs to its own time and to all later ones, as in other
//! readers of this format.

/// Size of an event in bytes.
pub const EVENT_BYTES: usize = 5;
/// Number of rows and of columns.
pub const SIDE: u8 = 34;
/// Number of pixels, i.e. input neurons: both polarities of a pixel share one.
pub const PIXELS: usize = SIDE as usize * SIDE as usize;

const OVERFLOW_Y: u8 = 240;
const OVERFLOW_US: u64 = 1 << 13;
/// How much earlier than its predecessor an event may be, µs. The order within a time step does not matter; a larger
/// step back means that the file is damaged.
const DISORDER_US: u64 = 1000;

/// An event: a change of brightness at a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtisEvent {
    /// Column, from the left.
    pub x: u8,
    /// Row, from the top.
    pub y: u8,
    /// The polarity bit.
    pub polarity: bool,
    /// Time in µs since the recording began.
    pub t_us: u64,
}

impl AtisEvent {
    /// The pixel's input neuron, x + 34 y.
    pub fn pixel(&self) -> usize {
        usize::from(self.x) + usize::from(SIDE) * usize::from(self.y)
    }
}

/// An error in a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtisFault {
    /// Its byte offset.
    pub byte: usize,
    /// What was found and what was expected.
    pub what: String,
}

/// Iterates over the events of `bytes`, and ends after the first fault.
pub fn events(bytes: &[u8]) -> Events<'_> {
    Events { bytes, at: 0, overflow_us: 0, last_us: 0 }
}

/// See [`events`].
#[derive(Debug, Clone)]
pub struct Events<'a> {
    bytes: &'a [u8],
    at: usize,
    overflow_us: u64,
    last_us: u64,
}

impl Events<'_> {
    fn fault(&mut self, byte: usize, what: String) -> Option<Result<AtisEvent, AtisFault>> {
        self.at = self.bytes.len();
        Some(Err(AtisFault { byte, what }))
    }
}

impl Iterator for Events<'_> {
    type Item = Result<AtisEvent, AtisFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = &self.bytes[self.at..];
            if rest.is_empty() {
                return None;
            }
            let Some(&[x, y, high, middle, low]) = rest.first_chunk::<EVENT_BYTES>() else {
                let what = format!("{} bytes are left, an event has {EVENT_BYTES}", rest.len());
                return self.fault(self.at, what);
            };
            let begin = self.at;
            self.at += EVENT_BYTES;
            if y == OVERFLOW_Y {
                self.overflow_us += OVERFLOW_US;
                continue;
            }
            for (offset, name, value) in [(0, "x", x), (1, "y", y)] {
                if value >= SIDE {
                    return self.fault(begin + offset, format!("{name} = {value} found, 0 to {} expected", SIDE - 1));
                }
            }
            let t_us = self.overflow_us + (u64::from(high & 0x7f) << 16 | u64::from(middle) << 8 | u64::from(low));
            if t_us + DISORDER_US < self.last_us {
                let what = format!("time {t_us} µs found, not before {} µs expected", self.last_us);
                return self.fault(begin + 2, what);
            }
            self.last_us = self.last_us.max(t_us);
            return Some(Ok(AtisEvent { x, y, polarity: high & 0x80 != 0, t_us }));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The bytes of an event.
    pub(in crate::data) fn bytes(x: u8, y: u8, polarity: bool, t_us: u32) -> [u8; EVENT_BYTES] {
        [x, y, (u8::from(polarity) << 7) | (t_us >> 16) as u8, (t_us >> 8) as u8, t_us as u8]
    }

    fn all(parts: &[[u8; 5]]) -> Result<Vec<AtisEvent>, AtisFault> {
        events(parts.as_flattened()).collect()
    }

    #[test]
    fn the_bits_are_where_the_format_says() {
        // 0x7abcde with polarity 1; by hand.
        let read = all(&[[3, 33, 0xfa, 0xbc, 0xde]]).unwrap();
        assert_eq!(read, [AtisEvent { x: 3, y: 33, polarity: true, t_us: 0x7a_bcde }]);
        assert_eq!(read[0].pixel(), 3 + 34 * 33);
        assert_eq!(all(&[bytes(0, 1, false, 65_537)]).unwrap()[0].t_us, 65_537);
    }

    #[test]
    fn an_overflow_adds_to_all_that_follow_and_is_no_event() {
        let read =
            all(&[bytes(1, 1, false, 10), bytes(99, 240, true, 5), bytes(2, 2, true, 7), bytes(0, 240, false, 0)]);
        let times: Vec<u64> = read.unwrap().iter().map(|event| event.t_us).collect();
        assert_eq!(times, [10, 7 + 8192]);
    }

    #[test]
    fn faults_name_their_byte() {
        let fault = |parts: &[[u8; 5]]| all(parts).unwrap_err();
        let good = bytes(5, 6, true, 2000);
        let wide = fault(&[good, bytes(34, 6, true, 2000)]);
        assert_eq!((wide.byte, wide.what.as_str()), (5, "x = 34 found, 0 to 33 expected"));
        let high = fault(&[good, good, bytes(0, 239, true, 2000)]);
        assert_eq!((high.byte, high.what.as_str()), (11, "y = 239 found, 0 to 33 expected"));
        let back = fault(&[good, bytes(5, 6, true, 999)]);
        assert_eq!((back.byte, back.what.as_str()), (7, "time 999 µs found, not before 2000 µs expected"));
        let cut: Vec<_> = events(&[good.as_slice(), &good[..3]].concat()).collect();
        assert!(
            matches!(&cut[..], [Ok(_), Err(AtisFault { byte: 5, what })] if what == "3 bytes are left, an event has 5")
        );
    }

    #[test]
    fn disorder_within_a_time_step_is_none() {
        assert_eq!(all(&[bytes(5, 6, true, 2000), bytes(5, 6, true, 1000)]).unwrap().len(), 2);
    }

    #[test]
    fn after_a_fault_there_is_nothing() {
        let mut events = events(&[200; 12]);
        assert!(events.next().is_some_and(|event| event.is_err()) && events.next().is_none());
    }
}
