//! Checks recorded steps without a GPU. Steps of all methods are recorded and submitted on wgpu's `noop` backend, which
//! validates bindings and computes nothing. Each binding must have the size that the parameters imply, nothing may be read
//! before it is written, no weight after its update; forward, backward and update must be in order, and the dispatches must
//! be those of a real adapter.

#[path = "common/cases.rs"]
mod cases;
mod common;

use cases::{Case, cases};
use common::*;
use naga::valid::{Capabilities, GlobalUse, ValidationFlags, Validator};
use spikegrad::engine::{Engine, Method};
use spikegrad::events::EventSet;
use spikegrad::gpu::schedule::{Bound, Schedule, Scheduled};
use spikegrad::gpu::shaders::{ALL, OVERRIDES};
use spikegrad::gpu::{GpuEngine, GpuOptions, Phase, Purpose};
use spikegrad::optimiser::Adam;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const SAMPLES: usize = 7;

/// Has an engine record and submit steps of each purpose, from the host and from a training set on the device.
fn record(case: &Case, options: GpuOptions) -> (Vec<Schedule>, GpuEngine) {
    let network = &case.network;
    let (what, noop) = (case.name, options.backends == Some(wgpu::Backends::NOOP));
    let weights = strong_weights(network, 3);
    let mut engine = GpuEngine::new(network, case.method, &weights, options).unwrap_or_else(|e| panic!("{what}: {e}"));
    if let Some(layers) = &case.layers {
        engine.set_layer_methods(layers).unwrap();
    }
    let set = batch(network.inputs, network.time_steps, network.classes(), 12, 0.1, 1);
    let samples: Vec<u32> = (0..SAMPLES as u32).collect();
    let mut batch = EventSet::new(0, 0);
    batch.gather(&set, &samples);
    engine.hold(set.into()).unwrap();
    // Nothing runs on noop, so the step is an error, but it is recorded and submitted.
    let ran = |done: spikegrad::Result<()>| match done {
        Err(error) if noop && error.to_string().contains("did not run") => {}
        Ok(()) if !noop => {}
        other => panic!("{what}: {other:?}"),
    };
    ran(engine.predict(&batch).map(drop));
    ran(engine.inspect(&batch).map(drop));
    // On noop there is no forward pass to continue.
    if !noop && matches!(case.method, Method::Sparse | Method::Auto) {
        let pass = engine.forward(&batch).unwrap();
        let errors = vec![0.1; pass.logits.len()];
        engine.backward(pass, &errors).unwrap();
        engine.gradient(&batch).unwrap();
    }
    engine.train(&batch, &Adam::with_lr(1e-3)).unwrap_or_else(|e| panic!("{what}, a batch: {e}"));
    engine.train_held(&samples, &Adam::with_lr(1e-3)).unwrap_or_else(|e| panic!("{what}, from the set: {e}"));
    (engine.schedules(), engine)
}

fn on_noop(case: &Case) -> (Vec<Schedule>, GpuEngine) {
    record(case, GpuOptions { backends: Some(wgpu::Backends::NOOP), ..case.options.clone() })
}

/// What a kernel's text says of its bindings: the comment behind each, the bytes of an element, and whether it is read
/// and written.
struct Declared {
    comment: String,
    element: u64,
    usage: GlobalUse,
}

/// By name; of a variant that was asked for before, from memory.
fn declared(dispatch: &Scheduled) -> Arc<BTreeMap<String, Declared>> {
    type Known = BTreeMap<(&'static str, Vec<&'static str>), Arc<BTreeMap<String, Declared>>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    let of = known.entry((dispatch.program.kernel.name, dispatch.program.defined.clone()));
    of.or_insert_with(|| Arc::new(parse(dispatch))).clone()
}

