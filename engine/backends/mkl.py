"""Intel's math library. NumPy may be linked with it, but the engine never asks for it by name."""

from __future__ import annotations

__all__ = ["is_available"]


def is_available() -> bool:
    """Always False."""
    return False
