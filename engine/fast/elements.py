"""Kernels over elements: flat arrays of one length, the last one the result. `name_backward` takes the gradient first.

What backward gets besides is the input, or the output where the name says so in its first argument after `g`.
"""

from __future__ import annotations

import numpy as np

from .functions import HALF, ONE, TWO, ZERO, erf, exp, expm1, log1p_exp, tanh
from .functions import sigmoid as sigmoid_of
from .jit import inline, kernel

_THREE, _SIX, _TWENTY, _INFINITY = np.float32(3), np.float32(6), np.float32(20), np.float32(np.inf)
_ROOT_HALF, _PDF = np.float32(0.5**0.5), np.float32((2 * np.pi) ** -0.5)
_SCALE, _CUBE, _CUBE3 = np.float32((2 / np.pi) ** 0.5), np.float32(0.044715), np.float32(3 * 0.044715)


@inline
def _tanh_softplus(e):  # type: ignore[no-untyped-def]
    """tanh(log(1 + e))."""
    n = e * (e + TWO)
    return n / (n + TWO)


@kernel
def gelu(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        out[i] = v * (HALF * (ONE + erf(v * _ROOT_HALF)))


@kernel
def gelu_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        out[i] = g[i] * (HALF * (ONE + erf(v * _ROOT_HALF)) + v * exp(-HALF * v * v) * _PDF)


@kernel
def gelu_tanh(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        out[i] = v * (HALF * (ONE + tanh(_SCALE * (v + _CUBE * v * v * v))))


@kernel
def gelu_tanh_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        t = tanh(_SCALE * (v + _CUBE * v * v * v))
        slope = (ONE - t * t) * (_SCALE * (ONE + _CUBE3 * v * v))
        out[i] = g[i] * (HALF * (ONE + t) + HALF * v * slope)


@kernel
def mish(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        out[i] = v * _tanh_softplus(exp(_TWENTY if v > _TWENTY else v))


@kernel
def mish_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = _TWENTY if (x[i] > _TWENTY) & (x[i] < _INFINITY) else x[i]  # beyond, the slope is 1; at infinity NaN as in NumPy
        e = exp(v)
        t = _tanh_softplus(e)
        out[i] = g[i] * (t + v * (e / (ONE + e)) * (ONE - t * t))


@kernel
def silu(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = x[i] * sigmoid_of(x[i])


@kernel
def silu_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        y = sigmoid_of(v)
        out[i] = g[i] * (y * (ONE + v * (ONE - y)))


@kernel
def log_sigmoid(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = -log1p_exp(-x[i])


@kernel
def log_sigmoid_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = g[i] * sigmoid_of(-x[i])


@kernel
def softplus(x, out, beta, threshold):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        z = v * beta
        y = log1p_exp(z) / beta
        out[i] = v if z > threshold else y


@kernel
def softplus_backward(g, x, out, beta, threshold):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        z = x[i] * beta
        d = g[i] * sigmoid_of(z)
        out[i] = g[i] if z > threshold else d


@kernel
def sigmoid(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = sigmoid_of(x[i])


@kernel
def sigmoid_backward(g, y, out):  # type: ignore[no-untyped-def]
    for i in range(len(y)):
        out[i] = g[i] * ((ONE - y[i]) * y[i])


@kernel
def tanh_backward(g, y, out):  # type: ignore[no-untyped-def]
    for i in range(len(y)):
        out[i] = g[i] * (ONE - y[i] * y[i])


@kernel
def relu_backward(g, y, out):  # type: ignore[no-untyped-def]
    for i in range(len(y)):
        out[i] = ZERO if y[i] <= ZERO else g[i]


@kernel
def relu(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = ZERO if x[i] < ZERO else x[i]


@kernel
def abs_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        out[i] = g[i] * (ONE if v > ZERO else -ONE if v < ZERO else ZERO)


# -- with parameters --------------------------------------------------------------------------------------------------


@kernel
def leaky_relu(x, out, slope):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        out[i] = v if v > ZERO else v * slope


@kernel
def leaky_relu_backward(g, x, out, slope):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = g[i] if x[i] > ZERO else g[i] * slope


@kernel
def elu(x, out, alpha, scale, rate):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        below = expm1(v * rate) * (alpha * scale)
        out[i] = v * scale if v > ZERO else below


@kernel
def elu_backward(g, x, out, alpha, scale, rate):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        below = exp(x[i] * rate) * (alpha * scale * rate)
        out[i] = g[i] * (scale if x[i] > ZERO else below)


@kernel
def hardtanh(x, out, low, high):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        v = low if v < low else v
        out[i] = high if v > high else v


@kernel
def hardtanh_backward(g, x, out, low, high):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = g[i] if (x[i] > low) & (x[i] < high) else ZERO


@kernel
def clamp_backward(g, x, out, low, high):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = g[i] if (x[i] >= low) & (x[i] <= high) else ZERO


@inline
def _relu6(v):  # type: ignore[no-untyped-def]
    v = ZERO if v < ZERO else v
    return _SIX if v > _SIX else v


@kernel
def hardswish(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = x[i] * _relu6(x[i] + _THREE) / _SIX


@kernel
def hardswish_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        middle = g[i] * (v / _THREE + HALF)
        out[i] = ZERO if v <= -_THREE else g[i] if v >= _THREE else middle


@kernel
def hardsigmoid(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = _relu6(x[i] + _THREE) / _SIX


@kernel
def hardsigmoid_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = g[i] / _SIX if (x[i] > -_THREE) & (x[i] < _THREE) else ZERO


# -- with a mask ------------------------------------------------------------------------------------------------------


@kernel
def where(a, b, mask, out):  # type: ignore[no-untyped-def]
    for i in range(len(a)):
        out[i] = a[i] if mask[i] else b[i]


@kernel
def keep(x, mask, out, value):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = x[i] if mask[i] else value


@kernel
def drop(x, mask, out, value):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = value if mask[i] else x[i]


@kernel
def scale_kept(x, mask, out, scale):  # type: ignore[no-untyped-def]
    """Dropout: what is dropped is multiplied by 0."""
    for i in range(len(x)):
        out[i] = x[i] * (scale if mask[i] else ZERO)


# -- sums -------------------------------------------------------------------------------------------------------------


@kernel
def total(x):  # type: ignore[no-untyped-def]
    """The sum, in float64 from sums of 1024 elements."""
    whole = 0.0
    for start in range(0, len(x), 1024):
        part, a = ZERO, x[start : start + 1024]
        for i in range(len(a)):
            part += a[i]
        whole += np.float64(part)
    return whole
