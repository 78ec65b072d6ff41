//! Reading everything back, for reference cases, plots and tests.

use super::buffers::{ACTIVE_ENTRY, LayerWeights, State, all_slots, layer_name, quads, read_rows, slots};
use super::context::Context;
use super::lockstep_state::{Place, entry_counts_at};
use super::params::Params;
use super::recording::Recorder;
use super::region::Region;
use super::sparse::{Purpose, groups};
use super::steps::Report;
use super::{GpuEngine, GpuOptions, dense, lockstep, shaders as k};
use crate::engine::{ActiveEntry, Inspection, LayerInspection, Method, check_batch};
use crate::error::{Error, Result};
use crate::events::{Event, EventSet};
use crate::network::Network;
use crate::weights::Weights;

/// Forward and backward pass of `batch`, with all intermediate results.
pub fn inspect(engine: &mut GpuEngine, batch: &EventSet) -> Result<Inspection> {
    check_batch(&engine.network, batch)?;
    engine.finish_all()?;
    let dense = matches!(engine.method, Method::Dense | Method::Reference);
    if !dense {
        engine.make_room(batch)?;
        let rows = engine.most_samples(Purpose::Inspect).min(batch.len()) * batch.time_steps();
        engine.recorded_v = recorded(engine, rows)?;
    }
    let pieces = engine.run(batch, Purpose::Inspect, |engine, state, part, report| {
        let (spiking, readout_v) = match dense {
            true => (dense::inspect_hidden(engine, part)?, dense::readout_v(engine, part)?),
            false => inspect_events(engine, state, part, report)?,
        };
        let logits = read_rows(&engine.context, &state.readout.logits, part.len(), engine.network.classes())?;
        Ok(Inspection { spiking, readout_v, logits, loss: report.loss(), gradient: Weights { layers: Vec::new() } })
    });
    // The recordings bind these buffers, so both are dropped.
    engine.recordings.retain(|piece, _| dense || piece.purpose != Purpose::Inspect);
    engine.recorded_v.clear();
    let gradient = |layer: &LayerWeights| layer.read(&engine.context, |strip| &strip.gradient);
    let gradient = Weights { layers: engine.weights.iter().map(gradient).collect::<Result<_>>()? };
    let mut pieces = pieces?.into_iter();
    let Some(first) = pieces.next() else { return Err(Error::Data("the batch has no samples".into())) };
    let whole = pieces.fold(first, |whole, piece| joined(whole, piece, &engine.network));
    Ok(Inspection { gradient, ..whole })
}

/// The samples of `whole`, then those of `piece`.
fn joined(mut whole: Inspection, piece: Inspection, network: &Network) -> Inspection {
    let before = (whole.logits.len() / network.classes()) as u32;
    for (layer, next) in whole.spiking.iter_mut().zip(piece.spiking) {
        layer.v.extend(next.v);
        layer.spikes.extend(next.spikes.into_iter().map(|(b, event)| (before + b, event)));
        layer.active.extend(next.active.into_iter().map(|entry| ActiveEntry { b: before + entry.b, ..entry }));
    }
    whole.readout_v.extend(piece.readout_v);
    whole.logits.extend(piece.logits);
    whole.loss.add(&piece.loss);
    whole
}

fn inspect_events(
    engine: &GpuEngine,
    state: &State,
    part: &EventSet,
    report: &Report,
) -> Result<(Vec<LayerInspection>, Vec<f32>)> {
    let v = &engine.recorded_v;
    let rows = part.len() * part.time_steps();
    let below =
        (0..state.spiking.len()).map(|l| inspect_layer(engine, state, part, l, &v[l], report.active(l) as usize));
    let mut spiking = below.collect::<Result<Vec<_>>>()?;
    let mut readout_v = Vec::new();
    if let (Some(first), Some(lockstep), Some(v)) = (state.sizes.lockstep, &state.lockstep, v.last()) {
        let stride = 4 * lockstep::all_quads(&engine.network, first);
        let together: Vec<f32> = engine.context.read_as(v, rows * stride)?;
        for (place, &neurons) in lockstep.places.iter().zip(&engine.network.sizes()[first + 1..]) {
            let at = 4 * place.state_at as usize;
            let v = together.chunks_exact(stride).flat_map(|row| row[at..at + neurons].iter().copied()).collect();
            match &place.spike_words {
                Some(words) => spiking.push(inspect_place(engine, state, part, place, words, v)?),
                None => readout_v = v,
            }
        }
    }
    if let (None, Some(v)) = (&state.lockstep, v.get(state.spiking.len())) {
        readout_v = read_rows(&engine.context, v, rows, engine.network.classes())?;
    }
    Ok((spiking, readout_v))
}

