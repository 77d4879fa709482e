"""Factorisations of matrices: Cholesky, QR, LU, and what is solved or built with their factors.

Gradients: Cholesky after I. Murray, arXiv:1602.07527; QR after S. F. Walter and L. Lehmann, arXiv:1009.6112; LU after
M. Seeger et al., arXiv:1710.08717. Wide and tall matrices are reduced to these by solving for the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..errors import LinAlgError
from ..tensor import Tensor, wrap
from .base import CARDS, Op, composite, op
from .extrema import return_type
from .joining import Cat
from .linear_algebra import Substitute, finish, well_conditioned
from .linear_algebra_checks import adj, adjoint_of, batch_phrase, expect_matrix, expect_square, eye_for
from .linear_algebra_kernels import factor, order_of
from .samples import Array, samples_for

QR = return_type("linalg_qr", "Q R")
OldQR = return_type("qr", "Q R")
LU = return_type("linalg_lu", "P L U")
LUFactor = return_type("linalg_lu_factor", "LU pivots")
LUFactorEx = return_type("linalg_lu_factor_ex", "LU pivots info")
Unpacked = return_type("lu_unpack", "P L U")


# -- Cholesky ---------------------------------------------------------------------------------------------------------


def _triangle_with_real_diagonal(xp: Any, m: Any) -> Any:
    """The strict lower triangle, and the real part of the diagonal, as (strict, diagonal matrix)."""
    diagonal = m * xp._eye_for(m)
    if m.dtype.kind == "c":
        diagonal = (diagonal + xp.conj(diagonal)) * 0.5
    return xp.tril(m, -1), diagonal


@op("_cholesky", function=False, method=False, node="LinalgCholeskyExBackward0")
class Cholesky(Op):
    """Lower triangular L with A = L L^H. With P the lower triangle of L^H g, its diagonal halved, A's gradient is
    L^-H (P + P^H) / 2 L^-1: Hermitian, although only the lower triangle of A is read."""

    keep_output = True

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        return xp.linalg.cholesky(a)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        lower = s.output
        strict, diagonal = _triangle_with_real_diagonal(xp, adj(xp, lower) @ g)
        middle = (strict + adj(xp, strict) + diagonal) * 0.5
        upper = adj(xp, lower)
        left = xp._substitute(upper, middle, True, False)
        return (adj(xp, xp._substitute(upper, adj(xp, left), True, False)),)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        where, order = batch_phrase(failed_minor(tensors[0]._array))
        return LinAlgError(f"linalg.cholesky: {where}The factorization could not be completed because the input is not "
                           f"positive-definite (the leading minor of order {order} is not positive-definite).")


def failed_minor(a: Any) -> Any:
    """For every matrix the order of its first leading minor that is not positive definite; 0 if there is none."""
    info = np.zeros(a.shape[:-2], np.int32)
    for at in np.ndindex(info.shape):
        for k in range(1, a.shape[-1] + 1):
            try:
                np.linalg.cholesky(a[at][:k, :k])
            except np.linalg.LinAlgError:
                info[at] = k
                break
    return info


def cholesky_factor(name: str, a: Tensor, upper: bool) -> Tensor:
    """The Cholesky factor of positive definite matrices: L, or L^H if `upper`."""
    expect_square(name, a)
    return adjoint_of(Cholesky.apply(adjoint_of(a))) if upper else Cholesky.apply(a)


@composite("cholesky")
def cholesky(input: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The triangular factor of positive definite matrices (*, n, n): input = L L^H, or U^H U with `upper`.

    LinAlgError for a matrix that is not positive definite.

    >>> torch.cholesky(torch.tensor([[4., 2.], [2., 5.]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    if not input.numel():
        return finish(input.clone(), out)  # type: ignore[attr-defined]
    return finish(cholesky_factor("cholesky", input, upper), out)


@composite("cholesky_solve")
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """X with A X = B, where A = L L^H (U^H U with `upper`) is given by its Cholesky factor `L`.

    >>> torch.cholesky_solve(torch.tensor([[8.], [9.]]), torch.tensor([[2., 0.], [1., 2.]]))
    tensor([[1.3750],
            [1.2500]])
    """
    expect_square("cholesky_solve", L, "L")
    expect_matrix("cholesky_solve", B, "B")
    lower = adjoint_of(L) if upper else L
    return finish(Substitute.apply(adjoint_of(lower), Substitute.apply(lower, B, False, False), True, False), out)


@composite("cholesky_inverse")
def cholesky_inverse(L: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The inverse of A = L L^H (U^H U with `upper`), given by its Cholesky factor.

    >>> torch.cholesky_inverse(torch.tensor([[2., 0.], [0., 1.]]))
    tensor([[0.2500, 0.0000],
            [0.0000, 1.0000]])
    """
    expect_square("cholesky_inverse", L, "L")
    return finish(cholesky_solve(eye_for(L), L, upper), out)


