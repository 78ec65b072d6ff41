//! What figures are drawn on: pixels or SVG. The same code draws both.

use super::{FONT, lowered};
use plotters::backend::DrawingBackend;
use plotters::prelude::{BitMapBackend, SVGBackend};
use plotters::style::text_anchor::VPos;
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind};
use std::fmt;

/// A backend of one of the two formats.
pub enum Canvas<'a> {
    /// Pixels, for PNG.
    Pixels(BitMapBackend<'a>),
    /// Elements of an SVG document.
    Svg(SVGBackend<'a>),
}

/// An error of either backend.
#[derive(Debug)]
pub struct CanvasError(String);

impl fmt::Display for CanvasError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CanvasError {}

type Painted<T = ()> = Result<T, DrawingErrorKind<CanvasError>>;

fn named<T, E: std::error::Error + Send + Sync>(result: Result<T, DrawingErrorKind<E>>) -> Painted<T> {
    result.map_err(|e| match e {
        DrawingErrorKind::DrawingError(e) => DrawingErrorKind::DrawingError(CanvasError(e.to_string())),
        DrawingErrorKind::FontError(e) => DrawingErrorKind::FontError(e),
    })
}

/// Calls the method of whichever backend it is.
macro_rules! either {
    ($canvas:expr, $backend:ident => $call:expr) => {
        match $canvas {
            Canvas::Pixels($backend) => named($call),
            Canvas::Svg($backend) => named($call),
        }
    };
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = CanvasError;

    fn get_size(&self) -> (u32, u32) {
        match self {
            Canvas::Pixels(backend) => backend.get_size(),
            Canvas::Svg(backend) => backend.get_size(),
        }
    }

    fn ensure_prepared(&mut self) -> Painted {
        either!(self, backend => backend.ensure_prepared())
    }

    fn present(&mut self) -> Painted {
        either!(self, backend => backend.present())
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Painted {
        either!(self, backend => backend.draw_pixel(at, colour))
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Painted {
        either!(self, backend => backend.draw_line(from, to, style))
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Painted {
        match self {
            // The SVG backend ignores the stroke width of rectangles.
            Canvas::Svg(backend) if !fill => {
                let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
                named(backend.draw_path(corners, style))
            }
            canvas => either!(canvas, backend => backend.draw_rect((left, top), (right, bottom), style, fill)),
        }
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Painted {
        either!(self, backend => backend.draw_path(path, style))
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Painted {
        either!(self, backend => backend.fill_polygon(path, style))
    }

    fn draw_circle<S: BackendStyle>(&mut self, at: BackendCoord, radius: u32, style: &S, fill: bool) -> Painted {
        either!(self, backend => backend.draw_circle(at, radius, style, fill))
    }

    fn draw_text<S: BackendTextStyle>(&mut self, words: &str, style: &S, (x, y): BackendCoord) -> Painted {
        match self {
            Canvas::Pixels(backend) => named(backend.draw_text(words, style, (x, y))),
            Canvas::Svg(backend) => {
                // The SVG backend draws text in the middle as it is, so the correction for pixels is undone.
                let (right, down) = match style.anchor().v_pos {
                    VPos::Center => lowered(style.size(), &style.transform()),
                    _ => (0, 0),
                };
                let legible: String = words.chars().map(|c| if valid_in_xml(c) { c } else { ' ' }).collect();
                named(backend.draw_text(&legible, style, (x - right, y - down)))
            }
        }
    }
}

fn valid_in_xml(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// `svg` as drawn on a canvas of `canvas` units, shown at a size of `figure` pixels, with a substitute for the font where
/// it is not installed.
pub fn sized(svg: &str, canvas: (u32, u32), figure: (u32, u32)) -> String {
    let extent = |(width, height): (u32, u32)| format!("<svg width=\"{width}\" height=\"{height}\"");
    svg.replacen(&extent(canvas), &extent(figure), 1)
        .replace(&format!("font-family=\"{FONT}\""), &format!("font-family=\"{FONT}, Verdana, sans-serif\""))
}