fn parse(dispatch: &Scheduled) -> BTreeMap<String, Declared> {
    let wgsl = dispatch.program.kernel.wgsl(&dispatch.program.defined);
    let module = naga::front::wgsl::parse_str(&wgsl).unwrap();
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
    let variables = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some());
    variables
        .map(|(handle, variable)| {
            let name = variable.name.clone().unwrap();
            let element = match module.types[variable.ty].inner {
                naga::TypeInner::Array { stride, .. } => u64::from(stride),
                ref other => u64::from(other.size(module.to_ctx())),
            };
            let line =
                wgsl.lines().find(|line| line.contains(&format!("> {name}:")) && line.starts_with("@group")).unwrap();
            let comment = line.split_once("//").map_or("", |(_, comment)| comment.trim()).to_string();
            (name, Declared { comment, element, usage: info.get_entry_point(0)[handle] })
        })
        .collect()
}

/// A parameter of a dispatch, whether its kernel reads it or not.
fn parameter(dispatch: &Scheduled, name: &str) -> u64 {
    let value = dispatch.parameters.get(name);
    value.unwrap_or_else(|| panic!("{} has no parameter `{name}`", dispatch.label)).into()
}

/// The value of a shape such as `(B + 1)` or `(chunk T, strip_quads)`: the product of its extents.
fn extent(shape: &str, of: &dyn Fn(&str) -> u64) -> u64 {
    let product =
        |words: &str| words.split_whitespace().map(|word| word.parse().unwrap_or_else(|_| of(word))).product::<u64>();
    let sum = |extent: &str| extent.split('+').map(product).sum::<u64>();
    shape.split(',').map(sum).product()
}

/// Elements of a binding that the parameters of a dispatch imply, from the shape in the comment behind it where that
/// is one, else from what is known of the name. `None`: any number, which the kernel looks up.
fn least_elements(dispatch: &Scheduled, name: &str, comment: &str) -> Option<u64> {
    let has = |word| dispatch.program.defined.contains(&word);
    let p = |name: &str| parameter(dispatch, name);
    match dispatch.program.kernel.name {
        // Parts of several layers, wherever they are.
        kernel if kernel.starts_with("lockstep") && !["input_start", "input_events", "status"].contains(&name) => {
            return None;
        }
        "gemm" => {
            return Some(match name {
                "a" => p(if has("A_TRANSPOSED") { "depth" } else { "rows" }) * p("a_quads"),
                "b" => p(if has("B_TRANSPOSED") { "cols" } else { "depth" }) * p("b_quads"),
                _ => p("depth").div_ceil(p("part_depth")) * p("rows") * p("out_quads"),
            });
        }
        "gemm_sum" => return Some(p("quads") * if name == "parts" { p("parts") } else { 1 }),
        // A lane a quad, 64 in a workgroup.
        "adam" => return Some(if name == "status" { 3 } else { 64 * (dispatch.groups - 1) + 1 }),
        _ => {}
    }
    let symbol = |word: &str| -> u64 {
        let filters = || p("neurons") / (p("quads") / p("pool_quads"));
        let (kernel, map) = (|| p("kernel") * p("kernel"), || p("map_height") * p("map_width"));
        match word {
            "B" => p("batch"),
            "T" => p("steps"),
            "words" => p("words"),
            "Q" => p("quads"),
            "Q_in" => p("inputs").div_ceil(4),
            // In sums over the presynaptic sections only, where the samples of all chunks are the batch.
            "samples_of_it" => 1,
            "chunk" if comment.contains("samples of it") => p("batch"),
            "chunk" => p("chunk_samples"),
            "N_in" | "inputs" => p("inputs"),
            "bias" => dispatch.program.constants.contains(&("BIAS", 1)).into(),
            // What the layer above reads of a convolution is pooled.
            "N" if has("POOL") => filters() * p("windows"),
            "N" => p("neurons"),
            "strip_quads" => p("strip_quads"),
            "counts" => p("counts"),
            "scanned" => p("scanned"),
            "blocks" => p("counts").div_ceil(256 * p("per_lane")),
            "filter_quads" => p("filter_quads"),
            "pixels" => p("rows") * p("columns"),
            // Of the layer above, in the spike gradient: this layer's maps are its channels.
            "patch" if has("POOL") => kernel() * filters(),
            "patch" if dispatch.program.kernel.name == "spike_gradient_conv" => kernel() * p("neurons") / map(),
            "patch" => kernel() * p("inputs") / map(),
            _ => panic!("{}, {name}: what is `{word}` in `{comment}`?", dispatch.program.kernel.name),
        }
    };
    let comment = comment.replace("samples of it", "samples_of_it");
    // Which of two shapes.
    let shape = match comment.split_once(", CONV: ") {
        Some((_, conv)) if has("CONV") => conv,
        Some((other, _)) => other,
        None => match comment.split_once(" or (") {
            Some((starts, _)) if starts.starts_with('(') => {
                if p("input_stride") == 1 {
                    starts
                } else {
                    &comment[starts.len() + 4..]
                }
            }
            _ => &comment,
        },
    };
    if let Some((shape, behind)) = shape.strip_prefix('(').and_then(|shape| shape.split_once(')')) {
        return Some(extent(shape, &symbol) + u64::from(behind.contains("then the total")));
    }
    let (scan, batch) = (p("counts"), p("batch"));
    let chains = scan + 1 + batch * (1 + p("quads"));
    match (dispatch.program.kernel.name, name) {
        (_, "staged" | "active_entries" | "entry_errors") => Some(p("active_capacity")),
        ("compact" | "scatter_rows" | "scatter_presynaptic", "events" | "presynaptic") => Some(p("event_capacity")),
        (_, "events" | "input_events" | "presynaptic") => Some(p("input_capacity")),
        ("scatter_input", "counts") => Some(batch * p("inputs")),
        ("compact" | "summarise", "counts") => Some(chains + 2 * p("scanned").div_ceil(256 * p("per_lane"))),
        ("pool", "counts") => Some(scan + 1 + batch),
        (_, "counts") => Some(chains),
        (_, "offsets") => Some(scan + 1),
        (_, "presynaptic_start") => {
            Some(p("presynaptic_at") + (p("inputs") - 1) * p("presynaptic_stride") + p("chunk_samples") + 1)
        }
        // Rows of the two words that a layer sums, and the two behind them.
        ("report", "report") => Some(p("report_at") + 2),
        (_, "report") => Some(p("report_at") + 4),
        (_, "status") => Some(3),
        (_, "step") => Some(1),
        (_, "samples") => Some(batch + 1),
        // As many as the pixels see of the input's events.
        (_, "held" | "patches") => None,
        _ => {
            panic!("{}, binding `{name}`: neither a shape in its comment nor known here", dispatch.program.kernel.name)
        }
    }
}

