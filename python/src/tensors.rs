//! Weights and arrays of numbers, from and to numpy.

use crate::errors::raise;
use numpy::{IxDyn, PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use spikegrad::network::Network;
use spikegrad::weights::{Tensor, Weights};

/// An array of f32 with these extents.
pub fn floats<'py>(py: Python<'py>, data: Vec<f32>, extents: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyArray1::from_vec(py, data).reshape(IxDyn(extents))?.into_any())
}

/// An array [n, 3] of sample, time step and neuron.
pub fn triples<'py>(py: Python<'py>, rows: impl ExactSizeIterator<Item = [usize; 3]>) -> PyResult<Bound<'py, PyAny>> {
    let n = rows.len();
    let data: Vec<i64> = rows.flatten().map(|value| value as i64).collect();
    Ok(PyArray1::from_vec(py, data).reshape([n, 3])?.into_any())
}

/// Weights as a dictionary of arrays.
pub fn dictionary<'py>(py: Python<'py>, network: &Network, weights: &Weights) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for Tensor { name, extents, data } in weights.tensors(network) {
        dict.set_item(name, floats(py, data, &extents)?)?;
    }
    Ok(dict)
}

/// Weights from a dictionary of contiguous arrays of f32.
pub fn weights_of(network: &Network, dict: &Bound<'_, PyDict>) -> PyResult<Weights> {
    let tensor = |(name, array): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name: String = name.extract()?;
        let array: PyReadonlyArrayDyn<'_, f32> =
            array.extract().map_err(|_| PyTypeError::new_err(format!("tensor {name}: must be an array of float32")))?;
        Ok(Tensor { name, extents: array.shape().to_vec(), data: array.as_slice()?.to_vec() })
    };
    let tensors = dict.iter().map(tensor).collect::<PyResult<Vec<_>>>()?;
    Weights::from_tensors(network, tensors).map_err(raise)
}
