"""Factorisations: Cholesky, QR, LU, eigenvalues, singular values, and what is solved with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.errors import LinAlgError
from engine.ops import ldl
from engine.ops import linear_algebra as systems
from engine.ops import linear_algebra_factors as factors
from engine.ops import linear_algebra_norms as norms
from engine.ops import linear_algebra_spectra as spectra
from engine.ops.casting import in_float32
from engine.ops.extrema import return_type
from engine.ops.linear_algebra_checks import expect_matrix, expect_square
from engine.tensor import Tensor, wrap

from .systems import info_tensor, no_info, without_error

_finish = systems.finish
_CholeskyEx = return_type("linalg_cholesky_ex", "L info")
_LdlFactor = return_type("linalg_ldl_factor", "LD pivots")
_LdlFactorEx = return_type("linalg_ldl_factor_ex", "LD pivots info")


@in_float32
def cholesky(A: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:
    """L with A = L L^H (U with A = U^H U if `upper`) of positive definite matrices. LinAlgError for others.

    >>> torch.linalg.cholesky(torch.tensor([[4., 2.], [2., 5.]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    return _finish(factors.cholesky_factor("linalg.cholesky", A, upper), out)


@in_float32
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """(L, info): like `cholesky`, but a matrix that is not positive definite gives NaN and, in `info` (int32), the order
    of its first leading minor that is not.

    >>> torch.linalg.cholesky_ex(torch.tensor([[1., 0.], [0., -1.]])).info
    tensor(2, dtype=torch.int32)
    """
    expect_square("linalg.cholesky", A)
    try:
        return _finish(_CholeskyEx(cholesky(A, upper=upper), no_info(A)), out)
    except LinAlgError:
        if check_errors:
            raise
    info = factors.failed_minor(A._array)
    result = without_error(lambda a: cholesky(a, upper=upper), A, info)
    return _finish(_CholeskyEx(result, info_tensor(info)), out)


@in_float32
def qr(A: Tensor, mode: str = "reduced", *, out: Any = None) -> Any:
    """(Q, R) with A = Q R, R upper triangular; `mode` is "reduced", "complete" (Q square) or "r" (R alone).

    >>> torch.linalg.qr(torch.tensor([[3.], [4.]])).R.abs()
    tensor([[5.]])
    """
    return _finish(factors.QR(*factors.qr_factors(A, mode)), out)


def lu(A: Tensor, *, pivot: bool = True, out: Any = None) -> Any:
    """(P, L, U) with A = P L U: a permutation, unit lower and upper triangular.

    >>> torch.linalg.lu(torch.tensor([[0., 1.], [2., 3.]])).U
    tensor([[2., 3.],
            [0., 1.]])
    """
    both, pivots, _ = factors.lu_compact("linalg.lu", A, pivot)
    return _finish(factors.LU(*factors.lu_parts(both, pivots)), out)


def lu_factor(A: Tensor, *, pivot: bool = True, out: Any = None) -> Any:
    """(LU, pivots): L and U in one matrix, and the row (int32, from 1) that each row was exchanged with.

    >>> torch.linalg.lu_factor(torch.tensor([[0., 1.], [2., 3.]])).pivots
    tensor([2, 2], dtype=torch.int32)
    """
    return _finish(factors.lu_factor("linalg.lu_factor", A, pivot), out)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """(LU, pivots, info): like `lu_factor`, with the order of the first zero pivot in `info` (int32), 0 if there is none.

    >>> torch.linalg.lu_factor_ex(torch.zeros(1, 1)).info
    tensor(1, dtype=torch.int32)
    """
    both, pivots, info = factors.lu_compact("linalg.lu_factor_ex", A, pivot)
    if check_errors and info.any():
        raise LinAlgError(f"linalg.lu_factor_ex: U[{int(info.max())},{int(info.max())}] is zero and using it on lu_solve "
                          "would result in a division by zero.")
    return _finish(factors.LUFactorEx(both, factors.pivots_tensor(pivots), info_tensor(info)), out)


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False,
             out: Tensor | None = None) -> Tensor:
    """X with A X = B, A given by `lu_factor`; A^H X = B if `adjoint`, X A = B if not `left`.

    >>> torch.linalg.lu_solve(*torch.linalg.lu_factor(torch.tensor([[0., 1.], [2., 3.]])), torch.tensor([[1.], [5.]]))
    tensor([[1.],
            [1.]])
    """
    expect_square("linalg.lu_solve", LU, "LU")
    expect_matrix("linalg.lu_solve", B, "B")
    return _finish(factors.solve_with_lu(LU, pivots, B, left, adjoint), out)


@in_float32
def householder_product(A: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The first n columns of a product of Householder reflections, vectors in A (*, m, n), factors in tau (*, k).

    >>> torch.linalg.householder_product(torch.tensor([[0.], [0.]]), torch.tensor([2.]))
    tensor([[-1.],
            [ 0.]])
    """
    return factors.orgqr(A, tau, out=out)


@in_float32
def eigh(A: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """(eigenvalues, ascending and real; eigenvectors as columns) of Hermitian matrices, of which one triangle is read.

    >>> torch.linalg.eigh(torch.tensor([[2., 0.], [0., 1.]])).eigenvalues
    tensor([1., 2.])
    """
    expect_square("linalg.eigh", A)
    return _finish(spectra.Eigh(*spectra.HermitianEigen.apply(A, _triangle(UPLO))), out)


@in_float32
def eigvalsh(A: Tensor, UPLO: str = "L", *, out: Tensor | None = None) -> Tensor:
    """The eigenvalues of Hermitian matrices, ascending.

    >>> torch.linalg.eigvalsh(torch.tensor([[2., 0.], [0., 1.]]))
    tensor([1., 2.])
    """
    expect_square("linalg.eigvalsh", A)
    return _finish(spectra.HermitianEigenvalues.apply(A, _triangle(UPLO)), out)


def _triangle(uplo: str) -> str:
    if str(uplo).upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return str(uplo).upper()


@in_float32
def eig(A: Tensor, *, out: Any = None) -> Any:
    """(eigenvalues, eigenvectors as columns of norm 1) of square matrices, complex and in no particular order.

    >>> torch.linalg.eig(torch.tensor([[2., 0.], [0., 1.]])).eigenvalues
    tensor([2.+0.j, 1.+0.j])
    """
    return _finish(spectra.Eig(*spectra.Eigen.apply(expect_square("linalg.eig", A))), out)


@in_float32
def eigvals(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The eigenvalues of square matrices, complex and in no particular order.

    >>> torch.linalg.eigvals(torch.tensor([[2., 0.], [0., 1.]]))
    tensor([2.+0.j, 1.+0.j])
    """
    return _finish(spectra.Eigenvalues.apply(expect_square("linalg.eigvals", A)), out)


def _check_driver(driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError("linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.")


@in_float32
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None, out: Any = None) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh, singular values descending; U and Vh square if `full_matrices`.

    >>> torch.linalg.svd(torch.tensor([[0., 2.], [1., 0.]])).S
    tensor([2., 1.])
    """
    _check_driver(driver)
    return _finish(spectra.SVD(*spectra.SingularValues.apply(expect_matrix("linalg.svd", A), full_matrices)), out)


@in_float32
def svdvals(A: Tensor, *, driver: str | None = None, out: Tensor | None = None) -> Tensor:
    """The singular values, descending.

    >>> torch.linalg.svdvals(torch.tensor([[0., 2.], [1., 0.]]))
    tensor([2., 1.])
    """
    _check_driver(driver)
    return _finish(spectra.SingularValuesOnly.apply(expect_matrix("linalg.svdvals", A)), out)


def pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None,
         out: Tensor | None = None) -> Tensor:
    """The Moore-Penrose inverse; singular values up to max(atol, rtol * largest) count as zero (`rcond` is an old name of
    `rtol`). By default rtol is max(m, n) * eps, or 0 if `atol` is positive.

    >>> torch.linalg.pinv(torch.tensor([[2.], [0.]]))
    tensor([[0.5000, 0.0000]])
    """
    relative = rtol if rcond is None else rcond
    return _finish(spectra.PseudoInverse.apply(expect_matrix("linalg.pinv", A), atol, relative, hermitian), out)


@in_float32
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of min ||A X - B||_F: X = A^+ B, computed from the SVD.

    What else is returned depends on `driver` as in torch. "gels", "gelsd" and "gelss": `residuals` are the squared norms
    per column where m > n and A has full rank. All but "gels": `rank`. "gelsd" and "gelss": `singular_values`. The rest
    is empty; the default is "gelsy".

    >>> torch.linalg.lstsq(torch.tensor([[2.], [0.]]), torch.tensor([[4.], [1.]])).solution
    tensor([[2.]])
    """
    return norms.least_squares(A, B, rcond, driver)


# -- symmetric matrices that need not be positive definite -----------------------------------------------------------


def ldl_factor(A: Tensor, *, hermitian: bool = False, out: Any = None) -> Any:
    """(LD, pivots) of A = L D L^T (L D L^H if `hermitian`), compact as LAPACK keeps it, for `ldl_solve`.

    Of A (*, n, n) the lower triangle is read; `pivots` (*, n) is int32. LinAlgError where D is singular. No gradient.

    >>> torch.linalg.ldl_factor(torch.tensor([[4., 2.], [2., 3.]])).LD
    tensor([[4.0000, 0.0000],
            [0.5000, 2.0000]])
    """
    LD, pivots, info = ldl_factor_ex(A, hermitian=hermitian, check_errors=True)
    return _finish(_LdlFactor(LD, pivots), out)


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """(LD, pivots, info): like `ldl_factor`, with the order of the first zero pivot in `info` (int32), 0 if there is none.

    >>> torch.linalg.ldl_factor_ex(torch.zeros(1, 1)).info
    tensor(1, dtype=torch.int32)
    """
    expect_square("torch.linalg.ldl_factor_ex", A)
    hermitian = hermitian and A.is_complex()
    LD, pivots, info = ldl.batched(lambda a: ldl.factor(a, hermitian), (np.asarray(A._array), 2))
    if check_errors and info.any():
        at = int(info.reshape(-1)[info.reshape(-1).argmax()])
        raise LinAlgError(f"torch.linalg.ldl_factor_ex: The factorization has been completed, but the block diagonal matrix D "
                          f"is exactly singular (pivot {at}), and division by zero will occur if it is used to solve a system.")
    return _finish(_LdlFactorEx(wrap(LD), wrap(pivots.astype(np.int32)), wrap(info.astype(np.int32))), out)


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False, out: Tensor | None = None) -> Tensor:
    """X of A X = B (*, n, k), for the result of `ldl_factor` of A. No gradient.

    >>> LD, pivots = torch.linalg.ldl_factor(torch.tensor([[2., 0.], [0., 4.]]))
    >>> torch.linalg.ldl_solve(LD, pivots, torch.ones(2, 1))
    tensor([[0.5000],
            [0.2500]])
    """
    hermitian = hermitian and LD.is_complex()
    arrays = [(np.asarray(t._array), d) for t, d in ((LD, 2), (pivots, 1), (B, 2))]
    (found,) = ldl.batched(lambda a, p, b: ldl.solve(a, p, b, hermitian), *arrays)
    return _finish(wrap(found), out)
