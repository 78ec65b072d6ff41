"""The engine room, in Rust."""

from os import PathLike
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "Config",
    "EngineHandle",
    "EventSetHandle",
    "Layer",
    "LoadedData",
    "Network",
    "Raster",
    "Readout",
    "VERSION",
    "_conv",
    "_cuba_lif",
    "_from_nir",
    "_lif",
    "_load",
    "_readout",
    "_to_nir",
    "adapters",
    "sample_order",
    "spike_count",
]
VERSION: str

_Int64 = npt.NDArray[np.int64]
_Float32 = npt.NDArray[np.float32]
_Columns = Tuple[_Int64, _Int64, _Int64]
_Maps = Tuple[int, int, int]
_Path = Union[str, PathLike[str]]

def adapters() -> List[Dict[str, Any]]:
    """The adapters that ``gpu:N`` counts: ``index``, ``name``, ``backend``, ``driver``, ``kind`` and ``usable``."""

@final
class Layer:
    """A spiking layer; made by `lif`, `cuba_lif` and `conv`."""

    def to_dict(self) -> Dict[str, Any]:
        """All fields, as in a configuration."""

@final
class Readout:
    """The last layer; made by `readout` and `spike_count`."""

    def to_dict(self) -> Dict[str, Any]:
        """All fields, as in a configuration."""

@final
class Network:
    """What a network is.

    Parameters
    ----------
    inputs : int or tuple of int
        Number of input neurons, or channels, height and width of the maps that they form.
    time_steps : int
        Number of time steps, T.
    layers : sequence of Layer
        The spiking layers, from the input on.
    readout : Readout
        The last layer.
    dt_ms : float, optional
        Length of a time step, 1 ms by default.
    loss : dict, optional
        ``{"kind": "cross_entropy", "label_smoothing": 0.0}``, the default, or ``{"kind": "mse", "on": 1.0, "off": 0.0}``.
    regulariser : dict, optional
        Activity regularisers, by default none: ``{"lambda_up": .., "nu_up": .., "lambda_low": .., "nu_low": ..}``.

    Raises
    ------
    ValueError
        Names the field that cannot work, its value, and what is valid.
    """

    def __new__(
        cls,
        inputs: Union[int, _Maps],
        time_steps: int,
        layers: Sequence[Layer],
        readout: Readout,
        *,
        dt_ms: Optional[float] = None,
        loss: Optional[Mapping[str, Any]] = None,
        regulariser: Optional[Mapping[str, float]] = None,
    ) -> Network: ...
    @staticmethod
    def from_toml(source: _Path) -> Network:
        """The network of a TOML text, or of a .toml file: a network as `to_toml` writes it, or a configuration that names a preset."""

    def to_toml(self) -> str:
        """The network as TOML; reading it gives the same network."""

    def to_dict(self) -> Dict[str, Any]:
        """All fields, as in a configuration."""

    @property
    def inputs(self) -> int:
        """Number of input neurons."""

    @property
    def time_steps(self) -> int:
        """Number of time steps, T."""

    @property
    def dt_ms(self) -> float:
        """Length of a time step, ms."""

    @property
    def classes(self) -> int:
        """Number of classes, C."""

    @property
    def sizes(self) -> List[int]:
        """Neurons of the input, of each hidden layer and of the readout."""

    @property
    def shapes(self) -> List[Tuple[str, List[int]]]:
        """Name and shape of each tensor of the weights."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Config:
    """How a network is trained: all settings of a run.

    Parameters
    ----------
    network : Network
        The network. All other fields have the library's defaults.
    """

    def __new__(cls, network: Network) -> Config: ...
    @staticmethod
    def load(source: _Path, paper: bool = False) -> Config:
        """The configuration of a preset, of a .toml file, or of a TOML text that names a preset."""

    def _for_own_samples(self) -> Config: ...
    def with_fields(self, assignments: Sequence[str]) -> Config:
        """This configuration with changes, each ``FIELD=VALUE`` in TOML."""

    @property
    def network(self) -> Network:
        """The network."""

    def to_toml(self) -> str:
        """The configuration as TOML."""

    def to_dict(self) -> Dict[str, Any]:
        """All fields."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Raster:
    """Raster plots of one or several samples. Notebooks show it as an image."""

    def png(self) -> bytes:
        """The figure as a PNG file."""

    def svg(self) -> str:
        """The figure as an SVG file."""

    def save(self, path: _Path) -> None:
        """Writes a PNG or SVG file."""

    def samples(self) -> List[Dict[str, Any]]:
        """What is drawn of each sample: ``title``, ``time_steps``, ``dt_ms``, ``layers`` (``name``, ``neurons``, and ``t`` and ``i`` of
        each spike), ``readout_v`` [C, T], ``logits``, ``class_names``, ``label`` and ``predicted``."""

    def _repr_png_(self) -> bytes: ...
    def __len__(self) -> int: ...

