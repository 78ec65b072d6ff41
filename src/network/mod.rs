//! Description of a network: spiking layers, readout and loss, independent of devices and files.
//!
//! Constants are in the units of users (time constants in ms). [`SpikingLayer::constants`] and [`Integrator::alpha`]
//! derive those of the kernels.
//!
//! | file | what it describes |
//! |---|---|
//! | `spiking.rs` | a spiking layer: cell, reset, constants |
//! | `surrogate.rs` | the surrogate gradients |
//! | `conv.rs` | connection to the layer below: full, or a convolution |
//! | `readout.rs` | the last layer and the logits |
//! | `loss.rs` | the task's loss and the activity regularisers |
//! | `init.rs` | weight initialisation |
//! | `builder.rs` | [`Network::new`]: defaults and checks |

mod builder;
mod conv;
mod init;
mod loss;
mod readout;
mod spiking;
mod surrogate;

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

pub use builder::NetworkBuilder;
pub use conv::{Connection, Convolution};
pub use init::Initialisation;
pub use loss::{Loss, LossConstants, Regulariser};
pub use readout::{Integrator, Logits, Readout, ReadoutGain};
pub use spiking::{Cell, CellConstants, Reset, SpikingLayer};
pub use surrogate::Surrogate;

/// Maximum number of weights. Four copies (weights, gradient, two moments) then take 16 GiB.
pub const MAX_WEIGHTS: usize = 1 << 30;
/// Maximum number of hidden layers.
pub const MAX_LAYERS: usize = 1024;
/// Maximum number of neurons per layer and of time steps: an [`Event`](crate::events::Event) holds both in 32 bits.
pub const MAX_EXTENT: usize = 1 << 16;
/// Maximum of time steps × neurons of a layer: devices count the spikes of up to eight samples in 32 bits.
pub const MAX_SLOTS: usize = 1 << 28;

/// A spiking network: `inputs` → hidden spiking layers → readout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Network {
    /// Input neurons, N₀.
    pub inputs: usize,
    /// Time steps, T. The input at T-1 is never used: every layer delays by one step.
    pub time_steps: usize,
    /// Length of a time step, Δt, in ms.
    pub dt_ms: f64,
    /// The spiking layers below the readout, in order; with none, the input goes straight to the readout.
    pub hidden: Vec<SpikingLayer>,
    /// The last layer.
    pub readout: Readout,
    /// The task's loss.
    #[serde(default)]
    pub loss: Loss,
    /// Activity regularisers, added to the task's loss.
    #[serde(default)]
    pub regulariser: Regulariser,
}

