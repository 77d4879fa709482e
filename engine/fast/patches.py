"""Convolutions as products over panels of patches, for engine/ops/_patches.py, which makes the tables.

A block of images is laid out in memory that the second-level cache holds: with its padding, and with the elements that a
stride skips over in planes of their own. What all windows see at one place of the kernel, a tap, is then the same
positions from another start, so that a panel (64 neighbouring positions, one row for every channel and tap) is a few
copies of long runs, and BLAS multiplies it while it is in cache.

Layouts are [plane of the stride][channel][image][d][h][w], or with images innermost where rows are short. Arrays have three
spatial dimensions. A box is (n0, n1, d0, d1, h0, h1, w0, w1, group0, group1, first, last, inner): images, positions, groups,
the outputs (`correlate`) or channels (`add_weight_gradient`) of each group, and whether groups of TILE images are innermost.
"""

from __future__ import annotations

import numpy as np

from .blas import PLAIN, SMALL, sgemm
from .jit import inline, kernel
from .layouts import NONE, ONE, WIDTH, expect, gather, source_runs, store, tap_offsets, target_runs, turn
from .moves import LANES, TILE, address_of, transpose

LONG = np.int64(256)  # positions of a panel of a weight gradient
DEPTH = 240  # rows of a panel
HEAVY = 1 << 16  # elements of weights from which they are read for several panels at once
ORIGIN, ONES = (NONE,) * 3, (ONE,) * 3


@inline
def _range(box, phase, q):  # type: ignore[no-untyped-def]
    """The positions of the box that a phase has; how many they are."""
    total = 1
    for i in range(3):
        q[2 * i] = max(box[2 + 2 * i], phase[6 + 2 * i])
        q[2 * i + 1] = max(q[2 * i], min(box[3 + 2 * i], phase[7 + 2 * i]))
        total *= q[2 * i + 1] - q[2 * i]
    return total