fn large_enough(case: &str, schedule: &Schedule) -> usize {
    let mut checked = 0;
    for dispatch in &schedule.dispatches {
        let declared = declared(dispatch);
        for bound in dispatch.bindings.iter().filter(|bound| bound.access != "uniform") {
            let Declared { comment, element, .. } = &declared[&bound.name];
            let Some(least) = least_elements(dispatch, &bound.name, comment) else { continue };
            assert!(
                bound.bytes >= least * element,
                "{case}, {}: {} has {} bytes, its parameters imply {least} elements of {element}\n{schedule}",
                dispatch.label,
                bound.name,
                bound.bytes
            );
            checked += 1;
        }
    }
    checked
}

/// What the host writes before a step: weights and moments; the batch; flags and the number of the step.
fn from_the_host(schedule: &Schedule, strips: usize) -> BTreeSet<usize> {
    // Weights, moments, gradient of each strip; the gradient comes from the device.
    let mut host: BTreeSet<usize> = (0..4 * strips).filter(|number| number % 4 != 3).collect();
    let bound = |name: &str| schedule.dispatches.iter().flat_map(|d| &d.bindings).find(|bound| bound.name == name);
    let batch = ["starts", "events", "input_start", "input_events", "labels"];
    let names = if schedule.held { &["samples", "held"][..] } else { &batch[..] };
    host.extend(names.iter().chain(&["status", "step"]).filter_map(|name| bound(name)).map(|bound| bound.number));
    // The constants of Adam.
    let bindings = schedule.dispatches.iter().flat_map(|d| &d.bindings);
    host.extend(bindings.filter(|bound| bound.access == "uniform").map(|bound| bound.number));
    if schedule.purpose == Purpose::GivenErrors {
        host.extend(bound("errors").map(|bound| bound.number));
        // There is no loss but zeros.
        let cleared: BTreeSet<usize> = schedule.cleared.iter().map(|bound| bound.number).collect();
        host.extend(bound("per_sample").map(|bound| bound.number).filter(|number| cleared.contains(number)));
    }
    if schedule.held {
        // A set in several buffers.
        let held = schedule.dispatches.iter().flat_map(|d| &d.bindings).filter(|bound| bound.name == "held");
        host.extend(held.map(|bound| bound.number));
    }
    let bindings = schedule.dispatches.iter().flat_map(|d| &d.bindings);
    let parts = bindings.filter(|bound| bound.overlaps.iter().any(|number| host.contains(number)));
    let whole: Vec<usize> = parts.map(|bound| bound.number).collect();
    host.extend(whole);
    host
}

