"""Gamma and Dirichlet draws through which gradients reach the parameters.

A draw x of a distribution with cumulative function F(x; a) moves by dx/da = -(dF/da) / (dF/dx) when the parameter moves
and the draw keeps its rank (Figurnov, Mohamed and Mnih 2018, implicit reparameterisation). dF/da comes from the power
series of the incomplete gamma and beta functions, differentiated term by term in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import engine
from engine import backend, random
from engine.autograd import Function
from engine.ops.special_values import digamma
from engine.tensor import Tensor

__all__ = ["sample_dirichlet", "standard_gamma"]

_LARGE = 200.0  # from here on, Wilson and Hilferty's normal approximation is as good as single precision
_MOST_TERMS = 20_000


def standard_gamma(concentration: Tensor) -> Tensor:
    """Gamma draws of rate 1, one for each element of `concentration`, differentiable by it."""
    return _StandardGamma.apply(concentration)


def sample_dirichlet(concentration: Tensor) -> Tensor:
    """Dirichlet draws, one for each row (last dimension) of `concentration`, differentiable by it."""
    return _SampleDirichlet.apply(concentration)


class _StandardGamma(Function):
    @staticmethod
    def forward(ctx: Any, concentration: Tensor) -> Tensor:
        shape = concentration.detach().numpy(force=True)
        drawn = random.default_generator.gamma(shape)
        x = engine.as_tensor(np.maximum(drawn.astype(shape.dtype), np.finfo(shape.dtype).tiny), device=concentration.device)
        ctx.save_for_backward(x, concentration)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        x, concentration = ctx.saved_tensors
        return g * _on_arrays(gamma_slope, x, concentration)


class _SampleDirichlet(Function):
    @staticmethod
    def forward(ctx: Any, concentration: Tensor) -> Tensor:
        shape = concentration.detach().numpy(force=True)
        drawn = random.default_generator.gamma(shape.astype(np.float64))
        limits = np.finfo(shape.dtype)
        share = (drawn / drawn.sum(-1, keepdims=True)).astype(shape.dtype)
        x = engine.as_tensor(np.clip(share, limits.tiny, 1 - limits.epsneg), device=concentration.device)
        ctx.save_for_backward(x, concentration)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        # Each share is beta distributed; moving it by its own slope takes the difference from the others in proportion.
        x, concentration = ctx.saved_tensors
        rest = concentration.sum(-1, keepdim=True) - concentration
        slope = _on_arrays(beta_slope, x, concentration, rest) / (1 - x)
        return slope * (g - (x * g).sum(-1, keepdim=True))


def _on_arrays(formula: Callable, *tensors: Tensor) -> Tensor:
    first = tensors[0]
    arrays = [backend.to_numpy(t._array).astype(np.float64) for t in tensors]
    with np.errstate(all="ignore"):
        return engine.as_tensor(formula(*arrays), dtype=first.dtype, device=first.device)


def gamma_slope(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """dx/da of gamma draws x with shapes a, float64.

    P(a, x) = sum over n of x**(a+n) exp(-x) / gamma(a+n+1), all terms positive; the density is the term before the first.
    """
    small = a < _LARGE
    b, y = np.where(small, a, 1.0), np.where(small, x, 1.0)
    log_x = np.log(y)
    log_first = log_x - np.log(b)  # the first term over the density
    term, slope = np.exp(log_first), log_x - digamma(b + 1)
    total = term * slope
    for n in range(1, _MOST_TERMS):
        term = term * y / (b + n)
        slope = slope - 1 / (b + n)
        step = term * slope
        total += step
        if n > y.max(initial=0) and (np.abs(step) <= 1e-17 * np.abs(total)).all():
            break
    root = np.cbrt(x / a)  # x = a * root**3, root = 1 - 1/(9a) + z/(3 sqrt(a)) for a normal z that stays
    far = root**3 + 3 * root**2 * a * (1 / (9 * a * a) - (root - 1 + 1 / (9 * a)) / (2 * a))
    return np.where(small, -total, far)


def beta_slope(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """dx/da of beta draws x with parameters a and b, float64; from the end of [0, 1] that the draw is nearer to."""
    near = x <= 0.5
    first = np.where(near, a, b)
    y = np.where(near, x, 1 - x)
    total = a + b
    log_term = np.log(y) + np.log1p(-y) - np.log(first)  # the series' factor over the density
    change = digamma(total) - digamma(a) + np.log(x) - np.where(near, 1 / first, 0.0)
    term = np.exp(log_term)
    sum_ = term * change
    for n in range(_MOST_TERMS):
        term = term * y * (total + n) / (first + 1 + n)
        change = change + 1 / (total + n) - np.where(near, 1 / (first + 1 + n), 0.0)
        step = term * change
        sum_ += step
        falling = y * (total + n) < 0.99 * (first + 1 + n)
        if (falling & (np.abs(step) <= 1e-17 * np.abs(sum_))).all():
            break
    return np.where(near, -sum_, sum_)
