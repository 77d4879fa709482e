"""Row-major copies of large arrays, in blocks on the pool; the order of axes in memory, and who may write to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import backend
from .memory import empty
from .pool import parallel_for, spans

_LARGE = 1 << 17  # elements; a transposed array's stripes pay from here on
_WORTH = 1 << 19  # elements; below, NumPy's copy of an array that is not transposed takes less time than waking a thread
_LINE = 64  # bytes that the processor fetches at a time
_BLOCKS = 16
_CACHED = 1 << 15  # bytes of a transposed matrix whose lines are still in the first-level cache when its next column is read


def axes_in_memory(array: Any) -> tuple:
    """The axes of an array in the order in which it lies in memory, the one with the longest steps first.

    An axis that repeats its elements (step 0) lies nowhere: it stays beside its neighbours, as in torch.
    """
    steps = [abs(step) for step in array.strides]
    if 0 not in steps:
        return tuple(sorted(range(array.ndim), key=lambda axis: -steps[axis]))
    order = list(range(array.ndim))
    for place in reversed(range(array.ndim - 1)):  # an insertion sort from the innermost that passes over steps of 0
        for other in range(place + 1, array.ndim):
            outer, inner = steps[order[place]], steps[order[other]]
            if outer and inner and outer >= inner:
                break
            if outer and inner:
                order[place], order[other], place = order[other], order[place], other
    return tuple(order)


def repeats(array: Any) -> bool:
    """Whether elements of an array of NumPy's are repeated along an axis (step 0), as those of expanded tensors are."""
    if type(array) is not np.ndarray or 0 not in array.strides:
        return False
    return any(n > 1 and not step for n, step in zip(array.shape, array.strides))


def empty_as(array: Any, dtype: Any = None) -> Any:
    """An uninitialized array whose axes lie in memory in the order of `array`'s; NumPy puts repeated axes innermost."""
    if not repeats(array):
        return backend.namespace(array).empty_like(array, dtype=dtype)
    order = axes_in_memory(array)
    out = empty(tuple([array.shape[axis] for axis in order]), array.dtype if dtype is None else dtype)
    return out.transpose(np.argsort(order))


def unlock(array: Any) -> bool:
    """Let `array` be written to if only the view that it was taken from repeats elements; True if it could not be before.

    A view that repeats elements (`expand`) is read-only, and NumPy makes whatever is taken from it read-only as well.
    """
    if array.flags.writeable or repeats(array):
        return False
    try:
        array.flags.writeable = True
    except ValueError:  # the memory itself is read-only, as a mapped file's
        return False
    return True


def copy_to(*pairs: tuple) -> None:
    """`to[...] = source` for pairs (to, source), which may broadcast; large ones in blocks of the first dimension."""
    pieces: list[tuple] = []
    for to, source in pairs:
        count = min(to.size // _LARGE, _BLOCKS) if type(to) is np.ndarray and source.shape == to.shape else 0
        if count > 1 and len(to) > 1:
            pieces += [(to[block], source[block]) for block in spans(len(to), -(-len(to) // count))]
        else:
            pieces.append((to, source))

    def copy(i: int) -> None:
        to, source = pieces[i]
        to[...] = source

    if type(pairs[0][0]) is np.ndarray and sum(to.size for to, _ in pairs) >= 2 * _LARGE:
        parallel_for(copy, len(pieces))
        return
    for i in range(len(pieces)):
        copy(i)


def row_major_copy(array: Any) -> Any:
    """A fresh copy of `array` that lies row-major in memory.

    NumPy walks through a transposed array in rows of the result, and so fetches a line of memory for every element. Here such
    an array is copied in stripes of the result's last dimension that are one line wide.
    """
    if type(array) is not np.ndarray or array.size < _LARGE or array.ndim < 2:
        return array.copy(order="C")
    out = empty(array.shape, array.dtype)
    last, size = array.strides[-1], array.itemsize
    transposed = last * array.shape[-1] > _CACHED and any(size <= abs(stride) < last for stride in array.strides[:-1])
    if transposed and array.size // array.shape[-1] * (_LINE // size or 1) >= 1 << 12:
        stripes = spans(array.shape[-1], _LINE // size or 1)

        def run(i: int) -> None:
            out[..., stripes[i]] = array[..., stripes[i]]

        parallel_for(run, len(stripes))
        return out
    if array.size < _WORTH:
        out[...] = array
        return out
    axis = next(i for i, n in enumerate(array.shape) if n > 1)
    lead = (slice(None),) * axis
    blocks = spans(array.shape[axis], -(-array.shape[axis] // _BLOCKS))

    def copy(i: int) -> None:
        out[(*lead, blocks[i])] = array[(*lead, blocks[i])]

    parallel_for(copy, len(blocks))
    return out
