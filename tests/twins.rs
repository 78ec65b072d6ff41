//! Compares all numbers that a step computes on the gpu device and on the cpu device, for random networks and batches.

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use common::*;
use proptest::prelude::*;
use shapes::*;
use spikegrad::engine::{Engine, Inspection, LayerMethod, Method, TrainingState};
use spikegrad::events::EventSet;
use spikegrad::gpu::{self, DELTA_SIZES, DeltaScratch, GpuOptions, Tier, VARIANTS, Variant};
use spikegrad::network::{Network, Readout, Surrogate};
use spikegrad::optimiser::Adam;
use spikegrad::weights::Weights;

/// Why the gpu device refuses a network.
fn refusal(network: &Network, method: Method, options: GpuOptions) -> String {
    gpu::GpuEngine::new(network, method, &Weights::zeros_of(network), options).map(|_| ()).unwrap_err().to_string()
}

/// Compares a step on both devices; `None` if the case cannot be compared.
fn compare(shape: &Shape, method: Method, options: GpuOptions) -> Option<()> {
    compare_on(&shape.network(), &shape.batch(), shape.seed, method, options)
}

fn compare_on(network: &Network, batch: &EventSet, seed: u64, method: Method, options: GpuOptions) -> Option<()> {
    let state = TrainingState::new(strong_weights(network, seed));
    let mut cpu = cpu(network, method, &state);
    let mut gpu = gpu(network, method, &state, options);
    let expected = cpu.inspect(batch).unwrap();
    if !comparable(network, batch, &expected) {
        return None;
    }
    let got = gpu.inspect(batch).unwrap();
    assert_same(&got, &expected);
    assert_eq!(gpu.store().unwrap(), state, "an inspection changes nothing");

    // One update: the losses reported and what Adam makes of the gradient.
    let adam = Adam { weight_decay: [0.0, 0.5][(seed % 2) as usize], ..Adam::with_lr(1e-3) };
    let mut reports = Vec::new();
    let mut updated = Vec::new();
    for engine in [&mut cpu as &mut dyn Engine, &mut gpu] {
        engine.train(batch, &adam).unwrap();
        reports.push(engine.reports(true).unwrap());
        updated.push(engine.store().unwrap());
    }
    assert_eq!(reports[0].len(), 1);
    let (r, s) = (&reports[0][0], &reports[1][0]);
    assert_eq!((r.step, r.samples, &r.spikes, &r.active), (s.step, s.samples, &s.spikes, &s.active));
    assert_close("loss", &[s.loss.total() as f32], &[r.loss.total() as f32], 1e-5);
    for l in 0..network.sizes().len() - 1 {
        let (a, b) = (&updated[1].weights.layers[l].data, &updated[0].weights.layers[l].data);
        let (m, n) = (&updated[1].first.layers[l].data, &updated[0].first.layers[l].data);
        assert_close(&format!("first moments {l}"), m, n, 2e-4);
        // Adam's first step is ± lr wherever the gradient is not 0, however small: compare where it is not tiny.
        let largest = n.iter().fold(0.0f32, |x, y| x.max(y.abs()));
        for k in (0..a.len()).filter(|&k| n[k].abs() > 1e-3 * largest) {
            assert!((a[k] - b[k]).abs() < 1e-5, "weight {k} of layer {l}: {} on the gpu, {} on the cpu", a[k], b[k]);
        }
        for k in (0..a.len()).filter(|&k| n[k] == 0.0) {
            let before = state.weights.layers[l].data[k];
            match adam.weight_decay {
                0.0 => assert_eq!(a[k], before, "a weight without gradient moved"),
                // One rounding or two.
                _ => assert!((a[k] - b[k]).abs() <= 2e-7 * before.abs(), "{before} decayed to {} and {}", a[k], b[k]),
            }
        }
    }
    Some(())
}

/// Buffers of the usual size, or tiny ones: several chunks of samples, and lists that overflow and grow.
fn buffers(small: bool) -> GpuOptions {
    GpuOptions { delta_bytes: small.then_some(1), density_guess: small.then_some(1e-9), ..GpuOptions::default() }
}

