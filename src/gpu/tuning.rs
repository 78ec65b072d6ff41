//! Finds the [`Variant`] of the sparse kernels, then the memory for δ ([`DeltaScratch`]), with the fastest steps for a network
//! on an adapter: measured once, within about three seconds of steps, then remembered in the user's cache folder.
//!
//! The outcome depends on the adapter, its driver, the network and the batch, and is kept for that combination and this
//! version of the program. A run stores it ([`kernels`](crate::train::RunConfig::kernels)), as a driver may round differently
//! in another variant. Tuning cannot fail: if something cannot be read, measured or written, the defaults of the adapter's
//! tier are used.

mod compare;

use super::adapter::{GpuOptions, Tier};
use super::context::Context;
use super::delta_scratch::{DELTA_SIZES, DeltaScratch};
use super::variant::{VARIANTS, Variant};
use super::{GpuEngine, lockstep, plan};
use crate::engine::{Engine, Method};
use crate::error::{Error, Result};
use crate::files::{remove_abandoned, write_atomically};
use crate::limits;
use crate::network::{Connection, Network};
use crate::optimiser::Adam;
use crate::platform::Instant;
use crate::synthetic::{TARGET_DENSITY, random_spikes, scaled_weights};
use compare::{MEASUREMENT, Steps, WARM_UP, clearly_fastest, compare};
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most seconds of steps to compare variants, and as many to compare sizes of δ.
const SECONDS: f64 = 1.4;
/// Default samples per batch.
const BATCH: usize = 256;
/// Samples of the first steps, which show how many samples take [`MEASUREMENT`]; weights are scaled on them as well.
const FEW: usize = 8;
/// Most input events of a measured step.
const EVENTS: f64 = 4e6;
/// Spikes per input slot of a measured step.
const DENSITY: f64 = 0.01;
/// Most bytes of the file.
const MAX_BYTES: u64 = 16 << 20;
/// Most outcomes in the file; the oldest are dropped.
const REMEMBERED: usize = 256;

/// The tuned settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    pub variant: Variant,
    #[serde(rename = "delta_mib")]
    pub delta: DeltaScratch,
}

/// The combination that an outcome is valid for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Key {
    program: String,
    adapter: String,
    backend: String,
    driver: String,
    /// The settings without tuning.
    usual: Choice,
    /// Whether the size of δ is fixed by the user.
    delta_given: bool,
    checked: bool,
    /// Bytes of a binding, as the adapter was opened.
    binding: u64,
    sizes: Vec<usize>,
    connections: Vec<Connection>,
    /// Neurons of each layer that is recurrent, else 0.
    #[serde(default)]
    recurrent: Vec<usize>,
    time_steps: usize,
    batch: usize,
}

/// An outcome of measuring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outcome {
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    choice: Choice,
    /// Samples per measured step.
    samples: usize,
    /// The shortest step of each candidate, ms; `null` if it failed or there was no time for it.
    ms: Vec<(Choice, Option<f64>)>,
}

impl Outcome {
    /// Whether there was time to measure the default, with which all others are compared.
    fn measured_usual(&self) -> bool {
        self.ms.iter().filter(|(choice, _)| *choice == self.key.usual).all(|(_, ms)| ms.is_some())
    }
}

/// The file.
#[derive(Debug, Default, Serialize)]
struct Remembered {
    outcomes: Vec<Outcome>,
}

impl Remembered {
    /// The outcomes that this version understands; nothing if the file is missing or damaged.
    fn read(path: &Path) -> Remembered {
        #[derive(Deserialize)]
        struct File {
            outcomes: Vec<serde_json::Value>,
        }
        let text = limits::read_text(path, MAX_BYTES, "outcomes of tuning").ok();
        let file = text.and_then(|text| serde_json::from_str::<File>(&text).ok());
        let outcomes = file.into_iter().flat_map(|file| file.outcomes);
        Remembered { outcomes: outcomes.filter_map(|outcome| serde_json::from_value(outcome).ok()).collect() }
    }

    fn of(&self, key: &Key) -> Option<Choice> {
        self.outcomes.iter().find(|outcome| outcome.key == *key).map(|outcome| outcome.choice)
    }

