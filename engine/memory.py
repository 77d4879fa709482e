"""Keeping freed memory in the process, so that the next step's arrays do not have to ask the system for it again.

glibc gives large blocks back to the system as soon as they are freed, and every page of the next such block then costs a
fault: a chain of four operators on 65536 floats took 885 us with its defaults and 44 us with the ones set here (measured
on a virtual machine, where faults are dear). A training step frees and takes the same sizes over and over.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
from typing import Any

import numpy as np

__all__ = ["empty", "is_sole_view", "keep_freed"]

# From glibc's malloc.h. The first is as large as glibc allows: larger blocks are always the system's own.
_MMAP_THRESHOLD, _MMAP_LARGEST = -3, 1 << 25
_TRIM_THRESHOLD, _KEPT = -1, 1 << 30  # bytes that may lie unused at the end of the heap
_SPARE = 1 << 28  # bytes of larger blocks that may lie unused

_blocks: list[np.ndarray] = []  # larger blocks, in use or not, the latest ones last
_lock = threading.Lock()


def keep_freed() -> bool:
    """Tell the C library to keep freed blocks up to 32 MB, 1 GB in all; whether it could be told.

    For the whole process. The environment variable LITENGINE_MALLOC=system leaves the library's own defaults, and so do
    glibc's variables MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_: whoever sets them has chosen.
    """
    chosen = {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & os.environ.keys()
    if not sys.platform.startswith("linux") or os.environ.get("LITENGINE_MALLOC") == "system" or chosen:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # a C library without this function
        return False
    global _keeps
    _keeps = bool(mallopt(_MMAP_THRESHOLD, _MMAP_LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
    return _keeps


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`np.empty`, for arrays that a step makes anew each time.

    Blocks that are too large for the C library to keep (the logits of a language model, say) are kept here: the array is then
    a view of a block that nobody uses any more, or of a new one.
    """
    size, dtype = math.prod(shape), np.dtype(dtype)
    if size * dtype.itemsize < _MMAP_LARGEST or not _keeps:
        return np.empty(shape, dtype)
    with _lock:
        unused = [k for k in range(len(_blocks)) if _users(_blocks, k) == _UNUSED]
        for k in unused:
            if _blocks[k].size == size and _blocks[k].dtype == dtype:
                block = _blocks.pop(k)
                break
        else:
            spare = sum(_blocks[k].nbytes for k in unused)
            for k in unused:
                if spare > _SPARE:  # the oldest go first
                    spare -= _blocks[k].nbytes
                    _blocks[k] = np.empty(0)
            _blocks[:] = [block for block in _blocks if block.size]
            block = np.empty(size, dtype)
        _blocks.append(block)
        return block.reshape(shape)


def is_sole_view(array: np.ndarray) -> bool:
    """Whether an array from `empty` is all that uses its block: it is then as good as one that owns its memory."""
    if array.nbytes < _MMAP_LARGEST:
        return False
    with _lock:
        k = next((k for k in range(len(_blocks)) if _blocks[k] is array.base), -1)
        return k >= 0 and _blocks[k].nbytes == array.nbytes and _users(_blocks, k) == _UNUSED + 1


def _users(blocks: list, k: int) -> int:
    return sys.getrefcount(blocks[k])


_UNUSED = _users([np.empty(0)], 0)
_keeps = False
