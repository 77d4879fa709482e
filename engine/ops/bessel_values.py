"""Values of Bessel and Airy functions on raw arrays, in float64: J, Y, K of orders 0 and 1, and Ai.

No tables of coefficients: the recurrence for J is run downwards (J. C. P. Miller's algorithm), Y comes from Neumann's series
in the J_n, K and Ai from their integrals by the trapezoidal rule, which converges exponentially there (Trefethen and
Weideman, SIAM Review 56 (2014), 385-458), and large arguments from the asymptotic series. A.S.: Abramowitz and Stegun.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import namespace

EULER = 0.57721566490153286
_FAR = 25.0  # asymptotic series of J and Y are used from here on
_START = 90  # Miller's recurrence begins at this order: J_90(25) is below 1e-50
_AIRY_FAR = 9.0


def in_float64(values: Callable) -> Callable:
    """`values(x)` computed in float64 and returned in the dtype of `x`, shape kept."""

    def computed(x: Any) -> Any:
        return values(x.reshape(x.shape or (1,)).astype(np.float64)).reshape(x.shape).astype(x.dtype)

    return computed


def _all_orders(x: Any) -> list:
    """J_0 ... J_START of 0 < x <= FAR: downwards, scaled by 1 = J_0 + 2 (J_2 + J_4 + ...)."""
    above, here = np.zeros_like(x), np.full_like(x, 1e-300)
    orders = [here]
    for n in range(_START, 0, -1):
        above, here = here, 2 * n / x * here - above
        big = np.abs(here) > 1e200
        if big.any():
            shrink = np.where(big, 1e-200, 1.0)
            above, here, orders = above * shrink, here * shrink, [o * shrink for o in orders]
        orders.append(here)
    orders.reverse()
    total = orders[0] + 2 * sum(orders[2::2])
    return [o / total for o in orders]


def _waves(order: int, x: Any) -> tuple[Any, Any]:
    """(J, Y) of x >= FAR by Hankel's expansion, A.S. 9.2.5-9.2.10."""
    p = q = 0.0
    term: Any = np.ones_like(x)
    for k in range(26):
        if k % 2 == 0:
            p = p + (term if k % 4 == 0 else -term)
        else:
            q = q + (term if k % 4 == 1 else -term)
        term = term * (4 * order - (2 * k + 1) ** 2) / (8 * (k + 1) * x)
    phase, size = x - (order / 2 + 0.25) * math.pi, np.sqrt(2 / (math.pi * x))
    cos, sin = np.cos(phase), np.sin(phase)
    return size * (p * cos - q * sin), size * (p * sin + q * cos)


def bessel_j(order: int) -> Callable:
    """J_0 or J_1."""

    def values(x: Any) -> Any:
        size = np.abs(x)
        near = np.clip(size, 1e-8, _FAR)
        value = np.where(size <= _FAR, _all_orders(near)[order], _waves(order, np.maximum(size, _FAR))[0])
        value = np.where(size < 1e-8, size / 2 if order else 1.0, value)
        value = np.where(np.isfinite(x), value, np.nan)  # as torch; the limit at infinity is 0
        return value * np.sign(x) if order else value

    return in_float64(values)