/// Compares a sparse step, in pieces if `cut`.
fn compare_variant(shape: &Shape, variant: Variant, small: bool, cut: bool) -> Option<()> {
    let options = GpuOptions { variant: Some(variant), ..buffers(small) };
    let options = if cut { in_pieces(&shape.network(), options) } else { options };
    compare(shape, Method::Sparse, options)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_global_rejects: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn sparse_step(shape in shapes(), variant in variants(), small in any::<bool>(), cut in any::<bool>()) {
        prop_assume!(compare_variant(&shape, variant, small, cut).is_some());
    }

    #[test]
    fn step_of_any_cells(shape in cells(), variant in variants(), small in any::<bool>(), cut in any::<bool>()) {
        prop_assume!(compare_variant(&shape, variant, small, cut).is_some());
    }

    #[test]
    fn recurrent_step(shape in recurrent_shapes(), variant in variants(), small in any::<bool>(), cut in any::<bool>()) {
        prop_assume!(compare_variant(&shape, variant, small, cut).is_some());
    }

    #[test]
    fn weights_in_strips(
        shape in prop_oneof![shapes().boxed(), cells().boxed()],
        variant in variants(),
        small in any::<bool>(),
    ) {
        let shape = Shape {
            inputs: 130 + shape.inputs,
            hidden: shape.hidden.iter().map(|neurons| 120 + neurons).collect(),
            classes: 120 + shape.classes,
            steps: 2 + shape.steps % 4,
            ..shape
        };
        let options = in_strips(&shape.network(), GpuOptions { variant: Some(variant), ..buffers(small) });
        prop_assume!(compare(&shape, Method::Sparse, options).is_some());
    }

    #[test]
    fn dense_step(shape in shapes(), hardware in any::<bool>()) {
        let tier = Some(if hardware { Tier::Hardware } else { Tier::Software });
        prop_assume!(compare(&shape, Method::Dense, GpuOptions { tier, ..GpuOptions::default() }).is_some());
    }

    #[test]
    fn reference_step(shape in shapes(), hardware in any::<bool>()) {
        let tier = Some(if hardware { Tier::Hardware } else { Tier::Software });
        prop_assume!(compare(&shape, Method::Reference, GpuOptions { tier, ..GpuOptions::default() }).is_some());
    }

    /// Any mixture of methods computes the sparse step, on any chunks of samples.
    #[test]
    fn layers_of_either_method(
        shape in prop_oneof![shapes().boxed(), cells().boxed()],
        hardware in any::<bool>(),
        (small, cut) in any::<(bool, bool)>(),
        dense in any::<u32>(),
    ) {
        let tier = Some(if hardware { Tier::Hardware } else { Tier::Software });
        let options = GpuOptions { tier, ..buffers(small) };
        let (network, batch) = (shape.network(), shape.batch());
        let options = if cut { in_pieces(&network, options) } else { options };
        let state = TrainingState::new(strong_weights(&network, shape.seed));
        let expected = cpu(&network, Method::Sparse, &state).inspect(&batch).unwrap();
        prop_assume!(comparable(&network, &batch, &expected));
        let mut gpu = gpu(&network, Method::Auto, &state, options);
        let of = |bits: u32| -> Vec<LayerMethod> {
            let dense = |l: usize| bits >> l & 1 == 1 && network.can_be_dense(l);
            let method = |l| if dense(l) { LayerMethod::Dense } else { LayerMethod::Sparse };
            (0..network.weight_layers()).map(method).collect()
        };
        // Another mixture, then none, on the same engine.
        for bits in [dense, dense >> 8, 0] {
            gpu.set_layer_methods(&of(bits)).unwrap();
            assert_same(&gpu.inspect(&batch).unwrap(), &expected);
            assert_close("logits", &gpu.predict(&batch).unwrap().logits, &expected.logits, 1e-5);
        }
    }

    /// The reference is the dense method with no surrogate masked.
    #[test]
    fn reference_equals_unmasked_dense_on_the_cpu(shape in shapes()) {
        let (network, batch) = (shape.network(), shape.batch());
        let state = TrainingState::new(strong_weights(&network, shape.seed));
        let unmasked = Shape { b_th: f64::INFINITY, ..shape.clone() }.network();
        let dense = cpu(&unmasked, Method::Dense, &state).inspect(&batch).unwrap();
        prop_assume!(comparable(&unmasked, &batch, &dense));
        assert_same(&cpu(&network, Method::Reference, &state).inspect(&batch).unwrap(), &dense);
    }

    #[test]
    fn sparse_equals_dense_on_the_cpu(shape in shapes()) {
        let (network, batch) = (shape.network(), shape.batch());
        let state = TrainingState::new(strong_weights(&network, shape.seed));
        let sparse = cpu(&network, Method::Sparse, &state).inspect(&batch).unwrap();
        prop_assume!(comparable(&network, &batch, &sparse));
        let dense = cpu(&network, Method::Dense, &state).inspect(&batch).unwrap();
        assert_same(&dense, &sparse);
    }

    #[test]
    fn delta_recurrence(
        alpha in 0.0f32..1.0,
        steps in 1usize..80,
        seed in any::<u64>(),
        density in 0.0f64..1.0,
    ) {
        let mut random = Random::new(seed);
        let neurons = 1 + random.below(9);
        let errors: Vec<Vec<(usize, f32)>> = (0..neurons)
            .map(|_| (0..steps).filter(|_| random.unit() < density).map(|t| (t, t as f32 - 7.5)).collect())
            .collect();
        let needed: Vec<bool> = (0..neurons * steps).map(|_| random.unit() < 0.5).collect();
        let got = spikegrad::gpu::delta(GpuOptions::default(), alpha, &errors, &needed).unwrap();
        for j in 0..neurons {
            let range = j * steps..(j + 1) * steps;
            let expected = spikegrad::cpu::delta(alpha, &errors[j], &needed[range.clone()]);
            assert_close("delta", &got[range], &expected, 1e-6);
        }
    }
}

/// The first of a few seeds whose potentials keep clear of the thresholds.
fn some_seed(mut shape: Shape, options: &GpuOptions) {
    for seed in 0..60 {
        shape.seed = seed;
        if compare(&shape, Method::Sparse, options.clone()).is_some() {
            return;
        }
    }
    panic!("no seed keeps clear of the thresholds: {shape:?}");
}

#[test]
fn extremes() {
    let options = GpuOptions::default();
    some_seed(shape(1, &[1], 1, 1, 1, 1.0), &options);
    some_seed(shape(1, &[1], 1, 2, 1, 1.0), &options);
    some_seed(shape(9, &[], 3, 20, 4, 0.1), &options);
    some_seed(shape(5, &[7, 3], 4, 33, 3, 0.0), &options);
    some_seed(shape(3, &[300], 2, 20, 2, 0.3), &options);
    some_seed(shape(40, &[5, 4, 3, 2], 70, 64, 2, 0.1), &options);
    some_seed(Shape { b_th: f64::INFINITY, ..shape(20, &[17, 9], 5, 65, 3, 0.3) }, &options);
    some_seed(Shape { b_th: 0.0, ..shape(20, &[17, 9], 5, 40, 3, 0.3) }, &options);
}

