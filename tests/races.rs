//! No kernel has a data race: all kernels in all variants log their memory accesses during steps with the shapes of the
//! twin tests, and the logs are analysed. Races inserted into the shaders must be found.

#[path = "common/cases.rs"]
mod cases;
mod common;
#[path = "common/shapes.rs"]
mod shapes;

use cases::{Case, cases};
use common::*;
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rayon::prelude::*;
use shapes::*;
use spikegrad::Error;
use spikegrad::engine::{Engine, Method, TrainingState};
use spikegrad::events::EventSet;
use spikegrad::gpu::races::{Checked, Fault, Finding, Races};
use spikegrad::gpu::shaders::ALL;
use spikegrad::gpu::{GpuEngine, GpuOptions, Instrument, Tier, VARIANTS, Variant};
use spikegrad::network::Network;
use spikegrad::optimiser::Adam;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An engine whose kernels log.
fn logging(network: &Network, method: Method, options: &GpuOptions) -> GpuEngine {
    let options = GpuOptions { instrument: Some(Instrument::Races), ..options.clone() };
    gpu(network, method, &TrainingState::new(strong_weights(network, 3)), options)
}

/// Steps of each purpose, from the host and from a training set on the device.
fn all_purposes(engine: &mut GpuEngine, batch: &EventSet) -> Races {
    let adam = Adam::with_lr(1e-3);
    let samples: Vec<u32> = (0..batch.len() as u32).rev().collect();
    engine.predict(batch).unwrap();
    engine.inspect(batch).unwrap();
    if matches!(engine.method(), Method::Sparse | Method::Auto) {
        let pass = engine.forward(batch).unwrap();
        let errors = vec![0.1; pass.logits.len()];
        let gradient = engine.backward(pass, &errors).unwrap();
        engine.update(&gradient, &adam).unwrap();
    }
    engine.train(batch, &adam).unwrap();
    engine.hold(batch.clone().into()).unwrap();
    engine.train_held(&samples, &adam).unwrap();
    engine.reports(true).unwrap();
    engine.races().unwrap()
}

fn of_case(case: &Case, options: &GpuOptions) -> Races {
    let network = &case.network;
    let mut engine = logging(network, case.method, options);
    if let Some(layers) = &case.layers {
        engine.set_layer_methods(layers).unwrap();
    }
    all_purposes(&mut engine, &batch(network.inputs, network.time_steps, network.classes(), 7, 0.1, 1))
}

fn of_shape(shape: &Shape, method: Method, options: &GpuOptions) -> Races {
    all_purposes(&mut logging(&shape.network(), method, options), &shape.batch())
}

type Run = Box<dyn Fn() -> Races + Send + Sync>;

/// What the kernels run over.
fn all() -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    for case in cases() {
        all.push(Box::new(move || of_case(&case, &case.options)));
    }
    let mut shape_of = |shape: Shape, method: Method, options: GpuOptions| {
        all.push(Box::new(move || of_shape(&shape, method, &options)));
    };
    let mut runner = TestRunner::deterministic();
    let mut draw = || (shapes(), variants(), any::<[bool; 3]>()).new_tree(&mut runner).unwrap().current();
    for k in 0..24 {
        let (shape, variant, [small, cut, hardware]) = draw();
        let tier = Some(if hardware { Tier::Hardware } else { Tier::Software });
        match k % 6 {
            0 => shape_of(shape, Method::Dense, GpuOptions { tier, ..GpuOptions::default() }),
            1 => shape_of(shape, Method::Reference, GpuOptions { tier, ..GpuOptions::default() }),
            _ => {
                let shape = Shape { cells: (k % 2 == 0).then_some(k), ..shape };
                let options = GpuOptions {
                    variant: Some(variant),
                    delta_bytes: small.then_some(1),
                    density_guess: small.then_some(1e-9),
                    ..GpuOptions::default()
                };
                let options = if cut { in_pieces(&shape.network(), options) } else { options };
                shape_of(shape, Method::Sparse, options);
            }
        }
    }
    let usual = GpuOptions::default();
    for extreme in [
        shape(1, &[1], 1, 1, 1, 1.0),
        shape(5, &[7, 3], 4, 33, 3, 0.0),
        shape(3, &[300], 2, 20, 2, 0.3),
        shape(40, &[5, 4, 3, 2], 70, 64, 2, 0.1),
        Shape { b_th: f64::INFINITY, ..shape(20, &[17, 9], 5, 65, 3, 0.3) },
        shape(4, &[6], 2, 3000, 1, 0.002),
        shape(2, &[3], 2, 900, 320, 0.0005),
    ] {
        shape_of(extreme, Method::Sparse, usual.clone());
    }
    for variant in VARIANTS {
        let options = GpuOptions { variant: Some(variant), ..usual.clone() };
        shape_of(shape(40, &[70, 33], 70, 64, 12, 0.1), Method::Sparse, options);
    }
    for seed in 0..8 {
        let network = random_convs(seed);
        let options = match seed % 4 {
            0 => GpuOptions { delta_bytes: Some(1), ..GpuOptions::default() },
            1 => in_pieces(&network, GpuOptions::default()),
            2 => GpuOptions { density_guess: Some(1e-9), ..GpuOptions::default() },
            _ => GpuOptions { tier: Some(Tier::Hardware), ..GpuOptions::default() },
        };
        all.push(Box::new(move || {
            let density = [0.02, 0.1, 0.25][seed as usize % 3];
            let batch = batch(network.inputs, network.time_steps, 4, 1 + seed as usize % 6, density, seed);
            all_purposes(&mut logging(&network, Method::Sparse, &options), &batch)
        }));
    }
    all
}

