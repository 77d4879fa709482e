"""Compiled kernels for large arrays: the extra `fast` (numba). Without numba, or switched off, cards use their NumPy form.

`kernels(room)` gives the kernels of a file of this folder, or None. Nothing is imported before a card asks, and cards ask
only for large arrays; so a program whose arrays are small never waits for numba or for a compiler.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from typing import Any

import numpy as np

from ..dtypes import F32

__all__ = ["fits", "in_use", "is_available", "is_enabled", "kernels", "loaded", "ready", "set_enabled"]

_on = os.environ.get("LITENGINE_FAST", "") not in ("0", "off", "false")
_rooms: dict[str, Any] = {}  # what has been asked for, None where it could not be loaded


def kernels(room: str) -> Any:
    """The module `engine.fast.<room>`; None where kernels are switched off or numba is missing."""
    if not _on:
        return None
    try:
        return _rooms[room]
    except KeyError:
        return _load(room)


def loaded(room: str) -> Any:
    """The same if something large has asked for it before, else None: for what is too small to wait for numba."""
    return _rooms.get(room) if _on else None


def in_use() -> bool:
    """Whether something large has asked for kernels of any room, so that numba is there already."""
    return _on and any(_rooms.values())


def _load(room: str) -> Any:
    """Import a room. Numba's absence is no error; a numba that cannot be imported is worth a warning."""
    module = None
    if is_available():
        try:
            module = importlib.import_module(f"{__name__}.{room}")
        except ImportError as error:
            warnings.warn(f"numba is installed but cannot be imported, so the engine goes on without: {error}", stacklevel=3)
    _rooms[room] = module
    return module


def fits(*arrays: Any) -> bool:
    """Whether all are what kernels are compiled for: NumPy, float32, contiguous, aligned and writable."""
    return all(type(a) is np.ndarray and a.dtype is F32 and a.flags.carray for a in arrays)


def ready(array: Any) -> Any:
    """A float32 NumPy array as kernels want it: itself if it `fits`, else a copy."""
    return array if array.flags.carray else array.copy()


def is_available() -> bool:
    """Whether numba is installed. Does not import it."""
    return importlib.util.find_spec("numba") is not None


def is_enabled() -> bool:
    """Whether kernels may be used where numba is installed."""
    return _on


def set_enabled(on: bool) -> None:
    """Allow or forbid compiled kernels, for the whole process."""
    global _on
    _on = bool(on)
