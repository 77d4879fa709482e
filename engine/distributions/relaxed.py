"""Discrete choices made differentiable by noise and a temperature: RelaxedBernoulli, RelaxedOneHotCategorical.

Maddison, Mnih and Teh 2016; Jang, Gu and Poole 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import engine
from engine.tensor import Tensor

from . import constraints
from .base import Distribution
from .categorical import OverClasses
from .discrete import OneProbability
from .transformed import TransformedDistribution
from .transforms import ExpTransform, SigmoidTransform
from .utils import broadcast_all, clamp_probs

__all__ = ["ExpRelaxedCategorical", "LogitRelaxedBernoulli", "RelaxedBernoulli", "RelaxedOneHotCategorical"]


class LogitRelaxedBernoulli(OneProbability):
    """The log-odds of a RelaxedBernoulli: logits plus logistic noise, over the temperature.

    >>> from engine.distributions.relaxed_bernoulli import LogitRelaxedBernoulli
    >>> LogitRelaxedBernoulli(torch.tensor(0.5), torch.tensor([0.3])).batch_shape
    torch.Size([1])
    """

    support = constraints.real
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self.temperature = temperature
        self._take(probs, logits)
        Distribution.__init__(self, self._param.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        uniforms = clamp_probs(engine.rand(shape, dtype=probs.dtype, device=probs.device))
        return (uniforms.log() - (-uniforms).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        temperature = engine.as_tensor(self.temperature, dtype=value.dtype)
        diff = logits - value * temperature
        return temperature.log() + diff - 2 * diff.exp().log1p()


class ExpRelaxedCategorical(OverClasses):
    """The logarithm of a RelaxedOneHotCategorical: logits plus Gumbel noise, over the temperature, normalised.

    >>> from engine.distributions.relaxed_categorical import ExpRelaxedCategorical
    >>> ExpRelaxedCategorical(torch.tensor(0.5), torch.tensor([0.3, 0.7])).event_shape
    torch.Size([2])
    """

    support = constraints.real_vector
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        uniforms = clamp_probs(engine.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
        scores = (self.logits - (-(uniforms.log())).log()) / self.temperature
        return scores - scores.logsumexp(dim=-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        classes = self.event_shape[0]
        logits, value = broadcast_all(self.logits, value)
        temperature = engine.as_tensor(self.temperature, dtype=value.dtype)
        score = logits - value * temperature
        scale = engine.full_like(temperature, float(classes)).lgamma() + temperature.log() * (classes - 1)
        return (score - score.logsumexp(dim=-1, keepdim=True)).sum(-1) + scale


class _Relaxed(TransformedDistribution):
    """What a relaxed distribution tells of the one it is made of."""

    has_rsample = True

    @property
    def temperature(self) -> Any:
        """The temperature."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """The log-odds, or log-probabilities."""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """The probabilities."""
        return self.base_dist.probs


class RelaxedBernoulli(_Relaxed):
    """A Bernoulli variable made differentiable: numbers in (0, 1), nearer to 0 and 1 for small temperatures.

    >>> torch.distributions.RelaxedBernoulli(torch.tensor(2.0), torch.tensor([0.5])).probs
    tensor([0.5000])
    """

    arg_constraints = LogitRelaxedBernoulli.arg_constraints
    support = constraints.unit_interval

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args=validate_args)


class RelaxedOneHotCategorical(_Relaxed):
    """A one-hot vector made differentiable: shares that sum to 1.

    >>> torch.distributions.RelaxedOneHotCategorical(torch.tensor(2.0), torch.tensor([0.5, 0.5])).probs
    tensor([0.5000, 0.5000])
    """

    arg_constraints = ExpRelaxedCategorical.arg_constraints
    support = constraints.simplex

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)
