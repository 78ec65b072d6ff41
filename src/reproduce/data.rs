//! Figures 6 to 8: samples of the data sets as dots.

use super::figure::{Content, Figure};
use super::job::FigureJob;
use crate::error::Result;
use crate::plot::{ChartAxis, ChartPanel, Colour, Series, Style};
use crate::presets;
use serde_json::json;

/// Number of colours from the first time step to the last.
const SHADES: usize = 60;

/// A spike: x, y, time in ms, shade.
type Spike = (f64, f64, f64, usize);

/// Draws the first test samples of a preset: one per seed, up to 4. Images of `side` × `side` pixels are shown from the
/// front and from the side, other samples as unit over time.
fn clouds(job: &mut FigureJob, preset: &str, side: Option<usize>) -> Result<Figure> {
    let samples = job.seeds().len().min(4);
    let data = job.data(preset, usize::MAX, usize::MAX)?;
    let network = presets::paper(preset)?.network;
    let (steps, dt) = (network.time_steps, network.dt_ms);
    let exact = |name: &'static str, lo: f64, hi: f64| ChartAxis { range: Some((lo, hi)), ..ChartAxis::linear(name) };
    let time = exact("time, ms", 0.0, steps as f64 * dt);
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    for k in 0..samples.min(data.set.test.len()) {
        let label = data.set.test.labels()[k];
        let spikes: Vec<Spike> = data
            .set
            .test
            .sample(k)
            .iter()
            .map(|event| {
                let (t, i) = (event.t() as f64 * dt, event.i());
                let shade = event.t() * SHADES / steps.max(1);
                match side {
                    // The vertical axis points upwards.
                    Some(side) => ((i % side) as f64, (side - 1 - i / side) as f64, t, shade),
                    None => (0.0, i as f64, t, shade),
                }
            })
            .collect();
        for &(x, y, t, _) in &spikes {
            let mut cells = vec![k.to_string(), label.to_string(), t.to_string()];
            if side.is_some() {
                cells.push(x.to_string());
            }
            cells.push(y.to_string());
            rows.push(cells);
        }
        let cloud = |at: &dyn Fn(&Spike) -> (f64, f64)| -> Vec<Series> {
            let shade = |shade: usize| Series {
                name: String::new(),
                colour: Colour::Shade(shade as f64 / (SHADES - 1) as f64),
                style: Style::Cloud,
                points: spikes.iter().filter(|s| s.3 == shade).map(|s| (at(s).0, at(s).1, 0.0)).collect(),
            };
            (0..SHADES).map(shade).collect()
        };
        let class = data.set.class_name(label as usize);
        let panel = |view: &str, x, y, series, equal_units| ChartPanel {
            title: format!("test sample {k}, {class}{view}"),
            x,
            y,
            series,
            level: None,
            equal_units,
        };
        match side {
            Some(side) => {
                let far = side as f64 - 0.5;
                let (x, y) = (exact("x, pixels", -0.5, far), exact("y, pixels from below", -0.5, far));
                panels.push(panel("", x, y.clone(), cloud(&|s| (s.0, s.1)), true));
                panels.push(panel(", from the side", time.clone(), y, cloud(&|s| (s.2, s.1)), false));
            }
            None => {
                let y = exact("unit", -0.5, network.inputs as f64 - 0.5);
                panels.push(panel("", time.clone(), y, cloud(&|s| (s.2, s.1)), false));
            }
        }
    }
    let mut head: Vec<String> = ["sample", "class", "t_ms"].map(String::from).to_vec();
    head.extend(if side.is_some() { vec!["x".into(), "y_from_below".into()] } else { vec!["unit".into()] });
    let views = if side.is_some() { "from the front (left) and from the side (right)" } else { "unit over time" };
    let caption = format!(
        "{}, encoded for the network: T = {steps} steps of {dt} ms; each dot is a spike, {views}, coloured by its time from \
         blue to orange.",
        data.name
    );
    let settings = json!({ "data": data.set.origin, "samples": samples, "time_steps": steps, "dt_ms": dt });
    let info = job.info(&network)?;
    Ok(Figure {
        caption,
        content: Content::Clouds { panels, head, rows },
        settings,
        adapter: format!("{}: {}", info.kind, info.name),
    })
}

/// Fashion-MNIST.
pub fn fig_6(job: &mut FigureJob) -> Result<Figure> {
    clouds(job, "fmnist", Some(28))
}

/// N-MNIST.
pub fn fig_7(job: &mut FigureJob) -> Result<Figure> {
    clouds(job, "nmnist", Some(34))
}

/// SHD.
pub fn fig_8(job: &mut FigureJob) -> Result<Figure> {
    clouds(job, "shd", None)
}