/// Every variant against the cpu device: lists longer and shorter than its lanes share, and its own bits twice.
#[test]
fn every_variant() {
    let deep = network(30, &[40, 20], 5, 40);
    let batches: Vec<EventSet> = (0..4).map(|k| batch(30, 40, 5, 6, 0.05 * k as f64, k as u64)).collect();
    for variant in VARIANTS {
        let options = GpuOptions { variant: Some(variant), ..GpuOptions::default() };
        some_seed(shape(40, &[70, 33], 70, 64, 12, 0.1), &options);
        some_seed(Shape { b_th: f64::INFINITY, ..shape(20, &[17, 9], 5, 65, 3, 0.3) }, &options);
        let once = train(options.clone(), &batches, &deep);
        assert_eq!(train(options.clone(), &batches, &deep), once, "{variant}");
        assert_eq!(once, train(GpuOptions::default(), &batches, &deep), "{variant}, the usual one");
        // A chunk for each sample, for 2 and for 4 of 6, for all.
        for delta in [1, 2 * 16 * 10 * 40, 4 * 16 * 10 * 40, DeltaScratch::WHOLE.bytes()] {
            let chunked = GpuOptions { delta_bytes: Some(delta), ..options.clone() };
            assert_eq!(train(chunked, &batches, &deep), once, "{variant}, {delta} bytes of δ");
        }
        let cramped = GpuOptions { density_guess: Some(1e-9), ..options.clone() };
        assert_eq!(train(cramped, &batches, &deep), once, "{variant}, grown in the middle");
        let unchecked = GpuOptions { checked: Some(false), limits: Some("webgpu".parse().unwrap()), ..options };
        assert_eq!(train(unchecked, &batches, &deep), once, "{variant}, without bounds checks");
    }
}

/// The bits of a step do not depend on the memory for δ: every size that can be chosen, in every variant, from chunks of two
/// samples to all in one.
#[test]
fn same_bits_with_every_size_of_delta() {
    // 3 MiB of δ for a sample.
    let network = network(8, &[400], 4, 2000);
    let batches = [batch(8, 2000, 4, 24, 0.01, 1)];
    let state = TrainingState::new(strong_weights(&network, 3));
    let mut expected = None;
    for variant in VARIANTS {
        // Samples per chunk.
        for (size, chunk) in DELTA_SIZES.into_iter().zip([2, 10, 20, 24, 24]) {
            let options =
                GpuOptions { variant: Some(variant), delta_bytes: Some(size.bytes()), ..GpuOptions::default() };
            let mut engine = gpu(&network, Method::Sparse, &state, options);
            engine.train(&batches[0], &Adam::with_lr(1e-2)).unwrap();
            let report = engine.reports(true).unwrap().remove(0);
            assert!(report.active[0] > 1000, "{report:?}");
            let trained = engine.store().unwrap();
            assert_ne!(trained.weights, state.weights, "nothing was learnt");
            assert!(*expected.get_or_insert_with(|| trained.clone()) == trained, "{variant}, {size} MiB");
            let state_bytes = engine.state_bytes();
            let delta = state_bytes.iter().find(|(name, _)| name.starts_with("delta")).unwrap().1;
            // Lock-step kernels keep the δ of all layers.
            let quads = if variant == Variant::Lockstep { 101 } else { 100 };
            assert_eq!(delta, chunk * 16 * quads * 2000, "{variant}, {size} MiB");
        }
    }
}

/// More active entries than the workgroups of one dimension take at once. (A second dimension would bring surplus ones.)
#[test]
fn entries_beyond_one_dimension() {
    let mut wide = network(2, &[400], 2, 500);
    wide.hidden[0].b_th = f64::INFINITY;
    let batches = [batch(2, 500, 2, 6, 0.05, 1)];
    let in_one = GpuOptions { delta_bytes: Some(1 << 24), ..GpuOptions::default() };
    let of = |variant| train(GpuOptions { variant: Some(variant), ..in_one.clone() }, &batches, &wide);
    assert!(of(Variant::Cooperative) == of(Variant::Plain));
}

/// llvmpipe ends the loops of an invocation after 65,535 iterations: dispatches are split, and a step fails if that does not suffice.
#[test]
fn loops_that_llvmpipe_would_end() {
    let all_active = |hidden: &[usize], steps: usize| {
        let mut network = recurrent(network(10, hidden, 2, steps));
        network.hidden.iter_mut().for_each(|layer| layer.b_th = f64::INFINITY);
        // Nothing spikes, so rounding cannot make the devices differ.
        let mut weights = strong_weights(&network, 1);
        weights.layers.iter_mut().for_each(|layer| layer.data.iter_mut().for_each(|w| *w *= 1e-3));
        let state = TrainingState::new(weights);
        let gpu = gpu(&network, Method::Sparse, &state, GpuOptions::default());
        (gpu, cpu(&network, Method::Sparse, &state), batch(10, steps, 2, 2, 0.3, 1))
    };
    let (mut gpu, mut cpu, batch) = all_active(&[1000; 2], 12);
    let (got, expected) = (gpu.gradient(&batch).unwrap().0, cpu.gradient(&batch).unwrap().0);
    // Only the input spikes.
    assert!(expected.layers[0].data.iter().any(|&g| g != 0.0));
    assert_close("gradient", &got.layers[0].data, &expected.layers[0].data, 2e-4);

    // The weights nearly fill a binding of 128 MiB.
    let (mut gpu, _, batch) = all_active(&[1450; 8], 3);
    let outcomes = [
        gpu.gradient(&batch).map(drop),
        gpu.train(&batch, &Adam::with_lr(1e-3)).and_then(|()| gpu.reports(true).map(drop)),
    ];
    for outcome in outcomes {
        match gpu.info().name.contains("llvmpipe") {
            true => assert!(outcome.unwrap_err().to_string().contains("llvmpipe ended a kernel")),
            false => outcome.unwrap(),
        }
    }
}

