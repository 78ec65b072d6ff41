//! Which [`Variant`] of the sparse kernels is fastest for a network on an adapter: measured once in well under a second, then
//! remembered in the user's cache folder.
//!
//! Which one wins depends on the adapter, its driver and the network; the outcome is kept for that combination and this
//! version of the program. A run remembers it, as a driver may round differently in another
//! ([`kernels`](crate::config::RunConfig::kernels)). Nothing about tuning can fail: what cannot be read, measured or
//! written leaves the variant that is usual for the adapter's tier.

use super::GpuEngine;
use super::adapter::{AdapterSummary, GpuOptions};
use super::variant::{VARIANTS, Variant};
use crate::bench::random_spikes;
use crate::engine::{Engine, Method, TrainingState};
use crate::error::{Error, Result};
use crate::files::{remove_abandoned, write_atomically};
use crate::model::{Adam, Network};
use crate::weights::Weights;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After this time there is no further round.
const PATIENCE: Duration = Duration::from_millis(600);
/// Most measured steps of each variant, behind one that makes pipelines and room.
const ROUNDS: usize = 5;
/// Most samples of a measured step, and slots (time steps of neurons) that they may have in all.
const SAMPLES: usize = 64;
const SLOTS: usize = 1 << 22;
/// Spikes per input slot of a measured step.
const DENSITY: f64 = 0.01;
/// What another variant's time must be below, as a fraction of the usual one's: a tie is not worth a change.
const GAIN: f64 = 0.95;
/// Outcomes that are remembered, the newest.
const REMEMBERED: usize = 256;

/// What an outcome holds for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Key {
    program: String,
    adapter: String,
    backend: String,
    driver: String,
    usual: Variant,
    checked: bool,
    sizes: Vec<usize>,
    time_steps: usize,
}

/// An outcome of measuring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outcome {
    #[serde(flatten)]
    key: Key,
    variant: Variant,
    /// The shortest step of each variant, ms.
    ms: Vec<(Variant, f64)>,
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Remembered {
    outcomes: Vec<Outcome>,
}

impl Remembered {
    /// Nothing where the file is missing or damaged.
    fn read(path: &Path) -> Remembered {
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn of(&self, key: &Key) -> Option<Variant> {
        self.outcomes.iter().find(|outcome| outcome.key == *key).map(|outcome| outcome.variant)
    }

    fn add(&mut self, outcome: Outcome) {
        self.outcomes.retain(|old| old.key != outcome.key);
        self.outcomes.push(outcome);
        let old = self.outcomes.len().saturating_sub(REMEMBERED);
        self.outcomes.drain(..old);
    }

    /// Replaces the file; whoever reads it meanwhile gets the old one or the new one.
    fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        remove_abandoned(folder);
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::format(path, e.to_string()))?;
        write_atomically(path, &text)
    }
}

/// `spikegrad/tuning.json` in the user's cache folder, if there is such a folder.
pub fn usual_file() -> Option<PathBuf> {
    let strategy = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(strategy.cache_dir().join("spikegrad").join("tuning.json"))
}

/// The variant for `network` on an adapter that was opened as `options` ask: forced, remembered, measured, or `usual`.
pub(super) fn choose(
    network: &Network,
    method: Method,
    options: &GpuOptions,
    adapter: &AdapterSummary,
    usual: Variant,
) -> Variant {
    let sparse = matches!(method, Method::Sparse | Method::Auto);
    // The kernels of convolutions have one variant, but for the forward pass, and are the most of such a step.
    if options.variant.is_some() || !options.tuning || !sparse || network.first_conv().is_some() {
        return usual;
    }
    let key = Key {
        program: env!("CARGO_PKG_VERSION").into(),
        adapter: adapter.name.clone(),
        backend: adapter.backend.clone(),
        driver: adapter.driver.clone(),
        usual,
        checked: options.checked.unwrap_or(cfg!(debug_assertions)),
        sizes: network.sizes(),
        time_steps: network.time_steps,
    };
    let path = options.tuning_file.clone().or_else(usual_file);
    let mut remembered = path.as_deref().map(Remembered::read).unwrap_or_default();
    if let Some(variant) = remembered.of(&key).filter(|variant| variant.runs_on(adapter)) {
        return variant;
    }
    let candidates: Vec<Variant> = VARIANTS.into_iter().filter(|variant| variant.runs_on(adapter)).collect();
    let Ok(ms) = measure(network, method, options, &candidates) else { return usual };
    let variant = fastest(&ms, usual);
    remembered.add(Outcome { key, variant, ms });
    if let Some(path) = path {
        // Without a file the next run measures again.
        let _ = remembered.write(&path);
    }
    variant
}

