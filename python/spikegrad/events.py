"""Labelled samples as spikes."""

from __future__ import annotations

import operator
import warnings
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Literal, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from ._arrays import Int64, duration, integers, labels_of, number, positive, samples_of, to_numpy, whole
from ._spikegrad import EventSetHandle, sample_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TimeUnit = Literal["s", "ms", "us", "steps"]
# Units per ms, or ms per unit: a division by 1000 rounds less than a product with 0.001.
_MS = {"s": 1e3, "ms": 1.0, "us": 1.0}
_PER_MS = {"s": 1.0, "ms": 1.0, "us": 1e3}


class Events:
    """Samples as spikes: a data set or a batch.

    Parameters
    ----------
    t : array_like of int
        Time step of each spike, in any order.
    i : array_like of int
        Input neuron of each spike.
    sample : array_like of int
        Sample of each spike.
    labels : array_like of int, optional
        Class of each sample, from 0; -1 where there is none. Without labels, samples can be predicted, but not trained.
    neurons : int
        Number of input neurons, N.
    time_steps : int
        Number of time steps, T.
    samples : int, optional
        Number of samples. By default that of the labels or, without labels, the largest `sample` plus one.

    Notes
    -----
    A spike that is given twice counts once. Maps of inputs are numbered by channel, then row, then column.
    """

    __slots__ = ("_set",)
    _set: EventSetHandle

    def __init__(
        self,
        t: npt.ArrayLike,
        i: npt.ArrayLike,
        sample: npt.ArrayLike,
        labels: Optional[npt.ArrayLike] = None,
        *,
        neurons: int,
        time_steps: int,
        samples: Optional[int] = None,
    ) -> None:
        columns = (integers("t", t), integers("i", i), integers("sample", sample))
        samples = samples_of(samples, columns[2], labels)
        self._set = EventSetHandle.from_columns(
            columns, labels_of(labels, samples), positive("neurons", neurons), positive("time_steps", time_steps)
        )

    @classmethod
    def _of(cls, handle: EventSetHandle) -> "Events":
        events = cls.__new__(cls)
        events._set = handle
        return events

    @classmethod
    def from_dense(
        cls, x: npt.ArrayLike, labels: Optional[npt.ArrayLike] = None, *, order: Literal["BTN", "TBN"] = "BTN"
    ) -> "Events":
        """Spikes from a dense array.

        Parameters
        ----------
        x : array_like
            Array of zeros and ones, [B, T, N] or [B, T, channels, height, width].
        labels : array_like of int, optional
            Class of each sample.
        order : {'BTN', 'TBN'}
            Whether the first axis is the sample, or the time step, as snnTorch and SpikingJelly have it.

        Returns
        -------
        Events
        """
        array = to_numpy("x", x)
        if order not in ("BTN", "TBN"):
            raise ValueError(f"order = {order!r}: must be 'BTN' or 'TBN'")
        if array.ndim < 3:
            raise ValueError(f"x has the shape {array.shape}, expected [samples, time steps, neurons]")
        if array.dtype.kind != "b" and not ((array == 0) | (array == 1)).all():
            raise ValueError("x has values other than 0 and 1; threshold it, or encode it with Events.latency or Events.rate")
        if order == "TBN":
            array = array.swapaxes(0, 1)
        samples, steps, neurons = array.shape[0], array.shape[1], int(np.prod(array.shape[2:]))
        sample, t, i = np.nonzero(array.reshape(samples, steps, neurons))
        return cls(t, i, sample, labels, neurons=neurons, time_steps=steps, samples=samples)

    @classmethod
    def from_times(
        cls,
        times: npt.ArrayLike,
        i: npt.ArrayLike,
        sample: npt.ArrayLike,
        labels: Optional[npt.ArrayLike] = None,
        *,
        neurons: int,
        time_steps: int,
        dt_ms: float = 1.0,
        unit: TimeUnit = "ms",
        samples: Optional[int] = None,
    ) -> "Events":
        """Spikes from times: each in the nearest time step, as files are read.

        Parameters
        ----------
        times : array_like
            Time of each spike.
        i, sample, labels, neurons, time_steps, samples
            As for `Events`.
        dt_ms : float
            Length of a time step, ms.
        unit : {'s', 'ms', 'us', 'steps'}
            Unit of `times`.

        Returns
        -------
        Events

        Warns
        -----
        UserWarning
            Spikes outside of the time steps are dropped.
        """
        time_steps = positive("time_steps", time_steps)
        t = _steps(times, dt_ms, unit)
        neuron, owner = integers("i", i), integers("sample", sample)
        samples = samples_of(samples, owner, labels)
        if len(t) == len(neuron) == len(owner):
            inside = (t >= 0) & (t < time_steps)
            if not inside.all():
                _warn_dropped(len(t) - int(inside.sum()), len(t), time_steps)
                t, neuron, owner = t[inside], neuron[inside], owner[inside]
        return cls(t, neuron, owner, labels, neurons=neurons, time_steps=time_steps, samples=samples)

    @classmethod
    def from_tonic(
        cls,
        recordings: Iterable[Any],
        *,
        shape: Tuple[int, ...],
        time_steps: int,
        dt_ms: float = 1.0,
        unit: TimeUnit = "us",
        polarity: Literal["merged", "separate"] = "separate",
        limit: Optional[int] = None,
    ) -> "Events":
        """Spikes from a data set of tonic, or from its structured arrays.

        Parameters
        ----------
        recordings : iterable of tuple
            Pairs of a structured array and a label, as the data sets of tonic yield, or structured arrays alone. Fields are
            found by their names ``t``, ``x``, ``y`` and ``p``, of any type and in any order; ``y`` and ``p`` may be missing.
        shape : tuple of int
            Size of the sensor as in tonic, (width, height, polarities) or (width,).
        time_steps : int
            Number of time steps, T.
        dt_ms : float
            Length of a time step, ms.
        unit : {'s', 'ms', 'us', 'steps'}
            Unit of ``t``; tonic's data sets have microseconds.
        polarity : {'merged', 'separate'}
            Whether both polarities of a pixel share an input neuron, or each has a map of its own.
        limit : int, optional
            Read this many recordings only.

        Returns
        -------
        Events
            Input neurons are numbered by polarity, row and column.
        """
        if polarity not in ("merged", "separate"):
            raise ValueError(f"polarity = {polarity!r}: must be 'merged' or 'separate'")
        time_steps = positive("time_steps", time_steps)
        if not (isinstance(shape, Sequence) and 1 <= len(shape) <= 3):
            raise ValueError(f"shape = {shape}: must be (width,), (width, height) or (width, height, polarities)")
        if limit is not None:
            limit = positive("limit", limit)
        width, height, polarities = (tuple(positive("shape", extent) for extent in shape) + (1, 1))[:3]
        maps = polarities if polarity == "separate" else 1
        parts: list[tuple[Int64, Int64, Int64]] = []
        labels: list[int] = []
        dropped = total = 0
        for k, recording in enumerate(recordings):
            if limit is not None and k >= limit:
                break
            events, label = recording if isinstance(recording, tuple) else (recording, -1)
            t, i = _fields(k, np.asarray(events), (width, height, polarities), maps, dt_ms, unit)
            inside = (t >= 0) & (t < time_steps)
            dropped, total = dropped + int((~inside).sum()), total + len(t)
            parts.append((t[inside], i[inside], np.full(int(inside.sum()), k, np.int64)))
            try:
                labels.append(operator.index(label))
            except TypeError:
                raise TypeError(f"recording {k} has the label {label!r}, expected an integer") from None
        if dropped:
            _warn_dropped(dropped, total, time_steps)
        none = np.zeros(0, np.int64)
        t, i, sample = (np.concatenate([none, *(part[column] for part in parts)]) for column in range(3))
        return cls(t, i, sample, labels, neurons=maps * height * width, time_steps=time_steps)

    @classmethod
    def latency(
        cls, images: npt.ArrayLike, labels: Optional[npt.ArrayLike] = None, *, time_steps: int = 100, dt_ms: float = 1.0
    ) -> "Events":
        """Images as spike latencies, as the presets for Fashion-MNIST have them: a pixel spikes once, earlier if it is brighter.

        Parameters
        ----------
        images : array_like
            [B, ...], integers from 0 to 255 or floats from 0 to 1.
        labels : array_like of int, optional
            Class of each image.
        time_steps : int
            Number of time steps, T.
        dt_ms : float
            Length of a time step, ms.

        Returns
        -------
        Events
        """
        steps = positive("time_steps", time_steps)
        pixels = np.rint(_intensities(images) * 255).astype(np.uint8)
        return cls._of(EventSetHandle.from_latency(pixels, labels_of(labels, len(pixels)), steps, duration("dt_ms", dt_ms)))

    @classmethod
    def rate(
        cls,
        images: npt.ArrayLike,
        labels: Optional[npt.ArrayLike] = None,
        *,
        time_steps: int = 100,
        rate: float = 0.1,
        seed: int = 0,
    ) -> "Events":
        """Images as random spikes: in each time step a pixel spikes with a probability of its intensity times `rate`.

        Parameters
        ----------
        images : array_like
            [B, ...], integers from 0 to 255 or floats from 0 to 1.
        labels : array_like of int, optional
            Class of each image.
        time_steps : int
            Number of time steps, T.
        rate : float
            Spikes per time step of a pixel of intensity 1, 0 to 1.
        seed : int
            Seed of the random numbers.

        Returns
        -------
        Events
        """
        time_steps = positive("time_steps", time_steps)
        if not 0 <= number("rate", rate) <= 1:
            raise ValueError(f"rate = {rate}: must be 0 to 1")
        probability = rate * _intensities(images)
        samples, neurons = probability.shape
        rng = np.random.default_rng(whole("seed", seed))
        parts = [np.nonzero(rng.random((time_steps, neurons)) < image) for image in probability]
        t = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, np.int64)
        i = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.int64)
        sample = np.repeat(np.arange(samples), [len(part[0]) for part in parts])
        return cls(t, i, sample, labels, neurons=neurons, time_steps=time_steps, samples=samples)

    @classmethod
    def concatenate(cls, sets: Sequence["Events"]) -> "Events":
        """The samples of several sets, one after the other."""
        for k, events in enumerate(sets):
            if not isinstance(events, Events):
                raise TypeError(f"sets[{k}] is of the type {type(events).__name__}, expected Events")
        if not sets:
            raise ValueError("there are no sets to concatenate")
        extents = {(events.neurons, events.time_steps) for events in sets}
        if len(extents) > 1:
            raise ValueError(f"the sets have different extents (neurons, time steps): {sorted(extents)}")
        first = np.cumsum([0] + [len(events) for events in sets])
        columns = [events.columns() for events in sets]
        t, i = (np.concatenate([column[k] for column in columns]) for k in (0, 1))
        sample = np.concatenate([column[2] + start for column, start in zip(columns, first)])
        labels = np.concatenate([events.labels for events in sets])
        return cls(t, i, sample, labels, neurons=sets[0].neurons, time_steps=sets[0].time_steps)

    @property
    def neurons(self) -> int:
        """Number of input neurons, N."""
        return self._set.neurons

    @property
    def time_steps(self) -> int:
        """Number of time steps, T."""
        return self._set.time_steps

    @property
    def labels(self) -> Int64:
        """Class of each sample, [B]; -1 where there is none."""
        return self._set.labels

    @property
    def shape(self) -> Tuple[int, int, int]:
        """Samples, time steps and neurons: the shape of `dense`."""
        return len(self), self.time_steps, self.neurons

    @property
    def num_spikes(self) -> int:
        """Number of spikes of all samples."""
        return self._set.spikes

    def columns(self) -> Tuple[Int64, Int64, Int64]:
        """Time step, neuron and sample of each spike, sorted by sample, time step and neuron."""
        return self._set.columns()

    def dense(self) -> npt.NDArray[np.uint8]:
        """The samples as an array of zeros and ones, [B, T, N]."""
        return self._set.dense()

    def with_labels(self, labels: Optional[npt.ArrayLike]) -> "Events":
        """The same samples with other labels."""
        return self._of(self._set.with_labels(labels_of(labels, len(self))))

    def shuffled(self, seed: int = 0, epoch: int = 1) -> "Events":
        """The samples in the random order in which an epoch of training sees them."""
        return self._of(self._set.gather(_order(seed, epoch, len(self))))

    def batches(self, size: int, *, seed: Optional[int] = None, epoch: int = 1) -> Iterator["Events"]:
        """The samples in batches; the last one may be smaller.

        Parameters
        ----------
        size : int
            Samples per batch.
        seed : int, optional
            Shuffle the samples as `shuffled` does.
        epoch : int
            Number of the epoch, from 1; each has another order.

        Yields
        ------
        Events
        """
        size = positive("size", size)
        n = len(self)
        order = np.arange(n) if seed is None else _order(seed, epoch, n)
        for start in range(0, n, size):
            yield self._of(self._set.gather(order[start : start + size]))

    def split(self, fraction: float, *, seed: int = 0) -> Tuple["Events", "Events"]:
        """Two random parts; the second has this fraction of the samples."""
        if not 0 < number("fraction", fraction) < 1:
            raise ValueError(f"fraction = {fraction}: must be between 0 and 1")
        held = round(fraction * len(self))
        if held in (0, len(self)):
            raise ValueError(f"a fraction of {fraction} of {len(self)} samples leaves one part empty")
        order = _order(seed, 0, len(self))
        return self[np.sort(order[held:])], self[np.sort(order[:held])]

    def __len__(self) -> int:
        return len(self._set)

    def __getitem__(self, index: Any) -> "Events":
        """The samples that an integer, a slice, a mask or an array of indices selects."""
        if isinstance(index, slice):
            chosen = np.arange(len(self))[index]
        else:
            array = to_numpy("index", index)
            if array.dtype.kind == "b":
                if array.shape != (len(self),):
                    raise IndexError(f"the mask has the shape {array.shape}, there are {len(self)} samples")
                chosen = np.flatnonzero(array)
            else:
                chosen = integers("index", np.atleast_1d(array))
                chosen = np.where(chosen < 0, chosen + len(self), chosen)
        return self._of(self._set.gather(np.ascontiguousarray(chosen, np.int64)))

    def __iter__(self) -> Iterator["Events"]:
        return (self[k] for k in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Events):
            return NotImplemented
        pairs = zip((*self.columns(), self.labels), (*other.columns(), other.labels))
        return self.shape == other.shape and all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Tuple[Any, ...]:
        return _restored, (self.columns(), self.labels, self.neurons, self.time_steps)

    def __repr__(self) -> str:
        samples, steps, neurons = self.shape
        return f"Events({samples} samples, {steps} time steps, {neurons} neurons, {self.num_spikes} spikes)"

    def plot(self, ax: Optional["Axes"] = None, sample: int = 0, **style: Any) -> "Axes":
        """Draws the spikes of a sample with matplotlib; returns the axes."""
        from .plot import scatter

        t, i, _ = self[sample].columns()
        return scatter(ax, t, i, self.time_steps, self.neurons, **style)


