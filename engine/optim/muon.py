"""Muon: momentum whose matrix is made orthogonal before each step (K. Jordan et al. 2024; arXiv:2502.16982)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from engine import dtypes
from engine.ops._blocked import product
from engine.optim._each import EachOptimizer, zeros_like
from engine.optim._flat import number
from engine.tensor import Tensor

__all__ = ["Muon"]

# How the step grows with the shape (rows, columns) of the matrix, by `adjust_lr_fn`.
_ADJUSTMENTS = {
    None: lambda rows, columns: max(1.0, rows / columns) ** 0.5,
    "original": lambda rows, columns: max(1.0, rows / columns) ** 0.5,
    "match_rms_adamw": lambda rows, columns: 0.2 * max(rows, columns) ** 0.5,
}


def _orthogonal(xp: Any, m: Any, coefficients: tuple, steps: int, eps: float) -> Any:
    """A matrix with the singular vectors of `m` and singular values near 1, by Newton-Schulz iteration of fifth order.

    x = a x + (b s + c s s) x with s = x x^T pulls singular values in (0, 1] towards 1; the usual coefficients do so fast and
    not quite, which leaves them between 0.7 and 1.2. As in torch everything is rounded to bfloat16.
    """

    def rounded(array: Any) -> Any:
        return array.astype(dtypes.BF16).astype(np.float32) if xp is np else array.astype(np.float32)

    a, b, c = (np.float32(k) for k in coefficients)
    times = product if xp is np else xp.matmul
    tall = m.shape[0] > m.shape[1]
    x = rounded(m.T if tall else m)
    norm = float(rounded(xp.sqrt(xp.square(x).sum())))
    x = rounded(x / np.float32(max(norm, eps)))
    for _ in range(steps):
        square = rounded(times(x, xp.ascontiguousarray(x.T)))
        x = rounded(a * x + times(rounded(b * square + c * times(square, square)), x))
    return x.T if tall else x


class Muon(EachOptimizer):
    """Muon, for the weight matrices of hidden layers; biases, embeddings and the like want another optimizer.

    m = momentum * m + (1 - momentum) * g; o = the nearest orthogonal matrix to m (with `nesterov`, to the same mean of g and
    m), by Newton-Schulz iteration; w = (1 - lr * weight_decay) * w - lr * f(shape) * o.

    Args:
        params: 2-D parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        weight_decay: shrinks w by lr * weight_decay at each step.
        momentum: part of m that is kept.
        nesterov: look ahead by one more step of momentum.
        ns_coefficients: (a, b, c) of the iteration.
        eps: keeps the norm that m is divided by from zero.
        ns_steps: iterations, below 100.
        adjust_lr_fn: f: "original" (the default) is sqrt(max(1, rows / columns)), "match_rms_adamw" is
            0.2 sqrt(max(rows, columns)).

    State per parameter: "momentum_buffer" (m). The iteration is computed in bfloat16, as torch does.

    Raises:
        ValueError: a hyperparameter out of range, or a parameter that is not a matrix.
        RuntimeError: a complex parameter.

    >>> w = torch.tensor([[1.0, 0.0], [0.0, -2.0]], requires_grad=True)
    >>> optimizer = torch.optim.Muon([w], lr=0.1, weight_decay=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.round(decimals=1)
    tensor([[ 0.9000,  0.0000],
            [ 0.0000, -1.9000]], grad_fn=<RoundBackward0>)
    """

    _decoupled, _complex = True, False

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"Tensor lr must be 1-element, got shape {tuple(lr.shape)}")
        for name, value in (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay)):
            if not number(value) >= 0.0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in _ADJUSTMENTS:
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ValueError(f"Number of steps must be less than 100 for computational efficiency, got {ns_steps}")
        if len(ns_coefficients) != 3:
            raise ValueError(f"Coefficients must be a tuple of exactly 3 values, got {ns_coefficients}")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {tuple(p.shape)}"
                    )

    def _initial_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {"momentum_buffer": zeros_like(p)}

    def _update(self, xp: Any, w: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        momentum, buffer = group["momentum"], state["momentum_buffer"]
        buffer += (1 - momentum) * (g - buffer)
        direction = buffer - (1 - momentum) * (buffer - g) if group["nesterov"] else buffer
        direction = _orthogonal(xp, direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
        w -= number(group["lr"]) * _ADJUSTMENTS[group["adjust_lr_fn"]](*w.shape) * direction.astype(w.dtype)
