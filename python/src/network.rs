//! Networks and configurations of runs.

use crate::arguments::{Arguments, described_by, flag, maps, number, whole, wrong};
use crate::errors::{described, raise};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pythonize::pythonize;
use spikegrad::data::{DataConfig, OWN, Validation};
use spikegrad::network::{
    Cell, Convolution, Initialisation, Integrator, Logits, Loss, Network, Readout, Regulariser, SpikingLayer,
};
use spikegrad::presets;
use spikegrad::train::RunConfig;
use std::path::{Path, PathBuf};

/// An initialisation: `("normal", scale)` or `("uniform", scale)`.
fn initialisation(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Initialisation> {
    let valid = "(\"normal\", scale) or (\"uniform\", scale)";
    let (kind, scale): (String, f64) = value.extract().map_err(|error| wrong(name, value, &error, valid))?;
    match kind.as_str() {
        "normal" => Ok(Initialisation::Normal { scale }),
        "uniform" => Ok(Initialisation::Uniform { scale }),
        _ => Err(PyValueError::new_err(format!("{name}: kind `{kind}`, expected `normal` or `uniform`"))),
    }
}

/// `layer` with the options that every spiking layer has.
fn with_options(mut layer: SpikingLayer, given: &Arguments<'_>) -> PyResult<Layer> {
    let numbers = [
        (&mut layer.tau_ms, "tau_ms"),
        (&mut layer.v_th, "v_th"),
        (&mut layer.v_r, "v_r"),
        (&mut layer.v_rest, "v_rest"),
        (&mut layer.beta, "beta"),
        (&mut layer.surrogate_scale, "surrogate_scale"),
        (&mut layer.b_th, "b_th"),
    ];
    for (field, name) in numbers {
        given.set(field, name, number)?;
    }
    given.set(&mut layer.reset, "reset", described_by)?;
    given.set(&mut layer.surrogate, "surrogate", described_by)?;
    given.set(&mut layer.init, "init", initialisation)?;
    given.set(&mut layer.bias, "bias", flag)?;
    given.set(&mut layer.recurrent, "recurrent", flag)?;
    if let Some(tau_syn_ms) = given.get("tau_syn_ms", number)? {
        layer.cell = Cell::CubaLif { tau_syn_ms };
    }
    Ok(Layer(layer))
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
    let table = toml::Table::try_from(value).unwrap_or_default();
    let fields: Vec<String> = table.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    fields.join(", ")
}

#[pyfunction]
pub fn _lif(options: Bound<'_, PyDict>) -> PyResult<Layer> {
    let given = Arguments(options);
    with_options(SpikingLayer::lif(given.required("neurons", whole)?), &given)
}

#[pyfunction]
pub fn _conv(options: Bound<'_, PyDict>) -> PyResult<Layer> {
    let given = Arguments(options);
    let size = |name| given.required(name, whole);
    let shape = given.get("shape", maps)?;
    // Maps of 0 are taken from the layer below.
    let [channels, height, width] = shape.unwrap_or_default();
    let (filters, kernel) = (size("filters")?, size("kernel")?);
    let (stride, padding, pool) = (size("stride")?, size("padding")?, size("pool")?);
    let conv = Convolution { channels, height, width, filters, kernel, stride, padding, pool };
    let mut layer = SpikingLayer::convolution(conv);
    if shape.is_none() {
        layer.neurons = 0;
    }
    with_options(layer, &given)
}

#[pyfunction]
pub fn _readout(options: Bound<'_, PyDict>) -> PyResult<LastLayer> {
    let given = Arguments(options);
    let classes = given.required("classes", whole)?;
    let mut readout: Integrator = match given.required("logits", described_by)? {
        Logits::Max => Readout::max(classes),
        Logits::Sum => Readout::sum(classes),
        Logits::Mean => Readout::mean(classes),
        Logits::Last => Readout::last(classes),
    };
    given.set(&mut readout.tau_ms, "tau_ms", number)?;
    given.set(&mut readout.bias, "bias", flag)?;
    given.set(&mut readout.gain, "gain", described_by)?;
    given.set(&mut readout.init, "init", initialisation)?;
    Ok(LastLayer(readout.into()))
}

/// A readout whose logits are the spike counts of a layer with a neuron per class.
#[pyfunction]
pub fn spike_count(layer: &Bound<'_, PyAny>) -> PyResult<LastLayer> {
    let counted: &Bound<'_, Layer> =
        layer.cast().map_err(|error| wrong("layer", layer, &error.into(), "made by lif() or cuba_lif()"))?;
    Ok(LastLayer(Readout::spike_count(counted.get().0.clone())))
}

/// What a network is.
#[pyclass(frozen, name = "Network", module = "spikegrad", eq)]
#[derive(Clone, PartialEq)]
pub struct PyNetwork(pub Network);

/// Number of input neurons, and the maps that they form, if they do.
fn inputs_of(value: &Bound<'_, PyAny>) -> PyResult<(usize, Option<[usize; 3]>)> {
    match value.extract::<[usize; 3]>() {
        Ok(maps) => Ok((maps.into_iter().fold(1, usize::saturating_mul), Some(maps))),
        Err(_) => match value.extract() {
            Ok(neurons) => Ok((neurons, None)),
            Err(error) => {
                Err(wrong("inputs", value, &error, "a whole number of neurons, or (channels, height, width)"))
            }
        },
    }
}

#[pymethods]
impl PyNetwork {
    #[new]
    #[pyo3(signature = (inputs, time_steps, layers, readout, *, dt_ms=None, loss=None, regulariser=None))]
    fn new(
        inputs: &Bound<'_, PyAny>,
        time_steps: &Bound<'_, PyAny>,
        layers: &Bound<'_, PyAny>,
        readout: &Bound<'_, PyAny>,
        dt_ms: Option<Bound<'_, PyAny>>,
        loss: Option<Bound<'_, PyAny>>,
        regulariser: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (neurons, maps) = inputs_of(inputs)?;
        let last: &Bound<'_, LastLayer> = readout
            .cast()
            .map_err(|error| wrong("readout", readout, &error.into(), "made by readout() or spike_count()"))?;
        let hidden: Vec<Bound<'_, Layer>> = layers.extract().map_err(|error| {
            wrong("layers", layers, &error, "a sequence of layers made by lif(), cuba_lif() or conv()")
        })?;
        let mut builder = Network::new(neurons, whole("time_steps", time_steps)?).readout(last.get().0.clone());
        if let Some(dt_ms) = dt_ms {
            builder = builder.dt_ms(number("dt_ms", &dt_ms)?);
        }
        if let Some(loss) = loss {
            builder = builder.loss(described_by::<Loss>("loss", &loss)?);
        }
        if let Some(regulariser) = regulariser {
            builder = builder.regulariser(described_by::<Regulariser>("regulariser", &regulariser)?);
        }
        // Layers are added before the check, since convolutions may take their input maps from the layer below.
        let mut network = builder.build().map_err(raise)?;
        network.hidden = hidden.iter().map(|layer| layer.get().0.clone()).collect();
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
            && (name.ends_with(".toml") || !name.contains('='))
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
        config.set_all(&assignments).map_err(raise)?;
        config.check().map_err(raise)?;
        Ok(Config(config))
    }

    /// This configuration for samples that no preset names.
    fn _for_own_samples(&self) -> Self {
        let data = DataConfig::default();
        Config(RunConfig { preset: OWN.into(), data, validation: Validation::default(), ..self.0.clone() })
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
