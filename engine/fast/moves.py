"""Moves of several floats between addresses, which LLVM turns into vector instructions whatever surrounds them.

They check nothing: callers see to it that both places lie in arrays. Strides are in bytes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic
LANES = 16  # floats of a move
TILE = 8  # rows and columns that `transpose` turns

_EVEN = [2 * i for i in range(LANES)]
_STAGES = (  # pairs of rows so far apart, and which of both rows' elements the two results take
    (1, (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)),
    (2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)),
    (4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
)
_ORDER = (0, 2, 1, 3, 4, 6, 5, 7)  # where the columns are after the last


def pointer(builder: Any, address: Any, lanes: int) -> Any:
    return builder.inttoptr(address, ir.VectorType(ir.FloatType(), lanes).as_pointer())


def load(builder: Any, address: Any, lanes: int = LANES) -> Any:
    value = builder.load(pointer(builder, address, lanes))
    value.align = 4
    return value


def store(builder: Any, value: Any, address: Any, lanes: int = LANES) -> None:
    builder.store(value, pointer(builder, address, lanes)).align = 4


def shuffle(builder: Any, a: Any, b: Any, places: Any) -> Any:
    kind = ir.VectorType(ir.IntType(32), len(places))
    return builder.shuffle_vector(a, b, ir.Constant(kind, list(places)))


def at(builder: Any, start: Any, stride: Any, i: int) -> Any:
    """The address of row i."""
    return builder.add(start, builder.mul(stride, ir.Constant(stride.type, i)))


def transposed(builder: Any, rows: list) -> list:
    """The columns of TILE vectors."""
    for apart, low, high in _STAGES:
        made = list(rows)
        for i in (i for i in range(TILE) if not i & apart):
            made[i] = shuffle(builder, rows[i], rows[i + apart], low)
            made[i + apart] = shuffle(builder, rows[i], rows[i + apart], high)
        rows = made
    return [rows[i] for i in _ORDER]


@intrinsic
def address_of(typingctx, array):  # type: ignore[no-untyped-def]
    """Where an array's first element is. A fraction of what `array.ctypes.data` costs the compiler, and no unsigned number."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ptrtoint(builder.extract_value(args[0], 4), ir.IntType(64))  # 4: `data` of numba's ArrayModel

    return types.intp(array), call


@intrinsic
def move(typingctx, to, source):  # type: ignore[no-untyped-def]
    """Copy LANES floats."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        store(builder, load(builder, args[1]), args[0])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), call


@intrinsic
def move_tile(typingctx, to, source):  # type: ignore[no-untyped-def]
    """Copy TILE floats."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        store(builder, load(builder, args[1], TILE), args[0], TILE)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), call


@intrinsic
def move_one(typingctx, to, source):  # type: ignore[no-untyped-def]
    """Copy one float."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        store(builder, load(builder, args[1], 1), args[0], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), call


@intrinsic
def move_even(typingctx, to, source):  # type: ignore[no-untyped-def]
    """Copy every other one of 2 * LANES floats."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        both = load(builder, args[1], 2 * LANES)
        store(builder, shuffle(builder, both, both, _EVEN), args[0])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), call


@intrinsic
def clear_tile(typingctx, to):  # type: ignore[no-untyped-def]
    """TILE zeros."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        store(builder, ir.Constant(ir.VectorType(ir.FloatType(), TILE), None), args[0], TILE)
        return context.get_dummy_value()

    return types.void(types.intp), call


@intrinsic
def clear(typingctx, to):  # type: ignore[no-untyped-def]
    """LANES zeros."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        store(builder, ir.Constant(ir.VectorType(ir.FloatType(), LANES), None), args[0])
        return context.get_dummy_value()

    return types.void(types.intp), call


@intrinsic
def fetch(typingctx, to):  # type: ignore[no-untyped-def]
    """Ask for the cache line at an address, which will be written."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        builder.call(function, [builder.inttoptr(args[0], byte), word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(types.intp), call


@intrinsic
def transpose(typingctx, to, to_stride, source, source_stride):  # type: ignore[no-untyped-def]
    """Copy TILE rows of TILE floats as columns."""

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        to, to_stride, source, source_stride = args
        rows = [load(builder, at(builder, source, source_stride, i), TILE) for i in range(TILE)]
        for i, column in enumerate(transposed(builder, rows)):
            store(builder, column, at(builder, to, to_stride, i), TILE)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), call
