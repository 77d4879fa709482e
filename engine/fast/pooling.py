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
def _hand_down(left, row, best, gradient, size):  # type: ignore[no-untyped-def]
    """Give what is `left` of every window's gradient to the first of its elements in `row` that is the maximum."""
    if size == 2:
        for j in range(left.size):
            one, two, rest, top = row[2 * j], row[2 * j + 1], left[j], best[j]
            hit = one == top or one != one
            gradient[2 * j] = rest if hit else np.float32(0)
            rest = np.float32(0) if hit else rest
            hit = two == top or two != two
            gradient[2 * j + 1] = rest if hit else np.float32(0)
            left[j] = np.float32(0) if hit else rest
        return
    for j in range(left.size):
        for b in range(size):
            hit = row[j * size + b] == best[j] or row[j * size + b] != row[j * size + b]
            gradient[j * size + b] = left[j] if hit else np.float32(0)
            left[j] = np.float32(0) if hit else left[j]


@exact
def max_pool_backward_apart(x, y, g, gx, kernel):  # type: ignore[no-untyped-def]
    """As below, for windows side by side, without padding; `gx` may hold anything."""
    left = np.empty(y.shape[2], np.float32)
    high, wide = y.shape[1] * kernel[0], y.shape[2] * kernel[1]
    for p in range(y.shape[0]):
        for i in range(y.shape[1]):
            left[:] = g[p, i]
            for a in range(i * kernel[0], (i + 1) * kernel[0]):
                if kernel[1] == 2:
                    _hand_down(left, x[p, a], y[p, i], gx[p, a], 2)
                else:
                    _hand_down(left, x[p, a], y[p, i], gx[p, a], kernel[1])
                gx[p, a, wide:] = 0
        gx[p, high:] = 0


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
