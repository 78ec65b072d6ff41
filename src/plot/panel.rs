//! A panel of a figure: a head with title and legend, a frame, axes, and a plot area.

use super::{Area, Canvas, Drawn, FRAME, GRID, INK, MUTED, RAISED, fit, grouped, px, text, width, write};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::borrow::Cow;
use std::ops::Range;

/// Height of a panel's head, in figure pixels.
pub const HEAD: f64 = 62.0;
/// Width of the area left of a panel's frame.
pub const LEFT: f64 = 136.0;
/// Height of the area below the frame of a panel with a labelled horizontal axis.
pub const BOTTOM: f64 = 70.0;
/// Distance of the middle of a horizontal axis' name from the frame, which is as far from the tick labels as that of a
/// vertical axis is from its.
const X_NAME: f64 = 54.0;

/// One figure pixel as a stroke on the canvas.
const HAIRLINE: u32 = super::SCALE;
const TICK_TEXT: f64 = 25.0;
/// Distance of the middle of the head's line from the frame, in figure pixels.
const HEAD_LINE: f64 = 24.0;
const LEGEND_TEXT: f64 = 25.0;

/// Maximum number of values that become ticks of an axis.
const MOST_VALUES: usize = 8;
/// Minimum distance of such ticks, as a fraction of the axis.
const LEAST_GAP: f64 = 0.09;

/// The plot area of a panel, in the coordinates of its axes.
pub type Plot<'a> = DrawingArea<Canvas<'a>, Cartesian2d<Axis, Axis>>;

/// Whether a value can be drawn: it is finite, and so small that ranges cannot overflow.
pub fn drawable(value: f64) -> bool {
    value.abs() <= 1e100
}

/// An axis: name, range and ticks.
#[derive(Clone)]
pub struct Axis {
    name: Cow<'static, str>,
    range: Range<f64>,
    ticks: Vec<f64>,
    /// Distance between ticks; 0 if they are 1, 2 and 5 times powers of ten.
    step: f64,
    /// Whether coordinates are decimal logarithms of the values.
    log: bool,
}

impl Axis {
    /// An axis with exactly this `range` and about `ticks` round ticks, at least `least_step` apart.
    pub fn exact(name: impl Into<Cow<'static, str>>, range: Range<f64>, ticks: usize, least_step: f64) -> Self {
        let (ticks, step) = round_ticks(&range, ticks, least_step);
        Axis { name: name.into(), ticks, step, range, log: false }
    }

    /// An axis with the range of `values` and a margin. Values that cannot be drawn are ignored.
    pub fn around(name: impl Into<Cow<'static, str>>, values: impl Iterator<Item = f64>, ticks: usize) -> Self {
        let (lo, hi) = extent(values).unwrap_or((0.0, 1.0));
        Axis::exact(name, widen(lo, hi, 0.06), ticks, 0.0)
    }

    /// A logarithmic axis for positive values from `lo` to `hi`.
    pub fn logarithmic(name: impl Into<Cow<'static, str>>, lo: f64, hi: f64) -> Self {
        let name = name.into();
        let range = widen(lo.log10(), hi.log10(), 0.06);
        let decades = range.start.floor() as i32..=range.end.ceil() as i32;
        let stride = 1 + (range.end - range.start) as usize / 7;
        let among = |mantissas: &[f64]| -> Vec<f64> {
            let decade = |k: i32| mantissas.iter().map(move |m| m.log10() + f64::from(k));
            decades.clone().step_by(stride).flat_map(decade).filter(|tick| range.contains(tick)).collect()
        };
        let powers = among(&[1.0]);
        let narrow = range.end - range.start < 2.5 || powers.len() < 3;
        let ticks = if narrow { among(&[1.0, 2.0, 5.0]) } else { powers };
        if ticks.len() > 1 {
            return Axis { name, ticks, step: 0.0, range, log: true };
        }
        // For a small part of a decade, ticks have equal distances in value.
        let even = Axis::exact(name, 10f64.powf(range.start)..10f64.powf(range.end), 5, 0.0);
        let ticks = even.ticks.iter().copied().filter(|&tick| tick > 0.0).map(f64::log10).collect();
        Axis { ticks, range, log: true, ..even }
    }

