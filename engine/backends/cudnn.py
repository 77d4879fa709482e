"""cuDNN, which computes convolutions and attention on a GPU: whether it is there, and its switches. The CPU knows none of them.

>>> torch.backends.cudnn.benchmark = True
>>> torch.backends.cudnn.benchmark
True
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.gpu import cudnn as library

__all__ = ["allow_tf32", "benchmark", "deterministic", "enabled", "flags", "is_available", "version"]

enabled: bool
benchmark: bool
deterministic: bool
allow_tf32: bool


def is_available() -> bool:
    """Whether `nvidia-cudnn-frontend` and the library behind it are installed."""
    return library.library() is not None


def version() -> int | None:
    """cuDNN's version number, as 91301 for 9.13.1; None without it."""
    return library.library().backend_version() if is_available() else None


@contextmanager
def flags(enabled: bool = False, benchmark: bool = False, deterministic: bool = False,
          allow_tf32: bool = True) -> Iterator[None]:
    """Set all switches inside, and put them back afterwards."""
    before = vars(library.switches).copy()
    vars(library.switches).update(enabled=enabled, benchmark=benchmark, deterministic=deterministic, allow_tf32=allow_tf32)
    try:
        yield
    finally:
        vars(library.switches).update(before)


def _switch(name: str) -> property:
    def put(self: Any, value: bool) -> None:
        setattr(library.switches, name, value)

    return property(lambda self: getattr(library.switches, name), put)


class _Module(types.ModuleType):
    """This module, whose switches are attributes that the engine below reads."""

    enabled, benchmark, deterministic, allow_tf32 = (_switch(name) for name in vars(library.switches))


sys.modules[__name__].__class__ = _Module