@kernel
def correlate(where, laid, size, channels, w, bias, out, groups, box, taps, phases, out_step):  # type: ignore[no-untyped-def]
    """The positions, groups and outputs of a box of a correlation, whose images `lay` has laid out: `channels` of each group.

    `out` is (N, groups * outputs, D, H, W), `bias` (groups * outputs). Position q sees, at a tap (plane, shifts), what is laid
    out at q + shifts, and goes to `out` at first + q * out_step; that and the range of q depend on the phase: (its first tap,
    behind its last, its weights' start, 3 times first, 3 times a range). A phase's weights in the flat `w` are (groups,
    outputs, channels, taps).
    """
    images, first, last = box[1] - box[0], box[10], box[11]
    count, outputs, q = last - first, out.shape[1] // groups, np.empty(6, np.int64)
    apart = images * size[0] * size[1] * size[2]
    panel, offsets = np.empty(DEPTH * WIDTH + LANES, np.float32), np.empty(len(taps), np.int64)
    most = 4 if count * channels * len(taps) > HEAVY else 1  # panels for which weights are read at once
    acc = np.empty((most, count, WIDTH), np.float32)
    sources, targets = np.empty((most, WIDTH, 7), np.int64), np.empty((most, WIDTH, 7), np.int64)
    cuts = np.empty((most, 3), np.int64)
    for b in range(box[8], box[9]):
        for f in range(len(phases)):
            phase = phases[f]
            total, kernel = _range(box, phase, q) * images, phase[1] - phase[0]
            depth = kernel * channels
            weights = address_of(w) + 4 * (phase[2] + (b * outputs + first) * depth)
            tap_offsets(taps, phase[0], phase[1], channels * (box[9] - box[8]), box, size, offsets)
            for t in range(kernel):
                offsets[t] += (b - box[8]) * channels * apart
            for p0 in range(0, total, most * WIDTH):
                panels = min(most, -(-(total - p0) // WIDTH))
                for k in range(panels):
                    p = p0 + k * WIDTH
                    width = cuts[k, 0] = min(WIDTH, total - p)
                    cuts[k, 1] = source_runs(p, width, q, box, size, sources[k])
                    cuts[k, 2] = target_runs(p, width, q, box[12], out, (phase[3], phase[4], phase[5]), out_step, targets[k])
                    expect(b * outputs + first, b * outputs + last, targets[k], cuts[k, 2], out_step[2], box, out)
                    for o in range(count):
                        acc[k, o] = bias[b * outputs + first + o]
                for r in range(0, depth, DEPTH):
                    rows = min(DEPTH, depth - r)
                    tile = SMALL // (WIDTH * rows)
                    for k in range(panels):
                        gather(laid, offsets, kernel, apart, r, r + rows, sources[k], cuts[k, 1], WIDTH, panel)
                        for o in range(0, count, tile):
                            sgemm(where, PLAIN, min(tile, count - o), cuts[k, 0], rows, weights + 4 * (o * depth + r), depth,
                                  address_of(panel), WIDTH, address_of(acc) + 4 * (k * count + o) * WIDTH, WIDTH)  # fmt: skip
                for k in range(panels):
                    store(acc[k], b * outputs + first, targets[k], cuts[k, 2], out_step[2], box, out)


@kernel
def add_weight_gradient(where, laid, size, channels, g, total, groups, box, taps):  # type: ignore[no-untyped-def]
    """Add a box's share of the weights' gradient to `total`, (groups, channels * taps, outputs); see `correlate`.

    Of each group, `lay` has laid out the channels of the box.
    """
    images, kernel, count, outputs = box[1] - box[0], len(taps), box[11] - box[10], g.shape[1] // groups
    q, positions = box[2:8], images
    for i in range(3):
        positions *= q[2 * i + 1] - q[2 * i]
    apart = images * size[0] * size[1] * size[2]
    offsets, sources, targets = np.empty(kernel, np.int64), np.empty((LONG, 7), np.int64), np.empty((LONG, 7), np.int64)
    tile = SMALL // (WIDTH * LONG)
    panel = np.empty(tile * LONG + LANES, np.float32)
    gradients = np.empty(((outputs + WIDTH - 1) // WIDTH, LONG, WIDTH), np.float32)
    for b in range(box[8], box[9]):
        tap_offsets(taps, NONE, kernel, count * (box[9] - box[8]), box, size, offsets)
        for t in range(kernel):
            offsets[t] += (b - box[8]) * count * apart
        for p in range(0, positions, LONG):
            width = min(LONG, positions - p)
            cuts = source_runs(p, width, q, box, size, sources)
            runs = target_runs(p, width, q, box[12], g, ORIGIN, ONES, targets)
            first = address_of(g) + box[0] * g.strides[0] + b * outputs * g.strides[1]
            turn(first, g.strides[1], g.strides[0], TILE if box[12] else ONE, outputs, targets, runs, LONG, gradients)
            for r in range(0, count * kernel, tile):
                rows = min(tile, count * kernel - r)
                gather(laid, offsets, kernel, apart, r, r + rows, sources, cuts, LONG, panel)
                to = address_of(total) + 4 * ((b * channels + box[10]) * kernel + r) * outputs
                for o in range(len(gradients)):
                    sgemm(where, PLAIN, rows, min(WIDTH, outputs - o * WIDTH), width, address_of(panel), LONG,
                          address_of(gradients) + 4 * o * LONG * WIDTH, WIDTH, to + 4 * o * WIDTH, outputs)  # fmt: skip


@kernel
def add_up(totals, t0, t1, gw):  # type: ignore[no-untyped-def]
    """The sum of `totals` (count, groups, channels * taps, outputs), which it changes, as (groups * outputs, channels * taps).

    For tiles t0 to t1: TILE rows each, the last of a group perhaps fewer.
    """
    rows, outputs = totals.shape[2:]
    tiles = (rows + TILE - 1) // TILE
    for t in range(t0, t1):
        b, first = t // tiles, t % tiles * TILE
        last = min(rows, first + TILE)
        for r in range(first, last):
            line = totals[0, b, r]
            for i in range(1, len(totals)):
                other = totals[i, b, r]
                for o in range(outputs):
                    line[o] += other[o]
        whole = outputs // TILE * TILE if last - first == TILE else 0
        source, to = address_of(totals[0, b, first:]), address_of(gw) + 4 * (b * outputs * rows + first)
        for o in range(0, whole, TILE):
            transpose(to + 4 * o * rows, 4 * rows, source + 4 * o, 4 * outputs)
        for o in range(whole, outputs):
            for r in range(first, last):
                gw[b * outputs + o, r] = totals[0, b, r, o]


@kernel
def reorder(w, groups, taps, t0, t1, c0, c1, start, turned):  # type: ignore[no-untyped-def]
    """Weights (groups * outputs, channels, kernel) as (groups, channels, outputs, taps) at `start` of the flat `turned`.

    `taps` t0 to t1 say which kernel elements they are; c0 to c1 of all groups' channels are done.
    """
    outputs, channels, count = w.shape[0] // groups, w.shape[1], t1 - t0
    for c in range(c0, c1):
        b, channel = c // channels, c % channels
        into = turned[start + c * outputs * count :]
        for o in range(outputs):
            line = w[b * outputs + o, channel]
            for t in range(count):
                into[o * count + t] = line[taps[t0 + t]]
