//! The training set in device memory, as compact events in one or several buffers, and the kernels that gather the input
//! of a step from it.

use super::buffers::State;
use super::context::Context;
use super::params::Params;
use super::pieces::Piece;
use super::recording::{Recorder, Work};
use super::region::Region;
use super::shaders as k;
use super::sparse::{Purpose, groups, record_scan};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::Network;
use std::sync::Arc;

/// The training set.
pub struct Held {
    /// The set.
    pub set: Arc<EventSet>,
    /// Its events on the device; `None` if they do not fit and batches are uploaded.
    pub resident: Option<Resident>,
    /// Whether some neuron spikes more than once in a sample.
    pub repeated: bool,
}

/// Events on the device.
pub struct Resident {
    banks: Vec<Region>,
    /// Where each sample begins: event and bank.
    places: Vec<[u32; 2]>,
}

/// The samples of each bank of at most `most` events.
fn banks(set: &EventSet, most: usize) -> Result<Vec<std::ops::Range<usize>>> {
    let starts = set.starts();
    let mut out = Vec::new();
    let mut begin = 0;
    for b in 0..set.len() {
        let (from, to) = (starts[begin] as usize, starts[b + 1] as usize);
        if to - from > most {
            if b == begin || to - starts[b] as usize > most {
                return Err(Error::Device(format!("sample {b} is larger than the device binds at once")));
            }
            out.push(begin..b);
            begin = b;
        }
    }
    out.push(begin..set.len());
    Ok(out)
}

impl Resident {
    /// Uploads the events of a set.
    ///
    /// # Errors
    /// They take more than `most` bytes or than the device has.
    pub fn new(context: &Context, set: &EventSet, most: u64) -> Result<Self> {
        let bytes = 4 * set.events().len() as u64;
        let what = |why: &str| Error::Device(format!("the training set's {:.1} MiB {why}", bytes as f64 / 1048576.0));
        if bytes > most {
            return Err(what("are more than the memory set aside for it"));
        }
        let mut resident = Resident { banks: Vec::new(), places: Vec::with_capacity(set.len()) };
        for (s, samples) in banks(set, (context.binding / 4) as usize)?.into_iter().enumerate() {
            let base = set.starts()[samples.start];
            let events = &set.events()[base as usize..set.starts()[samples.end] as usize];
            resident.places.extend(samples.map(|b| [set.starts()[b] - base, s as u32]));
            let buffer = context
                .storage_if_it_fits("training set", 4 * events.len() as u64)?
                .ok_or_else(|| what("do not fit the device's memory"))?;
            context.upload(&buffer, 0, bytemuck::cast_slice(events))?;
            resident.banks.push(buffer);
        }
        Ok(resident)
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.banks.iter().map(|bank| bank.size()).sum()
    }

    /// Appends the input of `gather` for these samples: (B + 1) times place, bank, label, begin.
    pub fn describe(&self, set: &EventSet, samples: &[u32], words: &mut Vec<u32>) {
        let mut begin = 0;
        for &sample in samples {
            let [place, bank] = self.places[sample as usize];
            words.extend([place, bank, set.labels()[sample as usize], begin]);
            begin += set.sample(sample as usize).len() as u32;
        }
        words.extend([0, 0, 0, begin]);
    }
}

impl Held {
    /// Keeps a set, on the device if it fits into `most` bytes and into the device's memory; `None`: on the host.
    pub fn new(context: &Context, set: Arc<EventSet>, most: Option<u64>) -> (Self, Option<Error>) {
        let (resident, trouble) = match most.map(|most| Resident::new(context, &set, most)) {
            None => (None, None),
            Some(Ok(resident)) => (Some(resident), None),
            Some(Err(error)) => (None, Some(error)),
        };
        let mut last = vec![usize::MAX; set.neurons()];
        let repeated =
            (0..set.len()).any(|b| set.sample(b).iter().any(|event| std::mem::replace(&mut last[event.i()], b) == b));
        (Held { set, resident, repeated }, trouble)
    }
}

