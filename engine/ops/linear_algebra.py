"""Inverses, determinants and linear systems: inverse, det, slogdet, logdet, solve, triangular_solve, matrix_exp.

Gradients follow M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); for complex matrices they are conjugated as torch does (the gradient is the direction of
steepest ascent). Every formula is written in the vocabulary, so all of them can be differentiated again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import LinAlgError
from ..tensor import Tensor
from .base import Op, composite, op
from .extrema import return_type
from .inplace import with_out, write_out
from .linear_algebra_checks import (
    adj,
    batch_phrase,
    column,
    expect_matrix,
    expect_same_dtype,
    expect_square,
    row,
    singular,
)
from .linear_algebra_kernels import exponential, factor, substitute
from .samples import Array, samples_for

SLogDet = return_type("linalg_slogdet", "sign logabsdet")
TriangularSolve = return_type("triangular_solve", "solution cloned_coefficient")


def finish(result: Any, out: Any) -> Any:
    """`result`, or `out` with the result in it."""
    return result if out is None else write_out(out, result)


def well_conditioned(make: Any, shape: tuple) -> Array:
    """A drawn batch of square matrices whose diagonal dominates."""
    return Array(make.rng.uniform(-1, 1, shape) + 2.5 * np.eye(shape[-1]))


def _info_of(array: Any) -> Any:
    return factor(np, array)[2]


@op("_inverse", function=False, method=False, node="LinalgInvExBackward0")
class Inverse(Op):
    """X = A^-1; with the gradient g of X, A's is -X^H g X^H."""

    keep_output = True

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        return xp.linalg.inv(a)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x = adj(xp, s.output)
        return (-(x @ (g @ x)),)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return singular("linalg.inv", _info_of(tensors[0]._array))

    @staticmethod
    def samples(make: Any) -> Any:
        for shape in ((3, 3), (2, 4, 4), (1, 1), (0, 0), (0, 3, 3)):
            yield make("inverse", well_conditioned(make, shape))
        yield make("inverse", well_conditioned(make, (3, 3)).t())
        yield make("inv", Array(make.complex((3, 3)).values + 3 * np.eye(3)), _module="linalg")


