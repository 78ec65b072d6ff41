//! The spike raster of a sample: each layer's spikes over time, and the readout's potentials below.

use super::input_image::{self, RasterImage};
use super::panel::{self, Axis, BOTTOM, HEAD, LegendEntry, Plot, draw_line, draw_marker, draw_remark, drawable, panel};
use super::{
    Area, Drawn, FAINT, Format, GREEN, INK, MUTED, Picture, VERMILLION, class_label, draw, draw_title, encoded,
    grouped, layer_colour, px, save, text, wrap, write,
};
use crate::engine::{Inspection, first_largest};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::{Logits, Network};
use image::RgbImage;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

const WIDTH: u32 = 1600;
const HEIGHT: u32 = 1500;
/// Width and height of a raster in a figure with several.
const CELL: (u32, u32) = (1300, 1150);
const TITLE: f64 = 84.0;
const LEFT: f64 = 20.0;
const RIGHT: f64 = 44.0;
const FOOT: f64 = 22.0;
pub(super) const TEXT: f64 = 24.0;
pub(super) const LINE: f64 = 36.0;
/// Minimum height of a panel's frame; figures with many layers are higher.
const LEAST_PANEL: f64 = 130.0;
/// How many of the largest logits the caption has.
const LARGEST: usize = 3;

/// Maximum number of samples in a figure.
pub const MOST_SAMPLES: usize = 12;

/// Contents of a raster plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// The figure's title.
    pub title: String,
    /// Time steps, T.
    pub time_steps: usize,
    /// Length of a time step, Δt, in ms; replaced by 1 if it is not a positive number.
    pub dt_ms: f64,
    /// The input and the spiking layers; if [`Decision::SpikeCount`], the last one is the readout.
    pub panels: Vec<RasterPanel>,
    /// The input as an image, drawn beside the input's spikes.
    pub image: Option<RasterImage>,
    /// Membrane potentials of the readout, `[class][t]`. Values that are not finite leave a gap. Not drawn if
    /// [`Decision::SpikeCount`].
    pub readout: Vec<Vec<f32>>,
    /// What the logits are.
    pub decision: Decision,
    /// A logit per class.
    pub logits: Vec<f32>,
    /// Names of the classes. Classes without a name are shown by number.
    pub class_names: Option<Vec<String>>,
    /// The sample's class.
    pub label: usize,
    /// The predicted class.
    pub predicted: usize,
}

/// What the logits of a raster plot are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// They follow from the readout's potentials.
    Potentials(Logits),
    /// They are the spike counts of the readout's neurons.
    SpikeCount,
}

impl Decision {
    /// What the logits of `network` are.
    pub fn of(network: &Network) -> Self {
        network.integrator().map_or(Decision::SpikeCount, |readout| Decision::Potentials(readout.logits))
    }

    fn name(self) -> &'static str {
        match self {
            Decision::Potentials(Logits::Max) => "maxima of the potentials",
            Decision::Potentials(Logits::Sum) => "sums of the potentials over time",
            Decision::Potentials(Logits::Mean) => "means of the potentials over time",
            Decision::Potentials(Logits::Last) => "potentials at the last time step",
            Decision::SpikeCount => "spike counts",
        }
    }
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

impl Raster {
    /// The raster of a batch of one sample, of which `inspection` is. It has no image.
    pub fn of(network: &Network, sample: &EventSet, inspection: &Inspection, title: String) -> Self {
        let input = RasterPanel {
            name: "Input".into(),
            neurons: network.inputs,
            spikes: sample.events().iter().map(|e| (e.t(), e.i())).collect(),
        };
        let spiking = network.spiking().zip(&inspection.spiking).enumerate().map(|(l, (layer, seen))| RasterPanel {
            name: if l < network.hidden.len() { format!("Hidden layer {}", l + 1) } else { "Readout spikes".into() },
            neurons: layer.neurons,
            spikes: seen.spikes.iter().map(|(_, e)| (e.t(), e.i())).collect(),
        });
        let classes = network.classes();
        let potentials = |class: usize| inspection.readout_v.iter().skip(class).step_by(classes).copied().collect();
        Raster {
            title,
            time_steps: network.time_steps,
            dt_ms: network.dt_ms,
            panels: std::iter::once(input).chain(spiking).collect(),
            image: None,
            readout: (0..classes).map(potentials).collect(),
            decision: Decision::of(network),
            predicted: first_largest(&inspection.logits),
            logits: inspection.logits.clone(),
            class_names: None,
            label: sample.labels().first().map_or(EventSet::UNLABELLED, |&label| label) as usize,
        }
    }

