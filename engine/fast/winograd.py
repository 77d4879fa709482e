"""Convolutions by Winograd's algorithm in panels of tiles; the algorithm is in engine/ops/_winograd.py.

Tiles are the windows of a convolution with a stride: blocks are laid out as patches.py says, and boxes are as there, with tiles
for positions. `parts` of the taps belong to one channel and make one row of a transformed panel each: one for 3 x 3
kernels, which have 16 numbers; for 4 x 4 kernels with stride 2, the four halves that a stride tells apart, of 9 numbers.
"""

from __future__ import annotations

import numpy as np

from .blas import PLAIN, SMALL, set_sgemm, sgemm
from .jit import kernel, part
from .layouts import NONE, WIDTH, expect, source_runs, store, tap_offsets, turn
from .moves import LANES, TILE, address_of
from .tiles import (
    gradient_tiles,
    half_gradient_tiles,
    half_kernel_tiles,
    input_tiles,
    kernel_gradient_tiles,
    kernel_tiles,
    mirrored_half_tiles,
    mirrored_kernel_tiles,
    output_tiles,
    output_tiles_within,
    small_gradient_tiles,
    small_input_tiles,
    small_output_tiles,
    small_output_tiles_within,
)

CHUNK = 64  # rows multiplied at a time
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
            to, source = address_of(u) + i * u.strides[1] + 4 * k, address_of(w) + i * across + k * step
            if mirrored:
                mirrored_kernel_tiles(to, u.strides[0], source, step)
            else:
                kernel_tiles(to, u.strides[0], source, step)


@part
def _add_up(totals, first, last):  # type: ignore[no-untyped-def]
    """Add rows first to last of the other totals to the first."""
    for i in range(1, len(totals)):
        for k in range(totals.shape[1]):
            for row in range(first, last):
                line, other = totals[0, k, row], totals[i, k, row]
                for o in range(line.size):
                    line[o] += other[o]


@kernel
def finish_kernels(totals, c0, c1, gw):  # type: ignore[no-untyped-def]
    """The sum of `totals` (count, 16, C, O), which it changes, as the gradient `gw` (O, C, 3, 3) of channels c0 to c1."""
    for c in range(c0, c1):
        _add_up(totals, c, c + 1)
        for j in range(0, len(gw), TILE):
            o = min(j, len(gw) - TILE)
            kernel_gradient_tiles(address_of(gw) + o * gw.strides[0] + c * gw.strides[1], gw.strides[0],
                                  address_of(totals) + c * totals.strides[2] + 4 * o, totals.strides[1])  # fmt: skip


@kernel
def transform_halves(w, first, last, u):  # type: ignore[no-untyped-def]
    """Kernels `w` (O, C, 4, 4), of outputs first to last, to `u` (9, O, 4 * C)."""
    for o in range(first, last):
        for j in range(0, w.shape[1], 4):
            c = min(j, w.shape[1] - 4)
            to, source = address_of(u) + o * u.strides[1] + 16 * c, address_of(w) + o * w.strides[0] + c * w.strides[1]
            half_kernel_tiles(to, u.strides[0], source)


@kernel
def transform_mirrored_halves(w, first, last, u):  # type: ignore[no-untyped-def]
    """Halves of `w` (O, C, 4, 4) turned by 180 degrees, of channels first to last, to `u` (4, 9, C, O)."""
    for c in range(first, last):
        for j in range(0, len(w), TILE):
            o = min(j, len(w) - TILE)
            to, source = address_of(u) + c * u.strides[2] + 4 * o, address_of(w) + o * w.strides[0] + c * w.strides[1]
            mirrored_half_tiles(to, u.strides[0], u.strides[1], source, w.strides[0])


@kernel
def finish_halves(totals, c0, c1, gw):  # type: ignore[no-untyped-def]
    """The sum of `totals` (count, 9, 4 * C, O), which it changes, as the gradient `gw` (O, C, 4, 4) of channels c0 to c1."""
    for c in range(c0, c1):
        _add_up(totals, 4 * c, 4 * c + 4)
        for j in range(0, len(gw), TILE):
            o = min(j, len(gw) - TILE)
            to, source = address_of(gw) + o * gw.strides[0] + c * gw.strides[1], address_of(totals) + 4 * o
            half_gradient_tiles(to, gw.strides[0], source + 4 * c * totals.strides[2], totals.strides[2], totals.strides[1])


