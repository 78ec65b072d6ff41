//! One training step over several devices of this machine and over the processes of several machines.
//!
//! A batch is cut into shards. Each device computes the gradient of each of its shards by itself; gradients are summed in the order
//! of a fixed [tree], and every device applies the sum. So the result depends on the number of shards, but not on who
//! computes which: on devices of one kind, 1, 2 or 8 of them end in the same bits.

mod message;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod shares;
#[cfg(test)]
pub(crate) mod tests;
pub mod tree;

use crate::engine::{
    DeviceInfo, Engine, Forward, Inspection, LayerMethod, Method, NotFinite, Prediction, Profile, Ranks, StepReport,
    TrainingState, check_batch, check_held, check_samples, layer_bit,
};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::Network;
use crate::optimiser::Adam;
use crate::platform::Instant;
use crate::shards::places;
use crate::weights::{Matrix, Weights};
use message::{Reader, bytes_of_report, put_sparse, report_of};
use std::ops::Range;
use std::sync::Arc;
use tree::Node;

/// Times that the pace of a device is measured.
const TRIALS: usize = 3;

/// A part of a batch, by its samples.
type Part<'a> = &'a (dyn Fn(Range<usize>) -> EventSet + Sync);

/// Several devices that train one network together.
pub struct Parallel {
    devices: Vec<Box<dyn Engine>>,
    /// The shards of each device.
    shares: Vec<Range<usize>>,
    shards: usize,
    ranks: Option<Box<dyn Ranks>>,
    /// The shards of each rank.
    of_ranks: Vec<Range<usize>>,
    held: Option<Arc<EventSet>>,
    reports: Vec<StepReport>,
}

/// What a device has computed of a step.
struct Computed {
    /// Sums of gradients.
    nodes: Vec<Node<Weights>>,
    /// The reports of its shards that are not empty, in order.
    reports: Vec<StepReport>,
}

impl Parallel {
    /// Trains with these devices, which have the same network, and with those of the other ranks, if there are some. A batch
    /// has `shards` shards. `shares` has the number of shards of each device of this process; `None` divides them evenly.
    ///
    /// # Errors
    /// No devices, fewer shards than devices, or shares that do not add up.
    pub fn new(
        devices: Vec<Box<dyn Engine>>,
        shards: usize,
        ranks: Option<Box<dyn Ranks>>,
        shares: Option<&[usize]>,
    ) -> Result<Self> {
        if devices.is_empty() {
            return Err(Error::Config("no devices to train with".into()));
        }
        let (rank, size) = ranks.as_ref().map_or((0, 1), |ranks| (ranks.rank(), ranks.size()));
        let of_ranks = shares::of_ranks(shards, size)?;
        let own = of_ranks[rank].clone();
        let shares = match shares {
            None => shares::divide(own, &vec![1.0; devices.len()])?,
            Some(counts) if counts.len() == devices.len() && counts.iter().sum::<usize>() == own.len() => {
                let ends = counts.iter().scan(own.start, |end, count| {
                    *end += count;
                    Some(*end - count..*end)
                });
                ends.collect()
            }
            Some(counts) => {
                return Err(Error::Config(format!(
                    "shares = {counts:?}: must be the shards of {} devices, {} in all",
                    devices.len(),
                    own.len()
                )));
            }
        };
        Ok(Parallel { devices, shares, shards, ranks, of_ranks, held: None, reports: Vec::new() })
    }

    /// Whether the devices of this process are of one kind.
    fn alike(&self) -> bool {
        let mut names = self.devices.iter().map(|device| device.info().name);
        let first = names.next();
        names.all(|name| Some(name) == first)
    }

    /// Divides the shards of this process by the pace at which each device computes the gradient of `batch`. Devices of one name
    /// share evenly.
    ///
    /// # Errors
    /// Errors of the devices.
    pub fn share_by_pace(&mut self, batch: &EventSet) -> Result<()> {
        if self.alike() {
            return Ok(());
        }
        let mut paces = Vec::with_capacity(self.devices.len());
        for device in &mut self.devices {
            // The first step compiles and allocates.
            device.gradient(batch)?;
            let mut seconds = Vec::with_capacity(TRIALS);
            for _ in 0..TRIALS {
                let clock = Instant::now();
                device.gradient(batch)?;
                seconds.push(clock.elapsed().as_secs_f64());
            }
            seconds.sort_by(f64::total_cmp);
            paces.push(1.0 / seconds[TRIALS / 2].max(1e-9));
        }
        let own = self.shares[0].start..self.shares[self.shares.len() - 1].end;
        self.shares = shares::divide(own, &paces)?;
        Ok(())
    }

