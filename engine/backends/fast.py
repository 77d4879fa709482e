"""The compiled kernels of the extra `fast` (numba): whether they are there, and a switch.

>>> with torch.backends.fast.flags(enabled=False):  # the NumPy form of every operator
...     torch.backends.fast.is_enabled()
False
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.fast import is_available, is_enabled, set_enabled

__all__ = ["flags", "is_available", "is_enabled", "set_enabled"]


@contextmanager
def flags(enabled: bool = True) -> Iterator[None]:
    """Allow or forbid compiled kernels inside, for the whole process, and put the switch back afterwards."""
    before = is_enabled()
    set_enabled(enabled)
    try:
        yield
    finally:
        set_enabled(before)
