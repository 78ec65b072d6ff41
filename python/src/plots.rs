//! Rasters of samples.

use crate::errors::raise;
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use spikegrad::plot::{Format, Raster, encode_rasters, save_rasters};
use std::path::PathBuf;

/// Raster plots of one or several samples. Notebooks show it as an image.
#[pyclass(frozen, name = "Raster", module = "spikegrad")]
pub struct PyRaster(pub Vec<Raster>);

#[pymethods]
impl PyRaster {
    /// The figure as a PNG file.
    fn png<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| encode_rasters(Format::Png, &self.0)).map_err(raise)?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The figure as an SVG file.
    fn svg(&self, py: Python<'_>) -> PyResult<String> {
        let bytes = py.detach(|| encode_rasters(Format::Svg, &self.0)).map_err(raise)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a PNG or SVG file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| save_rasters(&path, &self.0)).map_err(raise)
    }

    fn _repr_png_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.png(py)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// What is drawn of each sample, for other programs.
    fn samples<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.0.iter().map(|raster| sample(py, raster)).collect()
    }
}

fn sample<'py>(py: Python<'py>, raster: &Raster) -> PyResult<Bound<'py, PyDict>> {
    let panels = raster.panels.iter().map(|panel| {
        let column = |of: fn(&(usize, usize)) -> usize| {
            PyArray1::from_iter(py, panel.spikes.iter().map(|spike| of(spike) as i64))
        };
        let dict = PyDict::new(py);
        dict.set_item("name", &panel.name)?;
        dict.set_item("neurons", panel.neurons)?;
        dict.set_item("t", column(|spike| spike.0))?;
        dict.set_item("i", column(|spike| spike.1))?;
        Ok(dict)
    });
    let dict = PyDict::new(py);
    dict.set_item("title", &raster.title)?;
    dict.set_item("time_steps", raster.time_steps)?;
    dict.set_item("dt_ms", raster.dt_ms)?;
    dict.set_item("layers", panels.collect::<PyResult<Vec<_>>>()?)?;
    // [C, T]; no rows if the readout counts spikes.
    let potentials: Vec<f32> = raster.readout.concat();
    let (rows, steps) = if potentials.is_empty() { (0, 0) } else { (raster.readout.len(), raster.time_steps) };
    let potentials: Bound<'_, PyArray2<f32>> = PyArray1::from_vec(py, potentials).reshape([rows, steps])?;
    dict.set_item("readout_v", potentials)?;
    dict.set_item("logits", PyArray1::from_slice(py, &raster.logits))?;
    dict.set_item("class_names", raster.class_names.clone().unwrap_or_default())?;
    dict.set_item("label", raster.label)?;
    dict.set_item("predicted", raster.predicted)?;
    Ok(dict)
}