/// More counts than one block of the scan, than one workgroup of block sums, and a long sample.
#[test]
fn many_counts() {
    some_seed(shape(4, &[6], 2, 3000, 1, 0.002), &GpuOptions::default());
    some_seed(shape(2, &[3], 2, 900, 320, 0.0005), &GpuOptions::default());
}

/// All samples of the batches in another order, others between them, and where each batch's lie.
fn training_set(batches: &[EventSet]) -> (EventSet, Vec<Vec<u32>>) {
    let first = &batches[0];
    let mut set = EventSet::new(first.neurons(), first.time_steps());
    let mut places: Vec<Vec<u32>> = batches.iter().map(|batch| vec![0; batch.len()]).collect();
    let most = batches.iter().map(EventSet::len).max().unwrap();
    for b in (0..most).rev() {
        for (batch, places) in batches.iter().zip(&mut places).filter(|(batch, _)| b < batch.len()) {
            set.push((0..b % 3).map(|k| (k, k)), 0).unwrap();
            places[b] = set.len() as u32;
            set.push(batch.sample(b).iter().map(|event| (event.t(), event.i())), batch.labels()[b]).unwrap();
        }
    }
    (set, places)
}

/// The same steps, by sample of a training set that the device holds.
fn train_held(options: GpuOptions, batches: &[EventSet], network: &Network) -> TrainingState {
    let state = TrainingState::new(strong_weights(network, 3));
    let (set, places) = training_set(batches);
    let mut engine = gpu(network, Method::Sparse, &state, options);
    engine.hold(set.into()).unwrap();
    assert_eq!(engine.notes(), [""; 0]);
    let mut reports = Vec::new();
    for (batch, samples) in batches.iter().zip(&places) {
        engine.train_held(samples, &Adam::with_lr(1e-2)).unwrap();
        reports.extend(engine.reports(false).unwrap());
        assert_eq!(samples.len(), batch.len());
    }
    reports.extend(engine.reports(true).unwrap());
    assert_eq!(reports.iter().map(|r| r.step).collect::<Vec<_>>(), (1..=batches.len() as u64).collect::<Vec<_>>());
    for (report, batch) in reports.iter().zip(batches) {
        assert_eq!((report.samples, report.spikes[0]), (batch.len(), batch.events().len() as u64));
    }
    engine.store().unwrap()
}

fn train(options: GpuOptions, batches: &[EventSet], network: &Network) -> TrainingState {
    let state = TrainingState::new(strong_weights(network, 3));
    let mut engine = gpu(network, Method::Sparse, &state, options);
    for batch in batches {
        engine.train(batch, &Adam::with_lr(1e-2)).unwrap();
    }
    let reports = engine.reports(true).unwrap();
    assert_eq!(reports.iter().map(|r| r.step).collect::<Vec<_>>(), (1..=batches.len() as u64).collect::<Vec<_>>());
    engine.store().unwrap()
}

/// The same seed on the same device gives the same bits: two runs, in chunks, with lists that overflow during queued steps.
#[test]
fn same_bits() {
    let network = network(30, &[40, 20], 5, 40);
    let batches: Vec<EventSet> =
        (0..7).map(|k| batch(30, 40, 5, [6, 6, 6, 4, 6, 9, 6][k], 0.05 * k as f64, k as u64)).collect();
    let plain = train(GpuOptions::default(), &batches, &network);
    assert_ne!(plain.weights, strong_weights(&network, 3), "nothing was learnt");
    assert_eq!(train(GpuOptions::default(), &batches, &network), plain);
    let cramped = GpuOptions { density_guess: Some(1e-9), ..GpuOptions::default() };
    assert_eq!(train(cramped, &batches, &network), plain, "grown in the middle");
    let chunked = GpuOptions { delta_bytes: Some(40 * 40 * 4 * 2), ..GpuOptions::default() };
    assert_eq!(train(chunked, &batches, &network), plain, "in chunks of two samples");
    let unchecked =
        GpuOptions { checked: Some(false), limits: Some("webgpu".parse().unwrap()), ..GpuOptions::default() };
    assert_eq!(train(unchecked, &batches, &network), plain, "without bounds checks, within default limits");
    let one_dispatch = GpuOptions { submit_seconds: Some(0.0), ..GpuOptions::default() };
    assert_eq!(train(one_dispatch, &batches, &network), plain, "a submit for each dispatch");
    let cut = in_pieces(&network, GpuOptions::default());
    let limits = spikegrad::gpu::plan::Limits { binding: cut.max_binding.unwrap(), memory: u64::MAX, lockstep: None };
    let plan = spikegrad::gpu::plan::plan(&network, 6, 300.0, 1.0, 4 << 20, &limits).unwrap();
    assert_eq!(plan.samples_at_once, 2);
    assert_eq!(train(cut, &batches, &network), plain, "in pieces of two samples");
}

