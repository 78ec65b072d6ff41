//! Lock-step kernels: all layers from some layer up to the readout forward in one dispatch and backward in another, each
//! workgroup advancing the neurons of a sample together, time step by time step (`shaders/lockstep_*.wgsl`). Recurrent layers
//! need them; other networks have fewer and wider dispatches with them, where tuning finds that faster.

use super::adapter::AdapterSummary;
use super::buffers::{delta_rows, joint_offsets, quads};
use super::dense_layers::DenseLayers;
use super::layer_params::{Chunk, of_chunk};
use super::lockstep_state::Place;
use super::params::Params;
use super::recording::{Recorder, Work};
use super::shaders as k;
use super::sparse::Step;
use crate::engine::Variant;
use crate::error::{Error, Result};
use crate::network::{Network, SpikingLayer};

/// `MOST_LAYERS`, `MOST_WORDS` and `MOST_SUMMARIES` of the kernels.
pub const MOST_LAYERS: usize = 16;
const MOST_WORDS: usize = 512;
const MOST_SUMMARIES: usize = 32;
/// Lanes of a workgroup, if the device allows as many; else half of them.
const LANES: usize = 128;
/// Lanes of `lockstep_backward` that share an active entry.
const PARTS: usize = 8;
/// Quads of weights that a workgroup of `lockstep_weights` owns.
const TILE: usize = 64;

/// The layers that lock-step kernels can compute: those above the last convolution.
fn first_layer(network: &Network) -> usize {
    network.hidden.iter().rposition(|layer| layer.conv().is_some()).map_or(0, |conv| conv + 1)
}

/// The first layer that lock-step kernels can compute together with all layers above it, on a device that binds `binding`
/// bytes at once; or why they cannot.
pub fn possible(network: &Network, binding: u64) -> std::result::Result<usize, String> {
    let first = first_layer(network);
    let layers = network.hidden.len() + 1 - first;
    if layers > MOST_LAYERS {
        return Err(format!("{layers} layers are more than the {MOST_LAYERS} that its kernels compute together"));
    }
    let words = network.spiking().skip(first).map(|layer| layer.neurons.div_ceil(32));
    let summaries = words.clone().map(|words| words.div_ceil(32));
    if words.sum::<usize>() > MOST_WORDS || summaries.sum::<usize>() > MOST_SUMMARIES {
        let most = 32 * MOST_WORDS;
        return Err(format!("the layers have more than the {most} neurons that its kernels compute together"));
    }
    let weights = joint_offsets(&network.weight_shapes()[first..]).last().copied().unwrap_or(0);
    let delta = 16 * (all_quads(network, first) * delta_rows(network)) as u64;
    for (what, bytes) in [("weights of its layers", weights), ("δ of a sample", delta)] {
        if bytes > binding {
            return Err(format!("the {what} would fill {bytes} bytes, and it binds at most {binding} at once"));
        }
    }
    Ok(first)
}

/// Quads of all layers from `first` on.
pub fn all_quads(network: &Network, first: usize) -> usize {
    network.sizes()[first + 1..].iter().map(|&neurons| quads(neurons)).sum()
}

/// The first layer whose weights share buffers with those of all layers above it, as lock-step kernels need them.
pub fn joint_from(network: &Network, binding: u64) -> usize {
    possible(network, binding).unwrap_or(network.hidden.len() + 1)
}

/// Refuses a network with recurrent layers that the device cannot compute.
///
/// # Errors
/// [`Error::Unsupported`], with the limit.
pub fn check(network: &Network, binding: u64) -> Result<()> {
    let Some(l) = network.first_recurrent() else { return Ok(()) };
    let why = match possible(network, binding) {
        Ok(first) if l < first => "it lies below a convolution".into(),
        Ok(_) => return Ok(()),
        Err(why) => why,
    };
    let name = network.layer_name(l);
    Err(Error::Unsupported(format!("{name}.recurrent = true: not on this gpu device, as {why}; use the cpu device")))
}

/// The first layer that lock-step kernels compute, if any: those of a recurrent network in any case, others with the variant
/// that asks for them, unless one of their layers is dense.
pub fn first(network: &Network, variant: Variant, binding: u64, dense: Option<&DenseLayers>) -> Option<usize> {
    let wanted = variant == Variant::Lockstep || network.first_recurrent().is_some();
    let first = wanted.then(|| possible(network, binding).ok()).flatten()?;
    let sparse = |l: usize| dense.is_none_or(|dense| dense.of(l).is_none());
    (first..=network.hidden.len()).all(sparse).then_some(first)
}

