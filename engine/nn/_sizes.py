"""Sizes given as one number or one per dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["repeat"]


def repeat(value: Any, count: int) -> tuple:
    """`value` as a tuple: itself if it is a sequence, else `count` times the number.

    Example::

        >>> from engine.nn._sizes import repeat
        >>> repeat(3, 2), repeat([1, 2], 2)
        ((3, 3), (1, 2))
    """
    return tuple(value) if isinstance(value, Iterable) else (value,) * count


def _ntuple(count: int) -> Callable[[Any], tuple]:
    """torch's name for `repeat` with a fixed count; layers of other people use it and the three below."""
    return lambda value: repeat(value, count)


_single, _pair, _triple = _ntuple(1), _ntuple(2), _ntuple(3)
