//! Networks and configurations of runs.

use crate::errors::{described, raise};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pythonize::{depythonize, pythonize};
use serde::de::DeserializeOwned;
use spikegrad::network::{
    Cell, Convolution, Initialisation, Integrator, Logits, Loss, Network, Readout, Regulariser, SpikingLayer,
};
use spikegrad::presets;
use spikegrad::train::RunConfig;
use std::path::{Path, PathBuf};

/// A value of one of the library's enums or structs, from a word or a dictionary.
pub fn value<T: DeserializeOwned>(name: &str, given: &Bound<'_, PyAny>) -> PyResult<T> {
    depythonize(given).map_err(|error| {
        let error = described(error);
        let text = format!("{name}: {}", error.value(given.py()));
        match error.is_instance_of::<PyTypeError>(given.py()) {
            true => PyTypeError::new_err(text),
            false => PyValueError::new_err(text),
        }
    })
}

/// An initialisation: `("normal", scale)` or `("uniform", scale)`.
fn initialisation((kind, scale): (String, f64)) -> PyResult<Initialisation> {
    match kind.as_str() {
        "normal" => Ok(Initialisation::Normal { scale }),
        "uniform" => Ok(Initialisation::Uniform { scale }),
        _ => Err(PyValueError::new_err(format!("init: kind `{kind}`, expected `normal` or `uniform`"))),
    }
}

/// The options that every spiking layer has; `None` for the library's default.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct LayerOptions<'py> {
    tau_ms: Option<f64>,
    v_th: Option<f64>,
    v_r: Option<f64>,
    v_rest: Option<f64>,
    reset: Option<Bound<'py, PyAny>>,
    surrogate: Option<Bound<'py, PyAny>>,
    beta: Option<f64>,
    surrogate_scale: Option<f64>,
    b_th: Option<f64>,
    bias: bool,
    init: Option<(String, f64)>,
}

impl LayerOptions<'_> {
    fn apply(self, mut layer: SpikingLayer) -> PyResult<Layer> {
        let numbers = [
            (&mut layer.tau_ms, self.tau_ms),
            (&mut layer.v_th, self.v_th),
            (&mut layer.v_r, self.v_r),
            (&mut layer.v_rest, self.v_rest),
            (&mut layer.beta, self.beta),
            (&mut layer.surrogate_scale, self.surrogate_scale),
            (&mut layer.b_th, self.b_th),
        ];
        for (field, given) in numbers {
            *field = given.unwrap_or(*field);
        }
        if let Some(reset) = self.reset {
            layer.reset = value("reset", &reset)?;
        }
        if let Some(surrogate) = self.surrogate {
            layer.surrogate = value("surrogate", &surrogate)?;
        }
        if let Some(init) = self.init {
            layer.init = initialisation(init)?;
        }
        layer.bias = self.bias;
        Ok(Layer(layer))
    }
}

/// A spiking layer; made by lif, cuba_lif and conv.
#[pyclass(frozen, module = "spikegrad")]
#[derive(Clone)]
pub struct Layer(SpikingLayer);

#[pymethods]
impl Layer {
    /// All fields, as in a configuration.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        pythonize(py, &self.0).map_err(described)
    }

    fn __repr__(&self) -> String {
        format!("Layer({})", one_line(&self.0))
    }
}

/// The last layer; made by readout and spike_count.
#[pyclass(frozen, name = "Readout", module = "spikegrad")]
pub struct LastLayer(Readout);

#[pymethods]
impl LastLayer {
    /// All fields, as in a configuration.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        pythonize(py, &self.0).map_err(described)
    }

    fn __repr__(&self) -> String {
        format!("Readout({})", one_line(&self.0))
    }
}

fn one_line(value: &impl serde::Serialize) -> String {
    toml::to_string(value).unwrap_or_default().trim_end().replace('\n', ", ")
}

#[pyfunction]
pub fn _lif(neurons: usize, options: LayerOptions<'_>) -> PyResult<Layer> {
    options.apply(SpikingLayer::lif(neurons))
}

#[pyfunction]
pub fn _cuba_lif(neurons: usize, tau_syn_ms: f64, options: LayerOptions<'_>) -> PyResult<Layer> {
    options.apply(SpikingLayer::cuba_lif(neurons, tau_syn_ms))
}

