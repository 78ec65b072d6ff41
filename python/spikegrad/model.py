"""A network that can be trained."""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _arrays
from ._arrays import Int64, assignments, number, positive
from ._spikegrad import Config, EngineHandle, Network, Raster, _from_nir, _to_nir
from .data import Data
from .events import Events

Array = npt.NDArray[np.float32]
Samples = Union[Events, npt.ArrayLike]
Record = Dict[str, Any]


def preset(name: str, *, paper: bool = False, **fields: Any) -> Config:
    """The configuration of a preset.

    Parameters
    ----------
    name : str
        ``fmnist``, ``fmnist-conv``, ``fmnist-deep``, ``nmnist``, ``shd``, ``shd-recurrent``, or a file
        ending in .toml that names one.
    paper : bool
        Whether to take the settings of the paper, rather than those that train better.
    **fields
        Changes, such as ``epochs=3``, ``lr=1e-3`` or ``**{"network.readout.logits": "sum"}``.

    Returns
    -------
    Config
    """
    return Config.load(name, paper).with_fields(assignments(fields))


@dataclass(frozen=True)
class Evaluation:
    """Result on a test set.

    Attributes
    ----------
    accuracy : float
        Fraction of samples that are classified correctly.
    correct, samples : int
        Number of samples that are classified correctly, and of all samples.
    loss : float
        Mean loss of a sample, without the regularisers.
    confusion : ndarray of int, [C, C]
        Number of samples by label and predicted class.
    spike_density : list of float
        Spikes / (samples · T · N) of each spiking layer.
    """

    accuracy: float
    correct: int
    samples: int
    loss: float
    confusion: Int64
    spike_density: List[float]


@dataclass(frozen=True)
class LayerActivity:
    """What a spiking layer did.

    Attributes
    ----------
    spikes : ndarray of int, [spikes, 3]
        Sample, time step and neuron of each spike.
    v : ndarray, [B, T, N]
        Membrane potentials.
    active : ndarray of int, [entries, 3]
        Sample, time step and neuron of each active entry, where the gradient is not 0.
    """

    spikes: Int64
    v: Array
    active: Int64


@dataclass(frozen=True)
class Activity:
    """What a network did.

    Attributes
    ----------
    layers : list of LayerActivity
        The hidden layers, then a readout that counts spikes.
    readout_v : ndarray, [B, T, C]
        Potentials of the readout; [B, 0, C] if it counts spikes.
    logits : ndarray, [B, C]
        Logits.
    """

    layers: List[LayerActivity]
    readout_v: Array
    logits: Array


