"""Plots with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Union

import numpy as np
import numpy.typing as npt

from ._spikegrad import Raster

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .model import Model


def _axes(ax: Optional["Axes"]) -> "Axes":
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.gca()
    return ax


def scatter(
    ax: Optional["Axes"],
    t: npt.ArrayLike,
    i: npt.ArrayLike,
    time_steps: int,
    neurons: int,
    **style: Any,
) -> "Axes":
    """Draws spikes as dots over time steps and neurons; returns the axes."""
    ax = _axes(ax)
    ax.scatter(t, i, **{"s": 2, "marker": ".", "linewidths": 0, "color": "black", **style})
    ax.set_xlim(-0.5, time_steps - 0.5)
    ax.set_ylim(-0.5, neurons - 0.5)
    ax.set_xlabel("time step")
    ax.set_ylabel("neuron")
    return ax


def plot_raster(raster: Raster, ax: Union["Axes", Sequence["Axes"], None] = None, sample: int = 0, **style: Any) -> Any:
    """Draws the spikes of all layers and the potentials of the readout.

    Parameters
    ----------
    raster : Raster
        What `Model.raster` returns.
    ax : Axes or sequence of Axes, optional
        One axes per layer, and one more for the readout's potentials if there are any; or a single one, in which the layers are
        stacked. By default a new figure.
    sample : int
        Which of the raster's samples.
    **style
        Passed to ``scatter``.

    Returns
    -------
    Axes or sequence of Axes
        Where it was drawn.
    """
    seen = raster.samples()[sample]
    layers = seen["layers"]
    if ax is not None and not isinstance(ax, (Sequence, np.ndarray)):
        return _stacked(seen, ax, style)
    panels = len(layers) + bool(len(seen["readout_v"]))
    if ax is None:
        import matplotlib.pyplot as plt

        figure, grid = plt.subplots(panels, 1, sharex=True, squeeze=False, figsize=(8, 1.8 * panels))
        axes: Sequence["Axes"] = list(grid[:, 0])
        figure.suptitle(seen["title"])
    else:
        axes = list(np.ravel(np.asarray(ax, dtype=object)))
    if len(axes) < panels:
        raise ValueError(f"there are {len(axes)} axes, the raster has {panels} panels")
    for panel, layer in zip(axes, layers):
        scatter(panel, layer["t"], layer["i"], seen["time_steps"], layer["neurons"], **style)
        panel.set_ylabel(layer["name"])
    for c, potentials in enumerate(seen["readout_v"]):
        colour, width = ("tab:green", 2) if c == seen["label"] else ("0.6", 1)
        axes[len(layers)].plot(potentials, color=colour, lw=width)
        axes[len(layers)].set_ylabel("Readout")
    for panel in axes[: panels - 1]:
        panel.set_xlabel("")
    axes[panels - 1].set_xlabel("time step")
    return axes


def _stacked(seen: Mapping[str, Any], ax: "Axes", style: Mapping[str, Any]) -> "Axes":
    first, ticks = 0, []
    for layer in seen["layers"]:
        scatter(ax, layer["t"], layer["i"] + first, seen["time_steps"], layer["neurons"], **style)
        ticks.append((first + layer["neurons"] / 2, layer["name"]))
        first += layer["neurons"]
        ax.axhline(first - 0.5, color="0.8", lw=0.5)
    ax.set_ylim(-0.5, first - 0.5)
    ax.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    ax.set_ylabel("")
    ax.set_title(seen["title"])
    return ax


def plot_curves(history: Union["Model", Sequence[Mapping[str, Any]]], ax: Optional["Axes"] = None) -> "Axes":
    """Draws accuracies and loss over the epochs.

    Parameters
    ----------
    history : Model or sequence of dict
        A trained model, or its `history_`.
    ax : Axes, optional
        Where to draw; by default the current axes.

    Returns
    -------
    Axes
    """
    records = history if isinstance(history, Sequence) else history.history_
    ax = _axes(ax)
    epochs = [record["epoch"] for record in records]
    ax.plot(epochs, [record["train_accuracy"] for record in records], label="training accuracy")
    ax.plot(epochs, [record["test_accuracy"] for record in records], label="validation accuracy")
    loss = ax.twinx()
    loss.plot(epochs, [record["loss"] for record in records], color="tab:red", ls="--", label="training loss")
    loss.set_ylabel("loss")
    ax.set_xlabel("epoch")
    ax.set_ylabel("accuracy")
    ax.legend(loc="lower right")
    return ax
