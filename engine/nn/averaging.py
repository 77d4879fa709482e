"""AveragedModel and update_bn: the parts of `engine.optim.swa_utils` that know about modules."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import engine
from engine.autograd.modes import no_grad
from engine.nn.batchnorm import _BatchNorm
from engine.nn.module import Module
from engine.optim.swa_utils import get_swa_multi_avg_fn
from engine.tensor import Tensor

__all__ = ["AveragedModel", "update_bn"]


class AveragedModel(Module):
    """A copy of a model whose parameters are running averages of the model's.

    The first `update_parameters` copies; later ones average. Buffers are copied, or averaged with `use_buffers`.
    The averaging functions are not part of the `state_dict`; "n_averaged" and the copy ("module.*") are.

    Args:
        model: what is averaged.
        device: where the averages are kept; by default where the model is.
        avg_fn: (average, current, number averaged) -> new average, for one tensor.
        multi_avg_fn: (averages, currents, number averaged) -> None, for lists of tensors of one device and dtype,
            in place. Without either all models have equal weight (SWA).
        use_buffers: average the buffers too.

    Raises:
        AssertionError: both functions given.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = torch.optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 2.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    >>> averaged(torch.ones(1, 1)).item()
    1.5
    """

    n_averaged: Tensor

    def __init__(self, model: Module, device: Any = None, avg_fn: Callable | None = None, multi_avg_fn: Callable | None = None,
                 use_buffers: bool = False) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", engine.tensor(0, dtype=engine.long, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model returns."""
        return self.module(*args, **kwargs)

    def _pairs(self, model: Module) -> list[tuple[Tensor, Tensor]]:
        """(average, current) of everything that is averaged, detached and on one device."""
        mine: Iterable
        theirs: Iterable
        mine, theirs = self.module.parameters(), model.parameters()
        if self.use_buffers:
            mine, theirs = itertools.chain(mine, self.module.buffers()), itertools.chain(theirs, model.buffers())
        return [(a.detach(), b.detach().to(a.device)) for a, b in zip(mine, theirs, strict=True)]

    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of `model` into the averages."""
        pairs = self._pairs(model)
        count = int(self.n_averaged)
        if count == 0:
            for average, current in pairs:
                average.copy_(current)
        elif self.avg_fn is not None:
            for average, current in pairs:
                average.copy_(self.avg_fn(average, current, self.n_averaged.to(average.device)))
        else:
            multi = self.multi_avg_fn or get_swa_multi_avg_fn()
            kinds: dict[tuple, list] = {}
            for average, current in pairs:
                kinds.setdefault((str(average.device), str(average.dtype)), []).append((average, current))
            for same in kinds.values():
                averages, currents = zip(*same, strict=True)
                multi(list(averages), list(currents), self.n_averaged.to(averages[0].device))
        if not self.use_buffers:
            for average, current in zip(self.module.buffers(), model.buffers(), strict=True):
                average.detach().copy_(current.detach().to(average.device))
        self.n_averaged += 1


@no_grad()
def update_bn(loader: Iterable, model: Module, device: Any = None) -> None:
    """Compute the running statistics of a model's BatchNorm layers anew, in one pass over the data.

    Args:
        loader: batches; of a list or tuple the first element is the model's input.
        model: whose statistics are reset and then averaged over all batches with equal weight.
        device: where inputs are moved first.

    >>> model = nn.BatchNorm1d(1)
    >>> torch.optim.swa_utils.update_bn([torch.tensor([[1.0], [3.0]]), torch.tensor([[3.0], [5.0]])], model)
    >>> model.running_mean
    tensor([3.])
    """
    layers = {layer: layer.momentum for layer in model.modules() if isinstance(layer, _BatchNorm)}
    if not layers:
        return
    was_training = model.training
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    for batch in loader:
        batch = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(batch if device is None else batch.to(device))
    for layer, momentum in layers.items():
        layer.momentum = momentum
    model.train(was_training)
