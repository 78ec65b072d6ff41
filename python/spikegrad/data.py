"""Data sets in files, as the command line reads them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, List, Optional, Tuple, Union

from . import _spikegrad
from ._arrays import assignments
from ._spikegrad import Config
from .events import Events


@dataclass(frozen=True)
class Data:
    """Training, validation and test samples.

    Attributes
    ----------
    train, test : Events
        Training and test samples.
    validation : Events or None
        Training samples that were held out.
    name : str
        Name of the data set.
    class_names : list of str
        Names of the classes; empty if unknown.
    shape : tuple of int or None
        Channels, height and width of the maps that the inputs form, if they form any.
    origin : str
        What was read, and from where.
    bad : list of str
        Errors of the damaged recordings that were skipped.
    config : Config or None
        The configuration with which the data were read, completed by what they determine.
    """

    train: Events
    test: Events
    validation: Optional[Events] = None
    name: str = "own"
    class_names: List[str] = field(default_factory=list)
    shape: Optional[Tuple[int, int, int]] = None
    origin: str = ""
    bad: List[str] = field(default_factory=list)
    config: Optional[Config] = None


def load(
    config: Union[Config, str] = "events",
    path: Optional[Union[str, "os.PathLike[str]"]] = None,
    *,
    skip_bad: bool = False,
    cache: bool = True,
    **fields: Any,
) -> Data:
    """Reads a data set.

    Parameters
    ----------
    config : Config or str
        A configuration, or the name of a preset: ``fmnist``, ``nmnist``, ``shd`` and their variants, or ``events`` for data of
        your own in any format that the command line reads.
    path : str or path, optional
        File or folder with the data. The published data sets are searched at their usual places by default.
    skip_bad : bool
        Skip damaged recordings, and list them in `Data.bad`, instead of raising an error.
    cache : bool
        Whether to keep the events of recordings in the user's cache folder.
    **fields
        Changes to the configuration: ``time_steps=200`` and ``dt_ms=0.5`` of the network, or any field by its full name, such as
        ``**{"data.polarity": "separate"}``.

    Returns
    -------
    Data
    """
    if isinstance(config, str):
        config = Config.load(config)
    network = {f"network.{name}": fields.pop(name) for name in ("time_steps", "dt_ms") if name in fields}
    config = config.with_fields(assignments({**network, **fields}))
    full, loaded = _spikegrad._load(config, None if path is None else os.path.abspath(path), skip_bad, cache)
    shape = loaded.shape
    return Data(
        train=Events._of(loaded.train),
        test=Events._of(loaded.test),
        validation=None if loaded.validation is None else Events._of(loaded.validation),
        name=loaded.name,
        class_names=loaded.class_names,
        shape=None if shape is None else (shape[0], shape[1], shape[2]),
        origin=loaded.origin,
        bad=loaded.bad,
        config=full,
    )
