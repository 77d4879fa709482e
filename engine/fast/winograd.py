"""3 x 3 convolutions by Winograd's F(2 x 2, 3 x 3) in panels of tiles; the algorithm is in engine/ops/_winograd.py.

Tiles are 4 x 4 and start at every second row and column, so that they are the windows of a convolution with 4 x 4 kernels and
stride 2: blocks are laid out as patches.py says, and boxes are as there, with tiles for positions.
"""

from __future__ import annotations

import numpy as np

from .blas import PLAIN, SMALL, set_sgemm, sgemm
from .jit import kernel
from .layouts import WIDTH, expect, lay, source_runs, store, tap_offsets, turn
from .moves import LANES, TILE
from .tiles import (
    gradient_tiles,
    input_tiles,
    kernel_gradient_tiles,
    kernel_tiles,
    mirrored_kernel_tiles,
    output_tiles,
    output_tiles_within,
)

CHUNK = 64  # channels multiplied at a time
ROW = WIDTH + LANES  # floats of a row of transformed tiles: the last move may write too much
PIXELS = 2 * ROW


@kernel
def transform_kernels(w, mirrored, first, last, u):  # type: ignore[no-untyped-def]
    """Kernels `w` (O, C, 3, 3), of outputs first to last, to `u` (16, O, C).

    If `mirrored`, kernels turned by 180 degrees, of channels first to last, to `u` (16, C, O).
    """
    row, one = w.strides[0], w.strides[1]
    along, across, step = (len(w), one, row) if mirrored else (w.shape[1], row, one)
    for i in range(first, last):
        for j in range(0, along, TILE):
            k = min(j, along - TILE)
            to, source = u.ctypes.data + i * u.strides[1] + 4 * k, w.ctypes.data + i * across + k * step
            if mirrored:
                mirrored_kernel_tiles(to, u.strides[0], source, step)
            else:
                kernel_tiles(to, u.strides[0], source, step)


@kernel
def finish_kernels(totals, c0, c1, gw):  # type: ignore[no-untyped-def]
    """The sum of `totals` (count, 16, C, O), which it changes, as the gradient `gw` (O, C, 3, 3) of channels c0 to c1."""
    for c in range(c0, c1):
        for k in range(16):
            line = totals[0, k, c]
            for i in range(1, len(totals)):
                other = totals[i, k, c]
                for o in range(line.size):
                    line[o] += other[o]
        for j in range(0, len(gw), TILE):
            o = min(j, len(gw) - TILE)
            kernel_gradient_tiles(gw.ctypes.data + o * gw.strides[0] + c * gw.strides[1], gw.strides[0],
                                  totals.ctypes.data + c * totals.strides[2] + 4 * o, totals.strides[1])  # fmt: skip


