"""Sums and means of contiguous arrays over all, the first or the last dimensions, and log-sum-exp of rows, by our kernels.

CuPy's reductions cost its host some 30 microseconds each, and are slow on bfloat16 and over first dimensions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from .card import Kernel, contiguous
from .kernels import THREADS, launch, over_elements, over_rows, suffix, usable, wide

_MOST_PARTS = 1024  # blocks of a sum of all elements
_LONG = 1 << 16  # elements of a row from which on several blocks share it


def whole(x: Any, scale: float = 1.0) -> Any:
    """The sum of all elements of a contiguous array, times a factor."""
    gpu, end = backend.gpu(), suffix(x.dtype)
    out, blocks = gpu.empty((), x.dtype), max(1, min(-(-x.size // (16 * THREADS)), _MOST_PARTS))
    parts = gpu.empty(blocks, wide(x.dtype))
    launch(f"sum_parts_{end}", (blocks,), (THREADS,), x, parts, np.int64(x.size))
    return finish(parts, out, scale)


def finish(parts: Any, out: Any, scale: float) -> Any:
    """`out`, a 0-d array, with the sum of all parts times a factor."""
    launch(f"sum_of_parts_{suffix(out.dtype)}", (1,), (THREADS,), parts, out, np.int32(parts.size), np.float64(scale))
    return out


def columns(x: Any, rows: int, cols: int, scale: float = 1.0) -> Any:
    """The sums over the rows of a contiguous matrix, times a factor."""
    gpu, end, wide_blocks = backend.gpu(), suffix(x.dtype), -(-cols // 32)
    slices = max(1, min(-(-rows // 64), 2048 // wide_blocks or 1))
    parts, out = gpu.empty((slices, cols), wide(x.dtype)), gpu.empty(cols, x.dtype)
    launch(f"sum_columns_{end}", (wide_blocks, slices), (32, 8), x, parts, np.int64(rows), np.int32(cols))
    over_elements(f"columns_of_parts_{end}", cols, parts, out, np.int32(slices), np.int32(cols), np.float64(scale))
    return out


def total(x: Any, axes: Any, keepdim: bool, scale: float = 1.0) -> Any:
    """The sum over `axes` (None: all) times a factor; NotImplemented where it has no kernel."""
    end, nd = usable(x), x.ndim
    if end is None or not x.size:
        return NotImplemented
    over = tuple(range(nd)) if axes is None else tuple(sorted(a % nd for a in (axes if isinstance(axes, tuple) else (axes,))))
    shape = tuple([1 if i in over else n for i, n in enumerate(x.shape) if keepdim or i not in over])
    if len(over) == nd:
        return whole(x, scale).reshape(shape)
    if over == tuple(range(nd - len(over), nd)) and over:
        cols = math.prod(x.shape[nd - len(over) :])
        rows = x.size // cols
        if cols < _LONG or rows >= 64:
            out = backend.gpu().empty(shape, x.dtype)
            over_rows(f"sum_rows_{end}", rows, cols, x, out, np.int64(rows), np.int32(cols), np.float64(scale))
            return out
    if over == tuple(range(len(over))) and over:
        rows = math.prod(x.shape[: len(over)])
        return columns(x, rows, x.size // rows, scale).reshape(shape)
    return NotImplemented


class Total(Kernel):
    """`sum`, in the element type of the input."""

    def forward(self, x: Any, axes: Any, keepdim: bool, np_dtype: Any) -> Any:
        out = NotImplemented if np_dtype is not None else total(x, axes, keepdim)
        return out if out is NotImplemented else (out, x.shape)


class Average(Kernel):
    """`mean`, in the element type of the input."""

    def forward(self, x: Any, axes: Any, keepdim: bool) -> Any:
        over = range(x.ndim) if axes is None else axes if isinstance(axes, tuple) else (axes,)
        n = math.prod(x.shape[a] for a in over)
        out = total(x, axes, keepdim, 1 / n) if n else NotImplemented
        return out if out is NotImplemented else (out, (x.shape, n))


class LogSumExp(Kernel):
    """`logsumexp` over the last dimension."""

    def forward(self, x: Any, axes: tuple, keepdim: bool) -> Any:
        end, nd = usable(x), x.ndim
        if end is None or not x.size or not nd or [a % nd for a in axes] != [nd - 1]:
            return NotImplemented
        cols, out = x.shape[-1], backend.gpu().empty((*x.shape[:-1], *([1] if keepdim else [])), x.dtype)
        over_rows(f"log_sum_exp_{end}", out.size, cols, x, out, np.int64(out.size), np.int32(cols))
        return out

    def backward(self, node: Any, g: Any) -> Any:
        (x,), out = node.raw_inputs, node.out
        axes, _ = node.params
        if usable(x) is None or g.dtype != x.dtype or not x.size or not x.ndim or [a % x.ndim for a in axes] != [x.ndim - 1]:
            return NotImplemented
        gpu, cols = backend.gpu(), x.shape[-1]
        dx = gpu.empty(x.shape, x.dtype)
        over_elements(f"log_sum_exp_backward_{usable(x)}", x.size, contiguous(gpu, g), x, contiguous(gpu, out), dx,
                      np.int64(x.size // cols), np.int32(cols))
        return (dx,)
