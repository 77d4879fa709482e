"""How kernels are compiled. The only file that imports numba; reached only through `fast.kernels`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.registry import cpu_target

# NaN and infinity keep their meaning (no nnan, ninf); sums may be reordered, which is what lets them use vectors.
_FAST = {"contract", "reassoc", "nsz", "arcp"}


@cache
def features() -> str:
    """What the processor that is compiled for has, as LLVM names it ("+avx2,-avx512f,..."); compiled code is kept under it."""
    return cpu_target.target_context.codegen().magic_tuple()[2]


@cache
def _stamp(room: str) -> str:
    """Changes when the text of a file does, or of one that it imports: kernels contain the functions that they call."""
    text = (Path(__file__).parent / f"{room}.py").read_bytes()
    used = {name.decode() for name in re.findall(rb"^from \.(\w+) import", text, re.MULTILINE)}
    return hashlib.sha256(b"".join([text, *[_stamp(name).encode() for name in sorted(used)]])).hexdigest()


def _compiled(fn: Callable, **options: Any) -> Any:
    # nogil: the pool's threads run side by side. no_cfunc_wrapper: kernels are called from Python, never from C.
    options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, **options}
    try:
        made = numba.njit(cache=True, **options)(fn)
    except RuntimeError:  # no folder can be written: neither this one nor the user's cache, nor NUMBA_CACHE_DIR
        return numba.njit(**options)(fn)
    file = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if file is not None:
        file._source_stamp = _stamp(Path(fn.__code__.co_filename).stem)
    return made


def kernel(fn: Callable) -> Any:
    """Decorator: compiled at the first call and kept on disk.

    A kernel is called with arrays of one layout (`fast.fits`) and so is compiled once. It gets a block of rows or of
    elements, and the caller hands blocks to the pool: numba's own threads are never used.
    """
    return _compiled(fn, fastmath=_FAST)


def exact(fn: Callable) -> Any:
    """As `kernel`, for arithmetic whose order and rounding count: nothing is reordered, contracted or left out."""
    return _compiled(fn, fastmath=False)


def _part(fn: Callable, **options: Any) -> Any:
    """A function that kernels alone call: to Python it is a crash. Wrappers for others take as long to compile as the rest."""
    options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, **options}
    return numba.njit(**options)(fn)


def part(fn: Callable) -> Any:
    """Decorator of functions that kernels call, with the arithmetic of `kernel`."""
    return _part(fn, fastmath=_FAST)


def inline(fn: Callable) -> Any:
    """As `part`, for numbers and not for arrays. Keeps the order of its operations."""
    return _part(fn, fastmath={"contract", "nsz"})


def exact_inline(fn: Callable) -> Any:
    """As `part`, with the arithmetic of `exact`."""
    return _part(fn, fastmath=False)
