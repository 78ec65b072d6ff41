//! Networks from and to NIR files. `Model` in Python wraps it.

use crate::arguments::described_by;
use crate::errors::{check_process, raise};
use crate::model::EngineHandle;
use crate::network::PyNetwork;
use crate::tensors::dictionary;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use spikegrad::network::Reset;
use spikegrad::nir::{Export, Import, from_nir, to_nir};
use std::path::PathBuf;

/// The network of a NIR file, its weights, and warnings.
#[pyfunction]
#[pyo3(signature = (path, *, dt, dt_ms, time_steps, reset, logits))]
pub fn _from_nir<'py>(
    py: Python<'py>,
    path: PathBuf,
    dt: Option<f64>,
    dt_ms: Option<f64>,
    time_steps: Option<usize>,
    reset: Option<Bound<'py, PyAny>>,
    logits: Option<Bound<'py, PyAny>>,
) -> PyResult<(PyNetwork, Bound<'py, PyDict>, Vec<String>)> {
    check_process()?;
    let missing_reset: Option<Reset> = reset.map(|word| described_by("reset", &word)).transpose()?;
    let logits = logits.map(|word| described_by("logits", &word)).transpose()?;
    let options = Import { dt, dt_ms, time_steps, missing_reset, logits };
    let imported = py.detach(|| from_nir(&path, &options)).map_err(raise)?;
    let weights = dictionary(py, &imported.network, &imported.weights)?;
    Ok((PyNetwork(imported.network), weights, imported.report.warnings))
}

/// Writes a model's network; returns what was changed, and what other programs make of the file.
#[pyfunction]
#[pyo3(signature = (model, path, *, dt, fold_gain, readout, force))]
pub fn _to_nir(
    py: Python<'_>,
    model: &EngineHandle,
    path: PathBuf,
    dt: Option<f64>,
    fold_gain: bool,
    readout: &Bound<'_, PyAny>,
    force: bool,
) -> PyResult<(Vec<String>, Vec<String>)> {
    let options = Export { dt, fold_gain, readout: described_by("readout", readout)?, force, preset: None };
    let report = model.with_weights(py, |network, weights| to_nir(network, weights, &path, &options))?;
    Ok((report.changes, report.notes))
}
