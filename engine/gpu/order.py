"""The two memory orders of images (N, C, *): in rows, and with the channels innermost ("channels last")."""

from __future__ import annotations

from typing import Any


def strides(shape: tuple, last: bool) -> tuple:
    """Strides in elements, in rows or with the channels innermost."""
    found, step = [0] * len(shape), 1
    for i in (1, *range(len(shape) - 1, 1, -1), 0) if last else range(len(shape) - 1, -1, -1):
        found[i], step = step, step * shape[i]
    return tuple(found)


def is_channels_last(a: Any) -> bool:
    """Whether the channels lie innermost. Strides tell, also of weights (O, C, 1, 1) that are in rows as well."""
    if a.ndim not in (4, 5) or a.strides[1] != a.itemsize:
        return False
    found = tuple([s // a.itemsize for s in a.strides])
    return found == strides(a.shape, True) != strides(a.shape, False)


def inner(a: Any) -> Any:
    """The view (N, *, C)."""
    return a.transpose(0, *range(2, a.ndim), 1)


def outer(a: Any) -> Any:
    """The view (N, C, *) of (N, *, C)."""
    return a.transpose(0, a.ndim - 1, *range(1, a.ndim - 1))


def ordered(gpu: Any, a: Any, last: bool) -> Any:
    """The array in rows, or with its channels innermost; itself if it is so already."""
    return outer(gpu.ascontiguousarray(inner(a))) if last else gpu.ascontiguousarray(a).reshape(a.shape)


def new(gpu: Any, shape: tuple, dtype: Any, last: bool) -> Any:
    """A new array in that order."""
    return outer(gpu.empty((shape[0], *shape[2:], shape[1]), dtype)) if last else gpu.empty(shape, dtype)
