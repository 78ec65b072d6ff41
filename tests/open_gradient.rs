//! A step of separate calls (forward, the caller's loss, backward, update) computes the same as a training step.

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use common::*;
use proptest::prelude::*;
use spikegrad::Error;
use spikegrad::engine::{Engine, Method, TrainingState};
use spikegrad::events::EventSet;
use spikegrad::gpu::GpuOptions;
use spikegrad::network::{Loss, Network};
use spikegrad::optimiser::Adam;
use spikegrad::parallel::Parallel;
use spikegrad::weights::Weights;

/// The gradient of the mean cross entropy: (softmax - one-hot) / B, in the order of operations that the devices have.
fn cross_entropy(logits: &[f32], batch: &EventSet, classes: usize) -> Vec<f32> {
    let samples = batch.len() as f32;
    let of_sample = |(logits, &label): (&[f32], &u32)| {
        let highest = logits.iter().copied().fold(f32::MIN, f32::max);
        let exponentials: Vec<f32> = logits.iter().map(|x| (x - highest).exp()).collect();
        let scale = 1.0 / (exponentials.iter().sum::<f32>() * samples);
        let mut gradient: Vec<f32> = exponentials.iter().map(|x| x * scale).collect();
        gradient[label as usize] -= 1.0 / samples;
        gradient
    };
    logits.chunks(classes).zip(batch.labels()).flat_map(of_sample).collect()
}

/// One step of separate calls.
fn step(engine: &mut dyn Engine, batch: &EventSet, adam: &Adam) -> Weights {
    let classes = engine.network().classes();
    let pass = engine.forward(batch).unwrap();
    let gradient = cross_entropy(&pass.logits, batch, classes);
    let gradient = engine.backward(pass, &gradient).unwrap();
    engine.update(&gradient, adam).unwrap();
    gradient
}

