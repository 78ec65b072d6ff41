"""Golden cases: networks with expected results from an independent float64 implementation (tests/golden/README.md)."""

import json
import math

import numpy as np
from safetensors import safe_open

import spikegrad as sg
from conftest import REPOSITORY

NAMES = [
    "golden/tiny", "golden/medium_max", "golden/medium_sum", "golden/saturated", "golden/deep", "golden/vrest", "golden/conv",
    "golden/gain", "golden/dense_surrogate", "golden_cells/tiny", "golden_cells/hard_reset", "golden_cells/cuba",
    "golden_cells/cuba_hard", "golden_cells/bias", "golden_cells/count_ce", "golden_cells/mse_last", "golden_cells/taus",
    "golden_cells/rec_deep", "golden_cells/rec_130", "golden_cells/spike_count", "golden_cells/conv_rec",
]  # fmt: skip


class Case:
    """A network, weights and a batch, and the expected results."""

    def __init__(self, name):
        with safe_open(REPOSITORY / f"tests/{name}.safetensors", "np") as file:
            self.config = json.loads(file.metadata()["config"])
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}
        self.network = network_of(self.config)
        self.events = sg.Events.from_dense(self.tensors["spikes"], self.tensors["labels"])
        parameters = [name for name, _ in self.network.shapes]
        self.weights = {name: self.tensors[name] for name in parameters}
        self.gradient = {name: self.tensors[f"d{name}"] for name in parameters}
        self.after_adam = {name: self.tensors[f"adam.{name}"] for name in parameters}


def network_of(config):
    *hidden, last = config["layers"]
    plain = config["kind"] == "network"
    layers = [(old_layer(config, layer) if plain else cell(layer)) for layer in hidden]
    if plain:
        gain, tau, logits, bias = config["readout_gain"], config["tau_readout"], config["logits"], False
    elif config["readout"]["kind"] == "li":
        gain, tau, logits, bias = (config["readout"][name] for name in ("gain", "tau", "logits", "bias"))
    if not plain and config["readout"]["kind"] == "spike_count":
        readout = sg.spike_count(cell(last))
    else:
        readout = sg.readout(last["n_out"], logits, tau_ms=tau, gain=gain, bias=bias)
    first = config["layers"][0]
    inputs = first["n_in"] if first["kind"] == "linear" else (first["c_in"], first["height"], first["width"])
    regulariser = {name: config[name] for name in ("lambda_up", "nu_up", "lambda_low", "nu_low")}
    return sg.Network(
        inputs, config["time_steps"], layers, readout, dt_ms=config["dt"], loss=config.get("loss"), regulariser=regulariser
    )


def old_layer(config, layer):
    options = {name: config[name] for name in ("v_th", "v_r", "v_rest", "beta")}
    return connection(layer, tau_ms=config["tau_hidden"], b_th=config["b_th"], **options)


def cell(layer):
    options = {name: layer[name] for name in ("v_th", "v_r", "v_rest", "reset", "b_th", "bias", "recurrent")}
    options.update(tau_ms=layer["cell"]["tau_mem"], tau_syn_ms=layer["cell"].get("tau_syn"))
    surrogate = layer["surrogate"]
    options.update(surrogate=surrogate["kind"], beta=surrogate["beta"], surrogate_scale=surrogate.get("scale"))
    return connection(layer, **options)


def connection(layer, b_th, **options):
    options["b_th"] = math.inf if b_th is None else b_th
    if layer["kind"] == "conv2d":
        options.pop("bias", None)
        options.pop("recurrent", None)
        geometry = {name: layer[name] for name in ("stride", "padding", "pool")}
        return sg.conv(layer["c_out"], layer["kernel"], **geometry, **options)
    tau_syn_ms = options.pop("tau_syn_ms", None)
    if tau_syn_ms is not None:
        return sg.cuba_lif(layer["n_out"], tau_syn_ms, **options)
    return sg.lif(layer["n_out"], **options)


def assert_close(got, expected, tolerance, name=""):
    """Relative Frobenius norm; zeros exactly where all are expected."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, name
    norm = np.linalg.norm(expected)
    error = np.linalg.norm(got - expected)
    assert error <= tolerance * norm, f"{name}: {error / norm if norm else error} > {tolerance}"
