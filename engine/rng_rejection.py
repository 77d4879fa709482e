"""Random numbers that need a varying number of draws each: Poisson, binomial and gamma, one at a time.

Each function gets its parameters as Python floats, and the generator's sources: `uniform()` gives a 53-bit double of
[0, 1), `normal()` a standard normal double. The order of the draws is torch's, so the numbers are as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Source = Callable[[], float]

_SMALL_MEAN = 10  # below, counting arrivals is quicker than rejection
# log(k!) minus Stirling's formula, for k = 0 ... 9 (Hörmann 1993, table 1).
_TAILS = (0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
          0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287)  # fmt: skip
_SQUEEZE = 0.03310000151395798  # Marsaglia and Tsang's 0.0331 in single precision, as torch has it


def poisson(rate: float, uniform: Source) -> int:
    """Small rates by multiplication of uniforms (Knuth), others by transformed rejection (Hörmann 1993, PTRS)."""
    if rate >= _SMALL_MEAN:
        return _poisson_by_rejection(rate, uniform)
    if rate == 0:
        return 0
    limit, product, count = math.exp(-rate), uniform(), 0
    while product > limit:
        product *= uniform()
        count += 1
    return count


def _poisson_by_rejection(rate: float, uniform: Source) -> int:
    root, log_rate = math.sqrt(rate), math.log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    accept = 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = uniform() - 0.5, uniform()
        edge = 0.5 - abs(u)
        k = math.floor((2 * a / edge + b) * u + rate + 0.43)
        if edge >= 0.07 and v <= accept:
            return k
        if k < 0 or (edge < 0.013 and v > edge):
            continue
        density = -rate + k * log_rate - math.lgamma(k + 1)
        if math.log(v) + math.log(inverse_alpha) - math.log(a / (edge * edge) + b) <= density:
            return k


def binomial(count: float, prob: float, uniform: Source, kind: Any) -> float:
    """Successes in `count` trials: gaps between successes for small means, otherwise Hörmann's BTRS (1993).

    Which of them is decided by the mean as the dtype `kind` has it.
    """
    if math.isnan(prob) or math.isnan(count):
        return math.nan
    if count <= 0 or prob <= 0:
        return 0.0
    if prob >= 1:
        return count
    if prob > 0.5:
        return count - binomial(count, 1 - prob, uniform, kind)
    if kind(count) * kind(prob) >= _SMALL_MEAN:
        return _binomial_by_rejection(count, prob, uniform)
    log_miss, position, successes = math.log1p(-prob), 0.0, 0
    while True:
        u = uniform()
        position += math.ceil(math.log(u) / log_miss) if u else math.inf
        if position > count:
            return float(successes)
        successes += 1


def _stirling_tail(k: float) -> float:
    if k <= 9:
        return _TAILS[int(k)]
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def _binomial_by_rejection(count: float, prob: float, uniform: Source) -> float:
    spread = math.sqrt(count * prob * (1 - prob))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    c = count * prob + 0.5
    accept = 0.92 - 4.2 / b
    odds = prob / (1 - prob)
    alpha = (2.83 + 5.1 / b) * spread
    mode = math.floor((count + 1) * prob)
    while True:
        u, v = uniform() - 0.5, uniform()
        edge = 0.5 - abs(u)
        k = math.floor((2 * a / edge + b) * u + c)
        if k < 0 or k > count:
            continue
        if edge >= 0.07 and v <= accept:
            return float(k)
        bound = ((mode + 0.5) * math.log((mode + 1) / (odds * (count - mode + 1)))
                 + (count + 1) * math.log((count - mode + 1) / (count - k + 1))
                 + (k + 0.5) * math.log(odds * (count - k + 1) / (k + 1))
                 + _stirling_tail(mode) + _stirling_tail(count - mode) - _stirling_tail(k) - _stirling_tail(count - k))
        if math.log(v * alpha / (a / (edge * edge) + b)) <= bound:
            return float(k)


def gamma(d: float, power: float, uniform: Source, normal: Source) -> float:
    """A gamma variable of shape d + 1/3 and rate 1 (Marsaglia and Tsang 2000), times u**power for a power above 0.

    That factor makes a variable of shape k < 1 out of one of shape k + 1, with power 1/k.
    """
    scale = (1 - uniform()) ** power if power else 1.0
    c = 1 / math.sqrt(9 * d)
    while True:
        x = normal()
        y = 1 + c * x
        if y <= 0:
            continue
        v = y * y * y
        u = 1 - uniform()
        square = x * x
        if u < 1 - _SQUEEZE * square * square or math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return scale * d * v
