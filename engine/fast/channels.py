"""Batch normalisation of (N, C, L), for channels c0 to c1. Sums are float32 within a row of L and float64 beyond."""

from __future__ import annotations

import numpy as np

from .jit import kernel

ZERO, ONE = np.float32(0), np.float32(1)


@kernel
def moments(c0, c1, x, mean, square):  # type: ignore[no-untyped-def]
    """Each channel's mean, and sum of squared deviations from it (rows combined as in Chan, Golub and LeVeque 1979)."""
    length = x.shape[2]
    inverse = ONE / np.float32(length)
    for c in range(c0, c1):
        centre, spread, count = 0.0, 0.0, 0.0
        for n in range(x.shape[0]):
            row = x[n, c]
            total, around = ZERO, ZERO
            for j in range(length):
                total += row[j]
            middle = total * inverse
            for j in range(length):
                around += (row[j] - middle) * (row[j] - middle)
            apart = np.float64(middle) - centre
            spread += np.float64(around) + apart * apart * count * length / (count + length)
            count += length
            centre += apart * length / count
        mean[c], square[c] = centre, spread


@kernel
def scale(c0, c1, x, factor, shift, y):  # type: ignore[no-untyped-def]
    """x * factor + shift, both by channel."""
    for c in range(c0, c1):
        a, b = factor[c], shift[c]
        for n in range(x.shape[0]):
            row, out = x[n, c], y[n, c]
            for j in range(row.size):
                out[j] = a * row[j] + b


@kernel
def gradient_sums(c0, c1, g, x, mean, total, product):  # type: ignore[no-untyped-def]
    """Each channel's sums of g, and of g * (x - mean)."""
    for c in range(c0, c1):
        all_g, all_gx, centre = 0.0, 0.0, mean[c]
        for n in range(x.shape[0]):
            row, gradient = x[n, c], g[n, c]
            sum_g, sum_gx = ZERO, ZERO
            for j in range(row.size):
                sum_g += gradient[j]
                sum_gx += gradient[j] * (row[j] - centre)
            all_g += float(sum_g)
            all_gx += float(sum_gx)
        total[c], product[c] = all_g, all_gx


@kernel
def combine(c0, c1, g, x, factor, slope, shift, gx):  # type: ignore[no-untyped-def]
    """g * factor + x * slope + shift, all three by channel."""
    for c in range(c0, c1):
        a, b, s = factor[c], slope[c], shift[c]
        for n in range(x.shape[0]):
            row, gradient, out = x[n, c], g[n, c], gx[n, c]
            for j in range(row.size):
                out[j] = a * gradient[j] + b * row[j] + s
