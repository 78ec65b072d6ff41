//! The curves of a training run: loss, accuracy, activity and spike density over epochs.

use super::chart::Colour;
use super::panel::{Axis, LEFT, LegendEntry, draw_line, draw_remark, drawable, extent, panel};
use super::{Area, BLUE, Drawn, Picture, VERMILLION, curve_stroke, draw, draw_title, px, save};
use crate::error::Result;
use plotters::prelude::*;
use std::path::Path;

const WIDTH: u32 = 1700;
const HEIGHT: u32 = 1200;
const TITLE: f64 = 84.0;
const MARGIN: f64 = 20.0;
/// The axis of the loss is logarithmic if the ratio of the largest to the smallest value exceeds this.
const LOG_FROM: f64 = 20.0;

/// Metrics at one point of a training run. Values that are not finite leave a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct CurvePoint {
    /// Number of epochs done.
    pub epoch: f64,
    /// Training loss.
    pub loss: f64,
    /// Fraction of the training samples that were classified correctly.
    pub train_accuracy: f64,
    /// Fraction of the test samples that were classified correctly, if they were tested.
    pub test_accuracy: Option<f64>,
    /// Activity of each hidden layer.
    pub activity: Vec<f64>,
    /// Spike density of each hidden layer.
    pub spike_density: Vec<f64>,
}