    /// The axis with its ticks at these `values`, if they are few, apart from each other, and round enough for labels.
    /// Otherwise the axis as it is.
    pub fn ticked_at(self, values: impl Iterator<Item = f64>) -> Self {
        let mut ticks: Vec<f64> = Vec::new();
        for value in values {
            let tick = self.coordinate(value);
            if drawable(tick) && !ticks.contains(&tick) {
                ticks.push(tick);
            }
            if ticks.len() > MOST_VALUES {
                return self;
            }
        }
        ticks.sort_by(f64::total_cmp);
        let apart = LEAST_GAP * (self.range.end - self.range.start);
        let exact = |tick: &f64| {
            let value = if self.log { 10f64.powf(*tick) } else { *tick };
            let label = self.label(*tick).replace('−', "-").replace(',', "").parse::<f64>();
            label.is_ok_and(|label| (label - value).abs() <= 1e-9 * value.abs())
        };
        match ticks.len() > 1 && ticks.windows(2).all(|pair| pair[1] - pair[0] >= apart) && ticks.iter().all(exact) {
            true => Axis { ticks, ..self },
            false => self,
        }
    }

    /// Length of the range, in coordinates.
    pub fn length(&self) -> f64 {
        self.range.end - self.range.start
    }

    /// The coordinate of `value` on this axis.
    pub fn coordinate(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    fn label(&self, tick: f64) -> String {
        let (value, step, size) = match self.log {
            true if self.step > 0.0 => (10f64.powf(tick), self.step, 10f64.powf(self.range.end)),
            true => (10f64.powf(tick), 10f64.powf(tick.floor()), 10f64.powf(self.range.end)),
            false => (tick, self.step, self.range.start.abs().max(self.range.end.abs())),
        };
        let decimals = (-(step * 1.000_001).log10().floor()).max(0.0) as usize;
        let plain = format!("{value:.decimals$}");
        // As many digits as neighbouring ticks need to differ.
        let digits = (value.abs() * 1.000_001).log10().floor() - (step * 1.000_001).log10().floor();
        let label = match value == 0.0 || (size < 1e5 && decimals <= 4) {
            true => grouped(&plain),
            false => {
                let scientific = format!("{value:.*e}", digits.clamp(0.0, 6.0) as usize);
                if plain.len() < scientific.len() { grouped(&plain) } else { scientific }
            }
        };
        label.replace('-', "−")
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, tick: &f64) -> String {
        self.label(*tick)
    }
}

/// Minimum and maximum of those `values` that can be drawn.
pub fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|&v| drawable(v)).fold(None, |extent, v| match extent {
        None => Some((v, v)),
        Some((lo, hi)) => Some((v.min(lo), v.max(hi))),
    })
}

/// `lo..hi` with a margin on both sides; never empty.
fn widen(lo: f64, hi: f64, share: f64) -> Range<f64> {
    let size = lo.abs().max(hi.abs());
    let margin = match hi - lo > (1e-4 * size).max(1e-100) {
        true => (hi - lo) * share,
        false if size > 1e-100 => 0.1 * size,
        false => 1.0,
    };
    lo - margin..hi + margin
}

/// Ticks at multiples of a step that is 1, 2 or 5 times a power of ten, about `most` at most; and the step.
fn round_ticks(range: &Range<f64>, most: usize, least_step: f64) -> (Vec<f64>, f64) {
    let raw = ((range.end - range.start) / most as f64).max(least_step);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|m| m * power).into_iter().find(|s| *s >= raw * 0.999_999).unwrap_or(10.0 * power);
    // The tolerance keeps ticks at the edge despite rounding.
    let first = (range.start / step - 1e-6).ceil() as i64;
    let last = (range.end / step + 1e-6).floor() as i64;
    ((first..=last).map(|k| k as f64 * step).collect(), step)
}

