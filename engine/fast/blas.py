"""Products of matrices inside compiled kernels, by the OpenBLAS that NumPy has loaded (one thread: `pool.blas_limit`).

OpenBLAS has kernels for small products that read their operands where they lie, without packing them first. On a Zen 4
core they run at 115 GFLOP/s where one call for the same large product runs at 97, so a product here is a loop over
panels of the right operand, each small enough for those kernels and contiguous in memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib import import_module
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import inline

_ROW_MAJOR, PLAIN, _TRANSPOSED = 101, 111, 112  # of cblas.h
SMALL = 1_000_000  # rows * inner * columns of the largest product that OpenBLAS does without packing
_WIDTH = 64


def address() -> int:
    """Where NumPy's `cblas_sgemm` lies, to be handed to kernels: compiled code on disk must not contain it. 0: not found.

    Only the name with 64-bit integers is looked for, since that is how it is called here.
    """
    library = ctypes.PyDLL(import_module("numpy.linalg._umath_linalg").__file__)
    for name in ("scipy_cblas_sgemm64_", "cblas_sgemm64_"):
        function = getattr(library, name, None)
        if function is not None:
            return ctypes.cast(function, ctypes.c_void_p).value or 0
    return 0


def _caller(beta: float) -> Callable:
    """The typing function of an intrinsic that makes c = a @ b + beta * c."""

    def typed(typingctx, where, a_kind, m, n, k, a, lda, b, ldb, c, ldc):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            where, a_kind, m, n, k, a, lda, b, ldb, c, ldc = args
            enum, size, real, pointer = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.IntType(8).as_pointer()
            kinds = [enum] * 3 + [size] * 3 + [real, pointer, size, pointer, size, real, pointer, size]
            function = builder.inttoptr(where, ir.FunctionType(ir.VoidType(), kinds).as_pointer())
            a, b, c = (builder.inttoptr(x, pointer) for x in (a, b, c))
            head = [enum(_ROW_MAJOR), builder.trunc(a_kind, enum), enum(PLAIN), m, n, k]
            builder.call(function, [*head, real(1.0), a, lda, b, ldb, real(beta), c, ldc])
            return context.get_dummy_value()

        return types.void(*[types.intp] * 11), call

    return typed


# For row-major matrices at the addresses a (`a_kind` says whether it is transposed), b and c.
sgemm: Any = intrinsic(_caller(1.0))  # c += a @ b
set_sgemm: Any = intrinsic(_caller(0.0))  # c = a @ b


@inline
def add_product(where, a, panels, c):  # type: ignore[no-untyped-def]
    """c += a @ b, where `panels` (count, inner, width) holds b's columns side by side; rows of a and c may be strided."""
    m, inner = a.shape
    count, _, width = panels.shape
    if m == 0:
        return
    longest = max(1, SMALL // (m * width))
    lda, ldc = a.strides[0] // 4, c.strides[0] // 4
    for p in range(count):
        to = c.ctypes.data + 4 * p * width
        panel = panels.ctypes.data + 4 * p * inner * width
        for k in range(0, inner, longest):
            depth = min(longest, inner - k)
            sgemm(where, PLAIN, m, width, depth, a.ctypes.data + 4 * k, lda, panel + 4 * k * width, width, to, ldc)


@inline
def add_transposed_product(where, a, first, b, c):  # type: ignore[no-untyped-def]
    """c += a[:, first : first + len(c)].T @ b: the product of a weight's gradient, with many rows in a and b."""
    inner, m = len(a), len(c)
    lda, ldb, ldc = a.strides[0] // 4, b.strides[0] // 4, c.strides[0] // 4
    columns = b.shape[1]
    depth = max(1, SMALL // (m * _WIDTH))
    for k in range(0, inner, depth):
        for j in range(0, columns, _WIDTH):
            from_a = a.ctypes.data + 4 * (k * lda + first)
            from_b = b.ctypes.data + 4 * (k * ldb + j)
            size = min(depth, inner - k)
            sgemm(where, _TRANSPOSED, m, min(_WIDTH, columns - j), size, from_a, lda, from_b, ldb, c.ctypes.data + 4 * j, ldc)
