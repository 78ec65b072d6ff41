//! Charts with several panels of curves with standard errors, or of clouds of dots, on linear or logarithmic axes.

use super::panel::{Axis, Plot, draw_line, draw_remark, drawable, extent, panel};
use super::{
    Area, COLOURS, Drawn, FAINT, INK, MUTED, Picture, curve_stroke, draw, draw_title, fit, layer_colour, px, save,
    shade, text, width, wrap, write,
};
use crate::error::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

const TITLE: f64 = 84.0;
const MARGIN: f64 = 24.0;
const CELL_WIDTH: f64 = 700.0;
const CELL_HEIGHT: f64 = 540.0;
const TEXT: f64 = 24.0;
const LINE: f64 = 36.0;
/// Maximum width of a name in the legend, in figure pixels.
const NAME: f64 = 560.0;
/// Space between panels.
const GUTTER: f64 = 34.0;

/// Contents of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Title of the figure.
    pub title: String,
    /// Caption below the panels; wrapped.
    pub caption: String,
    /// The panels, row by row.
    pub panels: Vec<ChartPanel>,
    /// Number of panels per row.
    pub columns: usize,
    /// Name of the hollow marks in the legend; empty for none.
    pub hollow: String,
}

/// A panel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartPanel {
    /// Its title.
    pub title: String,
    /// The horizontal axis.
    pub x: ChartAxis,
    /// The vertical axis.
    pub y: ChartAxis,
    /// The series; the first is drawn on top.
    pub series: Vec<Series>,
    /// A horizontal line at this y.
    pub level: Option<f64>,
}

/// An axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChartAxis {
    /// Name and unit.
    pub name: &'static str,
    /// Whether it is logarithmic. Values that are not positive are then omitted.
    pub log: bool,
    /// The range; `None` fits it to the values.
    pub range: Option<(f64, f64)>,
}

/// A curve or a cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend; empty for none. Series with the same name share an entry.
    pub name: String,
    /// Its colour.
    pub colour: Colour,
    /// How it is drawn.
    pub style: Style,
    /// (x, y, standard error of y).
    pub points: Vec<(f64, f64, f64)>,
}

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Colour {
    /// One of the distinct colours, by number.
    Number(usize),
    /// From blue at 0 to orange at 1.
    Shade(f64),
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Dots with error bars, and a line through them.
    Line,
    /// Hollow dots and a thin line, for values from other sources.
    Hollow,
    /// Small dots without a line.
    Cloud,
}

impl Colour {
    /// The colour of curve `k` of `count`: one of the distinct colours, or a shade if there are too many curves for them.
    pub fn of(k: usize, count: usize) -> Self {
        if count <= COLOURS.len() { Colour::Number(k) } else { Colour::Shade(k as f64 / (count - 1) as f64) }
    }

    pub(super) fn rgb(self) -> RGBColor {
        match self {
            Colour::Number(k) => layer_colour(k),
            Colour::Shade(at) => shade(at),
        }
    }
}

impl ChartAxis {
    /// A linear axis, fitted to the values.
    pub const fn linear(name: &'static str) -> Self {
        ChartAxis { name, log: false, range: None }
    }

    /// A logarithmic axis, fitted to the values.
    pub const fn log(name: &'static str) -> Self {
        ChartAxis { name, log: true, range: None }
    }

    fn shows(&self, value: f64) -> bool {
        drawable(value) && (!self.log || value > 0.0)
    }

    fn fitted(&self, values: impl Iterator<Item = f64>) -> Axis {
        let values = values.filter(|&v| self.shows(v));
        match (self.range.or_else(|| extent(values)), self.log) {
            (range, true) => {
                let (lo, hi) = range.unwrap_or((1.0, 10.0));
                Axis::logarithmic(self.name, lo, hi)
            }
            (Some((lo, hi)), false) if self.range.is_some() => Axis::exact(self.name, lo..hi, 6, 0.0),
            (range, false) => Axis::around(self.name, range.into_iter().flat_map(|(lo, hi)| [lo, hi]), 6),
        }
    }
}

