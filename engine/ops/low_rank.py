"""Low-rank and iterative decompositions: svd_lowrank, pca_lowrank, lobpcg; and QR as LAPACK keeps it: geqrf, ormqr."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, wrap
from .base import FUNCTIONS, composite
from .extrema import return_type
from .inplace import write_out
from .linear_algebra_checks import expect_matrix
from .linear_algebra_spectra import HermitianEigen

_Geqrf = return_type("geqrf", "a tau")


@composite("geqrf")
def geqrf(input: Tensor, *, out: Any = None) -> Any:
    """(a, tau): the QR factorisation as Householder vectors below the diagonal of R (*, m, n), for `orgqr` and `ormqr`.

    No gradient: use `linalg.qr` for one.

    >>> torch.geqrf(torch.tensor([[3.], [4.]])).tau
    tensor([1.6000])
    """
    expect_matrix("geqrf", input)
    flat = np.asarray(input._array).reshape(-1, *input.shape[-2:])
    raw = [np.linalg.qr(matrix, mode="raw") for matrix in flat]
    k = min(input.shape[-2:])
    a = np.array([h.T for h, _ in raw], flat.dtype).reshape(input.shape)
    tau = np.array([t for _, t in raw], flat.dtype).reshape(*input.shape[:-2], k)
    result = _Geqrf(wrap(a), wrap(tau))
    return result if out is None else write_out(out, result)


@composite("ormqr")
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False, *,
          out: Tensor | None = None) -> Tensor:
    """Q @ other (or other @ Q, or with Q transposed) for the Q whose Householder vectors are `input` (m, k) and `tau`.

    >>> a, tau = torch.geqrf(torch.tensor([[3.], [4.]]))
    >>> torch.ormqr(a, tau, torch.tensor([[3.], [4.]]), transpose=True).abs().round(decimals=3)
    tensor([[5.],
            [0.]])
    """
    m = other.shape[-2 if left else -1]
    if input.shape[-2] != m:
        raise RuntimeError(f"torch.ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2], got {m} and "
                           f"{input.shape[-2]}")
    k = tau.shape[-1]
    square = FUNCTIONS["cat"]([input[..., :k], input.new_zeros(*input.shape[:-1], m - k)], -1) if m > k else input[..., :m]  # type: ignore[index, attr-defined]
    padded = FUNCTIONS["cat"]([tau, tau.new_zeros(*tau.shape[:-1], m - k)], -1) if m > k else tau  # type: ignore[attr-defined]
    q = FUNCTIONS["orgqr"](square, padded)
    q = q.mH if transpose else q
    result = q @ other if left else other @ q
    return result if out is None else write_out(out, result)


def _range_of(a: Tensor, q: int, niter: int, m: Tensor | None) -> Tensor:
    """An orthonormal basis of about the range of `a`: Halko, Martinsson and Tropp 2009, algorithm 4.4."""
    qr = FUNCTIONS["qr"]
    b = a if m is None else a - m
    basis = qr(b @ FUNCTIONS["randn"](a.shape[-1], q, dtype=a.dtype, device=a.device))[0]  # type: ignore[operator]
    for _ in range(niter):
        basis = qr(b @ qr(b.mH @ basis)[0])[0]  # type: ignore[operator]
    return basis


@composite("svd_lowrank", method=False)
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> tuple:
    """(U, S, V) of about the best approximation of rank `q` to A - M (*, m, n): a randomised singular value decomposition.

    Draws from the default generator. `niter` power iterations make it sharper.

    >>> [t.shape for t in torch.svd_lowrank(torch.ones(5, 3), q=2)]
    [torch.Size([5, 2]), torch.Size([2]), torch.Size([3, 2])]
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    m, n = A.shape[-2:]
    M = None if M is None else M.broadcast_to(A.shape)  # type: ignore[attr-defined]
    wide = m < n or n > q
    a, shift = (A.mH, None if M is None else M.mH) if wide else (A, M)  # type: ignore[attr-defined]
    basis = _range_of(a, q, niter, shift)
    b = basis.mH @ (a if shift is None else a - shift)  # type: ignore[attr-defined]
    u, s, v = FUNCTIONS["svd"](b)
    u = basis @ u
    return (v, s, u) if wide else (u, s, v)


@composite("pca_lowrank", method=False)
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple:
    """(U, S, V) of the first `q` principal components of the rows of A (*, m, n); columns are centred unless told not to.

    >>> torch.pca_lowrank(torch.tensor([[1., 0.], [3., 0.], [5., 0.]]), q=1)[1]
    tensor([2.8284])
    """
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)  # type: ignore[attr-defined]


@composite("lobpcg", method=False)
def lobpcg(A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
           iK: Any = None, niter: int | None = None, tol: float | None = None, largest: bool | None = None,
           method: str | None = None, tracker: Any = None, ortho_iparams: Any = None, ortho_fparams: Any = None,
           ortho_bparams: Any = None) -> tuple:
    """(values, vectors): the `k` largest (or smallest) eigenvalues of a symmetric matrix, or of A v = l B v.

    Computed exactly, by a dense decomposition: the settings of the iteration are accepted and without effect.

    >>> torch.lobpcg(torch.tensor([[2., 0.], [0., 5.]]))[0]
    tensor([5.])
    """
    count = (1 if X is None else X.shape[-1]) if k is None else k
    lower = None if B is None else FUNCTIONS["cholesky"](B)
    matrix = A
    if lower is not None:
        inverse = FUNCTIONS["inverse"](lower)
        matrix = inverse @ A @ inverse.mH
    values, vectors = HermitianEigen.apply(matrix, "L")
    if lower is not None:
        vectors = inverse.mH @ vectors
    if largest is None or largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    return values[..., :count], vectors[..., :count]
