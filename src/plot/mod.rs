//! Draws PNG and SVG files: the spike raster of a sample, the curves of a training run, confusion matrices, and charts of
//! measurements; and animations of rasters.
//!
//! The ending of the file's name chooses the format. For PNG, figures are drawn at twice their size and averaged down for
//! antialiasing. The font is embedded, so that figures look the same everywhere and no font library is required; an SVG
//! names it, and falls back to a similar one where it is not installed.

pub mod animation;
pub mod bars;
mod canvas;
pub mod chart;
pub mod confusion;
pub mod curves;
mod input_image;
pub mod lines;
mod panel;
pub mod raster;
pub mod table;

pub use animation::{ANIMATION_BYTES, Animation, AnimationFormat};
pub use bars::{Bars, save_bars};
pub use chart::{Chart, ChartAxis, ChartPanel, Colour, Series, Style, save_chart};
pub use confusion::{ConfusionMatrix, save_confusion};
pub use curves::{CurvePoint, save_curves};
pub use input_image::RasterImage;
pub use lines::{Line, Lines, crossings, save_lines};
pub use raster::{Decision, MOST_SAMPLES, Raster, RasterPanel, encode_rasters, save_raster, save_rasters};
pub use table::{Table, save_table};

use crate::error::{Error, Result, short_name};
use crate::files::write_atomically;
use crate::limits;
use ab_glyph::{Font as _, FontRef};
use canvas::Canvas;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageEncoder, RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Memory that drawing a figure of usual size takes, in bytes, as measured: mostly pixels at twice the size.
pub const WORKING_BYTES: u64 = 40 << 20;

/// Width of the canvas / width of the figure, and likewise the height.
const SCALE: u32 = 2;

const FONT: &str = "DejaVu Sans";
const FONT_FILE: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");

/// What a figure calls a class: its name, truncated if it is long, or `class 3` if it has none or the figure cannot show it. An
/// SVG has text, which its viewer draws; pixels have the embedded font, without the fonts of other scripts, and without writing
/// from right to left.
pub fn class_label(format: Format, class: usize, name: Option<&str>) -> String {
    match name.and_then(short_name) {
        Some(name) if format == Format::Svg || can_draw(&name) => name,
        _ => format!("class {class}"),
    }
}

/// Whether the embedded font has each character, and they are written from left to right, one beside the other.
fn can_draw(words: &str) -> bool {
    static GLYPHS: LazyLock<Option<FontRef<'static>>> = LazyLock::new(|| FontRef::try_from_slice(FONT_FILE).ok());
    // Hebrew, Arabic and their neighbours, and the forms of their letters.
    let joined = |c: char| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}');
    let has = |c: char| GLYPHS.as_ref().is_some_and(|font| font.glyph_id(c).0 != 0);
    words.chars().all(|c| c.is_control() || has(c) && !joined(c))
}

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

const COLOURS: [RGBColor; 6] = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY];

/// The colour of hidden layer `l` (from 0), the same in every figure.
fn layer_colour(l: usize) -> RGBColor {
    COLOURS[l % COLOURS.len()]
}

/// A colour from blue at 0 through purple to orange at 1; brightness increases too.
fn shade(at: f64) -> RGBColor {
    let stops = [(0x1f, 0x4e, 0x9c), (0xb3, 0x4b, 0x8b), (0xf0, 0x9a, 0x1a)];
    let at = 2.0 * at.clamp(0.0, 1.0);
    let (from, to, share) = if at < 1.0 { (stops[0], stops[1], at) } else { (stops[1], stops[2], at - 1.0) };
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// Width in figure pixels of curve `k` of `count`. The first is drawn last and is the narrowest, so that curves that
/// coincide all show.
fn curve_stroke(k: usize, count: usize) -> f64 {
    3.0 + (6.0 / count.max(2) as f64).min(2.5) * k as f64
}

type Area<'a> = DrawingArea<Canvas<'a>, Shift>;

/// Result of drawing. [`draw`] adds the file's name to errors.
type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Converts figure pixels to canvas pixels.
fn px(pixels: f64) -> i32 {
    (pixels * f64::from(SCALE)).round() as i32
}

/// The format of a figure's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pixels.
    Png,
    /// Lines, circles and text.
    Svg,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 2] = [Format::Png, Format::Svg];

    /// The ending of the names of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Svg => "svg",
        }
    }

    /// The format that the ending of `path` names.
    ///
    /// # Errors
    /// [`Error::Config`] for any other ending, or none.
    pub fn of(path: &Path) -> Result<Self> {
        let named =
            |format: &Format| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(format.ending()));
        Format::ALL.into_iter().find(named).ok_or_else(|| {
            Error::Config(format!(
                "{}: figures are written as PNG or SVG; use a name that ends in .png or .svg",
                path.display()
            ))
        })
    }
}