impl Network {
    /// A builder for a network; see [`NetworkBuilder`] for an example.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(inputs: usize, time_steps: usize) -> NetworkBuilder {
        NetworkBuilder::new(inputs, time_steps)
    }

    /// The spiking layers: the hidden layers, then a readout that counts spikes.
    pub fn spiking(&self) -> impl DoubleEndedIterator<Item = &SpikingLayer> + Clone {
        let last = match &self.readout {
            Readout::Integrator(_) => None,
            Readout::SpikeCount(layer) => Some(layer),
        };
        self.hidden.iter().chain(last)
    }

    /// Spiking layer `l`, if it exists.
    pub fn spiking_layer(&self, l: usize) -> Option<&SpikingLayer> {
        self.spiking().nth(l)
    }

    /// The name of layer `l`, without the input, in configurations: `hidden[0]`, or `readout` after the hidden layers.
    pub fn layer_name(&self, l: usize) -> String {
        if l < self.hidden.len() { format!("hidden[{l}]") } else { "readout".into() }
    }

    /// The readout's integrators; `None` if it counts spikes.
    pub fn integrator(&self) -> Option<&Integrator> {
        match &self.readout {
            Readout::Integrator(readout) => Some(readout),
            Readout::SpikeCount(_) => None,
        }
    }

    /// Mutable access to the readout's integrators; `None` if it counts spikes.
    pub fn integrator_mut(&mut self) -> Option<&mut Integrator> {
        match &mut self.readout {
            Readout::Integrator(readout) => Some(readout),
            Readout::SpikeCount(_) => None,
        }
    }

    /// Number of classes, C.
    pub fn classes(&self) -> usize {
        self.readout.classes()
    }

    /// Number of layers with weights: the hidden layers and the readout.
    pub fn weight_layers(&self) -> usize {
        self.hidden.len() + 1
    }

    /// Number of neurons of the input, of each hidden layer and of the readout.
    pub fn sizes(&self) -> Vec<usize> {
        let hidden = self.hidden.iter().map(|layer| layer.neurons);
        std::iter::once(self.inputs).chain(hidden).chain([self.classes()]).collect()
    }

    /// Number of inputs of each weight layer, the readout's last. Convolutions below count after pooling.
    pub fn fan_in(&self) -> Vec<usize> {
        std::iter::once(self.inputs).chain(self.hidden.iter().map(SpikingLayer::outputs)).collect()
    }

    /// Whether each weight layer has biases, the readout's last.
    pub fn biases(&self) -> Vec<bool> {
        self.hidden.iter().map(|layer| layer.bias).chain([self.readout.bias()]).collect()
    }

    /// Number of recurrent inputs of each weight layer, the readout's last: its own neurons if it is recurrent, else 0.
    pub fn recurrent_inputs(&self) -> Vec<usize> {
        let own = |layer: &SpikingLayer| if layer.recurrent { layer.neurons } else { 0 };
        let readout = if self.integrator().is_some() { Some(0) } else { None };
        self.spiking().map(own).chain(readout).collect()
    }

    /// Number of rows of each weight matrix that belong to the inputs of its layer; behind them are those of recurrent weights and
    /// biases.
    pub fn input_rows(&self) -> Vec<usize> {
        let convs = self.hidden.iter().map(SpikingLayer::conv).chain([None]);
        self.fan_in().into_iter().zip(convs).map(|(below, conv)| conv.map_or(below, Convolution::patch)).collect()
    }

    /// The first spiking layer that is recurrent.
    pub fn first_recurrent(&self) -> Option<usize> {
        self.spiking().position(|layer| layer.recurrent)
    }

    /// (rows, columns) of each weight matrix, the readout's last: (N_in, N_out), or (channels · kernel², filters) for a
    /// convolution. Recurrent weights are N_out additional rows: the layer's own neurons are inputs of it, too. The biases of
    /// a layer are an additional last row: the weights of an input that spikes at every time step.
    pub fn weight_shapes(&self) -> Vec<(usize, usize)> {
        let filters = self.hidden.iter().map(|layer| layer.conv().map(|conv| conv.filters)).chain([None]);
        let columns =
            filters.zip(self.sizes().into_iter().skip(1)).map(|(filters, neurons)| filters.unwrap_or(neurons));
        let more = self.recurrent_inputs().into_iter().zip(self.biases()).map(|(own, bias)| own + usize::from(bias));
        let rows = self.input_rows().into_iter().zip(more).map(|(inputs, more)| inputs + more);
        rows.zip(columns).collect()
    }

    /// Extents of each weight tensor in files, without recurrent weights and biases: [N_in, N_out], or [filters, channels, kernel, kernel] for
    /// a convolution.
    pub fn weight_extents(&self) -> Vec<Vec<usize>> {
        let convs = self.hidden.iter().map(SpikingLayer::conv).chain([None]);
        let columns = self.sizes().into_iter().skip(1);
        let extents = |((below, columns), conv): ((usize, usize), Option<&Convolution>)| match conv {
            None => vec![below, columns],
            Some(conv) => conv.weight_extents().to_vec(),
        };
        self.fan_in().into_iter().zip(columns).zip(convs).map(extents).collect()
    }

    /// Whether weight layer `l` can be dense within a sparse step. Convolutions, recurrent layers, layers with biases and
    /// readouts that count spikes cannot.
    pub fn can_be_dense(&self, l: usize) -> bool {
        match self.hidden.get(l) {
            Some(layer) => layer.conv().is_none() && !layer.bias && !layer.recurrent,
            None => self.integrator().is_some_and(|readout| !readout.bias),
        }
    }

    /// The first property that the paper's networks do not have, which the methods `dense` and `reference` do not
    /// support, as `field = value`; `None` if there is none.
    pub fn beyond_paper(&self) -> Option<String> {
        let layers = self.hidden.iter().enumerate();
        if let Some(what) =
            layers.filter_map(|(l, layer)| Some(format!("hidden[{l}].{}", layer.beyond_paper()?))).next()
        {
            return Some(what);
        }
        match (&self.readout, self.loss) {
            (Readout::SpikeCount(_), _) => Some("readout.kind = spike_count".into()),
            (Readout::Integrator(readout), loss) => readout.beyond_paper().or_else(|| loss.beyond_paper()),
        }
    }

    /// Sets the widths of the hidden layers other than convolutions, which are kept. Additional layers copy the constants
    /// of the last hidden layer.
    ///
    /// # Errors
    /// Invalid widths, or no hidden layer to copy from.
    pub fn set_hidden(&mut self, widths: &[usize]) -> Result<()> {
        self.replace_hidden(widths)?;
        self.check()
    }

    /// [`set_hidden`](Self::set_hidden) without the check of the network, whose extents may still be unknown.
    ///
    /// # Errors
    /// No hidden layer to copy from.
    pub fn replace_hidden(&mut self, widths: &[usize]) -> Result<()> {
        let linear = |layer: &SpikingLayer| SpikingLayer { connection: Connection::Linear, ..layer.clone() };
        let Some(last) = self.hidden.last().map(linear) else {
            return match widths {
                [] => Ok(()),
                _ => Err(Error::Config("a network without hidden layers has no constants to copy".into())),
            };
        };
        let mut left = widths.iter();
        self.hidden.retain_mut(|layer| match (layer.conv(), left.as_slice()) {
            (Some(_), _) => true,
            (None, []) => false,
            (None, _) => {
                layer.neurons = left.next().copied().unwrap_or_default();
                true
            }
        });
        self.hidden.extend(left.map(|&neurons| SpikingLayer { neurons, ..last.clone() }));
        Ok(())
    }

    /// Gives all hidden layers other than convolutions recurrent weights.
    ///
    /// # Errors
    /// There is no such layer.
    pub fn connect_hidden(&mut self) -> Result<()> {
        let mut layers = self.hidden.iter_mut().filter(|layer| layer.conv().is_none()).peekable();
        if layers.peek().is_none() {
            return Err(Error::Config("the network has no fully connected hidden layer".into()));
        }
        layers.for_each(|layer| layer.recurrent = true);
        Ok(())
    }

    /// Checks the network.
    ///
    /// # Errors
    /// [`Error::Field`] for an invalid value, [`Error::Config`] if several values contradict each other.
    pub fn check(&self) -> Result<()> {
        extent("inputs", self.inputs)?;
        extent("time_steps", self.time_steps)?;
        number("dt_ms", self.dt_ms, self.dt_ms.is_finite() && self.dt_ms > 0.0, "a positive number")?;
        if self.hidden.len() > MAX_LAYERS {
            let n = self.hidden.len();
            return Err(Error::Config(format!("hidden has {n} layers: must be at most {MAX_LAYERS}")));
        }
        for (l, layer) in self.hidden.iter().enumerate() {
            let name = format!("hidden[{l}]");
            layer.check(&name)?;
            if let Some(conv) = layer.conv() {
                let below = l.checked_sub(1).map_or(self.inputs, |below| self.hidden[below].outputs());
                conv.check(&name, below, layer.neurons)?;
            }
        }
        extent("readout.classes", self.classes())?;
        self.readout.check("readout")?;
        self.loss.check()?;
        self.regulariser.check()?;
        for (l, neurons) in self.sizes().into_iter().enumerate() {
            let slots = self.time_steps * neurons;
            if slots > MAX_SLOTS {
                let name = l.checked_sub(1).map_or("the input".into(), |l| self.layer_name(l));
                return Err(Error::Config(format!(
                    "time_steps = {} times the {neurons} neurons of {name} is {slots}: must be at most {MAX_SLOTS}",
                    self.time_steps
                )));
            }
        }
        let weights: usize = self.weight_shapes().iter().map(|(rows, cols)| rows * cols).sum();
        if weights > MAX_WEIGHTS {
            return Err(Error::Config(format!(
                "hidden: the layers {:?} have {weights} weights, more than {MAX_WEIGHTS}; make them narrower",
                self.sizes()
            )));
        }
        Ok(())
    }
}

/// Checks an extent.
fn extent(name: &str, value: usize) -> Result<()> {
    match value {
        1..=MAX_EXTENT => Ok(()),
        _ => Err(Error::field(name, value, format!("1 to {MAX_EXTENT}"))),
    }
}

/// Returns an [`Error::Field`] unless `fits`.
fn number(name: &str, value: f64, fits: bool, want: &str) -> Result<()> {
    match fits && !value.is_nan() {
        true => Ok(()),
        false => Err(Error::field(name, value, want)),
    }
}