/// The bits of batches from the host are those of batches gathered on the device: one step a submit and several,
/// lists that overflow in the middle of a submit, a set in several buffers, steps in pieces.
#[test]
fn same_bits_from_a_set_on_the_device() {
    let network = network(30, &[40, 20], 5, 40);
    let sizes = [6, 6, 6, 6, 6, 6, 6, 4, 6, 9, 6, 6, 6, 12, 3, 6, 6, 6, 6, 6, 6, 6, 6, 6];
    let batches: Vec<EventSet> =
        sizes.iter().enumerate().map(|(k, &n)| batch(30, 40, 5, n, 0.02 * (k % 13) as f64, k as u64)).collect();
    let plain = train(GpuOptions::default(), &batches, &network);
    let many = || GpuOptions { submit_seconds: Some(1e3), ..GpuOptions::default() };
    let one = GpuOptions { submit_seconds: Some(1e-9), ..GpuOptions::default() };
    assert_eq!(train_held(GpuOptions::default(), &batches, &network), plain, "by default");
    assert_eq!(train_held(many(), &batches, &network), plain, "as many steps in a submit as there may be");
    assert_eq!(train_held(one, &batches, &network), plain, "a submit for each dispatch");
    let cramped = GpuOptions { density_guess: Some(1e-9), ..many() };
    assert_eq!(train_held(cramped, &batches, &network), plain, "grown in the middle of a submit");
    let cut = in_pieces(&network, many());
    assert_eq!(train_held(cut, &batches, &network), plain, "in pieces, of a set in several buffers");
    let cut = in_pieces(&network, GpuOptions { density_guess: Some(1e-9), ..many() });
    assert_eq!(train_held(cut, &batches, &network), plain, "in ever smaller pieces");
}

/// Strips have bits of their own, since the spike gradient is summed strip by strip; but always the same.
#[test]
fn same_bits_in_strips() {
    let network = network(130, &[150, 120], 130, 5);
    let batches: Vec<EventSet> = (0..5).map(|k| batch(130, 5, 130, 6, 0.05 * (k + 1) as f64, k)).collect();
    let options = in_strips(&network, GpuOptions::default());
    let once = train(options.clone(), &batches, &network);
    assert_eq!(train(options.clone(), &batches, &network), once);
    assert_eq!(train_held(options.clone(), &batches, &network), once, "from a set on the device");
    let cramped = GpuOptions { density_guess: Some(1e-9), delta_bytes: Some(1), ..options.clone() };
    assert_eq!(train(cramped, &batches, &network), once, "grown in the middle, a chunk for each sample");
    let whole = train(GpuOptions::default(), &batches, &network);
    for (a, b) in once.weights.layers.iter().zip(&whole.weights.layers) {
        assert_close("weights", &a.data, &b.data, 1e-3);
    }

    let refused = refusal(&network, Method::Dense, options.clone());
    assert!(refused.contains("the weights of layer 0 take"), "{refused}");
    let mut auto = gpu(&network, Method::Auto, &TrainingState::new(strong_weights(&network, 3)), options);
    auto.set_layer_methods(&[LayerMethod::Sparse, LayerMethod::Dense, LayerMethod::Sparse]).unwrap();
    assert_eq!(auto.notes().len(), 1, "a dense layer in strips stays sparse, and the log says so");
    auto.train(&batches[0], &Adam::with_lr(1e-2)).unwrap();
    assert_eq!(auto.reports(true).unwrap().len(), 1);
}

/// A set that is larger than the memory set aside for it is uploaded batch by batch, and the user can be told.
#[test]
fn a_set_too_large_for_the_device() {
    let network = network(30, &[40, 20], 5, 40);
    let batches: Vec<EventSet> = (0..3).map(|k| batch(30, 40, 5, 60, 0.2, k)).collect();
    let (set, places) = training_set(&batches);
    let state = TrainingState::new(strong_weights(&network, 3));
    let memory = Some(600 << 10);
    let mut engine = gpu(&network, Method::Sparse, &state, GpuOptions { memory, ..GpuOptions::default() });
    assert!(set.events().len() * 4 > 150 << 10);
    let set = std::sync::Arc::new(set);
    engine.hold(set.clone()).unwrap();
    let quarter = GpuOptions { memory: Some(set.events().len() as u64 * 4), ..GpuOptions::default() };
    let mut refused = gpu(&network, Method::Sparse, &state, quarter);
    refused.hold(set).unwrap();
    assert!(engine.notes().is_empty());
    let notes = refused.notes();
    assert!(notes.len() == 1 && notes[0].contains("batches are uploaded one by one"), "{notes:?}");
    for samples in &places {
        engine.train_held(samples, &Adam::with_lr(1e-2)).unwrap();
    }
    let after = engine.store().unwrap();
    assert_eq!(after, train(GpuOptions::default(), &batches, &network));
    assert!(refused.train_held(&[0, u32::MAX], &Adam::with_lr(1e-2)).is_err());
    assert!(refused.train_held(&[], &Adam::with_lr(1e-2)).is_err());
    assert_eq!(refused.store().unwrap(), state);
}

/// A step overflows, and the batch queued behind it needs larger buffers before the host has read of the overflow.
#[test]
fn larger_batches_behind_an_overflow() {
    let network = network(30, &[40, 20], 5, 40);
    // The larger batches are quiet: nothing but the step before withholds their updates.
    let sizes = [(6, 0.3), (9, 0.005), (6, 0.5), (12, 0.005), (3, 0.1)];
    let batches: Vec<EventSet> =
        sizes.iter().enumerate().map(|(k, &(n, density))| batch(30, 40, 5, n, density, k as u64)).collect();
    let roomy = GpuOptions { density_guess: Some(1.0), ..GpuOptions::default() };
    let cramped = GpuOptions { density_guess: Some(1e-9), ..GpuOptions::default() };
    assert_eq!(train(cramped, &batches, &network), train(roomy, &batches, &network));
}