/// Draws the panels into a PNG or SVG file of the required size.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if `path` cannot be written; [`Error::Config`](crate::Error::Config) if it ends in neither
/// .png nor .svg.
pub fn save_chart(path: impl AsRef<Path>, chart: &Chart) -> Result<()> {
    save(path.as_ref(), &render(path.as_ref(), chart)?)
}

/// Entries of the legend without duplicates: (name, colour, hollow).
fn legend_entries(chart: &Chart) -> Vec<(String, RGBColor, bool)> {
    let mut entries: Vec<(String, RGBColor, bool)> = Vec::new();
    for series in chart.panels.iter().flat_map(|panel| &panel.series) {
        if !series.name.is_empty() && !entries.iter().any(|(name, ..)| *name == series.name) {
            entries.push((series.name.clone(), series.colour.rgb(), false));
        }
    }
    if !chart.hollow.is_empty() {
        entries.push((chart.hollow.clone(), MUTED, true));
    }
    entries
}

fn render(path: &Path, chart: &Chart) -> Result<Picture> {
    let columns = chart.columns.clamp(1, 6).min(chart.panels.len().max(1));
    let rows = chart.panels.len().max(1).div_ceil(columns);
    let figure_width = (2.0 * MARGIN + CELL_WIDTH * columns as f64).max(1400.0);
    let room = px(figure_width - 2.0 * MARGIN);
    // The text is first laid out on a temporary canvas, since the figure's height depends on it.
    let (mut legend, mut caption) = (Vec::new(), Vec::new());
    draw(path, 8, 8, |area| {
        legend = legend_lines(area, &legend_entries(chart), room)?;
        caption = wrap(area, &chart.caption, &text(TEXT, INK, HPos::Left, VPos::Center), room)?;
        Ok(())
    })?;
    let top = TITLE + LINE * legend.len() as f64;
    let below = top + CELL_HEIGHT * rows as f64;
    let height = below + LINE * caption.len() as f64 + 2.0 * MARGIN;
    draw(path, figure_width as u32, height.ceil() as u32, |area| {
        draw_title(area, &chart.title, MARGIN, TITLE)?;
        for (k, line) in legend.iter().enumerate() {
            draw_legend(area, line, px(TITLE + LINE * (k as f64 + 0.4)))?;
        }
        let cell_width = (figure_width - 2.0 * MARGIN) / columns as f64;
        for (k, of) in chart.panels.iter().enumerate() {
            let (row, column) = (k / columns, k % columns);
            let left = MARGIN + cell_width * column as f64;
            let upper = top + CELL_HEIGHT * row as f64;
            let cell = area.clone().shrink((px(left), px(upper)), (px(cell_width - GUTTER), px(CELL_HEIGHT - GUTTER)));
            draw_panel(&cell, of)?;
        }
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        for (k, line) in caption.iter().enumerate() {
            write(area, line, &style, (px(MARGIN), px(below + MARGIN + LINE * (k as f64 + 0.5))))?;
        }
        Ok(())
    })
}