    /// Calls `work` for each device with its shards, at the same time.
    fn on_each<T: Send>(&mut self, work: impl Fn(&mut dyn Engine, Range<usize>) -> Result<T> + Sync) -> Result<Vec<T>> {
        let mut devices = self.devices.iter_mut().zip(self.shares.iter().cloned());
        if devices.len() == 1 {
            return devices.map(|(device, share)| work(device.as_mut(), share)).collect();
        }
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> =
                devices.by_ref().map(|(device, share)| scope.spawn(move || work(device.as_mut(), share))).collect();
            let died = || Err(Error::Device("the thread of a device ended unexpectedly".into()));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| died())).collect()
        })
    }

    /// A step on `samples` samples, of which `part` makes batches.
    fn step(&mut self, samples: usize, part: Part, adam: &Adam) -> Result<()> {
        let shards = self.shards;
        let computed = self.on_each(|device, share| compute(device, shards, share, samples, part))?;
        let (mut nodes, mut reports) = (Vec::new(), Vec::new());
        for own in computed {
            nodes.extend(own.nodes);
            reports.extend(own.reports);
        }
        let (gradient, reports) = match self.ranks.as_mut().filter(|ranks| ranks.size() > 1) {
            None => (tree::sum(0..shards, &mut nodes, &add), reports),
            Some(ranks) => {
                let nodes = joined(shards, &self.of_ranks[ranks.rank()], nodes);
                let network = self.devices[0].network();
                let (sum, reports) = together(ranks.as_mut(), &self.of_ranks, shards, &nodes, &reports, network)?;
                (Some(sum), reports)
            }
        };
        let gradient = gradient.unwrap_or_else(|| Weights::zeros_of(self.devices[0].network()));
        let mut broken = 0;
        for (l, layer) in gradient.layers.iter().enumerate() {
            if !layer.is_finite() {
                broken |= layer_bit(l);
            }
        }
        let mut report = merged(&reports)?;
        report.not_finite = report.not_finite.or(NotFinite::of((0, broken)));
        if report.not_finite.is_none() {
            self.update(&gradient, adam)?;
        }
        self.reports.push(report);
        Ok(())
    }
}

/// Gradients and reports of the shards `share`.
fn compute(
    device: &mut dyn Engine,
    shards: usize,
    share: Range<usize>,
    samples: usize,
    part: Part,
) -> Result<Computed> {
    let mut reports = Vec::new();
    let mut leaf = |shard: usize| -> Result<Option<Weights>> {
        let range = places(samples, shards, shard);
        if range.is_empty() {
            return Ok(None);
        }
        // The loss is a mean over samples: of the shard here, of the batch in the sum.
        let weight = range.len() as f32 / samples as f32;
        let (mut gradient, report) = device.gradient(&part(range))?;
        gradient.layers.iter_mut().for_each(|layer| layer.data.iter_mut().for_each(|g| *g *= weight));
        reports.push(report);
        Ok(Some(gradient))
    };
    let largest = tree::cover(shards, &share).into_iter();
    let nodes = largest.map(|node| Ok(Node { sum: tree::compute(node.clone(), &mut leaf, &add)?, shards: node }));
    let nodes = nodes.collect::<Result<_>>()?;
    Ok(Computed { nodes, reports })
}

/// The largest nodes of the tree in `share`, from smaller ones.
fn joined(shards: usize, share: &Range<usize>, mut nodes: Vec<Node<Weights>>) -> Vec<Node<Weights>> {
    let largest = tree::cover(shards, share).into_iter();
    largest.map(|node| Node { sum: tree::sum(node.clone(), &mut nodes, &add), shards: node }).collect()
}

fn add(mut sum: Weights, other: Weights) -> Weights {
    for (sum, other) in sum.layers.iter_mut().zip(other.layers) {
        add_numbers(&mut sum.data, &other.data);
    }
    sum
}

fn add_numbers(sum: &mut [f32], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}

/// The parts of the matrices that the numbers `segment` of all of them, one after the other, are in: layer and numbers of it.
fn parts(layers: &[Matrix], segment: Range<usize>) -> Vec<(usize, Range<usize>)> {
    let mut begin = 0;
    let part = |(l, layer): (usize, &Matrix)| {
        let end = begin + layer.data.len();
        let part = segment.start.clamp(begin, end) - begin..segment.end.clamp(begin, end) - begin;
        begin = end;
        (!part.is_empty()).then_some((l, part))
    };
    layers.iter().enumerate().filter_map(part).collect()
}

