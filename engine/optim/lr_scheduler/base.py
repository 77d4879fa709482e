"""LRScheduler: what all schedulers share, and the small helpers they are written with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.optim.optimizer import Optimizer
from engine.tensor import Tensor, wrap

__all__ = [
    "EPOCH_DEPRECATION_WARNING",
    "LRScheduler",
    "check_optimizer",
    "options_of",
    "per_group",
    "set_option",
    "warn_if_called_directly",
]

EPOCH_DEPRECATION_WARNING = (
    "The epoch argument of `scheduler.step(epoch)` is deprecated: it recomputes the learning rate in closed form where "
    "there is one. Call `scheduler.step()` without it."
)
_STEP_REPLACED = (
    "`optimizer.step()` has been overridden after the learning rate scheduler was made, so the scheduler cannot see "
    "whether it was called. Make sure to call `optimizer.step()` before `lr_scheduler.step()`."
)
_WRONG_ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`: the first value of the learning rate schedule "
    "is skipped. Call them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`."
)


def check_optimizer(optimizer: Any) -> None:
    """TypeError unless `optimizer` is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def own(value: Any) -> Any:
    """A value that nobody else changes: a copy of a Tensor, anything else as it is."""
    return wrap(value._array.copy()) if isinstance(value, Tensor) else value


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value per parameter group: a list or tuple of that many, or one value for all."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [own(value) for _ in range(groups)]
    if len(value) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups: "
            f"{name} has {len(value)} values, param_groups has {groups}."
        )
    return [own(item) for item in value]


def options_of(optimizer: Optimizer, key: str) -> list[Any]:
    """The option `key` of every parameter group; Tensors are copied. KeyError where a group lacks it."""
    return [own(group[key]) for group in optimizer.param_groups]


def set_option(group: dict[str, Any], key: str, value: Any) -> None:
    """Set an option of a parameter group; an option that is a Tensor is filled in place and stays that Tensor."""
    present = group[key]
    if isinstance(present, Tensor):
        present._array.fill(float(value))
        present._bump("lr_scheduler.step")
    else:
        group[key] = value


def warn_if_called_directly(scheduler: LRScheduler) -> None:
    """`get_lr` computes the next step of a recurrence: users want `get_last_lr`."""
    if not scheduler._get_lr_called_within_step:
        warnings.warn(
            "`get_lr()` computes the next learning rate; to get the last one computed by the scheduler, "
            "please use `get_last_lr()`.",
            UserWarning,
            stacklevel=3,
        )


class LRScheduler:
    """Base class: sets "lr" of each parameter group, from `get_lr`, at every `step`.

    Subclasses write `get_lr` (one value per group, from `self.last_epoch`, `self.base_lrs` and the groups' present
    "lr"). The constructor takes step 0, so the first rate is in place before training starts.

    Args:
        optimizer: whose groups are scheduled. Their "lr" is remembered as "initial_lr".
        last_epoch: index of the last epoch done when a run is resumed by hand; -1 to start.

    Raises:
        TypeError: `optimizer` is not an Optimizer.
        KeyError: `last_epoch` is not -1 and a group has no "initial_lr".

    >>> class Halving(torch.optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [base * 0.5 ** self.last_epoch for base in self.base_lrs]
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = Halving(optimizer)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    _get_lr_called_within_step = False
    _is_initial = False
    _last_lr: list[Any]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", own(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{number}] when resuming a scheduler with "
                    f"last_epoch={last_epoch}. HINT: load the optimizer's state_dict first, or start with last_epoch=-1"
                )
        self.base_lrs = options_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        optimizer._step_known_to_scheduler = optimizer.__dict__.get("step")  # type: ignore[attr-defined]
        self._initial_step()

    def _initial_step(self) -> None:
        """Take step 0, in which recurrences keep the rate they find."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything the scheduler remembers, except the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict()`."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The learning rates that the last `step` set, one per parameter group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The learning rates for `self.last_epoch`, one per parameter group; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr().")

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch (or step: the unit is the caller's) and set its learning rates.

        Call it after `optimizer.step()`. Giving `epoch` is deprecated.
        """
        if self._step_count == 1:
            self._warn_about_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _warn_about_order(self) -> None:
        optimizer = self.optimizer
        if optimizer.__dict__.get("step") is not getattr(optimizer, "_step_known_to_scheduler", None):
            warnings.warn(_STEP_REPLACED, UserWarning, stacklevel=3)
        elif not optimizer._opt_called:
            warnings.warn(_WRONG_ORDER, UserWarning, stacklevel=3)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._inside_step():
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            closed_form = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
            values = self.get_lr() if closed_form is None else closed_form()
        self._set_lr(values)

    def _set_lr(self, values: list[Any]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            set_option(group, "lr", value)
        self._last_lr = options_of(self.optimizer, "lr")

    @contextmanager
    def _inside_step(self) -> Iterator[None]:
        """While this is open, `get_lr` is called by the scheduler itself and does not warn."""
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False