fn draw_panel(cell: &Area, of: &ChartPanel) -> Drawn {
    let points = || of.series.iter().flat_map(|s| &s.points).filter(|p| of.x.shows(p.0) && of.y.shows(p.1));
    let x = of.x.fitted(points().map(|p| p.0));
    let clouds = of.series.iter().any(|series| series.style == Style::Cloud);
    let x = if clouds { x } else { x.ticked_at(points().map(|p| p.0)) };
    let heights = points().flat_map(|p| [p.1, p.1 - p.2, p.1 + p.2]).chain(of.level);
    let y = of.y.fitted(heights);
    let plot = panel(cell, (&of.title, "", &[]), (&x, &y), true)?;
    if points().next().is_none() {
        return draw_remark(&plot, "no values");
    }
    let at = |px: f64, py: f64| (x.coordinate(px), y.coordinate(py));
    if let (Some(level), Some((x0, x1))) = (of.level, extent(points().map(|p| p.0))) {
        draw_line(&plot, &[at(x0, level), at(x1, level)], FAINT, 2.0, false)?;
    }
    let lines = of.series.iter().filter(|series| series.style == Style::Line).count();
    let mut below = lines;
    for series in of.series.iter().rev() {
        let shown: Vec<_> = series.points.iter().filter(|p| of.x.shows(p.0) && of.y.shows(p.1)).collect();
        let places: Vec<(f64, f64)> = shown.iter().map(|p| at(p.0, p.1)).collect();
        let colour = series.colour.rgb();
        match series.style {
            Style::Line => {
                for point in &shown {
                    if point.2 > 0.0 && of.y.shows(point.1 - point.2) {
                        let (low, high) = (at(point.0, point.1 - point.2), at(point.0, point.1 + point.2));
                        whisker(&plot, low, high, colour)?;
                    }
                }
                below -= 1;
                draw_line(&plot, &places, colour, curve_stroke(below, lines), true)?;
            }
            Style::Hollow => {
                draw_line(&plot, &places, colour, 1.0, false)?;
                for place in places {
                    plot.draw(&Circle::new(place, px(9.0), WHITE.filled()))?;
                    plot.draw(&Circle::new(place, px(9.0), colour.stroke_width(px(2.5) as u32)))?;
                }
            }
            Style::Cloud => {
                for place in places {
                    plot.draw(&Circle::new(place, px(3.2), colour.filled()))?;
                }
            }
        }
    }
    Ok(())
}

/// An error bar with caps.
fn whisker(plot: &Plot, low: (f64, f64), high: (f64, f64), colour: RGBColor) -> Drawn {
    let pixels = plot.strip_coord_spec();
    let base = pixels.get_base_pixel();
    let place = |point: &(f64, f64)| {
        let (x, y) = plot.map_coordinate(point);
        (x - base.0, y - base.1)
    };
    let (low, high) = (place(&low), place(&high));
    let stroke = colour.stroke_width(px(1.5) as u32);
    let cap = px(7.0);
    for path in
        [[low, high], [(low.0 - cap, low.1), (low.0 + cap, low.1)], [(high.0 - cap, high.1), (high.0 + cap, high.1)]]
    {
        pixels.draw(&PathElement::new(path, stroke))?;
    }
    Ok(())
}

type Entries = Vec<(String, RGBColor, bool)>;

/// The legend broken into lines that fit into `room`.
fn legend_lines(area: &Area, entries: &Entries, room: i32) -> Drawn<Vec<Entries>> {
    let style = text(TEXT, INK, HPos::Left, VPos::Center);
    let mut lines: Vec<Entries> = Vec::new();
    let mut used = room;
    for (name, colour, hollow) in entries {
        let name = fit(area, name, &style, px(NAME))?;
        let needs = px(70.0) + width(area, &name, &style)? + px(30.0);
        if used + needs > room {
            lines.push(Vec::new());
            used = 0;
        }
        used += needs;
        if let Some(line) = lines.last_mut() {
            line.push((name, *colour, *hollow));
        }
    }
    Ok(lines)
}

