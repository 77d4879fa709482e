"""Kullback-Leibler divergences: between two distributions of one family, and from one family to another.

Across families, KL(p || q) is p's negative entropy less the mean of q's log-density under p, which for the families here
needs no more than p's mean and variance, the mean of log x, or the mean of exp(-x / s): see `_CROSS`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import engine
from engine import linalg
from engine.nn import functional as F
from engine.tensor import Tensor

from .base import Distribution, ExponentialFamily
from .categorical import Categorical, OneHotCategorical
from .continuous import Cauchy, Exponential, Laplace, Normal, Uniform
from .discrete import Bernoulli, Binomial, ContinuousBernoulli, Geometric, Poisson
from .gamma import Beta, Dirichlet, Gamma
from .independent import Independent
from .multivariate import LowRankMultivariateNormal, MultivariateNormal, half_log_det, squared_distance
from .transformed import Gumbel, HalfNormal, Pareto, TransformedDistribution
from .utils import _sum_rightmost, euler_constant

__all__ = ["kl_divergence", "register_kl"]

_FORMULAS: dict[tuple[type, type], Callable] = {}


def register_kl(type_p: type, type_q: type) -> Callable:
    """Decorator: the function computes KL(p || q) for these two classes of distributions and their subclasses.

    As in torch, classes of other libraries may stand there as well. Raises: TypeError: one of them is no class.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not isinstance(kind, type):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def keep(function: Callable) -> Callable:
        _FORMULAS[type_p, type_q] = function
        return function

    return keep


