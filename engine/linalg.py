"""engine.linalg: linear algebra on batches of matrices (*, m, n), with torch.linalg's names and signatures.

Inputs are floating or complex; integers raise RuntimeError. A matrix that cannot be inverted or factorised raises
`LinAlgError`. The operators and their gradients are the cards in `engine/ops/linear_algebra*.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import backend
from engine.dtypes import int32
from engine.errors import LinAlgError
from engine.ops import linear_algebra as systems
from engine.ops import linear_algebra_factors as factors
from engine.ops import linear_algebra_norms as norms
from engine.ops import linear_algebra_spectra as spectra
from engine.ops.base import CARDS, FUNCTIONS
from engine.ops.extrema import return_type
from engine.ops.linear_algebra_checks import expect_matrix, expect_square, eye_for
from engine.ops.linear_algebra_kernels import factor
from engine.ops.products import multiply_in_best_order
from engine.tensor import Tensor, wrap

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh",
    "householder_product", "inv", "inv_ex", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp",
    "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip

_finish = systems.finish
_CholeskyEx = return_type("linalg_cholesky_ex", "L info")
_InvEx = return_type("linalg_inv_ex", "inverse info")
_SolveEx = return_type("linalg_solve_ex", "result info")

# -- inverses, determinants, systems ----------------------------------------------------------------------------------


def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverses of square matrices (*, n, n). LinAlgError for a singular one.

    >>> torch.linalg.inv(torch.tensor([[2., 0.], [0., 4.]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return systems.inverse(A, out=out)


def _without_error(call: Any, a: Tensor, info: Any) -> Tensor:
    """`call(a)`, with matrices whose `info` is not 0 replaced by the identity and their results by NaN."""
    failed = wrap((info != 0)[..., None, None])
    return call(eye_for(a).where(failed, a)).masked_fill(failed, float("nan"))  # type: ignore[attr-defined]


def _info_tensor(info: Any) -> Tensor:
    return wrap(info.astype(np.int32))


def _no_info(A: Tensor) -> Tensor:
    return A.new_zeros(A.shape[:-2], dtype=int32)  # type: ignore[attr-defined]


def inv_ex(A: Tensor, *, check_errors: bool = False, out: Any = None) -> Any:
    """(inverse, info): like `inv`, but a singular matrix gives NaN and the order of its zero pivot in `info` (int32).

    >>> torch.linalg.inv_ex(torch.zeros(1, 1)).info
    tensor(1, dtype=torch.int32)
    """
    expect_square("linalg.inv", A)
    if check_errors:
        result = systems.inverse(A)
        return _finish(_InvEx(result, _no_info(A)), out)
    info = factor(backend.namespace(A._array), A._array)[2]
    return _finish(_InvEx(_without_error(systems.inverse, A, info), _info_tensor(info)), out)


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
        return _finish(_SolveEx(solve(A, B, left=left), _no_info(A)), out)
    info = factor(backend.namespace(A._array), A._array)[2]
    if not info.any():
        return _finish(_SolveEx(solve(A, B, left=left), _info_tensor(info)), out)
    failed = wrap((info != 0)[..., None, None])
    result = solve(eye_for(A).where(failed, A), B, left=left)  # type: ignore[attr-defined]
    unknown = failed.squeeze(-1) if systems.is_vector(A, B) else failed  # type: ignore[attr-defined]
    return _finish(_SolveEx(result.masked_fill(unknown, float("nan")), _info_tensor(info)), out)  # type: ignore[attr-defined]


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False,
                     out: Tensor | None = None) -> Tensor:
    """X with A X = B (X A = B if not `left`) for triangular A; with `unitriangular` its diagonal is taken as 1.

    >>> torch.linalg.solve_triangular(torch.tensor([[1., 1.], [0., 2.]]), torch.tensor([[3.], [2.]]), upper=True)
    tensor([[2.],
            [1.]])
    """
    return _finish(systems.solve_triangular("linalg.solve_triangular", A, B, upper, left, unitriangular), out)


def tensorinv(A: Tensor, ind: int = 2, *, out: Tensor | None = None) -> Tensor:
    """The inverse of `tensordot(A, ., ind)`: A's first `ind` sizes have the product of the others.

    >>> torch.linalg.tensorinv(torch.eye(4).reshape(2, 2, 4), ind=2).shape
    torch.Size([4, 2, 2])
    """
    return _finish(systems.tensor_inverse(A, ind), out)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None, *, out: Tensor | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to its end first.

    >>> torch.linalg.tensorsolve(torch.eye(4).reshape(2, 2, 4), torch.ones(2, 2))
    tensor([1., 1., 1., 1.])
    """
    return _finish(systems.tensor_solve(A, B, dims), out)


# -- factorisations ---------------------------------------------------------------------------------------------------