/// A line of a legend: a sample of the curve and its name.
pub struct LegendEntry {
    /// The curve's name, truncated if there is no room.
    pub name: String,
    /// Text after the name, never truncated.
    pub role: &'static str,
    /// Its colour.
    pub colour: RGBColor,
    /// Its width in figure pixels.
    pub stroke: f64,
    /// Whether it has a marker.
    pub marker: bool,
}

/// Draws a panel's head, frame and axes into `area`, and returns its plot area.
///
/// `note` is written in small type at the right of the head if there is no `legend`.
pub fn panel<'a>(
    area: &Area<'a>,
    (title, note, legend): (&str, &str, &[LegendEntry]),
    (x, y): (&Axis, &Axis),
    x_written: bool,
) -> Drawn<Plot<'a>> {
    let (head, body) = area.split_vertically(px(HEAD));
    draw_head(&head, title, note, legend)?;

    let ticks = text(TICK_TEXT, MUTED, HPos::Center, VPos::Center);
    let names = text(TICK_TEXT + 1.0, INK, HPos::Center, VPos::Center);
    let mut builder = ChartBuilder::on(&body);
    builder.set_label_area_size(LabelAreaPosition::Left, px(LEFT));
    if x_written {
        builder.set_label_area_size(LabelAreaPosition::Bottom, px(BOTTOM));
    }
    let mut chart = builder.build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(HAIRLINE))
        .light_line_style(TRANSPARENT)
        .axis_style(FRAME.stroke_width(HAIRLINE))
        .set_all_tick_mark_size(px(7.0))
        .label_style(ticks)
        .y_label_offset(px(RAISED * TICK_TEXT))
        .draw()?;
    let plot = chart.plotting_area().clone();
    let (w, h) = plot.dim_in_pixel();
    if x_written {
        write(&body, &x.name, &names, (px(LEFT) + w as i32 / 2, h as i32 + px(X_NAME)))?;
    }
    draw_y_name(&body, y, h as i32 / 2)?;
    let corners = [(0, 0), (w as i32 - 1, h as i32 - 1)];
    plot.strip_coord_spec().draw(&Rectangle::new(corners, FRAME.stroke_width(HAIRLINE)))?;
    Ok(plot)
}

/// Writes the name of a vertical axis beside its tick labels, with the middle at `middle`.
fn draw_y_name(body: &Area, y: &Axis, middle: i32) -> Drawn {
    let labels = text(TICK_TEXT, MUTED, HPos::Right, VPos::Center);
    let mut widest = 0;
    for &tick in &y.ticks {
        widest = widest.max(width(body, &y.label(tick), &labels)?);
    }
    // Ticks, a gap, the labels, a gap and the height of the text.
    let left = px(LEFT) - px(17.0) - widest - px(14.0) - px(TICK_TEXT + 1.0);
    let style = text(TICK_TEXT + 1.0, INK, HPos::Center, VPos::Top).transform(FontTransform::Rotate270);
    Ok(body.draw_text(&y.name, &style, (left.max(0), middle))?)
}