    fn class_name(&self, format: Format, class: usize) -> String {
        class_label(format, class, self.class_names.as_ref().and_then(|names| names.get(class)).map(String::as_str))
    }

    fn dt(&self) -> f64 {
        if drawable(self.dt_ms) && self.dt_ms > 1e-100 { self.dt_ms } else { 1.0 }
    }

    /// Green for the label, vermillion for a wrong prediction.
    fn class_colour(&self, class: usize) -> Option<RGBColor> {
        match class {
            _ if class == self.label => Some(GREEN),
            _ if class == self.predicted => Some(VERMILLION),
            _ => None,
        }
    }

    /// The largest logits and the label's.
    fn caption(&self, format: Format) -> String {
        let mut order: Vec<usize> = (0..self.logits.len()).collect();
        order.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]));
        let named = |class: usize| {
            let role = if class == self.label { " (label)" } else { "" };
            format!("{}{role} {}", self.class_name(format, class), number(self.logits[class]))
        };
        let largest: Vec<String> = order.iter().take(LARGEST).map(|&class| named(class)).collect();
        let mut caption = match largest.is_empty() {
            true => String::new(),
            false => format!("Largest logits ({}): {}", self.decision.name(), largest.join(", ")),
        };
        if let Some(rank) = order.iter().position(|&class| class == self.label).filter(|&rank| rank >= LARGEST) {
            caption.push_str(&format!("; {}, rank {} of {}", named(self.label), rank + 1, order.len()));
        }
        caption
    }

    /// One curve per class: potentials, or the number of spikes until each time step.
    fn curves(&self) -> Vec<Vec<f64>> {
        match (self.decision, self.panels.last()) {
            (Decision::SpikeCount, Some(readout)) => {
                let mut counts = vec![vec![0.0; self.time_steps]; readout.neurons];
                for &(t, class) in &readout.spikes {
                    if let Some(count) = counts.get_mut(class).and_then(|counts| counts.get_mut(t)) {
                        *count += 1.0;
                    }
                }
                for counts in &mut counts {
                    (1..counts.len()).for_each(|t| counts[t] += counts[t - 1]);
                }
                counts
            }
            _ => {
                let steps = |v: &Vec<f32>| v.iter().take(self.time_steps).map(|&v| f64::from(v)).collect();
                self.readout.iter().map(steps).collect()
            }
        }
    }

    /// Height of everything but the frames of the panels, if the caption has `lines`.
    fn around(&self, lines: usize) -> f64 {
        TITLE + BOTTOM + FOOT + LINE * lines as f64 + (self.panels.len() as f64 + 1.0) * HEAD
    }
}

/// Draws `raster` into a PNG or SVG file of 1600 × 1500 pixels; wider if there is an image, higher if there are many layers.
///
/// # Errors
/// [`Error::Io`] if `path` cannot be written; [`Error::Config`] if it ends in neither .png nor .svg.
pub fn save_raster(path: impl AsRef<Path>, raster: &Raster) -> Result<()> {
    save_rasters(path, std::slice::from_ref(raster))
}

/// Draws several samples as a grid into a PNG or SVG file.
///
/// # Errors
/// As [`save_raster`]; [`Error::Config`] if there are none or more than [`MOST_SAMPLES`].
pub fn save_rasters(path: impl AsRef<Path>, rasters: &[Raster]) -> Result<()> {
    save(path.as_ref(), &render(path.as_ref(), rasters)?)
}

