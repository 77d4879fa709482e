"""Matrix products: matmul, linear, mm, bmm, mv, dot, outer, the add-to-a-product family, bilinear and distances."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.graph import next_seq
from ..autograd.modes import state
from ..tensor import Tensor
from .base import F32, F64, Op, _new, apply, composite, expect_tensor, op, write_out
from .samples import samples_for


def _times(xp: Any, a: Any, b: Any) -> Any:
    """The product as torch defines it; a matrix on the right of a batch is multiplied in one piece."""
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
        k = a.shape[-1]
        if k == b.shape[0]:
            return xp.matmul(a.reshape(-1, k) if a.size else a.reshape(a.size // max(k, 1), k), b).reshape(
                *a.shape[:-1], b.shape[1]) if k else xp.zeros((*a.shape[:-1], b.shape[1]), a.dtype)
    return xp.matmul(a, b)


def _matrix_grads(g: Any, a: Any, b: Any, needs: tuple) -> tuple:
    """Gradients of `a @ b` for operands of two or more dimensions; arrays and Tensors alike."""
    if b.ndim == 2 and a.ndim > 2:  # one matrix for the whole batch: its gradient is one product, not a sum of many
        rows = _rows(a.shape)
        flat = g.reshape(rows, g.shape[-1])
        return (g @ b.T if needs[0] else None), (a.reshape(rows, a.shape[-1]).T @ flat if needs[1] else None)
    return (g @ b.swapaxes(-1, -2) if needs[0] else None), (a.swapaxes(-1, -2) @ g if needs[1] else None)


def _rows(shape: tuple) -> int:
    n = 1
    for size in shape[:-1]:
        n *= size
    return n


@op("matmul")
class Matmul(Op):
    """The matrix product: dot product of vectors, matrix-vector, matrix-matrix, and batches of those that broadcast.

    Shapes: (k)@(k), (n,k)@(k), (k)@(k,m), (n,k)@(k,m), (...,n,k)@(...,k,m). Differing dtypes are promoted to a common
    one (torch refuses them). RuntimeError where sizes do not fit.

    >>> torch.matmul(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 1.]))
    tensor([3., 7.])
    """

    n, promote = 2, True
    keep = {0: (1,), 1: (0,)}
    node_names = {}

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        return _times(xp, a, b)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (a, b), needs = s.inputs, s.needs
        nd_a, nd_b = _ndims(s, a, b, g)
        if nd_a > 1 and nd_b > 1:
            if nd_a == 2 == nd_b:
                return (g @ b.T if needs[0] else None), (a.T @ g if needs[1] else None)
            return _matrix_grads(g, a if a is not None else _shape_only(s, 0), b if b is not None else _shape_only(s, 1),
                                 needs)
        if nd_a == 1 and nd_b == 1:
            return (g * b if needs[0] else None), (g * a if needs[1] else None)
        if nd_b == 1:  # (..., n, k) @ (k)
            column = g.reshape(*g.shape, 1)
            da = column * b if needs[0] else None
            db = (a.swapaxes(-1, -2) @ column).reshape(*g.shape[:-1], a.shape[-1]) if needs[1] else None
            return da, db
        row = g.reshape(*g.shape[:-1], 1, g.shape[-1])  # (k) @ (..., k, m)
        da = (row @ b.swapaxes(-1, -2)).reshape(*g.shape[:-1], b.shape[-2]) if needs[0] else None
        db = a.reshape(-1, 1) * row if needs[1] else None
        return da, db
