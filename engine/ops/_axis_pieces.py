"""Elements taken along an axis, and their adjoint, as a few copies of slices where the index is regular enough.

Padding by reflection and resizing to the nearest pixel name nearly every element in order. NumPy copies slices several
times as fast as it gathers, and many times as fast as it adds at an index.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._blocked import by_rows, is_large
from ._scatter import scatter_axis

_MOST = 16  # pieces, beyond which a gather is quicker


def _slice(start: int, step: int, count: int) -> slice:
    stop = start + step * count
    return slice(start, None if stop < 0 else stop, step)


def _pieces(index: Any, size: int) -> list[tuple[slice, slice]] | None:
    """Pairs of slices (of the result, of the source) that make up an index into an axis of `size`; None if it takes many."""
    n = len(index)
    if size and n % size == 0 and n > size and (index == np.arange(n) // (n // size)).all():
        return [(slice(k, None, n // size), slice(None)) for k in range(n // size)]  # each element several times
    steps = np.diff(index)
    turns = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), n - 1]
    if len(turns) > _MOST or n < 2:
        return None
    pieces, at = [], 0
    for last in turns[1:]:
        while at <= last:
            step = int(steps[at]) if at < last else 1
            count = last - at + 1 if step else 1
            pieces.append((slice(at, at + count), _slice(int(index[at]), step or 1, count)))
            at += count
            if len(pieces) > _MOST:
                return None
    return pieces


def _at(axis: int, part: slice) -> tuple:
    return (*(slice(None),) * axis, part)


def _take(x: np.ndarray, axis: int, index: Any, size: int) -> np.ndarray:
    pieces = _pieces(index, size)
    if pieces is None:
        return x.take(index, axis=axis)
    out = np.empty((*x.shape[:axis], len(index), *x.shape[axis + 1 :]), x.dtype)
    for to, source in pieces:
        out[_at(axis, to)] = x[_at(axis, source)]
    return out


def _add(g: np.ndarray, axis: int, index: Any, size: int) -> np.ndarray:
    pieces = _pieces(index, size)
    if pieces is None:
        return scatter_axis(np, g, index, size, axis)
    pieces = sorted(pieces, key=lambda piece: piece[1] != slice(None))
    whole = pieces[0][1] == slice(None)
    shape = (*g.shape[:axis], size, *g.shape[axis + 1 :])
    out = np.array(g[_at(axis, pieces[0][0])]) if whole else np.zeros(shape, g.dtype)
    for source, to in pieces[whole:]:
        out[_at(axis, to)] += g[_at(axis, source)]
    return out


def _in_blocks(x: np.ndarray, fn: Any, steps: tuple) -> np.ndarray:
    def run(part: np.ndarray) -> np.ndarray:
        for axis, index, size in steps:
            part = fn(part, axis, index, size)
        return np.ascontiguousarray(part)

    return by_rows(run, [x]) if is_large(x) and all(axis for axis, _, _ in steps) else run(x)


def take_axes(xp: Any, x: Any, steps: tuple) -> Any:
    """`x` taken along several axes; `steps` holds (axis, 1-D index, size of the axis)."""
    if xp is np:
        return _in_blocks(x, _take, steps[::-1])  # the last axis first: it costs most per element
    for axis, index, _ in steps:
        x = x.take(index, axis=axis)
    return x


def add_axes(xp: Any, g: Any, steps: tuple) -> Any:
    """The adjoint of `take_axes`: sums of what was taken from each place."""
    if xp is np:
        return _in_blocks(g, _add, steps)
    for axis, index, size in reversed(steps):
        g = scatter_axis(xp, g, index, size, axis)
    return xp.ascontiguousarray(g)