def _order(seed: int, epoch: int, samples: int) -> Int64:
    return sample_order(whole("seed", seed), whole("epoch", epoch), samples)


def _restored(columns: Tuple[Int64, Int64, Int64], labels: Int64, neurons: int, time_steps: int) -> Events:
    return Events(*columns, labels, neurons=neurons, time_steps=time_steps)


def _steps(times: Any, dt_ms: float, unit: TimeUnit) -> Int64:
    """Times as the nearest time steps, the even one of two, as files are read."""
    array = to_numpy("times", times)
    if array.ndim != 1:
        raise ValueError(f"times has the shape {array.shape}, expected 1 axis")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("times has NaN or infinite values")
    if unit == "steps":
        return integers("times", array)
    if unit not in _MS:
        raise ValueError(f"unit = {unit!r}: must be 's', 'ms', 'us' or 'steps'")
    dt_ms = duration("dt_ms", dt_ms)
    steps = np.rint(array.astype(np.float64) * _MS[unit] / _PER_MS[unit] / dt_ms)
    return np.clip(steps, -1, 2.0**62).astype(np.int64)


def _warn_dropped(dropped: int, total: int, time_steps: int) -> None:
    warnings.warn(
        f"{dropped} of {total} spikes are outside of the {time_steps} time steps and were dropped", stacklevel=3
    )