/// Room for the potentials of each layer; those of lock-step kernels share a buffer, which stands in the place of each.
fn recorded(engine: &GpuEngine, rows: usize) -> Result<Vec<Region>> {
    let storage = |quads: usize| engine.context.storage("recorded potentials", 16 * (rows * quads) as u64);
    let layers = engine.network.hidden.len() + 1;
    let first = engine.lockstep().unwrap_or(layers);
    let mut recorded = all_slots(&engine.network).take(first).map(|n| storage(quads(n))).collect::<Result<Vec<_>>>()?;
    if first < layers {
        let together = storage(lockstep::all_quads(&engine.network, first))?;
        recorded.resize(layers, together);
    }
    Ok(recorded)
}

/// A layer of the lock-step kernels, with potentials `v`.
fn inspect_place(
    engine: &GpuEngine,
    state: &State,
    batch: &EventSet,
    place: &Place,
    words: &Region,
    v: Vec<f32>,
) -> Result<LayerInspection> {
    let (context, steps) = (&engine.context, batch.time_steps());
    let (Some(lockstep), Some(counts)) = (&state.lockstep, &place.counts) else {
        return Err(Error::Device("no layers in step".into()));
    };
    let words_of_steps = steps.div_ceil(32);
    let words: Vec<u32> = context.read_as(words, 4 * batch.len() * words_of_steps * place.quads)?;
    let mut spikes = Vec::new();
    for (row, row_words) in words.chunks(4 * place.quads).enumerate() {
        let (b, first) = (row / words_of_steps, 32 * (row % words_of_steps));
        for t in first..(first + 32).min(steps) {
            let fired = row_words.iter().enumerate().filter(|(_, word)| *word >> (t - first) & 1 == 1);
            spikes.extend(fired.map(|(j, _)| (b as u32, Event::new(t, j))));
        }
    }
    let mut active = Vec::new();
    let neurons = v.len() / (batch.len() * steps).max(1);
    let sums = counts.part(4 * entry_counts_at(batch.len(), steps, neurons), 4 * batch.len() as u64);
    let sums: Vec<u32> = context.read_as(&sums, batch.len())?;
    for (b, &n) in sums.iter().enumerate() {
        let n = n.min(place.room);
        let at = 4 * (u64::from(place.entries_at) + 4 * (b as u64) * u64::from(place.room));
        let entries: Vec<[u32; 4]> = context.read_as(&lockstep.entries.part(at, 16 * u64::from(n)), n as usize)?;
        active.extend(entries.iter().map(|&[t, j, g, e]| ActiveEntry {
            b: b as u32,
            t,
            j,
            g: f32::from_bits(g),
            e: f32::from_bits(e),
        }));
    }
    active.sort_unstable_by_key(|entry| (entry.b, entry.t, entry.j));
    Ok(LayerInspection { v, spikes, active })
}

fn inspect_layer(
    engine: &GpuEngine,
    state: &State,
    batch: &EventSet,
    l: usize,
    v: &Region,
    entries: usize,
) -> Result<LayerInspection> {
    let (context, h) = (&engine.context, &state.spiking[l]);
    let steps = batch.time_steps();
    let rows = batch.len() * steps;
    let starts: Vec<u32> = context.read_as(&h.offsets, rows + 1)?;
    let events: Vec<Event> = context.read_as(&h.events, starts[rows] as usize)?;
    let mut spikes = Vec::with_capacity(events.len());
    for b in 0..batch.len() {
        let range = starts[b * steps] as usize..starts[(b + 1) * steps] as usize;
        let sample = events.get(range.clone()).ok_or_else(|| {
            let n = events.len();
            let name = layer_name(&engine.network, l);
            Error::Device(format!("{name}: the spikes of sample {b} are said to be {range:?} of {n}"))
        })?;
        spikes.extend(sample.iter().map(|&event| (b as u32, event)));
    }
    let errors: Vec<f32> = context.read_as(&h.errors, entries)?;
    let entries: Vec<[u32; ACTIVE_ENTRY as usize / 4]> = context.read_as(&h.active, entries)?;
    let mut active: Vec<ActiveEntry> = entries
        .iter()
        .zip(errors)
        .map(|(&[row, j, g], e)| {
            let (b, t) = (row / steps as u32, row % steps as u32);
            ActiveEntry { b, t, j, g: f32::from_bits(g), e }
        })
        .collect();
    let Some(layer) = engine.network.spiking_layer(l) else {
        return Err(Error::Device(format!("layer {l} does not spike")));
    };
    let mut v = read_rows(context, v, rows, slots(layer))?;
    if let Some(conv) = layer.conv() {
        // From pixel order to map order.
        let stride = 4 * quads(conv.filters);
        let neuron = |slot: usize| slot % stride * conv.pixels() + slot / stride;
        let slot = |j: usize| j % conv.pixels() * stride + j / conv.pixels();
        v = v.chunks_exact(slots(layer)).flat_map(|row| (0..layer.neurons).map(|j| row[slot(j)])).collect();
        for (_, event) in &mut spikes {
            *event = Event::new(event.t(), neuron(event.i()));
        }
        spikes.sort_unstable();
        active.iter_mut().for_each(|entry| entry.j = neuron(entry.j as usize) as u32);
    }
    active.sort_unstable_by_key(|entry| (entry.b, entry.t, entry.j));
    Ok(LayerInspection { v, spikes, active })
}

