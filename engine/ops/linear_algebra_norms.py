"""Norms of vectors and matrices, condition number, rank, covariance and correlation: compositions."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..tensor import Tensor, check_dim
from .base import composite, expect_tensor
from .casting import in_full
from .extrema import return_type
from .linear_algebra import inverse, well_conditioned
from .linear_algebra_checks import expect_floating, expect_matrix, expect_square
from .linear_algebra_spectra import HermitianEigenvalues, PseudoInverse, SingularValuesOnly, cutoffs
from .reductions import axes_of
from .samples import Array, samples_for
from .statistics import vector_norm as norm_over_axes

LeastSquares = return_type("linalg_lstsq", "solution residuals rank singular_values")


def _in_dtype(name: str, x: Tensor, dtype: Any) -> Tensor:
    expect_tensor(x, name)
    x = in_full(x) if dtype is None else x.to(dtypes.as_dtype(dtype))  # type: ignore[attr-defined]
    return expect_floating(name, x)


def vector_norm(x: Tensor, ord: Any, dim: Any, keepdim: bool, dtype: Any) -> Tensor:
    """The vector norm over `dim`, over all elements if None."""
    x = _in_dtype("linalg.vector_norm", x, dtype)
    if isinstance(ord, str) or not isinstance(ord, (int, float)):
        raise TypeError(f"linalg_vector_norm(): argument 'ord' must be Number, not {type(ord).__name__}")
    return norm_over_axes(x, ord, axes_of(dim, x.ndim), keepdim)


def matrix_norm(A: Tensor, ord: Any, dim: Any, keepdim: bool, dtype: Any) -> Tensor:
    """The matrix norm over two dimensions: "fro", "nuc", +-inf (row sums), +-1 (column sums), +-2 (singular values)."""
    A = expect_matrix("linalg.matrix_norm", _in_dtype("linalg.matrix_norm", A, dtype))
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if len(dims) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, dims))}")
    i, j = (check_dim(d, A.ndim) for d in dims)
    if i == j:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dims[0]}, {dims[1]})")
    if ord == "fro":
        return norm_over_axes(A, 2, (i, j), keepdim)
    if ord in (math.inf, -math.inf, 1, -1):
        summed, other = (j, i) if abs(ord) == math.inf else (i, j)
        sums = A.abs().sum(summed, True)  # type: ignore[attr-defined]
        best = sums.amax(other, True) if ord > 0 else sums.amin(other, True)
        return best if keepdim else best.squeeze((i, j))
    if ord not in ("nuc", 2, -2):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    values = SingularValuesOnly.apply(A.movedim((i, j), (-2, -1)))  # type: ignore[attr-defined]
    result = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
    for d in sorted((i, j)) if keepdim else ():
        result = result.unsqueeze(d)
    return result


def cond(A: Tensor, p: Any) -> Tensor:
    """The condition number: the ratio of the extreme singular values for p None, 2, -2, else norm(A) * norm(A^-1)."""
    expect_matrix("linalg.cond", A)
    if p is None or p in (2, -2):
        values = SingularValuesOnly.apply(A)
        largest, smallest = values[..., 0], values[..., -1]
        return smallest / largest if p == -2 else largest / smallest
    expect_square("linalg.cond", A)
    return matrix_norm(A, p, (-2, -1), False, None) * matrix_norm(inverse(A), p, (-2, -1), False, None)  # type: ignore[operator]


def matrix_rank(A: Tensor, atol: Any, rtol: Any, hermitian: bool) -> Tensor:
    """The number of singular values (absolute eigenvalues if Hermitian) above max(atol, rtol * largest), as int64."""
    expect_matrix("linalg.matrix_rank", A)
    if not A.shape[-1] or not A.shape[-2]:
        return A.new_zeros(A.shape[:-2], dtype=dtypes.int64)  # type: ignore[attr-defined]
    a = A.detach()  # type: ignore[attr-defined]
    values = HermitianEigenvalues.apply(a, "L").abs() if hermitian else SingularValuesOnly.apply(a)
    raw = values._array
    limit = cutoffs(raw.max(-1), tuple(A.shape), raw.dtype, atol, rtol)
    return (values > values.new_tensor(limit).unsqueeze(-1)).sum(-1)


def least_squares(A: Tensor, B: Tensor, rcond: float | None, driver: str | None) -> Any:
    """What `torch.linalg.lstsq` returns; the solution is A^+ B, so that its gradient is the pseudo-inverse's."""
    expect_matrix("torch.linalg.lstsq", A, "input")
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), got {driver}")
    m, n = A.shape[-2:]
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    b = B.unsqueeze(-1) if vector else B  # type: ignore[attr-defined]
    if b.shape[-2] != m:
        raise RuntimeError(f"torch.linalg.lstsq: input.size(-2) should match other.size(-2), got {m} and {b.shape[-2]}")
    solution = PseudoInverse.apply(A, None, rcond, False) @ b
    rank = matrix_rank(A, None, rcond, False)
    nothing = A.new_zeros((0,))  # type: ignore[attr-defined]
    residuals = nothing
    if m > n and driver not in (None, "gelsy") and bool((rank == n).all()):
        residuals = (A @ solution - b).abs().square().sum(-2)  # type: ignore[attr-defined, operator]
    values = SingularValuesOnly.apply(A.detach()) if driver in ("gelsd", "gelss") else nothing.real  # type: ignore[attr-defined]
    rank = rank if driver != "gels" else rank.new_zeros((0,))  # type: ignore[attr-defined]
    return LeastSquares(solution.squeeze(-1) if vector else solution, residuals, rank, values)