fn draw_head(head: &Area, title: &str, note: &str, legend: &[LegendEntry]) -> Drawn {
    let (right, height) = head.dim_in_pixel();
    let (right, middle) = (right as i32, height as i32 - px(HEAD_LINE));
    let style = text(29.0, INK, HPos::Left, VPos::Center);
    // Without note and legend, the title has the whole line.
    let share = if note.is_empty() && legend.is_empty() { 1 } else { 2 };
    let title = fit(head, title, &style, (right - px(LEFT)) / share)?;
    write(head, &title, &style, (px(LEFT), middle))?;

    let note_style = text(LEGEND_TEXT, MUTED, HPos::Right, VPos::Center);
    write(head, note, &note_style, (right, middle))?;

    let gap = px(10.0);
    let (sample, between) = if legend.len() > 3 { (px(30.0), px(18.0)) } else { (px(50.0), px(28.0)) };
    let name_style = text(LEGEND_TEXT, INK, HPos::Left, VPos::Center);
    let mut widest = 0;
    for entry in legend {
        widest = widest.max(width(head, &entry.name, &name_style)?);
    }
    let room = right - px(LEFT) - width(head, &title, &style)?;
    let most = (room / (between + sample + gap + widest.min(px(60.0)))).max(2) as usize;
    let shown = if legend.len() > most { &legend[..most - 1] } else { legend };
    let mut end = right;
    if shown.len() < legend.len() {
        let more = format!("+ {}", legend.len() - shown.len());
        write(head, &more, &note_style, (end, middle))?;
        end -= width(head, &more, &note_style)? + between;
    }
    for (k, entry) in shown.iter().enumerate().rev() {
        // The remaining entries share the rest of the line.
        let share = (end - (right - room)) / (k as i32 + 1) - between - sample - gap;
        let name = fit(head, &entry.name, &name_style, share - width(head, entry.role, &name_style)?)? + entry.role;
        let begin = end - width(head, &name, &name_style)?;
        write(head, &name, &name_style, (begin, middle))?;
        let (from, to) = (begin - gap - sample, begin - gap);
        let stroke = entry.colour.stroke_width(line_width(entry.stroke));
        head.draw(&PathElement::new([(from, middle), (to, middle)], stroke))?;
        if entry.marker {
            draw_marker(head, ((from + to) / 2, middle), entry.colour)?;
        }
        end = from - between;
    }
    Ok(())
}

/// Writes `remark` in the middle of an empty panel.
pub fn draw_remark(plot: &Plot, remark: &str) -> Drawn {
    let (w, h) = plot.dim_in_pixel();
    let style = text(LEGEND_TEXT, MUTED, HPos::Center, VPos::Center);
    write(&plot.strip_coord_spec(), remark, &style, (w as i32 / 2, h as i32 / 2))
}

/// Draws a dot with a white rim, at a pixel of the canvas or at a point of a plot.
pub fn draw_marker<T: CoordTranslate>(area: &DrawingArea<Canvas, T>, at: T::From, colour: RGBColor) -> Drawn
where
    T::From: Clone,
{
    area.draw(&Circle::new(at.clone(), px(10.0), WHITE.filled()))?;
    area.draw(&Circle::new(at, px(7.5), colour.filled()))?;
    Ok(())
}

/// Width on the canvas of a line `stroke` figure pixels wide: an even number, since there is a disc at each joint.
pub fn line_width(stroke: f64) -> u32 {
    2 * px(stroke / 2.0) as u32
}

