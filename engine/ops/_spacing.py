"""Evenly spaced numbers with torch's rounding: `arange` and `linspace`, and what is built on them.

torch's loops multiply and add in one rounding (FMA), and `arange` counts anew from every eighth float32 and every fourth
float64. A value that lands on the other side of a pixel's border is a different pixel, so the last bit can matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SPLIT = 134217729.0  # 2**27 + 1 cuts a double in two halves whose products are exact (Dekker 1971)


def _halves(a: Any) -> tuple[Any, Any]:
    high = a * _SPLIT
    high = high - (high - a)
    return high, a - high


def fused(a: Any, b: Any, c: Any) -> Any:
    """a * b + c of doubles, rounded once: the product's and the sum's own errors are computed and added last."""
    product, total = a * b, a * b + c
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    lost = a2 * b2 - (((product - a1 * b1) - a2 * b1) - a1 * b2)
    part = total - product
    return total + ((product - (total - part)) + (c - part) + lost)


def arange_values(xp: Any, start: float, step: float, count: int, dtype: np.dtype) -> Any:
    """`count` numbers from `start` on in steps of `step`, as torch's vectors of 32 bytes compute them."""
    i = xp.arange(count)
    if dtype.kind != "f" or dtype.itemsize < 4:
        return (start + i * step).astype(dtype)
    lanes = 32 // dtype.itemsize
    first = xp.where(i < count - count % lanes, i - i % lanes, i)
    base = fused(first.astype(np.float64), np.float64(step), np.float64(start)).astype(dtype)
    return fused((i - first).astype(np.float64), np.float64(step), base.astype(np.float64)).astype(dtype)


def linspace_values(xp: Any, start: Any, end: Any, steps: int, dtype: np.dtype) -> Any:
    """`steps` numbers from `start` to `end`, computed from both ends: numbers of `dtype`, which is float32 or wider."""
    kind = dtype.type
    start, end = kind(start), kind(end)
    if steps < 2:
        return xp.full(steps, start, dtype)
    step = (end - start) / kind(steps - 1)
    i = xp.arange(steps)
    near = i < steps // 2
    turns, base = xp.where(near, i, i - (steps - 1)), xp.where(near, start, end)
    if dtype.kind == "c":
        return base + step * turns.astype(dtype)
    if dtype.itemsize == 4:  # exact in double, so one rounding remains
        return (base.astype(np.float64) + np.float64(step) * turns).astype(dtype)
    return fused(turns.astype(np.float64), step, base)