fn draw_legend(area: &Area, entries: &Entries, middle: i32) -> Drawn {
    let style = text(TEXT, INK, HPos::Left, VPos::Center);
    let mut at = px(MARGIN);
    for (name, colour, hollow) in entries {
        let line = [(at, middle), (at + px(50.0), middle)];
        area.draw(&PathElement::new(line, colour.stroke_width(px(if *hollow { 1.5 } else { 3.0 }) as u32)))?;
        let centre = (at + px(25.0), middle);
        if *hollow {
            area.draw(&Circle::new(centre, px(9.0), WHITE.filled()))?;
            area.draw(&Circle::new(centre, px(9.0), colour.stroke_width(px(2.5) as u32)))?;
        } else {
            area.draw(&Circle::new(centre, px(6.0), colour.filled()))?;
        }
        write(area, name, &style, (at + px(64.0), middle))?;
        at += px(70.0) + width(area, name, &style)? + px(30.0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>, log: bool) -> Chart {
        let axis = |name| ChartAxis { name, log, range: None };
        let panel = ChartPanel { title: "panel".into(), x: axis("x"), y: axis("y"), series, level: Some(1.0) };
        let (title, caption) = ("title".into(), "words ".repeat(60));
        Chart { title, caption, panels: vec![panel; 3], columns: 2, hollow: "the paper".into() }
    }

    fn series(style: Style, points: &[(f64, f64, f64)]) -> Series {
        Series { name: "sparse".into(), colour: Colour::Number(0), style, points: points.to_vec() }
    }

    #[test]
    fn odd_values_are_drawn_or_left_out() {
        let nan = f64::NAN;
        for log in [false, true] {
            for points in [&[][..], &[(1.0, 2.0, nan)], &[(0.0, -1.0, 0.5), (3.0, nan, 1.0), (1e300, 5.0, 1e300)]] {
                for style in [Style::Line, Style::Hollow, Style::Cloud] {
                    render(Path::new("x.png"), &chart(vec![series(style, points)], log)).unwrap();
                }
            }
        }
        render(Path::new("x.png"), &Chart { panels: vec![], ..chart(vec![], false) }).unwrap();
    }

    #[test]
    fn an_error_bar_shows() {
        let with = |error| {
            let points = [(1.0, 2.0, error), (2.0, 3.0, error), (3.0, 1.0, 0.5)];
            render(Path::new("x.png"), &chart(vec![series(Style::Line, &points)], false)).unwrap()
        };
        assert!(with(0.0) != with(0.4));
    }

    #[test]
    fn a_legend_has_each_name_once() {
        let twice = chart(vec![series(Style::Line, &[]), series(Style::Line, &[])], false);
        let names: Vec<String> = legend_entries(&twice).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["sparse", "the paper"]);
    }

    #[test]
    fn many_curves_have_different_colours() {
        for count in [1, 2, 6, 7, 40] {
            let mut colours: Vec<_> = (0..count).map(|k| Colour::of(k, count).rgb()).map(|c| (c.0, c.1, c.2)).collect();
            colours.sort_unstable();
            colours.dedup();
            assert_eq!(colours.len(), count);
        }
    }

    #[test]
    fn curves_that_coincide_both_show() {
        let points = [(1.0, 2.0, 0.0), (2.0, 3.0, 0.0)];
        let other = Series { name: "dense".into(), colour: Colour::Number(1), ..series(Style::Line, &points) };
        let svg = render(Path::new("x.svg"), &chart(vec![series(Style::Line, &points), other], false)).unwrap().svg();
        let strokes = |colour: &str| -> Vec<u32> {
            let of_colour = svg.lines().filter(|line| line.starts_with("<polyline") && line.contains(colour));
            of_colour.filter_map(|line| line.split("stroke-width=\"").nth(1)?.split('"').next()?.parse().ok()).collect()
        };
        let widest = |colour| strokes(colour).into_iter().max();
        assert!(widest("#D55E00") > widest("#0072B2") && svg.find("#D55E00") < svg.rfind("#0072B2"));
    }

    #[test]
    fn shades_run_from_blue_to_orange() {
        assert_eq!(Colour::Shade(0.0).rgb(), RGBColor(0x1f, 0x4e, 0x9c));
        assert_eq!(Colour::Shade(0.5).rgb(), RGBColor(0xb3, 0x4b, 0x8b));
        assert_eq!(Colour::Shade(1.0).rgb(), RGBColor(0xf0, 0x9a, 0x1a));
    }
}
