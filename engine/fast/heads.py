"""Attention head by head, in one call: scores, softmax and products of a block of queries without a word of Python between.

Queries, keys and values (batch, heads, positions, features) are given by the address of the first element and the strides of
the first three dimensions in bytes, as rows of `layout`; features lie side by side. Results and their gradients are arrays
(batch, positions, heads, features), and `logs`, the log of the sum of exp(scores) of every query, (batch, heads, positions).
"""

from __future__ import annotations

import numpy as np

from .blas import PLAIN, SMALL, TRANSPOSED, set_sgemm, sgemm
from .functions import ONE, ZERO, exp_down, from_ordered, log, ordered
from .jit import kernel, part
from .moves import TILE, address_of, move_one, transpose

ROWS = 64  # queries in a block
_LOWEST = np.int32(-(2**31))


@part
def _turn(source, apart, to):  # type: ignore[no-untyped-def]
    """Rows that are `apart` bytes from each other as the columns of an array."""
    width, count = to.shape
    row, start = 4 * count, address_of(to)
    high, wide = count // TILE * TILE, width // TILE * TILE
    for j in range(0, high, TILE):
        for k in range(0, wide, TILE):
            transpose(start + k * row + 4 * j, row, source + j * apart + 4 * k, apart)
    for j in range(count):
        for k in range(wide if j < high else 0, width):
            move_one(start + k * row + 4 * j, source + j * apart + 4 * k)


@part
def _times(where, rows, a, a_step, b, seen, to):  # type: ignore[no-untyped-def]
    """to[:rows, :seen] = a @ b[:, :seen], with the rows of a at an address and `a_step` floats apart."""
    inner, longest = b.shape
    width = max(ROWS, SMALL // (ROWS * inner))
    start, out = address_of(b), address_of(to)
    for c in range(0, seen, width):
        count = min(width, seen - c)
        set_sgemm(where, PLAIN, rows, count, inner, a, a_step, start + 4 * c, longest, out + 4 * c, longest)


@part
def _gather(where, rows, weights, seen, b, b_step, width, to, to_step):  # type: ignore[no-untyped-def]
    """to = weights[:rows, :seen] @ b, both at addresses."""
    longest, start = weights.shape[1], address_of(weights)
    depth = max(ROWS, SMALL // (ROWS * width))
    for c in range(0, seen, depth):
        count, a, source = min(depth, seen - c), start + 4 * c, b + 4 * c * b_step
        if c == 0:
            set_sgemm(where, PLAIN, rows, width, count, a, longest, source, b_step, to, to_step)
        else:
            sgemm(where, PLAIN, rows, width, count, a, longest, source, b_step, to, to_step)


@part
def _spread(where, rows, weights, seen, b, b_step, width, to, to_step):  # type: ignore[no-untyped-def]
    """to += weights[:rows, :seen].T @ b, both at addresses."""
    longest, start = weights.shape[1], address_of(weights)
    high = max(ROWS, SMALL // (ROWS * width))
    for c in range(0, seen, high):
        a, target = start + 4 * c, to + 4 * c * to_step
        sgemm(where, TRANSPOSED, min(high, seen - c), width, rows, a, longest, b, b_step, target, to_step)


@part
def _scale(x, factor):  # type: ignore[no-untyped-def]
    for k in range(len(x)):
        x[k] *= factor


@kernel
def forward(where, place, layout, scale, causal, out, logs, start, stop):  # type: ignore[no-untyped-def]
    """Attention of the heads `start` to `stop`, counted through all batches; a place and a layout for q, k and v."""
    _, length, heads, depth = out.shape
    width, source = layout[0, 3], layout[1, 3]
    turned, scores = np.empty((width, source), np.float32), np.empty((ROWS, source), np.float32)
    for head in range(start, stop):
        b, h = head // heads, head % heads
        q, k, v = place + b * layout[:, 0] + h * layout[:, 1]
        _turn(k, layout[1, 2], turned)
        _scale(turned.reshape(-1), scale)
        for r in range(0, length, ROWS):
            rows = min(ROWS, length - r)
            seen = min(source, r + rows) if causal else source
            _times(where, rows, q + r * layout[0, 2], layout[0, 2] // 4, turned, seen, scores)
            for i in range(rows):
                row = scores[i][: min(seen, r + i + 1) if causal else seen]
                top = _LOWEST
                for j in range(len(row)):
                    top = max(top, ordered(row[j]))
                high, total = from_ordered(top), ZERO
                for j in range(len(row)):
                    e = exp_down(row[j] - high)
                    row[j] = e
                    total += e
                _scale(row, ONE / total)
                logs[b, h, r + i] = high + log(total)
                scores[i][len(row) : seen] = ZERO
            to = address_of(out[b, r, h])
            _gather(where, rows, scores, seen, v, layout[2, 2] // 4, depth, to, heads * depth)


@kernel
def backward(where, place, layout, scale, causal, out, logs, g, gq, gk, gv, start, stop):  # type: ignore[no-untyped-def]
    """Gradients of queries, keys and values; `g`, the gradient of the output, is an array as `out` is."""
    _, length, heads, depth = out.shape
    width, source = layout[0, 3], layout[1, 3]
    k_turned, v_turned = np.empty((width, source), np.float32), np.empty((depth, source), np.float32)
    weights, slopes = np.empty((ROWS, source), np.float32), np.empty((ROWS, source), np.float32)
    for head in range(start, stop):
        b, h = head // heads, head % heads
        q, k, v = place + b * layout[:, 0] + h * layout[:, 1]
        _turn(k, layout[1, 2], k_turned)
        _scale(k_turned.reshape(-1), scale)
        _turn(v, layout[2, 2], v_turned)
        for j in range(source):
            gk[b, j, h, :] = ZERO
            gv[b, j, h, :] = ZERO
        for r in range(0, length, ROWS):
            rows = min(ROWS, length - r)
            seen = min(source, r + rows) if causal else source
            part_q, part_g = q + r * layout[0, 2], address_of(g[b, r, h])
            _times(where, rows, part_q, layout[0, 2] // 4, k_turned, seen, weights)
            _times(where, rows, part_g, heads * depth, v_turned, seen, slopes)
            for i in range(rows):
                visible = min(seen, r + i + 1) if causal else seen
                row, slope = weights[i][:visible], slopes[i][:visible]
                made, given, along = out[b, r + i, h], g[b, r + i, h], ZERO
                for j in range(depth):
                    along += made[j] * given[j]
                log_sum = logs[b, h, r + i]
                for j in range(len(row)):
                    w = exp_down(row[j] - log_sum)
                    row[j] = w
                    slope[j] = (slope[j] - along) * w
                weights[i][visible:seen] = ZERO
                slopes[i][visible:seen] = ZERO
            step = heads * width
            _spread(where, rows, weights, seen, part_g, heads * depth, depth, address_of(gv[b, 0, h]), heads * depth)
            _gather(where, rows, slopes, seen, k, layout[1, 2] // 4, width, address_of(gq[b, r, h]), step)
            _spread(where, rows, slopes, seen, part_q, layout[0, 2] // 4, width, address_of(gk[b, 0, h]), step)
            for i in range(rows):
                _scale(gq[b, r + i, h], scale)
        for j in range(source):
            _scale(gk[b, j, h], scale)
