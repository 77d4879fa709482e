"""Products of matrices in registers, for right operands that are laid out once and used many times.

Such a matrix is cut into panels of a few vectors' width (`pack`). A tile of some rows of the left operand times a panel keeps
its sums in registers while the inner index runs, so each row's sums are added up in the same order whatever the tiles are.
Between addresses, as in moves.py; strides are in bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .functions import ZERO
from .jit import features, inline, kernel, part
from .moves import TILE, at, intrinsic, load, move_one, shuffle, store, transpose

_WORD, _SIZE, _REAL = ir.IntType(32), ir.IntType(64), ir.FloatType()


def _registers() -> tuple[int, int]:
    """Floats in a vector, and rows of a tile whose sums of four vectors fit the registers with room for operands."""
    found = features()
    if "+avx512f" in found:
        return 16, 6
    return (8, 3) if "+avx" in found else (4, 6 if "+neon" in found else 3)


LANES, ROWS = _registers()
WIDE, NARROW = 4, 3  # vectors in a panel
DEPTH = 128  # rows of both operands of a weight's gradient that are in use at a time


def _tile(b: ir.IRBuilder, rows: int, vectors: int, to: tuple, start: tuple, left: tuple, right: tuple, n: ir.Value) -> None:
    """One tile; operands are (address, stride of rows), of `left` also that of the inner index."""
    kind = ir.VectorType(_REAL, LANES)
    add_product = cgutils.get_or_insert_function(b.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fmuladd.v{LANES}f32")

    def across(address: ir.Value) -> list:
        return [b.add(address, _SIZE(4 * LANES * v)) for v in range(vectors)]

    first = [[load(b, place, LANES) for place in across(at(b, start[0], start[1], r))] for r in range(rows)]
    before, loop, after = b.block, b.append_basic_block(), b.append_basic_block()
    b.branch(loop)
    b.position_at_end(loop)
    k, a, row = (b.phi(_SIZE) for _ in range(3))
    sums = [[b.phi(kind) for _ in range(vectors)] for _ in range(rows)]
    nexts = []
    values = [load(b, place, LANES) for place in across(row)]
    for r in range(rows):
        one = load(b, at(b, a, left[1], r), 1)
        factor = shuffle(b, one, one, [0] * LANES)
        nexts.append([b.call(add_product, [factor, value, total]) for value, total in zip(values, sums[r], strict=True)])
    more = b.add(k, _SIZE(1))
    pairs = [(k, _SIZE(0), more), (a, left[0], b.add(a, left[2])), (row, right[0], b.add(row, right[1]))]
    for r in range(rows):
        pairs += zip(sums[r], first[r], nexts[r], strict=True)
    for phi, initial, following in pairs:
        phi.add_incoming(initial, before)
        phi.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", more, n), loop, after)
    b.position_at_end(after)
    for r in range(rows):
        for value, place in zip(nexts[r], across(at(b, to[0], to[1], r)), strict=True):
            store(b, value, place, LANES)


def _tiles(vectors: int) -> Callable:
    """The typing function of an intrinsic that makes a tile of 1 to ROWS rows; the inner index must not be empty."""

    def typed(typingctx, to, to_row, start, start_row, a, a_row, a_next, b, b_row, n, rows):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            to, to_row, start, start_row, a, a_row, a_next, b, b_row, n, rows = args
            end = builder.append_basic_block()
            choice = builder.switch(rows, end)
            for count in range(1, ROWS + 1):
                block = builder.append_basic_block()
                choice.add_case(_SIZE(count), block)
                builder.position_at_end(block)
                _tile(builder, count, vectors, (to, to_row), (start, start_row), (a, a_row, a_next), (b, b_row), n)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 11), call

    return typed


_wide_tile, _narrow_tile = intrinsic(_tiles(WIDE)), intrinsic(_tiles(NARROW))


@part
def multiply(vectors, to, to_row, start, start_row, a, a_row, a_next, b, b_row, n, rows):  # type: ignore[no-untyped-def]
    """to = start + a @ b of so many rows, `vectors` wide; n, the inner index, at least 1."""
    count = (rows + ROWS - 1) // ROWS
    for t in range(count):
        i, end = rows * t // count, rows * (t + 1) // count
        place, first, left = to + i * to_row, start + i * start_row, a + i * a_row
        if vectors == WIDE:
            _wide_tile(place, to_row, first, start_row, left, a_row, a_next, b, b_row, n, end - i)
        else:
            _narrow_tile(place, to_row, first, start_row, left, a_row, a_next, b, b_row, n, end - i)


@inline
def unit_of(vector, vectors, gates):  # type: ignore[no-untyped-def]
    """The gate and the first unit of a vector of columns. Panels of several gates hold the same units of each."""
    if gates == 1:
        return 0, vector * LANES
    return vector % vectors, vector // vectors * LANES


@part
def _turn(source, source_row, to, to_row, rows, columns):  # type: ignore[no-untyped-def]
    """Copy rows as columns."""
    for i in range(0, rows, TILE):
        for j in range(0, columns, TILE):
            corner, start = to + j * to_row + 4 * i, source + i * source_row + 4 * j
            if i + TILE <= rows and j + TILE <= columns:
                transpose(corner, to_row, start, source_row)
                continue
            for k in range(min(TILE, rows - i)):
                for m in range(min(TILE, columns - j)):
                    move_one(corner + m * to_row + 4 * k, start + k * source_row + 4 * m)


@kernel
def pack(w, gates, packed):  # type: ignore[no-untyped-def]
    """The transpose of `w` (gates * units, inner) as panels (count, inner, vectors * LANES), filled up with zeros."""
    units, inner, vectors = len(w) // gates, w.shape[1], packed.shape[2] // LANES
    packed[:] = ZERO
    for v in range(len(packed) * vectors):
        gate, unit = unit_of(v, vectors, gates)
        source = w.ctypes.data + (gate * units + unit) * w.strides[0]
        to = packed.ctypes.data + v // vectors * packed.strides[0] + 4 * LANES * (v % vectors)
        _turn(source, w.strides[0], to, packed.strides[1], min(LANES, units - unit), inner)


@kernel
def pack_rows(w, gates, packed):  # type: ignore[no-untyped-def]
    """`w` (gates * units, columns) as panels (count, inner, WIDE * LANES) of columns; inner goes as columns do for `pack`."""
    units, columns, width = len(w) // gates, w.shape[1], packed.shape[2]
    vectors = WIDE if gates == 1 else gates
    packed[:] = ZERO
    for k in range(packed.shape[1]):
        gate, unit = unit_of(k // LANES, vectors, gates)
        unit += k % LANES
        if unit < units:
            row = w[gate * units + unit]
            for p in range(len(packed)):
                to, source = packed[p, k], row[p * width : min(columns, (p + 1) * width)]
                for j in range(source.size):
                    to[j] = source[j]


@kernel
def weight_gradient(pre, gates, x, first, last, out, bias):  # type: ignore[no-untyped-def]
    """The gradient `out` (gates * units, columns) of a weight, and of a bias unless it is empty: of panels first to last.

    `pre` (rows, at least count * vectors * LANES) are the gradients of sums in the order of `pack`; `x` has (rows, columns).
    """
    vectors = WIDE if gates == 1 else gates
    units, columns, width = len(out) // gates, out.shape[1], vectors * LANES
    total, one = np.zeros((last - first, columns + 1, width), np.float32), np.ones(1, np.float32)
    for k in range(0, len(pre), DEPTH):
        n = min(DEPTH, len(pre) - k)
        for p in range(first, last):
            to = total[p - first].ctypes.data
            source = pre.ctypes.data + k * pre.strides[0] + 4 * p * width
            multiply(vectors, to, 4 * width, to, 4 * width, x.ctypes.data + k * x.strides[0], 4, x.strides[0],
                     source, pre.strides[0], n, columns)  # fmt: skip
            if bias.size:
                to += 4 * columns * width
                multiply(vectors, to, 0, to, 0, one.ctypes.data, 0, 0, source, pre.strides[0], n, 1)
    for v in range(first * vectors, last * vectors):
        gate, unit = unit_of(v, vectors, gates)
        row, count = gate * units + unit, min(LANES, units - unit)
        found, at = total[v // vectors - first], LANES * (v % vectors)
        _turn(found.ctypes.data + 4 * at, 4 * width, out.ctypes.data + row * out.strides[0], out.strides[0], columns, count)
        if bias.size:
            for i in range(count):
                bias[row + i] = found[columns, at + i]