/// A profiled step is a step: it leaves the weights that an ordinary one leaves, lists that overflow included.
#[test]
fn profiled_steps() {
    let network = network(30, &[40, 20], 5, 40);
    let batch = batch(30, 40, 5, 9, 0.1, 4);
    let state = TrainingState::new(strong_weights(&network, 3));
    let adam = Adam::with_lr(1e-2);
    for method in [Method::Sparse, Method::Dense, Method::Reference] {
        let cramped = || GpuOptions { density_guess: Some(1e-9), ..Default::default() };
        let engines: [(Box<dyn Engine>, Box<dyn Engine>); 2] = [
            (Box::new(cpu(&network, method, &state)), Box::new(cpu(&network, method, &state))),
            (Box::new(gpu(&network, method, &state, cramped())), Box::new(gpu(&network, method, &state, cramped()))),
        ];
        for (mut profiled, mut plain) in engines {
            let profile = profiled.profile(&batch, &adam).unwrap();
            assert!(profile.kernels.len() > 4 && profile.kernels.iter().all(|kernel| kernel.calls > 0));
            plain.train(&batch, &adam).unwrap();
            assert_eq!(profiled.store().unwrap(), plain.store().unwrap());
            assert!(profiled.reports(true).unwrap().is_empty());
        }
    }
}

/// Steps that change methods on the way leave the same bits each time; and those of a mixture are not those of events
/// alone only by rounding.
#[test]
fn layer_methods_change_between_steps() {
    use LayerMethod::{Dense as D, Sparse as S};
    let network = network(30, &[40, 20], 5, 40);
    let batches: Vec<EventSet> = (0..4).map(|k| batch(30, 40, 5, [6, 6, 4, 9][k], 0.1, k as u64)).collect();
    let train = |options: GpuOptions| {
        let mut engine = gpu(&network, Method::Auto, &TrainingState::new(strong_weights(&network, 3)), options);
        for (batch, layers) in batches.iter().zip([[S, S, S], [D, S, D], [D, D, D], [S, D, S]]) {
            engine.set_layer_methods(&layers).unwrap();
            engine.train(batch, &Adam::with_lr(1e-2)).unwrap();
        }
        assert_eq!(engine.reports(true).unwrap().len(), 4);
        engine.store().unwrap()
    };
    let plain = train(GpuOptions::default());
    assert_eq!(train(GpuOptions::default()), plain);
    assert_eq!(train(GpuOptions { density_guess: Some(1e-9), ..Default::default() }), plain, "grown in the middle");
    let mut engine = gpu(&network, Method::Auto, &plain, GpuOptions::default());
    assert!(engine.set_layer_methods(&[D, D]).unwrap_err().to_string().contains("3 weight layers"));
    let mut engine = gpu(&network, Method::Sparse, &plain, GpuOptions::default());
    assert!(engine.set_layer_methods(&[D, D, D]).is_err());
}

#[test]
fn reference_refuses_time_loops_without_end() {
    let network = network(3, &[4, 4], 2, 6000);
    let error = refusal(&network, Method::Reference, GpuOptions::default());
    assert!(error.contains("36000 passes"), "{error}");
}

/// The cpu device gives the same bits whatever the number of threads.
#[test]
fn same_bits_with_any_number_of_threads() {
    let network = network(30, &[150, 70], 5, 40);
    let batches: Vec<EventSet> = (0..4).map(|k| batch(30, 40, 5, 21, 0.1, k)).collect();
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut engine = cpu(&network, Method::Sparse, &TrainingState::new(strong_weights(&network, 3)));
            batches.iter().for_each(|batch| engine.train(batch, &Adam::with_lr(1e-2)).unwrap());
            engine.store().unwrap()
        })
    };
    let one = train(1);
    assert!([2, 3, 5].into_iter().all(|threads| train(threads) == one));
}

/// Convolutions on both devices: forward, gradients, an update; in chunks and in pieces.
#[test]
fn convolutions() {
    let mut compared = 0;
    for seed in 0..40 {
        let mut network = random_convs(seed);
        if seed % 5 == 4 {
            // Neurons at rest are active; what fills a quad of filters must not be.
            network.hidden.iter_mut().for_each(|layer| layer.v_rest = 0.9);
        }
        if seed % 3 == 0 {
            generalise(&mut network, seed);
        }
        let samples = 1 + seed as usize % 6;
        let density = [0.02, 0.1, 0.25][seed as usize % 3];
        let batch = batch(network.inputs, network.time_steps, 4, samples, density, seed);
        let options = match seed % 4 {
            0 => GpuOptions { delta_bytes: Some(1), ..GpuOptions::default() },
            1 => in_pieces(&network, GpuOptions::default()),
            2 => GpuOptions { density_guess: Some(1e-9), ..GpuOptions::default() },
            _ => GpuOptions { tier: Some(Tier::Hardware), ..GpuOptions::default() },
        };
        compared += usize::from(compare_on(&network, &batch, seed, Method::Sparse, options).is_some());
    }
    assert!(compared > 20, "{compared} cases were comparable");
}

/// Lock-step kernels give the bits of the others: of any cells, in chunks, with lists that overflow, with workgroups of any size.
#[test]
fn same_bits_in_step() {
    for seed in 0..12 {
        let mut network = match seed % 4 {
            0 => network(30, &[40, 20], 5, 40),
            1 => network(30, &[290, 270, 7], 5, 70),
            2 => network(30, &[], 5, 40),
            _ => stacked_convs(30),
        };
        if seed >= 4 {
            generalise(&mut network, seed);
            // lavapipe orders the factors of an exponential as it likes, and differently in every kernel.
            let layers = network.hidden.iter_mut().chain(match &mut network.readout {
                Readout::SpikeCount(layer) => Some(layer),
                _ => None,
            });
            for layer in layers.filter(|layer| matches!(layer.surrogate, Surrogate::Sigmoid | Surrogate::Gaussian)) {
                layer.surrogate = Surrogate::Arctan;
            }
        }
        let batches: Vec<EventSet> =
            (0..3).map(|k| batch(network.inputs, network.time_steps, 5, 6, 0.05 + 0.05 * k as f64, k)).collect();
        let of =
            |variant, options: GpuOptions| train(GpuOptions { variant: Some(variant), ..options }, &batches, &network);
        let plain = of(Variant::Plain, GpuOptions::default());
        let narrow = GpuOptions { limits: Some("downlevel,lanes=64".parse().unwrap()), ..GpuOptions::default() };
        let small = buffers(true);
        for (name, options) in [("whole", GpuOptions::default()), ("in small workgroups", narrow), ("small", small)] {
            assert!(of(Variant::Lockstep, options) == plain, "{name}, seed {seed}");
        }
    }
}

