//! Arguments from Python. Errors name the argument, its value and what is valid.

use crate::errors::described;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pythonize::depythonize;
use serde::de::DeserializeOwned;

/// Bytes of the longest value that an error shows.
const LONGEST: usize = 60;

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "unknown".into(), |name| name.to_string())
}

type Value<'a, 'py> = &'a Bound<'py, PyAny>;

/// The error for a value that could not be read: `TypeError`, or `ValueError` for a number out of range.
pub fn wrong(name: &str, value: Value<'_, '_>, error: &PyErr, valid: &str) -> PyErr {
    let repr = value.repr().map_or_else(|_| String::new(), |repr| repr.to_string());
    let text = match repr.is_empty() || repr.len() > LONGEST {
        true => format!("{name} is of the type {}: must be {valid}", type_name(value)),
        false => format!("{name} = {repr}: must be {valid}"),
    };
    match error.is_instance_of::<PyOverflowError>(value.py()) {
        true => PyValueError::new_err(text),
        false => PyTypeError::new_err(text),
    }
}

/// A whole number from 0.
pub fn whole(name: &str, value: Value<'_, '_>) -> PyResult<usize> {
    value.extract().map_err(|error| wrong(name, value, &error, "a whole number, 0 or more"))
}

/// A number.
pub fn number(name: &str, value: Value<'_, '_>) -> PyResult<f64> {
    value.extract().map_err(|error| wrong(name, value, &error, "a number"))
}

/// True or False.
pub fn flag(name: &str, value: Value<'_, '_>) -> PyResult<bool> {
    value.extract().map_err(|error| wrong(name, value, &error, "True or False"))
}

/// Channels, height and width.
pub fn maps(name: &str, value: Value<'_, '_>) -> PyResult<[usize; 3]> {
    value.extract().map_err(|error| wrong(name, value, &error, "channels, height and width"))
}

/// A value of one of the library's enums or structs, from a word or a dictionary.
pub fn described_by<T: DeserializeOwned>(name: &str, value: Value<'_, '_>) -> PyResult<T> {
    depythonize(value).map_err(|error| {
        let error = described(error);
        let text = format!("{name}: {}", error.value(value.py()));
        match error.is_instance_of::<PyTypeError>(value.py()) {
            true => PyTypeError::new_err(text),
            false => PyValueError::new_err(text),
        }
    })
}

/// Named arguments. `None` stands for the default.
pub struct Arguments<'py>(pub Bound<'py, PyDict>);

impl<'py> Arguments<'py> {
    /// The value of an argument, as `read` gets it; `None` if it was not given.
    pub fn get<T>(&self, name: &str, read: impl Fn(&str, Value<'_, 'py>) -> PyResult<T>) -> PyResult<Option<T>> {
        match self.0.get_item(name)?.filter(|value| !value.is_none()) {
            Some(value) => read(name, &value).map(Some),
            None => Ok(None),
        }
    }

    /// [`get`](Self::get) of an argument without a default.
    pub fn required<T>(&self, name: &str, read: impl Fn(&str, Value<'_, 'py>) -> PyResult<T>) -> PyResult<T> {
        self.get(name, read)?.ok_or_else(|| PyTypeError::new_err(format!("{name} is None: it has no default")))
    }

    /// Replaces `field` by the value of an argument, if it was given.
    pub fn set<T>(
        &self,
        field: &mut T,
        name: &str,
        read: impl Fn(&str, Value<'_, 'py>) -> PyResult<T>,
    ) -> PyResult<()> {
        self.get(name, read).map(|given| given.into_iter().for_each(|value| *field = value))
    }
}