def bessel_y(order: int) -> Callable:
    """Y_0 or Y_1; -inf at 0 and NaN below. Neumann's series: A.S. 9.1.88 and 9.1.89."""

    def values(x: Any) -> Any:
        near = np.clip(x, 1e-8, _FAR)
        j = _all_orders(near)
        if order == 0:
            series = sum(((-1) ** k / k * j[2 * k] for k in range(1, _START // 2)), np.zeros_like(near))
            inner = 2 / math.pi * ((np.log(near / 2) + EULER) * j[0] - 2 * series)
        else:
            series = sum(((-1) ** k * (2 * k + 1) / (2 * k * (k + 1)) * j[2 * k + 1] for k in range(1, _START // 2)),
                         np.zeros_like(near))
            inner = -2 / (math.pi * near) * j[0] + 2 / math.pi * ((np.log(near / 2) + EULER - 1) * j[1] - 2 * series)
        tiny = np.maximum(x, 1e-308)
        small = 2 / math.pi * (np.log(tiny / 2) + EULER) if order == 0 else -2 / math.pi / tiny
        value = np.where(x <= _FAR, np.where(x < 1e-8, small, inner), _waves(order, np.maximum(x, _FAR))[1])
        return np.where(x == 0, -np.inf, np.where((x > 0) & np.isfinite(x), value, np.nan))

    return in_float64(values)


def scaled_bessel_k(order: int) -> Callable:
    """exp(x) K(x) of order 0 or 1; inf at 0 and NaN below. Series A.S. 9.6.11 up to 2, beyond it the integral
    of exp(-x cosh t) cosh(order t), A.S. 9.6.24."""

    def values(x: Any) -> Any:
        near, far = np.clip(x, 1e-300, 2.0), np.maximum(x, 2.0)
        quarter, term, inner, harmonic = near * near / 4, np.ones_like(near), np.zeros_like(near), -EULER
        i_value = np.zeros_like(near)
        for k in range(20):  # harmonic is psi(k + 1)
            if order == 0:
                inner, i_value = inner + harmonic * term, i_value + term
            else:
                inner = inner + (2 * harmonic + 1 / (k + 1)) * term / (k + 1)
                i_value = i_value + term / (k + 1)
            term = term * quarter / (k + 1) ** 2
            harmonic += 1 / (k + 1)
        log = np.log(near / 2)
        small = inner - log * i_value if order == 0 else 1 / near + log * i_value * near / 2 - near / 4 * inner
        t = namespace(x).arange(0, 56) * 0.125
        weights = np.where(t == 0, 0.5, 1.0) * 0.125 * np.cosh(order * t)
        large = (np.exp(-far[..., None] * (np.cosh(t) - 1)) * weights).sum(-1)
        series = part = np.ones_like(far)
        for k in range(1, 20):  # where the integrand is too narrow for the rule: A.S. 9.7.2
            part = part * (4 * order - (2 * k - 1) ** 2) / (8 * k * far)
            series = series + part
        large = np.where(far > 20, np.sqrt(math.pi / (2 * far)) * series, large)
        value = np.where(x <= 2, small * np.exp(near), large)
        value = np.where(np.isposinf(x), 0.0, value)
        return np.where(x == 0, np.inf, np.where(x > 0, value, np.nan))

    return in_float64(values)


def bessel_k(order: int) -> Callable:
    """K_0 or K_1."""
    scaled = scaled_bessel_k(order)
    return in_float64(lambda x: scaled(x) * np.exp(-np.where(np.isposinf(x), 0.0, x)))


def _spherical_j0(x: Any) -> Any:
    """sin(x) / x; 1 at 0 and 0 at infinity."""
    near = np.abs(x) < 0.5
    square = np.where(near, x * x, 0.0)
    inner = 1 - square / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72 * (1 - square / 110))))
    outer = np.sin(np.where(np.isinf(x), 0.0, x)) / np.where(near, 1.0, x)
    return np.where(near, inner, outer)


spherical_j0 = in_float64(_spherical_j0)


def airy(derivative: bool) -> Callable:
    """Ai or Ai': the integral of exp(i (t^3 / 3 + x t)) / 2 pi along Im t = c, where it decays like a bell curve, and
    for large |x| the asymptotic series A.S. 10.4.59-10.4.62."""

    def values(x: Any) -> Any:
        middle = np.clip(x, -_AIRY_FAR, _AIRY_FAR)
        c = np.sqrt(np.maximum(middle, 0.4))[..., None]
        t = namespace(x).arange(-400, 401) * 0.02 + 1j * c
        integrand = np.exp(1j * (t**3 / 3 + middle[..., None] * t))
        inner = ((integrand * 1j * t if derivative else integrand).real.sum(-1)) * 0.02 / (2 * math.pi)
        far = np.maximum(np.abs(x), _AIRY_FAR)
        root, power = far**0.25, 2 / 3 * far**1.5
        terms = [np.ones_like(far)]
        for k in range(1, 26):
            terms.append(terms[-1] * (6 * k - 5) * (6 * k - 1) / (72 * k * power))
        if derivative:
            terms = [-(6 * k + 1) / (6 * k - 1) * term for k, term in enumerate(terms)]
        right = sum((-1) ** k * term for k, term in enumerate(terms)) * np.exp(-power) / (2 * math.sqrt(math.pi))
        even = sum((-1) ** k * term for k, term in enumerate(terms[0::2]))
        odd = sum((-1) ** k * term for k, term in enumerate(terms[1::2]))
        phase = power + math.pi / 4
        if derivative:
            right, left = -right * root, -(np.cos(phase) * even + np.sin(phase) * odd) * root / math.sqrt(math.pi)
        else:
            right, left = right / root, (np.sin(phase) * even - np.cos(phase) * odd) / (root * math.sqrt(math.pi))
        value = np.where(np.abs(x) < _AIRY_FAR, inner, np.where(x > 0, right, left))
        return np.where(np.isfinite(x), value, np.nan)

    return in_float64(values)