    fn add(&mut self, outcome: Outcome) {
        self.outcomes.retain(|old| old.key != outcome.key);
        self.outcomes.push(outcome);
        let old = self.outcomes.len().saturating_sub(REMEMBERED);
        self.outcomes.drain(..old);
    }

    /// Replaces the file atomically.
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

/// The kernels and the memory for δ of `network` on the adapter opened with `options`: forced, remembered, measured, or
/// `usual`.
pub(super) fn choose(
    network: &Network,
    method: Method,
    options: &GpuOptions,
    context: &Context,
    usual: Choice,
) -> Choice {
    let sparse = matches!(method, Method::Sparse | Method::Auto);
    // Steps of convolutions take seconds on software adapters.
    let too_slow = network.first_conv().is_some() && context.tier == Tier::Software;
    if options.variant.is_some() || !options.tuning || !sparse || too_slow {
        return usual;
    }
    let adapter = &context.adapter;
    let batch = options.batch.unwrap_or(BATCH).max(1);
    let key = Key {
        program: env!("CARGO_PKG_VERSION").into(),
        adapter: adapter.name.clone(),
        backend: adapter.backend.clone(),
        driver: adapter.driver.clone(),
        usual,
        delta_given: options.delta_bytes.is_some(),
        checked: options.is_checked(),
        binding: context.binding,
        sizes: network.sizes(),
        connections: network.hidden.iter().map(|layer| layer.connection).collect(),
        recurrent: network.recurrent_inputs(),
        time_steps: network.time_steps,
        batch,
    };
    let path = options.tuning_file.clone().or_else(usual_file);
    let mut remembered = path.as_deref().map(Remembered::read).unwrap_or_default();
    if let Some(choice) = remembered.of(&key) {
        return choice;
    }
    let Ok(outcome) = measure(network, method, options, context, key) else { return usual };
    let choice = outcome.choice;
    // If there was no measurement, on a busy machine for instance, the next run tries again.
    if let (true, Some(path)) = (outcome.measured_usual(), path) {
        remembered.add(outcome);
        // Without a file the next run measures again.
        let _ = remembered.write(&path);
    }
    choice
}

/// An engine whose steps are measured.
struct Measured {
    engine: GpuEngine,
    /// The samples of a step.
    samples: Vec<u32>,
    adam: Adam,
}

impl Steps<Choice> for Measured {
    fn switch(&mut self, to: Choice) -> Result<()> {
        self.engine.switch(to)
    }

