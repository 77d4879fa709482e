"""Batch normalisation of matrices (N, C): loops run along rows, where features lie side by side.

Four rows are summed in float32 before they go into float64.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part

ONE = np.float32(1)


@part
def _sums(x, total):  # type: ignore[no-untyped-def]
    whole = x.shape[0] // 4 * 4
    for n in range(0, whole, 4):
        r, s, t, u = x[n], x[n + 1], x[n + 2], x[n + 3]
        for c in range(total.size):
            total[c] += (r[c] + s[c]) + (t[c] + u[c])
    for n in range(whole, x.shape[0]):
        r = x[n]
        for c in range(total.size):
            total[c] += r[c]


@part
def _spreads(x, centre, spread):  # type: ignore[no-untyped-def]
    whole = x.shape[0] // 4 * 4
    for n in range(0, whole, 4):
        r, s, t, u = x[n], x[n + 1], x[n + 2], x[n + 3]
        for c in range(spread.size):
            a, b, d, e = r[c] - centre[c], s[c] - centre[c], t[c] - centre[c], u[c] - centre[c]
            spread[c] += (a * a + b * b) + (d * d + e * e)
    for n in range(whole, x.shape[0]):
        r = x[n]
        for c in range(spread.size):
            spread[c] += (r[c] - centre[c]) * (r[c] - centre[c])


@part
def _gradient_sums(g, x, centre, all_g, all_gx):  # type: ignore[no-untyped-def]
    whole = x.shape[0] // 2 * 2
    for n in range(0, whole, 2):
        r, s, p, q = x[n], x[n + 1], g[n], g[n + 1]
        for c in range(all_g.size):
            all_g[c] += p[c] + q[c]
            all_gx[c] += p[c] * (r[c] - centre[c]) + q[c] * (s[c] - centre[c])
    for n in range(whole, x.shape[0]):
        r, p = x[n], g[n]
        for c in range(all_g.size):
            all_g[c] += p[c]
            all_gx[c] += p[c] * (r[c] - centre[c])


@kernel
def normalise(x, weight, bias, eps, mean, square, rstd, y):  # type: ignore[no-untyped-def]
    """Each feature's mean, sum of squared deviations from it and 1 / std; and the normalised, scaled and shifted `x`."""
    total, spread = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    _sums(x, total)
    for c in range(mean.size):
        mean[c] = total[c] / x.shape[0]
    _spreads(x, mean, spread)
    factor = np.empty_like(mean)
    for c in range(mean.size):
        square[c] = spread[c]
        rstd[c] = ONE / np.sqrt(square[c] / np.float32(x.shape[0]) + eps)
        factor[c] = rstd[c] * weight[c]
    for n in range(x.shape[0]):
        row, out = x[n], y[n]
        for c in range(row.size):
            out[c] = (row[c] - mean[c]) * factor[c] + bias[c]


@kernel
def gradients(g, x, factor, mean, rstd, total, product, gx):  # type: ignore[no-untyped-def]
    """Sums of g and of g * (x - mean) * rstd, and the input's gradient, of what `normalise` makes with the same factor."""
    all_g, all_gx = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    _gradient_sums(g, x, mean, all_g, all_gx)
    slope, shift = np.empty_like(mean), np.empty_like(mean)
    for c in range(mean.size):
        total[c] = all_g[c]
        product[c] = np.float32(all_gx[c]) * rstd[c]
        slope[c] = rstd[c] * product[c] / np.float32(x.shape[0])
        shift[c] = total[c] / np.float32(x.shape[0])
    for n in range(x.shape[0]):
        row, gradient, out = x[n], g[n], gx[n]
        for c in range(row.size):
            out[c] = factor[c] * (gradient[c] - shift[c] - slope[c] * (row[c] - mean[c]))
