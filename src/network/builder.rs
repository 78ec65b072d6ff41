//! Builder for networks.

use super::{Loss, Network, Readout, Regulariser, SpikingLayer};
use crate::error::{Error, Result};

/// Builds a network; created by [`Network::new`]. Layers are added in order from the input.
///
/// ```
/// use spikegrad::network::{Network, Readout, SpikingLayer, Surrogate};
///
/// let network = Network::new(700, 100)
///     .layer(SpikingLayer::lif(64).tau_ms(20.0).recurrent())
///     .layer(SpikingLayer::cuba_lif(32, 5.0).surrogate(Surrogate::Arctan, 2.0).bias())
///     .readout(Readout::sum(20))
///     .build()?;
/// assert_eq!(network.sizes(), [700, 64, 32, 20]);
/// # Ok::<(), spikegrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NetworkBuilder {
    inputs: usize,
    time_steps: usize,
    dt_ms: f64,
    hidden: Vec<SpikingLayer>,
    readout: Option<Readout>,
    loss: Loss,
    regulariser: Regulariser,
}

impl NetworkBuilder {
    pub(super) fn new(inputs: usize, time_steps: usize) -> Self {
        NetworkBuilder {
            inputs,
            time_steps,
            dt_ms: 1.0,
            hidden: Vec::new(),
            readout: None,
            loss: Loss::default(),
            regulariser: Regulariser::default(),
        }
    }

    /// Sets the length of a time step, ms. Default: 1.
    pub fn dt_ms(self, dt_ms: f64) -> Self {
        NetworkBuilder { dt_ms, ..self }
    }

    /// Adds a spiking layer.
    pub fn layer(mut self, layer: SpikingLayer) -> Self {
        self.hidden.push(layer);
        self
    }

    /// Sets the readout. Required.
    pub fn readout(self, readout: impl Into<Readout>) -> Self {
        NetworkBuilder { readout: Some(readout.into()), ..self }
    }

    /// Sets the task's loss. Default: cross entropy.
    pub fn loss(self, loss: Loss) -> Self {
        NetworkBuilder { loss, ..self }
    }

    /// Sets the activity regularisers. Default: none.
    pub fn regulariser(self, regulariser: Regulariser) -> Self {
        NetworkBuilder { regulariser, ..self }
    }

    /// Builds and checks the network.
    ///
    /// # Errors
    /// As [`Network::check`], and [`Error::Config`] without a readout.
    pub fn build(self) -> Result<Network> {
        let NetworkBuilder { inputs, time_steps, dt_ms, hidden, readout, loss, regulariser } = self;
        let readout =
            readout.ok_or_else(|| Error::Config("the network has no readout: add one with `readout`".into()))?;
        let network = Network { inputs, time_steps, dt_ms, hidden, readout, loss, regulariser };
        network.check()?;
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Convolution;

    #[test]
    fn what_cannot_work_is_named() {
        let refused = |builder: NetworkBuilder, part: &str| {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains(part), "`{part}` is not in: {error}");
        };
        refused(Network::new(3, 5), "no readout");
        refused(Network::new(0, 5).readout(Readout::max(2)), "inputs = 0");
        let layer = || SpikingLayer::lif(4);
        let with = |layer: SpikingLayer| Network::new(3, 5).layer(layer).readout(Readout::max(2));
        refused(with(layer().tau_ms(0.0)), "hidden[0].tau_ms = 0");
        refused(with(SpikingLayer::cuba_lif(4, -1.0)), "hidden[0].cell.tau_syn_ms = -1");
        refused(with(layer().surrogate(super::super::Surrogate::Gaussian, 0.0)), "hidden[0].beta = 0");
        refused(with(layer().surrogate_scale(f64::NAN)), "surrogate_scale");
        refused(with(layer()).loss(Loss::CrossEntropy { label_smoothing: 1.0 }), "loss.label_smoothing = 1");
        refused(with(layer()).loss(Loss::MeanSquaredError { on: f64::INFINITY, off: 0.0 }), "loss.on");
        refused(Network::new(3, 5).readout(Readout::spike_count(layer().v_th(f64::NAN))), "readout.v_th");
        let conv =
            Convolution { channels: 1, height: 1, width: 3, filters: 1, kernel: 1, stride: 1, padding: 0, pool: 1 };
        refused(with(SpikingLayer::convolution(conv).recurrent()), "hidden[0].recurrent = true: must be false");
        let long = || Network::new(3, 65_536).layer(SpikingLayer::lif(9)).layer(SpikingLayer::lif(65_536));
        refused(long().readout(Readout::max(2)), "the 65536 neurons of hidden[1] is");
    }

    /// The dense methods say so as a file would.
    #[test]
    fn what_the_paper_does_not_have_is_named_as_in_files() {
        let of = |layer: SpikingLayer, loss: Loss| {
            let network = Network::new(3, 5).layer(layer).readout(Readout::max(2)).loss(loss).build().unwrap();
            network.beyond_paper().unwrap_or_default()
        };
        let layer = || SpikingLayer::lif(4);
        let arctan = layer().surrogate(super::super::Surrogate::Arctan, 2.0);
        assert_eq!(of(layer(), Loss::default()), "");
        assert_eq!(of(layer(), Loss::CrossEntropy { label_smoothing: 0.1 }), "loss.label_smoothing = 0.1");
        assert_eq!(of(layer(), Loss::MeanSquaredError { on: 1.0, off: 0.0 }), "loss.kind = mse");
        assert_eq!(of(arctan, Loss::default()), "hidden[0].surrogate = arctan");
        assert_eq!(of(layer().recurrent(), Loss::default()), "hidden[0].recurrent = true");
        assert_eq!(of(SpikingLayer::cuba_lif(4, 2.0), Loss::default()), "hidden[0].cell.kind = cuba_lif");
    }
}