    fn run(&mut self, n: usize) -> Result<f64> {
        let clock = Instant::now();
        for _ in 0..n {
            self.engine.train_held(&self.samples, &self.adam)?;
        }
        self.engine.reports(true)?;
        Ok(clock.elapsed().as_secs_f64())
    }
}

impl Measured {
    /// Ready for the first step, on as many of `batch` samples as take about [`MEASUREMENT`] per step.
    fn new(network: &Network, method: Method, options: &GpuOptions, batch: usize) -> Result<Self> {
        let few = random_spikes(network, FEW.min(batch), DENSITY, 1)?;
        let weights = scaled_weights(network, &few, TARGET_DENSITY, 1)?;
        let mut engine = GpuEngine::new(network, method, &weights, GpuOptions { tuning: false, ..options.clone() })?;
        let few = few.len();
        // So small a rate keeps the weights, and so the activity.
        let adam = Adam { lr: 1e-30, ..Adam::with_lr(1.0) };
        let most = (EVENTS / (DENSITY * (network.inputs * network.time_steps) as f64)) as usize;
        let set = random_spikes(network, batch.min(most.max(few)), DENSITY, 1)?;
        let all = set.len();
        engine.hold(Arc::new(set))?;
        let mut measured = Measured { engine, samples: (0..few as u32).collect(), adam };
        // The first step makes pipelines and buffers.
        measured.run(1)?;
        let per_sample = measured.run(1)? / few as f64;
        let samples = ((MEASUREMENT / per_sample) as usize).clamp(few, all);
        measured.samples = (0..samples as u32).collect();
        Ok(measured)
    }
}

/// Sizes of δ worth measuring for steps of `samples` samples with `row_bytes` bytes of δ each: the default first, then those
/// that lead to other chunks. A binding has at most `binding` bytes.
fn delta_candidates(usual: DeltaScratch, row_bytes: u64, samples: usize, binding: u64) -> Vec<DeltaScratch> {
    let chunk = |size: DeltaScratch| DeltaScratch::of_bytes(size.bytes().min(binding)).chunk(row_bytes, samples);
    let mut candidates = vec![usual];
    for size in DELTA_SIZES {
        if candidates.iter().all(|&other| chunk(other) != chunk(size)) {
            candidates.push(size);
        }
    }
    candidates
}

/// The choice, and the ms per step of every candidate; `None` if it failed or there was no time for it.
type Compared = (Choice, Vec<(Choice, Option<f64>)>);

/// Compares `variants` at the default size of δ, then the sizes of δ in `deltas` with the fastest variant; all pairs would
/// take too long. The first of each is the default.
fn compare_all(steps: &mut dyn Steps<Choice>, variants: &[Variant], deltas: &[DeltaScratch]) -> Option<Compared> {
    let mut choice = Choice { variant: *variants.first()?, delta: *deltas.first()? };
    let (mut ms, mut warm) = (Vec::new(), WARM_UP);
    let mut stage = |candidates: Vec<Choice>| {
        if candidates.len() > 1 {
            let times = compare(steps, &candidates, std::mem::take(&mut warm), SECONDS);
            let in_ms = |time: &f64| time.is_finite().then_some(1e3 * time);
            ms.extend(candidates.iter().copied().zip(times.iter().map(in_ms)));
            return clearly_fastest(&candidates, &times);
        }
        candidates.first().copied()
    };
    choice = stage(variants.iter().map(|&variant| Choice { variant, ..choice }).collect())?;
    choice = stage(deltas.iter().map(|&delta| Choice { delta, ..choice }).collect())?;
    Some((choice, ms))
}

fn measure(network: &Network, method: Method, options: &GpuOptions, context: &Context, key: Key) -> Result<Outcome> {
    let usual = key.usual;
    let mut steps = Measured::new(network, method, options, key.batch)?;
    let samples = steps.samples.len();
    // Of convolutions' kernels only the forward pass has variants.
    let others = VARIANTS.into_iter().filter(|v| *v != usual.variant);
    let others = others.filter(|_| network.first_conv().is_none());
    let others = others.filter(|v| *v != Variant::Lockstep || lockstep::is_choice(network, context.binding));
    let variants: Vec<Variant> = std::iter::once(usual.variant).chain(others).collect();
    let lockstep = lockstep::first(network, Variant::Lockstep, context.binding, None);
    let limits = plan::Limits { binding: context.binding, memory: u64::MAX, lockstep };
    let row_bytes = plan::delta_row_bytes(network, &limits);
    let deltas = match key.delta_given {
        true => vec![usual.delta],
        false => delta_candidates(usual.delta, row_bytes, samples, context.binding),
    };
    let (choice, ms) = compare_all(&mut steps, &variants, &deltas).unwrap_or((usual, Vec::new()));
    Ok(Outcome { key, choice, samples, ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;
    use crate::weights::Weights;

    fn network() -> Network {
        let mut network = presets::ours("fmnist").unwrap().network;
        (network.inputs, network.time_steps) = (20, 30);
        network.set_hidden(&[16, 12]).unwrap();
        network
    }

    /// 16 neurons of 30 steps.
    const ROW_BYTES: u64 = 4 * 16 * 30;

    fn options(file: &Path) -> GpuOptions {
        GpuOptions { tuning: true, tuning_file: Some(file.into()), ..GpuOptions::default() }
    }

    fn open(options: &GpuOptions) -> (String, u64) {
        let weights = Weights::zeros_of(&network());
        let engine = GpuEngine::new(&network(), Method::Sparse, &weights, options.clone()).unwrap();
        (engine.kernels().unwrap().into(), engine.delta_bytes().unwrap())
    }

    #[test]
    fn outcomes_are_measured_once_remembered_and_can_be_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/tuning.json");
        let tuned = options(&file);
        let untuned = GpuOptions { tuning: false, ..tuned.clone() };
        let usual = open(&untuned);
        assert!(!file.exists(), "nothing is measured unasked");
        let forced = GpuOptions { variant: Some(Variant::Cooperative), ..tuned.clone() };
        assert_eq!(open(&forced), ("cooperative".into(), usual.1));
        assert!(!file.exists(), "nothing is measured for given kernels");

        let chosen = open(&tuned);
        let written = Remembered::read(&file);
        assert_eq!(written.outcomes.len(), 1);
        let outcome = &written.outcomes[0];
        assert_eq!((outcome.choice.variant.name(), outcome.choice.delta.bytes()), (&chosen.0[..], chosen.1));
        assert!(outcome.ms.len() >= 2 && outcome.ms.iter().all(|(_, ms)| ms.is_none_or(|ms| ms > 0.0)));
        // One chunk at the usual size: there is nothing to choose.
        assert!(outcome.ms.iter().all(|(choice, _)| choice.delta == outcome.key.usual.delta));

        // What is remembered holds, whatever was measured.
        for (variant, delta) in [(Variant::Cooperative, DeltaScratch::WHOLE), (Variant::Plain, DeltaScratch::mib(64))] {
            let mut outcome = outcome.clone();
            outcome.choice = Choice { variant, delta };
            let mut other = outcome.clone();
            other.key.sizes[1] += 1;
            other.choice.variant = Variant::Lockstep;
            Remembered { outcomes: vec![other, outcome] }.write(&file).unwrap();
            assert_eq!(open(&tuned), (variant.name().into(), delta.bytes()));
            assert_eq!(open(&forced), ("cooperative".into(), usual.1));
            assert_eq!(open(&untuned), usual);
        }

        // A damaged file is no failure, and does not stay damaged.
        std::fs::write(&file, b"{\"outcomes\": [").unwrap();
        open(&tuned);
        assert_eq!(Remembered::read(&file).outcomes.len(), 1);
        // Nor is a place where nothing can be written.
        std::fs::write(folder.path().join("file"), b"").unwrap();
        open(&options(&folder.path().join("file/tuning.json")));
    }

    /// Of a file written before δ was tuned nothing holds any more; what is understood beside it stays.
    #[test]
    fn outcomes_of_other_versions_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tuning.json");
        let old = r#"{"program": "0.1.0", "adapter": "a", "backend": "Vulkan", "driver": "d", "usual": "plain",
            "checked": false, "sizes": [784, 200, 200, 10], "time_steps": 100, "variant": "cooperative",
            "ms": [["plain", 2.5], ["cooperative", 2.0]]}"#;
        std::fs::write(&file, format!(r#"{{"outcomes": [{old}]}}"#)).unwrap();
        assert_eq!(Remembered::read(&file).outcomes, []);
        open(&options(&file));
        let new = Remembered::read(&file).outcomes;
        assert_eq!(new.len(), 1);
        let new_text = serde_json::to_string(&new[0]).unwrap();
        // Kernels that no longer exist.
        let removed = new_text.replace("cooperative", "subgroups");
        assert_ne!(removed, new_text);
        std::fs::write(&file, format!(r#"{{"outcomes": [{old}, {removed}, {new_text}]}}"#)).unwrap();
        assert_eq!(Remembered::read(&file).outcomes, new);
    }

    /// Steps that take the time that their candidate says.
    struct Pretended {
        ms: fn(Choice) -> f64,
        current: Option<Choice>,
    }

    impl Steps<Choice> for Pretended {
        fn switch(&mut self, to: Choice) -> Result<()> {
            self.current = Some(to);
            Ok(())
        }

        fn run(&mut self, n: usize) -> Result<f64> {
            Ok(1e-3 * n as f64 * self.current.map_or(0.0, self.ms))
        }
    }

    #[test]
    fn sizes_of_delta_are_compared_with_the_variant_that_won() {
        let deltas = [DeltaScratch::mib(8), DeltaScratch::mib(32), DeltaScratch::WHOLE];
        let compare =
            |ms, deltas: &[DeltaScratch]| compare_all(&mut Pretended { ms, current: None }, &VARIANTS, deltas).unwrap();
        let ms = |choice: Choice| match (choice.variant, choice.delta) {
            (Variant::Cooperative, DeltaScratch::WHOLE) => 0.2,
            (Variant::Cooperative, _) => 0.3,
            // Never found: the variant is chosen first.
            (_, DeltaScratch::WHOLE) => 0.1,
            _ => 0.4,
        };
        let (choice, measured) = compare(ms, &deltas);
        assert_eq!(choice, Choice { variant: Variant::Cooperative, delta: DeltaScratch::WHOLE });
        let of: Vec<_> = measured.iter().map(|(choice, _)| (choice.variant, choice.delta)).collect();
        let first = VARIANTS.map(|variant| (variant, deltas[0]));
        assert_eq!(of, [&first[..], &deltas.map(|delta| (Variant::Cooperative, delta))].concat());
        assert!(measured.iter().all(|(choice, time)| (time.unwrap() / ms(*choice) - 1.0).abs() < 1e-9));
        // A given size is kept, and variants are compared at it.
        let (choice, measured) = compare(ms, &deltas[1..2]);
        assert_eq!(choice, Choice { variant: Variant::Cooperative, delta: deltas[1] });
        assert_eq!(measured.len(), VARIANTS.len());
        // So slow that there is no time for others than the usual.
        let (choice, measured) = compare(|choice| if choice.variant == Variant::Plain { 1.4e3 } else { 0.1 }, &deltas);
        let usual = Choice { variant: Variant::Plain, delta: deltas[0] };
        assert_eq!(choice, usual);
        assert!(measured.iter().all(|(choice, time)| time.is_none() || *choice == usual), "{measured:?}");
    }

    #[test]
    fn a_given_size_of_delta_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tuning.json");
        let given = GpuOptions { delta_bytes: Some(2 * ROW_BYTES), batch: Some(6), ..options(&file) };
        assert_eq!(open(&given).1, 2 * ROW_BYTES);
        let outcome = Remembered::read(&file).outcomes.remove(0);
        assert!(outcome.key.delta_given && outcome.samples == 6);
        assert!(outcome.ms.iter().all(|(choice, _)| choice.delta.bytes() == 2 * ROW_BYTES), "{outcome:?}");
    }

    #[test]
    fn sizes_that_make_the_same_chunks_are_not_measured() {
        let mib = DeltaScratch::mib;
        let of = |usual, row: u64, samples, binding: u64| delta_candidates(usual, row << 10, samples, binding << 20);
        assert_eq!(of(mib(8), 80, 64, 2048), [mib(8)], "5 MiB");
        assert_eq!(of(mib(4), 80, 64, 2048), [mib(4), mib(8)]);
        assert_eq!(of(mib(8), 240, 256, 2048), [mib(8), mib(32), mib(64)], "60 MiB");
        assert_eq!(of(mib(8), 1200, 256, 2048), [mib(8), mib(32), mib(64), mib(256), DeltaScratch::WHOLE], "300 MiB");
        assert_eq!(of(mib(8), 1200, 256, 128), [mib(8), mib(32), mib(64), mib(256)], "as much as is bound");
        assert_eq!(of(mib(8), 5000, 256, 128), [mib(8), mib(32), mib(64), mib(256)]);
    }

    #[test]
    fn old_outcomes_make_room() {
        let choice = |variant| Choice { variant, delta: DeltaScratch::mib(4) };
        let key = |n: usize| Key {
            program: "1".into(),
            adapter: "a".into(),
            backend: "b".into(),
            driver: "c".into(),
            usual: choice(Variant::Plain),
            delta_given: false,
            checked: false,
            binding: 1 << 27,
            sizes: vec![n],
            connections: Vec::new(),
            recurrent: Vec::new(),
            time_steps: 3,
            batch: 256,
        };
        let outcome = |n, variant| Outcome { key: key(n), choice: choice(variant), samples: 1, ms: Vec::new() };
        let mut remembered = Remembered::default();
        for n in 0..REMEMBERED + 5 {
            remembered.add(outcome(n, Variant::Plain));
        }
        remembered.add(outcome(9, Variant::Cooperative));
        assert_eq!(remembered.outcomes.len(), REMEMBERED);
        assert_eq!((remembered.of(&key(4)), remembered.of(&key(9))), (None, Some(choice(Variant::Cooperative))));
    }
}
