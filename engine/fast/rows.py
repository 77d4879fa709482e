"""Kernels over rows: (rows, columns) arrays, every row on its own. Each function does a block of rows."""

from __future__ import annotations

import numpy as np

from .functions import ONE, ZERO, exp, from_ordered, ordered
from .jit import kernel

_LOWEST = np.int32(-(2**31))


@kernel
def softmax(x, out):  # type: ignore[no-untyped-def]
    """exp(x - max) / sum(exp(x - max))."""
    n = x.shape[1]
    for i in range(x.shape[0]):
        row, y = x[i], out[i]
        top = _LOWEST
        for j in range(n):
            top = max(top, ordered(row[j]))
        high = from_ordered(top)
        total = ZERO
        for j in range(n):
            e = exp(row[j] - high)
            y[j] = e
            total += e
        scale = ONE / total
        for j in range(n):
            y[j] *= scale


@kernel
def softmax_backward(g, y, out):  # type: ignore[no-untyped-def]
    """y * (g - sum(g * y))."""
    n = g.shape[1]
    for i in range(g.shape[0]):
        gi, yi, o = g[i], y[i], out[i]
        total = ZERO
        for j in range(n):
            total += gi[j] * yi[j]
        for j in range(n):
            o[j] = (gi[j] - total) * yi[j]
