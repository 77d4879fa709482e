"""Distributions of counts: Bernoulli, Geometric, Poisson."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import engine
from engine.nn import functional as F
from engine.tensor import Tensor

from .base import Distribution, broadcast_all, check

__all__ = ["Bernoulli", "Geometric", "Poisson"]


class _TwoWays(Distribution):
    """A distribution of one probability, given as itself or as its log-odds."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        self._probs: Tensor | None = None
        self._logits: Tensor | None = None
        if probs is not None:
            (given,) = (self._probs,) = broadcast_all(probs)
        else:
            (given,) = (self._logits,) = broadcast_all(logits)
        super().__init__(given.shape, validate_args=validate_args)
        if self._validate_args and probs is not None:
            check(self, "probs", given, (given >= 0) & (given <= 1), "Interval(lower_bound=0.0, upper_bound=1.0)")
        elif self._validate_args:
            check(self, "logits", given, ~given.isnan(), "Real()")

    @property
    def probs(self) -> Tensor:
        """The probability."""
        if self._probs is None:
            self._probs = engine.sigmoid(self.logits)
        return self._probs

    @property
    def logits(self) -> Tensor:
        """The log-odds; a probability of 0 or 1 counts as one step of the dtype away from it."""
        if self._logits is None:
            eps = engine.finfo(self.probs.dtype).eps
            p = self.probs.clamp(min=eps, max=1 - eps)
            self._logits = p.log() - (-p).log1p()
        return self._logits

    def _parameters(self) -> dict[str, Tensor]:
        return {"probs": self.probs} if self._logits is None else {"logits": self._logits}


class Bernoulli(_TwoWays):
    """1 with probability `probs` (or log-odds `logits`), otherwise 0.

    >>> torch.distributions.Bernoulli(torch.tensor([0.25])).log_prob(torch.tensor([1.0]))
    tensor([-1.3863])
    """

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with engine.no_grad():
            return engine.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value, value.eq(0) | value.eq(1), "Boolean()")
        logits, value = broadcast_all(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")


class Geometric(_TwoWays):
    """How many Bernoulli trials fail before the first success: 0, 1, ..."""

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with engine.no_grad():
            u = engine.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)
            u = u.clamp(min=engine.finfo(self.probs.dtype).tiny)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value, (value >= 0) & (value % 1 == 0), "IntegerGreaterThan(lower_bound=0)")
        value, probs = broadcast_all(value, self.probs)
        return value * (-probs).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs


class Poisson(Distribution):
    """Counts of events that come independently, `rate` of them on average."""

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)
        if self._validate_args:
            check(self, "rate", self.rate, self.rate >= 0, "GreaterThanEq(lower_bound=0.0)")

    @property
    def mean(self) -> Tensor:
        return self.rate

    variance = mean

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with engine.no_grad():
            return engine.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value, (value >= 0) & (value % 1 == 0), "IntegerGreaterThan(lower_bound=0)")
        rate, value = broadcast_all(self.rate, value)
        return value.xlogy(rate) - rate - (value + 1).lgamma()
