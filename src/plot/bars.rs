//! Horizontal bar charts with a number for each bar.

use super::{
    Area, Drawn, FRAME, INK, MUTED, Picture, draw, draw_title, fit, layer_colour, px, save, text, width, write,
};
use crate::error::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

const WIDTH: u32 = 1600;
const TITLE: f64 = 84.0;
const MARGIN: f64 = 40.0;
const LEGEND: f64 = 54.0;
const BAR: f64 = 34.0;
const GAP: f64 = 22.0;
const FOOT: f64 = 30.0;
const TEXT: f64 = 25.0;
/// Maximum width of names, in figure pixels.
const NAMES: f64 = 460.0;
/// Maximum number of bars, so that the figure fits on a screen.
const MOST: usize = 120;

/// Contents of a bar chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// Title of the figure.
    pub title: String,
    /// The quantity that bars represent, with its unit.
    pub quantity: String,
    /// Names of the bars of a group; each has its own colour.
    pub series: Vec<String>,
    /// The groups from top to bottom: name, and one value per series; `None` is shown as n/a.
    pub groups: Vec<(String, Vec<Option<f64>>)>,
}

/// Draws bars into a PNG or SVG file, 1600 pixels wide and as high as required.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if `path` cannot be written; [`Error::Config`](crate::Error::Config) if it ends in neither
/// .png nor .svg.
pub fn save_bars(path: impl AsRef<Path>, bars: &Bars) -> Result<()> {
    save(path.as_ref(), &render(path.as_ref(), bars)?)
}

fn render(path: &Path, bars: &Bars) -> Result<Picture> {
    let each = bars.series.len().max(1);
    let shown = (MOST / each).max(1).min(bars.groups.len());
    let group_height = each as f64 * BAR + GAP;
    let height = TITLE + LEGEND + group_height * shown.max(1) as f64 + FOOT;
    draw(path, WIDTH, height.ceil() as u32, |area| {
        draw_title(area, &bars.title, MARGIN, TITLE)?;
        let name_style = text(TEXT, INK, HPos::Right, VPos::Center);
        let mut names = 0;
        for (name, _) in &bars.groups[..shown] {
            names = names.max(width(area, name, &name_style)?);
        }
        let left = px(MARGIN) + names.min(px(NAMES)) + px(18.0);
        let values = || bars.groups[..shown].iter().flat_map(|(_, values)| values.iter().flatten().copied());
        let most = values().filter(|v| v.is_finite()).fold(0.0, f64::max);
        let number = text(TEXT, INK, HPos::Left, VPos::Center);
        let mut room = 0;
        for value in values() {
            room = room.max(width(area, &label(value), &number)?);
        }
        let right = area.dim_in_pixel().0 as i32 - px(MARGIN) - room - px(14.0);
        legend(area, bars, left)?;
        for (g, (name, values)) in bars.groups[..shown].iter().enumerate() {
            let top = TITLE + LEGEND + group_height * g as f64;
            let name = fit(area, name, &name_style, px(NAMES))?;
            write(area, &name, &name_style, (left - px(18.0), px(top + 0.5 * each as f64 * BAR)))?;
            for (s, value) in values.iter().enumerate() {
                let middle = px(top + (s as f64 + 0.5) * BAR);
                let half = px(0.5 * BAR - 4.0);
                let known = value.filter(|v| v.is_finite() && *v >= 0.0);
                let share = known.filter(|_| most > 0.0).map_or(0.0, |v| v / most);
                // A small value has a bar, too, which shows beside the axis.
                let least = if share > 0.0 { px(3.0) } else { 0 };
                let end = left + ((share * f64::from(right - left)).round() as i32).max(least);
                if end > left {
                    let corners = [(left, middle - half), (end, middle + half)];
                    area.draw(&Rectangle::new(corners, layer_colour(s).filled()))?;
                }
                let said = known.map_or("n/a".into(), label);
                write(area, &said, &number, (end + px(12.0), middle))?;
            }
        }
        let bottom = TITLE + LEGEND + group_height * shown as f64 - GAP;
        let axis = [(left, px(TITLE + LEGEND - 8.0)), (left, px(bottom + 8.0))];
        area.draw(&PathElement::new(axis, FRAME.stroke_width(px(1.5) as u32)))?;
        Ok(())
    })
}

/// Draws the quantity, and the colours if there are several series.
fn legend(area: &Area, bars: &Bars, left: i32) -> Drawn {
    let middle = px(TITLE + 0.5 * LEGEND - 12.0);
    let quantity = text(TEXT, MUTED, HPos::Left, VPos::Center);
    write(area, &bars.quantity, &quantity, (left, middle))?;
    if bars.series.len() < 2 {
        return Ok(());
    }
    let style = text(TEXT, INK, HPos::Left, VPos::Center);
    let mut at = left + width(area, &bars.quantity, &quantity)? + px(50.0);
    for (s, name) in bars.series.iter().enumerate() {
        let half = px(9.0);
        area.draw(&Rectangle::new([(at, middle - half), (at + 2 * half, middle + half)], layer_colour(s).filled()))?;
        at += 2 * half + px(10.0);
        write(area, name, &style, (at, middle))?;
        at += width(area, name, &style)? + px(30.0);
    }
    Ok(())
}

/// A number with three digits.
fn label(value: f64) -> String {
    let decimals = match value.abs() {
        x if x >= 99.95 || x == 0.0 => 0,
        x if x >= 9.995 => 1,
        x if x >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    fn coloured(figure: &RgbImage, s: usize) -> usize {
        let RGBColor(r, g, b) = layer_colour(s);
        figure.pixels().filter(|p| p.0 == [r, g, b]).count()
    }

    #[test]
    fn bars_are_as_long_as_their_values_say() {
        let bars = |values: &[Option<f64>]| Bars {
            title: "Step".into(),
            quantity: "ms".into(),
            series: vec!["sparse".into(), "dense".into()],
            groups: vec![("H = 200".into(), values.to_vec())],
        };
        let figure = render(Path::new("x.png"), &bars(&[Some(10.0), Some(40.0)])).unwrap().pixels();
        // The legend's squares are the same in both colours; the bars differ by their values.
        let (short, long) = (coloured(&figure, 0) as f64, coloured(&figure, 1) as f64);
        assert!((3.0..4.2).contains(&(long / short)), "{short} {long}");
        let none = render(Path::new("x.png"), &bars(&[None, Some(40.0)])).unwrap().pixels();
        assert!((coloured(&none, 0) as f64) < 0.2 * short);
        let little = render(Path::new("x.png"), &bars(&[Some(1e-6), Some(40.0)])).unwrap().pixels();
        assert!(coloured(&little, 0) > coloured(&none, 0), "a small value is no missing one");
    }

    #[test]
    fn odd_cases_are_drawn() {
        for groups in [
            vec![],
            vec![("a".into(), vec![Some(f64::NAN), Some(-1.0), Some(f64::INFINITY)])],
            vec![("a name ".repeat(40), vec![Some(0.0)])],
            (0..500).map(|k| (format!("kernel {k}"), vec![Some(f64::from(k))])).collect(),
        ] {
            let bars = Bars { title: "t".repeat(500), quantity: "ms".into(), series: vec!["s".into()], groups };
            assert_eq!(render(Path::new("x.png"), &bars).unwrap().pixels().width(), 1600);
        }
    }
}
