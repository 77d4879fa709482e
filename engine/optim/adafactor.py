"""Adafactor: steps scaled by a mean square of the gradient that is kept by rows and columns (arXiv:1804.04235)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from engine import backend
from engine.optim._each import EachOptimizer, scalar, zeros_like
from engine.optim._flat import number
from engine.tensor import Tensor, wrap

__all__ = ["Adafactor"]


def _check(lr: Any, beta2_decay: float, eps: tuple, d: float, weight_decay: float) -> None:
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element, got shape {tuple(lr.shape)}")
    if not number(lr) >= 0.0:
        raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
    if not beta2_decay <= 0.0:
        raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
    if eps[0] is not None and not eps[0] >= 0.0:
        raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
    if not eps[1] >= 0.0:
        raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
    if not d >= 1.0:
        raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
    if not weight_decay >= 0.0:
        raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")


def _root_mean_square(xp: Any, x: Any) -> float:
    return float(xp.sqrt(xp.square(x).mean())) if x.size else 0.0


class Adafactor(EachOptimizer):
    """Adafactor: divides the gradient by a root mean square that matrices keep in factored form, so that state stays small.

    With v the mean square (of a matrix: the outer product of row and column means, over the mean of the former), taken in
    with weight t**beta2_decay at step t, u = g / sqrt(max(v, eps1**2)), and rms the root mean square of all elements:
    w = w - max(eps2, rms(w)) * min(lr, 1 / sqrt(t)) * u / max(1, rms(u) / d).

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: the largest step relative to the size of the parameter; a number or a Tensor of one element.
        beta2_decay: how fast the weight of a new gradient falls; not positive.
        eps: (eps1, eps2); eps1 None stands for the machine epsilon of the dtype that is computed in.
        d: updates with a larger root mean square are scaled down to it; at least 1.
        weight_decay: shrinks w by lr * weight_decay before the step.
        foreach: chooses between implementations in torch; accepted, the numbers are the same.
        maximize: go up the gradient.

    State per parameter: "step" (float32, 0-d); "row_var" and "col_var" for two or more dimensions, otherwise "variance".

    Raises:
        ValueError: a hyperparameter out of range.
        RuntimeError: a complex parameter.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adafactor([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.8419, -1.8419], requires_grad=True)
    """

    _decays, _complex = False, False

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        _check(lr, beta2_decay, eps, d, weight_decay)
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _initial_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        if p.ndim < 2:
            return {"step": scalar(0.0), "variance": zeros_like(p)}
        shape, xp = tuple(p.shape), backend.namespace(p._array)
        rows, columns = (*shape[:-1], 1), (*shape[:-2], 1, shape[-1])
        made = {name: wrap(xp.zeros(s, p._array.dtype)) for name, s in (("row_var", rows), ("col_var", columns))}
        return {"step": scalar(0.0), **made}

    def _update(self, xp: Any, w: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr, count, (eps1, eps2) = number(group["lr"]), float(state["step"]), group["eps"]
        eps1 = float(np.finfo(w.dtype).eps) if eps1 is None else eps1
        new_part = count ** group["beta2_decay"]
        step = max(eps2, _root_mean_square(xp, w)) * min(lr, count**-0.5)
        if group["weight_decay"]:
            w *= 1 - lr * group["weight_decay"]
        squares = g * g
        if g.ndim < 2:
            variance = state["variance"]
            variance += new_part * (squares - variance)
            estimate = variance
        else:
            rows, columns = state["row_var"], state["col_var"]
            rows += new_part * (squares.mean(axis=-1, keepdims=True) - rows)
            columns += new_part * (squares.mean(axis=-2, keepdims=True) - columns)
            estimate = rows * columns / xp.maximum(rows.mean(axis=-2, keepdims=True), eps1)
        update = g / xp.sqrt(xp.maximum(estimate, eps1 * eps1))
        w -= update * (step / max(1.0, _root_mean_square(xp, update) / group["d"]))