#[test]
fn no_kernel_has_a_data_race() {
    let all = all();
    let mut checked: BTreeMap<String, Checked> = BTreeMap::new();
    let mut found: BTreeMap<String, Finding> = BTreeMap::new();
    for races in all.par_iter().map(|run| run()).collect::<Vec<_>>() {
        for (kernel, one) in races.checked {
            let sum = checked.entry(kernel).or_default();
            sum.dispatches += one.dispatches;
            sum.accesses += one.accesses;
        }
        for finding in races.found {
            let lines = finding.accesses.iter().map(|access| access.line).collect::<Vec<_>>();
            found.entry(format!("{} {} {lines:?}", finding.kernel, finding.fault)).or_insert(finding);
        }
    }
    let dispatches: u64 = checked.values().map(|one| one.dispatches).sum();
    let accesses: u64 = checked.values().map(|one| one.accesses).sum();
    let kernels = checked.keys().map(|name| name.split('+').next().unwrap()).collect::<BTreeSet<_>>().len();
    println!(
        "{kernels} kernels in {} variants, {} networks, {dispatches} dispatches, {accesses} accesses; {} findings",
        checked.len(),
        all.len(),
        found.len()
    );
    let listed = ALL.iter().flat_map(|kernel| kernel.variants.iter().map(|names| kernel.variant_name(names)));
    let never: Vec<String> = listed.filter(|name| !checked.contains_key(name)).collect();
    let list: Vec<String> = found.values().map(Finding::to_string).collect();
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), list.join("\n"));
    assert_eq!(never, [""; 0], "never looked at");
}

/// A kernel's file, what is changed in it, which case shows it, and the variable at which what is to be found.
type Planted = (&'static str, &'static [(&'static str, &'static str)], (&'static str, How), &'static str, Fault);

/// Which of the cases of a name.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    With(Variant),
    On(Tier),
}

use Fault::{EqualStores, NeverStored, OutOfRange, Race, Unordered};
use How::{On, With};
use Tier::{Hardware, Software};
use Variant::{Cooperative, Plain};

