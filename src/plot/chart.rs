//! Charts with several panels of curves with standard errors, or of clouds of dots, on linear or logarithmic axes.

use super::panel::{Axis, BOTTOM, HEAD, LEFT, Plot, draw_line, draw_remark, drawable, extent, line_width, panel};
use super::{
    Area, COLOURS, Drawn, INK, MUTED, Picture, curve_stroke, draw, draw_title, fit, layer_colour, px, save, shade,
    text, width, wrap, write,
};
use crate::error::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
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
    /// Whether a unit is as long on both axes, as for an image.
    pub equal_units: bool,
}

/// An axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChartAxis {
    /// Name and unit.
    pub name: Cow<'static, str>,
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
        ChartAxis { name: Cow::Borrowed(name), log: false, range: None }
    }

    /// A logarithmic axis, fitted to the values.
    pub const fn log(name: &'static str) -> Self {
        ChartAxis { name: Cow::Borrowed(name), log: true, range: None }
    }

    fn shows(&self, value: f64) -> bool {
        drawable(value) && (!self.log || value > 0.0)
    }

    fn fitted(&self, values: impl Iterator<Item = f64>) -> Axis {
        let values = values.filter(|&v| self.shows(v));
        match (self.range.or_else(|| extent(values)), self.log) {
            (range, true) => {
                let (lo, hi) = range.unwrap_or((1.0, 10.0));
                Axis::logarithmic(self.name.clone(), lo, hi)
            }
            (Some((lo, hi)), false) if self.range.is_some() => Axis::exact(self.name.clone(), lo..hi, 6, 0.0),
            (range, false) => Axis::around(self.name.clone(), range.into_iter().flat_map(|(lo, hi)| [lo, hi]), 6),
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

/// An entry of the legend.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    name: String,
    colour: RGBColor,
    /// Width of the curve in figure pixels, the same in all panels.
    stroke: f64,
    hollow: bool,
}

/// Width of the line that joins hollow marks.
const HOLLOW_STROKE: f64 = 1.5;

/// How many curves at most are drawn above each, one on another, in any panel.
fn ranks(chart: &Chart, entries: &[Entry]) -> Vec<usize> {
    let of = |series: &Series| entries.iter().position(|entry| entry.name == series.name);
    let panels: Vec<Vec<usize>> =
        chart.panels.iter().map(|panel| panel.series.iter().filter_map(of).collect()).collect();
    let mut ranks = vec![0; entries.len()];
    // Panels may have the curves in different orders, so a curve's rank may follow from a later panel.
    for _ in 0..entries.len() {
        for panel in &panels {
            for pair in panel.windows(2).filter(|pair| pair[0] != pair[1]) {
                ranks[pair[1]] = (ranks[pair[0]] + 1).max(ranks[pair[1]]).min(entries.len() - 1);
            }
        }
    }
    ranks
}

/// Entries of the legend without duplicates.
fn legend_entries(chart: &Chart) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for series in chart.panels.iter().flat_map(|panel| &panel.series) {
        if !series.name.is_empty() && !entries.iter().any(|entry| entry.name == series.name) {
            let (name, colour) = (series.name.clone(), series.colour.rgb());
            entries.push(Entry { name, colour, stroke: 0.0, hollow: false });
        }
    }
    let ranks = ranks(chart, &entries);
    let count = ranks.iter().max().map_or(0, |&most| most + 1);
    entries.iter_mut().zip(ranks).for_each(|(entry, rank)| entry.stroke = curve_stroke(rank, count));
    if !chart.hollow.is_empty() {
        entries.push(Entry { name: chart.hollow.clone(), colour: MUTED, stroke: HOLLOW_STROKE, hollow: true });
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
    let entries = legend_entries(chart);
    draw(path, 8, 8, |area| {
        legend = legend_lines(area, &entries, room)?;
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
            draw_panel(&cell, of, &entries)?;
        }
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        for (k, line) in caption.iter().enumerate() {
            write(area, line, &style, (px(MARGIN), px(below + MARGIN + LINE * (k as f64 + 0.5))))?;
        }
        Ok(())
    })
}

/// The part of `cell` in which a unit is as long on both axes.
fn with_equal_units<'a>(cell: &Area<'a>, x: &Axis, y: &Axis) -> Area<'a> {
    let (width, height) = cell.dim_in_pixel();
    let (beside, above) = (px(LEFT), px(HEAD + BOTTOM));
    let (w, h) = (f64::from(width as i32 - beside), f64::from(height as i32 - above));
    let unit = (w / x.length()).min(h / y.length());
    let pixels = |units: f64, around: i32| (unit * units).round() as i32 + around;
    cell.clone().shrink((0, 0), (pixels(x.length(), beside), pixels(y.length(), above)))
}