/// Whether the variant makes a difference for a network.
pub fn is_choice(network: &Network, binding: u64) -> bool {
    network.first_recurrent().is_none() && possible(network, binding).is_ok()
}

/// The most loop iterations of an invocation on llvmpipe, by the estimates below: half of `LLVMPIPE_ITERATIONS`, since llvmpipe counts
/// more than they do.
const ITERATIONS: usize = 30_000;

/// Iterations of a loop whose body runs `turns` times, with `inner` iterations of the loops in it. The check that ends a loop counts as
/// an iteration, even if the body never runs.
fn iterations(turns: usize, inner: usize) -> usize {
    turns * (1 + inner) + 1
}

/// The most loop iterations of an invocation of `lockstep_forward` per time step, which it has if all neurons spike.
fn forward_iterations(network: &Network, first: usize, lanes: usize) -> usize {
    let (sizes, own) = (network.sizes(), network.recurrent_inputs());
    let layers = network.hidden.len() + 1 - first;
    // Summaries, their words, the spikes of each.
    let spikes = |most: Option<&usize>| {
        let n = most.copied().unwrap_or(0);
        iterations(n.div_ceil(1024), 1) + n.div_ceil(32) * 2 + n
    };
    let events = iterations(sizes[first].div_ceil(4), 0);
    let quad =
        iterations(layers, 0) + events + spikes(sizes[first + 1..].iter().max()) + spikes(own[first..].iter().max());
    let masks = sizes[first + 1..].iter().sum::<usize>().div_ceil(32 * lanes) + 1;
    1 + iterations(masks, 0) + iterations(all_quads(network, first).div_ceil(lanes), quad)
}

/// The most loop iterations of an invocation of `lockstep_backward` per time step, which it has if all entries are active.
fn backward_iterations(network: &Network, first: usize, lanes: usize) -> usize {
    let (sizes, own) = (network.sizes(), network.recurrent_inputs());
    let layers = iterations(network.hidden.len() + 1 - first, 0);
    let spiking = network.spiking().count() - first;
    let entries = sizes[first + 1..][..spiking].iter().sum::<usize>().div_ceil(lanes / PARTS);
    let row = |neurons: &[usize]| iterations(quads(neurons.iter().copied().max().unwrap_or(0)).div_ceil(PARTS), 0);
    let entry = layers + row(sizes.get(first + 2..).unwrap_or(&[])) + row(&own[first..]) + iterations(PARTS, 0);
    let potentials = iterations(all_quads(network, first).div_ceil(lanes), layers);
    1 + layers + iterations(entries, entry) + potentials
}

/// How many time steps a dispatch computes. llvmpipe ends the loops of an invocation after `LLVMPIPE_ITERATIONS`, without an error, so
/// there it is as many as stay below [`ITERATIONS`], but at least one. A kernel whose loops were ended all the same reports it
/// (`shaders/shared/cut_short.wgsl`).
fn steps_per_dispatch(adapter: &AdapterSummary, network: &Network, per_step: usize) -> usize {
    match adapter.name.contains("llvmpipe") {
        true => (ITERATIONS / per_step).clamp(1, network.time_steps),
        false => network.time_steps,
    }
}

/// The parts of a range of time steps.
fn parts(steps: usize, most: usize) -> impl DoubleEndedIterator<Item = (usize, usize)> {
    (0..steps.div_ceil(most)).map(move |k| (k * most, ((k + 1) * most).min(steps)))
}

impl<'a> Step<'a> {
    /// Parameters of all layers of the lock-step kernels, for a chunk of samples and some of the time steps.
    fn lockstep_params(&self, first: usize, chunk: Chunk, (from, to): (usize, usize)) -> Vec<Params> {
        let (network, state) = (self.network, self.state);
        let Some(lockstep) = &state.lockstep else { return Vec::new() };
        let places = &lockstep.places;
        let all_quads = places.iter().map(|place| place.quads).sum::<usize>();
        let mut groups = 0;
        let mut params = Vec::with_capacity(places.len());
        for (l, place) in (first..).zip(places) {
            let layer = network.spiking_layer(l);
            let own = network.recurrent_inputs()[l];
            let inputs = network.fan_in()[l];
            let bias = network.biases()[l];
            let rows = own + usize::from(bias) + if l == first { 0 } else { inputs };
            let p = Params {
                layers: places.len() as u32,
                all_quads: all_quads as u32,
                all_words: lockstep.mask_words as u32,
                from_step: from as u32,
                to_step: to as u32,
                delta_rows: (chunk.samples * delta_rows(network)) as u32,
                errors_at: lockstep.errors_at,
                next_at: lockstep.next_at,
                logits_at: lockstep.logits_at,
                peaks_at: lockstep.peaks_at,
                spiking: u32::from(layer.is_some()),
                recurrent: u32::from(own > 0),
                bias_row: if bias { (inputs + own) as u32 } else { 0 },
                groups_at: groups as u32,
                ..placed(self.params(l), place)
            };
            params.push(of_cell(of_chunk(p, chunk), network, layer));
            groups += rows * place.quads.div_ceil(TILE);
        }
        params.iter_mut().for_each(|p| p.all_groups = groups as u32);
        params
    }

