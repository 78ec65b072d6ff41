//! Times of the public operations: a training step and an evaluation on each device, and what prepares the data.
//!
//!     cargo bench                      # all, about a minute
//!     cargo bench -- 'train/cpu'       # those whose name holds the word
//!
//! Small sizes, to see whether a change made an operation slower. Whole presets are `spikegrad bench`'s to measure.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use spikegrad::bench::{TARGET_DENSITY, random_spikes, scaled_weights};
use spikegrad::data::latency::LatencyCode;
use spikegrad::data::order::order;
use spikegrad::device::Device;
use spikegrad::engine::{Engine, Method};
use spikegrad::events::EventSet;
use spikegrad::gpu::{adapter, adapters};
use spikegrad::network::Network;
use spikegrad::optimiser::Adam;
use spikegrad::weights::Weights;
use spikegrad::{Result, presets};
use std::time::Duration;

/// Fashion-MNIST's fraction of input slots with a spike.
const INPUT_DENSITY: f64 = 0.004;

/// fmnist's network with other hidden layers; a batch as sparse as the images, and weights of the paper's activity.
struct Subject {
    network: Network,
    batch: EventSet,
    weights: Weights,
}

impl Subject {
    fn new(hidden: usize, samples: usize) -> Result<Self> {
        let mut network = presets::ours("fmnist")?.network;
        network.set_hidden(&[hidden, hidden])?;
        Self::of(network, samples)
    }

    /// The same with recurrent hidden layers.
    fn recurrent(hidden: usize, samples: usize) -> Result<Self> {
        let mut network = presets::ours("fmnist")?.network;
        network.set_hidden(&[hidden, hidden])?;
        network.connect_hidden()?;
        Self::of(network, samples)
    }

    fn of(network: Network, samples: usize) -> Result<Self> {
        let batch = random_spikes(&network, samples, INPUT_DENSITY, 0)?;
        let weights = scaled_weights(&network, &batch, TARGET_DENSITY, 0)?;
        Ok(Subject { network, batch, weights })
    }

    fn open(&self, device: Device, method: Method) -> Result<Box<dyn Engine>> {
        device.open(&self.network, method, &self.weights)
    }
}

/// The devices of this machine.
fn devices() -> Vec<Device> {
    match adapter::best(&adapters(), true) {
        Some(index) => vec![Device::Cpu, Device::Gpu(Some(index))],
        None => {
            println!("no usable GPU adapter: the gpu device is left out");
            vec![Device::Cpu]
        }
    }
}

fn short(device: Device) -> &'static str {
    if device == Device::Cpu { "cpu" } else { "gpu" }
}

/// A whole training step, waiting for the device included.
fn train(c: &mut Criterion) -> Result<()> {
    // So slow that the weights, and with them spikes and cost, stay as they are.
    let adam = Adam::with_lr(1e-12);
    let devices = devices();
    for (hidden, samples) in [(100, 32), (400, 32)] {
        let subject = Subject::new(hidden, samples)?;
        let mut group = c.benchmark_group("train");
        group.throughput(Throughput::Elements(samples as u64));
        for &device in &devices {
            for method in [Method::Sparse, Method::Dense] {
                let mut engine = subject.open(device, method)?;
                let name = format!("{}/{method:?}", short(device)).to_lowercase();
                group.bench_function(BenchmarkId::new(name, format!("{hidden}x{samples}")), |b| {
                    b.iter(|| engine.train(&subject.batch, &adam).and_then(|()| engine.reports(true)));
                });
            }
        }
        let subject = Subject::recurrent(hidden, samples)?;
        let mut engine = subject.open(Device::Cpu, Method::Sparse)?;
        group.bench_function(BenchmarkId::new("cpu/recurrent", format!("{hidden}x{samples}")), |b| {
            b.iter(|| engine.train(&subject.batch, &adam).and_then(|()| engine.reports(true)));
        });
        group.finish();
    }
    Ok(())
}

fn evaluate(c: &mut Criterion) -> Result<()> {
    let subject = Subject::new(200, 100)?;
    let mut group = c.benchmark_group("evaluate");
    group.throughput(Throughput::Elements(100));
    for device in devices() {
        let mut engine = subject.open(device, Method::Sparse)?;
        group.bench_function(short(device), |b| b.iter(|| engine.predict(&subject.batch)));
    }
    group.finish();
    Ok(())
}

/// From images to batches.
fn data(c: &mut Criterion) -> Result<()> {
    let code = LatencyCode::new(100, 1.0);
    let image: Vec<u8> = (0..784u32).map(|i| (i * 37 % 256) as u8).collect();
    c.bench_function("data/latency_code", |b| {
        b.iter(|| {
            let mut set = EventSet::new(784, 100);
            set.push(code.spikes(&image), 0).map(|()| set)
        });
    });
    let subject = Subject::new(10, 1000)?;
    let mut batch = EventSet::new(0, 0);
    let samples = order(0, 1, 256);
    c.bench_function("data/gather_256", |b| b.iter(|| batch.gather(&subject.batch, &samples)));
    c.bench_function("data/order_60000", |b| b.iter(|| order(0, 1, 60_000)));
    Ok(())
}

fn all(c: &mut Criterion) {
    for benches in [train, evaluate, data] {
        if let Err(error) = benches(c) {
            panic!("{error}");
        }
    }
}

criterion_group! {
    name = operations;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = all
}
criterion_main!(operations);
