"""The transforms of Winograd's F(2 x 2, 3 x 3) and F(2 x 2, 2 x 2) (Lavin and Gray 2015) on vectors of tiles.

Between addresses, as in moves.py. The 16 or 9 numbers of a transformed tile or kernel are `apart` bytes from each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from .moves import LANES, TILE, at, intrinsic, load, shuffle, store, transposed

_LOW = [i // 2 + LANES * (i % 2) for i in range(LANES)]  # even and odd columns of an image in turn
_LOW_WITHIN = [*range(TILE), *range(LANES, LANES + TILE)]  # the same where columns have TILE images each
_BOTH = {False: (_LOW, [i + LANES // 2 for i in _LOW]), True: (_LOW_WITHIN, [i + TILE for i in _LOW_WITHIN])}


def _grid(transform: Callable, rows: list) -> list:
    """A transform of lists, along both dimensions of a list of rows."""
    return [transform(list(row)) for row in zip(*[transform(list(column)) for column in zip(*rows)])]


def _spread(b: Any) -> Callable:
    """B' of four, or of three."""

    def transform(d: list) -> list:
        if len(d) == 3:
            return [b.fsub(d[0], d[1]), d[1], b.fsub(d[2], d[1])]
        return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[3], d[1])]

    return transform


def _gather(b: Any) -> Callable:
    """A' of four, or of three."""

    def transform(m: list) -> list:
        if len(m) == 3:
            return [b.fadd(m[0], m[1]), b.fadd(m[1], m[2])]
        return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fadd(b.fsub(m[1], m[2]), m[3])]

    return transform


def _widen(b: Any, size: int) -> Callable:
    """A of two, to `size` numbers."""
    return lambda g: [g[0], b.fadd(g[0], g[1]), *([b.fsub(g[0], g[1])] if size == 4 else []), g[1]]


def _half(b: Any, value: Any) -> Any:
    return b.fmul(value, ir.Constant(value.type, [0.5] * value.type.count))


def _kernel(b: Any) -> Callable:
    """G of three."""

    def transform(w: list) -> list:
        even, odd = _half(b, b.fadd(w[0], w[2])), _half(b, w[1])
        return [w[0], b.fadd(even, odd), b.fsub(even, odd), w[2]]

    return transform


def _kernel_gradient(b: Any) -> Callable:
    """G' of four."""

    def transform(u: list) -> list:
        even, odd = _half(b, b.fadd(u[1], u[2])), _half(b, b.fsub(u[1], u[2]))
        return [b.fadd(u[0], even), odd, b.fadd(even, u[3])]

    return transform


def _square(values: list) -> list:
    side = 4 if len(values) == 16 else 3
    return [values[i : i + side] for i in range(0, len(values), side)]


def _write(builder: Any, grid: list, to: Any, apart: Any, lanes: int) -> None:
    for i, value in enumerate(sum(grid, [])):
        store(builder, value, at(builder, to, apart, i), lanes)


def _input_tiles(count: int) -> Callable:
    """Typing function: B' d B of LANES tiles d; element k is `offsets[k]` floats from `source` (an address of integers)."""

    def typed(typingctx, to, apart, source, offsets):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            to, apart, source, offsets = args
            size = ir.IntType(64)
            tile = []
            for k in range(count):
                pointer = builder.inttoptr(builder.add(offsets, size(8 * k)), size.as_pointer())
                tile.append(load(builder, builder.add(source, builder.mul(builder.load(pointer), size(4)))))
            _write(builder, _grid(_spread(builder), _square(tile)), to, apart, LANES)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), call

    return typed


input_tiles, small_input_tiles = intrinsic(_input_tiles(16)), intrinsic(_input_tiles(9))


def _output_tiles(count: int, within: bool) -> Callable:
    """Typing function: A' m A of LANES tiles, plus a bias, as two rows of 2 * LANES pixels."""

    def typed(typingctx, to, below, source, apart, bias):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            to, below, source, apart, bias = args
            one = load(builder, bias, 1)
            shift = shuffle(builder, one, one, [0] * LANES)
            found = _grid(_gather(builder), _square([load(builder, at(builder, source, apart, k)) for k in range(count)]))
            for i, row in enumerate(found):
                even, odd = (builder.fadd(value, shift) for value in row)
                for j, places in enumerate(_BOTH[within]):
                    start = builder.add(at(builder, to, below, i), ir.Constant(to.type, 4 * LANES * j))
                    store(builder, shuffle(builder, even, odd, places), start)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), call

    return typed


# (to, bytes to the second row, source, apart, the bias's address); `within`: for TILE images innermost
output_tiles, output_tiles_within = intrinsic(_output_tiles(16, False)), intrinsic(_output_tiles(16, True))
small_output_tiles, small_output_tiles_within = intrinsic(_output_tiles(9, False)), intrinsic(_output_tiles(9, True))


def _gradient_tiles(size: int) -> Callable:
    """Typing function: A g A' of 2 x 2 tiles of LANES outputs; the four pixels are `between` bytes from each other."""

    def typed(typingctx, to, apart, source, between):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            to, apart, source, between = args
            g = [load(builder, at(builder, source, between, i)) for i in range(4)]
            _write(builder, _grid(_widen(builder, size), [g[:2], g[2:]]), to, apart, LANES)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), call

    return typed


