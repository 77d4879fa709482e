"""Values of special functions on raw arrays, for cards to use: erf, erfc, erfinv, lgamma, digamma, Hurwitz zeta, Bessel.

NumPy has none of these. Everything but the float32 error function is computed in float64, to about 1e-15 relative.
Functions take NumPy and CuPy arrays alike, through NumPy's dispatch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)

# Rational approximations of erf and erfc on three intervals: W. J. Cody, Math. Comp. 23 (1969), 631-637.
_ERF_P = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3)
_ERF_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_MID_P = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
          2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3)
_MID_Q = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
          3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)
_FAR_P = (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
          1.60837851487422766e-2, 6.58749161529837803e-4)
_FAR_Q = (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
          2.33520497626869185e-3)
_SMALL, _LARGE = 0.46875, 4.0

# float32 erf on [-4, 4] as x * P(x^2) / Q(x^2); the coefficients that Eigen and XLA use.
_ERF32_P = (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
            -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
_ERF32_Q = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
            -1.42647390514189e-02)


def polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """Horner's scheme, highest power first."""
    total = x * coefficients[0]
    for c in coefficients[1:-1]:
        total += c
        total *= x
    total += coefficients[-1]
    return total


def erf(x: Any) -> Any:
    """The error function; float32 in float32 (a few units in the last place), everything else in float64."""
    if x.dtype is F32 or x.dtype == F32:
        x = np.minimum(np.maximum(x, np.float32(-4)), np.float32(4))
        square = x * x
        return x * polynomial(square, _ERF32_P) / polynomial(square, _ERF32_Q)
    x = np.asarray(x, F64) if isinstance(x, (np.generic, float)) else x
    size = np.abs(x)
    near = np.minimum(size, _SMALL)
    inner = x * polynomial(near * near, _ERF_P) / polynomial(near * near, _ERF_Q)
    return np.where(size <= _SMALL, inner, np.copysign(1 - _erfc_positive(size), x))


def erfc(x: Any) -> Any:
    """1 - erf(x), without losing the small values."""
    if x.dtype == F32:
        return erfc(x.astype(F64)).astype(F32)
    size = np.abs(x)
    far = _erfc_positive(size)
    return np.where(size <= _SMALL, 1 - erf(x), np.where(x < 0, 2 - far, far))


def _erfc_positive(size: Any) -> Any:
    """erfc for arguments above 0.46875 (smaller ones give the value there)."""
    y = np.maximum(size, _SMALL)
    mid = np.minimum(y, _LARGE)
    inverse = 1 / np.square(np.minimum(np.maximum(y, _LARGE), 1e8))
    tail = inverse * polynomial(inverse, _FAR_P) / polynomial(inverse, _FAR_Q)
    ratio = np.where(y <= _LARGE, polynomial(mid, _MID_P) / polynomial(mid, _MID_Q), (1 / math.sqrt(math.pi) - tail) / y)
    coarse = np.trunc(np.minimum(y, 1e8) * 16) / 16  # exp(-y^2) in two factors, the first exact
    return np.exp(-coarse * coarse) * np.exp(-(y - coarse) * (y + coarse)) * ratio


def erfinv(y: Any) -> Any:
    """The inverse of erf on (-1, 1): Winitzki's estimate, then Halley steps on erf (erfc near the ends)."""
    if y.dtype != F64:
        return erfinv(y.astype(F64)).astype(y.dtype)
    size = np.abs(y)
    rest = 1 - size
    log = np.log(np.where(rest > 0, rest * (1 + size), 1.0))
    half = 2 / (math.pi * 0.147) + log / 2
    x = np.sqrt(np.maximum(np.sqrt(half * half - log / 0.147) - half, 0.0))
    for _ in range(3):
        miss = np.where(size < 0.5, erf(x) - size, rest - erfc(x))
        step = miss / (2 / math.sqrt(math.pi) * np.exp(-x * x))
        x = x - step / (1 + x * step)
    x = np.where(size == 0, 0.0, x)
    return np.copysign(np.where(size == 1, np.inf, np.where(size < 1, x, np.nan)), y)


# Bernoulli numbers B_2, B_4, ...
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_SHIFT = 10  # asymptotic series are used from here on