/// The same bits of recurrent networks whatever the chunks, pieces, lists and workgroups.
#[test]
fn same_bits_of_recurrent_layers() {
    for seed in 0..6 {
        let mut network = if seed % 2 == 0 { network(30, &[40, 20], 5, 40) } else { network(30, &[290], 5, 70) };
        generalise(&mut network, seed);
        recur(&mut network, seed);
        same_bits_of(&network, [0.05, 0.1, 0.15, 0.2, 0.25]);
    }
}

/// The same bits of other cells whatever the chunks, pieces and lists.
#[test]
fn same_bits_of_any_cells() {
    for seed in 0..6 {
        let mut network = if seed % 2 == 0 { network(30, &[40, 20], 5, 40) } else { stacked_convs(30) };
        generalise(&mut network, seed);
        same_bits_of(&network, [0.05, 0.1, 0.15, 0.2, 0.25]);
    }
}

/// Three layers, each with another kind below and above: the same bits whatever the chunks, pieces and lists.
#[test]
fn same_bits_of_convolutions() {
    same_bits_of(&stacked_convs(30), [0.05, 0.1, 0.15, 0.2, 0.25]);
    same_bits_of(&input_conv(90), [0.002, 0.005, 0.01, 0.02, 0.05]);
}

fn same_bits_of(network: &Network, densities: [f64; 5]) {
    let batches = (0..5).map(|k| batch(network.inputs, network.time_steps, 5, 6, densities[k], k as u64));
    let batches: Vec<EventSet> = batches.collect();
    let plain = train(GpuOptions::default(), &batches, network);
    let before = strong_weights(network, 3);
    assert!(plain.weights.layers.iter().zip(&before.layers).all(|(a, b)| a != b), "a layer has learnt nothing");
    assert_eq!(train(GpuOptions::default(), &batches, network), plain);
    assert_eq!(train_held(GpuOptions::default(), &batches, network), plain, "from a set on the device");
    let cramped = GpuOptions { density_guess: Some(1e-9), ..GpuOptions::default() };
    assert_eq!(train(cramped, &batches, network), plain, "grown in the middle");
    let chunked = GpuOptions { delta_bytes: Some(1), ..GpuOptions::default() };
    assert_eq!(train(chunked, &batches, network), plain, "a chunk for each sample");
    let unchecked =
        GpuOptions { checked: Some(false), limits: Some("webgpu".parse().unwrap()), ..GpuOptions::default() };
    assert_eq!(train(unchecked, &batches, network), plain, "without bounds checks, within default limits");
    let cut = in_pieces(network, GpuOptions::default());
    assert_eq!(train(cut, &batches, network), plain, "in pieces");
}

#[test]
fn convolutions_that_the_gpu_refuses() {
    let refused = |network: &Network, method| {
        let error = refusal(network, method, GpuOptions::default());
        assert!(error.contains("hidden[1]") && error.contains("cpu device"), "{error}");
        error
    };
    let mut network = stacked_convs(10);
    assert!(refused(&network, Method::Dense).contains("`sparse`"));
    refused(&network, Method::Reference);
    let mut auto = gpu(&network, Method::Auto, &TrainingState::new(strong_weights(&network, 3)), GpuOptions::default());
    use LayerMethod::{Dense, Sparse};
    assert!(auto.set_layer_methods(&[Sparse, Dense, Sparse, Sparse]).is_err());
    auto.set_layer_methods(&[Sparse, Sparse, Sparse, Dense]).unwrap();
    assert_eq!(auto.notes().len(), 1, "what reads pooled spikes stays sparse, and the log says so");
    // 57,600 neurons, as 19,200 quads 76,800.
    let first = network.hidden[1].conv().copied().unwrap();
    let wide = spikegrad::network::Convolution { channels: 1, height: 128, width: 150, filters: 3, pool: 1, ..first };
    network.hidden.truncate(2);
    network.hidden[0].neurons = wide.inputs();
    set_conv(&mut network, 1, wide);
    assert!(refused(&network, Method::Sparse).contains("3 filters × 19200 pixels"));
}

/// A prediction gives the logits of the training pass, with labels or without, and leaves training as it was.
#[test]
fn predictions() {
    let network = network(30, &[40, 20], 5, 40);
    let batch = batch(30, 40, 5, 9, 0.1, 4);
    let mut unlabelled = EventSet::new(30, 40);
    for b in 0..batch.len() {
        unlabelled.push_unlabelled(batch.sample(b).iter().map(|event| (event.t(), event.i()))).unwrap();
    }
    let state = TrainingState::new(strong_weights(&network, 3));
    let engines: [Box<dyn Engine>; 2] = [
        Box::new(cpu(&network, Method::Sparse, &state)),
        Box::new(gpu(&network, Method::Sparse, &state, GpuOptions { density_guess: Some(1e-9), ..Default::default() })),
    ];
    for mut engine in engines {
        let predicted = engine.predict(&batch).unwrap();
        assert_eq!(engine.predict(&unlabelled).unwrap(), predicted);
        let Inspection { logits, spiking: hidden, .. } = engine.inspect(&batch).unwrap();
        assert_eq!(predicted.logits, logits);
        assert_eq!(predicted.spikes, hidden.iter().map(|layer| layer.spikes.len() as u64).collect::<Vec<_>>());
        assert_eq!(engine.store().unwrap(), state);
    }
}