@composite("inverse")
def inverse(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of square matrices (*, n, n), floating or complex.

    LinAlgError for a singular matrix, RuntimeError for other shapes and for integers.

    >>> torch.inverse(torch.tensor([[2., 0.], [0., 4.]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return finish(Inverse.apply(expect_square("linalg.inv", input)), out)


# -- determinants -----------------------------------------------------------------------------------------------------


def _cofactors(xp: Any, a: Any) -> Any:
    """The conjugated cofactors from the singular values: right for singular matrices too, where det(A) A^-H is not."""
    u, s, vh = xp._svd(a, False)
    turn = xp.conj(xp.det(u) * xp.det(vh)) if a.dtype.kind == "c" else xp.det(u) * xp.det(vh)
    others = xp._products_of_others(s, len(s.shape) - 1)
    return column(xp, column(xp, turn)) * ((u * row(xp, others)) @ vh)


@op("det", node="LinalgDetBackward0")
class Det(Op):
    """The determinants of square matrices (*, n, n), as (*).

    RuntimeError for other shapes and for integers.

    >>> torch.det(torch.tensor([[1., 2.], [3., 5.]]))
    tensor(-1.)
    """

    keep, keep_output = (0,), True

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        return xp.asarray(xp.linalg.det(a))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        a, d = s.inputs[0], s.output
        if bool((d == 0).any()):
            return (column(xp, column(xp, g)) * _cofactors(xp, a),)
        scale = g * (xp.conj(d) if d.dtype.kind == "c" else d)
        return (column(xp, column(xp, scale)) * adj(xp, xp._inverse(a)),)

    @staticmethod
    def call(input: Tensor) -> Tensor:
        return Det.apply(expect_square("linalg.det", input))

    @staticmethod
    def samples(make: Any) -> Any:
        for shape in ((3, 3), (2, 4, 4), (1, 1)):
            yield make("det", well_conditioned(make, shape))
        yield make("det", make.uniform((0, 0)), _grad=False)
        yield make("det", Array(np.array([[1.0, 2.0], [2.0, 4.0]])), _gradgrad=False, _oracle=False)  # torch: 0
        yield make("det", make.complex((2, 3, 3)))


@op("_slogdet", function=False, method=False, node="LinalgSlogdetBackward0")
class SignAndLogDet(Op):
    """Phase and logarithm of the absolute value of the determinant; with c = Im(g_sign conj(sign)), the gradient is
    (g_log + i c) A^-H."""

    outputs, keep, keep_output = 0, (0,), True

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        sign, log = xp.linalg.slogdet(a)
        return [xp.asarray(sign), xp.asarray(log)]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        a = s.inputs[0]
        scale = g[1]
        if a.dtype.kind == "c" and g[0] is not None:
            sign = xp._slogdet(a)[0]
            turned = g[0] * xp.conj(sign)
            turn = (turned - xp.conj(turned)) * 0.5  # i Im(...)
            scale = turn if scale is None else scale + turn
        if scale is None:
            return (None,)
        return (column(xp, column(xp, scale)) * adj(xp, xp._inverse(a)),)


@composite("slogdet")
@with_out
def slogdet(input: Tensor) -> Any:
    """(sign, logabsdet) of square matrices (*, n, n): det = sign * exp(logabsdet), without overflow.

    `sign` is +-1 or 0 (of modulus 1 or 0 for complex matrices); `logabsdet` is real, -inf for singular matrices.

    >>> torch.slogdet(torch.tensor([[0., 2.], [3., 0.]]))
    torch.return_types.linalg_slogdet(
    sign=tensor(-1.),
    logabsdet=tensor(1.7918))
    """
    return SLogDet(*SignAndLogDet.apply(expect_square("linalg.slogdet", input)))


@composite("logdet")
def logdet(input: Tensor) -> Tensor:
    """The logarithms of the determinants of square matrices: NaN for a negative determinant, -inf for zero.

    >>> torch.logdet(torch.tensor([[2., 0.], [0., 3.]]))
    tensor(1.7918)
    """
    sign, log = slogdet(input)
    if input.is_complex():
        return log + sign.log()
    return log.masked_fill(sign < 0, float("nan"))


@samples_for("slogdet")
def _determinant_samples(make: Any) -> Any:
    for shape in ((3, 3), (2, 4, 4)):
        yield make("slogdet", well_conditioned(make, shape))
        yield make("logdet", well_conditioned(make, shape))
    yield make("slogdet", make.complex((2, 3, 3)))


# -- linear systems ---------------------------------------------------------------------------------------------------


@op("_solve", function=False, method=False, node="LinalgSolveExBackward0")
class Solve(Op):
    """X with A X = B; with the gradient g of X, B's is A^-H g and A's is -(A^-H g) X^H."""

    n, keep, keep_output = 2, (0,), True

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        return xp.linalg.solve(a, b)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        db = xp._solve(adj(xp, s.inputs[0]), g)
        return (-(db @ adj(xp, s.output)) if s.needs[0] else None), db

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        if not isinstance(error, np.linalg.LinAlgError):
            return super().explain(error, tensors, params)
        where, _ = batch_phrase(_info_of(tensors[0]._array))
        return LinAlgError(f"torch.linalg.solve: {where}The solver failed because the input matrix is singular.")

    @staticmethod
    def samples(make: Any) -> Any:
        for a, b in (((3, 3), (3, 2)), ((3, 3), (3,)), ((2, 3, 3), (2, 3, 4)), ((2, 3, 3), (2, 3)), ((2, 3, 3), (3, 2)),
                     ((3, 3), (2, 3, 1)), ((0, 0), (0, 2))):
            yield make("solve", well_conditioned(make, a), make.uniform(b), _module="linalg")
        yield make("solve", well_conditioned(make, (3, 3)), make.uniform((2, 3)), left=False, _module="linalg")
        yield make("solve", make.complex((3, 3)), make.complex((3, 2)), _module="linalg")


def is_vector(a: Tensor, b: Tensor) -> bool:
    """Whether `b` holds vectors and not matrices: one dimension, or the shape of A without its last one."""
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and tuple(b.shape) == tuple(a.shape[:-1]))


def solve(name: str, a: Tensor, b: Tensor, left: bool = True) -> Tensor:
    """X with A X = B (X A = B if not `left`)."""
    expect_square(name, a)
    expect_same_dtype(name, a, b)
    if is_vector(a, b):
        if not left:
            raise RuntimeError(f"{name}: Vector broadcasting of the left hand side is not supported for left=False. In this "
                               f"case linalg.solve is equivalent to B / A.squeeze(-1)")
        _expect_fit(name, a, b.unsqueeze(-1), True)  # type: ignore[attr-defined]
        return Solve.apply(a, b.unsqueeze(-1)).squeeze(-1)  # type: ignore[attr-defined]
    _expect_fit(name, a, b, left)
    if left:
        return Solve.apply(a, b)
    return Solve.apply(a.mT, b.mT).mT  # type: ignore[attr-defined]


def _expect_fit(name: str, a: Tensor, b: Tensor, left: bool) -> None:
    if b.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor B must have at least 2 dimensions.")
    if a.shape[-1] != b.shape[-2 if left else -1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
                           f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})")


@op("_substitute", function=False, method=False, node="LinalgSolveTriangularBackward0")
class Substitute(Op):
    """X with A X = B for triangular A, of which one triangle is read; A's gradient has the same triangle."""

    n, keep, keep_output = 2, (0,), True

    @staticmethod
    def forward(xp: Any, a: Any, b: Any, upper: bool, unit: bool) -> Any:
        return substitute(xp, a, b, upper, unit)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        upper, unit = s.params
        db = xp._substitute(adj(xp, s.inputs[0]), g, not upper, unit)
        if not s.needs[0]:
            return None, db
        da = -(db @ adj(xp, s.output))
        return (xp.triu(da, int(unit)) if upper else xp.tril(da, -int(unit))), db

    @staticmethod
    def samples(make: Any) -> Any:
        for upper in (True, False):
            for options in ({}, {"unitriangular": True}, {"left": False}):
                b = make.uniform((2, 3, 4) if options.get("left", True) else (2, 4, 3))
                yield make("solve_triangular", well_conditioned(make, (2, 3, 3)), b, upper=upper, _module="linalg", **options)
        yield make("solve_triangular", well_conditioned(make, (40, 40)), make.uniform((40, 1)), upper=False, _module="linalg",
                   _gradgrad=False)
        yield make("solve_triangular", make.complex((3, 3)), make.complex((3, 2)), upper=True, _module="linalg")
        for options in ({}, {"upper": False}, {"transpose": True}, {"unitriangular": True}):
            yield make("triangular_solve", make.uniform((3, 2)), well_conditioned(make, (3, 3)), **options)


def solve_triangular(name: str, a: Tensor, b: Tensor, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (X A = B if not `left`) for triangular A."""
    expect_square(name, a)
    expect_matrix(name, b, "B")
    expect_same_dtype(name, a, b)
    _expect_fit(name, a, b, left)
    if left:
        return Substitute.apply(a, b, upper, unitriangular)
    return Substitute.apply(a.mT, b.mT, not upper, unitriangular).mT  # type: ignore[attr-defined]


@composite("triangular_solve")
def triangular_solve(b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False, *,
                     out: Any = None) -> Any:
    """(X, A) with A X = b for triangular A, or A^T X = b with `transpose`. `torch.linalg.solve_triangular` is newer.

    >>> torch.triangular_solve(torch.tensor([[3.], [2.]]), torch.tensor([[1., 1.], [0., 2.]])).solution
    tensor([[2.],
            [1.]])
    """
    factor_, above = (A.mT, not upper) if transpose else (A, upper)  # type: ignore[attr-defined]
    x = solve_triangular("triangular_solve", factor_, b, above, True, unitriangular)
    return finish(TriangularSolve(x, A.clone()), out)  # type: ignore[attr-defined]


def tensor_inverse(A: Tensor, ind: int) -> Tensor:
    """The inverse of A read as a matrix whose rows are its first `ind` dimensions."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    shape = list(A.shape)
    rows, columns = int(np.prod(shape[:ind])), int(np.prod(shape[ind:]))
    if rows != columns:
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
                           f"{columns} != {rows}")
    return inverse(A.reshape(rows, columns)).reshape(shape[ind:] + shape[:ind])  # type: ignore[attr-defined]


def tensor_solve(A: Tensor, B: Tensor, dims: Any) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))  # type: ignore[attr-defined]
    tail = list(A.shape[B.ndim :])
    size = int(np.prod(tail))
    if size != B.numel():  # type: ignore[attr-defined]
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
                           f"prod(self.shape[:other.ndim]), but got {size} != {B.numel()}")  # type: ignore[attr-defined]
    x = solve("linalg.solve", A.reshape(-1, size), B.reshape(-1))  # type: ignore[attr-defined]
    return x.reshape(tail)  # type: ignore[attr-defined]


