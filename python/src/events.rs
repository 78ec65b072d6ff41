//! Labelled samples as spikes, from and to arrays and files.

use crate::errors::{check_process, raise, warn};
use crate::network::Config;
use numpy::{PyArray1, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use spikegrad::data::latency::LatencyCode;
use spikegrad::data::{Cache, DataSet, LoadOptions, order, survey};
use spikegrad::events::{Event, EventSet};
use spikegrad::network::MAX_EXTENT;
use std::path::PathBuf;
use std::sync::Arc;

/// Samples as spikes. `Events` in Python wraps it.
#[pyclass(frozen, module = "spikegrad")]
#[derive(Clone)]
pub struct EventSetHandle(pub Arc<EventSet>);

type Column<'py> = Bound<'py, PyArray1<i64>>;

/// A label as the library holds it; -1 for none.
fn label(sample: usize, label: i64) -> PyResult<u32> {
    match u32::try_from(label) {
        _ if label == -1 => Ok(EventSet::UNLABELLED),
        Ok(label) if label != EventSet::UNLABELLED => Ok(label),
        _ => Err(PyValueError::new_err(format!("labels[{sample}] = {label}: must be a class from 0, or -1 for none"))),
    }
}

/// Columns of events, packed so that sorting them sorts by sample, time step and neuron.
fn packed(t: &[i64], i: &[i64], sample: &[i64], extents: (usize, usize), samples: usize) -> PyResult<Vec<u64>> {
    let (neurons, time_steps) = extents;
    if t.len() != i.len() || t.len() != sample.len() {
        let (t, i, sample) = (t.len(), i.len(), sample.len());
        return Err(PyValueError::new_err(format!(
            "t, i and sample have {t}, {i} and {sample} elements: must be equal"
        )));
    }
    let within = |value: i64, end: usize| usize::try_from(value).is_ok_and(|value| value < end);
    let event = |(k, ((&t, &i), &b)): (usize, ((&i64, &i64), &i64))| match [
        ("t", t, time_steps),
        ("i", i, neurons),
        ("sample", b, samples),
    ]
    .into_iter()
    .find(|&(_, value, end)| !within(value, end))
    {
        None => Ok((b as u64) << 32 | u64::from(Event::new(t as usize, i as usize).0)),
        Some((name, value, 0)) => Err(PyValueError::new_err(format!("{name}[{k}] = {value}, but there are none"))),
        Some((name, value, end)) => {
            Err(PyValueError::new_err(format!("{name}[{k}] = {value}: must be 0 to {}", end - 1)))
        }
    };
    t.iter().zip(i).zip(sample).enumerate().map(event).collect()
}

fn set_of(mut events: Vec<u64>, labels: Vec<u32>, neurons: usize, time_steps: usize) -> PyResult<EventSet> {
    if !events.is_sorted() {
        events.sort_unstable();
    }
    events.dedup();
    if u32::try_from(events.len()).is_err() {
        return Err(PyValueError::new_err("a set holds at most 2^32 - 1 events; split it"));
    }
    let starts = (0..=labels.len() as u64).map(|b| events.partition_point(|&event| event >> 32 < b) as u32).collect();
    let events = events.into_iter().map(|event| Event(event as u32)).collect();
    EventSet::from_parts(neurons, time_steps, starts, events, labels).map_err(raise)
}

fn check_extents(neurons: usize, time_steps: usize) -> PyResult<()> {
    for (name, value) in [("neurons", neurons), ("time_steps", time_steps)] {
        if !(1..=MAX_EXTENT).contains(&value) {
            return Err(PyValueError::new_err(format!("{name} = {value}: must be 1 to {MAX_EXTENT}")));
        }
    }
    Ok(())
}

#[pymethods]
impl EventSetHandle {
    /// Contiguous columns of the events in any order, and a label per sample.
    #[staticmethod]
    fn from_columns(
        py: Python<'_>,
        columns: (PyReadonlyArray1<'_, i64>, PyReadonlyArray1<'_, i64>, PyReadonlyArray1<'_, i64>),
        labels: PyReadonlyArray1<'_, i64>,
        neurons: usize,
        time_steps: usize,
    ) -> PyResult<Self> {
        check_extents(neurons, time_steps)?;
        let labels =
            labels.as_slice()?.iter().enumerate().map(|(b, &l)| label(b, l)).collect::<PyResult<Vec<u32>>>()?;
        let (t, i, sample) = &columns;
        let extents = (neurons, time_steps);
        // The arrays are read while Python cannot change them.
        let events = packed(t.as_slice()?, i.as_slice()?, sample.as_slice()?, extents, labels.len())?;
        let set = py.detach(|| set_of(events, labels, neurons, time_steps))?;
        Ok(EventSetHandle(Arc::new(set)))
    }

    /// The latency code of images, [B, pixels].
    #[staticmethod]
    fn from_latency(
        images: PyReadonlyArray2<'_, u8>,
        labels: PyReadonlyArray1<'_, i64>,
        time_steps: usize,
        dt_ms: f64,
    ) -> PyResult<Self> {
        let images = images.as_array();
        check_extents(images.ncols(), time_steps)?;
        if !(dt_ms.is_finite() && dt_ms > 0.0) {
            return Err(PyValueError::new_err(format!("dt_ms = {dt_ms}: must be a positive number")));
        }
        let code = LatencyCode::new(time_steps, dt_ms);
        let mut set = EventSet::new(images.ncols(), time_steps);
        for (b, (image, &given)) in images.rows().into_iter().zip(labels.as_slice()?).enumerate() {
            set.push(code.spikes(&image.to_vec()), label(b, given)?).map_err(raise)?;
        }
        Ok(EventSetHandle(Arc::new(set)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn neurons(&self) -> usize {
        self.0.neurons()
    }

    #[getter]
    fn time_steps(&self) -> usize {
        self.0.time_steps()
    }

    /// Number of spikes.
    #[getter]
    fn spikes(&self) -> usize {
        self.0.events().len()
    }

    #[getter]
    fn labels<'py>(&self, py: Python<'py>) -> Column<'py> {
        let number = |&label: &u32| if label == EventSet::UNLABELLED { -1 } else { i64::from(label) };
        PyArray1::from_iter(py, self.0.labels().iter().map(number))
    }

    /// t, i and sample of each spike, sorted by sample, t and i.
    fn columns<'py>(&self, py: Python<'py>) -> (Column<'py>, Column<'py>, Column<'py>) {
        let (mut t, mut i, mut sample) = (Vec::new(), Vec::new(), Vec::new());
        py.detach(|| {
            t = self.0.events().iter().map(|event| event.t() as i64).collect();
            i = self.0.events().iter().map(|event| event.i() as i64).collect();
            sample = (0..self.0.len()).flat_map(|b| std::iter::repeat_n(b as i64, self.0.sample(b).len())).collect();
        });
        (PyArray1::from_vec(py, t), PyArray1::from_vec(py, i), PyArray1::from_vec(py, sample))
    }

    /// [B, T, N].
    fn dense<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray3<u8>>> {
        let (samples, steps, neurons) = (self.0.len(), self.0.time_steps(), self.0.neurons());
        let size = samples.checked_mul(steps).and_then(|n| n.checked_mul(neurons)).filter(|&n| n < isize::MAX as usize);
        let mut dense = Vec::new();
        if size.is_none_or(|size| dense.try_reserve_exact(size).is_err()) {
            return Err(PyValueError::new_err(format!(
                "a dense array of {samples} × {steps} × {neurons} does not fit into memory; take fewer samples"
            )));
        }
        py.detach(|| {
            dense.resize(size.unwrap_or_default(), 0u8);
            for (b, (_, events)) in self.0.iter().enumerate() {
                events.iter().for_each(|event| dense[(b * steps + event.t()) * neurons + event.i()] = 1);
            }
        });
        PyArray1::from_vec(py, dense).reshape([samples, steps, neurons])
    }

    /// The samples with these indices, in this order.
    fn gather(&self, py: Python<'_>, samples: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let n = self.0.len();
        let index = |&k: &i64| match usize::try_from(k) {
            Ok(index) if index < n => Ok(index as u32),
            _ => Err(PyIndexError::new_err(format!("sample {k} does not exist: there are {n}"))),
        };
        let samples = samples.as_slice()?.iter().map(index).collect::<PyResult<Vec<u32>>>()?;
        py.detach(|| {
            let events: usize = samples.iter().map(|&k| self.0.sample(k as usize).len()).sum();
            if u32::try_from(events).is_err() {
                return Err(PyValueError::new_err("a set holds at most 2^32 - 1 events; split it"));
            }
            let mut set = EventSet::new(0, 0);
            set.gather(&self.0, &samples);
            Ok(EventSetHandle(Arc::new(set)))
        })
    }

    fn with_labels(&self, labels: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let labels = labels.as_slice()?.iter().enumerate().map(|(b, &l)| label(b, l)).collect::<PyResult<_>>()?;
        let set = &self.0;
        let (starts, events) = (set.starts().to_vec(), set.events().to_vec());
        let set = EventSet::from_parts(set.neurons(), set.time_steps(), starts, events, labels).map_err(raise)?;
        Ok(EventSetHandle(Arc::new(set)))
    }
}

/// The order of `samples` samples in an epoch.
#[pyfunction]
pub fn sample_order<'py>(py: Python<'py>, seed: u64, epoch: u64, samples: u32) -> Column<'py> {
    PyArray1::from_iter(py, order::order(seed, epoch, samples as usize).into_iter().map(i64::from))
}

