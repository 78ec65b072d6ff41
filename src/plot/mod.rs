//! Draws PNG files: the spike raster of a sample, the curves of a training run, and charts of measurements.
//!
//! Figures are drawn at twice their size and averaged down for antialiasing. The font is embedded, so that figures look the
//! same everywhere and no font library is required.

pub mod bars;
pub mod chart;
pub mod curves;
pub mod lines;
mod panel;
pub mod raster;
pub mod table;

pub use bars::{Bars, bars_png};
pub use chart::{Chart, ChartAxis, ChartPanel, Colour, Series, Style, chart_png};
pub use curves::{CurvePoint, curves_png};
pub use lines::{Line, Lines, crossings, lines_png};
pub use raster::{Raster, RasterPanel, raster_png};
pub use table::{Table, table_png};

use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::limits;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageEncoder, RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;
use std::sync::LazyLock;

/// Width of the canvas / width of the figure, and likewise the height.
const SCALE: u32 = 2;

const FONT: &str = "DejaVu Sans";

const INK: RGBColor = RGBColor(0x22, 0x26, 0x2e);
const MUTED: RGBColor = RGBColor(0x6b, 0x72, 0x80);
const FAINT: RGBColor = RGBColor(0xb9, 0xbf, 0xc9);
const GRID: RGBColor = RGBColor(0xea, 0xec, 0xef);
const FRAME: RGBColor = RGBColor(0xc4, 0xc9, 0xd1);

/// Those colours of Okabe and Ito, distinguishable with any colour blindness, that are legible on white.
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);
const VERMILLION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);

/// The colour of hidden layer `l` (from 0), the same in every figure.
fn layer_colour(l: usize) -> RGBColor {
    const LAYERS: [RGBColor; 6] = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY];
    LAYERS[l % LAYERS.len()]
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Result of drawing. [`draw`] adds the file's name to errors.
type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Converts figure pixels to canvas pixels.
fn px(pixels: f64) -> i32 {
    (pixels * f64::from(SCALE)).round() as i32
}

/// Draws a figure of `width` × `height` pixels on white. Errors of `paint` are reported as errors about `path`.
fn draw(path: &Path, width: u32, height: u32, paint: impl FnOnce(&Area) -> Drawn) -> Result<RgbImage> {
    static REGISTERED: LazyLock<bool> = LazyLock::new(|| {
        let bytes = include_bytes!("../../assets/fonts/DejaVuSans.ttf");
        register_font(FONT, FontStyle::Normal, bytes).is_ok()
    });
    let failed = |what: String| Error::io(path)(std::io::Error::other(what));
    if !*REGISTERED {
        return Err(failed("the embedded font cannot be read".into()));
    }
    let (canvas_width, canvas_height) = (width * SCALE, height * SCALE);
    let mut canvas = RgbImage::new(canvas_width, canvas_height);
    let area = BitMapBackend::with_buffer(&mut canvas, (canvas_width, canvas_height)).into_drawing_area();
    let painted: Drawn = (|| {
        area.fill(&WHITE)?;
        paint(&area)?;
        area.present()?;
        Ok(())
    })();
    drop(area);
    painted.map_err(|e| failed(format!("the figure could not be drawn: {e}")))?;
    Ok(imageops::thumbnail(&canvas, width, height))
}

/// Writes a PNG atomically. Refuses pipes and devices.
fn save(path: &Path, figure: &RgbImage) -> Result<()> {
    if path.exists() {
        limits::refuse_special(path)?;
    }
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive)
        .write_image(figure, figure.width(), figure.height(), image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::Data(format!("the figure could not be encoded: {e}")))?;
    write_atomically(path, &png)
}

/// A text style of `size` figure pixels, anchored at (`h`, `v`).
fn text(size: f64, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    let style = TextStyle::from((FONT, f64::from(px(size))).into_font());
    TextStyle { color: colour.to_backend_color(), pos: Pos::new(h, v), ..style }
}

/// Correction for the vertical position at which plotters draws text anchored at its middle, as a fraction of its size.
const RAISED: f64 = 0.21;

/// Draws `words` with their vertical middle at `at`, for styles that are anchored there.
fn write(area: &Area, words: &str, style: &TextStyle, at: (i32, i32)) -> Drawn {
    let down = (RAISED * style.font.get_size()).round() as i32;
    Ok(area.draw_text(words, style, (at.0, at.1 + down))?)
}

/// Draws the figure's title over the top `height` pixels, `left` pixels from the edge.
fn draw_title(area: &Area, title: &str, left: f64, height: f64) -> Drawn {
    let style = text(36.0, INK, HPos::Left, VPos::Center);
    let room = area.dim_in_pixel().0 as i32 - px(left) - px(40.0);
    let title = fit(area, title, &style, room)?;
    write(area, &title, &style, (px(left), px(height / 2.0)))
}

/// `words` on one line, truncated with an ellipsis if wider than `room` canvas pixels.
fn fit(area: &Area, words: &str, style: &TextStyle, room: i32) -> Drawn<String> {
    let line: Vec<char> = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let whole: String = line.iter().collect();
    if width(area, &whole, style)? <= room {
        return Ok(whole);
    }
    let cut = |n: usize| line[..n].iter().collect::<String>().trim_end().to_owned() + "…";
    // Bisection, since titles may be arbitrarily long.
    let (mut fits, mut too_wide) = (0, line.len());
    while too_wide - fits > 1 {
        let middle = (fits + too_wide) / 2;
        if width(area, &cut(middle), style)? <= room { fits = middle } else { too_wide = middle }
    }
    Ok(cut(fits))
}

/// Width of `words` in canvas pixels.
fn width(area: &Area, words: &str, style: &TextStyle) -> Drawn<i32> {
    Ok(area.estimate_text_size(words, style)?.0 as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> RgbImage {
        RgbImage::from_pixel(4, 3, image::Rgb([9, 8, 7]))
    }

    #[test]
    fn saves_over_an_old_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("figure.png");
        std::fs::write(&path, "old").unwrap();
        save(&path, &blank()).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), blank());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_figure_has_the_permissions_of_any_new_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("other"), "").unwrap();
        save(&dir.path().join("figure.png"), &blank()).unwrap();
        let permissions = |name| std::fs::metadata(dir.path().join(name)).unwrap().permissions();
        assert_eq!(permissions("figure.png"), permissions("other"));
    }

    #[test]
    fn an_unwritable_path_is_named() {
        let dir = tempfile::tempdir().unwrap();
        // A folder that is not there, and a path that is a folder.
        for path in [dir.path().join("absent").join("figure.png"), dir.path().to_owned()] {
            let error = save(&path, &blank()).unwrap_err();
            assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the temporary file is gone");
    }

    #[test]
    fn long_words_are_cut_to_their_room() {
        draw(Path::new("figure.png"), 300, 100, |area| {
            let style = text(20.0, INK, HPos::Left, VPos::Center);
            assert_eq!(fit(area, "short", &style, px(280.0))?, "short");
            assert_eq!(fit(area, "two\nlines", &style, px(280.0))?, "two lines");
            let cut = fit(area, &"żółw ".repeat(200), &style, px(280.0))?;
            assert!(cut.ends_with('…') && cut.chars().count() > 10, "{cut}");
            assert!(width(area, &cut, &style)? <= px(280.0));
            assert_eq!(fit(area, "no room", &style, -5)?, "…");
            Ok(())
        })
        .unwrap();
    }
}