fn pieces_equal_the_step(network: &Network, batch: &EventSet, seed: u64) {
    let adam = Adam { weight_decay: 0.1, ..Adam::with_lr(1e-2) };
    let state = TrainingState::new(strong_weights(network, seed));
    let (mut pieces, mut whole) = (cpu(network, Method::Sparse, &state), cpu(network, Method::Sparse, &state));
    for _ in 0..3 {
        let expected = whole.inspect(batch).unwrap().gradient;
        whole.train(batch, &adam).unwrap();
        assert_eq!(step(&mut pieces, batch, &adam), expected);
        assert_eq!(pieces.store().unwrap(), whole.store().unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn pieces_give_the_bits_of_a_training_step(
        inputs in 1usize..40,
        hidden in proptest::collection::vec(1usize..150, 0..3),
        classes in 1usize..20,
        steps in 1usize..50,
        samples in 1usize..20,
        cells in any::<Option<u64>>(),
        seed in any::<u64>(),
    ) {
        let mut network = network(inputs, &hidden, classes, steps);
        if let Some(cells) = cells {
            generalise(&mut network, cells);
        }
        network.loss = Loss::default();
        pieces_equal_the_step(&network, &batch(inputs, steps, classes, samples, 0.1, seed), seed);
    }
}

/// With lists that overflow, in pieces, or neither.
fn cramped(network: &Network, seed: u64) -> GpuOptions {
    match seed % 3 {
        0 => GpuOptions { density_guess: Some(1e-9), delta_bytes: Some(1), ..GpuOptions::default() },
        1 => shapes::in_pieces(network, GpuOptions::default()),
        _ => GpuOptions::default(),
    }
}

/// On the gpu device, with lists that overflow, in chunks and in pieces: the gradient of a training step, but for the
/// rounding of the caller's loss, and the same bits each time.
#[test]
fn pieces_equal_the_step_on_the_gpu() {
    let adam = Adam { weight_decay: 0.1, ..Adam::with_lr(1e-2) };
    let mut compared = 0;
    for seed in 0..36 {
        let mut network = if seed % 4 == 3 { random_convs(seed) } else { network(20, &[30, 17], 5, 40) };
        if seed % 2 == 0 {
            generalise(&mut network, seed);
        }
        network.loss = Loss::default();
        let batch = batch(network.inputs, network.time_steps, network.classes(), 7, 0.1, seed);
        let state = TrainingState::new(strong_weights(&network, seed));
        let options = cramped(&network, seed);
        let mut whole = gpu(&network, Method::Sparse, &state, GpuOptions::default());
        let seen = whole.inspect(&batch).unwrap();
        if !comparable(&network, &batch, &seen) {
            continue;
        }
        compared += 1;
        let mut pieces = gpu(&network, Method::Sparse, &state, options);
        let gradient = step(&mut pieces, &batch, &adam);
        for (l, (a, b)) in gradient.layers.iter().zip(&seen.gradient.layers).enumerate() {
            assert_close(&format!("gradient {l}"), &a.data, &b.data, 2e-4);
        }
        whole.update(&gradient, &adam).unwrap();
        assert_eq!(pieces.store().unwrap(), whole.store().unwrap());
    }
    assert!(compared > 12, "{compared}");
}

/// Convolutions keep their active entries from the forward pass to the backward pass.
#[test]
fn convolutions_too() {
    for seed in 0..12 {
        let mut network = match seed % 3 {
            0 => stacked_convs(20),
            1 => input_conv(20),
            _ => random_convs(seed),
        };
        if seed % 2 == 0 {
            generalise(&mut network, seed);
        }
        network.loss = Loss::default();
        let batch = batch(network.inputs, network.time_steps, network.classes(), 5, 0.2, seed);
        pieces_equal_the_step(&network, &batch, seed);
    }
}

/// Only the last forward pass can be continued, once, and with unchanged weights.
#[test]
fn passes_that_are_over_are_refused() {
    let network = network(10, &[8], 3, 12);
    let state = TrainingState::new(strong_weights(&network, 1));
    let batch = batch(10, 12, 3, 4, 0.2, 1);
    let on_cpu = || Box::new(cpu(&network, Method::Sparse, &state)) as Box<dyn Engine>;
    let on_gpu = || Box::new(gpu(&network, Method::Sparse, &state, GpuOptions::default())) as Box<dyn Engine>;
    for [mut engine, mut other] in [[on_cpu(), on_cpu()], [on_gpu(), on_cpu()]] {
        old_passes_are_refused(engine.as_mut(), other.as_mut(), &batch, &state);
    }
}

fn old_passes_are_refused(engine: &mut dyn Engine, other: &mut dyn Engine, batch: &EventSet, state: &TrainingState) {
    let adam = Adam::with_lr(1e-2);
    let gradient = vec![0.1; 12];
    let update = state.weights.zeros();
    type Act<'a> = Box<dyn Fn(&mut dyn Engine) + 'a>;
    let acts: [Act; 6] = [
        Box::new(|engine| drop(engine.forward(batch).unwrap())),
        Box::new(|engine| engine.train(batch, &adam).unwrap()),
        Box::new(|engine| drop(engine.predict(batch).unwrap())),
        Box::new(|engine| drop(engine.inspect(batch).unwrap())),
        Box::new(|engine| engine.update(&update, &adam).unwrap()),
        Box::new(|engine| engine.load(state).unwrap()),
    ];
    for act in acts {
        let pass = engine.forward(batch).unwrap();
        act(engine);
        let error = engine.backward(pass, &gradient).unwrap_err();
        assert!(matches!(&error, Error::Config(_)) && error.to_string().contains("run `forward` again"), "{error}");
    }
    let pass = other.forward(batch).unwrap();
    assert!(engine.backward(pass, &gradient).is_err());
    let pass = engine.forward(batch).unwrap();
    engine.backward(pass, &gradient).unwrap();
}

#[test]
fn gradients_that_do_not_fit_are_refused() {
    let network = network(10, &[8], 3, 12);
    let state = TrainingState::new(strong_weights(&network, 1));
    let batch = batch(10, 12, 3, 4, 0.2, 1);
    let on_cpu = Box::new(cpu(&network, Method::Sparse, &state)) as Box<dyn Engine>;
    let on_gpu = Box::new(gpu(&network, Method::Sparse, &state, GpuOptions::default())) as Box<dyn Engine>;
    for mut engine in [on_cpu, on_gpu] {
        wrong_gradients_are_refused(engine.as_mut(), &network, &batch, &state);
    }
    let mut dense = cpu(&network, Method::Dense, &state);
    assert!(dense.forward(&batch).unwrap_err().to_string().contains("`dense`"));
}

fn wrong_gradients_are_refused(engine: &mut dyn Engine, network: &Network, batch: &EventSet, state: &TrainingState) {
    let adam = Adam::with_lr(1e-2);
    let pass = engine.forward(batch).unwrap();
    assert!(engine.backward(pass, &[0.0; 11]).unwrap_err().to_string().contains("11 values, the pass has 12 logits"));
    let pass = engine.forward(batch).unwrap();
    assert!(matches!(engine.backward(pass, &[f32::NAN; 12]), Err(Error::NotFinite(_))));

    let mut gradient = Weights::zeros_of(network);
    gradient.layers.pop();
    assert!(matches!(engine.update(&gradient, &adam), Err(Error::Config(_))));
    let mut gradient = Weights::zeros_of(network);
    gradient.layers[1].data[0] = f32::INFINITY;
    assert!(matches!(engine.update(&gradient, &adam), Err(Error::NotFinite(_))));
    assert_eq!(&engine.store().unwrap(), state, "a gradient that is refused changes nothing");
    gradient.layers[1].data[0] = 1e30;
    assert!(engine.update(&gradient, &adam).unwrap_err().to_string().contains("layer 1"));
}

/// Without labels, and with the gradient of a sum: each sample's is its own, whatever the batch.
#[test]
fn gradients_of_samples_add_up_without_labels() {
    let mut network = network(12, &[20], 3, 15);
    network.regulariser = Default::default();
    let state = TrainingState::new(strong_weights(&network, 4));
    let labelled = batch(12, 15, 3, 2, 0.2, 4);
    let gradient_of = |samples: &[usize]| {
        let mut set = EventSet::new(12, 15);
        for &b in samples {
            set.push_unlabelled(labelled.sample(b).iter().map(|event| (event.t(), event.i()))).unwrap();
        }
        let mut engine = cpu(&network, Method::Sparse, &state);
        let pass = engine.forward(&set).unwrap();
        assert_eq!(pass.logits, engine.predict(&set).unwrap().logits);
        let pass = engine.forward(&set).unwrap();
        let ones = vec![1.0; pass.logits.len()];
        engine.backward(pass, &ones).unwrap()
    };
    let (first, second, both) = (gradient_of(&[0]), gradient_of(&[1]), gradient_of(&[0, 1]));
    for (l, both) in both.layers.iter().enumerate() {
        let sum: Vec<f32> = first.layers[l].data.iter().zip(&second.layers[l].data).map(|(a, b)| a + b).collect();
        assert!(sum.iter().any(|&g| g != 0.0));
        assert_close(&format!("gradient of {l}"), &both.data, &sum, 1e-5);
    }
}

/// The gradient of a step, handed out, and its update make the step; on the gpu device with lists that overflow and in pieces, too.
#[test]
fn a_gradient_and_its_update_are_a_training_step() {
    let adam = Adam { weight_decay: 0.1, ..Adam::with_lr(1e-2) };
    for seed in 0..12 {
        let mut network = if seed % 4 == 3 { random_convs(seed) } else { network(20, &[30, 17], 5, 40) };
        if seed % 2 == 0 {
            generalise(&mut network, seed);
        }
        let batch = batch(network.inputs, network.time_steps, network.classes(), 7, 0.1, seed);
        let state = TrainingState::new(strong_weights(&network, seed));
        let options = cramped(&network, seed);
        let on = |device: &str| -> [Box<dyn Engine>; 2] {
            std::array::from_fn(|_| -> Box<dyn Engine> {
                match device {
                    "cpu" => Box::new(cpu(&network, Method::Sparse, &state)),
                    _ => Box::new(gpu(&network, Method::Sparse, &state, options.clone())),
                }
            })
        };
        for device in ["cpu", "gpu"] {
            let [mut whole, mut apart] = on(device);
            for _ in 0..2 {
                whole.train(&batch, &adam).unwrap();
                let (gradient, report) = apart.gradient(&batch).unwrap();
                apart.update(&gradient, &adam).unwrap();
                assert_eq!(vec![report], whole.reports(true).unwrap(), "{device}, seed {seed}");
                assert_eq!(apart.store().unwrap(), whole.store().unwrap(), "{device}, seed {seed}");
            }
        }
    }
}

/// Two gpu devices that share a batch end in the bits of one.
#[test]
fn two_gpus_are_as_one() {
    let network = network(30, &[40, 20], 5, 40);
    let batches: Vec<EventSet> = (0..3).map(|seed| batch(30, 40, 5, 19, 0.1, seed)).collect();
    let state = TrainingState::new(strong_weights(&network, 7));
    let train = |devices: usize| {
        let devices: Vec<Box<dyn Engine>> = (0..devices)
            .map(|_| -> Box<dyn Engine> { Box::new(gpu(&network, Method::Sparse, &state, GpuOptions::default())) })
            .collect();
        let mut engine = Parallel::new(devices, 4, None, None).unwrap();
        batches.iter().for_each(|batch| engine.train(batch, &Adam::with_lr(1e-2)).unwrap());
        let logits = engine.predict_together(&batches[0]).unwrap().logits;
        (engine.store().unwrap(), engine.reports(true).unwrap(), logits)
    };
    assert!(train(1) == train(2));
}