/// A curve: its name in the legend, colour and points.
struct Curve {
    name: String,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws the curves of `points`, in their order, into a PNG or SVG file of 1700 × 1200 pixels; lower
/// without spiking layers.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if `path` cannot be written; [`Error::Config`](crate::Error::Config) if it ends in neither
/// .png nor .svg.
pub fn save_curves(path: impl AsRef<Path>, title: &str, points: &[CurvePoint]) -> Result<()> {
    save(path.as_ref(), &render(path.as_ref(), title, points)?)
}

fn render(path: &Path, title: &str, points: &[CurvePoint]) -> Result<Picture> {
    let curve = |name: String, colour, value: &dyn Fn(&CurvePoint) -> Option<f64>| Curve {
        name,
        colour,
        points: points.iter().filter_map(|p| Some((p.epoch, value(p)?))).collect(),
    };
    let percent = |fraction: f64| 100.0 * fraction;
    let layers = |field: fn(&CurvePoint) -> &Vec<f64>| -> Vec<Curve> {
        let count = points.iter().map(|p| field(p).len()).max().unwrap_or(0);
        let name = |l: usize| if count > 3 { format!("L{}", l + 1) } else { format!("layer {}", l + 1) };
        let layer = |l| curve(name(l), Colour::of(l, count).rgb(), &|p| field(p).get(l).copied().map(percent));
        (0..count).map(layer).collect()
    };
    let loss = [curve("train".into(), BLUE, &|p| Some(p.loss))];
    let accuracy = [
        curve("train".into(), BLUE, &|p| Some(percent(p.train_accuracy))),
        curve("test".into(), VERMILLION, &|p| p.test_accuracy.map(percent)),
    ];
    let (first, last) = extent(points.iter().map(|p| p.epoch)).unwrap_or((0.0, 1.0));
    let margin = if last > first { 0.03 * (last - first) } else { 0.5 };
    let epochs = Axis::exact("epoch", first - margin..last + margin, 8, 1.0);

    // Without spiking layers, the panels about them would be empty.
    let layered = points.is_empty() || points.iter().any(|p| !p.activity.is_empty() || !p.spike_density.is_empty());
    let rows = if layered { 2 } else { 1 };
    let height = TITLE + (f64::from(HEIGHT) - TITLE) * rows as f64 / 2.0;
    draw(path, WIDTH, height.round() as u32, |area| {
        draw_title(area, title, MARGIN + LEFT, TITLE)?;
        let (_, body) = area.split_vertically(px(TITLE));
        let cells = body.split_evenly((rows, 2));
        draw_panel(&cells[0], "Loss", &loss, &epochs, &loss_axis(&loss[0]))?;
        let quantities = [
            ("Accuracy", &accuracy[..], "% of samples"),
            ("Active entries", &layers(|p| &p.activity), "% of entries"),
            ("Spike density", &layers(|p| &p.spike_density), "% of entries"),
        ];
        for (cell, (title, curves, unit)) in cells[1..].iter().zip(quantities) {
            let values = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
            draw_panel(cell, title, curves, &epochs, &Axis::around(unit, values, 6))?;
        }
        Ok(())
    })
}

fn loss_axis(loss: &Curve) -> Axis {
    let values = || loss.points.iter().map(|point| point.1);
    match extent(values()) {
        Some((lo, hi)) if lo > 0.0 && hi > LOG_FROM * lo => Axis::logarithmic("loss (log)", lo, hi),
        _ => Axis::around("loss", values(), 6),
    }
}

fn draw_panel(cell: &Area, title: &str, curves: &[Curve], epochs: &Axis, y: &Axis) -> Drawn {
    let known: Vec<&Curve> = curves.iter().filter(|c| c.points.iter().any(|p| drawable(p.1))).collect();
    let count = known.len();
    let entry = |(k, curve): (usize, &&Curve)| LegendEntry {
        name: curve.name.clone(),
        role: "",
        colour: curve.colour,
        stroke: curve_stroke(k, count),
        marker: false,
    };
    let legend: Vec<LegendEntry> =
        if curves.len() > 1 { known.iter().enumerate().map(entry).collect() } else { Vec::new() };
    let cell = cell.margin(0, px(14.0), px(MARGIN), px(36.0));
    let plot = panel(&cell, (title, "", &legend), (epochs, y), true)?;
    if known.is_empty() {
        draw_remark(&plot, "no values")?;
    }
    // Later curves are drawn first, so that the first is on top.
    for (k, curve) in known.iter().enumerate().rev() {
        let points: Vec<_> = curve.points.iter().map(|&(x, v)| (x, y.coordinate(v))).collect();
        draw_line(&plot, &points, curve.colour, curve_stroke(k, count), true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn point(epoch: f64, loss: f64) -> CurvePoint {
        CurvePoint {
            epoch,
            loss,
            train_accuracy: 0.8,
            test_accuracy: Some(0.75),
            activity: vec![0.011, 0.009],
            spike_density: vec![0.015, 0.012],
        }
    }

    #[test]
    fn odd_cases_are_drawn_in_the_size_promised() {
        let bare = CurvePoint { test_accuracy: None, activity: vec![], spike_density: vec![], ..point(2.0, 0.4) };
        let broken = CurvePoint { train_accuracy: f64::NAN, activity: vec![f64::INFINITY; 3], ..point(3.0, f64::NAN) };
        let deep = CurvePoint { activity: vec![0.01; 40], spike_density: vec![f64::MAX; 40], ..point(1.0, 1e-300) };
        let cases = [
            ("none", vec![]),
            ("one", vec![point(1.0, 0.7)]),
            ("zero loss", vec![point(1.0, 0.0), point(2.0, 0.0)]),
            ("same epoch twice", vec![point(1.0, 0.7), point(1.0, 0.6)]),
            ("no epoch", vec![point(f64::NAN, 0.7)]),
            ("far epochs", vec![point(-1e300, 0.7), point(1e300, 0.7)]),
            ("layers come and go", vec![point(1.0, 0.5), bare.clone(), broken.clone(), point(4.0, 0.2)]),
            ("broken", vec![broken]),
            ("deep", vec![bare, deep]),
            ("many", (0..3000).map(|k| point(f64::from(k), 1.0 / f64::from(k + 1))).collect()),
        ];
        let dir = tempfile::tempdir().unwrap();
        for (name, points) in cases {
            let path = dir.path().join("curves.png");
            save_curves(&path, name, &points).unwrap_or_else(|e| panic!("{name}: {e}"));
            let read = image::open(&path).unwrap();
            assert_eq!((read.width(), read.height()), (WIDTH, HEIGHT), "{name}");
        }
    }

    #[test]
    fn without_spiking_layers_there_are_no_panels_about_them() {
        let bare = CurvePoint { activity: vec![], spike_density: vec![], ..point(1.0, 0.4) };
        let svg = |points: &[CurvePoint]| render(Path::new("curves.svg"), "", points).unwrap().svg();
        let (whole, bare) = (svg(&[point(1.0, 0.4)]), svg(&[bare]));
        assert!(whole.contains("Spike density") && !bare.contains("Spike density") && !bare.contains("no values"));
        assert!(bare.contains("height=\"642\"") && bare.contains("Accuracy"), "{bare}");
    }

    #[test]
    fn the_loss_is_logarithmic_where_it_ranges_widely() {
        let axis = |losses: &[f64]| {
            let points = losses.iter().map(|&loss| (0.0, loss)).collect();
            loss_axis(&Curve { name: String::new(), colour: BLUE, points }).coordinate(10.0)
        };
        assert_eq!(axis(&[2.0, 0.09]), 1.0);
        assert_eq!(axis(&[2.0, 0.11]), 10.0);
        assert_eq!(axis(&[2.0, 0.0]), 10.0, "zero has no logarithm");
        assert_eq!(axis(&[2.0, f64::NAN, 0.09]), 1.0);
    }

    #[test]
    fn large_losses_have_different_labels() {
        let points: Vec<CurvePoint> = (0..5).map(|k| point(f64::from(k), 1e6 * f64::from(k + 1))).collect();
        let svg = render(Path::new("curves.svg"), "", &points).unwrap().svg();
        for label in ["1e6", "2e6", "3e6", "4e6", "5e6"] {
            assert_eq!(svg.lines().filter(|line| *line == label).count(), 1, "{label}");
        }
    }

    #[test]
    fn every_quantity_shows() {
        let points = [point(1.0, 0.7), point(2.0, 0.5)];
        let picture = |points: &[CurvePoint]| render(Path::new("curves.png"), "", points).unwrap();
        let base = picture(&points);
        let changes: [fn(&mut CurvePoint); 5] = [
            |p| p.loss = 0.6,
            |p| p.train_accuracy = 0.9,
            |p| p.test_accuracy = Some(0.6),
            |p| p.activity[1] = 0.02,
            |p| p.spike_density[0] = 0.001,
        ];
        for (k, change) in changes.into_iter().enumerate() {
            let mut changed = points.clone();
            change(&mut changed[1]);
            assert!(picture(&changed) != base, "quantity {k}");
        }
    }

    #[test]
    fn an_unwritable_path_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent/curves.png");
        let error = save_curves(&path, "", &[]).unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
    }
}