@op("matrix_exp", node="LinalgMatrixExpBackward0")
class MatrixExp(Op):
    """The exponentials of square matrices (*, n, n).

    By scaling and squaring (Higham 2005). The gradient is the upper right block of exp([[A^H, g], [0, A^H]]).

    >>> torch.matrix_exp(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """

    keep = (0,)

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        return exponential(xp, a)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        a = adj(xp, s.inputs[0])
        n, last = a.shape[-1], len(a.shape) - 1
        top, bottom = xp.cat([a, g], last), xp.cat([a * 0, a], last)
        whole = xp.matrix_exp(xp.cat([top, bottom], last - 1))
        lead = (slice(None),) * (last - 1)
        return (xp._slice(whole, (*lead, slice(0, n), slice(n, 2 * n))),)

    @staticmethod
    def call(input: Tensor) -> Tensor:
        return MatrixExp.apply(expect_square("linalg.matrix_exp", input))

    @staticmethod
    def samples(make: Any) -> Any:
        for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 0)):
            yield make("matrix_exp", make.uniform(shape), _half=False)
        yield make("matrix_exp", make.uniform((3, 3), -9, 9), _gradgrad=False, _half=False)
        yield make("matrix_exp", make.complex((2, 2)), _half=False)


__all__ = ["Inverse", "Solve", "Substitute", "inverse", "is_vector", "solve", "solve_triangular"]
