//! Table 3: settings of the presets.

use super::figure::{Content, Figure};
use super::job::FigureJob;
use crate::error::Result;
use crate::network::{Initialisation, Integrator, Logits, ReadoutGain};
use crate::presets;
use crate::train::{LearningRate, RunConfig};
use serde_json::json;

/// A setting: its name, and its value in a configuration.
type Setting = (&'static str, fn(&RunConfig) -> String);

const SETTINGS: [Setting; 24] = [
    ("network", |c| c.network.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join("-")),
    ("T", |c| c.network.time_steps.to_string()),
    ("Δt, ms", |c| c.network.dt_ms.to_string()),
    ("τ hidden, ms", |c| of_hidden(c, |layer| layer.tau_ms)),
    ("τ readout, ms", |c| of_readout(c, |readout| readout.tau_ms.to_string())),
    ("V_th", |c| of_hidden(c, |layer| layer.v_th)),
    ("V_r", |c| of_hidden(c, |layer| layer.v_r)),
    ("V_rest", |c| of_hidden(c, |layer| layer.v_rest)),
    ("β", |c| of_hidden(c, |layer| layer.beta)),
    ("B_th", |c| of_hidden(c, |layer| layer.b_th)),
    ("initial weights", |c| match c.network.readout.init() {
        Initialisation::Normal { scale } => format!("normal, σ = {scale} (1 − α)/√N_in"),
        Initialisation::Uniform { scale } => format!("uniform, ±{scale}/√N_in"),
    }),
    ("initial spikes", |c| if c.initial_spikes > 0.0 { c.initial_spikes.to_string() } else { "not rescaled".into() }),
    ("readout's gain", |c| {
        of_readout(c, |readout| match readout.gain {
            ReadoutGain::One => "1".into(),
            ReadoutGain::OneMinusAlpha => "1 − α_r".into(),
        })
    }),
    ("logits", |c| {
        of_readout(c, |readout| match readout.logits {
            Logits::Max => "max over t".into(),
            Logits::Sum => "sum over t".into(),
            other => format!("{other:?}").to_lowercase(),
        })
    }),
    ("λ_up, ν_up", |c| format!("{}, {}", c.network.regulariser.lambda_up, c.network.regulariser.nu_up)),
    ("λ_low, ν_low", |c| format!("{}, {}", c.network.regulariser.lambda_low, c.network.regulariser.nu_low)),
    ("learning rate", |c| c.adam.lr.to_string()),
    ("schedule", |c| match c.schedule {
        LearningRate::Constant {} => "constant".into(),
        LearningRate::Cosine { final_fraction } => format!("cosine to {final_fraction}"),
    }),
    ("warm-up, epochs", |c| c.warmup_epochs.to_string()),
    ("Adam β₁, β₂", |c| format!("{}, {}", c.adam.beta1, c.adam.beta2)),
    ("weight decay", |c| c.adam.weight_decay.to_string()),
    ("batch", |c| c.batch.to_string()),
    ("epochs (not in Table 3)", |c| c.epochs.to_string()),
    ("augmentation", |c| if c.augment.is_on() { "on".into() } else { "none".into() }),
];

/// A setting of the readout's integrators.
fn of_readout(c: &RunConfig, value: impl Fn(&Integrator) -> String) -> String {
    c.network.integrator().map_or_else(|| "spike counts".into(), value)
}

/// The values of all hidden layers, or one number if they are equal.
fn of_hidden(config: &RunConfig, value: fn(&crate::network::SpikingLayer) -> f64) -> String {
    let mut values: Vec<String> = config.network.hidden.iter().map(|layer| value(layer).to_string()).collect();
    values.dedup();
    values.join(", ")
}

/// All settings of all presets, the paper's and ours. Ours are highlighted if they differ.
pub fn table_3(job: &mut FigureJob) -> Result<Figure> {
    let mut head = vec!["setting".to_string()];
    let mut columns = Vec::new();
    for preset in presets::NAMES {
        let (paper, ours) = (presets::paper(preset)?, presets::ours(preset)?);
        head.push(format!("{preset}: paper"));
        head.push("ours".into());
        columns.push((paper, ours));
    }
    let rows = SETTINGS.iter().map(|(name, read)| {
        let cells = columns.iter().flat_map(|(paper, ours)| {
            let (paper, ours) = (read(paper), read(ours));
            let differs = paper != ours;
            [(paper, false), (ours, differs)]
        });
        std::iter::once((name.to_string(), false)).chain(cells).collect()
    });
    let content = Content::Table { head, rows: rows.collect() };
    let caption = "Table 3 of the paper, checked against the authors' code (fmnist, nmnist, shd; fmnist-conv and fmnist-deep \
                   are the paper's networks with fmnist's settings), and the presets' defaults, in colour if they differ."
        .into();
    let mut configs = serde_json::Map::new();
    for preset in presets::NAMES {
        let both = json!({ "paper": presets::paper(preset)?.to_toml()?, "ours": presets::ours(preset)?.to_toml()? });
        configs.insert(preset.into(), both);
    }
    let info = job.info(&presets::paper("fmnist")?.network)?;
    Ok(Figure { caption, content, settings: configs.into(), adapter: format!("{}: {}", info.kind, info.name) })
}