# -- statistics of several variables ----------------------------------------------------------------------------------


@composite("cov")
def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariance matrix of variables (rows) over observations (columns); a 1-D input is one variable.

    `fweights` counts how often each observation occurs (integers), `aweights` weighs it; `correction` is subtracted from
    the number of observations. RuntimeError for more than two dimensions.

    >>> torch.cov(torch.tensor([[1., 2., 3.], [3., 2., 1.]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    expect_tensor(input, "cov")
    if input.ndim > 2:
        raise RuntimeError("cov(): expected input to have two or fewer dimensions but got an input with "
                           f"{input.ndim} dimensions")
    if input.dtype is dtypes.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if input.ndim < 2 else input  # type: ignore[attr-defined]
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(dtypes.get_default_dtype())
    weights = _weights(x, fweights, aweights)
    if weights is None:
        total: Any = float(x.shape[1])
        mean = x.mean(1, keepdim=True)
        centred = x - mean
        product = centred @ centred.mH
        norm = max(total - correction, 0)
        return _squeezed(product / norm)
    total = weights.sum()
    centred = x - (x * weights).sum(1, keepdim=True) / total
    lost = correction if aweights is None else correction * (weights * aweights).sum() / total
    norm = (total - lost).clamp(min=0)
    return _squeezed(((centred * weights) @ centred.mH) / norm)


def _weights(x: Tensor, fweights: Tensor | None, aweights: Tensor | None) -> Any:
    """The product of both kinds of weights in a real dtype, checked; None without any."""
    found = None
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if w is None:
            continue
        if w.ndim > 1:
            raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {name} with "
                               f"{w.ndim} dimensions")
        if (w._array.dtype.kind in "iu") != (name == "fweights"):
            kind = "integral" if name == "fweights" else "floating point"
            raise RuntimeError(f"cov(): expected {name} to have {kind} dtype but got {name} with {w.dtype} dtype")
        if w.numel() != x.shape[1]:  # type: ignore[attr-defined]
            raise RuntimeError(f"cov(): expected {name} to have the same numel as there are observations in the input but got "
                               f"{w.numel()} != {x.shape[1]}")  # type: ignore[attr-defined]
        if bool((w < 0).any()):  # type: ignore[attr-defined, operator]
            raise RuntimeError(f"cov(): {name} cannot be negative")
        w = w.to(x.real.dtype if x.is_complex() else x.dtype)  # type: ignore[attr-defined]
        found = w if found is None else found * w
    return found


def _squeezed(matrix: Tensor) -> Tensor:
    return matrix.squeeze()  # type: ignore[attr-defined]


@composite("corrcoef")
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables (rows) over observations (columns), clipped to [-1, 1].

    >>> torch.corrcoef(torch.tensor([[1., 2., 3.], [3., 2., 1.]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.ndim > 2:
        raise RuntimeError("corrcoef(): expected input to have two or fewer dimensions but got an input with "
                           f"{input.ndim} dimensions")
    c = cov(input)
    if not c.ndim:
        return c / c  # type: ignore[operator]
    spread = c.diagonal().real.sqrt() if c.is_complex() else c.diagonal().sqrt()  # type: ignore[attr-defined]
    ratio = c / spread.unsqueeze(-1) / spread.unsqueeze(0)
    return ratio if c.is_complex() else ratio.clamp(-1, 1)


@samples_for("cov")
def _norm_samples(make: Any) -> Any:
    where = {"_module": "linalg"}
    order: Any
    for order in (2, 1, math.inf, -math.inf, 3, 0.5):
        yield make("vector_norm", make.distinct((3, 4), -1.7, 2), order, **where)
        yield make("vector_norm", make.distinct((2, 3, 4), -1.7, 2), order, dim=(0, -1), keepdim=True, **where)
    for order in ("fro", "nuc", math.inf, -math.inf, 1, -1, 2, -2):
        yield make("matrix_norm", make.distinct((3, 4), -1.7, 2), order, **where)
        yield make("matrix_norm", make.distinct((2, 4, 3), -1.7, 2), order, dim=(2, 0), keepdim=True, **where)
    yield make("norm", make.uniform((3, 4)), **where)
    yield make("norm", make.uniform((3, 4)), "nuc", dim=(1, 0), **where)
    yield make("norm", make.uniform((3, 4)), 1, 1, **where)
    yield make("vector_norm", make.complex((3,)), **where)
    for p in (None, 2, -2, "fro", "nuc", 1, -math.inf):
        yield make("cond", well_conditioned(make, (2, 3, 3)), p, _grad=False, **where)
    yield make("matrix_rank", make.uniform((2, 3, 4)), _grad=False, **where)
    outer = Array(make.rng.uniform(-1, 1, (4, 1)) * make.rng.uniform(-1, 1, (1, 3)))
    yield make("matrix_rank", outer, atol=1e-3, _grad=False, **where)
    yield make("cov", make.uniform((3, 5)))
    yield make("cov", make.uniform((5,)), correction=0)
    yield make("cov", make.uniform((2, 4)), fweights=make.ints((4,), 1, 4), aweights=make.uniform((4,), 0.5, 1, grad=False))
    yield make("corrcoef", make.uniform((3, 5)))
    yield make("corrcoef", make.uniform((5,)), _gradgrad=False)
