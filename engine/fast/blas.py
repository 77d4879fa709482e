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

_ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # of cblas.h
SMALL = 1_000_000  # rows * inner * columns of the largest product that OpenBLAS does without packing


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
