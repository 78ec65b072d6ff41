//! Errors of the library as Python's exceptions, and what keeps a call from hanging.

use pyo3::exceptions::{PyFloatingPointError, PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pythonize::PythonizeError;
use spikegrad::Error;
use std::sync::OnceLock;

/// The exception for an error: `OSError` and its kinds for files, `FloatingPointError` for NaN and infinity, `RuntimeError` for
/// devices, `ValueError` for everything else.
pub fn raise(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        // Two arguments make Python choose the kind: FileNotFoundError, PermissionError, ...
        Error::Io { source, .. } => match source.raw_os_error() {
            Some(number) => PyErr::new::<PyOSError, _>((number, text)),
            None => PyOSError::new_err(text),
        },
        Error::NotFinite(_) => PyFloatingPointError::new_err(text),
        Error::Device(_) | Error::DeviceLost(_) => PyRuntimeError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

/// A dictionary or number that does not describe what it should.
pub fn described(error: PythonizeError) -> PyErr {
    Python::attach(|py| {
        let error = PyErr::from(error);
        match error.is_instance_of::<PyTypeError>(py) {
            true => error,
            false => PyValueError::new_err(error.value(py).to_string()),
        }
    })
}

/// Refuses to go on in a process that was forked after the engine had started its threads: they do not exist there, and waiting
/// for them would never end.
pub fn check_process() -> PyResult<()> {
    static FIRST: OnceLock<u32> = OnceLock::new();
    let (first, now) = (*FIRST.get_or_init(std::process::id), std::process::id());
    match first == now {
        true => Ok(()),
        false => Err(PyRuntimeError::new_err(format!(
            "spikegrad cannot be used in process {now}, which was forked from process {first} after that one had used it: its \
             threads are missing here. Use the start method `spawn` or `forkserver` \
             (multiprocessing.get_context(\"spawn\"), or multiprocessing_context=\"spawn\" of a DataLoader)"
        ))),
    }
}

/// Issues Python's warning, which a filter may turn into an exception.
pub fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    let arguments = PyTuple::new(py, [text])?;
    py.import("warnings")?.call_method1("warn", arguments).map(drop)
}