/// Records how the input of a piece with a backward pass is prepared: its events, starts and labels, if the set is on the
/// device; its spikes neuron by neuron, in (chunk, neuron, b, t) order; and the rows that have any.
pub fn record<'a>(
    r: &mut Recorder<'a>,
    network: &Network,
    state: &'a State,
    piece: &Piece,
    held: Option<&'a Held>,
    p: Params,
) {
    if piece.purpose == Purpose::Evaluate {
        return;
    }
    let (input, samples) = (&state.input, Work::Groups(piece.samples as u64));
    let lists = piece.samples * network.inputs;
    let p = Params { counts: lists as u32, per_lane: p.per_lane.max(4), ..p };
    let [counts, starts, events] = [("counts", &input.counts), ("starts", &input.starts), ("events", &input.events)];
    let (offsets, presynaptic) = (("offsets", &input.offsets), ("presynaptic", &input.presynaptic));
    let gathered = [counts, ("needed", &input.needed), starts, events];
    match held.and_then(|held| held.resident.as_ref()).filter(|_| piece.held) {
        Some(resident) => {
            for (bank, held) in resident.banks.iter().enumerate() {
                let p = Params { bank: bank as u32, ..p };
                let set = [("samples", &input.samples), ("held", held), ("labels", &input.labels)];
                r.add("gather", k::GATHER.with(&["HELD"]), p, &[&gathered[..], &set].concat(), samples);
            }
        }
        None => r.add("gather", k::GATHER, p, &gathered, samples),
    }
    record_scan(r, "input", p, [&input.counts, &input.offsets], state);
    r.add("scatter_input", k::SCATTER_INPUT, p, &[starts, events, offsets, counts, presynaptic], samples);
    if held.is_none_or(|held| held.repeated) || !piece.held {
        r.add("sort_input", k::SORT_INPUT, p, &[offsets, presynaptic], groups(lists));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Method};
    use crate::gpu::{GpuEngine, GpuOptions};
    use crate::optimiser::Adam;
    use crate::presets;
    use crate::weights::Weights;

    #[test]
    fn banks_hold_whole_samples() {
        let mut set = EventSet::new(4, 9);
        for n in [3, 2, 0, 4, 1, 4] {
            set.push((0..n).map(|k| (2 * k, k)), 0).unwrap();
        }
        assert_eq!(banks(&set, 5).unwrap(), [0..3, 3..5, 5..6]);
        assert_eq!(banks(&set, 100).unwrap(), vec![0..6]);
        assert!(banks(&set, 3).is_err());
        assert_eq!(banks(&EventSet::new(4, 9), 3).unwrap(), vec![0..0]);
    }

    /// Rows of a batch by (chunk, neuron, b, t), and the times at which each sample spikes.
    fn expected(batch: &EventSet, chunk: usize) -> (Vec<u32>, Vec<u32>) {
        let (steps, words) = (batch.time_steps(), batch.time_steps().div_ceil(32));
        let mut needed = vec![0; batch.len() * words];
        let mut rows = Vec::new();
        for b in 0..batch.len() {
            for event in batch.sample(b) {
                needed[b * words + event.t() / 32] |= 1 << (event.t() % 32);
                rows.push((b / chunk, event.i(), (b % chunk * steps + event.t()) as u32));
            }
        }
        rows.sort();
        (rows.into_iter().map(|(_, _, row)| row).collect(), needed)
    }

    /// Compares the lists themselves, as a wrong order changes sums in their last bits only.
    #[test]
    fn lists_are_in_order_from_the_host_and_from_the_device() {
        let mut network = presets::ours("fmnist").unwrap().network;
        (network.inputs, network.time_steps) = (3, 150);
        network.integrator_mut().unwrap().classes = 2;
        network.set_hidden(&[8]).unwrap();
        let mut set = EventSet::new(3, 150);
        for b in 0..14usize {
            // From silent samples to some whose every neuron spikes at nearly every step.
            let spikes = (0..450usize).filter(|k| (k * 7919 + b * 104_729) % 97 < b * 7);
            set.push(spikes.map(|k| (k / 3, k % 3)), (b % 2) as u32).unwrap();
        }
        let samples = [13, 2, 7, 7, 0, 11, 5];
        let mut batch = EventSet::new(0, 0);
        batch.gather(&set, &samples);
        let options = GpuOptions { delta_bytes: Some(16 * 150 * 2 * 3), ..GpuOptions::default() };
        for held in [false, true] {
            let weights = Weights::init(&network, 1);
            let mut engine = GpuEngine::new(&network, Method::Sparse, &weights, options.clone()).unwrap();
            engine.hold(Arc::new(set.clone())).unwrap();
            match held {
                true => engine.train_held(&samples, &Adam::with_lr(1e-3)).unwrap(),
                false => engine.train(&batch, &Adam::with_lr(1e-3)).unwrap(),
            }
            engine.reports(true).unwrap();
            let (state, context) = (engine.state.as_ref().unwrap(), &engine.context);
            assert_eq!(state.chunk, 3);
            let (rows, needed) = expected(&batch, state.chunk);
            let read = |buffer: &Region, n: usize| context.read_as::<u32>(buffer, n).unwrap();
            assert_eq!(read(&state.input.presynaptic, rows.len()), rows);
            assert_eq!(read(&state.input.needed, needed.len()), needed);
            assert_eq!(read(&state.input.starts, samples.len() + 1), batch.starts());
            assert_eq!(read(&state.input.labels, samples.len()), batch.labels());
        }
    }
}
