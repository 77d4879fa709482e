"""CyclicLR: the rate goes up and down between two bounds (arXiv:1506.01186), the momentum the other way."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from functools import partial
from typing import Any

from engine.optim.lr_scheduler.base import LRScheduler, check_optimizer, per_group, set_option, warn_if_called_directly
from engine.optim.optimizer import Optimizer

__all__ = ["CyclicLR", "set_momentum", "start_momentum_cycle"]


def start_momentum_cycle(optimizer: Optimizer, base: list[float], top: list[float], resumed: bool) -> bool:
    """Put each group's momentum at the top of its cycle; returns whether "momentum" is the first of "betas" here.

    ValueError for an optimizer that has neither option.
    """
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled; "
            f"{type(optimizer).__name__} has neither. HINT: cycle_momentum=False"
        )
    use_beta1 = "betas" in optimizer.defaults
    if not resumed:
        for low, high, group in zip(base, top, optimizer.param_groups, strict=True):
            set_momentum(group, use_beta1, high)
            group["max_momentum"] = high
            group["base_momentum"] = low
    return use_beta1


def set_momentum(group: dict[str, Any], use_beta1: bool, value: float) -> None:
    """Set what plays the part of momentum: "momentum", or the first of "betas"."""
    if use_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


def _triangular(cycle: float) -> float:
    return 1.0


def _triangular2(cycle: float) -> float:
    return 1 / 2.0 ** (cycle - 1)


def _exp_range(gamma: float, iteration: float) -> float:
    return gamma**iteration


class CyclicLR(LRScheduler):
    """From `base_lr` up to `max_lr` in `step_size_up` steps, down again in `step_size_down`, and so on. Step per batch.

    Args:
        base_lr, max_lr: lower and upper bound; a number for all groups or a list with one for each.
        step_size_up, step_size_down: steps of the two halves (down: as up, unless given).
        mode: "triangular" (same height always), "triangular2" (half the height after each cycle), "exp_range" (height
            times gamma ** iteration). Ignored when `scale_fn` is given.
        gamma: for "exp_range".
        scale_fn, scale_mode: own scaling of the height: a function of the cycle's number (scale_mode="cycle", from 1)
            or of the step (scale_mode="iterations").
        cycle_momentum, base_momentum, max_momentum: let the momentum ("momentum", or the first of "betas") run the
            other way between these bounds.

    Raises:
        TypeError: `optimizer` is not an Optimizer.
        ValueError: unknown mode; a list of the wrong length; `cycle_momentum` with an optimizer without momentum.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step(); scheduler.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_option(group, "lr", lr)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                f"mode is invalid and scale_fn is None: got {mode!r}, "
                "expected 'triangular', 'triangular2' or 'exp_range'"
            )
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        self._choose_scale()
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.base_momentums = per_group("base_momentum", optimizer, base_momentum)
            self.max_momentums = per_group("max_momentum", optimizer, max_momentum)
            self.use_beta1 = start_momentum_cycle(
                optimizer, self.base_momentums, self.max_momentums, resumed=last_epoch != -1
            )
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _choose_scale(self) -> None:
        if self._scale_fn_custom is None:
            known: dict[str, tuple[Callable[[float], float], str]] = {
                "triangular": (_triangular, "cycle"),
                "triangular2": (_triangular2, "cycle"),
                "exp_range": (partial(_exp_range, self.gamma), "iterations"),
            }
            self._scale_fn_ref, self.scale_mode = known[self.mode]

    def scale_fn(self, x: float) -> float:
        """The factor on the height of the cycle; `x` is the cycle's number or the step (`scale_mode`)."""
        return self._scale_fn_ref(x) if self._scale_fn_custom is None else self._scale_fn_custom(x)

    def get_lr(self) -> list[Any]:
        """The learning rates for `self.last_epoch`. Also sets the momentum of the groups."""
        warn_if_called_directly(self)
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1.0 + self.last_epoch / self.total_size - cycle
        rising = place <= self.step_ratio
        height = place / self.step_ratio if rising else (place - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            bounds = zip(self.base_momentums, self.max_momentums, self.optimizer.param_groups, strict=True)
            for low, high, group in bounds:
                set_momentum(group, self.use_beta1, high - (high - low) * height * scale)
        return [low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """As LRScheduler.state_dict; a function is not saved, a callable object by its attributes."""
        state = {key: value for key, value in super().state_dict().items() if key != "_scale_fn_ref"}
        custom = state["_scale_fn_custom"]
        saved = custom is not None and not isinstance(custom, types.FunctionType)
        state["_scale_fn_custom"] = custom.__dict__.copy() if saved else None
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict()`; a custom `scale_fn` stays, a callable object gets its attributes back."""
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "_scale_fn_custom"})
        if state_dict["_scale_fn_custom"] is not None:
            self._scale_fn_custom.__dict__.update(state_dict["_scale_fn_custom"])
        self._choose_scale()