@kernel
def _sixteen(size):  # type: ignore[no-untyped-def]
    """Memory for 16 matrices of `size` numbers; their elements must not compete for the same places of a cache."""
    return np.empty((16, (size // 1024 + 1) * 1024 + LANES), np.float32)


@kernel
def _transform(laid, offsets, apart, c0, c1, runs, count, v):  # type: ignore[no-untyped-def]
    """The tiles of a panel, of channels c0 to c1, to rows of ROW in `v` (16, ...)."""
    for c in range(c0, c1):
        to, source = v.ctypes.data + 4 * (c - c0) * ROW, laid.ctypes.data + 4 * c * apart
        for i in range(count):
            for j in range(0, 4 * runs[i, 5], 4 * LANES):
                input_tiles(to + 4 * runs[i, 4] + j, v.strides[0], source + 4 * runs[i, 0] + j, offsets.ctypes.data)


@kernel
def _pixel_runs(tiles, count, p, inner, out, runs):  # type: ignore[no-untyped-def]
    """Row p of the pixels that runs of tiles are, as runs that `store` takes."""
    copies, found = TILE if inner else 1, 0
    for i in range(count):
        tile, run = tiles[i], runs[found]
        h, w = 2 * tile[2] + p, 2 * tile[3]
        if h < out.shape[3]:
            run[0] = tile[6] * (out.strides[0] // 4) + h * out.shape[4] + w
            run[4], run[5] = 2 * tile[4], min(2 * tile[5], (out.shape[4] - w) * copies)
            found += 1
    return found


@kernel
def correlate(where, x, u, bias, out, box, low, step, planes, reach, taps):  # type: ignore[no-untyped-def]
    """The tiles and outputs of a box of the convolution of `x` with kernels that are transformed to `u` (16, O, C)."""
    images, first, count = box[1] - box[0], box[10], box[11] - box[10]
    channels, outputs = x.shape[1], u.shape[1]
    size, q, total = np.empty(3, np.int64), box[2:8], images
    for i in range(3):
        size[i] = q[2 * i + 1] - q[2 * i] + reach[i]
        total *= q[2 * i + 1] - q[2 * i]
    apart = images * size[0] * size[1] * size[2]
    laid = np.empty(4 * channels * apart + LANES, np.float32)
    turned = np.empty(TILE * x.shape[3] * x.shape[4] if box[12] else 0, np.float32)
    offsets, sources, targets = np.empty(16, np.int64), np.empty((WIDTH, 7), np.int64), np.empty((WIDTH, 7), np.int64)
    v, m = _sixteen(min(CHUNK, channels) * ROW), _sixteen(count * ROW)
    pixels = np.empty((2, count, PIXELS), np.float32)
    tap_offsets(taps, 0, 16, channels, box, size, offsets)
    lay(x, box, 0, channels, low, step, planes, size, turned, laid)
    for p in range(0, total, WIDTH):
        width = min(WIDTH, total - p)
        cuts = source_runs(p, width, q, box, size, sources)
        for r in range(2):
            expect(first, first + count, targets, _pixel_runs(sources, cuts, r, box[12], out, targets), 1, box, out)
        for c in range(0, channels, CHUNK):
            depth = min(CHUNK, channels - c)
            _transform(laid, offsets, apart, c, c + depth, sources, cuts, v)
            tile = SMALL // (WIDTH * depth)
            for k in range(16):
                for o in range(0, count, tile):
                    a = u.ctypes.data + 4 * ((k * outputs + first + o) * channels + c)
                    b, to = v.ctypes.data + k * v.strides[0], m.ctypes.data + k * m.strides[0] + 4 * o * ROW
                    rows = min(tile, count - o)
                    if c:
                        sgemm(where, PLAIN, rows, width, depth, a, channels, b, ROW, to, ROW)
                    else:
                        set_sgemm(where, PLAIN, rows, width, depth, a, channels, b, ROW, to, ROW)
        for o in range(count):
            shift = bias.ctypes.data + 4 * (first + o)
            for i in range(cuts):
                to, source = pixels[0, o].ctypes.data + 8 * sources[i, 4], m.ctypes.data + 4 * (o * ROW + sources[i, 4])
                for j in range(0, 4 * sources[i, 5], 4 * LANES):
                    if box[12]:
                        output_tiles_within(to + 2 * j, pixels.strides[0], source + j, m.strides[0], shift)
                    else:
                        output_tiles(to + 2 * j, pixels.strides[0], source + j, m.strides[0], shift)
        for r in range(2):
            store(pixels[r], first, targets, _pixel_runs(sources, cuts, r, box[12], out, targets), 1, box, out)


@kernel
def add_weight_gradient(where, g, x, total, box, low, step, planes, reach, taps):  # type: ignore[no-untyped-def]
    """Add a box's share of the transformed kernels' gradient to `total`, (16, C, O); the box has channels first to last."""
    images, first, count, outputs = box[1] - box[0], box[10], box[11] - box[10], g.shape[1]
    size, plain, q, positions = np.empty(3, np.int64), np.empty(3, np.int64), box[2:8], images
    for i in range(3):
        plain[i] = q[2 * i + 1] - q[2 * i]
        size[i] = plain[i] + reach[i]
        positions *= plain[i]
    apart, between = images * size[0] * size[1] * size[2], images * plain[0] * plain[1] * plain[2]
    laid, pixels = np.empty(4 * count * apart + LANES, np.float32), np.empty(4 * outputs * between + LANES, np.float32)
    larger = max(x.shape[3] * x.shape[4], g.shape[3] * g.shape[4])
    turned = np.empty(TILE * larger if box[12] else 0, np.float32)
    offsets, sources, targets = np.empty(16, np.int64), np.empty((WIDTH, 7), np.int64), np.empty((WIDTH, 7), np.int64)
    panels = (outputs + WIDTH - 1) // WIDTH
    v, z, parts = _sixteen(count * ROW), _sixteen(panels * WIDTH * WIDTH), np.empty((4, panels, WIDTH, WIDTH), np.float32)
    tap_offsets(taps, 0, 16, count, box, size, offsets)
    lay(x, box, first, first + count, low, step, planes, size, turned, laid)
    lay(g, box, 0, outputs, (0, 0, 0), step, planes, plain, turned, pixels)
    tile = SMALL // (WIDTH * WIDTH)
    for p in range(0, positions, WIDTH):
        width = min(WIDTH, positions - p)
        _transform(laid, offsets, apart, 0, count, sources, source_runs(p, width, q, box, size, sources), v)
        runs = source_runs(p, width, q, box, plain, targets)
        for k in range(4):
            turn(pixels.ctypes.data + 4 * k * outputs * between, 4 * between, 0, 1, outputs, targets, runs, WIDTH, parts[k])
        for s in range(panels):
            columns, to = min(WIDTH, outputs - s * WIDTH), z.ctypes.data + 4 * s * WIDTH * WIDTH
            source = parts[0, s].ctypes.data
            for t in range(0, 4 * width * WIDTH, 4 * WIDTH):
                for o in range(t, t + 4 * columns, 4 * LANES):
                    gradient_tiles(to + o, z.strides[0], source + o, parts.strides[0])
            for k in range(16):
                for c in range(0, count, tile):
                    a, b = v.ctypes.data + k * v.strides[0] + 4 * c * ROW, to + k * z.strides[0]
                    into = total.ctypes.data + 4 * ((k * total.shape[1] + first + c) * outputs + s * WIDTH)
                    sgemm(where, PLAIN, min(tile, count - c), columns, width, a, ROW, b, WIDTH, into, outputs)