/// Whether a dispatch reads what it finds in a binding, or only what it has written itself.
fn finds(dispatch: &Scheduled, bound: &Bound) -> bool {
    let p = |name: &str| parameter(dispatch, name);
    match (dispatch.program.kernel.name, bound.name.as_str()) {
        // Sums of chunks and pieces: the first replaces what stands there.
        ("weight_gradient" | "weight_gradient_conv" | "lockstep_weights", "gradient") => {
            p("first_sample") > 0 || p("accumulate") == 1
        }
        // Parts of the time steps: the first finds nothing.
        ("lockstep_forward", "spike_words" | "entries" | "state") => p("from_step") > 0,
        ("lockstep_backward", "delta") => p("to_step") < p("steps"),
        // Steps in time: the first finds nothing.
        ("reference_lif", "spikes") => p("time") > 0,
        ("reference_delta", "now") => p("time") + 1 < p("steps"),
        // Sums of strips.
        ("spike_gradient" | "spike_gradient_conv", "entry_errors") => p("first_quad") > 0,
        // A sample's are zeroed before they are counted.
        ("gather", "counts" | "needed") => false,
        ("gemm_sum", "out") => p("accumulate") == 1,
        _ => true,
    }
}

fn in_order(case: &str, schedule: &Schedule, strips: usize) -> usize {
    let mut written = from_the_host(schedule, strips);
    // Zeros are there to be added to.
    let cleared: BTreeSet<usize> = schedule.cleared.iter().map(|bound| bound.number).collect();
    if !schedule.whole.0 {
        // Earlier pieces have begun the gradient.
        let of_layers: BTreeSet<usize> = (0..4 * strips).filter(|number| number % 4 == 3).collect();
        let bindings = schedule.dispatches.iter().flat_map(|d| &d.bindings);
        let joint = bindings.filter(|bound| bound.overlaps.iter().any(|number| of_layers.contains(number)));
        written.extend(joint.map(|bound| bound.number));
        written.extend(of_layers);
    }
    let weights: BTreeSet<usize> = (0..4 * strips).filter(|number| number % 4 == 0).collect();
    let mut updated = BTreeSet::new();
    let mut reads = 0;
    for dispatch in &schedule.dispatches {
        let declared = declared(dispatch);
        let usage = |bound: &Bound| declared[&bound.name].usage;
        for bound in &dispatch.bindings {
            if usage(bound).contains(GlobalUse::READ) && finds(dispatch, bound) {
                let number = bound.number;
                let added_to = usage(bound).contains(GlobalUse::WRITE) && cleared.contains(&number);
                assert!(
                    written.contains(&number) || added_to,
                    "{case}, {}: {} is read before it is written\n{schedule}",
                    dispatch.label,
                    bound.name
                );
                let numbers = || bound.overlaps.iter().chain([&number]);
                assert!(
                    dispatch.program.kernel.name == "lockstep_weights" || !numbers().any(|n| updated.contains(n)),
                    "{case}, {}: {} is read after its update\n{schedule}",
                    dispatch.label,
                    bound.name
                );
                reads += 1;
            }
        }
        for bound in dispatch.bindings.iter().filter(|bound| usage(bound).contains(GlobalUse::WRITE)) {
            for number in bound.overlaps.iter().chain([&bound.number]) {
                written.insert(*number);
                // Of the first of its layers, this kernel updates other rows.
                let rest = dispatch.program.kernel.name == "lockstep_weights";
                if weights.contains(number) {
                    assert!(updated.insert(*number) || rest, "{case}, {}: updated twice\n{schedule}", dispatch.label);
                }
            }
        }
    }
    let training = schedule.purpose == Purpose::Train && schedule.whole.1;
    let expected = if training { weights } else { BTreeSet::new() };
    assert_eq!(updated, expected, "{case}: weights updated\n{schedule}");
    let phases: Vec<u8> = schedule.dispatches.iter().map(|dispatch| dispatch.phase as u8).collect();
    assert!(phases.is_sorted(), "{case}: {phases:?}");
    let backward = schedule.dispatches.iter().any(|dispatch| dispatch.phase == Phase::Backward);
    assert_eq!(backward, schedule.purpose != Purpose::Evaluate, "{case}");
    reads
}

