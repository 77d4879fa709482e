"""Batch norm of a matrix (N, C) in training: features lie side by side, so every pass runs along rows.

`_channels` works on one channel after the other, which here would be one number of every row at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import fast
from ..memory import empty
from ._blocked import COMPILED, ndarray


def fits(*arrays: Any) -> bool:
    """Whether all are matrices of NumPy's that lie row-major."""
    return all(type(a) is ndarray and a.ndim == 2 and a.flags.c_contiguous and a.size for a in arrays)


def _kernels(x: ndarray, *others: Any) -> Any:
    """The compiled form where it pays. One thread: two fetch each other's lines of memory, which takes longer than the sums."""
    return fast.kernels("features") if x.size >= COMPILED and fast.fits(x, *others) else None


def standardise(x: ndarray, w: Any, b: Any, eps: float) -> tuple:
    """(normalised by its own moments, scaled and shifted; mean, sum of squared deviations, 1 / std, number of rows)."""
    mean, square, rstd = np.empty((3, x.shape[1]), x.dtype)
    w = np.ones_like(mean) if w is None else fast.ready(w)
    b = np.zeros_like(mean) if b is None else fast.ready(b)
    y = empty(x.shape, x.dtype)
    kernels, arrays = _kernels(x, w, b), (x, w, b, x.dtype.type(eps), mean, square, rstd, y)
    if kernels is None:
        _standardise(*arrays)
    else:
        kernels.normalise(*arrays)
    return y, mean, square, rstd, len(x)


def _standardise(x: Any, w: Any, b: Any, eps: Any, mean: Any, square: Any, rstd: Any, y: Any) -> None:
    ones, count = np.ones(len(x), x.dtype), x.dtype.type(len(x))  # a product with ones sums faster than `sum`
    np.divide(ones @ x, count, out=mean)
    np.subtract(x, mean, out=y)
    square[...] = ones @ (y * y)
    np.divide(1, np.sqrt(square / count + eps), out=rstd)
    y *= rstd * w
    y += b


def gradients(g: ndarray, x: ndarray, w: Any, mean: ndarray, rstd: ndarray, needs: tuple) -> tuple:
    """Gradients of input, weight and bias; the formula is that of normalization.py."""
    total, product = np.empty((2, x.shape[1]), x.dtype)
    gx = empty(x.shape, x.dtype)
    factor = rstd if w is None else rstd * w
    mean, rstd = fast.ready(mean), fast.ready(rstd)
    kernels, arrays = _kernels(g, x, factor, mean, rstd), (g, x, factor, mean, rstd, total, product, gx)
    if kernels is None:
        _gradients(*arrays)
    else:
        kernels.gradients(*arrays)
    return (gx if needs[0] else None), (product if needs[1] else None), (total if needs[2] else None)


def _gradients(g: Any, x: Any, factor: Any, mean: Any, rstd: Any, total: Any, product: Any, gx: Any) -> None:
    ones, count = np.ones(len(x), x.dtype), x.dtype.type(len(x))
    np.matmul(ones, g, out=total)
    apart = x - mean
    np.multiply(g, apart, out=gx)
    np.multiply(ones @ gx, rstd, out=product)
    apart *= rstd * product / count
    np.subtract(g, total / count, out=gx)
    gx -= apart
    gx *= factor