    fn lockstep_lanes(&self) -> usize {
        if self.narrow { LANES / 2 } else { LANES }
    }

    /// All layers forward, the readout included, and what the host is told of each.
    pub fn lockstep_forward(&self, r: &mut Recorder<'a>, first: usize) {
        let Some(lockstep) = &self.state.lockstep else { return };
        let recording = self.recording();
        let program = k::LOCKSTEP_FORWARD.with(if recording { &["RECORD"] } else { &[] });
        let (starts, events) = self.input(first);
        let whole = Chunk { first: 0, samples: self.batch };
        let last = match self.recorded_v.last() {
            Some(v) if recording => ("recorded_v", v),
            _ => ("status", &self.state.status),
        };
        let steps = self.network.time_steps;
        let per_step = forward_iterations(self.network, first, self.lockstep_lanes());
        for range in parts(steps, steps_per_dispatch(r.adapter(), self.network, per_step)) {
            let layers = self.lockstep_params(first, whole, range);
            let given = r.layers(&program, &layers);
            let bindings = [
                ("layers", &given),
                ("input_start", starts),
                ("input_events", events),
                ("weights", self.weights[first].joint(|joint| &joint.weights)),
                ("spike_words", &lockstep.spike_words),
                ("counts", &lockstep.counts),
                ("entries", &lockstep.entries),
                ("state", &lockstep.state),
                last,
            ];
            r.add("lockstep_forward", program.clone(), layers[0], &bindings, Work::Groups(self.batch as u64));
        }
        let program = k::LOCKSTEP_REPORT.with(&[]);
        let layers = self.lockstep_params(first, whole, (0, steps));
        let given = r.layers(&program, &layers);
        let (report, status) = (("report", &self.state.report), ("status", &self.state.status));
        let bindings = [("layers", &given), ("counts", &lockstep.counts), report, status];
        r.add("lockstep_report", program, layers[0], &bindings, Work::Groups(layers.len() as u64));
    }

    /// δ of all layers for a chunk of samples.
    pub fn lockstep_backward(&self, r: &mut Recorder<'a>, first: usize, chunk: Chunk) {
        let Some(lockstep) = &self.state.lockstep else { return };
        let s = self.state;
        let program = k::LOCKSTEP_BACKWARD.with(&[]);
        let needed = first.checked_sub(1).map_or(&s.input.needed, |below| &s.spiking[below].needed);
        let steps = self.network.time_steps;
        let per_step = backward_iterations(self.network, first, self.lockstep_lanes());
        for range in parts(steps, steps_per_dispatch(r.adapter(), self.network, per_step)).rev() {
            let layers = self.lockstep_params(first, chunk, range);
            let given = r.layers(&program, &layers);
            let bindings = [
                ("layers", &given),
                ("weights", self.weights[first].joint(|joint| &joint.weights)),
                ("spike_words", &lockstep.spike_words),
                ("counts", &lockstep.counts),
                ("needed", needed),
                ("errors", &s.readout.errors),
                ("entries", &lockstep.entries),
                ("state", &lockstep.state),
                ("delta", &s.delta),
            ];
            r.add("lockstep_backward", program.clone(), layers[0], &bindings, Work::Groups(chunk.samples as u64));
        }
    }