/// The files of a figure that is written in each format: `name` with each ending, in `folder`.
pub fn files(folder: &Path, name: &str) -> [PathBuf; 2] {
    Format::ALL.map(|format| folder.join(format!("{name}.{}", format.ending())))
}

/// A finished figure.
#[derive(Debug, PartialEq)]
enum Picture {
    Pixels(RgbImage),
    Svg(String),
}

/// Draws a figure of `width` × `height` pixels on white, in the format that `path` names. Errors of `paint` are reported as
/// errors about `path`.
fn draw(path: &Path, width: u32, height: u32, paint: impl FnOnce(&Area) -> Drawn) -> Result<Picture> {
    static REGISTERED: LazyLock<bool> = LazyLock::new(|| register_font(FONT, FontStyle::Normal, FONT_FILE).is_ok());
    let failed = |what: String| Error::io(path)(std::io::Error::other(what));
    if !*REGISTERED {
        return Err(failed("the embedded font cannot be read".into()));
    }
    let size = (width * SCALE, height * SCALE);
    let fill = |canvas: Canvas| -> Drawn {
        let area = canvas.into_drawing_area();
        area.fill(&WHITE)?;
        paint(&area)?;
        Ok(area.present()?)
    };
    let failed = |e| failed(format!("the figure could not be drawn: {e}"));
    match Format::of(path)? {
        Format::Png => {
            let mut pixels = RgbImage::new(size.0, size.1);
            fill(Canvas::Pixels(BitMapBackend::with_buffer(&mut pixels, size))).map_err(failed)?;
            Ok(Picture::Pixels(imageops::thumbnail(&pixels, width, height)))
        }
        Format::Svg => {
            let mut svg = String::new();
            fill(Canvas::Svg(SVGBackend::with_string(&mut svg, size))).map_err(failed)?;
            Ok(Picture::Svg(canvas::sized(&svg, size, (width, height))))
        }
    }
}

/// Writes a figure atomically. Refuses folders, pipes and devices.
fn save(path: &Path, figure: &Picture) -> Result<()> {
    replace(path, &encoded(figure)?)
}

/// Writes a file atomically. Refuses folders, pipes and devices.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    if path.exists() {
        limits::refuse_special(path)?;
    }
    write_atomically(path, bytes)
}

/// The bytes of a figure's file.
fn encoded(figure: &Picture) -> Result<Cow<'_, [u8]>> {
    let figure = match figure {
        Picture::Svg(svg) => return Ok(svg.as_bytes().into()),
        Picture::Pixels(pixels) => pixels,
    };
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive)
        .write_image(figure, figure.width(), figure.height(), image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::Data(format!("the figure could not be encoded: {e}")))?;
    Ok(png.into())
}

#[cfg(test)]
impl Picture {
    fn pixels(self) -> RgbImage {
        match self {
            Picture::Pixels(pixels) => pixels,
            Picture::Svg(_) => panic!("an SVG has no pixels"),
        }
    }

    fn svg(self) -> String {
        match self {
            Picture::Svg(svg) => svg,
            Picture::Pixels(_) => panic!("pixels are no SVG"),
        }
    }
}

/// A text style of `size` figure pixels, anchored at (`h`, `v`).
fn text(size: f64, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    let style = TextStyle::from((FONT, f64::from(px(size))).into_font());
    TextStyle { color: colour.to_backend_color(), pos: Pos::new(h, v), ..style }
}

/// Correction for the vertical position at which plotters draws text anchored at its middle, as a fraction of its size.
const RAISED: f64 = 0.21;

/// How far text of `size` that is anchored at its middle must be moved, which plotters draws too high.
fn lowered(size: f64, turned: &FontTransform) -> (i32, i32) {
    let down = (RAISED * size).round() as i32;
    match turned {
        FontTransform::Rotate270 => (down, 0),
        _ => (0, down),
    }
}

