"""Products of a small matrix and a wide one, as many small products.

OpenBLAS copies both operands of a large product into an order of its own first; that takes as long as multiplying where one
of them has few rows. It leaves that out for products of up to 10**6 multiplications, which read their operands where they
lie. One call of `matmul` does many of those, without asking for the interpreter in between.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

SMALL = 1_000_000  # multiplications of the largest product that OpenBLAS does without copying
NARROW, WIDE = 64, 256  # columns of a small product
FEWEST_ROWS, MOST_ROWS = 8, 640


def _cut(array: Any, rows: int, columns: int) -> Any:
    """A view of matrices (*, m, n) as their parts (*, m / rows, n / columns, rows, columns), without the last columns that are
    too few for one; splitting axes never copies."""
    m, n = array.shape[-2:]
    parts = array[..., : n // columns * columns].reshape(*array.shape[:-2], m // rows, rows, n // columns, columns)
    return parts.swapaxes(-3, -2)


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


def wide_product_calls(a: Any, b: Any, out: Any) -> list[Any]:
    """The calls, without arguments, that write `a @ b` into `out`."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    chosen = _shape(m, k, n) if a.dtype == np.float32 and a.strides[-1] == b.strides[-1] == out.strides[-1] == 4 else None
    if chosen is None:
        return [partial(np.matmul, a, b, out)]
    rows, columns = chosen
    calls: list[Any] = [partial(np.matmul, _cut(a, rows, k), _cut(b, k, columns), _cut(out, rows, columns))]
    done = n // columns * columns
    if done < n:
        calls.append(partial(np.matmul, a, b[..., done:], out[..., done:]))
    return calls
