//! The format of N-MNIST files: events of an ATIS camera, five bytes each, no header. They may be in any order.
//!
//! | byte | content |
//! |---|---|
//! | 0 | x, left to right; 0 to 33 in N-MNIST |
//! | 1 | y, top to bottom; 0 to 33 in N-MNIST; 240 marks an overflow of the timer |
//! | 2 | bit 7: polarity; bits 6 to 0: time bits 22 to 16 |
//! | 3, 4 | time bits 15 to 0, big-endian, in µs |
//!
//! An overflow event does not belong to a pixel: it adds 2¹³ µs to its own time and to all later ones, as in other
//! readers of this format.

/// Size of an event in bytes.
pub const EVENT_BYTES: usize = 5;
/// The sensor of N-MNIST.
pub const SENSOR: Sensor = Sensor { width: 34, height: 34 };
/// The largest sensor that the format has coordinates for.
pub const LARGEST_SENSOR: Sensor = Sensor { width: 256, height: OVERFLOW_Y as usize };

const OVERFLOW_Y: u8 = 240;
const OVERFLOW_US: u64 = 1 << 13;

/// An event: a change of brightness at a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtisEvent {
    /// Column, from the left.
    pub x: u8,
    /// Row, from the top.
    pub y: u8,
    /// The polarity bit.
    pub polarity: bool,
    /// Time in µs, usually since the recording began.
    pub t_us: u64,
}

/// The size of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sensor {
    /// Columns, at most 256.
    pub width: usize,
    /// Rows, at most 240.
    pub height: usize,
}

impl Sensor {
    /// The smallest sensor that covers two.
    pub(super) fn covering(self, other: Sensor) -> Sensor {
        Sensor { width: self.width.max(other.width), height: self.height.max(other.height) }
    }

    /// Number of pixels.
    pub fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// The number of an event's pixel, x + width · y.
    pub fn pixel(&self, event: &AtisEvent) -> usize {
        usize::from(event.x) + self.width * usize::from(event.y)
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

/// Iterates over the events of `bytes`, and ends after the first fault. An event that is not on the sensor is one.
pub fn events(bytes: &[u8], sensor: Sensor) -> Events<'_> {
    Events { bytes, at: 0, overflow_us: 0, sensor }
}

/// See [`events`].
#[derive(Debug, Clone)]
pub struct Events<'a> {
    bytes: &'a [u8],
    at: usize,
    overflow_us: u64,
    sensor: Sensor,
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
            let Sensor { width, height } = self.sensor;
            for (offset, name, value, extent) in [(0, "x", x, width), (1, "y", y, height)] {
                if usize::from(value) >= extent {
                    return self.fault(begin + offset, format!("{name} = {value} found, 0 to {} expected", extent - 1));
                }
            }
            let t_us = self.overflow_us + (u64::from(high & 0x7f) << 16 | u64::from(middle) << 8 | u64::from(low));
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
        events(parts.as_flattened(), SENSOR).collect()
    }

    #[test]
    fn the_bits_are_where_the_format_says() {
        // 0x7abcde with polarity 1; by hand.
        let read = all(&[[3, 33, 0xfa, 0xbc, 0xde]]).unwrap();
        assert_eq!(read, [AtisEvent { x: 3, y: 33, polarity: true, t_us: 0x7a_bcde }]);
        assert_eq!(SENSOR.pixel(&read[0]), 3 + 34 * 33);
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
        let cut: Vec<_> = events(&[good.as_slice(), &good[..3]].concat(), SENSOR).collect();
        assert!(
            matches!(&cut[..], [Ok(_), Err(AtisFault { byte: 5, what })] if what == "3 bytes are left, an event has 5")
        );
    }

    #[test]
    fn events_may_be_in_any_order_and_the_sensor_of_any_size() {
        assert_eq!(all(&[bytes(5, 6, true, 90_000), bytes(5, 6, true, 1000)]).unwrap()[1].t_us, 1000);
        let wide = bytes(200, 100, true, 7);
        let event = events(&wide, LARGEST_SENSOR).next().unwrap().unwrap();
        assert_eq!(Sensor { width: 240, height: 180 }.pixel(&event), 24_200);
        let error = events(&wide, Sensor { width: 200, height: 180 }).next().unwrap().unwrap_err();
        assert_eq!(error.what, "x = 200 found, 0 to 199 expected");
    }

    #[test]
    fn after_a_fault_there_is_nothing() {
        let mut events = events(&[200; 12], SENSOR);
        assert!(events.next().is_some_and(|event| event.is_err()) && events.next().is_none());
    }
}
