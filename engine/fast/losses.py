"""Losses of pairs: `name(x, t, p)` is the sum over a block of flat arrays, `name_backward(x, t, out, factor, p)` its derivative
by x times a factor. p is the loss's parameter, for those that have one. Sums of 1024 elements are added up in float64."""

from __future__ import annotations

import numpy as np

from .functions import HALF, ONE, TWO, ZERO, log1p_exp
from .functions import sigmoid as sigmoid_of
from .jit import inline, kernel

_CHUNK = 1024


@inline
def _sign(d):  # type: ignore[no-untyped-def]
    return ONE if d > ZERO else -ONE if d < ZERO else d


@kernel
def mse_loss(x, t, p):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, len(x), _CHUNK):
        part, a, b = ZERO, x[start : start + _CHUNK], t[start : start + _CHUNK]
        for i in range(len(a)):
            d = a[i] - b[i]
            part += d * d
        total += np.float64(part)
    return total


@kernel
def mse_loss_backward(x, t, out, factor, p):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = (x[i] - t[i]) * (factor * TWO)


@kernel
def l1_loss(x, t, p):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, len(x), _CHUNK):
        part, a, b = ZERO, x[start : start + _CHUNK], t[start : start + _CHUNK]
        for i in range(len(a)):
            part += abs(a[i] - b[i])
        total += np.float64(part)
    return total


@kernel
def l1_loss_backward(x, t, out, factor, p):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = _sign(x[i] - t[i]) * factor


@kernel
def smooth_l1_loss(x, t, beta):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, len(x), _CHUNK):
        part, a, b = ZERO, x[start : start + _CHUNK], t[start : start + _CHUNK]
        for i in range(len(a)):
            d = abs(a[i] - b[i])
            near, far = HALF * d * d / beta, d - HALF * beta
            part += near if d < beta else far
        total += np.float64(part)
    return total


@kernel
def smooth_l1_loss_backward(x, t, out, factor, beta):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        d = x[i] - t[i]
        out[i] = factor * (d / beta if abs(d) < beta else _sign(d))


@kernel
def huber_loss(x, t, delta):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, len(x), _CHUNK):
        part, a, b = ZERO, x[start : start + _CHUNK], t[start : start + _CHUNK]
        for i in range(len(a)):
            d = abs(a[i] - b[i])
            near, far = HALF * d * d, delta * (d - HALF * delta)
            part += near if d <= delta else far
        total += np.float64(part)
    return total


@kernel
def huber_loss_backward(x, t, out, factor, delta):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        d = x[i] - t[i]
        out[i] = factor * (d if abs(d) <= delta else _sign(d) * delta)


@kernel
def bce_with_logits(x, t, p):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, len(x), _CHUNK):
        part, a, b = ZERO, x[start : start + _CHUNK], t[start : start + _CHUNK]
        for i in range(len(a)):
            part += (ONE - b[i]) * a[i] + log1p_exp(-a[i])
        total += np.float64(part)
    return total


@kernel
def bce_with_logits_backward(x, t, out, factor, p):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = (sigmoid_of(x[i]) - t[i]) * factor
