"""Trains spiking neural networks with sparse spiking gradient descent, on the CPU and on any GPU.

>>> import numpy as np, spikegrad as sg
>>> network = sg.Network(40, 30, [sg.lif(50)], sg.readout(2, "sum"))
>>> rng = np.random.default_rng(0)
>>> labels = np.arange(64) % 2
>>> x = np.zeros((64, 30, 40), bool)
>>> x[np.arange(64)[:, None], np.arange(20), np.arange(20) + 20 * labels[:, None]] = True
>>> model = sg.Model(network, device="cpu").fit(x, labels, epochs=10, batch=8)
>>> model.score(x, labels)
1.0

Documentation: docs/python.md in the repository.
"""

from ._spikegrad import VERSION as __version__
from ._spikegrad import Config, Network, Raster, adapters, spike_count
from .data import Data, load
from .events import Events
from .layers import conv, cuba_lif, lif, readout
from .model import Activity, Evaluation, LayerActivity, Model, preset
from .plot import plot_curves, plot_raster

__all__ = [
    "Activity",
    "Config",
    "Data",
    "Evaluation",
    "Events",
    "LayerActivity",
    "Model",
    "Network",
    "Raster",
    "__version__",
    "adapters",
    "conv",
    "cuba_lif",
    "lif",
    "load",
    "plot_curves",
    "plot_raster",
    "preset",
    "readout",
    "spike_count",
]