#[test]
fn loading_refuses_what_is_not_the_networks() {
    let network = network(30, &[40, 20], 5, 40);
    let state = TrainingState::new(strong_weights(&network, 3));
    let engines: [Box<dyn Engine>; 2] = [
        Box::new(cpu(&network, Method::Sparse, &state)),
        Box::new(gpu(&network, Method::Sparse, &state, GpuOptions::default())),
    ];
    for mut engine in engines {
        let other = TrainingState::new(Weights::zeros_of(&common::network(30, &[40, 21], 5, 40)));
        assert!(engine.load(&other).unwrap_err().to_string().contains("hidden[1]"));
        let mut bad = state.clone();
        bad.weights.layers[2].data[7] = f32::NAN;
        assert!(engine.load(&bad).unwrap_err().to_string().contains("readout"));
        let strange = common::batch(31, 40, 5, 2, 0.1, 0);
        assert!(engine.train(&strange, &Adam::with_lr(1e-3)).unwrap_err().to_string().contains("31 neurons"));
        assert!(engine.train(&EventSet::new(30, 40), &Adam::with_lr(1e-3)).is_err());
        assert_eq!(engine.store().unwrap(), state);
    }
}

/// Bindings of 1 MiB, by the device's own limit: weights in strips, a batch in pieces, a training set in several
/// buffers, dense layers in small chunks; and what no binding holds is refused with the numbers.
#[test]
fn bindings_of_one_mebibyte() {
    let squeezed = || GpuOptions { limits: Some("binding=1048576".parse().unwrap()), ..GpuOptions::default() };
    let network = network(700, &[600, 500], 20, 60);
    let limits = spikegrad::gpu::plan::Limits { binding: 1 << 20, memory: u64::MAX, lockstep: None };
    let plan = spikegrad::gpu::plan::plan(&network, 24, 4200.0, 0.2, 4 << 20, &limits).unwrap();
    assert!(plan.strips[0] > 1 && plan.strips[1] > 1 && plan.samples_at_once < 24, "{plan:?}");
    let set = std::sync::Arc::new(batch(700, 60, 20, 90, 0.1, 1));
    assert!(4 * set.events().len() > 1 << 20, "a set that one buffer would hold");
    let samples: Vec<u32> = (0..24).map(|k| k * 89 / 23).collect();

    let state = TrainingState::new(strong_weights(&network, 1));
    let mut cpu = cpu(&network, Method::Sparse, &state);
    let mut whole = gpu(&network, Method::Sparse, &state, GpuOptions::default());
    let mut small = gpu(&network, Method::Sparse, &state, squeezed());
    let mut reports = Vec::new();
    for engine in [&mut cpu as &mut dyn Engine, &mut whole, &mut small] {
        engine.hold(set.clone()).unwrap();
        assert_eq!(engine.notes(), [""; 0]);
        engine.train_held(&samples, &Adam::with_lr(1e-3)).unwrap();
        reports.push(engine.reports(true).unwrap().remove(0));
    }
    assert_eq!((&reports[1].spikes, &reports[1].active), (&reports[2].spikes, &reports[2].active));
    let [_, whole, small] = [cpu.store().unwrap(), whole.store().unwrap(), small.store().unwrap()];
    for (a, b) in small.first.layers.iter().zip(&whole.first.layers) {
        assert_close("first moments", &a.data, &b.data, 2e-4);
    }

    let mut auto = gpu(&network, Method::Auto, &state, squeezed());
    auto.set_layer_methods(&[LayerMethod::Sparse, LayerMethod::Sparse, LayerMethod::Dense]).unwrap();
    assert_eq!(auto.notes(), [""; 0], "the readout's weights are whole");
    let mut part = EventSet::new(0, 0);
    part.gather(&set, &samples[..5]);
    let by_events = gpu(&network, Method::Sparse, &state, squeezed()).predict(&part).unwrap();
    assert_close("logits", &auto.predict(&part).unwrap().logits, &by_events.logits, 1e-5);

    let refused = refusal(&network, Method::Dense, squeezed());
    assert!(refused.contains("this adapter binds 1048576"), "{refused}");
}

/// A device that allows less than the kernels need is refused, and the limit named.
#[test]
fn limits_that_are_too_low_are_named() {
    let refused = |limits: &str| {
        let options = GpuOptions { limits: Some(limits.parse().unwrap()), ..GpuOptions::default() };
        let network = network(30, &[40, 20], 5, 40);
        refusal(&network, Method::Sparse, options)
    };
    let error = refused("lanes=32");
    assert!(error.contains("its max_compute_invocations_per_workgroup is 32, the kernels need 64"), "{error}");
}

/// Workgroups of 64 lanes leave the weights that wide ones leave; the sums of the regularisers and of the loss are in
/// another order.
#[test]
fn same_bits_in_small_workgroups() {
    let network = network(30, &[40, 20], 5, 40);
    let batches: Vec<EventSet> = (0..4).map(|k| batch(30, 40, 5, 6, 0.05 * (k + 1) as f64, k)).collect();
    for variant in VARIANTS {
        let options = GpuOptions { variant: Some(variant), ..GpuOptions::default() };
        let small = GpuOptions { limits: Some("downlevel,lanes=64".parse().unwrap()), ..options.clone() };
        assert_eq!(train(small, &batches, &network), train(options, &batches, &network), "{variant}");
    }
}
