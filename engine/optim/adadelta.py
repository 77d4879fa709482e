"""Adadelta: steps whose size is the ratio of two running root mean squares (arXiv:1212.5701)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.optim._blocks import compiled_as
from engine.optim._flat import FlatOptimizer, check_not_negative, check_switches, number
from engine.tensor import Tensor

__all__ = ["Adadelta"]

_AVERAGES = {"square_avg": 0.0, "acc_delta": 0.0}


@compiled_as("adadelta")
def _adadelta(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    square_avg, acc_delta = state
    minus_lr, rho, new_part, eps = c
    xp.multiply(square_avg, rho, square_avg)
    xp.multiply(g, new_part, s)
    xp.multiply(s, g, s)
    xp.add(square_avg, s, square_avg)
    xp.add(square_avg, eps, t)
    xp.sqrt(t, t)
    xp.add(acc_delta, eps, s)
    xp.sqrt(s, s)
    xp.divide(s, t, s)
    xp.multiply(s, g, s)
    xp.multiply(acc_delta, rho, acc_delta)
    xp.multiply(s, new_part, t)
    xp.multiply(t, s, t)
    xp.add(acc_delta, t, acc_delta)
    xp.multiply(s, minus_lr, s)


class Adadelta(FlatOptimizer):
    """Adadelta: v = rho v + (1-rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) * g; u = rho u + (1-rho) d^2; w = w - lr d.

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: factor on the step; a number or a Tensor of one element.
        rho: part of the running means that is kept at each step, in [0, 1].
        eps: keeps the roots from zero.
        weight_decay: adds weight_decay * w to the gradient.
        maximize: go up the gradient.
        foreach: chooses between implementations in torch; accepted, the numbers are the same.
        capturable: on a GPU, keep the options and the counts of steps in device memory, where a captured step finds those of
            the day.
        differentiable: must be False.

    State per parameter: "step" (float32, 0-d), "square_avg" (v), "acc_delta" (u).

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adadelta([w], eps=0.01)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.6877, -1.6848], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_switches(type(self).__name__, differentiable)
        check_not_negative("learning rate", lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative("epsilon value", eps)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        return _AVERAGES

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        rho = group["rho"]
        constants = (-number(group["lr"]), rho, 1 - rho, group["eps"])
        return _adadelta, number(group["weight_decay"]), 1.0, constants
