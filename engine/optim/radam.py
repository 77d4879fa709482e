"""RAdam: Adam that waits with its adaptive steps until their variance is known (Liu et al., arXiv:1908.03265)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.optim._blocks import compiled_as
from engine.optim._flat import FlatOptimizer, check_not_negative, check_switches, number
from engine.optim.adam import check_plain_betas
from engine.tensor import Tensor

__all__ = ["RAdam"]

_MOMENTS = {"exp_avg": 0.0, "exp_avg_sq": 0.0}


def _take_in(xp: Any, g: Any, s: Any, state: tuple, c: tuple) -> None:
    m, v = state
    xp.subtract(g, m, s)
    xp.multiply(s, c[0], s)
    xp.add(m, s, m)
    xp.multiply(v, c[1], v)
    xp.multiply(g, c[2], s)
    xp.multiply(s, g, s)
    xp.add(v, s, v)


@compiled_as("moments")
def _plain(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    _take_in(xp, g, s, state, c)
    xp.multiply(state[0], c[4], s)


@compiled_as("adam")
def _adaptive(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    _take_in(xp, g, s, state, c)
    xp.sqrt(state[1], t)
    xp.add(t, c[3], t)
    xp.multiply(state[0], c[4], s)
    xp.divide(s, t, s)


class RAdam(FlatOptimizer):
    """RAdam: with m and v as in Adam, r the length of the running mean of v and r_inf its limit:
    w = w - lr m / (1-b1^t) * sqrt(1-b2^t) / (sqrt(v) + eps) * sqrt((r-4)(r-2) r_inf / ((r_inf-4)(r_inf-2) r)) if r > 5,
    else w = w - lr m / (1-b1^t).

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        betas: b1 and b2, in [0, 1).
        eps: keeps the denominator from zero.
        weight_decay: adds weight_decay * w to the gradient; with `decoupled_weight_decay`, shrinks w by
            lr * weight_decay instead.
        maximize: go up the gradient.
        foreach, capturable: choose between implementations in torch; accepted, the numbers are the same.
        differentiable: must be False.

    State per parameter: "step" (float32, 0-d), "exp_avg" (m), "exp_avg_sq" (v).

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.RAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.8000, -1.6000], requires_grad=True)
    """

    _traceable = False  # the first steps are others than the later ones

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        return _MOMENTS

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        lr, decay = number(group["lr"]), number(group["weight_decay"])
        beta1, beta2 = group["betas"]
        correction = 1 - beta2**count
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * count * beta2**count / correction
        step = -lr / (1 - beta1**count)
        kernel = _plain
        if length > 5:
            kernel = _adaptive
            known = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            step *= (correction * known) ** 0.5
        constants = (1 - beta1, beta2, 1 - beta2, group["eps"], step)
        if group["decoupled_weight_decay"]:
            return kernel, 0.0, 1 - lr * decay, constants
        return kernel, decay, 1.0, constants
