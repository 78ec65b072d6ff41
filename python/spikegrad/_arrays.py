"""Checks arrays of every kind, and converts them to what the engine takes."""

from __future__ import annotations

import json
import math
from typing import Any, Mapping

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

_INT64_MAX = int(np.iinfo(np.int64).max)
# Without labels, sample indices this far beyond the number of spikes are taken for a mistake, such as columns in a wrong order.
_MANY_SAMPLES = 2**24


def to_numpy(name: str, value: Any) -> npt.NDArray[Any]:
    """An array of numbers from an array, a tensor of torch on the CPU, or nested sequences."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if "bfloat16" in str(value.dtype):
            # NumPy has no such type.
            value = value.float()
    if np.ma.isMaskedArray(value):
        if np.ma.is_masked(value):
            raise ValueError(f"{name} has masked values; fill or remove them")
        value = np.ma.getdata(value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    if array.dtype.kind not in "biuf" or array.dtype.names:
        raise TypeError(f"{name} has the dtype {array.dtype}, expected numbers")
    return array


def integers(name: str, value: Any, ndim: int = 1) -> Int64:
    """A contiguous array of int64 with `ndim` axes."""
    array = to_numpy(name, value)
    if array.ndim != ndim:
        raise ValueError(f"{name} has the shape {array.shape}, expected {ndim} {'axis' if ndim == 1 else 'axes'}")
    if array.size == 0:
        return np.zeros(array.shape, np.int64)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has NaN or infinite values, expected integers")
        times = "for times in ms use Events.from_times, otherwise " if name == "t" else ""
        raise TypeError(f"{name} has the dtype {array.dtype}, expected integers; {times}convert it with astype(int)")
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.max() > _INT64_MAX:
        raise ValueError(f"{name} has the value {array.max()}, which is too large")
    return np.ascontiguousarray(array, np.int64)


def labels_of(value: Any, samples: int) -> Int64:
    """A label per sample; -1, or `None` for all, where there is none."""
    if value is None:
        return np.full(samples, -1, np.int64)
    labels = integers("labels", value)
    if len(labels) != samples:
        raise ValueError(f"there are {len(labels)} labels for {samples} samples")
    return labels


def weights(name: str, value: Any) -> npt.NDArray[np.float32]:
    """A contiguous array of float32."""
    array = to_numpy(name, value)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def whole(name: str, value: Any, least: int = 0) -> int:
    """A whole number from `least` on that fits into 64 bits."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} = {value!r}: must be a whole number")
    if not least <= value <= _INT64_MAX:
        raise ValueError(f"{name} = {value}: must be {least} or more" + (" and below 2^63" if value > least else ""))
    return int(value)


def positive(name: str, value: Any) -> int:
    """A whole number from 1 on."""
    return whole(name, value, 1)


def number(name: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} = {value!r}: must be a number")
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ValueError(f"{name} = {value}: must be a finite number")


def duration(name: str, value: Any) -> float:
    """A positive number."""
    length = number(name, value)
    if length <= 0:
        raise ValueError(f"{name} = {value}: must be a positive number")
    return length


def samples_of(samples: Any, sample: Int64, labels: Any) -> int:
    """The number of samples: as given, else that of the labels, else the largest index plus one."""
    if samples is not None:
        return whole("samples", samples)
    if labels is not None:
        return len(integers("labels", labels))
    last = int(sample.max(initial=-1))
    if last > _MANY_SAMPLES + len(sample):
        raise ValueError(
            f"sample has the value {last}, but there are {len(sample)} spikes; give the number of samples if it is right"
        )
    return last + 1


def _toml(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value)) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{value!r} has characters that are not valid Unicode") from None
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if hasattr(value, "__fspath__"):
        return _toml(str(value))
    raise TypeError(f"a configuration cannot have a value of the type {type(value).__name__}")


def assignments(fields: Mapping[str, Any]) -> list[str]:
    """`FIELD=VALUE` in TOML for each field that is given; `lr` is short for `adam.lr`."""
    full = {"lr": "adam.lr", "weight_decay": "adam.weight_decay"}
    return [f"{full.get(name, name)}={_toml(value)}" for name, value in fields.items() if value is not None]
