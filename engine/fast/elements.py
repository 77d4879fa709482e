"""Kernels over elements: flat arrays of one length, the last one the result. `name_backward` takes the gradient first.

What backward gets besides is the input, or the output where the name says so in its first argument after `g`.
"""

from __future__ import annotations

import numpy as np

from .functions import HALF, ONE, ZERO, erf, exp, log1p_exp, sigmoid, tanh
from .jit import kernel

_ROOT_HALF, _PDF = np.float32(0.5**0.5), np.float32((2 * np.pi) ** -0.5)
_SCALE, _CUBE, _CUBE3 = np.float32((2 / np.pi) ** 0.5), np.float32(0.044715), np.float32(3 * 0.044715)


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
def silu(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = x[i] * sigmoid(x[i])


@kernel
def silu_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        v = x[i]
        y = sigmoid(v)
        out[i] = g[i] * (y * (ONE + v * (ONE - y)))


@kernel
def log_sigmoid(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = -log1p_exp(-x[i])


@kernel
def log_sigmoid_backward(g, x, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        out[i] = g[i] * sigmoid(-x[i])


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
        d = g[i] * sigmoid(z)
        out[i] = g[i] if z > threshold else d


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