gradient_tiles, small_gradient_tiles = intrinsic(_gradient_tiles(4)), intrinsic(_gradient_tiles(3))


def _kernels(mirrored: bool) -> Callable:
    """Typing function: G w G' of TILE kernels of nine floats that are `stride` bytes from each other."""

    def typed(typingctx, to, apart, source, stride):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            to, apart, source, stride = args
            rows = [at(builder, source, stride, i) for i in range(TILE)]
            taps = transposed(builder, [load(builder, row, TILE) for row in rows])
            last = ir.Constant(taps[0].type, ir.Undefined)
            for i, row in enumerate(rows):
                pointer = builder.inttoptr(builder.add(row, ir.Constant(row.type, 4 * TILE)), ir.FloatType().as_pointer())
                last = builder.insert_element(last, builder.load(pointer), ir.IntType(32)(i))
            taps.append(last)
            taps = taps[::-1] if mirrored else taps
            _write(builder, _grid(_kernel(builder), [taps[:3], taps[3:6], taps[6:]]), to, apart, TILE)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), call

    return typed


kernel_tiles = intrinsic(_kernels(False))
mirrored_kernel_tiles = intrinsic(_kernels(True))  # of kernels turned by 180 degrees


@intrinsic
def kernel_gradient_tiles(typingctx, to, stride, source, apart):  # type: ignore[no-untyped-def]
    """G' u G of TILE transformed kernels' gradients, as rows of nine floats, `stride` bytes from each other."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        to, stride, source, apart = args
        tile = _square([load(builder, at(builder, source, apart, k), TILE) for k in range(16)])
        found: list = sum(_grid(_kernel_gradient(builder), tile), [])
        for i, row in enumerate(transposed(builder, found[:TILE])):
            start = at(builder, to, stride, i)
            store(builder, row, start, TILE)
            pointer = builder.inttoptr(builder.add(start, ir.Constant(start.type, 4 * TILE)), ir.FloatType().as_pointer())
            builder.store(builder.extract_element(found[TILE], ir.IntType(32)(i)), pointer)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), call


def _small_kernel(b: Any) -> Callable:
    """G of two."""
    return lambda w: [w[0], b.fadd(w[0], w[1]), w[1]]


def _small_kernel_gradient(b: Any) -> Callable:
    """G' of three."""
    return lambda u: [b.fadd(u[0], u[1]), b.fadd(u[1], u[2])]


_CORNERS = [[p + 8 * i + 2 * j for p in (0, 1, 4, 5)] for i in range(2) for j in range(2)]  # of the four halves


@intrinsic
def half_kernel_tiles(typingctx, to, apart, source):  # type: ignore[no-untyped-def]
    """G w G' of the four halves of four kernels of 4 x 4, which lie one after the other."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        to, apart, source = args
        kernels = [load(builder, builder.add(source, ir.Constant(source.type, 64 * i))) for i in range(4)]
        taps = []
        for places in _CORNERS:  # an element of all halves of a kernel, of two kernels, of four
            pairs = [shuffle(builder, a, b, [*places, *[LANES + p for p in places]]) for a, b in (kernels[:2], kernels[2:])]
            taps.append(shuffle(builder, pairs[0], pairs[1], list(range(LANES))))
        _write(builder, _grid(_small_kernel(builder), [taps[:2], taps[2:]]), to, apart, LANES)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), call


@intrinsic
def mirrored_half_tiles(typingctx, to, between, apart, source, stride):  # type: ignore[no-untyped-def]
    """G w G' of the halves of TILE kernels of 4 x 4, turned by 180 degrees; halves go `between` bytes from each other."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        to, between, apart, source, stride = args
        taps = []
        for i in range(2):
            start = builder.add(source, ir.Constant(source.type, 4 * TILE * i))
            taps += transposed(builder, [load(builder, at(builder, start, stride, j), TILE) for j in range(TILE)])
        for half in range(4):
            k = half // 2 * 4 + half % 2
            grid = _grid(_small_kernel(builder), [[taps[k + 10], taps[k + 8]], [taps[k + 2], taps[k]]])
            _write(builder, grid, at(builder, to, between, half), apart, TILE)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), call


@intrinsic
def half_gradient_tiles(typingctx, to, stride, source, between, apart):  # type: ignore[no-untyped-def]
    """G' u G of the halves of TILE kernels' gradients, as rows of 16 floats, `stride` bytes from each other."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        to, stride, source, between, apart = args
        taps: list = [None] * 16
        for half in range(4):
            start, k = at(builder, source, between, half), half // 2 * 4 + half % 2
            tile = _square([load(builder, at(builder, start, apart, i), TILE) for i in range(9)])
            (taps[k], taps[k + 2]), (taps[k + 8], taps[k + 10]) = _grid(_small_kernel_gradient(builder), tile)
        for i in range(2):
            for j, row in enumerate(transposed(builder, taps[TILE * i : TILE * (i + 1)])):
                store(builder, row, builder.add(at(builder, to, stride, j), ir.Constant(to.type, 4 * TILE * i)), TILE)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), call