/// Draws `words` with their vertical middle at `at`, for styles that are anchored there.
fn write(area: &Area, words: &str, style: &TextStyle, at: (i32, i32)) -> Drawn {
    let (right, down) = lowered(style.font.get_size(), &style.font.get_transform());
    Ok(area.draw_text(words, style, (at.0 + right, at.1 + down))?)
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

/// `digits` with commas between groups of three: `12,345`. A sign or decimals may surround them.
fn grouped(digits: &str) -> String {
    let begin = digits.find(|c: char| c.is_ascii_digit()).unwrap_or(digits.len());
    let end = digits[begin..].find(|c: char| !c.is_ascii_digit()).map_or(digits.len(), |n| begin + n);
    let mut out = digits[..begin].to_owned();
    for (k, digit) in digits[begin..end].chars().enumerate() {
        if k > 0 && (end - begin - k).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + &digits[end..]
}

/// Width of `words` in canvas pixels.
fn width(area: &Area, words: &str, style: &TextStyle) -> Drawn<i32> {
    Ok(area.estimate_text_size(words, style)?.0 as i32)
}

/// `words` in lines that fit into `room` canvas pixels. A line does not end before a percent sign or at a no-break space.
fn wrap(area: &Area, words: &str, style: &TextStyle, room: i32) -> Drawn<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    let words = words.replace(" %", "\u{a0}%");
    for word in words.split(|c: char| c.is_whitespace() && c != '\u{a0}').filter(|word| !word.is_empty()) {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (longer, lines.last_mut()) {
            (Some(longer), Some(line)) if width(area, &longer, style)? <= room => *line = longer,
            _ => lines.push(fit(area, word, style, room)?),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> Picture {
        Picture::Pixels(RgbImage::from_pixel(4, 3, image::Rgb([9, 8, 7])))
    }

    #[test]
    fn the_ending_names_the_format() {
        for (name, format) in [("a.png", Format::Png), ("b/c.d.SVG", Format::Svg)] {
            assert_eq!(Format::of(Path::new(name)).unwrap(), format);
        }
        for name in ["figure.jpg", "figure", "png", ".svg", "figure.png.gz"] {
            let error = Format::of(Path::new(name)).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains(".png or .svg"), "{error}");
        }
    }

    #[test]
    fn names_that_the_font_lacks_are_numbers_in_pixels() {
        for name in ["Dress", "żółw", "Ελλάδα", "Привет", "naïve 3/4", "m²"] {
            assert_eq!(class_label(Format::Png, 3, Some(name)), name);
        }
        for name in ["左", "ひだり", "왼쪽", "left 左", "يسار", "שמאל", "👍🏽", "ซ้าย"] {
            assert_eq!(class_label(Format::Png, 3, Some(name)), "class 3", "{name}");
            assert_eq!(class_label(Format::Svg, 3, Some(name)), name);
        }
        for name in [None, Some(""), Some(" \n")] {
            assert_eq!(Format::ALL.map(|format| class_label(format, 0, name)), ["class 0", "class 0"]);
        }
        assert_eq!(Format::ALL.map(|format| class_label(format, 0, Some("a\nb"))), ["a\\nb", "a\\nb"]);
        assert!(class_label(Format::Svg, 0, Some(&"x".repeat(300))).chars().count() <= 41);
    }

    #[test]
    fn an_svg_has_the_size_of_the_figure_and_escaped_text() {
        let svg = draw(Path::new("figure.svg"), 300, 100, |area| {
            write(area, "a < b & \u{1b}c", &text(20.0, INK, HPos::Left, VPos::Center), (0, 50))
        });
        let svg = svg.unwrap().svg();
        assert!(svg.starts_with("<svg width=\"300\" height=\"100\" viewBox=\"0 0 600 200\""), "{svg}");
        assert!(svg.contains("a &lt; b &amp;  c") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("font-family=\"DejaVu Sans, Verdana, sans-serif\""), "{svg}");
    }

    #[test]
    fn saves_over_an_old_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("figure.png");
        std::fs::write(&path, "old").unwrap();
        save(&path, &blank()).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), blank().pixels());
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
    fn digits_are_grouped_before_the_point() {
        let groups = ["7", "−999", "1000", "-12345.6789", "1234567", "", "n/a"].map(grouped);
        assert_eq!(groups, ["7", "−999", "1,000", "-12,345.6789", "1,234,567", "", "n/a"]);
    }

    #[test]
    fn numbers_keep_their_percent_signs() {
        draw(Path::new("figure.png"), 300, 100, |area| {
            let style = text(20.0, INK, HPos::Left, VPos::Center);
            for room in 0..150 {
                let lines = wrap(area, "density of 1.5 % in  B\u{a0}T\u{a0}N entries", &style, px(f64::from(room)))?;
                assert!(!lines.iter().any(|line| line.starts_with('%') || line.starts_with('T')), "{room}: {lines:?}");
            }
            Ok(())
        })
        .unwrap();
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