/// Strips of weights: they have the first numbers, four buffers each.
fn strips_of(schedules: &[Schedule]) -> usize {
    let dispatches = schedules.iter().flat_map(|s| &s.dispatches);
    let numbers = dispatches.flat_map(|dispatch| {
        let weights = dispatch.bindings.iter().filter(|bound| bound.name == "weights");
        match dispatch.program.kernel.name.starts_with("lockstep") {
            true => weights.flat_map(|bound| bound.overlaps.clone()).collect::<Vec<_>>(),
            false => weights.map(|bound| bound.number).collect(),
        }
    });
    1 + numbers.max().unwrap() / 4
}

/// First and last place of the dispatches with this label.
fn places(schedule: &Schedule, label: &str) -> Option<(usize, usize)> {
    let labels = || schedule.dispatches.iter().map(|dispatch| &dispatch.label);
    Some((labels().position(|l| l == label)?, labels().collect::<Vec<_>>().iter().rposition(|l| *l == label)?))
}

/// Layers in their order: forward from the input up, backward from the readout down.
fn layer_by_layer(case: &str, schedule: &Schedule, hidden: usize, integrate: &str) {
    let place = |label: String| places(schedule, &label).unwrap_or_else(|| panic!("{case}: no {label}\n{schedule}"));
    // Some layers are computed together, above those that are not.
    let together = places(schedule, "lockstep_forward").is_some();
    let alone = (0..hidden).filter(|l| !together || places(schedule, &format!("{integrate}.{l}")).is_some());
    let forward: Vec<_> = alone.map(|l| place(format!("{integrate}.{l}"))).collect();
    let first = forward.len();
    let forward: Vec<_> = forward.into_iter().chain(together.then(|| place("lockstep_forward".into()))).collect();
    assert!(forward.windows(2).all(|pair| pair[0].1 < pair[1].0), "{case}: {forward:?}\n{schedule}");
    assert!(forward.last().is_none_or(|last| last.1 < place("loss".into()).0), "{case}\n{schedule}");
    if schedule.purpose == Purpose::Evaluate {
        return;
    }
    // A chunk goes all the way down before the next begins: the first of each.
    let lowest_together = if together { first } else { hidden };
    let backward: Vec<_> = (0..=lowest_together)
        .map(|l| {
            let by_products = format!("gemm_weight_gradient.{l}");
            places(schedule, &by_products).unwrap_or_else(|| place(format!("weight_gradient.{l}"))).0
        })
        .collect();
    assert!(backward.windows(2).all(|pair| pair[0] > pair[1]), "{case}: {backward:?}\n{schedule}");
    if together {
        let step = ["lockstep_backward".to_string(), format!("weight_gradient.{first}")];
        let [delta, gradient] = step.map(|label| place(label).0);
        // Where nothing but the input has weights, there are no others.
        let others = places(schedule, "lockstep_weights").is_none_or(|weights| gradient < weights.0);
        assert!(delta < gradient && others, "{case}\n{schedule}");
    }
}

