"""Distributions over classes: Categorical (a draw is an index) and OneHotCategorical."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import engine
from engine.tensor import Tensor

from .base import Distribution, check

__all__ = ["Categorical", "OneHotCategorical"]


class Categorical(Distribution):
    """A distribution over indices 0 ... K-1, given probabilities or unnormalised log-probabilities (last dimension K).

    Raises: ValueError: both or neither given, a negative probability, a sum of zero, NaN.

    >>> choice = torch.distributions.Categorical(torch.tensor([0.25, 0.25, 0.5]))
    >>> choice.log_prob(torch.tensor(2))
    tensor(-0.6931)
    >>> choice.sample((4,)).shape
    torch.Size([4])
    """

    def __init__(self, probs: Tensor | None = None, logits: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        given: Any = probs if logits is None else logits
        if given.dim() < 1:
            raise ValueError(f"`{'probs' if logits is None else 'logits'}` parameter must be at least one-dimensional.")
        self._probs: Tensor | None = None
        self._logits: Tensor | None = None
        if probs is not None:
            self._probs = probs / probs.sum(-1, keepdim=True)
        else:
            self._logits = given - given.logsumexp(dim=-1, keepdim=True)
        self._num_events = given.size(-1)
        super().__init__(given.shape[:-1], validate_args=validate_args)
        if self._validate_args:
            if probs is not None:
                check(self, "probs", probs, (probs >= 0) & (probs.sum(-1, keepdim=True) > 0), "Simplex()")
            else:
                check(self, "logits", given, ~given.isnan(), "IndependentConstraint(Real(), 1)")

    @property
    def probs(self) -> Tensor:
        """Probabilities that sum to 1."""
        if self._probs is None:
            self._probs = engine.softmax(self.logits, -1)
        return self._probs

    @property
    def logits(self) -> Tensor:
        """Log-probabilities; those of probability zero are the logarithm of the smallest step of the dtype."""
        if self._logits is None:
            eps = engine.finfo(self.probs.dtype).eps
            self._logits = self.probs.clamp(min=eps, max=1 - eps).log()
        return self._logits

    @property
    def param_shape(self) -> Any:
        """The shape of probs and logits."""
        return (self.probs if self._logits is None else self._logits).size()

    @property
    def mean(self) -> Tensor:
        return engine.full(self._extended_shape(), engine.nan, dtype=self.probs.dtype)

    @property
    def variance(self) -> Tensor:
        return engine.full(self._extended_shape(), engine.nan, dtype=self.probs.dtype)

    @property
    def mode(self) -> Tensor:
        """The most probable index."""
        return self.probs.argmax(dim=-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        rows = self.probs.detach().reshape(-1, self._num_events)
        drawn = engine.multinomial(rows, math.prod(sample_shape), True).T
        return drawn.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value, (value >= 0) & (value < self._num_events) & (value % 1 == 0),
                          f"IntegerInterval(lower_bound=0, upper_bound={self._num_events - 1})")
        value, logits = engine.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        logits = self.logits.clamp(min=engine.finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def __repr__(self) -> str:
        name = "probs" if self._logits is None else "logits"
        return f"{type(self).__name__}({name}: {self.param_shape})"


class OneHotCategorical(Distribution):
    """As Categorical, with draws that are one-hot vectors of the probabilities' dtype."""

    def __init__(self, probs: Tensor | None = None, logits: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @property
    def probs(self) -> Tensor:
        """Probabilities that sum to 1."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """Log-probabilities."""
        return self._categorical.logits

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return engine.nn.functional.one_hot(self._categorical.sample(sample_shape), self.event_shape[0]).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value, (value.sum(-1) == 1) & (value.max(-1)[0] == 1), "OneHot()")
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self) -> Tensor:
        return self._categorical.entropy()
