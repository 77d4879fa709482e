"""Softmax, cross entropy and layer norm by our row kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from .card import Aux, Kernel, contiguous
from .kernels import NULL, launch, over_rows, suffix, usable, wide

_MOST_COLUMNS = 1 << 20
_I64 = np.dtype(np.int64)


def _sizes(rows: int, cols: int) -> tuple:
    return np.int64(rows), np.int32(cols)


class SoftmaxRows(Kernel):
    """`_softmax` and `_log_softmax` along the last dimension."""

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, x: Any, dim: int) -> Any:
        end = suffix(x.dtype)
        if end is None or not x.ndim or dim % x.ndim != x.ndim - 1 or not x.size or x.shape[-1] > _MOST_COLUMNS:
            return NotImplemented
        gpu = backend.gpu()
        x = contiguous(gpu, x)
        out, cols = gpu.empty(x.shape, x.dtype), x.shape[-1]
        over_rows(f"{self.name}_{end}", x.size // cols, cols, x, out, *_sizes(x.size // cols, cols))
        return out

    def backward(self, node: Any, g: Any) -> Any:
        y, dim = node.out, node.params[0]
        if not y.ndim or dim % y.ndim != y.ndim - 1 or usable(y) is None or g.dtype != y.dtype or not y.size:
            return NotImplemented
        gpu = backend.gpu()
        g, out, cols = contiguous(gpu, g), gpu.empty(y.shape, y.dtype), y.shape[-1]
        over_rows(f"{self.name}_backward_{usable(y)}", y.size // cols, cols, g, y, out, *_sizes(y.size // cols, cols))
        return (out,)


class LayerNormRows(Kernel):
    """`layer_norm` over rows of any number of dimensions."""

    def forward(self, x: Any, w: Any, b: Any, sizes: tuple, eps: float) -> Any:
        end, cols = suffix(x.dtype), math.prod(sizes)
        if end is None or not x.size or any(t is not None and usable(t) != end for t in (w, b)):
            return NotImplemented
        gpu = backend.gpu()
        x, rows = contiguous(gpu, x), x.size // cols
        out, mean, rstd = gpu.empty(x.shape, x.dtype), *(gpu.empty(rows, wide(x.dtype)) for _ in range(2))
        given = [NULL if t is None else t for t in (w, b)]
        over_rows(f"layer_norm_{end}", rows, cols, x, *given, out, mean, rstd, *_sizes(rows, cols), np.float64(eps))
        return out, Aux((mean, rstd))

    def backward(self, node: Any, g: Any) -> Any:
        if type(node.aux) is not Aux or node.raw_inputs[0] is None:
            return NotImplemented
        (x, w, _), (mean, rstd), needs = node.raw_inputs, node.aux, node.needs
        gpu, cols, end = backend.gpu(), math.prod(node.params[0]), suffix(g.dtype)
        g, x, rows = contiguous(gpu, g), contiguous(gpu, x), x.size // cols
        dx = dw = db = None
        if needs[0]:
            dx = gpu.empty(x.shape, x.dtype)
            over_rows(f"layer_norm_backward_{end}", rows, cols, g, x, NULL if w is None else w, mean, rstd, dx,
                      *_sizes(rows, cols))
        if needs[1] or needs[2]:
            dw, db = (gpu.zeros(node.params[0], mean.dtype) if need else None for need in needs[1:])
            grid = -(-cols // 32), max(1, min(-(-rows // 64), 2048 // -(-cols // 32) or 1))
            launch(f"layer_norm_columns_{end}", grid, (32, 8), g, x, mean, rstd, *(NULL if t is None else t for t in (dw, db)),
                   *_sizes(rows, cols))
        return dx, dw, db


class CrossEntropyRows(Kernel):
    """`cross_entropy` of a matrix of logits with class indices, without weights and smoothing."""

    def forward(self, x: Any, target: Any, weight: Any, reduction: str, ignored: int, smoothing: float) -> Any:
        end = suffix(x.dtype)
        if end is None or x.ndim != 2 or target.ndim != 1 or target.dtype != _I64 or weight is not None or smoothing:
            return NotImplemented
        gpu, (rows, cols) = backend.gpu(), x.shape
        if not rows or not cols:
            return NotImplemented
        x, target = contiguous(gpu, x), contiguous(gpu, target)
        losses, logs = (gpu.empty(rows, wide(x.dtype)) for _ in range(2))
        over_rows(f"cross_entropy_{end}", rows, cols, x, target, losses, logs, *_sizes(rows, cols), np.int64(ignored))
        count = None
        if reduction == "none":
            out = losses
        elif reduction == "sum":
            out = losses.sum()
        else:
            count = (target != ignored).sum(dtype=losses.dtype)
            out = losses.sum() / count
        return out.astype(x.dtype, copy=False), Aux((logs, count))

    def backward(self, node: Any, g: Any) -> Any:
        if type(node.aux) is not Aux:
            return NotImplemented
        (x, target, _), (logs, count), ignored = node.raw_inputs, node.aux, node.params[1]
        gpu, (rows, cols) = backend.gpu(), x.shape
        x, target, end = contiguous(gpu, x), contiguous(gpu, target), suffix(x.dtype)
        g = g.astype(logs.dtype, copy=False)
        g = contiguous(gpu, g if count is None else g / count)
        dx = gpu.empty(x.shape, x.dtype)
        over_rows(f"cross_entropy_backward_{end}", rows, cols, x, target, logs, g, dx, *_sizes(rows, cols),
                  np.int64(ignored), np.int32(g.ndim == 0))
        return dx, None, None
