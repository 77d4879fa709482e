"""Eigenvalues and singular values: eigh, eig, svd, and the pseudo-inverse.

Gradients: eigh and eig after M. Giles (2008), C. Boeddeker et al., arXiv:1701.00392, for complex matrices; svd after
J. Townsend, "Differentiating the singular value decomposition" (2016), and Z.-Q. Wan and S.-X. Zhang, arXiv:1909.02659;
the pseudo-inverse after G. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973). Vectors are determined up to a sign or
phase only: gradients are right for losses that do not depend on it, and infinite where values coincide.

The gradient formulas compute the factorisation again instead of keeping it: what a user does to the factors in place
then cannot spoil them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..errors import LinAlgError
from ..tensor import Tensor
from .base import Op, composite, op
from .extrema import return_type
from .linear_algebra import finish
from .linear_algebra_checks import adj, adjoint_of, batch_phrase, column, expect_matrix, row
from .samples import Array, samples_for

SVD = return_type("linalg_svd", "U S Vh")
OldSVD = return_type("svd", "U S V")
Eigh = return_type("linalg_eigh", "eigenvalues eigenvectors")
Eig = return_type("linalg_eig", "eigenvalues eigenvectors")


def _not_converged(name: str, tensors: Any) -> LinAlgError:
    a = tensors[0]._array
    bad = ~np.isfinite(a).all(axis=(-2, -1))
    where, _ = batch_phrase(bad.astype(int))
    reason = "the input matrix contained non-finite values." if bad.any() else "the input matrix is ill-conditioned or has " \
             "too many repeated values."
    return LinAlgError(f"{name}: {where}The algorithm failed to converge because {reason}")


class _Spectral(Op):
    """Base of these cards: how a failure is explained."""

    public = ""
    keep = (0,)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return _not_converged(cls.public, tensors)


# -- Hermitian matrices -----------------------------------------------------------------------------------------------


@op("_eigh", function=False, method=False, node="LinalgEighBackward0")
class HermitianEigen(_Spectral):
    """L (ascending) and V with A = V diag(L) V^H; A's gradient is V (diag(g_L) + (V^H g_V) / E) V^H, E_ij = L_j - L_i."""

    outputs, public = 0, "linalg.eigh"

    @staticmethod
    def forward(xp: Any, a: Any, uplo: str) -> Any:
        return list(xp.linalg.eigh(a, uplo))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        values, vectors = xp._eigh(s.inputs[0], s.params[0])
        g_l, g_v = g
        vh = adj(xp, vectors)
        if g_v is None:
            return ((vectors * row(xp, g_l)) @ vh,)
        eye = xp._eye_for(s.inputs[0])
        gaps = row(xp, values) - column(xp, values) + eye
        middle = (vh @ g_v) / gaps * (1 - eye)
        if g_l is not None:
            middle = middle + column(xp, g_l) * eye
        return (vectors @ middle @ vh,)


@op("_eigvalsh", function=False, method=False, node="LinalgEighBackward0")
class HermitianEigenvalues(_Spectral):
    """The eigenvalues of Hermitian matrices alone."""

    public = "linalg.eigh"

    @staticmethod
    def forward(xp: Any, a: Any, uplo: str) -> Any:
        return xp.linalg.eigvalsh(a, uplo)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        vectors = xp._eigh(s.inputs[0], s.params[0])[1]
        return ((vectors * row(xp, g)) @ adj(xp, vectors),)


# -- general square matrices ------------------------------------------------------------------------------------------


def _complex_type(a: Any) -> Any:
    return np.complex64 if a.dtype in (np.float32, np.complex64) else np.complex128


@op("_eig", function=False, method=False, node="LinalgEigBackward0")
class Eigen(_Spectral):
    """L and V (columns of norm 1) with A V = V diag(L), always complex. A's gradient is
    V^-H (diag(g_L) + (V^H g_V - V^H V diag(Re(V^H g_V))) / E) V^H, E_ij = conj(L_j - L_i)."""

    outputs, public = 0, "linalg.eig"

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        kind = _complex_type(a)
        return [x.astype(kind) for x in xp.linalg.eig(a)]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        values, vectors = xp._eig(s.inputs[0])
        g_l, g_v = g
        vh = adj(xp, vectors)
        eye = xp._eye_for(vectors)
        middle = None if g_l is None else column(xp, g_l) * eye
        if g_v is not None:
            inner = vh @ g_v
            diagonal = inner * eye
            along = (vh @ vectors) @ ((diagonal + xp.conj(diagonal)) * 0.5)
            gaps = xp.conj(row(xp, values) - column(xp, values)) + eye
            turned = (inner - along) / gaps * (1 - eye)
            middle = turned if middle is None else middle + turned
        return (xp._solve(vh, middle @ vh),)