/// The δ recurrence alone, by the kernel of the training step: twin of [`crate::cpu::delta`].
///
/// `errors[j]` are (t, e) of neuron j at its active times, ascending; `needed` is [J, T].
/// Returns [J, T], 0 where not needed.
///
/// # Errors
/// No adapter, or one that fails.
pub fn delta(options: GpuOptions, alpha: f32, errors: &[Vec<(usize, f32)>], needed: &[bool]) -> Result<Vec<f32>> {
    let neurons = errors.len();
    if neurons == 0 || needed.is_empty() {
        return Ok(Vec::new());
    }
    let mut context = Context::open(&options)?;
    let steps = needed.len() / neurons;
    let words = steps.div_ceil(32);
    // Each neuron becomes a sample with one neuron, because needed times belong to a sample.
    let mut offsets = vec![0u32; neurons * (steps + 1)];
    let mut active: Vec<[u32; ACTIVE_ENTRY as usize / 4]> = Vec::new();
    let mut entry_errors: Vec<f32> = Vec::new();
    let mut bits = vec![0u32; neurons * words];
    for (b, list) in errors.iter().enumerate() {
        offsets.push(active.len() as u32);
        active.extend(list.iter().map(|&(t, _)| [(b * steps + t) as u32, 0, 0]));
        entry_errors.extend(list.iter().map(|&(_, e)| e));
        for t in (0..steps).filter(|t| needed[b * steps + t]) {
            bits[b * words + t / 32] |= 1 << (t % 32);
        }
    }
    offsets.push(active.len() as u32);
    let upload = |label: &str, bytes: &[u8]| -> Result<Region> {
        let buffer = context.storage(label, bytes.len() as u64)?;
        if !bytes.is_empty() {
            buffer.write(&context.queue, 0, bytes);
        }
        Ok(buffer)
    };
    let offsets = upload("offsets", bytemuck::cast_slice(&offsets))?;
    let entries = active.len() as u32;
    let active = upload("active entries", bytemuck::cast_slice(&active))?;
    let entry_errors = upload("errors of active entries", bytemuck::cast_slice(&entry_errors))?;
    let bits = upload("needed rows", bytemuck::cast_slice(&bits))?;
    // Spikes matter for a reset to a value only.
    let spike_words = context.storage("spike masks", 16 * (neurons * words) as u64)?;
    let out = context.storage("delta", 16 * (neurons * steps) as u64)?;
    let params = Params {
        batch: neurons as u32,
        steps: steps as u32,
        words: words as u32,
        neurons: 1,
        slots: 1,
        quads: 1,
        strip_quads: 1,
        chunk: neurons as u32,
        chunk_samples: neurons as u32,
        active_capacity: entries,
        alpha,
        ..Params::default()
    };
    let mut r = Recorder::new(&mut context);
    let bindings = [
        ("offsets", &offsets),
        ("active_entries", &active),
        ("entry_errors", &entry_errors),
        ("delta", &out),
        ("spike_words", &spike_words),
        ("needed", &bits),
    ];
    r.add("delta", k::DELTA, params, &bindings, groups(neurons));
    let recording = r.finish();
    let mut encoder = context.device.create_command_encoder(&Default::default());
    recording.encode(&mut encoder);
    context.submit(encoder)?;
    let rows = read_rows(&context, &out, neurons * steps, 1)?;
    context.check()?;
    Ok(rows)
}