def cholesky(A: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:
    """L with A = L L^H (U with A = U^H U if `upper`) of positive definite matrices. LinAlgError for others.

    >>> torch.linalg.cholesky(torch.tensor([[4., 2.], [2., 5.]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    return _finish(factors.cholesky_factor("linalg.cholesky", A, upper), out)


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """(L, info): like `cholesky`, but a matrix that is not positive definite gives NaN and, in `info` (int32), the order
    of its first leading minor that is not.

    >>> torch.linalg.cholesky_ex(torch.tensor([[1., 0.], [0., -1.]])).info
    tensor(2, dtype=torch.int32)
    """
    expect_square("linalg.cholesky", A)
    try:
        return _finish(_CholeskyEx(cholesky(A, upper=upper), _no_info(A)), out)
    except LinAlgError:
        if check_errors:
            raise
    info = factors.failed_minor(A._array)
    result = _without_error(lambda a: cholesky(a, upper=upper), A, info)
    return _finish(_CholeskyEx(result, _info_tensor(info)), out)


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
    return _finish(factors.LUFactorEx(both, factors.pivots_tensor(pivots), _info_tensor(info)), out)


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


def householder_product(A: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The first n columns of a product of Householder reflections, vectors in A (*, m, n), factors in tau (*, k).

    >>> torch.linalg.householder_product(torch.tensor([[0.], [0.]]), torch.tensor([2.]))
    tensor([[-1.],
            [ 0.]])
    """
    return factors.orgqr(A, tau, out=out)


def eigh(A: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """(eigenvalues, ascending and real; eigenvectors as columns) of Hermitian matrices, of which one triangle is read.

    >>> torch.linalg.eigh(torch.tensor([[2., 0.], [0., 1.]])).eigenvalues
    tensor([1., 2.])
    """
    expect_square("linalg.eigh", A)
    return _finish(spectra.Eigh(*spectra.HermitianEigen.apply(A, _triangle(UPLO))), out)


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


def eig(A: Tensor, *, out: Any = None) -> Any:
    """(eigenvalues, eigenvectors as columns of norm 1) of square matrices, complex and in no particular order.

    >>> torch.linalg.eig(torch.tensor([[2., 0.], [0., 1.]])).eigenvalues
    tensor([2.+0.j, 1.+0.j])
    """
    return _finish(spectra.Eig(*spectra.Eigen.apply(expect_square("linalg.eig", A))), out)


def eigvals(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The eigenvalues of square matrices, complex and in no particular order.

    >>> torch.linalg.eigvals(torch.tensor([[2., 0.], [0., 1.]]))
    tensor([2.+0.j, 1.+0.j])
    """
    return _finish(spectra.Eigenvalues.apply(expect_square("linalg.eigvals", A)), out)


def _check_driver(driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError("linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.")


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None, out: Any = None) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh, singular values descending; U and Vh square if `full_matrices`.

    >>> torch.linalg.svd(torch.tensor([[0., 2.], [1., 0.]])).S
    tensor([2., 1.])
    """
    _check_driver(driver)
    return _finish(spectra.SVD(*spectra.SingularValues.apply(expect_matrix("linalg.svd", A), full_matrices)), out)


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


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of min ||A X - B||_F: X = A^+ B, computed from the SVD.

    What else is returned depends on `driver` as in torch. "gels", "gelsd" and "gelss": `residuals` are the squared norms
    per column where m > n and A has full rank. All but "gels": `rank`. "gelsd" and "gelss": `singular_values`. The rest
    is empty; the default is "gelsy".

    >>> torch.linalg.lstsq(torch.tensor([[2.], [0.]]), torch.tensor([[4.], [1.]])).solution
    tensor([[2.]])
    """
    return norms.least_squares(A, B, rcond, driver)


# -- norms and products -----------------------------------------------------------------------------------------------


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


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
                out: Tensor | None = None) -> Tensor:
    """(sum |x|^ord)^(1/ord) over `dim` or all elements; inf, -inf and 0 as limits.

    >>> torch.linalg.vector_norm(torch.tensor([3., 4.]))
    tensor(5.)
    """
    return _finish(norms.vector_norm(x, ord, dim, keepdim, dtype), out)


def matrix_norm(A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None,
                out: Tensor | None = None) -> Tensor:
    """"fro", "nuc", inf, -inf (row sums), 1, -1 (column sums), 2 or -2 (extreme singular values).

    >>> torch.linalg.matrix_norm(torch.tensor([[3., 4.]]))
    tensor(5.)
    """
    return _finish(norms.matrix_norm(A, ord, dim, keepdim, dtype), out)


def cond(A: Tensor, p: Any = None, *, out: Tensor | None = None) -> Tensor:
    """The condition number in a matrix norm; by default the ratio of the extreme singular values.

    >>> torch.linalg.cond(torch.tensor([[2., 0.], [0., 1.]]))
    tensor(2.)
    """
    return _finish(norms.cond(A, p), out)


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
    expect_square("linalg.matrix_power", A)
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


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The sum of conj(x) * y over `dim`; the other dimensions broadcast.

    >>> torch.linalg.vecdot(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 1.]))
    tensor([3., 7.])
    """
    return _finish((x.conj() * y).sum(dim), out)  # type: ignore[attr-defined]


def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The cross product along `dim`, which has 3 elements; the other dimensions broadcast.

    >>> torch.linalg.cross(torch.tensor([1., 0., 0.]), torch.tensor([0., 1., 0.]))
    tensor([0., 0., 1.])
    """
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    return FUNCTIONS["cross"](input, other, dim, out=out)


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
    count = x.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError(f"N must be greater than 1, got {count}.")
    return FUNCTIONS["stack"]([x**p for p in range(count)], -1)  # type: ignore[operator]
