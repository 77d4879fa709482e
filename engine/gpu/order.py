"""The two memory orders of images (N, C, *): in rows, and with the channels innermost ("channels last")."""

from __future__ import annotations

from typing import Any

from .. import backend

_RANKS = {"torch.channels_last": 4, "torch.channels_last_3d": 5}


def rank_of(memory_format: Any) -> int:
    """The number of dimensions that a channels-last format is for; 0 for other formats."""
    return _RANKS.get(str(memory_format), 0)


def strides(shape: tuple, last: bool) -> tuple:
    """Strides in elements, in rows or with the channels innermost."""
    found, step = [0] * len(shape), 1
    for i in (1, *range(len(shape) - 1, 1, -1), 0) if last else range(len(shape) - 1, -1, -1):
        found[i], step = step, step * shape[i]
    return tuple(found)


def has_strides(a: Any, last: bool) -> bool:
    """Whether the strides are exactly those of an order, also where dimensions have one element."""
    return tuple([s // a.itemsize for s in a.strides]) == strides(a.shape, last)


def is_channels_last(a: Any) -> bool:
    """Whether the channels lie innermost. Strides tell, also of weights (O, C, 1, 1) that are in rows as well."""
    return a.ndim in (4, 5) and a.strides[1] == a.itemsize and has_strides(a, True) and not has_strides(a, False)


def inner(a: Any) -> Any:
    """The view (N, *, C)."""
    return a.transpose(0, *range(2, a.ndim), 1)


def outer(a: Any) -> Any:
    """The view (N, C, *) of (N, *, C)."""
    return a.transpose(0, a.ndim - 1, *range(1, a.ndim - 1))


def ordered(gpu: Any, a: Any, last: bool) -> Any:
    """The array in rows, or with its channels innermost; itself if it is so already."""
    return outer(gpu.ascontiguousarray(inner(a))) if last else gpu.ascontiguousarray(a).reshape(a.shape)


def channels_last(gpu: Any, a: Any) -> Any:
    """A copy with the channels innermost, and the strides that say so also where dimensions have one element."""
    made = gpu.empty(a.size, a.dtype)
    out = backend.strided(made, a.shape, tuple([s * a.itemsize for s in strides(a.shape, True)]))
    out[...] = a
    return out


def new(gpu: Any, shape: tuple, dtype: Any, last: bool) -> Any:
    """A new array in that order."""
    return outer(gpu.empty((shape[0], *shape[2:], shape[1]), dtype)) if last else gpu.empty(shape, dtype)


def in_memory(a: Any) -> tuple[Any, bool]:
    """(the view in which the array lies in rows, if there is one, whether that is one of channels last)."""
    last = is_channels_last(a)
    return (inner(a), True) if last else (a, False)
