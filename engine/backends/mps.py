"""Apple's GPUs, which the engine does not use."""

from __future__ import annotations

__all__ = ["is_available", "is_built"]


def is_available() -> bool:
    """Always False.

    >>> torch.backends.mps.is_available()
    False
    """
    return False


def is_built() -> bool:
    """Always False."""
    return False
