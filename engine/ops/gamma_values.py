"""Values of the incomplete gamma functions and of Hurwitz's zeta function on raw arrays, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .special_values import BERNOULLI, erfc, lgamma

_STEPS = 2000  # of series and continued fraction; they converge in about sqrt(a) steps
_SHIFT = 24  # Euler and Maclaurin's series of zeta is used from here on
_TEMME = 2e4  # above, the uniform expansion has more digits than sqrt(a) steps are worth


def incomplete_gamma(a: Any, x: Any) -> tuple[Any, Any]:
    """(P(a, x), Q(a, x)), the lower and upper regularized functions, for a >= 0 and x >= 0; NaN elsewhere.

    Below a + 1 the series of P (A.S. 6.5.29), above it Legendre's continued fraction of Q (A.S. 6.5.31).
    """
    a, x = np.broadcast_arrays(a.astype(np.float64), x.astype(np.float64))
    inside = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    b, z = np.where(inside, a, 1.0), np.where(inside, x, 1.0)
    near = z < b + 1
    scale = np.exp(b * np.log(z) - z - lgamma(b))
    lower = np.where(near, scale * _series(b, np.where(near, z, 0.5)), 0.0)
    upper = np.where(near, 0.0, scale * _fraction(b, np.where(near, b + 2, z)))
    p, q = np.where(near, lower, 1 - upper), np.where(near, 1 - lower, upper)
    large = inside & (b > _TEMME)
    if large.any():
        uniform = _temme(np.where(large, b, 1.0), np.where(large, z, 1.0))
        p, q = np.where(large, 1 - uniform, p), np.where(large, uniform, q)
    p = np.where(inside, p, _edge(a, x))
    return p, np.where(inside, q, 1 - _edge(a, x))


def _edge(a: Any, x: Any) -> Any:
    """P where an argument is 0 or infinite; NaN where it is not defined."""
    bad = (a < 0) | (x < 0) | np.isnan(a) | np.isnan(x) | ((a == 0) & (x == 0)) | (np.isinf(a) & np.isinf(x))
    return np.where(bad, np.nan, np.where((a == 0) | np.isinf(x), 1.0, 0.0))


def _series(a: Any, x: Any) -> Any:
    total = term = 1 / a
    for n in range(1, _STEPS):
        term = term * x / (a + n)
        total = total + term
        if (term <= total * 1e-17).all():
            break
    return total


def _fraction(a: Any, x: Any) -> Any:
    """Lentz's algorithm."""
    b = x + 1 - a
    c, d = np.full_like(b, 1e300), 1 / b
    value = d
    for n in range(1, _STEPS):
        top = -n * (n - a)
        b = b + 2
        d = 1 / (top * d + b)
        c = b + top / c
        value = value * c * d
        if (np.abs(c * d - 1) < 1e-16).all():
            break
    return value


def _temme(a: Any, x: Any) -> Any:
    """Q(a, x) for large a: N. M. Temme, SIAM J. Math. Anal. 10 (1979), 757-766, two terms."""
    mu = (x - a) / a
    eta = np.copysign(np.sqrt(np.maximum(2 * (mu - np.log1p(mu)), 0.0)), mu)
    small = np.abs(mu) < 1e-2
    safe = np.where(small, 1.0, mu)
    c0 = np.where(small, -1 / 3 + eta / 12 - 2 / 135 * eta**2 + eta**3 / 864, 1 / safe - 1 / np.where(small, 1.0, eta))
    c1 = -1 / 540 - eta / 288
    rest = np.exp(-0.5 * a * eta * eta) / np.sqrt(2 * math.pi * a) * (c0 + c1 / a)
    return 0.5 * erfc(eta * np.sqrt(a / 2)) + rest


def hurwitz_zeta(s: Any, q: Any) -> Any:
    """Sum over k >= 0 of (k + q)^-s: inf at s = 1 and at poles, NaN for s < 1 and where a negative base has no power."""
    s, q = np.broadcast_arrays(s.astype(np.float64), q.astype(np.float64))
    pole, whole = (q <= 0) & (q == np.floor(q)), s == np.floor(s)
    fits = (s > 1) & np.isfinite(s) & np.isfinite(q) & ~pole & ((q > 0) | whole)
    t, a = np.where(fits, s, 2.0), np.where(fits, q, 1.0)
    total = np.zeros_like(a)
    while bool((a < _SHIFT).any()):
        small = a < _SHIFT
        total = np.where(small, total + np.where(small, a, 1.0) ** -t, total)
        a = np.where(small, a + 1, a)
    total = total + a ** (1 - t) / (t - 1) + 0.5 * a**-t
    factor = t * a ** (-t - 1)
    for k, b in enumerate(BERNOULLI, 1):
        total = total + b / math.factorial(2 * k) * factor
        factor = factor * (t + 2 * k - 1) * (t + 2 * k) / (a * a)
    total = np.where((s == 1) | ((s > 1) & pole), np.inf, np.where(fits, total, np.nan))
    return np.where(np.isposinf(s) & (q > 0), q**-s, np.where((s > 1) & np.isposinf(q), 0.0, total))


def scaled_erfc(x: Any) -> Any:
    """exp(x^2) erfc(x): by definition up to 5, beyond it Laplace's continued fraction (A.S. 7.1.14)."""
    x = x.astype(np.float64)
    near = np.clip(x, -27.0, 5.0)
    coarse = np.trunc(near * 16) / 16  # exp(x^2) in two factors, the first exact
    inner = np.exp(coarse * coarse) * np.exp((near - coarse) * (near + coarse)) * erfc(near)
    far = np.maximum(x, 5.0)
    tail: Any = np.zeros_like(far)
    for k in range(40, 0, -1):
        tail = k / 2 / (far + tail)
    outer = 1 / ((far + tail) * math.sqrt(math.pi))
    return np.where(x < -26.7, np.inf, np.where(x <= 5, inner, outer))
