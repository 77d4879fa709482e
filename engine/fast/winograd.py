"""The transforms of Winograd's F(2 x 2, 3 x 3) (Lavin and Gray 2015); the algorithm is in engine/ops/_winograd.py.

Images are (N, C, H, W). Transformed tiles are (16, C, tiles), where images count fastest, then columns, then rows: what
vectors run over is then long even where images are small. Each function does the tiles of rows r0 to r1 of images n0 to
n1, for channels c0 to c1.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel

ZERO, HALF = np.float32(0), np.float32(0.5)


@kernel
def _load_row(x, c, at, n0, n1, left, width, row):  # type: ignore[no-untyped-def]
    """Row `at` of channel c (zeros outside) into `row`, (2, columns, images): its even and its odd columns."""
    if at < 0 or at >= x.shape[2]:
        row[:] = ZERO
        return
    left = max(left, 0)  # tells the compiler that no index is negative
    for n in range(n1 - n0):
        line = x[n0 + n, c, at]
        for j in range(width):
            k = j + left
            row[k & 1, k >> 1, n] = line[j]


@kernel
def input_tiles(x, top, left, n0, n1, r0, r1, c0, c1, wide, v):  # type: ignore[no-untyped-def]
    """B' d B of the 4 x 4 tiles of `x`, with `top` rows and `left` columns of zeros before it and as many as needed after."""
    images, width = n1 - n0, min(x.shape[3], 2 * wide + 2 - left)
    run, line = wide * images, 2 * (wide + 1) * images
    rows = np.zeros((4, 2, wide + 1, images), np.float32)  # a ring: two of four rows stay for the next tiles
    mixed = np.empty((4, line), np.float32)
    flat = rows.reshape(4, line)
    for c in range(c0, c1):
        for a in range(2):
            _load_row(x, c, 2 * r0 + a - top, n0, n1, left, width, rows[a])
        t = 0
        for i in range(r0, r1):
            first = 2 * ((i - r0) & 1)
            for a in range(2, 4):
                _load_row(x, c, 2 * i + a - top, n0, n1, left, width, rows[(first + a) & 3])
            d0, d1, d2, d3 = flat[first], flat[first + 1], flat[2 - first], flat[3 - first]
            _spread(d0, d1, d2, d3, mixed[0], mixed[1], mixed[2], mixed[3])
            for a in range(4):
                even, odd = mixed[a, : line // 2], mixed[a, line // 2 :]
                _spread(even[:run], odd[:run], even[images:], odd[images:], v[4 * a, c, t : t + run],
                        v[4 * a + 1, c, t : t + run], v[4 * a + 2, c, t : t + run], v[4 * a + 3, c, t : t + run])  # fmt: skip
            t += run


@kernel
def _spread(d0, d1, d2, d3, v0, v1, v2, v3):  # type: ignore[no-untyped-def]
    """B' along one dimension."""
    for j in range(v0.size):
        v0[j] = d0[j] - d2[j]
        v1[j] = d1[j] + d2[j]
    for j in range(v0.size):
        v2[j] = d2[j] - d1[j]
        v3[j] = d3[j] - d1[j]


@kernel
def output_tiles(m, bias, n0, n1, r0, r1, c0, c1, wide, y):  # type: ignore[no-untyped-def]
    """A' m A plus the bias, into `y`; the last row and column of tiles may reach over its end."""
    images, height, width = n1 - n0, y.shape[2], y.shape[3]
    run = wide * images
    mixed, line = np.empty((2, 4, run), np.float32), np.empty((2, run), np.float32)
    pixels = line.reshape(2, wide, images)
    for c in range(c0, c1):
        t = 0
        for i in range(r0, r1):
            for b in range(4):
                _gather(m[b, c, t : t + run], m[4 + b, c, t : t + run], m[8 + b, c, t : t + run],
                        m[12 + b, c, t : t + run], ZERO, mixed[0, b], mixed[1, b])  # fmt: skip
            for p in range(min(2, height - 2 * i)):
                s = mixed[p]
                _gather(s[0], s[1], s[2], s[3], bias[c], line[0], line[1])
                for n in range(images):
                    row = y[n0 + n, c, 2 * i + p]
                    for j in range(width):
                        row[j] = pixels[j & 1, j >> 1, n]
            t += run


@kernel
def _gather(m0, m1, m2, m3, shift, even, odd):  # type: ignore[no-untyped-def]
    """A' along one dimension."""
    for j in range(even.size):
        even[j] = m0[j] + m1[j] + m2[j] + shift
    for j in range(even.size):
        odd[j] = m1[j] - m2[j] + m3[j] + shift


@kernel
def gradient_tiles(g, n0, n1, r0, r1, c0, c1, wide, z):  # type: ignore[no-untyped-def]
    """A g A' of the 2 x 2 tiles of `g`, with zeros where they reach over its end."""
    images, run = n1 - n0, wide * (n1 - n0)
    rows, mixed = np.zeros((2, 2, wide, images), np.float32), np.empty((2, 2 * run), np.float32)
    flat = rows.reshape(2, 2 * run)
    for c in range(c0, c1):
        t = 0
        for i in range(r0, r1):
            for a in range(2):
                _load_row(g, c, 2 * i + a, n0, n1, 0, g.shape[3], rows[a])
            _sums(flat[0], flat[1], mixed[0], mixed[1])
            for a in range(4):
                row = flat[a // 3] if a % 3 == 0 else mixed[a - 1]
                even, odd = row[:run], row[run:]
                z[4 * a, c, t : t + run] = even
                z[4 * a + 3, c, t : t + run] = odd
                _sums(even, odd, z[4 * a + 1, c, t : t + run], z[4 * a + 2, c, t : t + run])
            t += run


@kernel
def _sums(g0, g1, above, below):  # type: ignore[no-untyped-def]
    for j in range(above.size):
        above[j] = g0[j] + g1[j]
        below[j] = g0[j] - g1[j]


@kernel
def kernels(w, turned, c0, c1, u):  # type: ignore[no-untyped-def]
    """G w G' of the kernels `w` (O, C, 3, 3) of outputs c0 to c1, turned by 180 degrees if `turned`, into `u` (16, O, C)."""
    channels = w.shape[1]
    taps = np.empty((12, channels), np.float32)  # 4 x 3, transformed along the rows
    first, last = (2, 0) if turned else (0, 2)
    for o in range(c0, c1):
        for c in range(channels):
            for k in range(3):
                w0, w1, w2 = w[o, c, first, abs(k - first)], w[o, c, 1, abs(k - first)], w[o, c, last, abs(k - first)]
                even, odd = HALF * (w0 + w2), HALF * w1
                taps[k, c] = w0
                taps[3 + k, c] = even + odd
                taps[6 + k, c] = even - odd
                taps[9 + k, c] = w2
        for a in range(4):
            w0, w1, w2 = taps[3 * a], taps[3 * a + 1], taps[3 * a + 2]
            u[4 * a, o] = w0
            u[4 * a + 3, o] = w2
            u1, u2 = u[4 * a + 1, o], u[4 * a + 2, o]
            for c in range(channels):
                even, odd = HALF * (w0[c] + w2[c]), HALF * w1[c]
                u1[c] = even + odd
                u2[c] = even - odd


@kernel
def kernel_gradients(u, c0, c1, w):  # type: ignore[no-untyped-def]
    """G' u G of (16, O, C) `u`, the gradient of kernels c0 to c1, into `w` (O, C, 3, 3)."""
    for o in range(c0, c1):
        for c in range(w.shape[1]):
            for k in range(3):
                for a in range(3):
                    w[o, c, a, k] = ZERO
            for b in range(4):
                u0, u3 = u[b, o, c], u[12 + b, o, c]
                even, odd = HALF * (u[4 + b, o, c] + u[8 + b, o, c]), HALF * (u[4 + b, o, c] - u[8 + b, o, c])
                for a, value in enumerate((u0 + even, odd, even + u3)):
                    if b == 0:
                        w[o, c, a, 0] += value
                    elif b == 3:
                        w[o, c, a, 2] += value
                    else:
                        w[o, c, a, 0] += HALF * value
                        w[o, c, a, 1] += HALF * value if b == 1 else -HALF * value
                        w[o, c, a, 2] += HALF * value
