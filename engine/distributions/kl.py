"""Kullback-Leibler divergences between pairs of distributions."""

from __future__ import annotations

from collections.abc import Callable

import engine
from engine.nn import functional as F
from engine.tensor import Tensor

from .base import Distribution
from .categorical import Categorical, OneHotCategorical
from .continuous import Exponential, Normal, Uniform
from .discrete import Bernoulli
from .independent import Independent

__all__ = ["kl_divergence", "register_kl"]

_FORMULAS: dict[tuple[type, type], Callable] = {}


def register_kl(type_p: type, type_q: type) -> Callable:
    """Decorator: the function computes KL(p || q) for these two classes of distributions and their subclasses."""

    def keep(function: Callable) -> Callable:
        _FORMULAS[type_p, type_q] = function
        return function

    return keep


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q), of the batch shape. NotImplementedError for a pair without a formula; `register_kl` adds one.

    >>> standard = torch.distributions.Normal(0.0, 1.0)
    >>> torch.distributions.kl_divergence(torch.distributions.Normal(1.0, 1.0), standard)
    tensor(0.5000)
    """
    for a in type(p).__mro__:
        for b in type(q).__mro__:
            if (a, b) in _FORMULAS:
                return _FORMULAS[a, b](p, q)
    known = ", ".join(sorted(f"{a.__name__}-{b.__name__}" for a, b in _FORMULAS))
    raise NotImplementedError(f"kl_divergence(): no formula for {type(p).__name__} and {type(q).__name__} (there is "
                              f"{known}). HINT: estimate it, (p.log_prob(x) - q.log_prob(x)).mean() over samples x of p.")


@register_kl(Normal, Normal)
def _normal_normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Categorical, Categorical)
def _categorical_categorical(p: Categorical, q: Categorical) -> Tensor:
    t = p.probs * (p.logits - q.logits)
    t = engine.where(q.probs == 0, engine.inf, t)
    return engine.where(p.probs == 0, 0.0, t).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical_categorical(p._categorical, q._categorical)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    on = p.probs * (F.softplus(-q.logits) - F.softplus(-p.logits))
    off = (1 - p.probs) * (F.softplus(q.logits) - F.softplus(p.logits))
    return on + off


@register_kl(Uniform, Uniform)
def _uniform_uniform(p: Uniform, q: Uniform) -> Tensor:
    inside = (q.low <= p.low) & (p.high <= q.high)
    return engine.where(inside, ((q.high - q.low) / (p.high - p.low)).log(), engine.inf)


@register_kl(Exponential, Exponential)
def _exponential_exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Independent, Independent)
def _independent_independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("kl_divergence(): the two Independents reinterpret different numbers of dimensions")
    return p._summed(kl_divergence(p.base_dist, q.base_dist))
