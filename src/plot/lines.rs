//! Curves on two logarithmic axes, with marked points.

use super::chart::Colour;
use super::panel::{Axis, LEFT, LegendEntry, draw_line, draw_marker, draw_remark, drawable, extent, panel};
use super::{Drawn, INK, MUTED, Picture, curve_stroke, draw, draw_title, px, save, text, width, write};
use crate::error::Result;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

const WIDTH: u32 = 1400;
const HEIGHT: u32 = 900;
const TITLE: f64 = 84.0;
const MARGIN: f64 = 20.0;

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// (x, y), both positive; others are omitted.
    pub points: Vec<(f64, f64)>,
}

/// Contents of a chart of curves.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    /// Title of the figure.
    pub title: String,
    /// Title of its panel.
    pub panel: String,
    /// Name and unit of x.
    pub x: &'static str,
    /// Name and unit of y.
    pub y: &'static str,
    /// The curves.
    pub lines: Vec<Line>,
    /// A horizontal line at this y, such as a ratio of 1.
    pub level: Option<f64>,
    /// Points with labels, such as a crossover.
    pub marks: Vec<(f64, f64, String)>,
}

/// The x at which a curve crosses `level`, by linear interpolation of the logarithms.
pub fn crossings(points: &[(f64, f64)], level: f64) -> Vec<f64> {
    let logs: Vec<(f64, f64)> =
        points.iter().filter(|p| positive(p)).map(|&(x, y)| (x.ln(), (y / level).ln())).collect();
    let between = |pair: &[(f64, f64)]| {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        ((y0 > 0.0) != (y1 > 0.0)).then(|| (x0 + (x1 - x0) * y0 / (y0 - y1)).exp())
    };
    logs.windows(2).filter_map(between).collect()
}

fn positive(&(x, y): &(f64, f64)) -> bool {
    x > 0.0 && y > 0.0 && drawable(x) && drawable(y)
}

/// Draws the curves into a PNG or SVG file of 1400 × 900 pixels.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if `path` cannot be written; [`Error::Config`](crate::Error::Config) if it ends in neither
/// .png nor .svg.
pub fn save_lines(path: impl AsRef<Path>, lines: &Lines) -> Result<()> {
    save(path.as_ref(), &render(path.as_ref(), lines)?)
}

fn render(path: &Path, lines: &Lines) -> Result<Picture> {
    let points = || lines.lines.iter().flat_map(|line| &line.points).copied().filter(positive);
    let (x0, x1) = extent(points().map(|p| p.0)).unwrap_or((1.0, 10.0));
    let level = lines.level.filter(|&y| y > 0.0);
    let (y0, y1) = extent(points().map(|p| p.1).chain(level)).unwrap_or((1.0, 10.0));
    let x = Axis::logarithmic(lines.x, x0, x1).ticked_at(points().map(|p| p.0));
    let axes = (x, Axis::logarithmic(lines.y, y0, y1));
    let count = lines.lines.len();
    draw(path, WIDTH, HEIGHT, |area| {
        draw_title(area, &lines.title, MARGIN + LEFT, TITLE)?;
        let (_, body) = area.split_vertically(px(TITLE));
        let cell = body.margin(0, px(14.0), px(MARGIN), px(36.0));
        let entry = |(k, line): (usize, &Line)| LegendEntry {
            name: line.name.clone(),
            role: "",
            colour: Colour::of(k, count).rgb(),
            stroke: curve_stroke(k, count),
            marker: false,
        };
        let legend: Vec<LegendEntry> = lines.lines.iter().enumerate().map(entry).collect();
        let plot = panel(&cell, (&lines.panel, "", &legend), (&axes.0, &axes.1), true)?;
        if points().next().is_none() {
            return draw_remark(&plot, "no values");
        }
        let at = |(x, y): (f64, f64)| (axes.0.coordinate(x), axes.1.coordinate(y));
        if let Some(y) = level {
            draw_line(&plot, &[at((x0, y)), at((x1, y))], MUTED, 2.0, false)?;
        }
        for (k, line) in lines.lines.iter().enumerate().rev() {
            let points: Vec<_> = line.points.iter().copied().filter(positive).map(at).collect();
            draw_line(&plot, &points, Colour::of(k, count).rgb(), curve_stroke(k, count), true)?;
        }
        lines.marks.iter().filter(|(x, y, _)| positive(&(*x, *y))).try_for_each(|(x, y, words)| -> Drawn {
            let point = at((*x, *y));
            draw_marker(&plot, point, INK)?;
            let pixels = plot.strip_coord_spec();
            let base = pixels.get_base_pixel();
            let (px_x, px_y) = plot.map_coordinate(&point);
            let style = text(25.0, INK, HPos::Left, VPos::Center);
            // To the right of the point if there is room.
            let room = pixels.dim_in_pixel().0 as i32 - width(&pixels, words, &style)? - px(10.0);
            let corner = ((px_x - base.0 + px(16.0)).min(room), px_y - base.1 - px(24.0));
            write(&pixels, words, &style, corner)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_found_between_points() {
        let at = crossings(&[(0.001, 10.0), (0.1, 0.1)], 1.0);
        assert!(at.len() == 1 && (at[0] - 0.01).abs() < 1e-9, "{at:?}");
        assert!(crossings(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.5)], 1.0).is_empty());
        assert!(crossings(&[(1.0, 0.0), (-2.0, 2.0)], 1.0).is_empty(), "what has no logarithm is left out");
    }

    #[test]
    fn odd_cases_are_drawn_in_the_size_promised() {
        let line = |points: &[(f64, f64)]| Line { name: "sparse".into(), points: points.to_vec() };
        for curves in [
            vec![],
            vec![line(&[])],
            vec![line(&[(1.0, 1.0)])],
            vec![line(&[(1.0, f64::NAN), (2.0, 5.0), (1e300, 1e300)]), line(&[(0.0, -1.0)])],
        ] {
            let lines = Lines {
                title: "t".into(),
                panel: "p".into(),
                x: "density",
                y: "ms",
                lines: curves,
                level: Some(1.0),
                marks: vec![(1.0, 1.0, "here ".repeat(50)), (f64::NAN, 1.0, "nowhere".into())],
            };
            assert_eq!(render(Path::new("x.png"), &lines).unwrap().pixels().dimensions(), (1400, 900));
        }
    }
}