def _fields(
    k: int, events: npt.NDArray[Any], sensor: Tuple[int, int, int], maps: int, dt_ms: float, unit: TimeUnit
) -> Tuple[Int64, Int64]:
    """Time steps and input neurons of a recording in a structured array."""
    names = events.dtype.names
    if names is None or not {"t", "x"} <= set(names):
        found = f"fields {', '.join(names)}" if names else f"dtype {events.dtype}"
        raise TypeError(f"recording {k} has the {found}, expected a structured array with the fields t, x and maybe y, p")
    width, height, polarities = sensor
    column = {"x": np.zeros(0, np.int64)}
    for name, end in (("x", width), ("y", height), ("p", polarities)):
        values = events[name] if name in names else np.zeros(len(events), np.int64)
        values = values.astype(np.int64) if values.dtype.kind == "b" else integers(name, values)
        if name == "p" and polarities == 1:
            values = np.zeros_like(values)
        if values.size and not (0 <= values.min() and values.max() < end):
            raise ValueError(
                f"recording {k}: {name} goes from {values.min()} to {values.max()}, but shape allows 0 to {end - 1}"
            )
        column[name] = values
    polarity = column["p"] if maps > 1 else 0
    return _steps(events["t"], dt_ms, unit), (polarity * height + column["y"]) * width + column["x"]


def _intensities(images: Any) -> npt.NDArray[np.float64]:
    """Images as [B, pixels] of 0 to 1."""
    array = to_numpy("images", images)
    if array.ndim < 2:
        raise ValueError(f"images has the shape {array.shape}, expected [samples, ...]")
    flat = array.reshape(len(array), int(np.prod(array.shape[1:])))
    scale = 1.0 if array.dtype.kind in "fb" else 255.0
    if flat.size and not (0 <= flat.min() and flat.max() <= scale):
        low, high = flat.min(), flat.max()
        raise ValueError(f"images of {array.dtype} go from {low} to {high}, expected 0 to {scale:g}")
    return flat / scale
