//! The fields of a node, checked.

use super::graph::{Array, Numbers, Step, Value};
use crate::error::Result;
use std::path::Path;

/// Neurons whose parameters differ by less than this fraction are the same: single precision rounds by less.
pub(super) const TOLERANCE: f64 = 1e-6;

/// Reads the fields of a node; errors name the file and the node.
#[derive(Clone, Copy)]
pub(super) struct Parameters<'a> {
    pub step: &'a Step,
    pub path: &'a Path,
}

impl<'a> Parameters<'a> {
    pub fn error(&self, what: impl AsRef<str>) -> crate::Error {
        self.step.error(self.path, what)
    }

    /// Refuses fields that are not in `known`, since they could change what the node computes.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.step.fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                Err(self.error(format!("has the field `{name}`, which is not known; fields: {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.step.fields.contains_key(name)
    }

    fn value(&self, name: &str) -> Result<&'a Value> {
        self.step.fields.get(name).ok_or_else(|| self.error(format!("has no field `{name}`; write the file again")))
    }

    /// The array `name` and its numbers, all finite.
    pub fn array(&self, name: &str) -> Result<(&'a [usize], Vec<f64>)> {
        let Value::Array(Array { shape, numbers }) = self.value(name)? else {
            return Err(self.error(format!("its `{name}` is a text, numbers expected")));
        };
        let floats = numbers.floats();
        match floats.iter().position(|x| !x.is_finite()) {
            Some(at) => {
                Err(self.error(format!("its `{name}` has the value {} at {at}, finite numbers expected", floats[at])))
            }
            None => Ok((shape, floats)),
        }
    }

    /// One number for each of `n` neurons; a single one is that of all.
    pub fn per_neuron(&self, name: &str, n: usize) -> Result<Vec<f64>> {
        let (shape, numbers) = self.array(name)?;
        match numbers.len() {
            1 => Ok(vec![numbers[0]; n]),
            found if found == n => Ok(numbers),
            _ => {
                Err(self
                    .error(format!("its `{name}` has the shape {shape:?}, but {n} values arrive; make the sizes fit")))
            }
        }
    }

    /// One positive number for all of `n` neurons.
    pub fn shared_positive(&self, name: &str, n: usize) -> Result<f64> {
        let values = self.per_neuron(name, n)?;
        match values.iter().position(|&x| x <= 0.0) {
            Some(at) => Err(self.error(format!("its `{name}` is {} at neuron {at}, a positive number expected", values[at]))),
            None => uniform(&values).ok_or_else(|| {
                let (low, high) = range(&values);
                self.error(format!(
                    "its `{name}` differs from neuron to neuron ({low} to {high} s), the neurons of a layer must share it; \
                     train a network with one time constant per layer"
                ))
            }),
        }
    }

    /// Two numbers, of rows and of columns; a single one is both.
    pub fn pair(&self, name: &str) -> Result<(usize, usize)> {
        let (shape, numbers) = self.array(name)?;
        let whole = |x: f64| (x.fract() == 0.0 && (0.0..1e9).contains(&x)).then_some(x as usize);
        let pair = match numbers.as_slice() {
            [one] => whole(*one).zip(whole(*one)),
            [rows, columns] => whole(*rows).zip(whole(*columns)),
            _ => None,
        };
        pair.ok_or_else(|| {
            self.error(format!("its `{name}`, {numbers:?} of shape {shape:?}, must be one or two whole numbers"))
        })
    }

    /// A pair whose numbers are equal.
    pub fn square(&self, name: &str) -> Result<usize> {
        match self.pair(name)? {
            (rows, columns) if rows == columns => Ok(rows),
            (rows, columns) => {
                Err(self.error(format!("its `{name}` is {rows} × {columns}, rows and columns must be equal")))
            }
        }
    }

    /// An integer, which may be negative.
    pub fn integer(&self, name: &str) -> Result<i64> {
        match self.value(name)? {
            Value::Array(Array { numbers: Numbers::I64(numbers), .. }) if numbers.len() == 1 => Ok(numbers[0]),
            _ => Err(self.error(format!("its `{name}` must be an integer"))),
        }
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.step.fields.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// The value that all share, up to rounding; `None` if they differ, or if there are none.
pub(super) fn uniform(values: &[f64]) -> Option<f64> {
    let (low, high) = range(values);
    let scale = low.abs().max(high.abs());
    let first = values.first()?;
    (high - low <= TOLERANCE * scale).then_some(*first)
}

/// Smallest and largest value.
pub(super) fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)))
}
