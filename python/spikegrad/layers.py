"""Layers of a network. Defaults that are None are those of the library (docs/python.md lists them)."""

from __future__ import annotations

from typing import Literal, Optional, Tuple

from . import _spikegrad
from ._arrays import number
from ._spikegrad import Layer, Readout

Reset = Literal["subtract", "to_value"]
Surrogate = Literal["fast_sigmoid", "sigmoid", "arctan", "triangular", "rectangular", "gaussian"]
Logits = Literal["max", "sum", "mean", "last"]
Gain = Literal["one", "one_minus_alpha"]
Init = Tuple[Literal["normal", "uniform"], float]


def lif(
    neurons: int,
    *,
    tau_ms: Optional[float] = None,
    v_th: Optional[float] = None,
    v_r: Optional[float] = None,
    v_rest: Optional[float] = None,
    reset: Optional[Reset] = None,
    surrogate: Optional[Surrogate] = None,
    beta: Optional[float] = None,
    surrogate_scale: Optional[float] = None,
    b_th: Optional[float] = None,
    bias: bool = False,
    recurrent: bool = False,
    init: Optional[Init] = None,
) -> Layer:
    """A fully connected layer of leaky integrate-and-fire neurons.

    Parameters
    ----------
    neurons : int
        Number of neurons, N.
    tau_ms : float, optional
        Membrane time constant, ms. The potential decays by exp(-dt/tau) per time step.
    v_th : float, optional
        Threshold: a neuron spikes if V > v_th.
    v_r : float, optional
        Reset potential.
    v_rest : float, optional
        Resting potential, towards which V decays.
    reset : {'subtract', 'to_value'}, optional
        Whether a spike subtracts ``v_th - v_r`` or sets V to ``v_r``.
    surrogate : {'fast_sigmoid', 'sigmoid', 'arctan', 'triangular', 'rectangular', 'gaussian'}, optional
        Shape of the surrogate gradient.
    beta : float, optional
        Slope of the surrogate gradient.
    surrogate_scale : float, optional
        Factor on the surrogate gradient.
    b_th : float, optional
        Backward threshold: the surrogate gradient is 0 unless abs(V - v_th) < b_th. ``inf`` for never masked.
    bias : bool
        Whether each neuron has a bias, added at every time step.
    recurrent : bool
        Whether the neurons are also connected with each other, by recurrent weights [N, N] (``r.l`` in a state dict).
    init : tuple of str and float, optional
        Distribution of the initial weights: ``("normal", scale)`` for a standard deviation of
        scale (1 - exp(-dt/tau)) / sqrt(N_in), or ``("uniform", scale)`` for up to scale / sqrt(N_in) on either side of 0.

    Returns
    -------
    Layer
    """
    return _spikegrad._lif(dict(
        neurons=neurons, tau_ms=tau_ms, v_th=v_th, v_r=v_r, v_rest=v_rest, reset=reset, surrogate=surrogate, beta=beta,
        surrogate_scale=surrogate_scale, b_th=b_th, bias=bias, recurrent=recurrent, init=init,
    ))  # fmt: skip


def cuba_lif(
    neurons: int,
    tau_syn_ms: float,
    *,
    tau_ms: Optional[float] = None,
    v_th: Optional[float] = None,
    v_r: Optional[float] = None,
    v_rest: Optional[float] = None,
    reset: Optional[Reset] = None,
    surrogate: Optional[Surrogate] = None,
    beta: Optional[float] = None,
    surrogate_scale: Optional[float] = None,
    b_th: Optional[float] = None,
    bias: bool = False,
    recurrent: bool = False,
    init: Optional[Init] = None,
) -> Layer:
    """A fully connected layer of current-based LIF neurons: spikes add to a current that drives the potential.

    Parameters
    ----------
    neurons : int
        Number of neurons, N.
    tau_syn_ms : float
        Time constant of the current, ms.
    tau_ms, v_th, v_r, v_rest, reset, surrogate, beta, surrogate_scale, b_th, bias, recurrent, init
        As for `lif`.

    Returns
    -------
    Layer
    """
    return _spikegrad._lif(dict(
        neurons=neurons, tau_syn_ms=number("tau_syn_ms", tau_syn_ms), tau_ms=tau_ms, v_th=v_th, v_r=v_r, v_rest=v_rest,
        reset=reset, surrogate=surrogate, beta=beta, surrogate_scale=surrogate_scale, b_th=b_th, bias=bias,
        recurrent=recurrent, init=init,
    ))  # fmt: skip


def conv(
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    pool: int = 1,
    shape: Optional[Tuple[int, int, int]] = None,
    tau_syn_ms: Optional[float] = None,
    tau_ms: Optional[float] = None,
    v_th: Optional[float] = None,
    v_r: Optional[float] = None,
    v_rest: Optional[float] = None,
    reset: Optional[Reset] = None,
    surrogate: Optional[Surrogate] = None,
    beta: Optional[float] = None,
    surrogate_scale: Optional[float] = None,
    b_th: Optional[float] = None,
    bias: bool = False,
    init: Optional[Init] = None,
) -> Layer:
    """A convolution of LIF neurons, and max pooling of their spikes.

    Parameters
    ----------
    filters : int
        Number of output maps.
    kernel : int
        Rows and columns of the kernel.
    stride, padding : int
        Distance between kernel positions; rows and columns of zeros on each side, less than `kernel`.
    pool : int
        Rows and columns of a pooling window; 1 disables pooling.
    shape : tuple of int, optional
        Channels, height and width of the input. By default those of the convolution below, or of the network's inputs.
    tau_syn_ms : float, optional
        If given, the neurons are those of `cuba_lif`.
    tau_ms, v_th, v_r, v_rest, reset, surrogate, beta, surrogate_scale, b_th, init
        As for `lif`.
    bias : bool
        Whether each filter has a bias, added at every time step.

    Returns
    -------
    Layer
    """
    return _spikegrad._conv(dict(
        filters=filters, kernel=kernel, stride=stride, padding=padding, pool=pool, shape=shape, tau_syn_ms=tau_syn_ms,
        tau_ms=tau_ms, v_th=v_th, v_r=v_r, v_rest=v_rest, reset=reset, surrogate=surrogate, beta=beta,
        surrogate_scale=surrogate_scale, b_th=b_th, bias=bias, init=init,
    ))  # fmt: skip


def readout(
    classes: int,
    logits: Logits = "max",
    *,
    tau_ms: Optional[float] = None,
    gain: Optional[Gain] = None,
    bias: bool = False,
    init: Optional[Init] = None,
) -> Readout:
    """Leaky integrators, one per class, which neither spike nor reset. `spike_count` is the other kind of readout.

    Parameters
    ----------
    classes : int
        Number of classes, C.
    logits : {'max', 'sum', 'mean', 'last'}
        How a logit follows from the potential of its class over time.
    tau_ms : float, optional
        Membrane time constant, ms.
    gain : {'one', 'one_minus_alpha'}, optional
        Factor on the input: 1, or 1 - exp(-dt/tau).
    bias : bool
        Whether each class has a bias.
    init : tuple of str and float, optional
        Distribution of the initial weights, as for `lif`.

    Returns
    -------
    Readout
    """
    return _spikegrad._readout(dict(classes=classes, logits=logits, tau_ms=tau_ms, gain=gain, bias=bias, init=init))
