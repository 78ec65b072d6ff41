//! Any number of ranks and devices ends in the same bits. Here ranks are threads.

use super::Parallel;
use crate::device::Device;
use crate::engine::{Engine, Method, Ranks, StepReport, TrainingState};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::{Network, Readout, SpikingLayer};
use crate::optimiser::Adam;
use crate::synthetic;
use crate::weights::Weights;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A rank that is a thread.
pub(crate) struct Thread {
    rank: usize,
    send: Vec<Sender<Vec<u8>>>,
    receive: Vec<Receiver<Vec<u8>>>,
}

impl Thread {
    /// All ranks of a run.
    pub(crate) fn all(size: usize) -> Vec<Thread> {
        let mut ranks: Vec<Thread> =
            (0..size).map(|rank| Thread { rank, send: Vec::new(), receive: Vec::new() }).collect();
        for from in 0..size {
            for to in 0..size {
                let (send, receive) = channel();
                ranks[from].send.push(send);
                ranks[to].receive.push(receive);
            }
        }
        ranks
    }
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.send.len()
    }

    fn exchange(&mut self, messages: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let ended = |rank: usize| Error::Ranks(format!("{} has ended", self.name(rank)));
        for (rank, (to, message)) in self.send.iter().zip(messages).enumerate() {
            to.send(message.to_vec()).map_err(|_| ended(rank))?;
        }
        self.receive.iter().enumerate().map(|(rank, from)| from.recv().map_err(|_| ended(rank))).collect()
    }
}

fn network() -> Network {
    let layer = |n: usize| SpikingLayer::lif(n);
    Network::new(40, 30).layer(layer(24)).layer(layer(16).recurrent()).readout(Readout::sum(5)).build().unwrap()
}

fn data(network: &Network) -> EventSet {
    synthetic::random_spikes(network, 53, 0.05, 1).unwrap()
}

/// Five steps of different sizes, one of them smaller than the number of shards, and an evaluation.
fn train(engine: &mut Parallel, data: &EventSet) -> (TrainingState, Vec<StepReport>, Vec<f32>) {
    engine.hold(data.clone().into()).unwrap();
    let adam = Adam::with_lr(0.01);
    for batch in [0..16, 16..32, 32..45, 45..50, 50..53] {
        engine.train_held(&batch.collect::<Vec<u32>>(), &adam).unwrap();
    }
    engine.train(&data.head(20), &adam).unwrap();
    let logits = engine.predict_together(&data.head(30)).unwrap().logits;
    (engine.store().unwrap(), engine.reports(true).unwrap(), logits)
}

fn devices(n: usize, device: Device, network: &Network) -> Vec<Box<dyn Engine>> {
    let weights = Weights::init(network, 3);
    (0..n).map(|_| device.open(network, Method::Sparse, &weights).unwrap()).collect()
}

/// Trains on `size` ranks of `n` devices; all ranks end alike.
fn on_ranks(size: usize, n: usize) -> (TrainingState, Vec<StepReport>, Vec<f32>) {
    let network = network();
    let data = data(&network);
    let run = |ranks: Thread| {
        let devices = devices(n, Device::Cpu, &network);
        train(&mut Parallel::new(devices, 8, Some(Box::new(ranks)), None).unwrap(), &data)
    };
    let ends: Vec<_> = std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = Thread::all(size).into_iter().map(|ranks| scope.spawn(move || run(ranks))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ends.iter().all(|end| *end == ends[0]));
    ends.into_iter().next().unwrap()
}

#[test]
fn any_number_of_ranks_and_devices_ends_in_the_same_bits() {
    let network = network();
    let data = data(&network);
    let alone = train(&mut Parallel::new(devices(1, Device::Cpu, &network), 8, None, None).unwrap(), &data);
    assert_eq!((alone.0.step, alone.1.len()), (6, 6));
    assert!(alone.1.iter().all(|report| report.active.iter().all(|&n| n > 0)), "{:?}", alone.1);
    for shares in [[7, 1], [3, 5]] {
        let mut two = Parallel::new(devices(2, Device::Cpu, &network), 8, None, Some(&shares)).unwrap();
        assert!(train(&mut two, &data) == alone, "{shares:?}");
    }
    for (ranks, devices) in [(1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (2, 3)] {
        assert!(on_ranks(ranks, devices) == alone, "{ranks} ranks of {devices} devices");
    }
    // The number of shards is part of the result.
    let mut other = Parallel::new(devices(1, Device::Cpu, &network), 4, None, None).unwrap();
    assert!(train(&mut other, &data).0.weights != alone.0.weights);
}

/// One shard makes the steps of a device alone.
#[test]
fn one_shard_is_a_step_of_the_device() {
    let network = network();
    let data = data(&network);
    let mut one = Parallel::new(devices(1, Device::Cpu, &network), 1, None, None).unwrap();
    let mut device = devices(1, Device::Cpu, &network).remove(0);
    let adam = Adam::with_lr(0.01);
    for engine in [&mut one as &mut dyn Engine, device.as_mut()] {
        engine.train(&data, &adam).unwrap();
        engine.train(&data.head(9), &adam).unwrap();
    }
    assert_eq!(one.store().unwrap(), device.store().unwrap());
    assert_eq!(one.reports(true).unwrap(), device.reports(true).unwrap());
}

/// The gradient of shards is that of the batch, apart from rounding.
#[test]
fn shards_make_the_gradient_of_the_batch() {
    let network = network();
    let data = data(&network);
    let loss = |shards: usize| {
        let mut engine = Parallel::new(devices(1, Device::Cpu, &network), shards, None, None).unwrap();
        engine.train(&data, &Adam::with_lr(1e-3)).unwrap();
        (engine.store().unwrap().first, engine.reports(true).unwrap().remove(0).loss)
    };
    let ((one, loss_one), (many, loss_many)) = (loss(1), loss(16));
    assert!((loss_one.total() - loss_many.total()).abs() < 1e-3 * loss_one.total(), "{loss_one:?} {loss_many:?}");
    for (a, b) in one.layers.iter().zip(&many.layers) {
        let largest = a.data.iter().fold(0f32, |most, g| most.max(g.abs()));
        assert!(largest > 0.0);
        assert!(a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() < 1e-4 * largest));
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_reported_and_leaves_the_weights() {
    let network = network();
    let mut engine = Parallel::new(devices(2, Device::Cpu, &network), 2, None, None).unwrap();
    let mut state = engine.store().unwrap();
    // The logits overflow.
    state.weights.layers[2].data.fill(f32::MAX);
    engine.load(&state).unwrap();
    engine.train(&data(&network), &Adam::with_lr(0.01)).unwrap();
    let report = engine.reports(true).unwrap().remove(0);
    assert!(report.not_finite.is_some_and(|found| found.layer == 2), "{report:?}");
    assert_eq!(engine.store().unwrap().step, 0);
}

#[test]
fn more_devices_than_shards_are_refused() {
    let network = network();
    let refused = |n, shards, shares: Option<&[usize]>| {
        Parallel::new(devices(n, Device::Cpu, &network), shards, None, shares).map(drop).unwrap_err().to_string()
    };
    assert!(refused(3, 2, None).contains("shards = 2: must be 3 or more"));
    assert!(refused(2, 4, Some(&[1, 2])).contains("4 in all"));
    assert!(refused(0, 4, None).contains("no devices"));
}
