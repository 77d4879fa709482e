"""Losses by our kernels, with their reduction: cross entropy and nll_loss of rows, and those of pairs of elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from .card import Aux, Kernel, contiguous
from .kernels import MOST_BLOCKS, NULL, THREADS, launch, over_elements, over_rows, suffix, usable, wide
from .reductions import finish

_I64 = np.dtype(np.int64)


def _sizes(rows: int, cols: int) -> tuple:
    return np.int64(rows), np.int32(cols)


def _rows(x: Any, target: Any, weight: Any) -> str | None:
    """The ending of kernel names for a matrix of rows with class indices, without weights; otherwise None."""
    fits = x.ndim == 2 and x.size and target.ndim == 1 and target.dtype == _I64 and weight is None
    return suffix(x.dtype) if fits else None


def _reduced(losses: Any, target: Any, dtype: Any, reduction: str, ignored: int) -> tuple:
    """(losses under a reduction, in the element type of the input; the number of rows that counted, for the mean)."""
    if reduction == "none":
        return losses.astype(dtype, copy=False), None
    gpu = backend.gpu()
    out, count = gpu.empty((), dtype), gpu.empty((), losses.dtype) if reduction == "mean" else None
    launch(f"sum_of_losses_{suffix(dtype)}", (1,), (1024,), losses, target, out, NULL if count is None else count,
           np.int64(losses.size), np.int64(ignored))
    return out, count


class CrossEntropyRows(Kernel):
    """`cross_entropy` of a matrix of logits with class indices, without weights and smoothing."""

    def forward(self, x: Any, target: Any, weight: Any, reduction: str, ignored: int, smoothing: float) -> Any:
        end = None if smoothing else _rows(x, target, weight)
        if end is None:
            return NotImplemented
        gpu, (rows, cols) = backend.gpu(), x.shape
        x, target = contiguous(gpu, x), contiguous(gpu, target)
        losses, logs = (gpu.empty(rows, wide(x.dtype)) for _ in range(2))
        over_rows(f"cross_entropy_{end}", rows, cols, x, target, losses, logs, *_sizes(rows, cols), np.int64(ignored))
        out, count = _reduced(losses, target, x.dtype, reduction, ignored)
        return out, Aux((logs, count))

    def backward(self, node: Any, g: Any) -> Any:
        if type(node.aux) is not Aux:
            return NotImplemented
        (x, target, _), (logs, count), ignored = node.raw_inputs, node.aux, node.params[1]
        gpu, (rows, cols), end = backend.gpu(), x.shape, suffix(x.dtype)
        x, target, g = contiguous(gpu, x), contiguous(gpu, target), contiguous(gpu, g.astype(x.dtype, copy=False))
        dx = gpu.empty(x.shape, x.dtype)
        over_rows(f"cross_entropy_backward_{end}", rows, cols, x, target, logs, g, NULL if count is None else count, dx,
                  *_sizes(rows, cols), np.int64(ignored), np.int32(g.ndim == 0))
        return dx, None, None


class NllRows(Kernel):
    """`nll_loss` of a matrix of log probabilities with class indices, without weights."""

    def forward(self, x: Any, target: Any, weight: Any, reduction: str, ignored: int) -> Any:
        end = _rows(x, target, weight)
        if end is None:
            return NotImplemented
        gpu, (rows, cols) = backend.gpu(), x.shape
        target, losses = contiguous(gpu, target), gpu.empty(rows, wide(x.dtype))
        over_elements(f"nll_{end}", rows, contiguous(gpu, x), target, losses, *_sizes(rows, cols), np.int64(ignored))
        out, count = _reduced(losses, target, x.dtype, reduction, ignored)
        return out, Aux((target, count, x.shape))

    def backward(self, node: Any, g: Any) -> Any:
        if type(node.aux) is not Aux:
            return NotImplemented
        (target, count, shape), ignored, gpu = node.aux, node.params[1], backend.gpu()
        dx = gpu.empty(shape, g.dtype)
        over_elements(f"nll_backward_{suffix(g.dtype)}", dx.size, contiguous(gpu, g), target,
                      NULL if count is None else count, dx, *_sizes(*shape), np.int64(ignored), np.int32(g.ndim == 0))
        return dx, None, None


class PairLoss(Kernel):
    """A loss of inputs and targets of one shape and type, with its reduction. `even`: it depends on their difference alone."""

    def __init__(self, name: str, even: bool = True) -> None:
        self.name, self.even = name, even

    def forward(self, x: Any, t: Any, *params: Any) -> Any:
        if not self.even and params[0] is not None:  # binary_cross_entropy_with_logits with weights of the positive
            return NotImplemented
        reduction, *more = params if self.even else params[1:]
        end = usable(x, t)
        if end is None or x.shape != t.shape or not x.size:
            return NotImplemented
        gpu, p = backend.gpu(), np.float64(more[0] if more else 0)
        if reduction == "none":
            out = gpu.empty(x.shape, x.dtype)
            over_elements(f"{self.name}_{end}", x.size, x, t, out, NULL, np.int64(x.size), p)
            return out, x.size
        blocks = min(-(-x.size // (4 * THREADS)), MOST_BLOCKS // 2)
        parts = gpu.empty(blocks, wide(x.dtype))
        launch(f"{self.name}_{end}", (blocks,), (THREADS,), x, t, NULL, parts, np.int64(x.size), p)
        return finish(parts, gpu.empty((), x.dtype), 1 / x.size if reduction == "mean" else 1.0), x.size

    def backward(self, node: Any, g: Any) -> Any:
        x, t, *weight = node.raw_inputs
        (reduction, *more), gpu, end = node.params, backend.gpu(), usable(x, t)
        odd = node.needs[1] and not self.even
        if odd or end is None or g.dtype != x.dtype or x.shape != t.shape or any(w is not None for w in weight):
            return NotImplemented
        dx = gpu.empty(x.shape, x.dtype)
        over_elements(f"{self.name}_backward_{end}", x.size, x, t, contiguous(gpu, g), dx, np.int64(x.size),
                      np.float64(more[0] if more else 0), np.float64(1 / x.size if reduction == "mean" else 1.0),
                      np.int32(g.ndim == 0))
        return (dx if node.needs[0] else None, gpu.negative(dx) if node.needs[1] else None, *[None] * (len(node.needs) - 2))
