//! The spike raster of a sample: each layer's spikes over time, and the readout's potentials below.

use super::panel::{self, Axis, BOTTOM, HEAD, LegendEntry, Plot, draw_line, draw_marker, draw_remark, drawable, panel};
use super::{Area, Drawn, FAINT, GREEN, INK, VERMILLION, draw, draw_title, layer_colour, px, save};
use crate::error::Result;
use image::RgbImage;
use plotters::prelude::*;
use std::path::Path;

const WIDTH: u32 = 1600;
const HEIGHT: u32 = 1500;
const TITLE: f64 = 84.0;
const LEFT: f64 = 20.0;
const RIGHT: f64 = 44.0;
const FOOT: f64 = 14.0;
/// Minimum height of a panel's frame; figures with many layers are higher.
const LEAST_PANEL: f64 = 130.0;

/// Contents of a raster plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// The figure's title.
    pub title: String,
    /// Time steps, T.
    pub time_steps: usize,
    /// Length of a time step, Δt, in ms; replaced by 1 if it is not a positive number.
    pub dt_ms: f64,
    /// The input and the spiking layers.
    pub panels: Vec<RasterPanel>,
    /// Membrane potentials of the readout, `[class][t]`. Values that are not finite leave a gap.
    pub readout: Vec<Vec<f32>>,
    /// Names of the classes. Classes without a name are shown by number.
    pub class_names: Option<Vec<String>>,
    /// The sample's class.
    pub label: usize,
    /// The predicted class.
    pub predicted: usize,
}

/// The spikes of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RasterPanel {
    /// The layer's name.
    pub name: String,
    /// Neurons in the layer.
    pub neurons: usize,
    /// Spikes as (t, neuron), in any order; those outside the layer or the T steps are not drawn.
    pub spikes: Vec<(usize, usize)>,
}

/// Draws `raster` into a PNG file of 1600 × 1500 pixels, or higher for networks with many layers.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if `path` cannot be written.
pub fn raster_png(path: impl AsRef<Path>, raster: &Raster) -> Result<()> {
    save(path.as_ref(), &render(path.as_ref(), raster)?)
}

fn render(path: &Path, raster: &Raster) -> Result<RgbImage> {
    let panels = raster.panels.len() as f64 + 1.0;
    let around = TITLE + BOTTOM + FOOT + panels * HEAD;
    let height = f64::from(HEIGHT).max(around + 1.3 * panels * LEAST_PANEL);
    draw(path, WIDTH, height as u32, |area| {
        draw_title(area, &raster.title, LEFT + panel::LEFT, TITLE)?;
        let dt = if drawable(raster.dt_ms) && raster.dt_ms > 1e-100 { raster.dt_ms } else { 1.0 };
        let last = raster.time_steps.max(1) as f64 - 1.0;
        let margin = (0.012 * last).max(0.5);
        let time = Axis::exact("time (ms)", -margin * dt..(last + margin) * dt, 12, dt);
        let mut top = TITLE;
        for (l, (layer, frame)) in raster.panels.iter().zip(heights(raster, height - around)).enumerate() {
            let colour = if l == 0 { INK } else { layer_colour(l - 1) };
            draw_layer(&band(area, top, HEAD + frame), layer, raster.time_steps, dt, &time, colour)?;
            top += HEAD + frame;
        }
        draw_readout(&band(area, top, height - FOOT - top), raster, dt, &time)
    })
}

/// Heights of the layers' frames, proportional to the square root of the number of neurons, so that small layers are
/// readable.
fn heights(raster: &Raster, room: f64) -> Vec<f64> {
    let roots: Vec<f64> = raster.panels.iter().map(|layer| (layer.neurons.max(1) as f64).sqrt()).collect();
    let most = roots.iter().copied().fold(1.0, f64::max);
    let shares: Vec<f64> = roots.iter().map(|root| (root / most).max(0.45)).collect();
    const READOUT: f64 = 0.8;
    let sum: f64 = shares.iter().sum::<f64>() + READOUT;
    shares.into_iter().map(|share| (room * share / sum).floor()).collect()
}

/// The part of the figure from `top` down, without the margins at the sides.
fn band<'a>(area: &Area<'a>, top: f64, height: f64) -> Area<'a> {
    let width = area.dim_in_pixel().0 as i32;
    area.clone().shrink((px(LEFT), px(top)), (width - px(LEFT + RIGHT), px(height)))
}

fn draw_layer(area: &Area, layer: &RasterPanel, time_steps: usize, dt: f64, time: &Axis, colour: RGBColor) -> Drawn {
    let neurons = layer.neurons.max(1);
    let note = format!("{} · {}", count(layer.neurons, "neuron"), count(layer.spikes.len(), "spike"));
    let margin = (0.025 * neurons as f64).max(0.5);
    let y = Axis::exact("neuron", -margin..neurons as f64 - 1.0 + margin, 5, 1.0);
    let plot = panel(area, (&layer.name, &note, &[]), (time, &y), false)?;
    let radius = dot_radius(&plot, layer, time_steps);
    let inside = layer.spikes.iter().filter(|&&(t, i)| t < time_steps && i < neurons);
    if layer.spikes.is_empty() {
        draw_remark(&plot, "no spikes")?;
    }
    for &(t, i) in inside {
        plot.draw(&Circle::new((t as f64 * dt, i as f64), radius, colour.filled()))?;
    }
    Ok(())
}

