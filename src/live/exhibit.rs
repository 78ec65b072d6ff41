//! A network whose samples and weights are shown.

use super::control::{Command, Control, Rules, Settings};
use super::hub::Hub;
use super::message::{
    self, Hello, Level, Message, NamedSpikes, NeuronWeights, Picture, Potentials, Sample, Source, Spikes,
};
use super::{Live, State};
use crate::data::DataSet;
use crate::data::picture::{code, picture};
use crate::engine::{DeviceInfo, Engine, first_largest};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::network::Network;
use crate::platform::Instant;
use crate::train::{EpochRecord, RunConfig, classify};
use crate::weights::Weights;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often an exhibit that waits for commands looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);
/// How long a page may be away, as when it is reloaded.
const AWAY: Duration = Duration::from_secs(3);

/// What can be shown of any network.
const SHOWN: [&str; 2] = ["sample", "weights"];

/// A network, and the sample of it that pages see.
pub struct Exhibit<'a> {
    pub(super) hub: Arc<Hub>,
    pub(super) control: Arc<Control>,
    config: &'a RunConfig,
    data: &'a DataSet,
    /// The sample shown; for a drawn image, the one shown before.
    index: usize,
    /// An image that the user drew.
    drawn: Option<EventSet>,
    /// The wrongly classified samples of the last test.
    wrong: Vec<u32>,
}

impl<'a> Exhibit<'a> {
    /// The network of a folder's run, of which epochs are known already. No page can change the run.
    pub fn of_folder(
        live: &Live,
        config: &'a RunConfig,
        data: &'a DataSet,
        device: DeviceInfo,
        epochs: Vec<EpochRecord>,
    ) -> Self {
        Self::new(live, Source::Watch, config, data, device, epochs, &[])
    }

    /// Introduces a network to pages, which may use the commands `can` beside those that show something.
    pub(super) fn new(
        live: &Live,
        source: Source,
        config: &'a RunConfig,
        data: &'a DataSet,
        device: DeviceInfo,
        epochs: Vec<EpochRecord>,
        can: &[&'static str],
    ) -> Self {
        let pixels = code(data, &config.network).and(data.shape).filter(|shape| shape.channels == 1);
        let pixels = pixels.map(|shape| shape.inputs()).filter(|&pixels| pixels == config.network.inputs);
        let can: Vec<&str> = can.iter().copied().chain(SHOWN).chain(pixels.map(|_| "draw")).collect();
        live.control.begin(Rules {
            can: can.clone(),
            config: config.clone(),
            samples: data.measured().len(),
            wrong: false,
            pixels,
        });
        live.hub.tell(&Message::Hello(Box::new(Hello::new(source, config, data, device, can))));
        live.hub.set_epochs(epochs);
        Exhibit {
            hub: Arc::clone(&live.hub),
            control: Arc::clone(&live.control),
            config,
            data,
            index: 0,
            drawn: None,
            wrong: Vec::new(),
        }
    }

    /// The wrongly classified samples of the last test.
    pub(super) fn set_wrong(&mut self, wrong: &[u32]) {
        self.wrong = wrong.to_vec();
        self.control.change(|rules| rules.wrong = !wrong.is_empty());
    }

    /// Finds the wrongly classified samples, and shows the sample again: for weights that no test has seen.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn test(&mut self, engine: &mut dyn Engine) -> Result<()> {
        let mut wrong = Vec::new();
        classify(engine, self.data.measured(), self.config.batch, |sample| {
            if sample.label != EventSet::UNLABELLED && sample.class != sample.label as usize {
                wrong.push(sample.sample as u32);
            }
            Ok(())
        })?;
        self.set_wrong(&wrong);
        self.show(engine)
    }

    /// Replaces the epochs so far.
    pub fn set_epochs(&self, records: Vec<EpochRecord>) {
        self.hub.set_epochs(records);
    }

    /// Carries out commands for some time, or until `stop`. Returns the settings of another run, if a page asks for one.
    pub fn attend(&mut self, engine: &mut dyn Engine, time: Duration, stop: &AtomicBool) -> Option<Settings> {
        let begun = Instant::now();
        while begun.elapsed() < time && !stop.load(Ordering::Relaxed) {
            let Some(command) = self.control.wait(LOOK) else { continue };
            if let Command::Restart { settings } = command {
                return Some(settings);
            }
            if let Err(error) = self.serve(&command, engine) {
                self.hub.note(Level::Error, error);
            }
        }
        None
    }

    /// Goes on showing the network of a run that has ended, as long as pages are open and not `stop`. Returns the settings
    /// of another run, if a page asks for one.
    pub fn linger(&mut self, engine: &mut dyn Engine, stop: &AtomicBool) -> Option<Settings> {
        self.control.change(|rules| rules.can.retain(|can| ["restart", "draw"].contains(can) || SHOWN.contains(can)));
        self.hub.tell_epochs(true);
        let mut seen = Instant::now();
        while seen.elapsed() < AWAY && !stop.load(Ordering::Relaxed) {
            let restart = self.attend(engine, LOOK, stop);
            if restart.is_some() {
                return restart;
            }
            if self.hub.is_watched() {
                seen = Instant::now();
            }
        }
        None
    }

