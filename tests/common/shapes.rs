//! The shapes of the twin tests: random networks and batches, and options that divide steps into chunks, pieces and strips.
#![allow(dead_code)]

use crate::common::{batch, generalise, network, recur};
use proptest::prelude::*;
use spikegrad::events::EventSet;
use spikegrad::gpu::{GpuOptions, VARIANTS, Variant};
use spikegrad::network::{Logits, Network, ReadoutGain};

/// A random case; `density` is the fraction of input slots with a spike.
#[derive(Debug, Clone)]
pub struct Shape {
    pub inputs: usize,
    pub hidden: Vec<usize>,
    pub classes: usize,
    pub steps: usize,
    pub batch: usize,
    pub density: f64,
    pub b_th: f64,
    pub v_rest: f64,
    pub logits: Logits,
    pub gain: ReadoutGain,
    pub seed: u64,
    /// Of the generalised model drawn with this seed.
    pub cells: Option<u64>,
    /// Whether some layers are recurrent.
    pub recurrent: bool,
}

impl Shape {
    pub fn network(&self) -> Network {
        let mut network = network(self.inputs, &self.hidden, self.classes, self.steps);
        for layer in &mut network.hidden {
            layer.b_th = self.b_th;
            layer.v_rest = self.v_rest;
        }
        network.integrator_mut().unwrap().logits = self.logits;
        network.integrator_mut().unwrap().gain = self.gain;
        if let Some(seed) = self.cells {
            generalise(&mut network, seed);
        }
        if self.recurrent {
            recur(&mut network, self.seed);
        }
        network
    }

    pub fn batch(&self) -> EventSet {
        batch(self.inputs, self.steps, self.classes, self.batch, self.density, self.seed)
    }
}

pub fn shapes() -> impl Strategy<Value = Shape> {
    (
        (1usize..70, proptest::collection::vec(1usize..70, 0..4), 1usize..12, 1usize..70, 1usize..10),
        (0.0f64..0.2, prop_oneof![Just(0.2), Just(0.05), Just(f64::INFINITY)], prop_oneof![Just(0.0), Just(0.15)]),
        (prop_oneof![Just(Logits::Max), Just(Logits::Sum)], any::<bool>(), any::<u64>()),
    )
        .prop_map(|((inputs, hidden, classes, steps, batch), (density, b_th, v_rest), (logits, one, seed))| {
            Shape {
                inputs,
                hidden,
                classes,
                steps,
                batch,
                density,
                b_th,
                v_rest,
                logits,
                gain: if one { ReadoutGain::One } else { ReadoutGain::OneMinusAlpha },
                seed,
                cells: None,
                recurrent: false,
            }
        })
}

/// [`shapes`] with any cell, reset, surrogate, bias, readout and loss.
pub fn cells() -> impl Strategy<Value = Shape> {
    (shapes(), any::<u64>()).prop_map(|(shape, seed)| Shape { cells: Some(seed), ..shape })
}

/// Recurrent networks of any cells: some with more neurons than a workgroup has lanes for, some with many time steps.
pub fn recurrent_shapes() -> impl Strategy<Value = Shape> {
    let large = (any::<bool>(), 0.0f64..1.0, 0.0f64..1.0);
    (cells(), large).prop_map(|(shape, (large, wide, long))| {
        let hidden = if shape.hidden.is_empty() { vec![1 + (60.0 * wide) as usize] } else { shape.hidden };
        let shape = Shape { hidden, recurrent: true, ..shape };
        match large {
            true if wide > long => Shape {
                hidden: vec![(300.0 * wide) as usize; 1 + shape.hidden.len() % 2],
                batch: 1 + shape.batch % 4,
                ..shape
            },
            true => Shape { steps: (600.0 * long) as usize + 1, batch: 1 + shape.batch % 4, ..shape },
            false => shape,
        }
    })
}

/// Buffers for about two samples: larger batches are computed in pieces.
pub fn in_pieces(network: &Network, options: GpuOptions) -> GpuOptions {
    let shapes = network.weight_shapes().into_iter();
    let matrices = shapes.map(|(rows, cols)| (16 * (rows * cols.div_ceil(4)) as u64).next_multiple_of(256));
    let quads = network.sizes().into_iter().skip(1).map(|n| n.div_ceil(4));
    // Layers that are computed in step share buffers.
    let (weights, widest) = match network.first_recurrent().is_some() || options.variant == Some(Variant::Lockstep) {
        true => (matrices.sum(), quads.sum()),
        false => (matrices.max().unwrap_or(0), quads.max().unwrap_or(1)),
    };
    let two_samples = 2 * 64 * (network.time_steps * widest) as u64;
    // A convolution reads patches, in which an event stands as often as it is read.
    let convs = network.hidden.iter().filter_map(|layer| layer.conv());
    let patches = convs.map(|conv| 2 * 4 * (network.time_steps * conv.inputs() * conv.readers()) as u64).max();
    // A dense layer has its input of a sample as an array.
    let input = 16 * (network.time_steps * network.inputs.div_ceil(4)) as u64;
    let binding = weights.max(two_samples).max(patches.unwrap_or(0)).max(input).max(4 << 10);
    // Lists with room for everything: how many samples fit does not change when they grow.
    GpuOptions { max_binding: Some(binding), density_guess: options.density_guess.or(Some(1.0)), ..options }
}

/// Weight matrices that no binding holds: their columns are in strips.
pub fn in_strips(network: &Network, options: GpuOptions) -> GpuOptions {
    let widest = network.sizes()[1..].iter().map(|n| n.div_ceil(4)).max().unwrap_or(1);
    // Room for one sample of which every entry is active.
    let binding = (64 * (network.time_steps * widest) as u64).max(4 << 10);
    let limits = spikegrad::gpu::plan::Limits { binding, memory: u64::MAX, lockstep: None };
    let plan = spikegrad::gpu::plan::plan(network, 1, 0.0, 0.0, 1, &limits).unwrap();
    assert!(plan.strips.iter().all(|&strips| strips > 1), "{plan:?}");
    GpuOptions { max_binding: Some(binding), ..options }
}

pub fn variants() -> impl Strategy<Value = Variant> {
    proptest::sample::select(&VARIANTS[..])
}

pub fn shape(inputs: usize, hidden: &[usize], classes: usize, steps: usize, batch: usize, density: f64) -> Shape {
    Shape {
        inputs,
        hidden: hidden.to_vec(),
        classes,
        steps,
        batch,
        density,
        b_th: 0.2,
        v_rest: 0.0,
        logits: Logits::Max,
        gain: ReadoutGain::One,
        seed: 0,
        cells: None,
        recurrent: false,
    }
}