#[rustfmt::skip]
const PLANTED: &[Planted] = &[
    // A barrier removed.
    ("compact", &[("lows[padded] = low;\n    workgroupBarrier();", "lows[padded] = low;")], ("whole", With(Plain)), "sums", Race),
    ("compact", &[("root_lows[lane] = low;\n    }\n    workgroupBarrier();", "root_lows[lane] = low;\n    }")], ("in small workgroups", With(Cooperative)), "root_sums", Race),
    ("summarise", &[("root_terms[lane] = term;\n    }\n    workgroupBarrier();", "root_terms[lane] = term;\n    }")], ("whole", With(Plain)), "root_sums", Race),
    ("spike_gradient", &[("partial[lane] = total;\n        workgroupBarrier();", "partial[lane] = total;")], ("whole", With(Cooperative)), "partial", Race),
    ("gemm", &[("        workgroupBarrier();\n        for (var d = 0u", "        for (var d = 0u")], ("dense", On(Hardware)), "a_tile", Race),
    ("gemm", &[("s11 = multiply_add(s11, y1, x1);\n        }\n        workgroupBarrier();", "s11 = multiply_add(s11, y1, x1);\n        }")], ("dense, long", On(Hardware)), "b_tile", Race),
    ("loss", &[("        workgroupBarrier();\n        if lane < width {\n            sums", "        if lane < width {\n            sums")], ("whole", With(Plain)), "sums", Race),
    ("scan_apply", &[("        workgroupBarrier();\n        sums[lane] += left;", "        sums[lane] += left;")], ("whole", With(Plain)), "sums", Race),
    ("scan_reduce", &[("        workgroupBarrier();\n", "")], ("in small workgroups", With(Plain)), "sums", Race),
    ("dense_input", &[("    storageBarrier();\n", "")], ("layers of either method", On(Software)), "spikes", Race),
    ("gather", &[("    storageBarrier();\n", "")], ("whole", With(Plain)), "counts", Unordered),
    // A barrier for the other kind of memory.
    ("dense_input", &[("storageBarrier", "workgroupBarrier")], ("layers of either method", On(Software)), "spikes", Race),
    ("summarise", &[("    terms[lane] = term;\n    workgroupBarrier();", "    terms[lane] = term;\n    storageBarrier();")], ("whole", With(Plain)), "terms", Race),
    // An atomic operation made plain.
    ("gather", &[("needed: array<atomic<u32>>", "needed: array<u32>"),
        ("atomicStore(&needed[b * p.words + w], 0u);", "needed[b * p.words + w] = 0u;"),
        ("atomicOr(&needed[b * p.words + (t >> 5u)], 1u << (t & 31u));", "needed[b * p.words + (t >> 5u)] |= 1u << (t & 31u);")],
        ("whole", With(Plain)), "needed", Race),
    ("readout", &[("array<atomic<u32>>;  // [1]: layers with a V that is not finite\n#ifdef RECORD\n@group(0) @binding(7)",
        "array<u32>;  // [1]\n#ifdef RECORD\n@group(0) @binding(7)"),
        ("    if not_finite(v) {\n        atomicOr(&status[1], p.layer_bit);\n    }", "    status[1] |= p.layer_bit & select(0u, 1u, not_finite(v));")],
        ("whole", With(Plain)), "status", Race),
    // A lane that is not alone.
    ("spike_gradient", &[("if inside && first_part == 0u {", "if inside {")], ("whole", With(Cooperative)), "entry_errors", Race),
    ("activity", &[("if inside && lane == 0u {", "if inside {")], ("dense", On(Software)), "activity", Race),
    ("summarise", &[("if lane != 0u || block > blocks {", "if block > blocks {")], ("whole", With(Plain)), "report", EqualStores),
    ("report", &[("if lane == 0u {", "if lane < 2u {")], ("whole", With(Plain)), "report", EqualStores),
    // Two lanes at one place.
    ("delta", &[("delta[(local * p.steps + t) * p.strip_quads + own] = drive", "delta[(local * p.steps + t) * p.strip_quads] = drive")], ("whole", With(Plain)), "delta", Race),
    ("delta", &[("delta[(p.chunk_samples * p.steps + local) * p.strip_quads + own] = sum", "delta[(p.chunk_samples * p.steps + local) * p.strip_quads] = sum")], ("biases", With(Plain)), "delta", Race),
    ("spike_count", &[("logits[id] = logit;", "logits[id / 2u] = logit;")], ("other cells", With(Plain)), "logits", Race),
    ("lif_forward", &[("+ t - begin) * LANES + lane] = distance", "+ t - begin) * LANES + lane / 2u] = distance")], ("whole", With(Plain)), "distances", Race),
    ("weight_gradient", &[("let own = i * p.strip_quads + q;", "let own = i / 2u * p.strip_quads + q;")], ("in chunks", With(Plain)), "gradient", Race),
    ("scatter_rows", &[("next[t * LANES + lane] = to + 1u;", "next[t * LANES + lane / 2u] = to + 1u;")], ("whole", With(Plain)), "next", Race),
    ("sort_input", &[("k < end; k++", "k <= end; k++")], ("whole", With(Plain)), "presynaptic", Race),
    // What is no race.
    ("loss", &[("sums[lane] = sum;", "sums[lane + 1u] = sum;")], ("whole", With(Plain)), "sums", NeverStored),
    ("gemm_sum", &[("out[id] = sum;", "out[id + p.quads] = sum;")], ("dense, long", On(Software)), "out", OutOfRange),
];