/// The shortest step of each variant, ms; in turn, so that a slow moment slows all.
fn measure(
    network: &Network,
    method: Method,
    options: &GpuOptions,
    candidates: &[Variant],
) -> Result<Vec<(Variant, f64)>> {
    let clock = Instant::now();
    let slots = network.time_steps * network.sizes().iter().sum::<usize>();
    let samples = (SLOTS / slots.max(1)).clamp(1, SAMPLES);
    let batch = random_spikes(network, samples, DENSITY, 1)?;
    let mut engine = GpuEngine::new(network, method, GpuOptions { tuning: false, ..options.clone() })?;
    engine.load(&TrainingState::new(Weights::init(network, 1)))?;
    // Weights stay where they are, and so does the activity.
    let still = Adam { lr: 1e-30, ..Adam::with_lr(1.0) };
    let mut ms = vec![f64::INFINITY; candidates.len()];
    for round in 0..=ROUNDS {
        if round > 1 && clock.elapsed() > PATIENCE {
            break;
        }
        for (&variant, best) in candidates.iter().zip(&mut ms) {
            engine.set_variant(variant)?;
            let begin = Instant::now();
            engine.train(&batch, &still)?;
            engine.reports(true)?;
            if round > 0 {
                *best = best.min(begin.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    Ok(candidates.iter().copied().zip(ms).collect())
}

/// The fastest, if it is clearly faster than the usual one.
fn fastest(ms: &[(Variant, f64)], usual: Variant) -> Variant {
    let Some(&(_, limit)) = ms.iter().find(|(variant, _)| *variant == usual) else { return usual };
    let best = ms.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|(_, ms)| *ms < GAIN * limit).map_or(usual, |(variant, _)| *variant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    fn network() -> Network {
        let mut network = presets::ours("fmnist").unwrap().network;
        (network.inputs, network.time_steps) = (20, 30);
        network.set_hidden(&[16, 12]).unwrap();
        network
    }

    #[test]
    fn only_a_clear_gain_leaves_the_usual_variant() {
        use Variant::*;
        assert_eq!(fastest(&[(Plain, 1.0), (Cooperative, 0.97), (Subgroups, 2.0)], Plain), Plain);
        assert_eq!(fastest(&[(Plain, 1.0), (Cooperative, 0.9), (Subgroups, 0.8)], Plain), Subgroups);
        assert_eq!(fastest(&[(Plain, 0.5), (Cooperative, 1.0)], Cooperative), Plain);
        assert_eq!(fastest(&[(Plain, 0.5)], Cooperative), Cooperative);
        assert_eq!(fastest(&[], Cooperative), Cooperative);
    }

    fn opened(file: &Path, tuning: bool, variant: Option<Variant>) -> String {
        let options = GpuOptions { tuning, variant, tuning_file: Some(file.into()), ..GpuOptions::default() };
        GpuEngine::new(&network(), Method::Sparse, options).unwrap().kernels().unwrap().into()
    }

    #[test]
    fn outcomes_are_measured_once_remembered_and_can_be_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/tuning.json");
        let usual = opened(&file, false, None);
        assert!(!file.exists(), "nothing is measured unasked");
        let tuned = opened(&file, true, None);
        let written = Remembered::read(&file);
        assert_eq!(written.outcomes.len(), 1);
        assert_eq!(written.outcomes[0].variant.name(), tuned);
        assert!(written.outcomes[0].ms.len() >= 2 && written.outcomes[0].ms.iter().all(|(_, ms)| *ms > 0.0));

        // What is remembered holds, whatever was measured.
        for variant in [Variant::Cooperative, Variant::Plain] {
            let mut outcome = written.outcomes[0].clone();
            outcome.variant = variant;
            let mut other = outcome.clone();
            other.key.sizes[1] += 1;
            other.variant = Variant::Subgroups;
            Remembered { outcomes: vec![other, outcome] }.write(&file).unwrap();
            assert_eq!(opened(&file, true, None), variant.name());
            assert_eq!(opened(&file, true, Some(Variant::Cooperative)), "cooperative");
            assert_eq!(opened(&file, false, None), usual);
        }

        // A damaged file is no failure, and does not stay damaged.
        std::fs::write(&file, b"{\"outcomes\": [").unwrap();
        opened(&file, true, None);
        assert_eq!(Remembered::read(&file).outcomes.len(), 1);
        // Nor is a place where nothing can be written.
        std::fs::write(folder.path().join("file"), b"").unwrap();
        opened(&folder.path().join("file/tuning.json"), true, None);
    }

    #[test]
    fn old_outcomes_make_room() {
        let key = |n: usize| Key {
            program: "1".into(),
            adapter: "a".into(),
            backend: "b".into(),
            driver: "c".into(),
            usual: Variant::Plain,
            checked: false,
            sizes: vec![n],
            time_steps: 3,
        };
        let mut remembered = Remembered::default();
        for n in 0..REMEMBERED + 5 {
            remembered.add(Outcome { key: key(n), variant: Variant::Plain, ms: Vec::new() });
        }
        remembered.add(Outcome { key: key(9), variant: Variant::Cooperative, ms: Vec::new() });
        assert_eq!(remembered.outcomes.len(), REMEMBERED);
        assert_eq!((remembered.of(&key(4)), remembered.of(&key(9))), (None, Some(Variant::Cooperative)));
    }
}
