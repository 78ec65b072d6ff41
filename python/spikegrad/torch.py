"""A module of PyTorch whose forward and backward pass run in spikegrad."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from ._spikegrad import Config, Network
from .events import Events
from .model import Model


class SparseSNN(torch.nn.Module):
    """A spiking network with PyTorch's parameters: any of its optimisers and losses trains it.

    Parameters
    ----------
    network : Network, Config or str
        As for `Model`.
    device : str, optional
        The device that computes, as for `Model`. Parameters and logits may be on any device of PyTorch; they are copied.
    seed : int, optional
        Seed of the initial weights.
    **fields
        Changes to the configuration, such as ``method="sparse"``.

    Notes
    -----
    The parameters are called ``w0``, ``b0``, ``w1``, ...: the weights [N_in, N_out] (a convolution: [filters, channels, kernel,
    kernel]), recurrent weights [N_out, N_out] (``r0``) and biases [N_out] of each layer. The gradient has that of the network's
    activity regularisers, which the loss in PyTorch does not show; networks have none unless they are given some. There is no
    gradient with respect to the input, since spikes between those of the input are not computed.

    Examples
    --------
    >>> import torch, spikegrad as sg
    >>> from spikegrad.torch import SparseSNN
    >>> module = SparseSNN(sg.Network(40, 30, [sg.lif(50)], sg.readout(2, "sum")), device="cpu")
    >>> optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    >>> logits = module(torch.zeros(8, 30, 40))
    >>> torch.nn.functional.cross_entropy(logits, torch.zeros(8, dtype=torch.long)).backward()
    >>> optimiser.step()
    """

    def __init__(
        self,
        network: Union[Network, Config, str],
        *,
        device: Optional[str] = None,
        seed: Optional[int] = None,
        **fields: Any,
    ) -> None:
        super().__init__()
        self._model = Model(network, device=device, seed=seed, **fields)
        # The names of parameters cannot have dots.
        self._names = {name: name.replace(".", "") for name in self._model.state_dict()}
        for name, array in self._model.state_dict().items():
            self.register_parameter(self._names[name], torch.nn.Parameter(torch.from_numpy(array)))

    @property
    def network(self) -> Network:
        """The network."""
        return self._model.network

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Union[Events, torch.Tensor, Any]) -> torch.Tensor:
        """The logits of samples.

        Parameters
        ----------
        x : Events or Tensor
            Samples; tensors as for `Events.from_dense`, [B, T, N].

        Returns
        -------
        Tensor, [B, C]
        """
        if isinstance(x, torch.Tensor) and x.requires_grad:
            raise ValueError("the input requires a gradient, which is not defined for spikes; detach it")
        events = x if isinstance(x, Events) else Events.from_dense(x)
        parameters = [getattr(self, short) for short in self._names.values()]
        logits: torch.Tensor = _Pass.apply(self._model, list(self._names), events, *parameters)
        return logits

    def to_model(self) -> Model:
        """A `Model` with the weights that the parameters have now."""
        model = Model(self._model.config)
        model.load_state_dict({name: getattr(self, short) for name, short in self._names.items()})
        return model

    def extra_repr(self) -> str:
        return repr(self._model)


class _Pass(torch.autograd.Function):
    """Forward and backward in the engine."""

    @staticmethod
    def forward(ctx: Any, model: Model, names: List[str], events: Events, *parameters: torch.Tensor) -> torch.Tensor:
        ctx.run = (model, names, events)
        ctx.save_for_backward(*parameters)
        ctx.number, logits = _run(model, names, events, parameters)
        first = parameters[0]
        return torch.from_numpy(logits).to(device=first.device, dtype=first.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Tuple[Optional[torch.Tensor], ...]:
        model, names, events = ctx.run
        parameters: Tuple[torch.Tensor, ...] = ctx.saved_tensors
        of_logits = np.ascontiguousarray(gradient.detach().cpu().numpy(), np.float32)
        found: Optional[Dict[str, Any]] = model._engine.backward(ctx.number, of_logits)
        if found is None:
            # The engine has computed something else since, and has forgotten this pass.
            number, _ = _run(model, names, events, parameters)
            found = model._engine.backward(number, of_logits)
            assert found is not None
        weights = (
            torch.from_numpy(found[name]).to(device=parameter.device, dtype=parameter.dtype)
            for name, parameter in zip(names, parameters)
        )
        return (None, None, None, *weights)


def _run(model: Model, names: List[str], events: Events, parameters: Tuple[torch.Tensor, ...]) -> Tuple[int, Any]:
    """A forward pass with these weights: its number, and the logits."""
    model.load_state_dict(dict(zip(names, parameters)))
    return model._engine.forward(events._set)