    /// Carries out a command that shows something.
    pub(super) fn serve(&mut self, command: &Command, engine: &mut dyn Engine) -> Result<()> {
        match command {
            Command::Sample { index, by, wrong } => {
                self.drawn = None;
                self.index = match (index, by) {
                    (Some(index), _) => *index,
                    (None, by) => self.neighbour(by.unwrap_or(1) > 0, *wrong),
                };
                self.show(engine)
            }
            Command::Weights { layer, neuron } => {
                let weights = engine.store()?.weights;
                self.hub.tell(&Message::Weights(weights_of(
                    &self.config.network,
                    self.data,
                    &weights,
                    *layer,
                    *neuron,
                )?));
                Ok(())
            }
            Command::Draw { pixels } => {
                let pixels = message::read_bytes(pixels).unwrap_or_default();
                let network = &self.config.network;
                let code =
                    code(self.data, network).ok_or_else(|| Error::Unsupported("these data are no images".into()))?;
                let mut drawn = EventSet::new(network.inputs, network.time_steps);
                drawn.push_unlabelled(code.spikes(&pixels))?;
                self.drawn = Some(drawn);
                self.show(engine)
            }
            _ => Ok(()),
        }
    }

    /// The sample after or before the one shown, in a circle.
    fn neighbour(&self, after: bool, wrong: bool) -> usize {
        let samples = self.data.measured().len().max(1);
        let found = match (wrong, after) {
            (false, true) => return (self.index + 1) % samples,
            (false, false) => return (self.index + samples - 1) % samples,
            (true, true) => self.wrong.iter().find(|&&k| k as usize > self.index).or(self.wrong.first()),
            (true, false) => self.wrong.iter().rfind(|&&k| (k as usize) < self.index).or(self.wrong.last()),
        };
        found.map_or(self.index, |&k| k as usize)
    }

    /// Shows the sample in the network as it is now.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn show(&self, engine: &mut dyn Engine) -> Result<()> {
        let (network, set) = (&self.config.network, self.data.measured());
        let mut batch = EventSet::new(0, 0);
        match &self.drawn {
            Some(drawn) => batch.gather(drawn, &[0]),
            None => batch.gather(set, &[self.index as u32]),
        }
        let label = batch.labels().first().copied().filter(|&label| label != EventSet::UNLABELLED);
        let inspection = engine.inspect(&batch.labelled())?;
        let predicted = first_largest(&inspection.logits);
        let image = picture(self.data, network, batch.sample(0)).map(|picture| Picture {
            channels: 1,
            height: picture.pixels.len() / picture.width,
            width: picture.width,
            pixels: message::bytes(&picture.pixels.iter().map(|x| (255.0 * x).round() as u8).collect::<Vec<_>>()),
        });
        let layers = inspection.spiking.iter().enumerate().map(|(l, layer)| NamedSpikes::of(network, l, layer));
        self.hub.tell(&Message::Sample(Box::new(Sample {
            set: if self.data.validation.is_some() { "validation" } else { "test" },
            index: if self.drawn.is_some() { -1 } else { self.index as i64 },
            of: set.len(),
            label,
            predicted,
            position: self.wrong.binary_search(&(self.index as u32)).ok().filter(|_| self.drawn.is_none()),
            wrong_count: self.wrong.len(),
            image,
            input: Spikes::new(network.inputs, batch.sample(0).iter().copied()),
            layers: layers.collect(),
            readout: Potentials {
                v: (!inspection.readout_v.is_empty()).then(|| message::floats(&inspection.readout_v)),
            },
            logits: inspection.logits,
        })));
        Ok(())
    }

    /// Tells pages what the run is doing.
    pub(super) fn state(&self, state: State, text: impl Into<String>) {
        self.hub.tell(&Message::State { state, text: text.into() });
    }
}

/// The incoming weights of a neuron, without its bias.
fn weights_of(network: &Network, data: &DataSet, weights: &Weights, l: usize, neuron: usize) -> Result<NeuronWeights> {
    let name = format!("w.{l}");
    let tensor = weights.tensors(network).into_iter().find(|tensor| tensor.name == name);
    let tensor = tensor.ok_or_else(|| Error::field("layer", l, format!("below {}", network.weight_layers())))?;
    let conv = network.hidden.get(l).and_then(|layer| layer.conv());
    let below = l.checked_sub(1).and_then(|below| network.hidden[below].conv());
    let row = |inputs| [1, 1, inputs];
    let (shape, values): ([usize; 3], Vec<f32>) = match (conv, tensor.extents.as_slice()) {
        (Some(conv), &[_, channels, height, width]) => {
            let size = channels * height * width;
            let filter = neuron / conv.pixels();
            ([channels, height, width], tensor.data.iter().copied().skip(filter * size).take(size).collect())
        }
        (_, &[inputs, neurons]) => {
            let shape = match (l, data.shape, below) {
                (0, Some(shape), _) => shape.into(),
                (_, _, Some(conv)) => [conv.filters, conv.pooled().0, conv.pooled().1],
                _ => row(inputs),
            };
            let fits = shape.iter().product::<usize>() == inputs;
            let column = tensor.data.iter().copied().skip(neuron).step_by(neurons);
            (if fits { shape } else { row(inputs) }, column.collect())
        }
        (_, extents) => return Err(Error::Unsupported(format!("weights of {} dimensions", extents.len()))),
    };
    Ok(NeuronWeights { layer: l, neuron, shape, values: message::floats(&values) })
}
