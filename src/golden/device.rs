//! Runs golden cases on a [`Device`].

use super::case::DeltaInputs;
use super::conformance::ConformanceDevice;
use crate::device::{Configured, Device};
use crate::engine::{Engine, Method};
use crate::error::Result;
use crate::gpu::{self, GpuOptions};
use crate::network::Network;
use crate::weights::Weights;

impl ConformanceDevice for Device {
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>> {
        Configured { device: *self, ..Configured::default() }.engine(network, weights)
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>> {
        Configured { device: *self, ..Configured::default() }.delta(inputs)
    }
}

impl ConformanceDevice for Configured {
    fn engine(&mut self, network: &Network, weights: &Weights) -> Result<Box<dyn Engine>> {
        self.device.open_with(network, Method::Sparse, weights, self.options.clone())
    }

    fn delta(&mut self, inputs: &DeltaInputs) -> Result<Vec<f32>> {
        let steps = inputs.time_steps;
        let errors: Vec<Vec<(usize, f32)>> = (0..inputs.neurons)
            .map(|j| {
                let active = (0..steps).filter(|t| inputs.active[j * steps + t]);
                active.map(|t| (t, inputs.error[j * steps + t])).collect()
            })
            .collect();
        let alpha = inputs.alpha as f32;
        match self.device.resolve() {
            Device::Gpu(adapter) => {
                let options = GpuOptions { adapter, ..self.options.clone() };
                gpu::delta(options, alpha, &errors, &inputs.needed)
            }
            _ => Ok(errors
                .iter()
                .zip(inputs.needed.chunks_exact(steps))
                .flat_map(|(errors, needed)| crate::cpu::delta(alpha, errors, needed))
                .collect()),
        }
    }
}
