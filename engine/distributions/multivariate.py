"""MultivariateNormal and LowRankMultivariateNormal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import engine
from engine import linalg
from engine.tensor import Tensor

from . import constraints
from .base import Distribution
from .utils import lazy_property

__all__ = ["LowRankMultivariateNormal", "MultivariateNormal"]


def times_vector(matrix: Tensor, vector: Tensor) -> Tensor:
    """Batches of matrices by batches of vectors; both broadcast."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def squared_distance(factor: Tensor, x: Tensor) -> Tensor:
    """x' (L L')^-1 x for a lower triangular factor L (Mahalanobis); batch dimensions broadcast."""
    batch = engine.broadcast_shapes(factor.shape[:-2], x.shape[:-1])
    rows = x.expand((*batch, x.shape[-1])).unsqueeze(-1)
    return linalg.solve_triangular(factor.expand((*batch, *factor.shape[-2:])), rows, upper=False).pow(2).sum((-2, -1))


def half_log_det(factor: Tensor) -> Tensor:
    """Half the logarithm of det(L L')."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def factor_of_precision(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse of `precision`, without inverting twice."""
    reversed_factor = linalg.cholesky(precision.flip((-2, -1)))
    inverse = reversed_factor.flip((-2, -1)).transpose(-2, -1)
    identity = engine.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return linalg.solve_triangular(inverse, identity.expand(inverse.shape), upper=False)


class WithCovariance(Distribution):
    """A distribution given by exactly one of three matrices; the other two follow when they are asked for."""

    _factor: Tensor  # the Cholesky factor, not broadcast over the batch
    _matrix_shape: tuple[int, ...]

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return self._factor.expand((*self._batch_shape, *self._matrix_shape))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance, or scale matrix."""
        return (self._factor @ self._factor.mT).expand((*self._batch_shape, *self._matrix_shape))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        return engine.cholesky_inverse(self._factor).expand((*self._batch_shape, *self._matrix_shape))

    def _take(self, batch: Sequence[int], **matrices: Tensor | None) -> None:
        """Keep the matrix that is given, and its factor. Matrices that have a wrong shape are an error of the caller."""
        (name, matrix), = [(n, m) for n, m in matrices.items() if m is not None]
        self._matrix_shape = tuple(matrix.shape[-2:])
        setattr(self, name, matrix.expand((*batch, *self._matrix_shape)))

    def _factorise(self, **matrices: Tensor | None) -> None:
        covariance, precision = matrices["covariance_matrix"], matrices["precision_matrix"]
        if covariance is not None:
            self._factor = linalg.cholesky(covariance)
        elif precision is not None:
            self._factor = factor_of_precision(precision)
        else:
            self._factor = matrices["scale_tril"]  # type: ignore[assignment]


class MultivariateNormal(WithCovariance):
    """The normal distribution of vectors, given its mean and one of covariance, precision and Cholesky factor.

    Raises: ValueError: none or several matrices, or too few dimensions.

    >>> normal = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    >>> normal.log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
                 scale_tril: Tensor | None = None, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        matrices = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        given = [(name, m) for name, m in matrices.items() if m is not None]
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        name, matrix = given[0]
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch = engine.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.loc = loc.expand((*batch, loc.shape[-1]))
        self._take(batch, **matrices)
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._factorise(**matrices)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._factor.pow(2).sum(-1).expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        eps = engine.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + times_vector(self._factor, eps)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        distance = squared_distance(self._factor, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - half_log_det(self._factor)

    def entropy(self) -> Tensor:
        entropy = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + half_log_det(self._factor)
        return entropy.expand(self._batch_shape)


def capacitance(factor: Tensor, diagonal: Tensor) -> Tensor:
    """The Cholesky factor of I + W' D^-1 W."""
    k = (factor.mT / diagonal.unsqueeze(-2)) @ factor
    return linalg.cholesky(k + engine.eye(k.shape[-1], dtype=k.dtype, device=k.device))


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of vectors with covariance cov_factor @ cov_factor.T + diag(cov_diag).

    Inverse and determinant come from the small matrix, by the lemmas of Woodbury and of matrix determinants.

    >>> normal = torch.distributions.LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2))
    >>> normal.covariance_matrix
    tensor([[2., 1.],
            [1., 2.]])
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        n = loc.shape[-1]
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2] != n:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {n} x m")
        if cov_diag.shape[-1:] != loc.shape[-1:]:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {loc.shape[-1:]}")
        try:
            batch = engine.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as error:
            raise ValueError(f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag "
                             f"{cov_diag.shape}") from error
        self.loc, self.cov_diag = loc.expand((*batch, n)), cov_diag.expand((*batch, n))
        self.cov_factor = cov_factor.expand((*batch, *cov_factor.shape[-2:]))
        self._small = (cov_factor, cov_diag, capacitance(cov_factor, cov_diag))  # not broadcast over the batch
        super().__init__(batch, (n,), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def _square(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def variance(self) -> Tensor:  # type: ignore[override]
        """The diagonal of the covariance."""
        factor, diagonal, _ = self._small
        return (factor.pow(2).sum(-1) + diagonal).expand((*self._batch_shape, *self._event_shape))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        factor, diagonal, _ = self._small
        root = diagonal.sqrt().unsqueeze(-1)
        scaled = factor / root
        identity = engine.eye(scaled.shape[-2], dtype=scaled.dtype, device=scaled.device)
        return self._square(root * linalg.cholesky(scaled @ scaled.mT + identity))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        factor, diagonal, _ = self._small
        return self._square(factor @ factor.mT + engine.diag_embed(diagonal))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        factor, diagonal, small = self._small
        a = linalg.solve_triangular(small, factor.mT / diagonal.unsqueeze(-2), upper=False)
        return self._square(engine.diag_embed(diagonal.reciprocal()) - a.mT @ a)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        factor, diagonal, _ = self._small
        shape, options = self._extended_shape(sample_shape), {"dtype": self.loc.dtype, "device": self.loc.device}
        small = engine.randn((*shape[:-1], factor.shape[-1]), **options)
        return self.loc + times_vector(factor, small) + diagonal.sqrt() * engine.randn(shape, **options)

    def _distance(self, x: Tensor) -> Tensor:
        factor, diagonal, small = self._small
        inner = times_vector(factor.mT / diagonal.unsqueeze(-2), x)
        return (x.pow(2) / diagonal).sum(-1) - squared_distance(small, inner)

    def _log_det(self) -> Tensor:
        _, diagonal, small = self._small
        return 2 * half_log_det(small) + diagonal.log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        distance = self._distance(value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_det() + distance)

    def entropy(self) -> Tensor:
        entropy = 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())
        return entropy.expand(self._batch_shape)