# -- QR ---------------------------------------------------------------------------------------------------------------


@op("_qr", function=False, method=False, node="LinalgQrBackward0")
class ReducedQR(Op):
    """A = Q R for matrices with at least as many rows as columns. With M = R g_R^H - g_Q^H Q and C its Hermitian
    completion from the lower triangle, A's gradient is (g_Q + Q C) R^-H."""

    outputs, keep = 0, (0,)

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        return list(xp.linalg.qr(a, mode="reduced"))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        q, r = xp._qr(s.inputs[0])
        g_q, g_r = g
        m = None if g_r is None else r @ adj(xp, g_r)
        if g_q is not None:
            m = -(adj(xp, g_q) @ q) if m is None else m - adj(xp, g_q) @ q
        strict, diagonal = _triangle_with_real_diagonal(xp, m)
        right = q @ (strict + adj(xp, strict) + diagonal)
        if g_q is not None:
            right = right + g_q
        return (adj(xp, xp._substitute(r, adj(xp, right), True, False)),)


@op("_qr_fixed", function=False, method=False, node="LinalgQrBackward0")
class QRWithoutGradient(Op):
    """The forms of QR that determine too little of Q to have a gradient; `backward` says so."""

    outputs = 0

    @staticmethod
    def forward(xp: Any, a: Any, mode: str) -> Any:
        if mode == "r":
            return [xp.zeros(0, a.dtype), xp.linalg.qr(a, mode="r")]
        return list(xp.linalg.qr(a, mode=mode))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        if s.params[0] == "r":
            raise RuntimeError("The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
                               "linalg.qr(A, mode='reduced') if you are going to require gradients.")
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols.")


def qr_factors(a: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """(Q, R) of A; `mode` is "reduced", "complete" or "r" (Q is empty)."""
    expect_matrix("linalg.qr", a)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
                           "'complete'")
    m, n = a.shape[-2:]
    if mode == "r" or (mode == "complete" and m > n):
        return QRWithoutGradient.apply(a, mode)
    if m >= n:
        return ReducedQR.apply(a)
    q, r = ReducedQR.apply(a[..., :m])  # the rest of A in the basis Q
    return q, Cat.apply([r, adjoint_of(q) @ a[..., m:]], a.ndim - 1)  # type: ignore[operator]


@composite("qr")
def qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """(Q, R) of matrices (*, m, n), Q with orthonormal columns; all m of them with `some=False`.

    >>> torch.qr(torch.tensor([[3.], [4.]])).R.abs()
    tensor([[5.]])
    """
    return finish(OldQR(*qr_factors(input, "reduced" if some else "complete")), out)


# -- LU ---------------------------------------------------------------------------------------------------------------


@op("_lu_unpivoted", function=False, method=False, node="LinalgLuFactorExBackward0")
class UnpivotedLU(Op):
    """L and U of square matrices whose rows are in pivoted order already, in one matrix. With the gradient g of both,
    A's is L^-H (strict lower triangle of L^H g_L + upper triangle of g_U U^H) U^-H."""

    keep_output = True

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        return factor(xp, a)[0]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        both = s.output
        lower = xp.tril(both, -1) + xp._eye_for(both)
        upper = xp.triu(both, 0)
        middle = xp.tril(adj(xp, lower) @ xp.tril(g, -1), -1) + xp.triu(xp.triu(g, 0) @ adj(xp, upper), 0)
        left = xp._substitute(adj(xp, lower), middle, True, True)
        return (adj(xp, xp._substitute(upper, adj(xp, left), True, False)),)


