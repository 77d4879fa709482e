"""Sums of rows by index: the adjoint of taking rows, deterministic and without a Python loop over rows."""

from __future__ import annotations

from typing import Any

import numpy as np


def scatter_rows(xp: Any, rows: Any, index: Any, count: int) -> Any:
    """An array of `count` rows; row i is the sum, in order, of the `rows` whose `index` (1-D) is i."""
    out = xp.zeros((count, *rows.shape[1:]), rows.dtype)
    if not index.size:
        return out
    if xp is not np:
        xp.add.at(out, index, rows)
        return out
    order = index.argsort(kind="stable")
    ordered = index[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    out[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return out


def scatter_axis(xp: Any, g: Any, index: Any, size: int, axis: int) -> Any:
    """`scatter_rows` along another axis: the adjoint of `take(x, index, axis)` for x with `size` there."""
    if g.shape[axis] and g.size == 0:
        return xp.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    moved = scatter_rows(xp, xp.moveaxis(g, axis, 0), index, size)
    return xp.moveaxis(moved, 0, axis)
