"""Batch normalisation of (N, C, L), for channels c0 to c1. Sums are float32 within a row of L and float64 beyond."""

from __future__ import annotations

import numpy as np

from .jit import kernel, part

ZERO, ONE = np.float32(0), np.float32(1)


@part
def _moments(x, c):  # type: ignore[no-untyped-def]
    """A channel's mean, and sum of squared deviations from it (rows combined as in Chan, Golub and LeVeque 1979)."""
    length = x.shape[2]
    inverse = ONE / np.float32(length)
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
    return np.float32(centre), np.float32(spread)


@kernel
def moments(c0, c1, x, mean, square):  # type: ignore[no-untyped-def]
    """Each channel's mean, and sum of squared deviations from it."""
    for c in range(c0, c1):
        mean[c], square[c] = _moments(x, c)


@part
def _scale(x, c, a, b, y, slope):  # type: ignore[no-untyped-def]
    for n in range(x.shape[0]):
        row, out = x[n, c], y[n, c]
        for j in range(row.size):
            out[j] = a * row[j] + b
        if slope == ZERO:
            for j in range(row.size):
                out[j] = ZERO if out[j] < ZERO else out[j]
        elif slope != ONE:
            for j in range(row.size):
                out[j] = out[j] if out[j] > ZERO else out[j] * slope


@kernel
def scale(c0, c1, x, factor, shift, y, slope):  # type: ignore[no-untyped-def]
    """Leaky ReLU of x * factor + shift, both by channel; with a `slope` of 0 ReLU, with 1 nothing."""
    for c in range(c0, c1):
        _scale(x, c, factor[c], shift[c], y, slope)


@kernel
def normalise(c0, c1, x, weight, bias, eps, mean, square, rstd, y, slope):  # type: ignore[no-untyped-def]
    """Moments, 1 / std, and the normalised, scaled and shifted `x`: a channel is still in cache when it is read again.

    `slope` as above.
    """
    count = np.float32(x.shape[0] * x.shape[2])
    for c in range(c0, c1):
        mean[c], square[c] = _moments(x, c)
        rstd[c] = ONE / np.sqrt(square[c] / count + eps)
        factor = rstd[c] * weight[c]
        _scale(x, c, factor, bias[c] - mean[c] * factor, y, slope)


@part
def _gradient_sums(g, x, c, centre):  # type: ignore[no-untyped-def]
    all_g, all_gx = 0.0, 0.0
    for n in range(x.shape[0]):
        row, gradient = x[n, c], g[n, c]
        sum_g, sum_gx = ZERO, ZERO
        for j in range(row.size):
            sum_g += gradient[j]
            sum_gx += gradient[j] * (row[j] - centre)
        all_g += float(sum_g)
        all_gx += float(sum_gx)
    return np.float32(all_g), np.float32(all_gx)


@kernel
def gradient_sums(c0, c1, g, x, mean, total, product):  # type: ignore[no-untyped-def]
    """Each channel's sums of g, and of g * (x - mean)."""
    for c in range(c0, c1):
        total[c], product[c] = _gradient_sums(g, x, c, mean[c])


@part
def _combine(g, x, c, a, b, s, gx):  # type: ignore[no-untyped-def]
    for n in range(x.shape[0]):
        row, gradient, out = x[n, c], g[n, c], gx[n, c]
        for j in range(row.size):
            out[j] = a * gradient[j] + b * row[j] + s


@kernel
def combine(c0, c1, g, x, factor, slope, shift, gx):  # type: ignore[no-untyped-def]
    """g * factor + x * slope + shift, all three by channel."""
    for c in range(c0, c1):
        _combine(g, x, c, factor[c], slope[c], shift[c], gx)


@part
def _before_activation(g, x, c, a, b, slope, out):  # type: ignore[no-untyped-def]
    """The gradient of a * x + b, of which `scale` made a leaky ReLU."""
    for n in range(x.shape[0]):
        row, gradient, line = x[n, c], g[n, c], out[n, c]
        if slope == ZERO:
            for j in range(row.size):
                line[j] = ZERO if a * row[j] + b <= ZERO else gradient[j]
        else:
            for j in range(row.size):
                line[j] = gradient[j] if a * row[j] + b > ZERO else gradient[j] * slope


@kernel
def before_activation(c0, c1, g, x, factor, shift, out, slope):  # type: ignore[no-untyped-def]
    """The gradient of x * factor + shift, both by channel, of which `scale` made a leaky ReLU."""
    for c in range(c0, c1):
        _before_activation(g, x, c, factor[c], shift[c], slope, out)


@kernel
def gradients(c0, c1, g, x, factor, shift, mean, rstd, total, product, gx, slope):  # type: ignore[no-untyped-def]
    """Sums of g and of g * (x - mean) * rstd, and the input's gradient, of what `normalise` makes with the same numbers."""
    count, before = np.float32(x.shape[0] * x.shape[2]), gx if slope != ONE else g
    for c in range(c0, c1):
        if slope != ONE:
            _before_activation(g, x, c, factor[c], shift[c], slope, gx)
        total[c], product[c] = _gradient_sums(before, x, c, mean[c])
        product[c] *= rstd[c]
        of_x = -factor[c] * rstd[c] * product[c] / count
        _combine(before, x, c, factor[c], of_x, -factor[c] * total[c] / count - of_x * mean[c], gx)
