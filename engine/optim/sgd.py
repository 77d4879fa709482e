"""SGD: stochastic gradient descent, with momentum and Nesterov momentum as options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine import backend
from engine.coo import Coo
from engine.errors import not_supported
from engine.optim._blocks import compiled_as
from engine.optim._flat import FlatOptimizer, check_not_negative, check_switches, number
from engine.tensor import Tensor

__all__ = ["SGD"]

_NOTHING: dict[str, float] = {}
_MOMENTUM = {"momentum_buffer": 0.0}


@compiled_as("sgd")
def _plain(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    xp.multiply(g, c[0], s)


def _first(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    xp.copyto(state[0], g)
    xp.multiply(g, c[0], s)


@compiled_as("sgd_momentum")
def _heavy_ball(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    buffer = state[0]
    minus_lr, momentum, new_part = c
    xp.multiply(buffer, momentum, buffer)
    xp.multiply(g, new_part, s)
    xp.add(buffer, s, buffer)
    xp.multiply(buffer, minus_lr, s)


def _look_ahead(xp: Any, g: Any, s: Any, buffer: Any, minus_lr: Any, momentum: Any) -> None:
    xp.multiply(buffer, momentum, s)
    xp.add(g, s, s)
    xp.multiply(s, minus_lr, s)


@compiled_as("sgd_nesterov")
def _nesterov(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    _heavy_ball(xp, g, s, t, state, c)
    _look_ahead(xp, g, s, state[0], c[0], c[1])


def _first_nesterov(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    xp.copyto(state[0], g)
    _look_ahead(xp, g, s, state[0], c[0], c[1])


class SGD(FlatOptimizer):
    """Stochastic gradient descent: w = w - lr * g, with momentum w = w - lr * b where b = momentum * b + g.

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        momentum: part of the buffer b that is kept at each step.
        dampening: b takes in (1 - dampening) * g; not at the first step, where b is g.
        weight_decay: adds weight_decay * w to the gradient.
        nesterov: step by g + momentum * b (Sutskever et al. 2013, in the form that torch uses).
        maximize: go up the gradient.
        foreach, fused: choose between implementations in torch; accepted, the numbers are the same.
        differentiable: must be False.

    State per parameter: "momentum_buffer" (b) when there is momentum, otherwise nothing.

    Raises:
        ValueError: a hyperparameter out of range; `nesterov` without momentum or with dampening.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.8000, -1.6000], requires_grad=True)
    """

    _counted = False

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_switches(type(self).__name__, differentiable, foreach, fused)
        check_not_negative("learning rate", lr)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening, "
                f"got momentum={momentum}, dampening={dampening}"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _update_sparse(self, p: Tensor, grad: Coo, group: dict[str, Any]) -> None:
        if group["momentum"] or group["weight_decay"]:
            raise not_supported("SGD with momentum or weight decay on sparse gradients", "use SparseAdam, or dense gradients.")
        rows = grad.coalesce(backend.namespace(p._array))
        step = number(group["lr"]) * rows.values
        p._array[tuple(rows.indices)] += step if group["maximize"] else -step

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        return _MOMENTUM if group["momentum"] != 0 else _NOTHING

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        minus_lr, weight_decay, momentum = -number(group["lr"]), number(group["weight_decay"]), group["momentum"]
        if momentum == 0:
            return _plain, weight_decay, 1.0, (minus_lr,)
        if fresh:
            kernel = _first_nesterov if group["nesterov"] else _first
        else:
            kernel = _nesterov if group["nesterov"] else _heavy_ball
        return kernel, weight_decay, 1.0, (minus_lr, momentum, 1 - group["dampening"])