@part
def _sixteen(size):  # type: ignore[no-untyped-def]
    """Memory for 16 matrices of `size` numbers; their elements must not compete for the same places of a cache."""
    return np.empty((16, (size // 1024 + 1) * 1024 + LANES), np.float32)


@part
def _transform(laid, offsets, parts, numbers, apart, c0, c1, runs, count, v):  # type: ignore[no-untyped-def]
    """The tiles of a panel, of channels c0 to c1, to rows of ROW in `v` (numbers, ...)."""
    for row in range(parts * (c1 - c0)):
        c, part = c0 + row // parts, row % parts
        to, source = address_of(v) + 4 * row * ROW, address_of(laid) + 4 * c * apart
        places = address_of(offsets) + 8 * part * numbers
        for i in range(count):
            for j in range(0, 4 * runs[i, 5], 4 * LANES):
                if numbers == 16:
                    input_tiles(to + 4 * runs[i, 4] + j, v.strides[0], source + 4 * runs[i, 0] + j, places)
                else:
                    small_input_tiles(to + 4 * runs[i, 4] + j, v.strides[0], source + 4 * runs[i, 0] + j, places)


@part
def _outputs(m, bias, first, count, runs, cuts, numbers, inner, pixels):  # type: ignore[no-untyped-def]
    """Two rows of pixels of each of `count` outputs, from the products `m` of a panel."""
    for o in range(count):
        shift = address_of(bias) + 4 * (first + o)
        for i in range(cuts):
            to, source = address_of(pixels[0, o]) + 8 * runs[i, 4], address_of(m) + 4 * (o * ROW + runs[i, 4])
            for j in range(0, 4 * runs[i, 5], 4 * LANES):
                if numbers == 16 and inner:
                    output_tiles_within(to + 2 * j, pixels.strides[0], source + j, m.strides[0], shift)
                elif numbers == 16:
                    output_tiles(to + 2 * j, pixels.strides[0], source + j, m.strides[0], shift)
                elif inner:
                    small_output_tiles_within(to + 2 * j, pixels.strides[0], source + j, m.strides[0], shift)
                else:
                    small_output_tiles(to + 2 * j, pixels.strides[0], source + j, m.strides[0], shift)


@part
def _pixel_runs(tiles, count, r, phase, step, inner, out, runs):  # type: ignore[no-untyped-def]
    """Row r of the pixels that runs of tiles are, as runs that `store` takes: first pixels are at `phase`, `step` apart."""
    copies, found = TILE if inner else 1, 0
    for i in range(count):
        tile, run = tiles[i], runs[found]
        h, w = phase[0] + step * (2 * tile[2] + r), phase[1] + step * 2 * tile[3]
        if h < out.shape[3] and w < out.shape[4]:
            run[0] = tile[6] * (out.strides[0] // 4) + h * out.shape[4] + w
            run[4], run[5] = 2 * tile[4], min(2 * tile[5], (out.shape[4] - w + step - 1) // step * copies)
            found += 1
    return found


@kernel
def correlate(where, laid, size, channels, u, bias, out, box, taps, phases, out_step):  # type: ignore[no-untyped-def]
    """The tiles and outputs of a box of a convolution with kernels that are transformed to `u` (phases, numbers, O, rows).

    A phase, whose taps lie one after the other in `taps`, is written from its first pixel on, every `out_step`th.
    """
    images, first, count = box[1] - box[0], box[10], box[11] - box[10]
    numbers, depth, q, total = u.shape[1], u.shape[3], box[2:8], images
    for i in range(3):
        total *= q[2 * i + 1] - q[2 * i]
    parts, apart = depth // channels, images * size[0] * size[1] * size[2]
    offsets, sources, targets = np.empty(len(taps), np.int64), np.empty((WIDTH, 7), np.int64), np.empty((WIDTH, 7), np.int64)
    v, m = _sixteen(min(CHUNK, depth) * ROW), _sixteen(count * ROW)
    pixels = np.empty((2, count, PIXELS), np.float32)
    tap_offsets(taps, NONE, len(taps), channels, box, size, offsets)
    for p in range(0, total, WIDTH):
        width = min(WIDTH, total - p)
        cuts = source_runs(p, width, q, box, size, sources)
        for f in range(len(phases)):
            for r in range(2):
                rows = _pixel_runs(sources, cuts, r, phases[f], out_step, box[12], out, targets)
                expect(first, first + count, targets, rows, out_step, box, out)
            places = offsets[f * parts * numbers :]
            for d in range(0, depth, CHUNK):
                c, high = d // parts, min(CHUNK, depth - d)
                _transform(laid, places, parts, numbers, apart, c, c + high // parts, sources, cuts, v)
                tile = SMALL // (WIDTH * high)
                for k in range(numbers):
                    for o in range(0, count, tile):
                        a = address_of(u) + f * u.strides[0] + k * u.strides[1] + 4 * ((first + o) * depth + d)
                        b, to = address_of(v) + k * v.strides[0], address_of(m) + k * m.strides[0] + 4 * o * ROW
                        if d:
                            sgemm(where, PLAIN, min(tile, count - o), width, high, a, depth, b, ROW, to, ROW)
                        else:
                            set_sgemm(where, PLAIN, min(tile, count - o), width, high, a, depth, b, ROW, to, ROW)
            _outputs(m, bias, first, count, sources, cuts, numbers, box[12], pixels)
            for r in range(2):
                rows = _pixel_runs(sources, cuts, r, phases[f], out_step, box[12], out, targets)
                store(pixels[r], first, targets, rows, out_step, box, out)


@kernel
def add_weight_gradient(where, laid, size, channels, pixels, plain, outputs, total, box, taps):  # type: ignore[no-untyped-def]
    """Add a box's share of the transformed kernels' gradient to `total`, (numbers, rows, O), of channels first to last.

    `laid` are these channels' tiles, `pixels` the output's gradient in the four planes of a stride of 2, of sizes `plain`.
    """
    images, first, count = box[1] - box[0], box[10], box[11] - box[10]
    numbers, parts, q, positions = total.shape[0], total.shape[1] // channels, box[2:8], images
    for i in range(3):
        positions *= plain[i]
    apart, between = images * size[0] * size[1] * size[2], positions
    offsets, sources, targets = np.empty(len(taps), np.int64), np.empty((WIDTH, 7), np.int64), np.empty((WIDTH, 7), np.int64)
    panels, rows = (outputs + WIDTH - 1) // WIDTH, parts * count
    v, z, corners = _sixteen(rows * ROW), _sixteen(panels * WIDTH * WIDTH), np.empty((4, panels, WIDTH, WIDTH), np.float32)
    tap_offsets(taps, NONE, len(taps), count, box, size, offsets)
    tile = SMALL // (WIDTH * WIDTH)
    for p in range(0, positions, WIDTH):
        width = min(WIDTH, positions - p)
        cuts = source_runs(p, width, q, box, size, sources)
        _transform(laid, offsets, parts, numbers, apart, NONE, count, sources, cuts, v)
        cuts = source_runs(p, width, q, box, plain, targets)
        for k in range(4):
            to = address_of(pixels) + 4 * k * outputs * between
            turn(to, 4 * between, 0, 1, outputs, targets, cuts, WIDTH, corners[k])  # compiled for 0 and 1: strides are known
        for s in range(panels):
            columns, to = min(WIDTH, outputs - s * WIDTH), address_of(z) + 4 * s * WIDTH * WIDTH
            source = address_of(corners[0, s])
            for t in range(0, 4 * width * WIDTH, 4 * WIDTH):
                for o in range(t, t + 4 * columns, 4 * LANES):
                    if numbers == 16:
                        gradient_tiles(to + o, z.strides[0], source + o, corners.strides[0])
                    else:
                        small_gradient_tiles(to + o, z.strides[0], source + o, corners.strides[0])
            for k in range(numbers):
                for c in range(0, rows, tile):
                    a, b = address_of(v) + k * v.strides[0] + 4 * c * ROW, to + k * z.strides[0]
                    into = address_of(total) + k * total.strides[0] + 4 * ((parts * first + c) * outputs + s * WIDTH)
                    sgemm(where, PLAIN, min(tile, rows - c), columns, width, a, ROW, b, WIDTH, into, outputs)
