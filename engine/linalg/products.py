"""Norms, ranks, powers and products."""

from __future__ import annotations

from typing import Any

from engine import dtypes
from engine.ops import linear_algebra as systems
from engine.ops import linear_algebra_norms as norms
from engine.ops.base import CARDS, FUNCTIONS, with_numpy_names
from engine.ops.casting import casting, in_float32, lower, without
from engine.ops.products import multiply_in_best_order
from engine.tensor import Tensor

_finish = systems.finish


@with_numpy_names
def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, out: Tensor | None = None,
         dtype: Any = None) -> Tensor:
    """A vector norm (`ord` a number, over one `dim` or, without `ord`, over all elements) or a matrix norm (two dims).

    >>> torch.linalg.norm(torch.tensor([[3., 4.]]))
    tensor(5.)
    """
    if ord is None:
        return _finish(norms.vector_norm(A, 2, dim, keepdim, dtype), out)
    count = A.ndim if dim is None else 1 if isinstance(dim, int) else len(dim)
    if dim is None and A.ndim not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D.")
    if isinstance(ord, str) or count == 2:
        pair = (-2, -1) if dim is None else dim
        return _finish(norms.matrix_norm(A, ord, pair, keepdim, dtype), out)
    return _finish(norms.vector_norm(A, ord, dim, keepdim, dtype), out)


@with_numpy_names
def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
                out: Tensor | None = None) -> Tensor:
    """(sum |x|^ord)^(1/ord) over `dim` or all elements; inf, -inf and 0 as limits.

    >>> torch.linalg.vector_norm(torch.tensor([3., 4.]))
    tensor(5.)
    """
    return _finish(norms.vector_norm(x, ord, dim, keepdim, dtype), out)


@with_numpy_names
def matrix_norm(A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None,
                out: Tensor | None = None) -> Tensor:
    """"fro", "nuc", inf, -inf (row sums), 1, -1 (column sums), 2 or -2 (extreme singular values).

    >>> torch.linalg.matrix_norm(torch.tensor([[3., 4.]]))
    tensor(5.)
    """
    return _finish(norms.matrix_norm(A, ord, dim, keepdim, dtype), out)


@in_float32
def cond(A: Tensor, p: Any = None, *, out: Tensor | None = None) -> Tensor:
    """The condition number in a matrix norm; by default the ratio of the extreme singular values.

    >>> torch.linalg.cond(torch.tensor([[2., 0.], [0., 1.]]))
    tensor(2.)
    """
    return _finish(norms.cond(A, p), out)


@in_float32
def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None,
                out: Tensor | None = None) -> Tensor:
    """The numbers of singular values above max(atol, rtol * largest), int64. `tol` is an old name of `atol`.

    >>> torch.linalg.matrix_rank(torch.ones(3, 3))
    tensor(1)
    """
    return _finish(norms.matrix_rank(A, atol if tol is None else tol, rtol, hermitian), out)


def matrix_power(A: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """Square matrices to an integer power; the inverse is raised for n < 0.

    >>> torch.linalg.matrix_power(torch.tensor([[1., 1.], [0., 1.]]), -2)
    tensor([[ 1., -2.],
            [ 0.,  1.]])
    """
    return FUNCTIONS["matrix_power"](A, n, out=out)


def matrix_exp(A: Tensor) -> Tensor:
    """The exponentials of square matrices.

    >>> torch.linalg.matrix_exp(torch.zeros(1, 1))
    tensor([[1.]])
    """
    return CARDS["matrix_exp"].call(A)


def multi_dot(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """The product of two or more matrices in the cheapest order; the first and the last may be vectors.

    >>> torch.linalg.multi_dot([torch.ones(2), torch.ones(2, 3), torch.ones(3)])
    tensor(6.)
    """
    parts = list(tensors)
    if len(parts) < 2:
        raise RuntimeError("multi_dot(): expected at least 2 tensors but got " + str(len(parts)))
    first, last = parts[0].ndim == 1, parts[-1].ndim == 1
    if first:
        parts[0] = parts[0].unsqueeze(0)
    if last:
        parts[-1] = parts[-1].unsqueeze(1)
    for i, part in enumerate(parts):
        if part.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {part.ndim}D")
    result = multiply_in_best_order(parts)
    result = result.squeeze(0) if first else result  # type: ignore[attr-defined]
    return _finish(result.squeeze(-1) if last else result, out)


def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The matrix product, `torch.matmul`.

    >>> torch.linalg.matmul(torch.ones(1, 2), torch.ones(2))
    tensor([2.])
    """
    return CARDS["matmul"].call(input, other, out=out)


@with_numpy_names
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The sum of conj(x) * y over `dim`; the other dimensions broadcast.

    >>> torch.linalg.vecdot(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 1.]))
    tensor([3., 7.])
    """
    if casting.on and out is None:
        return without(_vecdot, lower(x, y), {"dim": dim})
    return _finish(_vecdot(x, y, dim), out)


def _vecdot(x: Tensor, y: Tensor, dim: int) -> Tensor:
    return (x.conj() * y).sum(dim)  # type: ignore[attr-defined]


@with_numpy_names
def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The cross product along `dim`, which has 3 elements; the other dimensions broadcast.

    >>> torch.linalg.cross(torch.tensor([1., 0., 0.]), torch.tensor([0., 1., 0.]))
    tensor([0., 0., 1.])
    """
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    return FUNCTIONS["cross"](input, other, dim, out=out)


@with_numpy_names
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of matrices.

    >>> torch.linalg.diagonal(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return CARDS["diagonal"].call(A, offset, dim1, dim2)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """The Vandermonde matrices of vectors (*, n): powers 0 to N-1 (n-1 by default) of every element in a row.

    >>> torch.linalg.vander(torch.tensor([2, 3]), N=3)
    tensor([[1, 2, 4],
            [1, 3, 9]])
    """
    if x.dtype is dtypes.bool_:
        raise RuntimeError("linalg.vander supports floating point, complex, and integer tensors, but got Bool")
    if x.dtype.category == 1:
        x = x.to(dtypes.int64)  # type: ignore[attr-defined]
    count = x.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError(f"N must be greater than 1, got {count}.")
    return FUNCTIONS["stack"]([x**p for p in range(count)], -1)  # type: ignore[operator]
