"""How kernels are compiled. The only file that imports numba; reached only through `fast.kernels`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

# NaN and infinity keep their meaning (no nnan, ninf); sums may be reordered, which is what lets them use vectors.
_FAST = {"contract", "reassoc", "nsz", "arcp"}


@cache
def _stamp() -> tuple:
    """Changes when any file of this folder does: kernels inline functions of other files than their own."""
    return tuple((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(Path(__file__).parent.glob("*.py")))


def _compiled(fn: Callable, **options: Any) -> Any:
    options = {"nogil": True, "error_model": "numpy", **options}  # nogil: the pool's threads run side by side
    try:
        made = numba.njit(cache=True, **options)(fn)
    except RuntimeError:  # no folder can be written: neither this one nor the user's cache, nor NUMBA_CACHE_DIR
        return numba.njit(**options)(fn)
    file = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if file is not None:
        file._source_stamp = _stamp()
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


def inline(fn: Callable) -> Any:
    """Decorator of functions that kernels call, for numbers and not for arrays. Keeps the order of its operations."""
    return numba.njit(inline="never", error_model="numpy", fastmath={"contract", "nsz"})(fn)


def exact_inline(fn: Callable) -> Any:
    """As `inline`, with the arithmetic of `exact`."""
    return numba.njit(inline="never", error_model="numpy", fastmath=False)(fn)