/// A data set in files, and what is known of it.
#[pyclass(frozen, get_all, module = "spikegrad")]
pub struct LoadedData {
    train: EventSetHandle,
    validation: Option<EventSetHandle>,
    test: EventSetHandle,
    name: String,
    class_names: Vec<String>,
    shape: Option<[usize; 3]>,
    origin: String,
    subset: bool,
    bad: Vec<String>,
}

/// Reads the data of a configuration. Returns the configuration, with what the data determine, and the data.
#[pyfunction]
pub fn _load(
    py: Python<'_>,
    config: &Config,
    path: Option<PathBuf>,
    skip_bad: bool,
    cache: bool,
) -> PyResult<(Config, LoadedData)> {
    check_process()?;
    let mut config = config.0.clone();
    config.data.path = path.or(config.data.path);
    let data = py
        .detach(|| {
            let options = LoadOptions {
                folder: None,
                reading: config.data.clone(),
                validation: config.validation.clone(),
                skip_bad: config.skip_bad || skip_bad,
                cache: if cache { Cache::User } else { Cache::Off },
                ..LoadOptions::default()
            };
            if config.is_open() {
                let dt_ms = Some(config.network.dt_ms).filter(|&dt| dt != 0.0);
                let survey = survey(&config.preset, &options, dt_ms)?;
                config.fit(&survey.facts)?;
                return spikegrad::data::load_surveyed(&config.preset, &config.network, &options, survey);
            }
            spikegrad::data::load_with(&config.preset, &config.network, &options)
        })
        .map_err(raise)?;
    data.warnings.iter().try_for_each(|text| warn(py, text))?;
    if data.subset {
        warn(py, "the data set is not installed: these are the samples that come with spikegrad, too few to report")?;
    }
    let DataSet { train, validation, test, name, class_names, shape, origin, subset, bad, .. } = data;
    let hold = |set| EventSetHandle(Arc::new(set));
    let (validation, test) = (validation.map(hold), hold(test));
    let shape = shape.map(Into::into);
    let train = EventSetHandle(train);
    Ok((Config(config), LoadedData { train, validation, test, name, class_names, shape, origin, subset, bad }))
}