/// The bytes of the file that [`save_rasters`] writes, for notebooks and web pages.
///
/// # Errors
/// As [`save_rasters`], without those of files.
pub fn encode_rasters(format: Format, rasters: &[Raster]) -> Result<Vec<u8>> {
    let name = match format {
        Format::Png => "raster.png",
        Format::Svg => "raster.svg",
    };
    Ok(encoded(&render(Path::new(name), rasters)?)?.into_owned())
}

/// The pixels of the PNG file that [`save_raster`] writes.
pub(super) fn pixels(raster: &Raster) -> Result<RgbImage> {
    match render(Path::new("raster.png"), std::slice::from_ref(raster))? {
        Picture::Pixels(pixels) => Ok(pixels),
        Picture::Svg(_) => Err(Error::Data("the raster was drawn as SVG".into())),
    }
}

fn render(path: &Path, rasters: &[Raster]) -> Result<Picture> {
    if rasters.is_empty() || rasters.len() > MOST_SAMPLES {
        return Err(Error::Config(format!("{} samples in a figure: must be 1 to {MOST_SAMPLES}", rasters.len())));
    }
    let format = Format::of(path)?;
    let columns = (rasters.len() as f64).sqrt().ceil() as usize;
    let image = if rasters.iter().any(|raster| raster.image.is_some()) { input_image::WIDTH } else { 0 };
    let (base_width, base_height) = if rasters.len() == 1 { (WIDTH, HEIGHT) } else { CELL };
    let width = base_width + image;
    // The captions are first laid out on a temporary canvas, since the height of the panels depends on them.
    let room = px(f64::from(base_width) - LEFT - panel::LEFT - RIGHT);
    let mut captions = Vec::new();
    draw(path, 8, 8, |area| {
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        captions = rasters.iter().map(|r| wrap(area, &r.caption(format), &style, room)).collect::<Drawn<_>>()?;
        Ok(())
    })?;
    let least = |(raster, caption): (&Raster, &Vec<String>)| {
        raster.around(caption.len()) + 1.3 * (raster.panels.len() as f64 + 1.0) * LEAST_PANEL
    };
    let height = rasters.iter().zip(&captions).map(least).fold(f64::from(base_height), f64::max).floor() as u32;
    let rows = rasters.len().div_ceil(columns);
    draw(path, width * columns as u32, height * rows as u32, |area| {
        for (k, (raster, caption)) in rasters.iter().zip(&captions).enumerate() {
            let (row, column) = ((k / columns) as u32, (k % columns) as u32);
            let corner = (px(f64::from(column * width)), px(f64::from(row * height)));
            let cell = area.clone().shrink(corner, (px(f64::from(width)), px(f64::from(height))));
            draw_raster(&cell, raster, (format, caption), image)?;
        }
        Ok(())
    })
}

