"""The switches of cuDNN. Programs may set them; the engine does not read them.

Results on the CPU are the same in every run whatever they say.

>>> torch.backends.cudnn.benchmark = True
>>> torch.backends.cudnn.benchmark
True
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["allow_tf32", "benchmark", "deterministic", "enabled", "flags", "is_available", "version"]

enabled = True
benchmark = False
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether the engine calls cuDNN: not yet."""
    return False


def version() -> int | None:
    """cuDNN's version number: None, because it is not used."""
    return None


@contextmanager
def flags(enabled: bool = False, benchmark: bool = False, deterministic: bool = False,
          allow_tf32: bool = True) -> Iterator[None]:
    """Set all switches inside, and put them back afterwards."""
    table = globals()
    new = {"enabled": enabled, "benchmark": benchmark, "deterministic": deterministic, "allow_tf32": allow_tf32}
    before = {name: table[name] for name in new}
    table.update(new)
    try:
        yield
    finally:
        table.update(before)
