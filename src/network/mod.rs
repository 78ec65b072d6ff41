//! What a network *is*: spiking layers, a readout, a loss. No device and no file.
//!
//! These are descriptions, with the constants as their users know them (milliseconds, thresholds). What the kernels use is
//! derived in one place: [`SpikingLayer::constants`] and [`Integrator::alpha`].
//!
//! | file | what it describes |
//! |---|---|
//! | `spiking.rs` | a spiking layer: cell, reset, constants |
//! | `surrogate.rs` | the surrogate gradients |
//! | `conv.rs` | how a layer is connected to the one below: fully, or as a convolution |
//! | `readout.rs` | the last layer, and how it becomes logits |
//! | `loss.rs` | the task's loss, the activity regularisers |
//! | `init.rs` | how weights begin |
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

/// Most weights in a network: four copies of them (weights, gradient, two moments) then take 16 GiB.
pub const MAX_WEIGHTS: usize = 1 << 30;
/// Most hidden layers.
pub const MAX_LAYERS: usize = 1024;
/// Most neurons in a layer, and most time steps: an [`Event`](crate::events::Event) holds both in 32 bits.
pub const MAX_EXTENT: usize = 1 << 16;
/// Most time steps × neurons of a layer: devices count the spikes of up to eight samples in 32 bits.
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
    /// Begins a network; [`NetworkBuilder`] has an example.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(inputs: usize, time_steps: usize) -> NetworkBuilder {
        NetworkBuilder::new(inputs, time_steps)
    }

    /// The layers that spike: the hidden ones and, behind them, a readout that counts spikes.
    pub fn spiking(&self) -> impl DoubleEndedIterator<Item = &SpikingLayer> + Clone {
        let last = match &self.readout {
            Readout::Integrator(_) => None,
            Readout::SpikeCount(layer) => Some(layer),
        };
        self.hidden.iter().chain(last)
    }

    /// Spiking layer `l`, if there are so many.
    pub fn spiking_layer(&self, l: usize) -> Option<&SpikingLayer> {
        self.spiking().nth(l)
    }

    /// What the configuration calls layer `l`: `hidden[0]`, or `readout` behind the hidden ones.
    pub fn layer_name(&self, l: usize) -> String {
        if l < self.hidden.len() { format!("hidden[{l}]") } else { "readout".into() }
    }

    /// The readout's integrators, unless it counts spikes.
    pub fn integrator(&self) -> Option<&Integrator> {
        match &self.readout {
            Readout::Integrator(readout) => Some(readout),
            Readout::SpikeCount(_) => None,
        }
    }

    /// The readout's integrators, to change.
    pub fn integrator_mut(&mut self) -> Option<&mut Integrator> {
        match &mut self.readout {
            Readout::Integrator(readout) => Some(readout),
            Readout::SpikeCount(_) => None,
        }
    }

    /// Output classes, C.
    pub fn classes(&self) -> usize {
        self.readout.classes()
    }

    /// Layers that have weights: the hidden ones and the readout.
    pub fn weight_layers(&self) -> usize {
        self.hidden.len() + 1
    }

    /// Neurons of the input, of every hidden layer and of the readout.
    pub fn sizes(&self) -> Vec<usize> {
        let hidden = self.hidden.iter().map(|layer| layer.neurons);
        std::iter::once(self.inputs).chain(hidden).chain([self.classes()]).collect()
    }

    /// What every weight layer reads, the readout's last: the input, then each hidden layer, pooled where it pools.
    pub fn fan_in(&self) -> Vec<usize> {
        std::iter::once(self.inputs).chain(self.hidden.iter().map(SpikingLayer::outputs)).collect()
    }

    /// Whether each weight layer has biases, the readout's last.
    pub fn biases(&self) -> Vec<bool> {
        self.hidden.iter().map(|layer| layer.bias).chain([self.readout.bias()]).collect()
    }

    /// (rows, columns) of every weight matrix, the readout's last: (N_in, N_out), of a convolution
    /// (channels · kernel², filters). A layer with biases has one row more, the last: the weights of an input that spikes at
    /// every time step.
    pub fn weight_shapes(&self) -> Vec<(usize, usize)> {
        let columns = self.hidden.iter().map(|layer| (layer.conv(), layer.neurons));
        let shape = |((below, bias), (conv, neurons)): ((usize, bool), (Option<&Convolution>, usize))| match conv {
            None => (below + usize::from(bias), neurons),
            Some(conv) => (conv.patch(), conv.filters),
        };
        let below = self.fan_in().into_iter().zip(self.biases());
        below.zip(columns.chain([(None, self.classes())])).map(shape).collect()
    }

    /// Extents of every weight tensor in files, without biases: [N_in, N_out], of a convolution
    /// [filters, channels, kernel, kernel].
    pub fn weight_extents(&self) -> Vec<Vec<usize>> {
        let convs = self.hidden.iter().map(SpikingLayer::conv).chain([None]);
        let columns = self.sizes().into_iter().skip(1);
        let extents = |((below, columns), conv): ((usize, usize), Option<&Convolution>)| match conv {
            None => vec![below, columns],
            Some(conv) => conv.weight_extents().to_vec(),
        };
        self.fan_in().into_iter().zip(columns).zip(convs).map(extents).collect()
    }

    /// Whether weight layer `l` can be dense within a sparse step: no convolution, no biases, and no readout that counts
    /// spikes.
    pub fn can_be_dense(&self, l: usize) -> bool {
        match self.hidden.get(l) {
            Some(layer) => layer.conv().is_none() && !layer.bias,
            None => self.integrator().is_some_and(|readout| !readout.bias),
        }
    }

    /// The first thing that the paper's network does not have, by name: what the methods `dense` and `reference` refuse.
    pub fn beyond_paper(&self) -> Option<String> {
        let layers = self.hidden.iter().enumerate();
        if let Some(what) =
            layers.filter_map(|(l, layer)| Some(format!("hidden[{l}].{}", layer.beyond_paper()?))).next()
        {
            return Some(what);
        }
        match (&self.readout, self.loss) {
            (Readout::SpikeCount(_), _) => Some("readout.kind = spike_count".into()),
            (Readout::Integrator(Integrator { bias: true, .. }), _) => Some("readout.bias = true".into()),
            (Readout::Integrator(Integrator { logits: Logits::Mean, .. }), _) => Some("readout.logits = mean".into()),
            (Readout::Integrator(Integrator { logits: Logits::Last, .. }), _) => Some("readout.logits = last".into()),
            (_, loss) => loss.beyond_paper(),
        }
    }

    /// Sets the widths of the hidden layers, but for convolutions, which stay and are not counted; new layers copy the
    /// constants of the last.
    ///
    /// # Errors
    /// Widths that cannot work, or no layer to copy.
    pub fn set_hidden(&mut self, widths: &[usize]) -> Result<()> {
        let linear = |layer: &SpikingLayer| SpikingLayer { connection: Connection::Linear, ..layer.clone() };
        let Some(last) = self.hidden.last().map(linear) else {
            return match widths {
                [] => self.check(),
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
        self.check()
    }

    /// Says which number of the description cannot work, and why.
    ///
    /// # Errors
    /// [`Error::Field`], or [`Error::Config`] where several numbers do not fit together.
    pub fn check(&self) -> Result<()> {
        extent("inputs", self.inputs)?;
        extent("time_steps", self.time_steps)?;
        number("dt_ms", self.dt_ms, self.dt_ms.is_finite() && self.dt_ms > 0.0, "a positive number")?;
        if self.hidden.len() > MAX_LAYERS {
            let n = self.hidden.len();
            return Err(Error::Config(format!("hidden has {n} layers: must be {MAX_LAYERS} at most")));
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
                let name = l.checked_sub(1).map_or("inputs".into(), |l| format!("layer {l}"));
                return Err(Error::Config(format!(
                    "time_steps = {} times the {neurons} neurons of {name} are {slots}: must be at most {MAX_SLOTS}",
                    self.time_steps
                )));
            }
        }
        let weights: usize = self.weight_shapes().iter().map(|(rows, cols)| rows * cols).sum();
        if weights > MAX_WEIGHTS {
            return Err(Error::Config(format!(
                "the layers {:?} have {weights} weights, more than {MAX_WEIGHTS}; make them narrower",
                self.sizes()
            )));
        }
        Ok(())
    }
}

/// Refuses an extent that no device can hold.
fn extent(name: &str, value: usize) -> Result<()> {
    match value {
        1..=MAX_EXTENT => Ok(()),
        _ => Err(Error::field(name, value, format!("1 to {MAX_EXTENT}"))),
    }
}

/// Refuses a number that does not fit.
fn number(name: &str, value: f64, fits: bool, want: &str) -> Result<()> {
    match fits && !value.is_nan() {
        true => Ok(()),
        false => Err(Error::field(name, value, want)),
    }
}