/// Draws a sample; `image` is the width at the right for its image.
fn draw_raster(area: &Area, raster: &Raster, (format, caption): (Format, &[String]), image: u32) -> Drawn {
    let (canvas_width, canvas_height) = area.dim_in_pixel();
    let to_figure = |canvas: u32| f64::from(canvas) / f64::from(px(1.0));
    let (width, height) = (to_figure(canvas_width), to_figure(canvas_height));
    draw_title(area, &raster.title, LEFT + panel::LEFT, TITLE)?;
    let (dt, around) = (raster.dt(), raster.around(caption.len()));
    // A spike of step t is drawn at t Δt; the last step ends at T Δt.
    let time = Axis::exact("time (ms)", 0.0..raster.time_steps.max(1) as f64 * dt, 12, dt);
    let body = width - LEFT - RIGHT - f64::from(image);
    let band = |top: f64, height: f64| area.clone().shrink((px(LEFT), px(top)), (px(body), px(height)));
    let mut top = TITLE;
    for (l, frame) in heights(raster, height - around).into_iter().enumerate() {
        draw_layer(&band(top, HEAD + frame), raster, l, &time)?;
        top += HEAD + frame;
    }
    let foot = height - FOOT - LINE * caption.len() as f64;
    draw_readout(&band(top, foot - top), raster, format, &time)?;
    let style = text(TEXT, INK, HPos::Left, VPos::Center);
    for (k, line) in caption.iter().enumerate() {
        write(area, line, &style, (px(LEFT + panel::LEFT), px(foot + LINE * (k as f64 + 0.6))))?;
    }
    match &raster.image {
        Some(of) => of.draw(area, (width - RIGHT - f64::from(image) + input_image::GAP, TITLE + HEAD)),
        None => Ok(()),
    }
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

fn draw_layer(area: &Area, raster: &Raster, l: usize, time: &Axis) -> Drawn {
    let (layer, time_steps, dt) = (&raster.panels[l], raster.time_steps, raster.dt());
    let counted = raster.decision == Decision::SpikeCount && l > 0 && l + 1 == raster.panels.len();
    let neurons = layer.neurons.max(1);
    let note = format!("{} · {}", count(layer.neurons, "neuron"), count(layer.spikes.len(), "spike"));
    let y = Axis::exact(if counted { "class" } else { "neuron" }, -0.5..neurons as f64 - 0.5, 5, 1.0);
    let plot = panel(area, (&layer.name, &note, &[]), (time, &y), false)?;
    let radius = dot_radius(&plot, layer, time_steps);
    let inside = layer.spikes.iter().filter(|&&(t, i)| t < time_steps && i < neurons);
    if layer.spikes.is_empty() {
        draw_remark(&plot, "no spikes")?;
    }
    for &(t, i) in inside {
        let colour = match l {
            _ if counted => raster.class_colour(i).unwrap_or(MUTED),
            0 => INK,
            l => layer_colour(l - 1),
        };
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

fn draw_readout(area: &Area, raster: &Raster, format: Format, time: &Axis) -> Drawn {
    let (label, predicted, dt) = (raster.label, raster.predicted, raster.dt());
    let right = label == predicted;
    let marked = raster.decision == Decision::Potentials(Logits::Max);
    let curves = raster.curves();
    let entry = |name, role, colour, stroke, marker| LegendEntry { name, role, colour, stroke, marker };
    let mut legend = Vec::new();
    if right {
        legend.push(entry(raster.class_name(format, label), " (label, predicted)", GREEN, 5.0, marked));
    } else {
        legend.push(entry(raster.class_name(format, label), " (label)", GREEN, 7.0, false));
        legend.push(entry(raster.class_name(format, predicted), " (predicted)", VERMILLION, 3.5, marked));
    }
    let others = (0..curves.len()).filter(|&class| raster.class_colour(class).is_none()).count();
    match others {
        0 => {}
        1 => legend.push(entry("1 other class".into(), "", FAINT, 2.0, false)),
        n => legend.push(entry(format!("{n} other classes"), "", FAINT, 2.0, false)),
    }

    let values = || curves.iter().flatten().copied();
    let (title, y) = match raster.decision {
        Decision::SpikeCount => {
            let most = values().fold(1.0, f64::max);
            ("Readout: spikes so far", Axis::exact("spikes", 0.0..1.06 * most, 5, 1.0))
        }
        Decision::Potentials(_) => ("Readout", Axis::around("potential", values(), 5)),
    };
    let plot = panel(area, (title, "", &legend), (time, &y), true)?;
    let curve = |class: usize| -> Vec<(f64, f64)> {
        let values = curves.get(class).map_or(&[][..], Vec::as_slice);
        let at = |t: usize| t as f64 * dt;
        match raster.decision {
            Decision::Potentials(_) => values.iter().enumerate().map(|(t, &v)| (at(t), v)).collect(),
            // Counts are steps that end with the last time step.
            Decision::SpikeCount => {
                values.iter().enumerate().flat_map(|(t, &v)| [(at(t), v), (at(t + 1), v)]).collect()
            }
        }
    };
    for class in (0..curves.len()).filter(|&class| raster.class_colour(class).is_none()) {
        draw_line(&plot, &curve(class), FAINT, 2.0, false)?;
    }
    // A narrow line on a wide one, so that both show where they coincide.
    draw_line(&plot, &curve(label), GREEN, if right { 5.0 } else { 7.0 }, false)?;
    if !right {
        draw_line(&plot, &curve(predicted), VERMILLION, 3.5, false)?;
    }
    // Where the logit of the predicted class is read.
    let peak =
        curve(predicted).into_iter().filter(|point| drawable(point.1)).reduce(|a, b| if b.1 > a.1 { b } else { a });
    match peak.filter(|_| marked) {
        Some(peak) => draw_marker(&plot, peak, if right { GREEN } else { VERMILLION }),
        None => Ok(()),
    }
}

/// A logit with about three digits.
fn number(value: f32) -> String {
    let number = match value.abs() {
        x if x >= 1e5 || (x < 1e-2 && x > 0.0) => format!("{value:.2e}"),
        _ if value.fract() == 0.0 => format!("{value}"),
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        x if x >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    number.replace('-', "−")
}

/// "1 spike", "12,345 spikes".
fn count(n: usize, of: &str) -> String {
    format!("{} {of}{}", grouped(&n.to_string()), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(neurons: usize, spikes: Vec<(usize, usize)>) -> RasterPanel {
        RasterPanel { name: format!("{neurons} neurons"), neurons, spikes }
    }

    fn example() -> Raster {
        Raster {
            title: "An example".into(),
            time_steps: 20,
            dt_ms: 1.0,
            panels: vec![layer(50, vec![(3, 7), (4, 7), (19, 49)]), layer(10, vec![(5, 0)])],
            image: None,
            decision: Decision::Potentials(Logits::Max),
            logits: vec![0.0, 1.9, 3.8],
            readout: (0..3).map(|class| (0..20).map(|t| (class * t) as f32 * 0.1).collect()).collect(),
            class_names: Some(vec!["shoe".into(), "shirt".into(), "bag".into()]),
            label: 2,
            predicted: 2,
        }
    }

    fn picture(raster: &Raster) -> RgbImage {
        render(Path::new("raster.png"), std::slice::from_ref(raster)).unwrap().pixels()
    }

    fn document(rasters: &[Raster]) -> String {
        render(Path::new("raster.svg"), rasters).unwrap().svg()
    }

    /// The circles of this colour in an SVG.
    fn circles(svg: &str, colour: RGBColor) -> usize {
        let fill = format!("fill=\"#{:02X}{:02X}{:02X}\"", colour.0, colour.1, colour.2);
        svg.lines().filter(|line| line.starts_with("<circle") && line.contains(&fill)).count()
    }

    #[test]
    fn an_image_has_a_frame_even_if_it_is_white() {
        let framed = |image| {
            let picture = picture(&Raster { image, ..example() });
            // The middle row of the image, within it and around.
            let row: Vec<_> = (1600..1925.min(picture.width())).map(|x| picture.get_pixel(x, 200).0).collect();
            row.iter().filter(|&&pixel| pixel != [255; 3]).count()
        };
        let white = RasterImage { width: 4, pixels: vec![1.0; 16], caption: String::new() };
        assert_eq!(framed(None), 0);
        assert!((2..=4).contains(&framed(Some(white.clone()))), "{}", framed(Some(white)));
    }

    #[test]
    fn the_maximum_is_marked_only_if_it_decides() {
        let marked = |decision| {
            let rim = format!("r=\"{}\"", px(10.0));
            let svg = document(&[Raster { decision, ..example() }]);
            // In the legend and at the maximum.
            svg.lines().filter(|line| line.starts_with("<circle") && line.contains(&rim)).count()
        };
        assert_eq!(marked(Decision::Potentials(Logits::Max)), 2);
        for logits in [Logits::Sum, Logits::Mean, Logits::Last] {
            assert_eq!(marked(Decision::Potentials(logits)), 0, "{logits:?}");
        }
        assert_eq!(marked(Decision::SpikeCount), 0);
    }

    #[test]
    fn logits_are_written_with_the_labels_rank() {
        let mut raster = example();
        assert_eq!(
            raster.caption(Format::Png),
            "Largest logits (maxima of the potentials): bag (label) 3.80, shirt 1.90, shoe 0"
        );
        raster.logits = vec![1.0, 2.5e6, -4.0, 30.0, 0.5, f32::NEG_INFINITY];
        raster.decision = Decision::Potentials(Logits::Sum);
        let expected = "Largest logits (sums of the potentials over time): shirt 2.50e6, class 3 30, shoe 1; \
                        bag (label) −4, rank 5 of 6";
        assert_eq!(raster.caption(Format::Png), expected);
        let svg = document(&[raster]);
        assert!(svg.contains("rank 5 of 6"), "the caption is drawn");
    }

    #[test]
    fn counted_spikes_add_up_over_time() {
        let mut raster = example();
        raster.decision = Decision::SpikeCount;
        raster.panels[1] = layer(3, vec![(2, 1), (5, 1), (5, 2), (19, 2), (20, 2), (3, 3)]);
        let curves = raster.curves();
        assert_eq!((curves.len(), curves[1][1], curves[1][2], curves[1][19]), (3, 0.0, 1.0, 2.0));
        assert_eq!((curves[0][19], curves[2][5], curves[2][19]), (0.0, 1.0, 2.0));
        let svg = document(&[raster]);
        assert!(svg.contains("spikes so far") && !svg.contains(">\npotential"), "{svg}");
    }

    #[test]
    fn an_image_is_drawn_beside_the_input() {
        let pixels: Vec<f32> = (0..12).map(|k| k as f32 / 11.0).collect();
        let image = RasterImage { width: 4, pixels, caption: "Brightness from spikes".into() };
        let svg = document(&[Raster { image: Some(image), ..example() }]);
        assert!(svg.contains("<svg width=\"1930\" height=\"1500\"") && svg.contains("Brightness from spikes"));
        // 0, 1/11, .., 1 in grey.
        for grey in ["#000000", "#171717", "#FFFFFF"] {
            assert!(svg.lines().any(|line| line.starts_with("<rect") && line.contains(grey)), "{grey}");
        }
    }

    #[test]
    fn several_samples_make_a_grid() {
        let grid = |n: usize| document(&vec![example(); n]);
        let sized = |columns, rows| format!("<svg width=\"{}\" height=\"{}\"", columns * CELL.0, rows * CELL.1);
        for (n, columns, rows) in [(2, 2, 1), (4, 2, 2), (7, 3, 3)] {
            let svg = grid(n);
            assert!(svg.starts_with(&sized(columns, rows)), "{n}");
            assert_eq!(svg.matches("An example").count(), n);
            assert_eq!(circles(&svg, INK), 3 * n, "the input's spikes");
        }
        for n in [0, MOST_SAMPLES + 1] {
            let error = render(Path::new("x.png"), &vec![example(); n]).unwrap_err().to_string();
            assert!(error.contains(&format!("{n} samples")), "{error}");
        }
    }

    #[test]
    fn the_time_axis_ends_at_the_last_step() {
        let mut raster = example();
        raster.time_steps = 100;
        raster.panels[1].spikes = vec![(0, 0), (50, 0)];
        let svg = document(&[raster]);
        let place = |words: &str| svg.lines().position(|line| line == words);
        let ends: Vec<bool> = ["0", "100"].map(|words| place(words).is_some()).to_vec();
        assert_eq!(ends, [true, true], "ticks at 0 and T");
        assert!(place("110").is_none());
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
                save_raster(&path, &raster).unwrap_or_else(|e| panic!("{name}: {e}"));
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
        let error = save_raster(&path, &example()).unwrap_err();
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
