"""Norm and clipping of many tensors in a launch or two, without waiting (`kernels/many.cu`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import backend
from .kernels import THREADS, launch, usable, wide

MANY, CHUNK = 96, 32768  # as in many.cu
TENSORS = np.dtype([("at", "u8", MANY), ("size", "i8", MANY), ("first", "i4", MANY), ("count", "i4")], align=True)


def tables(arrays: Sequence) -> Iterator[tuple[np.ndarray, int]]:
    """(addresses and sizes as kernels take them, blocks of the launch) for up to MANY of the arrays at a time."""
    filled = [a for a in arrays if a.size]
    for start in range(0, len(filled), MANY):
        some = filled[start : start + MANY]
        table = np.zeros(1, TENSORS)
        row = table[0]
        row["at"][: len(some)] = [a.data.ptr for a in some]
        row["size"][: len(some)] = sizes = np.array([a.size for a in some])
        ends = np.cumsum(-(-sizes // CHUNK))
        row["first"][1 : len(some)] = ends[:-1]
        row["count"] = len(some)
        yield table, int(ends[-1])


def total_norm(arrays: Sequence, order: float) -> Any:
    """The norm of all elements, a 0-d array of their type; NotImplemented for arrays or an order that have no kernel."""
    end, kind = usable(*arrays), {1.0: 1, 2.0: 2, math.inf: 4}.get(order, 3)
    if end is None or order <= 0:
        return NotImplemented
    gpu, launches = backend.gpu(), [*tables(arrays)]
    total = sum(blocks for _, blocks in launches)
    parts, out = gpu.empty(max(total, 1), wide(arrays[0].dtype)), gpu.empty((), arrays[0].dtype)
    done = 0
    for table, blocks in launches:
        launch(f"norm_many_{end}", (blocks,), (THREADS,), table, parts, np.int32(done), np.int32(kind), np.float64(order))
        done += blocks
    launch(f"norm_of_parts_{end}", (1,), (THREADS,), parts, out, np.int32(total), np.int32(kind), np.float64(order))
    return out


def clip(arrays: Sequence, norm: Any, most: float) -> bool:
    """Multiply all by min(1, most / (norm + 1e-6)); False for arrays that have no kernel."""
    end = usable(*arrays, norm)
    if end is None:
        return False
    for table, blocks in tables(arrays):
        launch(f"clip_many_{end}", (blocks,), (THREADS,), table, norm, np.float64(most))
    return True
