"""Depthwise convolutions of (N, C, H, W) as sums of shifted runs; engine/ops/_depthwise.py explains."""

from __future__ import annotations

import numpy as np

from .jit import kernel, part

ZERO = np.float32(0)


@part
def _bounds(count, first, step, length):  # type: ignore[no-untyped-def]
    """Which of `count` elements at first, first + step, ... lie below `length`."""
    low = max(0, -(first // step))
    return low, max(low, min(count, -((first - length) // step)))


@part
def _lay(x, n, c, first, step, columns, run):  # type: ignore[no-untyped-def]
    """Channel c of image n into `run`, a plane of so many columns that holds zeros where no elements go."""
    i0, i1 = _bounds(x.shape[2], first[0], step[0], (run.size + columns - 1) // columns)
    j0, j1 = _bounds(x.shape[3], first[1], step[1], columns)
    for i in range(i0, i1):
        start = (first[0] + i * step[0]) * columns + first[1] + j0 * step[1]
        row = x[n, c, i, j0:j1]
        if step[1] == 1:
            line = run[start : start + row.size]
            for j in range(row.size):
                line[j] = row[j]
        else:
            line = run[start : start + row.size * step[1]]
            for j in range(row.size):
                line[j * step[1]] = row[j]


@part
def _filter(run, offsets, weights, shift, total):  # type: ignore[no-untyped-def]
    """The sum of the shifted runs times their weights, three at a time: `total` is read and written less often."""
    size, count = total.size, offsets.size
    for j in range(size):
        total[j] = shift
    for i in range(0, count - 2, 3):
        r0, r1, r2 = run[offsets[i] :], run[offsets[i + 1] :], run[offsets[i + 2] :]
        w0, w1, w2 = weights[i], weights[i + 1], weights[i + 2]
        for j in range(size):
            total[j] += w0 * r0[j] + w1 * r1[j] + w2 * r2[j]
    for i in range(count - count % 3, count):
        r0, w0 = run[offsets[i] :], weights[i]
        for j in range(size):
            total[j] += w0 * r0[j]


@kernel
def filtered(x, taps, bias, grid, first, step, offsets, taken, c0, c1, out):  # type: ignore[no-untyped-def]
    """Sums over windows times `taps` (C, kernel) plus the bias, at every `taken`, for channels c0 to c1."""
    size, columns, width = grid[0] * grid[1], grid[1], out.shape[3]
    run, total = np.zeros(size + offsets[-1], np.float32), np.empty(size, np.float32)
    plane = run[:size]
    for c in range(c0, c1):
        weights = taps[c]
        for n in range(x.shape[0]):
            _lay(x, n, c, first, step, columns, plane)
            _filter(run, offsets, weights, bias[c], total)
            for i in range(out.shape[2]):
                row = total[i * taken[0] * columns :]
                line = out[n, c, i]
                if taken[1] == 1:
                    for j in range(width):
                        line[j] = row[j]
                else:
                    for j in range(width):
                        line[j] = row[j * taken[1]]


@part
def _correlate(run, offsets, other, sums):  # type: ignore[no-untyped-def]
    """Add the products of the shifted runs with `other` to `sums`."""
    size, count = other.size, offsets.size
    for i in range(0, count - 2, 3):
        r0, r1, r2 = run[offsets[i] :], run[offsets[i + 1] :], run[offsets[i + 2] :]
        s0, s1, s2 = ZERO, ZERO, ZERO
        for j in range(size):
            s0 += r0[j] * other[j]
            s1 += r1[j] * other[j]
            s2 += r2[j] * other[j]
        sums[i] += s0
        sums[i + 1] += s1
        sums[i + 2] += s2
    for i in range(count - count % 3, count):
        r0, s0 = run[offsets[i] :], ZERO
        for j in range(size):
            s0 += r0[j] * other[j]
        sums[i] += s0


@kernel
def correlated(g, step, x, first, grid, offsets, c0, c1, gw):  # type: ignore[no-untyped-def]
    """The kernels' gradients `gw` (C, kernel) for channels c0 to c1: output gradients times what stands at each offset."""
    size, columns = grid[0] * grid[1], grid[1]
    run, other = np.zeros(size + offsets[-1], np.float32), np.zeros(size, np.float32)
    plane, sums = run[:size], np.empty(offsets.size, np.float64)
    for c in range(c0, c1):
        sums[:] = 0
        for n in range(x.shape[0]):
            _lay(x, n, c, first, (1, 1), columns, plane)
            _lay(g, n, c, (0, 0), step, columns, other)
            _correlate(run, offsets, other, sums)
        for i in range(offsets.size):
            gw[c, i] = sums[i]
