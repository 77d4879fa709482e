"""Our CUDA kernels: one module compiled of the .cu files here, and how its kernels are launched.

A kernel is named after its operator and element type ("softmax_bf16"). Arguments are CuPy arrays for pointers (`NULL` for one
that is not there) and NumPy scalars of exactly the parameter's type.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import backend

FILES = ("base", "random", "pointwise", "rows", "lookup", "optimizers", "many", "reductions", "losses", "norms", "images",
         "recurrent", "channels", "arithmetic")
OPTIONS = ("-std=c++17",)
THREADS = 256  # of a block, for loops over elements
MOST_BLOCKS = 132 * 16  # enough to fill the largest GPUs; a thread then takes several elements
NULL = np.uint64(0)
SUFFIX = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.float16): "f16"}


def suffix(dtype: Any) -> str | None:
    """The ending of kernel names for an element type; None where there are no kernels."""
    return SUFFIX.get(dtype) or ("bf16" if dtype.name == "bfloat16" else None)


def wide(dtype: Any) -> Any:
    """The type that kernels compute an element type in."""
    return dtype if dtype == np.float64 else np.dtype(np.float32)


def source() -> str:
    """The CUDA C++ source of all kernels."""
    return "\n".join(Path(__file__).with_name(f"{name}.cu").read_text(encoding="utf-8") for name in FILES)


_modules: dict[Any, Any] = {}


def _module() -> Any:
    gpu = backend.gpu()
    if gpu not in _modules:
        _modules[gpu] = gpu.RawModule(code=source(), options=OPTIONS)
    return _modules[gpu]


@functools.cache
def _function(gpu: Any, name: str, device: int) -> Any:
    return _module().get_function(name)


def launch(name: str, grid: Sequence[int], block: Sequence[int], *args: Any) -> None:
    """Put a kernel into the current stream."""
    gpu = backend.gpu()
    _function(gpu, name, gpu.cuda.Device().id if backend.several_devices else 0)(tuple(grid), tuple(block), args)


def over_elements(name: str, count: int, *args: Any, per_thread: int = 1) -> None:
    """Launch a kernel that loops over `count` elements; nothing for none."""
    if count:
        blocks = -(-count // (THREADS * per_thread))
        launch(name, (min(blocks, MOST_BLOCKS),), (THREADS,), *args)


def row_shape(rows: int, cols: int) -> tuple[tuple[int], tuple[int, int]]:
    """(grid, block) for a kernel on rows: a warp for each short row, four to a block; a block for each long one."""
    if cols <= 1024:
        return (-(-rows // 4),), (32, 4)
    return (rows,), (256 if cols <= 8192 else 1024, 1)


def over_rows(name: str, rows: int, cols: int, *args: Any) -> None:
    """Launch a kernel on the rows of a matrix; nothing for none."""
    if rows and cols:
        launch(name, *row_shape(rows, cols), *args)


def usable(*arrays: Any) -> str | None:
    """The ending of kernel names if all arrays are contiguous, of one floating type and on a GPU; None otherwise."""
    first = arrays[0]
    if not backend.is_on_device(first) or not all(a.flags.c_contiguous and a.dtype == first.dtype for a in arrays):
        return None
    return suffix(first.dtype)


Kernel = Callable[..., Any]