def lgamma(x: Any) -> Any:
    """log |gamma(x)|: Stirling's series above 10, recurrence below, reflection for x < 1/2."""
    if x.dtype != F64:
        return lgamma(x.astype(F64)).astype(x.dtype)
    low = x < 0.5
    z = np.where(low, 1 - x, x)
    product = np.ones_like(z)
    shifted = z.copy()
    for _ in range(_SHIFT):
        small = shifted < _SHIFT
        product = np.where(small, product * shifted, product)
        shifted = np.where(small, shifted + 1, shifted)
    inverse = 1 / shifted
    square, series = inverse * inverse, 0.0
    for k in range(len(BERNOULLI), 0, -1):
        series = series * square + BERNOULLI[k - 1] / (2 * k * (2 * k - 1))
    value = (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * math.log(2 * math.pi) + series * inverse - np.log(product)
    value = np.where((z == 1) | (z == 2), 0.0, value)
    value = np.where(np.isinf(x), np.inf, value)
    sine = np.abs(np.sin(math.pi * (x - np.floor(x))))
    return np.where(low & np.isfinite(x), np.log(math.pi / sine) - value, value)


def digamma(x: Any) -> Any:
    """The derivative of lgamma: asymptotic series above 10, recurrence below, reflection for x <= 0."""
    if x.dtype != F64:
        return digamma(x.astype(F64)).astype(x.dtype)
    low = x <= 0
    z = np.where(low, 1 - x, x)
    total = np.zeros_like(z)
    for _ in range(_SHIFT):
        small = z < _SHIFT
        total = np.where(small, total - 1 / z, total)
        z = np.where(small, z + 1, z)
    inverse = 1 / z
    square, series = inverse * inverse, 0.0
    for k in range(len(BERNOULLI), 0, -1):
        series = series * square + BERNOULLI[k - 1] / (2 * k)
    value = total + np.log(z) - 0.5 * inverse - series * square
    fraction = x - np.floor(x)
    value = np.where(low, value - math.pi / np.tan(math.pi * fraction), value)
    return np.where(low & (fraction == 0), np.where(x == 0, np.copysign(np.inf, -x), np.nan), value)


def zeta(s: float, q: Any) -> Any:
    """Hurwitz zeta sum_{k>=0} (k + q)^-s by Euler and Maclaurin's formula."""
    if q.dtype != F64:
        return zeta(s, q.astype(F64)).astype(q.dtype)
    pole = (q <= 0) & (q == np.floor(q))
    total, a = np.where(pole, np.inf, 0.0), np.where(pole, 1.0, q)
    while bool((a < _SHIFT).any()):
        small = a < _SHIFT
        total = np.where(small, total + np.where(small, a, 1.0) ** -s, total)
        a = np.where(small, a + 1, a)
    total = total + a ** (1 - s) / (s - 1) + 0.5 * a**-s
    factor = s * a ** (-s - 1)
    for k, b in enumerate(BERNOULLI, 1):
        total = total + b / math.factorial(2 * k) * factor
        factor = factor * (s + 2 * k - 1) * (s + 2 * k) / (a * a)
    return total


def polygamma(n: int, x: Any) -> Any:
    """The n-th derivative of digamma."""
    if n == 0:
        return digamma(x)
    return (-1) ** (n + 1) * math.factorial(n) * zeta(n + 1.0, x)


def bessel_i(order: int, x: Any) -> Any:
    """Modified Bessel functions I_0 and I_1: power series up to 20, asymptotic series beyond."""
    if x.dtype != F64:
        return bessel_i(order, x.astype(F64)).astype(x.dtype)
    size = np.abs(x)
    near = np.minimum(size, 20.0) / 2
    square = near * near
    term = near**order
    inner = term
    for k in range(1, 60):
        term = term * square / (k * (k + order))
        inner = inner + term
    far = np.maximum(size, 20.0)
    part = np.ones_like(far)
    outer = part
    for k in range(1, 25):
        part = part * ((2 * k - 1) ** 2 - 4 * order) / (8 * k * far)
        outer = outer + part
    outer = outer * np.exp(far) / np.sqrt(2 * math.pi * far)
    value = np.where(size <= 20, inner, outer)
    return np.copysign(value, x) if order else value