/// Radius of a spike's dot in canvas pixels, which decreases with the area per entry and per spike.
fn dot_radius(plot: &Plot, layer: &RasterPanel, time_steps: usize) -> i32 {
    let (w, h) = plot.dim_in_pixel();
    let area = f64::from(w) * f64::from(h);
    let cell = (area / (time_steps.max(1) * layer.neurons.max(1)) as f64).sqrt();
    let room = (area / layer.spikes.len().max(1) as f64).sqrt();
    let most = (1.15 * cell).clamp(f64::from(px(1.5)), f64::from(px(4.5)));
    (0.16 * room).min(most).max(1.0).round() as i32
}

fn draw_readout(area: &Area, raster: &Raster, dt: f64, time: &Axis) -> Drawn {
    let (label, predicted) = (raster.label, raster.predicted);
    let right = label == predicted;
    let name = |class: usize| match raster.class_names.as_ref().and_then(|names| names.get(class)) {
        Some(name) => name.clone(),
        None => format!("class {class}"),
    };
    let entry = |name, role, colour, stroke, marker| LegendEntry { name, role, colour, stroke, marker };
    let mut legend = Vec::new();
    if right {
        legend.push(entry(name(label), " (label, predicted)", GREEN, 5.0, true));
    } else {
        legend.push(entry(name(label), " (label)", GREEN, 5.0, false));
        legend.push(entry(name(predicted), " (predicted)", VERMILLION, 4.0, true));
    }
    let others = (0..raster.readout.len()).filter(|&class| class != label && class != predicted).count();
    match others {
        0 => {}
        1 => legend.push(entry("1 other class".into(), "", FAINT, 2.0, false)),
        n => legend.push(entry(format!("{n} other classes"), "", FAINT, 2.0, false)),
    }

    let potentials = raster.readout.iter().flatten().map(|&v| f64::from(v));
    let y = Axis::around("potential", potentials, 5);
    let plot = panel(area, ("Readout", "", &legend), (time, &y), true)?;
    let curve = |class: usize| -> Vec<(f64, f64)> {
        let steps = raster.readout.get(class).map_or(&[][..], |v| &v[..v.len().min(raster.time_steps)]);
        steps.iter().enumerate().map(|(t, &v)| (t as f64 * dt, f64::from(v))).collect()
    };
    for class in (0..raster.readout.len()).filter(|&class| class != label && class != predicted) {
        draw_line(&plot, &curve(class), FAINT, 2.0, false)?;
    }
    if !right {
        draw_line(&plot, &curve(predicted), VERMILLION, 4.0, false)?;
    }
    draw_line(&plot, &curve(label), GREEN, 5.0, false)?;
    // The maximum of the predicted class is marked; it is the logit if logits are maxima.
    let peak =
        curve(predicted).into_iter().filter(|point| drawable(point.1)).reduce(|a, b| if b.1 > a.1 { b } else { a });
    if let Some(peak) = peak {
        draw_marker(&plot, peak, if right { GREEN } else { VERMILLION })?;
    }
    Ok(())
}