/// Draws a line through `points`, broken at points that cannot be drawn. A point between two breaks becomes a dot, as does
/// every point of a short line if `dots`.
pub fn draw_line(plot: &Plot, points: &[(f64, f64)], colour: RGBColor, stroke: f64, dots: bool) -> Drawn {
    let width = line_width(stroke);
    let radius = width as i32 / 2;
    let pixels = plot.strip_coord_spec();
    let (x0, y0) = pixels.get_base_pixel();
    let at = |k: usize| {
        let point = points.get(k).filter(|point| drawable(point.0) && drawable(point.1))?;
        let (x, y) = plot.map_coordinate(point);
        Some((x - x0, y - y0))
    };
    let dots = dots && points.len() <= 12;
    for k in 0..points.len() {
        let Some(here) = at(k) else { continue };
        // Drawn segment by segment with a disc at each joint, because plotters' joints have spikes at sharp turns.
        let next = at(k + 1);
        if let Some(next) = next {
            pixels.draw(&PathElement::new([here, next], colour.stroke_width(width)))?;
        }
        let alone = next.is_none() && (k == 0 || at(k - 1).is_none());
        let radius = if dots || alone { (2 * radius).max(px(6.0)) } else { radius };
        pixels.draw(&Circle::new(here, radius, colour.filled()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|&tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_told_apart() {
        assert_eq!(labels(&Axis::exact("", -0.5..99.5, 5, 1.0)), ["0", "20", "40", "60", "80"]);
        assert_eq!(labels(&Axis::exact("", -0.6..0.6, 5, 0.0)), ["−0.5", "0.0", "0.5"]);
        assert_eq!(labels(&Axis::exact("", 1.2339..1.2346, 5, 0.0)), ["1.2340", "1.2342", "1.2344", "1.2346"]);
        assert_eq!(labels(&Axis::exact("", -0.5..0.5, 9, 1.0)), ["0"], "half a neuron has no number");
        assert_eq!(labels(&Axis::logarithmic("", 0.1, 3.0)), ["0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(labels(&Axis::logarithmic("", 1e-3, 10.0)), ["0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&Axis::logarithmic("", 0.15, 60.0)), ["0.2", "0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!(labels(&Axis::logarithmic("", 1.22, 1.88)), ["1.2", "1.4", "1.6", "1.8"]);
        assert_eq!(labels(&Axis::logarithmic("", 1e6, 3e7)), ["1e6", "2e6", "5e6", "1e7", "2e7"]);
        assert_eq!(labels(&Axis::logarithmic("", 1.22e6, 1.88e6)), ["1.2e6", "1.4e6", "1.6e6", "1.8e6"]);
        assert_eq!(
            labels(&Axis::around("", [1e6, 1.5e6].into_iter(), 6)),
            ["1.0e6", "1.1e6", "1.2e6", "1.3e6", "1.4e6", "1.5e6"]
        );
        assert_eq!(
            labels(&Axis::around("", [1_000_000.0, 1_000_200.0].into_iter(), 3)),
            ["1,000,000", "1,000,100", "1,000,200"]
        );
    }

    #[test]
    fn a_few_values_are_their_own_ticks() {
        let log = |values: &[f64]| {
            let (lo, hi) = extent(values.iter().copied()).unwrap();
            labels(&Axis::logarithmic("", lo, hi).ticked_at(values.iter().copied()))
        };
        assert_eq!(log(&[50.0, 100.0, 200.0, 400.0, 50.0]), ["50", "100", "200", "400"]);
        assert_eq!(log(&[200.0, 400.0, 600.0, 800.0, 1000.0]), ["200", "400", "600", "800", "1,000"]);
        assert_eq!(log(&[50.0, 123.456, 400.0]), ["50", "100", "200"], "no label says 123.456");
        assert_eq!(log(&[1.0, 990.0, 1000.0]), ["1", "10", "100", "1,000"], "too close");
        let linear = Axis::around("", [1.0, 5.0].into_iter(), 6).ticked_at([5.0, 1.0, 2.0, 3.0].into_iter());
        assert_eq!(labels(&linear), ["1", "2", "3", "5"]);
    }

    #[test]
    fn every_axis_has_an_extent_and_a_few_ticks() {
        let cases: [&[f64]; 9] = [
            &[5e-324],
            &[],
            &[0.0],
            &[-3.0],
            &[f64::NAN, f64::INFINITY],
            &[1e-30, 2e-30],
            &[-3.4e38, 3.4e38],
            &[1e9, 1e9 + 1e-6],
            &[-1e100, 1e100, 1e300],
        ];
        for values in cases {
            let axis = Axis::around("", values.iter().copied(), 5);
            assert!(axis.range.start < axis.range.end, "{values:?}");
            assert!((1..=8).contains(&axis.ticks.len()), "{values:?}: {:?}", axis.ticks);
            let mut different = labels(&axis);
            different.dedup();
            assert_eq!(different, labels(&axis), "ticks must differ");
            for &value in values.iter().filter(|&&v| drawable(v)) {
                assert!((0..=100).contains(&axis.map(&value, (0, 100))), "{value} in {:?}", axis.range);
            }
        }
    }
}
