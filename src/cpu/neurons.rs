//! What the neurons of a weight layer are, with their constants.

use super::delta::Adjoint;
use super::readout::IntegratorConstants;
use crate::network::{CellConstants, Network, Readout};

/// The neurons of a weight layer.
#[derive(Debug, Clone, Copy)]
pub enum Neurons {
    /// They spike: a hidden layer's, or those of a readout that counts spikes.
    Spiking(CellConstants),
    /// They integrate: a readout's.
    Integrating(IntegratorConstants),
}

impl Neurons {
    /// Those of every weight layer of `network`, the readout's last.
    pub fn of(network: &Network) -> Vec<Neurons> {
        let dt = network.dt_ms;
        let readout = match &network.readout {
            Readout::Integrator(readout) => {
                Neurons::Integrating(IntegratorConstants::new(readout, dt, network.time_steps))
            }
            Readout::SpikeCount(layer) => Neurons::Spiking(layer.constants(dt)),
        };
        network.hidden.iter().map(|layer| Neurons::Spiking(layer.constants(dt))).chain([readout]).collect()
    }

    /// How errors travel back through their state.
    pub fn adjoint(&self) -> Adjoint {
        match self {
            Neurons::Spiking(c) => Adjoint { alpha: c.alpha, synapse: c.synapse },
            Neurons::Integrating(c) => Adjoint { alpha: c.alpha, synapse: None },
        }
    }

    /// The constants of neurons that spike.
    pub fn spiking(&self) -> Option<&CellConstants> {
        match self {
            Neurons::Spiking(c) => Some(c),
            Neurons::Integrating(_) => None,
        }
    }
}
