"""Kernels over rows: (rows, columns) arrays, every row on its own. Each function does a block of rows."""

from __future__ import annotations

import numpy as np

from .functions import ONE, ZERO, exp_down, from_ordered, less, log, ordered, sigmoid
from .jit import inline, kernel

_LOWEST = np.int32(-(2**31))


@inline
def _highest(row):  # type: ignore[no-untyped-def]
    top = _LOWEST
    for j in range(len(row)):
        top = max(top, ordered(row[j]))
    return from_ordered(top)


@kernel
def softmax(x, out):  # type: ignore[no-untyped-def]
    """exp(x - max) / sum(exp(x - max))."""
    n = x.shape[1]
    for i in range(x.shape[0]):
        row, y = x[i], out[i]
        high = _highest(row)
        total = ZERO
        for j in range(n):
            e = exp_down(row[j] - high)
            y[j] = e
            total += e
        scale = ONE / total
        for j in range(n):
            y[j] *= scale


@kernel
def softmax_backward(g, y, out):  # type: ignore[no-untyped-def]
    """y * (g - sum(g * y))."""
    n = g.shape[1]
    for i in range(g.shape[0]):
        gi, yi, o = g[i], y[i], out[i]
        total = ZERO
        for j in range(n):
            total += gi[j] * yi[j]
        for j in range(n):
            o[j] = (gi[j] - total) * yi[j]


@kernel
def log_softmax(x, out):  # type: ignore[no-untyped-def]
    """x - log(sum(exp(x)))."""
    for i in range(x.shape[0]):
        row, y = x[i], out[i]
        high = _highest(row)
        total = ZERO
        for j in range(len(row)):
            total += exp_down(row[j] - high)
        rest = log(total) if total == total else total
        for j in range(len(row)):
            y[j] = less(row[j], high, rest)


@kernel
def log_softmax_backward(g, y, out):  # type: ignore[no-untyped-def]
    """g - exp(y) * sum(g)."""
    n = g.shape[1]
    for i in range(g.shape[0]):
        gi, yi, o = g[i], y[i], out[i]
        total = ZERO
        for j in range(n):
            total += gi[j]
        for j in range(n):
            o[j] = gi[j] - exp_down(yi[j]) * total


@kernel
def cross_entropy(x, target, losses, logs):  # type: ignore[no-untyped-def]
    """logs = log(sum(exp(x))) and losses = logs - x[target], a number per row."""
    for i in range(x.shape[0]):
        row = x[i]
        high = _highest(row)
        total = ZERO
        for j in range(len(row)):
            total += exp_down(row[j] - high)
        rest = log(total) if total == total else total
        logs[i] = high + rest
        losses[i] = less(high, row[target[i]], -rest)


@kernel
def cross_entropy_backward(x, target, logs, g, at_target, out):  # type: ignore[no-untyped-def]
    """exp(x - logs) * g, less `at_target` at the target; numbers per row."""
    for i in range(x.shape[0]):
        row, o, log_sum, factor = x[i], out[i], logs[i], g[i]
        for j in range(len(row)):
            o[j] = exp_down(row[j] - log_sum) * factor
        o[target[i]] -= at_target[i]


@kernel
def layer_norm(x, w, b, eps, out, mean, rstd):  # type: ignore[no-untyped-def]
    """(x - mean) / sqrt(variance + eps) * w + b."""
    n = x.shape[1]
    count = np.float32(n)
    for i in range(x.shape[0]):
        row, y = x[i], out[i]
        total = ZERO
        for j in range(n):
            total += row[j]
        m = total / count
        square = ZERO
        for j in range(n):
            d = row[j] - m
            square += d * d
        r = ONE / np.sqrt(square / count + eps)
        for j in range(n):
            y[j] = (row[j] - m) * r * w[j] + b[j]
        mean[i, 0] = m
        rstd[i, 0] = r


@kernel
def layer_norm_backward(g, x, w, mean, rstd, out, gw, gb):  # type: ignore[no-untyped-def]
    """Gradients of layer norm; those of scale and shift are added to gw and gb."""
    n = g.shape[1]
    count = np.float32(n)
    for i in range(g.shape[0]):
        gi, row, o, m, r = g[i], x[i], out[i], mean[i, 0], rstd[i, 0]
        total = ZERO
        along = ZERO
        for j in range(n):
            h = gi[j] * w[j]
            total += h
            along += h * ((row[j] - m) * r)
        total /= count
        along /= count
        for j in range(n):
            normal = (row[j] - m) * r
            o[j] = (gi[j] * w[j] - total - normal * along) * r
            gw[j] += gi[j] * normal
            gb[j] += gi[j]


@kernel
def rms_norm(x, w, eps, out, rstd):  # type: ignore[no-untyped-def]
    """x / sqrt(mean(x**2) + eps) * w."""
    n = x.shape[1]
    for i in range(x.shape[0]):
        row, y = x[i], out[i]
        square = ZERO
        for j in range(n):
            square += row[j] * row[j]
        r = ONE / np.sqrt(square / np.float32(n) + eps)
        for j in range(n):
            y[j] = row[j] * r * w[j]
        rstd[i, 0] = r


@kernel
def rms_norm_backward(g, x, w, rstd, out, gw):  # type: ignore[no-untyped-def]
    """Gradients of RMS norm; that of the scale is added to gw."""
    n = g.shape[1]
    for i in range(g.shape[0]):
        gi, row, o, r = g[i], x[i], out[i], rstd[i, 0]
        along = ZERO
        for j in range(n):
            along += gi[j] * w[j] * (row[j] * r)
        along /= np.float32(n)
        for j in range(n):
            normal = row[j] * r
            o[j] = (gi[j] * w[j] - normal * along) * r
            gw[j] += gi[j] * normal


@kernel
def glu(x, out):  # type: ignore[no-untyped-def]
    """The first half of a row times the sigmoid of the second."""
    n = out.shape[1]
    for i in range(out.shape[0]):
        row, y = x[i], out[i]
        for j in range(n):
            y[j] = row[j] * sigmoid(row[n + j])


@kernel
def glu_backward(g, x, out):  # type: ignore[no-untyped-def]
    n = g.shape[1]
    for i in range(g.shape[0]):
        gi, row, o = g[i], x[i], out[i]
        for j in range(n):
            y = sigmoid(row[n + j])
            o[j] = gi[j] * y
            o[n + j] = gi[j] * row[j] * ((ONE - y) * y)


@kernel
def scatter(rows, index, out):  # type: ignore[no-untyped-def]
    """Every row is added to the row of `out` that its index says."""
    for i in range(rows.shape[0]):
        row, total = rows[i], out[index[i]]
        for j in range(len(row)):
            total[j] += row[j]


@kernel
def running_sum(x, out):  # type: ignore[no-untyped-def]
    """Sums of what came before and itself, in double."""
    for i in range(x.shape[0]):
        row, y = x[i], out[i]
        total = 0.0
        for j in range(len(row)):
            total += row[j]
            y[j] = np.float32(total)


@kernel
def running_sum_from_end(x, out):  # type: ignore[no-untyped-def]
    """Sums of itself and what comes after, in double."""
    for i in range(x.shape[0]):
        row, y = x[i], out[i]
        total = 0.0
        for j in range(len(row) - 1, -1, -1):
            total += row[j]
            y[j] = np.float32(total)
