"""Row-major copies of large arrays, in blocks on the pool."""

from __future__ import annotations

from typing import Any

import numpy as np

from .memory import empty
from .pool import parallel_for, spans

_LARGE = 1 << 17  # elements; below, NumPy's copy takes less time than waking a thread
_LINE = 64  # bytes that the processor fetches at a time
_BLOCKS = 16


def axes_in_memory(array: Any) -> tuple:
    """The axes of an array in the order in which it lies in memory, the one with the longest steps first."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))


def row_major_copy(array: Any) -> Any:
    """A fresh copy of `array` that lies row-major in memory.

    NumPy walks through a transposed array in rows of the result, and so fetches a line of memory for every element. Here such
    an array is copied in stripes of the result's last dimension that are one line wide.
    """
    if type(array) is not np.ndarray or array.size < _LARGE or array.ndim < 2:
        return array.copy(order="C")
    out = empty(array.shape, array.dtype)
    last, size = array.strides[-1], array.itemsize
    transposed = last > size and any(size <= abs(stride) < last for stride in array.strides[:-1])
    if transposed and array.size // array.shape[-1] * (_LINE // size or 1) >= 1 << 12:
        stripes = spans(array.shape[-1], _LINE // size or 1)

        def run(i: int) -> None:
            out[..., stripes[i]] = array[..., stripes[i]]

        parallel_for(run, len(stripes))
        return out
    axis = next(i for i, n in enumerate(array.shape) if n > 1)
    lead = (slice(None),) * axis
    blocks = spans(array.shape[axis], -(-array.shape[axis] // _BLOCKS))

    def copy(i: int) -> None:
        out[(*lead, blocks[i])] = array[(*lead, blocks[i])]

    parallel_for(copy, len(blocks))
    return out
