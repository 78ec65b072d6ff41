//! With any combination of layer methods, a step computes the same as the sparse step.

mod common;

use common::*;
use proptest::prelude::*;
use spikegrad::cpu::CpuEngine;
use spikegrad::engine::{Engine, LayerMethod, Method, TrainingState};
use spikegrad::network::Logits;
use spikegrad::optimiser::Adam;

fn auto(network: &spikegrad::network::Network, state: &TrainingState, methods: &[LayerMethod]) -> CpuEngine {
    let mut engine = cpu(network, Method::Auto, state);
    engine.set_layer_methods(methods).unwrap();
    engine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_global_rejects: 400, failure_persistence: None, ..Default::default() })]

    /// Sizes on both sides of a column tile's width and of a block's time steps.
    #[test]
    fn any_mixture_equals_the_sparse_step_on_the_cpu(
        inputs in 1usize..90,
        hidden in proptest::collection::vec(1usize..300, 0..4),
        classes in 1usize..20,
        steps in 1usize..300,
        density in 0.0f64..0.3,
        b_th in prop_oneof![Just(0.2), Just(f64::INFINITY)],
        v_rest in prop_oneof![Just(0.0), Just(0.15)],
        sum in any::<bool>(),
        mixture in any::<u8>(),
        cells in any::<Option<u64>>(),
        seed in any::<u64>(),
    ) {
        let mut network = network(inputs, &hidden, classes, steps);
        network.hidden.iter_mut().for_each(|layer| (layer.b_th, layer.v_rest) = (b_th, v_rest));
        network.integrator_mut().unwrap().logits = if sum { Logits::Sum } else { Logits::Max };
        if let Some(cells) = cells {
            generalise(&mut network, cells);
        }
        let batch = batch(inputs, steps, classes, 3, density, seed);
        let state = TrainingState::new(strong_weights(&network, seed));
        let expected = cpu(&network, Method::Sparse, &state).inspect(&batch).unwrap();
        prop_assume!(comparable(&network, &batch, &expected));
        let dense = |l: usize| mixture >> l & 1 == 1 && network.can_be_dense(l);
        let methods: Vec<LayerMethod> =
            (0..=hidden.len()).map(|l| if dense(l) { LayerMethod::Dense } else { LayerMethod::Sparse }).collect();
        assert_same(&auto(&network, &state, &methods).inspect(&batch).unwrap(), &expected);
    }
}

/// Changing the methods between steps only affects the following steps.
#[test]
fn methods_can_change_between_steps() {
    use LayerMethod::{Dense, Sparse};
    let network = network(30, &[150, 40], 5, 40);
    let state = TrainingState::new(strong_weights(&network, 3));
    let batch = batch(30, 40, 5, 12, 0.1, 2);
    let adam = Adam::with_lr(1e-3);
    let mut engine = auto(&network, &state, &[Sparse; 3]);
    let mut sparse = cpu(&network, Method::Sparse, &state);
    for engine in [&mut engine, &mut sparse] {
        engine.train(&batch, &adam).unwrap();
    }
    assert_eq!(engine.store().unwrap(), sparse.store().unwrap());
    engine.set_layer_methods(&[Dense, Sparse, Dense]).unwrap();
    engine.load(&state).unwrap();
    engine.train(&batch, &adam).unwrap();
    let (a, b) = (engine.store().unwrap(), sparse.store().unwrap());
    assert_ne!(a.first, b.first, "matrix products round otherwise");
    for l in 0..3 {
        assert_close("first moments", &a.first.layers[l].data, &b.first.layers[l].data, 2e-4);
    }
}

#[test]
fn words_that_do_not_fit_are_refused() {
    let network = network(5, &[4], 3, 6);
    let state = TrainingState::new(strong_weights(&network, 1));
    let mut engine = cpu(&network, Method::Auto, &state);
    assert!(engine.set_layer_methods(&[LayerMethod::Dense; 3]).unwrap_err().to_string().contains("2 weight layers"));
    let mut engine = cpu(&network, Method::Sparse, &state);
    assert!(engine.set_layer_methods(&[LayerMethod::Dense; 2]).unwrap_err().to_string().contains("auto"));
}

/// Batches from a training set on the device are the same as those gathered on the host.
#[test]
fn held_sets_train_as_gathered_batches_do() {
    let network = network(20, &[15], 4, 30);
    let state = TrainingState::new(strong_weights(&network, 1));
    let set = std::sync::Arc::new(batch(20, 30, 4, 9, 0.1, 5));
    let mut held = cpu(&network, Method::Sparse, &state);
    assert!(held.train_held(&[0], &Adam::with_lr(1e-3)).unwrap_err().to_string().contains("holds no training set"));
    held.hold(set.clone()).unwrap();
    let mut gathered = cpu(&network, Method::Sparse, &state);
    for samples in [&[3, 1, 8, 8][..], &[0], &[7, 6, 5]] {
        held.train_held(samples, &Adam::with_lr(1e-3)).unwrap();
        let mut batch = spikegrad::events::EventSet::new(0, 0);
        batch.gather(&set, samples);
        gathered.train(&batch, &Adam::with_lr(1e-3)).unwrap();
    }
    assert_eq!(held.store().unwrap(), gathered.store().unwrap());
    assert!(held.train_held(&[9], &Adam::with_lr(1e-3)).unwrap_err().to_string().contains("sample 9"));
    assert!(held.train_held(&[], &Adam::with_lr(1e-3)).is_err());
    assert!(held.hold(std::sync::Arc::new(batch(21, 30, 4, 2, 0.1, 5))).is_err());
}