@op("_eigvals", function=False, method=False, node="LinalgEigBackward0")
class Eigenvalues(_Spectral):
    """The eigenvalues of square matrices alone."""

    public = "linalg.eig"

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        return xp.linalg.eigvals(a).astype(_complex_type(a))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        vh = adj(xp, xp._eig(s.inputs[0])[1])
        return (xp._solve(vh, column(xp, g) * vh),)


# -- singular values --------------------------------------------------------------------------------------------------


def _skew(xp: Any, x: Any) -> Any:
    return x - adj(xp, x)


def _svd_core(xp: Any, u: Any, s: Any, vh: Any, g: Any) -> Any:
    """The part of the gradient within the spaces of U and V: the matrix between them."""
    g_u, g_s, g_vh = g
    square = s * s
    eye = xp._eye_for(vh @ adj(xp, vh))
    gaps = row(xp, square) - column(xp, square) + eye
    middle = None if g_s is None else column(xp, g_s) * eye
    turns = []
    if g_u is not None:
        turns.append(_skew(xp, adj(xp, u) @ g_u) * row(xp, s))
    if g_vh is not None:
        turns.append(column(xp, s) * _skew(xp, vh @ adj(xp, g_vh)))
    for turn in turns:
        turn = turn / gaps * (1 - eye)
        middle = turn if middle is None else middle + turn
    if g_u is not None and u.dtype.kind == "c":
        middle = middle + _skew(xp, adj(xp, u) @ g_u) * eye / (2 * column(xp, s))
    return middle


def _svd_gradient(xp: Any, u: Any, s: Any, vh: Any, g: Any) -> Any:
    """The gradient of the reduced SVD: the core, and what points out of the spaces of U and V."""
    g_u, _, g_vh = g
    m, n, k = u.shape[-2], vh.shape[-1], s.shape[-1]
    result = u @ _svd_core(xp, u, s, vh, g) @ vh
    if g_u is not None and m > k:
        result = result + ((g_u - u @ (adj(xp, u) @ g_u)) / row(xp, s)) @ vh
    if g_vh is not None and n > k:
        result = result + u @ ((g_vh - (g_vh @ adj(xp, vh)) @ vh) / column(xp, s))
    return result


@op("_svd", function=False, method=False, node="LinalgSvdBackward0")
class SingularValues(_Spectral):
    """U, S (descending), V^H with A = U diag(S) V^H. Of full matrices, the gradients of the first k columns count."""

    outputs, public = 0, "linalg.svd"

    @staticmethod
    def forward(xp: Any, a: Any, full_matrices: bool) -> Any:
        return list(xp.linalg.svd(a, full_matrices))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        a, full = s.inputs[0], s.params[0]
        if full:
            k, lead = min(a.shape[-2:]), (slice(None),) * (len(a.shape) - 2)
            columns, rows = (*lead, slice(None), slice(0, k)), (*lead, slice(0, k))
            g = [None if g[0] is None else xp._slice(g[0], columns), g[1], None if g[2] is None else xp._slice(g[2], rows)]
        u, values, vh = xp._svd(a, False)
        return (_svd_gradient(xp, u, values, vh, g),)


@op("_svdvals", function=False, method=False, node="LinalgSvdBackward0")
class SingularValuesOnly(_Spectral):
    """The singular values alone."""

    public = "linalg.svd"

    @staticmethod
    def forward(xp: Any, a: Any) -> Any:
        return xp.linalg.svd(a, compute_uv=False)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        u, _, vh = xp._svd(s.inputs[0], False)
        return ((u * row(xp, g)) @ vh,)


