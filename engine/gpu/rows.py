"""Softmax, layer norm, rms norm and group norm by our row kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from .card import Aux, Kernel, contiguous
from .kernels import NULL, launch, over_rows, suffix, usable, wide

_MOST_COLUMNS = 1 << 20


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
            launch(f"layer_norm_columns_{end}", _slices(rows, cols), (32, 8), g, x, mean, rstd,
                   *(NULL if t is None else t for t in (dw, db)), *_sizes(rows, cols))
        return dx, dw, db


class RMSNormRows(Kernel):
    """`rms_norm` over rows of any number of dimensions."""

    def forward(self, x: Any, w: Any, sizes: tuple, eps: float) -> Any:
        end, cols = suffix(x.dtype), math.prod(sizes)
        if end is None or not x.size or (w is not None and usable(w) != end):
            return NotImplemented
        gpu = backend.gpu()
        x, rows = contiguous(gpu, x), x.size // cols
        out, rstd = gpu.empty(x.shape, x.dtype), gpu.empty(rows, wide(x.dtype))
        over_rows(f"rms_norm_{end}", rows, cols, x, NULL if w is None else w, out, rstd, *_sizes(rows, cols), np.float64(eps))
        return out, Aux((rstd,))

    def backward(self, node: Any, g: Any) -> Any:
        if type(node.aux) is not Aux or node.raw_inputs[0] is None:
            return NotImplemented
        (x, w), (rstd,), needs = node.raw_inputs, node.aux, node.needs
        gpu, cols, end = backend.gpu(), math.prod(node.params[0]), suffix(g.dtype)
        g, x, rows = contiguous(gpu, g), contiguous(gpu, x), x.size // cols
        dx = dw = None
        if needs[0]:
            dx = gpu.empty(x.shape, x.dtype)
            over_rows(f"rms_norm_backward_{end}", rows, cols, g, x, NULL if w is None else w, rstd, dx, *_sizes(rows, cols))
        if needs[1]:
            dw = gpu.zeros(node.params[0], rstd.dtype)
            launch(f"layer_norm_columns_{end}", _slices(rows, cols), (32, 8), g, x, NULL, rstd, dw, NULL, *_sizes(rows, cols))
        return dx, dw


class GroupNormRows(Kernel):
    """`group_norm`: a row is a group of channels of a sample."""

    def forward(self, x: Any, w: Any, b: Any, groups: int, eps: float) -> Any:
        end = suffix(x.dtype)
        if end is None or not x.size or any(t is not None and usable(t) != end for t in (w, b)):
            return NotImplemented
        gpu, rows = backend.gpu(), x.shape[0] * groups
        x, cols = contiguous(gpu, x), x.size // rows
        out, mean, rstd = gpu.empty(x.shape, x.dtype), *(gpu.empty(rows, wide(x.dtype)) for _ in range(2))
        over_rows(f"group_norm_{end}", rows, cols, x, *[NULL if t is None else t for t in (w, b)], out, mean, rstd,
                  *_sizes(rows, cols), *_groups(x, groups), np.float64(eps))
        return out, Aux((mean, rstd))

    def backward(self, node: Any, g: Any) -> Any:
        if type(node.aux) is not Aux or node.raw_inputs[0] is None:
            return NotImplemented
        (x, w, _), (mean, rstd), needs, groups = node.raw_inputs, node.aux, node.needs, node.params[0]
        gpu, end, (samples, channels) = backend.gpu(), suffix(g.dtype), x.shape[:2]
        g, x, rows = contiguous(gpu, g), contiguous(gpu, x), samples * groups
        dx = dw = db = None
        if needs[0]:
            dx = gpu.empty(x.shape, x.dtype)
            over_rows(f"group_norm_backward_{end}", rows, x.size // rows, g, x, NULL if w is None else w, mean, rstd, dx,
                      *_sizes(rows, x.size // rows), *_groups(x, groups))
        if needs[1] or needs[2]:
            dw, db = (gpu.empty(channels, g.dtype) if need else None for need in needs[1:])
            launch(f"group_norm_channels_{end}", (channels,), (256,), g, x, mean, rstd,
                   *[NULL if t is None else t for t in (dw, db)],
                   np.int64(samples), np.int32(channels), *_groups(x, groups))
        return dx, dw, db


def _groups(x: Any, groups: int) -> tuple:
    """The number of groups, and of elements to a channel of a sample."""
    return np.int32(groups), np.int32(x.size // (x.shape[0] * x.shape[1]))


def _slices(rows: int, cols: int) -> tuple[int, int]:
    """The grid of sums over rows: blocks of 32 columns, and slices of rows enough to fill the GPU."""
    return -(-cols // 32), max(1, min(-(-rows // 64), 2048 // -(-cols // 32) or 1))
