//! The kinds of neurons in a weight layer, with their constants.

use super::delta::Adjoint;
use super::readout::IntegratorConstants;
use crate::network::{CellConstants, Network, Readout};

/// The neurons of a weight layer.
#[derive(Debug, Clone, Copy)]
pub enum Neurons {
    /// Spiking neurons: those of a hidden layer or of a readout that counts spikes.
    Spiking(CellConstants),
    /// Leaky integrators: those of other readouts.
    Integrating(IntegratorConstants),
}

impl Neurons {
    /// The neurons of every weight layer of `network`; the last one is the readout.
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

    /// How errors propagate back in time through their state.
    pub fn adjoint(&self) -> Adjoint {
        match self {
            Neurons::Spiking(c) => Adjoint { alpha: c.alpha, synapse: c.synapse },
            Neurons::Integrating(c) => Adjoint { alpha: c.alpha, synapse: None },
        }
    }

    /// The constants of spiking neurons.
    pub fn spiking(&self) -> Option<&CellConstants> {
        match self {
            Neurons::Spiking(c) => Some(c),
            Neurons::Integrating(_) => None,
        }
    }
}