#[test]
fn every_step_is_sound() {
    let mut counts = (0, 0, 0, 0);
    let mut constants_seen = BTreeSet::new();
    for case in cases() {
        let (schedules, mut engine) = on_noop(&case);
        assert!(schedules.len() >= 3, "{}: {} schedules", case.name, schedules.len());
        let strips = strips_of(&schedules);
        for schedule in &schedules {
            counts.0 += 1;
            counts.1 += schedule.dispatches.len();
            counts.2 += large_enough(case.name, schedule);
            counts.3 += in_order(case.name, schedule, strips);
            let integrate = match case.method {
                Method::Dense if schedule.purpose != Purpose::Evaluate => "dense_lif",
                Method::Reference if schedule.purpose != Purpose::Evaluate => "reference_lif",
                _ => "lif_forward",
            };
            layer_by_layer(case.name, schedule, case.network.hidden.len(), integrate);
            let constants = schedule.dispatches.iter().flat_map(|dispatch| &dispatch.program.constants);
            constants_seen.extend(constants);
        }
        // Nothing ran, which must be an error.
        let error = engine.reports(true).unwrap_err().to_string();
        assert!(error.contains("did not run"), "{}: {error}", case.name);
    }
    println!("{} steps, {} dispatches, {} sizes, {} reads", counts.0, counts.1, counts.2, counts.3);
    assert!(counts.0 > 100 && counts.1 > 2000);
    let every = OVERRIDES.iter().flat_map(|(name, values)| values.clone().map(move |value| (*name, value)));
    assert_eq!(constants_seen, every.collect(), "every value of every constant");
}

/// The cases have the pieces, strips and chunks that they are intended to have.
#[test]
fn cases_are_what_they_say() {
    let of = |name: &str| {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        on_noop(&case).0
    };
    let train = |schedules: &[Schedule]| -> Vec<Schedule> {
        schedules.iter().filter(|s| s.purpose == Purpose::Train && !s.held).cloned().collect()
    };
    let pieces = train(&of("in pieces"));
    assert!(
        pieces.len() > 1
            && pieces.iter().any(|s| s.whole == (true, false))
            && pieces.iter().any(|s| s.whole == (false, true))
    );
    let count = |name: &str, label: &str| {
        train(&of(name))[0].dispatches.iter().filter(|dispatch| dispatch.label == label).count()
    };
    assert_eq!((count("whole", "delta.0"), count("in chunks", "delta.0")), (1, 4));
    assert_eq!((count("biases in chunks", "delta.0"), count("other cells, one sample a chunk", "delta.2")), (4, 7));
    assert_eq!((count("other cells", "spike_count"), count("other cells", "spike_gradient.2")), (1, 1));
    assert!(count("in strips", "lif_forward.0") > 1 && count("in strips", "weight_gradient.2") > 1);
    let narrow = train(&of("in small workgroups"));
    assert!(narrow[0].dispatches.iter().any(|dispatch| dispatch.program.constants.contains(&("LANES", 64))));
}

/// The recorded variants are exactly those in the list of variants, which `tests/shaders.rs` translates.
#[test]
fn recorded_variants_are_the_listed_ones() {
    let mut recorded = BTreeSet::new();
    for case in cases() {
        for schedule in on_noop(&case).0 {
            recorded.extend(schedule.dispatches.iter().map(|d| (d.program.kernel.name, d.program.defined.clone())));
        }
    }
    // What an inspection records goes with the potentials that it keeps.
    let inspection = |kernel: &str, names: &[&str]| {
        names.contains(&"RECORD") && ["lif_forward", "readout", "lockstep_forward"].contains(&kernel)
    };
    let listed: BTreeSet<_> =
        ALL.iter().flat_map(|kernel| kernel.variants.iter().map(|names| (kernel.name, names.to_vec()))).collect();
    let only = |a: &BTreeSet<_>, b: &BTreeSet<_>| a.difference(b).cloned().collect::<Vec<(&str, Vec<&str>)>>();
    assert_eq!(only(&recorded, &listed), [], "recorded, but not listed");
    let never: Vec<_> =
        only(&listed, &recorded).into_iter().filter(|(kernel, names)| !inspection(kernel, names)).collect();
    assert_eq!(never, [], "listed, but never recorded");
}

