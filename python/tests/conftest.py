"""Small networks and samples that every test file uses."""

import os
import pathlib

import numpy as np
import pytest

import spikegrad as sg

REPOSITORY = pathlib.Path(__file__).parents[2]

# A loader of Vulkan complains without it.
os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")


def samples(n=64, seed=0):
    """Two classes: early spikes in the lower or in the upper half of 40 inputs, as a dense array, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    x = np.zeros((n, 30, 40), bool)
    t = rng.integers(0, 10, (n, 20))
    x[np.arange(n)[:, None], t, np.arange(20) + 20 * labels[:, None]] = True
    return x, labels


def network(**options):
    return sg.Network(40, 30, [sg.lif(50)], sg.readout(2, "sum"), **options)


@pytest.fixture
def events():
    return sg.Events.from_dense(*samples())


@pytest.fixture
def model():
    return sg.Model(network(), device="cpu", batch=8, epochs=3)
