//! The engine room of the Python package `spikegrad`. Its Python files give it its interface: they accept arrays of every kind,
//! and pass on contiguous ones.

mod arguments;
mod errors;
mod events;
mod model;
mod network;
mod nir;
mod observer;
mod plots;
mod tensors;

use pyo3::prelude::*;

/// The adapters that `gpu:N` counts.
#[pyfunction]
fn adapters(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    errors::check_process()?;
    let adapters = py.detach(spikegrad::gpu::adapters);
    pythonize::pythonize(py, &adapters).map_err(errors::described)
}

#[pymodule]
mod _spikegrad {
    #[pymodule_export]
    use super::adapters;
    #[pymodule_export]
    use super::events::{_load, EventSetHandle, LoadedData, sample_order};
    #[pymodule_export]
    use super::model::EngineHandle;
    #[pymodule_export]
    use super::network::{_conv, _lif, _readout, Config, LastLayer, Layer, PyNetwork, spike_count};
    #[pymodule_export]
    use super::nir::{_from_nir, _to_nir};
    #[pymodule_export]
    use super::plots::PyRaster;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
