//! Choosing a device: `auto`, `cpu`, `gpu` or `gpu:N`.

use crate::cpu::CpuEngine;
use crate::engine::{Engine, Method};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuEngine, GpuOptions};
use crate::network::Network;
use crate::weights::Weights;
use std::fmt;
use std::str::FromStr;

/// Which device to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// A hardware GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU adapter with this number, by default the best one, software adapters included. Requires the feature `gpu`.
    Gpu(Option<usize>),
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "gpu" => Ok(Device::Gpu(None)),
            _ => match text.strip_prefix("gpu:").map(str::parse) {
                Some(Ok(index)) => Ok(Device::Gpu(Some(index))),
                _ => Err(Error::Config(format!("device `{text}`: must be auto, cpu, gpu or gpu:N"))),
            },
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Gpu(None) => f.write_str("gpu"),
            Device::Gpu(Some(index)) => write!(f, "gpu:{index}"),
        }
    }
}

impl Device {
    /// Replaces `Auto` by the device it selects on this machine; other devices are returned unchanged.
    pub fn resolve(self) -> Device {
        match self {
            #[cfg(feature = "gpu")]
            Device::Auto => match gpu::adapter::best(&gpu::adapters(), false) {
                Some(index) => Device::Gpu(Some(index)),
                None => Device::Cpu,
            },
            #[cfg(not(feature = "gpu"))]
            Device::Auto => Device::Cpu,
            other => other,
        }
    }

    /// [`resolve`](Self::resolve) for this network: `Auto` selects the CPU if the gpu device does not support it.
    #[cfg(feature = "gpu")]
    pub fn resolve_for(self, network: &Network, method: Method) -> Device {
        match self {
            Device::Auto => {
                let adapters = gpu::adapters();
                let best = gpu::adapter::best(&adapters, false);
                let supports =
                    |&index: &usize| gpu::check_supported(network, method, adapters[index].binding()).is_ok();
                best.filter(supports).map_or(Device::Cpu, |index| Device::Gpu(Some(index)))
            }
            other => other,
        }
    }

    /// Opens the device with a network and its weights.
    ///
    /// # Errors
    /// No such adapter, an invalid network, or weights whose shapes are not the network's.
    #[cfg(feature = "gpu")]
    pub fn open(self, network: &Network, method: Method, weights: &Weights) -> Result<Box<dyn Engine>> {
        self.open_with(network, method, weights, GpuOptions::default())
    }

    /// Opens the device with a network and its weights. Without the feature `gpu`, the only device is the CPU.
    ///
    /// # Errors
    /// A gpu device, an invalid network, or weights whose shapes are not the network's.
    #[cfg(not(feature = "gpu"))]
    pub fn open(self, network: &Network, method: Method, weights: &Weights) -> Result<Box<dyn Engine>> {
        match self.resolve() {
            Device::Gpu(_) => Err(Error::Unsupported(format!(
                "device {self}: spikegrad was built without its feature `gpu`; use cpu, or build it with the feature"
            ))),
            _ => Ok(Box::new(CpuEngine::new(network, method, weights)?)),
        }
    }

    /// [`open`](Self::open) with options that only apply to the gpu device. `self` selects the adapter.
    ///
    /// # Errors
    /// No such adapter, one that does not support `options`, an invalid network, or weights whose shapes are not the
    /// network's.
    #[cfg(feature = "gpu")]
    pub fn open_with(
        self,
        network: &Network,
        method: Method,
        weights: &Weights,
        options: GpuOptions,
    ) -> Result<Box<dyn Engine>> {
        Ok(match self.resolve_for(network, method) {
            Device::Gpu(adapter) => {
                Box::new(GpuEngine::new(network, method, weights, GpuOptions { adapter, ..options })?)
            }
            _ => Box::new(CpuEngine::new(network, method, weights)?),
        })
    }
}

/// A device, and the options that apply if it is a gpu device.
#[cfg(feature = "gpu")]
#[derive(Debug, Clone, Default)]
pub struct Configured {
    /// The device; it selects the adapter.
    pub device: Device,
    /// Options of the gpu device.
    pub options: GpuOptions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in ["auto", "cpu", "gpu", "gpu:3"] {
            assert_eq!(word.parse::<Device>().unwrap().to_string(), word);
        }
        for word in ["", "tpu", "gpu:", "gpu:-1", "gpu:x"] {
            assert!(word.parse::<Device>().unwrap_err().to_string().contains(&format!("`{word}`")));
        }
    }

    #[cfg(not(feature = "gpu"))]
    #[test]
    fn without_the_gpu_feature_there_is_the_cpu() {
        let network = crate::presets::ours("fmnist").unwrap().network;
        assert_eq!(Device::Auto.resolve(), Device::Cpu);
        let weights = Weights::init(&network, 1);
        assert_eq!(Device::Auto.open(&network, Method::Sparse, &weights).unwrap().info().kind, "cpu");
        let refused =
            Device::Gpu(Some(1)).open(&network, Method::Sparse, &weights).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("gpu:1") && refused.contains("feature"), "{refused}");
    }
}
