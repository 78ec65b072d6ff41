//! The input of a sample as an image, beside its raster.

use super::raster::{LINE, TEXT};
use super::{Area, Drawn, FRAME, MUTED, px, text, wrap, write};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// Width that it adds to a raster, the gap before it included.
pub(super) const WIDTH: u32 = 330;
/// Between the raster and the image.
pub(super) const GAP: f64 = 30.0;

/// An image of a sample's input.
#[derive(Debug, Clone, PartialEq)]
pub struct RasterImage {
    /// Pixels in a row.
    pub width: usize,
    /// Brightness of each pixel from 0 (black) to 1 (white), row by row from the top.
    pub pixels: Vec<f32>,
    /// What the brightness is.
    pub caption: String,
}

impl RasterImage {
    /// Draws it with its upper left corner at `(left, top)`, in figure pixels, and its caption below.
    pub(super) fn draw(&self, area: &Area, (left, top): (f64, f64)) -> Drawn {
        let side = f64::from(WIDTH) - GAP;
        let rows = self.pixels.len() / self.width.max(1);
        if rows == 0 {
            return Ok(());
        }
        let pixel = side / self.width.max(rows) as f64;
        for (k, &brightness) in self.pixels.iter().take(rows * self.width).enumerate() {
            let (x, y) = ((k % self.width) as f64, (k / self.width) as f64);
            // A NaN becomes 0.
            let grey = (255.0 * brightness.clamp(0.0, 1.0)) as u8;
            // Wider by a unit of the canvas, so that no seams show between pixels.
            let corner = |x: f64, y: f64, wider| (px(left + x * pixel) + wider, px(top + y * pixel) + wider);
            let corners = [corner(x, y, 0), corner(x + 1.0, y + 1.0, 1)];
            area.draw(&Rectangle::new(corners, RGBColor(grey, grey, grey).filled()))?;
        }
        // Bright pixels at the edge would vanish into the page.
        let end = (px(left + self.width as f64 * pixel) + 1, px(top + rows as f64 * pixel) + 1);
        area.draw(&Rectangle::new([(px(left), px(top)), end], FRAME.stroke_width(px(1.0) as u32)))?;
        let style = text(TEXT - 3.0, MUTED, HPos::Left, VPos::Center);
        for (k, line) in wrap(area, &self.caption, &style, px(side))?.iter().enumerate() {
            write(area, line, &style, (px(left), px(top + rows as f64 * pixel + LINE * (k as f64 + 0.7))))?;
        }
        Ok(())
    }
}
