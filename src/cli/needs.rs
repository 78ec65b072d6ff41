//! The memory that a run takes.

use super::ranks;
use anyhow::{Context, Result};
use spikegrad::data::DataSet;
use spikegrad::device::Device;
use spikegrad::memory::{self, Densities, Estimate};
use spikegrad::plot::WORKING_BYTES;
use spikegrad::train::RunConfig;

/// Estimates the memory of a run of `trained` samples on the devices of this process, from the density of its data and typical
/// densities of the hidden layers. What the process has already is not in it.
pub fn of_run(
    config: &RunConfig,
    trained: usize,
    data: &DataSet,
    devices: &[Device],
    delta_bytes: Option<u64>,
) -> Result<Estimate> {
    let densities = Densities::usual(data.train.density(), config.network.time_steps);
    let of = |&device: &Device| {
        // A GPU tests with the buffers that it trains with; the cpu device takes less to test.
        let tested = if device.resolve() == Device::Cpu { 0 } else { data.test.len() };
        // Shards are computed one at a time. (The pace of unlike devices is measured on whole batches, but not while gradients are held.)
        let batch = config.batch.min(trained.max(tested)).div_ceil(config.shards.max(1));
        memory::estimate_with(&config.network, config.method, batch, device, &densities, delta_bytes)
    };
    let (first, others) = devices.split_first().context("no device")?;
    let all = others.iter().try_fold(of(first)?, |sum, device| of(device).map(|own| sum.beside(own)))?;
    // The potentials of the sample that is drawn are among what the figures take.
    let figure = WORKING_BYTES.max(memory::inspection_bytes(&config.network, *first));
    let all = all.with_shards(config.shards, devices.len());
    let all = if ranks::connect().is_some() { all.with_messages() } else { all };
    Ok(all.with_figures(figure))
}
