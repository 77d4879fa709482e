"""EachOptimizer: the step of optimizers whose state holds numbers per parameter, which flat storage has no place for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine import backend
from engine.autograd.modes import recording
from engine.gpu import capture
from engine.optim._flat import number
from engine.optim._storage import as_real
from engine.optim.optimizer import Optimizer
from engine.tensor import Tensor, wrap

__all__ = ["EachOptimizer", "scalar", "zeros_like"]


def scalar(value: float) -> Tensor:
    """A number that is remembered about a parameter: a 0-d float32 tensor on the CPU, as torch keeps it."""
    return wrap(np.full((), value, np.float32))


def zeros_like(p: Tensor) -> Tensor:
    """Something remembered per element, zero at the start."""
    return wrap(backend.namespace(p._array).zeros_like(p._array))


class EachOptimizer(Optimizer):
    """Base class: takes one parameter after the other. Half types are computed in float32 and rounded once."""

    _complex = True  # complex parameters are taken as pairs of real ones
    _decays = True  # weight decay is done here, not by `_update`
    _decoupled = False  # it shrinks the parameter, and does not go into the gradient, unless the group says otherwise

    def _initial_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """What is remembered about a parameter before its first step, "step" included where steps are counted."""
        raise NotImplementedError

    def _update(self, xp: Any, w: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Update the array `w` (and those in `state`) in place from the gradient `g`, which must not be written to."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

        Args:
            closure: computes the loss (and its gradients) anew; called with gradients enabled.

        Returns: what `closure` returned, or None without one.
        """
        loss = None
        if closure is not None:
            loss = recording(closure)
        if backend.devices_in_use:
            capture.refuse(f"{type(self).__name__}.step()", "the host takes part in it; Adam, AdamW, SGD, RMSprop, Adagrad,"
                           " Adadelta, Adamax and Rprop can be captured.")
        before = backend.hush()  # infinities and NaN pass silently, as in every operator
        try:
            for group in self.param_groups:
                for p in group["params"]:
                    if p._grad is not None:
                        self._step_parameter(p, group)
        finally:
            backend.unhush(before)
        return loss

    def _step_parameter(self, p: Tensor, group: dict[str, Any]) -> None:
        if p.is_complex() and not self._complex:  # type: ignore[attr-defined]
            raise RuntimeError(f"{type(self).__name__} does not support complex parameters (shape={list(p.shape)})")
        entry = self.state[p]
        if not entry:
            entry.update(self._initial_state(p, group))
        if "step" in entry:
            entry["step"]._array[...] += 1
        stored = {name: as_real(tensor._array) for name, tensor in entry.items()}
        narrow = p._array.dtype.itemsize < 4
        state = {name: _wide(array) if narrow else array for name, array in stored.items()}
        w, g = (_wide(a) if narrow else a for a in map(as_real, (p._array, p._grad._array)))  # type: ignore[union-attr]
        if group.get("maximize"):
            g = -g
        decay = number(group["weight_decay"])
        if decay and self._decays:
            if group.get("decoupled_weight_decay", self._decoupled):
                w *= 1 - number(group["lr"]) * decay
            else:
                g = g + w * decay
        self._update(backend.namespace(w), w, g, state, group)
        if narrow:
            p._array[...] = w
            for name, array in stored.items():
                array[...] = state[name]
        p._bump(f"{type(self).__name__}.step")


def _wide(array: Any) -> Any:
    return array.astype(np.float32)
