"""Rprop: steps of a size of their own per element, which only looks at the sign of the gradient (Riedmiller and Braun,
"A direct adaptive method for faster backpropagation learning: the RPROP algorithm", 1993)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.optim._flat import FlatOptimizer, check_not_negative, check_switches, number
from engine.tensor import Tensor

__all__ = ["Rprop"]


def _rprop(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    previous, size = state
    shrink, grow, smallest, largest = c
    xp.multiply(g, previous, t)
    xp.sign(t, t)
    turned = t < 0
    s[...] = t  # a NaN stays
    xp.copyto(s, shrink, where=turned)
    xp.copyto(s, grow, where=t > 0)
    xp.copyto(s, 1, where=t == 0)
    xp.multiply(size, s, size)
    xp.clip(size, smallest, largest, out=size)
    previous[...] = g
    xp.copyto(previous, 0, where=turned)  # after a turn the element waits for one step
    xp.sign(previous, s)
    xp.multiply(s, size, s)
    xp.negative(s, s)


class Rprop(FlatOptimizer):
    """Rprop: each element moves against the sign of its gradient by a size that grows while the sign stays and shrinks when
    it turns.

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: the sizes at the start; a number or a Tensor of one element.
        etas: factors on a size after a turn (below 1) and without (above 1).
        step_sizes: the smallest and the largest size.
        maximize: go up the gradient.
        foreach: chooses between implementations in torch; accepted, the numbers are the same.
        capturable: on a GPU, keep the options and the counts of steps in device memory, where a captured step finds those of
            the day.
        differentiable: must be False.

    State per parameter: "step" (float32, 0-d), "prev" (the last gradient, 0 after a turn), "step_size".

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Rprop([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_switches(type(self).__name__, differentiable)
        check_not_negative("learning rate", lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        return {"prev": 0.0, "step_size": number(group["lr"])}

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        return _rprop, 0.0, 1.0, (*group["etas"], *group["step_sizes"])
