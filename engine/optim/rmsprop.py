"""RMSprop: steps divided by a running root mean square of the gradient (Hinton's lectures; arXiv:1308.0850)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.optim._blocks import compiled_as
from engine.optim._flat import FlatOptimizer, check_not_negative, check_switches, number
from engine.tensor import Tensor

__all__ = ["RMSprop"]

# (momentum, centered) -> what is remembered
_QUANTITIES = {
    (False, False): {"square_avg": 0.0},
    (True, False): {"square_avg": 0.0, "momentum_buffer": 0.0},
    (False, True): {"square_avg": 0.0, "grad_avg": 0.0},
    (True, True): {"square_avg": 0.0, "momentum_buffer": 0.0, "grad_avg": 0.0},
}


def _take_in(xp: Any, g: Any, s: Any, square_avg: Any, c: tuple) -> None:
    alpha, new_part = c[1], c[2]
    xp.multiply(square_avg, alpha, square_avg)
    xp.multiply(g, new_part, s)
    xp.multiply(s, g, s)
    xp.add(square_avg, s, square_avg)


def _deviation(xp: Any, g: Any, s: Any, t: Any, square_avg: Any, grad_avg: Any, c: tuple) -> None:
    """t = sqrt(mean of squares - square of the mean) + eps."""
    xp.subtract(g, grad_avg, s)
    xp.multiply(s, c[2], s)
    xp.add(grad_avg, s, grad_avg)
    xp.multiply(grad_avg, grad_avg, s)
    xp.subtract(square_avg, s, t)
    xp.sqrt(t, t)
    xp.add(t, c[3], t)


def _root(xp: Any, t: Any, square_avg: Any, eps: Any) -> None:
    xp.sqrt(square_avg, t)
    xp.add(t, eps, t)


def _step(xp: Any, g: Any, s: Any, t: Any, minus_lr: Any) -> None:
    xp.multiply(g, minus_lr, s)
    xp.divide(s, t, s)


def _step_with_momentum(xp: Any, g: Any, s: Any, t: Any, buffer: Any, c: tuple) -> None:
    xp.multiply(buffer, c[4], buffer)
    xp.divide(g, t, s)
    xp.add(buffer, s, buffer)
    xp.multiply(buffer, c[0], s)


@compiled_as("rmsprop")
def _plain(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    _take_in(xp, g, s, state[0], c)
    _root(xp, t, state[0], c[3])
    _step(xp, g, s, t, c[0])


@compiled_as("rmsprop_momentum")
def _momentum(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    _take_in(xp, g, s, state[0], c)
    _root(xp, t, state[0], c[3])
    _step_with_momentum(xp, g, s, t, state[1], c)


@compiled_as("rmsprop_centered")
def _centered(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    _take_in(xp, g, s, state[0], c)
    _deviation(xp, g, s, t, state[0], state[1], c)
    _step(xp, g, s, t, c[0])


@compiled_as("rmsprop_centered_momentum")
def _centered_momentum(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    _take_in(xp, g, s, state[0], c)
    _deviation(xp, g, s, t, state[0], state[2], c)
    _step_with_momentum(xp, g, s, t, state[1], c)


_KERNELS = {
    (False, False): _plain,
    (True, False): _momentum,
    (False, True): _centered,
    (True, True): _centered_momentum,
}


class RMSprop(FlatOptimizer):
    """RMSprop: v = alpha v + (1-alpha) g^2; w = w - lr * g / (sqrt(v) + eps).

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        alpha: part of v that is kept at each step.
        eps: keeps the denominator from zero; added after the root.
        weight_decay: adds weight_decay * w to the gradient.
        momentum: with it, b = momentum * b + g / (sqrt(v) + eps) and w = w - lr * b.
        centered: divide by an estimate of the standard deviation, sqrt(v - m^2), m being the running mean of g.
        maximize: go up the gradient.
        foreach: chooses between implementations in torch; accepted, the numbers are the same.
        capturable: on a GPU, keep the options and the counts of steps in device memory, where a captured step finds those of
            the day.
        differentiable: must be False.

    State per parameter: "step" (float32, 0-d), "square_avg" (v); "momentum_buffer" (b) with momentum, "grad_avg" (m)
    when centered.

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.RMSprop([w], lr=0.1, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.8000, -1.8000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_switches(type(self).__name__, differentiable)
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("alpha value", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        return _QUANTITIES[group["momentum"] > 0, bool(group["centered"])]

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        alpha, momentum = group["alpha"], group["momentum"]
        kernel = _KERNELS[momentum > 0, bool(group["centered"])]
        constants = (-number(group["lr"]), alpha, 1 - alpha, group["eps"], momentum)
        return kernel, number(group["weight_decay"]), 1.0, constants
