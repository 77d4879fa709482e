"""Kernels over lines that lie apart in memory: arrays (images, n, columns), every line along the middle on its own.

Each does `stop - start` panels of WIDTH neighbouring columns of an image, row by row of a panel, with numbers per column in
the first-level cache. Rows are written x[i, k, a:b]: those of a slice x[i, :, a:b] might have gaps for all the compiler knows.
"""

from __future__ import annotations

import numpy as np

from .functions import ONE, exp_down, from_ordered, less, log, ordered
from .jit import inline, kernel

WIDTH = 1024
_LOWEST = np.int32(-(2**31))


@inline
def _place(panel, columns):  # type: ignore[no-untyped-def]
    """(image, first column, end) of a panel."""
    each = -(-columns // WIDTH)
    first = panel % each * WIDTH
    return panel // each, first, min(first + WIDTH, columns)


@inline
def _highest(x, i, a, b):  # type: ignore[no-untyped-def]
    """The maximum of every column of a panel."""
    key, top = np.full(b - a, _LOWEST), np.empty(b - a, np.float32)
    for k in range(x.shape[1]):
        row = x[i, k, a:b]
        for j in range(len(key)):
            key[j] = max(key[j], ordered(row[j]))
    for j in range(len(key)):
        top[j] = from_ordered(key[j])
    return top


@inline
def _log_of_sums(x, i, a, b, top):  # type: ignore[no-untyped-def]
    """log(sum(exp(column - top))) of every column."""
    total = np.zeros(b - a, np.float32)
    for k in range(x.shape[1]):
        row = x[i, k, a:b]
        for j in range(len(total)):
            total[j] += exp_down(row[j] - top[j])
    for j in range(len(total)):
        total[j] = log(total[j]) if total[j] == total[j] else total[j]
    return total


@kernel
def softmax(x, out, start, stop):  # type: ignore[no-untyped-def]
    """exp(x - max) / sum(exp(x - max))."""
    for panel in range(start, stop):
        i, a, b = _place(panel, x.shape[2])
        top, total = _highest(x, i, a, b), np.zeros(b - a, np.float32)
        for k in range(x.shape[1]):
            row, y = x[i, k, a:b], out[i, k, a:b]
            for j in range(len(total)):
                e = exp_down(row[j] - top[j])
                y[j] = e
                total[j] += e
        for j in range(len(total)):
            total[j] = ONE / total[j]
        for k in range(x.shape[1]):
            y = out[i, k, a:b]
            for j in range(len(total)):
                y[j] *= total[j]


@kernel
def softmax_backward(g, y, out, start, stop):  # type: ignore[no-untyped-def]
    """y * (g - sum(g * y))."""
    for panel in range(start, stop):
        i, a, b = _place(panel, g.shape[2])
        total = np.zeros(b - a, np.float32)
        for k in range(g.shape[1]):
            gk, yk = g[i, k, a:b], y[i, k, a:b]
            for j in range(len(total)):
                total[j] += gk[j] * yk[j]
        for k in range(g.shape[1]):
            gk, yk, o = g[i, k, a:b], y[i, k, a:b], out[i, k, a:b]
            for j in range(len(total)):
                o[j] = (gk[j] - total[j]) * yk[j]


@kernel
def log_softmax(x, out, start, stop):  # type: ignore[no-untyped-def]
    """x - log(sum(exp(x)))."""
    for panel in range(start, stop):
        i, a, b = _place(panel, x.shape[2])
        top = _highest(x, i, a, b)
        total = _log_of_sums(x, i, a, b, top)
        for k in range(x.shape[1]):
            row, y = x[i, k, a:b], out[i, k, a:b]
            for j in range(len(total)):
                y[j] = less(row[j], top[j], total[j])


@kernel
def log_softmax_backward(g, y, out, start, stop):  # type: ignore[no-untyped-def]
    """g - exp(y) * sum(g)."""
    for panel in range(start, stop):
        i, a, b = _place(panel, g.shape[2])
        total = np.zeros(b - a, np.float32)
        for k in range(g.shape[1]):
            gk = g[i, k, a:b]
            for j in range(len(total)):
                total[j] += gk[j]
        for k in range(g.shape[1]):
            gk, yk, o = g[i, k, a:b], y[i, k, a:b], out[i, k, a:b]
            for j in range(len(total)):
                o[j] = gk[j] - exp_down(yk[j]) * total[j]


@kernel
def cross_entropy(x, target, losses, logs, start, stop):  # type: ignore[no-untyped-def]
    """logs = log(sum(exp(x))) and losses = logs - x[target], a number per line in (images, columns)."""
    for panel in range(start, stop):
        i, a, b = _place(panel, x.shape[2])
        top = _highest(x, i, a, b)
        total = _log_of_sums(x, i, a, b, top)
        for j in range(b - a):
            logs[i, a + j] = top[j] + total[j]
            losses[i, a + j] = less(top[j], x[i, target[i, a + j], a + j], -total[j])


@kernel
def cross_entropy_backward(x, target, logs, g, at_target, out, start, stop):  # type: ignore[no-untyped-def]
    """exp(x - logs) * g, less `at_target` at the target; numbers per line in (images, columns)."""
    for panel in range(start, stop):
        i, a, b = _place(panel, x.shape[2])
        log_sum, factor = logs[i, a:b], g[i, a:b]
        for k in range(x.shape[1]):
            row, o = x[i, k, a:b], out[i, k, a:b]
            for j in range(len(factor)):
                o[j] = exp_down(row[j] - log_sum[j]) * factor[j]
        for j in range(len(factor)):
            out[i, target[i, a + j], a + j] -= at_target[i, a + j]


@kernel
def running_sum(x, out, start, stop):  # type: ignore[no-untyped-def]
    """Sums of what came before and itself, in double."""
    for panel in range(start, stop):
        i, a, b = _place(panel, x.shape[2])
        total = np.zeros(b - a)
        for k in range(x.shape[1]):
            row, y = x[i, k, a:b], out[i, k, a:b]
            for j in range(len(total)):
                total[j] += row[j]
                y[j] = np.float32(total[j])


@kernel
def running_sum_from_end(x, out, start, stop):  # type: ignore[no-untyped-def]
    """Sums of what comes after and itself, in double."""
    for panel in range(start, stop):
        i, a, b = _place(panel, x.shape[2])
        total = np.zeros(b - a)
        for k in range(x.shape[1] - 1, -1, -1):
            row, y = x[i, k, a:b], out[i, k, a:b]
            for j in range(len(total)):
                total[j] += row[j]
                y[j] = np.float32(total[j])
