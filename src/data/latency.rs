//! The latency code of Fashion-MNIST (paper, E.1): each pixel spikes at most once, earlier if it is brighter.
//!
//! A pixel of intensity x, 0 to 1, spikes at time step t = ⌊τ_eff ln(x / (x - θ))⌋ if x > θ and t < T, otherwise never.

use crate::network::MAX_EXTENT;

/// Threshold θ on the intensity.
pub const THETA: f64 = 0.2;

/// Duration of the paper's samples, ms.
pub const DURATION_MS: f64 = 100.0;

/// Effective time constant τ_eff, ms.
pub const TAU_EFF_MS: f64 = 20.0;

/// Table of the spike times of the 256 pixel values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyCode {
    time_steps: usize,
    times: [Option<u16>; 256],
}

impl LatencyCode {
    /// The paper's code for `time_steps` time steps of `dt_ms` ms.
    pub fn new(time_steps: usize, dt_ms: f64) -> Self {
        let tau_eff = TAU_EFF_MS / dt_ms;
        let times = std::array::from_fn(|pixel| {
            let x = pixel as f64 / 255.0;
            if x <= THETA {
                return None;
            }
            // The cast truncates, as in the authors' code.
            let t = (tau_eff * (x / (x - THETA)).ln()) as usize;
            u16::try_from(t).ok().filter(|_| t < time_steps.min(MAX_EXTENT))
        });
        LatencyCode { time_steps, times }
    }

    /// Time steps, T.
    pub fn time_steps(&self) -> usize {
        self.time_steps
    }

    /// The time step at which a pixel of this value spikes; `None` if it does not.
    #[inline]
    pub fn time(&self, pixel: u8) -> Option<usize> {
        self.times[usize::from(pixel)].map(usize::from)
    }

    /// The mean intensity, 0 to 1, of the pixel values that spike at time step `t`; `None` if none does.
    pub fn intensity(&self, t: usize) -> Option<f64> {
        let of_t: Vec<f64> = (0..=255u8).filter(|&pixel| self.time(pixel) == Some(t)).map(f64::from).collect();
        (!of_t.is_empty()).then(|| of_t.iter().sum::<f64>() / (255.0 * of_t.len() as f64))
    }

    /// The spikes (t, i) of an image, in the order of its pixels i.
    pub fn spikes(&self, image: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        image.iter().enumerate().filter_map(|(i, &pixel)| Some((self.time(pixel)?, i)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(20 * np.log(v / (v - 0.2))).astype(int)` of numpy in float64, v = p / 255, p = 52..=255.
    #[rustfmt::skip]
    const NUMPY: [usize; 204] = [
        79, 65, 57, 52, 48, 45, 42, 39, 37, 36, 34, 33, 31, 30, 29, 28, 27, 26, 26, 25, 24, 23, 23, 22, 22, 21, 21,
        20, 20, 19, 19, 19, 18, 18, 17, 17, 17, 17, 16, 16, 16, 15, 15, 15, 15, 14, 14, 14, 14, 14, 13, 13, 13, 13,
        13, 12, 12, 12, 12, 12, 12, 12, 11, 11, 11, 11, 11, 11, 11, 10, 10, 10, 10, 10, 10, 10, 10, 10, 9, 9, 9, 9, 9,
        9, 9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5,
        5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
        4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    ];

    #[test]
    fn all_times_are_numpys() {
        let code = LatencyCode::new(100, 1.0);
        for pixel in 0..=255 {
            let expected = usize::from(pixel).checked_sub(52).map(|k| NUMPY[k]);
            assert_eq!(code.time(pixel), expected, "pixel {pixel}");
        }
    }

    #[test]
    fn no_time_is_so_near_a_whole_step_that_a_platforms_logarithm_could_move_it() {
        for pixel in 52..=255 {
            let x = f64::from(pixel) / 255.0;
            let t = TAU_EFF_MS * (x / (x - THETA)).ln();
            assert!((t - t.round()).abs() > 5e-3, "pixel {pixel}: {t}");
        }
    }

    #[test]
    fn times_past_the_end_are_dropped() {
        let code = LatencyCode::new(65, 1.0);
        assert_eq!((code.time(52), code.time(53), code.time(54)), (None, None, Some(57)));
        assert_eq!(LatencyCode::new(usize::MAX, 1e-9).time(255), None, "no event holds such a time");
    }

    #[test]
    fn half_the_step_counts_twice_as_many() {
        // 20 ln(x / (x - 0.2)) of pixel 255 is 4.4629 ms.
        assert_eq!(LatencyCode::new(200, 0.5).time(255), Some(8));
    }

    #[test]
    fn an_intensity_follows_from_the_time() {
        let code = LatencyCode::new(100, 1.0);
        assert_eq!(code.intensity(79), Some(52.0 / 255.0));
        assert_eq!(code.intensity(26), Some((69.0 + 70.0) / 2.0 / 255.0));
        assert_eq!((code.intensity(3), code.intensity(80)), (None, None));
    }

    #[test]
    fn an_image_spikes_where_it_is_bright() {
        let spikes: Vec<_> = LatencyCode::new(100, 1.0).spikes(&[0, 255, 51, 128]).collect();
        assert_eq!(spikes, [(4, 1), (10, 3)]);
    }
}
