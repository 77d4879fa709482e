"""The factorisation of symmetric and Hermitian matrices as L D L^T, with Bunch and Kaufman's pivots (LAPACK's sytrf)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_ALPHA = (1 + math.sqrt(17)) / 8  # Bunch and Kaufman, Math. Comp. 31 (1977): bounds the growth of both kinds of steps


def factor(a: np.ndarray, hermitian: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """(LD, pivots, info) of one matrix, of which the lower triangle is read: D's blocks on the diagonal and below it, L's
    columns under them; pivots count from 1 and are negative where D has a block of two. `info`: the first zero pivot."""
    a, n, k, info = np.tril(a), len(a), 0, 0
    pivots = np.zeros(n, np.int32)
    while k < n:
        step, p = _choose(a, k)
        here = k + step - 1
        if max(abs(a[k, k]), np.abs(a[k + 1 :, k]).max(initial=0)) == 0:
            info = info or k + 1
            pivots[k] = k + 1
            k += 1
            continue
        if p != here:
            _exchange(a, k, here, p, hermitian)
        if hermitian:
            a[np.arange(k, n), np.arange(k, n)] = a.diagonal()[k:].real
        below = a[k + step :, k : k + step]
        if below.size:
            block = _whole(a[k : k + step, k : k + step], hermitian)
            rows = np.linalg.solve(block.T, below.T).T
            other = rows.conj() if hermitian else rows
            a[k + step :, k + step :] -= np.tril(below @ other.T)
            a[k + step :, k : k + step] = rows
        pivots[k : k + step] = (p + 1) if step == 1 else -(p + 1)
        k += step
    return a, pivots, info


def _choose(a: np.ndarray, k: int) -> tuple[int, int]:
    """(size of the step at k, the row to exchange with its last one)."""
    n, diagonal = len(a), _size(a[k, k])
    if k == n - 1:
        return 1, k
    r = k + 1 + int(_size(a[k + 1 :, k]).argmax())
    largest = _size(a[r, k])
    if diagonal >= _ALPHA * largest:
        return 1, k
    row = max(_size(a[r, k:r]).max(), _size(a[r + 1 :, r]).max(initial=0))
    if diagonal >= _ALPHA * largest * (largest / row):
        return 1, k
    return (1, r) if _size(a[r, r]) >= _ALPHA * row else (2, r)


def _size(x: Any) -> Any:
    """What LAPACK takes for the size of a number: the sum of the absolute values of its parts."""
    return np.abs(x.real) + np.abs(x.imag)


def _exchange(a: np.ndarray, k: int, here: int, p: int, hermitian: bool) -> None:
    """Exchange rows and columns `here` and `p` of the symmetric part that begins at k."""
    whole = _whole(a[k:, k:], hermitian)
    order = np.arange(len(whole))
    order[[here - k, p - k]] = order[[p - k, here - k]]
    a[k:, k:] = np.tril(whole[order][:, order])


def _whole(lower: np.ndarray, hermitian: bool) -> np.ndarray:
    upper = np.tril(lower, -1).T
    return lower + (upper.conj() if hermitian else upper)


def solve(ld: np.ndarray, pivots: np.ndarray, b: np.ndarray, hermitian: bool) -> np.ndarray:
    """X of A X = B from `factor`'s result."""
    n, x = len(ld), b.copy()
    steps = []
    k = 0
    while k < n:  # L and the exchanges, one after the other, as the columns of L are not exchanged afterwards
        step = 1 if pivots[k] > 0 else 2
        here, p = k + step - 1, abs(int(pivots[k])) - 1
        x[[here, p]] = x[[p, here]]
        x[k + step :] -= ld[k + step :, k : k + step] @ x[k : k + step]
        steps.append((k, step, here, p))
        k += step
    for k, step, _, _ in steps:
        x[k : k + step] = np.linalg.solve(_whole(ld[k : k + step, k : k + step], hermitian), x[k : k + step])
    for k, step, here, p in reversed(steps):
        rows = ld[k + step :, k : k + step]
        x[k : k + step] -= (rows.conj() if hermitian else rows).T @ x[k + step :]
        x[[here, p]] = x[[p, here]]
    return x


def batched(function: Any, *arrays: tuple[np.ndarray, int]) -> list:
    """Apply a function of single matrices to batches: pairs of an array and how many dimensions one of its items has."""
    lead = np.broadcast_shapes(*[a.shape[: a.ndim - d] for a, d in arrays])
    spread = [np.broadcast_to(a, lead + a.shape[a.ndim - d :]).reshape(-1, *a.shape[a.ndim - d :]) for a, d in arrays]
    found = [function(*row) for row in zip(*spread)]
    results = list(zip(*found)) if found and isinstance(found[0], tuple) else [found]
    return [np.array(r).reshape((*lead, *np.shape(r[0]))) for r in results]
