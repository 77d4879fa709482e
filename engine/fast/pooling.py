"""The gradient of maxima over windows of planes (P, H, W); kernel, stride, dilation and padding are pairs."""

from __future__ import annotations

import numpy as np

from .jit import exact


@exact
def _seen(count, kernel, stride, dilation, padding, size):  # type: ignore[no-untyped-def]
    """Where each window starts (perhaps in the padding), and the first and last of its elements that lie within `size`."""
    found = np.empty((count, 3), np.int64)
    for i in range(count):
        start = i * stride - padding
        found[i, 0], found[i, 1] = start, max(0, -(start // dilation))
        found[i, 2] = min(kernel, -((start - size) // dilation)) - 1
    return found


@exact
def max_pool_backward_apart(x, y, g, gx, kernel):  # type: ignore[no-untyped-def]
    """As below, for windows side by side, without padding; `gx` may hold anything.

    What is left of a window's gradient goes to the first of its elements that is the maximum.
    """
    left, zero, size = np.empty(y.shape[2], np.float32), np.float32(0), kernel[1]
    for p in range(y.shape[0]):
        for i in range(y.shape[1]):
            best, gradient = y[p, i], g[p, i]
            for j in range(left.size):
                left[j] = gradient[j]
            for a in range(i * kernel[0], (i + 1) * kernel[0]):
                row, out = x[p, a], gx[p, a]
                if size == 2:  # known to the compiler, which then makes vectors of it
                    for j in range(left.size):
                        one, two, rest = row[2 * j], row[2 * j + 1], left[j]
                        hit = one == best[j] or one != one
                        out[2 * j] = rest if hit else zero
                        rest = zero if hit else rest
                        hit = two == best[j] or two != two
                        out[2 * j + 1] = rest if hit else zero
                        left[j] = zero if hit else rest
                else:
                    for j in range(left.size * size):
                        hit = row[j] == best[j // size] or row[j] != row[j]
                        out[j] = left[j // size] if hit else zero
                        left[j // size] = zero if hit else left[j // size]
                for j in range(left.size * size, out.size):
                    out[j] = zero
        for a in range(y.shape[1] * kernel[0], x.shape[1]):
            for j in range(x.shape[2]):
                gx[p, a, j] = zero


@exact
def max_pool_backward(x, y, g, gx, kernel, stride, dilation, padding):  # type: ignore[no-untyped-def]
    """Add each element of `g` to `gx`, which holds zeros, where the first maximum `y` of its window is.

    Goes through windows from their end, and chooses without branches, which random maxima would make slow.
    """
    width = x.shape[2]
    rows = _seen(y.shape[1], kernel[0], stride[0], dilation[0], padding[0], x.shape[1])
    columns = _seen(y.shape[2], kernel[1], stride[1], dilation[1], padding[1], width)
    for p in range(y.shape[0]):
        plane, gradient = x[p].reshape(-1), gx[p].reshape(-1)
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                best, found = y[p, i, j], 0
                for a in range(rows[i, 2], rows[i, 1] - 1, -1):
                    line = (rows[i, 0] + a * dilation[0]) * width + columns[j, 0]
                    for b in range(columns[j, 2], columns[j, 1] - 1, -1):
                        value = plane[line + b * dilation[1]]
                        found = line + b * dilation[1] if value == best or value != value else found
                gradient[found] += g[p, i, j]
