"""Probability distributions: sampling, log-probabilities, entropies, divergences."""

from __future__ import annotations

from .base import Distribution
from .categorical import Categorical, OneHotCategorical
from .continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from .discrete import Bernoulli, Geometric, Poisson
from .independent import Independent
from .kl import kl_divergence, register_kl

__all__ = ["Bernoulli", "Categorical", "Distribution", "Exponential", "Geometric", "Independent", "Laplace", "LogNormal",
           "Normal", "OneHotCategorical", "Poisson", "Uniform", "kl_divergence", "register_kl"]
