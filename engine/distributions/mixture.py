"""MixtureSameFamily: a weighted mixture of distributions of one family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import engine
from engine.size import Size
from engine.tensor import Tensor

from .base import Distribution
from .categorical import Categorical
from .constraints import MixtureSameFamilyConstraint, dependent_property

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """A Categorical that chooses among the last batch dimension of `component_distribution`.

    Raises: ValueError: the two are no such pair, or their shapes do not fit.

    >>> d = torch.distributions
    >>> mix = d.MixtureSameFamily(d.Categorical(torch.ones(2)), d.Normal(torch.tensor([-1.0, 1.0]), torch.ones(2)))
    >>> mix.mean, mix.variance
    (tensor(0.), tensor(2.))
    """

    arg_constraints: Any = {}

    def __init__(self, mixture_distribution: Categorical, component_distribution: Distribution,
                 validate_args: bool | None = None) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(" The Mixture distribution needs to be an instance of torch.distributions.Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution needs to be an instance of torch.distributions.Distribution")
        weights, parts = mixture_distribution.batch_shape, component_distribution.batch_shape[:-1]
        if any(a != 1 and b != 1 and a != b for a, b in zip(reversed(weights), reversed(parts))):
            raise ValueError(f"`mixture_distribution.batch_shape` ({weights}) is not compatible with "
                             f"`component_distribution.batch_shape`({parts})")
        count, wanted = mixture_distribution.param_shape[-1], component_distribution.batch_shape[-1]
        if count != wanted:
            raise ValueError(f"`mixture_distribution component` ({count}) does not equal "
                             f"`component_distribution.batch_shape[-1]` ({wanted})")
        self.mixture_distribution, self.component_distribution = mixture_distribution, component_distribution
        self._events = len(component_distribution.event_shape)
        super().__init__(parts, component_distribution.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        count = self.mixture_distribution.param_shape[-1]
        new.component_distribution = self.component_distribution.expand(Size((*batch_shape, count)))
        new.mixture_distribution = self.mixture_distribution.expand(batch_shape)
        return new

    @dependent_property
    def support(self) -> Any:
        """That of the components."""
        return MixtureSameFamilyConstraint(self.component_distribution.support)

    def _weights(self) -> Tensor:
        probs = self.mixture_distribution.probs
        return probs.reshape((*probs.shape, *(1,) * self._events))

    def _with_parts(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - self._events)

    @property
    def mean(self) -> Tensor:
        return (self._weights() * self.component_distribution.mean).sum(-1 - self._events)

    @property
    def variance(self) -> Tensor:
        parts = self.component_distribution
        spread = parts.variance + (parts.mean - self._with_parts(self.mean)).pow(2)
        return (self._weights() * spread).sum(-1 - self._events)

    def cdf(self, value: Tensor) -> Tensor:
        return (self.component_distribution.cdf(self._with_parts(value)) * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        parts = self.component_distribution.log_prob(self._with_parts(value))
        return (parts + engine.log_softmax(self.mixture_distribution.logits, dim=-1)).logsumexp(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with engine.no_grad():
            choice = self.mixture_distribution.sample(sample_shape)
            parts = self.component_distribution.sample(sample_shape)
            at = len(sample_shape) + len(self._batch_shape)
            choice = choice.reshape((*choice.shape, *(1,) * (self._events + 1)))
            return parts.gather(at, choice.expand((*parts.shape[:at], 1, *self._event_shape))).squeeze(at)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
