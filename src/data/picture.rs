//! Samples as images.

use super::DataSet;
use super::latency::LatencyCode;
use crate::events::Event;
use crate::network::Network;

/// A sample as a grey image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Brightness of each pixel, row by row, 0 to 1.
    pub pixels: Vec<f32>,
    /// What the brightness means.
    pub caption: &'static str,
}

/// The code by which the images of these data become spikes; `None` if they are not images.
pub fn code(data: &DataSet, network: &Network) -> Option<LatencyCode> {
    data.latency_coded.then(|| LatencyCode::new(network.time_steps, network.dt_ms))
}

/// A sample of these data as an image, if its neurons are pixels.
pub fn picture(data: &DataSet, network: &Network, sample: &[Event]) -> Option<Picture> {
    let conv = network.hidden.first().and_then(|layer| layer.conv());
    let (width, height) = data.shape.map(|s| (s.width, s.height)).or(conv.map(|conv| (conv.width, conv.height)))?;
    // Sounds have one row; the maps of a convolution are added.
    if height < 2 || width < 2 || !network.inputs.is_multiple_of(width * height) {
        return None;
    }
    let mut pixels = vec![0.0; width * height];
    let caption = if let Some(code) = code(data, network) {
        for event in sample {
            pixels[event.i() % (width * height)] = code.intensity(event.t()).unwrap_or(0.0) as f32;
        }
        "The input; brightness from the spike times, black: no spike"
    } else {
        sample.iter().for_each(|event| pixels[event.i() % (width * height)] += 1.0);
        let most = pixels.iter().copied().fold(1.0, f32::max);
        pixels.iter_mut().for_each(|pixel| *pixel /= most);
        "The input; brightness: number of spikes"
    };
    Some(Picture { width, pixels, caption })
}
