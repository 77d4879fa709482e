"""Averages of weights over training: SWA (Izmailov et al., arXiv:1803.05407) and EMA (Polyak averaging).

Here are the averaging functions and the SWALR schedule. `AveragedModel` and `update_bn` know about modules and live in
`engine/nn/averaging.py`; they are looked up when first named, since optim must not import nn.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine import fast
from engine.autograd.modes import no_grad
from engine.dtypes import float32, float64
from engine.optim.lr_scheduler.base import LRScheduler, per_group, warn_if_called_directly
from engine.optim.optimizer import Optimizer
from engine.pool import LARGE, in_pieces, scratch
from engine.tensor import Tensor

__all__ = ["SWALR", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn"]

_OF_NN = ("AveragedModel", "update_bn")


def __getattr__(name: str) -> Any:
    if name in _OF_NN:
        return getattr(importlib.import_module("engine.nn.averaging"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OF_NN})


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def _move(averages: Sequence[Tensor], currents: Sequence[Tensor], weight: float) -> None:
    """average += weight * (current - average), in place: all tensors in one go, in pieces that stay in cache."""
    pairs = list(zip(averages, currents, strict=True))
    moving = [pair for pair in pairs if pair[0].dtype == pair[1].dtype and pair[0].dtype in (float32, float64)]
    if moving:
        large = sum(average._array.size for average, _ in moving) >= LARGE
        in_pieces(lambda a, b: _move_array(a, b, weight, large), *[[t._array for t in tensors] for tensors in zip(*moving)])
    for average, _ in moving:
        average._bump("lerp_")
    for average, current in pairs:
        if average.dtype in (float32, float64) and average.dtype == current.dtype:
            continue
        average.copy_(average + (current - average) * weight)  # type: ignore[attr-defined, operator]


def _move_array(a: Any, b: Any, weight: float, large: bool) -> None:
    if type(a) is not np.ndarray:
        a += (b - a) * weight
        return
    kernels = fast.kernels("optimizers") if large and fast.fits(a, b) else None
    if kernels is not None:
        kernels.move(a.reshape(-1), b.reshape(-1), np.float32(weight))
        return
    difference = scratch(a.size, a.dtype).reshape(a.shape)
    np.subtract(b, a, out=difference)
    difference *= weight
    a += difference


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """A function of (average, current value, number averaged) that returns decay * average + (1 - decay) * current.

    ValueError for a decay outside [0, 1].

    >>> average = torch.optim.swa_utils.get_ema_avg_fn(0.75)
    >>> average(torch.tensor(1.0), torch.tensor(2.0), 5)
    tensor(1.2500)
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param  # type: ignore[operator]

    return ema_update


def get_swa_avg_fn() -> Callable:
    """A function of (average, current value, number averaged) that returns the mean with the current value taken in.

    >>> average = torch.optim.swa_utils.get_swa_avg_fn()
    >>> average(torch.tensor(1.0), torch.tensor(2.0), 3)
    tensor(1.2500)
    """

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)  # type: ignore[operator]

    return swa_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """Like `get_ema_avg_fn`, for lists of tensors: changes the averages in place.

    >>> averages = [torch.tensor([1.0])]
    >>> torch.optim.swa_utils.get_ema_multi_avg_fn(0.75)(averages, [torch.tensor([2.0])], 5)
    >>> averages
    [tensor([1.2500])]
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], _: Any) -> None:
        _move(ema_param_list, current_param_list, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> Callable:
    """Like `get_swa_avg_fn`, for lists of tensors: changes the averages in place.

    >>> averages = [torch.tensor([1.0])]
    >>> torch.optim.swa_utils.get_swa_multi_avg_fn()(averages, [torch.tensor([2.0])], 3)
    >>> averages
    [tensor([1.2500])]
    """

    @no_grad()
    def swa_update(averaged_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], num_averaged: Any) -> None:
        weight = 1 / (float(num_averaged) + 1)
        _move(averaged_param_list, current_param_list, weight)

    return swa_update


class SWALR(LRScheduler):
    """Brings the learning rates to `swa_lr` over `anneal_epochs`, along a cosine or a line, and keeps them there.

    Args:
        optimizer: whose groups are scheduled.
        swa_lr: the final rate; one number, or one per group.
        anneal_epochs: how many steps it takes; 0 for at once.
        anneal_strategy: "cos" or "linear".
        last_epoch: index of the last epoch done when a run is resumed by hand; -1 to start.

    Raises:
        ValueError: an unknown strategy, negative `anneal_epochs`, or a list of rates that does not fit the groups.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.0, anneal_epochs=4, anneal_strategy="linear")
    >>> for _ in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, swa_lr: float, anneal_epochs: int = 10, anneal_strategy: str = "cos", last_epoch: int = -1
    ) -> None:
        for rate, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t: float) -> float:
        """How far the rates have come after the part `t` of the way, both in [0, 1]."""
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        """The rates of the next step, by way of where the present rates started from."""
        warn_if_called_directly(self)
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        length = max(1, self.anneal_epochs)
        before = self.anneal_func(max(0, min(1, (step - 1) / length)))
        now = self.anneal_func(max(0, min(1, step / length)))
        rates = []
        for group in self.optimizer.param_groups:
            target, present = group["swa_lr"], group["lr"]
            start = target if before == 1 else (present - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
