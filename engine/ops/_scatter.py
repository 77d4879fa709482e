"""Sums by index: the adjoint of taking rows or elements, deterministic and without a Python loop over them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import fast
from ._blocked import is_large

_BLOCK = 1 << 15  # positions computed at a time: they stay in cache


def scatter_rows(xp: Any, rows: Any, index: Any, count: int) -> Any:
    """An array of `count` rows; row i is the sum, in order, of the `rows` whose `index` (1-D, negative allowed) is i.

    NumPy's `add.at` is fast only for a 1-D target, so rows are added element by element at their flat positions:
    1000 x 64 out of 20000 rows takes 4 ms, against 14 for `add.at` on rows and 10 for sorting and `add.reduceat`.
    """
    out = xp.zeros((count, *rows.shape[1:]), rows.dtype)
    if not out.size or not rows.size:
        return out
    if xp is not np:
        xp.add.at(out, index, rows)
        return out
    index = index.astype(np.int64, copy=False)
    width = out.size // count
    flat, values = out.reshape(-1), rows.reshape(len(index), width)
    if width == 1:
        np.add.at(flat, index, values.reshape(-1))
        return out
    index = np.where(index < 0, index + count, index)
    kernels = fast.kernels("rows") if is_large(values) and fast.fits(values, flat) else None
    if kernels is not None and index.min() >= 0 and index.max() < count:
        kernels.scatter(values, index, flat.reshape(count, width))
        return out
    starts = index * width
    columns = np.arange(width)
    step = max(_BLOCK // width, 1)
    for i in range(0, len(index), step):
        np.add.at(flat, (starts[i : i + step, None] + columns).reshape(-1), values[i : i + step].reshape(-1))
    return out


def scatter_axis(xp: Any, g: Any, index: Any, size: int, axis: int) -> Any:
    """`scatter_rows` along another axis: the adjoint of `take(x, index, axis)` for x with `size` there."""
    if g.shape[axis] and g.size == 0:
        return xp.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    moved = scatter_rows(xp, xp.moveaxis(g, axis, 0), index, size)
    return xp.moveaxis(moved, 0, axis)
