"""Products of a small matrix and a wide one, as many small products.

OpenBLAS copies both operands of a large product into an order of its own first; that takes as long as multiplying where one
of them has few rows. It leaves that out for products of up to 10**6 multiplications, which read their operands where they
lie. One call of `matmul` does many of those, without asking for the interpreter in between.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

SMALL = 1_000_000  # multiplications of the largest product that OpenBLAS does without copying
NARROW, WIDE = 64, 256  # columns of a small product
FEWEST_ROWS, MOST_ROWS = 8, 640


def _cut(array: Any, sizes: tuple, steps: tuple) -> Any:
    """A view of these sizes over matrices with these strides (bytes) along the dimensions before theirs."""
    return as_strided(array, (*array.shape[:-2], *sizes), (*array.strides[:-2], *steps, *array.strides[-2:]))


def _shape(m: int, k: int, n: int) -> tuple[int, int] | None:
    """(rows, columns) of the small products, None where large ones are as good."""
    if n < 4 * NARROW or m > MOST_ROWS or m * k * n <= SMALL:
        return None
    columns = min(WIDE, SMALL // (m * k) // 16 * 16)
    if columns >= NARROW:
        return m, columns
    rows = SMALL // (k * NARROW)
    rows = next((r for r in range(rows, FEWEST_ROWS - 1, -1) if m % r == 0), 0)
    return (rows, NARROW) if rows else None


def wide_product(a: Any, b: Any, out: Any = None) -> Any:
    """`a @ b` of NumPy matrices, or of as many of them, on this thread; `b` and `out` have neighbours in their rows."""
    if out is None:
        out = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    for call in wide_product_calls(a, b, out):
        call()
    return out


def wide_product_calls(a: Any, b: Any, out: Any) -> list[Callable]:
    """The calls that write `a @ b` into `out`."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    chosen = _shape(m, k, n) if a.dtype == np.float32 and a.strides[-1] == b.strides[-1] == out.strides[-1] == 4 else None
    if chosen is None:
        return [partial(np.matmul, a, b, out)]
    rows, columns = chosen
    count = n // columns
    left = _cut(a, (m // rows, 1, rows, k), (rows * a.strides[-2], 0))
    right = _cut(b, (1, count, k, columns), (0, columns * b.strides[-1]))
    steps = (rows * out.strides[-2], columns * out.strides[-1])
    calls = [partial(np.matmul, left, right, _cut(out, (m // rows, count, rows, columns), steps))]
    if count * columns < n:
        calls.append(partial(np.matmul, a, b[..., count * columns :], out[..., count * columns :]))
    return calls