def rows_in_order(a: Tensor, order: Any) -> Tensor:
    """The rows of every matrix in the order given per matrix."""
    index = tuple(backend.namespace(order).indices(order.shape)[:-1]) + (order,)
    return CARDS["_gather_index"].apply(a, index)


def lu_compact(name: str, a: Tensor, pivot: bool) -> tuple[Tensor, Any, Any]:
    """(L and U in one matrix, pivots from 0, info): the factorisation is found on raw arrays, then recorded."""
    expect_matrix(name, a)
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")
    m, n = a.shape[-2:]
    xp = backend.namespace(a._array)
    compact, pivots, info = factor(xp, a._array)
    if not a.requires_grad:
        return wrap(compact), pivots, info
    ordered = rows_in_order(a, order_of(xp, pivots, m))
    k = min(m, n)
    both = UnpivotedLU.apply(ordered[..., :k, :k])
    if n > k:
        rest = Substitute.apply(both, ordered[..., :k, k:], False, True)
        both = Cat.apply([both, rest], a.ndim - 1)
    elif m > k:
        rest = Substitute.apply(both.mT, ordered[..., k:, :].mT, False, False).mT  # type: ignore[attr-defined]
        both = Cat.apply([both, rest], a.ndim - 2)
    return both, pivots, info


def lu_parts(both: Tensor, pivots: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(P, L, U) of a compact LU and its pivots, counted from 0."""
    m, n = both.shape[-2:]
    k = min(m, n)
    lower = both[..., :, :k].tril(-1)
    xp, dtype = backend.namespace(both._array), both._array.dtype
    permutation = xp.swapaxes(xp.eye(m, dtype=dtype)[order_of(xp, pivots, m)], -1, -2)
    return wrap(xp.ascontiguousarray(permutation)), lower + wrap(xp.eye(m, k, dtype=dtype)), both[..., :k, :].triu()


def pivots_tensor(pivots: Any) -> Tensor:
    """Pivots as LAPACK and torch count them: int32 from 1."""
    return wrap((pivots + 1).astype(np.int32))


def lu_factor(name: str, A: Tensor, pivot: bool) -> Any:
    """(LU, pivots) of A. LinAlgError is not raised: a singular matrix has an LU too."""
    both, pivots, _ = lu_compact(name, A, pivot)
    return LUFactor(both, pivots_tensor(pivots))


@composite("lu")
def lu(input: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """(LU, pivots) of matrices, and with `get_infos` an int32 tensor that is 0 where all pivots are non-zero.

    >>> both, pivots = torch.lu(torch.tensor([[0., 1.], [2., 3.]]))
    >>> both
    tensor([[2., 3.],
            [0., 1.]])
    """
    both, pivots, info = lu_compact("linalg.lu_factor", input, pivot)
    found = (both, pivots_tensor(pivots), *((wrap(info.astype(np.int32)),) if get_infos else ()))
    return finish(found, out)


@composite("lu_unpack", method=False)
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True, *,
              out: Any = None) -> Any:
    """(P, L, U) of what `lu_factor` returns; empty tensors for what is not asked for.

    >>> a = torch.tensor([[0., 1.], [2., 3.]])
    >>> P, L, U = torch.lu_unpack(*torch.linalg.lu_factor(a))
    >>> torch.equal(P @ L @ U, a)
    True
    """
    if unpack_pivots and LU_pivots.dtype.name != "int32":
        raise RuntimeError("torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype. "
                           "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor "
                           f"(got {LU_pivots.dtype})")
    parts = lu_parts(LU_data, LU_pivots._array.astype(int) - 1)
    empty = LU_data.new_zeros((0,))  # type: ignore[attr-defined]
    wanted = (unpack_pivots, unpack_data, unpack_data)
    return finish(Unpacked(*[part if want else empty for part, want in zip(parts, wanted)]), out)


def solve_with_lu(both: Tensor, pivots: Tensor, b: Tensor, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B (A^H X = B if `adjoint`, X A = B if not `left`), A given by its LU factorisation."""
    if not left:
        return adjoint_of(solve_with_lu(both, pivots, adjoint_of(b), True, not adjoint))
    xp = backend.namespace(both._array)
    order = order_of(xp, pivots._array.astype(int) - 1, both.shape[-1])
    lead = np.broadcast_shapes(order.shape[:-1], tuple(b.shape[:-2]))
    order = xp.broadcast_to(order, (*lead, order.shape[-1]))
    b = b.expand(*lead, *b.shape[-2:])  # type: ignore[attr-defined]
    if not adjoint:
        return Substitute.apply(both, Substitute.apply(both, rows_in_order(b, order), False, True), True, False)
    h = adjoint_of(both)
    x = Substitute.apply(h, Substitute.apply(h, b, False, False), True, True)
    return rows_in_order(x, xp.argsort(order, axis=-1))


@composite("lu_solve")
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor, *, out: Tensor | None = None) -> Tensor:
    """X with A X = b, A given by `torch.lu_factor`'s result.

    >>> torch.lu_solve(torch.tensor([[1.], [5.]]), *torch.linalg.lu_factor(torch.tensor([[0., 1.], [2., 3.]])))
    tensor([[1.],
            [1.]])
    """
    return finish(solve_with_lu(LU_data, LU_pivots, b), out)


