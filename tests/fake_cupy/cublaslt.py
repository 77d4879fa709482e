"""`nvmath.bindings.cublasLt` on the host: products computed from the descriptors, as the library would read them."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np

from . import capture, state

matmul_heuristic_result_dtype = np.dtype([("algo", "u8", 8), ("workspace_size", "u8"), ("state", "i4"), ("waves", "f4")])
_TYPES = {0: np.dtype("f4"), 1: np.dtype("f8"), 2: np.dtype("f2"), 14: np.dtype(ml_dtypes.bfloat16)}


class MatmulDescAttribute(enum.IntEnum):
    """Names as nvmath has them."""

    TRANSA = 3
    TRANSB = 4
    EPILOGUE = 7
    BIAS_POINTER = 8


class MatrixLayoutAttribute(enum.IntEnum):
    BATCH_COUNT = 5
    STRIDED_BATCH_OFFSET = 6


class MatmulPreferenceAttribute(enum.IntEnum):
    MAX_WORKSPACE_BYTES = 1
    MIN_ALIGNMENT_A_BYTES = 5
    MIN_ALIGNMENT_B_BYTES = 6


class Epilogue(enum.IntEnum):
    DEFAULT = 1
    BIAS = 4


_SIZES: dict[Any, tuple[int, type]] = {
    MatmulDescAttribute.TRANSA: (4, ctypes.c_int32), MatmulDescAttribute.TRANSB: (4, ctypes.c_int32),
    MatmulDescAttribute.EPILOGUE: (4, ctypes.c_int32), MatmulDescAttribute.BIAS_POINTER: (8, ctypes.c_uint64),
    MatrixLayoutAttribute.BATCH_COUNT: (4, ctypes.c_int32), MatrixLayoutAttribute.STRIDED_BATCH_OFFSET: (8, ctypes.c_int64)}
_things: dict[int, dict] = {}


def _thing(**values: Any) -> int:
    _things[len(_things) + 1] = values
    return len(_things)


def create() -> int:
    return _thing()


def matmul_desc_create(compute_type: int, scale_type: int) -> int:
    state.events["plan"] += 1
    return _thing(compute=compute_type, scale=scale_type)


def matrix_layout_create(type: int, rows: int, cols: int, ld: int) -> int:
    if ld < rows:
        raise ValueError(f"CUBLAS_STATUS_INVALID_VALUE: ld {ld} < rows {rows}")
    return _thing(type=type, rows=rows, cols=cols, ld=ld)


def matmul_preference_create() -> int:
    return _thing()


def matmul_preference_destroy(pref: int) -> None:
    """Nothing is held."""


def matmul_preference_set_attribute(pref: int, attr: int, buf: int, size_in_bytes: int) -> None:
    """Any algorithm is fine here."""


def _set(thing: int, attribute: Any, buf: int, size: int) -> None:
    expected, kind = _SIZES[attribute]
    if size != expected:
        raise ValueError(f"CUBLAS_STATUS_INVALID_VALUE: {attribute} takes {expected} bytes, got {size}")
    _things[thing][attribute] = kind.from_address(buf).value


def matmul_desc_set_attribute(matmul_desc: int, attr: int, buf: int, size_in_bytes: int) -> None:
    _set(matmul_desc, MatmulDescAttribute(attr), buf, size_in_bytes)


def matrix_layout_set_attribute(mat_layout: int, attr: int, buf: int, size_in_bytes: int) -> None:
    _set(mat_layout, MatrixLayoutAttribute(attr), buf, size_in_bytes)


def matmul_algo_get_heuristic(light_handle: int, operation_desc: int, adesc: int, bdesc: int, cdesc: int, ddesc: int,
                              preference: int, requested_algo_count: int, heuristic_results_array: int,
                              return_algo_count: int) -> None:
    ctypes.c_int32.from_address(return_algo_count).value = 1


def _matrix(pointer: int, layout: int, batch: int, transposed: bool) -> np.ndarray:
    given = _things[layout]
    dtype, step = _TYPES[given["type"]], given.get(MatrixLayoutAttribute.STRIDED_BATCH_OFFSET, 0) * batch
    count = given["ld"] * (given["cols"] - 1) + given["rows"]
    raw = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(pointer + step * dtype.itemsize)
    flat = np.frombuffer(raw, dtype)
    view = np.lib.stride_tricks.as_strided(flat, (given["rows"], given["cols"]), (dtype.itemsize, given["ld"] * dtype.itemsize))
    return view.T if transposed else view


def matmul(light_handle: int, compute_desc: int, alpha: int, a: int, adesc: int, b: int, bdesc: int, beta: int, c: int,
           cdesc: int, d: int, ddesc: int, algo: int, workspace: int, workspace_size_in_bytes: int, stream: int) -> None:
    state.events["lt matmul"] += 1
    desc = dict(_things[compute_desc])
    recording = capture.current()
    if recording is not None:
        for address in (a, b, d, desc.get(MatmulDescAttribute.BIAS_POINTER) or d):
            recording.touch_address(address)
        recording.calls.append(lambda: _compute(desc, a, adesc, b, bdesc, d, ddesc))
    _compute(desc, a, adesc, b, bdesc, d, ddesc)


def _compute(desc: dict, a: int, adesc: int, b: int, bdesc: int, d: int, ddesc: int) -> None:
    for batch in range(_things[ddesc].get(MatrixLayoutAttribute.BATCH_COUNT, 1)):
        left = _matrix(a, adesc, batch, bool(desc.get(MatmulDescAttribute.TRANSA)))
        right = _matrix(b, bdesc, batch, bool(desc.get(MatmulDescAttribute.TRANSB)))
        out = _matrix(d, ddesc, batch, False)
        wide = np.float64 if out.dtype == np.float64 else np.float32
        result = left.astype(wide) @ right.astype(wide)
        if desc.get(MatmulDescAttribute.EPILOGUE) == Epilogue.BIAS:
            raw = (ctypes.c_uint8 * (len(result) * out.dtype.itemsize)).from_address(desc[MatmulDescAttribute.BIAS_POINTER])
            result = result + np.frombuffer(raw, out.dtype).astype(wide)[:, None]
        out[...] = result.astype(out.dtype)


@contextmanager
def installed(gemm: Any) -> Iterator[None]:
    """Let `engine.gpu.gemm` use this."""
    import sys

    before, gemm.library = gemm.library, lambda: sys.modules[__name__]
    try:
        yield
    finally:
        gemm.library = before
