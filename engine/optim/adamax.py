"""Adamax: Adam with the largest recent gradient in the place of the mean square (arXiv:1412.6980, section 7.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.optim._blocks import compiled_as
from engine.optim._flat import FlatOptimizer, check_not_negative, check_switches, number
from engine.optim.adam import check_plain_betas
from engine.tensor import Tensor

__all__ = ["Adamax"]

_MOMENTS = {"exp_avg": 0.0, "exp_inf": 0.0}


@compiled_as("adamax")
def _adamax(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    m, largest = state
    new_part, beta2, eps, minus_rate = c
    xp.subtract(g, m, s)
    xp.multiply(s, new_part, s)
    xp.add(m, s, m)
    xp.abs(g, t)
    xp.add(t, eps, t)
    xp.multiply(largest, beta2, largest)
    xp.maximum(largest, t, out=largest)
    xp.multiply(m, minus_rate, s)
    xp.divide(s, largest, s)


class Adamax(FlatOptimizer):
    """Adamax: m = b1 m + (1-b1) g; u = max(b2 u, |g| + eps); w = w - lr / (1-b1^t) * m / u.

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        betas: b1 and b2, in [0, 1).
        eps: keeps u from zero.
        weight_decay: adds weight_decay * w to the gradient.
        maximize: go up the gradient.
        foreach: chooses between implementations in torch; accepted, the numbers are the same.
        capturable: on a GPU, keep the options and the counts of steps in device memory, where a captured step finds those of
            the day.
        differentiable: must be False.

    State per parameter: "step" (float32, 0-d), "exp_avg" (m), "exp_inf" (u).

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adamax([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_switches(type(self).__name__, differentiable)
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        check_plain_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        return _MOMENTS

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        beta1, beta2 = group["betas"]
        constants = (1 - beta1, beta2, group["eps"], -number(group["lr"]) / (1 - beta1**count))
        return _adamax, number(group["weight_decay"]), 1.0, constants