/// Radius of the dots of a cloud in canvas pixels, which decreases with the number of places that have one.
fn cloud_radius(plot: &Plot, of: &ChartPanel) -> i32 {
    let places: BTreeSet<(u64, u64)> =
        of.series.iter().flat_map(|series| &series.points).map(|p| (p.0.to_bits(), p.1.to_bits())).collect();
    let (w, h) = plot.dim_in_pixel();
    let room = (f64::from(w) * f64::from(h) / places.len().max(1) as f64).sqrt();
    (0.16 * room).clamp(f64::from(px(1.0)), f64::from(px(3.2))).round() as i32
}

fn draw_panel(cell: &Area, of: &ChartPanel, entries: &[Entry]) -> Drawn {
    let points = || of.series.iter().flat_map(|s| &s.points).filter(|p| of.x.shows(p.0) && of.y.shows(p.1));
    let x = of.x.fitted(points().map(|p| p.0));
    let clouds = of.series.iter().any(|series| series.style == Style::Cloud);
    let x = if clouds { x } else { x.ticked_at(points().map(|p| p.0)) };
    let heights = points().flat_map(|p| [p.1, p.1 - p.2, p.1 + p.2]).chain(of.level);
    let y = of.y.fitted(heights);
    let cell = if of.equal_units { &with_equal_units(cell, &x, &y) } else { cell };
    let plot = panel(cell, (&of.title, "", &[]), (&x, &y), true)?;
    if points().next().is_none() {
        return draw_remark(&plot, "no values");
    }
    let at = |px: f64, py: f64| (x.coordinate(px), y.coordinate(py));
    if let (Some(level), Some((x0, x1))) = (of.level, extent(points().map(|p| p.0))) {
        draw_line(&plot, &[at(x0, level), at(x1, level)], MUTED, 2.0, false)?;
    }
    let stroke = |name: &str| entries.iter().find(|entry| entry.name == name).map_or(curve_stroke(0, 1), |e| e.stroke);
    let radius = cloud_radius(&plot, of);
    let mut hollow = of.series.iter().filter(|series| series.style == Style::Hollow).count();
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
                draw_line(&plot, &places, colour, stroke(&series.name), true)?;
            }
            Style::Hollow => {
                if places.len() > 1 {
                    draw_line(&plot, &places, colour, HOLLOW_STROKE, false)?;
                }
                // A ring around the ring of the series above, so that values that coincide all show.
                hollow -= 1;
                let radius = px(9.0 + 4.0 * hollow as f64);
                for place in places {
                    plot.draw(&Circle::new(place, radius, colour.stroke_width(px(2.5) as u32)))?;
                }
            }
            Style::Cloud => {
                for place in places {
                    plot.draw(&Circle::new(place, radius, colour.filled()))?;
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

/// The legend broken into lines that fit into `room`.
fn legend_lines(area: &Area, entries: &[Entry], room: i32) -> Drawn<Vec<Vec<Entry>>> {
    let style = text(TEXT, INK, HPos::Left, VPos::Center);
    let mut lines: Vec<Vec<Entry>> = Vec::new();
    let mut used = room;
    for entry in entries {
        let name = fit(area, &entry.name, &style, px(NAME))?;
        let needs = px(70.0) + width(area, &name, &style)? + px(30.0);
        if used + needs > room {
            lines.push(Vec::new());
            used = 0;
        }
        used += needs;
        if let Some(line) = lines.last_mut() {
            line.push(Entry { name, ..entry.clone() });
        }
    }
    Ok(lines)
}

fn draw_legend(area: &Area, entries: &[Entry], middle: i32) -> Drawn {
    let style = text(TEXT, INK, HPos::Left, VPos::Center);
    let mut at = px(MARGIN);
    for Entry { name, colour, stroke, hollow } in entries {
        let line = [(at, middle), (at + px(50.0), middle)];
        area.draw(&PathElement::new(line, colour.stroke_width(line_width(*stroke))))?;
        let centre = (at + px(25.0), middle);
        if *hollow {
            area.draw(&Circle::new(centre, px(9.0), WHITE.filled()))?;
            area.draw(&Circle::new(centre, px(9.0), colour.stroke_width(px(2.5) as u32)))?;
        } else {
            area.draw(&Circle::new(centre, px(stroke.max(6.0)), colour.filled()))?;
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
        let axis = |name: &'static str| ChartAxis { name: name.into(), log, range: None };
        let (x, y, level) = (axis("x"), axis("y"), Some(1.0));
        let panel = ChartPanel { title: "panel".into(), x, y, series, level, equal_units: false };
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
        let names: Vec<String> = legend_entries(&twice).into_iter().map(|entry| entry.name).collect();
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

    /// Attribute `name` of the SVG elements that begin with `element` and contain `part`.
    fn numbers(svg: &str, element: &str, part: &str, name: &str) -> Vec<i32> {
        let of_element = svg.lines().filter(|line| line.starts_with(element) && line.contains(part));
        let value = |line: &str| line.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?.parse().ok();
        of_element.filter_map(value).collect()
    }

    #[test]
    fn an_images_pixels_are_square() {
        let points = [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (0.0, 20.0, 0.0)];
        let exact = |name: &'static str, most| ChartAxis { name: name.into(), log: false, range: Some((0.0, most)) };
        let mut chart = chart(vec![series(Style::Cloud, &points)], false);
        for (equal_units, most) in [(true, (10.0, 20.0)), (true, (40.0, 20.0)), (false, (10.0, 20.0))] {
            let panel =
                ChartPanel { x: exact("x", most.0), y: exact("y", most.1), equal_units, ..chart.panels[0].clone() };
            chart.panels = vec![panel];
            let svg = render(Path::new("x.svg"), &chart).unwrap().svg();
            let place = |name| {
                let mut at = numbers(&svg, "<circle", "#0072B2", name);
                // The last three circles are the cloud's.
                at.split_off(at.len() - 3)
            };
            let (x, y) = (place("cx"), place("cy"));
            let units = (f64::from(x[1] - x[0]) / 10.0, f64::from(y[0] - y[2]) / 20.0);
            assert_eq!((units.0 - units.1).abs() < 0.2, equal_units, "{units:?}");
        }
    }

    #[test]
    fn hollow_marks_that_coincide_all_show() {
        let mark = |k| Series { colour: Colour::Number(k), ..series(Style::Hollow, &[(1.0, 2.0, 0.0)]) };
        let svg = render(Path::new("x.svg"), &chart(vec![mark(0), mark(1)], false)).unwrap().svg();
        let radius = |colour| numbers(&svg, "<circle", colour, "r").into_iter().max();
        assert!(radius("#D55E00") > radius("#0072B2") && radius("#0072B2").is_some());
    }

    #[test]
    fn the_dots_of_a_dense_cloud_are_small() {
        let radius = |n: u32| {
            let points: Vec<_> = (0..n).map(|k| (f64::from(k % 100), f64::from(k / 100), 0.0)).collect();
            let svg = render(Path::new("x.svg"), &chart(vec![series(Style::Cloud, &points)], false)).unwrap().svg();
            numbers(&svg, "<circle", "#0072B2", "r").pop()
        };
        assert!(radius(5000) < radius(50));
    }

    #[test]
    fn a_curve_is_as_wide_in_each_panel_as_in_the_legend() {
        let points = [(1.0, 2.0, 0.0), (2.0, 3.0, 0.0)];
        let other = Series { name: "dense".into(), colour: Colour::Number(1), ..series(Style::Line, &points) };
        let mut chart = chart(vec![series(Style::Line, &points), other.clone()], false);
        chart.panels[1].series = vec![other];
        let alone = Series { name: "alone".into(), colour: Colour::Number(2), ..series(Style::Line, &points) };
        chart.panels[2].series = vec![alone];
        let svg = render(Path::new("x.svg"), &chart).unwrap().svg();
        let mut widths = numbers(&svg, "<polyline", "#D55E00", "stroke-width");
        widths.dedup();
        assert_eq!(widths.len(), 1, "{widths:?}");
        let width = |colour| numbers(&svg, "<polyline", colour, "stroke-width")[0];
        assert!(
            width("#009E73") == width("#0072B2") && width("#0072B2") < width("#D55E00"),
            "narrow if nothing is above"
        );
    }

    #[test]
    fn curves_that_coincide_both_show() {
        let points = [(1.0, 2.0, 0.0), (2.0, 3.0, 0.0)];
        let other = Series { name: "dense".into(), colour: Colour::Number(1), ..series(Style::Line, &points) };
        let svg = render(Path::new("x.svg"), &chart(vec![series(Style::Line, &points), other], false)).unwrap().svg();
        let widest = |colour| numbers(&svg, "<polyline", colour, "stroke-width").into_iter().max();
        assert!(widest("#D55E00") > widest("#0072B2") && svg.find("#D55E00") < svg.rfind("#0072B2"));
    }

    #[test]
    fn shades_run_from_blue_to_orange() {
        assert_eq!(Colour::Shade(0.0).rgb(), RGBColor(0x1f, 0x4e, 0x9c));
        assert_eq!(Colour::Shade(0.5).rgb(), RGBColor(0xb3, 0x4b, 0x8b));
        assert_eq!(Colour::Shade(1.0).rgb(), RGBColor(0xf0, 0x9a, 0x1a));
    }
}
