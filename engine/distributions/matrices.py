"""Distributions of matrices: Wishart (covariances) and LKJCholesky (factors of correlation matrices)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Number
from typing import Any

import engine
from engine import linalg
from engine.tensor import Tensor

from . import constraints
from .base import Distribution, ExponentialFamily
from .gamma import Beta, Chi2
from .multivariate import WithCovariance, half_log_det
from .utils import broadcast_all

__all__ = ["LKJCholesky", "Wishart"]


class Wishart(WithCovariance, ExponentialFamily):
    """Scatter matrices of `df` normal vectors, with a scale given as covariance, precision or Cholesky factor.

    Draws by Bartlett's decomposition (Smith and Hocking 1972).

    Raises: ValueError: `df` is not above dimension - 1; a matrix of fewer than two dimensions.

    >>> torch.distributions.Wishart(torch.tensor(3.0), torch.eye(2)).mean
    tensor([[3., 0.],
            [0., 3.]])
    """

    _mean_carrier_measure: Any = 0
    support = constraints.positive_definite
    has_rsample = True

    @property
    def arg_constraints(self) -> dict:  # type: ignore[override]
        """Positive definite matrices; df above the dimension less one."""
        definite = constraints.positive_definite
        return {"covariance_matrix": definite, "precision_matrix": definite, "scale_tril": constraints.lower_cholesky,
                "df": constraints.greater_than(self._matrix_shape[-1] - 1)}  # fmt: skip

    def __init__(self, df: Any, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
                 scale_tril: Tensor | None = None, validate_args: bool | None = None) -> None:
        matrices = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        given = [m for m in matrices.values() if m is not None]
        if len(given) != 1:
            raise AssertionError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        matrix = given[0]
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        size = matrix.shape[-1]
        if isinstance(df, Number):
            df = engine.tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch = engine.broadcast_shapes(matrix.shape[:-2], df.shape)
        self.df = df.expand(batch)
        if bool((self.df <= size - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {size - 1}.")
        if bool((self.df < size).any()):
            warnings.warn("Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                          stacklevel=2)
        self._take(batch, **matrices)
        super().__init__(batch, matrix.shape[-2:], validate_args=validate_args)
        self._factorise(**matrices)

    def _column(self, value: Tensor) -> Tensor:
        return value.reshape((*self._batch_shape, 1, 1))

    @property
    def mean(self) -> Tensor:
        return self._column(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._matrix_shape[-1] - 1
        return self._column(factor.masked_fill(factor <= 0, math.nan)) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        return self._column(self.df) * (v.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def _bartlett(self, sample_shape: Sequence[int]) -> Tensor:
        size = self._matrix_shape[-1]
        steps = engine.arange(size, dtype=self._factor.dtype, device=self._factor.device)
        roots = Chi2(self.df.unsqueeze(-1) - steps, validate_args=False).rsample(sample_shape).sqrt()
        noise = roots.clamp(min=engine.finfo(roots.dtype).eps).diag_embed(dim1=-2, dim2=-1)
        i, j = engine.tril_indices(size, size, offset=-1, device=noise.device)
        below = engine.randn((*sample_shape, *self._batch_shape, i.numel()), dtype=noise.dtype, device=noise.device)
        noise[..., i, j] = below
        factor = self._factor @ noise
        return factor @ factor.mT

    def rsample(self, sample_shape: Sequence[int] = (), max_try_correction: int | None = None) -> Tensor:
        """Draws; those that rounding made singular are drawn again, up to `max_try_correction` (10) times."""
        sample = self._bartlett(sample_shape)
        for _ in range(10 if max_try_correction is None else max_try_correction):
            singular = ~self.support.check(sample)
            if not bool(singular.any()):
                break
            warnings.warn("Singular sample detected.", stacklevel=2)
            sample = engine.where(singular[..., None, None], self._bartlett(sample_shape), sample)
        return sample

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        df, size = self.df, self._matrix_shape[-1]
        scale = df * (size * math.log(2) / 2 + half_log_det(self._factor)) + engine.mvlgamma(df / 2, size)
        trace = engine.cholesky_solve(value, self._factor.expand(value.shape)).diagonal(dim1=-2, dim2=-1).sum(-1)
        return (df - size - 1) / 2 * linalg.slogdet(value)[1] - scale - trace / 2

    def entropy(self) -> Tensor:
        df, size = self.df, self._matrix_shape[-1]
        steps = engine.arange(size, dtype=df.dtype, device=df.device) / 2
        digammas = ((df / 2).unsqueeze(-1) - steps).digamma().sum(-1)
        scale = (size + 1) * (size * math.log(2) / 2 + half_log_det(self._factor)) + engine.mvlgamma(df / 2, size)
        return scale - (df - size - 1) / 2 * digammas + df * size / 2

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (-self.precision_matrix / 2, (self.df - self._matrix_shape[-1] - 1) / 2)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        size = self._matrix_shape[-1]
        half_df = y + (size + 1) / 2
        return half_df * (size * math.log(2) - linalg.slogdet(-2 * x)[1]) + engine.mvlgamma(half_df, size)


class LKJCholesky(Distribution):
    """Cholesky factors of correlation matrices with density det**(concentration - 1) (Lewandowski, Kurowicka, Joe 2009).

    Draws by the onion method. ValueError for `dim` below 2.

    >>> torch.distributions.LKJCholesky(3, 0.5).sample().shape
    torch.Size([3, 3])
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with engine.no_grad():
            options = {"dtype": self.concentration.dtype, "device": self.concentration.device}
            steps = engine.arange(self.dim - 1, **options)
            offset = engine.cat([steps.new_zeros((1,)), steps])
            rest = (self.concentration + 0.5 * (self.dim - 2)).unsqueeze(-1) - 0.5 * offset
            share = Beta(offset + 0.5, rest).sample(sample_shape).unsqueeze(-1)  # of each row's length below the diagonal
            normals = engine.randn(self._extended_shape(sample_shape), **options).tril(-1)
            directions = normals / normals.norm(dim=-1, keepdim=True)
            directions[..., 0, :] = 0.0
            below = share.sqrt() * directions
            diagonal = (1 - (below**2).sum(-1)).clamp(min=engine.finfo(below.dtype).tiny).sqrt()
            return below + engine.diag_embed(diagonal)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        rows = engine.arange(2, self.dim + 1, device=self.concentration.device)
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - rows
        density = (powers * value.diagonal(dim1=-1, dim2=-2)[..., 1:].log()).sum(-1)
        less = self.dim - 1
        alpha = self.concentration + 0.5 * less
        scale = 0.5 * less * math.log(math.pi) + engine.mvlgamma(alpha - 0.5, less) - alpha.lgamma() * less
        return density - scale