class Model:
    """A network on a device, with weights.

    Parameters
    ----------
    network : Network, Config or str
        What to train: a network, a configuration, or the name of a preset.
    device : str, optional
        ``"auto"`` (a GPU if there is one, else the CPU), ``"cpu"``, ``"gpu"`` or ``"gpu:N"``.
    seed : int, optional
        Seed of the initial weights and of the order of the samples.
    tune : bool
        Whether a GPU first measures which of its kernels are the fastest for this network and batch size, as the command line
        does; the outcome is kept in the user's cache folder.
    **fields
        Changes to the configuration, such as ``batch=128``, ``lr=1e-3`` or ``method="sparse"``.

    Attributes
    ----------
    classes_ : ndarray of int, [C]
        The classes.
    history_ : list of dict
        The record of each epoch of the last call of `fit`: ``epoch``, ``loss``, ``train_accuracy``, ``test_accuracy`` (on the
        validation samples), ``spike_density``, ``train_seconds`` and more.
    best_epoch_ : int or None
        The epoch with the best accuracy on the validation samples.

    Notes
    -----
    A model can be used by one thread at a time; a call from another one raises ``RuntimeError`` at once.
    """

    history_: List[Record]
    best_epoch_: Optional[int]

    def __init__(
        self,
        network: Union[Network, Config, str],
        *,
        device: Optional[str] = None,
        seed: Optional[int] = None,
        tune: bool = False,
        **fields: Any,
    ) -> None:
        if isinstance(network, str):
            network = preset(network)
        config = network if isinstance(network, Config) else Config(network)
        config = config.with_fields(assignments({"device": device, "seed": seed, **fields}))
        self._begin(EngineHandle(config, None, tune), config)

    def _begin(self, engine: EngineHandle, config: Config) -> None:
        self._engine = engine
        self._config = config
        self._class_names: List[str] = []
        self.history_ = []
        self.best_epoch_ = None

    @property
    def network(self) -> Network:
        """The network."""
        return self._config.network

    @property
    def config(self) -> Config:
        """The configuration; the arguments of `fit` change it."""
        return self._config

    @property
    def device(self) -> Dict[str, str]:
        """Description of the device: ``kind``, ``name`` and ``detail``."""
        return self._engine.info

    @property
    def classes_(self) -> Int64:
        return np.arange(self.network.classes)

    def _batch(self, batch: Optional[int]) -> int:
        return int(self._config.to_dict()["batch"]) if batch is None else positive("batch", batch)

    def fit(
        self,
        x: Union[Samples, Data],
        labels: Optional[npt.ArrayLike] = None,
        *,
        validation: Union[Samples, Tuple[Samples, npt.ArrayLike], float, None] = None,
        epochs: Optional[int] = None,
        batch: Optional[int] = None,
        lr: Optional[float] = None,
        patience: Optional[int] = None,
        restore_best: bool = False,
        folder: Optional[Union[str, "os.PathLike[str]"]] = None,
        resume: bool = False,
        callbacks: Sequence[Any] = (),
        progress: Optional[bool] = None,
        class_names: Sequence[str] = (),
        **fields: Any,
    ) -> "Model":
        """Trains the network.

        Parameters
        ----------
        x : Events, array_like or Data
            Training samples; arrays as for `Events.from_dense`. `Data` has validation samples, too.
        labels : array_like of int, optional
            Class of each sample, if `x` has none.
        validation : Events, tuple of array_like, or float, optional
            Samples on which accuracy is measured after each epoch, or the fraction of `x` that is held out for it. By default
            it is measured on the training samples.
        epochs, batch : int, optional
            Number of epochs, and of samples per batch.
        lr : float, optional
            Learning rate, which falls to 0 by default (``**{"schedule.kind": "constant"}`` keeps it).
        patience : int, optional
            Stop after this many epochs without a better accuracy.
        restore_best : bool
            Whether to end with the weights of the best epoch rather than those of the last.
        folder : path, optional
            Keep checkpoints, metrics and the configuration in this folder; `spikegrad eval` and `Model.load` read it.
        resume : bool
            Whether to continue the interrupted run, in `folder` or in memory, with the same arguments. The result has the same
            bits as that of a run without interruption.
        callbacks : sequence
            Functions that are called with the record of each epoch, or objects with some of the methods ``on_start``,
            ``on_step``, ``on_epoch`` and ``on_warning``. If one of them returns True after an epoch, training stops.
            ``on_step`` is called at most every 20 ms and after the last step of an epoch, not for each step.
        progress : bool, optional
            Whether to show a progress bar, which needs tqdm. By default on terminals and in notebooks.
        class_names : sequence of str
            Names of the classes.
        **fields
            Changes to the configuration, by their full names (docs/configuration.md): ``warmup_epochs=1``.

        Returns
        -------
        Model
            The model itself.

        Notes
        -----
        Training starts from the model's weights. Only those of a new model are rescaled, if the configuration says so
        (``initial_spikes``); `reset` makes it new. Ctrl-C stops between steps; the weights stay as they are then.
        """
        if isinstance(class_names, str):
            raise TypeError(f"class_names = {class_names!r}: must be a sequence with a name for each class")
        changes = {"epochs": epochs, "batch": batch, "lr": lr, "patience": patience, **fields}
        config = self._config.with_fields(assignments(changes))
        shape: Optional[Tuple[int, int, int]] = None
        name: Optional[str] = None
        if isinstance(x, Data):
            if labels is not None or validation is not None:
                raise ValueError("Data has labels and validation samples of its own")
            name, shape, class_names = x.name, x.shape, class_names or x.class_names
            held = x.validation if x.validation is not None else x.test
            train, same = x.train, x.config
        else:
            train, held, same = _samples(x, labels), None, None
            if isinstance(validation, (int, float, np.number)):
                if not 0 < validation < 1:
                    raise ValueError(f"validation = {validation}: must be samples, or a fraction between 0 and 1")
                train, held = train.split(float(validation))
            elif isinstance(validation, tuple):
                held = _samples(*validation)
            elif validation is not None:
                held = _samples(validation)
        if same is None or not _same_data(config, same):
            # The folder of the run holds the data, since no preset names them.
            config = config._for_own_samples()
        elif folder is not None:
            # What `spikegrad eval FOLDER` reads must be these data.
            read = {field: value for field, value in same.to_dict()["data"].items() if value is not None}
            config = config.with_fields(assignments({"data": read}))
        if folder is not None and not os.fspath(folder):
            raise ValueError("folder is empty: name a folder")
        observer = _Observer(callbacks, _show(progress))
        options = {
            "folder": None if folder is None else os.path.abspath(folder),
            "resume": resume,
            "restore_best": restore_best,
            "name": name,
            "class_names": list(class_names),
            "shape": shape,
        }
        try:
            ended = self._engine.fit(config, train._set, (train if held is None else held)._set, options, observer)
        finally:
            observer.close()
            if observer.started:
                if folder is not None:
                    self.history_ = _metrics(folder)
                else:
                    self.history_ = (self.history_ if resume else []) + observer.history
                self.best_epoch_ = _best_epoch(self.history_)
        self._class_names = list(class_names) or self._class_names
        self.best_epoch_ = ended["best_epoch"]
        return self

    def evaluate(self, x: Samples, labels: Optional[npt.ArrayLike] = None, *, batch: Optional[int] = None) -> Evaluation:
        """Classifies labelled samples.

        Parameters
        ----------
        x : Events or array_like
            Samples.
        labels : array_like of int, optional
            Class of each sample, if `x` has none.
        batch : int, optional
            Samples per batch.

        Returns
        -------
        Evaluation
        """
        events = _labelled(_samples(x, labels))
        rows, loss, spikes = self._engine.evaluate(events._set, self._batch(batch))
        confusion = np.array(rows, np.int64)
        samples, correct = len(events), int(np.trace(confusion))
        neurons = [layer["neurons"] for layer in _spiking(self.network)]
        density = [n / (samples * events.time_steps * width) for n, width in zip(spikes, neurons)]
        return Evaluation(correct / samples, correct, samples, loss, confusion, density)

    def score(self, x: Samples, labels: Optional[npt.ArrayLike] = None) -> float:
        """The fraction of samples that are classified correctly."""
        return self.evaluate(x, labels).accuracy

    def decision_function(self, x: Samples, *, batch: Optional[int] = None) -> Array:
        """The logits of each sample, [B, C]."""
        events = _samples(x)
        if not len(events):
            raise ValueError("there are no samples")
        return self._engine.logits(events._set, self._batch(batch))[0]

    def predict(self, x: Samples, *, batch: Optional[int] = None) -> Int64:
        """The class of each sample, [B]: that of the first largest logit."""
        classes: Int64 = np.argmax(self.decision_function(x, batch=batch), axis=1)
        return classes

    def predict_proba(self, x: Samples, *, batch: Optional[int] = None) -> npt.NDArray[np.float64]:
        """The probability of each class, [B, C]: the softmax of the logits."""
        logits = self.decision_function(x, batch=batch).astype(np.float64)
        exp: npt.NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances: npt.NDArray[np.float64] = exp / exp.sum(axis=1, keepdims=True)
        return chances

    def spikes(self, x: Samples) -> Activity:
        """What each layer does. The potentials are dense arrays, so give it few samples at a time.

        Parameters
        ----------
        x : Events or array_like
            Samples.

        Returns
        -------
        Activity
        """
        seen = self._engine.inspect(_samples(x)._set)
        layers = [LayerActivity(layer["spikes"], layer["v"], layer["active"]) for layer in seen["layers"]]
        return Activity(layers, seen["readout_v"], seen["logits"])

    def gradient(self, x: Samples, labels: Optional[npt.ArrayLike] = None) -> Tuple[float, Dict[str, Array]]:
        """The loss of samples, and its gradient.

        Parameters
        ----------
        x : Events or array_like
            Samples, few at a time.
        labels : array_like of int, optional
            Class of each sample, if `x` has none.

        Returns
        -------
        loss : float
            Mean loss per sample, with the regularisers.
        gradient : dict of ndarray
            Its gradient, by the names of `state_dict`.
        """
        seen = self._engine.inspect(_labelled(_samples(x, labels))._set)
        return seen["loss"], seen["gradient"]

    def step(
        self,
        x: Samples,
        labels: Optional[npt.ArrayLike] = None,
        *,
        lr: Optional[float] = None,
    ) -> Record:
        """Trains one batch with Adam, for loops of your own.

        Parameters
        ----------
        x : Events or array_like
            The batch.
        labels : array_like of int, optional
            Class of each sample, if `x` has none.
        lr : float, optional
            Learning rate; by default that of the configuration.

        Returns
        -------
        dict
            ``loss``, ``accuracy``, ``step``, the loss's terms, and spikes and active entries per layer, before the update.
        """
        adam = self._config.to_dict()["adam"]
        constants = [adam[name] for name in ("lr", "beta1", "beta2", "epsilon", "weight_decay")]
        if lr is not None:
            constants[0] = number("lr", lr)
        return self._engine.step(_labelled(_samples(x, labels))._set, constants)

    def state_dict(self) -> Dict[str, Array]:
        """The weights: ``w.l``, [N_in, N_out] (a convolution: [filters, channels, kernel, kernel]), and ``b.l``, [N_out] or [filters]."""
        return self._engine.weights()

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Replaces the weights, as `state_dict` returns them."""
        if not isinstance(state, Mapping):
            raise TypeError(f"the state is of the type {type(state).__name__}, expected a dictionary of arrays")
        self._engine.set_weights({name: _arrays.weights(name, array) for name, array in state.items()})

    def reset(self, seed: Optional[int] = None) -> "Model":
        """Random weights, as a new model has, from `seed` or the configuration's."""
        config = self._config if seed is None else self._config.with_fields(assignments({"seed": seed}))
        self._engine.reset(int(config.to_dict()["seed"]))
        self._config = config
        self.history_, self.best_epoch_ = [], None
        return self

    def save(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Writes network and weights to a safetensors file, which `load` and ``spikegrad train --weights`` read."""
        self._engine.save(os.path.abspath(path))

    @classmethod
    def load(
        cls,
        path: Union[str, "os.PathLike[str]"],
        *,
        network: Optional[Network] = None,
        device: Optional[str] = None,
        last: bool = False,
    ) -> "Model":
        """The model in the folder of a run, or in a safetensors file.

        Parameters
        ----------
        path : path
            Folder that `fit` or the command line wrote, or a file of `save`.
        network : Network, optional
            The network, for a file of weights that does not have it.
        device : str, optional
            Where to run; by default the device of the run, or ``"auto"``.
        last : bool
            Whether to take the last checkpoint of a run instead of the best one.

        Returns
        -------
        Model
        """
        engine = EngineHandle.load(os.path.abspath(path), device, network, last)
        model = cls.__new__(cls)
        model._begin(engine, engine.config)
        if os.path.isdir(path):
            model._class_names = _stored_names(path)
            model.history_ = _metrics(path)
            model.best_epoch_ = _best_epoch(model.history_)
        return model

    def to_nir(
        self,
        path: Union[str, "os.PathLike[str]"],
        *,
        dt: Optional[float] = None,
        fold_gain: bool = False,
        readout: str = "li",
        force: bool = False,
    ) -> List[str]:
        """Writes the network as a NIR file, which snnTorch, Norse and others read (docs/nir.md).

        Parameters
        ----------
        path : path
            The file.
        dt : float, optional
            Length of a time step that its time constants refer to, in seconds; by default the network's. snnTorch takes 1e-4.
        fold_gain : bool
            Whether to multiply the weights by the gain of LIF nodes, so that their r is 1, which Norse takes for granted.
        readout : str
            ``"li"``: a readout of integrators becomes a LI node; ``"none"``: the graph ends in its weights.
        force : bool
            Whether to write a network that NIR cannot hold exactly; a warning says what was changed.

        Returns
        -------
        list of str
            What other programs make of the file.

        Raises
        ------
        ValueError
            NIR cannot hold the network; the message says what would change.
        """
        changes, notes = _to_nir(
            self._engine, os.path.abspath(path), dt=dt, fold_gain=fold_gain, readout=readout, force=force
        )
        for change in changes:
            warnings.warn(change, stacklevel=2)
        return notes

    @classmethod
    def from_nir(
        cls,
        path: Union[str, "os.PathLike[str]"],
        *,
        dt: Optional[float] = None,
        dt_ms: Optional[float] = None,
        time_steps: Optional[int] = None,
        logits: Optional[str] = None,
        reset: Optional[str] = None,
        device: Optional[str] = None,
        **fields: Any,
    ) -> "Model":
        """The model in a NIR file (docs/nir.md). What had to be assumed is a warning.

        Parameters
        ----------
        path : path
            The file.
        dt : float, optional
            Length of a time step that its time constants refer to, in seconds, if the file does not say it: snnTorch means 1e-4,
            Norse 1e-3, Spyx and Sinabs 1.
        dt_ms : float, optional
            Length of a time step of the samples, if it differs from `dt`.
        time_steps : int, optional
            Time steps of a sample; by default 100, or those of the network that was exported from here.
        logits : str, optional
            ``"max"``, ``"sum"``, ``"mean"`` or ``"last"`` of the potentials of a readout of integrators.
        reset : str, optional
            What a spike does in files before nir 1.0.6: ``"to_value"`` (the default) or ``"subtract"``.
        device : str, optional
            As for `Model`, which takes further `fields` as well.

        Returns
        -------
        Model

        Raises
        ------
        ValueError
            The file is damaged, or a node cannot be imported; the message names it.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path is of the type {type(path).__name__}, expected a file; write a graph with nir.write first")
        network, weights, said = _from_nir(
            os.path.abspath(path), dt=dt, dt_ms=dt_ms, time_steps=time_steps, reset=reset, logits=logits
        )
        for warning in said:
            warnings.warn(warning, stacklevel=2)
        config = Config(network).with_fields(assignments({"device": device, **fields}))
        model = cls.__new__(cls)
        model._begin(EngineHandle(config, weights, False), config)
        return model

    def raster(
        self, x: Samples, labels: Optional[npt.ArrayLike] = None, *, title: Optional[str] = None
    ) -> Raster:
        """The raster plot of one or several samples: spikes of all layers, and potentials of the readout.

        Parameters
        ----------
        x : Events or array_like
            Samples, at most 12.
        labels : array_like of int, optional
            Class of each sample, if `x` has none.
        title : str, optional
            The figure's title.

        Returns
        -------
        Raster
            Notebooks show it as an image; ``save``, ``png``, ``svg`` and `plot_raster` draw it elsewhere.
        """
        events = _labelled(_samples(x, labels))
        if not 1 <= len(events) <= 12:
            raise ValueError(f"{len(events)} samples: a raster shows 1 to 12")
        sizes = "-".join(str(size) for size in self.network.sizes)
        names = [title or f"Sample {k}, {sizes}" for k in range(len(events))]
        return self._engine.raster(events._set, names, self._class_names)

    def __reduce__(self) -> Tuple[Any, ...]:
        weights = None if self._engine.fresh else self.state_dict()
        return _restored, (type(self), self._config, weights, self._class_names, self.history_, self.best_epoch_)

    def __repr__(self) -> str:
        return f"Model({self.network!r} on {self.device['name']})"


def _restored(
    cls: Any,
    config: Config,
    weights: Optional[Dict[str, Array]],
    class_names: List[str],
    history: List[Record],
    best: Optional[int],
) -> Model:
    model: Model = cls.__new__(cls)
    model._begin(EngineHandle(config, weights, False), config)
    model._class_names, model.history_, model.best_epoch_ = class_names, history, best
    return model


def _spiking(network: Network) -> List[Dict[str, Any]]:
    description = network.to_dict()
    readout = description["readout"]
    counting = [{"neurons": readout["classes"]}] if readout["kind"] == "spike_count" else []
    return [*description["hidden"], *counting]


def _samples(x: Any, labels: Optional[npt.ArrayLike] = None) -> Events:
    """Events from events or a dense array."""
    if isinstance(x, Data):
        raise TypeError("Data has several sets of samples; give one of them, such as data.test")
    if isinstance(x, Events):
        return x if labels is None else x.with_labels(labels)
    return Events.from_dense(x, labels)


def _labelled(events: Events) -> Events:
    missing = np.flatnonzero(events.labels < 0)
    if len(missing):
        raise ValueError(f"sample {missing[0]} has no label")
    return events


def _metrics(folder: Union[str, "os.PathLike[str]"]) -> List[Record]:
    """The records of the epochs of a run; of none if it was interrupted in its first."""
    path = os.path.join(folder, "metrics.jsonl")
    try:
        with open(path, encoding="utf-8") as file:
            # A line that is not whole is being written, or its epoch will be trained again.
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ValueError(f"{path}: {error}; put back a whole file, or remove it") from None


def _stored_names(folder: Union[str, "os.PathLike[str]"]) -> List[str]:
    """The names of the classes in the folder of a run on data of one's own: entries of a safetensors header."""
    try:
        with open(os.path.join(folder, "data.safetensors"), "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return list(map(str, json.loads(header["__metadata__"]["class_names"])))
    except (OSError, ValueError, KeyError, TypeError, MemoryError):
        return []


def _best_epoch(history: Sequence[Record]) -> Optional[int]:
    best = max(history, key=lambda record: float(record["test_accuracy"]), default=None)
    return None if best is None else int(best["epoch"])


def _same_data(config: Config, loaded: Config) -> bool:
    """Whether data read with `loaded` are those that `config` names."""
    ours, theirs = config.to_dict(), loaded.to_dict()
    return all(ours[field] == theirs[field] for field in ("preset", "validation"))


def _show(progress: Optional[bool]) -> bool:
    if progress is not None:
        return progress
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class _Observer:
    """Passes the events of a run to the progress bar and to callbacks."""

    def __init__(self, callbacks: Any, progress: bool) -> None:
        self.history: List[Record] = []
        self.started = False
        if callable(callbacks) or any(hasattr(callbacks, name) for name in _EVENTS):
            callbacks = [callbacks]
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks = {callbacks!r}: must be a sequence of functions or objects")
        self._callbacks = list(callbacks)
        self._progress = progress
        self._bar: Any = None
        for callback in self._callbacks:
            if not callable(callback) and not any(hasattr(callback, name) for name in _EVENTS):
                raise TypeError(f"callback {callback!r} is neither a function nor has one of {', '.join(_EVENTS)}")

    def _tell(self, event: str, fields: Record) -> List[Any]:
        methods = (getattr(callback, event, None) for callback in self._callbacks)
        return [method(fields) for method in methods if method is not None]

    def on_start(self, start: Record) -> None:
        self.started = True
        if self._progress:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                pass
            else:
                done = start["epochs_done"] * start["batches"] + start["batches_done"]
                total = start["epochs"] * start["batches"]
                self._bar = tqdm(total=total, initial=done, unit="batch", dynamic_ncols=True)
                self._bar.set_description(f"epoch {start['epochs_done'] + 1}/{start['epochs']}")
        self._tell("on_start", start)

    def on_step(self, step: Record) -> None:
        if self._bar is not None:
            self._bar.update((step["epoch"] - 1) * step["batches"] + step["batch"] - self._bar.n)
            self._bar.set_description(f"epoch {step['epoch']}/{step['epochs']}", refresh=False)
            self._bar.set_postfix(loss=f"{step['loss']:.4f}", accuracy=f"{step['accuracy']:.2%}", refresh=False)
        self._tell("on_step", step)

    def on_epoch(self, record: Record) -> bool:
        self.history.append(record)
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{record['loss']:.4f}", validation=f"{record['test_accuracy']:.2%}")
        stop = [callback(record) for callback in self._callbacks if not hasattr(callback, "on_epoch") and callable(callback)]
        answers = [*stop, *self._tell("on_epoch", record)]
        return any(isinstance(answer, (bool, np.bool_)) and bool(answer) for answer in answers)

    def on_warning(self, text: str) -> None:
        warnings.warn(text, stacklevel=2)
        for callback in self._callbacks:
            if hasattr(callback, "on_warning"):
                callback.on_warning(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


_EVENTS = ("on_start", "on_step", "on_epoch", "on_warning")