#[pyfunction]
#[pyo3(signature = (filters, kernel, geometry, shape, tau_syn_ms, options))]
pub fn _conv(
    filters: usize,
    kernel: usize,
    geometry: [usize; 3],
    shape: Option<[usize; 3]>,
    tau_syn_ms: Option<f64>,
    options: LayerOptions<'_>,
) -> PyResult<Layer> {
    let [stride, padding, pool] = geometry;
    // Maps of 0 are taken from the layer below.
    let [channels, height, width] = shape.unwrap_or_default();
    let conv = Convolution { channels, height, width, filters, kernel, stride, padding, pool };
    let mut layer = SpikingLayer::convolution(conv);
    if shape.is_none() {
        layer.neurons = 0;
    }
    if let Some(tau_syn_ms) = tau_syn_ms {
        layer.cell = Cell::CubaLif { tau_syn_ms };
    }
    options.apply(layer)
}

#[pyfunction]
#[pyo3(signature = (classes, logits, tau_ms, gain, bias, init))]
pub fn _readout(
    classes: usize,
    logits: &Bound<'_, PyAny>,
    tau_ms: Option<f64>,
    gain: Option<Bound<'_, PyAny>>,
    bias: bool,
    init: Option<(String, f64)>,
) -> PyResult<LastLayer> {
    let mut readout: Integrator = match value::<Logits>("logits", logits)? {
        Logits::Max => Readout::max(classes),
        Logits::Sum => Readout::sum(classes),
        Logits::Mean => Readout::mean(classes),
        Logits::Last => Readout::last(classes),
    };
    readout.tau_ms = tau_ms.unwrap_or(readout.tau_ms);
    readout.bias = bias;
    if let Some(gain) = gain {
        readout.gain = value("gain", &gain)?;
    }
    if let Some(init) = init {
        readout.init = initialisation(init)?;
    }
    Ok(LastLayer(readout.into()))
}

/// A readout whose logits are the spike counts of a layer with a neuron per class.
#[pyfunction]
pub fn spike_count(layer: &Layer) -> LastLayer {
    LastLayer(Readout::spike_count(layer.0.clone()))
}

/// What a network is.
#[pyclass(frozen, name = "Network", module = "spikegrad", eq)]
#[derive(Clone, PartialEq)]
pub struct PyNetwork(pub Network);

#[derive(FromPyObject)]
enum Inputs {
    Neurons(usize),
    Maps([usize; 3]),
}

#[pymethods]
impl PyNetwork {
    #[new]
    #[pyo3(signature = (inputs, time_steps, layers, readout, *, dt_ms=None, loss=None, regulariser=None))]
    fn new(
        inputs: Inputs,
        time_steps: usize,
        layers: Vec<Bound<'_, Layer>>,
        readout: &LastLayer,
        dt_ms: Option<f64>,
        loss: Option<Bound<'_, PyAny>>,
        regulariser: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (neurons, maps) = match inputs {
            Inputs::Neurons(neurons) => (neurons, None),
            Inputs::Maps(maps) => (maps.into_iter().fold(1, usize::saturating_mul), Some(maps)),
        };
        let mut builder = Network::new(neurons, time_steps).readout(readout.0.clone());
        if let Some(dt_ms) = dt_ms {
            builder = builder.dt_ms(dt_ms);
        }
        if let Some(loss) = loss {
            builder = builder.loss(value::<Loss>("loss", &loss)?);
        }
        if let Some(regulariser) = regulariser {
            builder = builder.regulariser(value::<Regulariser>("regulariser", &regulariser)?);
        }
        // Layers are added before the check, since convolutions may take their input maps from the layer below.
        let mut network = builder.build().map_err(raise)?;
        network.hidden = layers.iter().map(|layer| layer.get().0.clone()).collect();
        if let Some(l) = network.fit_convolutions(maps) {
            return Err(PyValueError::new_err(format!(
                "layer {l} is a convolution, but its input has no shape: give inputs = (channels, height, width), or the \
                 shape of the convolution"
            )));
        }
        network.check().map_err(raise)?;
        Ok(PyNetwork(network))
    }

    /// The network that a TOML text or file describes: a network, or a run's configuration.
    #[staticmethod]
    fn from_toml(source: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (text, path) = text_of(source)?;
        let bad = |what: String| PyValueError::new_err(format!("{}: {what}", path.display()));
        if let Ok(network) = toml::from_str::<Network>(&text) {
            network.check().map_err(|error| bad(error.to_string()))?;
            return Ok(PyNetwork(network));
        }
        let table: toml::Table = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        match table.contains_key("preset") {
            true => Ok(PyNetwork(presets::from_toml(&text, &path, false).map_err(raise)?.network)),
            false => Err(bad(toml::from_str::<Network>(&text).map_or_else(|e| e.to_string(), |_| String::new()))),
        }
    }

