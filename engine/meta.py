"""The meta device: arrays that have a shape and a dtype, and whose elements nobody may read.

Their memory is asked for and never touched, so it costs nothing until an operator computes with it: shapes come out of
the ordinary formulas, run on zeros.
"""

from __future__ import annotations

import math
import mmap
import sys
from typing import Any, NoReturn

import numpy as np

_NO_DATA = ("Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() "
            "when moving module from meta to a different device.")


_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # MAP_NORESERVE, which Python names from 3.13 on
_LARGE = 1 << 26  # bytes from which memory is asked for without the system setting any aside


class Meta(np.ndarray):
    """An array on the meta device."""

    def item(self, *args: Any) -> NoReturn:
        """RuntimeError: there are no elements."""
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    def tolist(self) -> NoReturn:
        """NotImplementedError: there are no elements."""
        raise no_data()


def no_data() -> NotImplementedError:
    """The error for asking a meta tensor for its elements."""
    return NotImplementedError(_NO_DATA)


def empty(shape: Any, dtype: Any) -> Meta:
    """A new array on the meta device."""
    dtype, sizes = np.dtype(dtype), (shape,) if isinstance(shape, int) else tuple(shape)
    size = math.prod(sizes) * dtype.itemsize
    if size < _LARGE:
        return np.zeros(sizes, dtype).view(Meta)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    return np.frombuffer(mmap.mmap(-1, size, flags=flags), dtype).reshape(sizes).view(Meta)


def as_meta(value: Any) -> Any:
    """Arrays as arrays on the meta device, also inside a tuple or list; other values stay."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value).view(Meta)
    return type(value)([as_meta(v) for v in value]) if type(value) in (tuple, list) else value


class _MetaModule:
    """NumPy's functions, with results on the meta device."""

    def empty(self, shape: Any, dtype: Any = float) -> Meta:
        """A new array."""
        return empty(shape, dtype)

    zeros = ones = empty

    def full(self, shape: Any, value: Any, dtype: Any = float) -> Meta:
        """A new array; the value is not kept."""
        return empty(shape, dtype)

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if not callable(found) or isinstance(found, (type, np.ufunc)):  # ufuncs keep the class of their inputs
            return found

        def on_meta(*args: Any, **kwargs: Any) -> Any:
            return as_meta(found(*args, **kwargs))

        setattr(self, name, on_meta)
        return on_meta


MODULE: Any = _MetaModule()