@composite("svd")
def svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """(U, S, V) of matrices (*, m, n), input = U diag(S) V^H. `torch.linalg.svd` returns V^H instead.

    `some=False` gives square U and V; without `compute_uv` they are zeros.

    >>> torch.svd(torch.tensor([[0., 2.], [1., 0.]])).S
    tensor([2., 1.])
    """
    expect_matrix("svd", input)
    m, n = input.shape[-2:]
    if compute_uv:
        u, s, vh = SingularValues.apply(input, not some)
        return finish(OldSVD(u, s, adjoint_of(vh)), out)
    s = SingularValuesOnly.apply(input)
    lead = input.shape[:-2]
    return finish(OldSVD(input.new_zeros((*lead, m, m)), s, input.new_zeros((*lead, n, n))), out)  # type: ignore[attr-defined]


# -- pseudo-inverse ---------------------------------------------------------------------------------------------------


def cutoffs(largest: Any, shape: tuple, dtype: Any, atol: Any, rtol: Any) -> Any:
    """Below which singular values count as zero: max(atol, rtol * largest); rtol is max(m, n) * eps unless a positive
    atol is given."""
    xp = backend.namespace(largest)
    absolute = 0.0 if atol is None else getattr(atol, "_array", atol)
    if rtol is None:
        default = max(shape[-2:]) * np.finfo(dtype).eps
        relative = xp.where(xp.asarray(absolute) > 0, 0.0, default) if atol is not None else default
    else:
        relative = getattr(rtol, "_array", rtol)
    return np.maximum(xp.asarray(absolute), relative * largest)


@op("_pinv", function=False, method=False, node="LinalgPinvBackward0")
class PseudoInverse(_Spectral):
    """P = A^+ (Moore-Penrose); with the gradient g of P, A's is -P^H g P^H + (I - A P) g^H P P^H + P^H P g^H (I - P A)."""

    keep_output, public = True, "linalg.pinv"

    @staticmethod
    def forward(xp: Any, a: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
        if a.size == 0:
            return xp.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
        if hermitian:
            s, u = xp.linalg.eigh(a)
            vh = u.conj().swapaxes(-1, -2)
        else:
            u, s, vh = xp.linalg.svd(a, full_matrices=False)
        size = abs(s)
        kept = size > cutoffs(size.max(-1), a.shape, s.dtype, atol, rtol)[..., None]
        inverted = xp.where(kept, 1 / xp.where(kept, s, 1), 0)
        return ((vh.conj().swapaxes(-1, -2) * inverted[..., None, :]) @ u.conj().swapaxes(-1, -2)).astype(a.dtype)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        a, p = s.inputs[0], s.output
        ph, gh = adj(xp, p), adj(xp, g)
        wide, tall = gh @ (p @ ph), (ph @ p) @ gh
        return (-(ph @ g @ ph) + (wide - a @ (p @ wide)) + (tall - (tall @ p) @ a),)


@composite("pinverse")
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse of matrices (*, m, n), singular values below `rcond` times the largest taken as zero.

    >>> torch.pinverse(torch.tensor([[2.], [0.]]))
    tensor([[0.5000, 0.0000]])
    """
    return PseudoInverse.apply(expect_matrix("linalg.pinv", input), None, rcond, False)


@samples_for("pinverse")
def _spectral_samples(make: Any) -> Any:
    for shape in ((4, 3), (3, 3), (3, 4), (2, 4, 2)):
        yield make("svdvals", make.uniform(shape), _module="linalg")
        yield make("pinverse", make.uniform(shape))
        yield make("pinv", make.uniform(shape), _module="linalg")
    yield make("pinv", make.complex((3, 2)), _module="linalg")
    yield make("pinv", make.uniform((3, 4)), rtol=0.4, _grad=False, _module="linalg")
    yield make("svdvals", make.complex((3, 2)), _module="linalg")
    hermitian = make.rng.normal(size=(2, 3, 3))
    hermitian = Array(hermitian + hermitian.swapaxes(-1, -2))
    for uplo in ("L", "U"):
        yield make("eigvalsh", hermitian, uplo, _grad=False, _module="linalg")
    yield make("eigvals", Array(np.diag([1.0, 2.0, 4.0]) + 0.1 * make.rng.normal(size=(3, 3))), _grad=False, _module="linalg")


__all__ = ["SVD", "Eig", "Eigen", "Eigenvalues", "Eigh", "HermitianEigen", "HermitianEigenvalues", "PseudoInverse",
           "SingularValues", "SingularValuesOnly", "cutoffs"]