/// "1 spike", "12,345 spikes".
fn count(n: usize, of: &str) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{out} {of}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn layer(neurons: usize, spikes: Vec<(usize, usize)>) -> RasterPanel {
        RasterPanel { name: format!("{neurons} neurons"), neurons, spikes }
    }

    fn example() -> Raster {
        Raster {
            title: "An example".into(),
            time_steps: 20,
            dt_ms: 1.0,
            panels: vec![layer(50, vec![(3, 7), (4, 7), (19, 49)]), layer(10, vec![(5, 0)])],
            readout: (0..3).map(|class| (0..20).map(|t| (class * t) as f32 * 0.1).collect()).collect(),
            class_names: Some(vec!["shoe".into(), "shirt".into(), "bag".into()]),
            label: 2,
            predicted: 2,
        }
    }

    fn picture(raster: &Raster) -> RgbImage {
        render(Path::new("raster.png"), raster).unwrap()
    }

    #[test]
    fn odd_cases_are_drawn_in_the_size_promised() {
        let of = |change: fn(&mut Raster)| {
            let mut raster = example();
            change(&mut raster);
            raster
        };
        let cases = [
            ("plain", of(|_| {})),
            ("T = 1", of(|r| r.time_steps = 1)),
            ("T = 0", of(|r| r.time_steps = 0)),
            ("no spikes", of(|r| r.panels.iter_mut().for_each(|layer| layer.spikes.clear()))),
            ("no layers", of(|r| r.panels.clear())),
            ("no neurons", of(|r| r.panels[0].neurons = 0)),
            ("one neuron", of(|r| r.panels[0] = layer(1, vec![(0, 0)]))),
            ("no readout", of(|r| r.readout.clear())),
            ("NaN", of(|r| r.readout[2].fill(f32::NAN))),
            ("infinite", of(|r| r.readout[1][4..9].copy_from_slice(&[f32::INFINITY; 5]))),
            ("huge", of(|r| r.readout[0][0] = f32::MIN)),
            ("bad dt", of(|r| r.dt_ms = f64::NAN)),
            ("tiny dt", of(|r| r.dt_ms = 5e-324)),
            ("negative dt", of(|r| r.dt_ms = -1.0)),
            ("no such class", of(|r| r.predicted = 77)),
            ("20 classes", of(|r| r.readout = vec![vec![0.5; 20]; 20])),
            ("long names", of(|r| r.class_names = Some(vec!["a very long name ".repeat(40); 3]))),
            ("long title", of(|r| r.title = "a very long title ".repeat(400))),
            ("many spikes", of(|r| r.panels[0] = layer(65_536, (0..100_000).map(|k| (k % 20, k % 65_521)).collect()))),
        ];
        let dir = tempfile::tempdir().unwrap();
        for (name, mut raster) in cases {
            for predicted in [raster.predicted, 0] {
                raster.predicted = predicted;
                let path = dir.path().join(format!("{name}.png"));
                raster_png(&path, &raster).unwrap_or_else(|e| panic!("{name}: {e}"));
                let read = image::open(&path).unwrap();
                assert_eq!((read.width(), read.height()), (WIDTH, HEIGHT), "{name}");
            }
        }
    }

    #[test]
    fn many_layers_make_the_figure_taller() {
        let mut raster = example();
        raster.panels = vec![layer(10, vec![(1, 1)]); 12];
        let (w, h) = picture(&raster).dimensions();
        assert!(w == WIDTH && h > HEIGHT && h < 5000, "{w} × {h}");
    }

    #[test]
    fn a_moved_spike_changes_the_picture_and_one_outside_does_not() {
        let base = picture(&example());
        let mut moved = example();
        moved.panels[1].spikes[0] = (6, 0);
        assert!(picture(&moved) != base);

        let mut order = example();
        order.panels[0].spikes.reverse();
        assert!(picture(&order) == base, "the order of the spikes must not show");

        // A spike replaced by one outside the layer looks like a removed spike.
        let mut outside = example();
        outside.panels[1].spikes[0] = (20, 3);
        let mut other = example();
        other.panels[1].spikes[0] = (0, 10);
        assert!(picture(&outside) != base && picture(&outside) == picture(&other));
    }

    #[test]
    fn a_spike_lies_where_its_time_and_neuron_say() {
        // The middle of the dots of a layer, in pixels.
        let place = |t, i| {
            let mut raster = example();
            raster.panels[1].spikes = vec![(t, i)];
            let colour = layer_colour(0);
            let figure = picture(&raster);
            let dots: Vec<_> =
                figure.enumerate_pixels().filter(|(_, _, p)| p.0 == [colour.0, colour.1, colour.2]).collect();
            assert!(!dots.is_empty());
            let n = dots.len() as f64;
            let sum = dots.iter().fold((0.0, 0.0), |s, (x, y, _)| (s.0 + f64::from(*x), s.1 + f64::from(*y)));
            (sum.0 / n, sum.1 / n)
        };
        let (origin, right, up) = (place(0, 0), place(10, 0), place(0, 5));
        assert!(right.0 > origin.0 + 300.0 && (right.1 - origin.1).abs() < 1.0, "time runs to the right");
        assert!(up.1 < origin.1 - 20.0 && (up.0 - origin.0).abs() < 1.0, "neurons count upwards");
        let half = place(5, 0);
        assert!((2.0 * half.0 - origin.0 - right.0).abs() < 3.0, "the time axis is linear");
    }

    #[test]
    fn label_and_prediction_have_their_colours() {
        let has = |figure: &RgbImage, c: RGBColor| figure.pixels().any(|p| p.0 == [c.0, c.1, c.2]);
        let mut raster = example();
        raster.panels.truncate(1);
        let right = picture(&raster);
        raster.predicted = 0;
        let wrong = picture(&raster);
        assert!(has(&right, GREEN) && !has(&right, VERMILLION));
        assert!(has(&wrong, GREEN) && has(&wrong, VERMILLION));
    }

    #[test]
    fn an_unwritable_path_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent/raster.png");
        let error = raster_png(&path, &example()).unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
        assert!(error.to_string().contains("raster.png"), "{error}");
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(count(0, "spike"), "0 spikes");
        assert_eq!(count(1, "spike"), "1 spike");
        assert_eq!(count(999, "neuron"), "999 neurons");
        assert_eq!(count(1_234_567, "spike"), "1,234,567 spikes");
    }
}