fn source(kernel: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    std::fs::read_to_string(folder.join(kernel).with_extension("wgsl")).unwrap()
}

/// The finding with the change, if it is the expected one.
fn noticed(&(kernel, edits, (name, how), variable, fault): &Planted) -> Result<Finding, String> {
    let mut text = source(kernel);
    for (from, to) in edits {
        assert_eq!(text.matches(from).count(), 1, "{kernel}: `{from}` must occur once; adapt the change");
        text = text.replace(from, to);
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(kernel).with_extension("wgsl"), text).unwrap();
    let fits = |case: &Case| {
        case.name == name
            && match how {
                With(variant) => case.options.variant == Some(variant),
                On(tier) => case.options.variant.is_none() && case.options.tier == Some(tier),
            }
    };
    let case = cases().into_iter().find(fits).unwrap_or_else(|| panic!("no case `{name}` {how:?}"));
    let options = GpuOptions { shaders: Some(folder.path().into()), ..case.options.clone() };
    let mut engine = logging(&case.network, case.method, &options);
    if let Some(layers) = &case.layers {
        engine.set_layer_methods(layers).unwrap();
    }
    let network = &case.network;
    let batch = batch(network.inputs, network.time_steps, network.classes(), 7, 0.1, 1);
    // A broken kernel may make the step fail; the log until then is analysed.
    let outcome = engine.train(&batch, &Adam::with_lr(1e-3)).and_then(|()| engine.reports(true).map(drop));
    let found = engine.races().map_err(|error| format!("{error}, {outcome:?}"))?.found;
    let fits = |found: &&Finding| {
        found.kernel.split('+').next() == Some(kernel) && found.variable == variable && found.fault == fault
    };
    let hit = found.iter().find(fits).cloned();
    hit.ok_or_else(|| format!("{outcome:?}, {}", found.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")))
}

#[test]
fn planted_races_are_found() {
    let outcomes: Vec<_> = PLANTED.par_iter().map(|planted| (planted, noticed(planted))).collect();
    for (planted, outcome) in &outcomes {
        if let Ok(found) = outcome {
            println!("{:?}\n{found}\n", planted.1);
            for access in &found.accesses {
                assert!(access.text.contains(&found.variable), "{found}: a line without the variable");
            }
            if matches!(found.fault, Race | EqualStores | Unordered) {
                let [a, b] = &found.accesses[..] else { panic!("{found}: a race has two sides") };
                assert_ne!((a.workgroup, a.lane), (b.workgroup, b.lane), "{found}: a race with itself");
            }
        }
    }
    let missed = outcomes.iter().filter_map(|(planted, outcome)| Some((planted, outcome.as_ref().err()?)));
    let missed: Vec<String> = missed.map(|(planted, why)| format!("{planted:?}\n{why}")).collect();
    assert!(missed.is_empty(), "{} of {} not found:\n{}", missed.len(), PLANTED.len(), missed.join("\n\n"));
}

#[test]
fn a_step_that_logs_has_the_bits_of_a_plain_one() {
    let network = network(30, &[40, 20], 5, 50);
    let state = TrainingState::new(strong_weights(&network, 3));
    let batch = batch(30, 50, 5, 9, 0.06, 3);
    for (method, tier) in [(Method::Sparse, Software), (Method::Sparse, Hardware), (Method::Dense, Hardware)] {
        let run = |instrument: Option<Instrument>| {
            // Lists too small at first, so that a step is run again; several chunks.
            let options = GpuOptions {
                instrument,
                tier: Some(tier),
                delta_bytes: Some(8192),
                density_guess: Some(0.001),
                ..GpuOptions::default()
            };
            let mut engine = gpu(&network, method, &state, options);
            for _ in 0..3 {
                engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
            }
            (engine.reports(true).unwrap(), engine.store().unwrap())
        };
        assert_eq!(run(Some(Instrument::Races)), run(None), "{method:?} {tier:?}");
    }
}

#[test]
fn an_engine_that_does_not_log_says_so() {
    let network = network(10, &[8], 3, 20);
    let mut engine =
        GpuEngine::new(&network, Method::Sparse, &strong_weights(&network, 3), GpuOptions::default()).unwrap();
    engine.train(&batch(10, 20, 3, 2, 0.1, 1), &Adam::with_lr(1e-3)).unwrap();
    assert!(matches!(engine.races(), Err(Error::Device(_))));
}
