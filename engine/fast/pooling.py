"""Maxima over windows of planes (P, H, W), and their gradient; kernel, stride, dilation and padding are pairs."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types

from .jit import exact, exact_inline
from .moves import address_of, at, intrinsic, load, shuffle, store


def _share(lanes):  # type: ignore[no-untyped-def]
    """Typing function: gradients of windows of 2 x 2 side by side, by addresses; x's rows have `wide` bytes."""
    evens, odds, zeros = range(0, 2 * lanes, 2), range(1, 2 * lanes, 2), ir.Constant(ir.VectorType(ir.FloatType(), lanes), None)
    pairs = [place for i in range(lanes) for place in (i, lanes + i)]

    def typed(typingctx, x, best, g, gx, wide):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            x, best, g, gx, wide = args
            best, left = load(builder, best, lanes), load(builder, g, lanes)
            for row in range(2):
                line, found = load(builder, at(builder, x, wide, row), 2 * lanes), []
                for places in (evens, odds):
                    value = shuffle(builder, line, line, places)
                    hit = builder.or_(builder.fcmp_ordered("==", value, best), builder.fcmp_unordered("uno", value, value))
                    found.append(builder.select(hit, left, zeros))
                    left = builder.select(hit, zeros, left)
                store(builder, shuffle(builder, found[0], found[1], pairs), at(builder, gx, wide, row), 2 * lanes)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), call

    return typed


def _best(lanes):  # type: ignore[no-untyped-def]
    """Typing function: maxima over windows of 2 x 2 side by side, by addresses; x's rows have `wide` bytes. NaN wins."""

    def typed(typingctx, x, wide, y):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            def larger(a, b):  # type: ignore[no-untyped-def]
                chosen = builder.or_(builder.fcmp_ordered(">", a, b), builder.fcmp_unordered("uno", a, a))
                return builder.select(chosen, a, b)

            x, wide, y = args
            line = larger(load(builder, x, 2 * lanes), load(builder, at(builder, x, wide, 1), 2 * lanes))
            pair = [shuffle(builder, line, line, range(first, 2 * lanes, 2)) for first in (0, 1)]
            store(builder, larger(*pair), y, lanes)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3), call

    return typed


_share_eight, _share_four = intrinsic(_share(8)), intrinsic(_share(4))
_best_eight, _best_four = intrinsic(_best(8)), intrinsic(_best(4))


@exact
def max_pool_of_two(x, y):  # type: ignore[no-untyped-def]
    """Maxima over windows of 2 x 2 side by side, at least four of them in a row."""
    width, line = y.shape[2], 4 * x.shape[2]
    lanes = 4 if width < 8 else 8
    for p in range(y.shape[0]):
        source, to = address_of(x[p]), address_of(y[p])
        for i in range(y.shape[1]):
            for k in range(0, width, lanes):
                j = min(k, width - lanes)  # the last may do again what the one before has done
                if lanes == 8:
                    _best_eight(source + 2 * (i * line + 4 * j), line, to + 4 * (i * width + j))
                else:
                    _best_four(source + 2 * (i * line + 4 * j), line, to + 4 * (i * width + j))


@exact_inline
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
    high, wide, width = kernel[0], kernel[1], y.shape[2]
    left, zero, line = np.empty(width, np.float32), np.float32(0), 4 * x.shape[2]
    lanes = 0 if high != 2 or wide != 2 or width < 4 else 4 if width < 8 else 8
    for p in range(y.shape[0]):
        source, to = address_of(x[p]), address_of(gx[p])
        for i in range(y.shape[1]):
            best, gradient = y[p, i], g[p, i]
            for k in range(0, width if lanes else 0, max(lanes, 1)):
                j = min(k, width - lanes)  # the last may do again what the one before has done
                first, b, d = 2 * (i * line + 4 * j), address_of(best) + 4 * j, address_of(gradient) + 4 * j
                if lanes == 8:
                    _share_eight(source + first, b, d, to + first, line)
                else:
                    _share_four(source + first, b, d, to + first, line)
            for j in range(0 if lanes else width):
                left[j] = gradient[j]
            for a in range(i * high, (i + 1) * high):
                row, out = x[p, a], gx[p, a]
                for j in range(0 if lanes else width * wide):
                    hit = row[j] == best[j // wide] or row[j] != row[j]
                    out[j] = left[j // wide] if hit else zero
                    left[j // wide] = zero if hit else left[j // wide]
                for j in range(width * wide, out.size):
                    out[j] = zero
        for a in range(y.shape[1] * high, x.shape[1]):
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
