"""Blocks of images as engine/fast/patches.py wants them, and its panels of positions; see there.

Everything here goes by addresses (`moves`): rows are short, and what surrounds a loop of NumPy's costs more than its elements.
Moves of 16 floats may write too much; where they do, what comes after it in memory is written later.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .moves import LANES, TILE, address_of, clear, clear_tile, fetch, move, move_even, move_one, move_tile, transpose

STEP, SPAN = 4 * LANES, 4 * TILE  # bytes of a move, and of an element of TILE images
WIDTH = np.int64(64)  # positions of a panel
NONE, ONE = np.int64(0), np.int64(1)  # plain numbers are types of their own: functions would be compiled anew for each


@part
def _bounds(count, first, step, length):  # type: ignore[no-untyped-def]
    """Which of `count` elements at first, first + step, ... lie below `length`."""
    low = min(count, max(0, -(first // step)))
    return low, max(low, min(count, -((first - length) // step)))


@part
def _lay_row(line, end, first, step, count, low, high, row):  # type: ignore[no-untyped-def]
    """Every `step`th of the floats at `line` from `first` on to `count` floats at `row`, zeros but from `low` to `high`."""
    for j in range(0, 4 * low, STEP):
        clear(row + j)
    at, to, last = line + 4 * (first + low * step), row + 4 * low, row + 4 * high
    if step == 1:
        while to < last and at + STEP <= end:
            move(to, at)
            at, to = at + STEP, to + STEP
    elif step == 2:
        while to < last and at + 2 * STEP <= end:
            move_even(to, at)
            at, to = at + 2 * STEP, to + STEP
    while to < last:
        move_one(to, at)
        at, to = at + 4 * step, to + 4
    for j in range(last, row + 4 * count, STEP):
        clear(j)


@part
def _lay_apart(x, box, c0, c1, low, step, planes, size, laid):  # type: ignore[no-untyped-def]
    """`lay` for images one after the other."""
    at, end = address_of(laid), address_of(x) + 4 * x.size
    for a in range(planes[0]):
        for b in range(planes[1]):
            for e in range(planes[2]):
                first = box[6] * step[2] + e - low[2]
                left, right = _bounds(size[2], first, step[2], x.shape[4])
                for c in range(c0, c1):
                    for n in range(box[0], box[1]):
                        plane = address_of(x) + n * x.strides[0] + c * x.strides[1]
                        for d in range(size[0]):
                            i = (d + box[2]) * step[0] + a - low[0]
                            for h in range(size[1]):
                                j = (h + box[4]) * step[1] + b - low[1]
                                if i < 0 or i >= x.shape[2] or j < 0 or j >= x.shape[3]:
                                    for k in range(0, 4 * size[2], STEP):
                                        clear(at + k)
                                else:
                                    line = plane + 4 * (i * x.shape[3] + j) * x.shape[4]
                                    _lay_row(line, end, first, step[2], size[2], left, right, at)
                                at += 4 * size[2]


@part
def _turn_rows(source, apart, count, to):  # type: ignore[no-untyped-def]
    """`count` floats of each of TILE images, which are `apart` bytes from each other, to `to` with images innermost."""
    whole = count // TILE * TILE
    for j in range(0, whole, TILE):
        transpose(to + SPAN * j, SPAN, source + 4 * j, apart)
    for j in range(whole, count):
        for n in range(TILE):
            move_one(to + SPAN * j + 4 * n, source + n * apart + 4 * j)


@part
def _clear(to, count):  # type: ignore[no-untyped-def]
    """Zeros for `count` elements of TILE images."""
    for j in range(count):
        clear_tile(to + SPAN * j)


@part
def _lay_within(x, box, n, laid_n, c, c0, c1, low, step, planes, size, turned, laid):  # type: ignore[no-untyped-def]
    """`lay` for channel c of TILE images from n on, innermost; `turned` has room for the rows of one d that are seen."""
    wide, high, between = x.shape[4], x.shape[3], x.strides[0]
    j0 = max(0, box[4] * step[1] - low[1])
    j1 = max(j0, min(high, (box[4] + size[1]) * step[1] + planes[1] - low[1]))
    spatial, groups = SPAN * size[0] * size[1] * size[2], (box[1] - box[0]) // TILE
    first = box[6] * step[2] - low[2]
    for a in range(planes[0]):
        for d in range(size[0]):
            i = (d + box[2]) * step[0] + a - low[0]
            known = 0 <= i < x.shape[2]
            if known:
                source = address_of(x) + n * between + c * x.strides[1] + 4 * (i * high + j0) * wide
                _turn_rows(source, between, (j1 - j0) * wide, address_of(turned))
            for b in range(planes[1]):
                for e in range(planes[2]):
                    plane = ((a * planes[1] + b) * planes[2] + e) * (c1 - c0) + c - c0
                    at = address_of(laid) + (plane * groups + laid_n) * spatial + SPAN * d * size[1] * size[2]
                    left, right = _bounds(size[2], first + e, step[2], wide)
                    for h in range(size[1]):
                        j = (h + box[4]) * step[1] + b - low[1]
                        if not known or j < 0 or j >= high:
                            _clear(at, size[2])
                        else:
                            _clear(at, left)
                            line = address_of(turned) + SPAN * ((j - j0) * wide + first + e)
                            for k in range(left, right):
                                move_tile(at + SPAN * k, line + SPAN * k * step[2])
                            _clear(at + SPAN * right, size[2] - right)
                        at += SPAN * size[2]


@kernel
def lay(x, box, c0, c1, low, step, planes, size, turned, laid):  # type: ignore[no-untyped-def]
    """Channels c0 to c1 of the box's images into `laid`, whose planes have three sizes `size`."""
    if not box[12]:
        _lay_apart(x, box, c0, c1, low, step, planes, size, laid)
        return
    for c in range(c0, c1):
        for i in range((box[1] - box[0]) // TILE):
            _lay_within(x, box, box[0] + i * TILE, i, c, c0, c1, low, step, planes, size, turned, laid)


@part
def tap_offsets(taps, t0, t1, channels, box, size, found):  # type: ignore[no-untyped-def]
    """Where each tap's positions begin in `laid`."""
    images = box[1] - box[0]
    plane = channels * images * size[0] * size[1] * size[2]
    for t in range(t0, t1):
        start = (taps[t, 1] * size[1] + taps[t, 2]) * size[2] + taps[t, 3]
        found[t - t0] = taps[t, 0] * plane + (start * TILE if box[12] else start)


@part
def _cut(p, width, q, row, high, deep, inner, runs):  # type: ignore[no-untyped-def]
    """Cut positions p to p + width of the range q where rows of `row` positions end.

    Runs are (left open, d, h, w, start in the panel, length, image); with images innermost (`inner`) the image
    is one of those that begin a group of TILE.
    """
    images = TILE if inner else 1
    length, count, done = row * images, 0, 0
    while done < width:
        line, first = (p + done) // length, (p + done) % length
        taken = min(length - first, width - done)
        run = runs[count]
        run[1], run[2], run[3] = line // high % deep + q[0], line % high + q[2], first // images + q[4]
        run[4], run[5], run[6] = done, taken, line // (high * deep) * images
        done += taken
        count += 1
    return count


@part
def source_runs(p, width, q, box, size, runs):  # type: ignore[no-untyped-def]
    """The runs of a panel that lie in one piece in `laid`, and in their first column where they begin there."""
    row, high, deep = q[5] - q[4], q[3] - q[2], q[1] - q[0]
    if size[2] == row:
        row, high = row * high, 1
        if size[1] == q[3] - q[2]:
            row, deep = row * deep, 1
    count = _cut(p, width, q, row, high, deep, box[12], runs)
    spatial = size[0] * size[1] * size[2]
    for i in range(count):
        run = runs[i]
        start = ((run[1] - box[2]) * size[1] + run[2] - box[4]) * size[2] + run[3] - box[6]
        run[0] = run[6] * spatial + (start * TILE if box[12] else start)
    return count


@part
def target_runs(p, width, q, inner, out, first, step, runs):  # type: ignore[no-untyped-def]
    """The runs of a panel whose positions are neighbours in `out`, and in their first column where they go in it (floats)."""
    row, high, deep = q[5] - q[4], q[3] - q[2], q[1] - q[0]
    if row == out.shape[4] and step[1] == 1 and step[2] == 1:
        row, high = row * high, 1
        if q[3] - q[2] == out.shape[3] and step[0] == 1:
            row, deep = row * deep, 1
    count = _cut(p, width, q, row, high, deep, inner, runs)
    for i in range(count):
        run = runs[i]
        d, h, w = run[1] * step[0] + first[0], run[2] * step[1] + first[1], run[3] * step[2] + first[2]
        run[0] = run[6] * (out.strides[0] // 4) + (d * out.shape[3] + h) * out.shape[4] + w
    return count


@part
def gather(laid, offsets, taps, apart, r0, r1, runs, count, stride, panel):  # type: ignore[no-untyped-def]
    """Rows r0 to r1 (channels times taps) of a panel whose rows are `stride` floats from each other."""
    source, to = address_of(laid), address_of(panel)
    c, t = r0 // taps, r0 % taps
    for r in range(r1 - r0):
        base = source + 4 * (offsets[t] + c * apart)
        for i in range(count):
            a, b = base + 4 * runs[i, 0], to + 4 * (r * stride + runs[i, 4])
            for j in range(0, 4 * runs[i, 5], STEP):
                move(b + j, a + j)
        t += 1
        if t == taps:
            t, c = 0, c + 1


@part
def _store_run(source, to, length, apart):  # type: ignore[no-untyped-def]
    """`length` floats to places `apart` floats from each other, and not one more."""
    done = 0
    if apart == 1:
        done = length // LANES * LANES
        for j in range(0, 4 * done, STEP):
            move(to + j, source + j)
    for j in range(done, length):
        move_one(to + 4 * j * apart, source + 4 * j)


@part
def expect(o0, o1, runs, count, apart, box, out):  # type: ignore[no-untyped-def]
    """Ask for the memory that `store` will write: its pieces are too short for the processor to see them coming."""
    between = out.strides[0]
    copies = TILE if box[12] else 1
    for o in range(o0, o1):
        plane = address_of(out) + box[0] * between + o * out.strides[1]
        for i in range(count):
            length = 4 * (runs[i, 5] // copies) * apart
            for n in range(copies):
                to = plane + n * between + 4 * runs[i, 0]
                for j in range(0, length, 64):
                    fetch(to + j)


@part
def store(acc, o0, runs, count, apart, box, out):  # type: ignore[no-untyped-def]
    """A panel of results, by outputs beginning with o0, to its runs in `out`, `apart` floats from each other."""
    between = out.strides[0]
    for o in range(len(acc)):
        line, plane = address_of(acc) + o * acc.strides[0], address_of(out) + box[0] * between + (o0 + o) * out.strides[1]
        for i in range(count):
            to, source, length = plane + 4 * runs[i, 0], line + 4 * runs[i, 4], runs[i, 5]
            if not box[12]:
                _store_run(source, to, length, apart)
                continue
            positions = length // TILE
            whole = positions // TILE * TILE if apart == 1 else 0
            for j in range(0, whole, TILE):
                transpose(to + 4 * j, between, source + SPAN * j, SPAN)
            for n in range(TILE):
                for j in range(whole, positions):
                    move_one(to + n * between + 4 * j * apart, source + SPAN * j + 4 * n)


@part
def turn(source, plane, between, copies, outputs, runs, count, length, turned):  # type: ignore[no-untyped-def]
    """A panel's runs of `outputs` as rows of positions: `turned` is (panels of outputs, length, WIDTH).

    Outputs begin at the address `source` and are `plane` bytes from each other. Of each run there are `copies`, `between`
    bytes from each other: images, whose positions take turns in the panel.
    """
    full = outputs // TILE * TILE
    for i in range(count):
        done, positions = runs[i, 4], runs[i, 5] // copies
        whole = positions // TILE * TILE
        for n in range(copies):
            start = source + n * between + 4 * runs[i, 0]
            for o in range(outputs):
                to = address_of(turned) + 4 * ((o // WIDTH * length + done + n) * WIDTH + o % WIDTH)
                apart, line = 4 * copies * WIDTH, start + o * plane
                if o < full and o % TILE == 0:
                    for j in range(0, whole, TILE):
                        transpose(to + j * apart, apart, line + 4 * j, plane)
                for j in range(whole if o < full else 0, positions):
                    move_one(to + j * apart, line + 4 * j)