/// The gradient and the reports of all ranks. Each rank sums a segment of the gradient, then all get all segments.
fn together(
    ranks: &mut dyn Ranks,
    of_ranks: &[Range<usize>],
    shards: usize,
    nodes: &[Node<Weights>],
    reports: &[StepReport],
    network: &Network,
) -> Result<(Weights, Vec<StepReport>)> {
    let (rank, size) = (ranks.rank(), ranks.size());
    let mut gradient = Weights::zeros_of(network);
    let numbers: usize = gradient.layers.iter().map(|layer| layer.data.len()).sum();
    let segments: Vec<_> = (0..size).map(|k| parts(&gradient.layers, places(numbers, size, k))).collect();
    let message = |k: usize| {
        let mut message = Vec::new();
        for node in nodes {
            message.push(u8::from(node.sum.is_some()));
            if let Some(sum) = &node.sum {
                segments[k].iter().for_each(|(l, part)| put_sparse(&mut message, &sum.layers[*l].data[part.clone()]));
            }
        }
        message
    };
    let messages: Vec<Vec<u8>> = (0..size).map(message).collect();
    let received = ranks.exchange(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    drop(messages);
    let mut known = Vec::new();
    for (share, message) in of_ranks.iter().zip(&received) {
        let mut reader = Reader::new(message);
        for node in tree::cover(shards, share) {
            let mut sum = None;
            if reader.byte()? != 0 {
                let mut own = Vec::with_capacity(places(numbers, size, rank).len());
                for (_, part) in &segments[rank] {
                    own.extend(reader.sparse(part.len())?);
                }
                sum = Some(own);
            }
            known.push(Node { shards: node, sum });
        }
    }
    let add = |mut sum: Vec<f32>, other: Vec<f32>| {
        add_numbers(&mut sum, &other);
        sum
    };
    let mut message = Vec::new();
    let sum = tree::sum(0..shards, &mut known, &add).unwrap_or_default();
    let mut rest = &sum[..];
    for (_, part) in &segments[rank] {
        let (own, after) = rest.split_at(part.len().min(rest.len()));
        put_sparse(&mut message, own);
        rest = after;
    }
    reports.iter().for_each(|report| message.extend(bytes_of_report(report)));
    let mut all = Vec::new();
    for (segment, message) in segments.iter().zip(&ranks.share(&message)?) {
        let mut reader = Reader::new(message);
        for (l, part) in segment {
            let numbers = reader.sparse(part.len())?;
            gradient.layers[*l].data[part.clone()].copy_from_slice(&numbers);
        }
        while !reader.is_empty() {
            all.push(report_of(&mut reader, network)?);
        }
    }
    Ok((gradient, all))
}

/// The report of a step from those of its shards, in order.
fn merged(reports: &[StepReport]) -> Result<StepReport> {
    let Some((first, rest)) = reports.split_first() else { return Err(Error::Data("the batch has no samples".into())) };
    let mut whole = first.clone();
    for report in rest {
        whole.samples += report.samples;
        whole.loss.add(&report.loss);
        whole.correct += report.correct;
        let counts = whole.spikes.iter_mut().zip(&report.spikes).chain(whole.active.iter_mut().zip(&report.active));
        counts.for_each(|(sum, n)| *sum += n);
        whole.not_finite = whole.not_finite.or(report.not_finite);
    }
    Ok(whole)
}

impl Engine for Parallel {
    fn info(&self) -> DeviceInfo {
        let infos: Vec<DeviceInfo> = self.devices.iter().map(|device| device.info()).collect();
        let mut names: Vec<String> = infos.iter().map(|info| info.name.clone()).collect();
        names.dedup();
        let ranks = self.ranks.as_ref().map_or(1, |ranks| ranks.size());
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let detail = format!(
            "{}; {} of {} in this process, {}",
            infos[0].detail,
            count(self.devices.len(), "device"),
            count(ranks, "rank"),
            count(self.shards, "shard")
        );
        DeviceInfo { kind: infos[0].kind, name: names.join(" + "), detail }
    }

    fn kernels(&self) -> Option<&'static str> {
        self.devices.iter().find_map(|device| device.kernels())
    }

    fn delta_bytes(&self) -> Option<u64> {
        self.devices.iter().find_map(|device| device.delta_bytes())
    }

    fn shares(&self) -> Option<Vec<usize>> {
        (!self.alike()).then(|| self.shares.iter().map(ExactSizeIterator::len).collect())
    }

    fn network(&self) -> &Network {
        self.devices[0].network()
    }

    fn method(&self) -> Method {
        self.devices[0].method()
    }

    fn reopen(&mut self, state: &TrainingState) -> Result<()> {
        self.reports.clear();
        // A cpu device cannot be lost.
        self.devices.iter_mut().try_for_each(|device| match device.info().kind {
            "cpu" => device.load(state),
            _ => device.reopen(state),
        })
    }

    fn load(&mut self, state: &TrainingState) -> Result<()> {
        self.devices.iter_mut().try_for_each(|device| device.load(state))
    }

    fn store(&mut self) -> Result<TrainingState> {
        self.devices[0].store()
    }

    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        self.devices.iter_mut().try_for_each(|device| device.set_layer_methods(methods))
    }

    fn crossover(&self) -> f64 {
        self.devices[0].crossover()
    }

    /// Keeps the set on the host; shards are gathered there.
    fn hold(&mut self, set: Arc<EventSet>) -> Result<()> {
        check_held(self.network(), &set)?;
        self.held = Some(set);
        Ok(())
    }

    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()> {
        let set = check_samples(self.held.as_ref(), samples)?;
        let part = |range: Range<usize>| {
            let mut part = EventSet::new(0, 0);
            part.gather(&set, &samples[range]);
            part
        };
        self.step(samples.len(), &part, adam)
    }

    fn notes(&mut self) -> Vec<String> {
        self.devices.iter_mut().flat_map(|device| device.notes()).collect()
    }

    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()> {
        check_batch(self.network(), batch)?;
        self.step(batch.len(), &|range| piece(batch, range), adam)
    }

    fn reports(&mut self, _wait: bool) -> Result<Vec<StepReport>> {
        Ok(std::mem::take(&mut self.reports))
    }

    fn predict(&mut self, batch: &EventSet) -> Result<Prediction> {
        self.devices[0].predict(batch)
    }

    fn predict_together(&mut self, batch: &EventSet) -> Result<Prediction> {
        let (shards, n, classes) = (self.shards, batch.len(), self.network().classes());
        let spiking = self.network().spiking().count();
        let parts = self.on_each(|device, share| {
            let (mut logits, mut spikes) = (Vec::new(), vec![0u64; spiking]);
            for range in share.map(|shard| places(n, shards, shard)).filter(|range| !range.is_empty()) {
                let part = device.predict(&piece(batch, range))?;
                logits.extend(part.logits);
                spikes.iter_mut().zip(part.spikes).for_each(|(sum, n)| *sum += n);
            }
            Ok((logits, spikes))
        })?;
        let (mut logits, mut spikes) = (Vec::new(), vec![0u64; spiking]);
        let mut take = |some: &[f32], counts: &[u64]| {
            logits.extend_from_slice(some);
            spikes.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        };
        match self.ranks.as_mut().filter(|ranks| ranks.size() > 1) {
            None => parts.iter().for_each(|(logits, spikes)| take(logits, spikes)),
            Some(ranks) => {
                let mut message = Vec::new();
                let counts = |l: usize| parts.iter().map(|(_, spikes)| spikes[l]).sum::<u64>();
                (0..spiking).for_each(|l| message.extend(counts(l).to_le_bytes()));
                parts.iter().for_each(|(logits, _)| message.extend_from_slice(bytemuck::cast_slice(logits)));
                for message in ranks.share(&message)? {
                    let mut reader = Reader::new(&message);
                    let counts: Vec<u64> = (0..spiking).map(|_| reader.word()).collect::<Result<_>>()?;
                    take(&reader.floats(reader.left() / 4)?, &counts);
                }
            }
        }
        Ok(Prediction::new(logits, classes, spikes))
    }

    fn ranks(&mut self) -> Option<&mut dyn Ranks> {
        match &mut self.ranks {
            Some(ranks) => Some(ranks.as_mut()),
            None => None,
        }
    }

    fn forward(&mut self, batch: &EventSet) -> Result<Forward> {
        self.devices[0].forward(batch)
    }

    fn backward(&mut self, pass: Forward, logit_gradient: &[f32]) -> Result<Weights> {
        self.devices[0].backward(pass, logit_gradient)
    }

    fn update(&mut self, gradient: &Weights, adam: &Adam) -> Result<()> {
        self.devices.iter_mut().try_for_each(|device| device.update(gradient, adam))
    }

    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection> {
        self.devices[0].inspect(batch)
    }

    fn profile(&mut self, _batch: &EventSet, _adam: &Adam) -> Result<Profile> {
        Err(Error::Unsupported("the parts of a step on several devices or shards have no common times".into()))
    }

    fn state_bytes(&self) -> Vec<(String, u64)> {
        self.devices.iter().flat_map(|device| device.state_bytes()).collect()
    }
}

/// Samples `range` of a batch.
fn piece(batch: &EventSet, range: Range<usize>) -> EventSet {
    let samples: Vec<u32> = (range.start as u32..range.end as u32).collect();
    let mut piece = EventSet::new(0, 0);
    piece.gather(batch, &samples);
    piece
}