    /// The network as TOML; reading it gives the same network.
    fn to_toml(&self) -> PyResult<String> {
        toml::to_string(&self.0).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// All fields, as in a configuration.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        pythonize(py, &self.0).map_err(described)
    }

    #[getter]
    fn inputs(&self) -> usize {
        self.0.inputs
    }

    #[getter]
    fn time_steps(&self) -> usize {
        self.0.time_steps
    }

    #[getter]
    fn dt_ms(&self) -> f64 {
        self.0.dt_ms
    }

    #[getter]
    fn classes(&self) -> usize {
        self.0.classes()
    }

    /// Neurons of the input, of each hidden layer and of the readout.
    #[getter]
    fn sizes(&self) -> Vec<usize> {
        self.0.sizes()
    }

    /// Shape of each tensor of the weights, by name.
    #[getter]
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let zeros = spikegrad::weights::Weights::zeros_of(&self.0);
        zeros.tensors(&self.0).into_iter().map(|tensor| (tensor.name, tensor.extents)).collect()
    }

    fn __repr__(&self) -> String {
        let sizes: Vec<String> = self.0.sizes().iter().map(usize::to_string).collect();
        format!("Network({}, {} time steps of {} ms)", sizes.join("-"), self.0.time_steps, self.0.dt_ms)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<PyNetwork>().getattr("from_toml")?, (self.to_toml()?,)))
    }
}

/// The text that `source` is or, if it is a path or a word that ends in .toml, that of the file; and a name for errors.
fn text_of(source: &Bound<'_, PyAny>) -> PyResult<(String, PathBuf)> {
    let text: Option<String> = source.extract().ok();
    let is_path = text.as_ref().is_none_or(|text| text.ends_with(".toml") && !text.contains('\n'));
    if let (Some(text), false) = (text, is_path) {
        return Ok((text, PathBuf::from("text")));
    }
    let path: PathBuf = source.extract()?;
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((text, path)),
        Err(error) => Err(raise(spikegrad::Error::io(path)(error))),
    }
}

/// How a network is trained.
#[pyclass(frozen, module = "spikegrad", eq)]
#[derive(Clone, PartialEq)]
pub struct Config(pub RunConfig);

#[pymethods]
impl Config {
    #[new]
    fn new(network: &PyNetwork) -> Self {
        Config(RunConfig::new(network.0.clone()))
    }

    /// The configuration of a preset or of a TOML text or file that names one.
    #[staticmethod]
    #[pyo3(signature = (source, paper=false))]
    fn load(source: &Bound<'_, PyAny>, paper: bool) -> PyResult<Self> {
        if let Ok(name) = source.extract::<String>()
            && !name.contains('\n')
            && !name.contains('=')
        {
            return presets::resolve(&name, paper).map(Config).map_err(raise);
        }
        match source.extract::<String>() {
            Ok(text) => presets::from_toml(&text, Path::new("text"), paper),
            Err(_) => presets::load(&source.extract::<PathBuf>()?, paper),
        }
        .map(Config)
        .map_err(raise)
    }

    /// The configuration that `to_toml` wrote.
    #[staticmethod]
    fn _restored(text: &str) -> PyResult<Self> {
        RunConfig::from_toml(text).map(Config).map_err(raise)
    }

    /// This configuration with the fields in `assignments` changed, each `FIELD=VALUE` in TOML.
    fn with_fields(&self, assignments: Vec<String>) -> PyResult<Self> {
        let mut config = self.0.clone();
        for assignment in &assignments {
            config.set(assignment).map_err(raise)?;
        }
        config.check().map_err(raise)?;
        Ok(Config(config))
    }

    #[getter]
    fn network(&self) -> PyNetwork {
        PyNetwork(self.0.network.clone())
    }

    /// The configuration as TOML.
    fn to_toml(&self) -> PyResult<String> {
        self.0.to_toml().map_err(raise)
    }

    /// All fields.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        pythonize(py, &self.0).map_err(described)
    }

    fn __repr__(&self) -> String {
        let RunConfig { preset, epochs, batch, device, .. } = &self.0;
        let network = PyNetwork(self.0.network.clone()).__repr__();
        format!("Config({preset}, {network}, epochs={epochs}, batch={batch}, device={device})")
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Config>().getattr("_restored")?, (self.to_toml()?,)))
    }
}
