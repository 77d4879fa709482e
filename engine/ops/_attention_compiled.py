"""Attention without mask and dropout by the kernels of `fast/heads.py`; the functions are those of `_attention_blocks`."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from .. import fast
from ..dtypes import F32
from ..pool import blas_limit, parallel_for, spans
from . import _blocked

_LONGEST = 2048  # keys whose scores with a block of queries stay in cache


def usable(q: Any, k: Any, v: Any) -> bool:
    """Whether kernels are there for heads of such queries, keys and values, and the work is worth it."""
    if type(q) is not np.ndarray or not 3 <= q.ndim <= 4 or not q.dtype is k.dtype is v.dtype is F32:
        return False
    lead, length, source = q.shape[:-2], q.shape[-2], k.shape[-2]
    count = math.prod(lead)
    fits = lead == k.shape[:-2] == v.shape[:-2] and v.shape[-2] == source <= _LONGEST and q.shape[-1] == k.shape[-1]
    worth = count * length * source >= _blocked.COMPILED and count >= _blocked._PROCESSORS and q.size and v.size
    return bool(fits and worth and blas_limit.known and fast.kernels("heads") is not None and _sgemm())


@cache
def _sgemm() -> int:
    return fast.kernels("blas").address()


@cache
def _kernels() -> Any:
    """The kernels, also for a backward pass after they were switched off."""
    return fast.kernels("heads")


def _side_by_side(x: Any) -> Any:
    """`x` with its features, and no less than them between its positions."""
    return x if x.strides[-1] == 4 and x.strides[-2] >= 4 * x.shape[-1] and not x.strides[-2] % 4 else np.ascontiguousarray(x)


def _run(kernel: Any, inputs: tuple, scale: float, causal: bool, *arrays: Any) -> None:
    inputs = tuple([_side_by_side(x) for x in inputs])
    place = np.array([x.ctypes.data for x in inputs], np.int64)
    layout = np.array([(*x.strides[:3], x.shape[3 if i == 0 else 2]) for i, x in enumerate(inputs)], np.int64)
    count = inputs[0].shape[0] * inputs[0].shape[1]
    work = inputs[0].shape[2] * inputs[1].shape[2]
    blocks = spans(count, max(1, min(-(-count // _blocked._PROCESSORS), _blocked.CHAIN // max(work, 1))))
    parallel_for(lambda i: kernel(_sgemm(), place, layout, np.float32(scale), causal, *arrays, blocks[i].start, blocks[i].stop),
                 len(blocks))


def _beside(x: Any, features: int) -> Any:
    """An array (batch, positions, heads, features), which is how the heads are put side by side afterwards."""
    b, h, n, _ = x.shape
    return np.empty((b, n, h, features), np.float32)


def forward(q: Any, k: Any, v: Any, scale: float, causal: bool) -> tuple:
    """(output, log(sum(exp(scores))) of every query)."""
    out, logs = _beside(q, v.shape[3]), np.empty(q.shape[:3], np.float32)
    _run(_kernels().forward, (q, k, v), scale, causal, out, logs)
    return out.transpose(0, 2, 1, 3), logs


def backward(q: Any, k: Any, v: Any, out: Any, logs: Any, g: Any, scale: float, causal: bool) -> list:
    """Gradients of queries, keys and values."""
    made, given = [np.ascontiguousarray(x.transpose(0, 2, 1, 3)) for x in (out, g)]
    gradients = [_beside(x, x.shape[3]) for x in (q, k, v)]
    _run(_kernels().backward, (q, k, v), scale, causal, made, logs, given, *gradients)
    return [x.transpose(0, 2, 1, 3) for x in gradients]