    /// Weight gradients of all layers, but for the input of the first one, and their update after the last chunk.
    pub fn lockstep_weights(&self, r: &mut Recorder<'a>, first: usize, chunk: Chunk) {
        let Some(lockstep) = &self.state.lockstep else { return };
        let last = self.updates_after(chunk);
        let program = k::LOCKSTEP_WEIGHTS.with(if last { &["ADAM"] } else { &[] });
        let layers = self.lockstep_params(first, chunk, (0, self.network.time_steps));
        let given = r.layers(&program, &layers);
        let joint = |of| self.weights[first].joint(of);
        let mut bindings = vec![
            ("layers", &given),
            ("spike_words", &lockstep.spike_words),
            ("delta", &self.state.delta),
            ("status", &self.state.status),
            ("entries", &lockstep.entries),
            ("gradient", joint(|joint| &joint.gradient)),
        ];
        if last {
            bindings.extend([("weights", joint(|joint| &joint.weights)), ("first", joint(|joint| &joint.first))]);
            bindings.extend([("second", joint(|joint| &joint.second)), ("a", &self.state.adam)]);
        }
        r.add("lockstep_weights", program, layers[0], &bindings, Work::Groups(layers[0].all_groups.into()));
    }
}

/// `p` with where a layer's part of every buffer begins.
fn placed(p: Params, place: &Place) -> Params {
    Params {
        state_at: place.state_at,
        words_at: place.words_at,
        counts_at: place.counts_at,
        needed_at: place.needed_at,
        entries_at: place.entries_at,
        room: place.room,
        mask_at: place.mask_at,
        summary_at: place.summary_at,
        weights_at: place.weights_at,
        ..p
    }
}

/// `p` with what the kernels of a single layer have as constants.
fn of_cell(p: Params, network: &Network, layer: Option<&SpikingLayer>) -> Params {
    let Some(c) = layer.map(|layer| layer.constants(network.dt_ms)) else { return p };
    Params {
        cuba: u32::from(c.synapse.is_some()),
        to_value: u32::from(c.to_value),
        surrogate: k::number(c.surrogate),
        ..p
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Convolution, Readout};

    fn recurrent(hidden: &[usize]) -> Network {
        let layers = hidden.iter().map(|&n| SpikingLayer::lif(n).recurrent());
        let network = layers.fold(Network::new(10, 50), |builder, layer| builder.layer(layer));
        network.readout(Readout::sum(3)).build().unwrap()
    }

    /// The kernels have arrays of these extents.
    #[test]
    fn limits_are_those_of_the_kernels() {
        let has = |text: &str, name: &str, value: usize| {
            let declared = |word| text.contains(&format!("{word} {name}: u32 = {value}u;"));
            assert!(declared("const") || declared("override"), "{name} is not {value}");
        };
        let forward = k::LOCKSTEP_FORWARD.wgsl(&[]);
        has(&forward, "MOST_LAYERS", MOST_LAYERS);
        has(&forward, "MOST_WORDS", MOST_WORDS);
        has(&forward, "MOST_SUMMARIES", MOST_SUMMARIES);
        has(&forward, "LANES", LANES);
        has(&k::LOCKSTEP_BACKWARD.wgsl(&[]), "PARTS", PARTS);
        has(&k::LOCKSTEP_WEIGHTS.wgsl(&[]), "LANES", TILE);
    }

    #[test]
    fn what_is_too_large_is_refused_with_the_limit() {
        let refused = |network: &Network, binding: u64| check(network, binding).unwrap_err().to_string();
        let binding = 128 << 20;
        check(&recurrent(&[256, 256]), binding).unwrap();
        check(&recurrent(&[5000]), binding).unwrap();
        let wide = refused(&recurrent(&[6000]), binding);
        assert!(wide.contains("hidden[0].recurrent = true") && wide.contains("134217728"), "{wide}");
        let wider = refused(&recurrent(&[100, 17_000]), u64::MAX);
        assert!(wider.contains("16384 neurons") && wider.contains("use the cpu device"), "{wider}");
        let deep = refused(&recurrent(&[4; 16]), u64::MAX);
        assert!(deep.contains("17 layers"), "{deep}");
        let long = refused(&recurrent(&[40]), 1 << 10);
        assert!(long.contains("bytes"), "{long}");

        let conv =
            Convolution { channels: 1, height: 2, width: 2, filters: 1, kernel: 1, stride: 1, padding: 0, pool: 1 };
        let mut below = recurrent(&[4, 4]);
        below.hidden[1] = SpikingLayer::convolution(conv);
        assert!(refused(&below, u64::MAX).contains("below a convolution"));
        let mut forward = recurrent(&[17_000]);
        forward.hidden[0].recurrent = false;
        check(&forward, 1).unwrap();
    }
}
