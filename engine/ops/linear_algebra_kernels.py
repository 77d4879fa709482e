"""What NumPy's linear algebra lacks, on raw batches: pivoted LU, triangular substitution, the matrix exponential."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend

_BLOCK = 32  # columns that are eliminated one by one before a matrix product updates the rest


def factor(xp: Any, a: Any) -> tuple:
    """LU factorisation with partial pivoting: (compact LU, pivots counted from 0, order of the first zero pivot or 0).

    Right-looking and blocked, as in Golub & Van Loan, "Matrix Computations", section 3.4; the batch is one axis of
    every operation. Complex pivots are compared by |re| + |im|, as LAPACK does.
    """
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    lu = xp.array(a).reshape(-1, m, n)
    k, batch = min(m, n), xp.arange(lu.shape[0])
    pivots = xp.zeros((lu.shape[0], k), dtype=int)
    info = xp.zeros(lu.shape[0], dtype=int)
    for start in range(0, k, _BLOCK):
        stop = min(start + _BLOCK, k)
        for j in range(start, stop):
            _eliminate(xp, lu, j, stop, batch, pivots, info)
        if stop < n:
            lu[:, start:stop, stop:] = substitute(xp, lu[:, start:stop, start:stop], lu[:, start:stop, stop:], False, True)
            lu[:, stop:, stop:] -= backend.matmul(lu[:, stop:, start:stop], lu[:, start:stop, stop:])
    return lu.reshape(a.shape), pivots.reshape(*lead, k), info.reshape(lead)


def _eliminate(xp: Any, lu: Any, j: int, stop: int, batch: Any, pivots: Any, info: Any) -> None:
    """Bring the largest element of column j to the diagonal and clear what is below, within the columns before `stop`."""
    column = lu[:, j:, j]
    size = abs(column.real) + abs(column.imag) if column.dtype.kind == "c" else abs(column)
    p = pivots[:, j] = j + size.argmax(axis=1)
    chosen = lu[batch, p]
    lu[batch, p] = lu[:, j]
    lu[:, j] = chosen
    head = lu[:, j, j]
    zero = head == 0
    info[zero & (info == 0)] = j + 1
    lu[:, j + 1 :, j] /= xp.where(zero, 1, head)[:, None]
    lu[:, j + 1 :, j + 1 : stop] -= lu[:, j + 1 :, j, None] * lu[:, j, None, j + 1 : stop]


def order_of(xp: Any, pivots: Any, rows: int) -> Any:
    """Pivots (each row's exchange partner) as an order of rows: `A[order] == L @ U`."""
    lead, k = pivots.shape[:-1], pivots.shape[-1]
    flat = pivots.reshape(-1, k)
    order = xp.tile(xp.arange(rows), (flat.shape[0], 1))
    batch = xp.arange(flat.shape[0])
    for j in range(k):
        p = flat[:, j]
        chosen = order[batch, p]
        order[batch, p] = order[:, j]
        order[:, j] = chosen
    return order.reshape(*lead, rows)


def substitute(xp: Any, a: Any, b: Any, upper: bool, unit: bool) -> Any:
    """Solve triangular systems `a @ x = b` row by row, blocks of rows at a time; a zero on the diagonal gives inf.

    Reads one triangle of `a` only. Both are batches of matrices that broadcast.
    """
    if upper:  # read both backwards: an upper triangle becomes a lower one
        return xp.ascontiguousarray(substitute(xp, a[..., ::-1, ::-1], b[..., ::-1, :], False, unit)[..., ::-1, :])
    n = a.shape[-1]
    kind = xp.result_type(a.dtype, b.dtype)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = xp.empty((*lead, n, b.shape[-1]), dtype=kind)
    x[...] = b
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        for i in range(start, stop):
            row = x[..., i : i + 1, :]
            if i > start:
                row -= backend.matmul(a[..., i : i + 1, start:i], x[..., start:i, :])
            if not unit:
                row /= a[..., i, i][..., None, None]
        if stop < n:
            x[..., stop:, :] -= backend.matmul(a[..., stop:, start:stop], x[..., start:stop, :])
    return x


# Coefficients of the Pade approximant of degree 13, and the norm up to which it is exact to double precision.
_PADE = (64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
         670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1)
_PADE_NORM = 5.371920351148152


def exponential(xp: Any, a: Any) -> Any:
    """exp of square matrices by scaling and squaring (Higham, SIAM J. Matrix Anal. Appl. 26, 2005)."""
    if a.size == 0:
        return a.copy()
    norm = abs(a).sum(axis=-2).max(axis=-1)
    finite = xp.where(xp.isfinite(norm), norm, 0)
    squarings = xp.ceil(xp.log2(xp.maximum(finite / _PADE_NORM, 1))).astype(int)
    a = a / (2.0**squarings)[..., None, None].astype(a.real.dtype)
    c = [x / _PADE[0] for x in _PADE]  # divided by the first, so that float32 does not overflow
    eye = xp.eye(a.shape[-1], dtype=a.dtype)
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a2 @ a4
    u = a @ (a6 @ (c[13] * a6 + c[11] * a4 + c[9] * a2) + c[7] * a6 + c[5] * a4 + c[3] * a2 + c[1] * eye)
    v = a6 @ (c[12] * a6 + c[10] * a4 + c[8] * a2) + c[6] * a6 + c[4] * a4 + c[2] * a2 + eye
    result = xp.linalg.solve(v - u, v + u)
    for i in range(int(squarings.max())):
        result = xp.where((squarings > i)[..., None, None], result @ result, result)
    return result