def _nearest(p: type, q: type) -> Callable | None:
    """The formula whose classes are nearest to p's and q's own, p's counting first."""
    by_p = ((a, b) for a in p.__mro__ for b in q.__mro__ if (a, b) in _FORMULAS)
    by_q = ((a, b) for b in q.__mro__ for a in p.__mro__ if (a, b) in _FORMULAS)
    first, other = next(by_p, None), next(by_q, None)
    if first is None or other is None:
        return None
    if _FORMULAS[first] is not _FORMULAS[other]:
        warnings.warn(f"Ambiguous kl_divergence({p.__name__}, {q.__name__}). Please register_kl({first[0].__name__}, "
                      f"{other[1].__name__})", RuntimeWarning, stacklevel=3)
    return _FORMULAS[first]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q), of the batch shape. NotImplementedError for a pair without a formula; `register_kl` adds one.

    >>> standard = torch.distributions.Normal(0.0, 1.0)
    >>> torch.distributions.kl_divergence(torch.distributions.Normal(1.0, 1.0), standard)
    tensor(0.5000)
    """
    formula = _nearest(type(p), type(q))
    if formula is None:
        raise NotImplementedError(f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}. "
                                  "HINT: estimate it, (p.log_prob(x) - q.log_prob(x)).mean() over samples x of p.")
    return formula(p, q)


# -- one family -------------------------------------------------------------------------------------------------------


@register_kl(ExponentialFamily, ExponentialFamily)
def _bregman(p: Any, q: Any) -> Tensor:
    if type(p) is not type(q):
        raise NotImplementedError(f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}: "
                                  "they are different exponential families")
    natural = [t.detach().requires_grad_() for t in p._natural_params]
    with engine.enable_grad():
        normalizer = p._log_normalizer(*natural)
        means = engine.autograd.grad(normalizer.sum(), natural, create_graph=True)
    result = q._log_normalizer(*q._natural_params) - normalizer
    for a, b, mean in zip(natural, q._natural_params, means):
        result = result - _sum_rightmost((b - a) * mean, len(q.event_shape))
    return result


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Tensor:
    on = p.probs * (F.softplus(-q.logits) - F.softplus(-p.logits))
    on = engine.where(p.probs == 0, 0.0, engine.where(q.probs == 0, engine.inf, on))
    off = (1 - p.probs) * (F.softplus(q.logits) - F.softplus(p.logits))
    return on + engine.where(p.probs == 1, 0.0, engine.where(q.probs == 1, engine.inf, off))


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return engine.where(p.total_count > q.total_count, engine.inf, kl)


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> Tensor:
    t = p.probs * (p.logits - q.logits)
    t = engine.where(q.probs == 0, engine.inf, t)
    return engine.where(p.probs == 0, 0.0, t).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> Tensor:
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    scale = a.sum(-1).lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return scale + ((a - b) * (a.digamma() - a.sum(-1, True).digamma())).sum(-1)


@register_kl(Gamma, Gamma)
def _gamma(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    scale = b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma()
    return scale + (a - b) * a.digamma() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Tensor:
    ratio, apart = p.scale / q.scale, (p.loc - q.loc).abs()
    return apart / q.scale + ratio * (-apart / p.scale).exp() - ratio.log() - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Tensor:
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Tensor:
    inside = (q.low <= p.low) & (p.high <= q.high)
    return engine.where(inside, ((q.high - q.low) / (p.high - p.low)).log(), engine.inf)


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    result = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return engine.where(p.scale < q.scale, engine.inf, result)


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Tensor:
    ratio, apart = p.scale / q.scale, (q.loc - p.loc) / q.scale
    return ratio * euler_constant - ratio.log() - apart + (apart + (1 + ratio).lgamma()).exp() - (1 + euler_constant)


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("kl_divergence(): the two Independents reinterpret different numbers of dimensions")
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("kl_divergence(): the two distributions have different transforms or event shapes")
    return kl_divergence(p.base_dist, q.base_dist)


# -- normal vectors ---------------------------------------------------------------------------------------------------


def _same_events(p: Any, q: Any) -> int:
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two Multivariate Normals with different event shapes cannot be computed")
    return p.event_shape[0]


def _trace(matrix: Tensor) -> Tensor:
    return matrix.pow(2).sum((-2, -1))


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _to_full(p: Any, q: Any) -> Tensor:
    n = _same_events(p, q)
    batch = engine.broadcast_shapes(p.batch_shape, q.batch_shape)
    mine, theirs = p.scale_tril.expand((*batch, n, n)), q._factor.expand((*batch, n, n))
    ratio = linalg.solve_triangular(theirs, mine, upper=False)
    distance = squared_distance(q._factor, q.loc - p.loc)
    return half_log_det(theirs) - half_log_det(mine) + 0.5 * (_trace(ratio) + distance - n)


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _to_low_rank(p: Any, q: Any) -> Tensor:
    n = _same_events(p, q)
    spread = (q.precision_matrix * p.covariance_matrix).sum((-2, -1))  # the trace of their product
    return 0.5 * (q._log_det() - 2 * half_log_det(p.scale_tril) + spread + q._distance(q.loc - p.loc) - n)


# -- across families --------------------------------------------------------------------------------------------------


def _mean_log(p: Any) -> Tensor:
    """The mean of log x."""
    if isinstance(p, Beta):
        return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    if isinstance(p, Exponential):
        return -euler_constant - p.rate.log()
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return (engine.xlogy(p.high, p.high) - engine.xlogy(p.low, p.low)) / (p.high - p.low) - 1  # Uniform


def _mean_exp(p: Any, s: Tensor) -> Tensor:
    """The mean of exp(-x / s)."""
    if isinstance(p, Exponential):
        return p.rate * s / (p.rate * s + 1)
    if isinstance(p, Gamma):
        return (1 + (p.rate * s).reciprocal()).pow(-p.concentration)
    if isinstance(p, Normal):
        return (0.5 * (p.scale / s).pow(2) - p.loc / s).exp()
    return (s / (p.high - p.low)) * ((-p.low / s).exp() - (-p.high / s).exp())  # Uniform


def _to_normal(p: Any, q: Any) -> Tensor:
    square = q.scale.pow(2)
    return -p.entropy() + 0.5 * (2 * math.pi * square).log() + (p.variance + (p.mean - q.loc).pow(2)) / (2 * square)


def _to_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


def _to_gamma(p: Any, q: Any) -> Tensor:
    scale = q.concentration.lgamma() - q.concentration * q.rate.log()
    return -p.entropy() + scale - (q.concentration - 1) * _mean_log(p) + q.rate * p.mean


def _to_gumbel(p: Any, q: Any) -> Tensor:
    return -p.entropy() + q.scale.log() + (p.mean - q.loc) / q.scale + (q.loc / q.scale).exp() * _mean_exp(p, q.scale)


def _to_uniform(p: Any, q: Any) -> Tensor:
    covered = (q.low <= 0) & (q.high >= 1)  # p is Beta or ContinuousBernoulli
    return engine.where(covered, (q.high - q.low).log() - p.entropy(), engine.inf)


def _to_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return -p.entropy() - p.mean * q.logits - engine.log1p(-q.probs) - q._log_norm()


def _to_infinity(p: Any, q: Any) -> Tensor:
    return engine.full(engine.broadcast_shapes(p.batch_shape, q.batch_shape), engine.inf, dtype=p.mean.dtype)


def _within(p: Uniform, low: float, high: float, kl: Tensor) -> Tensor:
    return engine.where((p.low >= low) & (p.high <= high), kl, engine.inf)


# (formula, q, the p's for which it holds). Where p reaches beyond q's support, the divergence is infinite.
_CROSS: tuple[tuple[Callable, type, tuple[type, ...]], ...] = (
    (_to_normal, Normal, (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Uniform)),
    (_to_exponential, Exponential, (Beta, ContinuousBernoulli, Gamma, Pareto)),
    (_to_gamma, Gamma, (Beta, Exponential, Pareto)),
    (_to_gumbel, Gumbel, (Exponential, Gamma, Normal, Uniform)),
    (_to_uniform, Uniform, (Beta, ContinuousBernoulli)),
    (_to_continuous_bernoulli, ContinuousBernoulli, (Beta,)),
    (_to_infinity, Beta, (Exponential, Gamma, Gumbel, Laplace, Normal, Pareto)),
    (_to_infinity, ContinuousBernoulli, (Exponential, Gamma, Gumbel, Laplace, Normal, Pareto)),
    (_to_infinity, Exponential, (Gumbel, Laplace, Normal)),
    (_to_infinity, Gamma, (Gumbel, Laplace, Normal)),
    (_to_infinity, Pareto, (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Normal)),
    (_to_infinity, Uniform, (Exponential, Gamma, Gumbel, Laplace, Normal, Pareto)),
    (_to_infinity, Bernoulli, (Poisson,)),
    (_to_infinity, Binomial, (Poisson,)),
)
for _formula, _q, _ps in _CROSS:
    for _p in _ps:
        register_kl(_p, _q)(_formula)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Tensor:
    apart = (p.loc - q.loc) / p.scale
    distance = p.scale * (math.sqrt(2 / math.pi) * (-0.5 * apart.pow(2)).exp() + apart * engine.erf(math.sqrt(0.5) * apart))
    return -p.entropy() + (2 * q.scale).log() + distance / q.scale


@register_kl(Pareto, Normal)
def _pareto_normal(p: Any, q: Any) -> Tensor:
    return engine.where(p.alpha > 2, _to_normal(p, q), engine.inf)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Tensor:
    return _within(p, 0.0, math.inf, _to_exponential(p, q))


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> Tensor:
    return _within(p, 0.0, math.inf, _to_gamma(p, q))


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return _within(p, 0.0, 1.0, _to_continuous_bernoulli(p, q))


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    a, b = q.concentration1, q.concentration0
    mean_log_rest = _mean_log(Uniform(1 - p.high, 1 - p.low, validate_args=False))
    kl = a.lgamma() + b.lgamma() - (a + b).lgamma() - p.entropy() - (a - 1) * _mean_log(p) - (b - 1) * mean_log_rest
    return _within(p, 0.0, 1.0, kl)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> Tensor:
    kl = (q.alpha + 1) * _mean_log(p) - q.alpha.log() - q.alpha * q.scale.log() - p.entropy()
    return engine.where(p.low >= q.scale, kl, engine.inf)