def spike_count(layer: Layer) -> Readout:
    """A readout whose logits are the spike counts of a layer, which has one neuron per class."""

def _lif(options: Dict[str, Any]) -> Layer: ...
def _conv(options: Dict[str, Any]) -> Layer: ...
def _readout(options: Dict[str, Any]) -> Readout: ...

@final
class EventSetHandle:
    @staticmethod
    def from_columns(columns: _Columns, labels: _Int64, neurons: int, time_steps: int) -> EventSetHandle: ...
    @staticmethod
    def from_latency(
        images: npt.NDArray[np.uint8], labels: _Int64, time_steps: int, dt_ms: float
    ) -> EventSetHandle: ...
    def __len__(self) -> int: ...
    @property
    def neurons(self) -> int: ...
    @property
    def time_steps(self) -> int: ...
    @property
    def spikes(self) -> int: ...
    @property
    def labels(self) -> _Int64: ...
    def columns(self) -> _Columns: ...
    def dense(self) -> npt.NDArray[np.uint8]: ...
    def gather(self, samples: _Int64) -> EventSetHandle: ...
    def with_labels(self, labels: _Int64) -> EventSetHandle: ...

def sample_order(seed: int, epoch: int, samples: int) -> _Int64: ...

@final
class LoadedData:
    @property
    def train(self) -> EventSetHandle: ...
    @property
    def validation(self) -> Optional[EventSetHandle]: ...
    @property
    def test(self) -> EventSetHandle: ...
    @property
    def name(self) -> str: ...
    @property
    def class_names(self) -> List[str]: ...
    @property
    def shape(self) -> Optional[List[int]]: ...
    @property
    def origin(self) -> str: ...
    @property
    def subset(self) -> bool: ...
    @property
    def bad(self) -> List[str]: ...

def _from_nir(
    path: _Path,
    *,
    dt: Optional[float],
    dt_ms: Optional[float],
    time_steps: Optional[int],
    reset: Optional[str],
    logits: Optional[str],
) -> Tuple[Network, Dict[str, _Float32], List[str]]: ...
def _to_nir(
    model: EngineHandle, path: _Path, *, dt: Optional[float], fold_gain: bool, readout: str, force: bool
) -> Tuple[List[str], List[str]]: ...
def _load(config: Config, path: Optional[_Path], skip_bad: bool, cache: bool) -> Tuple[Config, LoadedData]: ...

@final
class EngineHandle:
    def __new__(cls, config: Config, weights: Optional[Dict[str, _Float32]], tuning: bool) -> EngineHandle: ...
    @staticmethod
    def load(path: _Path, device: Optional[str], network: Optional[Network], last: bool) -> EngineHandle: ...
    @property
    def config(self) -> Config: ...
    @property
    def info(self) -> Dict[str, str]: ...
    @property
    def fresh(self) -> bool: ...
    def fit(
        self,
        config: Config,
        train: EventSetHandle,
        validation: EventSetHandle,
        options: Dict[str, Any],
        observer: Any,
    ) -> Dict[str, Any]: ...
    def logits(self, set: EventSetHandle, batch: int) -> Tuple[_Float32, List[int]]: ...
    def evaluate(self, set: EventSetHandle, batch: int) -> Tuple[List[List[int]], float, List[int]]: ...
    def step(self, set: EventSetHandle, adam: Sequence[float]) -> Dict[str, Any]: ...
    def inspect(self, set: EventSetHandle) -> Dict[str, Any]: ...
    def forward(self, set: EventSetHandle) -> Tuple[int, _Float32]: ...
    def backward(self, number: int, logits: _Float32) -> Optional[Dict[str, _Float32]]: ...
    def weights(self) -> Dict[str, _Float32]: ...
    def set_weights(self, weights: Dict[str, _Float32]) -> None: ...
    def reset(self, seed: int) -> None: ...
    def save(self, path: _Path) -> None: ...
    def raster(self, set: EventSetHandle, titles: Sequence[str], class_names: Sequence[str]) -> Raster: ...