/// The noop backend gets the same dispatches, bindings and bytes as a real adapter.
#[test]
fn same_schedules_as_a_real_adapter() {
    for case in cases() {
        let (expected, _) = on_noop(&case);
        let (real, mut engine) = record(&case, case.options.clone());
        assert_eq!(engine.reports(true).unwrap().len(), 2, "{}", case.name);
        // An evaluation or an inspection ends at its first piece where nothing runs; a step is recorded as a whole.
        let key = |s: &Schedule| (s.purpose as u8, s.samples, s.whole, s.held);
        let counterpart = |s: &Schedule| real.iter().find(|other| key(other) == key(s)).unwrap();
        let steps = |all: &[Schedule]| all.iter().filter(|s| s.purpose == Purpose::Train).count();
        assert_eq!(steps(&real), steps(&expected), "{}", case.name);
        for (a, b) in expected.iter().map(|s| (counterpart(s), s)) {
            assert!(a == b, "{}: a real adapter gets\n{a}\nthe noop backend\n{b}", case.name);
        }
        // What only the real one records.
        let gradients = real.iter().filter(|s| matches!(s.purpose, Purpose::Gradient | Purpose::GivenErrors));
        let mut sound = 0;
        for schedule in gradients {
            large_enough(case.name, schedule);
            in_order(case.name, schedule, strips_of(&real));
            sound += 1;
        }
        assert_eq!(sound > 0, matches!(case.method, Method::Sparse | Method::Auto), "{}", case.name);
    }
}

/// The checks notice any single change of a recorded step.
#[test]
fn mistakes_are_noticed() {
    let case = cases().into_iter().find(|case| case.name == "in chunks").unwrap();
    let schedules = on_noop(&case).0;
    let sound = schedules.iter().find(|s| s.purpose == Purpose::Train && !s.held).unwrap();
    let noticed = |what: &str, change: &dyn Fn(&mut Schedule)| {
        let mut schedule = sound.clone();
        change(&mut schedule);
        assert!(&schedule != sound, "{what}: nothing was changed");
        let check = std::panic::AssertUnwindSafe(|| {
            large_enough(what, &schedule);
            in_order(what, &schedule, 3);
            layer_by_layer(what, &schedule, 2, "lif_forward");
        });
        assert!(std::panic::catch_unwind(check).is_err(), "{what} is not noticed");
    };
    let at = |schedule: &Schedule, label: &str| places(schedule, label).unwrap();
    let swap = |schedule: &mut Schedule, a: &str, b: &str| {
        let (a, b) = (at(schedule, a).1, at(schedule, b).0);
        schedule.dispatches.swap(a, b);
    };
    noticed("layers swapped", &|s| swap(s, "lif_forward.0", "lif_forward.1"));
    noticed("lists placed before they are counted", &|s| swap(s, "lif_forward.0", "compact.0"));
    noticed("the loss before the readout", &|s| swap(s, "readout", "loss"));
    noticed("the spike gradient after the update", &|s| swap(s, "spike_gradient.0", "weight_gradient.1"));
    noticed("a spike gradient that follows the update of its weights", &|s| {
        let moved = s.dispatches.remove(at(s, "spike_gradient.0").1);
        s.dispatches.push(moved);
    });
    noticed("an update left out", &|s| drop(s.dispatches.pop()));
    noticed("counts that are not cleared", &|s| s.cleared.clear());
    let all: Vec<(usize, usize)> = (0..sound.dispatches.len())
        .flat_map(|k| (0..sound.dispatches[k].bindings.len()).map(move |n| (k, n)))
        .filter(|&(k, n)| sound.dispatches[k].bindings[n].access != "uniform")
        .collect();
    for (k, n) in all {
        let name = &sound.dispatches[k].bindings[n].name;
        noticed(&format!("{name} of {} too small", sound.dispatches[k].label), &|s| {
            s.dispatches[k].bindings[n].bytes = 3;
        });
    }
}
