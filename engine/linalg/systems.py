"""Inverses, determinants and systems of equations."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import backend
from engine.dtypes import int32
from engine.ops import linear_algebra as systems
from engine.ops.base import CARDS
from engine.ops.casting import in_float32
from engine.ops.extrema import return_type
from engine.ops.linear_algebra_checks import expect_square, eye_for
from engine.ops.linear_algebra_kernels import factor
from engine.tensor import Tensor, wrap

_finish = systems.finish
_InvEx = return_type("linalg_inv_ex", "inverse info")
_SolveEx = return_type("linalg_solve_ex", "result info")


@in_float32
def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverses of square matrices (*, n, n). LinAlgError for a singular one.

    >>> torch.linalg.inv(torch.tensor([[2., 0.], [0., 4.]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return systems.inverse(A, out=out)


def without_error(call: Any, a: Tensor, info: Any) -> Tensor:
    """`call(a)`, with matrices whose `info` is not 0 replaced by the identity and their results by NaN."""
    failed = wrap((info != 0)[..., None, None])
    return call(eye_for(a).where(failed, a)).masked_fill(failed, float("nan"))  # type: ignore[attr-defined]


def info_tensor(info: Any) -> Tensor:
    return wrap(info.astype(np.int32))


def no_info(A: Tensor) -> Tensor:
    return A.new_zeros(A.shape[:-2], dtype=int32)  # type: ignore[attr-defined]


@in_float32
def inv_ex(A: Tensor, *, check_errors: bool = False, out: Any = None) -> Any:
    """(inverse, info): like `inv`, but a singular matrix gives NaN and the order of its zero pivot in `info` (int32).

    >>> torch.linalg.inv_ex(torch.zeros(1, 1)).info
    tensor(1, dtype=torch.int32)
    """
    expect_square("linalg.inv", A)
    if check_errors:
        result = systems.inverse(A)
        return _finish(_InvEx(result, no_info(A)), out)
    info = factor(backend.namespace(A._array), A._array)[2]
    return _finish(_InvEx(without_error(systems.inverse, A, info), info_tensor(info)), out)


def det(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The determinants of square matrices.

    >>> torch.linalg.det(torch.tensor([[1., 2.], [3., 5.]]))
    tensor(-1.)
    """
    return _finish(CARDS["det"].call(A), out)


def slogdet(A: Tensor, *, out: Any = None) -> Any:
    """(sign, logabsdet) of the determinants of square matrices.

    >>> torch.linalg.slogdet(torch.tensor([[2.]])).sign
    tensor(1.)
    """
    return _finish(systems.slogdet(A), out)


@in_float32
def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Tensor | None = None) -> Tensor:
    """X with A X = B, or X A = B if not `left`; B holds matrices (*, n, k) or vectors (*, n).

    LinAlgError for a singular A; RuntimeError for sizes or dtypes that do not fit.

    >>> torch.linalg.solve(torch.tensor([[2., 0.], [0., 4.]]), torch.tensor([2., 2.]))
    tensor([1.0000, 0.5000])
    """
    return _finish(systems.solve("linalg.solve", A, B, left), out)


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """(result, info): like `solve`, but a singular matrix gives NaN and the order of its zero pivot in `info` (int32).

    >>> torch.linalg.solve_ex(torch.eye(2), torch.ones(2)).result
    tensor([1., 1.])
    """
    expect_square("linalg.solve", A)
    if check_errors:
        return _finish(_SolveEx(solve(A, B, left=left), no_info(A)), out)
    info = factor(backend.namespace(A._array), A._array)[2]
    if not info.any():
        return _finish(_SolveEx(solve(A, B, left=left), info_tensor(info)), out)
    failed = wrap((info != 0)[..., None, None])
    result = solve(eye_for(A).where(failed, A), B, left=left)  # type: ignore[attr-defined]
    unknown = failed.squeeze(-1) if systems.is_vector(A, B) else failed  # type: ignore[attr-defined]
    return _finish(_SolveEx(result.masked_fill(unknown, float("nan")), info_tensor(info)), out)  # type: ignore[attr-defined]


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False,
                     out: Tensor | None = None) -> Tensor:
    """X with A X = B (X A = B if not `left`) for triangular A; with `unitriangular` its diagonal is taken as 1.

    >>> torch.linalg.solve_triangular(torch.tensor([[1., 1.], [0., 2.]]), torch.tensor([[3.], [2.]]), upper=True)
    tensor([[2.],
            [1.]])
    """
    return _finish(systems.solve_triangular("linalg.solve_triangular", A, B, upper, left, unitriangular), out)


@in_float32
def tensorinv(A: Tensor, ind: int = 2, *, out: Tensor | None = None) -> Tensor:
    """The inverse of `tensordot(A, ., ind)`: A's first `ind` sizes have the product of the others.

    >>> torch.linalg.tensorinv(torch.eye(4).reshape(2, 2, 4), ind=2).shape
    torch.Size([4, 2, 2])
    """
    return _finish(systems.tensor_inverse(A, ind), out)


@in_float32
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None, *, out: Tensor | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to its end first.

    >>> torch.linalg.tensorsolve(torch.eye(4).reshape(2, 2, 4), torch.ones(2, 2))
    tensor([1., 1., 1., 1.])
    """
    return _finish(systems.tensor_solve(A, B, dims), out)
