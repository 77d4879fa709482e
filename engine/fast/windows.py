"""Depthwise convolutions of (N, C, H, W) with kernels of 3 x 3 that keep the image's size; engine/ops/_depthwise.py explains.

An image is laid out as it is in memory, as a run of numbers with a row of zeros before and behind. What a window sees left or
right of the image is the end of another row there, and is left out by a mask. Everything goes by addresses, LANES elements at
a time (`moves`), since images may be as small as that: what surrounds a loop of NumPy's costs more than its elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .jit import kernel, part
from .layouts import ONE
from .moves import LANES, address_of, intrinsic, load, move, move_one, shuffle, store

STEP, LONG = 4 * LANES, 1024  # bytes of a move; elements after which sums in float32 go on in float64
_FLOATS, _BYTES = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(8), LANES)


def _masked(builder: Any, value: Any, mask: Any) -> Any:
    """`value`, with zeros where the bytes at the address `mask` are 0."""
    pointer = builder.inttoptr(mask, _BYTES.as_pointer())
    kept = builder.load(pointer)
    kept.align = 1
    return builder.select(builder.icmp_unsigned("!=", kept, ir.Constant(_BYTES, None)), value, ir.Constant(_FLOATS, None))


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c."""
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))


def _places(builder: Any, run: Any, row: Any) -> list:
    """The addresses of a window's nine elements."""
    lines = [run, builder.add(run, row), builder.add(run, builder.add(row, row))]
    return [builder.add(line, ir.Constant(line.type, 4 * b)) for line in lines for b in range(3)]


@intrinsic
def _filter(typingctx, run, row, weights, shift, left, right, out):  # type: ignore[no-untyped-def]
    """Sums over the windows of LANES elements, the first of which begins at `run`; rows are so many bytes long."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        run, row, weights, shift, left, right, out = args

        def everywhere(address: Any) -> Any:
            one = load(builder, address, 1)
            one.set_metadata("invariant.load", builder.module.add_metadata([]))  # so it stays in a register
            return shuffle(builder, one, one, [0] * LANES)

        sums = [ir.Constant(_FLOATS, None), everywhere(shift), ir.Constant(_FLOATS, None)]
        for k, place in enumerate(_places(builder, run, row)):
            weight = everywhere(builder.add(weights, ir.Constant(weights.type, 4 * k)))
            sums[k % 3] = _fused(builder, load(builder, place), weight, sums[k % 3])
        beside = builder.fadd(_masked(builder, sums[0], left), _masked(builder, sums[2], right))
        store(builder, builder.fadd(sums[1], beside), out)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), call


@intrinsic
def _correlate(typingctx, run, row, g, left, right, sums):  # type: ignore[no-untyped-def]
    """Add LANES gradients times what their windows see to the nine vectors `sums`."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        run, row, g, left, right, sums = args
        here = load(builder, g)
        factors = [_masked(builder, here, left), here, _masked(builder, here, right)]
        for k, place in enumerate(_places(builder, run, row)):
            to = builder.add(sums, ir.Constant(sums.type, STEP * k))
            store(builder, _fused(builder, load(builder, place), factors[k % 3], load(builder, to)), to)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), call


def _apart(lanes: int) -> Any:
    """Typing function: `lanes` floats to every other place, with zeros between."""

    def typed(typingctx, to, source):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            value, zeros = load(builder, args[1], lanes), ir.Constant(ir.VectorType(ir.FloatType(), lanes), None)
            store(builder, shuffle(builder, value, zeros, [p for i in range(lanes) for p in (i, lanes)]), args[0], 2 * lanes)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), call

    return typed


def _even(lanes: int) -> Any:
    """Typing function: every other one of 2 * `lanes` floats."""

    def typed(typingctx, to, source):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            both = load(builder, args[1], 2 * lanes)
            store(builder, shuffle(builder, both, both, range(0, 2 * lanes, 2)), args[0], lanes)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), call

    return typed


_apart_four, _apart_eight, _even_four, _even_eight = (intrinsic(f(n)) for f in (_apart, _even) for n in (4, 8))


