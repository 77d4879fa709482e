"""Adam: adaptive moments, with AMSGrad and decoupled weight decay as options (arXiv:1412.6980, 1904.09237)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.optim._blocks import compiled_as
from engine.optim._flat import FlatOptimizer, check_not_negative, check_switches, number
from engine.tensor import Tensor

__all__ = ["Adam", "check_plain_betas"]

_MOMENTS = {"exp_avg": 0.0, "exp_avg_sq": 0.0}
_MOMENTS_AND_MAXIMUM = {**_MOMENTS, "max_exp_avg_sq": 0.0}


def _moments(xp: Any, g: Any, s: Any, m: Any, v: Any, c: tuple) -> None:
    """m and v take in the gradient g."""
    new_part, beta2, new_part_sq = c[:3]
    xp.subtract(g, m, s)
    xp.multiply(s, new_part, s)
    xp.add(m, s, m)
    xp.multiply(g, new_part_sq, s)
    xp.multiply(s, g, s)
    xp.multiply(v, beta2, v)
    xp.add(v, s, v)


def _ratio(xp: Any, s: Any, t: Any, m: Any, v: Any, c: tuple) -> None:
    """s = -step_size * m / (sqrt(v) / root + eps).

    Numerator and denominator are multiplied by root, the square root of the bias correction of v: a pass less.
    """
    eps_root, minus_step_root = c[3:]
    xp.sqrt(v, t)
    xp.add(t, eps_root, t)
    xp.multiply(m, minus_step_root, s)
    xp.divide(s, t, s)


@compiled_as("adam")
def _adam(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    _moments(xp, g, s, state[0], state[1], c)
    _ratio(xp, s, t, state[0], state[1], c)


@compiled_as("amsgrad")
def _amsgrad(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    """Adam with the largest v so far, state[2]."""
    m, v, largest = state
    _moments(xp, g, s, m, v, c)
    xp.maximum(largest, v, out=largest)
    _ratio(xp, s, t, m, largest, c)


class Adam(FlatOptimizer):
    """Adam: steps scaled by running means of the gradient and of its square, both corrected for their start at zero.

    With gradient g at step t: m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
    w = w - lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps).

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        betas: b1 and b2, in [0, 1).
        eps: keeps the denominator from zero.
        weight_decay: adds weight_decay * w to the gradient; with `decoupled_weight_decay`, shrinks w by
            lr * weight_decay instead (AdamW).
        amsgrad: use the largest v so far.
        maximize: go up the gradient.
        foreach, fused: choose between implementations in torch; accepted, the numbers are the same.
        capturable: on a GPU, keep the options and the counts of steps in device memory, where a captured step finds those of
            the day.
        differentiable: must be False.

    State per parameter: "step" (float32, 0-d), "exp_avg" (m), "exp_avg_sq" (v), with amsgrad "max_exp_avg_sq"; dtype
    and shape of the parameter. Half types are computed in float32 and rounded once.

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adam([w], lr=0.1)
    >>> optimizer.zero_grad()
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_switches(type(self).__name__, differentiable, foreach, fused)
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        _check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        if foreach and not capturable and any(isinstance(value, Tensor) for value in (lr, *betas)):
            raise ValueError("lr and betas as a Tensor are not supported for capturable=False and foreach=True")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        return _MOMENTS_AND_MAXIMUM if group["amsgrad"] else _MOMENTS

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        lr, weight_decay = number(group["lr"]), number(group["weight_decay"])
        beta1, beta2 = group["betas"]
        beta1, beta2 = number(beta1), number(beta2)
        root = (1 - beta2**count) ** 0.5
        step_size = lr / (1 - beta1**count)
        constants = (1 - beta1, beta2, 1 - beta2, group["eps"] * root, -step_size * root)
        kernel = _amsgrad if group["amsgrad"] else _adam
        if group["decoupled_weight_decay"]:
            return kernel, 0.0, 1 - lr * weight_decay, constants
        return kernel, weight_decay, 1.0, constants


def _check_betas(betas: tuple) -> None:
    first, second = betas
    for index, beta in enumerate(betas):
        if isinstance(beta, Tensor) and beta.numel() != 1:
            raise ValueError(f"Tensor betas[{index}] must be 1-element, got shape {tuple(beta.shape)}")
        if not 0.0 <= number(beta) < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
    floats = isinstance(first, float) and isinstance(second, float)
    if not floats and not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        raise ValueError(f"betas must be either both floats or both Tensors, got {betas}")


def check_plain_betas(betas: tuple) -> None:
    """ValueError unless both betas are in [0, 1): for the optimizers that take them as numbers only."""
    for index, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