# -- products of Householder reflections ------------------------------------------------------------------------------


@composite("orgqr")
def orgqr(input: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The first n columns of the product of the reflections I - tau_i v_i v_i^H, v_i below the diagonal of `input`
    (*, m, n) with a 1 on it.

    >>> torch.orgqr(torch.tensor([[0.], [0.]]), torch.tensor([2.]))
    tensor([[-1.],
            [ 0.]])
    """
    expect_matrix("linalg.householder_product", input, "input")
    if tau.ndim != input.ndim - 1:
        raise RuntimeError("torch.linalg.householder_product: Expected tau to have one dimension less than input, but got "
                           f"tau.ndim equal to {tau.ndim} and input.ndim is equal to {input.ndim}")
    m, n = input.shape[-2:]
    if m < n:
        raise RuntimeError("linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if n < tau.shape[-1]:
        raise RuntimeError("linalg.householder_product: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    xp = backend.namespace(input._array)
    eye = xp.eye(m, n, dtype=input._array.dtype)
    result = wrap(xp.broadcast_to(eye, input.shape).copy())
    vectors = input.tril(-1) + wrap(eye)  # type: ignore[attr-defined]
    for i in reversed(range(tau.shape[-1])):
        v = vectors[..., i : i + 1]
        result = result - tau[..., i, None, None] * (v @ (adjoint_of(v) @ result))
    return finish(result, out)


@samples_for("lu_solve")
def _factor_samples(make: Any) -> Any:
    for shape in ((4, 3), (3, 3), (3, 5), (2, 4, 2)):
        yield make("qr", make.uniform(shape), _module="linalg")
        yield make("lu", make.uniform(shape), _module="linalg")
        yield make("lu_factor", make.uniform(shape), _module="linalg")
    yield make("qr", make.uniform((4, 3)), mode="complete", _grad=False, _module="linalg")
    yield make("qr", make.uniform((4, 3)), mode="r", _grad=False, _module="linalg")
    yield make("qr", make.complex((4, 3)), _module="linalg")
    yield make("lu", make.complex((3, 3)), _module="linalg")
    yield make("lu_factor", make.uniform((40, 40)), _grad=False, _module="linalg")
    yield make("orgqr", make.uniform((4, 3)), make.uniform((2,)))
    yield make("householder_product", make.uniform((2, 4, 3)), make.uniform((2, 3)), _module="linalg")
    lower = make.rng.uniform(0.2, 1, (3, 3)) + np.eye(3)
    for upper in (False, True):
        triangle = Array(np.triu(lower) if upper else np.tril(lower))
        for options in ({"_grad": False}, {"_oracle": False}):  # torch's gradient also fills the triangle that is not read
            yield make("cholesky_solve", make.uniform((3, 2)), triangle, upper, **options)
            yield make("cholesky_inverse", triangle, upper, **options)
    root = well_conditioned(make, (2, 3, 3)).values
    definite = Array(root @ root.swapaxes(-1, -2))
    yield make("cholesky", definite, _grad=False)
    yield make("cholesky", definite, upper=True, _grad=False, _module="linalg")
