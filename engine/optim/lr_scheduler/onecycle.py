"""OneCycleLR: one rise to a high rate and one fall to a very low one, over the whole run (arXiv:1708.07120)."""

from __future__ import annotations

import math
from typing import Any

from engine.optim.lr_scheduler.base import LRScheduler, check_optimizer, per_group, warn_if_called_directly
from engine.optim.lr_scheduler.cyclic import set_momentum, start_momentum_cycle
from engine.optim.optimizer import Optimizer

__all__ = ["OneCycleLR"]


def _anneal_cos(start: float, end: float, part: float) -> float:
    wave = math.cos(math.pi * part) + 1
    return end + (start - end) / 2.0 * wave


def _anneal_linear(start: float, end: float, part: float) -> float:
    return (end - start) * part + start


_ANNEAL = {"cos": _anneal_cos, "linear": _anneal_linear}


def _phase(end_step: float, lr: tuple[str, str], momentum: tuple[str, str]) -> dict[str, Any]:
    """One stretch of the schedule: up to which step, and between which options of the group rate and momentum go."""
    return {
        "end_step": end_step,
        "start_lr": lr[0],
        "end_lr": lr[1],
        "start_momentum": momentum[0],
        "end_momentum": momentum[1],
    }


def _positive_int(name: str, value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"Expected positive integer {name}, but got {value}")
    return value


class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to `max_lr`, then down to max_lr / div_factor / final_div_factor. Step per batch.

    Args:
        max_lr: the highest rate; a number for all groups or a list with one for each.
        total_steps, or epochs and steps_per_epoch: the length of the run, in steps.
        pct_start: the part of the run (a float in [0, 1]) that the rise takes.
        anneal_strategy: "cos" or "linear", the form of rise and fall.
        cycle_momentum, base_momentum, max_momentum: let the momentum ("momentum", or the first of "betas") run the
            other way between these bounds.
        three_phase: rise, symmetric fall to the first rate, then the fall to the last one.

    Raises:
        TypeError: `optimizer` is not an Optimizer.
        ValueError: no or no positive length; `pct_start` or `anneal_strategy` out of range; `cycle_momentum` with an
            optimizer without momentum; more steps than `total_steps`.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> scheduler = torch.optim.lr_scheduler.OneCycleLR(
    ...     optimizer, max_lr=1.0, total_steps=5, pct_start=0.4, anneal_strategy="linear", div_factor=4.0)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        if total_steps is not None:
            self.total_steps = _positive_int("total_steps", total_steps)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = _positive_int("epochs", epochs) * _positive_int("steps_per_epoch", steps_per_epoch)
        else:
            raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in _ANNEAL:
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._schedule_phases = self._plan_phases(pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        max_lrs = per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for highest, group in zip(max_lrs, optimizer.param_groups, strict=True):
                group["initial_lr"] = highest / div_factor
                group["max_lr"] = highest
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            low = per_group("base_momentum", optimizer, base_momentum)
            high = per_group("max_momentum", optimizer, max_momentum)
            self.use_beta1 = start_momentum_cycle(optimizer, low, high, resumed=last_epoch != -1)
        super().__init__(optimizer, last_epoch)

    def _plan_phases(self, pct_start: float, three_phase: bool) -> list[dict[str, Any]]:
        peak = float(pct_start * self.total_steps) - 1
        last = self.total_steps - 1
        phases = [_phase(peak, ("initial_lr", "max_lr"), ("max_momentum", "base_momentum"))]
        if three_phase:
            foot = float(2 * pct_start * self.total_steps) - 2
            phases.append(_phase(foot, ("max_lr", "initial_lr"), ("base_momentum", "max_momentum")))
            phases.append(_phase(last, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum")))
        else:
            phases.append(_phase(last, ("max_lr", "min_lr"), ("base_momentum", "max_momentum")))
        return phases

    def get_lr(self) -> list[Any]:
        """The learning rates for `self.last_epoch`. Also sets the momentum of the groups."""
        warn_if_called_directly(self)
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"Tried to step {step} times. The specified number of total steps is {self.total_steps}")
        start = 0.0
        for phase in self._schedule_phases[:-1]:
            if step <= phase["end_step"]:
                break
            start = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        part = (step - start) / (phase["end_step"] - start)
        anneal = _ANNEAL[self._anneal_func_type]
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(anneal(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                momentum = anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], part)
                set_momentum(group, self.use_beta1, momentum)
        return rates