@part
def _lay(source, sizes, step, width, plane):  # type: ignore[no-untyped-def]
    """An image to every `step`th (1 or 2) element of a plane of zeros with rows of `width`."""
    height, count = sizes
    if step == 1:
        last = 4 * (height * count - LANES)
        for j in range(0, last + STEP, STEP):
            move(plane + min(j, last), source + min(j, last))
        return
    for i in range(height):
        at, to, j = source + 4 * i * count, plane + 8 * i * width, 0
        while j + 8 <= count and 2 * j + 16 <= width:
            _apart_eight(to + 8 * j, at + 4 * j)
            j += 8
        while j + 4 <= count and 2 * j + 8 <= width:
            _apart_four(to + 8 * j, at + 4 * j)
            j += 4
        while j < count:
            move_one(to + 8 * j, at + 4 * j)
            j += 1


@part
def _take(source, width, sizes, to):  # type: ignore[no-untyped-def]
    """Every other element of every other row of a plane with rows of `width`."""
    height, count = sizes
    for i in range(height):
        at, line, j = source + 8 * i * width, to + 4 * i * count, 0
        while j + 8 <= count and 2 * j + 16 <= width:
            _even_eight(line + 4 * j, at + 8 * j)
            j += 8
        while j + 4 <= count and 2 * j + 8 <= width:
            _even_four(line + 4 * j, at + 8 * j)
            j += 4
        while j < count:
            move_one(line + 4 * j, at + 8 * j)
            j += 1


@part
def _edges(width, left, right):  # type: ignore[no-untyped-def]
    """Which elements of an image have a neighbour to the left, and to the right."""
    for j in range(left.size):
        left[j], right[j] = j % width != 0, j % width != width - 1


@kernel
def filtered(x, taps, bias, height, width, step, taken, c0, c1, out):  # type: ignore[no-untyped-def]
    """Sums over windows times `taps` (C, 9), plus the bias, at every `taken`th element of images of these sizes.

    `x` is every `step`th element of the images. For channels c0 to c1.
    """
    size, row = height * width, 4 * width
    left, right = np.empty(size, np.bool_), np.empty(size, np.bool_)
    run, total = np.zeros(size + 2 * width + 2, np.float32), np.empty(size, np.float32)
    _edges(width, left, right)
    start, sums = address_of(run), address_of(total)
    before, after = address_of(left), address_of(right)
    for c in range(c0, c1):
        weights, shift = address_of(taps) + 36 * c, address_of(bias) + 4 * c
        for n in range(x.shape[0]):
            source = address_of(x) + n * x.strides[0] + c * x.strides[1]
            to = address_of(out) + n * out.strides[0] + c * out.strides[1]
            _lay(source, x.shape[2:], step, width, start + row + 4)
            into = to if taken == 1 else sums
            for k in range(0, size, LANES):
                j = min(k, size - LANES)  # the last may do again what the one before has done
                _filter(start + 4 * j, row, weights, shift, before + j, after + j, into + 4 * j)
            if taken == 2:
                _take(sums, width, out.shape[2:], to)


@part
def _flush(sums, totals):  # type: ignore[no-untyped-def]
    """Add vectors of sums to `totals`, and begin anew."""
    for i in range(9):
        total = np.float32(0)
        for j in range(LANES):
            total += sums[i, j]
        totals[i] += total
    sums[:] = 0


@kernel
def correlated(g, step, x, c0, c1, gw):  # type: ignore[no-untyped-def]
    """The kernels' gradients `gw` (C, 9), for channels c0 to c1; `g` belongs to every `step`th element of `x`."""
    width, row = x.shape[3], 4 * x.shape[3]
    size = x.shape[2] * width
    room = -(-size // LANES) * LANES
    left, right = np.zeros(room, np.bool_), np.zeros(room, np.bool_)
    run, spread = np.zeros(room + 2 * width + 2, np.float32), np.zeros(room, np.float32)
    sums, totals = np.zeros((9, LANES), np.float32), np.empty(9, np.float64)
    _edges(width, left, right)
    start, gradient, held = address_of(run), address_of(spread), address_of(sums)
    before, after = address_of(left), address_of(right)
    for c in range(c0, c1):
        totals[:], done = 0, 0
        for n in range(x.shape[0]):
            _lay(address_of(x) + n * x.strides[0] + c * x.strides[1], x.shape[2:], ONE, width, start + row + 4)
            _lay(address_of(g) + n * g.strides[0] + c * g.strides[1], g.shape[2:], step, width, gradient)
            for j in range(0, room, LANES):
                _correlate(start + 4 * j, row, gradient + 4 * j, before + j, after + j, held)
            done += room
            if done >= LONG or n == x.shape[0] - 1:
                _flush(sums, totals)
                done = 0
        for i in range(9):
            gw[c, i] = totals[i]
